"""The decision on each record of a batch: published, parked, or reported as failed.

A stream delivers records in order, and Lambda redelivers everything from the lowest failed sequence number on. So:

1. A record with a permanent fault is parked, and so are the later ones with its ordering key.
2. A record that may still be published is reported as failed, until it is so old that the stream would drop it: then
   it is parked.
3. After the first record that is reported, nothing is parked: it will be redelivered and parked then. So nothing is
   ever parked while an earlier record with its ordering key is neither published nor parked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ..errors import DecodeError

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from ..events.event import Event
    from ..publishing.results import FailedEvent
    from ..streams.records import StreamRecord

__all__ = ["BEHIND", "BatchDecision", "ReadRecord", "Reason", "decide", "why_unpublished"]


class Reason(NamedTuple):
    """Why a record is not on the bus.

    Attributes:
        code: The exception's name, EventBridge's or the publisher's code, or ``Behind``.
        message: The same for a reader.
        path: The place in the record, if one is at fault.
    """

    code: str
    message: str
    path: str = ""


BEHIND = Reason("Behind", "an earlier record with its order key is not published yet")


class ReadRecord(NamedTuple):
    """A record of a batch, as far as it could be read.

    Attributes:
        record: The record, or why it can't be decoded.
        key: The ordering key; None if it is unknown.
        events: The events to publish.
        fault: Why there are none.
        is_passing: Whether the fault may pass.
        is_behind: It was not read, because an earlier record with its key is not published.
    """

    record: StreamRecord | DecodeError
    key: str | None
    events: Sequence[Event] = ()
    fault: Reason | None = None
    is_passing: bool = False
    is_behind: bool = False

    def is_older_than(self, moment: datetime) -> bool:
        """Return whether the change was made by then; False if that is unknown.

        A record without a time, which AWS allows, is as old as the latest of its events.
        """
        if isinstance(self.record, DecodeError):
            return False
        times = [event.created_at for event in self.events] if self.record.time is None else [self.record.time]
        return bool(times) and all(time is not None and time <= moment for time in times)


class BatchDecision(NamedTuple):
    """The records that are not published, by their positions in the batch."""

    parked: list[tuple[int, Reason]]
    failed: list[int]


def why_unpublished(read: ReadRecord, failures: Sequence[FailedEvent]) -> Reason | None:
    """Return why a record, or a part of it, is not on the bus; None if all of it is."""
    if read.fault is not None:
        return read.fault
    own = [failure for failure in failures if failure.code != "HeldBack"]
    if own:
        return Reason(own[0].code, own[0].message)
    return BEHIND if read.is_behind or failures else None


def decide(
    batch: Sequence[ReadRecord],
    failures: Mapping[int, Sequence[FailedEvent]],
    parked: Collection[str],
    *,
    park_before: datetime | None,
    in_order: bool,
) -> BatchDecision:
    """Decide on the records of a batch after it was published as far as possible.

    Args:
        batch: The records, in the stream's order.
        failures: The events that failed, by their record's position.
        parked: The ordering keys that have parked records already.
        park_before: Older records are parked whatever the reason; None if nothing can be parked.
        in_order: Whether the records after a parked one are parked with it.
    """
    waiting = set(parked)
    tried = any(_is_tried(failure) for several in failures.values() for failure in several)
    decision = BatchDecision([], [])
    for position, read in enumerate(batch):
        failed = failures.get(position, ())
        if not (failed or read.fault or read.is_behind):
            continue
        reason = why_unpublished(read, failed) or BEHIND
        if decision.failed or park_before is None or not _is_to_park(read, failed, waiting, park_before, tried=tried):
            decision.failed.append(position)
            continue
        decision.parked.append((position, reason))
        if in_order and read.key is not None:
            waiting.add(read.key)
    return decision


def _is_tried(failure: FailedEvent) -> bool:
    """Return whether publishing failed for a reason outside the event; a lack of time doesn't count."""
    return not failure.event_refused and failure.code not in ("HeldBack", "NotAttempted")


def _is_to_park(
    read: ReadRecord, failures: Sequence[FailedEvent], waiting: Collection[str], park_before: datetime, *, tried: bool
) -> bool:
    is_old = read.is_older_than(park_before)
    if read.fault is not None:
        return is_old or not read.is_passing
    if read.key in waiting:
        return True
    own = [failure for failure in failures if failure.code != "HeldBack"]
    if not own:
        return False  # the record that it is behind will be redelivered, and so will it
    return all(failure.event_refused for failure in own) or (is_old and tried)
