"""The work of the command line: make payloads readable, inspect and redrive parked records."""
