"""Silent servers: a relay with the library's own clients responds before Lambda ends its invocation."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ReadTimeoutError

from dynamo_outbox import EventBridgePublisher, OutboxRelay, ParkingQueue, ParkingTable
from dynamo_outbox.aws import clients

from ..doubles import FakeClock, StubBus, fake_dynamodb
from .test_parking import UNREADABLE, batch
from .test_processors import ALL_WELL, NOON, failed_from, outbox_record
from .test_service import Context

if TYPE_CHECKING:
    from collections.abc import Callable

EVER = 10**6


class Silent:
    """A service that responds to its first calls and then never again; each silent call takes as long as it may."""

    def __init__(self, service: Any, clock: FakeClock, *, responses: int) -> None:
        self._service = service
        self._clock = clock
        self._responses = responses

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**request: Any) -> Any:
            self._responses -= 1
            if self._responses >= 0:
                return getattr(self._service, name)(**request)
            seconds = clients.response_time.get()
            assert seconds is not None
            self._clock.advance(timedelta(seconds=seconds))
            raise ReadTimeoutError(endpoint_url="http://silent")

        return call


class World:
    """The library's own clients, whose services go silent after a number of responses."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, bus: int, table: int, queue: int = EVER) -> None:
        self.clock = FakeClock(NOON + timedelta(hours=13))
        self.bus = StubBus()
        self.dynamodb = fake_dynamodb({"parking": ["pk", "sk"]}, self.clock)
        services = {
            "events": Silent(self.bus, self.clock, responses=bus),
            "dynamodb": Silent(self.dynamodb, self.clock, responses=table),
            "sqs": Silent(None, self.clock, responses=queue),
        }
        monkeypatch.setattr(clients, "shared_client", services.get)
        self.parking = ParkingTable("parking", clock=self.clock)
        self.publisher = EventBridgePublisher("bus", clock=self.clock)

    @property
    def parked(self) -> int:
        """The number of ordering keys that have parked records."""
        return len(list(ParkingTable("parking", client=self.dynamodb, clock=self.clock).heads()))

    def run(self, *records: Any, seconds: float, parking: Any = None) -> Any:
        """Return the relay's answer, or the type of its error; it has to come within the function's time."""
        start = self.clock.now()
        relay = OutboxRelay(self.publisher, parking=parking or self.parking)
        try:
            return relay(batch(*records), Context(self.clock, seconds))
        except ReadTimeoutError as error:
            return type(error)
        finally:
            assert (self.clock.now() - start).total_seconds() < seconds


@pytest.mark.parametrize("seconds", [3, 6, 15, 30, 900])
def test_a_silent_bus_lets_old_records_be_parked(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """A PutEvents without a response doesn't use up the function's time: a record older than `park_after` is parked."""
    world = World(monkeypatch, bus=0, table=EVER)
    assert world.run(outbox_record("A", "1", "a"), seconds=seconds) == ALL_WELL
    assert world.parked == 1


@pytest.mark.parametrize("seconds", [3, 6, 15, 30, 900])
def test_a_bus_that_goes_silent_leaves_time_to_answer(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """If the bus goes silent in the middle of a batch, the relay parks or reports what is left in time."""
    world = World(monkeypatch, bus=1, table=EVER)
    records = [outbox_record(f"E{number}", str(number), str(number)) for number in range(1, 31)]
    answer = world.run(*records, seconds=seconds)
    assert len(world.bus.sent) == 10
    assert answer in (ALL_WELL, failed_from("21"))


@pytest.mark.parametrize("seconds", [3, 6, 15, 30, 900])
@pytest.mark.parametrize("table", [0, 1, 2])
@pytest.mark.parametrize("bus", [0, EVER], ids=["silent bus", "bus"])
def test_a_silent_parking_table_leaves_time_to_answer(
    monkeypatch: pytest.MonkeyPatch, seconds: int, table: int, bus: int
) -> None:
    """If the parking table doesn't respond, the batch fails or its record is reported, in time."""
    world = World(monkeypatch, bus=bus, table=table)
    answer = world.run(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "b"), seconds=seconds)
    assert answer in (ReadTimeoutError, failed_from("1"), failed_from("2"), ALL_WELL)
    assert (answer is ReadTimeoutError) is (table == 0)
    assert answer != ALL_WELL or world.parked == (1 if bus else 2)


@pytest.mark.parametrize("seconds", [3, 6, 15, 30, 900])
def test_a_silent_parking_queue_leaves_time_to_answer(monkeypatch: pytest.MonkeyPatch, seconds: int) -> None:
    """If the parking queue doesn't respond, its records are reported in time."""
    world = World(monkeypatch, bus=EVER, table=EVER, queue=0)
    parking = ParkingQueue("https://sqs/parking", clock=world.clock)
    records = [outbox_record("A", str(number), "a", **UNREADABLE) for number in range(1, 4)]
    assert world.run(*records, seconds=seconds, parking=parking) == failed_from("1")
