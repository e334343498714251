"""Decode payloads into JSON lines: one for each event, change or error."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..codec.json_text import dumps
from ..errors import DecodeError
from ..events.bus_event import parse_event
from ..events.messages import parse_events
from ..events.outbox_item import decode_event, is_outbox_image, time_text
from ..streams.outbox_records import inserted_events
from ..streams.payloads import payload_kind
from ..streams.records import StreamRecord, decode_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..events.event import Event

__all__ = ["decoded", "json_line"]

CHANGE_FIELDS = ("event_name", "table", "time", "sequence_number", "is_ttl_delete", "keys", "new_image", "old_image")
EVENT_FIELDS = (
    *("id", "type", "version", "time", "source", "aggregate_type", "aggregate_id"),
    *("sequence", "correlation_id", "causation_id", "traceparent"),
)
ERROR_FIELDS = ("path", "problem", "index", "sequence_number")


def decoded(document: Any) -> Iterator[Event | StreamRecord | DecodeError]:
    """Yield the contents of a payload or an outbox item, in order; an inserted outbox item is yielded as its event."""
    if isinstance(document, dict) and is_outbox_image(item := document.get("Item", document)):
        yield _outbox_item(item)
    elif isinstance(document, dict) and ("detail" in document or "specversion" in document):
        try:
            yield parse_event(document)
        except DecodeError as error:
            yield error
    elif payload_kind(document) == "messages":
        for found in parse_events(document, on_error="collect"):
            yield found if isinstance(found, DecodeError) else found.event
    else:
        for record in decode_records(document, on_error="collect"):
            yield record if isinstance(record, DecodeError) else _event_or_change(record)


def _outbox_item(item: Any) -> Event | DecodeError:
    try:
        event = decode_event(item)
        _ = event.context, event.data  # parsed on access
    except DecodeError as error:
        return error
    return event


def _event_or_change(record: StreamRecord) -> Event | StreamRecord | DecodeError:
    try:
        if is_outbox_image(record.raw["dynamodb"].get("NewImage")) and (events := inserted_events(record)):
            return events[0]
        _ = record.keys, record.new_image, record.old_image  # decoded on access
    except DecodeError as error:
        return error
    return record


def json_line(found: Event | StreamRecord | DecodeError) -> str:
    """Return one JSON line; numbers keep all their digits."""
    if isinstance(found, DecodeError):
        return dumps({"error": {**_fields(found, ERROR_FIELDS), "message": str(found)}})
    if isinstance(found, StreamRecord):
        return dumps({"change": _fields(found, CHANGE_FIELDS)})
    return f'{dumps({"event": _fields(found, EVENT_FIELDS)})[:-2]},"data":{found.data_json}}}}}'


def _fields(found: object, names: tuple[str, ...]) -> dict[str, Any]:
    """Return the attributes that are not None, as JSON values."""
    return {name: _as_json(value) for name in names if (value := getattr(found, name)) is not None}


def _as_json(value: Any) -> Any:
    """Convert an item's Python value to JSON values: a set to a sorted list, bytes to base64."""
    if isinstance(value, dict):
        return {name: _as_json(member) for name, member in value.items()}
    if isinstance(value, (set, frozenset)):
        return [_as_json(member) for member in sorted(value)]
    if isinstance(value, (list, tuple)):
        return [_as_json(member) for member in value]
    if isinstance(value, (bytes, bytearray)):
        return b64encode(value).decode()
    if isinstance(value, datetime):
        return time_text(value)
    return str(value) if type(value) is not str and isinstance(value, str) else value
