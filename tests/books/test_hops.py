"""The hops that the demo and the page read from a stage."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from local.hops import About, HopReader
from local.stage import MODES, Stage


class StubStage:
    """A stage whose contents the test sets."""

    def __init__(self, mode: str) -> None:
        self.mode = MODES[mode]
        self.tables: dict[str, list[dict[str, Any]]] = {"BooksTable": [], "EventsTable": [], "PresentationTable": []}
        self.lines: dict[str, list[str]] = {}
        self.records: list[dict[str, Any]] = []
        self.stack = SimpleNamespace(resources={"ParkingTable": {}})

    def items(self, table: str) -> list[dict[str, Any]]:
        return self.tables[table]

    def stream_records(self) -> list[dict[str, Any]]:
        return self.records

    def printed(self, function: str) -> list[str]:
        return self.lines.get(function, [])


def reader_of(stage: StubStage) -> HopReader:
    times = iter(range(100))
    return HopReader(cast("Stage", stage), now=lambda: next(times))


def test_a_hop_keeps_the_time_at_which_it_was_first_read() -> None:
    """A hop that is read again keeps its time, and a new one comes after it."""
    stage = StubStage("outbox-relay")
    reader = reader_of(stage)
    stage.lines["BookAdded"] = ["A was added!"]
    assert [(hop.text, hop.at) for hop in reader.read("consumer")] == [("BookAdded printed: A was added!", 0)]
    stage.lines["BookAdded"] = ["A was added!", "A was added!"]
    assert [hop.at for hop in reader.read("consumer")] == [0, 1]


def test_a_transaction_shows_both_items() -> None:
    """In outbox mode the hop of the tables has the book's item and the event's, and the event's identity."""
    stage = StubStage("outbox-relay")
    book = {"name": {"S": "A"}, "year": {"N": "2019"}}
    event = {
        "eventId": {"S": "e1"},
        "eventType": {"S": "BookAdded"},
        "aggregateId": {"S": "A"},
        "eventTime": {"S": "2026-01-01T00:00:00.000000Z"},
        "outboxFormat": {"N": "1"},
    }
    stage.tables["BooksTable"], stage.tables["EventsTable"] = [book], [event]
    (hop,) = reader_of(stage).read("tables")
    assert hop.found == {"books": {"put": book}, "events": {"put": event}}
    assert hop.about == About("e1", "BookAdded", "A")


def test_each_change_of_a_book_is_a_hop_in_cdc_mode() -> None:
    """A book that is put, deleted and put again makes three hops, and one that stays makes no more."""
    stage = StubStage("cdc")
    reader = reader_of(stage)
    for shelf in ([{"name": {"S": "A"}}], [{"name": {"S": "A"}}], [], [{"name": {"S": "A"}}]):
        stage.tables["BooksTable"] = shelf
        hops = reader.read("tables")
    assert [hop.about.event_type for hop in hops] == ["BookAdded", "BookRemoved", "BookAdded"]


def test_a_dedup_record_is_a_hop_for_each_status() -> None:
    """A record that is completed after it was in progress makes two hops of the same event; the count makes none."""
    stage = StubStage("cdc")
    reader = reader_of(stage)
    key = {"S": "inbox#BookAdded#OutboxDemo.Books#e1"}
    for status in ("IN_PROGRESS", "COMPLETED"):
        stage.tables["PresentationTable"] = [{"pk": {"S": "presented"}}, {"pk": key, "status": {"S": status}}]
        hops = reader.read("dedup")
    assert [hop.found["status"]["S"] for hop in hops] == ["IN_PROGRESS", "COMPLETED"]
    assert {hop.about for hop in hops} == {About("e1", "BookAdded")}


def test_a_parked_record_belongs_to_its_event() -> None:
    """A parked record has its event from the stream, even if the stream was not read before; its bytes are left out."""
    stage = StubStage("cdc")
    change = {"SequenceNumber": "7", "Keys": {"name": {"S": "A"}}}
    stage.records = [{"eventID": "r1", "eventName": "REMOVE", "dynamodb": change}]
    texts = {"pk": "parked#A", "sk": "7", "sequenceNumber": "7", "orderKey": "A", "reasonCode": "Behind"}
    item: dict[str, Any] = {name: {"S": text} for name, text in {**texts, "reasonMessage": "behind"}.items()}
    stage.tables["ParkingTable"] = [{**item, "record": {"B": b"12345"}}]
    (hop,) = reader_of(stage).read("parking")
    assert hop.about == About(None, "BookRemoved", "A")
    assert hop.found["record"] == {"B": "5 bytes"}
