"""What becomes of each record of a batch: published, parked, or reported as failed. Decided here, done by the callers.

A stream shows its records in order, and Lambda delivers everything from the lowest failed sequence number on again. So:

1. What a fault of its own keeps from the bus for good is parked, and so is what follows it under its order key.
2. What may yet go through is reported as failed, until it is so old that the stream would drop it: then it is parked.
3. Behind the first record that is reported nothing is parked: it comes again, and is parked then. So under one order
   key nothing is ever parked while an earlier record is neither published nor parked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from ..events.event import Event
    from ..publishing.publisher import FailedEvent

__all__ = ["Fates", "Intake", "Reason", "decide", "why_unpublished"]


class Reason(NamedTuple):
    """Why a record is not on the bus.

    Attributes:
        code: The exception's name, EventBridge's or the publisher's code, or ``Behind``.
        message: The same for a reader.
        path: The place in the record, where a place is at fault.
    """

    code: str
    message: str
    path: str = ""


BEHIND = Reason("Behind", "an earlier record with its order key is not published yet")


class Intake(NamedTuple):
    """A record of a batch, as far as it could be read.

    Attributes:
        key: The order key; None where it can't even be told whose the record is.
        time: When the change was made; None where that can't be read.
        events: What it is to become.
        fault: Why it becomes nothing.
        is_passing: Whether the fault may pass by itself.
        is_behind: It was not read, because an earlier record with its key is not published.
    """

    key: str | None
    time: datetime | None = None
    events: Sequence[Event] = ()
    fault: Reason | None = None
    is_passing: bool = False
    is_behind: bool = False


class Fates(NamedTuple):
    """What is to be done with the records that are not published, by their positions in the batch."""

    parked: list[tuple[int, Reason]]
    failed: list[int]


def why_unpublished(intake: Intake, failures: Sequence[FailedEvent]) -> Reason | None:
    """Why a record, or a part of it, is not on the bus; None where all of it is."""
    if intake.fault is not None:
        return intake.fault
    own = [failure for failure in failures if failure.code != "HeldBack"]
    if own:
        return Reason(own[0].code, own[0].message)
    return BEHIND if intake.is_behind or failures else None


def decide(
    intakes: Sequence[Intake],
    failures: Mapping[int, Sequence[FailedEvent]],
    parked: Collection[str],
    *,
    aged: datetime | None,
    in_order: bool,
) -> Fates:
    """What becomes of the records of a batch after it was published as far as possible.

    Args:
        intakes: The batch, in the stream's order.
        failures: The events that failed, by their record's position.
        parked: The order keys that have something parked already.
        aged: What is not younger is parked for whatever reason; None where nothing can be parked at all.
        in_order: Whether what follows a parked record is parked with it.
    """
    waiting = set(parked)
    tried = any(_is_tried(failure) for several in failures.values() for failure in several)
    fates = Fates([], [])
    for position, intake in enumerate(intakes):
        failed = failures.get(position, ())
        reason = why_unpublished(intake, failed)
        if reason is None:
            continue
        if fates.failed or aged is None or not _is_to_park(intake, failed, waiting, aged, tried=tried):
            fates.failed.append(position)
            continue
        fates.parked.append((position, reason))
        if in_order and intake.key is not None:
            waiting.add(intake.key)
    return fates


def _is_tried(failure: FailedEvent) -> bool:
    """Whether the bus was asked in vain, without the event being at fault; a lack of time is no such thing."""
    return not failure.event_refused and failure.code not in ("HeldBack", "NotAttempted")


def _is_to_park(
    intake: Intake, failures: Sequence[FailedEvent], waiting: Collection[str], aged: datetime, *, tried: bool
) -> bool:
    is_old = intake.time is not None and intake.time <= aged
    if intake.fault is not None:
        return is_old or not intake.is_passing
    if intake.key in waiting:
        return True
    own = [failure for failure in failures if failure.code != "HeldBack"]
    if not own:
        return False  # what it waits for will come again, and so will it
    return all(failure.event_refused for failure in own) or (is_old and tried)
