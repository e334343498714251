"""Replay: what is sent, in which order, at which rate, and what a checkpoint keeps of it."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import EndpointConnectionError

from dynamo_outbox import Event, EventBridgePublisher, Retry, parse_event
from dynamo_outbox.errors import OutboxError
from dynamo_outbox.operations.places import Piece, Place
from dynamo_outbox.operations.replay import Survey, replay, survey, to_bus, to_function

from ..doubles import FakeClock, StubBus, client_error
from .test_processors import NOON

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from dynamo_outbox.operations.places import Send
    from dynamo_outbox.operations.replay import ReplayResult


def event(name: str, aggregate: str | None = None, **more: Any) -> Event:
    kind = None if aggregate is None else "Book"
    fields = {"id": name, "time": NOON, "source": "Books", "aggregate_type": kind, "aggregate_id": aggregate}
    return Event(name.partition("-")[0], {}, **{**fields, **more})


def piece(*events: Event, faults: Sequence[str] = ()) -> Piece:
    name = events[0].id if events else "broken"
    return Piece(name, [(each, each.aggregate) for each in events], list(faults))


class Shelf:
    """A place in memory: its pages of pieces, and the names of the pieces that were removed."""

    def __init__(self, *pages: list[Piece], in_order: bool = True) -> None:
        self.removed: list[str] = []
        self.passed = 0
        self._pages = pages
        self.place = Place("shelf", self._drain, in_order=in_order)

    def _drain(self, send: Send) -> None:
        for page in self._pages:
            self.passed += 1
            are_sent = send(page)
            self.removed += [each.name for each, is_sent in zip(page, are_sent, strict=True) if is_sent]


class World:
    """A bus, a clock, and a replay between a shelf and the bus."""

    def __init__(self, bus: StubBus | None = None) -> None:
        self.clock = FakeClock()
        self.clock.set(NOON)
        self.bus = bus or StubBus()
        self.publisher = EventBridgePublisher("books", client=self.bus, retry=Retry(attempts=1), clock=self.clock)

    def replay(self, shelf: Shelf, **options: Any) -> ReplayResult:
        return replay(shelf.place, to_bus(self.publisher), clock=self.clock, **options)


def ids(bus: StubBus) -> list[str]:
    return [json.loads(entry["Detail"])["metadata"]["id"] for call in bus.calls for entry in call]


def counts(result: ReplayResult) -> tuple[int, int, int, list[tuple[str, str]]]:
    failures = [(failure.name, failure.code) for failure in result.failures]
    return result.sent, result.sent_before, result.maybe_twice, failures


def test_accepted_pieces_are_removed() -> None:
    """Events are sent with their own ids, and only a piece of which everything was accepted is removed."""
    world = World(StubBus({"Bad": "MalformedDetail"}))
    shelf = Shelf([piece(event("A-1")), piece(event("B-1"), event("Bad-1"))], [piece(event("C-1"), faults=["torn"])])
    result = world.replay(shelf)
    assert ids(world.bus) == ["A-1", "B-1", "Bad-1", "C-1"]
    assert shelf.removed == ["A-1"]
    assert counts(result) == (3, 0, 0, [("B-1", "MalformedDetail"), ("C-1", "Unreadable")])
    assert (result.failures[0].event_id, result.failures[1].message, result.stopped) == ("Bad-1", "torn", "")


def test_a_piece_without_events_is_removed() -> None:
    """A piece that makes no event any more has nothing to wait for."""
    world, shelf = World(), Shelf([piece()])
    assert counts(world.replay(shelf)) == (0, 0, 0, [])
    assert (shelf.removed, world.bus.calls) == (["broken"], [])


@pytest.mark.parametrize(("in_order", "sent"), [(True, ["Bad-1", "C-1"]), (False, ["Bad-1", "A-2", "C-1"])])
def test_a_failed_event_holds_back_its_aggregate(sent: list[str], *, in_order: bool) -> None:
    """In an ordered place, later pages of a failed event's aggregate are held back; other aggregates are not."""
    world = World(StubBus({"Bad": "MalformedDetail"}))
    shelf = Shelf([piece(event("Bad-1", "a"))], [piece(event("A-2", "a")), piece(event("C-1", "c"))], in_order=in_order)
    result = world.replay(shelf)
    assert ids(world.bus) == sent
    assert ("HeldBack" in [failure.code for failure in result.failures]) is in_order


@pytest.mark.parametrize(
    ("bus_of", "reason"),
    [
        (
            lambda: StubBus(failing_call=0, error=lambda: client_error("AccessDeniedException")),
            "AccessDeniedException: ",
        ),
        (
            lambda: StubBus(failing_call=0, error=lambda: EndpointConnectionError(endpoint_url="x")),
            "EndpointConnectionError: ",
        ),
        (lambda: StubBus({"A": "InternalFailure"}), "InternalFailure: "),
    ],
)
def test_a_replay_ends_if_the_bus_takes_nothing(bus_of: Callable[[], StubBus], reason: str) -> None:
    """If the caller is refused, or nothing is accepted for a passing reason, the rest is not tried and stays."""
    bus = bus_of()
    world = World(bus)
    shelf = Shelf([piece(event("A-1"))], [piece(event("B-1"))], [piece(event("C-1"))])
    result = world.replay(shelf)
    assert result.stopped.startswith(reason)
    assert (result.sent, shelf.removed, ids(bus)) == (0, [], ["A-1"])
    assert shelf.passed == 2


def test_a_refused_caller_is_reported_once() -> None:
    """The events of a replay that was stopped are not failures: they were not tried."""
    world = World(StubBus(failing_call=1, error=lambda: client_error("AccessDeniedException")))
    shelf = Shelf([piece(event(f"A-{number}")) for number in range(30)])
    world.publisher = EventBridgePublisher("books", client=world.bus, retry=Retry(attempts=1), concurrency=1)
    result = world.replay(shelf)
    assert (result.sent, result.failures, len(shelf.removed)) == (10, [], 10)
    assert result.stopped.startswith("AccessDeniedException")


def test_a_rate_limits_each_second() -> None:
    """With a rate, no more events are sent in a call than in a second, and the replay waits between the calls."""
    world = World()
    world.replay(Shelf([piece(event(f"A-{number}")) for number in range(9)]), rate=4)
    assert [len(call) for call in world.bus.calls] == [4, 4, 1]
    assert [seconds for seconds in world.clock.slept if seconds] == [1.0, 1.0]
    world.replay(Shelf(*([piece(event(f"B-{number}"))] for number in range(3))), rate=4)
    assert [seconds for seconds in world.clock.slept if seconds] == [1.0, 1.0, 0.25, 0.25]


def test_progress_is_told_after_each_wave() -> None:
    """The callback sees the counts grow."""
    seen: list[int] = []
    World().replay(Shelf([piece(event(f"A-{n}")) for n in range(250)]), on_progress=lambda each: seen.append(each.sent))
    assert seen == [100, 200, 250]


@pytest.mark.parametrize(("allowed", "sent"), [(True, ["New-1", "Old-1", "Old-2"]), (False, ["New-1"])])
def test_old_events_need_consent(sent: list[str], *, allowed: bool) -> None:
    """At the first event older than the dedup records the caller is asked; a no ends the replay before that event."""
    asked: list[str] = []

    def allows_old(old: Event) -> bool:
        asked.append(old.id)
        return allowed

    world, age = World(), timedelta(days=8, seconds=1)
    shelf = Shelf(
        [piece(event("New-1"))], [piece(event("Old-1", time=NOON - age))], [piece(event("Old-2", time=NOON - age))]
    )
    result = world.replay(shelf, allows_old=allows_old)
    assert (ids(world.bus), shelf.removed, asked) == (sent, sent, ["Old-1"])
    assert ("is older than the consumers' dedup records" in result.stopped) is not allowed


def test_an_old_event_stops_the_rest_of_its_page() -> None:
    """Events before the old one on its page are sent; the old one and what follows are not."""
    world = World()
    page = [piece(event("A-1")), piece(event("Old-1", time=NOON - timedelta(days=9))), piece(event("B-1"))]
    shelf = Shelf(page, [piece(event("C-1"))])
    result = world.replay(shelf)
    assert (ids(world.bus), shelf.removed, result.failures) == (["A-1"], ["A-1"], [])
    assert "event Old-1 of 2026-11-14" in result.stopped


def test_old_events_are_refused_by_default() -> None:
    """A script that doesn't say otherwise sends no event whose effect may be repeated; the limit is its argument."""
    old = piece(event("Old-1", time=NOON - timedelta(hours=2)))
    assert World().replay(Shelf([old]), dedup_ttl=timedelta(hours=1)).stopped
    assert World().replay(Shelf([old]), dedup_ttl=timedelta(hours=2)).sent == 1


class Killed(BaseException):
    """The end of a process."""


class DyingBus(StubBus):
    """A bus whose client ends the process at one of its calls, after the bus has accepted it."""

    def __init__(self, dies_at: int) -> None:
        super().__init__()
        self.dies_at = dies_at

    def put_events(self, **kwargs: Any) -> Any:
        answer = super().put_events(**kwargs)
        if len(self.calls) == self.dies_at:
            raise Killed
        return answer


def many(number: int) -> list[Piece]:
    return [piece(event(f"A-{at}")) for at in range(number)]


def test_a_checkpoint_resumes_and_counts_what_was_sent_twice(tmp_path: Path) -> None:
    """After a kill, what was confirmed is not sent again, and the doubles in all runs are counted."""
    path, bus = str(tmp_path / "checkpoint"), DyingBus(3)
    world = World(bus)
    for dies_at in (3, 5):  # in the third call, then in the second of the next run
        bus.dies_at = dies_at
        with pytest.raises(Killed):
            world.replay(Shelf(many(45)), checkpoint=path, rate=10)
    shelf = Shelf(many(45))
    result = world.replay(shelf, checkpoint=path, rate=10)
    twice = len(ids(bus)) - len(set(ids(bus)))
    assert (len(set(ids(bus))), len(shelf.removed)) == (45, 45)
    assert (result.sent, result.sent_before, result.maybe_twice, twice) == (15, 30, 20, 20)


def test_a_line_that_was_cut_off_does_not_count(tmp_path: Path) -> None:
    """A kill inside a write leaves half a line: it is dropped, and the events of that wave count as in flight."""
    path, world = tmp_path / "checkpoint", World()
    world.replay(Shelf(many(20)), checkpoint=str(path), rate=10)
    whole = path.read_bytes()
    path.write_bytes(whole[:-7])
    result = world.replay(Shelf(many(20)), checkpoint=str(path), rate=10)
    assert counts(result) == (10, 10, 10, [])
    assert path.read_bytes().count(b"\n") == len(path.read_bytes().splitlines())
    assert counts(world.replay(Shelf(many(20)), checkpoint=str(path))) == (0, 20, 10, [])


def test_what_was_refused_is_tried_again(tmp_path: Path) -> None:
    """A refused event is not taken for sent, nor for one in flight; one with an unknown outcome may be a double."""
    path, world = str(tmp_path / "checkpoint"), World(StubBus({"Bad": "MalformedDetail", "Lost": "InternalFailure"}))
    pieces = [piece(event("A-1")), piece(event("Bad-1")), piece(event("Lost-1"))]
    first = world.replay(Shelf(pieces), checkpoint=path)
    assert counts(first) == (1, 0, 0, [("Bad-1", "MalformedDetail"), ("Lost-1", "InternalFailure")])
    world.bus._refused = {}
    assert counts(world.replay(Shelf(pieces), checkpoint=path)) == (2, 1, 1, [])


def test_a_refusal_after_a_kill_leaves_the_doubt(tmp_path: Path) -> None:
    """An event that was in flight at a kill, and is refused in the next run, may be a double once it is sent."""
    path, world = str(tmp_path / "checkpoint"), World(DyingBus(1))
    with pytest.raises(Killed):
        world.replay(Shelf(many(1)), checkpoint=path)
    world.bus._refused = {"A": "MalformedDetail"}
    assert counts(world.replay(Shelf(many(1)), checkpoint=path))[2:] == (1, [("A-0", "MalformedDetail")])
    world.bus._refused = {}
    assert counts(world.replay(Shelf(many(1)), checkpoint=path)) == (1, 0, 2, [])


def test_a_checkpoint_is_of_one_place_and_target(tmp_path: Path) -> None:
    """The checkpoint of another replay, or another file, is refused and left as it is."""
    path, world = tmp_path / "checkpoint", World()
    world.replay(Shelf(many(1)), checkpoint=str(path))
    before = path.read_bytes()
    other = to_bus(EventBridgePublisher("films", client=world.bus))
    with pytest.raises(OutboxError, match="is not the checkpoint of a replay from shelf to bus films"):
        replay(Shelf(many(1)).place, other, checkpoint=str(path))
    assert path.read_bytes() == before
    for text in ("a letter\nto a friend", "a letter"):
        path.write_text(text)
        with pytest.raises(OutboxError, match="a letter"):
            world.replay(Shelf(many(1)), checkpoint=str(path))
        assert path.read_text() == text


class StubLambda:
    """A client whose function returns or raises what the test gives."""

    def __init__(self, answer: Callable[[dict[str, Any]], tuple[str | None, bytes]]) -> None:
        self.received: list[dict[str, Any]] = []
        self._answer = answer

    def invoke(self, **request: Any) -> dict[str, Any]:
        self.received.append(json.loads(request["Payload"]))
        error, payload = self._answer(self.received[-1])
        return {"StatusCode": 200, "Payload": io.BytesIO(payload), **({"FunctionError": error} if error else {})}


def call(function: StubLambda, *events: Event) -> ReplayResult:
    target = to_function("catalogue", lambda _: function)
    return replay(Shelf([piece(*events)]).place, target, clock=World().clock)


def test_a_function_gets_the_event_of_a_rule() -> None:
    """The function gets EventBridge's envelope, from which `parse_event` reads the same event."""
    sent = event("A-1", "a", sequence=7, correlation_id="c", version=3).replace(data={"n": 1})
    function = StubLambda(lambda _: (None, b"null"))
    assert call(function, sent).sent == 1
    (received,) = function.received
    assert parse_event(received) == sent
    assert (received["id"], received["detail-type"], received["time"]) == ("A-1", "A", "2026-11-23T12:00:00Z")


@pytest.mark.parametrize(
    ("error", "payload", "fails"),
    [
        (None, b"", False),
        (None, b'"done"', False),
        (None, b'{"batchItemFailures": []}', False),
        (None, b'{"batchItemFailures": null}', False),
        (None, b'{"batchItemFailures": [{"itemIdentifier": "1"}]}', True),
        ("Unhandled", b'{"errorMessage": "no such shelf"}', True),
    ],
)
def test_a_functions_failures_are_failures(error: str | None, payload: bytes, *, fails: bool) -> None:
    """A function that raises, or reports the event in its batch response, has not handled the event."""
    result = call(StubLambda(lambda _: (error, payload)), event("A-1"))
    assert (result.sent, [failure.code for failure in result.failures]) == (
        0 if fails else 1,
        ["FunctionError"] * fails,
    )


def test_a_function_handles_an_aggregate_in_order() -> None:
    """Events behind one that the function refused are held back; others go on."""
    function = StubLambda(lambda got: ("Unhandled" if got["id"] == "Bad-1" else None, b"{}"))
    result = call(function, event("Bad-1", "a"), event("A-2", "a"), event("C-1", "c"))
    assert [got["id"] for got in function.received] == ["Bad-1", "C-1"]
    assert [failure.code for failure in result.failures] == ["FunctionError", "HeldBack"]


def test_a_survey_counts_and_prices_without_sending() -> None:
    """A survey has the number, the price by chunks of 64 KB or, on a Custom Event Bus, of 1 KB, faults, and an age."""
    old, big = event("A-1", time=NOON - timedelta(days=1)), event("B-1").replace(data={"text": "x" * 70_000})
    shelf = Shelf([piece(old), piece(big)], [piece(faults=["torn"])])
    found = survey(shelf.place)
    assert (found.events, found.unreadable, found.oldest) == (2, 1, old.time)
    assert found.dollars == pytest.approx(3e-6)
    custom = survey(Shelf([piece(old), piece(big)]).place, for_custom_bus=True)
    assert custom.dollars == pytest.approx((1 + 69) * 0.18e-6)
    assert shelf.removed == []


def test_a_place_that_is_not_read_is_only_counted() -> None:
    """Of a queue a survey receives nothing: each message counts as one event of 64 KB, or of 1 KB."""

    def drain(_: Send) -> None:
        raise AssertionError("it was read")

    queue = Place("queue", drain, count=lambda: 5)
    found = survey(queue)
    assert found == Survey(5, found.dollars)
    assert found.dollars == pytest.approx(5e-6)
    assert survey(queue, for_custom_bus=True).dollars == pytest.approx(5 * 0.18e-6)
