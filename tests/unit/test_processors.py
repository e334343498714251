"""The relay and the change processor: what becomes an event, and what Lambda is told to deliver again."""

from __future__ import annotations

import json
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
    """A record as Lambda delivers it for an item that was put."""
    change = {
        "ApproximateCreationDateTime": NOON.timestamp(),
        "Keys": {name: image[name] for name in key},
        "NewImage": image,
        "SequenceNumber": sequence_number,
    }
    return {"eventID": f"change {sequence_number}", "eventName": "INSERT", "dynamodb": change}


def outbox_record(event_type: str, sequence_number: str, aggregate: str | None = None, **damage: Any) -> dict[str, Any]:
    """The insertion of an outbox item; `damage` replaces attributes of it."""
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
    """The insertion of a book."""
    return insertion({"name": {"S": name}}, sequence_number, "name")


def relay_to(bus: StubBus) -> OutboxRelay:
    return OutboxRelay(EventBridgePublisher("books", client=bus, retry=Retry(attempts=1)))


def processor_to(bus: StubBus, changes: Callable[[StreamRecord], Any]) -> ChangeProcessor:
    return ChangeProcessor(
        EventBridgePublisher("books", source="OutboxDemo.Books", client=bus, retry=Retry(attempts=1)), changes
    )


def test_only_the_insertion_of_an_outbox_item_is_an_event(load_event: Callable[[str], dict[str, Any]]) -> None:
    """Of an INSERT, a MODIFY, a REMOVE and a removal by TTL, the relay publishes the INSERT, once."""
    bus = StubBus()
    assert relay_to(bus)(load_event("stream_of_events_table"), None) == ALL_WELL
    ((entry,),) = bus.calls
    assert (entry["DetailType"], entry["Source"]) == ("BookAdded", "OutboxDemo.Books")
    assert entry["Time"] == datetime(2026, 11, 23, 9, 30, 0, 123456, tzinfo=UTC)


def test_an_entity_in_the_same_table_is_no_event() -> None:
    """An inserted item without an outbox format passes unpublished."""
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
    """An unknown format or a broken item is reported to Lambda, while the events of other aggregates go out."""
    bus = StubBus()
    records = [outbox_record("A", "1", "a"), outbox_record("B", "2", "b", **damage), outbox_record("C", "3", "c")]
    assert relay_to(bus)({"Records": records}) == failed_from("2")
    assert bus.sent == ["A", "C"]


def test_what_is_wrong_with_an_outbox_item_is_logged_whole(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the record by index and sequence number, and the part of the item that can't be read."""
    records = [outbox_record("A", "1"), outbox_record("B", "2", outboxFormat={"N": "2"})]
    relay_to(StubBus())({"Records": records})
    assert "record 1: dynamodb.NewImage.outboxFormat.N: outbox format '2' is unknown" in caplog.text
    assert "(sequence number 2)" in caplog.text


@pytest.mark.parametrize("damage", [{"outboxFormat": {"N": "2"}}, {"eventData": {"S": "[]"}}])
def test_no_event_overtakes_an_unreadable_one_of_its_aggregate(damage: dict[str, Any]) -> None:
    """What follows an outbox item that can't be read is held back where it is of the same aggregate."""
    bus = StubBus()
    records = [outbox_record("A", "1", "a", **damage), outbox_record("B", "2", "a"), outbox_record("C", "3", "c")]
    assert relay_to(bus)({"Records": records}) == failed_from("1")
    assert bus.sent == ["C"]


def test_no_event_overtakes_a_refused_one_of_its_aggregate() -> None:
    """What follows an event that the bus refused is held back where it is of the same aggregate."""
    bus = StubBus({"A": "InternalFailure"})
    records = [outbox_record(name, number, key) for name, number, key in (("A", "1", "a"), ("B", "2", "a"))]
    assert relay_to(bus)({"Records": [*records, outbox_record("C", "3", "c")]}) == failed_from("1")
    assert bus.sent == ["A", "C"]


@pytest.mark.parametrize("last_too", [False, True])
def test_the_lowest_failed_sequence_number_is_reported_as_a_number(*, last_too: bool) -> None:
    """A shorter sequence number is lower than a longer one, whatever their digits; only the lowest is reported."""
    shorter, longer = "9" * 21, "1" + "0" * 21
    bus = StubBus({"A": "InternalFailure"} | ({"B": "InternalFailure"} if last_too else {}))
    records = [outbox_record("B", longer), outbox_record("A", shorter), outbox_record("C", "1" + longer)]
    assert relay_to(bus)({"Records": records}) == failed_from(shorter)


def test_a_record_that_is_none_is_reported() -> None:
    """A malformed record whose sequence number can be read fails by it, and the others go out."""
    bus = StubBus()
    broken = outbox_record("A", "1")
    del broken["eventID"]
    assert relay_to(bus)({"Records": [broken, outbox_record("B", "2")]}) == failed_from("1")
    assert bus.sent == ["B"]


def test_no_event_overtakes_a_record_that_cannot_be_decoded() -> None:
    """What follows a malformed record is held back: its aggregate's events, or all where even that can't be told."""
    bus = StubBus()
    broken = outbox_record("A", "1", "a")
    del broken["dynamodb"]["ApproximateCreationDateTime"]
    rest = [outbox_record("B", "2", "a"), outbox_record("C", "3", "c")]
    assert relay_to(bus)({"Records": [broken, *rest]}) == failed_from("1")
    assert bus.sent == ["C"]
    nobodys = {"dynamodb": {"SequenceNumber": "1"}}
    assert relay_to(bus)({"Records": [nobodys, *rest]}) == failed_from("1")
    assert bus.sent == ["C"]


@pytest.mark.parametrize("record", [{"dynamodb": {}}, "no record"])
def test_a_failed_record_without_a_sequence_number_fails_the_batch(record: Any) -> None:
    """What Lambda can't be told by number is raised, so that the whole batch comes again."""
    with pytest.raises(DecodeError):
        relay_to(StubBus())({"Records": [record]})


def test_a_failed_event_without_a_sequence_number_fails_the_batch() -> None:
    """An event that was refused, of a record without a sequence number, is raised too."""
    record = outbox_record("A", "1")
    del record["dynamodb"]["SequenceNumber"]
    with pytest.raises(DecodeError):
        relay_to(StubBus({"A": "InternalFailure"}))({"Records": [record]})


@pytest.mark.parametrize("payload", [{}, "text", {"Records": None}])
def test_what_is_no_batch_is_refused(payload: Any) -> None:
    """A payload without records is a DecodeError, and not a batch that went well."""
    with pytest.raises(DecodeError):
        relay_to(StubBus())(payload)


def test_a_batch_with_insert_and_remove_publishes_both(load_event: Callable[[str], dict[str, Any]]) -> None:
    """In CDC mode a batch of an INSERT and a REMOVE becomes two events: neither is dropped."""

    def to_events(record: StreamRecord) -> Event | None:
        kinds = {"INSERT": "BookAdded", "REMOVE": "BookRemoved"}
        return Event(kinds[record.event_name], record.keys)

    bus = StubBus()
    assert processor_to(bus, to_events)(load_event("stream_of_books_table"), None) == ALL_WELL
    assert bus.sent == ["BookAdded", "BookRemoved"]


def test_removals_by_ttl_reach_the_mapper_marked(load_event: Callable[[str], dict[str, Any]]) -> None:
    """The mapper sees every change, and knows TTL's removals from others."""
    seen: list[tuple[str, bool]] = []
    bus = StubBus()
    processor = processor_to(bus, lambda record: seen.append((record.event_name, record.is_ttl_delete)))
    assert processor(load_event("stream_of_events_table")) == ALL_WELL
    assert seen == [("INSERT", False), ("MODIFY", False), ("REMOVE", False), ("REMOVE", True)]
    assert bus.calls == []


@pytest.mark.parametrize(
    ("mapped", "types"),
    [
        (None, []),
        ([], []),
        (Event("A", {}), ["A"]),
        (BookAdded(name="Team Topologies"), ["BookAdded"]),
        ([Event("A", {}), BookAdded(name="Team Topologies")], ["A", "BookAdded"]),
        (iter([BookAdded(name="Team Topologies"), Event("A", {})]), ["BookAdded", "A"]),
    ],
)
def test_a_change_maps_to_nothing_one_or_many(mapped: Any, types: list[str]) -> None:
    """The mapper's None, event, model or iterable of them is published as it stands."""
    bus = StubBus()
    batch = {"Records": [book_record("Team Topologies", "1")]}
    assert processor_to(bus, lambda _: mapped)(batch) == ALL_WELL
    assert bus.sent == types


def test_an_exception_of_the_mapper_fails_its_record_only(caplog: pytest.LogCaptureFixture) -> None:
    """A mapper that raises fails its record and, of the rest, what follows on the same item; it is logged."""
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
    assert "stream record 2 (change 2) makes no event" in caplog.text


def test_events_of_one_item_keep_their_order() -> None:
    """Without an aggregate, the item is what events keep their order by."""
    bus = StubBus({"E1": "InternalFailure"})
    processor = processor_to(bus, lambda record: Event(f"E{record.sequence_number}", {}))
    records = [book_record(name, number) for name, number in (("a", "1"), ("a", "2"), ("b", "3"))]
    assert processor({"Records": records}) == failed_from("1")
    assert bus.sent == ["E1", "E3"]


def published(bus: StubBus) -> list[tuple[str, datetime]]:
    """Id and time of what was sent."""
    return [(json.loads(entry["Detail"])["metadata"]["id"], entry["Time"]) for call in bus.calls for entry in call]


def test_a_redelivered_change_makes_the_same_events(load_event: Callable[[str], dict[str, Any]]) -> None:
    """Ids derive from the table, the change and the position, and the time is the change's."""

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
    """What the mapper sets is not derived."""
    bus = StubBus()
    earlier = datetime(2019, 9, 17, tzinfo=UTC)
    processor_to(bus, lambda _: Event("A", {}, id="own", time=earlier))({"Records": [book_record("a", "1")]})
    assert published(bus) == [("own", earlier)]
