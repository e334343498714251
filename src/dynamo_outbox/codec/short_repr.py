"""The form in which error messages show a value."""

from __future__ import annotations

__all__ = ["short_repr"]

MAX_LENGTH = 60


def short_repr(value: object) -> str:
    """Return a value's repr, cut short; never raises, whatever the value is."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested beyond Python's limit, or an integer of more than 4,300 digits
        return f"a value of type {type(value).__name__} that is too large to show"
    return text if len(text) <= MAX_LENGTH else f"{text[: MAX_LENGTH - 3]}..."
