"""In-memory Custom Event Bus: PutEvents, deduplication and the quotas of groups.

It shows how this library and a consumer handle what AWS documents; it does not prove how AWS behaves.
Sources: https://docs.aws.amazon.com/eventbridgev2/latest/APIReference/API_PutEvents.html (limits, results, errors),
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-ordering.html (groups, five minutes).
"""

from __future__ import annotations

import json
import math
import re
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from .client import ACCOUNT, REGION, FakeClient, RefusedError, no_json, refuse_unknown, service_model
from .subscriber import BusEvent, MessageTarget, Subscriber

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from datetime import datetime

    from ...options import Clock

__all__ = ["FakeCustomBus"]

DEDUPLICATION_WINDOW = timedelta(seconds=300)
MAX_REQUEST_BYTES = 1_048_576
RUNNING = ("ACTIVE", "UPDATING", "UPDATE_FAILED")


class _EntryFault(NamedTuple):
    code: str
    message: str
    detail_type: str | None


class FakeCustomBus(FakeClient):
    """Fake low-level ``eventbridgev2`` client with one Custom Event Bus.

    It enforces the limits of botocore's model of the service, which botocore itself does not, and refuses the whole
    call for them; what AWS does for a single bad entry is not documented.

    Args:
        clock: Time source: of deduplication and quotas, and of events without a time.
        name: The bus's name.
        region: The bus's Region, also of the server's clients.
        group_quota: Events and KB that a group takes in a second; AWS's is 1,500. None for no limit.

    Attributes:
        arn: The bus's ARN.
        region: Its Region.
        state: The bus's state; other than ``ACTIVE`` and while it is updated it takes no events.
        events: The events stored, in order.
        subscribers: What `deliver` delivers to.
    """

    SERVICE = "eventbridgev2"

    def __init__(
        self, *, clock: Clock, name: str = "books", region: str = REGION, group_quota: float | None = None
    ) -> None:
        super().__init__()
        self.region = region
        self.arn = f"arn:aws:events:{region}:{ACCOUNT}:event-busv2/{name}/{'a' * 25}"
        self.state = "ACTIVE"
        self.events: list[BusEvent] = []
        self.subscribers: list[Subscriber] = []
        self._clock = clock
        self._group_quota = group_quota
        self._spent: dict[str, list[tuple[datetime, float]]] = {}
        self._seen: dict[tuple[str | None, str], BusEvent] = {}
        self._entry_faults: list[_EntryFault] = []

    @property
    def pending_faults(self) -> list[str]:
        return super().pending_faults + [f"an entry: {fault.code}" for fault in self._entry_faults]

    def fail_next_entry(self, code: str, message: str = "scripted", *, detail_type: str | None = None) -> None:
        """Make the next entry fail, but not its request's other entries; as of `FakeEventBridge`."""
        with self._lock:
            self._entry_faults.append(_EntryFault(code, message, detail_type))

    def put_events(self, **request: Any) -> dict[str, Any]:
        return self._call("put_events", request, self._put_events)

    def describe_event_bus(self, **request: Any) -> dict[str, Any]:
        return self._call("describe_event_bus", request, self._describe)

    def subscribe(self, target: Callable[[Any], object] | MessageTarget, **options: Any) -> Subscriber:
        """Add a `Subscriber` for the events from now on, and return it."""
        with self._lock:
            self.subscribers.append(Subscriber(target, **options))
            return self.subscribers[-1]

    def replay(self, subscriber: Subscriber) -> None:
        """Deliver all stored events to a subscriber again, as one that starts at a point in time gets them."""
        with self._lock:
            subscriber.add(self.events, replay=True)

    def deliver(self) -> None:
        """Deliver until no event is left: to a subscriber, or as its dead letter."""
        while self.deliver_once():
            continue

    def deliver_once(self) -> bool:
        """Make one attempt for each event, even if other subscribers fail; return whether any event is left."""
        left = [subscriber.deliver(self.arn) for subscriber in list(self.subscribers)]
        return any(left)

    def _check(self, operation: str, request: Mapping[str, Any]) -> None:
        wrong = list(violations(service_model(self.SERVICE).operation_model(operation).input_shape, request))
        if wrong:
            plural = "s" * (len(wrong) > 1)
            raise _invalid(f"{len(wrong)} validation error{plural} detected: {'; '.join(wrong)}")
        if request["EventBusArn"] != self.arn:
            raise RefusedError("ResourceNotFoundException", f"Event bus {request['EventBusArn']} does not exist.")

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        self._check("DescribeEventBus", request)
        return {"EventBusArn": self.arn, "Name": self.arn.split("/")[1], "State": self.state}

    def _put_events(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown(request, {"EventBusArn", "Entries"})
        self._check("PutEvents", request)
        if self.state not in RUNNING:
            raise RefusedError("InvalidStateException", f"The event bus is {self.state}.")
        if (total := sum(map(_size, request["Entries"]))) > MAX_REQUEST_BYTES:
            raise _invalid(f"Total size of the entries is {total} bytes, more than {MAX_REQUEST_BYTES}.")
        outcomes = [self._outcome(entry) for entry in request["Entries"]]
        return {"FailedEntryCount": sum("ErrorCode" in outcome for outcome in outcomes), "Entries": outcomes}

    def _outcome(self, entry: Mapping[str, Any]) -> dict[str, str]:
        fault = next((each for each in self._entry_faults if each.detail_type in (None, entry["DetailType"])), None)
        if fault is not None:
            self._entry_faults.remove(fault)
            return {"ErrorCode": fault.code, "ErrorMessage": fault.message}
        if entry["Source"].startswith("aws."):
            return {"ErrorCode": "VALIDATION_ERROR", "ErrorMessage": "Source must not begin with aws."}
        if not _is_object(entry.get("Detail", "{}")):
            return {"ErrorCode": "VALIDATION_ERROR", "ErrorMessage": "Detail is not a JSON object."}
        ids, now = entry.get("SystemMetadata", {}), self._clock.now()
        group = ids.get("EventGroupId")
        if group is not None and self._is_throttled(group, 1 + _size(entry) / 1024, now):
            return {"ErrorCode": "ThrottlingException", "ErrorMessage": "Rate exceeded."}
        key = (group, ids.get("DeduplicationId"))
        first = self._seen.get(key)
        success = "DEDUPLICATED"
        if first is None or now - first.time >= DEDUPLICATION_WINDOW:
            number = len(self.events) + 1
            sequence_number = str(10**19 + 1000 * number)
            first = BusEvent(entry, f"{number:08x}-0000-4000-8000-000000000000", sequence_number, now, self.region)
            self.events.append(first)
            for subscriber in self.subscribers:
                subscriber.add([first])
            if key[1] is not None:
                self._seen[key] = first
            success = "PUBLISHED"
        return {"EventId": first.event_id, "SequenceNumber": first.sequence_number, "SuccessCode": success}

    def _is_throttled(self, group: str, cost: float, now: datetime) -> bool:
        if self._group_quota is None:
            return False
        spent = [each for each in self._spent.get(group, []) if each[0] > now - timedelta(seconds=1)]
        if sum(each for _, each in spent) + cost > self._group_quota:
            return True
        self._spent[group] = [*spent, (now, cost)]
        return False


def _invalid(message: str) -> RefusedError:
    return RefusedError("InvalidInputException", message)


def _size(entry: Mapping[str, Any]) -> int:
    """Return an entry's size by Classic's formula and its ids; that of this bus is not documented."""
    ids = entry.get("SystemMetadata", {})
    texts = [*(entry.get(name, "") for name in ("Source", "DetailType", "Detail")), *entry.get("Resources", ())]
    return sum(len(text.encode()) for text in [*texts, *ids.values()]) + 14 * (entry.get("Time") is not None)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text, parse_constant=no_json), dict)
    except ValueError:
        return False


def violations(shape: Any, value: Any, path: str = "") -> Iterator[str]:
    """Yield where a request breaks a maximum, a pattern or an enum of botocore's model, as AWS words it."""
    kind, limits = shape.type_name, shape.metadata
    at = f"Value at '{path}' failed to satisfy constraint: Member must"
    if kind in ("string", "list") and len(value) > limits.get("max", math.inf):
        yield f"{at} have length less than or equal to {limits['max']}"
    if kind == "string" and limits.get("pattern") and not re.fullmatch(limits["pattern"], value):
        yield f"{at} satisfy regular expression pattern: {limits['pattern']}"
    if kind == "string" and shape.enum and value not in shape.enum:
        yield f"{at} satisfy enum value set: {shape.enum}"
    if kind == "structure":
        for name, member in value.items():
            yield from violations(shape.members[name], member, f"{path}.{name[:1].lower()}{name[1:]}".strip("."))
    if kind == "list":
        for number, member in enumerate(value, 1):
            yield from violations(shape.member, member, f"{path}.{number}.member")
