"""Reading outbox items: the fast path against the plain one, on what is well formed and on what is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamo_outbox import Event, decode_record, parse_event
from dynamo_outbox.events import event as event_module
from dynamo_outbox.events import outbox_item
from dynamo_outbox.events.context import context_at_once
from dynamo_outbox.events.outbox_item import ItemLayout, event_of, event_plainly, item_of
from dynamo_outbox.errors import DecodeError
from dynamo_outbox.events.event import _context_plainly
from dynamo_outbox.relaying.processors import _outbox_events
from tests.strategies import damaged, events, json_values

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT = ItemLayout()


def outcome(function: Callable[[Any], Event], image: Any) -> tuple[object, ...]:
    """What comes of a reading, comparable: all that the event holds, or each error with all it says."""
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
    return item_of(event, expires_at=1, layout=LAYOUT)


@given(events())
def test_an_event_is_read_as_by_the_plain_path(event: Event) -> None:
    """Every event that can be written is read as the plain path reads it, the second time as the first."""
    image = image_of(event)
    assert outcome(event_of, image) == outcome(event_plainly, image) == outcome(event_of, image)


ODD: list[Any] = [
    *(
        "",
        "1",
        "2",
        "01",
        "0",
        "\u0661",
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


@pytest.mark.parametrize("name", sorted(item_of(EVENT, expires_at=1, layout=LAYOUT)))
@pytest.mark.parametrize("tag", ["S", "N"])
def test_an_item_with_an_odd_text_is_read_as_by_the_plain_path(name: str, tag: str) -> None:
    """An item with one of its texts replaced by an odd one is read, or refused, as by the plain path."""
    for odd in ODD:
        image = image_of(EVENT) | {name: {tag: odd}}
        assert outcome(event_of, image) == outcome(event_plainly, image), odd


@given(st.data(), events())
def test_a_damaged_item_is_read_as_by_the_plain_path(data: st.DataObject, event: Event) -> None:
    """An item with an attribute replaced, by odd text or by anything, is read, or refused, as by the plain path."""
    image = image_of(event)
    name = data.draw(st.sampled_from(sorted(image)))
    tag = data.draw(st.sampled_from(["S", "N"]))
    image[name] = data.draw(st.just({tag: data.draw(_texts)}) | json_values)
    assert outcome(event_of, image) == outcome(event_plainly, image)
    image = data.draw(damaged(image))
    if isinstance(image, dict):
        assert outcome(event_of, image) == outcome(event_plainly, image)


def test_an_item_of_bytes_is_refused() -> None:
    """Bytes are no text, not even where all that is put together is bytes."""
    texts = {"eventId": b"1", "aggregateId": b"1", "eventContext": b"{}"}
    image = image_of(EVENT) | {name: {"S": value} for name, value in texts.items()}
    assert outcome(event_of, image) == outcome(event_plainly, image)
    assert outcome(event_of, image)[0] is DecodeError


_MEMBERS = st.dictionaries(
    st.sampled_from(["sequence", "correlationId", "causationId", "traceparent", "other"]),
    st.none() | st.booleans() | st.integers() | st.just(2**63) | st.text(max_size=2) | st.floats(),
)


@example('{"other":NaN}', "")
@example('{"sequence":NaN,"sequence":1}', "")
@example('{"correlationId":1e999,"correlationId":"a"}', "")
@example('{"traceparent":"\\ud800"}', "")
@given(_MEMBERS.map(json.dumps) | _texts, st.sampled_from(["", " ", "x", "}"]))
def test_a_context_is_read_as_by_the_plain_path(text: str, behind: str) -> None:
    """What the fast path lets through, the plain path reads as the same values; on all else it decides alone."""
    try:
        at_once = context_at_once(text + behind)
    except Exception:
        return
    assert at_once == _context_plainly(text + behind)
    assert list(map(type, at_once)) == list(map(type, _context_plainly(text + behind)))


def test_an_ordinary_item_takes_the_fast_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library writes is not left to the plain path, and what comes of it is frozen."""
    event_of(image_of(EVENT))  # what it shares with others is checked, and remembered
    monkeypatch.setattr(outbox_item, "event_plainly", None)
    monkeypatch.setattr(event_module, "_context_plainly", None)
    read = event_of(image_of(EVENT))
    assert read == EVENT
    with pytest.raises(AttributeError, match="frozen"):
        read.id = "another"


def test_texts_are_read_at_once_where_a_broken_one_must_not_go_on() -> None:
    """A context that can't be read is found when the relay reads the record and when a consumer parses the event."""
    image = image_of(Event("A", {}, source="B")) | {"eventContext": {"S": '{"sequence":-1}'}}
    record: dict[str, Any] = {"eventID": "1", "eventName": "INSERT", "dynamodb": {"Keys": {}, "NewImage": image}}
    with pytest.raises(DecodeError) as caught:
        parse_event({"detail": record, "source": "Pipe"})
    assert caught.value.path == "detail.dynamodb.NewImage.sequence"
    record["dynamodb"]["ApproximateCreationDateTime"] = 1
    with pytest.raises(DecodeError) as caught:
        _outbox_events(decode_record(record))
    assert caught.value.path == "dynamodb.NewImage.sequence"
