"""Consumers of the events; the same in both modes."""
