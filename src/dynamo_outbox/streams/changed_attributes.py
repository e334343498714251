"""What a change of an item did to its attributes: loaded when somebody asks, so that decoding doesn't wait for it."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["ABSENT", "Change"]


class _Absent:
    """What an attribute is that isn't there; false, and not None, which is DynamoDB's NULL."""

    def __repr__(self) -> str:
        return "ABSENT"

    def __bool__(self) -> bool:
        return False

    def __reduce__(self) -> str:
        return "ABSENT"  # there is one, after copy and pickle too


ABSENT = _Absent()


class Change(NamedTuple):
    """One attribute of a changed item, before and after; `ABSENT` where it was or is not there."""

    old: Any
    new: Any
