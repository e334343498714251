"""Decode payloads into JSON lines: one for each event, change or error."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..codec.json_text import dumps
from ..errors import DecodeError
from ..events.bus_event import parse_event
from ..events.messages import parse_events, payload_records
from ..events.outbox_item import is_outbox_image, time_text
from ..events.payload_shapes import unreadable
from ..streams.outbox_records import inserted_events
from ..streams.payloads import holds_records, payload_kind
from ..streams.records import StreamRecord, decode_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..events.event import Event

__all__ = ["decoded", "decoded_or_error", "json_line"]

CHANGE_FIELDS = ("event_name", "table", "time", "sequence_number", "is_ttl_delete", "keys", "new_image", "old_image")
EVENT_FIELDS = (
    *("id", "type", "version", "time", "source", "aggregate_type", "aggregate_id"),
    *("sequence", "correlation_id", "causation_id", "traceparent"),
)
ERROR_FIELDS = ("path", "problem", "index", "sequence_number")


def decoded(document: Any) -> Iterator[Event | StreamRecord | DecodeError]:
    """Yield the contents of a payload or an outbox item, in order; an inserted outbox item is yielded as its event.

    Raises:
        DecodeError: The document has no form that the library reads.
    """
    if isinstance(document, dict) and not {"body", "Body", "Sns"}.isdisjoint(document):
        document = [document]  # one message
    match payload_kind(document):
        case "messages":
            records = payload_records(document)
            for record, message in zip(records, parse_events(document, on_error="collect"), strict=True):
                if not isinstance(message, DecodeError):
                    yield message.event
                else:
                    yield from _records_in(record) or [message]
        case _ if holds_records(document):
            yield from map(_event_or_change, decode_records(document, on_error="collect"))
        case _:
            yield _event(document)


def decoded_or_error(document: Any) -> Iterator[Event | StreamRecord | DecodeError]:
    """Yield the contents of a document, or its error."""
    try:
        yield from decoded(document)
    except DecodeError as error:
        yield error


def _event(document: Any) -> Event | DecodeError:
    """Return an event, or the error of one that is malformed; raise if the document is something else."""
    try:
        return parse_event(document)
    except DecodeError as error:
        if not error.path:
            raise unreadable(document, _READS) from None
        return error


_READS = "decode reads events, messages of SQS and SNS, stream records and outbox items"


def _records_in(message: Any) -> list[Event | StreamRecord | DecodeError]:
    """Return the stream records that a message of SQS holds; none if it holds something else."""
    try:
        content = json.loads(message.get("body", message.get("Body")))
        if not holds_records(content):
            return []
        return [_event_or_change(record) for record in decode_records(content, on_error="collect")]
    except (AttributeError, DecodeError, RecursionError, TypeError, ValueError):
        return []  # the message's own error says more


def _event_or_change(record: StreamRecord | DecodeError) -> Event | StreamRecord | DecodeError:
    if isinstance(record, DecodeError):
        return record
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
    data = found.data_json.translate(_ONE_LINE)
    return f'{dumps({"event": _fields(found, EVENT_FIELDS)})[:-2]},"data":{data}}}}}'


_ONE_LINE = {ord("\n"): " ", ord("\r"): " "}
"""Line breaks of JSON text stand between values, never inside them."""


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
