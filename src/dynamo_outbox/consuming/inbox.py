"""A handler whose effect, dedup record and next events are one transaction: `Inbox`."""

from __future__ import annotations

import logging
import secrets
from functools import update_wrapper
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Generic, Literal, NamedTuple, TypeVar, overload

from typing_extensions import override

from ..writing.actions import Action
from ..aws.backoff import full_jitter
from .claims import Met, meet, read_request, what_is_met
from ..events.bus_event import parse_event
from .inbox_records import AfterFailure, after_failure, dedup_claim, dedup_put, is_stale, sequence_claim, sequence_update
from ..codec.json_text import canonical
from ..streams.records import decode_records
from ..codec.values import encode_item
from ..errors import (
    CommitUnknownError,
    DecodeError,
    InvalidEventError,
    MissingIdempotencyKeyError,
    ResultError,
    TransactionCanceledError,
)
from ..events.event import Event
from ..aws.functions import is_method, refuse_awaitable, refuse_unfit
from .keys import MAX_KEY_BYTES
from .batch_handler import each_message
from ..writing.outbox import TransactionalOutbox, is_contention
from ..relaying.processors import _outbox_events, _outbox_order_key, batch_response
from .results import ResultCodec
from ..writing.transaction import Transaction

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .claims import Claim
    from ..streams.records import StreamRecord
    from ..events.domain_event import DomainEvent
    from .idempotency import IdempotencyStore

__all__ = ["Inbox", "InboxHandler", "InboxTransaction"]

log = logging.getLogger(__name__)

Returned = TypeVar("Returned")


class InboxTransaction(Transaction):
    """What a handler gets: a `Transaction` whose events carry on from the event that is handled."""

    def __init__(self, outbox: TransactionalOutbox, handled: Event, *, emits: bool) -> None:
        super().__init__(outbox, retries=0)
        self._handled = handled
        self._emits = emits

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
        """`Transaction.emit`, of a consequence of the event that is handled.

        Where neither the event nor the arguments say otherwise, its causation is the id of the event handled, its
        correlation that one's correlation, or else its id, and its traceparent that one's.

        Raises:
            RuntimeError: The inbox was made without an outbox.
            InvalidEventError: As for `Transaction.emit`.
        """
        if not self._emits:
            raise RuntimeError("this inbox has no outbox to emit into; make it with Inbox(store, outbox)")
        handled, chosen = self._handled, self._outbox._sourced(event)
        if chosen.traceparent is None and handled.traceparent is not None:
            chosen = chosen.replace(traceparent=handled.traceparent)
        emitted = super().emit(
            chosen,
            sequence=sequence,
            correlation_id=correlation_id or chosen.correlation_id or handled.correlation_id or handled.id,
            causation_id=causation_id or chosen.causation_id or handled.id,
            label=label,
        )
        self._proof = None  # the dedup record is; a void marker would refuse an id that the next run gives again
        return emitted


class Inbox:
    """Lets handlers act once per event: what they write, and the record that they did, are one transaction.

    Args:
        store: Where the dedup records lie, in the account and Region of what the handlers write.
        outbox: Where the handlers' own events go; without one, they emit none.
    """

    def __init__(self, store: IdempotencyStore, outbox: TransactionalOutbox | None = None) -> None:
        self._store = store
        self._emits = outbox is not None
        place = store._place
        self._outbox = outbox or TransactionalOutbox(
            store.table,
            client=store._client._given,
            keys={store.table: [name for name in (place.partition_key, place.sort_key) if name is not None]},
            clock=store._clock,
            sleep=store._sleep,
            draw=store._draw,
        )

    def handler(
        self,
        *,
        consumer: str,
        stale: Literal["run", "refuse"] = "run",
        retries: int = 3,
        on_duplicate: Callable[[Any, Event], Any] | None = None,
        on_stale: Callable[[Event], Any] | None = None,
    ) -> Callable[[Callable[[Event, InboxTransaction], Returned]], InboxHandler[Returned]]:
        """Let ``f(event, tx)`` handle each event once.

        Args:
            consumer: Who handles: each consumer handles an event once, whatever function it is done by.
            stale: What becomes of an event whose sequence is not above the last one that this consumer has handled of
                its aggregate: ``run`` it all the same, or ``refuse`` it, which skips it.
            retries: How often the function runs again, from the start, where its transaction met contention, or
                version locks refused it, or it got no answer.
            on_duplicate: Called with the stored result and the event where it was handled before; what it returns is
                returned. By default the stored result is.
            on_stale: Called with an event that is skipped; what it returns is returned, by default None.

        The function writes through ``tx``, reads what it decides on with ``tx.get``, and may emit events. What it
        returns is stored with the dedup record, as `idempotent` stores results.

        Guarantee: of all deliveries of an event to a consumer, the transaction of exactly one is committed, while the
        store's ttl lasts. Limits: the *function* may run more often, for each duplicate and each retry, so what it does
        other than through ``tx`` may repeat; one account and Region; 100 actions, of which the record takes one, a
        refusal of stale events another.

        Raises:
            TypeError: When decorating an ``async`` or generator function, as boto3 has no calls that could be awaited;
                or a method, as no delivery brings its object.
        """
        if not consumer or "#" in consumer:
            raise ValueError(f"consumer={consumer!r} has to be a name without '#', which parts it from the event's id")
        if stale not in ("run", "refuse"):
            raise ValueError(f"stale is 'run' or 'refuse', not {stale!r}")
        if retries < 0:
            raise ValueError(f"retries={retries} can't be negative")

        def decorate(function: Callable[[Event, InboxTransaction], Returned]) -> InboxHandler[Returned]:
            refuse_unfit(function, "an inbox handler")
            if is_method(function):
                name = getattr(function, "__qualname__", repr(function))
                raise TypeError(f"{name} is a method; decorate a bound one: inbox.handler(...)(its_object.{name})")
            return InboxHandler(
                self,
                function,
                consumer=consumer,
                refuses_stale=stale == "refuse",
                retries=retries,
                on_duplicate=on_duplicate,
                on_stale=on_stale,
            )

        return decorate


class InboxHandler(Generic[Returned]):
    """A function that handles each event once; `Inbox.handler` makes it.

    It is called with an `Event`, and returns what the function does, or as a Lambda handler: with EventBridge's event,
    or with a batch from SQS, SNS, a stream of an events table or a pipe, which it answers with the batch response of
    ``ReportBatchItemFailures``.
    """

    def __init__(
        self,
        inbox: Inbox,
        function: Callable[[Event, InboxTransaction], Returned],
        *,
        consumer: str,
        refuses_stale: bool,
        retries: int,
        on_duplicate: Callable[[Any, Event], Any] | None,
        on_stale: Callable[[Event], Any] | None,
    ) -> None:
        update_wrapper(self, function)  # first, because a callable object's own attributes come with it
        self._inbox = inbox
        self._function = function
        self._codec = ResultCodec(function)
        self._consumer = consumer
        self._refuses_stale = refuses_stale
        self._retries = retries
        self._on_duplicate = on_duplicate
        self._on_stale = on_stale

    @overload
    def __call__(self, payload: Event, context: object = None) -> Returned: ...

    @overload
    def __call__(self, payload: object, context: object = None) -> Any: ...

    def __call__(self, payload: object, context: object = None) -> Any:
        """Handle what came.

        Args:
            payload: An `Event`, or what Lambda passes.
            context: Lambda's context; it isn't used.

        Raises:
            Exception: What the function raised, or what kept its transaction from being committed, where the event was
                not handled before; in a batch it is logged, and the response names its message.
            PayloadMismatchError: The event's id was used before with another type or other data.
            ResultError: What the function returned can't be stored; nothing was committed.
            InvalidEventError: Stale events are refused, and this one has no sequence or no aggregate.
            CommitUnknownError: No answer came: the event may have been handled; the same event again finds out.
            DecodeError: The payload is no event and no batch.
        """
        if isinstance(payload, Event):
            return self._handle(payload)
        records = payload.get("Records") if isinstance(payload, dict) else payload
        if not isinstance(records, list):
            return self._handle(parse_event(payload))
        is_stream = (
            records and isinstance(records[0], dict) and not records[0].keys().isdisjoint(("dynamodb", "kinesis"))
        )
        if is_stream or isinstance(payload, list):  # a pipe hands Kinesis's records over without their envelopes
            return self._handle_stream(payload)
        return each_message(lambda event, _: self._handle(event))(payload, context)

    def _handle_stream(self, payload: object) -> dict[str, Any]:
        """Each event of a batch from an events table; one that failed holds back those of its aggregate."""
        failed: list[StreamRecord | DecodeError] = []
        blocked: set[str] = set()
        for record in decode_records(payload, on_error="collect"):
            if isinstance(record, DecodeError):
                log.error("a stream record can't be decoded: %s", record)
                failed.append(record)
                break  # whose it is can't be told, so what follows waits; it comes again anyway
            order_key = _outbox_order_key(record.raw)
            if order_key in blocked:
                continue  # what is delivered again begins before it
            try:
                for event in _outbox_events(record):
                    self._handle(event)
            except Exception:
                log.exception("stream record %s (%s) failed", record.sequence_number, record.event_id)
                failed.append(record)
                blocked.add(order_key)
        return batch_response(payload, failed)

    def _handle(self, event: Event) -> Any:
        """Handle one event: run the function and commit; where either fails, find out what is to follow."""
        claim = self._claim(event)
        outbox = self._inbox._outbox
        attempt = 0
        while True:
            transaction = InboxTransaction(outbox, event, emits=self._inbox._emits)
            committing = False
            try:
                with transaction:
                    result = self._function(event, transaction)
                    refuse_awaitable(result, self._consumer)
                    transaction._actions += self._records(event, claim, result)
                    committing = True
                return result
            except Exception as failure:
                found = self._found_if_told(event, claim, failure)
                tries_left = self._retries - attempt
                contention = committing and _may_run_again(failure)
                match after_failure(found.met, stale=found.stale, contention=contention, tries_left=tries_left):
                    case AfterFailure.ANSWER:
                        return self._answer(event, claim, found)
                    case AfterFailure.SKIP:
                        log.info("%s %s is stale for %s and was skipped", event.type, event.id, self._consumer)
                        return None if self._on_stale is None else self._on_stale(event)
                    case AfterFailure.RAISE:
                        raise
            outbox._sleep(full_jitter(attempt, draw=outbox._draw()))
            attempt += 1

    def _claim(self, event: Event) -> Claim:
        """The event's key for this consumer, and what two events under one id must have in common."""
        if self._refuses_stale and (event.sequence is None or event.aggregate is None):
            missing = "sequence" if event.sequence is None else "aggregate_id"
            raise InvalidEventError(missing, f"is missing, and {self._consumer} refuses stale events by it")
        fingerprint = sha256(canonical([event.type, event.data]).encode()).hexdigest()
        claim = dedup_claim(self._consumer, event, secrets.token_hex(16), fingerprint)
        if len(claim.key.encode()) > MAX_KEY_BYTES:
            raise MissingIdempotencyKeyError(claim.key[:80], f"the event's id has {len(event.id):,} characters")
        return claim

    def _records(self, event: Event, claim: Claim, result: object) -> list[Action]:
        """What the inbox adds to the transaction, behind the function's own actions, whose positions stay theirs."""
        store = self._inbox._store
        place, now, ttl = store._place, store._now(), store.ttl
        try:
            stored = self._codec.write(result)
        except ValueError as error:
            problem = f"nothing was committed: the {type(result).__name__} that was returned can't be stored: {error}"
            raise ResultError(claim.key, problem) from error
        records = [Action(dedup_put(claim, place, result=stored, now=now, ttl=ttl), claim.key)]
        if self._refuses_stale and event.sequence is not None:
            last = sequence_claim(self._consumer, event)
            update = sequence_update(last, place, sequence=event.sequence, now=now, ttl=ttl)
            records.append(Action(update, last.key))
        return records

    def _found_if_told(self, event: Event, claim: Claim, failure: Exception) -> _Found:
        """What `_found` finds; where no answer comes to that either, the doubt is what is raised."""
        try:
            return self._found(event, claim, failure)
        except Exception:
            if not isinstance(failure, CommitUnknownError):
                raise
        raise failure

    def _found(self, event: Event, claim: Claim, failure: Exception) -> _Found:
        """What the inbox's records say after a failure: the dedup record first, from its own refusal or read anew."""
        store = self._inbox._store
        place, now = store._place, store._now()
        record = _refused_by(claim, failure) or store._client().get_item(**read_request(claim, place)).get("Item", {})
        met = what_is_met(claim, record, store._terms, now)
        stale = False
        if met is Met.FORGOTTEN and self._refuses_stale and event.sequence is not None:
            last = store._client().get_item(**read_request(sequence_claim(self._consumer, event), place))
            stale = is_stale(last.get("Item", {}), place, sequence=event.sequence, now=now)
        return _Found(met, record, stale, now)

    def _answer(self, event: Event, claim: Claim, found: _Found) -> Any:
        """What was stored when the event was handled: by another delivery, or by an attempt whose answer got lost."""
        as_another = claim._replace(token="")  # for one's own record, too, what is stored counts
        replay = meet(as_another, found.record, self._inbox._store._terms, found.now)
        assert replay is not None  # noqa: S101  # as it is for no record but one's own
        result = self._codec.read(*replay)
        if found.met is Met.OWN or self._on_duplicate is None:
            return result
        return self._on_duplicate(result, event)


class _Found(NamedTuple):
    """The dedup record, what it means, and whether the event is stale, as of a time in milliseconds."""

    met: Met
    record: Mapping[str, Any]
    stale: bool
    now: int


def _refused_by(claim: Claim, failure: Exception) -> dict[str, Any] | None:
    """The dedup record, typed, where its own put was refused and brought it back."""
    reasons = failure.reasons if isinstance(failure, TransactionCanceledError) else ()
    item = next((reason.item for reason in reasons if reason.label == claim.key), None)
    return None if item is None else encode_item(item)


def _may_run_again(failure: Exception) -> bool:
    """Whether the handler may run again: nothing was committed, or the dedup record keeps it from being so twice."""
    return isinstance(failure, CommitUnknownError) or (
        isinstance(failure, TransactionCanceledError) and is_contention(failure)
    )
