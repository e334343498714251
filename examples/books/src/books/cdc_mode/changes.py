"""Mapping of the table's changes to events."""

from books.events import BookAdded, BookRemoved
from dynamo_outbox import StreamRecord


def event_of(change: StreamRecord) -> BookAdded | BookRemoved | None:
    """Return the event for an added or removed book; None for any other change."""
    if change.event_name == "INSERT":
        return BookAdded.model_validate(change.new_image)
    if change.event_name == "REMOVE":
        return BookRemoved(name=change.keys["name"])
    return None
