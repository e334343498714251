"""In-memory Custom Event Bus: PutEvents, deduplication, groups, and what subscribers get.

It shows how this library and a consumer handle what AWS documents; it does not prove how AWS behaves.
Sources: https://docs.aws.amazon.com/eventbridgev2/latest/APIReference/API_PutEvents.html (limits, results, errors),
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-ordering.html (groups, five minutes),
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-retry.html (retries, dead letters).
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from botocore.utils import parse_to_aware_datetime

from .client import ACCOUNT, REGION, FakeClient, RefusedError, service_model

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from ...options import Clock

__all__ = ["BusEvent", "FakeCustomBus", "Subscriber"]

DEDUPLICATION_WINDOW = timedelta(seconds=300)
MAX_REQUEST_BYTES = 1_048_576
RUNNING = ("ACTIVE", "UPDATING", "UPDATE_FAILED")
Transformer: TypeAlias = Literal["RAW", "WITH_METADATA"]


class BusEvent(NamedTuple):
    """An event that the bus has stored.

    Attributes:
        entry: The entry of PutEvents.
        event_id: The bus's id of it.
        sequence_number: Its position, as text beyond 64 bits.
        time: When the bus stored it.
    """

    entry: Mapping[str, Any]
    event_id: str
    sequence_number: str
    time: datetime

    @property
    def group(self) -> str | None:
        group: str | None = self.entry.get("SystemMetadata", {}).get("EventGroupId")
        return group

    def delivered(self, transformer: Transformer = "RAW", *, replay: bool = False) -> dict[str, Any]:
        """Return the event as a target gets it."""
        given = self.entry.get("Time")
        moment = self.time if given is None else parse_to_aware_datetime(given)
        data = {
            "version": "0",
            "id": self.event_id,
            "detail-type": self.entry["DetailType"],
            "source": self.entry["Source"],
            "account": ACCOUNT,
            "time": _text(moment),
            "region": REGION,
            "resources": list(self.entry.get("Resources", ())),
            "detail": json.loads(self.entry.get("Detail", "{}")),
        }
        if transformer == "RAW":
            return data
        system = {
            "ContentType": "application/eventbridge+json",
            "aws:EventId": self.event_id,
            "aws:Source": self.entry["Source"],
            "aws:DetailType": self.entry["DetailType"],
            **self.entry.get("SystemMetadata", {}),
            "aws:IngestionTime": _text(self.time),
            "aws:SequenceNumber": self.sequence_number,
            "aws:DeliveryType": "REPLAY" if replay else "LIVE",
        }
        return {"Data": data, "Metadata": {}, "SystemMetadata": system}


def _text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


@dataclass
class Subscriber:
    """A subscriber with a target that is a function.

    Args:
        target: Gets one event, or with a larger `max_batch` a list, even of one; an exception is a failed delivery.
        fifo: Deliver each group in order, one delivery after another; a failing one holds back its group only.
        transformer: ``RAW`` or ``WITH_METADATA``.
        max_batch: Events in one delivery.
        retries: Attempts after the first one; then the events become dead letters, and the group goes on with a gap.

    Attributes:
        dead_letters: Records as AWS sends them to the queue of failed deliveries: ids, not events.
    """

    target: Callable[[Any], object]
    fifo: bool = True
    transformer: Transformer = "RAW"
    max_batch: int = 1
    retries: int = 5
    dead_letters: list[dict[str, Any]] = field(default_factory=list)
    _waiting: list[tuple[BusEvent, bool]] = field(default_factory=list, init=False)
    _failures: dict[str, int] = field(default_factory=dict, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def deliver(self, bus_arn: str) -> bool:
        """Make one attempt for each waiting event, FIFO groups as far as they go; return whether any is left."""
        with self._lock:
            waiting, self._waiting = self._waiting, []
        left: list[tuple[BusEvent, bool]] = []
        blocked: set[str | None] = set()
        while waiting:
            batch = [each for each in waiting if not (self.fifo and each[0].group in blocked)][: self.max_batch]
            if not batch:
                break
            waiting = [each for each in waiting if each not in batch]
            events = [event.delivered(self.transformer, replay=replay) for event, replay in batch]
            try:
                self.target(events[0] if self.max_batch == 1 else events)
            except Exception as error:  # any failure of the target is a failed delivery
                first = batch[0][0].event_id
                self._failures[first] = self._failures.get(first, 0) + 1
                if self._failures[first] > self.retries:
                    self.dead_letters.append(_dead_letter(bus_arn, [event for event, _ in batch], error, self.retries))
                else:
                    left += batch
                    blocked |= {event.group for event, _ in batch}
        with self._lock:
            self._waiting += [*left, *waiting]
            self._waiting.sort(key=lambda each: int(each[0].sequence_number))
            return bool(self._waiting)

    def add(self, events: Sequence[BusEvent], *, replay: bool = False) -> None:
        """Let events wait for delivery."""
        with self._lock:
            self._waiting += [(event, replay) for event in events]


def _dead_letter(bus_arn: str, events: Sequence[BusEvent], error: Exception, retries: int) -> dict[str, Any]:
    return {
        "version": "1.0",
        "busArn": bus_arn,
        "errorCode": "COMPUTE_EXECUTION_ERROR",
        "errorMessage": str(error),
        "exhaustedRetryCondition": "MaxRetryAttempts",
        "retryAttempts": retries,
        "failedMessages": [
            {
                "eventId": event.event_id,
                "eventGroupId": event.group,
                "deduplicationId": event.entry.get("SystemMetadata", {}).get("DeduplicationId"),
                "timestamp": _text(event.time),
            }
            for event in events
        ],
    }


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

    def subscribe(self, target: Callable[[Any], object], **options: Any) -> Subscriber:
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
        while any(subscriber.deliver(self.arn) for subscriber in self.subscribers):
            continue

    def _known(self, request: Mapping[str, Any]) -> None:
        if request["EventBusArn"] != self.arn:
            raise RefusedError("ResourceNotFoundException", f"Event bus {request['EventBusArn']} does not exist.")

    def _describe(self, request: dict[str, Any]) -> dict[str, Any]:
        self._known(request)
        return {"EventBusArn": self.arn, "Name": self.arn.split("/")[1], "State": self.state}

    def _put_events(self, request: dict[str, Any]) -> dict[str, Any]:
        shape = service_model(self.SERVICE).operation_model("PutEvents").input_shape
        wrong = list(violations(shape, request))
        if wrong:
            plural = "s" * (len(wrong) > 1)
            raise _invalid(f"{len(wrong)} validation error{plural} detected: {'; '.join(wrong)}")
        self._known(request)
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
            first = BusEvent(entry, f"{number:08x}-0000-4000-8000-000000000000", sequence_number, now)
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
        return isinstance(json.loads(text), dict)
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
