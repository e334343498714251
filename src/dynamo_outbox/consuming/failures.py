"""Permanent failures of an idempotent function, as they are stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ..errors import PermanentFailureError
from .results import MAX_RESULT_BYTES, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["read_failure", "write_failure"]

MAX_MESSAGE = 1000
"""Characters that are kept of the message of a failure that is too large for an item."""


def write_failure(error: Exception) -> str:
    """Return a permanent failure as text: its type's name, its message, its arguments and attributes.

    Attributes that JSON can't give back unchanged are left out; if an argument is one of these, the message replaces
    the arguments. A failure that is too large for an item keeps its type and the beginning of its message.
    """
    message = _message(error)
    arguments = _as_stored(list(error.args))
    attributes = {name: value for name, value in vars(error).items() if _as_stored([value]) is not None}
    kept: dict[str, Any] = {"type": _name(type(error)), "message": message}
    whole = {**kept, "args": [message] if arguments is None else arguments, "attributes": attributes}
    text = json.dumps(whole)
    if len(text) <= MAX_RESULT_BYTES:
        return text
    cut = message[:MAX_MESSAGE]
    return json.dumps({**kept, "message": cut, "args": [cut], "attributes": {}})


def read_failure(key: str, text: str, kinds: Sequence[type[Exception]]) -> Exception:
    """Return a stored failure as an exception of its own type, if that is among `kinds` and their subclasses.

    It is created without its constructor, as ``copy`` does it. If there is no such type, or it can't be created so, the
    exception is a `PermanentFailureError`.
    """
    stored = json.loads(text)
    kind = next((each for each in _with_subclasses(kinds) if _name(each) == stored["type"]), None)
    if kind is not None:
        try:
            error = kind.__new__(kind, *stored["args"])
            error.args = tuple(stored["args"])
            vars(error).update(stored["attributes"])
        except Exception:  # its constructor may raise anything
            return PermanentFailureError(key, stored["type"], stored["message"])
        return error
    return PermanentFailureError(key, stored["type"], stored["message"])


def _with_subclasses(kinds: Sequence[type[Exception]]) -> Iterator[type[Exception]]:
    for kind in kinds:
        yield kind
        yield from _with_subclasses(kind.__subclasses__())


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _message(error: Exception) -> str:
    try:
        return str(error)
    except Exception:  # its __str__ may raise anything
        return "(its message can't be shown)"


def _as_stored(values: list[Any]) -> list[Any] | None:
    """Return the values if JSON gives them back unchanged, or None."""
    try:
        return values if as_json(values).form == "json" else None
    except ValueError:
        return None
