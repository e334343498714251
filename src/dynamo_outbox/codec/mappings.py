"""Payloads whose objects are other mappings than dicts, such as the event objects of Powertools for AWS Lambda."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["as_dicts"]


def as_dicts(value: Any) -> Any:
    """Return a payload with a dict for each mapping, at any depth; the payload itself if it has no other mapping."""
    try:
        return _converted(value)
    except RecursionError:  # too deep to be read anyway; the reader says so
        return value


def _converted(value: Any) -> Any:
    if isinstance(value, Mapping):
        members = {name: _converted(member) for name, member in value.items()}
        is_same = isinstance(value, dict) and all(members[name] is member for name, member in value.items())
        return value if is_same else members
    if isinstance(value, list):
        converted = [_converted(member) for member in value]
        return converted if any(new is not old for new, old in zip(converted, value, strict=True)) else value
    return value
