"""The interface of the two kinds of buses, and the choice between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from ..aws.buses import is_custom_bus
from .classic_bus import ClassicBus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..events.event import Event
    from .results import Outcome

__all__ = ["Bus", "choose_bus", "service_of"]


class Bus(Protocol):
    """Differences between the buses; batching, retries, order and results are the publisher's."""

    service: ClassVar[str]
    """botocore's name of the service."""
    max_entries: ClassVar[int]
    """Entries in one call."""
    max_bytes: ClassVar[int]
    """The sizes of a call's entries stay below this."""
    has_groups: ClassVar[bool]
    """True if the bus orders events by groups: one event of an aggregate per call, and limits for each group."""
    final_call_codes: ClassVar[frozenset[str]]
    """Codes of a call with one entry that would fail again."""
    final_entry_codes: ClassVar[frozenset[str]]
    """Codes of an entry, in the response of an accepted call, that would fail again."""
    entry_denials: ClassVar[frozenset[str]]
    """Codes of a call that a denied entry may have caused."""
    unreadable: ClassVar[tuple[type[Exception], ...]]
    """Exceptions of botocore's parser for a response that is not one of the service."""

    @property
    def region(self) -> str | None:
        """The Region whose endpoint takes the calls; None for the client's own."""
        ...

    def entry(self, event: Event, source: str, detail: str, trace: str | None, /) -> dict[str, Any]:
        """Return an event's entry; raise `InvalidEventError` if the bus would refuse it. `trace` is X-Ray's header."""
        ...

    def size(self, entry: Mapping[str, Any], /) -> int:
        """Return an entry's size in bytes."""
        ...

    def request(self, entries: Sequence[Mapping[str, Any]], /) -> dict[str, Any]:
        """Return the parameters of PutEvents."""
        ...

    def outcome(self, result: Mapping[str, Any], /) -> Outcome:
        """Return an entry's outcome; only a confirmed entry is accepted."""
        ...


def service_of(bus: str) -> str:
    """Return botocore's name of the service of a bus, by its name or ARN."""
    return "eventbridgev2" if is_custom_bus(bus) else ClassicBus.service


def choose_bus(bus: str, endpoint_id: str | None, *, has_client: bool) -> Bus:
    """Return the kind of bus that a name or an ARN means: a Custom Event Bus has only an ARN."""
    if service_of(bus) != ClassicBus.service:
        from .custom_bus import CustomBus

        return CustomBus(bus, endpoint_id, has_client=has_client)
    return ClassicBus(bus, endpoint_id)
