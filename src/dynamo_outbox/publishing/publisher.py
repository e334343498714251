"""The EventBridge publisher: batches, retries, order, and the outcome of each event."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from ..aws.backoff import full_jitter
from ..aws.clients import Prevalidated
from ..aws.errors import NO_RESPONSE, error_code, http_status
from ..aws.lambda_context import ANSWER_MARGIN, remaining_time
from ..aws.service import Service
from ..errors import DecodeError, InvalidEventError, PublishError
from ..events.bus_event import DETAIL_FORMS
from ..events.event import Event
from ..events.limits import check_numbers
from ..log_lines import fields, logger
from ..options import Clock, Retry
from .batches import (
    MAX_REQUEST_BYTES,
    BatchPlan,
    entry_size,
    is_final,
    is_refused_for_an_entry,
    is_refused_for_the_caller,
    thread_count,
)
from .results import CallFailure, EntryFailure, FailedEvent, PublishedEvent, PublishResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..events.domain_event import DomainEvent
    from ..typing import EventBridgeClient, LambdaContext
    from .results import Outcome

__all__ = ["EventBridgePublisher"]

log = logger(__name__)

DEFAULT_CONCURRENCY = 8
"""Calls in flight: most of a call is waiting, and boto3 keeps ten connections open."""
NEVER = datetime.max.replace(tzinfo=UTC)


class EventBridgePublisher:
    """Publishes events to one EventBridge bus.

    Args:
        bus: The bus's name or ARN.
        source: The source of events that have none.
        client: A low-level EventBridge client; by default one is created on first use.
        detail: The form of the detail: ``envelope`` (`parse_event` reads all of it), ``data`` (bare data; a consumer
            can't recognise duplicates), ``cloudevents``.
        retry: How often an entry is sent that fails for a reason that may pass, and how long one `publish` may retry.
        concurrency: How many calls may be in flight, one of them in the caller's thread. By default up to 8 with a
            client of boto3, and 1 with any other object, which may not be usable from several threads. Fewer are used
            for few events: each new connection costs some 25 ms of CPU.
        endpoint_id: The id of a global endpoint: ``abcde.veo``. boto3 needs the package awscrt for it.
        clock: The time, waiting and jitter; used by one thread at a time.

    Guarantee: an event is on the bus at least once if `publish` says so. Limit: consumers may get it twice. One call
    publishes nothing twice, unless a request whose response was lost is repeated.
    """

    def __init__(
        self,
        bus: str,
        *,
        source: str | None = None,
        client: EventBridgeClient | None = None,
        detail: Literal["envelope", "data", "cloudevents"] = "envelope",
        retry: Retry = Retry(timeout=timedelta(seconds=10)),
        concurrency: int | None = None,
        endpoint_id: str | None = None,
        clock: Clock = Clock(),
    ) -> None:
        if not bus:
            raise ValueError("bus needs the name or the ARN of an event bus")
        if detail not in DETAIL_FORMS:
            raise ValueError(f"detail={detail!r} must be one of {', '.join(DETAIL_FORMS)}")
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency={concurrency} must be at least 1")
        if source is not None:
            Event("probe", {}, source=source)  # refuses now what EventBridge would refuse later
        self.bus = bus
        self.source = source
        self._events = Service("events", client, clock)
        self._detail = DETAIL_FORMS[detail]
        self._retry = retry
        self._concurrency = concurrency or (DEFAULT_CONCURRENCY if self._events.is_thread_safe else 1)
        self._endpoint = {} if endpoint_id is None else {"EndpointId": endpoint_id}
        self._clock = clock

    def publish(
        self,
        events: Iterable[Event | DomainEvent],
        *,
        in_order: bool = False,
        on_failure: Literal["raise", "return"] = "raise",
        context: LambdaContext | None = None,
    ) -> PublishResult:
        """Publish events in input order, in calls of at most 10 entries and below 1 MB.

        Args:
            events: The events.
            in_order: Let no event overtake an earlier one of its aggregate: they share no call, and once one has
                failed, the later ones are held back.
            on_failure: ``raise`` a `PublishError` if any event failed, or ``return`` the result anyway.
            context: Lambda's context: nothing more is sent if it leaves no time to respond.

        Raises:
            PublishError: Some events failed; its result says which, and which were published nevertheless.
            InvalidEventError: An event has no source; nothing was sent.
        """
        chosen = [event if isinstance(event, Event) else event.to_event() for event in events]
        if self.source is None and any(event.source is None for event in chosen):
            raise InvalidEventError("source", "is missing; give the publisher or the event one")
        order_keys = [event.aggregate if in_order else None for event in chosen]
        result = self.publish_by_key(chosen, order_keys, context)
        if result.failed and on_failure == "raise":
            raise PublishError(result)
        return result

    def publish_by_key(
        self, events: Sequence[Event], order_keys: Sequence[str | None], context: object = None
    ) -> PublishResult:
        """Publish events so that none overtakes an earlier one with its ordering key; never raises for an event.

        Args:
            events: The events.
            order_keys: By position; None for an event without an order.
            context: As for `publish`.
        """
        entries: list[dict[str, Any]] = []
        refused: dict[int, str] = {}
        trace = os.environ.get("_X_AMZN_TRACE_ID")  # Lambda's X-Ray header; it changes with each invocation
        for position, event in enumerate(events):
            try:
                entries.append(self._entry(event, trace))
            except (InvalidEventError, DecodeError) as error:
                entries.append({})
                refused[position] = str(error)
        sizes = [MAX_REQUEST_BYTES if at in refused else entry_size(entry) for at, entry in enumerate(entries)]
        plan = BatchPlan(sizes, order_keys, attempts=self._retry.attempts)
        publication = _Publication(events, plan, self._retry, self._clock, self._deadline(context))

        def send(batch: list[int]) -> Sequence[Outcome]:
            return self._call([entries[position] for position in batch], publication.seconds_left)

        threads = thread_count(self._concurrency, sizes)
        if threads == 1:
            while (batch := publication.next(())) is not None:
                publication.settle(batch, send(batch))
        else:
            from .workers import run_plan

            run_plan(publication, send, threads=threads, name="dynamo-outbox-publisher")
        return publication.result(refused)

    def _deadline(self, context: object) -> datetime:
        """Return when to stop sending because Lambda's time is nearly over."""
        remaining = remaining_time(context)
        return NEVER if remaining is None else self._clock.now() + remaining - ANSWER_MARGIN

    def _call(self, entries: Sequence[Mapping[str, Any]], seconds: float | None) -> Sequence[Outcome]:
        """Call PutEvents; return the outcome of each entry.

        Args:
            entries: The call's.
            seconds: How long to wait for the response.
        """
        try:
            response = self._events.send("put_events", seconds=seconds, Entries=Prevalidated(entries), **self._endpoint)
        except (BotoCoreError, ClientError, *NO_RESPONSE) as error:
            return [CallFailure(error_code(error), str(error), http_status(error))] * len(entries)
        outcomes = response.get("Entries") if isinstance(response, Mapping) else None
        if not isinstance(outcomes, list) or len(outcomes) != len(entries):  # botocore reads a truncated response so
            return [CallFailure("IncompleteAnswer", "EventBridge's response is incomplete")] * len(entries)
        return [_outcome(each) for each in outcomes]

    def _entry(self, event: Event, trace: str | None) -> dict[str, Any]:
        """Return the PutEvents entry of an event; `trace` is its TraceHeader.

        Raises:
            InvalidEventError: The event can't be sent, or neither it nor the publisher has a source.
            DecodeError: Its data or context are malformed text.
        """
        check_numbers(event)
        source = self.source if event.source is None else event.source
        if source is None:
            raise InvalidEventError("source", "is missing; give the publisher or the event one")
        entry = {
            "EventBusName": self.bus,
            "Source": source,
            "DetailType": event.type,
            "Detail": self._detail(event, source),
            "Time": event.time,
        }
        if trace:
            entry["TraceHeader"] = trace
        return entry


def _outcome(result: object) -> Outcome:
    """Return the outcome that one of EventBridge's results says."""
    if not isinstance(result, Mapping):
        return EntryFailure("IncompleteAnswer", f"EventBridge's result for the entry is {result!r}")
    code, accepted = result.get("ErrorCode"), result.get("EventId")
    if code or not isinstance(accepted, str) or not accepted:
        return EntryFailure(str(code or "Unknown"), str(result.get("ErrorMessage") or ""))
    return accepted


class _Publication:
    """One `publish` in progress: the next batch, and the outcome of each event.

    Attributes:
        seconds_left: The time until nothing more is sent, at the latest `next`; None without a limit.
    """

    def __init__(
        self, events: Sequence[Event], plan: BatchPlan, retry: Retry, clock: Clock, deadline: datetime
    ) -> None:
        self._events = events
        self._plan = plan
        self._clock = clock
        self._deadline = deadline
        self.seconds_left: float | None = None
        self._retry_until = min(clock.now() + retry.timeout, deadline)
        self._failed_calls = 0
        """Calls in a row with a failure that was retried."""
        self._published: list[PublishedEvent] = []
        self._failed: list[FailedEvent] = []

    def next(self, in_flight: Iterable[list[int]]) -> list[int] | None:
        """Return the positions of the next call's entries; None if there is none for now."""
        batch = self._plan.next_batch(in_flight)
        if self._deadline is not NEVER:
            self.seconds_left = (self._deadline - self._clock.now()).total_seconds()
        if batch and self.seconds_left is not None and self.seconds_left <= 0:
            for position in [*batch, *self._plan.abandon()]:
                self._fail(position, "NotAttempted", "the invocation's time is nearly over, and it has to respond")
            return None
        return batch or None

    def settle(self, batch: list[int], outcomes: Sequence[Outcome]) -> None:
        """Record the outcome of each entry of a call, and wait if entries are to be sent again."""
        call = outcomes[0] if isinstance(outcomes[0], CallFailure) else None
        if call is not None and len(batch) > 1 and is_refused_for_an_entry(call.code, call.status):
            self._plan.separate(batch)
            log.info(
                "a call was refused, and each of its entries is sent alone: %d, %s",
                len(batch),
                call.code,
                extra=fields(None, code=call.code, count=len(batch)),
            )
            return
        failures = self._record_published(batch, outcomes)
        if not failures:
            self._failed_calls = 0
            return
        wait = full_jitter(self._failed_calls, draw=self._clock.random())
        in_time = self._clock.now() + timedelta(seconds=wait) < self._retry_until
        caller_refused = call is not None and is_refused_for_the_caller(call.code)
        status = None if call is None else call.status
        passing = [position for position, failure in failures.items() if not is_final(failure.code, status)]
        given_up = self._plan.retry(passing) if in_time and not caller_refused else passing
        for position, failure in failures.items():
            if position in given_up or position not in passing:
                self._fail(position, failure.code, failure.message, status, caller_refused=caller_refused)
        if call is not None and (caller_refused or (passing and not in_time)):
            for position in self._plan.abandon():
                self._fail(position, "NotAttempted", f"the call before it failed: {call.message}")
        if len(given_up) < len(passing):
            again = len(passing) - len(given_up)
            codes = ", ".join(sorted({failures[position].code for position in passing if position not in given_up}))
            log.info(
                "entries of a call are sent again: %d, %s",
                again,
                codes,
                extra=fields(None, code=codes, count=again),
            )
            self._failed_calls += 1
            self._clock.sleep(wait)
        else:
            self._failed_calls = 0

    def _record_published(self, batch: list[int], outcomes: Sequence[Outcome]) -> dict[int, EntryFailure | CallFailure]:
        """Record the accepted entries; return the failures of the others."""
        failures: dict[int, EntryFailure | CallFailure] = {}
        for position, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, str):
                self._published.append(PublishedEvent(position, self._events[position], outcome))
            else:
                failures[position] = outcome
        return failures

    def _fail(
        self, position: int, code: str, message: str, status: int | None = None, *, caller_refused: bool = False
    ) -> None:
        self._plan.block(position)
        final = is_final(code, status)
        event = self._events[position]
        refused = final and not caller_refused
        self._failed.append(FailedEvent(position, event, code, message, retryable=not final, event_refused=refused))

    def result(self, refused: Mapping[int, str]) -> PublishResult:
        """Return the outcome of each event, after the last call.

        Args:
            refused: Why an event can never be sent, by position.
        """
        for position in self._plan.held_back:
            self._fail(position, "HeldBack", "an earlier event of its aggregate failed")
        for position in self._plan.too_large:
            if position in refused:
                self._fail(position, "InvalidEvent", refused[position])
            else:
                self._fail(position, "EntryTooLarge", f"an entry is smaller than {MAX_REQUEST_BYTES:,} bytes")
        return PublishResult(
            tuple(sorted(self._published, key=lambda each: each.position)),
            tuple(sorted(self._failed, key=lambda each: each.position)),
        )
