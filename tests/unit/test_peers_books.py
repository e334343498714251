"""Faults of the demo that the books example follows, and what the example does instead."""

from __future__ import annotations

import importlib
import json
import sys
from typing import TYPE_CHECKING, Any

import boto3
import pytest
import yaml

from dynamo_outbox import parse_event
from dynamo_outbox.pipes import PipeDefinition
from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, PipeRunner, wire_record
from local.packaging import EXAMPLE
from local.stack import _TemplateLoader

from ..contract.engine import key_schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..doubles import FakeClock

VARIABLES = {
    "BOOKS_TABLE": "books",
    "EVENTS_TABLE": "events",
    "PRESENTATION_TABLE": "presentation",
    "EVENT_BUS": "bus",
    "PARKING_TABLE": "parking",
}
BOOK = {"name": "Team Topologies", "authors": ["Matthew Skelton", "Manuel Pais"], "year": 2019}
LINE = "Team Topologies (2019) by Matthew Skelton, Manuel Pais was added!"
ALL_WELL: dict[str, Any] = {"batchItemFailures": []}


class InterruptibleDynamoDB(FakeDynamoDB):
    """A fake that calls the next function of `meanwhile` immediately before each transaction."""

    def __init__(self, *, clock: FakeClock) -> None:
        super().__init__(clock=clock)
        self.meanwhile: list[Callable[[], object]] = []

    def transact_write_items(self, **request: Any) -> dict[str, Any]:
        if self.meanwhile:
            self.meanwhile.pop(0)()
        return super().transact_write_items(**request)


class Books:
    """The example's tables, streams, bus and functions."""

    def __init__(self, clock: FakeClock) -> None:
        self.dynamodb = InterruptibleDynamoDB(clock=clock)
        self.dynamodb.create_table(TableName="books", **key_schema("name", stream="NEW_AND_OLD_IMAGES"))
        self.dynamodb.create_table(TableName="events", **key_schema("pk", "sk", stream="NEW_IMAGE"))
        self.dynamodb.create_table(TableName="presentation", **key_schema("pk"))
        self.dynamodb.create_table(TableName="parking", **key_schema("pk", "sk"))
        self.streams = FakeDynamoDBStreams(self.dynamodb)
        self.bus = FakeEventBridge(clock=clock)
        self.loaded: list[str] = []

    def function(self, module: str) -> Callable[[Any, Any], Any]:
        """Return a function's handler from a fresh import, as in a new process."""
        name = f"books.{module}"
        sys.modules.pop(name, None)
        self.loaded.append(name)
        handler: Callable[[Any, Any], Any] = importlib.import_module(name).handler
        return handler

    def request(self, module: str, body: dict[str, Any]) -> int:
        """Return the status with which a function of the API responds."""
        status: int = self.function(module)({"body": json.dumps(body)}, None)["statusCode"]
        return status

    def stream_arn(self, table: str) -> str:
        arn: str = self.dynamodb.describe_table(TableName=table)["Table"]["LatestStreamArn"]
        return arn

    def records(self, table: str, start: str = "TRIM_HORIZON") -> list[dict[str, Any]]:
        """Return what a reader gets that starts to read a table's stream now, at `start`."""
        arn = self.stream_arn(table)
        (shard,) = self.streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        iterator = self.streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType=start)
        answer = self.streams.get_records(ShardIterator=iterator["ShardIterator"])
        return [wire_record(record, arn) for record in answer["Records"]]

    def told(self) -> list[tuple[str, Any]]:
        """Return type and book of each event on the bus."""
        return [(event["detail-type"], parse_event(event).data["name"]) for event in self.bus.events]


@pytest.fixture
def books(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Books]:
    example = Books(clock)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    clients = {"dynamodb": example.dynamodb, "events": example.bus}
    monkeypatch.setattr(boto3, "client", lambda service, **_: clients[service])
    monkeypatch.setattr("dynamo_outbox.aws.clients.shared_client", clients.__getitem__)
    yield example
    for name in example.loaded:
        sys.modules.pop(name, None)


def template(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.load((EXAMPLE / name).read_text(), _TemplateLoader)  # noqa: S506
    resources: dict[str, Any] = document["Resources"]
    return resources


def the_pipe() -> PipeDefinition:
    properties = template("template.yaml")["EventsPipe"]["Properties"]
    return PipeDefinition.from_parameters(properties["SourceParameters"], properties["TargetParameters"])


@pytest.mark.parametrize("way", ["pipe", "relay", "cdc"])
def test_removing_a_book_is_an_event(books: Books, way: str) -> None:
    """The demo writes no event when a book is removed; the example does, in both modes."""
    mode, table = ("cdc_mode", "books") if way == "cdc" else ("outbox_mode", "events")
    assert books.request(f"{mode}.add_book", BOOK) == 201
    assert books.request(f"{mode}.remove_book", {"name": BOOK["name"]}) == 204
    assert books.request(f"{mode}.remove_book", {"name": BOOK["name"]}) == 404
    if way == "pipe":
        arn = books.stream_arn(table)
        PipeRunner(the_pipe(), stream_arn=arn, bus="bus", streams=books.streams, events=books.bus).poll()
    else:
        relay = books.function("cdc_mode.change_processor" if way == "cdc" else "outbox_mode.outbox_relay")
        assert relay({"Records": books.records(table)}, None) == ALL_WELL
    assert books.told() == [("BookAdded", BOOK["name"]), ("BookRemoved", BOOK["name"])]


def book_added(books: Books) -> dict[str, Any]:
    """Return a delivery of BookAdded."""
    books.request("outbox_mode.add_book", BOOK)
    books.function("outbox_mode.outbox_relay")({"Records": books.records("events")}, None)
    (delivered,) = books.bus.events
    return dict(delivered)


def test_two_deliveries_at_once_present_a_book_once(books: Books, capsys: pytest.CaptureFixture[str]) -> None:
    """The demo deduplicates by read-then-write; the example's effect itself is conditional."""
    delivered = book_added(books)
    present = books.function("consumers.book_added")
    books.dynamodb.meanwhile.append(lambda: present(delivered, None))  # after the first has run, before it commits
    present(delivered, None)
    present(delivered, None)
    assert books.dynamodb.meanwhile == []
    assert capsys.readouterr().out.splitlines().count(LINE) == 1
    (count,) = [item for item in books.dynamodb.scan(TableName="presentation")["Items"] if "books" in item]
    assert count["books"] == {"N": "1"}


def test_a_batch_with_both_keeps_its_removals(books: Books) -> None:
    """The demo drops the REMOVEs of a batch that has INSERTs too; the example publishes each change."""
    for name in "abc":
        books.request("cdc_mode.add_book", {**BOOK, "name": name})
        if name != "b":
            books.request("cdc_mode.remove_book", {"name": name})
    records = books.records("books")
    assert [record["eventName"] for record in records] == ["INSERT", "REMOVE", "INSERT", "INSERT", "REMOVE"]
    assert books.function("cdc_mode.change_processor")({"Records": records}, None) == ALL_WELL
    expected = [("BookAdded", "a"), ("BookRemoved", "a"), ("BookAdded", "b"), ("BookAdded", "c"), ("BookRemoved", "c")]
    assert sorted(books.told()) == sorted(expected)
    for name in "ac":
        assert [told for told in books.told() if told[1] == name] == [told for told in expected if told[1] == name]


@pytest.mark.parametrize("way", ["relay", "cdc"])
def test_an_entry_that_the_bus_refused_is_not_lost(books: Books, way: str) -> None:
    """The demo ignores `FailedEntryCount`; the example parks the failed record and redrives it."""
    mode, table = ("cdc_mode", "books") if way == "cdc" else ("outbox_mode", "events")
    for name in "abc":
        books.request(f"{mode}.add_book", {**BOOK, "name": name})
    records = books.records(table)
    module = "cdc_mode.change_processor" if way == "cdc" else "outbox_mode.outbox_relay"
    process = books.function(module)
    books.bus.fail_next_entry("NotAuthorizedForDetailTypeException")  # a permanent failure, so that nothing is retried
    assert process({"Records": records}, None) == ALL_WELL
    assert [name for _, name in books.told()] == ["b", "c"]
    redriven = sys.modules[f"books.{module}"].redrive({}, None)
    assert redriven == {"sent": 1, "failures": (), "finished": True}
    assert [name for _, name in books.told()] == ["b", "c", "a"]


@pytest.mark.parametrize("calls", [[10], [10, 1], [10, 10, 5]], ids=str)
@pytest.mark.parametrize("way", ["relay", "cdc"])
def test_more_than_ten_changes_are_published(books: Books, way: str, calls: list[int]) -> None:
    """The demo fails with more than 10 changes; the example publishes them in calls of 10."""
    mode, table = ("cdc_mode", "books") if way == "cdc" else ("outbox_mode", "events")
    add = books.function(f"{mode}.add_book")
    names = [f"book {number}" for number in range(sum(calls))]
    for name in names:
        add({"body": json.dumps({**BOOK, "name": name})}, None)
    process = books.function("cdc_mode.change_processor" if way == "cdc" else "outbox_mode.outbox_relay")
    assert process({"Records": books.records(table)}, None) == ALL_WELL
    assert books.told() == [("BookAdded", name) for name in names]
    assert [len(call.request["Entries"]) for call in books.bus.calls] == calls


def starts() -> Iterator[Any]:
    """Return the start position of each stream reader in the templates: the pipe and the functions."""
    for name in ("template.yaml", "template.cdc.yaml"):
        for logical_id, resource in template(name).items():
            properties = resource.get("Properties", {})
            if resource["Type"] == "AWS::Pipes::Pipe":
                stream = properties["SourceParameters"]["DynamoDBStreamParameters"]
                yield pytest.param(stream["StartingPosition"], id=logical_id)
            if "StartingPosition" in properties:
                yield pytest.param(properties["StartingPosition"], id=logical_id)


READERS = list(starts())


@pytest.mark.parametrize("start", READERS)
def test_what_was_written_before_its_reader_began_is_read(books: Books, start: str) -> None:
    """The demo's pipes start at LATEST; the example's readers start with the oldest record."""
    books.request("outbox_mode.add_book", BOOK)
    assert [record["eventName"] for record in books.records("events", start)] == ["INSERT"]


def test_every_reader_of_a_stream_is_asked_where_it_starts() -> None:
    """The test above covers the pipe, the relay and the change processor."""
    assert [reader.id for reader in READERS] == ["EventsPipe", "OutboxRelayStream", "ChangeProcessorStream"]
