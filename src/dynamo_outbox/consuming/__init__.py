"""Consumers: idempotent functions, the inbox, handlers of message batches."""
