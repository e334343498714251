"""Delivery of a Custom Event Bus: subscribers, the forms in which targets get events, retries and dead letters.

https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-transform.html (forms),
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-ordering.html (groups),
https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-custom-bus-retry.html (retries, dead letters).
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from botocore.utils import parse_to_aware_datetime

from ...pipes.patterns import compile_pattern
from .client import ACCOUNT, RefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["BusEvent", "MessageTarget", "Subscriber", "json_text"]

MAX_CALL_BYTES = 6 * 1024 * 1024
"""A larger batch is delivered in several calls. https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
MAX_ERROR_MESSAGE = 1024
Transformer: TypeAlias = Literal["RAW", "WITH_METADATA"]


class BusEvent(NamedTuple):
    """An event that the bus has stored.

    Attributes:
        entry: The entry of PutEvents.
        event_id: The bus's id of it.
        sequence_number: Its position, as text beyond 64 bits.
        time: When the bus stored it.
        region: The bus's Region.
    """

    entry: Mapping[str, Any]
    event_id: str
    sequence_number: str
    time: datetime
    region: str

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
            "region": self.region,
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


def json_text(body: Any) -> str:
    """Return a body as its target gets it."""
    return json.dumps(body, ensure_ascii=False)


class MessageTarget(ABC):
    """A target that takes each event as a message, whatever the size of a batch, and reads the event's metadata.

    AWS evaluates a target's parameters on the event with its metadata, also if the body is ``RAW``.
    """

    @abstractmethod
    def send(self, event: BusEvent, body: Mapping[str, Any]) -> None:
        """Send one event; an exception is a failed delivery."""


class _Delivery(NamedTuple):
    events: Sequence[tuple[BusEvent, bool]]
    """Each with True if it is a replay."""
    failures: int = 0


@dataclass
class Subscriber:
    """A subscriber and its target.

    Args:
        target: A function that gets one event, or with a larger `max_batch` a list, even of one. An exception is a
            failed delivery. Or a queue: see `queue_target`.
        fifo: Deliver each group in order, one delivery after another; a failing one holds back its group. Another
            version of AWS's page on retries says that it holds back all groups.
        transformer: ``RAW`` or ``WITH_METADATA``.
        max_batch: Events in one delivery. A batch of more than 6 MB is closed before.
        retries: Attempts after the first one; then the events become dead letters, and the group goes on with a gap.
        pattern: The filter of the scope ``DATA``: an event pattern without ``wildcard``. None for all events.
        name: The subscriber's name.

    Attributes:
        dead_letters: Records as AWS sends them to the queue of failed deliveries: ids, not events.

    Raises:
        InvalidPatternError: AWS would refuse the pattern.
    """

    target: Callable[[Any], object] | MessageTarget
    fifo: bool = True
    transformer: Transformer = "RAW"
    max_batch: int = 1
    retries: int = 5
    pattern: Mapping[str, Any] | None = None
    name: str = "subscriber"
    dead_letters: list[dict[str, Any]] = field(default_factory=list, init=False)
    _waiting: list[tuple[BusEvent, bool]] = field(default_factory=list, init=False, repr=False)
    _failed: list[_Delivery] = field(default_factory=list, init=False, repr=False)
    _lock: Lock = field(default_factory=Lock, init=False, repr=False)
    _delivering: RLock = field(default_factory=RLock, init=False, repr=False)

    def __post_init__(self) -> None:
        self._matches = None if self.pattern is None else compile_pattern(self.pattern, service="subscriber")

    def deliver(self, bus_arn: str) -> bool:
        """Make one attempt for each event, FIFO groups as far as they go; return whether any event is left.

        Calls from several threads run one after the other.
        """
        with self._delivering:
            failed, self._failed = self._failed, []
            blocked: set[str | None] = set()
            for delivery in failed:
                self._attempt(delivery, blocked, bus_arn)
            while (batch := self._next(blocked)) is not None:
                self._attempt(batch, blocked, bus_arn)
            with self._lock:
                return bool(self._failed or self._waiting)

    def add(self, events: Sequence[BusEvent], *, replay: bool = False) -> None:
        """Queue the events that match the filter."""
        taken = [event for event in events if self._matches is None or self._matches(event.delivered())]
        with self._lock:
            self._waiting += [(event, replay) for event in taken]

    @property
    def _size(self) -> int:
        return 1 if isinstance(self.target, MessageTarget) else self.max_batch

    def _next(self, blocked: set[str | None]) -> _Delivery | None:
        """Take the next batch of events whose groups are not blocked."""
        places: list[int] = []
        length = 0
        with self._lock:
            for place, (event, replay) in enumerate(self._waiting):
                if len(places) == self._size:
                    break
                if self.fifo and event.group in blocked:
                    continue
                if self._size > 1:
                    length += len(json_text(event.delivered(self.transformer, replay=replay)).encode()) + len(", ")
                if places and length + len("[]") > MAX_CALL_BYTES:
                    break
                places.append(place)
            taken = [self._waiting[place] for place in places]
            for place in reversed(places):
                del self._waiting[place]
        return _Delivery(taken) if taken else None

    def _attempt(self, delivery: _Delivery, blocked: set[str | None], bus_arn: str) -> None:
        bodies = [event.delivered(self.transformer, replay=replay) for event, replay in delivery.events]
        try:
            if isinstance(self.target, MessageTarget):
                self.target.send(delivery.events[0][0], bodies[0])
            else:
                self.target(bodies[0] if self.max_batch == 1 else bodies)
        except Exception as error:  # any failure of the target is a failed delivery
            events = [event for event, _ in delivery.events]
            if delivery.failures == self.retries:
                self.dead_letters.append(self._dead_letter(bus_arn, events, error))
            else:
                self._failed.append(delivery._replace(failures=delivery.failures + 1))
                blocked |= {event.group for event in events}

    def _dead_letter(self, bus_arn: str, events: Sequence[BusEvent], error: Exception) -> dict[str, Any]:
        owner = bus_arn.split(":event-busv2/")[0]
        return {
            "version": "1.0",
            "busArn": bus_arn,
            "subscriberArn": f"{owner}:subscriber/{self.name}/{'b' * 25}",
            "targetArn": f"{owner.replace(':events:', ':lambda:')}:function:{self.name}",
            "errorCode": error.code if isinstance(error, RefusedError) else "COMPUTE_EXECUTION_ERROR",
            "errorMessage": (error.message if isinstance(error, RefusedError) else str(error))[:MAX_ERROR_MESSAGE],
            "exhaustedRetryCondition": "MaximumRetryAttempts",
            "retryAttempts": self.retries,
            "failedMessages": [
                {
                    "eventId": event.event_id,
                    "eventGroupId": event.group,
                    "deduplicationId": event.entry.get("SystemMetadata", {}).get("DeduplicationId"),
                    "timestamp": event.time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                    "targetRequestId": "",
                }
                for event in events
            ],
        }
