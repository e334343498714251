"""The outcome of publishing, for each entry and for each event."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from ..events.event import Event

__all__ = ["Accepted", "CallFailure", "EntryFailure", "FailedEvent", "Outcome", "PublishResult", "PublishedEvent"]


class Accepted(NamedTuple):
    """The bus's answer to an entry that it has accepted; see `PublishedEvent`."""

    event_id: str
    sequence_number: str | None = None
    deduplicated: bool = False


class EntryFailure(NamedTuple):
    """Why one entry of a call failed."""

    code: str
    message: str


class CallFailure(NamedTuple):
    """Why a whole call failed; `status` is that of HTTP, if there was a response."""

    code: str
    message: str
    status: int | None = None


Outcome: TypeAlias = Accepted | EntryFailure | CallFailure
"""The outcome of an entry."""


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event that the bus has accepted.

    Attributes:
        position: Its position in the input.
        event: The event.
        event_id: EventBridge's id of it; may be empty on a Custom Event Bus, for an event that was deduplicated.
        sequence_number: Its position on a Custom Event Bus, as text (it may exceed 64 bits); None on a Classic bus.
        deduplicated: Whether the Custom Event Bus has accepted the event in the last five minutes already, so that
            no subscriber gets it again.
    """

    position: int
    event: Event
    event_id: str
    sequence_number: str | None = None
    deduplicated: bool = False


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An event that the bus has not accepted.

    Attributes:
        position: Its position in the input.
        event: The event.
        code: EventBridge's code, or ``EntryTooLarge``, ``InvalidEvent`` (it can never be sent), ``HeldBack`` (an
            earlier event of the same aggregate failed), ``IncompleteAnswer`` (it may be on the bus) or ``NotAttempted``
            (a whole call failed before it, or no time was left).
        message: The same for a reader.
        retryable: Whether sending it again may help.
        event_refused: Whether the event itself was refused permanently, rather than the caller (no permission, no
            credentials) or for a reason that may pass.
    """

    position: int
    event: Event
    code: str
    message: str
    retryable: bool
    event_refused: bool = False


@dataclass(frozen=True, slots=True)
class PublishResult:
    """The outcome of each event, by input position."""

    published: tuple[PublishedEvent, ...]
    failed: tuple[FailedEvent, ...]
