"""In-memory PutEvents of EventBridge, as strict as the service about sizes, details and sources.

https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-putevent-size.html
"""

from __future__ import annotations

import json
import random
from copy import deepcopy
from datetime import UTC
from typing import TYPE_CHECKING, Any, NamedTuple

from botocore.utils import parse_to_aware_datetime

from .client import ACCOUNT, REGION, FakeClient, invalid, no_json, refuse_unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ...options import Clock

__all__ = ["FakeEventBridge"]

MAX_ENTRIES = 10
MAX_REQUEST_BYTES = 1_048_576
"""The total size of a request's entries must be smaller."""
TIME_BYTES = 14
MAX_DETAIL_TYPE_LENGTH = 128
_REQUIRED = ("Source", "DetailType", "Detail")
_ENTRY = {*_REQUIRED, "Time", "Resources", "EventBusName", "TraceHeader"}


class _EntryFault(NamedTuple):
    code: str
    message: str
    detail_type: str | None


class FakeEventBridge(FakeClient):
    """Fake low-level EventBridge client that records the events sent.

    Args:
        clock: Time source for events without a time.
        buses: Names of the existing buses; by default every bus exists. As on AWS, an event for a bus that does not
            exist is accepted and dropped.

    Attributes:
        events: The events received, in order, in the form in which a consumer gets them.
    """

    SERVICE = "events"

    def __init__(self, *, clock: Clock, buses: Collection[str] | None = None) -> None:
        super().__init__()
        self.events: list[dict[str, Any]] = []
        self._clock = clock
        self._buses = buses
        self._entry_faults: list[_EntryFault] = []
        self._ids = 0

    @property
    def pending_faults(self) -> list[str]:
        return super().pending_faults + [f"an entry: {fault.code}" for fault in self._entry_faults]

    def fail_next_entry(self, code: str, message: str = "scripted", *, detail_type: str | None = None) -> None:
        """Make the next entry fail, but not its request's other entries; further calls queue further failures.

        Args:
            code: The entry's ErrorCode: ``ThrottlingException``, ``InternalFailure``.
            message: The entry's ErrorMessage.
            detail_type: Only an entry with this DetailType fails; by default any entry.
        """
        with self._lock:
            self._entry_faults.append(_EntryFault(code, message, detail_type))

    def put_events(self, **request: Any) -> dict[str, Any]:
        return self._call("put_events", request, self._put_events)

    def deliveries(self, *, seed: int) -> list[dict[str, Any]]:
        """Return the events as a target may get them: each once or twice, in random order, repeatable by `seed`."""
        chance = random.Random(seed)  # noqa: S311  # not for secrets
        with self._lock:
            delivered = [event for event in self.events for _ in range(chance.choice((1, 2)))]
        chance.shuffle(delivered)
        return deepcopy(delivered)

    def _put_events(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown(request, {"Entries"})
        entries = request["Entries"]
        if len(entries) > MAX_ENTRIES:
            raise invalid(
                "1 validation error detected: Value at 'entries' failed to satisfy constraint: "
                f"Member must have length less than or equal to {MAX_ENTRIES}"
            )
        if sum(map(_size, entries)) >= MAX_REQUEST_BYTES:
            raise invalid("Total size of the entries in the request is over the limit.")
        outcomes = [self._outcome(entry) for entry in entries]
        return {"FailedEntryCount": sum("ErrorCode" in outcome for outcome in outcomes), "Entries": outcomes}

    def _outcome(self, entry: Mapping[str, Any]) -> dict[str, str]:
        refuse_unknown(entry, _ENTRY)
        fault = next((each for each in self._entry_faults if each.detail_type in (None, entry.get("DetailType"))), None)
        if fault is not None:
            self._entry_faults.remove(fault)
            return {"ErrorCode": fault.code, "ErrorMessage": fault.message}
        wrong = _fault_in(entry)
        if wrong is not None:
            return wrong
        self._ids += 1
        event_id = f"{self._ids:08x}-0000-4000-8000-000000000000"
        bus = entry.get("EventBusName", "default").rpartition("/")[2]  # a name or an ARN
        if self._buses is None or bus in self._buses:
            self.events.append(self._event(entry, event_id))
        return {"EventId": event_id}

    def _event(self, entry: Mapping[str, Any], event_id: str) -> dict[str, Any]:
        given = entry.get("Time")
        moment = self._clock.now() if given is None else parse_to_aware_datetime(given)  # as botocore reads it
        return {
            "version": "0",
            "id": event_id,
            "detail-type": entry["DetailType"],
            "source": entry["Source"],
            "account": ACCOUNT,
            "time": f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "region": REGION,
            "resources": list(entry.get("Resources", ())),
            "detail": json.loads(entry["Detail"]),
        }


def _size(entry: Mapping[str, Any]) -> int:
    size = TIME_BYTES if entry.get("Time") is not None else 0
    texts = [entry.get(name, "") for name in _REQUIRED] + list(entry.get("Resources", ()))
    return size + sum(len(text.encode()) for text in texts)


def _fault_in(entry: Mapping[str, Any]) -> dict[str, str] | None:
    for name in _REQUIRED:
        if not entry.get(name):
            problem = f"Parameter {name} is not valid. Reason: {name} is a required argument."
            return {"ErrorCode": "InvalidArgument", "ErrorMessage": problem}
    if entry["Source"].startswith("aws."):
        return {"ErrorCode": "NotAuthorizedForSourceException", "ErrorMessage": "Not authorized for the source."}
    if len(entry["DetailType"]) > MAX_DETAIL_TYPE_LENGTH:
        problem = f"Parameter DetailType is not valid. Reason: more than {MAX_DETAIL_TYPE_LENGTH} characters."
        return {"ErrorCode": "InvalidArgument", "ErrorMessage": problem}
    try:
        detail = json.loads(entry["Detail"], parse_constant=no_json)
    except ValueError:
        detail = None
    if not isinstance(detail, dict):
        return {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    return None
