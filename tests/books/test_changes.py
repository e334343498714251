"""CDC mode of the books: the mapping of changes to events."""

from __future__ import annotations

from typing import Any

import pytest

from books.cdc_mode.changes import event_of
from books.events import BookAdded, BookRemoved
from dynamo_outbox import decode_record

IMAGE = {
    "name": {"S": "Team Topologies"},
    "authors": {"L": [{"S": "Manuel Pais"}, {"S": "Matthew Skelton"}]},
    "year": {"N": "2019"},
}


def change(event_name: str, **images: Any) -> dict[str, Any]:
    return {
        "eventID": "1",
        "eventName": event_name,
        "dynamodb": {"ApproximateCreationDateTime": 1, "Keys": {"name": IMAGE["name"]}, **images},
    }


@pytest.mark.parametrize(
    ("record", "event"),
    [
        (
            change("INSERT", NewImage=IMAGE),
            BookAdded(name="Team Topologies", authors=["Manuel Pais", "Matthew Skelton"], year=2019),
        ),
        (change("REMOVE", OldImage=IMAGE), BookRemoved(name="Team Topologies")),
        (change("MODIFY", NewImage=IMAGE, OldImage=IMAGE), None),
        (change("UNHEARD_OF", NewImage=IMAGE), None),
    ],
)
def test_a_change_becomes_its_event(record: dict[str, Any], event: BookAdded | BookRemoved | None) -> None:
    """An inserted book becomes BookAdded, a removed one BookRemoved, and any other change is not an event."""
    assert event_of(decode_record(record)) == event


def test_the_lines_are_the_books_own() -> None:
    """Each event is presented in one line."""
    added = BookAdded(name="Team Topologies", authors=["Manuel Pais", "Matthew Skelton"], year=2019)
    assert added.line == "Team Topologies (2019) by Manuel Pais, Matthew Skelton was added!"
    assert BookRemoved(name="Team Topologies").line == "Team Topologies was removed!"
