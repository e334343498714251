"""Every shape in which a record or an event can be found is read, or its error says what it is and what reads it."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from aws_lambda_powertools.utilities.data_classes import (
    DynamoDBStreamEvent,
    EventBridgeEvent,
    KinesisFirehoseEvent,
    KinesisStreamEvent,
    SNSEvent,
    SQSEvent,
)
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dynamo_outbox import (
    Event,
    IdempotencyStore,
    Inbox,
    InboxTransaction,
    Message,
    StreamRecord,
    TransactionalOutbox,
    batch_handler,
    decode_item,
    decode_record,
    decode_records,
    idempotent,
    parse_event,
    parse_events,
)
from dynamo_outbox.codec.mappings import as_dicts
from dynamo_outbox.errors import DecodeError, InvalidIdempotencyKeyError
from dynamo_outbox.events.bus_event import DETAIL_FORMS
from dynamo_outbox.events.payload_shapes import shape_of
from dynamo_outbox.operations.decode import decoded
from dynamo_outbox.streams.batch_response import batch_response

from ..conftest import EVENTS
from ..strategies import json_values
from .test_messages import sns, sqs

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

EVENT = Event("BookAdded", {"year": 2019}, id="e1", time=datetime(2026, 11, 23, tzinfo=UTC), source="Books")
ITEM = TransactionalOutbox("events", source="Books").transact_item(EVENT)["Put"]["Item"]
ENVELOPE = json.loads(DETAIL_FORMS["envelope"](EVENT, EVENT.source))
BUS_EVENT = {"version": "0", "id": "b", "detail-type": "BookAdded", "source": "Books", "detail": ENVELOPE}
CLOUDEVENT = json.loads(DETAIL_FORMS["cloudevents"](EVENT, EVENT.source))
TEMPLATED = {"metadata": {"id": "e1"}, "outboxItem": ITEM}
INSERTED: dict[str, Any] = {
    "eventID": "1",
    "eventName": "INSERT",
    "eventSource": "aws:dynamodb",
    "dynamodb": {"Keys": {"pk": {"S": "e1"}, "sk": {"S": "e1"}}, "NewImage": ITEM, "SequenceNumber": "1"},
}
CHANGED: dict[str, Any] = {
    "eventID": "2",
    "eventName": "MODIFY",
    "eventSource": "aws:dynamodb",
    "dynamodb": {"Keys": {"id": {"S": "7"}}, "NewImage": {"id": {"S": "7"}}, "SequenceNumber": "2"},
}
KINESIS_FORM: dict[str, Any] = {
    "awsRegion": "eu-west-1",
    "eventID": "5ae0",
    "eventName": "INSERT",
    "userIdentity": None,
    "recordFormat": "application/json",
    "tableName": "books",
    "dynamodb": {"ApproximateCreationDateTime": 1627046330199, "Keys": {"b": {"B": "QUFFPQ=="}}, "SizeBytes": 45},
    "eventSource": "aws:dynamodb",
}
DATA = b64encode(json.dumps(KINESIS_FORM).encode()).decode()
FIREHOSE = {"invocationId": "i", "records": [{"recordId": "r", "approximateArrivalTimestamp": 1, "data": DATA}]}
POINTER = {
    "requestContext": {"condition": "RetryAttemptsExhausted"},
    "version": "1.0",
    "DDBStreamBatchInfo": {"shardId": "shard-7", "startSequenceNumber": "100", "endSequenceNumber": "102"},
}
CALL = {"version": "1.0", "requestContext": {"condition": "RetriesExhausted"}, "responsePayload": {}}
NOTIFICATION = {"Type": "Notification", "TopicArn": "arn", "MessageId": "n", "Message": json.dumps(BUS_EVENT)}
API = {"httpMethod": "POST", "path": "/", "body": "{}", "requestContext": {"stage": "prod"}}


class View(Mapping[str, Any]):
    """A mapping that is not a dict, as Powertools' event objects are, with others inside."""

    def __init__(self, members: Mapping[str, Any]) -> None:
        self._members = {name: viewed(member) for name, member in members.items()}

    def __getitem__(self, name: str) -> Any:
        return self._members[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def __len__(self) -> int:
        return len(self._members)


def viewed(value: Any) -> Any:
    if isinstance(value, list):
        return [viewed(member) for member in value]
    return View(value) if isinstance(value, dict) else value


def received(*bodies: object, **attributes: str) -> dict[str, Any]:
    """Return SQS's response to ReceiveMessage."""
    messages = [
        {"MessageId": f"m{number}", "ReceiptHandle": "h", "Body": json.dumps(body), "Attributes": attributes}
        for number, body in enumerate(bodies)
    ]
    return {"Messages": messages, "ResponseMetadata": {}}


EVENT_SHAPES: dict[str, Any] = {
    "rule": BUS_EVENT,
    "replayed": {**BUS_EVENT, "replay-name": "repair"},
    "templated pipe": {**BUS_EVENT, "detail": TEMPLATED},
    "bare pipe": {**BUS_EVENT, "detail": INSERTED},
    "CloudEvents": CLOUDEVENT,
    "CloudEvents on a bus": {**BUS_EVENT, "detail": CLOUDEVENT},
    "detail of a pipe": TEMPLATED,
    "stream record": INSERTED,
    "outbox item": ITEM,
    "GetItem": {"Item": ITEM, "ResponseMetadata": {}},
    "incremental export": {"Metadata": {"WriteTimestampMicros": {"N": "1"}}, "Keys": {}, "NewImage": ITEM},
    "asynchronous call": {**CALL, "requestPayload": BUS_EVENT},
    "asynchronous call's bus": {**BUS_EVENT, "source": "lambda", "detail": {**CALL, "requestPayload": BUS_EVENT}},
    "asynchronous call of a topic": {**CALL, "requestPayload": {"Records": [sns(BUS_EVENT)]}},
    "asynchronous call of a message": {**CALL, "requestPayload": {"Records": [sqs(BUS_EVENT)]}},
    "notification": NOTIFICATION,
    "custom bus": {"Data": BUS_EVENT, "Metadata": {}, "SystemMetadata": {"aws:EventId": "b"}},
}


@pytest.mark.parametrize("shape", EVENT_SHAPES)
@pytest.mark.parametrize("as_delivered", [lambda payload: payload, viewed], ids=["dict", "Mapping"])
def test_an_event_is_read_wherever_it_is(shape: str, as_delivered: Callable[[Any], Any]) -> None:
    """An event is read from each shape, of dicts or other mappings."""
    assert parse_event(as_delivered(EVENT_SHAPES[shape])) == EVENT


@pytest.mark.parametrize("shape", EVENT_SHAPES)
@pytest.mark.parametrize(
    ("wrap", "message_id"),
    [
        (lambda body: {"Records": [sqs(body)]}, "1"),
        (lambda body: [sqs(body)], "1"),
        (lambda body: {"Records": [sqs({**NOTIFICATION, "Message": json.dumps(body)})]}, "1"),
        (lambda body: {"Records": [sns(body)]}, "1"),
        (received, "m0"),
        (lambda body: {**CALL, "requestPayload": {"Records": [sns(body)]}}, "1"),
    ],
    ids=["queue", "pipe from a queue", "topic to queue", "topic", "received", "asynchronous call"],
)
@pytest.mark.parametrize("as_delivered", [lambda payload: payload, viewed], ids=["dict", "Mapping"])
def test_a_message_may_hold_an_event_in_any_shape(
    shape: str, wrap: Callable[[Any], Any], message_id: str, as_delivered: Callable[[Any], Any]
) -> None:
    """Each shape is read from messages of each kind."""
    assert parse_events(as_delivered(wrap(EVENT_SHAPES[shape]))) == [Message(EVENT, message_id)]


def test_a_batch_of_events_is_read() -> None:
    """An array of events, as a custom bus delivers it, is read; its events have no message id."""
    batch = [BUS_EVENT, {"Data": BUS_EVENT, "SystemMetadata": {}}, CLOUDEVENT]
    assert parse_events(batch) == [Message(EVENT, "")] * 3
    assert parse_events(BUS_EVENT) == parse_events(batch[1]) == [Message(EVENT, "")]


@pytest.mark.parametrize("attribute", ["SequenceNumber", "MessageDeduplicationId"])
def test_received_messages_have_groups(attribute: str) -> None:
    """A received message of a FIFO queue has its group; one of a fair queue has none."""
    fifo = received(BUS_EVENT, **{"MessageGroupId": "g", attribute: "1"})
    fair = received(BUS_EVENT, MessageGroupId="g")
    assert [parse_events(each)[0].group_id for each in (fifo, fair, viewed(fifo))] == ["g", None, "g"]


def test_a_pipes_messages_are_handled(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> None:
    """batch_handler and Inbox answer an array of messages and a ReceiveMessage response with batchItemFailures."""
    create_table("handled", "pk")
    seen: list[str] = []

    @Inbox(IdempotencyStore("handled", client=dynamodb)).handler(consumer="shelf")
    def inbox(event: Event, _tx: InboxTransaction) -> None:
        seen.append(event.id)

    @batch_handler
    def batch(event: Event, _context: object) -> None:
        seen.append(event.id)

    failed = {"batchItemFailures": [{"itemIdentifier": "2"}]}
    for handle in (inbox, batch):
        for payload in ([sqs(BUS_EVENT), sqs("no JSON", "2")], viewed([sqs(BUS_EVENT), sqs("no JSON", "2")])):
            assert handle(payload, None) == failed
        assert handle(received(BUS_EVENT, 5), None) == {"batchItemFailures": [{"itemIdentifier": "m1"}]}
        assert handle([], None) == {"batchItemFailures": []}
    assert set(seen) == {"e1"}


def test_an_inbox_reads_an_event_in_each_shape(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> None:
    """An inbox handles an event in each shape once."""
    create_table("handled", "pk")

    @Inbox(IdempotencyStore("handled", client=dynamodb)).handler(consumer="shelf")
    def inbox(event: Event, _tx: InboxTransaction) -> str:
        return event.type

    batches = ("stream record", "asynchronous call of a message", "asynchronous call of a topic")
    for name, payload in EVENT_SHAPES.items():
        expected: Any = {"batchItemFailures": []} if name in batches else "BookAdded"
        assert inbox(payload, None) == inbox(viewed(payload), None) == expected, name


RECORD_SHAPES: dict[str, Any] = {
    "Lambda": {"Records": [CHANGED]},
    "pipe": [CHANGED],
    "record": CHANGED,
    "S3, object": {**POINTER, "payload": {"Records": [CHANGED]}},
    "S3, text": {**POINTER, "payload": json.dumps({"Records": [CHANGED]})},
    "asynchronous call": {**CALL, "requestPayload": {"Records": [CHANGED]}},
}
KINESIS_SHAPES: dict[str, Any] = {
    "Kinesis": {"Records": [{"kinesis": {"data": DATA, "sequenceNumber": "9"}, "eventSource": "aws:kinesis"}]},
    "pipe": [{"data": DATA, "sequenceNumber": "9", "eventSource": "aws:kinesis"}],
    "one of a pipe": {"data": DATA, "sequenceNumber": "9", "eventSource": "aws:kinesis"},
    "GetRecords": {
        "Records": [{"Data": json.dumps(KINESIS_FORM).encode(), "SequenceNumber": "9", "PartitionKey": "p"}]
    },
    "AWS CLI": {"Records": [{"Data": DATA, "SequenceNumber": "9", "PartitionKey": "p"}], "MillisBehindLatest": 0},
    "S3": {
        "KinesisBatchInfo": {"shardId": "s"},
        "payload": json.dumps({"Records": [{"kinesis": {"data": DATA, "sequenceNumber": "9"}}]}),
    },
    "Firehose on Kinesis": {
        "records": [{"recordId": "r", "data": DATA, "kinesisRecordMetadata": {"sequenceNumber": "9", "shardId": "s"}}]
    },
}
BARE_SHAPES: dict[str, Any] = {
    "Firehose": FIREHOSE,
    "one of Firehose": FIREHOSE["records"][0],
    "bare": KINESIS_FORM,
    "bare, in an array": [KINESIS_FORM],
}


@pytest.mark.parametrize("shape", RECORD_SHAPES)
@pytest.mark.parametrize("as_delivered", [lambda payload: payload, viewed], ids=["dict", "Mapping"])
def test_a_record_is_read_wherever_it_is(shape: str, as_delivered: Callable[[Any], Any]) -> None:
    """A stream record is read from each shape, and holds dicts afterwards."""
    (record,) = decode_records(as_delivered(RECORD_SHAPES[shape]))
    assert (record.raw, record.sequence_number, record.new_image) == (CHANGED, "2", {"id": "7"})
    assert json.loads(json.dumps(record.delivered)) == CHANGED


@pytest.mark.parametrize(
    ("payload", "number"),
    [(payload, "9") for payload in KINESIS_SHAPES.values()] + [(payload, None) for payload in BARE_SHAPES.values()],
    ids=[*KINESIS_SHAPES, *BARE_SHAPES],
)
@pytest.mark.parametrize("as_delivered", [lambda payload: payload, viewed], ids=["dict", "Mapping"])
def test_a_record_in_kinesis_form_is_read(payload: Any, number: str | None, as_delivered: Callable[[Any], Any]) -> None:
    """Records in Kinesis form have milliseconds and binary in base64 twice, in each envelope and without one."""
    (record,) = decode_records(as_delivered(payload))
    assert record.time == datetime(2021, 7, 23, 13, 18, 50, 199_000, tzinfo=UTC)
    assert (record.keys, record.table, record.region) == ({"b": b"\0\1"}, "books", "eu-west-1")
    assert record.sequence_number == number


@pytest.mark.parametrize(
    "text", ["2026-11-23T09:30:00+00:00", "2026-11-23T10:30:00+01:00", "2026-11-23T09:30:00Z", "2026-11-23 09:30:00Z"]
)
def test_a_time_may_be_text(text: str) -> None:
    """The AWS CLI writes ISO times: aws-cli#5067."""
    record = {**CHANGED, "dynamodb": {**CHANGED["dynamodb"], "ApproximateCreationDateTime": text}}
    assert decode_record(record).time == datetime(2026, 11, 23, 9, 30, tzinfo=UTC)


def test_a_ttl_removal_in_any_mapping_is_known() -> None:
    """The identity of a TTL removal counts in any mapping, at any depth."""
    record = {**CHANGED, "eventName": "REMOVE"}
    record["userIdentity"] = View({"type": "Service", "principalId": "dynamodb.amazonaws.com"})
    record["dynamodb"] = {**CHANGED["dynamodb"], "OldImage": {"m": View({"M": {"s": {"S": "x"}}})}}
    (found,) = decode_records([record])
    assert found.is_ttl_delete
    assert found.old_image == {"m": {"s": "x"}}


POWERTOOLS: list[tuple[Callable[[Any], Any], Any, Callable[[Any], Any]]] = [
    (parse_event, BUS_EVENT, EventBridgeEvent),
    (parse_events, {"Records": [sqs(BUS_EVENT)]}, SQSEvent),
    (parse_events, {"Records": [sns(BUS_EVENT)]}, SNSEvent),
    (decode_records, {"Records": [CHANGED]}, DynamoDBStreamEvent),
    (decode_records, KINESIS_SHAPES["Kinesis"], KinesisStreamEvent),
    (decode_records, FIREHOSE, KinesisFirehoseEvent),
    (parse_events, {"Records": [sqs(BUS_EVENT)]}, lambda payload: {"Records": list(SQSEvent(payload).records)}),
    (decode_records, {"Records": [CHANGED]}, lambda payload: list(DynamoDBStreamEvent(payload).records)),
    (decode_item, ITEM, View),
    (decode_record, CHANGED, lambda payload: next(iter(DynamoDBStreamEvent({"Records": [payload]}).records))),
]


@pytest.mark.parametrize(("read", "payload", "wrapped"), POWERTOOLS)
def test_powertools_event_objects_are_read(
    read: Callable[[Any], Any], payload: Any, wrapped: Callable[[Any], Any]
) -> None:
    """An event object of Powertools is read as the event that Lambda delivered."""
    assert read(wrapped(payload)) == read(payload)


@given(json_values)
def test_mappings_become_dicts_at_every_depth(value: Any) -> None:
    """Mappings become dicts; a payload of dicts is returned as it is."""
    assert as_dicts(value) is value
    assert as_dicts(viewed(value)) == value


class Model(BaseModel):
    detail: dict[str, Any] = {}


POINTS = "read shard shard-7 of the stream again from sequence number 100 to 102"
DETAIL = "the detail of an event without its envelope, and so without its source; remove InputPath $.detail"
KEY = "to make another call idempotent, use key=..."
CONFIRMATION = {"Type": "SubscriptionConfirmation", "TopicArn": "arn", "Message": "You have", "SubscribeURL": "u"}
S3 = {"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "k"}}}]}
OF_S3 = {"source": "aws.s3", "detail-type": "Object Created", "detail": {"bucket": {"name": "b"}}}
BATCH = "an SQS batch; parse_events reads its events, and batch_handler or Inbox handles them one by one"
RECORDS = "a batch of stream records; decode_records reads it, and OutboxRelay, ChangeProcessor or Inbox handles it"
ONE = "one event from EventBridge; parse_event reads it"


@pytest.mark.parametrize(
    ("read", "payload", "text"),
    [
        (parse_event, {"Records": [sqs(BUS_EVENT)]}, f"payload: is {BATCH}"),
        (parse_event, [sqs(BUS_EVENT)], f"payload: is {BATCH}"),
        (parse_event, {"Records": [sns(BUS_EVENT)]}, "is an SNS batch; parse_events reads"),
        (parse_event, received(BUS_EVENT), "is a batch of received SQS messages; parse_events reads"),
        (parse_event, sqs(BUS_EVENT), 'is one SQS message; pass {"Records": [message]} to parse_events'),
        (parse_event, received(1)["Messages"][0], 'is one received SQS message; pass {"Messages": [message]} to'),
        (parse_event, {"Records": [CHANGED]}, f"is {RECORDS}"),
        (parse_event, CHANGED, "is a stream record, but not of an inserted outbox item; decode_record reads it"),
        (parse_event, FIREHOSE, "is a Firehose transformation event; decode_records reads it"),
        (parse_event, {"kinesis": {}}, "is a Kinesis record; decode_record reads it"),
        (parse_event, {"Records": []}, "is an empty batch; parse_event reads"),
        (parse_event, ENVELOPE, DETAIL),
        (parse_event, POINTER, POINTS),
        (parse_event, {**POINTER, "payload": "{}"}, "record of a stream's batch; decode_records reads it"),
        (parse_event, CONFIRMATION, "is a topic's SubscriptionConfirmation, not an event; confirm the subscription"),
        (parse_event, S3, "is an S3 event; get the object that it names; decode_records reads"),
        (parse_event, OF_S3, f"EventBridge's event 'Object Created' of aws.s3; parse_event reads this.*; {KEY}"),
        (parse_event, API, f"is an API Gateway request; .*; {KEY}"),
        (
            parse_event,
            {"rawPath": "/", "requestContext": {"http": {}}},
            "is a request of an HTTP API or a function URL;",
        ),
        (parse_event, {"requestContext": {"elb": {}}, "httpMethod": "GET"}, "of an Application Load Balancer;"),
        (parse_event, {"arguments": {}, "info": {}}, "is an AppSync request"),
        (parse_event, {"Records": [{"eventSource": "aws:codecommit"}]}, "is a batch of aws:codecommit"),
        (parse_event, {"eventSource": "aws:kafka", "records": {"t-0": []}}, "is a Kafka batch"),
        (parse_event, {"eventSource": "aws:mq", "messages": [{"data": ""}]}, "is an Amazon MQ batch"),
        (parse_event, {"Source": "a", "DetailType": "b", "Detail": "{}"}, "is an entry of PutEvents"),
        (parse_event, {"Item": {"id": {"S": "1"}}}, "is an item, not its change; decode_item reads its Item"),
        (parse_event, {"order": 7}, f"is an object with 'order'; parse_event reads .*; {KEY}"),
        (parse_event, dict.fromkeys("abcdef"), "is an object with 'a', 'b', 'c', 'd', 'e', …;"),
        (parse_event, {}, "is an empty object;"),
        (parse_event, json.dumps(BUS_EVENT), "is text; parse it first, with json.loads"),
        (parse_event, None, "is None; parse_event reads"),
        (parse_event, 7, "is a value of type int, not an object or a list;"),
        (parse_event, Model(), "is a model, Model; pass the event that Lambda delivered"),
        (parse_event, {**CALL, "requestPayload": API}, "^requestPayload: is an API Gateway request"),
        (parse_event, {**CALL, "requestPayload": {}}, "^requestPayload: is an empty object"),
        (decode_records, CLOUDEVENT, "is a CloudEvents object; parse_event reads it"),
        (parse_events, {"Records": [CHANGED]}, f"is {RECORDS}"),
        (parse_events, [CHANGED], f"is {RECORDS}"),
        (parse_events, S3, "is an S3 event; get the object"),
        (parse_events, API, "is an API Gateway request; parse_events reads batches of SQS or SNS messages"),
        (parse_events, {**CALL, "requestPayload": BUS_EVENT}, "asynchronous call; parse_event reads"),
        (parse_events, {"Records": [sqs(CONFIRMATION)]}, "^record 0: body: is a topic's SubscriptionConfirmation"),
        (parse_events, {"Records": [sqs(CHANGED)]}, "^record 0: body: is a stream record, .*; decode_record reads it"),
        (parse_events, {"Records": [sqs(POINTER)]}, f"^record 0: body: is .* that only points to .*; {POINTS}"),
        (parse_events, {"Records": [sns(POINTER)]}, f"^record 0: Sns.Message: is .*; {POINTS}"),
        (parse_events, {"Records": [sqs(ENVELOPE)]}, f"^record 0: body: is {DETAIL}"),
        (parse_events, {"Records": [sqs(S3)]}, "^record 0: body: is an S3 event;"),
        (parse_events, {"Records": [sqs(BUS_EVENT), 5]}, "^record 1: .*SQS nor an SNS message: a value of type int"),
        (decode_records, BUS_EVENT, f"payload: is {ONE}"),
        (decode_records, {"Records": [sqs(CHANGED)]}, f"is {BATCH}"),
        (decode_records, [sqs(CHANGED)], f"is {BATCH}"),
        (decode_records, received(CHANGED), "is a batch of received SQS messages; parse_events"),
        (decode_records, {"Records": [sns(BUS_EVENT)]}, "is an SNS batch; parse_events"),
        (decode_records, S3, "is an S3 event; get the object"),
        (decode_records, POINTER, POINTS),
        (decode_records, {"context": {}, "DDBStreamBatchInfo": {}}, "read shard None of the stream again"),
        (decode_records, {**POINTER, "payload": "{"}, "^payload: is not the JSON text of a batch: "),
        (decode_records, {**POINTER, "payload": None}, "^payload: is None; decode_records reads"),
        (decode_records, {**POINTER, "payload": BUS_EVENT}, f"^payload: is {ONE}"),
        (decode_records, {**CALL, "requestPayload": BUS_EVENT}, f"^requestPayload: is {ONE}"),
        (decode_records, API, "is an API Gateway request; decode_records reads Lambda's event for a stream"),
        (decode_records, {"Item": ITEM}, "is an item, not its change; decode_item reads its Item"),
        (decode_records, b"[]", "is text; parse it first, with json.loads"),
        (decode_record, API, "dynamodb: is missing .*, but an API Gateway request"),
        (decode_record, {"recordId": "r", "data": "%"}, "^data: is not the base64 of a JSON text"),
    ],
)
def test_an_error_says_what_was_received_and_what_reads_it(read: Callable[[Any], Any], payload: Any, text: str) -> None:
    """An unreadable payload's error names its shape, and the function that reads it or the remedy."""
    expected = text.replace("[message]", r"\[message\]").replace("$.detail", r"\$\.detail").replace("...", r"\.\.\.")
    for given_payload in (payload, viewed(payload)):
        with pytest.raises(DecodeError, match=expected):
            read(given_payload)


@pytest.mark.parametrize(
    ("payload", "text"),
    [({"Records": [sqs(BUS_EVENT)]}, BATCH), ({"order": 7}, KEY), (API, KEY), ({"Records": [CHANGED]}, RECORDS)],
)
def test_idempotent_without_a_key_says_how_to_call_it(dynamodb: FakeDynamoDB, payload: Any, text: str) -> None:
    """`idempotent` on a batch names batch_handler, and on another payload key=: powertools-lambda-python#1763."""

    @idempotent(IdempotencyStore("handled", client=dynamodb), scope="shelf")
    def handle(event: object, context: object) -> None: ...

    with pytest.raises(DecodeError) as caught:
        handle(payload, None)
    assert text in str(caught.value)


@pytest.mark.parametrize("key", ["powertools_json(body).order", "length(body, body)", "body[", "length(order)"])
def test_an_expression_that_cant_be_evaluated_is_named(dynamodb: FakeDynamoDB, key: str) -> None:
    """A key expression with an unknown function, or with an error, is named with a function that finds the key."""

    @idempotent(IdempotencyStore("handled", client=dynamodb), key=key, scope="shelf")
    def handle(event: object, context: object) -> None: ...

    with pytest.raises(InvalidIdempotencyKeyError) as caught:
        handle({"body": "{}", "order": 7}, None)
    assert str(caught.value).startswith(f"shelf: {key!r} can't be evaluated: ")
    assert str(caught.value).endswith("such as lambda event, context: json.loads(event['body'])['order']")


def test_an_event_among_variable_arguments_is_found(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> None:
    """The event is the first argument, whatever the parameters are called, in methods too."""
    create_table("handled", "pk")
    runs: list[object] = []
    store = IdempotencyStore("handled", client=dynamodb)

    @idempotent(store, scope="args")
    def handle(*args: object) -> None:
        runs.append(args)

    class Shelf:
        @idempotent(store, scope="method")
        def handle(self, *args: object) -> None:
            runs.append(args)

    for function in (handle, Shelf().handle):
        for _ in range(2):
            function(BUS_EVENT, None)
    assert runs == [(BUS_EVENT, None)] * 2


@given(json_values)
def test_every_payload_has_a_shape(value: Any) -> None:
    """Any JSON value has a name; a message's error has one too."""
    assert shape_of(value).what
    assert shape_of(viewed(value)) == shape_of(value)


@given(st.recursive(st.just(BUS_EVENT), lambda inner: st.builds(lambda each: {**CALL, "requestPayload": each}, inner)))
def test_wrapped_events_are_read_or_refused(payload: Any) -> None:
    """An event in several records of calls is read."""
    assert parse_event(payload) == EVENT


def test_an_event_wrapped_too_often_is_refused() -> None:
    """A thousand wrappers are a DecodeError, not a RecursionError."""
    payload: Any = BUS_EVENT
    for _ in range(1000):
        payload = {**CALL, "requestPayload": payload}
    with pytest.raises(DecodeError, match="is wrapped in more than 8 messages or records"):
        parse_event(payload)
    deep = View({})
    for _ in range(5000):
        shallow, deep = deep, View({})
        deep._members["a"] = shallow
    with pytest.raises(DecodeError):
        parse_event(deep)


def test_a_table_with_an_arn_counts_seconds() -> None:
    """A record with a stream's ARN is not in Kinesis form, whatever else it names."""
    arn = "arn:aws:dynamodb:eu-west-1:123456789012:table/books/stream/2026"
    change = {**KINESIS_FORM["dynamodb"], "ApproximateCreationDateTime": 1627046330}
    record = decode_record({**KINESIS_FORM, "eventSourceARN": arn, "dynamodb": change})
    assert record.time == datetime(2021, 7, 23, 13, 18, 50, tzinfo=UTC)
    assert record.keys == {"b": b"AAE="}


def test_a_payload_counts_only_in_a_failure_record() -> None:
    """An object that merely has a member `payload` holds no records."""
    with pytest.raises(DecodeError, match="is an object with 'payload'"):
        decode_records({"payload": {"Records": [CHANGED]}})


def test_a_record_in_any_mapping_is_named_in_the_batch_response() -> None:
    """A failed record of a pipe is named by its event id, in any mapping."""
    batch = [View({**CHANGED, "eventID": "e2"})]
    assert batch_response(batch, decode_records(batch)) == {"batchItemFailures": [{"itemIdentifier": "e2"}]}


def test_firehose_gets_no_batch_response() -> None:
    """A handler of Firehose is told that its response is another."""
    with pytest.raises(DecodeError, match="records: are Firehose's, which expects each one back with recordId"):
        batch_response(FIREHOSE, [])


NOT_READ = {
    **dict.fromkeys(("custom_bus_subscriber_dlq",), "StartingPosition is POINT_IN_TIME"),
    **dict.fromkeys(
        (
            *("esm_sns_in_sqs", "esm_sqs_age_no_responseContext", "esm_sqs_partial_failure_functionError_null"),
            *("esm_sqs_retries", "pipe_dlq_sqs"),
        ),
        "read shard shardId-00000001763890000000-0a1b2c3d of arn:aws:dynamodb:eu-central-1:123456789012:table/"
        "books-events/stream/2026-11-01T08:00:00.123 again from sequence number 202328600001712385967261751 to "
        "202328600001712385967261752",
    ),
    "export_manifest_files": "is an entry of an export's list of files; read the lines of the file that it names",
    "export_manifest_summary": "is an export's summary; read the data files; manifest-files.json lists them",
    "export_incremental": "is a line of an incremental export; decode_item reads its images",  # its second line
}


@pytest.mark.parametrize("path", sorted((EVENTS / "failures").glob("*.json")), ids=lambda path: str(path.stem))
def test_what_lies_where_events_fail_is_read_or_explained(path: Any) -> None:
    """Each sample of a failure destination, a dead-letter queue, an archive or an export is read or explained."""
    sample = json.loads(path.read_text(encoding="utf-8"))
    found: list[Event | StreamRecord] = []
    errors: list[str] = []
    for document in sample if isinstance(sample, list) else [sample]:
        if "Body" in document:
            messages = parse_events({"Messages": [document]}, on_error="collect")
            errors += [str(each) for each in messages if isinstance(each, DecodeError)]
            found += [each.event for each in messages if isinstance(each, Message)]
            continue
        try:
            found += decode_records(document) if "payload" in document else [parse_event(document)]
        except DecodeError as error:
            errors.append(str(error))
    expected = NOT_READ.get(path.stem)
    assert [expected] * len(errors) == [expected if expected and expected in error else error for error in errors]
    assert bool(errors) == (path.stem in NOT_READ)
    assert bool(found) == (path.stem not in NOT_READ or path.stem == "export_incremental")
    assert {each.type if isinstance(each, Event) else each.event_name for each in found} <= {"BookAdded", "INSERT"}


@pytest.mark.parametrize("payload", [*RECORD_SHAPES.values(), FIREHOSE, *KINESIS_SHAPES.values()])
def test_decode_reads_each_record(payload: Any) -> None:
    """The command's decoder reads the records of each shape."""
    (record,) = decoded(payload)
    assert isinstance(record, StreamRecord)


@pytest.mark.parametrize("payload", EVENT_SHAPES.values())
def test_decode_reads_each_event(payload: Any) -> None:
    """The command's decoder reads the event of each shape, alone and in a message."""
    assert list(decoded(payload)) == list(decoded([sqs(payload)])) == list(decoded(sqs(payload))) == [EVENT]
    assert list(decoded(received(payload)["Messages"][0])) == [EVENT]


def test_decode_reads_records_in_messages() -> None:
    """The command's decoder reads stream records that a pipe sent to a queue; an unreadable message is its error."""
    found = list(decoded([sqs(CHANGED), sqs({"Records": [CHANGED, INSERTED]}), sqs(POINTER), sqs("no JSON"), 5]))
    assert [type(each) for each in found] == [StreamRecord, StreamRecord, Event, *[DecodeError] * 3]
    assert POINTS in str(found[3])


def test_a_group_in_any_mapping_is_known() -> None:
    """A message's attributes and a notification may be any mapping inside a dict."""
    message = {**sqs(BUS_EVENT, arn="arn:aws:sqs:eu-west-1:1:q.fifo"), "attributes": View({"MessageGroupId": "g"})}
    notification = {"Sns": View(sns(BUS_EVENT)["Sns"])}
    found = parse_events({"Records": [message, notification, {**BUS_EVENT, "detail": View(ENVELOPE)}]})
    assert found == [Message(EVENT, "1", "g"), Message(EVENT, "1"), Message(EVENT, "")]
