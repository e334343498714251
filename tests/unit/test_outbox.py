"""TransactionalOutbox: the requests that it sends to DynamoDB, and how it handles the responses."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Attr
from botocore.exceptions import ClientError

from dynamo_outbox import Condition, DomainEvent, Event, TableKeys, TransactionalOutbox
from dynamo_outbox.errors import (
    ConditionFailedError,
    EncodeError,
    InvalidEventError,
    TransactionCanceledError,
    TransactionConflictError,
    TransactionLimitError,
)

from ..doubles import FakeClock, StubDynamoDB, client_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB
    from dynamo_outbox.writing.transaction import Transaction

    Act = Callable[[Transaction], object]

KEY = {"name": "Team Topologies"}
BOOK = KEY | {"year": 2019}
TYPED_KEY = {"name": {"S": "Team Topologies"}}
TYPED_BOOK = TYPED_KEY | {"year": {"N": "2019"}}
OLD_ITEM = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}


class BookAdded(DomainEvent, version=1, aggregate="Book", key="name"):
    name: str
    year: int


def outbox_of(client: Any, **options: Any) -> TransactionalOutbox:
    defaults: dict[str, Any] = {"source": "OutboxDemo.Books", "keys": {"books": "name"}, "clock": FakeClock()}
    return TransactionalOutbox("books-events", client=client, **(defaults | options))


def run(tx: Transaction, *acts: Act) -> None:
    """Run a transaction with these actions in its block."""
    with tx:
        for act in acts:
            act(tx)


def conditioned(expression: str, names: dict[str, str], values: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return a conditional request's fields apart from the item or key."""
    request: dict[str, Any] = {"ConditionExpression": expression, "ExpressionAttributeNames": names, **OLD_ITEM}
    return request | ({"ExpressionAttributeValues": values} if values else {})


@pytest.mark.parametrize(
    ("act", "action"),
    [
        (lambda tx: tx.put("books", BOOK), {"Put": {"TableName": "books", "Item": TYPED_BOOK}}),
        (
            lambda tx: tx.put("books", BOOK, must_not_exist=True),
            {
                "Put": {
                    "TableName": "books",
                    "Item": TYPED_BOOK,
                    **conditioned("attribute_not_exists(#outbox_key)", {"#outbox_key": "name"}),
                }
            },
        ),
        (
            lambda tx: tx.put("books", BOOK, must_not_exist=True, condition=Attr("year").lt(2020)),
            {
                "Put": {
                    "TableName": "books",
                    "Item": TYPED_BOOK,
                    **conditioned(
                        "(attribute_not_exists(#outbox_key)) AND (#n0 < :v0)",
                        {"#outbox_key": "name", "#n0": "year"},
                        {":v0": {"N": "2020"}},
                    ),
                }
            },
        ),
        (
            lambda tx: tx.delete("books", KEY, condition="must_exist"),
            {
                "Delete": {
                    "TableName": "books",
                    "Key": TYPED_KEY,
                    **conditioned("attribute_exists(#outbox_key)", {"#outbox_key": "name"}),
                }
            },
        ),
        (
            lambda tx: tx.check("books", KEY, condition=Condition("#y = :y", {"#y": "year"}, {":y": Decimal(2019)})),
            {
                "ConditionCheck": {
                    "TableName": "books",
                    "Key": TYPED_KEY,
                    **conditioned("#y = :y", {"#y": "year"}, {":y": {"N": "2019"}}),
                }
            },
        ),
        (
            lambda tx: tx.update("books", KEY, set={"year": 2019, "title": "T"}, add={"n": 1}, remove=["a", "b"]),
            {
                "Update": {
                    "TableName": "books",
                    "Key": TYPED_KEY,
                    "UpdateExpression": (
                        "SET #outbox_0 = :outbox_0, #outbox_1 = :outbox_1 ADD #outbox_2 :outbox_2 "
                        "REMOVE #outbox_3, #outbox_4"
                    ),
                    "ExpressionAttributeNames": {
                        "#outbox_0": "year",
                        "#outbox_1": "title",
                        "#outbox_2": "n",
                        "#outbox_3": "a",
                        "#outbox_4": "b",
                    },
                    "ExpressionAttributeValues": {
                        ":outbox_0": {"N": "2019"},
                        ":outbox_1": {"S": "T"},
                        ":outbox_2": {"N": "1"},
                    },
                }
            },
        ),
        (
            lambda tx: tx.update("books", KEY, remove=["a"], condition=Attr("name").exists() & Attr("year").eq(2019)),
            {
                "Update": {
                    "TableName": "books",
                    "Key": TYPED_KEY,
                    "UpdateExpression": "REMOVE #outbox_0",
                    **conditioned(
                        "(attribute_exists(#n0) AND #n1 = :v0)",
                        {"#n0": "name", "#n1": "year", "#outbox_0": "a"},
                        {":v0": {"N": "2019"}},
                    ),
                }
            },
        ),
        (lambda tx: tx.add({"Delete": {"TableName": "t", "Key": {}}}), {"Delete": {"TableName": "t", "Key": {}}}),
    ],
    ids=["put", "new", "new if", "delete", "check", "update", "update if", "add"],
)
def test_each_action_becomes_its_request(act: Act, action: dict[str, Any]) -> None:
    """An action is encoded to typed values, its conditions are joined, and the old item is requested."""
    client = StubDynamoDB()
    run(outbox_of(client).transaction(), act)
    assert client.transact_items == [action]


def test_entity_and_event_go_out_as_one_request() -> None:
    """A clean exit sends all actions in the caller's order; the result has the events as written."""
    client = StubDynamoDB()
    outbox = outbox_of(client)
    with outbox.transaction() as tx:
        tx.put("books", BOOK)
        emitted = tx.emit(
            BookAdded(name="Team Topologies", year=2019), sequence=1, correlation_id="order", causation_id="import"
        )
        tx.check("shelves", {"id": 1}, condition=Attr("free").gt(0))
        assert client.calls == []
    put, event_put, check = client.transact_items
    assert ("Put" in put, event_put, "ConditionCheck" in check) == (True, outbox.transact_item(emitted), True)
    assert tx.result.events == (emitted,)
    assert (emitted.type, emitted.source, emitted.sequence) == ("BookAdded", "OutboxDemo.Books", 1)
    assert (emitted.correlation_id, emitted.causation_id) == ("order", "import")


def test_an_event_is_put_where_none_is_yet() -> None:
    """An event's put requires that its key is free, and its time to live starts at the clock's time."""
    outbox = outbox_of(None, ttl=timedelta(hours=25), table_keys=TableKeys("PK", "SK", prefix="E#"))
    put = outbox.transact_item(Event("BookAdded", {}, id="1"))["Put"]
    assert (put["TableName"], put["ConditionExpression"]) == ("books-events", "attribute_not_exists(#outbox_key)")
    assert put["ExpressionAttributeNames"] == {"#outbox_key": "PK"}
    assert (put["Item"]["PK"], put["Item"]["SK"]) == ({"S": "E#1"}, {"S": "1"})
    assert put["Item"]["expiresAt"] == {"N": str(int(FakeClock().now().timestamp()) + 25 * 3600)}


def test_an_events_own_source_goes_before_the_outboxs() -> None:
    """The outbox's source is used only if the event has none."""
    outbox = outbox_of(None)
    own = outbox.transact_item(Event("BookAdded", {}, source="Import"))
    assert own["Put"]["Item"]["source"] == {"S": "Import"}
    filled = outbox.transact_item(Event("BookAdded", {}))
    assert filled["Put"]["Item"]["source"] == {"S": "OutboxDemo.Books"}


def test_a_tables_key_is_looked_up_once() -> None:
    """The partition key of a table that is not listed in `keys` costs one DescribeTable."""
    client = StubDynamoDB(partition_key="isbn")
    outbox = outbox_of(client, keys=None)
    for _ in range(2):
        with outbox.transaction() as tx:
            tx.put("books", {"isbn": "978-1942788812"}, must_not_exist=True)
    assert [operation for operation, _ in client.calls] == ["describe_table"] + ["transact_write_items"] * 2
    put = client.calls[-1][1]["TransactItems"][0]["Put"]
    assert put["ExpressionAttributeNames"] == {"#outbox_key": "isbn"}


@pytest.mark.parametrize("error", [RuntimeError("out of books"), KeyboardInterrupt()])
def test_nothing_is_sent_on_an_exception(error: BaseException) -> None:
    """An exception in the block is raised unchanged, and nothing is sent."""
    client = StubDynamoDB()
    tx = outbox_of(client).transaction()

    def fail(_: Transaction) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        run(tx, lambda tx: tx.put("books", BOOK), lambda tx: tx.emit(Event("BookAdded", {})), fail)
    assert caught.value is error
    assert client.calls == []
    with pytest.raises(RuntimeError, match="has not been committed"):
        tx.result  # noqa: B018  # reading raises


def test_a_transaction_without_actions_sends_nothing() -> None:
    """An empty transaction succeeds without a request."""
    client = StubDynamoDB()
    with outbox_of(client).transaction() as tx:
        pass
    assert client.calls == []
    assert tx.result.events == ()


@pytest.mark.parametrize(
    ("act", "error", "problem"),
    [
        (lambda tx: tx.put("books", {"year": object()}), EncodeError, "^year: "),
        (lambda tx: tx.update("books", KEY), ValueError, "an update must change something"),
        (
            lambda tx: tx.delete("books", KEY, condition="attribute_exists(lent)"),
            TypeError,
            r"condition='attribute_exists\(lent\)' must be Attr",
        ),
        (lambda tx: tx.emit(Event("BookAdded", {}), sequence=-1), InvalidEventError, "^event sequence: "),
        (lambda tx: tx.emit(Event("BookAdded", {})), InvalidEventError, "^event source: is missing"),
    ],
)
def test_a_mistake_is_refused_where_it_is_made(act: Act, error: type[Exception], problem: str) -> None:
    """An invalid action or an event without a source raises on its own line, and nothing is sent."""
    client = StubDynamoDB()
    with pytest.raises(error, match=problem), outbox_of(client, source=None).transaction() as tx:
        act(tx)
    assert client.calls == []


@pytest.mark.parametrize(("label", "offender"), [("the last straw", "the last straw"), (None, "action 100")])
def test_more_than_100_actions_are_refused_before_they_are_sent(label: str | None, offender: str) -> None:
    """100 actions are sent; more are refused, and the error names the first one beyond the limit."""
    client = StubDynamoDB()
    puts: list[Act] = [lambda tx, n=n: tx.put("books", {"name": str(n)}) for n in range(100)]  # type: ignore[misc]  # n binds early
    run(outbox_of(client).transaction(), *puts)
    assert len(client.transact_items) == 100
    beyond: list[Act] = [lambda tx: tx.put("books", BOOK, label=label), lambda tx: tx.emit(Event("BookAdded", {}))]
    with pytest.raises(TransactionLimitError) as caught:
        run(outbox_of(client).transaction(), *puts, *beyond)
    assert (caught.value.limit, caught.value.offender) == ("actions", offender)
    assert len(client.calls) == 1


def test_an_ended_transaction_takes_nothing_more() -> None:
    """A transaction that has ended takes no more actions or events and can't be entered again."""
    client = StubDynamoDB()
    with outbox_of(client).transaction() as tx:
        tx.put("books", BOOK)
    with pytest.raises(RuntimeError, match="this transaction has ended"):
        tx.put("books", BOOK)
    with pytest.raises(RuntimeError, match="this transaction has ended"):
        tx.emit(Event("BookAdded", {}))
    with pytest.raises(RuntimeError, match="this transaction has ended"), tx:
        pass
    assert len(client.calls) == 1


ACTS: dict[str, Act] = {
    "put": lambda tx: tx.put("books", BOOK),
    "update": lambda tx: tx.update("books", {"name": "a"}, set={"year": 1}),
    "delete": lambda tx: tx.delete("books", {"name": "a"}),
    "check": lambda tx: tx.check("books", {"name": "a"}, condition="must_exist"),
    "add": lambda tx: tx.add({"Delete": {"TableName": "books", "Key": {"name": {"S": "a"}}}}),
    "get": lambda tx: tx.get("books", {"name": "a"}, version="version"),
    "emit": lambda tx: tx.emit(Event("BookAdded", {})),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_a_transaction_takes_nothing_outside_its_block(act: Act) -> None:
    """Before and after its `with` block a transaction refuses every action, because it would never be sent."""
    client = StubDynamoDB()
    outbox = outbox_of(client)
    tx = outbox.transaction()
    with pytest.raises(RuntimeError, match=r"has not begun: use it in a block, `with outbox.transaction\(\) as tx:`"):
        act(tx)
    with tx:
        pass
    with pytest.raises(RuntimeError, match="has ended"):
        act(tx)
    broken = outbox.transaction()
    with pytest.raises(ZeroDivisionError), broken:
        _ = 1 / 0
    with pytest.raises(RuntimeError, match="has ended"):
        act(broken)
    assert client.calls == []


def test_a_transaction_is_entered_once() -> None:
    """A second block inside the first is refused; it would commit the first one's actions twice."""
    client = StubDynamoDB()
    with outbox_of(client).transaction() as tx:
        with pytest.raises(RuntimeError, match="has begun already"), tx:
            pass
        tx.put("books", BOOK)
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"table": ""}, "table='' must be the events table's name"),
        ({"table": "books-events", "ttl": timedelta(hours=24)}, "too short"),
    ],
)
def test_a_setting_that_cannot_work_is_refused(arguments: dict[str, Any], problem: str) -> None:
    """An empty table name and a ttl shorter than the stream's retention are refused."""
    with pytest.raises(ValueError, match=problem):
        TransactionalOutbox(**arguments)


@pytest.mark.parametrize(
    ("codes", "kind"),
    [
        (["None", "ConditionalCheckFailed"], ConditionFailedError),
        (["TransactionConflict", "ConditionalCheckFailed"], ConditionFailedError),
        (["None", "TransactionConflict"], TransactionConflictError),
        (["ThrottlingError", "ProvisionedThroughputExceeded"], TransactionConflictError),
        (["TransactionConflict", "ValidationError"], TransactionCanceledError),
        (["ItemCollectionSizeLimitExceeded", "None"], TransactionCanceledError),
        (["None", "None"], TransactionCanceledError),
    ],
)
def test_a_cancellation_is_told_by_its_reasons(codes: list[str], kind: type[TransactionCanceledError]) -> None:
    """A failed condition takes precedence; only if all reasons are contention is it a conflict. Order is kept."""
    reasons = [{"Code": code} if code == "None" else {"Code": code, "Message": f"{code}!"} for code in codes]
    refused = client_error("TransactionCanceledException", CancellationReasons=reasons)
    tx = outbox_of(StubDynamoDB(refused)).transaction()
    with pytest.raises(TransactionCanceledError) as caught:
        run(tx, lambda tx: tx.put("books", BOOK, label="book"), lambda tx: tx.put("shelves", BOOK))
    assert type(caught.value) is kind
    assert caught.value.__cause__ is refused
    told = [(each.position, each.label, each.code, each.message) for each in caught.value.reasons]
    labels = ("book", None)
    assert told == [(n, labels[n], code, None if code == "None" else f"{code}!") for n, code in enumerate(codes)]


def test_another_error_of_dynamodb_is_raised_as_it_is() -> None:
    """An error other than a cancellation is raised as botocore's ClientError."""
    refused = client_error("ResourceNotFoundException")
    with pytest.raises(type(refused)) as caught, outbox_of(StubDynamoDB(refused)).transaction() as tx:
        tx.put("books", BOOK)
    assert caught.value is refused


@pytest.fixture
def outbox(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> TransactionalOutbox:
    """An outbox with fake tables in memory."""
    create_table("books", "name")
    create_table("books-events", "pk", "sk")
    return outbox_of(dynamodb, keys=None)


def count(dynamodb: FakeDynamoDB, table: str) -> int:
    found: int = dynamodb.scan(TableName=table)["Count"]
    return found


def test_entity_and_event_are_written_together(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """A commit writes both the entity and its event."""
    with outbox.transaction() as tx:
        tx.put("books", BOOK, must_not_exist=True)
        event = tx.emit(BookAdded(name="Team Topologies", year=2019))
    assert dynamodb.get_item(TableName="books", Key={"name": {"S": "Team Topologies"}})["Item"] == TYPED_BOOK
    (item,) = dynamodb.scan(TableName="books-events")["Items"]
    assert item["eventId"] == {"S": event.id}


def test_a_failed_condition_writes_neither(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """If a condition fails, nothing is written, and the error has the action's label and the existing item."""
    dynamodb.put_item(TableName="books", Item={"name": {"S": "Team Topologies"}, "year": {"N": "2018"}})
    event = BookAdded(name="Team Topologies", year=2019).to_event()
    with pytest.raises(ConditionFailedError) as caught:
        run(
            outbox.transaction(),
            lambda tx: tx.emit(event),
            lambda tx: tx.put("books", BOOK, must_not_exist=True, label="book"),
        )
    assert (caught.value.label, caught.value.item) == ("book", {"name": "Team Topologies", "year": 2018})
    codes = [(reason.label, reason.code) for reason in caught.value.reasons]
    assert codes == [(f"BookAdded {event.id}", "None"), ("book", "ConditionalCheckFailed")]
    assert caught.value.failed == caught.value.reasons[1:]
    assert count(dynamodb, "books-events") == 0


def test_an_event_is_written_once(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """A second transaction with the same event is cancelled."""
    event = Event("BookAdded", {}, id="1")
    run(outbox.transaction(), lambda tx: tx.emit(event))
    with pytest.raises(ConditionFailedError) as caught:
        run(outbox.transaction(), lambda tx: tx.put("books", BOOK), lambda tx: tx.emit(event, label="again"))
    assert caught.value.label == "again"
    assert (count(dynamodb, "books-events"), count(dynamodb, "books")) == (1, 0)


@pytest.mark.parametrize(
    "act",
    [
        lambda tx: tx.update("books", KEY, set={"year": 2019}, condition="must_exist"),
        lambda tx: tx.delete("books", KEY, condition="must_exist"),
    ],
    ids=["update", "delete"],
)
def test_what_must_exist_is_not_created(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB, act: Act) -> None:
    """With `must_exist`, updating or deleting a missing item is refused."""
    with pytest.raises(ConditionFailedError) as caught:
        run(outbox.transaction(), act, lambda tx: tx.emit(Event("BookChanged", {})))
    assert caught.value.item is None
    assert (count(dynamodb, "books"), count(dynamodb, "books-events")) == (0, 0)


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"Get": {"TableName": "books", "Key": TYPED_KEY}},
        {"Put": {"Item": TYPED_BOOK}},
        {
            "Put": {"TableName": "books", "Item": TYPED_BOOK},
            "Delete": {"TableName": "books", "Key": TYPED_KEY},
        },
    ],
)
def test_an_action_is_one_of_dynamodbs(action: dict[str, Any]) -> None:
    """`add` refuses a map without exactly one of the four actions, and one without a table."""
    with outbox_of(StubDynamoDB()).transaction() as tx:
        tx.put("books", BOOK)
        with pytest.raises(ValueError, match="an action is a map with one of Put, Update, Delete, ConditionCheck"):
            tx.add(action)


def test_a_put_must_exist_by_its_tables_key() -> None:
    """`must_exist` on a put names the partition key of the table, because the item alone does not tell its key."""
    stub = StubDynamoDB()
    with outbox_of(stub).transaction() as tx:
        tx.put("books", {"year": 2019, **KEY}, condition="must_exist")
    condition = conditioned("attribute_exists(#outbox_key)", {"#outbox_key": "name"})
    assert stub.calls[0][1]["TransactItems"][0]["Put"].items() >= condition.items()


@pytest.mark.parametrize("length", [0, 1, 36, 37])
def test_a_token_has_1_to_36_characters(length: int) -> None:
    """DynamoDB's API takes 1 to 36 characters as ClientRequestToken; other tokens are refused before the block."""
    outbox, token = outbox_of(StubDynamoDB()), "t" * length
    if 1 <= length <= 36:
        outbox.transaction(token=token)
    else:
        with pytest.raises(ValueError, match="must have 1 to 36 characters"):
            outbox.transaction(token=token)


def test_a_cancellation_without_reasons_is_dynamodbs_refusal() -> None:
    """Without the reasons of a cancelled transaction, DynamoDB's own error is raised: nothing was written."""
    outbox = outbox_of(StubDynamoDB(client_error("TransactionCanceledException")))
    with pytest.raises(ClientError, match="TransactionCanceledException"), outbox.transaction() as tx:
        tx.put("books", BOOK)
