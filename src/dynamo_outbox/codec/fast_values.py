"""Fast paths of `values.decode_item` and `values.encode_item`: text and numbers inline, one look-up for other types.

They return the same as the reference implementation. On invalid or rare values they raise any exception, and the
caller runs the reference implementation instead.
"""

from __future__ import annotations

from decimal import Clamped, Context, Decimal, Inexact, InvalidOperation, Overflow, Rounded, Subnormal, Underflow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["NotPlainError", "read_map", "write_map"]

DEPTH = 31
"""The deepest level of a map or list: its members are one level deeper, and level 32 is DynamoDB's limit."""
NUMERIC = "0123456789.-"

BEYOND_DIGITS = 10**38

_TRAPS = [Clamped, Inexact, InvalidOperation, Overflow, Subnormal, Underflow]
read_number = Context(prec=38, Emin=-130, Emax=125, traps=_TRAPS).create_decimal
"""Convert text without an exponent to a number, exactly; raise if the number is out of DynamoDB's range."""
written = Context(prec=38, Emin=-130, Emax=125, traps=[*_TRAPS, Rounded]).create_decimal
"""Return a number unchanged, also NaN or an infinity; raise on over 38 digits or if it is out of DynamoDB's range."""
get = dict.get  # as a function, so that a value that is not a dict raises


class NotPlainError(Exception):
    """The fast path can't handle the value."""


def read_map(value: Any, depth: int) -> dict[str, Any]:
    if depth > DEPTH or type(value) is not dict:
        raise NotPlainError
    out: dict[str, Any] = {}
    for name, typed in value.items():
        member = get(typed, "S")
        if type(member) is str is type(name) and len(typed) == 1:
            out[name] = member
            continue
        (tag,) = typed
        member = typed[tag]
        if type(name) is not str:
            raise NotPlainError
        if tag == "N" and not member.strip(NUMERIC):
            out[name] = read_number(member)
        else:
            out[name] = READERS[tag](member, depth + 1)
    return out


def read_list(value: Any, depth: int) -> list[Any]:
    if depth > DEPTH or type(value) is not list:
        raise NotPlainError
    out: list[Any] = []
    for typed in value:
        member = get(typed, "S")
        if type(member) is str and len(typed) == 1:
            out.append(member)
            continue
        (tag,) = typed
        member = typed[tag]
        if tag == "N" and not member.strip(NUMERIC):
            out.append(read_number(member))
        else:
            out.append(READERS[tag](member, depth + 1))
    return out


def read_value(typed: Any, depth: int) -> Any:
    """Return the Python value of a typed value on level `depth`."""
    ((tag, member),) = typed.items()
    if get(typed, "S") is member and type(member) is str:
        return member
    if tag == "N" and not member.strip(NUMERIC):
        return read_number(member)
    return READERS[tag](member, depth)


def read_bool(value: Any, _depth: int) -> bool:
    if value is True or value is False:
        return value
    raise NotPlainError


def read_null(value: Any, _depth: int) -> None:
    if value is not True:
        raise NotPlainError


def read_texts(value: Any, _depth: int) -> set[str]:
    if type(value) is not list or not value:
        raise NotPlainError
    "".join(value)
    return set(value)


def read_numbers(value: Any, _depth: int) -> set[Any]:
    if type(value) is not list or not value or "".join(value).strip(NUMERIC):
        raise NotPlainError
    return {read_number(member) for member in value}


def read_binary(value: Any, _depth: int) -> bytes:
    if type(value) is bytes:
        return value
    from base64 import b64decode  # a third of the decoder's import time, and few items have binary values

    return b64decode(read_text(value), validate=True)


def read_text(value: Any) -> str:
    if type(value) is not str:
        raise NotPlainError
    return value


def read_binaries(value: Any, depth: int) -> set[bytes]:
    if type(value) is not list or not value:
        raise NotPlainError
    return {read_binary(member, depth) for member in value}


READERS: dict[str, Callable[[Any, int], Any]] = {
    "BOOL": read_bool,
    "NULL": read_null,
    "M": read_map,
    "L": read_list,
    "SS": read_texts,
    "NS": read_numbers,
    "B": read_binary,
    "BS": read_binaries,
}
"""Without N: the reference implementation decodes an item that has a number with an exponent."""


def write_map(value: Any, depth: int) -> dict[str, Any]:
    if depth > DEPTH:
        raise NotPlainError
    out: dict[str, Any] = {}
    for name, member in value.items():
        if type(name) is not str:
            raise NotPlainError
        kind = type(member)
        out[name] = {"S": member} if kind is str else WRITERS[kind](member, depth + 1)
    return out


def write_inner_map(value: Any, depth: int) -> dict[str, Any]:
    return {"M": write_map(value, depth)}


def write_list(value: Any, depth: int) -> dict[str, Any]:
    if depth > DEPTH:
        raise NotPlainError
    out: list[Any] = []
    for member in value:
        kind = type(member)
        out.append({"S": member} if kind is str else WRITERS[kind](member, depth + 1))
    return {"L": out}


def write_bool(value: Any, _depth: int) -> dict[str, Any]:
    return {"BOOL": value}


def write_none(_value: Any, _depth: int) -> dict[str, Any]:
    return {"NULL": True}


def write_bytes(value: Any, _depth: int) -> dict[str, Any]:
    return {"B": value}


def write_int(value: Any, _depth: int) -> dict[str, Any]:
    if not -BEYOND_DIGITS < value < BEYOND_DIGITS:
        raise NotPlainError
    return {"N": str(value)}


def write_decimal(value: Any, _depth: int) -> dict[str, Any]:
    number = written(value)
    if not number.is_finite():
        raise NotPlainError
    return {"N": str(number)}


def write_float(value: Any, depth: int) -> dict[str, Any]:
    return write_decimal(repr(value), depth)


def write_set(value: Any, depth: int) -> dict[str, Any]:
    kinds = set(map(type, value))
    if kinds == TEXT:
        return {"SS": list(value)}
    if kinds and kinds <= NUMBERS:
        return {"NS": [WRITERS[type(member)](member, depth)["N"] for member in value]}
    if kinds == BINARY:
        return {"BS": list(value)}
    raise NotPlainError


TEXT, NUMBERS, BINARY = {str}, {int, Decimal}, {bytes}
WRITERS: dict[type, Callable[[Any, int], dict[str, Any]]] = {
    bool: write_bool,
    type(None): write_none,
    int: write_int,
    Decimal: write_decimal,
    float: write_float,
    bytes: write_bytes,
    list: write_list,
    tuple: write_list,
    dict: write_inner_map,
    set: write_set,
    frozenset: write_set,
}
"""By exact type: the reference implementation encodes an item that has a subclass instance."""
