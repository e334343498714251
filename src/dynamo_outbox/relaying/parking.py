"""Common parts of `ParkingTable` and `ParkingQueue`, the dead-letter storage for records that can't be published."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from ..aws.errors import NO_RESPONSE
from ..errors import ParkingError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..options import Clock
    from .parked_record import ParkedRecord
    from .rules import Reason

__all__ = ["PARKING_FAULTS", "Parking", "RedriveFailure", "RedriveResult", "Redriver", "check_limit"]

PARKING_FAULTS = (BotoCoreError, ClientError, ParkingError, *NO_RESPONSE)
"""Errors because of which a record can't be parked; the record is then reported as failed."""


@dataclass(frozen=True, slots=True)
class RedriveFailure:
    """A parked record that could not be published again; the later ones with its ordering key were not tried.

    Attributes:
        order_key, sequence_number: The record's.
        code, message, path: The reason for this failure.
    """

    order_key: str
    sequence_number: str | None
    code: str
    message: str
    path: str = ""

    @classmethod
    def of(cls, record: ParkedRecord, reason: Reason) -> RedriveFailure:
        """Create the failure of a record."""
        return cls(record.order_key, record.sequence_number, *reason)

    @classmethod
    def of_unreadable(cls, order_key: str, error: ParkingError) -> RedriveFailure:
        """Create the failure of a record that can't be read."""
        return cls(order_key, error.sequence_number, type(error).__name__, str(error))


@dataclass(frozen=True, slots=True)
class RedriveResult:
    """The result of a redrive.

    Attributes:
        sent: The number of records that were published, or no longer produce an event, and are no longer parked.
        failures: The records that could not be published; in a table at most one per ordering key.
        finished: True if every record was tried. False if `limit` or Lambda's time ended the run; call redrive again.
    """

    sent: int
    failures: tuple[RedriveFailure, ...]
    finished: bool


def check_limit(limit: int | None) -> None:
    """Refuse a redrive's limit that no number of records reaches."""
    if limit is not None and limit < 0:
        raise ValueError(f"limit={limit} must not be negative")


class Redriver(Protocol):
    """Publishes parked records again: an `OutboxRelay` or a `ChangeProcessor`."""

    def republish(self, parked: Sequence[ParkedRecord], context: object) -> list[Reason | None]: ...


class Parking(Protocol):
    """The storage interface of `OutboxRelay` and `ChangeProcessor`."""

    clock: Clock
    in_order: bool

    def waiting(self, order_keys: Iterable[str]) -> set[str]:
        """Return the ordering keys that have parked records."""
        ...

    def park(self, records: Sequence[ParkedRecord], context: object) -> int:
        """Store records in order; return the number of records stored, counted from the first."""
        ...
