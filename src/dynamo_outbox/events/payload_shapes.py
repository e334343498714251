"""Names of the payloads that Lambda functions, queues and buckets hold, for the errors of a function that reads others.

Shapes: https://docs.aws.amazon.com/lambda/latest/dg/lambda-services.html
Loaded for an error only, so that decoding doesn't wait for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..codec.short_repr import short_repr
from ..errors import DecodeError
from .message_shape import BATCH_INFO

__all__ = ["Shape", "shape_of", "unreadable"]

_MAX_NAMES = 5
"""Names of members that a message shows."""
_MAX_SOURCE, _MAX_ARN = 64, 512


class Shape(NamedTuple):
    """The shape of a payload.

    Attributes:
        what: The shape's name, with an article.
        use: What reads the payload, or what to do instead; empty if the library has nothing for it.
    """

    what: str
    use: str = ""


_READ_EVENT = "parse_event reads it, and Inbox handles it"
_READ_MESSAGES = "parse_events reads its events, and batch_handler or Inbox handles them one by one"
_READ_RECORDS = "decode_records reads it, and OutboxRelay, ChangeProcessor or Inbox handles it"
_POINT_IN_TIME = "read the events again with a subscriber whose StartingPosition is POINT_IN_TIME"

_BATCHES: tuple[tuple[str, Shape], ...] = (
    ("body", Shape("an SQS batch", _READ_MESSAGES)),
    ("Body", Shape("a batch of received SQS messages", _READ_MESSAGES)),
    ("Sns", Shape("an SNS batch", _READ_MESSAGES)),
    ("dynamodb", Shape("a batch of stream records", _READ_RECORDS)),
    ("kinesis", Shape("a batch of Kinesis records", _READ_RECORDS)),
    ("SystemMetadata", Shape("a batch of a custom bus", _READ_MESSAGES)),
    ("Data", Shape("a batch of Kinesis records", _READ_RECORDS)),
    ("recordId", Shape("a Firehose transformation event", "decode_records reads it")),
    (
        "s3",
        Shape(
            "an S3 event",
            "get the object that it names; decode_records reads the object of a failure destination, parsed as JSON",
        ),
    ),
    ("ses", Shape("an SES event")),
    ("cf", Shape("a CloudFront event")),
    ("specversion", Shape("a batch of CloudEvents", _READ_MESSAGES)),
    ("detail", Shape("a batch of events from EventBridge", _READ_MESSAGES)),
)
"""Batches, by a member of their first record."""

_OBJECTS: tuple[tuple[tuple[str, ...], Shape], ...] = (
    (("rmqMessagesByQueue",), Shape("a RabbitMQ batch")),
    (
        ("requestContext", "requestPayload"),
        Shape("Lambda's record of an asynchronous call", "parse_event reads the event in its requestPayload"),
    ),
    (("busArn", "failedMessages"), Shape("a record of a custom bus's failed delivery without events", _POINT_IN_TIME)),
    (("messageId", "body"), Shape("one SQS message", 'pass {"Records": [message]} to parse_events')),
    (("MessageId", "Body"), Shape("one received SQS message", 'pass {"Messages": [message]} to parse_events')),
    (("Sns",), Shape("one SNS record", 'pass {"Records": [record]} to parse_events')),
    (("dynamodb",), Shape("a stream record", "decode_record reads it")),
    (("kinesis",), Shape("a Kinesis record", "decode_record reads it")),
    (("data", "sequenceNumber"), Shape("a Kinesis record", "decode_record reads it")),
    (("Data", "SequenceNumber"), Shape("a Kinesis record", "decode_record reads it")),
    (("recordId", "data"), Shape("a Firehose record", "decode_record reads it")),
    (
        ("metadata", "data"),
        Shape(
            "the detail of an event without its envelope, and so without its source",
            "remove InputPath $.detail from the rule's target (or the template that does the same)",
        ),
    ),
    (
        ("Source", "DetailType", "Detail"),
        Shape("an entry of PutEvents", "a consumer gets it in EventBridge's own form"),
    ),
    (("specversion",), Shape("a CloudEvents object", _READ_EVENT)),
    (("outboxItem",), Shape("a pipe's detail with an outbox item", _READ_EVENT)),
    (("detail",), Shape("one event from EventBridge", _READ_EVENT)),
    (("SystemMetadata", "Data"), Shape("one event of a custom bus", _READ_EVENT)),
    (("outboxFormat",), Shape("an outbox item", "parse_event reads it")),
    (("Item",), Shape("an item, not its change", "decode_item reads its Item, and parse_event an outbox item")),
    (
        ("Metadata", "Keys"),
        Shape("a line of an incremental export", "decode_item reads its images, and parse_event a new outbox item"),
    ),
    (("exportArn",), Shape("an export's summary", "read the data files; manifest-files.json lists them")),
    (("dataFileS3Key",), Shape("an entry of an export's list of files", "read the lines of the file that it names")),
    (("Service", "Event", "Bucket"), Shape("S3's test notification", "delete it")),
    (("httpMethod", "requestContext"), Shape("an API Gateway request")),
    (("rawPath", "requestContext"), Shape("a request of an HTTP API or a function URL")),
    (("raw_path", "method"), Shape("a VPC Lattice request")),
    (("methodArn",), Shape("an API Gateway authorizer's request")),
    (("routeArn",), Shape("an HTTP API authorizer's request")),
    (("arguments", "info"), Shape("an AppSync request")),
    (("triggerSource", "userPoolId"), Shape("a Cognito trigger")),
    (("awslogs",), Shape("a CloudWatch Logs batch")),
    (("RequestType", "StackId"), Shape("a CloudFormation custom resource's request")),
    (("invocationSchemaVersion", "tasks"), Shape("an S3 batch operation")),
    (("requestContext",), Shape("a request of API Gateway")),
)
"""Objects, by all members of a tuple; the first that fits counts."""


def unreadable(payload: object, otherwise: str, path: str = "") -> DecodeError:
    """Return the error of a function that can't read a payload.

    Args:
        payload: The payload.
        otherwise: What the function reads, if nothing in the library reads the payload.
        path: The payload's path.
    """
    what, use = shape_of(payload)
    return DecodeError(path, f"is {what}; {use or otherwise}")


def shape_of(payload: object) -> Shape:
    """Return a payload's shape, by its members only."""
    if isinstance(payload, Mapping):
        return _batch(payload) or _failure(payload) or _notification(payload) or _object(payload)
    if isinstance(payload, (list, tuple)):
        return (_shape_of_records(payload) if payload else None) or Shape("a list")
    if isinstance(payload, (str, bytes, bytearray)):
        return Shape("text", "parse it first, with json.loads")
    if payload is None:
        return Shape("None")
    if hasattr(type(payload), "model_dump"):
        return Shape(f"a model, {type(payload).__name__}", "pass the event that Lambda delivered")
    return Shape(f"a value of type {type(payload).__name__}, not an object or a list")


def _batch(payload: Mapping[Any, Any]) -> Shape | None:
    for name in ("Records", "records", "Messages", "messages"):
        records = payload.get(name)
        if isinstance(records, (list, tuple)) and not records:
            return Shape("an empty batch")
        if isinstance(records, (list, tuple)) and (found := _shape_of_records(records)):
            return found
    source = payload.get("eventSource")
    if isinstance(source, str) and "kafka" in source.lower():
        return Shape("a Kafka batch")
    return Shape("an Amazon MQ batch") if source == "aws:mq" else None


def _shape_of_records(records: Any) -> Shape | None:
    first = records[0]
    if not isinstance(first, Mapping):
        return None
    for name, shape in _BATCHES:
        if name in first:
            return shape
    source = first.get("eventSource", first.get("EventSource"))
    return Shape(f"a batch of {source}") if isinstance(source, str) else None


def _failure(payload: Mapping[Any, Any]) -> Shape | None:
    """Return the shape of a failure record of a stream; without the records, it says where they are."""
    name = next((each for each in BATCH_INFO if isinstance(payload.get(each), Mapping)), None)
    if name is None:
        return None
    if "payload" in payload:
        return Shape("a failure destination's record of a stream's batch", _READ_RECORDS)
    info = payload[name]
    shard, start, end = (_shown(info.get(each)) for each in ("shardId", "startSequenceNumber", "endSequenceNumber"))
    stream = _shown(info.get("streamArn", "the stream"))
    return Shape(
        "a failure destination's record that only points to a stream's batch",
        f"read shard {shard} of {stream} again from sequence number {start} to {end}, within 24 hours, and pass the "
        "records to decode_records; a failure destination in S3 keeps the records",
    )


def _shown(value: object) -> str:
    return value[:_MAX_ARN] if isinstance(value, str) else short_repr(value)


def _notification(payload: Mapping[Any, Any]) -> Shape | None:
    kind = payload.get("Type")
    if "Message" not in payload or not isinstance(kind, str):
        return None
    if kind == "Notification":
        return Shape("an SNS notification", _READ_EVENT)
    if kind in ("SubscriptionConfirmation", "UnsubscribeConfirmation"):
        return Shape(f"a topic's {kind}, not an event", "confirm the subscription by opening its SubscribeURL")
    return None


def _object(payload: Mapping[Any, Any]) -> Shape:
    source = payload.get("source")
    if isinstance(source, str) and source.startswith("aws.") and "detail" in payload:
        return Shape(f"EventBridge's event {short_repr(payload.get('detail-type'))} of {source[:_MAX_SOURCE]}")
    context = payload.get("requestContext")
    if isinstance(context, Mapping) and "elb" in context:
        return Shape("a request of an Application Load Balancer")
    for names, shape in _OBJECTS:
        if all(name in payload for name in names):
            return shape
    if not payload:
        return Shape("an empty object")
    names_shown = ", ".join(short_repr(name) for name in list(payload)[:_MAX_NAMES])
    more = ", …" if len(payload) > _MAX_NAMES else ""
    return Shape(f"an object with {names_shown}{more}")
