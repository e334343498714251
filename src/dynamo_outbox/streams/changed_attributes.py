"""Changes of an item's attributes; imported on first use, so that decoding doesn't load it."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["ABSENT", "Change"]


class _Absent:
    """Value of an attribute that does not exist; false, and not None, which is DynamoDB's NULL."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "ABSENT"  # one object, also after copy and pickle


ABSENT = _Absent()


class Change(NamedTuple):
    """One attribute of a changed item, before and after; `ABSENT` if the item did not have it."""

    old: Any
    new: Any
