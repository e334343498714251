"""The decision on the records of a batch, where records have several events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from dynamo_outbox import Event, decode_record
from dynamo_outbox.publishing.results import FailedEvent
from dynamo_outbox.relaying.rules import ReadRecord, decide

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OLD, NEW = NOW - timedelta(hours=13), NOW - timedelta(hours=1)
LIMIT = NOW - timedelta(hours=12)


def read_record(time: datetime | None, *events: Event) -> ReadRecord:
    change: dict[str, Any] = {"Keys": {"pk": {"S": "a"}}, "SequenceNumber": "1"}
    if time is not None:
        change["ApproximateCreationDateTime"] = time.timestamp()
    return ReadRecord(decode_record({"eventID": "1", "eventName": "INSERT", "dynamodb": change}), "a", events)


def event_at(time: datetime) -> Event:
    """Return an event with a UUIDv7 of a time."""
    milliseconds = int(time.timestamp() * 1000)
    return Event("T", {}, id=f"{milliseconds >> 16:08x}-{milliseconds & 0xFFFF:04x}-7000-8000-000000000000", time=time)


def failure(event: Event, *, refused: bool, code: str = "InternalFailure") -> FailedEvent:
    return FailedEvent(0, event, code, "refused", retryable=not refused, event_refused=refused)


@pytest.mark.parametrize(
    ("refusals", "time", "parked"),
    [
        ((True, True), NEW, True),
        ((True, False), NEW, False),
        ((False, True), NEW, False),
        ((False, False), NEW, False),
        ((True, False), OLD, True),
        ((False, False), OLD, True),
    ],
)
def test_a_record_is_parked_if_all_of_its_failed_events_are_refused_or_it_is_old(
    refusals: tuple[bool, bool], time: datetime, *, parked: bool
) -> None:
    """One event that may still be published keeps its record in the stream, until the record is old."""
    events = (Event("T", {}), Event("T", {}))
    failed = [failure(event, refused=refused) for event, refused in zip(events, refusals, strict=True)]
    decision = decide([read_record(time, *events)], {0: failed}, (), park_before=LIMIT, in_order=True)
    assert (bool(decision.parked), bool(decision.failed)) == (parked, not parked)


@pytest.mark.parametrize(
    ("times", "old"),
    [((OLD, OLD), True), ((OLD, NEW), False), ((NEW, OLD), False), ((NEW, NEW), False), ((LIMIT,), True), ((), False)],
)
def test_a_record_without_a_time_is_as_old_as_its_latest_event(times: tuple[datetime, ...], *, old: bool) -> None:
    """AWS requires no time of a record; its events' ids tell their times."""
    assert read_record(None, *map(event_at, times)).is_older_than(LIMIT) is old


@pytest.mark.parametrize(("time", "old"), [(OLD, True), (LIMIT, True), (NEW, False)])
def test_a_records_own_time_counts(time: datetime, *, old: bool) -> None:
    """A record with a time is as old as that, whatever its events' ids say."""
    assert read_record(time, event_at(NEW if old else OLD)).is_older_than(LIMIT) is old
