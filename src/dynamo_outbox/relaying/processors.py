"""The Lambda functions between a stream and the bus: `OutboxRelay` for an events table, `ChangeProcessor` for CDC mode.

Both answer with the batch response of ``ReportBatchItemFailures``. Lambda takes the lowest sequence number in it as its
checkpoint and delivers everything from there on again, what had succeeded too; so that number is all that is reported.
https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..streams.change_ids import change_event_id, order_key
from ..events.outbox_item import event_of, is_outbox_image
from .parked_record import ParkedRecord
from ..streams.records import StreamRecord, decode_records
from .rules import Intake, Reason, decide, why_unpublished
from ..errors import DecodeError, ParkingError
from ..events.event import Event

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from typing_extensions import TypeIs

    from ..events.domain_event import DomainEvent
    from .parking import Parking
    from ..publishing.publisher import EventBridgePublisher, FailedEvent

__all__ = ["ChangeProcessor", "OutboxRelay"]

log = logging.getLogger(__name__)

DEFAULT_PARK_AFTER = timedelta(hours=12)
"""Half of what a stream keeps: the other half is for whoever has to mend what keeps records from being parked."""


class _Processor(ABC):
    """What relay and change processor share: from a batch to the bus, to where it is parked, and to the answer."""

    def __init__(
        self,
        publisher: EventBridgePublisher,
        parking: Parking | None,
        park_after: timedelta,
        retry_on: tuple[type[Exception], ...] = (),
    ) -> None:
        if park_after <= timedelta(0):
            raise ValueError(f"park_after={park_after} has to be longer than nothing")
        self._publisher = publisher
        self._parking = parking
        self._park_after = park_after
        self._retry_on = retry_on

    def __call__(self, event: object, context: object = None) -> dict[str, Any]:
        """Publish a batch.

        Args:
            event: What Lambda passes for a DynamoDB stream or a Kinesis data stream of one, or a pipe's array.
            context: Lambda's context: nothing more is sent when it leaves no time to answer.

        Raises:
            DecodeError: The payload is no batch of stream records, or a broken record that isn't parked has no sequence
                number to report.
            ClientError, BotoCoreError, ParkingError: It can't be told whether an earlier record is parked, so nothing
                was sent.
        """
        records = decode_records(event, on_error="collect")
        raws = _raw_records(event)
        keys = [self._key_of(record, raw) for record, raw in zip(records, raws, strict=True)]
        waiting = set() if self._parking is None else self._parking.waiting(key for key in keys if key is not None)
        intakes = self._read(records, keys, waiting)
        aggregates = [event.aggregate or intake.key for intake in intakes for event in intake.events]
        failures = self._publish(intakes, context, aggregates)
        fates = decide(intakes, failures, waiting, aged=self._aged(), in_order=self._keeps_order)
        parked = self._park([(raws[at], records[at], intakes[at], reason) for at, reason in fates.parked], context)
        failed = fates.failed + [at for at, _ in fates.parked[parked:]]
        return batch_response(event, [records[at] for at in failed])

    def _publish_again(self, records: Sequence[ParkedRecord], context: object) -> list[Reason | None]:
        """Publish parked records; by position, why one is not on the bus. What follows such a one is held back."""
        decoded = decode_records([record.raw for record in records], on_error="collect")
        intakes = self._read(decoded, [record.order_key for record in records], set(), holds_back=True)
        kind = type(self).__name__
        for at, record in enumerate(records):
            if record.parked_by != kind:
                problem = f"it was parked by a {record.parked_by}, and a {kind} would read it otherwise"
                intakes[at] = Intake(record.order_key, fault=Reason("AnothersRecord", problem))
        failures = self._publish(intakes, context, [intake.key for intake in intakes for _ in intake.events])
        return [why_unpublished(intake, failures.get(at, ())) for at, intake in enumerate(intakes)]

    @property
    def _keeps_order(self) -> bool:
        return self._parking is not None and self._parking.in_order

    def _aged(self) -> datetime | None:
        return None if self._parking is None else self._parking.clock() - self._park_after

    @abstractmethod
    def _events_of(self, record: StreamRecord) -> Sequence[Event]:
        """The events that a record makes."""

    @abstractmethod
    def _order_key(self, raw: Mapping[str, Any]) -> str:
        """What keeps its order with a raw record."""

    def _key_of(self, record: StreamRecord | DecodeError, raw: Any) -> str | None:
        """Whose a record is, also one that can't be decoded; None where that can't be told."""
        if isinstance(record, StreamRecord):
            return self._order_key(record.raw)
        try:
            return self._order_key(raw)
        except (AttributeError, KeyError, TypeError, ValueError):
            return None

    def _read(
        self,
        records: Sequence[StreamRecord | DecodeError],
        keys: Sequence[str | None],
        waiting: Collection[str],
        *,
        holds_back: bool | None = None,
    ) -> list[Intake]:
        """The batch as far as it can be read; nothing behind what stays back is."""
        stays = self._parking is None or self._keeps_order if holds_back is None else holds_back
        blocked = set(waiting)
        all_blocked = False
        intakes: list[Intake] = []
        for record, key in zip(records, keys, strict=True):
            time = record.time if isinstance(record, StreamRecord) else None
            if all_blocked or key in blocked:
                intakes.append(Intake(key, time, is_behind=True))
                continue
            intake = self._intake(record, key, time)
            intakes.append(intake)
            if intake.fault is not None and (stays or intake.is_passing):
                if key is not None:
                    blocked.add(key)
                elif self._parking is None:
                    all_blocked = True  # what is behind it may be of its aggregate, and comes again anyway
        return intakes

    def _intake(self, record: StreamRecord | DecodeError, key: str | None, time: datetime | None) -> Intake:
        if isinstance(record, DecodeError):
            log.error("a stream record can't be decoded: %s", record)
            return Intake(key, time, fault=_reason_of(record))
        try:
            return Intake(key, time, self._events_of(record))
        except Exception as error:
            log.exception("stream record %s (%s) makes no event", record.sequence_number, record.event_id)
            return Intake(key, time, fault=_reason_of(error), is_passing=isinstance(error, self._retry_on))

    def _publish(
        self, intakes: Sequence[Intake], context: object, order_keys: Sequence[str | None]
    ) -> dict[int, list[FailedEvent]]:
        """Publish what can be; the events that failed, by their record's position."""
        outgoing = [(at, event) for at, intake in enumerate(intakes) for event in intake.events]
        result = self._publisher._publish_in_order([event for _, event in outgoing], order_keys, context)
        failures: dict[int, list[FailedEvent]] = {}
        for failure in result.failed:
            event = failure.event
            log.error("%s %s was not published: %s: %s", event.type, event.id, failure.code, failure.message)
            failures.setdefault(outgoing[failure.position][0], []).append(failure)
        return failures

    def _park(self, entries: Sequence[tuple[Any, StreamRecord | DecodeError, Intake, Reason]], context: object) -> int:
        """Park records, in order; returns how many of them, from the first on, are."""
        if self._parking is None or not entries:
            return 0
        records: list[ParkedRecord] = []
        for raw, record, intake, reason in entries:
            try:
                records.append(
                    ParkedRecord.of(
                        raw,
                        intake.key,
                        sequence_number=record.sequence_number,
                        event_ids=[event.id for event in intake.events],
                        reason=reason,
                        now=self._parking.clock(),
                        parked_by=type(self).__name__,
                    )
                )
            except ParkingError:
                log.exception("stream record %s can't be parked", record.sequence_number)
                break
        parked = self._parking.park(records, context)
        for each in records[:parked]:
            why = f"{each.reason.code}: {each.reason.message}"
            log.error("stream record %s of %s is parked: %s", each.sequence_number, each.order_key, why)
        return parked


class OutboxRelay(_Processor):
    """Publishes what is inserted into an events table. A Lambda handler: ``handler = OutboxRelay(publisher)``.

    Args:
        publisher: Where the events go.
        parking: Where a record is kept that can't be read or published; without it, it is reported as failed for as
            long as Lambda delivers it.
        park_after: How old a change is at the least when it is parked although it might still go through: well within
            the stream's 24 hours and the event source mapping's MaximumRecordAge.

    Guarantee: with ``ReportBatchItemFailures``, every event is published at least once, or its record is parked, or it
    is reported as failed; none overtakes an earlier failed one of its aggregate in the same batch, nor, with a
    `ParkingTable`, one that is parked. Limit: an event may be published again, under the same id.
    """

    def __init__(
        self,
        publisher: EventBridgePublisher,
        *,
        parking: Parking | None = None,
        park_after: timedelta = DEFAULT_PARK_AFTER,
    ) -> None:
        super().__init__(publisher, parking, park_after)

    def _events_of(self, record: StreamRecord) -> list[Event]:
        return _outbox_events(record)

    def _order_key(self, raw: Mapping[str, Any]) -> str:
        return _outbox_order_key(raw)


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
        event._read_texts()  # now: what is no JSON object must fail here and not at EventBridge
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


class ChangeProcessor(_Processor):
    """Maps each change of a table to events and publishes them. A Lambda handler, as `OutboxRelay` is.

    Args:
        publisher: Where the events go.
        changes: Maps a `StreamRecord` to nothing (None), one event, or several. A removal by TTL arrives here too,
            marked ``is_ttl_delete``.
        parking, park_after: As for `OutboxRelay`.
        retry_on: Exceptions of `changes` that may pass: its record is reported as failed. Any other is a fault of the
            record or of the code, and the record is parked.
        order_by: The key attribute of the table by which parked changes keep their order; by default all of the key, so
            each item's changes keep theirs. For an aggregate of several items, the partition key's name.

    An event that `changes` gives no id or time gets them from the record: the id from table, stream event id and
    position, the time of the change. So a record that is delivered again makes the same event again. An exception from
    `changes` fails its record and no other.
    """

    def __init__(
        self,
        publisher: EventBridgePublisher,
        changes: Callable[[StreamRecord], Event | DomainEvent | Iterable[Event | DomainEvent] | None],
        *,
        parking: Parking | None = None,
        park_after: timedelta = DEFAULT_PARK_AFTER,
        retry_on: tuple[type[Exception], ...] = (),
        order_by: str | None = None,
    ) -> None:
        super().__init__(publisher, parking, park_after, retry_on)
        self._changes = changes
        self._order_by = order_by

    def _events_of(self, record: StreamRecord) -> list[Event]:
        mapped = self._changes(record)
        if mapped is None:
            return []
        several = [mapped] if _is_one(mapped) else mapped
        return [_identified(each, record, position) for position, each in enumerate(several)]

    def _order_key(self, raw: Mapping[str, Any]) -> str:
        if self._order_by is None:
            return order_key(raw)
        keys = raw["dynamodb"]["Keys"]
        if self._order_by not in keys:
            raise ValueError(f"order_by={self._order_by!r} is no key attribute of this table, whose are {sorted(keys)}")
        return f"{self._order_by}={keys[self._order_by]!r}"


def _is_one(mapped: Event | DomainEvent | Iterable[Event | DomainEvent]) -> TypeIs[Event | DomainEvent]:
    """Whether it is one event; a `DomainEvent` is known by its method, as an instance would cost pydantic's import."""
    return isinstance(mapped, Event) or hasattr(mapped, "to_event")


def _identified(mapped: Event | DomainEvent, record: StreamRecord, position: int) -> Event:
    event = mapped if isinstance(mapped, Event) else mapped.to_event()
    derived = {"id": change_event_id(record, position), "time": record.time}
    return event.replace(**{name: value for name, value in derived.items() if name in event._drawn})


def _reason_of(error: Exception) -> Reason:
    if isinstance(error, DecodeError):
        return Reason(type(error).__name__, error.problem, error.path)
    return Reason(type(error).__name__, str(error))


def _raw_records(payload: Any) -> list[Any]:
    """The records of what `decode_records` took, as they were handed over."""
    if isinstance(payload, list):
        return payload
    is_one = "dynamodb" in payload or "kinesis" in payload
    records: list[Any] = [payload] if is_one else payload["Records"]
    return records


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
