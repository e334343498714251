"""BatchGetItem: the items found and the requests refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import answered, outcome

if TYPE_CHECKING:
    from .engine import Engine


def key(name: str) -> dict[str, Any]:
    return {"pk": {"S": name}}


def test_a_batch_read_finds_what_is_there(engine: Engine) -> None:
    """A batch read of keys in two tables returns the items that exist, and nothing for the other keys."""
    first, second = engine.table(), engine.table()
    for table, name in ((first, "a"), (first, "b"), (second, "c")):
        engine.dynamodb.put_item(TableName=table, Item={**key(name), "n": {"N": "1"}})
    asked = {
        first: {"Keys": [key("a"), key("b"), key("x")], "ConsistentRead": True},
        second: {"Keys": [key("c")], "ConsistentRead": True},
    }
    answer = engine.dynamodb.batch_get_item(RequestItems=asked)
    found = {table: sorted(item["pk"]["S"] for item in answer["Responses"][table]) for table in asked}
    engine.holds((found, answer["UnprocessedKeys"]), ({first: ["a", "b"], second: ["c"]}, {}))


def test_a_batch_read_that_finds_nothing(engine: Engine) -> None:
    """A table without found items has an empty list."""
    table = engine.table()
    engine.holds(engine.dynamodb.batch_get_item(RequestItems={table: {"Keys": [key("a")]}})["Responses"], {table: []})


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param([key("a"), key("a")], id="twice"),
        pytest.param([key(str(number)) for number in range(101)], id="101 keys"),
        pytest.param([{"name": {"S": "a"}}], id="another key"),
        pytest.param([{"pk": {"N": "1"}}], id="another type"),
    ],
)
def test_a_batch_read_that_is_refused(engine: Engine, keys: list[dict[str, Any]]) -> None:
    """A duplicate key, more than 100 keys, or a key that does not fit the table: the whole request is refused."""
    table = engine.table()
    engine.holds(outcome(engine.dynamodb.batch_get_item, RequestItems={table: {"Keys": keys}}), "invalid")


def test_a_batch_read_of_no_table(engine: Engine) -> None:
    """A table that does not exist fails the call."""
    request = {"contract-none": {"Keys": [key("a")]}}
    engine.holds(answered(engine.dynamodb.batch_get_item, RequestItems=request)[0], "ResourceNotFoundException")
