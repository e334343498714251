"""The writer: its clients, transactions, decorated functions and one-call methods."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type

import boto3
from boto3.dynamodb.conditions import Attr

from dynamo_outbox import Clock, Condition, DomainEvent, Event, Retry, TableKeys, TransactionalOutbox, Version
from dynamo_outbox.errors import TransactionVoidedError
from dynamo_outbox.writing.transaction import Transaction, TransactionResult

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb import DynamoDBClient, DynamoDBServiceResource
    from mypy_boto3_events import EventBridgeClient

    from dynamo_outbox.errors import CommitUnknownError
    from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams


class BookAdded(DomainEvent, aggregate="Book", key="name"):
    name: str


def made(keys: dict[str, str], both: dict[str, str | Sequence[str]]) -> None:
    assert_type(TransactionalOutbox("events"), TransactionalOutbox)
    TransactionalOutbox(
        table="events",
        source="books",
        client=None,
        ttl=timedelta(days=7),
        keys={"books": "name", "lines": ("order", "line")},
        table_keys=TableKeys(partition_key="pk", sort_key="sk", prefix="events#", ttl_attribute="expiresAt"),
        retry=Retry(attempts=4, timeout=timedelta(seconds=5)),
        clock=Clock(),
    )
    TransactionalOutbox("events", source=None, keys=None)
    TransactionalOutbox("events", keys=keys)
    TransactionalOutbox("events", keys=both)


def clients(stubbed: DynamoDBClient, fake: FakeDynamoDB, unknown: Any) -> None:
    TransactionalOutbox("events", client=stubbed)
    TransactionalOutbox("events", client=fake)
    TransactionalOutbox("events", client=unknown)
    # boto3's stubs have unknown types for services whose stubs are not installed.
    TransactionalOutbox("events", client=boto3.client("dynamodb"))  # pyright: ignore[reportUnknownMemberType]


def refused_clients(events: EventBridgeClient, resource: DynamoDBServiceResource, streams: FakeDynamoDBStreams) -> None:
    # An EventBridge client can't write items.
    TransactionalOutbox("events", client=events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A resource is not a low-level client.
    TransactionalOutbox("events", client=resource)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The fake streams client can't write.
    TransactionalOutbox("events", client=streams)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refused_options() -> None:
    # The table is required.
    TransactionalOutbox()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # All arguments except the table are keyword arguments.
    TransactionalOutbox("events", "books")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A duration is not a plain number.
    TransactionalOutbox("events", ttl=604800)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A clock is an object that can also sleep, not a function.
    TransactionalOutbox("events", clock=time.time)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # Attempts and timeout are one Retry.
    TransactionalOutbox("events", retry=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Retry(timeout=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The names of the table's keys are one TableKeys.
    TransactionalOutbox("events", table_keys="pk")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    TableKeys(sort_key=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A key's name is text.
    TransactionalOutbox("events", keys={"books": 1})  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]


def transactions(outbox: TransactionalOutbox, event: Event, model: BookAdded) -> None:
    assert_type(outbox.transaction(), Transaction)
    with outbox.transaction() as tx:
        assert_type(tx, Transaction)
        assert_type(tx.emit(event), Event)
        assert_type(tx.emit(model), Event)
        tx.emit(event, sequence=1, correlation_id="c", causation_id="d", label="added")
        tx.emit(event, sequence=None, correlation_id=None, causation_id=None, label=None)
    assert_type(tx.result, TransactionResult)
    assert_type(tx.result.events, tuple[Event, ...])


def actions(tx: Transaction) -> None:
    tx.put("books", {"name": "Team Topologies"}, must_not_exist=True, label="book")
    tx.put("books", {"name": "Team Topologies"}, condition=Attr("year").lt(2019) & Attr("name").exists())
    tx.put("books", {}, condition=Condition("#y < :y", {"#y": "year"}, {":y": 2019}))
    tx.put("books", {}, version=Version("version", expected=0))
    tx.put(table="books", item={}, condition=None, version=None, label=None)
    tx.update("books", {"name": "x"}, set={"year": 2019}, add={"read": 1, "tags": {"teams"}}, remove="draft")
    tx.update(
        "books", {"name": "x"}, remove=["draft", "note"], condition="must_exist", version=Version("version", expected=3)
    )
    tx.update(table="books", key={"name": "x"}, set=None, add=None, remove=(), condition=Attr("year").eq(2019))
    tx.delete("books", {"name": "x"}, condition="must_exist", version=Version("version", expected=3), label="gone")
    tx.delete(table="books", key={"name": "x"}, condition=Condition("#y = :y", {"#y": "year"}, {":y": 2019}))
    tx.check("shelves", {"id": 1}, condition=Attr("free").gt(0))
    tx.check(table="shelves", key={"id": 1}, condition=Condition("#f > :n", {"#f": "free"}, {":n": 0}), label="room")
    tx.add({"Put": {"TableName": "books", "Item": {"name": {"S": "x"}}}}, label="as it is")


def reads(tx: Transaction, key: dict[str, str]) -> None:
    assert_type(tx.get("books", key, version="version"), dict[str, Any] | None)
    assert_type(tx.get(table="books", key={"name": "x"}, version="version"), dict[str, Any] | None)
    # version is a required keyword argument: the attribute's name.
    tx.get("books", key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tx.get("books", key, "version")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    tx.get("books", key, version=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The item can be None.
    tx.get("books", key, version="version")["name"]  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]


def refused_actions(tx: Transaction, key: dict[str, Any]) -> None:
    # A check requires a condition.
    tx.check("shelves", key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A condition is an expression, not a bool.
    tx.put("books", {}, condition=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # Plain text is not a condition, except for "must_exist".
    tx.put("books", {}, condition="attribute_exists(year)")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    tx.put("books", {}, condition="must_exist")
    # A delete has no set argument.
    tx.delete("books", key, set={"year": 1})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # set is a mapping of attributes.
    tx.update("books", key, set=["year"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A version is an attribute's name or a Version.
    tx.update("books", key, version=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # An event must be an Event or a DomainEvent.
    tx.emit({"type": "BookAdded"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The result can't be set.
    tx.result = TransactionResult(())  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]
    # A result is immutable.
    tx.result.events = ()  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


async def refused_awaiting(outbox: TransactionalOutbox) -> None:
    # A transaction is not an async context manager, because boto3 is not async.
    async with outbox.transaction():  # type: ignore[attr-defined]  # pyright: ignore[reportGeneralTypeIssues]
        pass


def decorated(outbox: TransactionalOutbox) -> None:
    @outbox.transactional()
    def add_book(tx: Transaction, name: str, year: int = 2019, *, shelf: str | None = None) -> Event:
        tx.put("books", {"name": name, "year": year, "shelf": shelf})
        return tx.emit(Event("BookAdded", {"name": name}))

    assert_type(add_book("Team Topologies"), Event)
    assert_type(add_book("Team Topologies", 2019, shelf="A1"), Event)
    assert_type(add_book(name="Team Topologies", year=2019), Event)
    # The caller does not pass the transaction.
    with outbox.transaction() as tx:
        add_book(tx, "Team Topologies")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The other parameters are unchanged.
    add_book()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    add_book(2019)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add_book("Team Topologies", shelf=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    add_book("Team Topologies", colour="red")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def decorated_otherwise(outbox: TransactionalOutbox) -> None:
    @outbox.transactional(attempts=6)
    def count(tx: Transaction, /, *names: str, **years: int) -> int:
        tx.add({"Put": {"TableName": "books", "Item": {}}})
        return len(names) + len(years)

    assert_type(count(), int)
    assert_type(count("a", "b", c=2019), int)

    @outbox.transactional()
    def forget(tx: Transaction) -> None:
        tx.delete("books", {"name": "x"})

    forget()


class Shelf:
    """A method is decorated like a function: the transaction follows ``self``."""

    outbox: TransactionalOutbox = TransactionalOutbox("events")

    @outbox.transactional()
    def add(self, tx: Transaction, name: str) -> int:
        tx.put("books", {"name": name})
        return len(name)


def decorated_methods(shelf: Shelf) -> None:
    assert_type(shelf.add("Dune"), int)
    shelf.add(5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def refused_decoration(outbox: TransactionalOutbox) -> None:
    # The first parameter must be the transaction.
    @outbox.transactional()  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue, reportUntypedFunctionDecorator]
    def without_it(name: str) -> str:
        return name

    # The decorator must be called.
    @outbox.transactional  # type: ignore[call-arg, arg-type]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
    def uncalled(tx: Transaction) -> None:
        tx.delete("books", {"name": "x"})

    # attempts is a number.
    outbox.transactional(attempts="5")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def in_one_call(outbox: TransactionalOutbox, event: Event, model: BookAdded, key: dict[str, Any]) -> None:
    assert_type(outbox.put("books", {"name": "x"}, event=event), TransactionResult)
    assert_type(outbox.put("books", {"name": "x"}, event=model).events, tuple[Event, ...])
    outbox.put("books", {}, event=event, must_not_exist=True, version=Version("version", expected=0), label="book")
    outbox.put("books", {}, event=event, condition=Condition("#y < :y", {"#y": "year"}, {":y": 2019}))
    outbox.put(table="books", item={}, event=event, condition=Attr("year").lt(2019))
    assert_type(outbox.update("books", key, event=event, set={"year": 2019}), TransactionResult)
    outbox.update("books", key, event=model, add={"read": 1}, remove=["draft"], condition="must_exist")
    outbox.update("books", key, event=event, remove="draft", version=Version("version", expected=3), label="book")
    outbox.update(table="books", key=key, event=event, set=None, add=None, condition=Attr("year").eq(1))
    assert_type(outbox.delete("books", key, event=event), TransactionResult)
    outbox.delete(
        "books", key, event=model, condition="must_exist", version=Version("version", expected=3), label="book"
    )
    outbox.delete(table="books", key=key, event=event, condition=Condition("#y = :y", {"#y": "year"}, {":y": 1}))


def refused_in_one_call(outbox: TransactionalOutbox, event: Event, key: dict[str, Any]) -> None:
    # The event is required.
    outbox.put("books", {})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    outbox.update("books", key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    outbox.delete("books", key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The event is a keyword argument.
    outbox.put("books", {}, event)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # Each method has only the options of its action.
    outbox.put("books", {}, event=event, remove="year")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    outbox.update("books", key, event=event, must_not_exist=True)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    outbox.delete("books", key, event=event, set={"year": 1})  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The options have the types of the action's options.
    outbox.put("books", {}, event=event, version=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    outbox.update("books", key, event=event, set=["year"])  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    outbox.delete("books", key, event=event, condition=True)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def of_the_users_own(outbox: TransactionalOutbox, client: DynamoDBClient, event: Event, model: BookAdded) -> None:
    assert_type(outbox.transact_item(event), dict[str, Any])
    assert_type(outbox.transact_item(model), dict[str, Any])
    assert_type(outbox.table, str)
    assert_type(outbox.source, str | None)
    assert_type(outbox.ttl, timedelta)
    client.transact_write_items(TransactItems=[{"Delete": {"TableName": "books", "Key": {}}}])
    # An event must be an Event or a DomainEvent.
    outbox.transact_item({"type": "BookAdded"})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def settled(outbox: TransactionalOutbox, error: CommitUnknownError, event: Event, model: BookAdded) -> None:
    assert_type(outbox.settle(error), bool)
    assert_type(outbox.settle(event), bool)
    assert_type(outbox.settle(uncertain=model.to_event(id="0190", time=datetime.now(UTC))), bool)
    assert_type(error.token, str)
    assert_type(error.sent_at, datetime | None)
    # A model creates a new event each time.
    outbox.settle(model)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A voided transaction is settled already.
    outbox.settle(TransactionVoidedError())  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
