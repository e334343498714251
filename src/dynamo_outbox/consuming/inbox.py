"""A handler whose effect, dedup record and next events are one transaction: `Inbox`."""

from __future__ import annotations

import logging
import secrets
from functools import partial, update_wrapper
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, cast, overload

from typing_extensions import override

from ..aws.backoff import full_jitter
from ..aws.lambda_context import invocation
from ..codec.values import encode_item
from ..errors import (
    CommitUnknownError,
    DecodeError,
    InvalidEventError,
    ResultError,
    TransactionCanceledError,
)
from ..events.bus_event import parse_event
from ..events.event import Event
from ..log_lines import fields, logger, named
from ..options import Retry
from ..streams.batch_response import batch_response
from ..streams.outbox_records import event_names, inserted_events, ordering_key
from ..streams.payloads import payload_kind
from ..streams.records import decode_records
from ..writing.actions import Action
from ..writing.callables import is_method, refuse_awaitable, refuse_unfit
from ..writing.outbox import is_contention
from ..writing.settings import WriterSettings
from ..writing.transaction import Transaction
from .batch_handler import message_handler
from .claims import Claim, RecordState, record_state, resolve_refused_claim
from .inbox_records import (
    AfterFailure,
    after_failure,
    dedup_claim,
    dedup_put,
    is_stale,
    sequence_claim,
    sequence_update,
)
from .keys import event_fingerprint, refuse_long_key
from .results import ResultCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ..events.domain_event import DomainEvent
    from ..streams.records import StreamRecord
    from ..writing.outbox import TransactionalOutbox
    from .idempotency import IdempotencyStore
    from .record_store import RecordStore

__all__ = ["Inbox", "InboxHandler", "InboxTransaction"]

log = logger(__name__)

Returned = TypeVar("Returned")


class InboxTransaction(Transaction):
    """A handler's `Transaction`; its events continue the correlation and the trace of the handled event.

    Args:
        settings: The outbox's.
        handled: The event that is being handled.
        emits: Whether the inbox has an outbox to emit into.
        records: Called at the end of the block with the handler's result: the inbox's own actions.

    Attributes:
        handler_result: The handler's result, to be set before the block ends.
        is_sent: True once the handler has returned and the commit has begun.
    """

    def __init__(
        self, settings: WriterSettings, handled: Event, *, emits: bool, records: Callable[[object], list[Action]]
    ) -> None:
        super().__init__(settings, attempts=1)
        self._handled = handled
        self._emits = emits
        self._records = records
        self.handler_result: object = None
        self.is_sent = False

    @override
    def emit(
        self,
        event: Event | DomainEvent,
        *,
        sequence: int | None = None,
        correlation_id: str | None = None,
        causation_id: str | None = None,
        label: str | None = None,
    ) -> Event:
        """Write an event that is a consequence of the handled event, as `Transaction.emit`.

        By default its causation is the handled event's id, its correlation the handled event's correlation or else its
        id, and its traceparent the handled event's.

        Raises:
            RuntimeError: The inbox was created without an outbox.
            InvalidEventError: As for `Transaction.emit`.
        """
        if not self._emits:
            raise RuntimeError("this inbox has no outbox to emit into; create it with Inbox(store, outbox)")
        handled, chosen = self._handled, event if isinstance(event, Event) else event.to_event()
        if chosen.traceparent is None and handled.traceparent is not None:
            chosen = chosen.replace(traceparent=handled.traceparent)
        return super().emit(
            chosen,
            sequence=sequence,
            correlation_id=correlation_id or chosen.correlation_id or handled.correlation_id or handled.id,
            causation_id=causation_id or chosen.causation_id or handled.id,
            label=label,
        )

    @override
    def _commit(self) -> None:
        self._actions += self._records(self.handler_result)  # behind the handler's own, whose positions stay theirs
        self._proof = None  # the dedup record proves it; a void marker would refuse an id that the next run uses again
        self.is_sent = True
        super()._commit()


class Inbox:
    """Lets handlers act once per event: their writes, and the record that they have run, are one transaction.

    Args:
        store: Stores the dedup records, in the account and Region of the handlers' tables.
        outbox: Takes the handlers' own events; without one, they emit none.
    """

    def __init__(self, store: IdempotencyStore, outbox: TransactionalOutbox | None = None) -> None:
        self._records = store.records
        self._emits = outbox is not None
        self._settings = _settings_of(store) if outbox is None else outbox.settings

    def handler(
        self,
        *,
        consumer: str,
        on_stale: Literal["run", "skip"] | Callable[[Event], Any] = "run",
        on_duplicate: Callable[[Any, Event], Any] | None = None,
        attempts: int = 4,
    ) -> Callable[[Callable[[Event, InboxTransaction], Returned]], InboxHandler[Returned]]:
        """Let ``f(event, tx)`` handle each event once.

        Args:
            consumer: The consumer's name: each consumer handles an event once, whatever function does it.
            on_stale: What happens to an event whose sequence is not above the last one that this consumer has handled
                of its aggregate: ``run`` it nevertheless, ``skip`` it, or call a function with it and return its
                result.
            on_duplicate: Called with the stored result and the event if it was handled before; its result is returned.
                By default the stored result is.
            attempts: How often the function runs, from the start, if its transaction meets contention, is refused by
                version locks, or has no response.

        The function writes through ``tx``, reads what it decides on with ``tx.get``, and may emit events. Its result is
        stored with the dedup record, as `idempotent` stores results.

        Guarantee: of all deliveries of an event to a consumer, the transaction of exactly one is committed, while the
        store's ttl lasts. Limits: the *function* may run more often, for each duplicate and each attempt, so effects
        outside ``tx`` may repeat; one account and Region; 100 actions, of which the record takes one, and the skipping
        of stale events another.

        Raises:
            TypeError: The decorated function is ``async`` or a generator, as boto3's calls can't be awaited; or a
                method, as no delivery has its object.
        """
        if not consumer or not isinstance(cast("object", consumer), str):
            raise ValueError(f"consumer={consumer!r} must be a name, unique among the consumers that share the store")
        if on_stale not in ("run", "skip") and not callable(on_stale):
            raise ValueError(f"on_stale={on_stale!r} must be 'run', 'skip' or a function")
        Retry(attempts=attempts)  # refuses now what could never run

        def decorate(function: Callable[[Event, InboxTransaction], Returned]) -> InboxHandler[Returned]:
            refuse_unfit(function, "an inbox handler")
            if is_method(function):
                name = getattr(function, "__qualname__", repr(function))
                raise TypeError(f"{name} is a method; decorate a bound one: inbox.handler(...)(its_object.{name})")
            consumption = _Consumption(self._records, consumer, on_stale, on_duplicate, attempts)
            return InboxHandler(function, consumption, self._settings, emits=self._emits)

        return decorate


def _settings_of(store: IdempotencyStore) -> WriterSettings:
    """Return the settings of transactions without events, with the store's client and clock."""
    records = store.records
    keys = records.requests.keys
    names = [name for name in (keys.partition_key, keys.sort_key) if name is not None]
    return WriterSettings(
        store.table, None, records.dynamodb, store.ttl, keys, Retry(), records.clock, {store.table: names}
    )


class _Consumption(NamedTuple):
    """A consumer's options; the attributes are those of `Inbox.handler`."""

    records: RecordStore
    consumer: str
    on_stale: Literal["run", "skip"] | Callable[[Event], Any]
    on_duplicate: Callable[[Any, Event], Any] | None
    attempts: int

    @property
    def skips_stale(self) -> bool:
        return self.on_stale != "run"


class InboxHandler(Generic[Returned]):
    """A function that handles each event once; `Inbox.handler` creates it.

    Call it with an `Event`: it returns the function's result. Or use it as a Lambda handler: with EventBridge's event,
    or with a batch from SQS, SNS, a stream of an events table or a pipe, to which it returns the batch response of
    ``ReportBatchItemFailures``.
    """

    def __init__(
        self,
        function: Callable[[Event, InboxTransaction], Returned],
        consumption: _Consumption,
        settings: WriterSettings,
        *,
        emits: bool,
    ) -> None:
        update_wrapper(self, function)  # first, because a callable object's own attributes come with it
        self._function = function
        self._codec = ResultCodec(function)
        self._consumption = consumption
        self._settings = settings
        self._emits = emits

    @property
    def _consumer(self) -> str:
        return self._consumption.consumer

    @overload
    def __call__(self, payload: Event, context: object = None) -> Returned: ...

    @overload
    def __call__(self, payload: object, context: object = None) -> Any: ...

    def __call__(self, payload: object, context: object = None) -> Any:
        """Handle an event or a batch.

        Args:
            payload: An `Event`, or Lambda's event.
            context: Lambda's context: AWS calls end before the invocation does.

        Raises:
            Exception: The function's exception, or the reason why its transaction was not committed, if the event was
                not handled before; in a batch it is logged, and the response names its message.
            PayloadMismatchError: The event's id was used before with another type or other data.
            ResultError: The function's result can't be stored; nothing was committed.
            InvalidEventError: Stale events are skipped, and this one has no sequence or no aggregate.
            CommitUnknownError: There was no response: the event may have been handled; the same event again finds out.
            DecodeError: The payload is neither an event nor a batch.
        """
        with invocation(context):
            if isinstance(payload, Event):
                return self._handle(payload)
            match payload_kind(payload):
                case "records":
                    return self._handle_stream(payload)
                case "messages":
                    return message_handler(lambda event, _: self._handle(event), self._consumer)(payload, context)
                case _:
                    return self._handle(parse_event(payload))

    def _handle_stream(self, payload: object) -> dict[str, Any]:
        """Handle each event of a batch from an events table; a failed one holds back those of its aggregate."""
        failed: list[StreamRecord | DecodeError] = []
        blocked: dict[str | None, list[StreamRecord]] = {}
        records = decode_records(payload, on_error="collect")
        for position, record in enumerate(records, 1):
            order_key = ordering_key(record, by_aggregate=True)
            if isinstance(record, DecodeError):
                names = event_names(record.raw)
                log.error(
                    "a stream record of %s (%s) can't be decoded for %s, and the %d after it wait: %s",
                    order_key or "an unknown order key",
                    named(names, order_key),
                    self._consumer,
                    len(records) - position,
                    record,
                    extra=fields(
                        names,
                        consumer=self._consumer,
                        order_key=order_key,
                        sequence_number=record.sequence_number,
                        count=len(records) - position,
                    ),
                )
                failed.append(record)
                break  # its aggregate is unknown, so the later records wait; they are redelivered anyway
            if order_key in blocked:
                blocked[order_key].append(record)
                continue  # the redelivery starts before it
            try:
                for event in inserted_events(record):
                    self._handle(event)
            except Exception:
                names = event_names(record.raw)
                log.exception(
                    "stream record %s of %s (%s) failed for %s",
                    record.sequence_number,
                    order_key,
                    named(names, order_key),
                    self._consumer,
                    extra=fields(
                        names,
                        consumer=self._consumer,
                        order_key=order_key,
                        sequence_number=record.sequence_number,
                        change_id=record.event_id,
                    ),
                )
                failed.append(record)
                blocked[order_key] = []
        self._log_held_back(blocked)
        return batch_response(payload, failed)

    def _log_held_back(self, blocked: Mapping[str | None, Sequence[StreamRecord]]) -> None:
        for order_key, records in blocked.items():
            if records:
                names = event_names(records[0].raw)
                log.warning(
                    "stream records of %s are held back behind a failed one for %s: %d, the first %s (%s)",
                    order_key,
                    self._consumer,
                    len(records),
                    records[0].sequence_number,
                    named(names, order_key),
                    extra=fields(
                        names,
                        consumer=self._consumer,
                        order_key=order_key,
                        sequence_number=records[0].sequence_number,
                        count=len(records),
                    ),
                )

    def _handle(self, event: Event) -> Any:
        """Run the function and commit; if either fails, determine the consequence."""
        claim = self._claim(event)
        clock = self._settings.clock
        for attempt in range(self._consumption.attempts):
            transaction = InboxTransaction(
                self._settings, event, emits=self._emits, records=partial(self._inbox_actions, event, claim)
            )
            try:
                with transaction:
                    # A copy for each attempt: the function may change the data.
                    result = transaction.handler_result = self._function(event.copied(), transaction)
                    refuse_awaitable(result, self._consumption.consumer)
                return result
            except Exception as failure:
                found = self._find_unless_unknown(event, claim, failure)
                contention = transaction.is_sent and _may_run_again(failure)
                attempts_left = self._consumption.attempts - attempt - 1
                match after_failure(found.state, stale=found.stale, contention=contention, attempts_left=attempts_left):
                    case AfterFailure.ANSWER:
                        self._log_duplicate(event, found, failure)
                        return self._answer(event, claim, found)
                    case AfterFailure.SKIP:
                        return self._skip(event)
                    case AfterFailure.RAISE:
                        raise
                    case AfterFailure.AGAIN:
                        self._log_again(event, failure, attempts_left)
            clock.sleep(full_jitter(attempt, draw=clock.random()))
        raise AssertionError("the last attempt returns or raises")

    def _log_duplicate(self, event: Event, found: _Found, failure: Exception) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        is_own, code = found.state is RecordState.OWN, type(failure).__name__
        log.info(
            "%s is handled by %s already: %s (%s)",
            named(event),
            self._consumer,
            "an earlier attempt was committed" if is_own else "a duplicate",
            code,
            extra=fields(event, consumer=self._consumer, code=code),
        )

    def _log_again(self, event: Event, failure: Exception, attempts_left: int) -> None:
        if not log.isEnabledFor(logging.INFO):
            return
        code = type(failure).__name__
        token = failure.token if isinstance(failure, CommitUnknownError) else None
        log.info(
            "%s runs again for %s: %s; attempts left: %d",
            self._consumer,
            named(event),
            code,
            attempts_left,
            extra=fields(event, consumer=self._consumer, code=code, token=token),
        )

    def _skip(self, event: Event) -> Any:
        """Skip a stale event; return what `on_stale` returns, if it is a function."""
        log.info(
            "%s is stale for %s and was skipped",
            named(event),
            self._consumer,
            extra=fields(event, consumer=self._consumer),
        )
        on_stale = self._consumption.on_stale
        return on_stale(event) if callable(on_stale) else None

    def _claim(self, event: Event) -> Claim:
        """Return the event's claim for this consumer."""
        consumer = self._consumption.consumer
        if self._consumption.skips_stale and (event.sequence is None or event.aggregate is None):
            missing = "sequence" if event.sequence is None else "aggregate_id"
            raise InvalidEventError(missing, f"is missing, and {consumer} skips stale events by it")
        claim = dedup_claim(consumer, event, secrets.token_hex(16), event_fingerprint(event))
        refuse_long_key(claim.key, "the event's source and id give a key")
        return claim

    def _inbox_actions(self, event: Event, claim: Claim, result: object) -> list[Action]:
        """Return the actions that the inbox adds to the transaction."""
        records = self._consumption.records
        now = records.now()
        try:
            stored = self._codec.write(result)
        except ValueError as error:
            problem = f"nothing was committed: the {type(result).__name__} that was returned can't be stored: {error}"
            raise ResultError(claim.key, problem) from error
        actions = [Action(dedup_put(claim, records.requests, result=stored, now=now), claim.key)]
        if self._consumption.skips_stale and event.sequence is not None:
            last = sequence_claim(self._consumption.consumer, event)
            actions.append(Action(sequence_update(last, records.requests, sequence=event.sequence, now=now), last.key))
        return actions

    def _find_unless_unknown(self, event: Event, claim: Claim, failure: Exception) -> _Found:
        """Return `_find`'s result; if DynamoDB doesn't respond to that either, raise the uncertain commit."""
        try:
            return self._find(event, claim, failure)
        except Exception:
            if not isinstance(failure, CommitUnknownError):
                raise
        raise failure

    def _find(self, event: Event, claim: Claim, failure: Exception) -> _Found:
        """Return the state of the inbox's records after a failure, from the dedup record's refusal or from a read."""
        records = self._consumption.records
        now = records.now()
        record = _refused_by(claim, failure) or records.read(claim)
        state = record_state(claim, record, records.requests, now)
        stale = False
        if state is RecordState.FORGOTTEN and self._consumption.skips_stale and event.sequence is not None:
            last = records.read(sequence_claim(self._consumption.consumer, event))
            stale = is_stale(last, records.requests, sequence=event.sequence, now=now)
        return _Found(state, record, stale, now)

    def _answer(self, event: Event, claim: Claim, found: _Found) -> Any:
        """Return the result that was stored when the event was handled, by another delivery or an earlier attempt."""
        as_another = Claim(claim.key, "", claim.fingerprint)  # also for the own record, the stored result counts
        requests = self._consumption.records.requests
        replay = resolve_refused_claim(as_another, found.record, requests, found.now)
        assert replay is not None  # noqa: S101  # only the own record resolves to None
        result = self._codec.read(claim.key, *replay)
        on_duplicate = self._consumption.on_duplicate
        return result if found.state is RecordState.OWN or on_duplicate is None else on_duplicate(result, event)


class _Found(NamedTuple):
    """The dedup record and its state, and whether the event is stale, at a time in milliseconds."""

    state: RecordState
    record: Mapping[str, Any]
    stale: bool
    now: int


def _refused_by(claim: Claim, failure: Exception) -> dict[str, Any] | None:
    """Return the dedup record, typed, if its put was refused because of it."""
    reasons = failure.reasons if isinstance(failure, TransactionCanceledError) else ()
    item = next((reason.item for reason in reasons if reason.label == claim.key), None)
    return None if item is None else encode_item(item)


def _may_run_again(failure: Exception) -> bool:
    """Return whether the handler may run again: nothing was committed, or the dedup record prevents a repetition."""
    return isinstance(failure, CommitUnknownError) or (
        isinstance(failure, TransactionCanceledError) and is_contention(failure)
    )
