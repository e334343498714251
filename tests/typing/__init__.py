"""Calls of every public signature, checked by mypy and pyright and never run.

A line that must be an error has an ignore comment for each checker that reports it. Both checkers report unused ignore
comments, so a line that stops being an error fails the check.
"""
