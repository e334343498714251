"""Conservation through a Custom Event Bus: changes, events and effects are equal in number, in order, under faults."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import (
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    InboxTransaction,
    OutboxRelay,
    Retry,
    parse_event,
)
from dynamo_outbox.testing import FakeClock, FakeCustomBus

from ..doubles import fake_dynamodb
from .test_law import stream_record, written

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

AGGREGATES = 3
CALL_FAULTS = ("ThrottlingException", "InternalException", "lost response")
ENTRY_FAULTS = ("Rate exceeded", "InternalException")


def changes(numbers: list[int]) -> list[dict[str, Any]]:
    """Return the stream records of events, each of an aggregate, with rising sequence numbers."""
    records = []
    for at, number in enumerate(numbers):
        event = Event(
            f"T{at}",
            {"n": at},
            id=f"e{at}",
            source="Books",
            aggregate_type="Book",
            aggregate_id=str(number),
            sequence=at,
        )
        record = stream_record(written(event))
        record["dynamodb"]["SequenceNumber"] = f"{at:021d}"
        records.append(record)
    return records


def consumer(dynamodb: FakeDynamoDB, handled: list[int]) -> Any:
    @Inbox(IdempotencyStore("handled", client=dynamodb)).handler(consumer="shelf")
    def handle(event: Event, tx: InboxTransaction) -> None:
        handled.append(event.data["n"])
        tx.put("effects", {"pk": event.id}, must_not_exist=True)

    return handle


faults = st.lists(
    st.tuples(st.just("call"), st.sampled_from(CALL_FAULTS))
    | st.tuples(st.just("entry"), st.sampled_from(ENTRY_FAULTS)),
    max_size=12,
)


@given(
    numbers=st.lists(st.integers(0, AGGREGATES - 1), min_size=1, max_size=25),
    faults=faults,
    failing=st.dictionaries(st.integers(0, 24), st.integers(1, 3), max_size=4),
    pause=st.sampled_from([0, 400]),
    quota=st.sampled_from([None, 4.0]),
)
def test_changes_events_and_effects_are_equal(
    numbers: list[int], faults: list[tuple[str, str]], failing: dict[int, int], pause: int, quota: float | None
) -> None:
    """Under lost responses, throttling of calls and groups, and partial failures, each event has one effect, in order.

    Redelivered records within the window are dropped by the bus; after it, they are delivered again and applied once.
    """
    clock = FakeClock()
    bus = FakeCustomBus(clock=clock, group_quota=quota)
    for kind, code in faults:
        if kind == "entry":
            bus.fail_next_entry(code)
        elif code == "lost response":
            bus.fail_next("put_events", ConnectionError(code), after_commit=True)
        else:
            bus.fail_next("put_events", code)
    dynamodb = fake_dynamodb({"handled": ["pk"], "effects": ["pk"]})
    handled: list[int] = []
    handle = consumer(dynamodb, handled)
    left = dict(failing)

    def target(payload: Any) -> None:
        number = parse_event(payload).data["n"]
        if left.get(number):
            left[number] -= 1
            raise RuntimeError("not yet")
        handle(payload, None)

    subscriber = bus.subscribe(target)
    relay = OutboxRelay(EventBridgePublisher(bus.arn, client=bus, retry=Retry(attempts=2), clock=clock))
    records = changes(numbers)
    while records:
        failed = {each["itemIdentifier"] for each in relay({"Records": records})["batchItemFailures"]}
        first = next((at for at, each in enumerate(records) if each["dynamodb"]["SequenceNumber"] in failed), None)
        records = [] if first is None else records[first:]
        clock.advance(timedelta(seconds=pause + 1))
    bus.deliver()

    assert not subscriber.dead_letters
    assert dynamodb.scan(TableName="effects")["Count"] == len(numbers)
    first_effects = list(dict.fromkeys(handled))
    for aggregate in range(AGGREGATES):
        of_aggregate = [n for n in first_effects if numbers[n] == aggregate]
        assert of_aggregate == [n for n, each in enumerate(numbers) if each == aggregate]
    if not pause:
        assert len(bus.events) == len(numbers)
