"""The Classic bus (rules and targets): PutEvents entries, limits, results and codes.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .results import Accepted, EntryFailure

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..events.event import Event
    from .results import Outcome

__all__ = ["MAX_ENTRIES", "MAX_REQUEST_BYTES", "ClassicBus", "entry_size"]

MAX_ENTRIES = 10
"""Entries in one call."""
MAX_REQUEST_BYTES = 1_048_576
"""The sum of a call's entries stays below this. It was 256 KB until January 2026."""
_TIME_BYTES = 14
"""Size of an entry's Time."""
_FINAL_CODES = frozenset(
    {
        "AccessDeniedException",
        "InvalidAccountIdException",
        "InvalidArgument",
        "MalformedDetail",
        "RedactionFailure",
        "NotAuthorizedForSourceException",
        "NotAuthorizedForDetailTypeException",
        "SerializationException",
        "ValidationException",
    }
)


class ClassicBus:
    """A Classic bus, as the publisher sees it.

    Args:
        name: The bus's name or ARN.
        endpoint_id: The id of a global endpoint, or None.

    Raises:
        ValueError: `name` is clearly neither, so that AWS would refuse each call as if its entries were at fault.
    """

    service: ClassVar[str] = "events"
    max_entries: ClassVar[int] = MAX_ENTRIES
    max_bytes: ClassVar[int] = MAX_REQUEST_BYTES
    final_call_codes: ClassVar[frozenset[str]] = _FINAL_CODES
    final_entry_codes: ClassVar[frozenset[str]] = _FINAL_CODES
    entry_denials: ClassVar[frozenset[str]] = frozenset()
    unreadable: ClassVar[tuple[type[Exception], ...]] = ()
    has_groups: ClassVar[bool] = False
    region: str | None = None

    def __init__(self, name: str, endpoint_id: str | None) -> None:
        if name.split() != [name] or (":" in name and ":event-bus/" not in name):
            raise ValueError(f"bus={name!r} is neither a name nor an ARN with :event-bus/ or :event-busv2/")
        self._name = name
        self._endpoint = {} if endpoint_id is None else {"EndpointId": endpoint_id}

    def entry(self, event: Event, source: str, detail: str, trace: str | None) -> dict[str, Any]:
        entry = {
            "EventBusName": self._name,
            "Source": source,
            "DetailType": event.type,
            "Detail": detail,
            "Time": event.time,
        }
        if trace:
            entry["TraceHeader"] = trace
        return entry

    def size(self, entry: Mapping[str, Any]) -> int:
        return entry_size(entry)

    def request(self, entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        return {"Entries": entries, **self._endpoint}

    def outcome(self, result: Mapping[str, Any]) -> Outcome:
        code, accepted = result.get("ErrorCode"), result.get("EventId")
        if code or not isinstance(accepted, str) or not accepted:
            return EntryFailure(str(code or "Unknown"), str(result.get("ErrorMessage") or ""))
        return Accepted(accepted)


def entry_size(entry: Mapping[str, Any]) -> int:
    """Return an entry's size by AWS's formula, in bytes."""
    text = f"{entry.get('Source', '')}{entry.get('DetailType', '')}{entry.get('Detail', '')}"
    size = len(text) if text.isascii() else len(text.encode())
    if "Resources" in entry:
        size += sum([len(resource.encode()) for resource in entry["Resources"]])
    return size + _TIME_BYTES if entry.get("Time") is not None else size
