"""Reading outbox items: the fast path against the plain one, on what is well formed and on what is not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Event
from dynamo_outbox.core.outbox_item import ItemLayout, _event_at_once, event_of, event_plainly, item_of
from dynamo_outbox.errors import DecodeError
from tests.strategies import damaged, events, json_values

if TYPE_CHECKING:
    from collections.abc import Callable

LAYOUT = ItemLayout()


def outcome(function: Callable[[Any], Event], image: Any) -> tuple[object, ...]:
    """What comes of a reading, comparable: every slot of the event, or the error with all it says."""
    try:
        event = function(image)
    except DecodeError as error:
        return type(error), str(error), vars(error)
    return type(event), [(name, getattr(event, name)) for name in Event.__slots__]


def image_of(event: Event) -> dict[str, Any]:
    return item_of(event, expires_at=1, layout=LAYOUT)


@given(events())
def test_an_event_is_read_as_by_the_plain_path(event: Event) -> None:
    """Every event that can be written is read as the plain path reads it, the second time as the first."""
    image = image_of(event)
    assert outcome(event_of, image) == outcome(event_plainly, image) == outcome(event_of, image)


_texts = st.text(max_size=3) | st.sampled_from(
    [
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
        *('{"sequence":null}', '{"other":1e999}', '{"other":NaN}', '{"traceparent":""}', '{"correlationId":"\\ud800"}'),
        *(
            "2026-11-24",
            "2026-11-24T09:00:00Z",
            "2026-11-24T09:00:00+01:00",
            "2026-11-24T09:00:00",
            "0001-01-01T00:00+23:00",
        ),
    ]
)


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


def test_an_ordinary_item_takes_the_fast_path() -> None:
    """What the library writes is not left to the plain path, and what comes of it is frozen."""
    event = Event("BookAdded", {"name": "Ulysses"}, source="Books", aggregate_type="Book", aggregate_id="1", sequence=3)
    read = _event_at_once(image_of(event))
    assert read == event
    with pytest.raises(AttributeError, match="frozen"):
        read.id = "another"
