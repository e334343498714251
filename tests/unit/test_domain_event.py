"""Events as pydantic models."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from pydantic import Field

from dynamo_outbox import DomainEvent, Event
from dynamo_outbox.errors import DecodeError, InvalidEventError


class BookAdded(DomainEvent, type="BookAdded", version=2, aggregate="Book", key="name"):
    name: str
    authors: list[str] = Field(default_factory=list)
    year: int = 2019


class PriceSet(DomainEvent):
    price: Decimal = Field(alias="listPrice")


class Anything(DomainEvent):
    value: Any


def test_the_class_says_what_the_fields_do_not() -> None:
    """Type, version and aggregate come from the class, data from the fields, the rest from the call."""
    book = BookAdded(name="Team Topologies", authors=["Matthew Skelton", "Manuel Pais"])
    fields: dict[str, Any] = {
        "id": "1",
        "time": datetime(2026, 11, 23, tzinfo=UTC),
        "source": "OutboxDemo.Books",
        "sequence": 3,
        "correlation_id": "order-7d0f2c",
        "causation_id": "import-2026-11-23",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    data = {"name": "Team Topologies", "authors": ["Matthew Skelton", "Manuel Pais"], "year": 2019}
    assert book.to_event(**fields) == Event(
        "BookAdded", data, version=2, aggregate_type="Book", aggregate_id="Team Topologies", **fields
    )


def test_what_the_class_does_not_say_has_a_default() -> None:
    """The default type is the class name, the default version 1; a Decimal is text, under its alias."""
    event = PriceSet(listPrice=Decimal("24.950")).to_event()
    assert (event.type, event.version, event.aggregate_type, event.aggregate_id) == ("PriceSet", 1, None, None)
    assert event.data == {"listPrice": "24.950"}


def test_a_type_with_a_quote_is_refused() -> None:
    """A class whose type holds a quote makes no event."""

    class Quoted(DomainEvent, type='Book "Added"'):
        name: str

    with pytest.raises(InvalidEventError, match=r"^event type: .*holds a quote, a backslash or a control character"):
        Quoted(name="Team Topologies").to_event()


def test_id_and_time_are_drawn_unless_given() -> None:
    """An event without a given id and time records that both were generated."""
    assert BookAdded(name="Team Topologies").to_event()._drawn == {"id", "time"}


@pytest.mark.parametrize("model", [BookAdded(name="Team Topologies"), PriceSet(listPrice=Decimal("24.950"))])
def test_a_model_comes_back_from_its_event(model: DomainEvent) -> None:
    """`from_event` returns a model equal to the original."""
    assert type(model).from_event(model.to_event()) == model


@pytest.mark.parametrize(
    ("event", "path"),
    [
        (Event("BookRemoved", {"name": "Team Topologies"}, version=2), "type"),
        (Event("BookAdded", {"name": "Team Topologies"}, version=1), "type"),
        (Event("BookAdded", {}, version=2), "data.name"),
        (Event("BookAdded", {"name": "Team Topologies", "authors": ["Skelton", 1]}, version=2), "data.authors.1"),
    ],
)
def test_an_event_that_does_not_fit_is_refused(event: Event, path: str) -> None:
    """Another type or version, or data that do not fit, raise DecodeError with the path."""
    with pytest.raises(DecodeError) as caught:
        BookAdded.from_event(event)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"aggregate": "Book"}, "give both aggregate= and key="),
        ({"key": "name"}, "give both aggregate= and key="),
        ({"aggregate": "Book", "key": "title"}, "key='title' is not one of its fields name"),
        ({"verison": 2}, "verison"),
    ],
)
def test_a_class_that_contradicts_itself_is_refused(arguments: dict[str, Any], problem: str) -> None:
    """Inconsistent or misspelt class arguments are refused when the class is defined."""
    with pytest.raises(TypeError, match=problem):

        class Wrong(DomainEvent, **arguments):
            name: str


@pytest.mark.parametrize(
    ("model", "field"),
    [
        (BookAdded(name=""), "aggregate_id"),
        (Anything(value=object()), "data"),
        (Anything(value=float("nan")), "data.value"),
        (DomainEvent(), "type"),
    ],
)
def test_a_model_that_makes_no_event_is_refused(model: DomainEvent, field: str) -> None:
    """An empty key, a value without a JSON form and DomainEvent itself raise InvalidEventError."""
    with pytest.raises(InvalidEventError) as caught:
        model.to_event()
    assert caught.value.field == field


def test_the_base_class_reads_no_event() -> None:
    """`DomainEvent.from_event` raises DecodeError."""
    with pytest.raises(DecodeError, match="is not an event class"):
        DomainEvent.from_event(Event("DomainEvent", {}))
