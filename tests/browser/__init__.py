"""The books example's page in a browser."""
