"""The publisher, and the Lambda handlers between a stream and the bus."""

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
    # boto3's stubs have unknown types for services whose stubs are not installed.
    EventBridgePublisher("books", client=boto3.client("events"))  # pyright: ignore[reportUnknownMemberType]


def refused(dynamodb: DynamoDBClient, fake: FakeDynamoDB, detail: str) -> None:
    # A DynamoDB client can't put events.
    EventBridgePublisher("books", client=dynamodb)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventBridgePublisher("books", client=fake)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The detail is one of three literals.
    EventBridgePublisher("books", detail="bare")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    EventBridgePublisher("books", detail=detail)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # All arguments except the bus are keyword arguments.
    EventBridgePublisher("books", "books")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A duration is not a plain number.
    Retry(timeout=10)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # retry is a Retry, not a number of attempts.
    EventBridgePublisher("books", retry=4)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A clock is not a function.
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
    # publish takes an iterable of events, not one event.
    publisher.publish(event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The elements must be events.
    publisher.publish(["BookAdded"])  # type: ignore[list-item]  # pyright: ignore[reportArgumentType]
    # on_failure does not have this value.
    publisher.publish([event], on_failure="log")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # Options are keyword arguments.
    publisher.publish([event], True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A context must have get_remaining_time_in_millis.
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
    # A failed event has no id from EventBridge.
    result.failed[0].event_id  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]
    # A result is immutable.
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
    return one_event(record if record.time and other.time and record.time < other.time else other)


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
    # A client is not a publisher.
    OutboxRelay(client)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The relay does not take a mapping function.
    OutboxRelay(publisher, one_event)  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue]
    # to_events is required.
    ChangeProcessor(publisher)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # to_events must return events.
    ChangeProcessor(publisher, no_event)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # to_events takes one record.
    ChangeProcessor(publisher, of_two)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
