"""Faults of stream records in Powertools for AWS Lambda (3.37) and boto3, and what this library does instead."""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from boto3.dynamodb.conditions import Attr

from dynamo_outbox import (
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    OutboxRelay,
    StreamRecord,
    TransactionalOutbox,
    decode_item,
    decode_record,
    decode_records,
    parse_event,
)
from dynamo_outbox.errors import ConditionFailedError, DecodeError
from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, wire_record

from ..contract.engine import key_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..doubles import FakeClock

BINARY = b"\x89PNG\r\n"
BASE64 = b64encode(BINARY).decode()
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    """A fake DynamoDB with the tables books and events, each with a stream."""
    fake = FakeDynamoDB(clock=clock)
    fake.create_table(TableName="books", **key_schema("name", stream="NEW_AND_OLD_IMAGES"))
    fake.create_table(TableName="events", **key_schema("pk", "sk", stream="NEW_IMAGE"))
    return fake


@pytest.fixture
def bus(clock: FakeClock) -> FakeEventBridge:
    return FakeEventBridge(clock=clock)


def answer_of_get_records(dynamodb: FakeDynamoDB, table: str) -> dict[str, Any]:
    """Return all of a table's changes in boto3's form."""
    streams, arn = FakeDynamoDBStreams(dynamodb), stream_arn(dynamodb, table)
    (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
    start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
    return streams.get_records(ShardIterator=start["ShardIterator"])


def stream_arn(dynamodb: FakeDynamoDB, table: str) -> str:
    arn: str = dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
    return arn


def from_lambda(dynamodb: FakeDynamoDB, table: str) -> dict[str, Any]:
    arn = stream_arn(dynamodb, table)
    return {"Records": [wire_record(record, arn) for record in answer_of_get_records(dynamodb, table)["Records"]]}


def from_a_pipe(dynamodb: FakeDynamoDB, table: str) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = from_lambda(dynamodb, table)["Records"]
    return records


def from_kinesis(dynamodb: FakeDynamoDB, table: str) -> dict[str, Any]:
    envelopes = from_a_pipe_on_kinesis(dynamodb, table)
    return {"Records": [{"eventSource": "aws:kinesis", "eventID": "1", "kinesis": each} for each in envelopes]}


def from_a_pipe_on_kinesis(dynamodb: FakeDynamoDB, table: str) -> list[dict[str, Any]]:
    """Return each change as Kinesis delivers it: in an envelope, in milliseconds, binary in base64 twice."""
    envelopes = []
    for number, record in enumerate(from_a_pipe(dynamodb, table), start=1):
        change = _with_binary_encoded_again(record["dynamodb"])
        change["ApproximateCreationDateTime"] = int(change["ApproximateCreationDateTime"] * 1000)
        del change["SequenceNumber"], change["StreamViewType"]
        inner = {**record, "tableName": table, "recordFormat": "application/json", "dynamodb": change}
        del inner["eventSourceARN"]
        data = b64encode(json.dumps(inner).encode()).decode()
        envelopes.append({"partitionKey": "1", "sequenceNumber": str(number), "data": data})
    return envelopes


def _with_binary_encoded_again(value: Any) -> Any:
    if isinstance(value, list):
        return [_with_binary_encoded_again(member) for member in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"B"}:
        return {"B": b64encode(value["B"].encode()).decode()}
    return {name: _with_binary_encoded_again(member) for name, member in value.items()}


SHAPES = [
    pytest.param(from_lambda, id="Lambda"),
    pytest.param(answer_of_get_records, id="GetRecords"),
    pytest.param(from_a_pipe, id="pipe"),
    pytest.param(from_kinesis, id="Kinesis"),
    pytest.param(from_a_pipe_on_kinesis, id="pipe on Kinesis"),
]


@pytest.mark.parametrize(
    ("typed", "value"),
    [
        ({"B": BASE64}, BINARY),
        ({"BS": [BASE64]}, {BINARY}),
        ({"L": [{"M": {"cover": {"B": BASE64}}}]}, [{"cover": BINARY}]),
        ({"B": BINARY}, BINARY),
    ],
    ids=["binary", "set", "nested", "from boto3"],
)
def test_binary_is_decoded(typed: dict[str, Any], value: Any) -> None:
    """Powertools leaves Lambda's base64 undecoded, boto3 raises TypeError; this library decodes it to bytes."""
    assert decode_item({"cover": typed}) == {"cover": value}


@pytest.mark.parametrize(("typed", "path"), [({"N": ""}, "year.N"), ({"NS": ["1", ""]}, "year.NS[1]")])
def test_an_empty_number_is_an_error(typed: dict[str, Any], path: str) -> None:
    """Powertools reads an empty number as 0; this library raises DecodeError with the path."""
    with pytest.raises(DecodeError) as caught:
        decode_item({"year": typed})
    assert caught.value.path == path


@pytest.mark.parametrize("text", ["abc", "NaN", "Infinity", "1_000", " 1", "1,5", "0x10"])
def test_what_is_no_number_is_an_error(text: str) -> None:
    """boto3 silently reads `abc` as NaN; this library raises DecodeError for a number that DynamoDB never sends."""
    with pytest.raises(DecodeError) as caught:
        decode_item({"year": {"N": text}})
    assert caught.value.path == "year.N"


@pytest.mark.parametrize(("fraction", "microsecond"), [(0.25, 250_000), (0.123, 123_000), (0.0, 0)])
def test_fractions_of_seconds_are_kept(fraction: float, microsecond: int) -> None:
    """Powertools cuts a change's time to whole seconds; this library keeps AWS's precision."""
    change = {"ApproximateCreationDateTime": NOON.timestamp() + fraction, "Keys": {"name": {"S": "a"}}}
    record = decode_record({"eventID": "1", "eventName": "INSERT", "dynamodb": change})
    assert record.time == NOON + timedelta(microseconds=microsecond)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_change_is_the_same_in_every_shape(dynamodb: FakeDynamoDB, shape: Callable[[FakeDynamoDB, str], Any]) -> None:
    """Powertools refuses records from GetRecords, Kinesis and Pipes; this library reads them all alike."""
    dynamodb.put_item(TableName="books", Item={"name": {"S": "a"}, "cover": {"B": BINARY}, "year": {"N": "2019"}})
    dynamodb.delete_item(TableName="books", Key={"name": {"S": "a"}})
    inserted, removed = decode_records(shape(dynamodb, "books"))
    image = {"name": "a", "cover": BINARY, "year": Decimal(2019)}
    assert (inserted.event_name, inserted.keys, inserted.new_image) == ("INSERT", {"name": "a"}, image)
    assert (removed.event_name, removed.keys, removed.old_image) == ("REMOVE", {"name": "a"}, image)
    assert inserted.time == removed.time == dynamodb.clock.now()


@pytest.mark.parametrize("shape", SHAPES)
def test_an_event_is_relayed_from_every_shape(
    dynamodb: FakeDynamoDB, bus: FakeEventBridge, clock: FakeClock, shape: Callable[[FakeDynamoDB, str], Any]
) -> None:
    """Powertools can't process batches from GetRecords or Pipes; the relay publishes from each shape."""
    event = Event("BookAdded", {"name": "a"}, source="Books", time=NOON)
    with TransactionalOutbox("events", client=dynamodb, clock=clock).transaction() as tx:
        tx.emit(event)
    answer = OutboxRelay(EventBridgePublisher("bus", client=bus, clock=clock))(shape(dynamodb, "events"))
    assert (answer, [parse_event(each) for each in bus.events]) == ({"batchItemFailures": []}, [event])


def names(records: Sequence[dict[str, Any]]) -> list[str]:
    return [f"{record['detail']['data']['name']}{record['detail']['data']['version']}" for record in records]


def test_after_a_failure_what_follows_on_its_item_is_left_for_the_redelivery(
    dynamodb: FakeDynamoDB, bus: FakeEventBridge, clock: FakeClock
) -> None:
    """Powertools tries each record after a failure, though all are redelivered.

    This library holds back later records of the failed item, and the other events keep their ids on redelivery.
    """
    mapped: list[str] = []
    is_broken = True

    def changes(record: StreamRecord) -> Event:
        image = record.new_image or {}
        mapped.append(f"{image['name']}{image['version']}")
        if is_broken and mapped[-1] == "a2":
            raise ZeroDivisionError
        return Event("BookChanged", image)

    process = ChangeProcessor(EventBridgePublisher("bus", source="Books", client=bus, clock=clock), changes)
    for name, version in (("a", "1"), ("a", "2"), ("b", "1"), ("a", "3")):
        dynamodb.put_item(TableName="books", Item={"name": {"S": name}, "version": {"N": version}})
    records = from_lambda(dynamodb, "books")["Records"]

    failed = records[1]["dynamodb"]["SequenceNumber"]
    assert process({"Records": records}) == {"batchItemFailures": [{"itemIdentifier": failed}]}
    assert (mapped, names(bus.events)) == (["a1", "a2", "b1"], ["a1", "b1"])

    is_broken = False
    assert process({"Records": records[1:]}) == {"batchItemFailures": []}
    assert names(bus.events) == ["a1", "b1", "a2", "b1", "a3"]
    first, again = (parse_event(each) for each in bus.events if names([each]) == ["b1"])
    assert first == again


def test_transactions_take_python_values(dynamodb: FakeDynamoDB, clock: FakeClock) -> None:
    """boto3's resource has Python values but no transactions; this library's transactions accept Python values."""
    outbox = TransactionalOutbox("events", source="Books", client=dynamodb, keys={"books": "name"}, clock=clock)
    book = {"name": "a", "year": Decimal(2019), "topics": {"teams"}, "cover": BINARY}
    with outbox.transaction() as tx:
        tx.put("books", book, must_not_exist=True)
        tx.emit(Event("BookAdded", {"name": "a"}))
    (item,) = dynamodb.scan(TableName="books")["Items"]
    assert decode_item(item) == book
    with pytest.raises(ConditionFailedError) as caught, outbox.transaction() as tx:
        tx.update("books", {"name": "a"}, set={"year": 2020}, condition=Attr("year").lt(Decimal(2019)))
        tx.emit(Event("BookChanged", {"name": "a"}))
    assert caught.value.item == book
    assert dynamodb.scan(TableName="books")["Items"] == [item]
    assert dynamodb.scan(TableName="events")["Count"] == 1


@pytest.mark.usefixtures("aws_environment")
def test_the_client_of_a_resource_is_refused() -> None:
    """The client of a boto3 resource, which would encode typed values again, is refused by the constructor."""
    client = boto3.resource("dynamodb").meta.client
    with pytest.raises(TypeError, match=r"boto3\.client\('dynamodb'\)"):
        TransactionalOutbox("events", client=client)


@pytest.fixture
def aws_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set the variables that boto3 needs to create a client."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
