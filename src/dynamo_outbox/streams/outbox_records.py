"""The outbox's reading of a stream record: the event that it inserts, and the key by which records keep order."""

from __future__ import annotations

from hashlib import sha256

from ..errors import DecodeError
from ..events.outbox_item import decode_event
from ..log_lines import EventNames

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ..events.event import Event
    from .records import StreamRecord

__all__ = ["event_names", "inserted_events", "ordering_key"]

UNREADABLE = "unreadable"
"""The ordering key of every item whose key can't be read: none of them overtakes another."""
MAX_KEY_CHARACTERS = 2048
"""The start of a longer ordering key is kept, and its digest: no key of an item that DynamoDB takes is longer."""


def inserted_events(record: StreamRecord) -> tuple[Event, ...]:
    """Return the event that a record inserts; none for any other change, such as a removal by TTL.

    Raises:
        DecodeError: The record has no new image, or its outbox item is malformed.
    """
    if record.event_name != "INSERT":
        return ()
    image = record.raw["dynamodb"].get("NewImage")
    if image is None:
        raise DecodeError("dynamodb.NewImage", "is missing; the stream needs the view type NEW_IMAGE")
    if not isinstance(image, dict) or "outboxFormat" not in image:
        return ()
    try:
        event = decode_event(image)
        _ = event.context, event.data  # now: malformed text must fail here and not at EventBridge
    except DecodeError as error:
        path = error.within("dynamodb.NewImage").path
        raise DecodeError(path, error.problem, index=record.index, sequence_number=record.sequence_number) from None
    return (event,)


def event_names(raw: object) -> EventNames | None:
    """Return what identifies the outbox item in a raw record, also in one that can't be decoded; None in any other."""
    match raw:
        case {"dynamodb": {"NewImage": {"outboxFormat": _, **image}}}:
            found = [_text_of(image.get(name)) for name in ("eventId", "eventType", "aggregateType", "aggregateId")]
            aggregate = f"{found[2]}#{found[3]}" if found[2] and found[3] else None
            return EventNames(found[0], found[1], aggregate)
        case _:
            return None


def _text_of(value: object) -> str | None:
    match value:
        case {"S": str(text)} if text:
            return text
        case _:
            return None


def ordering_key(
    record: StreamRecord | DecodeError, *, by_aggregate: bool = False, attribute: str | None = None
) -> str | None:
    """Return the key by which a record keeps its order; None if a record that can't be decoded has none.

    Args:
        record: The record.
        by_aggregate: Use the aggregate of an outbox item, also of one that can't be decoded as an event.
        attribute: Otherwise use this key attribute; by default the whole key, as the stream itself does.

    Raises:
        ValueError: `attribute` is not part of the table's key.
    """
    key = _ordering_key(record, by_aggregate=by_aggregate, attribute=attribute)
    return None if key is None else _storable(key)


def _storable(key: str) -> str:
    """Return an ordering key as it can be stored: as Unicode text, and not too long."""
    text = key if key.isascii() else key.encode("utf-8", "backslashreplace").decode()
    if len(text) <= MAX_KEY_CHARACTERS:
        return text
    return f"{text[:64]}#sha256#{sha256(text.encode()).hexdigest()}"


def _ordering_key(record: StreamRecord | DecodeError, *, by_aggregate: bool, attribute: str | None) -> str | None:
    raw: Any = record.raw
    try:
        change = raw["dynamodb"]
        if by_aggregate:
            match change.get("NewImage"):
                case {"aggregateType": {"S": str(kind)}, "aggregateId": {"S": str(name)}} if kind and name:
                    return f"{kind}#{name}"
        keys = change["Keys"].items()
    except (AttributeError, KeyError, TypeError):
        return None  # only a record that can't be decoded lacks these
    if attribute is None:
        try:
            return repr(sorted(keys))
        except (RecursionError, TypeError, ValueError):  # not what DynamoDB sends
            return UNREADABLE
    for name, value in keys:
        if name == attribute:
            return f"{attribute}={value!r}"
    if isinstance(record, DecodeError):
        return None
    raise ValueError(f"order_by={attribute!r} is not a key attribute of this table; they are {sorted(dict(keys))}")
