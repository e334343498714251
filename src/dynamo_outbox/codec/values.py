"""Conversion of DynamoDB's typed values (``{"S": "…"}``) to Python values and back, exact and strict.

Types and limits:
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/HowItWorks.NamingRulesDataTypes.html
"""

from __future__ import annotations

import re
from collections.abc import Set
from decimal import Context, Decimal, DecimalException, Inexact, Overflow, Underflow

from ..errors import DecodeError, EncodeError
from .fast_values import read_map, write_map
from .mappings import as_dicts
from .path_error import PathError, convert_members, convert_values
from .short_repr import short_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..typing import Item

__all__ = ["decode_item", "encode_item"]

MAX_DEPTH = 32
"""The deepest level of a value; the attributes are on level 1, so up to 31 lists or maps may contain a value."""
MAX_DIGITS = 38
MIN_EXPONENT, MAX_EXPONENT = -130, 125
"""A number's magnitude is 0 or between 1E-130 and 9.99…E+125."""

_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?"
"""Compiled on first use: compiling would take half of this module's import time."""
_read_number = Context(prec=MAX_DIGITS, Emin=-9999, Emax=9999, traps=[Inexact, Overflow, Underflow]).create_decimal
_write_number = Context(prec=MAX_DIGITS, Emin=-9999, Emax=9999, traps=[Overflow, Inexact, Underflow]).create_decimal


def decode_item(attribute_values: Mapping[str, Any], *, as_json: bool = False) -> dict[str, Any]:
    """Return the Python values of an item in DynamoDB's typed form.

    Args:
        attribute_values: Attribute names and typed values, as boto3 returns them (binary as ``bytes``) or as Lambda
            delivers them (binary as base64 text).

        as_json: Return JSON's types: numbers as ``int`` or ``float``, sets as sorted lists, binary as base64 text.

    Returns:
        Text as ``str``, numbers as ``Decimal`` with all their digits, binary as ``bytes``, sets as ``set``. As in
        DynamoDB, the members of a map have no order.

    Raises:
        DecodeError: The item contains something that DynamoDB never sends: a value with two type tags or none, a tag in
            lower case, NaN, a number with 39 digits, invalid base64. The error's path names the value.
    """
    if as_json:
        from .plain_values import plain

        return {name: plain(value) for name, value in decode_item(attribute_values).items()}
    try:
        return read_map(attribute_values, 0)
    except Exception:  # the reference implementation raises the error, or reads the rare value
        try:
            return decode_reference(attribute_values)
        except DecodeError:
            dicts = as_dicts(attribute_values)
            if dicts is attribute_values:
                raise
    return decode_reference(dicts)


def decode_reference(attribute_values: Mapping[str, Any]) -> dict[str, Any]:
    """Decode an item without the fast path: the reference implementation of `decode_item`."""
    if not isinstance(attribute_values, dict):
        raise DecodeError("", f"an item must be a map of attributes, not {type(attribute_values).__name__}")
    try:
        return _decode_map(attribute_values, 0)
    except PathError as bad:
        raise DecodeError(bad.path.removeprefix("."), bad.problem) from None


def _decode(typed: Any, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise PathError("", f"is nested more than {MAX_DEPTH} levels deep")
    if not isinstance(typed, dict) or len(typed) != 1:
        raise PathError("", f"a typed value must be a map with one type tag, not {short_repr(typed)}")
    for tag, value in typed.items():
        decoder = _DECODERS.get(tag)
        if decoder is None:
            raise PathError("", f"{short_repr(tag)} is not one of DynamoDB's type tags {', '.join(_DECODERS)}")
        try:
            return decoder(value, depth)
        except PathError as bad:
            raise bad.under(f".{tag}") from None
    raise AssertionError("unreachable: the map has one member")


def _decode_s(value: Any, _depth: int) -> str:
    if not isinstance(value, str):
        raise PathError("", f"expected text, got {short_repr(value)}")
    return value


def _decode_n(value: Any, _depth: int) -> Decimal:
    if not isinstance(value, str):
        raise PathError("", f"expected a number as text, got {short_repr(value)}")
    if re.fullmatch(_NUMBER, value) is None:
        raise PathError("", f"{short_repr(value)} is not a number")
    try:
        number = _read_number(value)
    except DecimalException:
        raise PathError("", f"{short_repr(value)} has more than {MAX_DIGITS} digits or is out of range") from None
    if number and not MIN_EXPONENT <= number.adjusted() <= MAX_EXPONENT:
        raise PathError("", f"{short_repr(value)} is out of DynamoDB's range")
    return number


def _decode_b(value: Any, _depth: int) -> bytes:
    if isinstance(value, str):
        try:
            from base64 import b64decode

            return b64decode(value, validate=True)
        except ValueError:
            raise PathError("", f"{short_repr(value)} is not base64") from None
    if isinstance(value, (bytes, bytearray)):
        return bytes(value)
    raise PathError("", f"expected binary, got {short_repr(value)}")


def _decode_bool(value: Any, _depth: int) -> bool:
    if value is not True and value is not False:
        raise PathError("", f"expected true or false, got {short_repr(value)}")
    return value


def _decode_null(value: Any, _depth: int) -> None:
    if value is not True:
        raise PathError("", f"expected true, got {short_repr(value)}")


def _set_of(decode_member: Callable[[Any, int], Any]) -> Callable[[Any, int], set[Any]]:
    def decode_set(value: Any, depth: int) -> set[Any]:
        if not isinstance(value, list) or not value:
            raise PathError("", f"expected a list with at least one member, got {short_repr(value)}")
        return set(convert_members(decode_member, value, depth))

    return decode_set


def _decode_list(value: Any, depth: int) -> list[Any]:
    if not isinstance(value, list):
        raise PathError("", f"expected a list, got {short_repr(value)}")
    return convert_members(_decode, value, depth + 1)


def _decode_map(value: Any, depth: int) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PathError("", f"expected a map, got {short_repr(value)}")
    return convert_values(_decode, _attribute_name, value, depth + 1)


def _attribute_name(name: object) -> str:
    if not isinstance(name, str):
        raise PathError("", f"an attribute's name must be text, not {short_repr(name)}")
    return str.__str__(name)  # plain text, also from an enum member


_DECODERS: dict[str, Callable[[Any, int], Any]] = {
    "S": _decode_s,
    "N": _decode_n,
    "B": _decode_b,
    "BOOL": _decode_bool,
    "NULL": _decode_null,
    "M": _decode_map,
    "L": _decode_list,
    "SS": _set_of(_decode_s),
    "NS": _set_of(_decode_n),
    "BS": _set_of(_decode_b),
}


def encode_item(item: Item) -> dict[str, Any]:
    """Return an item of Python values in DynamoDB's typed form, for a low-level client.

    Args:
        item: Attribute names and values: ``str``, ``int``, ``Decimal``, ``float`` (written with the digits of its
            ``repr``), ``bytes``, ``bool``, ``None``, and lists, tuples, maps and sets of these. A pydantic model or a
            dataclass instance, as the item or inside it, is written as the map of its fields.

    Raises:
        EncodeError: The item contains a value that DynamoDB has no type for, a number with more than 38 digits, an
            empty or mixed set, NaN, or a key that is not text. The error's path names the value.
    """
    if type(item) is dict:
        try:
            return write_map(item, 0)
        except Exception:  # noqa: S110  # as in decode_item
            pass
    return encode_reference(item)


def encode_reference(item: Item) -> dict[str, Any]:
    """Encode an item without the fast path: the reference implementation of `encode_item`."""
    try:
        encoded: dict[str, Any] = _encode_map(item, 0)["M"]
    except PathError as bad:
        raise EncodeError(bad.path.removeprefix("."), bad.problem) from None
    return encoded


def encode_value(value: Any) -> dict[str, Any]:
    """Return one Python value in DynamoDB's typed form; see `encode_item` for the types."""
    try:
        return _encode(value, 1)
    except PathError as bad:
        raise EncodeError(bad.path.removeprefix("."), bad.problem) from None


def _encode(value: Any, depth: int) -> dict[str, Any]:
    if depth > MAX_DEPTH:
        raise PathError("", f"is nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, str):
        return {"S": str.__str__(value)}  # plain text, also from an enum member
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, (int, float, Decimal)):
        return {"N": _number_text(value)}
    if isinstance(value, (bytes, bytearray)):
        return {"B": bytes(value)}
    if isinstance(value, Set):
        return _encode_set(value)
    if isinstance(value, (list, tuple)):
        return _encode_list(value, depth)
    if _is_map(value):
        return _encode_map(value, depth)
    if _is_boto3_binary(value):
        return {"B": bytes(value.value)}
    raise PathError("", f"DynamoDB has no type for {type(value).__name__}; convert {short_repr(value)} first")


def _number_text(value: float | Decimal) -> str:
    try:
        number = _write_number(float.__repr__(value) if isinstance(value, float) else value)
    except DecimalException:
        raise PathError("", f"{short_repr(value)} has more than {MAX_DIGITS} digits or is out of range") from None
    if not number.is_finite():
        raise PathError("", f"DynamoDB can't store the number {value}")
    if number and not MIN_EXPONENT <= number.adjusted() <= MAX_EXPONENT:
        raise PathError("", f"{short_repr(value)} is out of DynamoDB's range")
    return str(number)


def _encode_set(value: Set[Any]) -> dict[str, Any]:
    if not value:
        raise PathError("", "DynamoDB can't store an empty set; leave the attribute out or use an empty list")
    if all(isinstance(member, str) for member in value):
        return {"SS": [str.__str__(member) for member in value]}
    if all(isinstance(member, (int, float, Decimal)) and not isinstance(member, bool) for member in value):
        return {"NS": [_number_text(member) for member in value]}
    if all(isinstance(member, (bytes, bytearray)) or _is_boto3_binary(member) for member in value):
        return {"BS": [bytes(getattr(member, "value", member)) for member in value]}
    kinds = ", ".join(sorted({type(member).__name__ for member in value}))
    raise PathError("", f"a set must contain only text, only numbers or only binary, not {kinds}")


def _encode_list(value: list[Any] | tuple[Any, ...], depth: int) -> dict[str, Any]:
    return {"L": convert_members(_encode, value, depth + 1)}


def _is_boto3_binary(value: Any) -> bool:
    return type(value).__module__ == "boto3.dynamodb.types" and type(value).__name__ == "Binary"


def _is_map(value: Any) -> bool:
    return hasattr(value, "items") or hasattr(type(value), "model_fields") or _is_dataclass(value)


def _is_dataclass(value: Any) -> bool:
    return hasattr(type(value), "__dataclass_fields__")


def _encode_map(value: Any, depth: int) -> dict[str, Any]:
    if not _is_map(value):
        raise PathError("", f"an item must be a map of attributes, not {type(value).__name__}")
    if hasattr(type(value), "model_fields"):
        value = value.model_dump()
    elif _is_dataclass(value):
        value = {name: getattr(value, name) for name in type(value).__dataclass_fields__}
    return {"M": convert_values(_encode, _attribute_name, value, depth + 1)}
