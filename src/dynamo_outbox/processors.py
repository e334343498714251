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

    def __call__(self, event: Mapping[str, Any], context: object = None) -> dict[str, Any]:  # noqa: ARG002  # Lambda's call
        """Publish a batch.

        Args:
            event: What Lambda passes for a DynamoDB stream.
            context: Lambda's context; not used.

        Raises:
            DecodeError: The payload is no batch of stream records, or a broken record has no sequence number to report.
        """
        return _process(event, _outbox_events, self._publisher)


def _outbox_events(record: StreamRecord) -> list[Event]:
    """Only the insertion of an outbox item is an event: its removal, by TTL or anyone, is not."""
    image = record.raw["dynamodb"].get("NewImage")
    if record.event_name != "INSERT" or not is_outbox_image(image):
        return []
    try:
        event = event_of(image)
        event.data  # noqa: B018  # read now: data that are no JSON object must fail here and not at EventBridge
    except DecodeError as error:
        raise error.within("dynamodb.NewImage") from None
    return [event]


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

    def __call__(self, event: Mapping[str, Any], context: object = None) -> dict[str, Any]:  # noqa: ARG002  # Lambda's call
        """Publish a batch; arguments and errors are those of `OutboxRelay`."""
        return _process(event, self._events, self._publisher)

    def _events(self, record: StreamRecord) -> list[Event]:
        mapped = self._changes(record)
        if mapped is None:
            return []
        several = [mapped] if isinstance(mapped, (Event, DomainEvent)) else mapped
        return [_identified(each, record, position) for position, each in enumerate(several)]


def _identified(mapped: Event | DomainEvent, record: StreamRecord, position: int) -> Event:
    event = mapped.to_event() if isinstance(mapped, DomainEvent) else mapped
    derived = {"id": change_event_id(record, position), "time": record.time}
    return event.replace(**{name: value for name, value in derived.items() if name in event.drawn})


def _process(
    payload: Mapping[str, Any], events_of: Callable[[StreamRecord], Iterable[Event]], publisher: EventBridgePublisher
) -> dict[str, Any]:
    failed: list[StreamRecord | DecodeError] = []
    outgoing: list[_Outgoing] = []
    blocked: set[str] = set()
    for record in decode_records(payload, on_error="collect"):
        if isinstance(record, DecodeError):
            log.error("a stream record can't be decoded: %s", record)
            failed.append(record)
            continue
        item = order_key(record)
        if item in blocked:
            failed.append(record)
            continue
        try:
            outgoing += [_Outgoing(record, event, item) for event in events_of(record)]
        except Exception:
            log.exception("stream record %s (%s) makes no event", record.sequence_number, record.event_id)
            failed.append(record)
            blocked.add(item)
    result = publisher.publish_in_order(
        [each.event for each in outgoing], [_aggregate(each.event) or each.order_key for each in outgoing]
    )
    for failure in result.failed:
        log.error("%s %s was not published: %s: %s", *_named(failure.event), failure.code, failure.message)
        failed.append(outgoing[failure.position].record)
    return batch_response(failed)


def _named(event: Event) -> tuple[str, str]:
    return event.type, event.id


def _aggregate(event: Event) -> str | None:
    return None if event.aggregate_type is None else f"{event.aggregate_type}#{event.aggregate_id}"


def batch_response(failed: Sequence[StreamRecord | DecodeError]) -> dict[str, Any]:
    """Lambda's batch response: the lowest failed sequence number, or nothing.

    Raises:
        DecodeError: A failed record has no sequence number, so that the batch can only fail as a whole.
    """
    numbers = []
    for record in failed:
        if not record.sequence_number:
            raise (
                record
                if isinstance(record, DecodeError)
                else DecodeError(
                    "dynamodb.SequenceNumber", "is missing, so the failed record can't be reported", index=record.index
                )
            )
        numbers.append(record.sequence_number)
    lowest = min(numbers, key=int, default=None)
    return {"batchItemFailures": [] if lowest is None else [{"itemIdentifier": str(lowest)}]}
