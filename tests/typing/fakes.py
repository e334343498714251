"""The testing kit: fakes, faults, the proxy and the engine."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

from dynamo_outbox.pipes import PipeDefinition
from dynamo_outbox.testing import (
    LATE,
    LOST_ANSWER,
    EngineError,
    Exchange,
    FakeClock,
    FakeDynamoDB,
    FakeDynamoDBStreams,
    FakeEventBridge,
    Fault,
    FaultProxy,
    MiniStack,
    PassedRecord,
    Phase,
    PipeRunner,
    Script,
    cancelled_transaction,
    error_response,
    partial_failure,
    random_faults,
    shuffled,
    wire_record,
)
from dynamo_outbox.testing.fakes.client import Call

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodbstreams import DynamoDBStreamsClient
    from mypy_boto3_events import EventBridgeClient

    from dynamo_outbox import Clock


def clocks() -> None:
    clock = FakeClock(datetime(2026, 11, 23, tzinfo=UTC), random=0.5)
    assert_type(clock.now(), datetime)
    assert_type(clock.random(), float)
    assert_type(clock.slept, list[float])
    clock.advance(timedelta(hours=1))
    clock.set(datetime.now(UTC))
    _: Clock = clock
    # A duration is not a plain number.
    clock.advance(60)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def tables(clock: Clock) -> None:
    dynamodb = FakeDynamoDB(clock=clock)
    assert_type(dynamodb, FakeDynamoDB)
    FakeDynamoDB(clock=FakeClock())
    assert_type(dynamodb.create_table(TableName="books"), dict[str, Any])
    assert_type(dynamodb.delete_table(TableName="books"), dict[str, Any])
    assert_type(dynamodb.describe_table(TableName="books"), dict[str, Any])
    assert_type(dynamodb.update_time_to_live(TableName="books"), dict[str, Any])
    assert_type(dynamodb.get_item(TableName="books", Key={}), dict[str, Any])
    assert_type(dynamodb.batch_get_item(RequestItems={}), dict[str, Any])
    assert_type(dynamodb.limit_next_batch(1), None)
    assert_type(dynamodb.put_item(TableName="books", Item={}), dict[str, Any])
    assert_type(dynamodb.update_item(TableName="books", Key={}), dict[str, Any])
    assert_type(dynamodb.delete_item(TableName="books", Key={}), dict[str, Any])
    assert_type(dynamodb.transact_write_items(TransactItems=[]), dict[str, Any])
    assert_type(dynamodb.query(TableName="books"), dict[str, Any])
    assert_type(dynamodb.scan(TableName="books"), dict[str, Any])
    assert_type(dynamodb.expire(), int)
    assert_type(dynamodb.expire(now=datetime.now(UTC)), int)
    with dynamodb.hold_transaction(TransactItems=[]) as held:
        assert_type(held, None)
    assert_type(list(dynamodb.streams), list[str])
    # A clock is not a function.
    FakeDynamoDB(clock=lambda: datetime.now(UTC))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The clock is required.
    FakeDynamoDB()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # Parameters are keyword arguments.
    dynamodb.put_item("books", {})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The fake does not support this operation.
    dynamodb.batch_write_item()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def faults(dynamodb: FakeDynamoDB) -> None:
    assert_type(dynamodb.calls, list[Call])
    assert_type(dynamodb.calls[0].operation, str)
    assert_type(dynamodb.calls[0].request, Mapping[str, Any])
    assert_type(dynamodb.exceptions, Any)
    assert_type(dynamodb.pending_faults, list[str])
    dynamodb.fail_next("put_item", "ThrottlingException")
    dynamodb.fail_next(operation="put_item", error=TimeoutError(), after_commit=True)
    assert_type(dynamodb.error("put_item", "ThrottlingException"), Exception)
    assert_type(dynamodb.error("put_item", code="X", message="scripted", Item={}), Exception)
    # An error is an instance, not a class.
    dynamodb.fail_next("put_item", TimeoutError)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # after_commit is a keyword argument.
    dynamodb.fail_next("put_item", "X", True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def streams(dynamodb: FakeDynamoDB) -> None:
    fake = FakeDynamoDBStreams(dynamodb)
    assert_type(fake, FakeDynamoDBStreams)
    FakeDynamoDBStreams(dynamodb, arrange=shuffled(7))
    FakeDynamoDBStreams(dynamodb=dynamodb, arrange=shuffled(seed=7))
    FakeDynamoDBStreams(dynamodb, arrange=lambda pending: pending[:1])
    FakeDynamoDBStreams(dynamodb, arrange=None)
    assert_type(fake.describe_stream(StreamArn="arn"), dict[str, Any])
    assert_type(fake.get_shard_iterator(StreamArn="arn"), dict[str, Any])
    assert_type(fake.get_records(ShardIterator="i"), dict[str, Any])
    fake.fail_next("get_records", "ThrottlingException")


def refused_streams(dynamodb: FakeDynamoDB, stubbed: DynamoDBClient) -> None:
    # The fake streams read only the fake's changes.
    FakeDynamoDBStreams(stubbed)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # arrange is a function.
    FakeDynamoDBStreams(dynamodb, arrange="shuffled")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A seed is a number.
    FakeDynamoDBStreams(dynamodb, arrange=shuffled("7"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def buses(clock: Clock) -> None:
    events = FakeEventBridge(clock=clock)
    assert_type(events, FakeEventBridge)
    FakeEventBridge(clock=clock, buses=["books"])
    FakeEventBridge(clock=clock, buses={"books"})
    FakeEventBridge(clock=clock, buses=None)
    assert_type(events.put_events(Entries=[]), dict[str, Any])
    assert_type(events.events, list[dict[str, Any]])
    assert_type(events.deliveries(seed=7), list[dict[str, Any]])
    assert_type(events.pending_faults, list[str])
    events.fail_next_entry("ThrottlingException")
    events.fail_next_entry(code="X", message="scripted", detail_type="BookAdded")
    events.fail_next("put_events", "ThrottlingException")
    # The seed is required.
    events.deliveries()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # detail_type is a keyword argument.
    events.fail_next_entry("X", "scripted", "BookAdded")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def engines() -> None:
    with MiniStack() as engine:
        assert_type(engine, MiniStack)
        assert_type(engine.client("dynamodb"), Any)
        assert_type(engine.endpoint_url, str)
        assert_type(engine.region, str)
    assert_type(engine.stop(), str)
    MiniStack("ministack", region="eu-west-1", start_timeout=10)
    MiniStack(command=None, start_timeout=1.5)
    _: Exception = EngineError("is not there")
    # All arguments except the command are keyword arguments.
    MiniStack("ministack", "eu-west-1")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def proxies(url: str) -> None:
    with FaultProxy(url, script=random_faults(7, 0.1), on_phase=told) as proxy:
        assert_type(proxy, FaultProxy)
        assert_type(proxy.endpoint_url, str)
        assert_type(proxy.client("dynamodb"), Any)
        assert_type(proxy.client("events", timeout=timedelta(seconds=1), attempts=1), Any)
        assert_type(proxy.deliver_late(), list[Exchange])
        assert_type(proxy.faults_met.total(), int)
        assert_type(proxy.exchanges[0].fault, Fault | None)
        assert_type(proxy.exchanges[0].request, dict[str, Any])
    FaultProxy(url, script={"PutItem": [None, LOST_ANSWER, LATE]}, region="eu-west-1")
    FaultProxy(url, script=lambda operation, count: LATE if (operation, count) == ("PutItem", 1) else None)
    faults = [error_response("ThrottlingException"), cancelled_transaction("TransactionConflict", at=[0])]
    assert_type(faults, list[Fault])
    assert_type(error_response("InternalServerError", status=500, after_commit=True), Fault)
    assert_type(partial_failure({0: "InternalFailure"}), Fault)
    by_chance: Script = random_faults(seed=7, rate=0.5)
    assert_type(by_chance("PutItem", 0), Fault | None)
    # A timeout is a duration.
    proxy.client("events", timeout=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A fault is an object, not its name.
    FaultProxy(url, script={"PutItem": ["LATE"]})  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]


def told(phase: Phase, exchange: Exchange) -> None:
    assert_type(exchange.phases, list[Phase])
    assert_type(
        (phase, exchange.operation, exchange.count, exchange.number, exchange.status)[1:4], tuple[str, int, int]
    )


def pipes_of_fakes(definition: PipeDefinition, streams: FakeDynamoDBStreams, events: FakeEventBridge) -> None:
    runner = PipeRunner(definition, stream_arn="arn", bus="books", streams=streams, events=events)
    assert_type(runner, PipeRunner)
    assert_type(runner.definition, PipeDefinition)
    assert_type(runner.stream_arn, str)
    assert_type(runner.bus, str)
    assert_type(runner.poll(), list[PassedRecord])
    record, event_id = runner.poll()[0]
    assert_type(record, Mapping[str, Any])
    assert_type(event_id, str | None)
    assert_type(runner.send(record), str | None)
    assert_type(wire_record(record, "arn"), dict[str, Any])
    assert_type(PassedRecord({}, None), PassedRecord)


def pipes_of_clients(
    definition: PipeDefinition, streams: DynamoDBStreamsClient, events: EventBridgeClient, tables: DynamoDBClient
) -> None:
    PipeRunner(definition=definition, stream_arn="arn", bus="books", streams=streams, events=events)
    # The DynamoDB client does not read streams.
    PipeRunner(definition, stream_arn="arn", bus="b", streams=tables, events=events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The bus is required.
    PipeRunner(definition, stream_arn="arn", streams=streams, events=events)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
