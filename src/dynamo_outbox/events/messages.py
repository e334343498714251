"""Events in SQS and SNS messages, each with the message id that a batch response needs.

https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html
https://docs.aws.amazon.com/sns/latest/dg/sns-message-and-json-formats.html
"""

from __future__ import annotations

from ..codec.frozen import Frozen, fill
from ..codec.json_text import loads_object
from ..codec.path_error import PathError
from ..errors import DecodeError
from .bus_event import parse_event, required_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal, overload

    from .event import Event

__all__ = ["Message", "parse_events"]


class Message(Frozen):
    """An event and the message that contained it.

    Attributes:
        event: The event.
        message_id: The SQS or SNS message id, for the batch response.
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
    """Return the events in a batch of SQS or SNS messages, in the batch's order.

    Args:
        payload: Lambda's event for a queue or a topic. A message's text is an event in any form that `parse_event`
            reads, or an SNS notification that contains one.
        on_error: ``raise``, or ``collect`` to get the `DecodeError` of an unreadable message in its place.

    Raises:
        DecodeError: The payload is not such a batch or, with ``raise``, a message contains no event.
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
    """Return a batch's messages, not decoded; raise `DecodeError` if the payload is not a batch."""
    records = payload.get("Records") if isinstance(payload, dict) else None
    if not isinstance(records, list):
        raise DecodeError("Records", "is missing or not a list: this is not a batch of SQS or SNS messages")
    return records


def message_names(record: object) -> tuple[str | None, str | None]:
    """Return an SQS message's id and its FIFO group, also if the message can't be decoded.

    A standard queue's ``MessageGroupId`` (fair queues) carries no order and is ignored.
    https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-fair-queues.html
    """
    if not isinstance(record, dict):
        return None, None
    identifier, attributes = record.get("messageId"), record.get("attributes")
    group = None
    if isinstance(attributes, dict) and _is_fifo(record.get("eventSourceARN"), attributes):
        group = attributes.get("MessageGroupId")
    return (
        identifier if isinstance(identifier, str) and identifier else None,
        group if isinstance(group, str) else None,
    )


def _is_fifo(arn: object, attributes: Mapping[str, Any]) -> bool:
    """Return whether a message is from a FIFO queue; a polled one has no ARN, but a sequence number."""
    return arn.endswith(".fifo") if isinstance(arn, str) else "SequenceNumber" in attributes


def _message(record: Any, index: int) -> Message:
    if isinstance(record, dict) and isinstance(notification := record.get("Sns"), dict):
        return Message(_event_in(notification, "Message", "Sns"), required_text(notification, "MessageId", "Sns"))
    if not isinstance(record, dict) or "body" not in record:
        raise DecodeError("", "is neither an SQS nor an SNS message", index=index)
    identifier, group = message_names(record)
    return Message(_event_in(record, "body", ""), identifier or "", group)


def _event_in(holder: Mapping[str, Any], name: str, prefix: str) -> Event:
    path = f"{prefix}.{name}" if prefix else name
    try:
        document = loads_object(required_text(holder, name, prefix), path)
        if document.get("Type") == "Notification" and "Message" in document:  # SNS to SQS without raw delivery
            document = loads_object(required_text(document, "Message", path), f"{path}.Message")
        return parse_event(document)
    except PathError as bad:
        raise DecodeError(bad.path, bad.problem) from None
