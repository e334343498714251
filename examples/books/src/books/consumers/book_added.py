"""Present and count each new book once, even if its event arrives more than once."""

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
    tx.update(PRESENTATION, {"pk": "presented"}, add={"books": 1})  # committed together with the dedup record
    return book.line


def handler(event: dict[str, Any], context: object) -> None:
    print(present(event, context))  # with the context, AWS calls end before the function does
