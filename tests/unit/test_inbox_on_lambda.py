"""An inbox handler as a Lambda handler for EventBridge, SQS, SNS and streams."""

from __future__ import annotations

import json
from base64 import b64encode
from copy import deepcopy
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, IdempotencyStore, Inbox, InboxTransaction, parse_event
from dynamo_outbox.errors import DecodeError

from ..doubles import fake_dynamodb
from .test_messages import sns, sqs

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox import InboxHandler
    from dynamo_outbox.testing import FakeDynamoDB

    from ..doubles import FakeClock

    Load = Callable[[str], dict[str, Any]]


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"books": ("name",), "handled": ("pk",)}, clock)


@pytest.fixture
def handler(fake: FakeDynamoDB, clock: FakeClock) -> InboxHandler[str]:
    """A handler that counts each book and raises for books without an author."""
    inbox = Inbox(IdempotencyStore("handled", client=fake, clock=clock))

    @inbox.handler(consumer="books")
    def count(event: Event, tx: InboxTransaction) -> str:
        tx.update("books", {"name": event.data["name"]}, add={"count": 1})
        if not event.data["authors"]:
            raise ValueError("the book has no author")
        return event.id

    return count


def counts(fake: FakeDynamoDB) -> dict[str, int]:
    return {item["name"]["S"]: int(item["count"]["N"]) for item in fake.scan(TableName="books")["Items"]}


def book(name: str, *, authors: tuple[str, ...] = ("a",), aggregate: str | None = None) -> dict[str, Any]:
    """Return a BookAdded event as EventBridge delivers it."""
    metadata = {"id": f"id-{name}", "type": "BookAdded", "version": 1, "time": "2026-11-23T09:30:00.000000Z"}
    if aggregate is not None:
        metadata |= {"aggregateType": "Shelf", "aggregateId": aggregate}
    data = {"name": name, "authors": authors}
    return {"source": "Books", "detail-type": "BookAdded", "detail": {"metadata": metadata, "data": data}}


@pytest.mark.parametrize(
    "sample",
    [
        "eventbridge_from_relay",
        "eventbridge_from_templated_pipe",
        "eventbridge_from_bare_pipe",
        "eventbridge_cloudevents",
    ],
)
def test_an_event_of_eventbridge_is_handled_once(
    handler: InboxHandler[str], fake: FakeDynamoDB, load_event: Load, sample: str
) -> None:
    """An EventBridge event in each form is handled once, and duplicates return the stored result."""
    payload = load_event(sample)
    event = parse_event(payload)
    assert [handler(payload, None), handler(deepcopy(payload), None), handler(event)] == [event.id] * 3
    assert counts(fake) == {event.data["name"]: 1}


def test_a_queue_is_told_which_messages_failed(handler: InboxHandler[str], fake: FakeDynamoDB) -> None:
    """For an SQS batch, failed and unreadable messages are reported, and the others are handled once per event."""
    bad = book("b", authors=())
    records = [sqs(book("a"), "1"), sqs(bad, "2"), sqs("{", "3"), sqs(book("a"), "4"), sqs(book("c"), "5")]
    answer = handler({"Records": records}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "2"}, {"itemIdentifier": "3"}]}
    assert counts(fake) == {"a": 1, "c": 1}


def test_a_topic_gets_the_failure_itself(handler: InboxHandler[str], fake: FakeDynamoDB) -> None:
    """SNS has no batch response, so the handler's exception is raised."""
    assert handler({"Records": [sns(book("a"))]}, None) == {"batchItemFailures": []}
    with pytest.raises(ValueError, match="no author"):
        handler({"Records": [sns(book("b", authors=()))]}, None)
    assert counts(fake) == {"a": 1}


def stream(*books: dict[str, Any], load_event: Load) -> list[dict[str, Any]]:
    """Return insertions into an events table."""
    sample = load_event("stream_of_events_table")["Records"][0]
    records = []
    for number, each in enumerate(books):
        record = deepcopy(sample)
        metadata, data = each["detail"]["metadata"], each["detail"]["data"]
        record["eventID"] = f"record-{number}"
        record["dynamodb"]["SequenceNumber"] = f"{111100000000000000000000 + number}"
        record["dynamodb"]["NewImage"] |= {
            "eventId": {"S": metadata["id"]},
            "aggregateType": {"S": metadata.get("aggregateType", "")},
            "aggregateId": {"S": metadata.get("aggregateId", "")},
            "eventData": {"S": json.dumps(data)},
        }
        records.append(record)
    return records


def test_a_stream_is_told_where_to_begin_again(
    handler: InboxHandler[str], fake: FakeDynamoDB, load_event: Load
) -> None:
    """For a stream, the first failure is reported, and later events of its aggregate are not handled."""
    bad = book("b", authors=(), aggregate="one")
    books = [
        book("a", aggregate="one"),
        bad,
        book("c", aggregate="one"),
        book("d", aggregate="two"),
        book("e", authors=(), aggregate="two"),
    ]
    records = stream(*books, load_event=load_event)
    for _ in range(2):
        answer = handler({"Records": records}, None)
        assert answer == {"batchItemFailures": [{"itemIdentifier": "111100000000000000000001"}]}
        assert counts(fake) == {"a": 1, "d": 1}


def test_an_unreadable_record_holds_up_what_may_be_its_aggregates(
    handler: InboxHandler[str], fake: FakeDynamoDB, load_event: Load
) -> None:
    """After a record of unknown aggregate fails, no later record is handled."""
    records = stream(book("a"), book("b"), book("c"), load_event=load_event)
    records[1]["dynamodb"]["Keys"] = "no map"
    answer = handler({"Records": records}, None)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "111100000000000000000001"}]}
    assert counts(fake) == {"a": 1}


def test_a_pipes_array_is_answered_by_event_id(
    handler: InboxHandler[str], fake: FakeDynamoDB, load_event: Load
) -> None:
    """For a bare array from EventBridge Pipes, the failed record is reported by its event id."""
    records = stream(book("a"), book("b", authors=()), load_event=load_event)
    assert handler(records, None) == {"batchItemFailures": [{"itemIdentifier": "record-1"}]}
    assert counts(fake) == {"a": 1}


def kinesis(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the same records as a pipe delivers them from a Kinesis data stream."""
    enveloped = []
    for number, record in enumerate(records):
        change = record["dynamodb"] | {"ApproximateCreationDateTime": 1795426200000}
        del change["SequenceNumber"]
        data = b64encode(json.dumps(record | {"dynamodb": change}).encode()).decode()
        enveloped.append({"sequenceNumber": f"{500 + number}", "data": data})
    return enveloped


def test_kinesis_records_are_handled_with_and_without_their_envelope(
    handler: InboxHandler[str], fake: FakeDynamoDB, load_event: Load
) -> None:
    """Kinesis records from Lambda and from a pipe are handled alike; a failure has the envelope's sequence number."""
    bare = kinesis(stream(book("a"), book("b", authors=()), load_event=load_event))
    enveloped = [{"kinesis": record, "eventSource": "aws:kinesis"} for record in bare]
    payloads: list[Any] = [{"Records": enveloped}, bare]
    for payload in payloads:
        assert handler(payload, None) == {"batchItemFailures": [{"itemIdentifier": "501"}]}
        assert counts(fake) == {"a": 1}


@pytest.mark.parametrize("payload", [[], {"Records": []}], ids=repr)
def test_an_empty_batch_is_done(handler: InboxHandler[str], payload: object) -> None:
    """An empty batch reports no failures."""
    assert handler(payload, None) == {"batchItemFailures": []}


def test_what_is_no_event_insert_is_passed_over(
    handler: InboxHandler[str], fake: FakeDynamoDB, load_event: Load
) -> None:
    """Stream records other than insertions of outbox items are skipped."""
    records = stream(book("a"), book("b"), load_event=load_event)
    records[1] |= {"eventName": "REMOVE"}
    assert handler({"Records": records}, None) == {"batchItemFailures": []}
    assert counts(fake) == {"a": 1}


@pytest.mark.parametrize("payload", [{}, {"Records": [1]}, None, "text", {"detail": {}}], ids=repr)
def test_what_is_no_event_is_an_error(handler: InboxHandler[str], payload: object) -> None:
    """A payload without an event raises DecodeError."""
    with pytest.raises(DecodeError):
        handler(payload, None)


def test_a_handler_keeps_its_functions_name(handler: InboxHandler[str]) -> None:
    """A handler has its function's name and module."""
    named: Any = handler
    assert (named.__name__, named.__module__) == ("count", __name__)
