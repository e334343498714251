"""Which event a change of the table is."""

from books.events import BookAdded, BookRemoved
from dynamo_outbox import StreamRecord


def event_of(change: StreamRecord) -> BookAdded | BookRemoved | None:
    """A book that came or went; what changes a book is no event yet."""
    if change.event_name == "INSERT":
        return BookAdded.model_validate(change.new_image)
    if change.event_name == "REMOVE":
        return BookRemoved(name=change.keys["name"])
    return None
