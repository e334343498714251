"""The Lambda functions between a stream and the bus: `OutboxRelay` and, for CDC mode, `ChangeProcessor`."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from ..aws.lambda_context import invocation
from ..errors import DecodeError, ParkingError
from ..events.event import Event
from ..log_lines import fields, logger, named
from ..streams.batch_response import batch_response, refuse_firehose
from ..streams.event_ids import change_event_id
from ..streams.outbox_records import event_names, inserted_events, ordering_key
from ..streams.records import decode_records
from .parked_record import ParkedRecord
from .rules import BEHIND, ReadRecord, Reason, decide, why_unpublished

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from typing_extensions import TypeIs

    from ..events.domain_event import DomainEvent
    from ..publishing.publisher import EventBridgePublisher
    from ..publishing.results import FailedEvent
    from ..streams.records import StreamRecord
    from .parking import Parking

__all__ = ["ChangeProcessor", "OutboxRelay"]

log = logger(__name__)

DEFAULT_PARK_AFTER = timedelta(hours=12)
"""Half of what a stream keeps: the other half is for repairing the cause if records can't be parked."""


class _Processor:
    """Common part of relay and change processor: publish a batch, park what can't be published, respond.

    Attributes:
        publisher: Publishes to the bus.
        parking: Where records are parked, if anywhere.
    """

    def __init__(
        self,
        publisher: EventBridgePublisher,
        parking: Parking | None,
        park_after: timedelta,
        *,
        key_of: Callable[[StreamRecord | DecodeError], str | None],
        events_of: Callable[[StreamRecord], Sequence[Event]],
        retry_on: tuple[type[Exception], ...] = (),
    ) -> None:
        if park_after <= timedelta(0):
            raise ValueError(f"park_after={park_after} must be positive")
        self.parking = parking
        self.publisher = publisher
        self._park_after = park_after
        self._key_of = key_of
        self._events_of = events_of
        self._retry_on = retry_on

    def __call__(self, event: object, context: object = None) -> dict[str, Any]:
        """Publish a batch; return the batch response of ``ReportBatchItemFailures``.

        Args:
            event: Lambda's event for a DynamoDB stream or a Kinesis data stream of one, or a pipe's array.
            context: Lambda's context: nothing more is sent if it leaves no time to respond.

        Raises:
            DecodeError: The payload is not a batch of stream records, or a malformed record that isn't parked has no
                sequence number to report.
            ClientError, BotoCoreError, ParkingError: It is unknown whether an earlier record is parked, so nothing was
                sent.
        """
        with invocation(context):
            return self._process(event, context)

    def _process(self, event: object, context: object) -> dict[str, Any]:
        parking = self.parking
        refuse_firehose(event)
        records = decode_records(event, on_error="collect")
        keys = [self._key_of(record) for record in records]
        waiting = set() if parking is None else parking.waiting(key for key in keys if key is not None)
        stays_in_order = parking is None or parking.in_order
        batch = self._read(records, keys, waiting, holds_back=stays_in_order)
        failures = self._publish(batch, context)
        park_before = None if parking is None else parking.clock.now() - self._park_after
        in_order = parking is not None and parking.in_order
        decision = decide(batch, failures, waiting, park_before=park_before, in_order=in_order)
        parked = self._park([(batch[at], reason) for at, reason in decision.parked], context)
        failed = decision.failed + [at for at, _ in decision.parked[parked:]]
        _log_unread(batch[at] for at in failed if batch[at].is_behind)
        return batch_response(event, [records[at] for at in failed])

    def republish(self, parked: Sequence[ParkedRecord], context: object) -> list[Reason | None]:
        """Publish parked records again; records after one that fails are held back.

        Returns:
            By position, why a record is not on the bus.
        """
        records = decode_records([each.raw for each in parked], on_error="collect")
        batch = self._read(records, [each.order_key for each in parked], set(), holds_back=True)
        kind = type(self).__name__
        for at, each in enumerate(parked):
            if each.parked_by != kind:
                problem = f"it was parked by a {each.parked_by}, and a {kind} would read it otherwise"
                batch[at] = ReadRecord(records[at], each.order_key, fault=Reason("AnothersRecord", problem))
        failures = self._publish(batch, context, by_record=True)
        return [why_unpublished(read, failures.get(at, ())) for at, read in enumerate(batch)]

    def keyed_events(self, record: StreamRecord) -> list[tuple[Event, str | None]]:
        """Return a record's events as they are published, each with its ordering key.

        Raises:
            Exception: The record can't be decoded, or `to_events` raised it.
        """
        key, source = self._key_of(record), self.publisher.source
        events = self._events_of(record)
        return [(each if each.source else each.replace(source=source), each.aggregate or key) for each in events]

    def _read(
        self,
        records: Sequence[StreamRecord | DecodeError],
        keys: Sequence[str | None],
        waiting: Collection[str],
        *,
        holds_back: bool,
    ) -> list[ReadRecord]:
        """Read the batch; records after one that stays unpublished are not read.

        Args:
            records, keys: The batch and its ordering keys.
            waiting: The ordering keys that have parked records.
            holds_back: Whether a faulty record keeps the later ones with its key from being published.
        """
        blocked = set(waiting)
        all_blocked = False
        batch: list[ReadRecord] = []
        for record, key in zip(records, keys, strict=True):
            if all_blocked or key in blocked:
                batch.append(ReadRecord(record, key, is_behind=True))
                continue
            read = self._read_one(record, key)
            batch.append(read)
            if read.fault is not None and (holds_back or read.is_passing):
                if key is not None:
                    blocked.add(key)
                elif self.parking is None:
                    all_blocked = True  # later records may be of its aggregate, and are redelivered anyway
        return batch

    def _read_one(self, record: StreamRecord | DecodeError, key: str | None) -> ReadRecord:
        if isinstance(record, DecodeError):
            names = event_names(record.raw)
            log.error(
                "a stream record of %s (%s) can't be decoded: %s",
                key or "an unknown order key",
                named(names, key),
                record,
                extra=fields(names, order_key=key, sequence_number=record.sequence_number),
            )
            return ReadRecord(record, key, fault=_reason_of(record))
        try:
            return ReadRecord(record, key, self._events_of(record))
        except Exception as error:
            names = event_names(record.raw)
            log.exception(
                "stream record %s of %s (%s) makes no event",
                record.sequence_number,
                key or "an unknown order key",
                named(names, key),
                extra=fields(
                    names,
                    order_key=key,
                    sequence_number=record.sequence_number,
                    change_id=record.event_id,
                    code=type(error).__name__,
                ),
            )
            return ReadRecord(record, key, fault=_reason_of(error), is_passing=isinstance(error, self._retry_on))

    def _publish(
        self, batch: Sequence[ReadRecord], context: object, *, by_record: bool = False
    ) -> dict[int, list[FailedEvent]]:
        """Publish the events of a batch, in the order of their aggregates, or only of their records.

        Returns:
            The events that failed, by their record's position.
        """
        outgoing = [(at, event) for at, read in enumerate(batch) for event in read.events]
        order_keys = [(None if by_record else event.aggregate) or batch[at].key for at, event in outgoing]
        result = self.publisher.publish_by_key([event for _, event in outgoing], order_keys, context)
        failures: dict[int, list[FailedEvent]] = {}
        for failure in result.failed:
            failures.setdefault(outgoing[failure.position][0], []).append(failure)
        _log_failures(result.failed, order_keys)
        return failures

    def _park(self, entries: Sequence[tuple[ReadRecord, Reason]], context: object) -> int:
        """Park records, in order; return how many of them, from the first on, are parked."""
        if self.parking is None or not entries:
            return 0
        parked: list[ParkedRecord] = []
        for read, reason in entries:
            record = read.record
            try:
                parked.append(
                    ParkedRecord.of(
                        record.raw if isinstance(record, DecodeError) else record.delivered,
                        read.key,
                        sequence_number=record.sequence_number,
                        event_ids=[event.id for event in read.events],
                        reason=reason,
                        now=self.parking.clock.now(),
                        parked_by=type(self).__name__,
                    )
                )
            except ParkingError:
                names = event_names(record.raw)
                log.exception(
                    "stream record %s of %s (%s) can't be parked",
                    record.sequence_number,
                    read.key or "an unknown order key",
                    named(names, read.key),
                    extra=fields(names, order_key=read.key, sequence_number=record.sequence_number),
                )
                break
        count = self.parking.park(parked, context)
        _log_parked(list(zip(parked[:count], [read for read, _ in entries], strict=False)))
        return count


def _log_failures(failed: Sequence[FailedEvent], order_keys: Sequence[str | None]) -> None:
    """Log each event that failed; those held back in a line for each order key, those not attempted in one line."""
    held_back: dict[str | None, list[FailedEvent]] = {}
    not_attempted: dict[str, list[FailedEvent]] = {}
    for each in failed:
        if each.code == "HeldBack":
            held_back.setdefault(order_keys[each.position], []).append(each)
        elif each.code == "NotAttempted":
            not_attempted.setdefault(each.message, []).append(each)
        else:
            log.error(
                "%s was not published: %s: %s",
                named(each.event),
                each.code,
                each.message,
                extra=fields(each.event, order_key=order_keys[each.position], code=each.code),
            )
    for order_key, events in held_back.items():
        log.warning(
            "events of %s are held back behind a failed one: %d, the first %s",
            order_key,
            len(events),
            named(events[0].event, order_key),
            extra=fields(events[0].event, order_key=order_key, code="HeldBack", count=len(events)),
        )
    for message, events in not_attempted.items():
        log.error(
            "events were not sent: %d, the first %s: %s",
            len(events),
            named(events[0].event),
            message,
            extra=fields(events[0].event, code="NotAttempted", count=len(events)),
        )


def _log_unread(held_back: Iterable[ReadRecord]) -> None:
    """Log the records that are reported as failed because of an earlier one, in a line for each order key."""
    by_key: dict[str | None, list[ReadRecord]] = {}
    for read in held_back:
        by_key.setdefault(read.key, []).append(read)
    for order_key, several in by_key.items():
        first = several[0].record
        names = event_names(first.raw)
        log.warning(
            "stream records of %s are held back behind a failed one: %d, the first %s (%s)",
            order_key or "an unknown order key",
            len(several),
            first.sequence_number,
            named(names, order_key),
            extra=fields(names, order_key=order_key, sequence_number=first.sequence_number, count=len(several)),
        )


def _log_parked(parked: Sequence[tuple[ParkedRecord, ReadRecord]]) -> None:
    """Log each parked record; those behind an earlier one in a line for each order key."""
    behind: dict[str | None, list[tuple[ParkedRecord, ReadRecord]]] = {}
    for each, read in parked:
        if each.reason == BEHIND:
            behind.setdefault(read.key, []).append((each, read))
            continue
        names = read.events[0] if read.events else event_names(read.record.raw)
        log.error(
            "stream record %s of %s (%s) is parked: %s: %s",
            each.sequence_number,
            each.order_key,
            named(names, each.order_key),
            each.reason.code,
            each.reason.message,
            extra=fields(names, order_key=each.order_key, sequence_number=each.sequence_number, code=each.reason.code),
        )
    for several in behind.values():
        each, read = several[0]
        names = event_names(read.record.raw)
        log.error(
            "stream record %s of %s (%s) is parked: it is the first of %d behind one that is not published",
            each.sequence_number,
            each.order_key,
            named(names, each.order_key),
            len(several),
            extra=fields(
                names,
                order_key=each.order_key,
                sequence_number=each.sequence_number,
                code=BEHIND.code,
                count=len(several),
            ),
        )


class OutboxRelay(_Processor):
    """Lambda handler that publishes the events inserted into an events table: ``handler = OutboxRelay(publisher)``.

    Args:
        publisher: Publishes to the bus.
        parking: Stores a record that can't be read or published; without it, the record is reported as failed for as
            long as Lambda delivers it.
        park_after: Minimum age of a change before a retryable failure is parked: well within the stream's 24 hours and
            the event source mapping's MaximumRecordAge.

    Guarantee: with ``ReportBatchItemFailures``, every event is published at least once, or its record is parked, or it
    is reported as failed; none overtakes an earlier failed one of its aggregate in the same batch, nor, with a
    `ParkingTable`, one that is parked. Limit: an event may be published again, with the same id.
    """

    def __init__(
        self,
        publisher: EventBridgePublisher,
        *,
        parking: Parking | None = None,
        park_after: timedelta = DEFAULT_PARK_AFTER,
    ) -> None:
        key_of = partial(ordering_key, by_aggregate=True)
        super().__init__(publisher, parking, park_after, key_of=key_of, events_of=inserted_events)


class ChangeProcessor(_Processor):
    """Lambda handler that maps each change of a table to events and publishes them.

    Args:
        publisher: Publishes to the bus.
        to_events: Maps a `StreamRecord` to None, one event, or several. It is also called for removals by TTL, which
            are marked ``is_ttl_delete``.
        parking, park_after: As for `OutboxRelay`.
        retry_on: Exceptions of `to_events` that may pass: the record is reported as failed. Any other is a fault of the
            record or of the code, and the record is parked.
        order_by: The key attribute of the table by which parked changes keep their order; by default the whole key, so
            that each item's changes keep theirs. For an aggregate of several items, the partition key's name.

    An event without its own id or time gets them from the record: the id from table, stream event id and position, the
    time of the change. So a redelivered record makes the same events again. An exception of `to_events` fails its
    record only.
    """

    def __init__(
        self,
        publisher: EventBridgePublisher,
        to_events: Callable[[StreamRecord], Event | DomainEvent | Iterable[Event | DomainEvent] | None],
        *,
        parking: Parking | None = None,
        park_after: timedelta = DEFAULT_PARK_AFTER,
        retry_on: tuple[type[Exception], ...] = (),
        order_by: str | None = None,
    ) -> None:
        key_of = partial(ordering_key, attribute=order_by)
        super().__init__(publisher, parking, park_after, key_of=key_of, events_of=self._mapped, retry_on=retry_on)
        self._to_events = to_events

    def _mapped(self, record: StreamRecord) -> list[Event]:
        mapped = self._to_events(record)
        if mapped is None:
            return []
        several = [mapped] if _is_one(mapped) else mapped
        return [
            (each if isinstance(each, Event) else each.to_event()).with_defaults(
                id=change_event_id(record, position), time=record.time
            )
            for position, each in enumerate(several)
        ]


def _is_one(mapped: Event | DomainEvent | Iterable[Event | DomainEvent]) -> TypeIs[Event | DomainEvent]:
    """Return whether it is one event; a `DomainEvent` is recognised by its method, without the import of pydantic."""
    return isinstance(mapped, Event) or hasattr(mapped, "to_event")


def _reason_of(error: Exception) -> Reason:
    if isinstance(error, DecodeError):
        return Reason(type(error).__name__, error.problem, error.path)
    try:
        message = str(error)
    except Exception as broken:  # the error is of the user's code
        message = f"its text can't be made: {type(broken).__name__}"
    return Reason(type(error).__name__, message)
