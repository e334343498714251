"""The library's `OutboxRelay` on the kit's fakes, with the load, the clock and the random numbers of the simulation.

One relay on one shard, with one PutEvents call at a time. Only the tables, the stream, Lambda's poller and the bus are
stand-ins. The relay, its publisher, the `ParkingTable` and the outbox items are the library's.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import timedelta
from statistics import median
from time import perf_counter, process_time, sleep
from typing import TYPE_CHECKING, Any

import boto3
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError

from dynamo_outbox import Event, EventBridgePublisher, OutboxRelay, ParkingTable, TransactionalOutbox
from dynamo_outbox.testing import FakeClock, FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, wire_record

from .payloads import from_lambda, outbox_records
from .simulation import (
    REFUSED,
    START,
    THROTTLED,
    Bus,
    Chance,
    Lambda,
    Timing,
    Written,
    micros,
    next_poll,
    poll_offset,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

__all__ = ["cpu_times", "relay", "wall_time"]

EVENTS, PARKED = "shop-events", "shop-parked"
REFUSED_TYPE = "Refused"
ROUNDS = 41


class _Crash(BaseException):
    """Ends an invocation without a response."""


class _Clock(FakeClock):
    """The virtual clock, with the simulation's random numbers."""

    def __init__(self, chance: Chance) -> None:
        super().__init__(START)
        self._chance = chance

    def random(self) -> float:
        return self._chance.jitter.random()

    def elapsed(self) -> int:
        """Return the microseconds since the start."""
        return _micros_since_start(self.now())


def _micros_since_start(moment: datetime) -> int:
    return (moment - START) // timedelta(microseconds=1)


class _TimedBus:
    """A client for the publisher: `FakeEventBridge` with response times, a quota and crashes."""

    def __init__(self, events: Sequence[Written], clock: _Clock, timing: Timing, bus: Bus, chance: Chance) -> None:
        self._events = events
        self._clock = clock
        self._timing = timing
        self._bus = bus
        self._chance = chance
        self._fake = FakeEventBridge(clock=clock)
        self.calls = 0
        self.crash: int | None = None

    def put_events(self, **request: Any) -> dict[str, Any]:
        if self.calls == self.crash:
            raise _Crash
        self.calls += 1
        self._clock.advance(timedelta(seconds=self._timing.call))
        admitted = self._bus.admits(self._clock.elapsed())
        self._clock.advance(timedelta(microseconds=self._chance.response_time(self._timing)))
        if not admitted:
            error: Any = {
                "Error": {"Code": THROTTLED, "Message": "Rate exceeded"},
                "ResponseMetadata": {"HTTPStatusCode": 400},
            }
            raise ClientError(error, "PutEvents")
        for entry in request["Entries"]:
            if entry["DetailType"] == REFUSED_TYPE:
                self._fake.fail_next_entry(REFUSED, detail_type=REFUSED_TYPE)
        response = self._fake.put_events(**request)
        for entry, outcome in zip(request["Entries"], response["Entries"], strict=True):
            if "EventId" in outcome:
                number = int(json.loads(entry["Detail"])["metadata"]["id"])
                self._events[number].published.append(self._clock.elapsed())
        return response


def _table(dynamodb: FakeDynamoDB, name: str, **settings: Any) -> None:
    dynamodb.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": each, "AttributeType": "S"} for each in ("pk", "sk")],
        BillingMode="PAY_PER_REQUEST",
        **settings,
    )


class _Source:
    """The events table, written as time passes, and its stream."""

    def __init__(self, events: Sequence[Written], clock: _Clock) -> None:
        self.dynamodb = FakeDynamoDB(clock=clock)
        _table(self.dynamodb, EVENTS, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
        _table(self.dynamodb, PARKED)
        self._events = events
        self._clock = clock
        self._outbox = TransactionalOutbox(EVENTS, source="Shop.Orders", client=self.dynamodb)
        self._streams = FakeDynamoDBStreams(self.dynamodb)
        (self._arn,) = self.dynamodb.streams
        shards = self._streams.describe_stream(StreamArn=self._arn)["StreamDescription"]["Shards"]
        first = self._streams.get_shard_iterator(
            StreamArn=self._arn, ShardId=shards[0]["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )
        self._iterator = first["ShardIterator"]
        self._written = 0
        self.records: list[dict[str, Any]] = []

    def read(self) -> None:
        """Write the events that are due, each at its time, and read their records."""
        now = self._clock.now()
        while self._written < len(self._events) and self._events[self._written].time <= _micros_since_start(now):
            event = self._events[self._written]
            self._clock.set(START + timedelta(microseconds=event.time))
            action = self._outbox.transact_item(self._event(event))
            if event.poison == "fault":
                action["Put"]["Item"]["eventTime"] = {"S": "never"}
            self.dynamodb.transact_write_items(TransactItems=[action])
            self._written += 1
        self._clock.set(now)
        page = self._streams.get_records(ShardIterator=self._iterator)
        self._iterator = page["NextShardIterator"]
        self.records += [wire_record(record, self._arn) for record in page["Records"]]

    def _event(self, event: Written) -> Event:
        return Event(
            REFUSED_TYPE if event.poison == "refused" else "Changed",
            {"number": event.number},
            id=f"{event.number:08}",
            time=self._clock.now(),
            aggregate_type="Order",
            aggregate_id=event.key.replace("#", "-"),
            sequence=event.number + 1,
        )


def relay(events: Sequence[Written], *, timing: Timing, mapping: Lambda, chance: Chance, quota: float) -> Counter[str]:
    """Relay the events of one shard, with ``concurrency=1``; note each publication in its event.

    Returns:
        How often PutEvents was called and throttled, the relay invoked, and records parked.
    """
    clock, bus = _Clock(chance), Bus(quota)
    source = _Source(events, clock)
    client = _TimedBus(events, clock, timing, bus, chance)
    publisher = EventBridgePublisher("shop", client=client, concurrency=1, clock=clock)
    handler = OutboxRelay(publisher, parking=ParkingTable(PARKED, client=source.dynamodb, clock=clock))
    poll, offset = micros(mapping.poll), poll_offset(0, mapping)
    position = invocations = 0
    while position < len(events):
        due = next_poll(max(clock.elapsed(), events[position].time), offset, poll)
        clock.set(START + timedelta(microseconds=due))
        source.read()
        end = min(len(source.records), position + mapping.page)
        while position < end:
            batch = source.records[position : min(end, position + mapping.batch_size)]
            invocations += 1
            client.calls, client.crash = 0, chance.calls_before_crash(len(batch), mapping.crashes)
            clock.advance(timedelta(seconds=timing.batch) + len(batch) * timedelta(seconds=timing.record))
            done = _invoke(handler, client, batch)
            position += done
            if done < len(batch):
                clock.advance(timedelta(seconds=mapping.again))
        if clock.elapsed() == due:
            clock.advance(timedelta(microseconds=1))
    rows = source.dynamodb.scan(TableName=PARKED)["Items"]
    parked = sum("record" in row for row in rows)
    return Counter(calls=bus.calls, throttled=bus.throttled, invocations=invocations, parked=parked)


def _invoke(handler: OutboxRelay, client: _TimedBus, batch: list[dict[str, Any]]) -> int:
    """Return how many records of a batch Lambda does not deliver again."""
    try:
        response = handler({"Records": batch})
    except _Crash:
        return 0
    if client.crash is not None:
        return 0
    failed = {each["itemIdentifier"] for each in response["batchItemFailures"]}
    numbers = [record["dynamodb"]["SequenceNumber"] for record in batch]
    return min((at for at, number in enumerate(numbers) if number in failed), default=len(batch))


def cpu_times() -> tuple[float, float, float]:
    """Return the CPU seconds of a relay's handler for each invocation, record and PutEvents call.

    boto3 signs and encodes each request; a canned response takes the place of the network. The payload was just parsed
    from JSON. Three sizes of batch give the three parts.
    """
    client = boto3.client("events", region_name="eu-west-1", aws_access_key_id="test", aws_secret_access_key="test")  # noqa: S106
    answer: Any = _canned
    client.meta.events.register("before-send.events.PutEvents", answer)
    handler = OutboxRelay(EventBridgePublisher("shop", client=client, concurrency=1))
    one, ten, hundred = (_cpu(handler, from_lambda(outbox_records(count))) for count in (1, 10, 100))
    record = (ten - one) / 9
    call = (hundred - ten - 90 * record) / 9
    return max(0.0, one - record - call), record, call


def _cpu(handler: OutboxRelay, payload: Any) -> float:
    costs = []
    for _ in range(ROUNDS):
        fresh = from_lambda(payload)
        begin = process_time()
        handler(fresh)
        costs.append(process_time() - begin)
    return median(costs)


class _Body:
    """The raw body of a response, as urllib3 has it."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def stream(self, **_: Any) -> Any:
        yield self._content


def _canned(request: Any, **_: Any) -> AWSResponse:
    count = len(json.loads(request.body)["Entries"])
    body = json.dumps({"FailedEntryCount": 0, "Entries": [{"EventId": "1"}] * count}).encode()
    headers: Any = {"content-type": "application/x-amz-json-1.1", "content-length": str(len(body))}
    raw: Any = _Body(body)
    return AWSResponse(request.url, 200, headers, raw)


class _SlowClient:
    """A client whose calls only take time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def put_events(self, **request: Any) -> dict[str, Any]:
        sleep(self._seconds)
        return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"} for _ in request["Entries"]]}


def wall_time(books: int, *, seconds: float, concurrency: int) -> float:
    """Return the seconds of a handler for 100 records of a number of aggregates, with threads and real waiting."""
    handler = OutboxRelay(EventBridgePublisher("shop", client=_SlowClient(seconds), concurrency=concurrency))
    costs = []
    for _ in range(5):
        payload = from_lambda(outbox_records(100, books))
        begin = perf_counter()
        handler(payload)
        costs.append(perf_counter() - begin)
    return median(costs)
