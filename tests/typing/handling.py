"""Functions that handle an event once, or handle a batch of messages."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, assert_type

import boto3

from dynamo_outbox import (
    AtMostOnce,
    Clock,
    Event,
    IdempotencyStore,
    Inbox,
    InboxHandler,
    InboxTransaction,
    Key,
    TableKeys,
    Transaction,
    TransactionalOutbox,
    batch_handler,
    fence_number,
    idempotent,
)
from dynamo_outbox.consuming.claims import Claim, Claimed, Replay
from dynamo_outbox.consuming.results import StoredResult

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient

    from dynamo_outbox import Message
    from dynamo_outbox.errors import UnknownOutcomeError
    from dynamo_outbox.testing import FakeDynamoDB
    from dynamo_outbox.typing import LambdaContext


def stores(stubbed: DynamoDBClient, fake: FakeDynamoDB) -> None:
    assert_type(IdempotencyStore("calls"), IdempotencyStore)
    IdempotencyStore(
        table="calls",
        ttl=timedelta(days=8),
        client=None,
        table_keys=TableKeys(partition_key="pk", sort_key=None, prefix="calls#", ttl_attribute="expiresAt"),
        lease=timedelta(minutes=15),
        clock_margin=timedelta(seconds=1),
        clock=Clock(),
    )
    IdempotencyStore("calls", client=stubbed, table_keys=TableKeys(sort_key="sk"))
    IdempotencyStore("calls", client=fake)
    # boto3's stubs have unknown types for services whose stubs are not installed.
    IdempotencyStore("calls", client=boto3.client("dynamodb"))  # pyright: ignore[reportUnknownMemberType]


def refused_stores(events: EventBridgeClient) -> None:
    # An EventBridge client can't be a store's client.
    IdempotencyStore("calls", client=events)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The table is required.
    IdempotencyStore()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # All arguments except the table are keyword arguments.
    IdempotencyStore("calls", timedelta(days=8))  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # A duration is not a plain number.
    IdempotencyStore("calls", lease=900)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A clock is not a function.
    IdempotencyStore("calls", clock=lambda: datetime.now(UTC))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The names of a table's keys are a TableKeys.
    IdempotencyStore("calls", table_keys="pk")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def calls(store: IdempotencyStore, claim: Claim) -> None:
    assert_type(store.records.claim(claim), Claimed | Replay)
    assert_type(store.records.claim(claim, lease=timedelta(minutes=1), on_expired_lease="raise"), Claimed | Replay)
    assert_type(store.records.complete(claim, StoredResult("{}", "json")), bool)
    assert_type(store.records.complete(claim, None), bool)
    assert_type(store.records.fail(claim, "{}"), bool)
    assert_type(store.records.release(claim), bool)
    assert_type(store.records.peek(claim, on_expired_lease="raise"), Replay | None)


def settled_by_hand(store: IdempotencyStore, error: UnknownOutcomeError) -> None:
    def charge(_: Event) -> Decimal:
        return Decimal(fence_number())

    assert_type(store.forget(error.key, token=error.token), bool)
    assert_type(store.resolve(error.key, {"charged": True}, token=error.token), bool)
    assert_type(store.resolve(error.key, Decimal(5), token=error.token, function=charge), bool)
    # The token is required.
    store.forget(error.key)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    store.resolve(error.key, 5)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The token is a keyword argument.
    store.forget(error.key, error.token)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def attributes(store: IdempotencyStore) -> None:
    assert_type(store.table, str)
    assert_type(store.ttl, timedelta)
    assert_type(store.lease, timedelta)
    assert_type(store.clock_margin, timedelta)


def functions(store: IdempotencyStore, event: Event, context: LambdaContext) -> None:
    @idempotent(store, scope="charge")
    def charge(event: Event, amount: Decimal = Decimal(1), *, note: str | None = None) -> Decimal:
        return amount + len(event.type) + len(note or "")

    assert_type(charge(event), Decimal)
    assert_type(charge(event, Decimal(2), note="twice"), Decimal)
    assert_type(charge(event=event, amount=Decimal(2)), Decimal)
    # The parameters are unchanged.
    charge()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    charge({"detail": {}})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charge(event, 2.5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charge(event, note=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    charge(event, currency="EUR")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The result is unchanged.
    _: str = charge(event)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

    @idempotent(store, scope="handler")
    def handler(payload: dict[str, Any], context: LambdaContext) -> None:
        charge(Event(payload["type"], {}), Decimal(context.get_remaining_time_in_millis()))

    handler({}, context)


async def coroutines(store: IdempotencyStore, event: Event) -> None:
    @idempotent(store, scope="charge")
    async def charge(event: Event, *, amount: int) -> list[str]:
        return [event.type] * amount

    assert_type(await charge(event, amount=2), list[str])
    # The parameters are unchanged.
    await charge(event)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    await charge(event, amount="2")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The result must be awaited.
    _: list[str] = charge(event, amount=2)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


def methods(store: IdempotencyStore, event: Event) -> None:
    class Till:
        @idempotent(store, scope="charge")
        def charge(self, event: Event) -> int:
            return len(event.type)

        @staticmethod
        @idempotent(store, scope="refund")
        def refund(event: Event) -> bytes:
            return event.type.encode()

    assert_type(Till().charge(event), int)
    assert_type(Till().charge(event=event), int)
    assert_type(Till.refund(event), bytes)
    # The parameters are unchanged.
    Till().charge(event, event)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def options(store: IdempotencyStore) -> None:
    def lines_of(order: dict[str, Any]) -> object:
        return order["lines"]

    def again(result: dict[str, Any], order: dict[str, Any]) -> dict[str, Any]:
        return {**order, **result}

    @idempotent(
        store,
        key=Key("order.id", fingerprint=lines_of),
        scope="orders",
        on_missing_key="run",
        on_duplicate=again,
    )
    def place(order: dict[str, Any]) -> dict[str, Any]:
        return order

    assert_type(place({}), dict[str, Any])

    def key_of(order: dict[str, Any], *, shop: str) -> str:
        return f"{shop}#{order['id']}"

    def members_of(order: dict[str, Any]) -> list[object]:
        return [order["shop"], order["number"]]

    @idempotent(store=store, key=key_of, on_missing_key="raise", scope="send", on_duplicate=None)
    def send(order: dict[str, Any], *, shop: str) -> str:
        return f"{shop} {order}"

    assert_type(send({}, shop="Rome"), str)
    # Both parts of a key are optional; each is an expression or a function.
    idempotent(store, scope="call", key=Key())
    idempotent(store, scope="call", key=Key(fingerprint="detail.lines"))
    idempotent(store, scope="call", key=Key(find=key_of, fingerprint=None))

    @idempotent(
        store,
        scope="charge",
        on_expired_lease="raise",
        wait_for=timedelta(seconds=5),
        permanent_errors=(ZeroDivisionError, KeyError),
    )
    def charge(event: Event) -> int:
        return fence_number() + len(event.type)

    assert_type(charge(Event("OrderPlaced", {})), int)
    idempotent(store, scope="call", on_expired_lease="rerun", wait_for=None, permanent_errors=())
    idempotent(store, scope="call", on_expired_lease=AtMostOnce(safe_to_retry=(KeyError, ZeroDivisionError)))
    # A key's function may return any usable key: text, a number, a date, a UUID, an enum, or a list of these.
    idempotent(store, scope="call", key=len)
    idempotent(store, scope="call", key=members_of)


def refused_options(store: IdempotencyStore, client: DynamoDBClient) -> None:
    # A client is not a store.
    idempotent(client, scope="call")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The store is required.
    idempotent()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # All arguments except the store are keyword arguments.
    idempotent(store, "order.id", scope="call")  # type: ignore[misc]  # pyright: ignore[reportCallIssue]
    # A key is an expression or a function.
    idempotent(store, scope="call", key=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Key(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A fingerprint is an expression or a function, and a part of the key.
    Key(fingerprint=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    idempotent(store, scope="call", fingerprint="order.lines")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The scope is required, and a text.
    idempotent(store)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    idempotent(store, scope=None)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # on_expired_lease does not have this value.
    idempotent(store, scope="call", on_expired_lease="wait")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # A duration is not a plain number.
    idempotent(store, scope="call", wait_for=5)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # Only exceptions are safe to retry.
    AtMostOnce(safe_to_retry=("KeyError",))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    AtMostOnce(safe_to_retry=(SystemExit,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # SystemExit is not an Exception.
    idempotent(store, scope="call", permanent_errors=(SystemExit,))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # on_missing_key does not have this value.
    idempotent(store, scope="call", on_missing_key="skip")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    # The decorator must be called.
    @idempotent  # type: ignore[arg-type, call-arg]  # pyright: ignore[reportCallIssue, reportUntypedFunctionDecorator]
    def uncalled(event: Event) -> str:
        return event.type


@batch_handler
def handle(event: Event, context: Any) -> None:
    print(event.type, context)


@batch_handler
def handle_with_result(event: Event, _context: LambdaContext) -> int:
    return event.version


def batches(store: IdempotencyStore, context: LambdaContext) -> None:
    assert_type(handle({"Records": []}, context), dict[str, Any])
    assert_type(handle_with_result({"Records": []}, None), dict[str, Any])

    @batch_handler
    @idempotent(store, scope="once")
    def once(event: Event, context: LambdaContext) -> str:
        return f"{event.type} {context}"

    assert_type(once({"Records": []}, context), dict[str, Any])


def of_an_event_alone(event: Event) -> str:
    return event.type


def of_a_message(message: Message, _context: Any) -> str:
    return message.message_id


def refused_batches() -> None:
    # The function must also take the context.
    batch_handler(of_an_event_alone)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The function gets the event, not the message.
    batch_handler(of_a_message)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The batch is required.
    handle()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]


def inboxes(store: IdempotencyStore, outbox: TransactionalOutbox) -> None:
    assert_type(Inbox(store), Inbox)
    assert_type(Inbox(store, outbox), Inbox)
    Inbox(store=store, outbox=None)
    # The first argument is a store, the second an outbox.
    Inbox(outbox)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    Inbox(store, store)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


def inbox_handlers(inbox: Inbox, event: Event, context: LambdaContext, payload: object) -> None:
    @inbox.handler(consumer="catalogue")
    def count(event: Event, tx: InboxTransaction) -> int:
        assert_type(tx.emit(event, sequence=1, correlation_id="c", causation_id="d", label="l"), Event)
        book = tx.get("books", {"name": event.data["name"]}, version="version")
        return 0 if book is None else int(book["copies"])

    assert_type(count, InboxHandler[int])
    # For an event it returns the function's result; for Lambda's payload, Lambda's response.
    assert_type(count(event), int)
    assert_type(count(event, context), int)
    assert_type(count(payload=event, context=None), int)
    assert_type(count({"Records": []}, context), Any)
    assert_type(count(payload), Any)
    _: str = count(event)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
    # The event or payload is required; the handler creates the transaction.
    count()  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]

    # The function can also accept any Transaction.
    @inbox.handler(consumer="names")
    def name(event: Event, tx: Transaction) -> str | None:
        tx.delete("books", {"name": event.id})
        return event.aggregate_id

    assert_type(name(event), str | None)


def inbox_options(inbox: Inbox, event: Event) -> None:
    def stored(result: int, event: Event) -> str:
        return f"{event.id}: {result}"

    def skipped(event: Event) -> str:
        return event.id

    @inbox.handler(consumer="catalogue", on_stale=skipped, attempts=6, on_duplicate=stored)
    def count(event: Event, _tx: InboxTransaction) -> int:
        return event.version

    assert_type(count(event), int)
    inbox.handler(consumer="catalogue", on_stale="run", on_duplicate=None)
    inbox.handler(consumer="catalogue", on_stale="skip")


def refused_inbox_options(inbox: Inbox, stale: str) -> None:
    # The consumer is required.
    inbox.handler()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # The consumer is a keyword argument.
    inbox.handler("catalogue")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    # on_stale does not have this value, and a plain str is not a literal.
    inbox.handler(consumer="catalogue", on_stale="refuse")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    inbox.handler(consumer="catalogue", on_stale=stale)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    # The function for stale events takes an event.
    inbox.handler(consumer="a", on_stale=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

    # The function must also take the transaction.
    @inbox.handler(consumer="catalogue")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    def alone(event: Event) -> str:
        return event.type

    # The function gets the parsed event.
    @inbox.handler(consumer="catalogue")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    def of_a_payload(payload: dict[str, Any], _tx: InboxTransaction) -> str:
        return str(payload)
