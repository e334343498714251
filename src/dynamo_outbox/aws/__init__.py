"""boto3 clients, Lambda's context and backoff."""
