"""Writing JSON: the fast path against the plain one."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox.codec.json_text import _pieces, dumps
from tests.strategies import numbers

_texts = st.text(max_size=4) | st.sampled_from(["null", "\0", '"\\u0000"', '"\0"', "\\u0000", "x\0", "Decimal('1')"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | _texts | numbers,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_texts, inner, max_size=4),
    max_leaves=12,
)


class Price(Decimal):
    """What a caller may have made of a Decimal."""


@given(_values)
def test_exact_json_is_what_the_plain_path_writes(value: Any) -> None:
    """With Decimals or without, with nulls and marks of its own, a value's text is the plain path's."""
    text = dumps(value)
    assert text == "".join(_pieces(value))


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
    """A Decimal is written with its digits beside whatever looks like the place held for it."""
    assert dumps(value) == text


@pytest.mark.parametrize("value", [{1}, [Decimal(1), {1}], object()], ids=["set", "set in a list", "object"])
def test_what_json_has_no_form_for_is_a_type_error(value: Any) -> None:
    """A value that was not normalised is not written as a null."""
    with pytest.raises(TypeError):
        dumps(value)
