"""The event: what it takes, what it refuses, and that it stays as it was made."""

from __future__ import annotations

import copy
import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import TYPE_CHECKING, Any
from uuid import RFC_4122, UUID

import pytest
from hypothesis import given

from dynamo_outbox import Event, TableKeys
from dynamo_outbox.codec.frozen import fill
from dynamo_outbox.errors import DecodeError, InvalidEventError
from dynamo_outbox.events.event import event_from_texts
from dynamo_outbox.events.ids import uuid7, uuid7_time, uuid8
from dynamo_outbox.events.outbox_item import decode_event, encode_event

from ..strategies import json_objects

if TYPE_CHECKING:
    from collections.abc import Callable

BOOK = {"name": "Team Topologies", "authors": ["Matthew Skelton", "Manuel Pais"], "year": 2019}
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class Kind(str, Enum):  # noqa: UP042  # the kind of enum whose str() is its name
    ADDED = "BookAdded"


def test_an_event_that_is_given_nothing_draws_its_id_and_time() -> None:
    """By default an event has a UUIDv7 of its own, an aware time in UTC and version 1."""
    first, second = Event("BookAdded", BOOK), Event("BookAdded", BOOK)
    assert UUID(first.id).version == 7
    assert first.id != second.id
    assert first.time.tzinfo is UTC
    assert (first.version, first.source, first.sequence) == (1, None, None)
    assert first.with_defaults(id="1", time=NOON) == first.replace(id="1", time=NOON)


def test_what_is_given_is_kept() -> None:
    """Every field that is given is there to read, and none of it counts as drawn."""
    fields: dict[str, Any] = {
        "id": "1",
        "time": NOON,
        "source": "OutboxDemo.Books",
        "version": 2,
        "aggregate_type": "Book",
        "aggregate_id": "Team Topologies",
        "sequence": 0,
        "correlation_id": "order-7d0f2c",
        "causation_id": "import-2026-11-23",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    }
    event = Event("BookAdded", BOOK, **fields)
    assert {name: getattr(event, name) for name in fields} == fields
    assert (event.type, event.data) == ("BookAdded", BOOK)
    assert event.with_defaults(id="another", time=NOON + timedelta(1)) == event


def test_time_is_kept_in_utc() -> None:
    """A time with another offset is the same moment in UTC."""
    event = Event("BookAdded", {}, time=datetime(2026, 11, 23, 13, tzinfo=timezone(timedelta(hours=1))))
    assert (event.time, event.time.tzinfo) == (NOON, UTC)


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"type": ""}, "type"),
        ({"type": None}, "type"),
        ({"type": "x" * 129}, "type"),
        ({"type": "\ud800"}, "type"),
        ({"id": ""}, "id"),
        ({"id": 7}, "id"),
        ({"time": datetime(2026, 11, 23, 12)}, "time"),  # noqa: DTZ001  # the mistake that is tested
        ({"time": "2026-11-23T12:00:00Z"}, "time"),
        ({"time": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=1)))}, "time"),
        ({"source": ""}, "source"),
        ({"source": "aws.dynamodb"}, "source"),
        ({"version": 0}, "version"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"sequence": -1}, "sequence"),
        ({"sequence": 2**63}, "sequence"),
        ({"sequence": 1.0}, "sequence"),
        ({"aggregate_type": "Book"}, "aggregate_type"),
        ({"aggregate_id": "Team Topologies"}, "aggregate_type"),
        ({"aggregate_type": "Book#2", "aggregate_id": "1"}, "aggregate_type"),
        ({"aggregate_type": "Book", "aggregate_id": ""}, "aggregate_id"),
        ({"aggregate_id": ""}, "aggregate_id"),
        ({"correlation_id": ""}, "correlation_id"),
        ({"causation_id": 1}, "causation_id"),
        ({"traceparent": b""}, "traceparent"),
        ({"data": None}, "data"),
        ({"data": [("name", "Team Topologies")]}, "data"),
        ({"data": {1: "year"}}, "data"),
        ({"data": {"\udfff": "year"}}, "data"),
        ({"data": {"authors": ["Matthew Skelton", {"Manuel", "Pais"}]}}, "data.authors[1]"),
        ({"data": {"book": {"published": NOON}}}, "data.book.published"),
        ({"data": {"price": float("nan")}}, "data.price"),
        ({"data": {"price": float("-inf")}}, "data.price"),
        ({"data": {"price": Decimal("Infinity")}}, "data.price"),
        ({"data": {"name": "\ud800"}}, "data.name"),
    ],
)
def test_an_event_that_could_never_be_sent_is_refused(arguments: dict[str, Any], field: str) -> None:
    """A field that could not be written, sent and read back is refused when the event is made, by name."""
    with pytest.raises(InvalidEventError) as caught:
        Event(**{"type": "BookAdded", "data": {}, **arguments})
    assert caught.value.field == field


@pytest.mark.parametrize("fields", [{"type": "x" * 128}, {"sequence": 2**63 - 1}, {"source": "aws"}])
def test_the_limits_themselves_are_taken(fields: dict[str, Any]) -> None:
    """A value right at its limit is fine."""
    Event(**{"type": "BookAdded", "data": {}, **fields})


@pytest.mark.parametrize(
    ("given_data", "kept", "text"),
    [
        ({"authors": ("Skelton", "Pais")}, {"authors": ["Skelton", "Pais"]}, '{"authors":["Skelton","Pais"]}'),
        ({"title": "Émile"}, {"title": "Émile"}, '{"title":"Émile"}'),
        ({"kind": Kind.ADDED}, {"kind": "BookAdded"}, '{"kind":"BookAdded"}'),
        ({Kind.ADDED: 1}, {"BookAdded": 1}, '{"BookAdded":1}'),
        (
            {"price": Decimal("24.950"), 'say "when"': [Decimal("1E+5"), None, {"a": True}], "n": {}},
            {"price": Decimal("24.950"), 'say "when"': [Decimal("1E+5"), None, {"a": True}], "n": {}},
            '{"price":24.950,"say \\"when\\"":[1E+5,null,{"a":true}],"n":{}}',
        ),
    ],
)
def test_data_are_normalised_to_json_values(given_data: dict[str, Any], kept: dict[str, Any], text: str) -> None:
    """Data become JSON's own types, and their text holds every digit of a Decimal."""
    event = Event("BookAdded", given_data)
    assert (event.data, event.data_json) == (kept, text)


def test_a_text_subclass_counts_by_its_value() -> None:
    """An enum member given as a field means its text, not its name."""
    assert Event(Kind.ADDED, {}).type == "BookAdded"


@given(data=json_objects)
def test_data_text_reads_back_as_the_data(data: dict[str, Any]) -> None:
    """The text of JSON values is JSON for the same values."""
    assert json.loads(Event("BookAdded", data).data_json) == data


def test_data_nest_64_levels_deep() -> None:
    """64 levels of data are taken, and one more is refused with the path to it."""
    data: dict[str, Any] = {"innermost": 1}
    for _ in range(63):
        data = {"a": data}
    Event("BookAdded", data)
    with pytest.raises(InvalidEventError, match="nested more than 64 levels deep"):
        Event("BookAdded", {"a": data})


def test_what_the_caller_changes_later_does_not_change_the_event() -> None:
    """The data are a copy."""
    authors = ["Matthew Skelton"]
    event = Event("BookAdded", {"authors": authors})
    authors.append("Manuel Pais")
    assert event.data == {"authors": ["Matthew Skelton"]}


def test_an_event_is_frozen() -> None:
    """No field can be set or deleted."""
    event = Event("BookAdded", BOOK)
    with pytest.raises(AttributeError, match="Event is frozen: 'type' can't be set"):
        event.type = "BookRemoved"
    with pytest.raises(AttributeError, match="Event is frozen: 'type' can't be deleted"):
        del event.type


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "BookRemoved"},
        {"data": {}},
        {"id": "2"},
        {"time": NOON + timedelta(microseconds=1)},
        {"source": "Other"},
        {"version": 2},
        {"aggregate_id": "Accelerate"},
        {"sequence": 2},
        {"correlation_id": "c"},
        {"causation_id": "c"},
        {"traceparent": "t"},
    ],
)
def test_events_are_equal_where_all_their_fields_are(changes: dict[str, Any]) -> None:
    """Two events made alike are equal and hash alike; one field changed makes another event."""
    fields: dict[str, Any] = {"id": "1", "time": NOON, "aggregate_type": "Book", "aggregate_id": "Team Topologies"}
    event = Event("BookAdded", BOOK, **fields)
    assert (event, hash(event)) == (Event("BookAdded", BOOK, **fields), hash(Event("BookAdded", BOOK, **fields)))
    changed = event.replace(**changes)
    assert changed != event
    assert {name: getattr(changed, name) for name in changes} == changes


def test_an_event_equals_nothing_else() -> None:
    """An event is not equal to an object that is not an event."""
    assert Event("BookAdded", BOOK) != BOOK


def test_a_replaced_field_no_longer_counts_as_drawn() -> None:
    """A copy keeps the drawn id and time, and knows which of them was drawn."""
    event = Event("BookAdded", BOOK)
    copy = event.replace(id="1", source="OutboxDemo.Books")
    assert (copy.time, copy.data) == (event.time, BOOK)
    assert copy.with_defaults(id="another", time=NOON) == copy.replace(time=NOON)
    with pytest.raises(InvalidEventError):
        event.replace(sequence=-1)


def from_text(data: str) -> Event:
    """Return an event as it is read from an outbox item."""
    return event_from_texts(("BookAdded", "Books", None, 1), "1", NOON, None, data=data, context="{}")


def test_text_data_are_read_when_asked_for() -> None:
    """Data given as text is passed on unchanged; reading it raises an error if it is not a JSON object."""
    event = from_text('{"year": 2019}')
    assert (event.data_json, event.data) == ('{"year": 2019}', {"year": 2019})
    for text in ("[]", "no JSON", '{"price": NaN}', "", "[" * 100_000):
        broken = from_text(text)
        with pytest.raises(DecodeError) as caught:
            broken.data  # noqa: B018  # reading raises
        assert caught.value.path == "eventData"


def test_an_event_shows_its_fields() -> None:
    """The representation names the fields and their values."""
    assert repr(Event("BookAdded", {"year": 2019}, id="1", time=NOON)).startswith(
        "Event(type='BookAdded', data={'year': 2019}, id='1', "
    )


def test_uuid7_is_laid_out_as_rfc_9562_says() -> None:
    """Milliseconds, then version, a fraction of a millisecond, variant and random bits: as in RFC 9562's example."""
    made = UUID(uuid7(0x017F22E279B0 * 1_000_000 + 500_000, bytes.fromhex("98c4dc0c0c07398f")))
    assert (made.version, made.variant, made.int >> 80) == (7, RFC_4122, 0x017F22E279B0)
    assert str(made) == "017f22e2-79b0-7800-98c4-dc0c0c07398f"


def test_uuid7s_sort_by_time() -> None:
    """An id that is made later, even within a millisecond, sorts after an earlier one."""
    ids = [uuid7(1_795_426_200_000_000_000 + step * 1_000, b"\xff" * 8) for step in range(2_000)]
    assert ids == sorted(set(ids))


def test_uuid8_is_a_function_of_its_digest() -> None:
    """The same digest gives the same UUIDv8, another digest another."""
    made = uuid8(bytes(range(32)))
    assert (UUID(made).version, UUID(made).variant) == (8, RFC_4122)
    assert made == uuid8(bytes(range(32))) == "00010203-0405-8607-8809-0a0b0c0d0e0f"
    assert made != uuid8(bytes(range(1, 33)))


class Extended(Event):
    """Event with its own constructor, slot and attributes."""

    __slots__ = ("__dict__", "extra")
    extra: int
    more: int

    def __init__(self, name: str) -> None:
        super().__init__("Extended", {"name": name})
        fill(self, "extra", 5)
        fill(self, "more", 6)


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda event: event.replace(source="Books", sequence=1)])
def test_a_subclass_is_copied_with_what_it_adds(copied: Callable[[Extended], Any]) -> None:
    """A subclass with its own constructor can be copied and replaced, and so emitted; its own attributes are kept."""
    event = copied(Extended("Dune"))
    assert type(event) is Extended
    assert (event.data, event.extra, event.more) == ({"name": "Dune"}, 5, 6)
    assert event.replace(correlation_id="c").extra == 5


def test_a_copy_shares_no_data() -> None:
    """A copied event is equal, and a change of its data is not seen in the original, nor the other way round."""
    event = Event("A", {"tags": [{"a": 1}]}, id="1", aggregate_type="Book", aggregate_id="a", sequence=1)
    copy = event.copied()
    assert copy == event
    copy.data["tags"][0]["a"] = 2
    event.data["tags"].append(3)
    assert (event.data, copy.data) == ({"tags": [{"a": 1}, 3]}, {"tags": [{"a": 2}]})


def test_a_copy_of_an_unread_event_is_unread() -> None:
    """A copy of an event from an outbox item reads its data for itself."""
    item = encode_event(Event("A", {"tags": []}, source="Books"), expires_at=0, keys=TableKeys())
    event = decode_event(item)
    copy = event.copied()
    copy.data["tags"].append(1)
    assert event.data == {"tags": []}


def test_a_copy_of_a_subclass_keeps_its_attributes() -> None:
    """An event of a subclass is copied with what the subclass added."""

    class Named(Event):
        name = "a"

    named = Named("A", {"tags": []})
    copy = named.copied()
    assert (type(copy), copy.name, copy) == (Named, "a", named)
    copy.data["tags"].append(1)
    assert named.data == {"tags": []}


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("019ab3f0-1c00-7000-8000-000000000000", datetime(2025, 11, 24, 3, 37, 28, 832_000, tzinfo=UTC)),
        ("00000000-0000-7000-8000-000000000000", datetime(1970, 1, 1, tzinfo=UTC)),
        ("ffffffff-ffff-7fff-bfff-ffffffffffff", None),
        ("019ab3f0-1c00-4000-8000-000000000000", None),
        ("019ab3f0-1c00-7000-c000-000000000000", None),
        ("019AB3F0-1C00-7000-8000-000000000000", None),
        ("x019ab3f0-1c00-7000-8000-000000000000", None),
        ("019ab3f0-1c00-7000-8000-000000000000\n", None),
        ("", None),
    ],
)
def test_a_uuid7_tells_its_time(text: str, moment: datetime | None) -> None:
    """The time in a UUIDv7 is read to the millisecond; any other text has none."""
    assert uuid7_time(text) == moment


def test_the_time_of_a_uuid7_comes_back() -> None:
    """The time of an id that the library makes is the time at which it was made, to the millisecond."""
    moment = datetime(2026, 11, 23, 9, 30, 0, 123_000, tzinfo=UTC)
    assert uuid7_time(uuid7(int(moment.timestamp() * 1000) * 1_000_000, bytes(8))) == moment
