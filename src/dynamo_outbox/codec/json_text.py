"""JSON values and their text: normalised once, written exactly, read strictly."""

from __future__ import annotations

import json
import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from json.encoder import encode_basestring as quoted
from operator import itemgetter

from .path_error import PathError, convert_members, convert_values
from .short_repr import short_repr

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

__all__ = ["MAX_DEPTH", "canonical", "dumps", "loads_data", "loads_object", "normalise", "quoted"]

INFINITY = float("inf")
MAX_INTEGER_DIGITS = 4300
BEYOND_TEXT = 10**MAX_INTEGER_DIGITS
"""https://docs.python.org/3/library/stdtypes.html#integer-string-conversion-length-limitation"""
MAX_DEPTH = 64
"""Deeper than any event. Python's own recursion limit would end in an error without a path."""
_ends_as_a_fraction = re.compile(r"\.[0-9]+(?:e[-+][0-9]+)?[,\]}]").search
_ends_as_an_exponent = re.compile(r"e[-+][0-9]+[,\]}]").search
"""The end of a float in a list or an object of compact JSON text; text values may match too."""
_digits = Decimal.__str__  # the number itself, also of a subclass
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_MARK = '"\\u0000"'
"""The JSON text that holds a Decimal's place while the rest is encoded."""


def normalise(value: object, path: str) -> Any:
    """Return a copy of `value` in JSON's own types: tuples become lists; Decimals stay and are written exactly.

    Raises:
        PathError: JSON has no form for a value or a key.
    """
    try:
        return _normalised(value, 0)
    except PathError as bad:
        raise bad.under(path) from None


def _normalised(value: Any, depth: int) -> Any:
    kind = type(value)
    if kind is dict and depth < MAX_DEPTH:
        return _object(value, depth + 1)
    if kind is bool or (kind is str and value.isascii()) or (kind is int and -BEYOND_TEXT < value < BEYOND_TEXT):
        return value
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -BEYOND_TEXT < value < BEYOND_TEXT:
            raise PathError("", "an integer of more than 4,300 digits, which Python doesn't write as text")
        return int(value)
    if isinstance(value, float):
        if value - value != 0:  # NaN and the infinities
            raise PathError("", f"JSON has no {value!r}")
        return float.__float__(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise PathError("", f"JSON has no {value!r}")
        return value
    if depth >= MAX_DEPTH:
        raise PathError("", f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, (list, tuple)):
        return convert_members(_normalised, value, depth + 1)
    if hasattr(value, "items"):
        return convert_values(_normalised, _object_key, value, depth + 1)
    raise PathError("", f"{type(value).__name__} is not a JSON value; convert it first, for instance to text")


def _object(members: dict[Any, Any], depth: int) -> dict[str, Any]:
    """`convert_values` for the members of a dict, most of which are short text."""
    out = {}
    for key, member in members.items():
        name = key if type(key) is str and key.isascii() else _object_key(key)
        try:
            out[name] = member if type(member) is str and member.isascii() else _normalised(member, depth)
        except PathError as bad:
            raise bad.under(f".{name}") from None
    return out


def _object_key(key: object) -> str:
    if not isinstance(key, str):
        raise PathError("", f"the key {short_repr(key)} is {type(key).__name__}, and JSON's keys are text")
    return _text(key)


def _text(value: str) -> str:
    if type(value) is str and value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise PathError("", "holds half of a surrogate pair, which is not Unicode text") from None
    return str.__str__(value)  # the text itself, also of an enum's member


def dumps(value: Any) -> str:
    """Return the compact JSON text of a normalised value; a Decimal is a number with all its digits."""
    decimals: list[Any] = []

    def mark(decimal: Any) -> str:
        decimals.append(decimal)
        return "\0"

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=mark)
    if not decimals:
        return text
    parts = text.split(_MARK)
    if len(parts) != len(decimals) + 1:  # text of the value looks like a mark
        return dumps_reference(value)
    out = parts + decimals
    out[::2] = parts
    out[1::2] = map(_digits, decimals)
    return "".join(out)


def dumps_reference(value: Any) -> str:
    """`dumps` without marks, in one slow pass: the reference."""
    if isinstance(value, Decimal):
        return _digits(value)
    if isinstance(value, dict):
        members = (f"{quoted(key)}:{dumps_reference(member)}" for key, member in value.items())
        return f"{{{','.join(members)}}}"
    if isinstance(value, list):
        return f"[{','.join(map(dumps_reference, value))}]"
    return json.dumps(value, ensure_ascii=False)


_sorted_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def canonical(value: Any) -> str:
    """Return one text for all equal values: keys sorted, numbers by value, no white space. For fingerprints.

    Raises:
        TypeError: It holds a value that is neither JSON's nor a Decimal.
    """
    try:
        text = _sorted_encoder.encode(value)
    except (TypeError, ValueError, RecursionError):  # a Decimal, keys that can't be sorted, an integer beyond text
        return canonical_reference(value)
    # Only a float may be written otherwise than an equal number: it is the whole text, or ends as these patterns say.
    may_hold_a_float = (
        text[0] not in '{["'
        or ("." in text and _ends_as_a_fraction(text) is not None)
        or (("e-" in text or "e+" in text) and _ends_as_an_exponent(text) is not None)
    )
    return canonical_reference(value) if may_hold_a_float else text


def canonical_reference(value: Any) -> str:
    """`canonical` in one slow pass: the reference."""
    if isinstance(value, dict):
        members = ",".join(f"{json.dumps(_key(key))}:{canonical_reference(each)}" for key, each in _sorted(value))
        return f"{{{members}}}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(canonical_reference, value)) + "]"
    if value is None or isinstance(value, (bool, str)):
        return json.dumps(value)
    if isinstance(value, (int, float, Decimal)):
        number = Decimal(float.__repr__(value)) if isinstance(value, float) else Decimal(value)
        exact = Context(prec=max(1, len(number.as_tuple().digits)), Emax=MAX_EMAX, Emin=MIN_EMIN)
        normal = number.normalize(exact) if number else Decimal(0)
        is_integer = (
            normal.is_finite() and normal == normal.to_integral_value() and normal.adjusted() < MAX_INTEGER_DIGITS
        )
        return format(normal, "f") if is_integer else str(normal)
    raise TypeError(f"{type(value).__name__} has no JSON form; give a fingerprint of values that have one")


def _sorted(value: dict[Any, Any]) -> list[tuple[Any, Any]]:
    try:
        return sorted(value.items(), key=itemgetter(0))
    except TypeError:
        return sorted(value.items(), key=lambda member: str(member[0]))


def _key(key: object) -> str:
    """Return a key's text, as Python's JSON writes it."""
    if key is None or isinstance(key, bool):
        return {True: "true", False: "false", None: "null"}[key]
    return str.__str__(key) if isinstance(key, str) else str(key)  # the text itself, also of an enum's member


def _refuse(token: str) -> NoReturn:
    raise PathError("", f"holds {token[:60]}, which JSON's readers can't hold")


def _finite(token: str) -> float:
    value = float(token)
    return _refuse(token) if value in (INFINITY, -INFINITY) else value


_decode = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite).decode


def loads_object(text: str, path: str) -> dict[str, Any]:
    """Return the value of a JSON object's text, read strictly.

    Raises:
        PathError: Not an object, not JSON, NaN or Infinity in it, or nested beyond Python's limit.
    """
    try:
        value = _decode(text)
    except PathError as bad:
        raise bad.under(path) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise PathError(path, f"is not JSON text: {error}") from None
    if not isinstance(value, dict):
        raise PathError(path, f"holds a JSON {type(value).__name__} instead of an object")
    return value


def loads_data(text: str, path: str) -> dict[str, Any]:
    """`loads_object`, as strict as `normalise`: the result can be written and sent again."""
    data = loads_object(text, path)
    if text.count("{") + text.count("[") > MAX_DEPTH or _SURROGATE.search(text):  # otherwise nothing can be wrong
        normalise(data, path)
    return data
