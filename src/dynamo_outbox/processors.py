"""The Lambda functions between a stream and the bus: `OutboxRelay` for an events table, `ChangeProcessor` for CDC mode.

Both answer with the batch response of ``ReportBatchItemFailures``. Lambda takes the lowest sequence number in it as its
checkpoint and delivers everything from there on again, what had succeeded too; so that number is all that is reported.
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NamedTuple

from .core.change_ids import change_event_id, order_key
from .core.outbox_item import event_of, is_outbox_image
from .core.records import decode_records
from .domain_event import DomainEvent
from .errors import DecodeError
from .event import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .core.records import StreamRecord
    from .publisher import EventBridgePublisher

__all__ = ["ChangeProcessor", "OutboxRelay"]

log = logging.getLogger(__name__)


class _Outgoing(NamedTuple):
    record: StreamRecord
    event: Event
    order_key: str


class OutboxRelay:
    """Publishes what is inserted into an events table. A Lambda handler: ``handler = OutboxRelay(publisher)``.

    Args:
        publisher: Where the events go.

    Guarantee: with ``ReportBatchItemFailures``, every event is published at least once, or its record is reported as
    failed; none overtakes an earlier failed one of its aggregate in the same batch. Limit: an event may be published
    again, under the same id.
    """

    def __init__(self, publisher: EventBridgePublisher) -> None:
        self._publisher = publisher

    def __call__(self, event: object, context: object = None) -> dict[str, Any]:
        """Publish a batch.

        Args:
            event: What Lambda passes for a DynamoDB stream or a Kinesis data stream of one, or a pipe's array.
            context: Lambda's context: nothing more is sent when it leaves no time to answer.

        Raises:
            DecodeError: The payload is no batch of stream records, or a broken record has no sequence number to report.
        """
        return _process(event, context, _outbox_events, _outbox_order_key, self._publisher)


def _outbox_events(record: StreamRecord) -> list[Event]:
    """Only the insertion of an outbox item is an event: its removal, by TTL or anyone, is not."""
    image = record.raw["dynamodb"].get("NewImage")
    if record.event_name != "INSERT":
        return []
    if image is None:
        raise DecodeError("dynamodb.NewImage", "is missing; the stream needs the view type NEW_IMAGE")
    if not is_outbox_image(image):
        return []
    try:
        event = event_of(image)
        event.data  # noqa: B018  # read now: data that are no JSON object must fail here and not at EventBridge
    except DecodeError as error:
        path = error.within("dynamodb.NewImage").path
        raise DecodeError(path, error.problem, index=record.index, sequence_number=record.sequence_number) from None
    return [event]


def _outbox_order_key(raw: Mapping[str, Any]) -> str:
    """The aggregate, even of an outbox item that can't be read as an event, so that nothing of it overtakes it."""
    image = raw["dynamodb"].get("NewImage")
    if isinstance(image, dict):
        match image.get("aggregateType"), image.get("aggregateId"):
            case {"S": str(kind)}, {"S": str(name)} if kind and name:
                return f"{kind}#{name}"
    return order_key(raw)


def _key_of_unreadable(
    payload: object, index: int | None, order_key_of: Callable[[Mapping[str, Any]], str]
) -> str | None:
    """Whose a record is that can't be decoded; None where that can't be told either."""
    records = payload.get("Records") if isinstance(payload, dict) else payload
    try:
        return order_key_of(records[index])  # type: ignore[index]  # whatever it is, it may fail
    except (AttributeError, KeyError, TypeError):
        return None


class ChangeProcessor:
    """Maps each change of a table to events and publishes them. A Lambda handler, as `OutboxRelay` is.

    Args:
        publisher: Where the events go.
        changes: Maps a `StreamRecord` to nothing (None), one event, or several. A removal by TTL arrives here too,
            marked ``is_ttl_delete``.

    An event that `changes` gives no id or time gets them from the record: the id from table, stream event id and
    position, the time of the change. So a record that is delivered again makes the same event again. An exception from
    `changes` fails its record and no other.
    """

    def __init__(
        self,
        publisher: EventBridgePublisher,
        changes: Callable[[StreamRecord], Event | DomainEvent | Iterable[Event | DomainEvent] | None],
    ) -> None:
        self._publisher = publisher
        self._changes = changes

    def __call__(self, event: object, context: object = None) -> dict[str, Any]:
        """Publish a batch; arguments and errors are those of `OutboxRelay`."""
        return _process(event, context, self._events, order_key, self._publisher)

    def _events(self, record: StreamRecord) -> list[Event]:
        mapped = self._changes(record)
        if mapped is None:
            return []
        several = [mapped] if isinstance(mapped, (Event, DomainEvent)) else mapped
        return [_identified(each, record, position) for position, each in enumerate(several)]


def _identified(mapped: Event | DomainEvent, record: StreamRecord, position: int) -> Event:
    event = mapped.to_event() if isinstance(mapped, DomainEvent) else mapped
    derived = {"id": change_event_id(record, position), "time": record.time}
    return event.replace(**{name: value for name, value in derived.items() if name in event._drawn})


def _process(
    payload: object,
    context: object,
    events_of: Callable[[StreamRecord], Iterable[Event]],
    order_key_of: Callable[[Mapping[str, Any]], str],
    publisher: EventBridgePublisher,
) -> dict[str, Any]:
    failed: list[StreamRecord | DecodeError] = []
    outgoing: list[_Outgoing] = []
    blocked: set[str] = set()
    for record in decode_records(payload, on_error="collect"):
        if isinstance(record, DecodeError):
            log.error("a stream record can't be decoded: %s", record)
            failed.append(record)
            unreadable = _key_of_unreadable(payload, record.index, order_key_of)
            if unreadable is None:
                break  # what is behind it may be of its aggregate, and comes again anyway
            blocked.add(unreadable)
            continue
        item = order_key_of(record.raw)
        if item in blocked:
            failed.append(record)
            continue
        try:
            outgoing += [_Outgoing(record, event, item) for event in events_of(record)]
        except Exception:
            log.exception("stream record %s (%s) makes no event", record.sequence_number, record.event_id)
            failed.append(record)
            blocked.add(item)
    result = publisher._publish_in_order(
        [each.event for each in outgoing], [each.event.aggregate or each.order_key for each in outgoing], context
    )
    for failure in result.failed:
        event = failure.event
        log.error("%s %s was not published: %s: %s", event.type, event.id, failure.code, failure.message)
        failed.append(outgoing[failure.position].record)
    return batch_response(payload, failed)


def batch_response(payload: object, failed: Sequence[StreamRecord | DecodeError]) -> dict[str, Any]:
    """The answer to a batch: the first failed record, by the name that the source has for it, or nothing.

    A DynamoDB or Kinesis stream names a record by its sequence number, and the lowest counts. EventBridge Pipes names a
    DynamoDB record by its event id. https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-pipes-batching-concurrency.html

    Raises:
        DecodeError: The failed record has no such name, so that the batch can only fail as a whole.
    """
    if not failed:
        return {"batchItemFailures": []}
    if isinstance(payload, list):
        first = min(failed, key=lambda record: record.index or 0)
        raw = payload[first.index or 0]
        identifier = raw.get("eventID") or first.sequence_number if isinstance(raw, dict) else None
    else:
        unnamed = [record for record in failed if not record.sequence_number]
        first = unnamed[0] if unnamed else min(failed, key=lambda record: int(record.sequence_number or 0))
        identifier = first.sequence_number
    if not isinstance(identifier, str):
        raise (
            first
            if isinstance(first, DecodeError)
            else DecodeError("", "the record failed and has no name to report it by", index=first.index)
        )
    return {"batchItemFailures": [{"itemIdentifier": str(identifier)}]}
