"""Hypothesis strategies: JSON values, DynamoDB's values, events, and damaged samples."""

from __future__ import annotations

from copy import deepcopy
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from dynamo_outbox import Event

__all__ = ["damaged", "dynamodb_items", "events", "json_objects", "json_values", "numbers"]

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda members: st.lists(members) | st.dictionaries(st.text(), members),
    max_leaves=10,
)
json_objects = st.dictionaries(st.text(), json_values, max_size=5)


def _number(negative: bool, coefficient: int, magnitude: int) -> Decimal:
    digits = tuple(map(int, str(coefficient)))
    return Decimal((int(negative), digits, magnitude - len(digits) + 1))


numbers = st.just(Decimal(0)) | st.builds(
    _number, st.booleans(), st.integers(1, 10**38 - 1), st.integers(-130, 125) | st.integers(-3, 20)
)
"""Numbers that DynamoDB's N can hold: up to 38 digits, from 1E-130 to 9.99…E+125 in magnitude."""

_scalars = st.one_of(st.none(), st.booleans(), st.text(), st.binary(), numbers)
_sets = st.one_of(*(st.sets(members, min_size=1, max_size=4) for members in (st.text(), st.binary(), numbers)))
dynamodb_items = st.dictionaries(
    st.text(min_size=1),
    st.recursive(
        _scalars | _sets, lambda members: st.lists(members) | st.dictionaries(st.text(), members), max_leaves=10
    ),
    max_size=5,
)
"""Items as Python values, with each of DynamoDB's types."""

_names = st.text(min_size=1, max_size=40)
_plain_names = st.text(
    st.characters(exclude_characters='"\\\x7f', exclude_categories=["Cs"], min_codepoint=0x20), min_size=1, max_size=40
)
_zones = st.timedeltas(timedelta(hours=-23), timedelta(hours=23)).map(timezone)
_FIRST, _LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001  # Hypothesis adds the zones
_times = st.datetimes(_FIRST, _LAST, timezones=_zones)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Events with a source, whose data are JSON values."""
    has_aggregate = draw(st.booleans())
    return Event(
        draw(_plain_names),
        draw(json_objects),
        id=draw(_plain_names),
        time=draw(_times),
        source=draw(_names.filter(lambda text: not text.startswith("aws."))),
        version=draw(st.integers(1, 2**63 - 1)),
        aggregate_type=draw(_names.filter(lambda text: "#" not in text)) if has_aggregate else None,
        aggregate_id=draw(_names) if has_aggregate else None,
        sequence=draw(st.none() | st.integers(0, 2**63 - 1)),
        correlation_id=draw(st.none() | _names),
        causation_id=draw(st.none() | _names),
        traceparent=draw(st.none() | _names),
    )


@st.composite
def damaged(draw: st.DrawFn, sample: dict[str, Any]) -> Any:
    """The sample with a part, or all of it, removed or replaced by any JSON value."""
    holder: Any = {"sample": deepcopy(sample)}
    root, key = holder, "sample"
    while True:
        inner = holder[key]
        keys: list[Any] = list(inner) if isinstance(inner, dict) else list(range(len(inner)))
        if not keys or draw(st.integers(0, 5)) == 0:
            break
        holder, key = inner, draw(st.sampled_from(keys))
        if not isinstance(holder[key], (dict, list)):
            break
    if holder is not root and draw(st.booleans()):
        del holder[key]
    else:
        holder[key] = draw(json_values)
    return root["sample"]
