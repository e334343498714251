"""Update expressions: their effects on an item, and the expressions that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import outcome

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .engine import Engine

ITEM: dict[str, Any] = {
    "pk": {"S": "a"},
    "n": {"N": "10"},
    "m": {"N": "3"},
    "s": {"S": "text"},
    "tags": {"SS": ["red", "green"]},
    "ns": {"NS": ["1", "2"]},
    "l": {"L": [{"S": "0"}, {"S": "1"}, {"S": "2"}]},
    "nest": {"M": {"k": {"S": "v"}, "n": {"N": "1"}}},
}
VALUES: dict[str, Any] = {
    ":one": {"N": "1"},
    ":half": {"N": "0.50"},
    ":text": {"S": "new"},
    ":red": {"SS": ["red"]},
    ":both": {"SS": ["red", "green"]},
    ":blue": {"SS": ["blue", "red"]},
    ":ns": {"NS": ["2", "3.0"]},
    ":list": {"L": [{"S": "more"}]},
    ":empty": {"L": []},
    ":max": {"N": "9.9999999999999999999999999999999999999E+125"},
}


def texts(*members: str) -> dict[str, Any]:
    return {"L": [{"S": member} for member in members]}


CHANGES: list[tuple[str, dict[str, Any]]] = [
    ("SET x = :text", {"x": {"S": "new"}}),
    ("SET n = n + :one", {"n": {"N": "11"}}),
    ("SET n = n - :half", {"n": {"N": "9.5"}}),
    ("SET n = :one - n", {"n": {"N": "-9"}}),
    ("SET n = m, m = n", {"n": {"N": "3"}, "m": {"N": "10"}}),
    ("SET n = n + m, m = n", {"n": {"N": "13"}, "m": {"N": "10"}}),
    ("SET x = if_not_exists(x, :one)", {"x": {"N": "1"}}),
    ("SET n = if_not_exists(n, :one)", {}),
    ("SET x = if_not_exists(x, :one) + :one", {"x": {"N": "2"}}),
    ("SET l = list_append(l, :list)", {"l": texts("0", "1", "2", "more")}),
    ("SET l = list_append(:list, l)", {"l": texts("more", "0", "1", "2")}),
    ("SET x = list_append(if_not_exists(x, :empty), :list)", {"x": texts("more")}),
    ("SET l[1] = :text", {"l": texts("0", "new", "2")}),
    ("SET l[99] = :text", {"l": texts("0", "1", "2", "new")}),
    ("SET nest.k = :text", {"nest": {"M": {"k": {"S": "new"}, "n": {"N": "1"}}}}),
    ("SET nest.fresh = nest.n + :one", {"nest": {"M": {"k": {"S": "v"}, "n": {"N": "1"}, "fresh": {"N": "2"}}}}),
    ("REMOVE s", {"s": None}),
    ("REMOVE absent", {}),
    ("REMOVE l[0]", {"l": texts("1", "2")}),
    ("REMOVE l[0], l[2]", {"l": texts("1")}),
    ("REMOVE l[99]", {}),
    ("REMOVE nest.k", {"nest": {"M": {"n": {"N": "1"}}}}),
    ("ADD n :one", {"n": {"N": "11"}}),
    ("ADD fresh :one", {"fresh": {"N": "1"}}),
    ("ADD tags :blue", {"tags": {"SS": ["blue", "green", "red"]}}),
    ("ADD fresh :red", {"fresh": {"SS": ["red"]}}),
    ("ADD ns :ns", {"ns": {"NS": ["1", "2", "3"]}}),
    ("DELETE tags :red", {"tags": {"SS": ["green"]}}),
    ("DELETE tags :both", {"tags": None}),
    ("DELETE absent :red", {}),
    (
        "SET x = n REMOVE s ADD m :one DELETE tags :red",
        {"x": {"N": "10"}, "s": None, "m": {"N": "4"}, "tags": {"SS": ["green"]}},
    ),
    ("set x = :text remove s", {"x": {"S": "new"}, "s": None}),
]
INVALID = [
    "",
    "x = :one",
    "SET",
    "SET x",
    "SET x = :one,",
    "SET x = :undefined",
    "SET x = #undefined",
    "SET x = :one SET y = :one",
    "SET x = :one, x = :one",
    "SET nest.k = :one, nest = :one",
    "SET x = n + n + :one",
    "SET x = absent",
    "SET x = absent + :one",
    "SET n = n + :text",
    "SET x = s + :one",
    "SET x = list_append(l, :text)",
    "SET x = list_append(s, :list)",
    "SET x = size(l)",
    "SET absent.k = :one",
    "SET s.k = :one",
    "SET l.k = :one",
    "SET absent[0] = :one",
    "SET x = n * :one",
    "SET n = n + :max",
    "SET x = :max + :max",
    "SET pk = :text",
    "REMOVE pk",
    "REMOVE absent.k",
    "ADD s :one",
    "ADD n :text",
    "ADD n :red",
    "ADD tags :ns",
    "ADD n = :one",
    "DELETE n :one",
    "DELETE tags :ns",
    "DELETE s :red",
    "SET status = :one",
    "REMOVE data",
]


def asked(expression: str) -> dict[str, Any]:
    """Return the parameters of an update, with only the values that it uses."""
    words = expression.replace(",", " ").replace(")", " ").replace("(", " ").split()
    values = {word: VALUES[word] for word in words if word in VALUES}
    return {"UpdateExpression": expression, **({"ExpressionAttributeValues": values} if values else {})}


def changed(engine: Engine, table: str) -> dict[str, Any]:
    """Return the item's new and changed attributes, and None for each removed one."""
    before, after = with_sorted_sets(ITEM), with_sorted_sets(engine.item(table) or {})
    return {name: after.get(name) for name in {**before, **after} if before.get(name) != after.get(name)}


def with_sorted_sets(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return the item with its sets' members sorted, because sets have no order."""
    return {
        name: {tag: sorted(value) if tag in ("SS", "NS") else value for tag, value in typed.items()}
        for name, typed in item.items()
    }


@pytest.mark.parametrize(("expression", "changes"), [pytest.param(*case, id=case[0]) for case in CHANGES])
def test_an_update(engine: Engine, expression: str, changes: dict[str, Any]) -> None:
    """An update changes only the attributes that it names, and its operands have the values before the update."""
    table = engine.table()
    engine.dynamodb.put_item(TableName=table, Item=ITEM)
    observed: Any = outcome(engine.dynamodb.update_item, TableName=table, Key={"pk": {"S": "a"}}, **asked(expression))
    if observed == "ok":
        observed = changed(engine, table)
    engine.holds(observed, changes)


@pytest.mark.parametrize("expression", [pytest.param(text, id=text or "empty") for text in INVALID])
@pytest.mark.parametrize("operation", ["update_item", "transact_write_items"])
def test_an_update_that_is_refused(engine: Engine, operation: str, expression: str) -> None:
    """An update that is not a valid expression, or does not fit its item, is refused and changes nothing."""
    table = engine.table()
    engine.dynamodb.put_item(TableName=table, Item=ITEM)
    action = {"TableName": table, "Key": {"pk": {"S": "a"}}, **asked(expression)}
    request = action if operation == "update_item" else {"TransactItems": [{"Update": action}]}
    happened = outcome(getattr(engine.dynamodb, operation), **request)
    engine.holds((happened, "changed" if changed(engine, table) else "as before"), ("invalid", "as before"))


def test_an_update_creates_its_item(engine: Engine) -> None:
    """An update of a missing item creates it from the key and the changes."""
    table = engine.table()
    engine.dynamodb.update_item(TableName=table, Key={"pk": {"S": "a"}}, **asked("SET x = :text ADD n :one"))
    engine.holds(engine.item(table), {"pk": {"S": "a"}, "x": {"S": "new"}, "n": {"N": "1"}})
