"""How events are cut into PutEvents calls, and how an entry's fate is read.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

__all__ = ["MAX_ENTRIES", "MAX_REQUEST_BYTES", "Delivery", "entry_size", "is_final"]

MAX_ENTRIES = 10
"""Entries in one call."""
MAX_REQUEST_BYTES = 1_048_576
"""The sum of a call's entries stays below this. It was 256 KB until January 2026."""
_TIME_BYTES = 14
"""What an entry's Time counts."""

_FINAL_CODES = frozenset(
    {
        "AccessDeniedException",
        "InvalidAccountIdException",
        "InvalidArgument",
        "MalformedDetail",
        "RedactionFailure",
        "NotAuthorizedForSourceException",
        "NotAuthorizedForDetailTypeException",
        "EntryTooLarge",  # ours: found before it was sent
    }
)


def is_final(code: str) -> bool:
    """Whether an entry that failed so would fail so again. What isn't known to be final is worth a retry."""
    return code in _FINAL_CODES


def entry_size(entry: Mapping[str, Any]) -> int:
    """An entry's size by AWS's formula, in bytes."""
    size = _TIME_BYTES if entry.get("Time") is not None else 0
    for name in ("Source", "DetailType", "Detail"):
        size += len(entry.get(name, "").encode())
    return size + sum(len(resource.encode()) for resource in entry.get("Resources", ()))


class Delivery:
    """The plan of one publication: which entries go into the next call, given how the earlier ones fared.

    Entries go out in their order. Once an entry fails, those behind it with its order key are held back.

    Args:
        sizes: Each entry's size in bytes, by position.
        order_keys: Each entry's order key, by position; None where it follows nothing. A call never holds two
            entries of one key, because EventBridge may fail the first and take the second.
    """

    def __init__(self, sizes: Sequence[int], order_keys: Sequence[str | None]) -> None:
        self._sizes = sizes
        self._order_keys = order_keys
        self._blocked: set[str] = set()
        self._next = 0
        self.held_back: list[int] = []
        self.too_large: list[int] = []

    def next_batch(self) -> list[int]:
        """The positions of the next call's entries; empty when all have had their turn."""
        batch: list[int] = []
        keys: set[str] = set()
        total = 0
        while self._next < len(self._sizes):
            position, key, size = self._next, self._order_keys[self._next], self._sizes[self._next]
            if key in self._blocked:
                self.held_back.append(position)
            elif size >= MAX_REQUEST_BYTES:
                self.too_large.append(position)
                self.block(position)
            elif len(batch) == MAX_ENTRIES or total + size >= MAX_REQUEST_BYTES or key in keys:
                break
            else:
                batch.append(position)
                total += size
                if key is not None:
                    keys.add(key)
            self._next += 1
        return batch

    def block(self, position: int) -> None:
        """Say that an entry failed: what follows it under its order key is held back."""
        key = self._order_keys[position]
        if key is not None:
            self._blocked.add(key)

    def abandon(self) -> list[int]:
        """Give up: the positions that have had no turn yet."""
        rest = list(range(self._next, len(self._sizes)))
        self._next = len(self._sizes)
        return rest
