"""JSON values and their text: normalised, written exactly, read strictly."""

from __future__ import annotations

import json
from collections import OrderedDict
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.codec.json_text import dumps, dumps_reference, loads_object, normalise
from dynamo_outbox.codec.path_error import PathError

from ..strategies import json_values, numbers

_texts = st.text(max_size=4) | st.sampled_from(["null", "\0", '"\\u0000"', '"\0"', "\\u0000", "x\0", "Decimal('1')"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts | numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


class Price(Decimal):
    """A caller's own subclass of Decimal."""


@given(_values)
def test_exact_json_is_what_the_reference_writes(value: Any) -> None:
    """The fast writer and the reference write the same text."""
    assert dumps(value) == dumps_reference(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ([Decimal("1.10"), None], "[1.10,null]"),
        ([Decimal("1.10"), "null"], '[1.10,"null"]'),
        ([Decimal("1.10"), None, "\0"], '[1.10,null,"\\u0000"]'),
        ({"\0": Decimal("1E+5"), "null": None}, '{"\\u0000":1E+5,"null":null}'),
        ([Price("1.10")], "[1.10]"),
    ],
)
def test_marks_of_the_value_s_own_are_left_alone(value: Any, text: str) -> None:
    """Values that look like the writer's placeholder for a Decimal are written unchanged."""
    assert dumps(value) == text


@pytest.mark.parametrize("value", [{1}, [Decimal(1), {1}], object()], ids=["set", "set in a list", "object"])
def test_what_json_has_no_form_for_is_a_type_error(value: Any) -> None:
    """A value without a JSON form raises TypeError."""
    with pytest.raises(TypeError):
        dumps(value)


class Kind(StrEnum):
    NOVEL = "novel"


class Year(int):
    """A caller's own subclass of int."""


def typed(value: object) -> object:
    """Return a value with the types of all its members."""
    if isinstance(value, dict):
        return type(value), [(type(name), name, typed(member)) for name, member in value.items()]
    if isinstance(value, list):
        return type(value), [typed(member) for member in value]
    return type(value), repr(value)


@given(json_values)
def test_json_values_are_normalised_to_themselves(value: object) -> None:
    """A value with only JSON's own types is copied unchanged."""
    assert typed(normalise(value, "data")) == typed(value)


@pytest.mark.parametrize(
    ("value", "normal"),
    [
        (Kind.NOVEL, "novel"),
        ({Kind.NOVEL: Kind.NOVEL}, {"novel": "novel"}),
        (Year(2019), 2019),
        ((), []),
        ((1, [(2,)]), [1, [[2]]]),
        (OrderedDict(b=1, a=OrderedDict()), {"b": 1, "a": {}}),
        ({"é": "é"}, {"é": "é"}),
        ([10**4299, -1e-300, True, None], [10**4299, -1e-300, True, None]),
    ],
)
def test_values_become_those_of_jsons_own_types(value: object, normal: object) -> None:
    """Enums, subclasses, tuples and other maps become JSON's own types, in the same order."""
    assert typed(normalise(value, "data")) == typed(normal)


@pytest.mark.parametrize(
    ("value", "path", "problem"),
    [
        (float("nan"), "data", "JSON has no nan"),
        ([float("-inf")], "data[0]", "JSON has no -inf"),
        ({"a": Decimal("sNaN")}, "data.a", "JSON has no Decimal('sNaN')"),
        ({"a": [1, {"b": 10**4300}]}, "data.a[1].b", "an integer of more than 4,300 digits"),
        ("\ud800", "data", "half of a surrogate pair"),
        ({"\ud800": 1}, "data", "half of a surrogate pair"),
        ({1: 1}, "data", "the key 1 is int"),
        ({"a": {None: 1}}, "data.a", "the key None is NoneType"),
        (b"", "data", "bytes is not a JSON value"),
        ([{1}], "data[0]", "set is not a JSON value"),
        (object(), "data", "object is not a JSON value"),
    ],
)
def test_a_value_without_a_json_form_is_refused_where_it_is(value: object, path: str, problem: str) -> None:
    """The error has the path of the first value or key without a JSON form."""
    with pytest.raises(PathError) as caught:
        normalise(value, "data")
    assert caught.value.path == path
    assert problem in caught.value.problem


@pytest.mark.parametrize("levels", [63, 64, 65, 10**5])
def test_values_nest_64_levels_deep(levels: int) -> None:
    """64 nested lists are accepted; more are refused, also beyond Python's recursion limit."""
    value: object = "innermost"
    for _ in range(levels):
        value = [value]
    if levels <= 64:
        assert normalise(value, "data") == value
    else:
        with pytest.raises(PathError, match="nested more than 64 levels deep"):
            normalise(value, "data")


@given(st.sampled_from(["", " ", "\n\t"]), json_values, st.sampled_from(["", " ", "\r\n"]))
def test_json_is_read_with_white_space_around_it(before: str, value: object, after: str) -> None:
    """White space around a JSON text is ignored."""
    text = f"{before}{json.dumps({'a': value})}{after}"
    assert repr(loads_object(text, "eventData")) == repr({"a": value})


@pytest.mark.parametrize(
    ("text", "value"),
    [('{"a":1,"a":2}', {"a": 2}), ('"\\ud800"', "\ud800"), ("1e308", 1e308), ("-0", 0), ("[-0.0]", [-0.0])],
)
def test_rare_json_is_read_as_python_reads_it(text: str, value: object) -> None:
    """The last of two members with one name counts; only `loads_data` refuses escaped halves of surrogate pairs."""
    assert loads_object(f'{{"a":{text}}}', "eventData") == {"a": value}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("NaN", "holds NaN"),
        ("[-Infinity]", "holds -Infinity"),
        ("1e999", "holds 1e999"),
        ('{"a":[1e400]}', "holds 1e400"),
        ("\ufeff{}", "is not JSON text"),
        ("", "is not JSON text"),
        ("{", "is not JSON text"),
        ("{}x", "is not JSON text"),
        ("{},1", "is not JSON text"),
        ("[]]", "is not JSON text"),
        ("[" * 10**5, "is not JSON text"),
        ("9" * 4301, "is not JSON text"),
        (None, "is not JSON text"),
    ],
)
def test_text_that_is_not_strict_json_is_refused(text: Any, problem: str) -> None:
    """NaN, infinities, oversized numbers and truncated or trailing text are refused with the given path."""
    with pytest.raises(PathError) as caught:
        loads_object(text, "eventData")
    assert caught.value.path == "eventData"
    assert caught.value.problem.startswith(problem)
