"""The publisher, and the functions between a stream and the bus."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

import boto3

from dynamo_outbox import (
    ChangeProcessor,
    Clock,
    DomainEvent,
    Event,
    EventBridgePublisher,
    FailedEvent,
    OutboxRelay,
    PublishedEvent,
    PublishResult,
    Retry,
    StreamRecord,
)
from dynamo_outbox.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient

    from dynamo_outbox.testing import FakeDynamoDB, FakeEventBridge
    from dynamo_outbox.typing import LambdaContext


class BookAdded(DomainEvent, aggregate="Book", key="name"):
    name: str


def made() -> None:
    assert_type(EventBridgePublisher("books"), EventBridgePublisher)
    EventBridgePublisher(
        bus="books",
        source="books",
        client=None,
        detail="envelope",
        retry=Retry(attempts=4, timeout=timedelta(seconds=10)),
        concurrency=2,
        clock=Clock(),
    )
    EventBridgePublisher("books", clock=FakeClock())
    EventBridgePublisher("books", source=None, detail="data")
    EventBridgePublisher("books", detail="cloudevents")


def clients(stubbed: EventBridgeClient, fake: FakeEventBridge, unknown: Any) -> None:
    EventBridgePublisher("books", client=stubbed)
    EventBridgePublisher("books", client=fake)
    EventBridgePublisher("books", client=unknown)
    # boto3's stubs leave unknown the services whose own stubs aren't installed.
    EventBridgePublisher("books", client=boto3.client("events"))  # pyright: ignore[reportUnknownMemberType]


def refused(dynamodb: DynamoDBClient, fake: FakeDynamoDB, detail: str) -> None:
    # DynamoDB's client puts no events.
    EventBridgePublisher("books", client=dynamodb)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventBridgePublisher("books", client=fake)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The detail has one of three forms.
    EventBridgePublisher("books", detail="bare")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventBridgePublisher("books", detail=detail)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # What isn't the bus goes by its name.
    EventBridgePublisher("books", "books")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A duration is no bare number.
    Retry(timeout=10)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A number of attempts is no policy.
    EventBridgePublisher("books", retry=4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A function is no clock.
    EventBridgePublisher("books", clock=lambda: datetime.now(UTC))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def published(
    publisher: EventBridgePublisher, event: Event, model: BookAdded, many: Iterator[Event], context: LambdaContext
) -> None:
    both: tuple[Event, BookAdded] = (event, model)
    assert_type(publisher.publish([event]), PublishResult)
    publisher.publish([event, model])
    publisher.publish([model])
    publisher.publish(many)
    publisher.publish(both, in_order=True, on_failure="return", context=context)
    publisher.publish(events=[], in_order=False, on_failure="raise", context=None)
    assert_type(publisher.bus, str)
    assert_type(publisher.source, str | None)


def refused_publishing(publisher: EventBridgePublisher, event: Event, context: dict[str, Any]) -> None:
    # Events come in several.
    publisher.publish(event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # And are events.
    publisher.publish(["BookAdded"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    # There is no such way to treat a failure.
    publisher.publish([event], on_failure="log")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # Options go by their names.
    publisher.publish([event], True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A context tells the remaining time.
    publisher.publish([event], context=context)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def results(result: PublishResult) -> None:
    assert_type(result.published, tuple[PublishedEvent, ...])
    assert_type(result.failed, tuple[FailedEvent, ...])
    assert_type(result.published[0].position, int)
    assert_type(result.published[0].event, Event)
    assert_type(result.published[0].event_id, str)
    assert_type(result.failed[0].position, int)
    assert_type(result.failed[0].event, Event)
    assert_type(result.failed[0].code, str)
    assert_type(result.failed[0].message, str)
    assert_type(result.failed[0].retryable, bool)
    assert_type(PublishResult(published=(), failed=()), PublishResult)
    # EventBridge gives no id to what it did not take.
    result.failed[0].event_id  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    # What happened stays as it is.
    result.failed = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


def nothing(_: StreamRecord) -> None:
    return None


def one_event(record: StreamRecord) -> Event:
    return Event("BookChanged", record.keys)


def one_model(record: StreamRecord) -> BookAdded | None:
    return BookAdded(name=record.keys["name"]) if record.event_name == "INSERT" else None


def several(record: StreamRecord) -> list[Event]:
    return [one_event(record)]


def one_after_another(record: StreamRecord) -> Iterator[Event | DomainEvent]:
    yield one_event(record)


def no_event(record: StreamRecord) -> dict[str, Any]:
    return record.keys


def of_two(record: StreamRecord, other: StreamRecord) -> Event:
    return one_event(record if record.time < other.time else other)


def handlers(publisher: EventBridgePublisher, payload: object, context: LambdaContext) -> None:
    relay = OutboxRelay(publisher)
    assert_type(relay, OutboxRelay)
    assert_type(OutboxRelay(publisher=publisher), OutboxRelay)
    assert_type(relay(payload, context), dict[str, Any])
    assert_type(relay({"Records": []}), dict[str, Any])
    relay(event=payload, context=None)
    processor = ChangeProcessor(publisher, one_event)
    assert_type(processor, ChangeProcessor)
    assert_type(processor(payload, context), dict[str, Any])
    processor(event=payload)
    ChangeProcessor(publisher, nothing)
    ChangeProcessor(publisher, one_model)
    ChangeProcessor(publisher, several)
    ChangeProcessor(publisher=publisher, to_events=one_after_another)
    ChangeProcessor(publisher, lambda record: Event("BookRemoved", record.keys) if record.is_ttl_delete else None)


def refused_handlers(publisher: EventBridgePublisher, client: EventBridgeClient) -> None:
    # A client alone knows no bus.
    OutboxRelay(client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The relay maps nothing.
    OutboxRelay(publisher, one_event)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    # The changes have to be mapped by something.
    ChangeProcessor(publisher)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # To events.
    ChangeProcessor(publisher, no_event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # One record at a time.
    ChangeProcessor(publisher, of_two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
