"""JSON values and their text: normalised once, written exactly, read strictly."""

from __future__ import annotations

import json
import re
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal
from json.encoder import c_make_encoder  # type: ignore[attr-defined]  # typeshed leaves it out
from json.encoder import encode_basestring as quoted
from json.encoder import encode_basestring_ascii as quoted_in_ascii
from operator import itemgetter

from .short_repr import shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, NoReturn

__all__ = [
    "BadJsonError",
    "canonical",
    "dumps",
    "loads",
    "loads_data",
    "loads_object",
    "normalise",
    "quoted",
    "ready",
    "scan",
]

INFINITY = float("inf")
MAX_INTEGER_DIGITS = 4300
BEYOND_TEXT = 10**MAX_INTEGER_DIGITS
"""https://docs.python.org/3/library/stdtypes.html#integer-string-conversion-length-limitation"""
MAX_DEPTH = 64
"""Deeper than any event is. Python's own recursion limit would end in an error that names nothing."""
_ends_as_a_fraction = re.compile(r"\.[0-9]+(?:e[-+][0-9]+)?[,\]}]").search
_ends_as_an_exponent = re.compile(r"e[-+][0-9]+[,\]}]").search
"""How each float in a list or an object ends in compact JSON text, and perhaps something in a text, too."""
_digits = Decimal.__str__  # the number itself, also of a subclass
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


class BadJsonError(Exception):
    """A value that JSON can't hold, or text that isn't JSON, and where. Callers turn it into an error of theirs."""

    def __init__(self, path: str, problem: str) -> None:
        super().__init__(path, problem)
        self.path = path
        self.problem = problem

    def under(self, step: str) -> BadJsonError:
        """The same, seen from outside: each container on the way up puts its own step in front."""
        return BadJsonError(f"{step}{self.path}", self.problem)


def normalise(value: object, path: str) -> Any:
    """A copy of `value` in JSON's own types: tuples become lists; a Decimal stays, to be written with all its digits.

    Raises:
        BadJsonError: For a value, or a key, that JSON has no form for: the path says where.
    """
    try:
        return _copied(value, 0)
    except Exception:  # whatever it is, the plain path says what is wrong, or takes what is rare
        return normalise_plainly(value, path)


def normalise_plainly(value: object, path: str) -> Any:
    """`normalise` as its rules are written: the judge of what the fast path gives up on."""
    try:
        return _normalised(value, 0)
    except BadJsonError as bad:
        raise bad.under(path) from None


def _copied(value: Any, depth: int) -> Any:
    """A copy of a value that has nothing but JSON's own types, of which few need a look; else it raises."""
    kind = type(value)
    if kind is str:
        if not value.isascii():
            value.encode()
        return value
    if kind in _ALWAYS_JSON:
        return value
    if kind is int:
        if not -BEYOND_TEXT < value < BEYOND_TEXT:
            raise ValueError
        return value
    if kind is float:
        if value - value != 0:  # NaN and the infinities
            raise ValueError
        return value
    if depth >= MAX_DEPTH:
        raise ValueError
    if kind is dict:
        if not _TEXT.issuperset(map(type, value)):
            raise ValueError
        if not "".join(value).isascii():
            "".join(value).encode()
        return {name: _copied(member, depth + 1) for name, member in value.items()}
    if kind is list:
        return [_copied(member, depth + 1) for member in value]
    raise ValueError


_ALWAYS_JSON = frozenset({bool, type(None)})
_TEXT = frozenset({str})


def _normalised(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return _text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        if not -BEYOND_TEXT < value < BEYOND_TEXT:
            raise BadJsonError("", "an integer of more than 4,300 digits, which Python doesn't write as text")
        return int(value)
    if isinstance(value, float):
        if value - value != 0:  # NaN and the infinities
            raise BadJsonError("", f"JSON has no {value!r}")
        return float.__float__(value)
    if isinstance(value, Decimal):
        if not value.is_finite():
            raise BadJsonError("", f"JSON has no {value!r}")
        return value
    if depth >= MAX_DEPTH:
        raise BadJsonError("", f"nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, (list, tuple)):
        return _normalised_list(value, depth)
    if hasattr(value, "items"):
        return _normalised_object(value, depth)
    raise BadJsonError("", f"{type(value).__name__} is not a JSON value; convert it first, for instance to text")


def _normalised_list(value: list[Any] | tuple[Any, ...], depth: int) -> list[Any]:
    out = []
    for index, member in enumerate(value):
        try:
            out.append(_normalised(member, depth + 1))
        except BadJsonError as bad:
            raise bad.under(f"[{index}]") from None
    return out


def _normalised_object(value: Any, depth: int) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, member in value.items():
        if not isinstance(key, str):
            raise BadJsonError("", f"the key {shown(key)} is {type(key).__name__}, and JSON's keys are text")
        name = _text(key)
        try:
            out[name] = _normalised(member, depth + 1)
        except BadJsonError as bad:
            raise bad.under(f".{name}") from None
    return out


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadJsonError("", "holds half of a surrogate pair, which is no Unicode text") from None
    return str.__str__(value)  # the text itself, also of an enum's member


def dumps(value: Any) -> str:
    """The compact JSON text of a normalised value; a Decimal is a number with all its digits."""
    decimals: list[Any] = []
    text = _encoded(value, decimals.append)  # what append returns, None, is written where a Decimal belongs
    if not decimals:
        return text
    whole = _filled_in(text.split("null"), decimals)
    if whole is None:  # the value has a null, or the word, of its own
        decimals = []

        def mark(decimal: Any) -> str:
            decimals.append(decimal)
            return "\0"

        whole = _filled_in(_encoded(value, mark).split('"\\u0000"'), decimals)
    return "".join(_pieces(value)) if whole is None else whole


def _filled_in(parts: list[str], decimals: list[Any]) -> str | None:
    """The text around the Decimals with them in it, or None where it was parted elsewhere, too."""
    if len(parts) != len(decimals) + 1:
        return None
    out = parts + decimals
    out[::2] = parts
    try:
        out[1::2] = map(_digits, decimals)
    except TypeError:  # one is no Decimal
        return None
    return "".join(out)


def _encoded(value: Any, default: Callable[[Any], object]) -> str:
    if c_make_encoder is None:  # not CPython
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=default)
    encode = c_make_encoder(None, default, quoted, None, ":", ",", False, False, False)
    return "".join(encode(value, 0))


def _pieces(value: Any) -> list[str]:
    """The text in pieces, by a pass of its own: for what `dumps` can't tell apart, and its judge."""
    if isinstance(value, Decimal):
        return [_digits(value)]
    if isinstance(value, dict):
        out = ["{"]
        for key, member in value.items():
            out += ["," if len(out) > 1 else "", quoted(key), ":", *_pieces(member)]
        return [*out, "}"]
    if isinstance(value, list):
        out = ["["]
        for member in value:
            out += ["," if len(out) > 1 else "", *_pieces(member)]
        return [*out, "]"]
    return [json.dumps(value, ensure_ascii=False)]


def ready(encoder: json.JSONEncoder) -> Callable[[Any], str]:
    """What writes as the encoder's `encode` does, and isn't set up anew for each text.

    A value that holds itself may be a RecursionError to it, and not a ValueError: the note of what is being written
    would be shared among threads.
    """
    pieces = _pieces_of(encoder)
    join = "".join
    return lambda value: join(pieces(value, 0))


def _pieces_of(encoder: json.JSONEncoder) -> Callable[[Any, int], Iterable[str]]:
    """What gives a value's text in pieces, as `ready` says; its second argument is 0."""
    if c_make_encoder is None:  # not CPython
        return lambda value, _: [encoder.encode(value)]
    pieces: Callable[[Any, int], Iterable[str]] = c_make_encoder(
        None,
        encoder.default,
        quoted_in_ascii if encoder.ensure_ascii else quoted,
        None,
        encoder.key_separator,
        encoder.item_separator,
        encoder.sort_keys,
        encoder.skipkeys,
        encoder.allow_nan,
    )
    return pieces


_sorted_pieces = _pieces_of(json.JSONEncoder(sort_keys=True, separators=(",", ":")))


def canonical(value: Any) -> str:
    """One text for all that are equal: keys sorted, numbers by value, no white space. For fingerprints.

    Raises:
        TypeError: A value in it is neither JSON's nor a Decimal.
    """
    try:
        text = "".join(_sorted_pieces(value, 0))
    except (TypeError, ValueError, RecursionError):  # a Decimal, keys that can't be sorted, an integer beyond text
        return _canonical(value)
    # A number that its value's equals are written differently from may be all of it, or end as these do.
    may_hold_a_float = (
        text[0] not in '{["'
        or ("." in text and _ends_as_a_fraction(text) is not None)
        or (("e-" in text or "e+" in text) and _ends_as_an_exponent(text) is not None)
    )
    return _canonical(value) if may_hold_a_float else text


def _canonical(value: Any) -> str:
    if isinstance(value, dict):
        members = ",".join(f"{json.dumps(_key(key))}:{_canonical(member)}" for key, member in _sorted(value))
        return f"{{{members}}}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_canonical, value)) + "]"
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
    raise TypeError(f"{type(value).__name__} has no JSON form; give a fingerprint of what has")


def _sorted(value: dict[Any, Any]) -> list[tuple[Any, Any]]:
    try:
        return sorted(value.items(), key=itemgetter(0))
    except TypeError:
        return sorted(value.items(), key=lambda member: str(member[0]))


def _key(key: object) -> str:
    """A key's text, as Python's JSON writes it."""
    if key is None or isinstance(key, bool):
        return {True: "true", False: "false", None: "null"}[key]
    return str.__str__(key) if isinstance(key, str) else str(key)  # the text itself, also of an enum's member


def loads(text: str, path: str) -> Any:
    """The value of a JSON text, read strictly.

    Raises:
        BadJsonError: Not JSON, NaN or Infinity in it, or nested beyond what Python reads.
    """
    try:
        value, end = scan(text, 0)
        if end == len(text):
            return value
    except Exception:  # noqa: S110  # whatever it is, the plain path says what is wrong
        pass
    return loads_plainly(text, path)


def loads_plainly(text: str, path: str) -> Any:
    """`loads` as its rules are written: also of text with white space around it."""

    def refuse(token: str) -> NoReturn:
        raise BadJsonError(path, f"holds {token[:60]}, which JSON's readers can't hold")

    def number(token: str) -> float:
        value = float(token)
        return refuse(token) if value in (INFINITY, -INFINITY) else value

    try:
        return json.loads(text, parse_constant=refuse, parse_float=number)
    except (ValueError, RecursionError) as error:
        raise BadJsonError(path, f"is not JSON text: {error}") from None


def _no_constant(token: str) -> NoReturn:
    raise ValueError(token)


def _finite(token: str) -> float:
    value = float(token)
    if value in (INFINITY, -INFINITY):
        raise ValueError(token)
    return value


scan: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(  # made once: to make it takes as long as a short text
    parse_constant=_no_constant, parse_float=_finite
).scan_once  # type: ignore[attr-defined]  # typeshed leaves it out


def loads_object(text: str, path: str) -> Mapping[str, Any]:
    """`loads`, where only an object will do."""
    value = loads(text, path)
    if not isinstance(value, dict):
        raise BadJsonError(path, f"holds a JSON {type(value).__name__} where an object belongs")
    return value


def loads_data(text: str, path: str) -> Mapping[str, Any]:
    """`loads_object`, and as strict as `normalise`: what it returns can be written and sent again."""
    data = loads_object(text, path)
    if text.count("{") + text.count("[") > MAX_DEPTH or _SURROGATE.search(text):  # else nothing can be wrong
        normalise(data, path)
    return data
