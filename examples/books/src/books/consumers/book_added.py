"""Presents each new book once and counts it, however often its event arrives."""

import os
from typing import Any

from books.events import BookAdded
from dynamo_outbox import Event, IdempotencyStore, Inbox, InboxTransaction

PRESENTATION = os.environ["PRESENTATION_TABLE"]
inbox = Inbox(IdempotencyStore(PRESENTATION))


def already_presented(_: str, event: Event) -> str:
    return f"{event.data['name']} has already been presented."


@inbox.handler(consumer="BookAdded", on_duplicate=already_presented)
def present(event: Event, tx: InboxTransaction) -> str:
    book = BookAdded.from_event(event)
    tx.update(PRESENTATION, {"pk": "presented"}, add={"books": 1})  # committed with the record that it was done
    return book.line


def handler(event: dict[str, Any], context: object) -> None:
    print(present(event))
