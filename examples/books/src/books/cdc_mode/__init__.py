"""CDC mode: only the book is written, and its change becomes the event."""
