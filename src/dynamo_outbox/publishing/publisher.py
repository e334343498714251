"""The EventBridge publisher: batches, retries, order, and the outcome of each event."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from botocore.exceptions import BotoCoreError, ClientError

from ..aws.backoff import full_jitter
from ..aws.clients import Prevalidated
from ..aws.errors import NO_RESPONSE, error_code, http_status
from ..aws.lambda_context import ANSWER_MARGIN, remaining_time
from ..aws.service import NoResponseTypeError, Service
from ..errors import DecodeError, InvalidEventError, PublishError
from ..events.bus_event import DETAIL_FORMS
from ..events.event import Event
from ..events.limits import check_numbers
from ..log_lines import fields, logger
from ..options import Clock, Retry
from .batches import BatchPlan, is_final, is_refused_for_an_entry, is_refused_for_the_caller, thread_count
from .bus import choose_bus
from .results import Accepted, CallFailure, EntryFailure, FailedEvent, PublishedEvent, PublishResult

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..events.domain_event import DomainEvent
    from ..typing import EventBridgeClient, LambdaContext
    from .bus import Bus
    from .results import Outcome

__all__ = ["EventBridgePublisher"]

log = logger(__name__)

DEFAULT_CONCURRENCY = 8
"""Calls in flight: most of a call is waiting, and boto3 keeps ten connections open."""
GROUP_WAIT = 1.0
"""The longest first wait of a group's entry, in seconds: quotas of groups are per second, and other groups go on."""
NEVER = datetime.max.replace(tzinfo=UTC)
_NO_TIME = EntryFailure("NotAttempted", "the invocation's time is nearly over, and it has to respond")
_HELD_BACK = EntryFailure("HeldBack", "an earlier event of its aggregate failed")


class EventBridgePublisher:
    """Publishes events to one EventBridge bus.

    Args:
        bus: A Classic bus's name or ARN, or a Custom Event Bus's ARN (``…:event-busv2/…``), which needs botocore
            1.43.102. There, an event's group is its aggregate, and its deduplication id is made from source and id.
        source: The source of events that have none.
        client: A low-level client of the bus's service, ``events`` or ``eventbridgev2``; by default one is created on
            first use.
        detail: The form of the detail: ``envelope`` (`parse_event` reads all of it), ``data`` (bare data; a consumer
            can't recognise duplicates), ``cloudevents``.
        retry: How often an entry is sent that fails for a reason that may pass, and how long one `publish` may retry.
        concurrency: How many calls may be in flight, one of them in the caller's thread. By default up to 8 with a
            client of boto3, and 1 with any other object, which may not be usable from several threads. Fewer are used
            for few events: each new connection costs some 25 ms of CPU.
        endpoint_id: The id of a global endpoint: ``abcde.veo``. boto3 needs the package awscrt for it.
        clock: The time, waiting and jitter; used by one thread at a time.

    Guarantee: an event is on the bus at least once if `publish` says so. Limit: consumers may get it twice. One call
    publishes nothing twice, unless a request whose response was lost is repeated. A Custom Event Bus drops such a
    duplicate for five minutes; later, the same event is a new one for every subscriber.
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
        self._bus = choose_bus(bus, endpoint_id, has_client=client is not None)
        self._events = Service(self._bus.service, client, clock, self._bus.region)
        self._detail = DETAIL_FORMS[detail]
        self._retry = retry
        self._concurrency = concurrency or (DEFAULT_CONCURRENCY if self._events.is_thread_safe else 1)
        self._clock = clock

    def publish(
        self,
        events: Iterable[Event | DomainEvent],
        *,
        in_order: bool = False,
        on_failure: Literal["raise", "return"] = "raise",
        context: LambdaContext | None = None,
    ) -> PublishResult:
        """Publish events in input order, in calls of at most 10 entries (Custom Event Bus: 100) and below 1 MB.

        Args:
            events: The events.
            in_order: Let no event overtake an earlier one of its aggregate: they share no call, and once one has
                failed, the later ones are held back. On a Custom Event Bus, no call holds two events of one aggregate
                anyway; without `in_order`, the later ones follow although one has failed.
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
        bus = self._bus
        sizes = [bus.max_bytes if at in refused else bus.size(entry) for at, entry in enumerate(entries)]
        groups = [event.aggregate for event in events] if bus.has_groups else None
        plan = BatchPlan(sizes, order_keys, bus, attempts=self._retry.attempts, groups=groups)
        publication = _Publication(events, plan, bus, self._retry, self._clock, self._deadline(context))

        def send(batch: list[int]) -> Sequence[Outcome]:
            return self._call([entries[position] for position in batch], publication.seconds_left)

        threads = thread_count(self._concurrency, sizes, bus)
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
            response = self._events.send("put_events", seconds=seconds, **self._bus.request(Prevalidated(entries)))
        except NoResponseTypeError:
            raise
        except (BotoCoreError, ClientError, *NO_RESPONSE) as error:
            return [CallFailure(error_code(error), str(error), http_status(error))] * len(entries)
        except self._bus.unreadable as error:
            problem = f"the response can't be read, and the entries may be on the bus: {type(error).__name__}: {error}"
            return [CallFailure("IncompleteAnswer", problem)] * len(entries)
        outcomes = response.get("Entries") if isinstance(response, Mapping) else None
        if not isinstance(outcomes, list) or len(outcomes) != len(entries):  # botocore reads a truncated response so
            return [CallFailure("IncompleteAnswer", "EventBridge's response is incomplete")] * len(entries)
        return [self._outcome(each) for each in outcomes]

    def _outcome(self, result: object) -> Outcome:
        if not isinstance(result, Mapping):
            return EntryFailure("IncompleteAnswer", f"EventBridge's result for the entry is {result!r}")
        return self._bus.outcome(result)

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
        return self._bus.entry(event, source, self._detail(event, source), trace)


class _Publication:
    """One `publish` in progress: the next batch, and the outcome of each event.

    Attributes:
        seconds_left: The time until nothing more is sent, at the latest `next`; None without a limit.
    """

    def __init__(
        self, events: Sequence[Event], plan: BatchPlan, bus: Bus, retry: Retry, clock: Clock, deadline: datetime
    ) -> None:
        self._events = events
        self._plan = plan
        self._bus = bus
        self._clock = clock
        self._deadline = deadline
        self.seconds_left: float | None = None
        self._retry_until = min(clock.now() + retry.timeout, deadline)
        self._failed_calls = 0
        """Calls in a row with a failure that was retried."""
        self._resting: list[tuple[datetime, list[int]]] = []
        """Entries of groups over their quota, and when they are sent again; other groups go on meanwhile."""
        self._denied: set[int] = set()
        """Entries whose own call was denied: because of the entry, if others are accepted."""
        self._published: list[PublishedEvent] = []
        self._failed: list[FailedEvent] = []

    def next(self, in_flight: Iterable[list[int]]) -> list[int] | None:
        """Return the positions of the next call's entries; None if there is none for now."""
        batch = self._next_batch(in_flight)
        if self._deadline is not NEVER:
            self.seconds_left = (self._deadline - self._clock.now()).total_seconds()
        if batch and self.seconds_left is not None and self.seconds_left <= 0:
            for position in [*batch, *self._abandon()]:
                self._fail(position, _NO_TIME)
            return None
        return batch or None

    def _next_batch(self, in_flight: Iterable[list[int]]) -> list[int]:
        """Return the plan's next batch. Resting entries count as in flight until their time has come."""
        if not self._resting:
            return self._plan.next_batch(in_flight)
        busy = list(in_flight)
        while True:
            self._wake()
            batch = self._plan.next_batch([*busy, *(positions for _, positions in self._resting)])
            if batch or busy or not self._resting:
                return batch
            first = min(moment for moment, _ in self._resting)
            self._clock.sleep(max(0.0, (first - self._clock.now()).total_seconds()))
            self._wake(first)

    def _wake(self, moment: datetime | None = None) -> None:
        now = max(self._clock.now(), moment or datetime.min.replace(tzinfo=UTC))
        due = [positions for until, positions in self._resting if until <= now]
        self._resting = [each for each in self._resting if each[0] > now]
        self._plan.put_back([position for positions in due for position in positions])

    def _abandon(self) -> list[int]:
        """Give up what has not been sent, or would have been sent again."""
        resting = [position for _, positions in self._resting for position in positions]
        self._resting.clear()
        return [*self._plan.abandon(), *resting]

    def settle(self, batch: list[int], outcomes: Sequence[Outcome]) -> None:
        """Record the outcome of each entry of a call, and wait if entries are to be sent again."""
        call = outcomes[0] if isinstance(outcomes[0], CallFailure) else None
        if call is not None and len(batch) > 1 and self._is_refused_for_an_entry(call):
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
        of_groups = call is None and self._bus.has_groups
        draw = self._clock.random()
        if of_groups:
            wait = full_jitter(self._plan.retries(failures), draw=draw, base=GROUP_WAIT)
        else:
            wait = full_jitter(self._failed_calls, draw=draw)
        in_time = self._clock.now() + timedelta(seconds=wait) < self._retry_until
        caller_refused = call is not None and is_refused_for_the_caller(call.code)
        passing = [position for position, failure in failures.items() if not self._is_final(failure)]
        again, given_up = self._plan.retry(passing) if in_time and not caller_refused else ([], passing)
        for position, failure in failures.items():
            if position in given_up or position not in passing:
                self._fail(position, failure, caller_refused=caller_refused)
        denied = call is not None and call.code in self._bus.entry_denials
        if denied:
            self._denied.update(failures)
        # As many denials as a call has entries are the caller's, unless it could publish others.
        refused_alone = denied and (self._published or len(self._denied) < self._bus.max_entries)
        if call is not None and ((caller_refused and not refused_alone) or (passing and not in_time)):
            for position in self._abandon():
                self._fail(position, EntryFailure("NotAttempted", f"the call before it failed: {call.message}"))
        if again:
            codes = ", ".join(sorted({failures[position].code for position in again}))
            log.info(
                "entries of a call are sent again: %d, %s",
                len(again),
                codes,
                extra=fields(None, code=codes, count=len(again)),
            )
        if again and of_groups:
            self._resting.append((self._clock.now() + timedelta(seconds=wait), again))
        elif again:
            self._plan.put_back(again)
            self._failed_calls += 1
            self._clock.sleep(wait)
        else:
            self._failed_calls = 0

    def _record_published(self, batch: list[int], outcomes: Sequence[Outcome]) -> dict[int, EntryFailure | CallFailure]:
        """Record the accepted entries; return the failures of the others."""
        failures: dict[int, EntryFailure | CallFailure] = {}
        for position, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Accepted):
                self._published.append(PublishedEvent(position, self._events[position], *outcome))
            else:
                failures[position] = outcome
        return failures

    def _is_refused_for_an_entry(self, call: CallFailure) -> bool:
        final = self._bus.final_call_codes
        return call.code in self._bus.entry_denials or is_refused_for_an_entry(call.code, call.status, final)

    def _is_final(self, failure: EntryFailure | CallFailure) -> bool:
        if isinstance(failure, CallFailure):
            return is_final(failure.code, failure.status, self._bus.final_call_codes)
        return is_final(failure.code, None, self._bus.final_entry_codes)

    def _fail(self, position: int, failure: EntryFailure | CallFailure, *, caller_refused: bool = False) -> None:
        self._plan.block(position)
        final = self._is_final(failure)
        self._failed.append(
            FailedEvent(
                position,
                self._events[position],
                failure.code,
                failure.message,
                retryable=not final,
                event_refused=final and not caller_refused,
            )
        )

    def result(self, refused: Mapping[int, str]) -> PublishResult:
        """Return the outcome of each event, after the last call.

        Args:
            refused: Why an event can never be sent, by position.
        """
        for position in self._plan.held_back:
            self._fail(position, _HELD_BACK)
        for position in self._plan.too_large:
            if position in refused:
                self._fail(position, EntryFailure("InvalidEvent", refused[position]))
            else:
                problem = f"an entry is smaller than {self._bus.max_bytes:,} bytes"
                self._fail(position, EntryFailure("EntryTooLarge", problem))
        if self._published:  # then the caller may publish, and a denial was for the entry
            self._failed = [
                replace(each, event_refused=True) if each.position in self._denied else each for each in self._failed
            ]
        return PublishResult(
            tuple(sorted(self._published, key=lambda each: each.position)),
            tuple(sorted(self._failed, key=lambda each: each.position)),
        )
