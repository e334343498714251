"""Behaviour that only the fake can show, as AWS documents it: contention, lost responses, the passing of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, ParamValidationError, ReadTimeoutError

from dynamo_outbox import Event, TransactionalOutbox
from dynamo_outbox.testing.fakes.dynamodb import FakeDynamoDB

from .engine import key_schema, outcome, put, update

if TYPE_CHECKING:
    from ..doubles import FakeClock

TABLE = "books"
LOST = ReadTimeoutError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com")
NEVER = {"ConditionExpression": "attribute_not_exists(pk)"}


@pytest.fixture
def books(fake: FakeDynamoDB) -> FakeDynamoDB:
    """Return the fake with a table of books."""
    fake.create_table(TableName=TABLE, **key_schema())
    return fake


def names(dynamodb: FakeDynamoDB) -> list[str]:
    return [item["pk"]["S"] for item in dynamodb.scan(TableName=TABLE)["Items"]]


def test_a_token_is_known_for_ten_minutes(books: FakeDynamoDB, clock: FakeClock) -> None:
    """Ten minutes after its transaction a token has expired: the same request is a new transaction."""
    request: dict[str, Any] = {"TransactItems": [update(TABLE)], "ClientRequestToken": "token"}
    books.transact_write_items(**request)
    clock.advance(timedelta(minutes=10) - timedelta(seconds=1))
    books.transact_write_items(**request)
    assert books.get_item(TableName=TABLE, Key={"pk": {"S": "a"}})["Item"]["n"] == {"N": "1"}
    clock.advance(timedelta(seconds=1))
    books.transact_write_items(**request)
    assert books.get_item(TableName=TABLE, Key={"pk": {"S": "a"}})["Item"]["n"] == {"N": "2"}


def test_a_cancelled_transaction_does_not_use_its_token_up(books: FakeDynamoDB) -> None:
    """Only the token of a committed transaction is remembered."""
    request: dict[str, Any] = {"TransactItems": [put(TABLE, "a", **NEVER)], "ClientRequestToken": "token"}
    books.put_item(TableName=TABLE, Item={"pk": {"S": "a"}})
    assert outcome(books.transact_write_items, **request) == "cancelled: ConditionalCheckFailed"
    books.delete_item(TableName=TABLE, Key={"pk": {"S": "a"}})
    assert [outcome(books.transact_write_items, **request) for _ in range(2)] == ["ok", "ok"]


def test_a_token_stands_for_what_was_sent(books: FakeDynamoDB) -> None:
    """A request that the caller changes after sending it counts as another body."""
    request: dict[str, Any] = {"TransactItems": [put(TABLE)], "ClientRequestToken": "token"}
    books.transact_write_items(**request)
    request["TransactItems"][0]["Put"]["Item"]["n"] = {"N": "1"}
    assert outcome(books.transact_write_items, **request) == "IdempotentParameterMismatchException"


def test_a_token_has_at_most_36_characters(books: FakeDynamoDB) -> None:
    """A longer ClientRequestToken is refused."""
    request = {"TransactItems": [put(TABLE)]}
    assert outcome(books.transact_write_items, **request, ClientRequestToken="x" * 37) == "invalid"
    assert outcome(books.transact_write_items, **request, ClientRequestToken="x" * 36) == "ok"


def test_a_transaction_that_goes_on_is_in_everybodys_way(books: FakeDynamoDB) -> None:
    """A held transaction's token is in progress, its items conflict with other writes, and reads see the old data."""
    request: dict[str, Any] = {"TransactItems": [put(TABLE, "a"), put(TABLE, "b")], "ClientRequestToken": "token"}
    with books.hold_transaction(**request):
        observed = {
            "same token": outcome(books.transact_write_items, **request),
            "transaction": outcome(books.transact_write_items, TransactItems=[put(TABLE, "c"), put(TABLE, "b")]),
            "put": outcome(books.put_item, TableName=TABLE, Item={"pk": {"S": "a"}}),
            "update": outcome(books.update_item, **update(TABLE, "a")["Update"]),
            "delete": outcome(books.delete_item, TableName=TABLE, Key={"pk": {"S": "a"}}),
            "another item": outcome(books.put_item, TableName=TABLE, Item={"pk": {"S": "z"}}),
            "read": names(books),
        }
    assert observed == {
        "same token": "TransactionInProgressException",
        "transaction": "cancelled: None, TransactionConflict",
        "put": "TransactionConflictException",
        "update": "TransactionConflictException",
        "delete": "TransactionConflictException",
        "another item": "ok",
        "read": ["z"],
    }
    assert sorted(names(books)) == ["a", "b", "z"]
    assert outcome(books.transact_write_items, **request) == "ok"
    assert outcome(books.put_item, TableName=TABLE, Item={"pk": {"S": "a"}}) == "ok"


def test_a_held_transaction_whose_block_raises_is_cancelled(books: FakeDynamoDB) -> None:
    """It writes nothing and no longer conflicts with other writes."""
    request: dict[str, Any] = {"TransactItems": [put(TABLE, "a")], "ClientRequestToken": "token"}
    with pytest.raises(ZeroDivisionError), books.hold_transaction(**request):
        raise ZeroDivisionError
    assert names(books) == []
    assert outcome(books.transact_write_items, **request) == "ok"


def test_a_transaction_that_is_refused_cannot_be_held(books: FakeDynamoDB) -> None:
    """Conditions are checked when the hold begins, and a transaction whose token is already used can't be held."""
    books.put_item(TableName=TABLE, Item={"pk": {"S": "a"}})
    with (
        pytest.raises(ClientError, match="ConditionalCheckFailed"),
        books.hold_transaction(TransactItems=[put(TABLE, "a", **NEVER)]),
    ):
        pytest.fail("it must not begin")
    request: dict[str, Any] = {"TransactItems": [put(TABLE, "b")], "ClientRequestToken": "token"}
    books.transact_write_items(**request)
    with pytest.raises(ValueError, match="is over"), books.hold_transaction(**request):
        pytest.fail("it must not begin")


def test_a_lost_answer_after_the_commit(books: FakeDynamoDB) -> None:
    """The write is committed although its response is lost; a retry with the same token does not write again."""
    request: dict[str, Any] = {"TransactItems": [update(TABLE)], "ClientRequestToken": "token"}
    books.fail_next("transact_write_items", LOST, after_commit=True)
    with pytest.raises(ReadTimeoutError):
        books.transact_write_items(**request)
    assert names(books) == ["a"]
    books.transact_write_items(**request)
    assert books.get_item(TableName=TABLE, Key={"pk": {"S": "a"}})["Item"]["n"] == {"N": "1"}
    assert books.pending_faults == []


def test_a_lost_request_writes_nothing(books: FakeDynamoDB) -> None:
    """A fault before the commit leaves the table unchanged."""
    books.fail_next("put_item", EndpointConnectionError(endpoint_url="https://dynamodb.eu-west-1.amazonaws.com"))
    with pytest.raises(EndpointConnectionError):
        books.put_item(TableName=TABLE, Item={"pk": {"S": "a"}})
    assert names(books) == []


def test_faults_come_in_order_and_for_their_operation_only(books: FakeDynamoDB) -> None:
    """Each scripted fault applies to one call of its operation; unused faults are listed."""
    codes = ["ThrottlingException", "ProvisionedThroughputExceededException", "TransactionInProgressException"]
    for code in codes:
        books.fail_next("transact_write_items", code)
    assert outcome(books.put_item, TableName=TABLE, Item={"pk": {"S": "z"}}) == "ok"
    assert books.pending_faults == ["transact_write_items"] * 3
    request = {"TransactItems": [put(TABLE)]}
    assert [outcome(books.transact_write_items, **request) for _ in range(4)] == [*codes, "ok"]


@pytest.mark.parametrize(("code", "status"), [("InternalServerError", 500), ("ThrottlingException", 400), ("Odd", 400)])
def test_an_error_has_the_status_of_its_model(books: FakeDynamoDB, code: str, status: int) -> None:
    """A fault of the service has status 500, as on the wire; any other error has 400."""
    books.fail_next("put_item", code)
    with pytest.raises(ClientError) as caught:
        books.put_item(TableName=TABLE, Item={"pk": {"S": "a"}})
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_a_fault_can_be_a_cancellation(books: FakeDynamoDB) -> None:
    """`error` creates any error response, as botocore's own class."""
    reasons = [{"Code": "TransactionConflict", "Message": "Transaction is ongoing for the item"}, {"Code": "None"}]
    books.fail_next(
        "transact_write_items",
        books.error("transact_write_items", "TransactionCanceledException", CancellationReasons=reasons),
    )
    with pytest.raises(books.exceptions.TransactionCanceledException) as caught:
        books.transact_write_items(TransactItems=[put(TABLE, "a"), put(TABLE, "b")])
    assert caught.value.response["CancellationReasons"] == reasons


def test_a_refusal_uses_up_a_fault_after_the_commit(books: FakeDynamoDB) -> None:
    """If the operation itself is refused, that error is raised and the scripted fault is used up."""
    books.fail_next("put_item", LOST, after_commit=True)
    assert outcome(books.put_item, TableName="no-such-table", Item={"pk": {"S": "a"}}) == "ResourceNotFoundException"
    assert books.pending_faults == []


def test_an_operation_that_the_fake_has_not_cannot_be_scripted(books: FakeDynamoDB) -> None:
    """An unknown operation is an error when it is scripted, not a fault that never occurs."""
    for operation in ("put_items", "batch_write_item", "expire"):
        with pytest.raises(ValueError, match=operation):
            books.fail_next(operation, LOST)


def test_parameters_are_checked_as_botocore_does(books: FakeDynamoDB) -> None:
    """A parameter that is missing, misspelt or of a wrong type is refused before the fake runs the call."""
    for request in ({"TableName": TABLE}, {"TableName": TABLE, "Itme": {}}, {"TableName": TABLE, "Item": {"pk": "a"}}):
        with pytest.raises(ParamValidationError):
            books.put_item(**request)
    assert books.calls[-1].operation == "create_table"


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("scan", {"ProjectionExpression": "pk"}),
        ("query", {"IndexName": "by-year"}),
        ("put_item", {"Item": {"pk": {"S": "a"}}, "ReturnConsumedCapacity": "TOTAL"}),
        ("create_table", {**key_schema(), "GlobalSecondaryIndexes": []}),
    ],
)
def test_what_the_fake_does_not_know_it_says(books: FakeDynamoDB, operation: str, more: dict[str, Any]) -> None:
    """A parameter that the fake does not support raises an error; it is never silently ignored."""
    with pytest.raises(NotImplementedError, match=list(more)[-1]):
        getattr(books, operation)(TableName=TABLE, **more)


def test_a_caller_cannot_change_what_is_stored(books: FakeDynamoDB) -> None:
    """Items are copied when they are put and when they are read."""
    item: dict[str, Any] = {"pk": {"S": "a"}, "l": {"L": []}}
    books.put_item(TableName=TABLE, Item=item)
    item["l"]["L"].append({"S": "later"})
    books.get_item(TableName=TABLE, Key={"pk": {"S": "a"}})["Item"]["l"]["L"].append({"S": "later"})
    assert books.get_item(TableName=TABLE, Key={"pk": {"S": "a"}})["Item"]["l"] == {"L": []}


def test_ttl_removes_what_is_over_and_nothing_else(books: FakeDynamoDB, clock: FakeClock) -> None:
    """TTL deletes only items whose TTL attribute is a number of epoch seconds in the last five years."""
    now = int(clock.now().timestamp())
    five_years = 5 * 365 * 24 * 3600
    times: dict[str, dict[str, Any]] = {
        "over": {"N": str(now - 1)},
        "just now": {"N": str(now)},
        "later": {"N": str(now + 1)},
        "text": {"S": str(now - 1)},
        "milliseconds": {"N": str(now * 1000)},
        "long over": {"N": str(now - five_years - 1)},
        "nearly long over": {"N": str(now - five_years)},
    }
    for name, typed in times.items():
        books.put_item(TableName=TABLE, Item={"pk": {"S": name}, "expiresAt": typed})
    assert books.expire() == 0
    specification = {"Enabled": True, "AttributeName": "expiresAt"}
    books.update_time_to_live(TableName=TABLE, TimeToLiveSpecification=specification)
    assert books.expire() == 2
    assert sorted(names(books)) == sorted(times.keys() - {"over", "nearly long over"})
    assert books.expire(now=clock.now() + timedelta(seconds=2)) == 2
    again = {"TableName": TABLE, "TimeToLiveSpecification": specification}
    assert outcome(books.update_time_to_live, **again) == "invalid"


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"KeySchema": [{"AttributeName": "pk", "KeyType": "RANGE"}]}, id="no partition key"),
        pytest.param({"AttributeDefinitions": [{"AttributeName": "sk", "AttributeType": "S"}]}, id="other attribute"),
        pytest.param({"StreamSpecification": {"StreamEnabled": True}}, id="no view type"),
    ],
)
def test_a_table_that_cannot_be_is_refused(fake: FakeDynamoDB, change: dict[str, Any]) -> None:
    """Key schema, attribute definitions and stream must be consistent."""
    assert outcome(fake.create_table, TableName=TABLE, **{**key_schema(), **change}) == "invalid"


def test_a_table_is_made_and_removed_once(books: FakeDynamoDB) -> None:
    """A second table with the same name is refused, and so is a second deletion."""
    assert outcome(books.create_table, TableName=TABLE, **key_schema()) == "ResourceInUseException"
    assert [outcome(books.delete_table, TableName=TABLE) for _ in range(2)] == ["ok", "ResourceNotFoundException"]


def test_the_writer_meets_a_conflict(books: FakeDynamoDB, clock: FakeClock) -> None:
    """The library writes its whole transaction or, if an item is held, nothing."""
    books.create_table(TableName="events", **key_schema("pk", "sk"))
    outbox = TransactionalOutbox("events", source="Contract", client=books, clock=clock)

    def add() -> str:
        def commit() -> None:
            with outbox.transaction() as tx:
                tx.put(TABLE, {"pk": "a"}, must_not_exist=True)
                tx.emit(Event("BookAdded", {}))

        try:
            commit()
        except Exception as error:
            return type(error).__name__
        return "ok"

    with books.hold_transaction(TransactItems=[put(TABLE, "a")]):
        assert add() == "TransactionConflictError"
        assert books.scan(TableName="events")["Count"] == 0
    assert add() == "ConditionFailedError"


def test_clock_and_stream_agree(clock: FakeClock) -> None:
    """The fake uses only the clock that it was given."""
    fake = FakeDynamoDB(clock=clock)
    fake.create_table(TableName=TABLE, **key_schema())
    created: datetime = fake.describe_table(TableName=TABLE)["Table"]["CreationDateTime"]
    assert created == clock.now()


def test_a_batch_read_can_leave_keys_unprocessed(books: FakeDynamoDB) -> None:
    """UnprocessedKeys can be sent as the next request, and only one call is limited."""
    for name in "abc":
        books.put_item(TableName=TABLE, Item={"pk": {"S": name}})
    books.limit_next_batch(1)
    request: dict[str, Any] = {TABLE: {"Keys": [{"pk": {"S": name}} for name in "abc"], "ConsistentRead": True}}
    answer = books.batch_get_item(RequestItems=request)
    assert answer["Responses"] == {TABLE: [{"pk": {"S": "a"}}]}
    assert answer["UnprocessedKeys"] == {
        TABLE: {"Keys": [{"pk": {"S": "b"}}, {"pk": {"S": "c"}}], "ConsistentRead": True}
    }
    rest = books.batch_get_item(RequestItems=answer["UnprocessedKeys"])
    assert (rest["Responses"], rest["UnprocessedKeys"]) == ({TABLE: [{"pk": {"S": "b"}}, {"pk": {"S": "c"}}]}, {})
