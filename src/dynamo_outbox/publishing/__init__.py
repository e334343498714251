"""The EventBridge publisher: batching, retries, order."""
