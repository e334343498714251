"""CDC mode: the service writes only the book, and the change becomes the event."""
