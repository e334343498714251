"""Strict stand-ins, in memory, for the AWS clients that this library calls."""
