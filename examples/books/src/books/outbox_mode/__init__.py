"""Outbox mode: a book and its event are written in one transaction."""
