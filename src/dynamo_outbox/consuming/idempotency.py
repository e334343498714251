"""Run a function once per idempotency key: `idempotent` and its table."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import sys
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, ParamSpec, TypeVar, cast, get_args

from ..aws.backoff import full_jitter
from ..aws.clients import LazyClient
from ..aws.lambda_context import ANSWER_MARGIN, remaining_time_in
from ..errors import AlreadyInProgressError, LeaseLostError, ResultError
from ..options import Clock, TableKeys
from ..writing.callables import refuse_awaitable, refuse_unfit
from .claims import Claim, Claimed, FailureReplay, OnExpiredLease, RecordRequests, Replay
from .failures import leaves_outcome_open, read_failure, write_failure
from .keys import Key, claim_maker, name_of
from .record_store import RecordStore
from .results import ResultCodec

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import Literal

    from ..typing import DynamoDBClient

__all__ = ["IdempotencyStore", "fence_number", "idempotent"]

log = logging.getLogger(__name__)

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
        self.records = RecordStore(LazyClient("dynamodb", client), requests, lease, clock)

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
    key: str | Callable[..., str] | Key | None = None,
    scope: str | None = None,
    on_missing_key: Literal["raise", "run"] = "raise",
    on_duplicate: Callable[..., Any] | None = None,
    on_expired_lease: OnExpiredLease = "rerun",
    wait_for: timedelta | None = None,
    permanent_errors: tuple[type[Exception], ...] = (),
) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Run a function, or a Lambda handler, once per idempotency key.

    Args:
        store: Stores the records of the calls.
        key: The idempotency key: a JMESPath expression into the first argument, or a function of the call's arguments.
            By default the first argument is an event, parsed or not, and its id is the key. A `Key` also chooses the
            fingerprint.
        scope: Namespace for functions that share a table. By default the function's module and qualified name: renaming
            it then forgets its calls; give the old name here to keep them.
        on_missing_key: What happens to a call without a key: ``raise``, or ``run`` it, each time.
        on_duplicate: Called with the stored result and the call's arguments for a duplicate; its result is returned. By
            default the stored result is.
        on_expired_lease: What happens if an earlier call took the key, its lease is over, and it never said how it
            ended: ``rerun``, or ``raise`` an `UnknownOutcomeError` until an operator resolves it (see
            `IdempotencyStore.forget` and `IdempotencyStore.resolve`). With ``raise``, a function that was interrupted,
            or that failed on a request without a response (a `TimeoutError` or `ConnectionError`, or an exception
            raised from one), keeps its key too.
        wait_for: How long a call waits for another one that holds its key; by default not at all. Never longer than
            Lambda's remaining time allows, less a second.
        permanent_errors: Exceptions after which a retry is useless: they are stored like results, and raised again for
            each duplicate. After any other exception the next call runs.

    Raises:
        TypeError: The decorated object can't be made idempotent: a generator, a class.
        MissingIdempotencyKeyError, AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError: When called; the
            function did not run.
        LeaseLostError, ResultError: When called; the function did run.
        PermanentFailureError: When called; the function failed permanently before, with an exception that can't be
            raised again.
        DecodeError: When called without `key=` with an object that is not an event.

    Guarantee: of calls with one key, one at a time holds the lease, and after one has returned within it, none runs
    until the store's ttl is over. With ``on_expired_lease="raise"`` a call runs at most once per key until the ttl is
    over, unless it failed and said so. Limits: a function that outlives its lease (only possible if no Lambda context
    set it) may overlap with a second run, and then raises `LeaseLostError`; if a process dies before its result is
    stored, the function runs again after the lease. Put effects that must not repeat into the dedup record's
    transaction, or behind a `fence_number`.
    """
    if on_expired_lease not in get_args(OnExpiredLease):
        raise ValueError(f"on_expired_lease={on_expired_lease!r} must be 'rerun' or 'raise'")
    if wait_for is not None and wait_for <= timedelta(0):
        raise ValueError(f"wait_for={wait_for} must be positive")
    for kind in cast("tuple[object, ...]", permanent_errors):
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"permanent_errors={kind!r} must be a class that derives from Exception")

    def decorate(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        refuse_unfit(function, "idempotent", allow_async=True)
        name = scope or name_of(function)
        if name is None:
            raise TypeError("a lambda, a partial or a callable object has no name of its own; give scope=")
        call = _IdempotentCall(
            store.records,
            ResultCodec(function),
            claim_maker(function, key=key, scope=name, on_missing_key=on_missing_key),
            on_duplicate,
            on_expired_lease,
            wait_for,
            permanent_errors,
        )
        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
                steps = call.steps(call.claim_of(args, kwargs), args, kwargs)
                return await _drive_async(steps, partial(function, *args, **kwargs), call)

            return cast("Callable[Parameters, Returned]", run_async)

        @wraps(function)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            def checked() -> object:
                result = function(*args, **kwargs)
                refuse_awaitable(result, name)
                return result

            return _drive(call.steps(call.claim_of(args, kwargs), args, kwargs), checked, call)

        return cast("Callable[Parameters, Returned]", run)

    return decorate


class _Run(NamedTuple):
    """A step: run the function with this fence number; the answer is a `_Returned` or a `_Raised`."""

    fence: int | None


class _Sleep(NamedTuple):
    """A step: wait for seconds."""

    seconds: float


class _Request(NamedTuple):
    """A step: make a request to DynamoDB; its result is the answer, and its exception is thrown.

    Attributes:
        send: The request.
        claim: The claim that the request takes, which has to be released if the caller is cancelled meanwhile.
    """

    send: Callable[[], Any]
    claim: Claim | None = None


class _Returned(NamedTuple):
    """The end of a call: the value to return."""

    value: Any


class _Duplicate(NamedTuple):
    """The end of a call with a stored result: `on_duplicate` gives the value to return."""

    on_duplicate: Callable[[], Any]


class _Raised:
    """The end of a call: the function's exception."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def reraise(self) -> NoReturn:
        """Raise the exception with its own context; `raise` alone replaces it with what the caller is handling."""
        error = self.error
        context = error.__context__
        try:
            raise error
        finally:
            error.__context__ = context
            del error, self.error  # otherwise the traceback's frames would hold the exception in a cycle


class _IdempotentCall:
    """The algorithm of an idempotent call, for sync and async functions.

    `steps` is a generator that yields what to do next and is sent the answer. It does nothing itself, so that `_drive`
    and `_drive_async` differ only in how they carry a step out.
    """

    def __init__(
        self,
        records: RecordStore,
        codec: ResultCodec,
        claim_of: Callable[[tuple[Any, ...], dict[str, Any]], Claim | None],
        on_duplicate: Callable[..., Any] | None,
        on_expired_lease: OnExpiredLease,
        wait_for: timedelta | None,
        permanent_errors: tuple[type[Exception], ...],
    ) -> None:
        self._records = records
        self._codec = codec
        self.claim_of = claim_of
        self._on_duplicate = on_duplicate
        self._on_expired_lease: OnExpiredLease = on_expired_lease
        self._wait_for = wait_for
        self._permanent_errors = permanent_errors

    @property
    def clock(self) -> Clock:
        return self._records.clock

    def steps(
        self, claim: Claim | None, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Generator[_Run | _Sleep | _Request, Any, _Returned | _Duplicate | _Raised]:
        """Yield the steps of one call with this claim, None if it has no key; return its end."""
        before = sys.exception()
        if claim is None:
            return cast("_Returned | _Raised", (yield _Run(None)))
        held = yield from self._claim(claim, partial(remaining_time_in, (*args, *kwargs.values())))
        if isinstance(held, FailureReplay):
            raise read_failure(claim.key, held.text, self._permanent_errors)
        if isinstance(held, Replay):
            result = self._codec.read(*held)
            if self._on_duplicate is None:
                return _Returned(result)
            return _Duplicate(partial(self._on_duplicate, result, *args, **kwargs))
        end: _Returned | _Raised = yield _Run(held.fence)
        if isinstance(end, _Raised):
            try:
                yield _Request(partial(self._fail, claim, end.error, before))
            except BaseException as interruption:
                interruption.__context__ = end.error
                raise
        else:
            yield _Request(partial(self._complete, claim, end.value))
        return end

    def _claim(
        self, claim: Claim, lease: Callable[[], timedelta | None]
    ) -> Generator[_Sleep | _Request, Any, Claimed | Replay]:
        """Claim the key; if another call holds it, look again for as long as this call may wait."""
        records = self._records
        policy: OnExpiredLease = self._on_expired_lease
        until = self._wait_until(lease)
        waits = 0
        while True:
            try:
                if waits:
                    replay: Replay | None = yield _Request(partial(records.peek, claim, on_expired_lease=policy))
                    if replay is not None:
                        return replay
                taken: Claimed | Replay = yield _Request(
                    partial(records.claim, claim, lease(), on_expired_lease=policy), claim
                )
                return taken
            except AlreadyInProgressError:
                left = 0.0 if until is None else (until - self.clock.now()).total_seconds()
                if left <= 0:
                    raise
            yield _Sleep(min(full_jitter(waits, draw=self.clock.random()), left))
            waits += 1

    def _wait_until(self, lease: Callable[[], timedelta | None]) -> datetime | None:
        if self._wait_for is None:
            return None
        remaining = lease()
        allowed = self._wait_for if remaining is None else min(self._wait_for, remaining - ANSWER_MARGIN)
        return self.clock.now() + allowed

    def _complete(self, claim: Claim, result: object) -> None:
        """Store the function's result."""
        try:
            stored = self._codec.write(result)
        except ValueError as error:
            if not self._records.complete(claim, None):
                raise LeaseLostError(claim.key, result) from error
            problem = f"its {type(result).__name__} can't be stored: {error}"
            raise ResultError(claim.key, f"the function ran and counts as done, but {problem}") from error
        if not self._records.complete(claim, stored):
            raise LeaseLostError(claim.key, result)

    def _fail(self, claim: Claim, error: BaseException, before: BaseException | None) -> None:
        """Record that the function failed; its own exception is the one to be raised, so nothing is raised here."""
        if isinstance(error, self._permanent_errors):
            try:
                if not self._records.fail(claim, write_failure(error)):
                    log.warning("%s failed permanently, which is not stored: another call had taken its key", claim.key)
            except Exception:
                log.exception("%s failed permanently, but that could not be stored; it stays held", claim.key)
        elif self._on_expired_lease == "raise" and leaves_outcome_open(error, before):
            log.warning("%s stays held: whether its effect took place is not known (token %s)", claim.key, claim.token)
        else:
            self.release(claim)

    def release(self, claim: Claim) -> None:
        """Release the key; if that fails, the lease ends by itself."""
        try:
            self._records.release(claim)
        except Exception:
            log.exception("%s could not be released; it stays held until its lease is over", claim.key)


def _drive(
    steps: Generator[_Run | _Sleep | _Request, Any, _Returned | _Duplicate | _Raised],
    function: Callable[[], object],
    call: _IdempotentCall,
) -> Any:
    """Carry out the steps of a call in this thread."""
    answer: Any = None
    error: BaseException | None = None
    step: _Run | _Sleep | _Request | None = None
    try:
        while True:
            step = steps.send(answer) if error is None else steps.throw(error)
            answer = error = None
            if isinstance(step, _Sleep):
                call.clock.sleep(step.seconds)
            elif isinstance(step, _Run):
                answer = _run(function, step.fence)
            else:
                try:
                    answer = step.send()
                except BaseException as raised:
                    error = raised
    except StopIteration as stop:
        end: _Returned | _Duplicate | _Raised = stop.value
    step = None  # it may hold the function's exception
    if isinstance(end, _Raised):
        end.reraise()
    return end.on_duplicate() if isinstance(end, _Duplicate) else end.value


def _run(function: Callable[[], object], fence: int | None) -> _Returned | _Raised:
    try:
        with _fenced(fence):
            return _Returned(function())
    except BaseException as error:
        return _Raised(error)


async def _drive_async(
    steps: Generator[_Run | _Sleep | _Request, Any, _Returned | _Duplicate | _Raised],
    function: Callable[[], Any],
    call: _IdempotentCall,
) -> Any:
    """Carry out the steps of a call in this task; requests are made in a thread."""
    answer: Any = None
    error: BaseException | None = None
    step: _Run | _Sleep | _Request | None = None
    try:
        while True:
            step = steps.send(answer) if error is None else steps.throw(error)
            answer = error = None
            if isinstance(step, _Sleep):
                await call.clock.sleep_async(step.seconds)
            elif isinstance(step, _Run):
                answer = await _run_async(function, step.fence)
            else:
                try:
                    answer = await _request_async(step, call)
                except BaseException as raised:
                    error = raised
    except StopIteration as stop:
        end: _Returned | _Duplicate | _Raised = stop.value
    step = None  # it may hold the function's exception
    if isinstance(end, _Raised):
        end.reraise()
    if isinstance(end, _Duplicate):
        value = end.on_duplicate()
        return await value if inspect.isawaitable(value) else value
    return end.value


async def _run_async(function: Callable[[], Any], fence: int | None) -> _Returned | _Raised:
    try:
        with _fenced(fence):
            return _Returned(await function())
    except BaseException as error:
        return _Raised(error)


async def _request_async(step: _Request, call: _IdempotentCall) -> Any:
    """Make a request in a thread; if the caller is cancelled meanwhile, release a key that the request has taken."""
    work, cancelled = await _to_the_end(step.send)
    if cancelled is None:
        return work.result()
    if step.claim is not None and work.exception() is None and isinstance(work.result(), Claimed):
        await _to_the_end(partial(call.release, step.claim))
    raise cancelled from (None if step.claim else work.exception())


async def _to_the_end(function: Callable[[], Returned]) -> tuple[asyncio.Future[Returned], BaseException | None]:
    """Call in a thread and wait until the call is over, however often the caller is cancelled meanwhile.

    It is an executor's future, not a task: the end of the loop cancels tasks, but a thread's work goes on.
    """
    work = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, function)
    cancelled: BaseException | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return work, cancelled
