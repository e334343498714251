"""The library on every engine: its requests have the same effect as on AWS."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Attr

from dynamo_outbox import (
    Condition,
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    OutboxRelay,
    ParkingTable,
    TransactionalOutbox,
    idempotent,
)
from dynamo_outbox.errors import AlreadyInProgressError, ConditionFailedError, LeaseLostError, PayloadMismatchError
from dynamo_outbox.testing import wire_record

from ..doubles import FakeClock, StubBus
from ..unit.test_processors import NOON, outbox_record

if TYPE_CHECKING:
    from .engine import Engine

LEASE, MARGIN = timedelta(minutes=1), timedelta(seconds=1)
BOOK = {"pk": "Team Topologies", "authors": ["Skelton", "Pais"], "year": 2019}
ADDED = Event("BookAdded", {"name": "Team Topologies"}, aggregate_type="Book", aggregate_id="Team Topologies")


class Tables:
    """A books table, and an outbox with its events table, on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.books = engine.table()
        self.events = engine.table("pk", "sk", stream="NEW_IMAGE")
        self.outbox = TransactionalOutbox(self.events, source="Contract", client=engine.dynamodb, clock=FakeClock())

    def counts(self) -> tuple[int, int]:
        """Return the number of books and the number of events."""
        books, events = (self.engine.dynamodb.scan(TableName=table)["Count"] for table in (self.books, self.events))
        return books, events

    def add(self, item: dict[str, Any], event: Event = ADDED) -> None:
        with self.outbox.transaction() as tx:
            tx.put(self.books, item, must_not_exist=True, label="book")
            tx.emit(event)


def test_entity_and_event_are_written_together(engine: Engine) -> None:
    """One transaction writes the book and its event."""
    tables = Tables(engine)
    tables.add(BOOK)
    engine.holds(tables.counts(), (1, 1))


def test_a_second_book_of_one_name_is_refused_with_the_first(engine: Engine) -> None:
    """If the book already exists, no book and no event are written; the error has the label and the old item."""
    tables = Tables(engine)
    tables.add(BOOK)
    with pytest.raises(ConditionFailedError) as caught:
        tables.add({**BOOK, "year": 2025}, Event("BookAdded", {"name": "again"}))
    engine.holds((caught.value.label, caught.value.item, tables.counts()), ("book", BOOK, (1, 1)))


def test_an_exception_in_the_block_writes_nothing(engine: Engine) -> None:
    """If the block raises, nothing is sent."""
    tables = Tables(engine)

    def fail() -> None:
        with tables.outbox.transaction() as tx:
            tx.put(tables.books, BOOK)
            tx.emit(ADDED)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    engine.holds(tables.counts(), (0, 0))


def test_update_delete_and_check_mean_what_they_say(engine: Engine) -> None:
    """An update with every clause, a conditional delete and a check commit together."""
    tables = Tables(engine)
    for name in ("a", "b", "c"):
        engine.dynamodb.put_item(TableName=tables.books, Item={"pk": {"S": name}, "n": {"N": "1"}, "old": {"S": "x"}})
    with tables.outbox.transaction() as tx:
        tx.update(
            tables.books,
            {"pk": "a"},
            set={"title": "new", "data": {"status": "reserved words are fine"}},
            add={"n": 2},
            remove=["old"],
            condition=Attr("pk").exists() & Attr("n").eq(1),
        )
        tx.delete(tables.books, {"pk": "b"}, condition="must_exist")
        tx.check(tables.books, {"pk": "c"}, condition=Condition("#o = :o", {"#o": "old"}, {":o": "x"}))
        tx.emit(ADDED)
    truth = {
        "pk": {"S": "a"},
        "title": {"S": "new"},
        "data": {"M": {"status": {"S": "reserved words are fine"}}},
        "n": {"N": "3"},
    }
    engine.holds((engine.item(tables.books), tables.counts()), (truth, (2, 1)))


@pytest.mark.parametrize(
    "condition",
    [
        pytest.param(Attr("locked").not_exists(), id="one"),
        pytest.param(Attr("locked").not_exists() & Attr("n").not_exists(), id="and"),
        pytest.param(Attr("locked").not_exists() | Attr("n").eq(1), id="or"),
        pytest.param(~Attr("locked").exists(), id="not"),
        pytest.param(Attr("locked").not_exists() & (Attr("n").eq(1) | Attr("n").not_exists()), id="nested"),
    ],
)
def test_a_condition_of_boto3_beside_the_librarys_own(engine: Engine, condition: Any) -> None:
    """`must_not_exist` can be combined with any condition from boto3's Attr, without redundant parentheses."""
    tables = Tables(engine)
    with tables.outbox.transaction() as tx:
        tx.put(tables.books, BOOK, must_not_exist=True, condition=condition)
    engine.holds(tables.counts(), (1, 0))


def test_what_the_stream_tells_is_the_event(engine: Engine) -> None:
    """The relay publishes the transaction's event from the stream to a bus."""
    table = engine.table(stream="NEW_IMAGE")
    outbox = TransactionalOutbox(table, source="Contract", client=engine.dynamodb, clock=FakeClock())
    with outbox.transaction() as tx:
        tx.emit(ADDED)
    bus = StubBus()
    relay = OutboxRelay(EventBridgePublisher("bus", client=bus))
    arn = engine.stream_arn(table)
    answer = relay({"Records": [wire_record(record, arn) for record in engine.records(table)]})
    engine.holds((answer, bus.sent), ({"batchItemFailures": []}, ["BookAdded"]))


def test_what_is_parked_is_counted_and_sent_in_order(engine: Engine, clock: FakeClock) -> None:
    """A rejected event and its successors are parked once, even if redelivered; a redrive leaves nothing parked."""
    table = engine.table("pk", "sk")
    parking = ParkingTable(table, client=engine.dynamodb, clock=clock)
    clock.set(NOON)
    bus = StubBus({"E1": "MalformedDetail"})
    relay = OutboxRelay(EventBridgePublisher("bus", client=bus), parking=parking)
    batch = {"Records": [outbox_record(f"E{number}", str(number), "a") for number in (1, 2, 10)]}
    answers = [relay(batch), relay(batch)]
    waiting = parking.waiting(["Book#a", "Book#b"])
    bus._refused = {}
    result = parking.redrive(relay)
    left = engine.dynamodb.scan(TableName=table)["Count"]
    observed = (answers, waiting, result.sent, result.finished, bus.sent[-3:], left)
    engine.holds(observed, ([{"batchItemFailures": []}] * 2, {"Book#a"}, 3, True, ["E1", "E2", "E10"], 0))


def store(engine: Engine, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore(engine.table(), client=engine.dynamodb, lease=LEASE, clock_margin=MARGIN, clock=clock)


def test_a_duplicate_gets_the_first_calls_result(engine: Engine, clock: FakeClock) -> None:
    """The function runs once, and a duplicate call gets its result."""
    calls = []

    @idempotent(store(engine, clock), scope="handle")
    def handle(event: Event) -> dict[str, int]:
        calls.append(event)
        return {"shelf": 7}

    observed = [handle(ADDED), handle(ADDED)]
    engine.holds((observed, len(calls)), ([{"shelf": 7}, {"shelf": 7}], 1))


def test_a_failed_call_gives_its_key_back(engine: Engine, clock: FakeClock) -> None:
    """After an exception, the next call runs the function again."""
    outcomes = iter([ZeroDivisionError(), "done"])

    @idempotent(store(engine, clock), scope="handle")
    def handle(_: Event) -> str:
        result = next(outcomes)
        if isinstance(result, Exception):
            raise result
        return str(result)

    with pytest.raises(ZeroDivisionError):
        handle(ADDED)
    engine.holds(handle(ADDED), "done")


@pytest.mark.parametrize("fails", [False, True])
def test_a_late_holder_changes_nothing(engine: Engine, clock: FakeClock, *, fails: bool) -> None:
    """A call whose lease was taken over can neither complete nor release the successor's claim."""
    handled = store(engine, clock)

    @idempotent(handled, scope="one")
    def successor(_: Event) -> str:
        return "successor's"

    @idempotent(handled, scope="one")
    def late(event: Event) -> str:
        with pytest.raises(AlreadyInProgressError):
            successor(event)
        clock.advance(LEASE + MARGIN)
        assert successor(event) == "successor's"
        if fails:
            raise ZeroDivisionError
        return "late"

    with pytest.raises(ZeroDivisionError if fails else LeaseLostError):
        late(ADDED)
    engine.holds(successor(ADDED), "successor's")


def test_one_key_with_another_payload_is_refused(engine: Engine, clock: FakeClock) -> None:
    """A key that was used with another payload is refused, and the function does not run."""
    calls = []

    @idempotent(store(engine, clock), scope="handle", key="id")
    def handle(payload: dict[str, Any]) -> None:
        calls.append(payload)

    handle({"id": "1", "amount": 5})
    with pytest.raises(PayloadMismatchError):
        handle({"id": "1", "amount": 6})
    engine.holds(len(calls), 1)
