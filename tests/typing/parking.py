"""Parking: storage for failed records, and their redrive."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, assert_type

from dynamo_outbox import (
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    OutboxRelay,
    ParkedHead,
    ParkingQueue,
    ParkingTable,
    RedriveFailure,
    RedriveResult,
    StreamRecord,
    TableKeys,
)

if TYPE_CHECKING:
    import mypy_boto3_dynamodb
    import mypy_boto3_sqs

    from dynamo_outbox.testing import FakeDynamoDB
    from dynamo_outbox.typing import LambdaContext, ParkingClient, QueueClient


def change(record: StreamRecord) -> Event | None:
    return Event("Changed", record.keys)


def places(fake: FakeDynamoDB, stubbed: mypy_boto3_dynamodb.DynamoDBClient, sqs: mypy_boto3_sqs.SQSClient) -> None:
    clients: list[ParkingClient] = [fake, stubbed]
    queues: list[QueueClient] = [sqs]
    assert_type(ParkingTable("parking"), ParkingTable)
    ParkingTable("parking", client=clients[0], in_order=False, table_keys=TableKeys("a", "b", prefix="relay#"))
    ParkingTable("parking", client=fake)
    for head in ParkingTable("parking").heads():
        assert_type(head, ParkedHead)
        assert_type((head.order_key, head.parked), tuple[str, int])
    ParkingQueue("url", client=queues[0])
    # A queue does not keep an order.
    ParkingQueue("url", in_order=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A table needs a DynamoDB client.
    ParkingTable("parking", client=sqs)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def parking_handlers(publisher: EventBridgePublisher, table: ParkingTable, queue: ParkingQueue) -> None:
    OutboxRelay(publisher, parking=table, park_after=timedelta(hours=6))
    OutboxRelay(publisher, parking=queue)
    ChangeProcessor(publisher, change, parking=table, retry_on=(TimeoutError,), order_by="pk")
    # parking is a ParkingTable or ParkingQueue, not a name.
    OutboxRelay(publisher, parking="parking")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # retry_on takes exception classes, not instances.
    ChangeProcessor(publisher, change, retry_on=(TimeoutError(),))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def redrives(table: ParkingTable, queue: ParkingQueue, relay: OutboxRelay, context: LambdaContext) -> None:
    result = table.redrive(relay, context=context, limit=10)
    assert_type(result, RedriveResult)
    assert_type(queue.redrive(relay), RedriveResult)
    assert_type((result.sent, result.finished), tuple[int, bool])
    assert_type(result.failures, tuple[RedriveFailure, ...])
    # A redrive needs a relay or processor, not a publisher.
    table.redrive(EventBridgePublisher("bus"))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
