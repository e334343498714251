"""Strict in-memory fakes of the AWS clients that this library calls."""
