"""Faults of other EventBridge publishers and outboxes, and what this library does instead.

Where each peer's faults are tested:

    peer                                    | tests
    ----------------------------------------|-------------------------
    Powertools, idempotency                 | `test_peers_idempotency`
    Powertools, stream records; boto3       | `test_peers_decoding`
    EventBridge publishers                  | here
    NServiceBus, Brighter (both for .NET)   | here
    the demo that the books example follows | `test_peers_books`

Two faults are tested only in part here:

    fault                                                       | test
    ------------------------------------------------------------|---------------------------------------------------
    NServiceBus sends a consumer's next messages only if the    | the producer's side here, the consumer's side in
    handled message is redelivered                              | `test_inbox`
    Brighter finds unsent messages by scans over five indexes   | that no index is read between commit and bus; a
                                                                | sweep for unsent events is not part of the library
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, EventBridgePublisher, OutboxRelay, Retry, TransactionalOutbox, parse_event
from dynamo_outbox.errors import PublishError
from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, wire_record

from ..contract.engine import key_schema

if TYPE_CHECKING:
    from ..doubles import FakeClock

STREAM_KEEPS = timedelta(hours=24)
SHORTEST_TTL = timedelta(hours=25)
SECOND = timedelta(seconds=1)
NO_RETRY = Retry(attempts=1)


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    """A fake DynamoDB with the table events, its stream and its time to live."""
    fake = FakeDynamoDB(clock=clock)
    fake.create_table(TableName="events", **key_schema("pk", "sk", stream="NEW_IMAGE"))
    fake.update_time_to_live(
        TableName="events", TimeToLiveSpecification={"Enabled": True, "AttributeName": "expiresAt"}
    )
    return fake


@pytest.fixture
def bus(clock: FakeClock) -> FakeEventBridge:
    return FakeEventBridge(clock=clock)


def publisher_to(bus: FakeEventBridge, clock: FakeClock, retry: Retry = NO_RETRY) -> EventBridgePublisher:
    return EventBridgePublisher("bus", client=bus, clock=clock, retry=retry)


def event(type_: str, aggregate: str) -> Event:
    return Event(type_, {}, source="Books", aggregate_type="Book", aggregate_id=aggregate)


def emit(dynamodb: FakeDynamoDB, clock: FakeClock, *events: Event, **options: Any) -> None:
    """Write events, each in its own transaction."""
    outbox = TransactionalOutbox("events", client=dynamodb, clock=clock, **options)
    for each in events:
        with outbox.transaction() as tx:
            tx.emit(each)


def batch(dynamodb: FakeDynamoDB) -> dict[str, Any]:
    """Return the payload with which Lambda calls the relay for all records in the stream."""
    streams = FakeDynamoDBStreams(dynamodb)
    arn = dynamodb.describe_table(TableName="events")["Table"]["LatestStreamArn"]
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    answer = streams.get_records(ShardIterator=start["ShardIterator"])
    return {"Records": [wire_record(record, arn) for record in answer["Records"]]}


def types(bus: FakeEventBridge) -> list[str]:
    return [each["detail-type"] for each in bus.events]


@pytest.mark.parametrize("failures", [1, 2])
def test_an_entry_that_failed_is_sent_again(bus: FakeEventBridge, clock: FakeClock, failures: int) -> None:
    """Four EventBridge publishers ignore `FailedEntryCount` and lose events; this library resends the failed entry."""
    for _ in range(failures):
        bus.fail_next_entry("InternalFailure", detail_type="Second")
    events = [event("First", "a"), event("Second", "b"), event("Third", "c")]
    result = publisher_to(bus, clock, Retry(attempts=3)).publish(events)
    assert (types(bus), result.failed) == (["First", "Third", "Second"], ())
    assert [len(call.request["Entries"]) for call in bus.calls] == [3] + [1] * failures


def test_an_entry_that_fails_for_good_is_an_error(bus: FakeEventBridge, clock: FakeClock) -> None:
    """Four EventBridge publishers lose failed events silently; this library raises an error that names them."""
    for _ in range(3):
        bus.fail_next_entry("InternalFailure", detail_type="Second")
    with pytest.raises(PublishError) as caught:
        publisher_to(bus, clock, Retry(attempts=3)).publish([event("First", "a"), event("Second", "b")])
    (failed,) = caught.value.result.failed
    assert (failed.position, failed.event.type, failed.code, failed.retryable) == (1, "Second", "InternalFailure", True)
    assert types(bus) == ["First"]


def test_the_relay_tells_lambda_of_an_entry_that_failed(
    dynamodb: FakeDynamoDB, bus: FakeEventBridge, clock: FakeClock
) -> None:
    """Four EventBridge publishers lose failed events silently; OutboxRelay reports the record to Lambda."""
    emit(dynamodb, clock, event("First", "a"), event("Second", "b"))
    bus.fail_next_entry("InternalFailure", detail_type="Second")
    relay, records = OutboxRelay(publisher_to(bus, clock)), batch(dynamodb)["Records"]
    failed = records[1]["dynamodb"]["SequenceNumber"]
    assert relay({"Records": records}) == {"batchItemFailures": [{"itemIdentifier": failed}]}
    assert relay({"Records": records[1:]}) == {"batchItemFailures": []}
    assert types(bus) == ["First", "Second"]


@pytest.mark.parametrize("way", ["publisher", "relay"])
@pytest.mark.parametrize(
    ("failures", "on_the_bus"),
    [(1, ["Other", "First", "Second", "Third"]), (2, ["Other"])],
    ids=["passing", "lasting"],
)
def test_no_event_overtakes_one_that_is_sent_again(
    dynamodb: FakeDynamoDB, bus: FakeEventBridge, clock: FakeClock, way: str, failures: int, on_the_bus: list[str]
) -> None:
    """One EventBridge publisher lets later events overtake a resent one; this library keeps an aggregate's order."""
    events = [event("First", "a"), event("Other", "b"), event("Second", "a"), event("Third", "a")]
    for _ in range(failures):
        bus.fail_next_entry("InternalFailure", detail_type="First")
    publisher = publisher_to(bus, clock, Retry(attempts=2))
    if way == "publisher":
        publisher.publish(events, in_order=True, on_failure="return")
    else:
        emit(dynamodb, clock, *events)
        OutboxRelay(publisher)(batch(dynamodb))
    assert types(bus) == on_the_bus
    assert bus.pending_faults == []


def test_an_event_goes_out_though_its_cause_never_comes_again(
    dynamodb: FakeDynamoDB, bus: FakeEventBridge, clock: FakeClock
) -> None:
    """NServiceBus recovers only if the incoming message is redelivered; this library's stream has each commit."""
    added = event("BookAdded", "a")
    dynamodb.fail_next("transact_write_items", SystemExit("the process dies here"), after_commit=True)
    with pytest.raises(SystemExit):
        emit(dynamodb, clock, added)
    assert OutboxRelay(publisher_to(bus, clock))(batch(dynamodb)) == {"batchItemFailures": []}
    assert [parse_event(each) for each in bus.events] == [added]


def test_no_index_is_searched_between_commit_and_bus(
    dynamodb: FakeDynamoDB, bus: FakeEventBridge, clock: FakeClock
) -> None:
    """Brighter finds unsent events by scans over five indexes; this library needs one write and the stream."""
    dynamodb.calls.clear()
    emit(dynamodb, clock, event("BookAdded", "a"))
    assert [call.operation for call in dynamodb.calls] == ["transact_write_items"]
    records = batch(dynamodb)
    dynamodb.calls.clear()
    OutboxRelay(publisher_to(bus, clock))(records)
    assert (dynamodb.calls, types(bus)) == ([], ["BookAdded"])


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(hours=1), STREAM_KEEPS, SHORTEST_TTL - SECOND], ids=str)
def test_a_time_to_live_that_the_stream_outlasts_is_refused(
    dynamodb: FakeDynamoDB, clock: FakeClock, ttl: timedelta
) -> None:
    """Brighter's TTL starts at the write and can end before the delivery; this library refuses such a short TTL."""
    with pytest.raises(ValueError, match="24 hours"):
        TransactionalOutbox("events", client=dynamodb, clock=clock, ttl=ttl)


def test_an_undelivered_event_does_not_expire(dynamodb: FakeDynamoDB, bus: FakeEventBridge, clock: FakeClock) -> None:
    """Brighter's TTL can end before the delivery; this library's TTL ends after the stream's retention."""
    added = event("BookAdded", "a")
    emit(dynamodb, clock, added, ttl=SHORTEST_TTL)
    clock.advance(STREAM_KEEPS)
    relay = OutboxRelay(publisher_to(bus, clock))
    assert (dynamodb.expire(), relay(batch(dynamodb))) == (0, {"batchItemFailures": []})
    assert [parse_event(each) for each in bus.events] == [added]
    clock.advance(SHORTEST_TTL - STREAM_KEEPS + SECOND)
    assert dynamodb.expire() == 1
    assert relay(batch(dynamodb)) == {"batchItemFailures": []}
    assert len(bus.events) == 1
