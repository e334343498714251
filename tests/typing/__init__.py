"""Calls of every public signature, for mypy and pyright to read; nobody runs them.

A line that has to be refused carries an ignore for each checker that refuses it, and both checkers report an ignore
that nothing needs: so what is refused stays refused.
"""
