"""The payload of a call for its fingerprint: what two deliveries of one message have in common, in any envelope.

Shapes: https://docs.aws.amazon.com/lambda/latest/dg/lambda-services.html
"""

from __future__ import annotations

import dataclasses
import json
from base64 import b64decode, b64encode
from collections.abc import Mapping, Set
from contextlib import suppress
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..codec.json_text import MAX_DEPTH, canonical
from ..codec.path_error import PathError
from ..codec.short_repr import short_repr
from ..errors import DecodeError
from ..events.bus_event import parse_event
from ..events.event import Event

__all__ = ["as_json", "event_content", "payload_content"]

_QUERY = ("multiValueQueryStringParameters", "queryStringParameters", "query_string_parameters", "rawQueryString")


def event_content(event: Event) -> list[Any]:
    """Return what two deliveries of an event have in common."""
    return [event.type, event.source, event.data]


def payload_content(payload: object) -> object:
    """Return the content of a payload without the parts that change with each delivery; None if its shape is unknown.

    Known are events, messages and records of EventBridge, SQS, SNS, Kinesis, Firehose, Amazon MQ and DynamoDB Streams,
    alone or in batches, and requests of API Gateway, ALB, function URLs, VPC Lattice and AppSync. A shape is recognised
    by the members that change with each delivery, too: without them the whole payload counts.
    """
    if isinstance(payload, Event):
        return event_content(payload)
    if isinstance(payload, (list, tuple)):
        return [_content(each) for each in payload] if payload and all(map(_is_known, payload)) else None
    return _known(payload) if isinstance(payload, Mapping) else None


def _is_known(payload: object) -> bool:
    return isinstance(payload, Mapping) and _known(payload) is not None


def _content(value: Any) -> Any:
    found = payload_content(value)
    return value if found is None else found


def _known(payload: Mapping[str, Any]) -> object:
    if _MARKS.isdisjoint(payload):
        return None
    if "detail" in payload or "specversion" in payload:
        with suppress(DecodeError):
            return event_content(parse_event(payload))
        if "detail-type" in payload:
            return [payload.get("source"), payload["detail-type"], payload.get("detail")]
    for batch in _BATCHES:
        if isinstance(records := payload.get(batch), list) and records and all(map(_is_known, records)):
            return [_content(record) for record in records]
    for name, read in _BY_MEMBER:
        if isinstance(holder := payload.get(name), Mapping):
            found = read(holder, payload)
            if found is not None:
                return found
    for names, read_whole in _BY_NAMES:
        if all(name in payload for name in names):
            return read_whole(payload)
    return None


def _sns(notification: Mapping[str, Any], _: Mapping[str, Any]) -> object:
    return _notification(notification)


def _notification(holder: Mapping[str, Any]) -> object:
    return [_text(holder.get("Message")), holder.get("Subject"), holder.get("MessageAttributes")]


def _stream(change: Mapping[str, Any], record: Mapping[str, Any]) -> object:
    return [record.get("eventName"), *(change.get(name) for name in ("Keys", "NewImage", "OldImage"))]


def _api(context: Mapping[str, Any], request: Mapping[str, Any]) -> object:
    http = context.get("http")  # payload version 2.0 has method and path there
    http = http if isinstance(http, Mapping) else {}
    names = ("httpMethod", "method"), ("rawPath", "path", "raw_path")
    method, path = (
        next((holder[each] for holder in (request, http) for each in several if each in holder), None)
        for several in names
    )
    if method is None and path is None and "body" not in request:
        return None  # not a request: Lambda's failure destinations have a context, too
    query = next((request[name] for name in _QUERY if request.get(name)), None)
    return [method, path, query, _body(request)]


def _body(request: Mapping[str, Any]) -> object:
    body = request.get("body")
    if isinstance(body, str) and (request.get("isBase64Encoded") or request.get("is_base64_encoded")):
        with suppress(ValueError):
            return _text(b64decode(body, validate=True).decode())
    return _text(body)


def _text(value: object) -> object:
    """Return the value of JSON text, so that its spelling does not count; other text as it is."""
    if not isinstance(value, str):
        return value
    try:
        found = json.loads(value, parse_float=Decimal)
    except (ValueError, RecursionError):
        return value
    if not isinstance(found, (dict, list)):
        return value
    if value.count("{") + value.count("[") > MAX_DEPTH - _ENVELOPE_DEPTH:
        try:
            as_json(found, _ENVELOPE_DEPTH)
        except PathError:
            return value
    return _content(found)


_ENVELOPE_DEPTH = 16
"""Levels of nesting that messages within messages add to the text of the innermost."""


def _data(event: Mapping[str, Any]) -> object:
    """Return the content of a Custom Event Bus's event with metadata; None if other members make it something else."""
    return _content(event.get("Data")) if event.keys() <= {"Data", "Metadata", "SystemMetadata"} else None


def _appsync(call: Mapping[str, Any]) -> object:
    info = call["info"]
    if not isinstance(info, Mapping):
        return None
    return [info.get("parentTypeName"), info.get("fieldName"), call["arguments"], call.get("source")]


def _queues(queues: Mapping[str, Any], _: Mapping[str, Any]) -> object:
    return {name: [_content(message) for message in messages] for name, messages in queues.items()}


_BY_MEMBER = (
    ("Sns", _sns),
    ("kinesis", lambda record, _: [record.get("data"), record.get("partitionKey")]),
    ("dynamodb", _stream),
    ("SystemMetadata", lambda _, event: _data(event)),
    ("requestContext", _api),
    ("rmqMessagesByQueue", _queues),
)
"""Shapes that are recognised by a member which holds an object."""
_BY_NAMES = (
    (
        ("messageId", "receiptHandle", "body"),
        lambda message: [_text(message["body"]), message.get("messageAttributes")],
    ),
    (
        ("MessageId", "ReceiptHandle", "Body"),
        lambda message: [_text(message["Body"]), message.get("MessageAttributes")],
    ),
    (("Type", "Message", "TopicArn"), _notification),
    (("data", "partitionKey", "sequenceNumber"), lambda record: [record["data"], record["partitionKey"]]),
    (("recordId", "data", "approximateArrivalTimestamp"), lambda record: [record["data"]]),
    (("redelivered", "data"), lambda message: [message["data"]]),  # Amazon MQ
    (("raw_path", "method"), lambda request: _api({}, request)),
    (("arguments", "info"), _appsync),
)
"""Shapes that are recognised by several members."""
_BATCHES = ("Records", "records", "messages", "Messages")
_MARKS = frozenset(
    {"detail", "specversion", *_BATCHES, *(name for name, _ in _BY_MEMBER), *(names[0] for names, _ in _BY_NAMES)}
)
"""Names of which each known shape has one."""


def as_json(value: Any, depth: int = 0) -> Any:
    """Return a value in JSON's types and Decimals: models and dataclasses by their fields, sets sorted, dates as text.

    Raises:
        PathError: It holds a value that has no such form.
    """
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Enum):
        value = value.value
    if value is None or isinstance(value, (bool, int, float, Decimal)):
        return value
    if isinstance(value, str):
        return str.__str__(value)  # the text itself, also of an enum's member
    if depth >= MAX_DEPTH:
        raise PathError("", f"nested more than {MAX_DEPTH} levels deep")
    return _converted(value, depth + 1)


_PLAIN = frozenset({str, int, float, bool, type(None), Decimal})
"""Types whose values are as they should be."""


def _converted(value: Any, depth: int) -> Any:
    if type(value) is dict:
        return _object(value, depth)
    if isinstance(value, Event):
        return as_json(event_content(value), depth)
    if isinstance(value, datetime):
        return (value if value.utcoffset() is None else value.astimezone(UTC)).isoformat()
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return b64encode(value).decode()
    if isinstance(value, Set):
        return sorted((as_json(member, depth) for member in value), key=canonical)
    if isinstance(value, (list, tuple)):
        return [
            member if type(member) in _PLAIN else _at(f"[{index}]", member, depth) for index, member in enumerate(value)
        ]
    if hasattr(type(value), "model_dump"):
        return as_json(value.model_dump(mode="json", by_alias=True), depth)
    if dataclasses.is_dataclass(type(value)):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return _object(value, depth)
    raise PathError("", f"{short_repr(value)} is a {type(value).__name__}, which has no JSON form")


def _object(value: Mapping[Any, Any], depth: int) -> dict[Any, Any]:
    return {
        name if type(name) is str else _name(name): member if type(member) in _PLAIN else _at(f".{name}", member, depth)
        for name, member in value.items()
    }


def _at(step: str, member: Any, depth: int) -> Any:
    try:
        return as_json(member, depth)
    except PathError as bad:
        raise bad.under(step) from None


def _name(name: Any) -> Any:
    """Return a key of an object: text, or what JSON makes of it."""
    return as_json(name) if isinstance(name, (Enum, date, UUID)) else name
