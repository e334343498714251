"""TransactWriteItems: atomicity, cancellation reasons, limits and the token."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from .engine import outcome, put, update

if TYPE_CHECKING:
    from collections.abc import Callable

    from .engine import Engine

KB = 1024
ONE = {":one": {"N": "1"}}


def check(table: str, name: str, condition: str, **parameters: Any) -> dict[str, Any]:
    return {
        "ConditionCheck": {
            "TableName": table,
            "Key": {"pk": {"S": name}},
            "ConditionExpression": condition,
            **parameters,
        }
    }


def test_a_transaction_commits_all_of_its_actions(engine: Engine) -> None:
    """A put, an update that creates, a delete and a check commit together."""
    table = engine.table()
    for name in ("gone", "there"):
        engine.dynamodb.put_item(TableName=table, Item={"pk": {"S": name}})
    engine.dynamodb.transact_write_items(
        TransactItems=[
            put(table, "a", x={"S": "put"}),
            update(table, "b", "SET x = :x", ExpressionAttributeValues={":x": {"S": "set"}}),
            {"Delete": {"TableName": table, "Key": {"pk": {"S": "gone"}}}},
            {"Delete": {"TableName": table, "Key": {"pk": {"S": "never was"}}}},
            check(table, "there", "attribute_exists(pk)"),
        ]
    )
    found = sorted(engine.dynamodb.scan(TableName=table)["Items"], key=lambda item: item["pk"]["S"])
    truth = [
        {"pk": {"S": "a"}, "x": {"S": "put"}},
        {"pk": {"S": "b"}, "x": {"S": "set"}},
        {"pk": {"S": "there"}},
    ]
    engine.holds(found, truth)


def test_a_cancelled_transaction_says_why_by_position(engine: Engine) -> None:
    """Each action has a reason at its position, "None" if it did not fail; only ALL_OLD adds the old item."""
    table = engine.table()
    old = {"pk": {"S": "there"}, "n": {"N": "7"}}
    engine.dynamodb.put_item(TableName=table, Item=old)
    asked = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    condition = {"ConditionExpression": "attribute_not_exists(pk)"}
    actions = [
        put(table, "new"),
        put(table, "there", **condition, **asked),
        check(table, "missing", "attribute_exists(pk)", **asked),
        put(table, "newer", **condition, **asked),
    ]
    with pytest.raises(ClientError) as caught:
        engine.dynamodb.transact_write_items(TransactItems=actions)
    reasons: Any = caught.value.response["CancellationReasons"]
    observed = [{name: value for name, value in reason.items() if name != "Message"} for reason in reasons]
    failed = "ConditionalCheckFailed"
    engine.holds(observed, [{"Code": "None"}, {"Code": failed, "Item": old}, {"Code": failed}, {"Code": "None"}])


def test_an_old_item_is_not_told_unasked(engine: Engine) -> None:
    """Without ALL_OLD a failed condition has no item, and only failed actions have a message."""
    table = engine.table()
    engine.dynamodb.put_item(TableName=table, Item={"pk": {"S": "there"}})
    with pytest.raises(ClientError) as caught:
        engine.dynamodb.transact_write_items(
            TransactItems=[put(table, "new"), put(table, "there", ConditionExpression="attribute_not_exists(pk)")]
        )
    reasons: Any = caught.value.response["CancellationReasons"]
    engine.holds([sorted(reason) for reason in reasons], [["Code"], ["Code", "Message"]])


def test_a_cancelled_transaction_writes_nothing(engine: Engine) -> None:
    """If one condition fails, the actions before and after it are not applied."""
    table = engine.table()
    there = {"pk": {"S": "there"}, "n": {"N": "7"}}
    engine.dynamodb.put_item(TableName=table, Item=there)
    happened = outcome(
        engine.dynamodb.transact_write_items,
        TransactItems=[
            put(table, "before"),
            check(table, "missing", "attribute_exists(pk)"),
            update(table, "there"),
        ],
    )
    items = engine.dynamodb.scan(TableName=table)["Items"]
    engine.holds((happened, items), ("cancelled: None, ConditionalCheckFailed, None", [there]))


@pytest.mark.parametrize(("count", "truth"), [(100, "ok"), (101, "invalid")])
def test_a_transaction_has_at_most_100_actions(engine: Engine, count: int, truth: str) -> None:
    """The 101st action makes the server refuse the transaction."""
    table = engine.table()
    actions = [check(table, str(number), "attribute_not_exists(pk)") for number in range(count)]
    engine.holds(outcome(engine.dynamodb.transact_write_items, TransactItems=actions), truth)


@pytest.mark.parametrize("second", ["put", "update", "delete", "check"])
def test_an_item_stands_in_one_action_only(engine: Engine, second: str) -> None:
    """Two actions for the same item are refused, whatever their types."""
    table = engine.table()
    actions = {
        "put": put(table),
        "update": update(table),
        "delete": {"Delete": {"TableName": table, "Key": {"pk": {"S": "a"}}}},
        "check": check(table, "a", "attribute_not_exists(pk)"),
    }
    happened = outcome(engine.dynamodb.transact_write_items, TransactItems=[put(table), actions[second]])
    engine.holds((happened, engine.item(table)), ("invalid", None))


@pytest.mark.parametrize("operation", ["put_item", "transact_write_items"])
@pytest.mark.parametrize(("surplus", "truth"), [(0, "ok"), (1, "invalid")])
def test_an_item_has_at_most_400_kb(engine: Engine, operation: str, surplus: int, truth: str) -> None:
    """An item of 400 KB, including its attribute names, is accepted; one byte more is refused."""
    table = engine.table()
    action = put(table, "a", x={"S": "x" * (400 * KB - len("pk") - len("a") - len("x") + surplus)})
    request = action["Put"] if operation == "put_item" else {"TransactItems": [action]}
    engine.holds(outcome(getattr(engine.dynamodb, operation), **request), truth)


def test_an_update_can_outgrow_400_kb(engine: Engine) -> None:
    """An update that makes its item larger than 400 KB is refused and changes nothing."""
    table = engine.table()
    half = {"S": "x" * 250 * KB}
    engine.dynamodb.put_item(TableName=table, Item={"pk": {"S": "a"}, "x": half})
    action = update(table, "a", "SET y = :y", ExpressionAttributeValues={":y": half})
    happened = outcome(engine.dynamodb.transact_write_items, TransactItems=[action])
    engine.holds((happened, sorted(engine.item(table) or {})), ("invalid", ["pk", "x"]))


def test_a_transaction_has_at_most_4_mb(engine: Engine) -> None:
    """Eleven items of 390 KB exceed 4 MB together and are refused."""
    table = engine.table()
    actions = [put(table, str(number), x={"S": "x" * 390 * KB}) for number in range(11)]
    engine.holds(outcome(engine.dynamodb.transact_write_items, TransactItems=actions), "invalid")


def test_a_table_that_is_not_there(engine: Engine) -> None:
    """A transaction that names an unknown table is refused as a whole, with the table's error."""
    table = engine.table()
    happened = outcome(engine.dynamodb.transact_write_items, TransactItems=[put(table), put("contract-unknown")])
    engine.holds((happened, engine.item(table)), ("ResourceNotFoundException", None))


@pytest.mark.parametrize(
    "key",
    [
        pytest.param({"pk": {"S": "a"}}, id="no sort key"),
        pytest.param({"sk": {"S": "a"}}, id="no partition key"),
        pytest.param({"pk": {"N": "1"}, "sk": {"S": "a"}}, id="another type"),
        pytest.param({"pk": {"S": ""}, "sk": {"S": "a"}}, id="empty text"),
        pytest.param({"pk": {"S": "a"}, "sk": {"S": ""}}, id="empty sort key"),
        pytest.param({"pk": {"S": "x" * 2049}, "sk": {"S": "a"}}, id="2049 bytes"),
        pytest.param({"pk": {"S": "a"}, "sk": {"S": "x" * 1025}}, id="sort key of 1025 bytes"),
    ],
)
@pytest.mark.parametrize("kind", ["Put", "Delete"])
def test_a_key_that_is_not_the_tables(engine: Engine, kind: str, key: dict[str, Any]) -> None:
    """A key with a missing, empty or too long attribute or one of a wrong type is refused; nothing is written."""
    table = engine.table("pk", "sk")
    action = {"Put": {"Item": key}, "Delete": {"Key": key}}[kind]
    sound = {"Put": {"TableName": table, "Item": {"pk": {"S": "b"}, "sk": {"S": "b"}}}}
    actions = [sound, {kind: {"TableName": table, **action}}]
    happened = outcome(engine.dynamodb.transact_write_items, TransactItems=actions)
    engine.holds((happened, engine.dynamodb.scan(TableName=table)["Count"]), ("invalid", 0))


@pytest.mark.parametrize("kind", ["Put", "Update", "Delete", "ConditionCheck"])
@pytest.mark.parametrize("empty", ["pk", "sk"])
def test_an_empty_key_fails_the_request(engine: Engine, kind: str, empty: str) -> None:
    """An empty text in a key fails a transaction as a whole, and a single write, with a ValidationException."""
    table = engine.table("pk", "sk")
    key = {"pk": {"S": "a"}, "sk": {"S": "a"}, empty: {"S": ""}}
    request: dict[str, Any] = {"TableName": table, "Item" if kind == "Put" else "Key": key}
    single = {
        "Put": engine.dynamodb.put_item,
        "Update": engine.dynamodb.update_item,
        "Delete": engine.dynamodb.delete_item,
        "ConditionCheck": engine.dynamodb.get_item,
    }[kind]
    if kind == "Update":
        request |= {"UpdateExpression": "SET n = :n", "ExpressionAttributeValues": {":n": {"N": "1"}}}
    happened = [_code(single, **request)]
    if kind == "ConditionCheck":
        request |= {"ConditionExpression": "attribute_not_exists(pk)"}
    sound = {"Put": {"TableName": table, "Item": {"pk": {"S": "b"}, "sk": {"S": "b"}}}}
    happened.append(_code(engine.dynamodb.transact_write_items, TransactItems=[sound, {kind: request}]))
    count = engine.dynamodb.scan(TableName=table)["Count"]
    engine.holds((happened, count), (["ValidationException"] * 2, 0))


def _code(call: Callable[..., Any], **request: Any) -> str:
    try:
        call(**request)
    except ClientError as error:
        code: str = error.response["Error"]["Code"]
        return code
    except Exception:
        return "breaks"
    return "ok"


def test_a_key_with_too_many_attributes(engine: Engine) -> None:
    """A key that names more than the table's key attributes is refused."""
    table = engine.table()
    request = {"TableName": table, "Key": {"pk": {"S": "a"}, "x": {"S": "a"}}}
    engine.holds(outcome(engine.dynamodb.delete_item, **request), "invalid")


def test_the_same_token_and_body_again_write_nothing(engine: Engine) -> None:
    """A repeated request with the same ClientRequestToken succeeds without a write or a stream record."""
    table = engine.table(stream="NEW_IMAGE")
    request = {"TransactItems": [update(table)], "ClientRequestToken": f"again-{table[-12:]}"}
    happened = [outcome(engine.dynamodb.transact_write_items, **request) for _ in range(2)]
    item = engine.item(table)
    records = engine.records(table)
    engine.holds((happened, item, len(records)), (["ok", "ok"], {"pk": {"S": "a"}, "n": {"N": "1"}}, 1))


def test_the_same_token_with_another_body_is_refused(engine: Engine) -> None:
    """A used ClientRequestToken with another body is refused as a mismatch, and nothing is written."""
    table = engine.table()
    token = f"other-{table[-12:]}"
    happened = [
        outcome(engine.dynamodb.transact_write_items, TransactItems=[put(table, name)], ClientRequestToken=token)
        for name in ("a", "b")
    ]
    observed = (happened, engine.item(table, pk={"S": "b"}))
    engine.holds(observed, (["ok", "IdempotentParameterMismatchException"], None))


def test_without_a_token_two_calls_are_two_transactions(engine: Engine) -> None:
    """botocore's generated token covers only its own retries: a second call writes again."""
    table = engine.table()
    for _ in range(2):
        engine.dynamodb.transact_write_items(TransactItems=[update(table)])
    engine.holds((engine.item(table) or {}).get("n"), {"N": "2"})


def test_of_eight_at_once_each_acknowledged_write_stands(engine: Engine) -> None:
    """Eight threads increment an item conditionally; its final value is the number of successful transactions."""
    table = engine.table()
    engine.dynamodb.put_item(TableName=table, Item={"pk": {"S": "a"}, "n": {"N": "0"}})

    def count(_: int) -> int:
        succeeded = 0
        for _ in range(10):
            met = (engine.item(table) or {})["n"]
            action = update(
                table,
                "a",
                "SET n = n + :one",
                ConditionExpression="n = :met",
                ExpressionAttributeValues={":met": met, **ONE},
            )
            succeeded += outcome(engine.dynamodb.transact_write_items, TransactItems=[action]) == "ok"
        return succeeded

    with ThreadPoolExecutor(8) as threads:
        succeeded = sum(threads.map(count, range(8)))
    engine.holds((engine.item(table) or {})["n"] == {"N": str(succeeded)} and succeeded > 0, truth=True)


@pytest.mark.parametrize("wanted", ["ALL_OLD", "NONE"])
def test_a_single_write_tells_the_old_item_when_asked(engine: Engine, wanted: str) -> None:
    """A put whose condition fails returns the existing item only with ALL_OLD."""
    table = engine.table()
    old = {"pk": {"S": "a"}, "n": {"N": "7"}}
    engine.dynamodb.put_item(TableName=table, Item=old)
    with pytest.raises(ClientError) as caught:
        engine.dynamodb.put_item(
            TableName=table,
            Item={"pk": {"S": "a"}},
            ConditionExpression="attribute_not_exists(pk)",
            ReturnValuesOnConditionCheckFailure=wanted,
        )
    answer: Any = caught.value.response
    observed = (answer["Error"]["Code"], answer.get("Item"), engine.item(table))
    engine.holds(observed, ("ConditionalCheckFailedException", old if wanted == "ALL_OLD" else None, old))


@pytest.mark.parametrize(
    ("wanted", "truth"),
    [
        ("NONE", None),
        ("ALL_OLD", {"pk": {"S": "a"}, "n": {"N": "1"}, "m": {"N": "5"}}),
        ("ALL_NEW", {"pk": {"S": "a"}, "n": {"N": "2"}, "m": {"N": "5"}}),
        ("UPDATED_OLD", {"n": {"N": "1"}}),
        ("UPDATED_NEW", {"n": {"N": "2"}}),
    ],
)
def test_an_update_returns_what_is_asked_for(engine: Engine, wanted: str, truth: Any) -> None:
    """ReturnValues selects the old or the new image, complete or only the updated attributes."""
    table = engine.table()
    engine.dynamodb.put_item(TableName=table, Item={"pk": {"S": "a"}, "n": {"N": "1"}, "m": {"N": "5"}})
    answer = engine.dynamodb.update_item(**update(table)["Update"], ReturnValues=wanted)
    engine.holds(answer.get("Attributes"), truth)
