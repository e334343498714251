"""Outbox items: the fast decoder and its reference agree on valid and invalid input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Event, TableKeys, decode_record, parse_event
from dynamo_outbox.errors import DecodeError
from dynamo_outbox.events import outbox_item
from dynamo_outbox.events.outbox_item import decode_event, decode_event_reference, encode_event
from dynamo_outbox.streams.outbox_records import inserted_events

from ..strategies import damaged, events, json_values

if TYPE_CHECKING:
    from collections.abc import Callable

KEYS = TableKeys()


def outcome(function: Callable[[Any], Event], image: Any) -> tuple[object, ...]:
    """Return a comparable outcome: every field of the event, or the error with its text and attributes."""
    try:
        event = function(image)
    except DecodeError as error:
        return type(error), str(error), vars(error)
    return type(event), event._drawn, [held(event, name) for name in (*Event.FIELDS, "data_json", "aggregate")]


def held(event: Event, name: str) -> object:
    try:
        value = getattr(event, name)
    except DecodeError as error:
        return type(error), str(error), vars(error)
    return type(value), value


def image_of(event: Event) -> dict[str, Any]:
    return encode_event(event, expires_at=1, keys=KEYS)


@given(events())
def test_an_event_is_read_as_by_the_reference(event: Event) -> None:
    """Every event that can be written is decoded as by the reference, also when it is decoded again."""
    image = image_of(event)
    assert outcome(decode_event, image) == outcome(decode_event_reference, image) == outcome(decode_event, image)


ODD: list[Any] = [
    *(
        "",
        "1",
        "2",
        "01",
        "0",
        "\u0661",
        'a"b',
        "a\\b",
        "a\nb",
        "a\x7fb",
        "é",
        "\ud800",
        "aws.ec2",
        "A#B",
        "T" * 129,
        "{}",
        "{} ",
        "[]",
        "null",
        "{",
    ),
    *(
        '{"sequence":1}',
        '{"sequence":-1}',
        '{"sequence":true}',
        '{"sequence":1.0}',
        '{"sequence":9223372036854775808}',
    ),
    *("{}x", '{"sequence":1}}', b"", b"1", b"{}", None, 1, {}),
    *('{"sequence":null}', '{"other":1e999}', '{"other":NaN}', '{"traceparent":""}', '{"correlationId":"\\ud800"}'),
    *(
        "2026-11-24",
        "2026-11-24T09:00:00Z",
        "2026-11-24T09:00:00+01:00",
        "2026-11-24T09:00:00",
        "0001-01-01T00:00+23:00",
    ),
]
TEXTS = [odd for odd in ODD if isinstance(odd, str)]
_texts = st.text(max_size=3) | st.sampled_from(TEXTS)
EVENT = Event("BookAdded", {"name": "Ulysses"}, source="Books", aggregate_type="Book", aggregate_id="1", sequence=3)


@pytest.mark.parametrize("name", sorted(encode_event(EVENT, expires_at=1, keys=KEYS)))
@pytest.mark.parametrize("tag", ["S", "N"])
def test_an_item_with_an_odd_text_is_read_as_by_the_reference(name: str, tag: str) -> None:
    """An item with one odd value is decoded, or refused, as by the reference."""
    for event in (EVENT, EVENT.replace(aggregate_type=None, aggregate_id=None)):
        for odd in ODD:
            image = image_of(event) | {name: {tag: odd}}
            assert outcome(decode_event, image) == outcome(decode_event_reference, image), odd


@given(st.data(), events())
def test_a_damaged_item_is_read_as_by_the_reference(data: st.DataObject, event: Event) -> None:
    """An item with any value replaced or removed is decoded, or refused, as by the reference."""
    image = image_of(event)
    name = data.draw(st.sampled_from(sorted(image)))
    tag = data.draw(st.sampled_from(["S", "N"]))
    image[name] = data.draw(st.just({tag: data.draw(_texts)}) | json_values)
    assert outcome(decode_event, image) == outcome(decode_event_reference, image)
    image = data.draw(damaged(image))
    if isinstance(image, dict):
        assert outcome(decode_event, image) == outcome(decode_event_reference, image)


def test_an_item_of_bytes_is_refused() -> None:
    """Bytes are not text, even if all the values that are joined are bytes."""
    texts = {"eventId": b"1", "aggregateId": b"1", "eventContext": b"{}"}
    image = image_of(EVENT) | {name: {"S": value} for name, value in texts.items()}
    assert outcome(decode_event, image) == outcome(decode_event_reference, image)
    assert outcome(decode_event, image)[0] is DecodeError


def test_an_ordinary_item_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """An item that the library wrote takes the fast path, and the decoded event is frozen."""
    decode_event(image_of(EVENT))  # checks and caches the values that items share
    monkeypatch.setattr(outbox_item, "decode_event_reference", None)
    read = decode_event(image_of(EVENT))
    assert read == EVENT
    with pytest.raises(AttributeError, match="frozen"):
        read.id = "another"


def test_texts_are_read_at_once_where_a_broken_one_must_not_go_on() -> None:
    """A malformed context is an error when the relay reads the record and when a consumer parses the event."""
    image = image_of(Event("A", {}, source="B")) | {"eventContext": {"S": '{"sequence":-1}'}}
    record: dict[str, Any] = {"eventID": "1", "eventName": "INSERT", "dynamodb": {"Keys": {}, "NewImage": image}}
    with pytest.raises(DecodeError) as caught:
        parse_event({"detail": record, "source": "Pipe"})
    assert caught.value.path == "detail.dynamodb.NewImage.sequence"
    record["dynamodb"]["ApproximateCreationDateTime"] = 1
    with pytest.raises(DecodeError) as caught:
        inserted_events(decode_record(record))
    assert caught.value.path == "dynamodb.NewImage.sequence"
