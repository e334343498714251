"""Events in batches: in SQS and SNS messages, each with the message id that a batch response needs, or of a bus.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-target-lambda.html
"""

from __future__ import annotations

from collections.abc import Mapping

from ..codec.frozen import Frozen, fill
from ..codec.json_text import loads_object
from ..codec.mappings import as_dicts
from ..codec.path_error import PathError
from ..errors import DecodeError
from .bus_event import event_in, parse_event, required_text
from .message_shape import is_bus_event, is_message

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal, overload

    from .event import Event

__all__ = ["Message", "parse_events"]


class Message(Frozen):
    """An event and the message that contained it.

    Attributes:
        event: The event.
        message_id: The SQS or SNS message id, for the batch response; empty if the message has none.
        group_id: The message group of a FIFO queue, or None.
    """

    __slots__ = FIELDS = ("event", "message_id", "group_id")
    event: Event
    message_id: str
    group_id: str | None

    def __init__(self, event: Event, message_id: str, group_id: str | None = None) -> None:
        fill(self, "event", event)
        fill(self, "message_id", message_id)
        fill(self, "group_id", group_id)


if TYPE_CHECKING:

    @overload
    def parse_events(payload: object, *, on_error: Literal["raise"] = "raise") -> list[Message]: ...

    @overload
    def parse_events(payload: object, *, on_error: Literal["collect"]) -> list[Message | DecodeError]: ...


def parse_events(payload: object, *, on_error: str = "raise") -> Sequence[Message | DecodeError]:
    """Return the events in a batch of SQS or SNS messages or of a Custom Event Bus, in the batch's order.

    Args:
        payload: Lambda's event for a queue, a topic or a Custom Event Bus (an array, or one event), a pipe's array of a
            queue's messages, or SQS's response to ReceiveMessage. A message's text is an event in any form that
            `parse_event` reads, or an SNS notification, a stream record or a record of a failed call that contains one.
        on_error: ``raise``, or ``collect`` to get the `DecodeError` of an unreadable message in its place.

    Raises:
        DecodeError: The payload is not such a batch or, with ``raise``, a message contains no event. The text says
            what was received and what reads it.
    """
    if on_error not in ("raise", "collect"):
        raise ValueError(f"on_error must be 'raise' or 'collect', not {on_error!r}")
    messages: list[Message | DecodeError] = []
    for index, record in enumerate(payload_records(payload)):
        try:
            messages.append(_message(record, index))
        except DecodeError as error:
            found = DecodeError(error.path, error.problem, index=index)
            if on_error == "raise":
                raise found from None
            messages.append(found)
    return messages


def payload_records(payload: object) -> list[Any]:
    """Return a batch's messages, not decoded but as dicts; raise `DecodeError` if the payload is not a batch."""
    records: Any = [payload] if is_bus_event(payload) else payload
    if isinstance(records, Mapping):
        if isinstance(call := records.get("requestPayload"), Mapping):  # of an asynchronous call, by a topic
            records = call
        records = records.get("Records", records.get("Messages"))
    if not isinstance(records, list) or (records and not any(map(is_message, records))):
        from .payload_shapes import unreadable

        raise unreadable(payload, "parse_events reads batches of SQS or SNS messages")
    return [record if isinstance(record, dict) else as_dicts(record) for record in records]


def message_names(record: object) -> tuple[str | None, str | None]:
    """Return an SQS message's id and its FIFO group, also if the message can't be decoded.

    A standard queue's ``MessageGroupId`` (fair queues) carries no order and is ignored.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
    """
    if not isinstance(record, dict):
        return None, None
    identifier = record.get("messageId", record.get("MessageId"))
    attributes = record.get("attributes", record.get("Attributes"))
    group = None
    if isinstance(attributes, (dict, Mapping)) and _is_fifo(record.get("eventSourceARN"), attributes):
        group = attributes.get("MessageGroupId")
    return (
        identifier if isinstance(identifier, str) and identifier else None,
        group if isinstance(group, str) else None,
    )


def _is_fifo(arn: object, attributes: Mapping[str, Any]) -> bool:
    """Return whether a message is from a FIFO queue; a received one has no ARN, but what only FIFO queues give."""
    return arn.endswith(".fifo") if isinstance(arn, str) else not _FIFO_ATTRIBUTES.isdisjoint(attributes)


_FIFO_ATTRIBUTES = frozenset({"SequenceNumber", "MessageDeduplicationId"})


def _message(record: Any, index: int) -> Message:
    if not is_message(record):
        from .payload_shapes import shape_of

        raise DecodeError("", f"is neither an SQS nor an SNS message: {shape_of(record).what}", index=index)
    if "Sns" in record and isinstance(notification := record["Sns"], Mapping):
        event = _event_in(notification, "Message", "Sns")
        return Message(event, required_text(notification, "MessageId", "Sns"))
    if "body" in record or "Body" in record:
        event = _event_in(record, "body" if "body" in record else "Body", "")
    else:
        event = parse_event(record)
    identifier, group = message_names(record)
    return Message(event, identifier or "", group)


def _event_in(holder: Mapping[str, Any], name: str, prefix: str) -> Event:
    path = f"{prefix}.{name}" if prefix else name
    try:
        document = loads_object(required_text(holder, name, prefix), path)
    except PathError as bad:
        raise DecodeError(bad.path, bad.problem) from None
    return event_in(document, path)
