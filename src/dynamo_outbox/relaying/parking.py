"""Dead-letter storage for stream records that could not be published: what both kinds of it have in common."""

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

__all__ = ["PARKING_FAULTS", "Parking", "RedriveFailure", "RedriveResult", "Redriver"]

PARKING_FAULTS = (BotoCoreError, ClientError, ParkingError, *NO_RESPONSE)
"""The errors that keep a record from being parked; it is then reported as failed."""


@dataclass(frozen=True, slots=True)
class RedriveFailure:
    """A parked record that could not be published again; the later ones with its ordering key were not tried.

    Attributes:
        order_key, sequence_number: The record's.
        code, message, path: Why, this time.
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
        sent: How many records are on the bus now, or make no event any more, and are no longer parked.
        failures: The records that could not be published; at most one per ordering key of a table.
        finished: Whether every record was tried; otherwise `limit` or Lambda's time ended the run, and another goes on.
    """

    sent: int
    failures: tuple[RedriveFailure, ...]
    finished: bool


class Redriver(Protocol):
    """Publishes parked records again: an `OutboxRelay` or a `ChangeProcessor`."""

    def republish(self, parked: Sequence[ParkedRecord], context: object) -> list[Reason | None]: ...


class Parking(Protocol):
    """The storage, as an `OutboxRelay` or a `ChangeProcessor` uses it."""

    clock: Clock
    in_order: bool

    def waiting(self, order_keys: Iterable[str]) -> set[str]:
        """Return those of the ordering keys that have parked records."""
        ...

    def park(self, records: Sequence[ParkedRecord], context: object) -> int:
        """Store records, in order; return how many, from the first on, are stored."""
        ...
