"""Events: creation, models, and parsing of a consumer's input."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any, assert_type

from dynamo_outbox import DomainEvent, Event, Message, parse_event, parse_events
from dynamo_outbox.errors import DecodeError


def made() -> None:
    event = Event("BookAdded", {"year": 2019, "price": Decimal("29.99"), "authors": ("Skelton", "Pais")})
    assert_type(event, Event)
    Event(
        type="BookAdded",
        data=MappingProxyType({"year": 2019}),
        id="0190",
        time=datetime.now(UTC),
        source="books",
        version=2,
        aggregate_type="Book",
        aggregate_id="Team Topologies",
        sequence=1,
        correlation_id="c",
        causation_id="d",
        traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    )
    Event("BookAdded", {}, id=None, time=None, source=None, aggregate_type=None, aggregate_id=None, sequence=None)
    Event("BookAdded", {}, correlation_id=None, causation_id=None, traceparent=None)


def refused_fields() -> None:
    # The data are required.
    Event("BookAdded")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The data are a mapping, not JSON text.
    Event("BookAdded", '{"year": 2019}')  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A time is a datetime, not text.
    Event("BookAdded", {}, time="2026-11-23")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A version is a number.
    Event("BookAdded", {}, version="1")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # All arguments except type and data are keyword arguments.
    Event("BookAdded", {}, "0190")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # This field does not exist.
    Event("BookAdded", {}, aggregate="Book#1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def fields(event: Event) -> None:
    assert_type(event.type, str)
    assert_type(event.data, dict[str, Any])
    assert_type(event.data_json, str)
    assert_type(event.id, str)
    assert_type(event.time, datetime)
    assert_type(event.source, str | None)
    assert_type(event.version, int)
    assert_type(event.aggregate_type, str | None)
    assert_type(event.aggregate_id, str | None)
    assert_type(event.aggregate, str | None)
    assert_type(event.sequence, int | None)
    assert_type(event.correlation_id, str | None)
    assert_type(event.causation_id, str | None)
    assert_type(event.traceparent, str | None)
    assert_type(event.replace(source="books"), Event)
    assert_type({event: event.id}, dict[Event, str])
    # A computed attribute can't be set.
    event.data_json = "{}"  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


class BookAdded(DomainEvent, version=2, aggregate="Book", key="name"):
    name: str
    year: int


class BookAddedInRome(BookAdded, type="BookAdded.Rome"):
    shelf: str | None = None


def modelled(book: BookAdded, rome: BookAddedInRome, event: Event) -> None:
    assert_type(BookAdded(name="Team Topologies", year=2019), BookAdded)
    assert_type(book.name, str)
    assert_type(rome.shelf, str | None)
    assert_type(book.to_event(), Event)
    book.to_event(
        id="0190",
        time=datetime.now(UTC),
        source="books",
        sequence=1,
        correlation_id="c",
        causation_id="d",
        traceparent="t",
    )
    book.to_event(id=None, time=None, source=None, sequence=None)
    assert_type(BookAdded.from_event(event), BookAdded)
    assert_type(BookAddedInRome.from_event(event), BookAddedInRome)
    one: DomainEvent = rome
    assert_type(one.to_event(), Event)


def refused_models(book: BookAdded, payload: dict[str, Any]) -> None:
    # A field is missing.
    BookAdded(name="Team Topologies")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A field has another type; mypy with pydantic's plugin accepts values that pydantic can convert.
    BookAdded(name=2019, year=2019)  # pyright: ignore[reportArgumentType]
    # The class defines the version.
    book.to_event(version=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A payload must be parsed first.
    BookAdded.from_event(payload)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A model is not an Event; to_event() returns one.
    _: Event = book  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def parsed(payload: object, document: dict[str, Any]) -> None:
    assert_type(parse_event(payload), Event)
    assert_type(parse_event(document), Event)
    assert_type(parse_events(payload), list[Message])
    assert_type(parse_events(payload, on_error="raise"), list[Message])
    assert_type(parse_events(payload, on_error="collect"), list[Message | DecodeError])
    for each in parse_events(payload, on_error="collect"):
        if isinstance(each, DecodeError):
            assert_type(each.index, int | None)
        else:
            assert_type(each, Message)


def refused_parsing(payload: object, on_error: str) -> None:
    # on_error does not have this value.
    parse_events(payload, on_error="skip")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    # The result's type depends on the literal.
    parse_events(payload, on_error=on_error)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue, reportArgumentType]
    # on_error is a keyword argument.
    parse_events(payload, "collect")  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    # A collected element can be an error.
    parse_events(payload, on_error="collect")[0].event  # type: ignore[union-attr]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def messages(message: Message, event: Event) -> None:
    assert_type(message.event, Event)
    assert_type(message.message_id, str)
    assert_type(message.group_id, str | None)
    assert_type(Message(event, "1"), Message)
    assert_type(Message(event=event, message_id="1", group_id=None), Message)
    # A message requires an id.
    Message(event)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
