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
    """Type, version and aggregate come from the class, the data from the fields, the rest from the call."""
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
    """The type is the class's name, the version 1, and there is no aggregate; a Decimal travels as text, by alias."""
    event = PriceSet(listPrice=Decimal("24.950")).to_event()
    assert (event.type, event.version, event.aggregate_type, event.aggregate_id) == ("PriceSet", 1, None, None)
    assert event.data == {"listPrice": "24.950"}


def test_id_and_time_are_drawn_unless_given() -> None:
    """An event of a model without id and time knows that both were drawn."""
    assert BookAdded(name="Team Topologies").to_event()._drawn == {"id", "time"}


@pytest.mark.parametrize("model", [BookAdded(name="Team Topologies"), PriceSet(listPrice=Decimal("24.950"))])
def test_a_model_comes_back_from_its_event(model: DomainEvent) -> None:
    """Reading the event of a model gives an equal model."""
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
    """Another type or version, or data that don't fit, are a DecodeError that names the part."""
    with pytest.raises(DecodeError) as caught:
        BookAdded.from_event(event)
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"aggregate": "Book"}, "give both aggregate= and key="),
        ({"key": "name"}, "give both aggregate= and key="),
        ({"aggregate": "Book", "key": "title"}, "key='title' is none of its fields name"),
        ({"verison": 2}, "verison"),
    ],
)
def test_a_class_that_contradicts_itself_is_refused(arguments: dict[str, Any], problem: str) -> None:
    """Class arguments that don't fit the class, or each other, or are misspelt, are refused when it is defined."""
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
    """An empty key, a value without a JSON form, and DomainEvent itself are an InvalidEventError."""
    with pytest.raises(InvalidEventError) as caught:
        model.to_event()
    assert caught.value.field == field


def test_the_base_class_reads_no_event() -> None:
    """DomainEvent itself can't be read from an event."""
    with pytest.raises(DecodeError, match="is not an event class"):
        DomainEvent.from_event(Event("DomainEvent", {}))
