"""Conversion between DynamoDB's typed values and Python's."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Any

import pytest
from boto3.dynamodb.types import DYNAMODB_CONTEXT, Binary, TypeDeserializer, TypeSerializer
from hypothesis import example, given
from hypothesis import strategies as st

from dynamo_outbox import decode_item, encode_item
from dynamo_outbox.errors import DecodeError, EncodeError

from ..strategies import dynamodb_items, json_values, numbers

MOST_DIGITS = "1." + 37 * "1"


class Genre(str, Enum):  # noqa: UP042  # the kind of enum whose str() is its name
    SOFTWARE = "software"


class Edition(IntEnum):
    SECOND = 2


class Price(float):
    def __repr__(self) -> str:
        return f"Price({float(self)})"


def in_boto3s_range(item: object) -> bool:
    """Return whether boto3's serializers accept each number; near 1E-130 they do not accept 38 digits."""
    if isinstance(item, dict):
        return all(map(in_boto3s_range, item.values()))
    if isinstance(item, (list, set)):
        return all(map(in_boto3s_range, item))
    return not isinstance(item, Decimal) or int(item.as_tuple().exponent) >= DYNAMODB_CONTEXT.Etiny()


@given(item=dynamodb_items)
def test_an_item_comes_back_as_it_was_written(item: dict[str, Any]) -> None:
    """Decoding an encoded item returns the item."""
    assert decode_item(encode_item(item)) == item


@given(item=dynamodb_items)
def test_binary_reads_the_same_from_lambda_as_from_boto3(item: dict[str, Any]) -> None:
    """Binary is decoded alike from Lambda's base64 and from boto3's bytes."""
    as_lambda_sends_it = json.loads(json.dumps(encode_item(item), default=lambda data: b64encode(data).decode()))
    assert decode_item(as_lambda_sends_it) == item


@given(item=dynamodb_items.filter(in_boto3s_range))
def test_encoding_agrees_with_boto3(item: dict[str, Any]) -> None:
    """A value that TypeSerializer accepts is encoded as by TypeSerializer."""
    serializer = TypeSerializer()
    assert encode_item(item) == {name: serializer.serialize(value) for name, value in item.items()}


@given(item=dynamodb_items.filter(in_boto3s_range).map(encode_item))
def test_decoding_agrees_with_boto3(item: dict[str, Any]) -> None:
    """A value that TypeDeserializer accepts is decoded as by TypeDeserializer."""
    deserializer = TypeDeserializer()
    assert decode_item(item) == {name: deserializer.deserialize(value) for name, value in item.items()}


@given(number=numbers)
@example(number=Decimal(f"{MOST_DIGITS}E-130"))
@example(number=Decimal(f"{MOST_DIGITS}E+125"))
def test_a_number_keeps_all_its_digits(number: Decimal) -> None:
    """A number of up to 38 digits is written and read exactly, over DynamoDB's whole range."""
    decoded = decode_item(encode_item({"number": number}))["number"]
    assert (decoded, decoded.as_tuple()) == (number, number.as_tuple())


@given(number=numbers, zeros=st.integers(1, 200))
@example(number=Decimal("123456789517168"), zeros=25)
@example(number=Decimal(1), zeros=100)
def test_trailing_zeros_are_not_digits(number: Decimal, zeros: int) -> None:
    """A number with zeros after its 38 digits, as DynamoDB stores and returns it, is read and written exactly."""
    sign, digits, exponent = number.as_tuple()
    longer = Decimal((sign, (*digits, *(0,) * zeros), int(exponent) - zeros))
    assert longer == number
    typed = encode_item({"number": longer, "list": [longer], "set": {longer}})
    assert decode_item(typed) == {"number": number, "list": [number], "set": {number}}
    assert len(re.sub(r"E.*|\D", "", typed["number"]["N"]).lstrip("0")) <= 38


@pytest.mark.parametrize("text", ["1234567895171680000000000000000000000000", "1" + 100 * "0", "-9" + 60 * "0"])
def test_an_integer_that_was_read_can_be_written(text: str) -> None:
    """An int of more than 38 digits is writable if all others are zeros, by itself and in a set."""
    assert decode_item({"n": {"N": text}}) == {"n": int(text)}
    for value in (int(text), Decimal(text)):
        for item in ({"n": value}, {"n": [value]}, {"n": {value}}):
            assert decode_item(encode_item(item)) == item
    assert decode_item(encode_item({"n": float(text)})) == {"n": int(text)}


JSON_FORMS: list[tuple[Any, Any]] = [
    (Decimal(2019), 2019),
    (Decimal("24.950"), 24.95),
    (Decimal("2.0"), 2),
    (Decimal("-0"), 0),
    (Decimal("1E+2"), 100),
    (Decimal("1E+125"), 10**125),
    (Decimal("12345678901234567890123456789012345678"), 12345678901234567890123456789012345678),
    (Decimal("1E-130"), 1e-130),
    ("text", "text"),
    (True, True),
    (None, None),
    (b"\x00\xff", "AP8="),
    ({"b", "a"}, ["a", "b"]),
    ({Decimal(10), Decimal(9), Decimal("0.5")}, [0.5, 9, 10]),
    ({b"b", b"a"}, ["YQ==", "Yg=="]),
    ([Decimal(1), [{"x": Decimal("1.5")}, {Decimal(2)}]], [1, [{"x": 1.5}, [2]]]),
]


@pytest.mark.parametrize(("value", "expected"), JSON_FORMS)
def test_values_are_read_as_json_on_request(value: Any, expected: Any) -> None:
    """With `as_json`, a number is an int, or a float if it has a fraction; a set is a sorted list, binary is base64."""
    typed = encode_item({"attribute": value})
    read = decode_item(typed, as_json=True)["attribute"]
    assert (read, type(read)) == (expected, type(expected))
    assert type(decode_item(typed)["attribute"]) is type(value)


@given(item=dynamodb_items)
def test_an_item_read_as_json_is_json(item: dict[str, Any]) -> None:
    """Every item read with `as_json` can be written as JSON and read back; numbers are rounded to doubles."""
    read = decode_item(encode_item(item), as_json=True)
    assert json.loads(json.dumps(read, allow_nan=False)) == read
    assert read.keys() == item.keys()
    for name, value in item.items():
        if isinstance(value, Decimal):
            assert read[name] == (int(value) if value == int(value) else float(value))


def test_reading_as_json_is_as_strict() -> None:
    """With `as_json`, a malformed item raises the same error with the same path."""
    malformed: list[Any] = [{"a": {"N": "x"}}, {"a": {"L": [{"s": "x"}]}}, []]
    for item in malformed:
        errors = []
        for as_json in (False, True):
            with pytest.raises(DecodeError) as caught:
                decode_item(item, as_json=as_json)
            errors.append(str(caught.value))
        assert errors[0] == errors[1]


@given(payload=json_values | st.dictionaries(st.text(), st.dictionaries(st.sampled_from(["S", "N", "B"]), json_values)))
def test_decoding_raises_nothing_but_decode_errors(payload: Any) -> None:
    """Any JSON value is decoded or raises DecodeError."""
    with suppress(DecodeError):
        assert isinstance(decode_item(payload), dict)


@pytest.mark.parametrize(
    ("value", "typed"),
    [
        ("Team Topologies", {"S": "Team Topologies"}),
        ("", {"S": ""}),
        (Genre.SOFTWARE, {"S": "software"}),
        ({Genre.SOFTWARE}, {"SS": ["software"]}),
        (2019, {"N": "2019"}),
        (Edition.SECOND, {"N": "2"}),
        (0.1, {"N": "0.1"}),
        (Price(24.95), {"N": "24.95"}),
        (Decimal("24.950"), {"N": "24.950"}),
        (True, {"BOOL": True}),
        (None, {"NULL": True}),
        (b"\x00", {"B": b"\x00"}),
        (bytearray(b"\x00"), {"B": b"\x00"}),
        (Binary(b"\x00"), {"B": b"\x00"}),
        ((), {"L": []}),
        (("Skelton", "Pais"), {"L": [{"S": "Skelton"}, {"S": "Pais"}]}),
        ({}, {"M": {}}),
        (OrderedDict(year=2019), {"M": {"year": {"N": "2019"}}}),
        ({Genre.SOFTWARE: 1}, {"M": {"software": {"N": "1"}}}),
        (frozenset({2019}), {"NS": ["2019"]}),
        ({1.5}, {"NS": ["1.5"]}),
        ({b"\x00"}, {"BS": [b"\x00"]}),
    ],
)
def test_each_python_type_has_its_typed_form(value: object, typed: dict[str, Any]) -> None:
    """A Python value is encoded with the type tag of its type; subclasses are encoded by their value."""
    assert encode_item({"attribute": value}) == {"attribute": typed}


@pytest.mark.parametrize(
    ("item", "path"),
    [
        (["no map"], ""),
        ({1: "a"}, ""),
        ({"published": datetime(2019, 9, 17, tzinfo=UTC)}, "published"),
        ({"authors": set()}, "authors"),
        ({"authors": {"Matthew Skelton", 1}}, "authors"),
        ({"flags": {True}}, "flags"),
        ({"prices": {Decimal("1E+126")}}, "prices"),
        ({"book": {"authors": ["Matthew Skelton", object()]}}, "book.authors[1]"),
        ({"book": {2019: "year"}}, "book"),
    ],
)
def test_what_dynamodb_has_no_type_for_is_refused(item: Any, path: str) -> None:
    """A value without a DynamoDB type raises EncodeError, a TypeError, with its path."""
    with pytest.raises(EncodeError) as caught:
        encode_item(item)
    assert isinstance(caught.value, TypeError)
    assert caught.value.path == path


@pytest.mark.parametrize(
    "number",
    [
        *map(Decimal, ("NaN", "sNaN", "Infinity", "-Infinity", "1E-131", "1E+126", f"{MOST_DIGITS}1")),
        10**38 + 1,
        float("nan"),
        float("inf"),
        1e300,
    ],
    ids=str,
)
def test_a_number_that_dynamodb_cannot_hold_is_not_written(number: Any) -> None:
    """NaN, infinities, more than 38 digits and magnitudes out of range are refused."""
    with pytest.raises(EncodeError, match=r"^price: "):
        encode_item({"price": number})


@pytest.mark.parametrize(
    ("typed", "path", "problem"),
    [
        ("text", "a", "one type tag"),
        ({}, "a", "one type tag"),
        ({"S": "a", "N": "1"}, "a", "one type tag"),
        ({"s": "a"}, "a", "not one of DynamoDB's type tags"),
        ({"S": 1}, "a.S", "expected text"),
        ({"N": 1}, "a.N", "as text"),
        ({"N": ""}, "a.N", "is not a number"),
        ({"N": "abc"}, "a.N", "is not a number"),
        ({"N": "NaN"}, "a.N", "is not a number"),
        ({"N": "1_000"}, "a.N", "is not a number"),
        ({"N": "\u0661"}, "a.N", "is not a number"),
        ({"N": MOST_DIGITS + "1"}, "a.N", "more than 38 digits"),
        ({"N": "1E+126"}, "a.N", "out of DynamoDB's range"),
        ({"N": "1E-131"}, "a.N", "out of DynamoDB's range"),
        ({"B": "not base64!"}, "a.B", "is not base64"),
        ({"B": "iVBO Rw=="}, "a.B", "is not base64"),
        ({"B": "é"}, "a.B", "is not base64"),
        ({"B": 1}, "a.B", "expected binary"),
        ({"BOOL": "true"}, "a.BOOL", "true or false"),
        ({"NULL": False}, "a.NULL", "expected true"),
        ({"NULL": 1}, "a.NULL", "expected true"),
        ({"SS": []}, "a.SS", "at least one member"),
        ({"SS": "a"}, "a.SS", "at least one member"),
        ({"NS": ["1", "x"]}, "a.NS[1]", "is not a number"),
        ({"L": {}}, "a.L", "expected a list"),
        ({"L": [{"S": "x"}, {"N": "x"}]}, "a.L[1].N", "is not a number"),
        ({"M": []}, "a.M", "expected a map"),
        ({"M": {"b": {"L": [{"S": None}]}}}, "a.M.b.L[0].S", "expected text"),
    ],
)
def test_what_dynamodb_never_sends_is_refused(typed: object, path: str, problem: str) -> None:
    """A malformed typed value raises DecodeError with its path."""
    with pytest.raises(DecodeError, match=re.escape(problem)) as caught:
        decode_item({"a": typed})
    assert caught.value.path == path


def test_an_item_is_a_map() -> None:
    """An item that is not a map of attributes is refused."""
    with pytest.raises(DecodeError, match="an item must be a map of attributes, not list"):
        decode_item([])  # type: ignore[arg-type]  # the mistake that is tested


def nested(level: Any, levels: int) -> Any:
    value: Any = "innermost"
    for _ in range(levels):
        value = level(value)
    return {"attribute": value}


def in_list(value: object) -> list[object]:
    return [value]


def in_map(value: object) -> dict[str, object]:
    return {"member": value}


def typed_list(value: object) -> dict[str, object]:
    return {"L": [value if isinstance(value, dict) else {"S": value}]}


def typed_map(value: object) -> dict[str, object]:
    return {"M": {"member": value if isinstance(value, dict) else {"S": value}}}


@pytest.mark.parametrize("level", [in_list, in_map])
def test_nesting_is_written_to_32_levels(level: Any) -> None:
    """A value on level 32, inside 31 lists or maps, is encoded; a deeper one is refused."""
    encode_item(nested(level, 31))
    with pytest.raises(EncodeError, match="is nested more than 32 levels deep"):
        encode_item(nested(level, 32))


@pytest.mark.parametrize("level", [typed_list, typed_map])
def test_nesting_is_read_to_32_levels(level: Any) -> None:
    """A value on level 32, inside 31 lists or maps, is decoded; a deeper one is refused."""
    decode_item(nested(level, 31))
    with pytest.raises(DecodeError, match="is nested more than 32 levels deep"):
        decode_item(nested(level, 32))
