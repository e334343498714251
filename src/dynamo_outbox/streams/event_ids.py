"""Event ids in CDC mode: functions of the change, so that a redelivered record makes the same events again."""

from __future__ import annotations

from hashlib import sha256

from ..errors import DecodeError
from ..events.ids import uuid8

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .records import StreamRecord

__all__ = ["change_event_id"]


def change_event_id(record: StreamRecord, position: int) -> str:
    """Return the id of the event at `position` among those that a change was mapped to.

    Raises:
        DecodeError: The record has neither an event id nor a sequence number.
    """
    identity = record.event_id or record.sequence_number
    if identity is None:
        raise DecodeError(
            "eventID", "is missing, and the ids of the change's events are made from it", index=record.index
        )
    origin = "\0".join((record.table or "", identity, str(position)))
    return uuid8(sha256(origin.encode()).digest())
