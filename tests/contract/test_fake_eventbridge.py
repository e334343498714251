"""Behaviour that only the fake bus can show: throttling, lost responses, repeated and reordered deliveries."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ReadTimeoutError

from dynamo_outbox import Event, EventBridgePublisher, parse_event
from dynamo_outbox.testing.fakes.eventbridge import FakeEventBridge

from .engine import outcome
from .test_put_events import entry

if TYPE_CHECKING:
    from ..doubles import FakeClock

TOLD = [Event("Told", {"n": number}, id=str(number), source="contract") for number in range(12)]


@pytest.fixture
def bus(clock: FakeClock) -> FakeEventBridge:
    return FakeEventBridge(clock=clock)


def codes(answer: dict[str, Any]) -> list[str | None]:
    return [result.get("ErrorCode") for result in answer["Entries"]]


def test_an_event_is_kept_as_a_consumer_gets_it(bus: FakeEventBridge) -> None:
    """The detail is parsed, as for Lambda. The time is truncated to seconds and defaults to the clock's."""
    bus.put_events(
        Entries=[
            entry(Detail='{"x": 1.5}', Resources=["arn:x"], Time=datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)),
            entry(),
        ]
    )
    first, second = bus.events
    assert first == {
        "version": "0",
        "id": first["id"],
        "detail-type": "Told",
        "source": "contract",
        "account": "123456789012",
        "time": "2026-01-02T03:04:05Z",
        "region": "eu-west-1",
        "resources": ["arn:x"],
        "detail": {"x": 1.5},
    }
    assert (second["time"], second["id"] != first["id"]) == ("2026-11-23T09:30:00Z", True)


def test_a_bad_entry_is_not_delivered(bus: FakeEventBridge) -> None:
    """A bad entry is dropped, and the entries around it are delivered."""
    bus.put_events(Entries=[entry(Detail='{"n": 0}'), entry(Detail="[]"), entry(Detail='{"n": 2}')])
    assert [event["detail"] for event in bus.events] == [{"n": 0}, {"n": 2}]


def test_a_refused_request_delivers_nothing(bus: FakeEventBridge) -> None:
    """A request with eleven entries delivers none of them."""
    assert outcome(bus.put_events, Entries=[entry()] * 11) == "invalid"
    assert bus.events == []


def test_a_detail_type_has_at_most_128_characters(bus: FakeEventBridge) -> None:
    """A longer detail type fails its entry."""
    assert codes(bus.put_events(Entries=[entry(DetailType="x" * 129), entry()])) == ["InvalidArgument", None]


def test_an_unknown_bus_drops_its_events(clock: FakeClock) -> None:
    """The response reports success, but the event is dropped. A bus can be named by its ARN."""
    bus = FakeEventBridge(clock=clock, buses=["books"])
    arn = "arn:aws:events:eu-west-1:123456789012:event-bus/books"
    answer = bus.put_events(Entries=[entry(), entry(EventBusName="books"), entry(EventBusName=arn)])
    assert (codes(answer), len(bus.events)) == ([None] * 3, 2)


def test_an_entry_fails_when_it_is_told_to(bus: FakeEventBridge) -> None:
    """Each scripted entry fault applies to the first matching entry."""
    bus.fail_next_entry("ThrottlingException")
    bus.fail_next_entry("InternalFailure", detail_type="Special")
    answer = bus.put_events(Entries=[entry(), entry(), entry(DetailType="Special"), entry(DetailType="Special")])
    assert codes(answer) == ["ThrottlingException", None, "InternalFailure", None]
    assert (answer["FailedEntryCount"], len(bus.events), bus.pending_faults) == (2, 2, [])


def test_a_request_fails_when_it_is_told_to(bus: FakeEventBridge) -> None:
    """A throttled request delivers nothing; a request whose response is lost has delivered its events."""
    bus.fail_next("put_events", "ThrottlingException")
    assert outcome(bus.put_events, Entries=[entry()]) == "ThrottlingException"
    assert bus.events == []
    bus.fail_next("put_events", ReadTimeoutError(endpoint_url="https://events"), after_commit=True)
    bus.fail_next_entry("InternalFailure", detail_type="Never")
    with pytest.raises(ReadTimeoutError):
        bus.put_events(Entries=[entry()])
    assert (len(bus.events), bus.pending_faults) == (1, ["an entry: InternalFailure"])


@pytest.mark.parametrize("seed", range(5))
def test_deliveries_repeat_and_reorder(bus: FakeEventBridge, seed: int) -> None:
    """Every event is delivered at least once, some twice, in a random order that the seed determines."""
    bus.put_events(Entries=[entry(Detail=f'{{"n": {number}}}') for number in range(10)])
    delivered = [event["detail"]["n"] for event in bus.deliveries(seed=seed)]
    assert set(delivered) == set(range(10))
    assert 10 < len(delivered) <= 20
    assert delivered != sorted(delivered)
    assert [event["detail"]["n"] for event in bus.deliveries(seed=seed)] == delivered


def test_the_publishers_events_come_back(bus: FakeEventBridge) -> None:
    """The library publishes in requests of at most ten entries, and the delivered events parse to the originals."""
    EventBridgePublisher("default", client=bus).publish(TOLD)
    assert [len(call.request["Entries"]) for call in bus.calls] == [10, 2]
    assert [parse_event(event).id for event in bus.events] == [event.id for event in TOLD]
