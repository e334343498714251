"""Checks the library against real AWS services: deploys a stack, observes, prints a table, and deletes everything."""
