"""Outbox mode: the service writes the book and its event in one transaction."""
