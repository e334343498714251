"""Scenarios that produce log lines, with a secret in every payload: together they produce all lines."""

from __future__ import annotations

import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ReadTimeoutError

from dynamo_outbox import (
    ChangeProcessor,
    DomainEvent,
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    Inbox,
    InboxTransaction,
    OutboxRelay,
    ParkingQueue,
    ParkingTable,
    Retry,
    TableKeys,
    TransactionalOutbox,
    batch_handler,
    idempotent,
)
from dynamo_outbox.aws import clients
from dynamo_outbox.consuming.idempotency import AtMostOnce
from dynamo_outbox.errors import AlreadyInProgressError, CommitUnknownError, TransactionVoidedError
from dynamo_outbox.events.outbox_item import encode_event

from ..doubles import FakeClock, StubBus, client_error, fake_dynamodb
from .test_messages import sqs
from .test_processors import insertion

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

SECRET = "s3cret-4711"  # stands for a person's data
TIMEOUT = ReadTimeoutError(endpoint_url="http://dynamodb")
TABLES = {"books": ["name"], "events": ["pk", "sk"], "handled": ["pk"], "parking": ["pk", "sk"]}
CONFLICT = {"CancellationReasons": [{"Code": "TransactionConflict"}] * 2}
MANY_CONFLICTS = {"CancellationReasons": [{"Code": "TransactionConflict"}] * 8}


def event(number: int = 1, aggregate: str | None = "a", **more: Any) -> Event:
    """Return an event whose data must not be logged."""
    kind = None if aggregate is None else "Book"
    return Event(
        "Paid",
        {"card": SECRET, "n": number},
        id=f"event {number}",
        source="Books",
        aggregate_type=kind,
        aggregate_id=aggregate,
        **more,
    )


def delivered(paid: Event) -> dict[str, Any]:
    """Return an event as EventBridge delivers it."""
    metadata = {"id": paid.id, "type": paid.type, "version": 1, "time": "2026-11-23T09:30:00.000000Z"}
    if paid.aggregate is not None:
        metadata |= {"aggregateType": paid.aggregate_type, "aggregateId": paid.aggregate_id}
    return {"source": paid.source, "detail-type": paid.type, "detail": {"metadata": metadata, "data": paid.data}}


def record(number: int, aggregate: str = "a", **damage: Any) -> dict[str, Any]:
    """Return the stream record of an outbox item; `damage` replaces some of its attributes."""
    item = encode_event(event(number, aggregate), expires_at=0, keys=TableKeys())
    return insertion(item | damage, str(number), "pk", "sk")


def undecodable(number: int) -> dict[str, Any]:
    """Return a record whose change has no kind."""
    return record(number) | {"eventName": 5}


class World:
    """A fake DynamoDB, a bus, and what uses them."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.dynamodb: FakeDynamoDB = fake_dynamodb(TABLES, self.clock)
        self.outbox = TransactionalOutbox(
            "events", source="Books", client=self.dynamodb, keys={"books": "name"}, clock=self.clock
        )
        self.store = IdempotencyStore("handled", client=self.dynamodb, clock=self.clock)
        self.parking = ParkingTable("parking", client=self.dynamodb, clock=self.clock)

    def publisher(self, bus: Any, attempts: int = 1) -> EventBridgePublisher:
        return EventBridgePublisher("bus", client=bus, retry=Retry(attempts=attempts), clock=self.clock)

    def add_book(self) -> None:
        with self.outbox.transaction() as tx:
            tx.update("books", {"name": SECRET}, set={"card": SECRET})
            tx.emit(event())

    def lose(self, operation: str, times: int = 1, *, after_commit: bool = False) -> None:
        for _ in range(times):
            self.dynamodb.fail_next(operation, TIMEOUT, after_commit=after_commit)

    def handler(self, function: Callable[[Event, InboxTransaction], Any], **options: Any) -> Any:
        return Inbox(self.store).handler(consumer="billing", **options)(function)


def put_book(paid: Event, tx: InboxTransaction) -> None:
    tx.update("books", {"name": "b"}, set={"card": paid.data["card"]})


def fail(*_: Any, **__: Any) -> Any:
    raise ValueError("declined")


def batch(*records: Any) -> dict[str, Any]:
    return {"Records": list(records)}


class Unprocessed:
    """A DynamoDB that leaves the keys of the first look-up unprocessed."""

    def __init__(self, fake: FakeDynamoDB) -> None:
        self._fake = fake
        self._calls = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._fake, name)

    def batch_get_item(self, **request: Any) -> Any:
        self._calls += 1
        if self._calls == 1:
            return {"Responses": {}, "UnprocessedKeys": request["RequestItems"]}
        return self._fake.batch_get_item(**request)


class StubQueue:
    """A queue that takes nothing."""

    def send_message(self, **_: Any) -> Any:
        raise client_error("AccessDenied")

    receive_message = delete_message = send_message


def failed_messages(_: World) -> None:
    fifo = "arn:aws:sqs:eu-west-1:1:books.fifo"
    grouped = [sqs(delivered(event(n)), f"m{n}", "g", arn=fifo) for n in (1, 2, 3)]
    batch_handler(fail)(batch(*grouped, sqs(json.dumps({"card": SECRET}), "m4")), None)


class Charge(DomainEvent, type="Paid"):
    card: int


def failed_models(_: World) -> None:
    batch_handler(lambda paid, _: Charge.from_event(paid))(batch(sqs(delivered(event()), "m1")), None)


def failed_inbox_records(world: World) -> None:
    world.handler(fail)(batch(record(1), record(2), record(3), record(4, "b"), undecodable(5), record(6)))


def failed_inbox_message(world: World) -> None:
    world.handler(fail)(batch(sqs(delivered(event()), "m1")))


def repeated_inbox_events(world: World) -> None:
    handle = world.handler(put_book)
    world.dynamodb.fail_next("transact_write_items", client_error("TransactionCanceledException", **CONFLICT))
    handle(event())
    handle(event())


def lost_inbox_response(world: World) -> None:
    world.lose("transact_write_items", 9)
    with pytest.raises(CommitUnknownError):
        world.handler(put_book, attempts=2)(event())


def stale_inbox_event(world: World) -> None:
    handle = world.handler(put_book, on_stale="skip")
    handle(event(2, sequence=2))
    handle(event(1, sequence=1))


def failed_events(world: World) -> None:
    bus = StubBus({"Paid": "InternalFailure"})
    OutboxRelay(world.publisher(bus))(batch(*[record(n) for n in range(1, 6)], record(6, "b")))


def refused_caller(world: World) -> None:
    bus = StubBus(failing_call=0, error=lambda: client_error("AccessDeniedException"))
    OutboxRelay(world.publisher(bus))(batch(*[record(n, f"a{n}") for n in range(1, 31)]))


def parked_records(world: World) -> None:
    client: Any = Unprocessed(world.dynamodb)
    parking = ParkingTable("parking", client=client, clock=world.clock)
    relay = OutboxRelay(world.publisher(StubBus({"Paid": "MalformedDetail"})), parking=parking)
    world.dynamodb.fail_next("transact_write_items", client_error("TransactionCanceledException", **MANY_CONFLICTS))
    relay(batch(*[record(n) for n in range(1, 6)], record(6, "b", eventData={"S": f'{{"card": "{SECRET}'})))
    relay(batch(record(7), undecodable(8)))


def unparkable_records(world: World) -> None:
    relay = OutboxRelay(world.publisher(StubBus({"Paid": "MalformedDetail"})), parking=world.parking)
    relay(batch(record(1) | {"more": {1, 2}}))
    world.dynamodb.fail_next("transact_write_items", client_error("AccessDeniedException"))
    relay(batch(record(2)))
    queue: Any = StubQueue()
    OutboxRelay(world.publisher(StubBus({"Paid": "MalformedDetail"})), parking=ParkingQueue("https://q", client=queue))(
        batch(record(3))
    )


def unreadable_records(world: World) -> None:
    change = insertion({"name": {"S": "b"}, "card": {"S": SECRET}}, "1", "name")
    later = insertion({"name": {"S": "b"}, "card": {"S": SECRET}}, "2", "name")
    ChangeProcessor(world.publisher(StubBus()), fail)(batch(change, later))
    OutboxRelay(world.publisher(StubBus()))(batch(record(1, outboxFormat={"N": "9"}), record(2), record(3)))
    OutboxRelay(world.publisher(StubBus()))(batch(undecodable(5)))


def retried_entries(world: World) -> None:
    world.publisher(StubBus({"Paid": "ThrottlingException"}, recovers_after=1), attempts=3).publish([event(), event(2)])
    alone = StubBus(failing_call=0, error=lambda: client_error("400", ResponseMetadata={"HTTPStatusCode": 400}))
    world.publisher(alone).publish([event(), event(2)])


def committed_after_a_lost_response(world: World) -> None:
    world.lose("transact_write_items", after_commit=True)
    world.add_book()


def voided_transaction(world: World) -> None:
    world.lose("transact_write_items", 9)
    with pytest.raises(TransactionVoidedError):
        world.add_book()


def unknown_transaction(world: World) -> None:
    world.lose("transact_write_items", 9)
    world.lose("put_item", 9)
    with pytest.raises(CommitUnknownError):
        world.add_book()


def repeated_transaction(world: World) -> None:
    @world.outbox.transactional()
    def add(tx: Any) -> None:
        tx.update("books", {"name": "b"}, set={"card": SECRET})
        tx.emit(event())

    world.dynamodb.fail_next("transact_write_items", client_error("TransactionCanceledException", **CONFLICT))
    add()


def done(_: object) -> bool:
    return True


def decline(_: object) -> None:
    fail()


def duplicate_calls(world: World) -> None:
    for scope, key in (("by-event", None), ("by-card", "detail.data.card")):
        decorate = idempotent(world.store, scope=scope, key=key, wait_for=timedelta(seconds=1))

        held = decorate(done)
        charge = decorate(partial(_meet, held))
        charge(delivered(event()))
        charge(delivered(event()))


def _meet(held: Callable[[object], object], paid: object) -> None:
    with pytest.raises(AlreadyInProgressError):
        held(paid)


def failed_calls(world: World) -> None:
    for key in (None, "detail.data.card"):
        for kind in ("held", "permanent", "late", "released"):
            _fail_call(world, kind, key)


def _fail_call(world: World, kind: str, key: str | None) -> None:
    policy: Any = AtMostOnce() if kind == "held" else "rerun"
    permanent: tuple[Any, ...] = (ValueError,) if kind in ("permanent", "late") else ()

    @idempotent(world.store, scope=kind, key=key, permanent_errors=permanent, on_expired_lease=policy)
    def charge(paid: object) -> None:
        if kind == "late":
            world.clock.advance(timedelta(hours=1))
            idempotent(world.store, scope="late", key=key)(done)(paid)
        if kind in ("permanent", "released"):
            world.dynamodb.fail_next("update_item", client_error("InternalServerError"))
        fail()

    with pytest.raises(ValueError, match="declined"):
        charge(delivered(event()))


def retried_request(world: World) -> None:
    own = pytest.MonkeyPatch()
    own.setattr(clients, "shared_client", {"dynamodb": world.dynamodb}.get)
    world.dynamodb.fail_next("update_item", client_error("ThrottlingException"))
    with own.context():
        idempotent(IdempotencyStore("handled", clock=world.clock), scope="charge")(done)(event())
    own.undo()


SCENARIOS: tuple[Callable[[World], None], ...] = (
    *(
        failed_messages,
        failed_models,
        failed_inbox_records,
        failed_inbox_message,
        repeated_inbox_events,
        lost_inbox_response,
    ),
    *(stale_inbox_event, failed_events, refused_caller, parked_records, unparkable_records, unreadable_records),
    *(retried_entries, committed_after_a_lost_response, voided_transaction, unknown_transaction),
    *(repeated_transaction, duplicate_calls, failed_calls, retried_request),
)
