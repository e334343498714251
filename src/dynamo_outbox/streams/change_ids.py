"""Ids in CDC mode, as functions of the change: a record that is delivered again makes the same event again."""

from __future__ import annotations

from hashlib import sha256

from ..events.ids import uuid8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from .records import StreamRecord

__all__ = ["change_event_id", "order_key"]

UNREADABLE = "unreadable"
"""The order key of every item whose key can't be read: none of them overtakes another."""


def change_event_id(record: StreamRecord, position: int) -> str:
    """The id of the event that stands at `position` among those that a change was mapped to."""
    origin = "\0".join((record.table or "", record.event_id, str(position)))
    return uuid8(sha256(origin.encode()).digest())


def order_key(raw: Mapping[str, Any]) -> str:
    """What shares this keeps its order: the item of a raw record, which is also how far a stream keeps order."""
    keys = raw["dynamodb"]["Keys"].items()
    try:
        return repr(sorted(keys))
    except (RecursionError, TypeError, ValueError):  # nothing that DynamoDB sends
        return UNREADABLE
