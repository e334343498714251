"""Presents each new book once, however often its event arrives."""

import os
from typing import Any

from books.events import BookAdded
from dynamo_outbox import IdempotencyStore, idempotent, parse_event

store = IdempotencyStore(os.environ["PRESENTATION_TABLE"])


def already_presented(name: str, event: dict[str, Any], context: object) -> str:
    print(f"{name} has already been presented.")
    return name


@idempotent(store, scope="BookAdded", on_duplicate=already_presented)
def handler(event: dict[str, Any], context: object) -> str:
    book = BookAdded.from_event(parse_event(event))
    print(book.line)
    return book.name
