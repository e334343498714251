"""The buses of the run: a Classic bus on the engine, and the kit's Custom Event Bus in the driver's process."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Protocol, Self

from typing_extensions import override

from dynamo_outbox import Clock, Event, parse_event
from dynamo_outbox.testing import CustomBusServer, FakeCustomBus

from ..report import Row
from .world import CHANGED, COUNTED, SOURCE, VISIBILITY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dynamo_outbox.testing import MiniStack

__all__ = ["Bus", "ClassicBus", "CustomBus"]

WINDOW = timedelta(seconds=300)
"""Time in which a Custom Event Bus recognises an event that is sent again."""
GROUP_QUOTA = 30.0
"""Events and KB of an aggregate in a second; AWS's is 1,500, which no run here would reach."""
RETRIES = 185
"""Attempts of a subscriber after the first one, the most that AWS allows."""


class Bus(Protocol):
    """Bus of a run, as a context manager.

    Attributes:
        kind: What the rows call it.
        name: What the publisher gets: a name or an ARN.
        url: The endpoint that takes its events.
        queue: The URL of the consumers' queue; empty if the bus calls them.
    """

    kind: str
    name: str
    url: str
    queue: str = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the bus, if it is a server of its own."""

    def calls(self, function: Callable[[Any], None]) -> None:
        """Set the function that the bus calls for each `CHANGED` event, if it has no queue for consumers."""

    def forgets(self) -> bool:
        """Let the time pass in which the bus recognises an event that is sent again; return whether it does."""
        return False

    def is_quiet(self) -> bool:
        """Return whether every event has reached its consumer."""

    def delivered(self) -> Iterable[Event]:
        """Yield the delivered events, each as often as it was delivered. The Classic bus's tap is empty afterwards."""

    def rows(self, fault: str) -> list[Row]:
        """Return the claims that are about this bus alone."""


class ClassicBus(Bus):
    """Classic bus, with rules to a queue for consumers and to another, the tap, for all events."""

    kind, name = "Classic bus", "bus"

    def __init__(self, engine: MiniStack) -> None:
        self.url = engine.endpoint_url
        self._sqs = engine.client("sqs")
        events = engine.client("events")
        events.create_event_bus(Name=self.name)
        urls = {}
        for queue, pattern in (("queue", {"detail-type": [CHANGED]}), ("tap", {"source": [SOURCE]})):
            made = self._sqs.create_queue(QueueName=queue, Attributes={"VisibilityTimeout": str(VISIBILITY)})
            urls[queue] = made["QueueUrl"]
            attributes = self._sqs.get_queue_attributes(QueueUrl=urls[queue], AttributeNames=["QueueArn"])["Attributes"]
            events.put_rule(Name=queue, EventBusName=self.name, EventPattern=json.dumps(pattern))
            targets = [{"Id": queue, "Arn": attributes["QueueArn"]}]
            events.put_targets(Rule=queue, EventBusName=self.name, Targets=targets)
        self.queue, self._tap = urls["queue"], urls["tap"]

    def is_quiet(self) -> bool:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        waiting = self._sqs.get_queue_attributes(QueueUrl=self.queue, AttributeNames=names)["Attributes"]
        return not any(int(waiting[name]) for name in names)

    def delivered(self) -> Iterable[Event]:
        while messages := self._sqs.receive_message(QueueUrl=self._tap, MaxNumberOfMessages=10).get("Messages"):
            yield from (parse_event(json.loads(message["Body"])) for message in messages)
            entries = [
                {"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]} for index, each in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=self._tap, Entries=entries)

    @override
    def rows(self, fault: str) -> list[Row]:
        return []


class _BusClock(Clock):
    """Real time, which can be set forward."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


class CustomBus(Bus):
    """Custom Event Bus with a FIFO subscriber that calls a function and waits for it."""

    kind = "Custom Event Bus"

    def __init__(self, engine: MiniStack) -> None:
        self._clock = _BusClock()
        self._bus = FakeCustomBus(clock=self._clock, region=engine.region, group_quota=GROUP_QUOTA)
        self._server = CustomBusServer(self._bus)
        self._finished = 0
        self.name = self._bus.arn
        self.url = ""

    def __enter__(self) -> Self:
        self.url = self._server.__enter__().url
        return self

    def __exit__(self, *_: object) -> None:
        self._server.__exit__(None, None, None)

    def calls(self, function: Callable[[Any], None]) -> None:
        def target(payload: Any) -> None:
            if payload["detail-type"] == CHANGED:
                function(payload)
            self._finished += 1

        self._subscriber = self._bus.subscribe(target, retries=RETRIES)

    def is_quiet(self) -> bool:
        return self._finished + len(self._subscriber.dead_letters) == len(self._bus.events)

    def forgets(self) -> bool:
        self._clock.ahead += WINDOW
        return True

    def delivered(self) -> Iterable[Event]:
        return [parse_event(event.delivered()) for event in self._bus.events]

    def rows(self, fault: str) -> list[Row]:
        received = sum(len(call.request["Entries"]) for call in self._bus.calls)
        times: dict[str, list[datetime]] = {}
        order: dict[str, list[int]] = {}
        for stored, event in zip(self._bus.events, self.delivered(), strict=True):
            times.setdefault(event.id, []).append(stored.time)
            if event.type == COUNTED and len(times[event.id]) == 1:
                order.setdefault(event.data["entity"], []).append(event.data["sequence"])
        early = sum(after - before < WINDOW for each in times.values() for before, after in pairwise(each))
        again = sum(len(each) > 1 for each in times.values())
        out_of_order = sum(after < before for each in order.values() for before, after in pairwise(each))
        applied = sum(map(len, order.values()))
        return [
            Row(
                "a Custom Event Bus delivers an event that is sent again within five minutes once",
                fault,
                received - len(self._bus.events),
                f"{received:,} entries received, {len(self._bus.events):,} deliveries",
                twice=early,
            ),
            Row(
                "a Custom Event Bus delivers an event that is sent again later, and the consumer applies it once",
                fault,
                again,
                f"{again:,} events delivered again",
                lost=len(times) - again,
            ),
            Row(
                "a FIFO consumer applies the events of an aggregate in the order of the changes",
                fault,
                applied,
                f"{applied:,} events, {out_of_order:,} out of order",
                twice=out_of_order,
            ),
        ]
