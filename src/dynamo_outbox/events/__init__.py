"""Events: the value, the item in the outbox, the forms on the bus, and what a consumer reads."""
