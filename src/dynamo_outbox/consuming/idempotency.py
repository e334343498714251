"""Run a function once per idempotency key: `idempotent` and its table."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NamedTuple, ParamSpec, TypeVar, cast

from ..aws.backoff import full_jitter
from ..aws.lambda_context import ANSWER_MARGIN, context_in, invocation, remaining_time
from ..aws.service import Service
from ..errors import AlreadyInProgressError, LeaseLostError, ResultError
from ..events.bus_event import parse_event
from ..events.event import Event
from ..log_lines import fields, logger, named
from ..options import Clock, TableKeys
from ..writing.callables import refuse_awaitable, refuse_unfit
from .claims import Claim, Claimed, FailureReplay, OnExpiredLease, RecordRequests, Replay
from .failures import read_failure, write_failure
from .keys import Key, claim_maker
from .record_store import RecordStore
from .results import ResultCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal, TypeAlias

    from ..typing import DynamoDBClient

    ClaimMaker: TypeAlias = Callable[[tuple[Any, ...], dict[str, Any]], Claim | None]

__all__ = ["AtMostOnce", "IdempotencyStore", "fence_number", "idempotent"]

log = logger(__name__)

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

DEFAULT_LEASE = timedelta(minutes=15)
"""Used if no Lambda context says how long the call may run: Lambda's maximum.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html"""

_fence: contextvars.ContextVar[int | None] = contextvars.ContextVar("fence", default=None)


class IdempotencyStore:
    """Stores idempotency records in a DynamoDB table.

    Args:
        table: The table's name.
        ttl: How long a call is remembered: longer than any redelivery of its message.
        client: A low-level DynamoDB client; by default one is created on first use.
        table_keys: The table's attribute names, and the prefix of its partition keys. A sort key always holds
            ``idempotency``.
        lease: How long a call may run if no Lambda context says so.
        clock_margin: How far the clocks of two callers may differ.
        clock: The time, waiting and jitter.

    Attributes:
        records: The records; for `idempotent` and `Inbox`.

    It needs ``dynamodb:UpdateItem`` on the table, and ``dynamodb:GetItem`` if calls wait.
    """

    def __init__(
        self,
        table: str,
        *,
        ttl: timedelta = timedelta(days=8),
        client: DynamoDBClient | None = None,
        table_keys: TableKeys = TableKeys(sort_key=None),
        lease: timedelta = DEFAULT_LEASE,
        clock_margin: timedelta = timedelta(seconds=1),
        clock: Clock = Clock(),
    ) -> None:
        if not table:
            raise ValueError("table needs a name")
        for name, duration in (("ttl", ttl), ("lease", lease)):
            if duration <= timedelta(0):
                raise ValueError(f"{name}={duration} must be positive")
        if ttl <= lease:
            raise ValueError(f"ttl={ttl} must be longer than lease={lease}: a running call must not be forgotten")
        self.table = table
        self._ttl = ttl
        self._clock_margin = clock_margin
        requests = RecordRequests(table, table_keys, ttl=ttl, margin=clock_margin)
        self.records = RecordStore(Service("dynamodb", client, clock), requests, lease, clock)

    @property
    def ttl(self) -> timedelta:
        return self._ttl

    @property
    def lease(self) -> timedelta:
        return self.records.lease

    @property
    def clock_margin(self) -> timedelta:
        return self._clock_margin

    def forget(self, key: str, *, token: str) -> bool:
        """Allow a call whose outcome was unknown to run again: you found that its effect did not take place.

        Args:
            key, token: The `UnknownOutcomeError`'s.

        Returns:
            False if the record is no longer in progress with this token; then nothing was changed.
        """
        return self.records.release(Claim(key, token, ""))

    def resolve(self, key: str, result: object, *, token: str, function: Callable[..., Any] | None = None) -> bool:
        """Store the result of a call whose outcome was unknown: you found that its effect took place.

        Args:
            key, token: The `UnknownOutcomeError`'s.
            result: The result for duplicates.
            function: The function, by whose return annotation the result is stored; without it, as plain JSON.

        Returns:
            False if the record is no longer in progress with this token; then nothing was changed.

        Raises:
            ValueError: The result can't be stored; nothing was changed.
        """
        stored = ResultCodec(function or (lambda: None)).write(result)
        return self.records.complete(Claim(key, token, ""), stored)


@dataclass(frozen=True, slots=True)
class AtMostOnce:
    """A policy of `idempotent`: a call whose outcome is unknown does not run again by itself.

    Args:
        safe_to_retry: Exceptions that the function raises before it has any effect, or instead of one: they release the
            key. After any other exception the key stays taken, as after an interruption, because the effect may have
            taken place: a broken response can surface as any exception of an HTTP client.
    """

    safe_to_retry: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        _refuse_other_than_exceptions("safe_to_retry", self.safe_to_retry)


def _refuse_other_than_exceptions(name: str, kinds: object) -> None:
    for kind in kinds if isinstance(kinds, tuple) else (kinds,):
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"{name}={kind!r} must be a class that derives from Exception, in a tuple")


def fence_number() -> int:
    """Return the number of this call's hold on its key: larger than any earlier call's.

    Pass it to the store that the function writes to, and let that store refuse a number smaller than one that it has
    seen: then a call that outlived its lease can't overwrite what its successor wrote. It is the innermost idempotent
    call's, visible in its own thread or task and in the tasks that this starts.

    Raises:
        RuntimeError: No idempotent function is running here, or it runs without a key.

    Guarantee: it grows with each claim of a key, over releases and takeovers, however the callers' clocks differ.
    Limit: after TTL has deleted the record it continues from the time, so clocks must not differ by the store's ttl.
    """
    fence = _fence.get()
    if fence is None:
        raise RuntimeError("no idempotent function with a key is running here, so there is no fence number")
    return fence


@contextmanager
def _fenced(fence: int | None) -> Iterator[None]:
    reset = _fence.set(fence)
    try:
        yield
    finally:
        _fence.reset(reset)


def idempotent(
    store: IdempotencyStore,
    *,
    scope: str,
    key: str | Callable[..., object] | Key | None = None,
    on_missing_key: Literal["raise", "run"] = "raise",
    on_duplicate: Callable[..., Any] | None = None,
    on_expired_lease: OnExpiredLease | AtMostOnce = "rerun",
    wait_for: timedelta | None = None,
    permanent_errors: tuple[type[Exception], ...] = (),
) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Run a function, or a Lambda handler, once per idempotency key.

    Args:
        store: Stores the records of the calls.
        scope: Namespace for the functions that share a table: give each function another one, and keep it when the
            function is renamed, or its calls are forgotten: ``"billing.charge"``. Two functions, or two objects with a
            method, that must each handle an event need two scopes.
        key: The idempotency key: a JMESPath expression into the first argument, or a function of the call's arguments
            (with ``self``, if it is a method's): text, a number, a date, a UUID, an enum, or a flat list of these.
            Numbers are compared by value; in an expression, the names of HTTP ``headers`` without case. By default the
            first argument is an event, parsed or not, and its source and id are the key. A `Key` also chooses the
            fingerprint.
        on_missing_key: What happens to a call without a key: ``raise``, or ``run`` it, each time. A key that is present
            but can't be one is an error in either case.
        on_duplicate: Called with the stored result and the call's arguments for a duplicate; its result is returned. By
            default the stored result is.
        on_expired_lease: What happens if an earlier call took the key, its lease has expired, and its outcome is
            unknown: ``rerun``, or ``raise`` an `UnknownOutcomeError` until an operator resolves it (see
            `IdempotencyStore.forget` and `IdempotencyStore.resolve`). With ``raise``, a function that fails keeps its
            key, too; an `AtMostOnce` lists the exceptions after which it may run again.
        wait_for: How long a call waits for another one that holds its key; by default not at all. Never longer than
            Lambda's remaining time allows, less a second.
        permanent_errors: Exceptions after which a retry is useless: they are stored like results, and raised again for
            each duplicate. After any other exception the next call runs.

    Raises:
        TypeError: The decorated object can't be made idempotent: a generator, a class.
        MissingIdempotencyKeyError, InvalidIdempotencyKeyError, AlreadyInProgressError, PayloadMismatchError,
            UnknownOutcomeError: When called; the function did not run.
        LeaseLostError, ResultError: When called; the function did run.
        PermanentFailureError: When called; the function failed permanently before, with an exception that can't be
            raised again.
        DecodeError: When called without `key=` with an object that is not an event.

    Guarantee: of calls with one key, one at a time holds the lease, and after one has returned within it, none runs
    until the store's ttl is over. With ``on_expired_lease="raise"`` a call runs at most once per key until the ttl
    is over, unless it raised an exception of `AtMostOnce`'s ``safe_to_retry``, or an operator called `forget`.
    Limits: a function that outlives its lease (only possible if no Lambda context set it) may overlap with a second
    run, and then raises `LeaseLostError`; if a process dies before its result is stored, the function runs again
    after the lease. Put effects that must not repeat into the dedup record's transaction, or behind a
    `fence_number`.
    """
    if not isinstance(cast("object", store), IdempotencyStore):
        raise TypeError(f"idempotent takes a store first: @idempotent(store, scope=...), not {store!r}")
    if not scope or not isinstance(cast("object", scope), str):
        raise ValueError(f"scope={scope!r} must be a name, unique among the functions that share the store's table")
    if on_missing_key not in ("raise", "run"):
        raise ValueError(f"on_missing_key={on_missing_key!r} must be 'raise' or 'run'")
    at_most_once = AtMostOnce() if on_expired_lease == "raise" else on_expired_lease
    if not isinstance(at_most_once, AtMostOnce) and at_most_once != "rerun":
        raise ValueError(f"on_expired_lease={on_expired_lease!r} must be 'rerun', 'raise' or AtMostOnce(...)")
    if wait_for is not None and wait_for <= timedelta(0):
        raise ValueError(f"wait_for={wait_for} must be positive")
    _refuse_other_than_exceptions("permanent_errors", permanent_errors)

    by_event = (key.find if isinstance(key, Key) else key) is None

    def decorate(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        refuse_unfit(function, "idempotent", allow_async=True)
        claim_of = claim_maker(function, key=key, scope=scope, on_missing_key=on_missing_key)
        policy: OnExpiredLease = "raise" if isinstance(at_most_once, AtMostOnce) else "rerun"
        safe = at_most_once.safe_to_retry if isinstance(at_most_once, AtMostOnce) else (BaseException,)
        rules = _Rules(
            store.records,
            ResultCodec(function),
            on_duplicate,
            policy,
            safe,
            wait_for,
            permanent_errors,
            scope,
            by_event,
        )
        make = _async_function if inspect.iscoroutinefunction(function) else _sync_function
        return cast("Callable[Parameters, Returned]", make(function, claim_of, rules))

    return decorate


def _sync_function(function: Callable[..., Any], claim_of: ClaimMaker, rules: _Rules) -> Callable[..., Any]:
    @wraps(function)
    def run(*args: Any, **kwargs: Any) -> Any:
        claim = claim_of(args, kwargs)
        if claim is None:
            return _checked(function, None, args, kwargs)
        call = _Call(rules, claim, args, kwargs)
        with invocation(call.context):
            while (wait := call.take()) is not None:
                rules.records.clock.sleep(wait)
            if call.replay is not None:
                return call.replayed(args, kwargs)
            try:
                result = _checked(function, call.fence, args, kwargs)
            except BaseException as error:
                call.fail(error)
                raise
            call.complete(result)
            return result

    return run


def _async_function(function: Callable[..., Any], claim_of: ClaimMaker, rules: _Rules) -> Callable[..., Any]:
    """The same with `await`; the requests are made in a thread."""

    @wraps(function)
    async def run(*args: Any, **kwargs: Any) -> Any:
        claim = claim_of(args, kwargs)
        if claim is None:
            with _fenced(None):
                return await function(*args, **kwargs)
        call = _Call(rules, claim, args, kwargs)
        with invocation(call.context):
            while (wait := await _in_thread(call.take, if_cancelled=call.give_back)) is not None:
                await rules.records.clock.sleep_async(wait)
            if call.replay is not None:
                result = call.replayed(args, kwargs)
                return await result if inspect.isawaitable(result) else result
            try:
                with _fenced(call.fence):
                    result = await function(*args, **kwargs)
            except BaseException as error:
                await _in_thread(partial(call.fail, error))
                raise
            await _in_thread(partial(call.complete, result))
            return result

    return run


def _checked(function: Callable[..., Any], fence: int | None, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Call a sync function with a fence number; refuse an awaitable, whose body has not run."""
    with _fenced(fence):
        result = function(*args, **kwargs)
        refuse_awaitable(result, getattr(function, "__qualname__", repr(function)))
    return result


class _Rules(NamedTuple):
    """The options of one idempotent function; `by_event` says that its keys are identities of events."""

    records: RecordStore
    codec: ResultCodec
    on_duplicate: Callable[..., Any] | None
    on_expired_lease: OnExpiredLease
    safe_to_retry: tuple[type[BaseException], ...]
    wait_for: timedelta | None
    permanent_errors: tuple[type[Exception], ...]
    scope: str
    by_event: bool


class _Call:
    """One call with a key: take the key, then replay an earlier result, or record how the function ended.

    The methods block. Around them, the sync and the async function differ only in how they wait and run.

    Attributes:
        replay: The result of an earlier call, if there is one.
        fence: The fence number, if this call has taken the key.
    """

    def __init__(self, rules: _Rules, claim: Claim, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._rules = rules
        self._claim = claim
        self._arguments = (*args, *kwargs.values())
        self.context = context_in(self._arguments)
        self._waits = 0
        self._wait_until = self._end_of_wait()
        self.replay: Replay | None = None
        self.fence: int | None = None

    def _end_of_wait(self) -> datetime | None:
        if self._rules.wait_for is None:
            return None
        remaining = remaining_time(self.context)
        allowed = self._rules.wait_for if remaining is None else min(self._rules.wait_for, remaining - ANSWER_MARGIN)
        return self._rules.records.clock.now() + allowed

    def take(self) -> float | None:
        """Take the key, or find an earlier call's result; return the seconds to wait if another call holds the key."""
        records, policy = self._rules.records, self._rules.on_expired_lease
        try:
            if self._waits:
                self.replay = records.peek(self._claim, on_expired_lease=policy)
            if self.replay is None:
                taken = records.claim(self._claim, remaining_time(self.context), on_expired_lease=policy)
                if isinstance(taken, Claimed):
                    self.fence = taken.fence
                else:
                    self.replay = taken
            return None
        except AlreadyInProgressError:
            until, clock = self._wait_until, records.clock
            left = 0.0 if until is None else (until - clock.now()).total_seconds()
            if left <= 0:
                raise
        self._waits += 1
        wait = min(full_jitter(self._waits - 1, draw=clock.random()), left)
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s waits %.3f s for the call that holds its key",
                self._subject,
                wait,
                extra=fields(self._event, consumer=self._rules.scope, idempotency_key=self._key, count=self._waits),
            )
        return wait

    @property
    def _key(self) -> str | None:
        """The key, for the log; None if it is made of the payload's values."""
        return self._claim.key if self._rules.by_event else None

    @property
    def _subject(self) -> str:
        return f"{self._key or self._rules.scope} ({named(self._event)})"

    @property
    def _event(self) -> Event | None:
        """The event among the arguments, for the log."""
        for value in self._arguments:
            if isinstance(value, Event):
                return value
            if isinstance(value, dict):
                try:
                    return parse_event(value)
                except Exception:  # noqa: S112  # the payload of a call with a key of its own may be anything
                    continue
        return None

    def replayed(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the stored result, or what `on_duplicate` makes of it; raise a stored failure."""
        assert self.replay is not None  # noqa: S101  # for the type checker
        if log.isEnabledFor(logging.DEBUG):
            log.debug(
                "%s is a duplicate",
                self._subject,
                extra=fields(self._event, consumer=self._rules.scope, idempotency_key=self._key),
            )
        if isinstance(self.replay, FailureReplay):
            raise read_failure(self._claim.key, self.replay.text, self._rules.permanent_errors)
        result = self._rules.codec.read(self._claim.key, *self.replay)
        on_duplicate = self._rules.on_duplicate
        return result if on_duplicate is None else on_duplicate(result, *args, **kwargs)

    def complete(self, result: object) -> None:
        """Store the function's result."""
        records, key = self._rules.records, self._claim.key
        try:
            stored = self._rules.codec.write(result)
        except ValueError as error:
            if not records.complete(self._claim, None):
                raise LeaseLostError(key, result) from error
            problem = f"its {type(result).__name__} can't be stored: {error}"
            raise ResultError(key, f"the function ran and counts as done, but {problem}") from error
        if not records.complete(self._claim, stored):
            raise LeaseLostError(key, result)

    def fail(self, error: BaseException) -> None:
        """Record that the function failed; its own exception is the one to be raised, so nothing is raised here."""
        claim, rules = self._claim, self._rules
        if isinstance(error, rules.permanent_errors):
            try:
                if not rules.records.fail(claim, write_failure(error)):
                    log.warning(
                        "%s failed permanently, which is not stored: another call had taken its key",
                        self._subject,
                        extra=fields(self._event, consumer=rules.scope, idempotency_key=self._key, token=claim.token),
                    )
            except Exception:
                log.exception(
                    "%s failed permanently, but that could not be stored; it stays held (token %s)",
                    self._subject,
                    claim.token,
                    extra=fields(self._event, consumer=rules.scope, idempotency_key=self._key, token=claim.token),
                )
        elif not isinstance(error, rules.safe_to_retry):
            log.warning(
                "%s stays held: whether its effect took place is not known (token %s)",
                self._subject,
                claim.token,
                extra=fields(self._event, consumer=rules.scope, idempotency_key=self._key, token=claim.token),
            )
        else:
            self._release()

    def give_back(self) -> None:
        """Release the key if this call has taken it."""
        if self.fence is not None:
            self._release()

    def _release(self) -> None:
        try:
            self._rules.records.release(self._claim)
        except Exception:
            log.exception(
                "%s could not be released; it stays held until its lease is over",
                self._subject,
                extra=fields(
                    self._event, consumer=self._rules.scope, idempotency_key=self._key, token=self._claim.token
                ),
            )


async def _in_thread(blocking: Callable[[], Returned], *, if_cancelled: Callable[[], None] | None = None) -> Returned:
    """Call in a thread, to the end even if this task is cancelled; then call `if_cancelled` and raise."""
    work, cancelled = await _to_the_end(blocking)
    if cancelled is None:
        return work.result()
    if if_cancelled is not None:
        await _to_the_end(if_cancelled)
    raise cancelled from work.exception()


async def _to_the_end(blocking: Callable[[], Returned]) -> tuple[asyncio.Future[Returned], BaseException | None]:
    """Call in a thread and wait until the call is over, however often the caller is cancelled meanwhile.

    It is an executor's future, not a task: the end of the loop cancels tasks, but a thread's work goes on.
    """
    work = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, blocking)
    cancelled: BaseException | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return work, cancelled
