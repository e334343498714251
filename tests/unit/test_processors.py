"""OutboxRelay and ChangeProcessor: which records become events, and which are reported to Lambda as failed."""

from __future__ import annotations

import json
from base64 import b64encode
from copy import deepcopy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import (
    ChangeProcessor,
    DomainEvent,
    Event,
    EventBridgePublisher,
    OutboxRelay,
    Retry,
    StreamRecord,
    TableKeys,
)
from dynamo_outbox.errors import DecodeError
from dynamo_outbox.events.outbox_item import encode_event

from ..doubles import StubBus

if TYPE_CHECKING:
    from collections.abc import Callable

ALL_WELL: dict[str, Any] = {"batchItemFailures": []}
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


class BookAdded(DomainEvent, aggregate="Book", key="name"):
    name: str


def failed_from(sequence_number: str) -> dict[str, Any]:
    return {"batchItemFailures": [{"itemIdentifier": sequence_number}]}


def insertion(image: dict[str, Any], sequence_number: str, *key: str) -> dict[str, Any]:
    """Return the record that Lambda delivers for an inserted item."""
    change = {
        "ApproximateCreationDateTime": NOON.timestamp(),
        "Keys": {name: image[name] for name in key},
        "NewImage": image,
        "SequenceNumber": sequence_number,
    }
    return {"eventID": f"change {sequence_number}", "eventName": "INSERT", "dynamodb": change}


def outbox_record(event_type: str, sequence_number: str, aggregate: str | None = None, **damage: Any) -> dict[str, Any]:
    """Return the insertion of an outbox item; `damage` replaces some of its attributes."""
    event = Event(
        event_type,
        {},
        id=f"event {sequence_number}",
        time=NOON,
        source="OutboxDemo.Books",
        aggregate_type=None if aggregate is None else "Book",
        aggregate_id=aggregate,
    )
    return insertion(encode_event(event, expires_at=0, keys=TableKeys()) | damage, sequence_number, "pk", "sk")


def book_record(name: str, sequence_number: str) -> dict[str, Any]:
    """Return the insertion of a book."""
    return insertion({"name": {"S": name}}, sequence_number, "name")


def relay_to(bus: StubBus) -> OutboxRelay:
    return OutboxRelay(EventBridgePublisher("books", client=bus, retry=Retry(attempts=1)))


def processor_to(bus: StubBus, changes: Callable[[StreamRecord], Any]) -> ChangeProcessor:
    return ChangeProcessor(
        EventBridgePublisher("books", source="OutboxDemo.Books", client=bus, retry=Retry(attempts=1)), changes
    )


def test_only_the_insertion_of_an_outbox_item_is_an_event(load_event: Callable[[str], dict[str, Any]]) -> None:
    """Of an INSERT, a MODIFY, a REMOVE and a TTL deletion, the relay publishes only the INSERT."""
    bus = StubBus()
    assert relay_to(bus)(load_event("stream_of_events_table"), None) == ALL_WELL
    ((entry,),) = bus.calls
    assert (entry["DetailType"], entry["Source"]) == ("BookAdded", "OutboxDemo.Books")
    assert entry["Time"] == datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=UTC)


def test_an_entity_in_the_same_table_is_no_event() -> None:
    """An inserted item without an outbox format is not published."""
    bus = StubBus()
    assert relay_to(bus)({"Records": [book_record("Team Topologies", "1")]}) == ALL_WELL
    assert bus.calls == []


@pytest.mark.parametrize(
    "damage",
    [
        {"outboxFormat": {"N": "2"}},
        {"eventData": {"S": "[]"}},
        {"eventData": {"S": "{"}},
        {"eventId": {"N": "1"}},
        {"eventTime": {"S": "noon"}},
    ],
)
def test_an_outbox_item_that_cannot_be_read_fails_and_is_not_skipped(damage: dict[str, Any]) -> None:
    """An unreadable outbox item is reported to Lambda; events of other aggregates are published."""
    bus = StubBus()
    records = [outbox_record("A", "1", "a"), outbox_record("B", "2", "b", **damage), outbox_record("C", "3", "c")]
    assert relay_to(bus)({"Records": records}) == failed_from("2")
    assert bus.sent == ["A", "C"]


def test_what_is_wrong_with_an_outbox_item_is_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    """The log has the record's index, its sequence number and the path of the unreadable attribute."""
    records = [outbox_record("A", "1"), outbox_record("B", "2", outboxFormat={"N": "2"})]
    relay_to(StubBus())({"Records": records})
    assert "record 1: dynamodb.NewImage.outboxFormat.N: outbox format '2' is unknown" in caplog.text
    assert "(sequence number 2)" in caplog.text


@pytest.mark.parametrize("damage", [{"outboxFormat": {"N": "2"}}, {"eventData": {"S": "[]"}}])
def test_no_event_overtakes_an_unreadable_one_of_its_aggregate(damage: dict[str, Any]) -> None:
    """An event after an unreadable item of the same aggregate is held back."""
    bus = StubBus()
    records = [outbox_record("A", "1", "a", **damage), outbox_record("B", "2", "a"), outbox_record("C", "3", "c")]
    assert relay_to(bus)({"Records": records}) == failed_from("1")
    assert bus.sent == ["C"]


def test_no_event_overtakes_a_refused_one_of_its_aggregate() -> None:
    """An event after a rejected event of the same aggregate is held back."""
    bus = StubBus({"A": "InternalFailure"})
    records = [outbox_record(name, number, key) for name, number, key in (("A", "1", "a"), ("B", "2", "a"))]
    assert relay_to(bus)({"Records": [*records, outbox_record("C", "3", "c")]}) == failed_from("1")
    assert bus.sent == ["A", "C"]


@pytest.mark.parametrize("last_too", [False, True])
def test_the_lowest_failed_sequence_number_is_reported_as_a_number(*, last_too: bool) -> None:
    """Only the lowest failed sequence number is reported; sequence numbers are compared as numbers."""
    shorter, longer = "9" * 21, "1" + "0" * 21
    bus = StubBus({"A": "InternalFailure"} | ({"B": "InternalFailure"} if last_too else {}))
    records = [outbox_record("B", longer), outbox_record("A", shorter), outbox_record("C", "1" + longer)]
    assert relay_to(bus)({"Records": records}) == failed_from(shorter)


def test_a_record_that_is_none_is_reported() -> None:
    """A malformed record with a readable sequence number is reported, and the others are published."""
    bus = StubBus()
    broken = outbox_record("A", "1") | {"eventID": 1}
    assert relay_to(bus)({"Records": [broken, outbox_record("B", "2")]}) == failed_from("1")
    assert bus.sent == ["B"]


LAMBDAS = {
    "eventVersion": "1.1",
    "eventSource": "aws:dynamodb",
    "awsRegion": "eu-west-1",
    "eventSourceARN": "arn:aws:dynamodb:eu-west-1:123456789012:table/events/stream/2026-11-23T00:00:00.000",
}


@pytest.mark.parametrize("as_pipe", [False, True])
@pytest.mark.parametrize("value", ["absent", None])
@pytest.mark.parametrize(
    "part",
    [
        *("eventID", *LAMBDAS, "dynamodb.ApproximateCreationDateTime", "dynamodb.Keys", "dynamodb.SequenceNumber"),
        *("dynamodb.SizeBytes", "dynamodb.StreamViewType"),
    ],
)
def test_a_record_without_what_is_not_needed_is_published(part: str, value: object, *, as_pipe: bool) -> None:
    """aws-lambda-rust-runtime#889, localstack#2780: a record without an optional member is published like any other."""
    bus = StubBus()
    record = outbox_record("A", "1", "a") | LAMBDAS
    record["dynamodb"] |= {"SizeBytes": 1, "StreamViewType": "NEW_IMAGE"}
    holder: dict[str, Any] = record["dynamodb"] if "." in part else record
    name = part.rpartition(".")[2]
    holder[name] = value
    if value == "absent":
        del holder[name]
    records = [record, outbox_record("B", "2", "a")]
    assert relay_to(bus)(records if as_pipe else {"Records": records}) == ALL_WELL
    assert bus.sent == ["A", "B"]


@pytest.mark.parametrize("part", ["ApproximateCreationDateTime", "Keys"])
def test_a_change_without_a_time_makes_events(part: str) -> None:
    """A ChangeProcessor maps a record without a time or keys; its event has the time of the mapping."""
    bus = StubBus()
    record = book_record("a", "1")
    del record["dynamodb"][part]
    process = processor_to(bus, lambda change: Event("A", {"name": (change.new_image or {})["name"]}))
    assert process({"Records": [record]}) == process({"Records": [record]}) == ALL_WELL
    first, second = (json.loads(entry["Detail"]) for (entry,) in bus.calls)
    assert first["metadata"]["id"] == second["metadata"]["id"]


def test_no_event_overtakes_a_record_that_cannot_be_decoded() -> None:
    """Events after a malformed record of their aggregate are held back, or all if the aggregate is unknown."""
    bus = StubBus()
    broken = outbox_record("A", "1", "a")
    broken["dynamodb"]["ApproximateCreationDateTime"] = "noon"
    rest = [outbox_record("B", "2", "a"), outbox_record("C", "3", "c")]
    assert relay_to(bus)({"Records": [broken, *rest]}) == failed_from("1")
    assert bus.sent == ["C"]
    nobodys = {"dynamodb": {"SequenceNumber": "1"}}
    assert relay_to(bus)({"Records": [nobodys, *rest]}) == failed_from("1")
    assert bus.sent == ["C"]


@pytest.mark.parametrize("record", [{"dynamodb": {}}, "no record"])
def test_a_failed_record_without_a_sequence_number_fails_the_batch(record: Any) -> None:
    """A malformed record without a sequence number makes the whole batch fail."""
    with pytest.raises(DecodeError):
        relay_to(StubBus())({"Records": [record]})


def test_a_failed_event_without_a_sequence_number_fails_the_batch() -> None:
    """A rejected event whose record has no sequence number makes the whole batch fail."""
    record = outbox_record("A", "1")
    del record["dynamodb"]["SequenceNumber"]
    with pytest.raises(DecodeError):
        relay_to(StubBus({"A": "InternalFailure"}))({"Records": [record]})


@pytest.mark.parametrize("payload", [{}, "text", {"Records": None}])
def test_what_is_no_batch_is_refused(payload: Any) -> None:
    """A payload without records raises DecodeError."""
    with pytest.raises(DecodeError):
        relay_to(StubBus())(payload)


def test_a_batch_with_insert_and_remove_publishes_both(load_event: Callable[[str], dict[str, Any]]) -> None:
    """In CDC mode a batch with an INSERT and a REMOVE publishes both events."""

    def to_events(record: StreamRecord) -> Event | None:
        kinds = {"INSERT": "BookAdded", "REMOVE": "BookRemoved"}
        return Event(kinds[record.event_name], record.keys)

    bus = StubBus()
    assert processor_to(bus, to_events)(load_event("stream_of_books_table"), None) == ALL_WELL
    assert bus.sent == ["BookAdded", "BookRemoved"]


def test_removals_by_ttl_reach_the_mapper_marked(load_event: Callable[[str], dict[str, Any]]) -> None:
    """`to_events` gets each change, and TTL deletions are marked."""
    seen: list[tuple[str, bool]] = []
    bus = StubBus()
    processor = processor_to(bus, lambda record: seen.append((record.event_name, record.is_ttl_delete)))
    assert processor(load_event("stream_of_events_table")) == ALL_WELL
    assert seen == [("INSERT", False), ("MODIFY", False), ("REMOVE", False), ("REMOVE", True)]
    assert bus.calls == []


@pytest.mark.parametrize(
    ("mapped", "types"),
    [
        (lambda: None, []),
        (list, []),
        (lambda: Event("A", {}), ["A"]),
        (lambda: BookAdded(name="Team Topologies"), ["BookAdded"]),
        (lambda: [Event("A", {}), BookAdded(name="Team Topologies")], ["A", "BookAdded"]),
        (lambda: iter([BookAdded(name="Team Topologies"), Event("A", {})]), ["BookAdded", "A"]),
    ],
)
def test_a_change_maps_to_nothing_one_or_many(mapped: Callable[[], Any], types: list[str]) -> None:
    """`to_events` may return None, an event, a DomainEvent or an iterable of events."""
    bus = StubBus()
    batch = {"Records": [book_record("Team Topologies", "1")]}
    assert processor_to(bus, lambda _: mapped())(batch) == ALL_WELL
    assert bus.sent == types


def test_an_exception_of_the_mapper_fails_its_record_only(caplog: pytest.LogCaptureFixture) -> None:
    """If `to_events` raises, its record fails, later records of that item are held back, and the error is logged."""
    mapped: list[str] = []

    def to_events(record: StreamRecord) -> Event:
        if record.sequence_number == "2":
            raise ZeroDivisionError
        mapped.append(str(record.sequence_number))
        return Event(f"E{record.sequence_number}", {})

    bus = StubBus()
    records = [book_record(name, number) for name, number in (("a", "1"), ("b", "2"), ("b", "3"), ("c", "4"))]
    assert processor_to(bus, to_events)({"Records": records}) == failed_from("2")
    assert (bus.sent, mapped) == (["E1", "E4"], ["1", "4"])
    assert "stream record 2 of [('name', {'S': 'b'})] (unknown event) makes no event" in caplog.text


def test_events_of_one_item_keep_their_order() -> None:
    """Events without an aggregate are ordered by the item of their record."""
    bus = StubBus({"E1": "InternalFailure"})
    processor = processor_to(bus, lambda record: Event(f"E{record.sequence_number}", {}))
    records = [book_record(name, number) for name, number in (("a", "1"), ("a", "2"), ("b", "3"))]
    assert processor({"Records": records}) == failed_from("1")
    assert bus.sent == ["E1", "E3"]


def published(bus: StubBus) -> list[tuple[str, datetime]]:
    """Return id and time of each sent event."""
    return [(json.loads(entry["Detail"])["metadata"]["id"], entry["Time"]) for call in bus.calls for entry in call]


def test_a_redelivered_change_makes_the_same_events(load_event: Callable[[str], dict[str, Any]]) -> None:
    """Event ids are derived from table, change and position, and the time is that of the change."""

    def to_events(record: StreamRecord) -> list[Event]:
        return [Event("First", record.keys), Event("Second", record.keys)]

    bus, again, elsewhere = StubBus(), StubBus(), StubBus()
    batch = load_event("stream_of_books_table")
    processor_to(bus, to_events)(deepcopy(batch))
    processor_to(again, to_events)(deepcopy(batch))
    assert published(bus) == published(again)
    assert len({event_id for event_id, _ in published(bus)}) == 4
    assert {time.microsecond for _, time in published(bus)} == {250_000, 500_000}
    for record in batch["Records"]:
        record["eventSourceARN"] = record["eventSourceARN"].replace(":table/books/", ":table/magazines/")
    processor_to(elsewhere, to_events)(batch)
    assert not set(published(bus)) & set(published(elsewhere))


def test_the_mappers_own_id_and_time_are_kept() -> None:
    """An id and a time that `to_events` sets are kept."""
    bus = StubBus()
    earlier = datetime(2019, 9, 17, tzinfo=UTC)
    processor_to(bus, lambda _: Event("A", {}, id="own", time=earlier))({"Records": [book_record("a", "1")]})
    assert published(bus) == [("own", earlier)]


def test_a_batch_of_firehose_is_refused_before_anything_is_published() -> None:
    """Firehose expects each record back, so a handler that can't answer it publishes none of its events."""
    bus = StubBus()
    inner = b64encode(json.dumps(outbox_record("A", "1")).encode()).decode()
    with pytest.raises(DecodeError, match="Firehose"):
        relay_to(bus)({"invocationId": "1", "records": [{"recordId": "1", "data": inner}]})
    assert bus.sent == []
