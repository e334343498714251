"""Typed values: their stored form, and the values that are refused."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from .engine import outcome

if TYPE_CHECKING:
    from .engine import Engine

NUMBERS = {
    "1.50": "1.5",
    "007": "7",
    "+5": "5",
    "-0": "0",
    "0.0": "0",
    "1e2": "100",
    "1.20E1": "12",
    ".5": "0.5",
    "-1.10": "-1.1",
    "100": "100",
    "0.00001": "0.00001",
    "1E125": "1" + "0" * 125,
    "1E-130": "0." + "0" * 129 + "1",
    "12345678901234567890123456789012345678": "12345678901234567890123456789012345678",
    "123456789012345678901234567890123456780000": "123456789012345678901234567890123456780000",
    "9.9999999999999999999999999999999999999E125": "9" * 38 + "0" * 88,
}
NO_NUMBERS = [
    "",
    "abc",
    "1,5",
    "0x10",
    "NaN",
    "Infinity",
    "1_000",
    "1 2",
    "123456789012345678901234567890123456789",
    "1E126",
    "1E-131",
]


def nested(levels: int) -> dict[str, Any]:
    """Return a string in so many nested lists."""
    value: dict[str, Any] = {"S": "core"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


KEPT: dict[str, Any] = {
    "empty text": {"S": ""},
    "empty binary": {"B": b""},
    "binary": {"B": b"\x00\xff"},
    "empty list": {"L": []},
    "empty map": {"M": {}},
    "null": {"NULL": True},
    "false": {"BOOL": False},
    "text of many planes": {"S": "naïve 日本 🚀"},
    "a list of everything": {"L": [{"S": ""}, {"N": "1"}, {"M": {"deep": {"L": [{"BOOL": True}]}}}]},
    "32 levels, its core being one": nested(31),
}
REFUSED: dict[str, Any] = {
    "empty text set": {"SS": []},
    "empty number set": {"NS": []},
    "empty binary set": {"BS": []},
    "a text twice in a set": {"SS": ["x", "x"]},
    "a number twice in a set": {"NS": ["1", "1.0"]},
    "null that is false": {"NULL": False},
    "no type": {},
    "two types": {"S": "x", "N": "1"},
    "an empty set in a list": {"L": [{"SS": []}]},
    "a bad number in a map": {"M": {"deep": {"N": "abc"}}},
    "a bad number in a set": {"NS": ["1", "abc"]},
    "33 levels": nested(32),
}


def put(engine: Engine, typed: dict[str, Any]) -> tuple[str, Any]:
    """Put an item with a value; return the outcome and the stored value."""
    table = engine.table()
    happened = outcome(engine.dynamodb.put_item, TableName=table, Item={"pk": {"S": "a"}, "x": typed})
    return happened, (engine.item(table) or {}).get("x") if happened == "ok" else None


@pytest.mark.parametrize("given", NUMBERS)
def test_a_number_is_kept_in_one_plain_form(engine: Engine, given: str) -> None:
    """A number is returned without exponent, redundant sign or zeros, and with all of its up to 38 digits."""
    engine.holds(put(engine, {"N": given}), ("ok", {"N": NUMBERS[given]}))


@pytest.mark.parametrize("given", [pytest.param(text, id=text or "empty") for text in NO_NUMBERS])
def test_what_is_no_number_is_refused(engine: Engine, given: str) -> None:
    """Text that is not a number, 39 digits, and magnitudes out of range are refused."""
    engine.holds(put(engine, {"N": given})[0], "invalid")


@pytest.mark.parametrize("kind", KEPT)
def test_a_value_is_kept(engine: Engine, kind: str) -> None:
    """A value is returned as it was put, including empty strings and binary outside keys, and 32 levels of nesting."""
    engine.holds(put(engine, KEPT[kind]), ("ok", KEPT[kind]))


@pytest.mark.parametrize("kind", REFUSED)
def test_a_value_is_refused(engine: Engine, kind: str) -> None:
    """Empty sets, duplicate members, a false null, no type or two types, and 33 levels are refused at any depth."""
    engine.holds(put(engine, REFUSED[kind])[0], "invalid")


def test_the_value_of_an_expression_is_checked_too(engine: Engine) -> None:
    """A value that an item can't contain is refused in an expression too."""
    table = engine.table()
    happened = outcome(
        engine.dynamodb.update_item,
        TableName=table,
        Key={"pk": {"S": "a"}},
        UpdateExpression="SET x = :x",
        ExpressionAttributeValues={":x": {"SS": []}},
    )
    engine.holds((happened, engine.item(table)), ("invalid", None))


def test_a_number_is_one_key_however_it_is_written(engine: Engine) -> None:
    """1, 1.0 and 1e0 are the same key."""
    table = engine.table("pk", pk="N")
    for number in ("1", "1.0"):
        engine.dynamodb.put_item(TableName=table, Item={"pk": {"N": number}})
    found = engine.item(table, pk={"N": "1e0"})
    engine.holds((engine.dynamodb.scan(TableName=table)["Count"], found), (1, {"pk": {"N": "1"}}))
