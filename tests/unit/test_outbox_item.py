"""The outbox item, format 1."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event
from dynamo_outbox.events.outbox_item import ItemLayout, event_of, is_outbox_image, item_of, time_text
from dynamo_outbox.errors import DecodeError, InvalidEventError

if TYPE_CHECKING:
    from collections.abc import Callable

ID = "01a207bd-aa3b-774b-9ac1-f03e77d21b9c"


def book_added(**fields: Any) -> Event:
    data = {"name": "Team Topologies", "authors": ["Matthew Skelton", "Manuel Pais"], "year": 2019}
    time = datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=UTC)
    return Event("BookAdded", data, **{"id": ID, "time": time, "source": "OutboxDemo.Books", **fields})


@pytest.fixture
def image(load_event: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The new image of the insertion in the sample batch."""
    inserted: dict[str, Any] = load_event("stream_of_events_table")["Records"][0]["dynamodb"]["NewImage"]
    return inserted


def test_an_item_holds_the_whole_event(image: dict[str, Any]) -> None:
    """An event with everything set is written as format 1 says, attribute by attribute."""
    event = book_added(
        aggregate_type="Book",
        aggregate_id="Team Topologies",
        sequence=1,
        correlation_id="order-7d0f2c",
        causation_id="import-2026-11-23",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )
    assert item_of(event, expires_at=1796031000, layout=ItemLayout()) == image
    assert event_of(image) == event


def test_every_attribute_is_always_there() -> None:
    """An event with nothing optional set has the same attributes, empty where there is nothing to say."""
    event = book_added()
    item = item_of(event, expires_at=1796031000, layout=ItemLayout())
    assert (item["pk"], item["sk"]) == ({"S": ID}, {"S": ID})
    assert (item["aggregateType"], item["aggregateId"], item["eventContext"]) == ({"S": ""}, {"S": ""}, {"S": "{}"})
    full = book_added(aggregate_type="Book", aggregate_id="Team Topologies", sequence=1)
    assert item.keys() == item_of(full, expires_at=0, layout=ItemLayout()).keys()
    assert event_of(item) == event


def test_keys_and_ttl_are_called_as_the_layout_says() -> None:
    """A layout renames the key and TTL attributes and puts its prefix before the partition key's value."""
    layout = ItemLayout(partition_key="PK", sort_key="SK", key_prefix="EVENT#", ttl_attribute="ttl")
    event = book_added(aggregate_type="Book", aggregate_id="Team Topologies", sequence=12)
    item = item_of(event, expires_at=1796031000, layout=layout)
    assert item["PK"] == {"S": "EVENT#Book#Team Topologies"}
    assert item["SK"] == {"S": f"00000000000000000012#{ID}"}
    assert item["ttl"] == {"N": "1796031000"}
    assert not item.keys() & {"pk", "sk", "expiresAt"}
    assert event_of(item) == event


def test_a_layout_is_a_value() -> None:
    """Layouts are equal where their names are."""
    assert ItemLayout(sort_key="SK") == ItemLayout(sort_key="SK") != ItemLayout()


def test_sort_keys_sort_as_their_sequences() -> None:
    """The text of sort keys sorts as their numbers do, the largest sequence included."""
    sequences = [0, 9, 10, 99, 2**63 - 1]
    texts = [
        item_of(book_added(sequence=each), expires_at=0, layout=ItemLayout())["sk"]["S"] for each in reversed(sequences)
    ]
    assert sorted(texts) == texts[::-1]


def test_an_event_without_a_source_is_not_written() -> None:
    """An item needs a source."""
    with pytest.raises(InvalidEventError) as caught:
        item_of(book_added(source=None), expires_at=0, layout=ItemLayout())
    assert caught.value.field == "source"


def test_a_decimal_is_written_as_a_json_number_with_all_its_digits() -> None:
    """A Decimal in the data becomes a JSON number that nothing rounds."""
    event = Event("PriceSet", {"price": Decimal("24.9500000000000000000000000000000001")}, source="OutboxDemo.Books")
    written = item_of(event, expires_at=0, layout=ItemLayout())["eventData"]["S"]
    assert written == '{"price":24.9500000000000000000000000000000001}'


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 11, 23, 9, 30, tzinfo=UTC), "2026-11-23T09:30:00.000000Z"),
        (datetime(2026, 11, 23, 9, 30, 0, 5, tzinfo=timezone(timedelta(hours=-1))), "2026-11-23T10:30:00.000005Z"),
        (datetime(1, 1, 1, tzinfo=UTC), "0001-01-01T00:00:00.000000Z"),
    ],
)
def test_time_is_text_of_one_width(moment: datetime, text: str) -> None:
    """A time is written in UTC with microseconds, so that text sorts as time does."""
    assert time_text(moment) == text


@pytest.mark.parametrize(
    ("attribute", "value", "path"),
    [
        *((name, None, name) for name in ("eventId", "eventType", "eventData", "source", "outboxFormat")),
        *((name, None, name) for name in ("eventTime", "eventVersion", "aggregateType", "aggregateId", "eventContext")),
        ("eventId", {"N": "1"}, "eventId"),
        ("eventId", {"S": ""}, "id"),
        ("eventTime", {"S": "yesterday"}, "eventTime.S"),
        ("eventTime", {"S": "2026-11-23T09:30:00"}, "eventTime.S"),
        ("eventVersion", {"N": "1.5"}, "eventVersion.N"),
        ("eventVersion", {"N": "0"}, "version"),
        ("eventVersion", {"N": "9" * 5_000}, "eventVersion.N"),
        ("aggregateId", {"S": ""}, "aggregate_type"),
        ("eventContext", {"S": "[]"}, "eventContext.S"),
        ("eventContext", {"S": "{"}, "eventContext.S"),
        ("eventContext", {"S": '{"sequence":"1"}'}, "sequence"),
        ("outboxFormat", {"N": "2"}, "outboxFormat.N"),
        ("outboxFormat", {"N": "1.0"}, "outboxFormat.N"),
    ],
)
def test_an_item_that_is_not_of_format_1_is_refused(
    image: dict[str, Any], attribute: str, value: dict[str, str] | None, path: str
) -> None:
    """An attribute that is missing, mistyped or meaningless, or another format, is a DecodeError that names it."""
    broken = deepcopy(image)
    if value is None:
        del broken[attribute]
    else:
        broken[attribute] = value
    with pytest.raises(DecodeError) as caught:
        event_of(broken)._read_texts()  # the context is text until it is read, as the data are
    assert caught.value.path == path


def test_data_that_are_no_object_are_refused_when_they_are_read(image: dict[str, Any]) -> None:
    """The data stay text until they are asked for."""
    event = event_of(image | {"eventData": {"S": json.dumps(["no", "object"])}})
    with pytest.raises(DecodeError, match="holds a JSON list where an object belongs"):
        event.data  # noqa: B018  # reading raises


@pytest.mark.parametrize(
    ("candidate", "expected"),
    [
        ({"outboxFormat": {"N": "1"}}, True),
        ({"outboxFormat": {"N": "99"}}, True),
        ({"pk": {"S": "1"}}, False),
        (None, False),
    ],
)
def test_an_outbox_item_is_known_by_its_format_attribute(candidate: object, *, expected: bool) -> None:
    """Any image with an outboxFormat is an outbox item, whichever the format."""
    assert is_outbox_image(candidate) is expected
