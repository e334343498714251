"""POST /book: write the book and BookAdded in one transaction."""

import os
from typing import Any

from books.api import Answer, answer, answers, body_as
from books.book import Book
from books.events import SOURCE, BookAdded
from dynamo_outbox import TransactionalOutbox
from dynamo_outbox.errors import ConditionFailedError

BOOKS = os.environ["BOOKS_TABLE"]
outbox = TransactionalOutbox(os.environ["EVENTS_TABLE"], source=SOURCE, keys={BOOKS: "name"})


@answers
def handler(event: dict[str, Any], context: object) -> Answer:
    book = body_as(Book, event)
    try:
        with outbox.transaction() as tx:
            tx.put(BOOKS, book.model_dump(), must_not_exist=True, label="book")
            tx.emit(BookAdded(**book.model_dump()))
    except ConditionFailedError:
        return answer(409, {"message": f"book {book.name!r} already exists"})
    return answer(201, book.model_dump())
