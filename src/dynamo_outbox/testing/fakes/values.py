"""Typed values as DynamoDB validates, stores and compares them.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html
"""

from __future__ import annotations

import re
from decimal import Context, Decimal
from typing import TYPE_CHECKING, Any

from .client import invalid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Item", "add_numbers", "check_item_size", "item_size", "normalised", "normalised_item", "sort_value"]

Item = dict[str, dict[str, Any]]

MAX_ITEM_BYTES = 400 * 1024
MAX_DEPTH = 32
"""Levels of nesting, including the innermost value: up to 31 lists or maps may contain it."""
MAX_DIGITS = 38
MIN_EXPONENT, MAX_EXPONENT = -130, 125
"""A number's magnitude is 0 or between 1E-130 and 9.99…E+125."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_EXACT = Context(prec=2000, Emin=-999_999, Emax=999_999)
_SETS = {"SS": "S", "NS": "N", "BS": "B"}


def normalised_item(item: Mapping[str, Any]) -> Item:
    """Return an item in stored form (numbers normalised, binary as bytes); refuse values that DynamoDB refuses."""
    return {name: normalised(typed) for name, typed in item.items()}


def normalised(typed: Mapping[str, Any], depth: int = 0) -> dict[str, Any]:
    """Return one typed value in stored form; see `normalised_item`."""
    if not typed:
        raise invalid("Supplied AttributeValue is empty, must contain exactly one of the supported datatypes")
    if len(typed) > 1:
        raise invalid("Supplied AttributeValue has more than one datatypes set, must contain exactly one of them")
    ((tag, value),) = typed.items()
    if depth >= MAX_DEPTH:
        raise invalid("Nesting Levels have exceeded supported limits")
    if tag == "L":
        return {"L": [normalised(member, depth + 1) for member in value]}
    if tag == "M":
        return {"M": {name: normalised(member, depth + 1) for name, member in value.items()}}
    if tag in _SETS:
        return {tag: _normalised_set(tag, value)}
    if tag == "NULL" and value is not True:
        raise invalid("One or more parameter values were invalid: Null attribute value types must have the value true")
    return {tag: _scalar(tag, value)}


def _normalised_set(tag: str, members: list[Any]) -> list[Any]:
    if not members:
        raise invalid("One or more parameter values were invalid: a set may not be empty")
    kept = [_scalar(_SETS[tag], member) for member in members]
    if len(set(kept)) != len(kept):
        raise invalid(f"One or more parameter values were invalid: Input collection {members} contains duplicates.")
    return kept


def _scalar(tag: str, value: Any) -> Any:
    if tag == "N":
        return number_text(_number(value))
    if tag == "B":
        return value.encode() if isinstance(value, str) else bytes(value)  # text as botocore sends it
    if tag == "S":
        _utf8(value)
    return value


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        raise RuntimeError(f"botocore could not send {text!r}: it is not valid Unicode text") from None


def _number(text: str) -> Decimal:
    if _NUMBER.fullmatch(text) is None:
        raise invalid(f"The parameter cannot be converted to a numeric value: {text}")
    number = Decimal(text)
    if not number:
        return Decimal(0)
    if number.adjusted() > MAX_EXPONENT:
        raise invalid("Number overflow. Attempting to store a number with magnitude larger than supported range")
    if number.adjusted() < MIN_EXPONENT:
        raise invalid("Number underflow. Attempting to store a number with magnitude smaller than supported range")
    if len("".join(map(str, number.as_tuple().digits)).strip("0")) > MAX_DIGITS:
        raise invalid(f"Attempting to store more than {MAX_DIGITS} significant digits in a Number")
    return number


def number_text(number: Decimal) -> str:
    """Return a number's normal form: no exponent, no superfluous zeros."""
    plain = f"{number:f}"
    if "." in plain:
        plain = plain.rstrip("0").rstrip(".")
    sign = "-" if plain.startswith("-") else ""
    digits = plain.lstrip("+-").lstrip("0")
    return "0" if not digits else f"{sign}0{digits}" if digits.startswith(".") else sign + digits


def add_numbers(left: str, right: str, sign: int = 1) -> str:
    """Return the sum of two stored numbers, or with `sign` -1 their difference."""
    total = _EXACT.add(Decimal(left), _EXACT.multiply(Decimal(right), Decimal(sign)))
    return number_text(_number(str(total)))


def item_size(item: Mapping[str, Any]) -> int:
    """Return an item's size in bytes by AWS's published rules; for numbers AWS publishes an approximation."""
    return sum(len(name.encode()) + _size(typed) for name, typed in item.items())


def _size(typed: Mapping[str, Any]) -> int:
    ((tag, value),) = typed.items()
    return _SIZES[tag](value)


_SIZES: dict[str, Callable[[Any], int]] = {
    "S": lambda text: len(_utf8(text)),
    "N": lambda text: (len(re.sub(r"[-.]", "", text).strip("0")) + 1) // 2 + 1 + text.startswith("-"),
    "B": len,
    "BOOL": lambda _: 1,
    "NULL": lambda _: 1,
    "L": lambda members: 3 + sum(1 + _size(member) for member in members),
    "M": lambda members: 3 + sum(1 + len(name.encode()) + _size(member) for name, member in members.items()),
    "SS": lambda members: sum(map(_SIZES["S"], members)),
    "NS": lambda members: sum(map(_SIZES["N"], members)),
    "BS": lambda members: sum(map(len, members)),
}


def check_item_size(item: Mapping[str, Any], message: str = "Item size has exceeded the maximum allowed size") -> None:
    """Refuse an item over 400 KB."""
    if item_size(item) > MAX_ITEM_BYTES:
        raise invalid(message)


def sort_value(typed: Mapping[str, Any]) -> Any:
    """Return the sort value of text, a number or binary; text is sorted by its UTF-8 bytes."""
    ((tag, value),) = typed.items()
    return Decimal(value) if tag == "N" else value.encode() if tag == "S" else value


def same(left: Mapping[str, Any] | None, right: Mapping[str, Any] | None) -> bool:
    """Return whether two stored values are equal; the order of a set is ignored."""
    if left is None or right is None or left.keys() != right.keys():
        return left is right
    ((tag, one),) = left.items()
    other = right[tag]
    if tag in _SETS:
        return set(one) == set(other)
    if tag == "L":
        return len(one) == len(other) and all(map(same, one, other))
    if tag == "M":
        return same_items(one, other)
    return bool(one == other)


def same_items(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Return whether two items are equal."""
    return left.keys() == right.keys() and all(same(left[name], right[name]) for name in left)
