"""DynamoDB values: the fast paths give the same output and errors as the reference on any input."""

from __future__ import annotations

from collections import OrderedDict
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import decode_item, encode_item
from dynamo_outbox.codec.fast_values import NotPlainError, read_map, write_map
from dynamo_outbox.codec.values import decode_reference, encode_reference
from dynamo_outbox.errors import OutboxError

from ..strategies import damaged, dynamodb_items, json_values

if TYPE_CHECKING:
    from collections.abc import Callable


class Genre(StrEnum):
    NOVEL = "novel"


class Name(str):
    __slots__ = ()


def outcome(function: Callable[[Any], Any], value: Any) -> tuple[object, ...]:
    """Return a comparable outcome: the value with its types, or the error with its text and attributes."""
    try:
        return "returned", typed(function(value))
    except OutboxError as error:
        return type(error), str(error), vars(error)


def typed(value: Any) -> object:
    """Return a value with its type at every level; a Decimal as its digits."""
    if isinstance(value, dict):
        return type(value), {name: typed(member) for name, member in value.items()}  # a map has no order
    if isinstance(value, list):
        return type(value), [typed(member) for member in value]
    if isinstance(value, set):
        return type(value), {typed(member) for member in value}
    return type(value), str(value) if isinstance(value, Decimal) else value


_texts = st.text(max_size=3) | st.sampled_from(
    [
        "",
        "1",
        "-0",
        "0.10",
        ".5",
        "5.",
        ".",
        "+1",
        "1e5",
        "1E00001",
        "1_0",
        " 1",
        "\u0661",
        "NaN",
        "-Infinity",
        "--1",
        "1-1",
        "9" * 38,
        "9" * 39,
        f"1{'0' * 125}",
        f"1{'0' * 126}",
        f"0.{'0' * 129}1",
        f"0.{'0' * 130}1",
        f"0.{'0' * 200}",
        "AAA=",
        "AA==",
        "A",
        "é",
        "\ud800",
    ]
)
_tags = st.sampled_from(["S", "N", "B", "BOOL", "NULL", "M", "L", "SS", "NS", "BS", "s", "X"])
_leaves: st.SearchStrategy[Any] = (
    _texts
    | st.builds(Name, st.sampled_from(["1", "text"]))
    | st.sampled_from([True, False, None, 0, 1, 1.5, b"", b"AA==", bytearray(b"x"), Decimal(1), Genre.NOVEL, (), set()])
)
_typed = st.recursive(
    _leaves,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(_tags, inner, max_size=2)
        | st.dictionaries(_tags, inner, min_size=1, max_size=1)
        | st.dictionaries(_texts | st.integers(0, 2), inner, max_size=3)
        | st.dictionaries(_tags, inner, min_size=1, max_size=1).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(_typed | st.dictionaries(_texts, _typed, max_size=4))
def test_any_input_is_decoded_as_by_the_reference(value: Any) -> None:
    """Any input, valid or not, is decoded, or refused, as by the reference."""
    assert outcome(decode_item, value) == outcome(decode_reference, value)


@given(st.data(), dynamodb_items)
def test_a_damaged_item_is_decoded_as_by_the_reference(data: st.DataObject, item: dict[str, Any]) -> None:
    """An item with any value replaced or removed is decoded, or refused, as by the reference."""
    value = data.draw(damaged({"item": encode_reference(item)}))
    assert outcome(decode_item, value) == outcome(decode_reference, value)


@given(dynamodb_items)
def test_a_well_formed_item_takes_the_fast_paths(item: dict[str, Any]) -> None:
    """The fast paths handle ordinary items of every type; only exponents are decoded by the reference."""
    encoded = encode_reference(item)
    assert typed(write_map(item, 0)) == typed(encoded)
    if "E" not in str(encoded):
        assert typed(read_map(encoded, 0)) == typed(item)


_odd = st.sampled_from(
    [
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        float("nan"),
        float("inf"),
        1e300,
        1e-300,
        0.1,
        -0.0,
        10**38,
        10**38 - 1,
        -(10**38),
        Decimal("-0"),
        Decimal("0E-200"),
        Decimal("1E+125"),
        Decimal("1E+126"),
        Decimal("1E-130"),
        Decimal("1E-131"),
        Decimal("9" * 39),
        Decimal(f"{'9' * 38}0"),
        int("9" * 38 + "0"),
        int("9" * 38 + "01"),
        Decimal("0." + "1" + 40 * "0"),
        10**100,
        {10**39, Decimal("1E+39")},
        True,
        None,
        (),
        object,
        Genre.NOVEL,
        Name("text"),
        bytearray(b"x"),
        b"",
        frozenset({1}),
        {1, Decimal("1.5")},
        {1, "a"},
        {True},
        {Genre.NOVEL},
        {b"x"},
        frozenset(),
        {1.5},
        {Decimal("1E+126")},
    ]
)
_values = st.recursive(
    _odd | json_values,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(_texts | st.integers(0, 2) | st.just(Genre.NOVEL), inner, max_size=3)
        | st.dictionaries(_texts, inner, max_size=3).map(OrderedDict)
    ),
    max_leaves=12,
)


@given(_values | st.dictionaries(_texts, _values, max_size=4))
def test_any_value_is_encoded_as_by_the_reference(value: Any) -> None:
    """Any value, encodable or not, is encoded, or refused, as by the reference."""
    assert outcome(encode_item, value) == outcome(encode_reference, value)


def nested(levels: int, tag: str | None) -> Any:
    """Return a value nested in `levels` lists; in typed form if there is a tag."""
    value: Any = {"S": "innermost"} if tag else "innermost"
    for _ in range(levels):
        value = {tag: [value]} if tag else [value]
    return {"attribute": value}


@pytest.mark.parametrize("levels", [30, 31, 32, 33])
def test_the_paths_agree_on_how_deep_a_value_may_lie(levels: int) -> None:
    """The fast path and the reference accept the same depth, and refuse more with the same message."""
    assert outcome(decode_item, nested(levels, "L")) == outcome(decode_reference, nested(levels, "L"))
    assert outcome(encode_item, nested(levels, None)) == outcome(encode_reference, nested(levels, None))


def test_the_fast_paths_have_a_bound_of_their_own_on_depth() -> None:
    """The fast paths stop at the reference's depth limit, not at Python's recursion limit."""
    with pytest.raises(NotPlainError):
        read_map(nested(32, "L"), 0)
    with pytest.raises(NotPlainError):
        write_map(nested(32, None), 0)
