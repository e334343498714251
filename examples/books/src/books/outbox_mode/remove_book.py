"""DELETE /book: delete the book and write BookRemoved in one transaction."""

import os
from typing import Any

from books.api import Answer, answer, answers, body_as
from books.book import Named
from books.events import SOURCE, BookRemoved
from dynamo_outbox import TransactionalOutbox
from dynamo_outbox.errors import ConditionFailedError

BOOKS = os.environ["BOOKS_TABLE"]
outbox = TransactionalOutbox(os.environ["EVENTS_TABLE"], source=SOURCE)


@answers
def handler(event: dict[str, Any], context: object) -> Answer:
    name = body_as(Named, event).name
    try:
        with outbox.transaction() as tx:
            tx.delete(BOOKS, {"name": name}, condition="must_exist", label="book")
            tx.emit(BookRemoved(name=name))
    except ConditionFailedError:
        return answer(404, {"message": f"book {name!r} does not exist"})
    return answer(204)
