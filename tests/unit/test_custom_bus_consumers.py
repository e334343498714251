"""Events of a Custom Event Bus in every form in which a consumer gets them."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import (
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    InboxTransaction,
    OutboxRelay,
    batch_handler,
    decode_records,
    idempotent,
    parse_event,
    parse_events,
)
from dynamo_outbox.errors import DecodeError, PayloadMismatchError
from dynamo_outbox.testing import FakeClock, FakeCustomBus

from ..doubles import fake_dynamodb
from ..strategies import events
from .test_law import stream_record, written

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import BusEvent

SAMPLES = Path(__file__).resolve().parents[1] / "events"


def sample(name: str) -> Any:
    return json.loads((SAMPLES / name).read_text())


WRITTEN = parse_event(sample("eventbridge_from_relay.json"))
ALONE = ["eventbridge_from_relay.json", "custom_bus/with_metadata.json", "custom_bus/replayed.json"]
ARRAYS = ["custom_bus/batch.json", "custom_bus/batch_with_metadata.json"]
MESSAGES = ["custom_bus/sqs.json", "custom_bus/sns.json"]


def sqs(event: BusEvent, body: Any) -> Any:
    record = sample("custom_bus/sqs.json")["Records"][0]
    record["body"] = json.dumps(body)
    record["attributes"] |= {"MessageGroupId": event.group, "MessageDeduplicationId": event.event_id}
    return {"Records": [record]}


def sns(_: BusEvent, body: Any) -> Any:
    record = sample("custom_bus/sns.json")["Records"][0]
    return {"Records": [{**record, "Sns": {**record["Sns"], "Message": json.dumps(body)}}]}


TARGETS: dict[str, Callable[[BusEvent, Any], Any]] = {
    "one object": lambda _, body: body,
    "array": lambda _, body: [body],
    "SQS": sqs,
    "SNS": sns,
}


def consumed(payload: Any) -> list[Event]:
    """Return what every consumer of the library gets from a payload, after a check that all get the same."""
    dynamodb = fake_dynamodb({"handled": ["pk"], "effects": ["pk"]})
    store = IdempotencyStore("handled", client=dynamodb)
    calls = count()
    seen: dict[str, list[Event]] = {"batch_handler": [], "inbox": []}

    @batch_handler
    def batch(event: Event, _context: object) -> None:
        seen["batch_handler"].append(event)

    @Inbox(store).handler(consumer="shelf")
    def inbox(event: Event, tx: InboxTransaction) -> None:
        seen["inbox"].append(event)
        tx.put("effects", {"pk": str(next(calls))})

    for _ in range(2):
        batch(payload, None)
        inbox(payload, None)
    read = [message.event for message in parse_events(payload)]
    assert seen == {"batch_handler": read * 2, "inbox": read * 2}
    assert dynamodb.scan(TableName="effects")["Count"] == len(read)
    return read


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("transformer", ["RAW", "WITH_METADATA"])
@given(event=events(), replay=st.booleans(), detail=st.sampled_from(["envelope", "cloudevents"]))
def test_the_law_holds_through_the_custom_bus(
    target: str, transformer: Any, event: Event, *, replay: bool, detail: Any
) -> None:
    """Every event that is written, relayed and delivered is read as it was written, by every consumer, in each form."""
    clock = FakeClock()
    bus = FakeCustomBus(clock=clock)
    relay = OutboxRelay(EventBridgePublisher(bus.arn, client=bus, detail=detail, clock=clock))
    assert relay({"Records": [stream_record(written(event))]}) == {"batchItemFailures": []}
    (stored,) = bus.events
    delivered = json.loads(json.dumps(stored.delivered(transformer, replay=replay)))
    payload = TARGETS[target](stored, delivered)
    assert consumed(payload) == [event]
    assert parse_event(delivered) == event
    if target in ("one object", "array"):
        assert parse_event(payload) == event


@pytest.mark.parametrize("name", [*ALONE, *ARRAYS, *MESSAGES])
def test_each_sample_is_read_by_every_consumer(name: str) -> None:
    """Each recorded form gives the event that was written."""
    assert consumed(sample(name)) == [WRITTEN]


@pytest.mark.parametrize("transformer", ["RAW", "WITH_METADATA"])
def test_the_fake_delivers_the_forms_of_the_samples(transformer: Any) -> None:
    """The kit's bus and the samples have the same members."""
    clock = FakeClock()
    bus = FakeCustomBus(clock=clock)
    EventBridgePublisher(bus.arn, client=bus, clock=clock).publish([WRITTEN])
    delivered = bus.events[0].delivered(transformer)
    expected = sample(ALONE[transformer == "WITH_METADATA"])
    assert delivered.keys() == expected.keys()
    if transformer == "WITH_METADATA":
        mine, theirs = delivered["SystemMetadata"], expected["SystemMetadata"]
        assert mine.keys() == theirs.keys()
        assert all(isinstance(value, str) for value in mine.values())
        unchanging = ("EventGroupId", "DeduplicationId", "aws:Source", "aws:DetailType", "ContentType")
        assert [mine[name] for name in unchanging] == [theirs[name] for name in unchanging]


@pytest.mark.parametrize("name", [*ALONE, *ARRAYS])
def test_an_idempotent_function_reads_each_form(name: str) -> None:
    """A function that is idempotent by the event's identity runs once for all deliveries of one event."""
    dynamodb = fake_dynamodb({"calls": ["pk"]})
    ran: list[Any] = []

    @idempotent(IdempotencyStore("calls", client=dynamodb), scope="shelf")
    def handle(payload: Any, _context: object = None) -> None:
        ran.append(payload)

    for each in (name, *ALONE, *ARRAYS):
        handle(sample(each))
    assert len(ran) == 1


def test_a_key_of_ones_own_ignores_what_a_delivery_changes() -> None:
    """The fingerprint of a delivery with metadata is its event's: a replay is not another payload."""
    dynamodb = fake_dynamodb({"calls": ["pk"]})
    ran: list[Any] = []

    @idempotent(
        IdempotencyStore("calls", client=dynamodb), scope="shelf", key="Data.detail.data.name || detail.data.name"
    )
    def handle(payload: Any, _context: object = None) -> None:
        ran.append(payload)

    for name in ALONE:
        handle(sample(name))
    assert len(ran) == 1


def test_a_command_that_looks_like_an_event_with_metadata_counts_whole() -> None:
    """The bus's form has three members: a payload with another one is a command, and all of it is its fingerprint."""
    dynamodb = fake_dynamodb({"calls": ["pk"]})

    @idempotent(IdempotencyStore("calls", client=dynamodb), scope="pay", key="Data.id")
    def pay(command: Any) -> int:
        amount: int = command["amount"]
        return amount

    command = {"Data": {"id": "7"}, "SystemMetadata": {}, "amount": 1}
    assert pay(command) == pay(command) == 1
    with pytest.raises(PayloadMismatchError):
        pay({**command, "amount": 2})


def array(numbers: range) -> list[Any]:
    clock = FakeClock()
    bus = FakeCustomBus(clock=clock)
    sent = [
        Event("Told", {"n": n}, source="Books", aggregate_type="Book", aggregate_id=str(n % 2), sequence=n)
        for n in numbers
    ]
    EventBridgePublisher(bus.arn, client=bus, clock=clock).publish(sent, in_order=True)
    return [event.delivered() for event in bus.events]


def test_an_array_is_handled_in_order_and_stops_at_the_first_failure() -> None:
    """The failure fails the whole call; the next delivery finds done what was done."""
    payload = array(range(5))
    order = [each["detail"]["data"]["n"] for each in payload]
    dynamodb = fake_dynamodb({"handled": ["pk"], "shelf": ["pk"]})
    failing = [True]

    @Inbox(IdempotencyStore("handled", client=dynamodb)).handler(consumer="shelf")
    def handle(event: Event, tx: InboxTransaction) -> None:
        if event.data["n"] == order[3] and failing:
            raise RuntimeError("not yet")
        tx.put("shelf", {"pk": str(event.data["n"])}, must_not_exist=True)

    def shelf() -> list[int]:
        return sorted(int(item["pk"]["S"]) for item in dynamodb.scan(TableName="shelf")["Items"])

    with pytest.raises(RuntimeError, match="not yet"):
        handle(payload, None)
    assert shelf() == order[:3]
    failing.clear()
    assert handle(payload, None) == {}  # no batchItemFailures: what they mean to this target is not documented
    assert shelf() == order


def test_an_array_of_several_events_has_no_identity() -> None:
    """`parse_event` and an idempotent function refuse an array of several events and name what reads it."""
    payload = array(range(2))
    with pytest.raises(DecodeError, match="a batch of events from EventBridge; parse_events reads its events"):
        parse_event(payload)


@pytest.mark.parametrize("read", [parse_event, decode_records])
def test_a_batch_with_metadata_is_named(read: Callable[[Any], object]) -> None:
    """An error names the batch and what reads it; `Data` alone would be Kinesis's."""
    batch = sample("custom_bus/batch_with_metadata.json") * 2
    with pytest.raises(DecodeError, match="is a batch of a custom bus; parse_events reads its events"):
        read(batch)


NAMED = {**array(range(1, 2))[0], "messageId": "m"}


@pytest.mark.parametrize("payload", [NAMED, [*array(range(1)), NAMED]])
def test_a_failure_is_raised_whatever_members_an_event_has(payload: object) -> None:
    """A transformer of the user's may add members; only a message of a queue is named in a batch response."""

    @batch_handler
    def handle(event: Event, _context: object) -> None:
        if event.data["n"]:
            raise RuntimeError("not yet")

    with pytest.raises(RuntimeError, match="not yet"):
        handle(payload, None)


def test_one_object_and_an_array_of_cloudevents_are_read_alike() -> None:
    """CloudEvents published as raw JSON arrive as they were sent, alone or in an array, by MaxBatchSize."""
    cloud_event = {
        "specversion": "1.0",
        "id": "e1",
        "source": "/books",
        "type": "BookAdded",
        "time": "2026-11-28T12:00:00Z",
        "data": {"n": 1},
    }
    seen: list[Event] = []
    handle = batch_handler(lambda event, _: seen.append(event))
    assert [handle(cloud_event, None), handle([cloud_event], None)] == [{}, {}]
    assert seen == [message.event for message in parse_events([cloud_event, cloud_event])]
