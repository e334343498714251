"""The time that Lambda's context leaves to an invocation."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["ANSWER_MARGIN", "PARKING_MARGIN", "REDRIVE_MARGIN", "is_nearly_over", "remaining_time", "remaining_time_in"]

ANSWER_MARGIN = timedelta(seconds=1)
"""Kept for the response after publishing or waiting."""
PARKING_MARGIN = timedelta(milliseconds=300)
"""Kept while parking: the last thing before the response."""
REDRIVE_MARGIN = timedelta(seconds=3)
"""Kept for removing the last records that were published again, and for the response."""


def remaining_time(candidate: object) -> timedelta | None:
    """Return how long Lambda lets this invocation go on if `candidate` is its context, or None."""
    remaining = getattr(candidate, "get_remaining_time_in_millis", None)
    milliseconds = remaining() if callable(remaining) else None
    is_number = isinstance(milliseconds, (int, float)) and not isinstance(milliseconds, bool)
    return timedelta(milliseconds=milliseconds) if is_number else None  # type: ignore[arg-type]  # a number, as checked


def remaining_time_in(arguments: Iterable[object]) -> timedelta | None:
    """Return the remaining time by the first Lambda context among a call's arguments, or None."""
    return next((time for each in arguments if (time := remaining_time(each)) is not None), None)


def is_nearly_over(context: object, margin: timedelta) -> bool:
    """Return whether the invocation has no more time than `margin` left."""
    remaining = remaining_time(context)
    return remaining is not None and remaining <= margin
