"""Events onto an EventBridge bus: batched, in order, and with each one's fate known."""

from __future__ import annotations

import os
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from botocore.exceptions import BotoCoreError, ClientError

from ..aws.clients import LOST_ANSWER, LazyClient, Whole
from ..aws.backoff import full_jitter
from .batches import (
    MAX_REQUEST_BYTES,
    Delivery,
    check_numbers,
    entry_size,
    is_final,
    is_refused_for_an_entry,
    is_refused_for_the_caller,
    width,
)
from ..events.bus_event import DETAIL_FORMS
from ..errors import DecodeError, InvalidEventError, PublishError
from ..events.event import Event
from ..aws.functions import remaining_time
from .workers import work_off

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ..events.domain_event import DomainEvent
    from ..typing import Clock, EventBridgeClient, LambdaContext

__all__ = ["EventBridgePublisher", "FailedEvent", "PublishResult", "PublishedEvent"]


NEVER = datetime.max.replace(tzinfo=UTC)
ANSWER_MARGIN = timedelta(seconds=1)
"""What is kept of Lambda's remaining time for answering."""


class EntryFailure(NamedTuple):
    """Why one entry of a call failed."""

    code: str
    message: str


class CallFailure(NamedTuple):
    """Why a whole call failed."""

    code: str
    message: str


Outcome: TypeAlias = str | EntryFailure | CallFailure
"""What came of an entry: EventBridge's id where it was taken."""


@dataclass(frozen=True, slots=True)
class PublishedEvent:
    """An event that the bus took. `position` is its place in the call's input, `event_id` EventBridge's id for it."""

    position: int
    event: Event
    event_id: str


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """An event that the bus did not take.

    `code` is EventBridge's, or ``EntryTooLarge``, ``InvalidEvent`` (it can never be sent), ``HeldBack`` (an earlier
    event of the same aggregate failed), ``IncompleteAnswer`` (it may be on the bus) or ``NotAttempted`` (a whole call
    failed before it, or no time was left).
    `retryable`: whether sending it again may help. `event_refused`: whether the event is what was refused for good, and
    not its call for the caller's sake (no permission, no credentials) or for a reason that may pass.
    """

    position: int
    event: Event
    code: str
    message: str
    retryable: bool
    event_refused: bool = False


@dataclass(frozen=True, slots=True)
class PublishResult:
    """Each event's fate, by its position in the input."""

    published: tuple[PublishedEvent, ...]
    failed: tuple[FailedEvent, ...]


class EventBridgePublisher:
    """Publishes events to one bus.

    Args:
        bus: The bus's name or ARN.
        source: The source of events that name none.
        client: A low-level EventBridge client; by default one is made on first use.
        detail: The form of the detail: ``envelope`` (what `parse_event` reads whole), ``data`` (bare; a consumer can't
            tell duplicates), ``cloudevents``.
        retries: How often an entry is sent again that failed for a reason that may pass.
        retry_for: How long one `publish` may go on sending again.
        concurrency: How many calls may be under way at once, one in the caller's thread, each other in one that ends
            with the `publish`. So many are only for many events: each new connection costs some 25 ms of CPU, so four
            calls take two threads, and fewer take one. A client that is given must be usable from several threads, as
            boto3's are.
        clock: Tells the time. It, `sleep` and `draw` are called by any of the threads, but by one at a time.
        sleep, draw: Wait for seconds, and draw a number from 0 to 1: for the jitter between attempts.

    An event is on the bus at least once when `publish` says so, and its consumers may get it twice. Nothing is
    published twice by one call, except where botocore, or a retry of ours, repeats a request whose answer was lost.
    """

    def __init__(
        self,
        bus: str,
        *,
        source: str | None = None,
        client: EventBridgeClient | None = None,
        detail: Literal["envelope", "data", "cloudevents"] = "envelope",
        retries: int = 3,
        retry_for: timedelta = timedelta(seconds=10),
        concurrency: int = 1,
        clock: Clock = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not bus:
            raise ValueError("bus needs the name or the ARN of an event bus")
        if detail not in DETAIL_FORMS:
            raise ValueError(f"detail is one of {', '.join(DETAIL_FORMS)}, not {detail!r}")
        if retries < 0:
            raise ValueError(f"retries={retries} can't be negative")
        if concurrency < 1:
            raise ValueError(f"concurrency={concurrency} has to be 1 at the least")
        if source is not None:
            Event("probe", {}, source=source)  # refuses here what EventBridge would refuse later
        self.bus = bus
        self.source = source
        self._client: LazyClient[EventBridgeClient] = LazyClient("events", client)
        self._detail = DETAIL_FORMS[detail]
        self._retries = retries
        self._retry_for = retry_for
        self._concurrency = concurrency
        self._clock = clock
        self._sleep = sleep
        self._draw = draw

    def publish(
        self,
        events: Iterable[Event | DomainEvent],
        *,
        in_order: bool = False,
        on_failure: Literal["raise", "return"] = "raise",
        context: LambdaContext | None = None,
    ) -> PublishResult:
        """Send events, in the input's order, in calls of at most 10 entries and below 1 MB.

        Args:
            events: What to publish.
            in_order: Let no event overtake an earlier one of its aggregate: they share no call, and once one has
                failed, those behind it are held back.
            on_failure: ``raise`` a `PublishError` if any failed, or ``return`` the result anyway.
            context: Lambda's context: nothing more is sent when it leaves no time to answer.

        Raises:
            PublishError: Some events failed; its result says which, and which were published all the same.
            InvalidEventError: An event has no source; nothing was sent.
        """
        chosen = [event if isinstance(event, Event) else event.to_event() for event in events]
        if self.source is None and any(event.source is None for event in chosen):
            raise InvalidEventError("source", "is missing; give the publisher or the event one")
        order_keys = [event.aggregate if in_order else None for event in chosen]
        result = self._publish_in_order(chosen, order_keys, context)
        if result.failed and on_failure == "raise":
            raise PublishError(result)
        return result

    def _publish_in_order(
        self, events: Sequence[Event], order_keys: Sequence[str | None], context: object = None
    ) -> PublishResult:
        """Send events so that none overtakes an earlier one with its key.

        Args:
            events: What to publish.
            order_keys: By position; None where an event follows nothing.
            context: As for `publish`.
        """
        entries, refused = self._entries(events)
        publication = _Publication(self, events, entries, order_keys, self._answer_by(context))

        def call(batch: list[int]) -> list[Outcome]:
            return self._call([entry for position in batch if (entry := entries[position]) is not None])

        threads = width(self._concurrency, publication.sizes)
        work_off(publication, call, threads=threads, name="dynamo-outbox-publisher")
        return publication.result(refused)

    def _entries(self, events: Sequence[Event]) -> tuple[list[dict[str, Any] | None], dict[int, str]]:
        """Each event's entry, or None where it can never be sent, and why not, by position."""
        entries: list[dict[str, Any] | None] = []
        refused: dict[int, str] = {}
        trace = os.environ.get("_X_AMZN_TRACE_ID")  # Lambda's X-Ray header; it changes with each invocation
        for position, event in enumerate(events):
            try:
                check_numbers(event)
                entries.append(self._entry(event, trace))
            except (InvalidEventError, DecodeError) as error:
                entries.append(None)
                refused[position] = str(error)
        return entries, refused

    def _answer_by(self, context: object) -> datetime:
        """When to stop sending at all, because Lambda's time is nearly over; without its context, never."""
        remaining = remaining_time(context)
        return NEVER if remaining is None else self._clock() + remaining - ANSWER_MARGIN

    def _call(self, entries: Sequence[Mapping[str, Any]]) -> list[Outcome]:
        """One PutEvents: by position, EventBridge's id or the failure; where the whole call failed, that for each."""
        try:
            answer = self._client().put_events(Entries=Whole(entries))
        except (BotoCoreError, ClientError, *LOST_ANSWER) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            return [CallFailure(code, str(error))] * len(entries)
        outcomes = answer.get("Entries", [])
        if len(outcomes) != len(entries):  # botocore takes half of an answer for one without results
            return [CallFailure("IncompleteAnswer", "EventBridge's answer came incomplete")] * len(entries)
        return [
            outcome.get("EventId") or EntryFailure(outcome.get("ErrorCode", "Unknown"), outcome.get("ErrorMessage", ""))
            for outcome in outcomes
        ]

    def _entry(self, event: Event, trace: str | None) -> dict[str, Any]:
        """The PutEvents entry of an event, as it is sent; `trace` is its TraceHeader.

        Raises:
            InvalidEventError: Neither the event nor the publisher names a source.
        """
        if event.source is None:
            if self.source is None:
                raise InvalidEventError("source", "is missing; give the publisher or the event one")
            event = event.replace(source=self.source)
        entry = {
            "EventBusName": self.bus,
            "Source": event.source,
            "DetailType": event.type,
            "Detail": self._detail(event),
            "Time": event.time,
        }
        if trace:
            entry["TraceHeader"] = trace
        return entry


class _Publication:
    """One `publish` under way: what goes next, and each event's fate."""

    def __init__(
        self,
        publisher: EventBridgePublisher,
        events: Sequence[Event],
        entries: Sequence[Mapping[str, Any] | None],
        order_keys: Sequence[str | None],
        answer_by: datetime,
    ) -> None:
        self.sizes = [MAX_REQUEST_BYTES if entry is None else entry_size(entry) for entry in entries]
        self._events = events
        self._delivery = Delivery(self.sizes, order_keys, retries=publisher._retries)
        self._clock, self._sleep, self._draw = publisher._clock, publisher._sleep, publisher._draw
        self._answer_by = answer_by
        self._retry_until = min(self._clock() + publisher._retry_for, answer_by)
        self._calls_that_failed = 0
        self._published: list[PublishedEvent] = []
        self._failed: list[FailedEvent] = []

    def next(self, under_way: Iterable[list[int]]) -> list[int] | None:
        """The positions of the next call's entries."""
        batch = self._delivery.next_batch(under_way)
        if batch and self._clock() >= self._answer_by:
            for position in [*batch, *self._delivery.abandon()]:
                self._fail(position, "NotAttempted", "the invocation's time is nearly over, and it has to answer")
            return None
        return batch or None

    def settle(self, batch: list[int], outcomes: Sequence[Outcome]) -> None:
        """Decide what comes of each entry of a call, and wait where the call's failure asks for it."""
        whole = outcomes[0] if isinstance(outcomes[0], CallFailure) else None
        if whole is not None and len(batch) > 1 and is_refused_for_an_entry(whole.code):
            self._delivery.separate(batch)
            return
        failures: dict[int, EntryFailure | CallFailure] = {}
        for position, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, str):
                self._published.append(PublishedEvent(position, self._events[position], outcome))
            else:
                failures[position] = outcome
        if not failures:
            self._calls_that_failed = 0
            return
        wait = full_jitter(self._calls_that_failed, draw=self._draw())
        in_time = self._clock() + timedelta(seconds=wait) < self._retry_until
        hopeless = whole is not None and (not in_time or is_refused_for_the_caller(whole.code))
        passing = [position for position, failure in failures.items() if not is_final(failure.code)]
        given_up = self._delivery.retry(passing) if in_time and not hopeless else passing
        for position, failure in failures.items():
            if position in given_up or position not in passing:
                is_callers = isinstance(failure, CallFailure) and is_refused_for_the_caller(failure.code)
                self._fail(position, failure.code, failure.message, is_callers_fault=is_callers)
        if whole is not None and hopeless:
            for position in self._delivery.abandon():
                self._fail(position, "NotAttempted", f"the call before it failed: {whole.message}")
        if len(given_up) < len(passing):
            self._calls_that_failed += 1
            self._sleep(wait)
        else:
            self._calls_that_failed = 0

    def _fail(self, position: int, code: str, message: str, *, is_callers_fault: bool = False) -> None:
        self._delivery.block(position)
        final = is_final(code)
        refused = final and not is_callers_fault
        event = self._events[position]
        self._failed.append(FailedEvent(position, event, code, message, retryable=not final, event_refused=refused))

    def result(self, refused: Mapping[int, str]) -> PublishResult:
        """Each event's fate, once there is no call left.

        Args:
            refused: Why an event can never be sent, by position.
        """
        for position in self._delivery.held_back:
            self._fail(position, "HeldBack", "an earlier event of its aggregate failed")
        for position in self._delivery.too_large:
            if position in refused:
                self._fail(position, "InvalidEvent", refused[position])
            else:
                self._fail(position, "EntryTooLarge", f"an entry is smaller than {MAX_REQUEST_BYTES:,} bytes")
        return PublishResult(
            tuple(sorted(self._published, key=lambda each: each.position)),
            tuple(sorted(self._failed, key=lambda each: each.position)),
        )
