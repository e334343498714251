"""Announce each removed book once, even if its event arrives more than once."""

import os
from typing import Any

from books.events import BookRemoved
from dynamo_outbox import IdempotencyStore, idempotent, parse_event

store = IdempotencyStore(os.environ["PRESENTATION_TABLE"])


@idempotent(store, scope="BookRemoved")
def handler(event: dict[str, Any], context: object) -> str:
    book = BookRemoved.from_event(parse_event(event))
    print(book.line)
    return book.name
