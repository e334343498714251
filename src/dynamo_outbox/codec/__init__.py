"""Conversions: DynamoDB attribute values and exact JSON."""
