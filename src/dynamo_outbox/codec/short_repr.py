"""How an error names a value that it found."""

from __future__ import annotations

__all__ = ["shown"]

LONGEST = 60


def shown(value: object) -> str:
    """A value's repr, cut short. Never an error of its own, whatever has arrived."""
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested beyond what Python shows, or an integer of more than 4,300 digits
        return f"a value of type {type(value).__name__} that is too much to show"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 3]}..."
