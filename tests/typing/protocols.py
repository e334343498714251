"""The library's protocols, and the types that implement them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, assert_type

from dynamo_outbox import Clock
from dynamo_outbox.testing import FakeClock

if TYPE_CHECKING:
    import mypy_boto3_dynamodb
    import mypy_boto3_dynamodbstreams
    import mypy_boto3_events

    from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge
    from dynamo_outbox.typing import DynamoDBClient, EventBridgeClient, LambdaContext, StreamsClient


class StoppedClock(Clock):
    def now(self) -> datetime:
        return datetime(2026, 11, 23, tzinfo=UTC)


class OwnBus:
    def put_events(self, *, Entries: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: N803  # boto3's name
        return {"Entries": Entries}


class OwnContext:
    def get_remaining_time_in_millis(self) -> int:
        return 3000


def of_clocks(clock: Clock) -> None:
    assert_type(clock.now(), datetime)
    assert_type(clock.random(), float)
    clocks: list[Clock] = [Clock(), StoppedClock(), FakeClock(), FakeClock(datetime.now(UTC), random=0.5)]
    assert_type(clocks[0].now(), datetime)
    assert_type(FakeClock().slept, list[float])
    # A function is not a clock, because a clock can also sleep.
    _: Clock = time.time  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    # A datetime is not a clock.
    _ = datetime.now(UTC)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def of_dynamodb(client: DynamoDBClient, stubbed: mypy_boto3_dynamodb.DynamoDBClient, fake: FakeDynamoDB) -> None:
    clients: list[DynamoDBClient] = [stubbed, fake]
    assert_type(clients[0].put_item(), Any)
    assert_type(client.transact_write_items(TransactItems=[]), Any)
    assert_type(client.put_item(), Any)
    assert_type(client.update_item(), Any)
    assert_type(client.delete_item(), Any)
    assert_type(client.describe_table(TableName="books"), Any)
    # OwnBus does not have DynamoDB's operations.
    _: DynamoDBClient = OwnBus()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    # The protocol has no other operations.
    client.scan()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def of_eventbridge(
    client: EventBridgeClient, stubbed: mypy_boto3_events.EventBridgeClient, fake: FakeEventBridge
) -> None:
    clients: list[EventBridgeClient] = [stubbed, fake, OwnBus()]
    assert_type(clients[0].put_events(), Any)
    assert_type(client.put_events(Entries=[]), Any)
    # An EventBridge client must have put_events.
    _: EventBridgeClient = OwnContext()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def of_streams(
    client: StreamsClient, stubbed: mypy_boto3_dynamodbstreams.DynamoDBStreamsClient, fake: FakeDynamoDBStreams
) -> None:
    clients: list[StreamsClient] = [stubbed, fake]
    assert_type(clients[0].get_records(), Any)
    assert_type(client.describe_stream(StreamArn="arn"), Any)
    assert_type(client.get_shard_iterator(StreamArn="arn"), Any)
    assert_type(client.get_records(ShardIterator="i"), Any)


def not_of_streams(dynamodb: mypy_boto3_dynamodb.DynamoDBClient) -> None:
    # The DynamoDB client does not read streams.
    _: StreamsClient = dynamodb  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def of_contexts(context: LambdaContext) -> None:
    assert_type(context.get_remaining_time_in_millis(), int)
    contexts: list[LambdaContext] = [OwnContext()]
    assert_type(contexts[0].get_remaining_time_in_millis(), int)
    # A context must have get_remaining_time_in_millis.
    _: LambdaContext = StoppedClock()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
