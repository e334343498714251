"""The forms in which an event is sent to a bus, and the parser of all forms in which it arrives."""

from __future__ import annotations

from ..codec.json_text import dumps, loads_object, quoted
from ..codec.mappings import as_dicts
from ..codec.path_error import PathError
from ..codec.short_repr import short_repr
from ..errors import DecodeError
from .context import CONTEXT_FIELDS, context_fields, context_members, context_text
from .message_shape import is_bus_event
from .outbox_item import build_event, decode_event, is_outbox_image, time_of, time_text, version_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .event import Event

__all__ = ["DETAIL_FORMS", "event_in", "parse_event", "required_text"]


def envelope_detail(event: Event, _source: str | None) -> str:
    """Return ``{"metadata": …, "data": …}``, from which `parse_event` restores the complete event."""
    aggregate = ""
    if event.aggregate_type is not None and event.aggregate_id is not None:
        aggregate = f',"aggregateType":{quoted(event.aggregate_type)},"aggregateId":{quoted(event.aggregate_id)}'
    context = context_text(event.context)
    more = f",{context}" if context else ""
    return (
        f'{{"metadata":{{"id":{quoted(event.id)},"type":{quoted(event.type)},"version":{event.version},'
        f'"time":"{time_text(event.time)}"{aggregate}{more}}},"data":{event.data_json}}}'
    )


def data_detail(event: Event, _source: str | None) -> str:
    """Return the data alone. They contain no stable event id, so a consumer can't detect a duplicate."""
    return event.data_json


def cloudevents_detail(event: Event, source: str | None) -> str:
    """Return a CloudEvents 1.0 object. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md"""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": event.type,
        "time": time_text(event.time),
        "datacontenttype": "application/json",
        "eventversion": event.version,
    }
    if event.aggregate_type is not None:
        attributes |= {"aggregatetype": event.aggregate_type, "aggregateid": event.aggregate_id}
    attributes |= {wire.lower(): value for wire, value in context_members(event.context).items()}
    if event.sequence is not None:
        attributes["sequence"] = str(event.sequence)  # the extension's type is text; CloudEvents integers have 32 bits
    return f'{dumps(attributes)[:-1]},"data":{event.data_json}}}'


DETAIL_FORMS = {"envelope": envelope_detail, "data": data_detail, "cloudevents": cloudevents_detail}
"""Functions of an event and its source, which may be the publisher's, by the name of the form."""


def parse_event(event: object) -> Event:
    """Return the event that a consumer received.

    Args:
        event: Lambda's event for an EventBridge rule or a Custom Event Bus's subscriber (RAW or WITH_METADATA, alone or
            in an array of one), also a replayed one, or a CloudEvents object. The event was
            published by the relay, by a pipe with a template (the detail holds the outbox item), by a pipe without one
            (the detail is the stream record), or as CloudEvents. Also read: a detail alone, if it holds the event's
            source; an SNS notification; Lambda's record of an asynchronous call (its requestPayload); the stream
            record of an inserted outbox item; an outbox item. Any `Mapping` is read, such as the event objects of
            Powertools for AWS Lambda.

    Raises:
        DecodeError: The event has none of these forms, or a part is missing or invalid; the path names the part. The
            text says what was received and what reads it.

    Lambda parses JSON numbers as floats; send a number as text if it must keep all its digits.
    """
    try:
        return event_in(event)
    except DecodeError:
        plain = as_dicts(event)
        if plain is event:
            raise
    return event_in(plain)


def event_in(document: object, path: str = "") -> Event:
    """Return the event in a document of dicts, also if it is wrapped in records and messages.

    Args:
        document: The document.
        path: The document's path in a message; a batch of one message is read only inside another.

    Raises:
        DecodeError: As `parse_event`.
    """
    for _ in range(_MAX_WRAPPERS):
        try:
            found = _event_or_wrapped(document, is_inside=bool(path))
        except DecodeError as error:
            raise error.within(path) if path else error from None
        if not isinstance(found, tuple):
            return found
        document, step = found
        path = f"{path}.{step}" if path else step
    raise DecodeError(path[:_MAX_PATH], f"is wrapped in more than {_MAX_WRAPPERS} messages or records")


_MAX_WRAPPERS = 8
_MAX_PATH = 200


def _event_or_wrapped(event: object, *, is_inside: bool) -> Event | tuple[object, str]:
    """Return an event; or the content of a message or a record, and its path there."""
    if isinstance(event, list) and len(event) == 1 and is_bus_event(event[0]):  # of a custom bus
        return (event[0], "[0]")
    if not isinstance(event, dict):
        raise _unreadable(event, _READS)
    if "specversion" in event:
        return _from_cloudevents(event, "")
    if "detail" not in event:
        return _bare_event(event) or _wrapped(event, is_inside=is_inside)
    detail = event["detail"]
    if not isinstance(detail, dict):
        raise DecodeError("detail", f"must be an object, not {short_repr(detail)}")
    source = required_text(event, "source", "")
    if "outboxItem" in detail:
        return _from_outbox_item(detail["outboxItem"], "detail.outboxItem")
    if isinstance(detail.get("metadata"), dict):
        return _from_envelope(detail, source)
    if "specversion" in detail:
        return _from_cloudevents(detail, "detail")
    if "dynamodb" in detail:
        return _from_stream_record(detail, "detail")
    if "requestPayload" in detail:  # Lambda's destination is a bus
        return (detail["requestPayload"], "detail.requestPayload")
    if source.startswith("aws."):
        raise _unreadable(event, _READS_OWN)
    raise DecodeError(
        "detail.metadata",
        "is missing. A publisher with detail='data' sends no metadata and no id; use detail='envelope' to parse events",
    )


def _unreadable(event: object, reads: str) -> DecodeError:
    from .payload_shapes import unreadable

    return unreadable(event, reads)


_IDEMPOTENT = "to make another call idempotent, use key=..."
_READS = f"parse_event reads events from EventBridge and CloudEvents; {_IDEMPOTENT}"
_READS_OWN = f"parse_event reads this library's events and CloudEvents; {_IDEMPOTENT}"


def _bare_event(event: Mapping[str, Any]) -> Event | None:
    """Return the event of a document without EventBridge's envelope; None if it is none."""
    if "outboxItem" in event:
        return _from_outbox_item(event["outboxItem"], "outboxItem")
    if "dynamodb" in event:
        return _from_stream_record(event, "")
    if is_outbox_image(event):
        return _from_outbox_item(event, "")
    if is_outbox_image(event.get("Item")):  # of GetItem, or of a line of an export
        return _from_outbox_item(event["Item"], "Item")
    if "Metadata" in event and is_outbox_image(event.get("NewImage")):  # a line of an incremental export
        return _from_outbox_item(event["NewImage"], "NewImage")
    return None


def _wrapped(event: Mapping[str, Any], *, is_inside: bool) -> tuple[object, str]:
    if "requestPayload" in event:
        return (event["requestPayload"], "requestPayload")
    if "Data" in event and "SystemMetadata" in event:  # of a custom bus, with its metadata
        return (event["Data"], "Data")
    if event.get("Type") == "Notification" and "Message" in event:
        return (_object_in(event, "Message", ""), "Message")
    if is_inside and (found := _only_message(event)):
        return found
    if "detail-type" in event:
        raise DecodeError("detail", "is missing: this is not an event as EventBridge delivers it")
    raise _unreadable(event, _READS)


def _only_message(event: Mapping[str, Any]) -> tuple[object, str] | None:
    """Return the content of a batch of one message: an asynchronous call by SNS has one."""
    match event:
        case {"Records": [{"Sns": {"Message": str()} as notification}]}:
            return (_object_in(notification, "Message", "Records[0].Sns"), "Records[0].Sns.Message")
        case {"Records": [{"body": str()} as message]}:
            return (_object_in(message, "body", "Records[0]"), "Records[0].body")
    return None


def _object_in(holder: Mapping[str, Any], name: str, path: str) -> dict[str, Any]:
    """Return the object in a member's JSON text."""
    try:
        return loads_object(required_text(holder, name, path), f"{path}.{name}" if path else name)
    except PathError as bad:
        raise DecodeError(bad.path, bad.problem) from None


def _from_envelope(detail: Mapping[str, Any], source: str) -> Event:
    metadata = detail["metadata"]
    path = "detail.metadata"
    return build_event(
        required_text(metadata, "type", path),
        _object(detail, "data", "detail"),
        id=required_text(metadata, "id", path),
        time=time_of(metadata.get("time"), f"{path}.time"),
        source=source,
        version=version_of(metadata.get("version"), f"{path}.version"),
        aggregate_type=metadata.get("aggregateType") or None,
        aggregate_id=metadata.get("aggregateId") or None,
        **context_fields(metadata),
    )


def _from_cloudevents(attributes: Mapping[str, Any], path: str) -> Event:
    joint = f"{path}." if path else ""
    context = {wire: attributes.get(wire.lower()) for wire, _ in CONTEXT_FIELDS}
    if isinstance(context["sequence"], str):
        context["sequence"] = version_of(context["sequence"], f"{joint}sequence")
    return build_event(
        required_text(attributes, "type", path),
        _object(attributes, "data", path),
        id=required_text(attributes, "id", path),
        time=time_of(attributes.get("time"), f"{joint}time"),
        source=required_text(attributes, "source", path),
        version=version_of(attributes.get("eventversion", 1), f"{joint}eventversion"),
        aggregate_type=attributes.get("aggregatetype"),
        aggregate_id=attributes.get("aggregateid"),
        **context_fields(context),
    )


def _from_stream_record(record: Mapping[str, Any], path: str) -> Event:
    change = record["dynamodb"]
    image = change.get("NewImage") if isinstance(change, dict) else None
    if record.get("eventName") != "INSERT" or not isinstance(image, dict) or not is_outbox_image(image):
        raise DecodeError(path, "is a stream record, but not of an inserted outbox item; decode_record reads it")
    return _from_outbox_item(image, f"{path}.dynamodb.NewImage" if path else "dynamodb.NewImage")


def _from_outbox_item(image: object, path: str) -> Event:
    if not isinstance(image, dict):
        raise DecodeError(path, f"must be an outbox item, not {short_repr(image)}")
    try:
        event = decode_event(image)
        _ = event.context, event.data  # parsed now: for a consumer, malformed text is a malformed event
    except DecodeError as error:
        raise error.within(path) if path else error from None
    return event


def required_text(holder: Mapping[str, Any], name: str, path: str) -> str:
    """Return the text of an object's member; raise `DecodeError` with the object's `path` if it is not text."""
    value = holder.get(name)
    if not isinstance(value, str):
        raise DecodeError(f"{path}.{name}" if path else name, f"must be text, not {short_repr(value)}")
    return value


def _object(holder: Mapping[str, Any], name: str, path: str) -> Mapping[str, Any]:
    value = holder.get(name)
    if not isinstance(value, dict):
        raise DecodeError(f"{path}.{name}" if path else name, f"must be an object, not {short_repr(value)}")
    return value
