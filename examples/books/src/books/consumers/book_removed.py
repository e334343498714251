"""Says of each removed book once that it is gone, however often its event arrives."""

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
