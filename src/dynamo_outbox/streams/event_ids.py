"""Event ids in CDC mode: functions of the change, so that a redelivered record makes the same events again."""

from __future__ import annotations

from hashlib import sha256

from ..events.ids import uuid8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .records import StreamRecord

__all__ = ["change_event_id"]


def change_event_id(record: StreamRecord, position: int) -> str:
    """Return the id of the event at `position` among those that a change was mapped to."""
    origin = "\0".join((record.table or "", record.event_id, str(position)))
    return uuid8(sha256(origin.encode()).digest())
