"""Lambda functions between a stream and the bus, and the parking of records that can't be published."""
