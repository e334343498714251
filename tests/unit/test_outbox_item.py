"""The outbox item, format 1."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, TableKeys
from dynamo_outbox.errors import DecodeError, InvalidEventError
from dynamo_outbox.events.outbox_item import decode_event, encode_event, is_outbox_image, time_text

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
    assert encode_event(event, expires_at=1796031000, keys=TableKeys()) == image
    assert decode_event(image) == event


ESCAPED = ['a"b', '"', "a\\b", "a\x00", "a\nb", "\x1f", "a\x7f"]


@pytest.mark.parametrize("text", ESCAPED)
def test_id_and_type_hold_nothing_that_json_escapes(text: str, image: dict[str, Any]) -> None:
    """An id or type with a quote, a backslash or a control character is refused when written and when read."""
    with pytest.raises(InvalidEventError, match="holds a quote, a backslash or a control character") as refused:
        book_added(id=text)
    assert refused.value.field == "id"
    with pytest.raises(InvalidEventError, match="holds a quote, a backslash or a control character") as refused:
        Event(text, {})
    assert refused.value.field == "type"
    for attribute, field in (("eventId", "id"), ("eventType", "type")):
        with pytest.raises(DecodeError) as caught:
            decode_event(image | {attribute: {"S": text}})
        assert caught.value.path == field


@pytest.mark.parametrize("text", ESCAPED)
def test_other_fields_may_hold_what_json_escapes(text: str) -> None:
    """Source, aggregate, context and data may hold quotes, backslashes and control characters."""
    event = book_added(
        source=text,
        aggregate_type=text,
        aggregate_id=text,
        correlation_id=text,
        causation_id=text,
        traceparent=text,
    ).replace(data={text: text})
    assert decode_event(encode_event(event, expires_at=0, keys=TableKeys())) == event


@pytest.mark.parametrize("text", ["é", "日本", "a b", "a'b", "<a>", "a/b", "\x80", "\u2028", "🎉"])
def test_id_and_type_may_hold_any_other_text(text: str) -> None:
    """Text that JSON writes as it is may be an id and a type."""
    event = Event(text, {}, id=text, source="Books")
    assert decode_event(encode_event(event, expires_at=0, keys=TableKeys())) == event


def test_every_attribute_is_always_there() -> None:
    """An event with nothing optional set has the same attributes, empty where there is nothing to say."""
    event = book_added()
    item = encode_event(event, expires_at=1796031000, keys=TableKeys())
    assert (item["pk"], item["sk"]) == ({"S": ID}, {"S": ID})
    assert (item["aggregateType"], item["aggregateId"], item["eventContext"]) == ({"S": ""}, {"S": ""}, {"S": "{}"})
    full = book_added(aggregate_type="Book", aggregate_id="Team Topologies", sequence=1)
    assert item.keys() == encode_event(full, expires_at=0, keys=TableKeys()).keys()
    assert decode_event(item) == event


def test_keys_and_ttl_have_the_tables_names() -> None:
    """`TableKeys` renames the key and TTL attributes and puts its prefix before the partition key's value."""
    keys = TableKeys(partition_key="PK", sort_key="SK", prefix="EVENT#", ttl_attribute="ttl")
    event = book_added(aggregate_type="Book", aggregate_id="Team Topologies", sequence=12)
    item = encode_event(event, expires_at=1796031000, keys=keys)
    assert item["PK"] == {"S": "EVENT#Book#Team Topologies"}
    assert item["SK"] == {"S": f"00000000000000000012#{ID}"}
    assert item["ttl"] == {"N": "1796031000"}
    assert not item.keys() & {"pk", "sk", "expiresAt"}
    assert decode_event(item) == event


def test_table_keys_are_a_value() -> None:
    """Two `TableKeys` are equal if their names are."""
    assert TableKeys(sort_key="SK") == TableKeys(sort_key="SK") != TableKeys()


def test_sort_keys_sort_as_their_sequences() -> None:
    """The text of sort keys sorts as their numbers do, the largest sequence included."""
    sequences = [0, 9, 10, 99, 2**63 - 1]
    texts = [
        encode_event(book_added(sequence=each), expires_at=0, keys=TableKeys())["sk"]["S"]
        for each in reversed(sequences)
    ]
    assert sorted(texts) == texts[::-1]


def test_an_event_without_a_source_is_not_written() -> None:
    """An item needs a source."""
    with pytest.raises(InvalidEventError) as caught:
        encode_event(book_added(source=None), expires_at=0, keys=TableKeys())
    assert caught.value.field == "source"


def test_a_decimal_is_written_as_a_json_number_with_all_its_digits() -> None:
    """A Decimal in the data becomes a JSON number that nothing rounds."""
    event = Event("PriceSet", {"price": Decimal("24.9500000000000000000000000000000001")}, source="OutboxDemo.Books")
    written = encode_event(event, expires_at=0, keys=TableKeys())["eventData"]["S"]
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
        _ = decode_event(broken).context  # text until it is read, as the data are
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("", "eventContext.S"),
        (" ", "eventContext.S"),
        ("{}x", "eventContext.S"),
        ("null", "eventContext.S"),
        ('{"sequence":1}}', "eventContext.S"),
        ('{"other":NaN}', "eventContext.S"),
        ('{"other":1e999}', "eventContext.S"),
        ('{"sequence":NaN,"sequence":1}', "eventContext.S"),
        ('{"correlationId":1e999,"correlationId":"a"}', "eventContext.S"),
        ('{"sequence":-1}', "sequence"),
        ('{"sequence":true}', "sequence"),
        ('{"sequence":1.0}', "sequence"),
        ('{"sequence":9223372036854775808}', "sequence"),
        ('{"correlationId":"\\ud800"}', "correlation_id"),
        ('{"causationId":5}', "causation_id"),
        ('{"traceparent":""}', "traceparent"),
    ],
)
def test_a_malformed_context_is_refused_when_it_is_read(image: dict[str, Any], text: str, path: str) -> None:
    """Text that is not the JSON of an event's context raises a DecodeError when one of its fields is read."""
    event = decode_event(image | {"eventContext": {"S": text}})
    with pytest.raises(DecodeError) as caught:
        event.sequence  # noqa: B018  # reading raises
    assert caught.value.path == path


@pytest.mark.parametrize(
    ("text", "context"),
    [
        ("{}", (None, None, None, None)),
        ("{} ", (None, None, None, None)),
        (' {"sequence": 0}\n', (0, None, None, None)),
        ('{"sequence":null,"other":[]}', (None, None, None, None)),
        ('{"sequence":1,"sequence":2}', (2, None, None, None)),
        ('{"correlationId":"\\u00e9","causationId":"b","traceparent":"c"}', (None, "é", "b", "c")),
    ],
)
def test_a_context_is_read_from_any_json_text_of_it(
    image: dict[str, Any], text: str, context: tuple[int | None, str | None, str | None, str | None]
) -> None:
    """White space, null, unknown members and escapes in a context's text change nothing of its meaning."""
    assert decode_event(image | {"eventContext": {"S": text}}).context == context


def test_data_that_are_no_object_are_refused_when_they_are_read(image: dict[str, Any]) -> None:
    """The data stay text until they are asked for."""
    event = decode_event(image | {"eventData": {"S": json.dumps(["no", "object"])}})
    with pytest.raises(DecodeError, match="holds a JSON list instead of an object"):
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
