"""How a function failed: for good, so that it is stored and raised again, or so that nobody knows what it did."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from botocore.exceptions import HTTPClientError

from ..errors import CommitUnknownError, IdempotencyError, PermanentFailureError, TransactionCanceledError
from .results import MAX_RESULT_BYTES, as_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["leaves_outcome_open", "read_failure", "write_failure"]

MAX_MESSAGE = 1000
"""How many characters are kept of the message of a failure that is too large for an item."""

_OPEN = (TimeoutError, ConnectionError, HTTPClientError, CommitUnknownError)
"""What a caller gets whose request may have been carried out all the same."""
_KNOWN = (ConnectionRefusedError, TransactionCanceledError, IdempotencyError)
"""What says that it was not, or is under a guard of its own, whatever led to it."""


def leaves_outcome_open(error: BaseException, before: BaseException | None = None) -> bool:
    """Whether a function that ended so may have had its effect.

    So it is where it was interrupted, or where it, or what it was raised from, tells of a request without an answer.
    HTTP clients raise their own errors from Python's `TimeoutError` and `ConnectionError`, so these are found there.

    Args:
        error: What the function raised.
        before: What was being handled when the function was called, which says nothing about it.
    """
    return any(not isinstance(each, Exception) or isinstance(each, _OPEN) for each in _origins(error, before))


def _origins(error: BaseException, before: BaseException | None) -> Iterator[BaseException]:
    """An error and what a traceback would show it to be raised from, up to where the outcome is known."""
    pending: list[BaseException | None] = [error]
    seen: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or each is before or id(each) in seen or isinstance(each, _KNOWN):
            continue
        seen.add(id(each))
        yield each
        pending += [each.__cause__, None if each.__suppress_context__ else each.__context__]
        if isinstance(each, BaseExceptionGroup):
            pending += each.exceptions


def write_failure(error: Exception) -> str:
    """A permanent failure as text: its type by name, its message, its arguments and attributes.

    What JSON gives back changed, or not at all, is left out: an attribute for itself, the arguments as a whole for the
    message. One that is too large for an item keeps its type and the beginning of its message.
    """
    message = _message(error)
    arguments = _plain(list(error.args))
    attributes = {name: value for name, value in vars(error).items() if _plain([value]) is not None}
    kept: dict[str, Any] = {"type": _name(type(error)), "message": message}
    whole = {**kept, "args": [message] if arguments is None else arguments, "attributes": attributes}
    text = json.dumps(whole)
    if len(text) <= MAX_RESULT_BYTES:
        return text
    cut = message[:MAX_MESSAGE]
    return json.dumps({**kept, "message": cut, "args": [cut], "attributes": {}})


def read_failure(key: str, text: str, kinds: Sequence[type[Exception]]) -> Exception:
    """A stored failure as an exception: of its own type where that is among `kinds` and their subclasses.

    It is made without its constructor, as ``copy`` makes it. Where there is no such type, or it can't be made so, it is
    a `PermanentFailureError`.
    """
    stored = json.loads(text)
    kind = next((each for each in _with_subclasses(kinds) if _name(each) == stored["type"]), None)
    if kind is not None:
        try:
            error = kind.__new__(kind, *stored["args"])
            error.args = tuple(stored["args"])
            vars(error).update(stored["attributes"])
        except Exception:  # whatever a constructor of its own may raise
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
    except Exception:  # whatever an exception's own __str__ may raise
        return "(its message could not be made)"


def _plain(values: list[Any]) -> list[Any] | None:
    """The values as they are where JSON gives them back so, or else None."""
    try:
        as_json(values)
    except ValueError:
        return None
    return values
