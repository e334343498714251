"""The writer: entities and events in one transaction, and the settling of uncertain commits."""
