"""A service that adds and removes books and publishes an event for each change."""
