"""The time that Lambda's context leaves to an invocation."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = [
    "ANSWER_MARGIN",
    "PARKING_MARGIN",
    "REDRIVE_MARGIN",
    "context_in",
    "invocation",
    "is_nearly_over",
    "remaining_time",
    "time_for_response",
]

ANSWER_MARGIN = timedelta(seconds=1)
"""Kept for the response after publishing or waiting."""
PARKING_MARGIN = timedelta(milliseconds=300)
"""Kept while parking: the last thing before the response."""
REDRIVE_MARGIN = timedelta(seconds=3)
"""Kept for removing the last records that were published again, and for the response."""


RESPONSE_MARGIN = timedelta(milliseconds=200)
"""Kept when a call waits for AWS's response: for the rest of the function."""

_current: ContextVar[object] = ContextVar("invocation", default=None)


@contextmanager
def invocation(context: object) -> Iterator[None]:
    """Let AWS calls inside the block end before Lambda ends the invocation; without a context nothing is changed."""
    if remaining_time(context) is None:
        yield
        return
    reset = _current.set(context)
    try:
        yield
    finally:
        _current.reset(reset)


def time_for_response() -> float | None:
    """Return the seconds for which a call of this invocation may wait for AWS's response; None without a limit."""
    remaining = remaining_time(_current.get())
    return None if remaining is None else (remaining - RESPONSE_MARGIN).total_seconds()


def remaining_time(candidate: object) -> timedelta | None:
    """Return how long Lambda lets this invocation go on if `candidate` is its context, or None."""
    remaining = getattr(candidate, "get_remaining_time_in_millis", None)
    milliseconds = remaining() if callable(remaining) else None
    is_number = isinstance(milliseconds, (int, float)) and not isinstance(milliseconds, bool)
    return timedelta(milliseconds=milliseconds) if is_number else None  # type: ignore[arg-type]  # a number, as checked


def context_in(arguments: Iterable[object]) -> object:
    """Return the first Lambda context among a call's arguments, or None."""
    return next((each for each in arguments if hasattr(each, "get_remaining_time_in_millis")), None)


def is_nearly_over(context: object, margin: timedelta) -> bool:
    """Return whether the invocation has no more time than `margin` left."""
    remaining = remaining_time(context)
    return remaining is not None and remaining <= margin
