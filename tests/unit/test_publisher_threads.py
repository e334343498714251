"""Concurrent PutEvents calls keep the guarantees of sequential ones."""

from __future__ import annotations

import json
import threading
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, EventBridgePublisher, Retry
from dynamo_outbox.publishing.batches import thread_count
from dynamo_outbox.publishing.classic_bus import ClassicBus
from dynamo_outbox.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@pytest.mark.parametrize("seed", range(20))
def test_calls_at_once_keep_the_order_of_each_aggregate(seed: int) -> None:
    """Two events of an aggregate are never in flight at the same time, and they are sent in order."""
    chance = Random(seed)  # noqa: S311  # seeded, not for cryptography
    bus = _BusyBus(chance)
    events = [
        Event("A", {"n": number}, source="Books", aggregate_type="Book", aggregate_id=str(chance.randrange(60)))
        for number in range(300)
    ]
    publisher = EventBridgePublisher("bus", client=bus, concurrency=8, retry=Retry(attempts=3), clock=_StillClock())
    result = publisher.publish(events, in_order=True, on_failure="return")
    assert not bus.overlapped
    positions = [each.position for each in result.published] + [each.position for each in result.failed]
    assert sorted(positions) == list(range(300))
    taken: dict[str | None, list[int]] = {}
    for each in result.published:
        taken.setdefault(each.event.aggregate, []).append(each.position)
    for failure in result.failed:
        assert all(position < failure.position for position in taken.get(failure.event.aggregate, ()))
    for aggregate, positions in taken.items():
        assert [events[position].data["n"] for position in positions] == bus.taken[aggregate or ""]
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dynamo-outbox-publisher")]


class _StillClock(FakeClock):
    """A clock that does not advance, so that no retry is too late."""

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class _BusyBus:
    """A bus that rejects random entries and detects calls in flight with events of the same aggregate."""

    def __init__(self, chance: Random) -> None:
        self._chance = chance
        self._lock = threading.Lock()
        self._in_flight: list[str] = []
        self.overlapped = False
        self.most_at_once = 0
        self.taken: dict[str, list[int]] = {}

    def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
        details = [json.loads(entry["Detail"]) for entry in Entries]
        aggregates = [f"Book#{detail['metadata']['aggregateId']}" for detail in details]
        with self._lock:
            self.overlapped |= not set(aggregates).isdisjoint(self._in_flight) or len(set(aggregates)) < len(aggregates)
            self._in_flight += aggregates
            self.most_at_once = max(self.most_at_once, len(self._in_flight))
            fails = [self._chance.random() < 0.05 for _ in aggregates]
        threading.Event().wait(0.001)  # so that other calls overlap
        with self._lock:
            for aggregate, detail, failed in zip(aggregates, details, fails, strict=True):
                self._in_flight.remove(aggregate)
                if not failed:
                    self.taken.setdefault(aggregate, []).append(detail["data"]["n"])
        return {
            "Entries": [{"ErrorCode": "InternalFailure"} if failed else {"EventId": "id"} for failed in fails],
            "FailedEntryCount": sum(fails),
        }


@pytest.mark.parametrize(("events", "threads"), [(39, 1), (40, 2), (160, 8), (1000, 8)])
def test_threads_are_only_for_many_calls(events: int, threads: int) -> None:
    """Each thread has at least two calls, because a connection costs more than one call saves."""
    assert thread_count(8, [100] * events, ClassicBus("books", None)) == threads


def test_few_events_are_sent_by_the_callers_thread() -> None:
    """Few calls are made on the caller's thread, whatever the concurrency."""
    threads = []

    class Bus:
        def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
            threads.append(threading.current_thread())
            return {"Entries": [{"EventId": "id"}] * len(Entries), "FailedEntryCount": 0}

    events = [Event("A", {"n": number}, source="Books") for number in range(39)]
    EventBridgePublisher("bus", client=Bus(), concurrency=8).publish(events)
    assert threads == [threading.current_thread()] * 4


def test_a_call_that_is_over_makes_room_for_the_next() -> None:
    """While one call waits for its response, the others continue."""
    all_others_are_over = threading.Event()
    calls: list[bool] = []

    class Bus:
        def put_events(self, *, Entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:  # noqa: N803
            is_first = '"n":0' in Entries[0]["Detail"]
            if is_first:
                calls.append(all_others_are_over.wait(10))
            else:
                calls.append(True)
                if len(calls) == 3:
                    all_others_are_over.set()
            return {"Entries": [{"EventId": "id"}] * len(Entries), "FailedEntryCount": 0}

    events = [Event("A", {"n": number}, source="Books") for number in range(40)]
    result = EventBridgePublisher("bus", client=Bus(), concurrency=2).publish(events)
    assert calls == [True] * 4
    assert [each.position for each in result.published] == list(range(40))


def test_what_breaks_a_call_in_a_thread_breaks_the_publication() -> None:
    """A BaseException such as KeyboardInterrupt is raised, and no thread is left."""

    class Broken:
        def put_events(self, **_: Any) -> None:
            raise KeyboardInterrupt

    events = [Event("A", {}, source="Books") for _ in range(100)]
    with pytest.raises(KeyboardInterrupt):
        EventBridgePublisher("bus", client=Broken(), concurrency=8).publish(events)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dynamo-outbox-publisher")]
