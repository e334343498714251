"""The outbox item, format 1: how an event is stored in DynamoDB.

Every attribute is always present, because a pipe's template can't handle a missing one. The data are final JSON text,
so that publishing encodes nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache

from ..codec.short_repr import short_repr
from ..errors import DecodeError, InvalidEventError
from .context import context_text
from .event import Event, checked_unicode, event_from_texts, needs_escape

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..options import TableKeys

__all__ = ["FORMAT", "check_keys", "decode_event", "encode_event", "is_outbox_image", "time_text"]

FORMAT = 1
_FORMAT_TEXT = str(FORMAT)

ATTRIBUTES = frozenset(
    {
        "eventId",
        "eventType",
        "eventTime",
        "source",
        "eventVersion",
        "aggregateType",
        "aggregateId",
        "eventData",
        "eventContext",
        "outboxFormat",
    }
)
"""The attributes whose names are fixed."""
_MAX_SHARED_CHARACTERS = 512
"""Longer ones are not cached, so that the cache stays small: the source and the aggregate's type."""


def check_keys(keys: TableKeys) -> None:
    """Refuse an events table's keys that an outbox item has no room for.

    Raises:
        ValueError: There is no sort key, or a name is that of an attribute of the item.
    """
    names = (keys.partition_key, keys.sort_key, keys.ttl_attribute)
    if keys.sort_key is None or not ATTRIBUTES.isdisjoint(names):
        raise ValueError(
            f"an events table needs a sort key, and names other than {', '.join(sorted(ATTRIBUTES))}: {keys}"
        )


def time_text(moment: datetime) -> str:
    """Return ISO 8601 text in UTC with microseconds: of one width, so that text sorts as time does."""
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{moment.isoformat(timespec='microseconds')[:-6]}Z"  # without its +00:00


def time_of(text: object, path: str) -> datetime:
    """Return the aware time of an ISO 8601 text.

    Raises:
        DecodeError: Not such a text, or without an offset from UTC.
    """
    try:
        moment = datetime.fromisoformat(text)  # type: ignore[arg-type]  # a TypeError is caught just below
    except (TypeError, ValueError):
        raise DecodeError(path, f"{short_repr(text)} is not an ISO 8601 time") from None
    if moment.utcoffset() is None:
        raise DecodeError(path, f"{short_repr(text)} has no offset from UTC")
    return moment


def encode_event(event: Event, *, expires_at: int, keys: TableKeys) -> dict[str, dict[str, str]]:
    """Return the item, typed, that stores an event.

    Args:
        event: The event, with a source.
        expires_at: When DynamoDB may delete the item, in epoch seconds.
        keys: The events table's.

    Raises:
        InvalidEventError: The event has no source.
    """
    if event.source is None:
        raise InvalidEventError("source", "is missing; give the outbox or the event one")
    context = event.context
    sequence = context[0]
    return {
        **keys.typed(event.aggregate or event.id, event.id if sequence is None else f"{sequence:020d}#{event.id}"),
        "eventId": {"S": event.id},
        "eventType": {"S": event.type},
        "eventTime": {"S": time_text(event.time)},
        "source": {"S": event.source},
        "eventVersion": {"N": str(event.version)},
        "aggregateType": {"S": event.aggregate_type or ""},
        "aggregateId": {"S": event.aggregate_id or ""},
        "eventData": {"S": event.data_json},
        "eventContext": {"S": f"{{{context_text(context)}}}"},
        keys.ttl_attribute: {"N": str(expires_at)},
        "outboxFormat": {"N": str(FORMAT)},
    }


def is_outbox_image(image: object) -> bool:
    """Return whether a typed image is an outbox item, of any format."""
    return isinstance(image, dict) and "outboxFormat" in image


def decode_event(image: Mapping[str, Any]) -> Event:
    """Return the event in an outbox item's typed image; its data and context stay text until they are read.

    Raises:
        DecodeError: An unknown format, or an attribute that is missing or of the wrong type; the path names it.
    """
    try:
        return _decode_fast(image)
    except Exception:  # the reference implementation names the fault, or reads what is rare
        return decode_event_reference(image)


def _decode_fast(image: Mapping[str, Any]) -> Event:
    """Decode an item of ASCII text, apart from its data; raise anything for any other."""
    event_id, data, context = image["eventId"]["S"], image["eventData"]["S"], image["eventContext"]["S"]
    aggregate_type, aggregate_id = image["aggregateType"]["S"], image["aggregateId"]["S"]
    source = image["source"]["S"]
    time = datetime.fromisoformat(image["eventTime"]["S"])
    if not (
        event_id
        and type(event_id) is str
        and needs_escape(event_id) is None
        and (event_id + aggregate_id + context).isascii()
        and type(data) is str
        and (data.isascii() or data.encode())
        and time.tzinfo is UTC
        and (not aggregate_id) is (not aggregate_type)
        and len(source) + len(aggregate_type) <= _MAX_SHARED_CHARACTERS
        and image["outboxFormat"]["N"] == _FORMAT_TEXT
    ):
        raise ValueError
    shared = _shared(image["eventType"]["S"], source, aggregate_type, image["eventVersion"]["N"])
    return event_from_texts(shared, event_id, time, aggregate_id or None, data=data, context=context)


@lru_cache(maxsize=256)
def _shared(event_type: str, source: str, aggregate_type: str, version: str) -> tuple[str, str | None, str | None, int]:
    """Check the fields that many items share, and return them as the event has them."""
    if {type(text) for text in (event_type, source, aggregate_type, version)} != {str}:
        raise ValueError
    checked = Event(
        event_type,
        {},
        id="any",
        source=source,
        version=version_of(version, "eventVersion.N"),
        aggregate_type=aggregate_type or None,
        aggregate_id="any" if aggregate_type else None,
    )
    return checked.type, checked.source, checked.aggregate_type, checked.version


def decode_event_reference(image: Mapping[str, Any]) -> Event:
    """`decode_event` without the fast path: the reference."""
    check_format(_typed(image, "outboxFormat", "N"), "outboxFormat.N")
    event_type, data = _typed(image, "eventType", "S"), _typed(image, "eventData", "S")
    checked = build_event(
        event_type,
        {},
        id=_typed(image, "eventId", "S"),
        time=time_of(_typed(image, "eventTime", "S"), "eventTime.S"),
        source=_typed(image, "source", "S"),
        version=version_of(_typed(image, "eventVersion", "N"), "eventVersion.N"),
        aggregate_type=_typed(image, "aggregateType", "S") or None,
        aggregate_id=_typed(image, "aggregateId", "S") or None,
    )
    context = _typed(image, "eventContext", "S")
    try:
        return event_from_texts(
            (checked.type, checked.source, checked.aggregate_type, checked.version),
            checked.id,
            checked.time,
            checked.aggregate_id,
            data=checked_unicode("data", data),
            context=checked_unicode("context", context),
        )
    except InvalidEventError as invalid:
        raise DecodeError(invalid.field, invalid.problem) from None


def check_format(value: object, path: str) -> None:
    """Refuse an item that another version of this library wrote, rather than misread it."""
    if isinstance(value, bool) or value not in (FORMAT, str(FORMAT)):
        raise DecodeError(
            path, f"outbox format {short_repr(value)} is unknown, only {FORMAT} is known; update dynamo-outbox"
        )


def version_of(value: object, path: str) -> int:
    """Return an event's version from a number or (through a pipe) its text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        return int(value)
    raise DecodeError(path, f"{short_repr(value)} is not a version number")


def build_event(event_type: Any, data: Any, **fields: Any) -> Event:
    """Create an event from received values: a wrong field is the sender's fault, and so a `DecodeError`."""
    try:
        return Event(event_type, data, **fields)
    except InvalidEventError as invalid:
        raise DecodeError(invalid.field, invalid.problem) from None


def _typed(image: Mapping[str, Any], name: str, tag: str) -> str:
    typed = image.get(name)
    value = typed.get(tag) if isinstance(typed, dict) else None
    if not isinstance(value, str):
        problem = "is missing" if typed is None else f"is not of DynamoDB's type {tag}"
        raise DecodeError(name, f"{problem}, and every outbox item has it")
    return value
