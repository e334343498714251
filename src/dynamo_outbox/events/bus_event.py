"""The forms in which an event is sent to a bus, and the parser of all forms in which it arrives."""

from __future__ import annotations

from ..codec.json_text import dumps, quoted
from ..codec.short_repr import short_repr
from ..errors import DecodeError
from .context import CONTEXT_FIELDS, context_fields, context_members, context_text
from .outbox_item import build_event, decode_event, is_outbox_image, time_of, time_text, version_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .event import Event

__all__ = ["DETAIL_FORMS", "parse_event", "required_text"]


def envelope_detail(event: Event) -> str:
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


def data_detail(event: Event) -> str:
    """Return the data alone. They contain no stable event id, so a consumer can't detect a duplicate."""
    return event.data_json


def cloudevents_detail(event: Event) -> str:
    """Return a CloudEvents 1.0 object. https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md"""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
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


def parse_event(event: object) -> Event:
    """Return the event that a consumer received.

    Args:
        event: Lambda's event for an EventBridge rule, or a CloudEvents object. The event was published by the relay, by
            a pipe with a template (the detail holds the outbox item), by a pipe without one (the detail is the stream
            record), or as CloudEvents.

    Raises:
        DecodeError: The event has none of these forms, or a part is missing or invalid; the path names the part.

    Lambda parses JSON numbers as floats; send a number as text if it must keep all its digits.
    """
    if not isinstance(event, dict):
        raise DecodeError("", f"an event must be a JSON object, not {type(event).__name__}")
    if "specversion" in event:
        return _from_cloudevents(event, "")
    detail = event.get("detail")
    if not isinstance(detail, dict):
        raise DecodeError("detail", "is missing or not an object: this is not an event from EventBridge")
    source = required_text(event, "source", "")
    if "outboxItem" in detail:
        return _from_outbox_item(detail["outboxItem"], "detail.outboxItem")
    if isinstance(detail.get("metadata"), dict):
        return _from_envelope(detail, source)
    if "specversion" in detail:
        return _from_cloudevents(detail, "detail")
    if "dynamodb" in detail:
        return _from_stream_record(detail)
    raise DecodeError(
        "detail.metadata",
        "is missing. A publisher with detail='data' sends no metadata and no id; use detail='envelope' to parse events",
    )


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


def _from_stream_record(record: Mapping[str, Any]) -> Event:
    change = record["dynamodb"]
    image = change.get("NewImage") if isinstance(change, dict) else None
    if record.get("eventName") != "INSERT" or not isinstance(image, dict) or not is_outbox_image(image):
        raise DecodeError("detail", "is a stream record, but not of an inserted outbox item")
    return _from_outbox_item(image, "detail.dynamodb.NewImage")


def _from_outbox_item(image: object, path: str) -> Event:
    if not isinstance(image, dict):
        raise DecodeError(path, f"must be an outbox item, not {short_repr(image)}")
    try:
        event = decode_event(image)
        _ = event.context, event.data  # parsed now: for a consumer, malformed text is a malformed event
    except DecodeError as error:
        raise error.within(path) from None
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
