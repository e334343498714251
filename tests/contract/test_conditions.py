"""Condition expressions: which hold for an item, and which are refused for any item."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import outcome

if TYPE_CHECKING:
    from .engine import Engine

ITEM = {
    "pk": {"S": "a"},
    "title": {"S": "Team Topologies"},
    "n": {"N": "10"},
    "small": {"N": "9"},
    "flag": {"BOOL": True},
    "nothing": {"NULL": True},
    "bytes": {"B": b"\x00\x01\x02"},
    "tags": {"SS": ["red", "green"]},
    "numbers": {"NS": ["1", "2.5"]},
    "many": {"L": [{"S": "x"}, {"N": "5"}, {"M": {"deep": {"S": "here"}}}]},
    "nest": {"M": {"inside": {"M": {"n": {"N": "3"}}}, "dotted.name": {"S": "y"}}},
}
VALUES: dict[str, Any] = {
    ":1": {"N": "1"},
    ":3": {"N": "3"},
    ":5": {"N": "5"},
    ":9": {"N": "9"},
    ":10": {"N": "10"},
    ":ten": {"N": "1.0e1"},
    ":11": {"N": "11"},
    ":text": {"S": "10"},
    ":Team": {"S": "Team"},
    ":Topo": {"S": "Topo"},
    ":team": {"S": "team"},
    ":red": {"S": "red"},
    ":x": {"S": "x"},
    ":here": {"S": "here"},
    ":true": {"BOOL": True},
    ":false": {"BOOL": False},
    ":null": {"NULL": True},
    ":set": {"SS": ["green", "red"]},
    ":b": {"B": b"\x00\x01"},
    ":N": {"S": "N"},
    ":M": {"S": "M"},
    ":odd": {"S": "number"},
    ":l": {"L": [{"S": "x"}]},
}
NAMES = {"#n": "n", "#dotted": "dotted.name", "#t": "title"}

HOLD = [
    "attribute_exists(n)",
    "attribute_not_exists(absent)",
    "attribute_exists(many[2].deep)",
    "attribute_not_exists(many[3])",
    "attribute_not_exists(n.inside)",
    "attribute_exists(#n)",
    "nest.#dotted = :y",
    "nest.inside.n = :3",
    "many[0] = :x",
    "attribute_type(n, :N)",
    "attribute_type(nest, :M)",
    "begins_with(title, :Team)",
    "begins_with(bytes, :b)",
    "contains(title, :Topo)",
    "contains(tags, :red)",
    "contains(numbers, :1)",
    "contains(many, :5)",
    "size(title) = :15",
    "size(tags) = :2",
    "size(many) = :3",
    "size(nest) = :2",
    "size(bytes) > :1",
    "n = :10",
    "n = :ten",
    "n <> :11",
    "n <> :text",
    "absent <> :1",
    "n > :9",
    "small < n",
    "n >= :10 AND n <= :10",
    "flag = :true",
    "nothing = :null",
    "tags = :set",
    "n BETWEEN :9 AND :11",
    "n BETWEEN :10 AND :10",
    "n IN (:9, :10, :11)",
    "NOT n = :11",
    "NOT absent = :1",
    "n = :11 OR n = :10 AND flag = :true",
    "(n = :11 OR n = :10) AND flag = :true",
    "NOT (n = :11 AND flag = :true)",
    "n=:10 and flag=:true or n=:11",
    "attribute_exists(n)AND(n=:10)",
]
HOLD_NOT = [
    "attribute_exists(absent)",
    "attribute_not_exists(n)",
    "attribute_exists(nest.absent.deeper)",
    "attribute_type(n, :M)",
    "begins_with(title, :team)",
    "begins_with(absent, :Team)",
    "contains(title, :red)",
    "contains(tags, :team)",
    "contains(n, :1)",
    "size(n) = :2",
    "size(absent) > :1",
    "n = :text",
    "absent = :1",
    "absent < :1",
    "title < :10",
    "n > :10",
    "n < :9",
    "flag = :false",
    "n BETWEEN :1 AND :9",
    "absent BETWEEN :1 AND :9",
    "n IN (:9, :text)",
    "NOT attribute_exists(n)",
    "n = :11 AND (n = :10 OR flag = :true)",
    "(n = :11 OR n = :10) AND flag = :false",
]
INVALID = [
    "",
    "n",
    "n =",
    "n == :10",
    "n = :10 AND",
    "(n = :10",
    "n = :10)",
    "n = :undefined",
    "#undefined = :10",
    "((n = :10))",
    "n = :10 AND ((n = :10 OR flag = :true))",
    "attribute_exists(n, title)",
    "attribute_exists(:10)",
    "attribute_exist(n)",
    "begins_with(title)",
    "begins_with(title, :10)",
    "attribute_type(n, :odd)",
    "attribute_type(n, :10)",
    "size(n)",
    "n < :true",
    "n > :set",
    "n BETWEEN :11 AND :9",
    "n BETWEEN :9 AND :text",
    "n = n",
    "contains(title, title)",
    "n = 10",
    "title = 'text'",
    "n.#n.[0] = :1",
    "many[x] = :1",
    "status = :x",
    "name = :x",
    "attribute_exists(data)",
]
MORE_VALUES = {":y": {"S": "y"}, ":15": {"N": "15"}, ":2": {"N": "2"}}


def asked(expression: str) -> dict[str, Any]:
    """Return the parameters of a condition, with only the names and values that it uses."""
    defined = {**VALUES, **MORE_VALUES}
    words = "".join(character if character.isalnum() or character in "#:" else " " for character in expression).split()
    found = [":" + word.rpartition(":")[2] for word in words if ":" in word]
    names = ["#" + word.rpartition("#")[2] for word in words if "#" in word]
    parameters: dict[str, Any] = {"ConditionExpression": expression}
    if used := {name: NAMES[name] for name in names if name in NAMES}:
        parameters["ExpressionAttributeNames"] = used
    if values := {name: defined[name] for name in found if name in defined}:
        parameters["ExpressionAttributeValues"] = values
    return parameters


FAILED = "ConditionalCheckFailedException"
CASES = [(HOLD, "ok"), (HOLD_NOT, FAILED), (INVALID, "invalid")]


@pytest.mark.parametrize(
    ("expression", "truth"),
    [pytest.param(text, truth, id=text or "empty") for texts, truth in CASES for text in texts],
)
def test_a_condition(engine: Engine, expression: str, truth: str) -> None:
    """A put succeeds if its condition holds, fails if it doesn't, and is refused if the condition is invalid."""
    table = engine.table()
    engine.dynamodb.put_item(TableName=table, Item=ITEM)
    engine.holds(outcome(engine.dynamodb.put_item, TableName=table, Item=ITEM, **asked(expression)), truth)


@pytest.mark.parametrize(
    "surplus",
    [
        pytest.param({"ExpressionAttributeNames": {"#n": "n", "#unused": "x"}}, id="name"),
        pytest.param({"ExpressionAttributeValues": {":10": {"N": "10"}, ":unused": {"N": "1"}}}, id="value"),
        pytest.param({"ExpressionAttributeNames": {}}, id="no names"),
        pytest.param({"ExpressionAttributeValues": {}}, id="no values"),
    ],
)
def test_a_placeholder_that_nothing_uses(engine: Engine, surplus: dict[str, Any]) -> None:
    """A name or value that no expression uses is refused, and so is an empty map of them."""
    table = engine.table()
    engine.dynamodb.put_item(TableName=table, Item=ITEM)
    request = {
        "TableName": table,
        "Item": ITEM,
        "ConditionExpression": "#n = :10",
        "ExpressionAttributeNames": {"#n": "n"},
        "ExpressionAttributeValues": {":10": {"N": "10"}},
    } | surplus
    engine.holds(outcome(engine.dynamodb.put_item, **request), "invalid")


def test_names_without_an_expression(engine: Engine) -> None:
    """Names without any expression are refused."""
    table = engine.table()
    request = {"TableName": table, "Item": ITEM, "ExpressionAttributeNames": {"#n": "n"}}
    engine.holds(outcome(engine.dynamodb.put_item, **request), "invalid")


def test_a_condition_on_an_item_that_is_not_there(engine: Engine) -> None:
    """A condition on a missing item is evaluated as if the item had no attributes."""
    table = engine.table()
    conditions = ["attribute_not_exists(pk)", "attribute_exists(pk)", "n <> :10", "n = :10"]
    observed = [
        outcome(engine.dynamodb.delete_item, TableName=table, Key={"pk": {"S": "absent"}}, **asked(condition))
        for condition in conditions
    ]
    engine.holds(observed, ["ok", FAILED, "ok", FAILED])


@pytest.mark.parametrize(
    ("condition", "truth"),
    [
        ("pk = :p", ["0", "1", "10", "9", "a", "b", "ba"]),
        ("pk = :p AND begins_with(sk, :b)", ["b", "ba"]),
        ("pk = :p AND sk = :b", ["b"]),
        ("pk = :p AND sk > :one", ["10", "9", "a", "b", "ba"]),
        ("pk = :p AND sk BETWEEN :one AND :b", ["1", "10", "9", "a", "b"]),
        ("sk = :b AND pk = :p", ["b"]),
        ("sk = :b", "invalid"),
        ("pk > :p", "invalid"),
        ("pk = :p AND sk <> :b", "invalid"),
        ("pk = :p AND x = :b", "invalid"),
        ("pk = :p OR sk = :b", "invalid"),
        ("pk = :p AND contains(sk, :b)", "invalid"),
    ],
)
def test_a_query(engine: Engine, condition: str, truth: Any) -> None:
    """A query returns one partition's items in the order of the sort key, and refuses any other key condition."""
    table = engine.table("pk", "sk")
    for partition in ("p", "q"):
        for sort in ("b", "9", "10", "a", "1", "0", "ba"):
            engine.dynamodb.put_item(TableName=table, Item={"pk": {"S": partition}, "sk": {"S": sort}})
    values = {":p": {"S": "p"}, ":b": {"S": "b"}, ":one": {"S": "1"}}
    request = {
        "TableName": table,
        "KeyConditionExpression": condition,
        "ExpressionAttributeValues": {name: value for name, value in values.items() if name in condition},
    }
    observed: Any = outcome(engine.dynamodb.query, **request)
    if observed == "ok":
        observed = [item["sk"]["S"] for item in engine.dynamodb.query(**request)["Items"]]
    engine.holds(observed, truth)


@pytest.mark.parametrize("forward", [True, False])
def test_pages_of_a_query(engine: Engine, *, forward: bool) -> None:
    """Pages of at most Limit items, continued at LastEvaluatedKey, return each item once; a filter shortens pages."""
    table = engine.table("pk", "sk", sk="N")
    for number in range(5):
        item = {"pk": {"S": "p"}, "sk": {"N": str(number * 5)}, "even": {"BOOL": number % 2 == 0}}
        engine.dynamodb.put_item(TableName=table, Item=item)
    pages = []
    start: dict[str, Any] = {}
    while True:
        answer = engine.dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :p",
            FilterExpression="even = :true",
            ExpressionAttributeValues={":p": {"S": "p"}, ":true": {"BOOL": True}},
            Limit=2,
            ScanIndexForward=forward,
            **start,
        )
        pages.append([item["sk"]["N"] for item in answer["Items"]])
        if "LastEvaluatedKey" not in answer:
            break
        start = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}
    engine.holds(pages, [["0"], ["10"], ["20"]] if forward else [["20"], ["10"], ["0"]])
