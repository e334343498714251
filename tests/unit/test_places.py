"""The places from which events are replayed: what is read in each, and what is removed."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dynamo_outbox import ChangeProcessor, Event, EventBridgePublisher, OutboxRelay, ParkingTable, TableKeys
from dynamo_outbox.errors import OutboxError
from dynamo_outbox.events.outbox_item import encode_event
from dynamo_outbox.operations import places
from dynamo_outbox.operations.places import Piece, Place, Reader
from dynamo_outbox.operations.stream_reader import EMPTY_PAGES, parents_first
from dynamo_outbox.testing import FakeDynamoDBStreams

from ..doubles import FakeClock, PagedDynamoDB, StubBus, client_error, fake_dynamodb
from .test_parking import UNREADABLE, Lot, batch
from .test_processors import NOON, outbox_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dynamo_outbox import StreamRecord

    Load = Callable[[str], dict[str, Any]]

KEYS = TableKeys()
LATER = "999"
"""The sequence number of a scripted record that is later than any replay's start."""
STREAM = {"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"}


def outbox_item(name: str, aggregate: str = "a", *, minutes: int = 0, keys: TableKeys = KEYS) -> dict[str, Any]:
    """Return the item of an event, expired, of noon and some minutes."""
    time = NOON + timedelta(minutes=minutes)
    fields: dict[str, Any] = {"aggregate_type": "Book", "aggregate_id": aggregate, "sequence": minutes}
    event = Event(name.partition("-")[0], {}, id=name, time=time, source="Books", **fields)
    return dict(encode_event(event, expires_at=0, keys=keys))


class World:
    """The fakes of the tables and their streams."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.clock.set(NOON)
        tables = {"events": ["pk", "sk"], "shop": ["PK", "SK"], "books": ["name"], "parking": ["pk", "sk"]}
        fake = fake_dynamodb(tables, self.clock, StreamSpecification=STREAM)
        self.dynamodb: Any = PagedDynamoDB(fake)
        self.streams: Any = FakeDynamoDBStreams(fake)
        self.more: dict[str, Any] = {}

    def clients(self, service: str, /) -> Any:
        return {"dynamodb": self.dynamodb, "dynamodbstreams": self.streams, **self.more}[service]

    def put(self, *items: dict[str, Any], table: str = "events") -> None:
        for item in items:
            self.dynamodb.put_item(TableName=table, Item=item)

    def arn(self, table: str = "events") -> str:
        arn: str = self.dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        return arn

    def numbers(self, table: str = "events") -> list[str]:
        """The sequence numbers of a table's stream."""
        arn = self.arn(table)
        shard = self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        start = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
        page = self.streams.get_records(ShardIterator=self.streams.get_shard_iterator(**start)["ShardIterator"])
        return [record["dynamodb"]["SequenceNumber"] for record in page["Records"]]

    def pointer(self, first: int, last: int, table: str = "events") -> dict[str, Any]:
        """Return a failure record that points to records of a table's stream, by their positions."""
        arn, numbers = self.arn(table), self.numbers(table)
        shard = self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
        info = {"streamArn": arn, "shardId": shard, "batchSize": last - first + 1}
        info |= {"startSequenceNumber": numbers[first], "endSequenceNumber": numbers[last]}
        return {"version": "1.0", "DDBStreamBatchInfo": info}


@pytest.fixture
def world() -> World:
    return World()


def drained(place: Place, *, accepts: Callable[[Piece], bool] = lambda piece: not piece.faults) -> list[Piece]:
    """Drain a place; return its pieces in the order in which they were passed."""
    found: list[Piece] = []

    def send(pieces: list[Piece]) -> list[bool]:
        found.extend(pieces)
        return [accepts(piece) for piece in pieces]

    place.drain(send)
    return found


def ids(pieces: list[Piece]) -> list[str]:
    return [event.id for piece in pieces for event, _ in piece.events]


def faults(pieces: list[Piece]) -> list[str]:
    return [fault for piece in pieces for fault in piece.faults]


def since(minutes: int, kind: str | None = None) -> Callable[[Event], bool]:
    return lambda event: event.time >= NOON + timedelta(minutes=minutes) and kind in (None, event.type)


def test_a_table_is_read_in_the_order_of_its_aggregates(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table is scanned in pages by consistent reads. Expired items are events; void markers and others are not."""
    world.put(outbox_item("A-2", minutes=2), outbox_item("A-1", minutes=1), outbox_item("B-1", "b"))
    world.put({"pk": {"S": "Book#c"}, "sk": {"S": "1"}, "voidToken": {"S": "t"}}, {"pk": {"S": "x"}, "sk": {"S": "y"}})
    monkeypatch.setattr(places, "ITEMS", 2)
    place = places.table("events", Reader(world.clients))
    for _ in range(2):  # first for a survey
        assert ids(drained(place)) == ["A-1", "A-2", "B-1"]
    assert all(request["ConsistentRead"] for request in world.dynamodb.requests)
    assert len(world.dynamodb.requests) > 4


@pytest.mark.parametrize(
    ("aggregate", "wants", "expected"),
    [
        ("Book#a", since(0), ["A-1", "B-2"]),
        ("Book#a", since(2), ["B-2"]),
        (None, since(1, "A"), ["A-1", "A-3"]),
        ("Book#none", since(0), []),
    ],
)
def test_a_tables_events_are_chosen(
    world: World, aggregate: str | None, wants: Callable[[Event], bool], expected: list[str]
) -> None:
    """Events are chosen by aggregate, type and time."""
    world.put(outbox_item("A-1", minutes=1), outbox_item("B-2", minutes=2), outbox_item("A-3", "b", minutes=3))
    place = places.table("events", Reader(world.clients, wants=wants), aggregate=aggregate)
    assert ids(drained(place)) == expected


def test_a_table_with_other_keys_is_queried(world: World) -> None:
    """The keys' names are the table's own, and the prefix is given with its name."""
    keys = TableKeys("PK", "SK", prefix="outbox#")
    world.put(outbox_item("A-1", keys=keys), {"PK": {"S": "outbox#Book#a"}, "SK": {"S": "x"}}, table="shop")
    assert ids(drained(places.table("shop:outbox#", Reader(world.clients), aggregate="Book#a"))) == ["A-1"]


def test_an_unreadable_item_is_reported_whatever_is_wanted(world: World) -> None:
    """An item that can't be read is a fault with its key: whether it is wanted is unknown."""
    world.put({**outbox_item("A-1"), "outboxFormat": {"N": "9"}})
    (piece,) = drained(places.table("events", Reader(world.clients, wants=lambda _: False)))
    assert "Book#a" in piece.name
    assert "outbox format '9' is unknown" in piece.faults[0]


def test_a_stream_is_read_from_its_start(world: World) -> None:
    """The insertions of outbox items are events; their changes and removals are not, and other items are faults."""
    world.put(outbox_item("A-1"), outbox_item("B-1", "b"))
    world.put({**outbox_item("A-1"), "more": {"S": "x"}}, {"pk": {"S": "x"}, "sk": {"S": "y"}})
    key = {name: outbox_item("B-1", "b")[name] for name in ("pk", "sk")}
    world.dynamodb.delete_item(TableName="events", Key=key)
    for name in ("events", world.arn()):
        pieces = drained(places.stream(name, Reader(world.clients)))
        assert ids(pieces) == ["A-1", "B-1"]
        assert len(pieces) == 5
        (fault,) = faults(pieces)
        assert "is a change and not an outbox item; name the processor" in fault


def relay(_: World) -> OutboxRelay:
    return OutboxRelay(EventBridgePublisher("books", client=StubBus()))


def processor(_: World) -> ChangeProcessor:
    def to_events(record: StreamRecord) -> Event | None:
        if record.new_image is None:
            raise ValueError("no image")
        return Event("Changed", {"name": record.new_image["name"]})

    return ChangeProcessor(EventBridgePublisher("books", source="Books", client=StubBus()), to_events)


def test_a_relay_ignores_other_items(world: World) -> None:
    """With the relay as processor, a single table's other items are no faults, as in the relay."""
    world.put(outbox_item("A-1"), {"pk": {"S": "x"}, "sk": {"S": "y"}})
    pieces = drained(places.stream("events", Reader(world.clients, relay(world))))
    assert (ids(pieces), faults(pieces)) == (["A-1"], [])


def test_a_change_processor_maps_a_streams_records(world: World) -> None:
    """Changes are mapped with the ids that Lambda's records give them, the publisher's source and the item's order."""
    world.put({"name": {"S": "one"}}, table="books")
    world.dynamodb.delete_item(TableName="books", Key={"name": {"S": "one"}})
    mapping = processor(world)
    first, second = drained(places.stream("books", Reader(world.clients, mapping)))
    ((event, key),) = first.events
    bus = StubBus()
    lambdas = ChangeProcessor(EventBridgePublisher("books", source="Books", client=bus), lambda _: Event("Changed", {}))
    arn = world.arn("books")
    shard = world.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"][0]["ShardId"]
    start = {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}
    raw = world.streams.get_records(ShardIterator=world.streams.get_shard_iterator(**start)["ShardIterator"])["Records"]
    lambdas([{**raw[0], "eventSourceARN": arn}])
    assert event.id == json.loads(bus.calls[0][0]["Detail"])["metadata"]["id"]
    assert (event.source, event.data, key) == ("Books", {"name": "one"}, "[('name', {'S': 'one'})]")
    assert second.faults == ["ValueError: no image"]
    one = Event("Changed", {}, aggregate_type="Book", aggregate_id="1")
    grouped = ChangeProcessor(EventBridgePublisher("books", client=StubBus()), lambda _: one)
    assert drained(places.stream("books", Reader(world.clients, grouped)))[0].events[0][1] == "Book#1"


def test_a_stream_ends_at_the_start_of_the_replay(world: World) -> None:
    """A record that is later than the replay's start ends its shard."""
    world.put(outbox_item("A-1"))
    world.clock.set(NOON + timedelta(days=36_500))
    world.put(outbox_item("B-1", "b"))
    world.clock.set(NOON)
    assert ids(drained(places.stream("events", Reader(world.clients)))) == ["A-1"]


def test_a_table_without_a_stream_is_an_error(world: World) -> None:
    """The error names the table."""
    world.dynamodb.create_table(
        TableName="plain",
        KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
        BillingMode="PAY_PER_REQUEST",
    )
    with pytest.raises(OutboxError, match="table plain has no stream"):
        drained(places.stream("plain", Reader(world.clients)))


class ShardedStreams:
    """A stream of scripted shards: the pages of each one, and the shards' parents."""

    def __init__(
        self, pages: dict[str, list[list[str] | Exception]], parents: dict[str, str], *, is_open: bool
    ) -> None:
        self._pages, self._parents, self._is_open = pages, parents, is_open
        self.calls: list[str] = []

    def describe_stream(self, **request: Any) -> dict[str, Any]:
        """Return a page of one shard."""
        names = list(self._pages)
        at = names.index(request["ExclusiveStartShardId"]) + 1 if "ExclusiveStartShardId" in request else 0
        shard = {"ShardId": names[at], "ParentShardId": self._parents.get(names[at], "gone")}
        last = {"LastEvaluatedShardId": names[at]} if at + 1 < len(names) else {}
        return {"StreamDescription": {"Shards": [shard], **last}}

    def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        self.calls.append(f"{request['ShardId']} {request['ShardIteratorType']} {request.get('SequenceNumber')}")
        return {"ShardIterator": request["ShardId"]}

    def get_records(self, ShardIterator: str) -> dict[str, Any]:  # noqa: N803  # boto3's name
        pages = self._pages[ShardIterator]
        page = pages.pop(0) if pages else []
        if isinstance(page, Exception):
            raise page
        records = [outbox_record("A", number) for number in page]
        for record in records:
            later = timedelta(days=36_500 if record["dynamodb"]["SequenceNumber"] == LATER else 0)
            record["dynamodb"]["ApproximateCreationDateTime"] = NOON + later  # a datetime, as through boto3
        return {"Records": records, **({"NextShardIterator": ShardIterator} if pages or self._is_open else {})}


def test_shards_are_read_after_their_parents(world: World) -> None:
    """All pages of shards are listed; a shard comes after its parent, and empty pages don't end it."""
    pages: dict[str, list[Any]] = {"grandchild": [["3"]], "child": [[], [], ["2"]], "parent": [["1"]]}
    world.streams = ShardedStreams(pages, {"grandchild": "child", "child": "parent"}, is_open=False)
    assert ids(drained(places.stream("arn:1", Reader(world.clients)))) == ["event 1", "event 2", "event 3"]


def test_an_open_shard_ends_after_many_empty_pages(world: World) -> None:
    """A stream doesn't say where an open shard ends: a bounded number of empty pages in a row counts as its end."""
    before: list[Any] = [[] for _ in range(EMPTY_PAGES - 1)]
    world.streams = ShardedStreams({"s": [*before, ["1"], *before, ["2"]]}, {}, is_open=True)
    assert ids(drained(places.stream("arn:1", Reader(world.clients)))) == ["event 1", "event 2"]


def test_nothing_is_read_after_a_later_record(world: World) -> None:
    """A record that is later than the start ends its shard, and the other shards are read."""
    pages: dict[str, list[Any]] = {"s": [["1", LATER], ["2"]], "t": [["3"]]}
    world.streams = ShardedStreams(pages, {}, is_open=True)
    assert ids(drained(places.stream("arn:1", Reader(world.clients)))) == ["event 1", "event 3"]


def test_an_expired_iterator_is_made_again(world: World) -> None:
    """An iterator that expired while events were sent is made again after the last record; another error is raised."""
    expired, trimmed = client_error("ExpiredIteratorException"), client_error("TrimmedDataAccessException")
    world.streams = ShardedStreams({"s": [expired, ["1"], expired, ["2"]]}, {}, is_open=False)
    assert ids(drained(places.stream("arn:1", Reader(world.clients)))) == ["event 1", "event 2"]
    assert world.streams.calls == ["s TRIM_HORIZON None"] * 2 + ["s AFTER_SEQUENCE_NUMBER 1"]
    world.streams = ShardedStreams({"s": [["1"], trimmed]}, {}, is_open=False)
    with pytest.raises(Exception, match="TrimmedDataAccessException"):
        drained(places.stream("arn:1", Reader(world.clients)))


def test_shards_without_known_parents_keep_their_order() -> None:
    """A parent that the stream has forgotten doesn't count."""
    shards = [{"ShardId": "b", "ParentShardId": "gone"}, {"ShardId": "a"}, {"ShardId": "c", "ParentShardId": "a"}]
    assert parents_first(shards) == ["b", "a", "c"]


def test_a_parking_table_is_emptied_in_order() -> None:
    """Each key's records are sent in order and removed; a key stops at its first failure, and the others go on."""
    lot = Lot(StubBus({"A": "MalformedDetail", "B": "MalformedDetail"}))
    lot.relay(batch(outbox_record("A", "1", "a"), outbox_record("C", "2", "a"), outbox_record("B", "3", "b")))
    place = places.parking("parking", Reader(lambda _: lot.dynamodb))
    assert (place.count or int)() == 3
    pieces = drained(place, accepts=lambda piece: "event 1" not in ids([piece]) and "event 2" not in ids([piece]))
    assert sorted(ids(pieces)) == ["event 1", "event 2", "event 3"]
    assert lot.heads == {"Book#a": 2}
    assert {key for piece in pieces for _, key in piece.events} == {"Book#a", "Book#b"}
    drained(place)
    assert lot.items == []


def test_a_parked_record_needs_its_own_processor() -> None:
    """What a ChangeProcessor parked is not read without one, and stays; so does a record of an unknown format."""
    lot = Lot()
    lot.processor(lambda _: 1 / 0)(batch(outbox_record("A", "1", "a")))
    OutboxRelay(lot.publisher, parking=lot.parking)(batch(outbox_record("B", "2", "b", **UNREADABLE)))
    newer = next(item for item in lot.items if item.get("sequenceNumber") == {"S": "2"})
    lot.dynamodb.put_item(TableName="parking", Item={**newer, "parkedFormat": {"N": "9"}})
    before = lot.items
    first, second = sorted(faults(drained(places.parking("parking", Reader(lambda _: lot.dynamodb)))))
    assert first == "a ChangeProcessor parked it, and a OutboxRelay would read it otherwise"
    assert "is parked in format 9" in second
    assert lot.items == before
    mapping = ChangeProcessor(lot.publisher, lambda _: Event("Changed", {}, aggregate_type="Book", aggregate_id="1"))
    pieces = drained(places.parking("parking", Reader(lambda _: lot.dynamodb, mapping)))
    assert [key for piece in pieces for _, key in piece.events] == [pieces[0].name.rpartition(" ")[0]]
    assert [len(piece.events) for piece in pieces] == [1, 0]
    assert ParkingTable("parking", client=lot.dynamodb).waiting(["Book#b"]) == {"Book#b"}


SAMPLES = {
    "async_destination_sqs": 1,
    "lambda_dlq_sqs": 1,
    "rule_dlq_sqs": 1,
    "rule_dlq_no_permission": 1,
    "esm_sqs_retries": "the stream no longer has these records",
    "esm_sqs_age_no_responseContext": "the stream no longer has these records",
    "esm_sqs_partial_failure_functionError_null": "batchSize 2",
    "esm_sns_in_sqs": "approximateArrivalOfFirstRecord 2026-11-23T09:30:00Z",
    "pipe_dlq_sqs": "shardId shardId-00000001763890000000-0a1b2c3d",
    "custom_bus_subscriber_dlq": "read the events again with a subscriber",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_message_is_read(world: World, load_event: Load, name: str) -> None:
    """Each sample of a failure queue's message is its event, or a fault that says where the event is."""
    message, expected = load_event(f"failures/{name}"), SAMPLES[name]
    piece = Reader(world.clients).document("m", message["Body"], message)
    if isinstance(expected, int):
        assert (ids([piece]), piece.faults) == (["01a207bd-aa3b-774b-9ac1-f03e77d21b91"], [])
    else:
        assert piece.events == []
        assert str(expected) in piece.faults[0]


@pytest.mark.parametrize("name", ["esm_s3_payload_text", "esm_s3_payload_object"])
def test_each_object_is_read(world: World, load_event: Load, name: str) -> None:
    """An object of a failure destination has its batch as text or as an object."""
    piece = Reader(world.clients).document("key", json.dumps(load_event(f"failures/{name}")))
    assert (len(piece.events), piece.faults) == (2, [])


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("no JSON", "JSONDecodeError"),
        ("[" * 100_000, "RecursionError"),
        (b"\xff", "UnicodeDecodeError"),
        ("7", "DecodeError"),
        ("{}", "DecodeError"),
        ('{"Type": "Notification"}', "KeyError"),
        ('{"Type": "Notification", "Message": 5}', "TypeError"),
        ('{"parkedFormat": 1}', "ParkingError"),
        ('{"DDBStreamBatchInfo": 5}', "TypeError"),
        ('{"DDBStreamBatchInfo": {"streamArn": "a", "shardId": "s", "startSequenceNumber": "x"}}', "KeyError"),
        ('{"KinesisBatchInfo": {}}', "DecodeError"),
        ('{"DDBStreamBatchInfo": {}, "payload": "no JSON"}', "DecodeError"),
    ],
)
def test_what_is_not_readable_is_a_fault(world: World, text: str | bytes, problem: str) -> None:
    """Any other content is a fault of its message or object, never an error of the replay."""
    (fault,) = Reader(world.clients).document("m", text).faults
    assert fault.startswith(problem)


def test_a_pointer_is_resolved_while_the_stream_has_the_records(world: World) -> None:
    """A pointer is exactly the records of its range; a part that the stream lost, or can't reach, makes it a fault."""
    world.put(*(outbox_item(f"A-{number}", minutes=number) for number in range(5)))
    reader = Reader(world.clients)
    pointer = world.pointer(1, 3)
    assert ids([reader.document("m", json.dumps(pointer))]) == ["A-1", "A-2", "A-3"]
    topic = {"Type": "Notification", "Message": json.dumps(pointer)}
    assert ids([reader.document("m", json.dumps(topic))]) == ["A-1", "A-2", "A-3"]
    pointer["DDBStreamBatchInfo"]["endSequenceNumber"] += "0"
    assert "no longer has" in reader.document("m", json.dumps(pointer)).faults[0]
    pointer = world.pointer(1, 3)
    world.clock.advance(timedelta(hours=25))
    assert "no longer has" in reader.document("m", json.dumps(pointer)).faults[0]


def test_a_pointers_changes_need_the_processor(world: World) -> None:
    """In CDC mode a pointer's records are mapped by the processor; without it they are faults."""
    world.put({"name": {"S": "one"}}, {"name": {"S": "two"}}, table="books")
    text = json.dumps(world.pointer(0, 1, "books"))
    assert len(Reader(world.clients).document("m", text).faults) == 2
    piece = Reader(world.clients, processor(world)).document("m", text)
    assert [event.data["name"] for event, _ in piece.events] == ["one", "two"]


def test_a_missing_permission_is_not_a_fault_of_the_message(world: World) -> None:
    """If the stream can't be read for another reason, the replay ends with AWS's error."""
    world.put(outbox_item("A-1"))
    text = json.dumps(world.pointer(0, 0))
    world.streams.fail_next("get_shard_iterator", "AccessDeniedException")
    with pytest.raises(Exception, match="AccessDeniedException"):
        Reader(world.clients).document("m", text)


@pytest.fixture
def aws(world: World, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """Add a queue and a bucket in memory."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setattr(places, "POLL_SECONDS", 0)
    with mock_aws():
        world.more = {name: boto3.client(name, region_name="us-east-1") for name in ("sqs", "s3")}
        world.more["s3"].create_bucket(Bucket="failures")
        world.more["sqs"].create_queue(QueueName="dead")
        yield world


def message_counts(world: World) -> list[int]:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    told = world.more["sqs"].get_queue_attributes(QueueUrl=queue_url(world), AttributeNames=names)["Attributes"]
    return [int(told[name]) for name in names]


def queue_url(world: World) -> str:
    url: str = world.more["sqs"].get_queue_url(QueueName="dead")["QueueUrl"]
    return url


@pytest.mark.parametrize("name", ["dead", "arn:aws:sqs:us-east-1:123456789012:dead", "url"])
def test_a_queue_is_emptied_of_what_was_sent(aws: World, name: str) -> None:
    """Each message is read once; one that was accepted is deleted, and the others are visible again at the end."""
    for number in range(25):
        body = "no JSON" if number % 10 == 0 else json.dumps(outbox_item(f"A-{number}"))
        aws.more["sqs"].send_message(QueueUrl=queue_url(aws), MessageBody=body)
    place = places.queue(queue_url(aws) if name == "url" else name, Reader(aws.clients))
    assert (place.count or int)() == 25
    pieces = drained(place)
    assert sorted(ids(pieces)) == sorted(f"A-{number}" for number in range(25) if number % 10)
    assert (len(faults(pieces)), message_counts(aws)) == (3, [3, 0])


def test_a_queues_messages_are_given_back_if_the_replay_ends(aws: World) -> None:
    """If sending raises, the messages received are visible at once."""
    aws.more["sqs"].send_message(QueueUrl=queue_url(aws), MessageBody=json.dumps(outbox_item("A-1")))

    def send(_: list[Piece]) -> list[bool]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        places.queue("dead", Reader(aws.clients)).drain(send)
    assert message_counts(aws) == [1, 0]


def test_a_parking_queues_messages_are_read(aws: World) -> None:
    """What a ParkingQueue stored is read with the parked record's order key."""
    from dynamo_outbox import ParkingQueue

    parking = ParkingQueue(queue_url(aws), client=aws.more["sqs"])
    bus = StubBus({"A": "MalformedDetail"})
    OutboxRelay(EventBridgePublisher("books", client=bus), parking=parking)(batch(outbox_record("A", "1", "a")))
    (piece,) = drained(places.queue("dead", Reader(aws.clients)))
    assert [(event.id, key) for event, key in piece.events] == [("event 1", "Book#a")]
    assert message_counts(aws) == [0, 0]


@pytest.mark.parametrize("delete", [True, False])
def test_a_buckets_objects_are_read_in_the_order_of_their_records(
    aws: World, load_event: Load, *, delete: bool
) -> None:
    """A shard's objects are read by sequence number; only with `delete`, an object that was accepted is deleted."""
    sample = load_event("failures/esm_s3_payload_object")
    for name, start in (("lambda/z", "99"), ("lambda/a", "1000"), ("lambda/m", "100000")):
        info = {**sample["DDBStreamBatchInfo"], "startSequenceNumber": start}
        aws.more["s3"].put_object(Bucket="failures", Key=name, Body=json.dumps({**sample, "DDBStreamBatchInfo": info}))
    aws.more["s3"].put_object(Bucket="failures", Key="lambda/broken", Body=b"no JSON")
    aws.more["s3"].put_object(Bucket="failures", Key="other/1", Body=b"no JSON")
    pieces = drained(places.bucket("s3://failures/lambda", Reader(aws.clients), delete=delete))
    assert [piece.name for piece in pieces] == ["lambda/broken", "lambda/z", "lambda/a", "lambda/m"]
    left = [each["Key"] for each in aws.more["s3"].list_objects_v2(Bucket="failures")["Contents"]]
    assert left == (
        ["lambda/broken", "other/1"] if delete else ["lambda/a", "lambda/broken", "lambda/m", "lambda/z", "other/1"]
    )
