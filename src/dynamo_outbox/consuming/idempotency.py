"""A function that is called twice with one message acts once: `idempotent`, and the table behind it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import random
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, get_args

from botocore.exceptions import ClientError

from ..aws.clients import LazyClient
from ..aws.backoff import full_jitter
from .claims import (
    DONE,
    Claim,
    Claimed,
    FailureReplay,
    OnExpiredLease,
    Place,
    Replay,
    Terms,
    fence_of,
    has_ended_so,
    look,
    meet,
    read_request,
    what_is_met,
)
from ..errors import AlreadyInProgressError, LeaseLostError, ResultError
from .failures import leaves_outcome_open, read_failure, write_failure
from ..aws.functions import JSON_TYPES, name_of, refuse_awaitable, refuse_unfit, time_left
from .keys import claim_maker
from .results import ResultCodec

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping
    from typing import Literal

    from .claims import Hold
    from ..typing import Clock, DynamoDBClient

__all__ = ["IdempotencyStore", "fence_number", "idempotent"]

log = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

DEFAULT_LEASE = timedelta(minutes=15)
"""Where no Lambda context says how long the call may run: Lambda's own longest time.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html"""
ANSWER_MARGIN = timedelta(seconds=1)
"""What a call that waits keeps of Lambda's remaining time for answering."""

utc_now: Clock = partial(datetime.now, UTC)

_fence: contextvars.ContextVar[int | None] = contextvars.ContextVar("fence", default=None)


class IdempotencyStore:
    """A DynamoDB table of the calls that were made.

    Args:
        table: The table's name.
        ttl: How long a call is remembered: longer than any redelivery of its message.
        client: A low-level DynamoDB client; by default one is made on first use.
        partition_key, sort_key, key_prefix, ttl_attribute: What the table's attributes are called, all keys text, and
            what its partition key's values begin with. The sort key, where there is one, always holds ``idempotency``.
        lease: How long a call may run where no Lambda context says so.
        clock_margin: How far the clocks of two callers may be apart.
        clock: Tells the time.
        sleep, sleep_async, draw: Wait for seconds, and draw a number from 0 to 1: for calls that wait for another's
            result, and the jitter between their looks.

    It needs ``dynamodb:UpdateItem`` on the table, and ``dynamodb:GetItem`` where calls wait.
    """

    def __init__(
        self,
        table: str,
        *,
        ttl: timedelta = timedelta(days=8),
        client: DynamoDBClient | None = None,
        partition_key: str = "pk",
        sort_key: str | None = None,
        key_prefix: str = "",
        ttl_attribute: str = "expiresAt",
        lease: timedelta = DEFAULT_LEASE,
        clock_margin: timedelta = timedelta(seconds=1),
        clock: Clock = utc_now,
        sleep: Callable[[float], None] = time.sleep,
        sleep_async: Callable[[float], Awaitable[None]] = asyncio.sleep,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if not table:
            raise ValueError("table needs a name")
        for name, duration in (("ttl", ttl), ("lease", lease)):
            if duration <= timedelta(0):
                raise ValueError(f"{name}={duration} has to be longer than nothing")
        if ttl <= lease:
            raise ValueError(
                f"ttl={ttl} has to be longer than lease={lease}: a call must not be forgotten while it runs"
            )
        self.table = table
        self._place = Place(table, partition_key, sort_key, key_prefix, ttl_attribute)
        self._terms = Terms(self._place, ttl=ttl, margin=clock_margin)
        self._lease, self._own_lease = lease, self._terms.lease(lease)
        # The time in seconds: by default as `utc_now` has it, without making a datetime of it at each call.
        self._seconds: Callable[[], float] = time.time if clock is utc_now else lambda: clock().timestamp()
        self._clock = clock
        self._client: LazyClient[DynamoDBClient] = LazyClient("dynamodb", client)
        self._sleep = sleep
        self._sleep_async = sleep_async
        self._draw = draw

    @property
    def ttl(self) -> timedelta:
        return self._terms.ttl

    @property
    def lease(self) -> timedelta:
        return self._lease

    @property
    def clock_margin(self) -> timedelta:
        return self._terms.margin

    def claim(
        self, claim: Claim, lease: timedelta | None = None, *, on_expired_lease: OnExpiredLease = "rerun"
    ) -> Claimed | Replay:
        """Take the key: one conditional update.

        Returns:
            `Claimed` where this call now holds the key, or the `Replay` of the call that was made before.

        Raises:
            AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError, ResultError: The call must not run.
        """
        now = self._now()
        how_long = self._own_lease if lease is None else self._terms.lease(lease)
        take = self._terms.claim[on_expired_lease]
        try:
            record: Mapping[str, Any] = take(self._client().update_item, claim, now, how_long)["Attributes"]
        except ClientError as error:
            record = _met(error)
            if (replay := meet(claim, record, self._terms, now, on_expired_lease)) is not None:
                return replay
        return Claimed(fence_of(record))

    def look(self, claim: Claim, *, on_expired_lease: OnExpiredLease = "rerun") -> Replay | None:
        """Read the key's record: one consistent read.

        Returns:
            The `Replay` of the call that was made before, or None where the key may be claimed.

        Raises:
            AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError, ResultError: It may not.
        """
        record = self._client().get_item(**read_request(claim, self._place)).get("Item", {})
        return look(claim, record, self._terms, self._now(), on_expired_lease)

    def complete(self, claim: Hold, result: tuple[str, bool] | None) -> bool:
        """Store the result: its text, and whether the annotation reads it; None where it can't be stored.

        Returns:
            False where this call doesn't hold the key any more, and nothing was changed.
        """
        text, by_annotation = (None, False) if result is None else result
        return self._end(self._terms.complete, claim, self._now(), text, by_annotation)

    def fail(self, claim: Hold, failure: str) -> bool:
        """Store a permanent failure; False where this call doesn't hold the key any more, and nothing was changed."""
        return self._end(self._terms.fail, claim, self._now(), failure)

    def release(self, claim: Hold) -> bool:
        """Give the key back; False where this call doesn't hold it any more, and nothing was changed."""
        return self._end(self._terms.release, claim)

    def forget(self, key: str, *, token: str) -> bool:
        """Let a call whose outcome was unknown be made again: its effect, you found, did not take place.

        Args:
            key, token: The `UnknownOutcomeError`'s.

        Returns:
            False where the record isn't in progress with this token any more, and nothing was changed.
        """
        return self.release(Claim(key, token, ""))

    def resolve(self, key: str, result: object, *, token: str, function: Callable[..., Any] | None = None) -> bool:
        """Store by hand what a call whose outcome was unknown returned: its effect, you found, took place.

        Args:
            key, token: The `UnknownOutcomeError`'s.
            result: What duplicates are to get.
            function: The function, by whose return annotation the result is written; without it, it is plain JSON.

        Returns:
            False where the record isn't in progress with this token any more, and nothing was changed.

        Raises:
            ValueError: The result can't be stored; nothing was changed.
        """
        stored = ResultCodec(function or (lambda: None)).write(result)
        return self.complete(Claim(key, token, ""), stored)

    def _end(self, end: Callable[..., Any], claim: Hold, *how: object) -> bool:
        try:
            end(self._client().update_item, claim, *how)
        except ClientError as error:
            return has_ended_so(_met(error), end(dict, claim, *how))
        return True

    def _now(self) -> int:
        """The time, in milliseconds."""
        return int(self._seconds() * 1000)


def _met(error: ClientError) -> Mapping[str, Any]:
    """The record that a condition met; any other error is raised as it is."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error
    return cast("Mapping[str, Any]", error.response.get("Item", {}))


def fence_number() -> int:
    """The number of this hold on its key: larger than any earlier one's, whoever held it.

    Pass it on to the store that the function writes to, and let that refuse a smaller one than it has seen: then a call
    that outlived its lease can't overwrite what its successor wrote. It is the innermost idempotent call's, and seen in
    its own thread or task and the tasks that this starts.

    Raises:
        RuntimeError: No idempotent function is running here, or it runs without a key.

    Guarantee: it grows with each claim of a key, over releases and takeovers, however the callers' clocks differ.
    Limit: when the record was deleted by TTL it goes on from the time, so clocks must not differ by the store's ttl.
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
    key: str | Callable[..., str] | None = None,
    fingerprint: str | Callable[..., object] | None = None,
    scope: str | None = None,
    on_missing_key: Literal["raise", "run"] = "raise",
    on_duplicate: Callable[..., Any] | None = None,
    on_expired_lease: OnExpiredLease = "rerun",
    wait_for: timedelta | None = None,
    permanent: tuple[type[Exception], ...] = (),
) -> Callable[[Callable[Parameters, Returned]], Callable[Parameters, Returned]]:
    """Let a function, or a Lambda handler, act once per key.

    Args:
        store: Where the calls are remembered.
        key: What makes two calls one. By default the first argument is an event, parsed or not, and its id is the
            key; else a
            JMESPath expression into the first argument, or a function of the call's arguments.
        fingerprint: What must be equal in two calls with one key, or else the second is an error: a JMESPath expression
            into the first argument, or a function of the call's arguments. By default an event's type and data; an API
            request's method, path and body; of any other call all arguments but Lambda's context, as JSON.
        scope: Parts functions that share a store. By default the function's module and qualified name: renaming it
            then forgets its calls; give the old name here to keep them.
        on_missing_key: What becomes of a call without a key: ``raise``, or ``run`` it, each time it comes.
        on_duplicate: Called with the stored result and the call's arguments when a call was made before; what it
            returns is returned. By default the stored result is.
        on_expired_lease: What becomes of a call whose key was taken by one that never said how it ended, and whose
            lease is over: ``rerun`` it, or ``raise`` an `UnknownOutcomeError` until somebody has looked and told the
            store. With ``raise``, a function that was interrupted, or that failed on a request without an answer (a
            `TimeoutError` or `ConnectionError`, or what was raised from one), keeps its key too.
        wait_for: How long a call waits for the one that holds its key; by default not at all. Never longer than
            Lambda's remaining time allows, less a second.
        permanent: Exceptions after which another try is of no use: they are stored like results, and raised again for
            each duplicate. After any other the next call runs.

    Raises:
        TypeError: When decorating what can't be made idempotent: a generator, a class.
        MissingIdempotencyKeyError, AlreadyInProgressError, PayloadMismatchError, UnknownOutcomeError: When called; the
            function did not run.
        LeaseLostError, ResultError: When called; the function did run.
        PermanentFailureError: When called; the function failed for good before, with what can't be raised again.
        DecodeError: When called by default with what is no event.

    Guarantee: of calls with one key, one at a time holds the lease, and after one has returned within it none runs
    until the store's ttl is over. With ``on_expired_lease="raise"`` a call runs at most once per key until the ttl is
    over, unless it failed and said so. Limits: a function that outlives its lease (only possible where no Lambda
    context set it) may meet a second run, and then raises `LeaseLostError`; one whose process died before its result
    was stored runs again when the lease is over. Effects that must not repeat then belong into the dedup record's
    transaction, or behind a `fence_number`.
    """
    if on_expired_lease not in get_args(OnExpiredLease):
        raise ValueError(f"on_expired_lease={on_expired_lease!r} has to be 'rerun' or 'raise'")
    if wait_for is not None and wait_for <= timedelta(0):
        raise ValueError(f"wait_for={wait_for} has to be longer than nothing")
    for kind in cast("tuple[object, ...]", permanent):
        if not (isinstance(kind, type) and issubclass(kind, Exception)):
            raise TypeError(f"permanent={kind!r} has to be an exception's type, and one that derives from Exception")

    def decorate(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        refuse_unfit(function, "idempotent", allow_async=True)
        name = scope or name_of(function)
        if name is None:
            raise TypeError(
                "a lambda, a partial or a callable object has no name to remember its calls by; give scope="
            )
        codec = ResultCodec(function)
        claim_of = claim_maker(function, key=key, fingerprint=fingerprint, scope=name, on_missing_key=on_missing_key)
        terms, client, own_lease = store._terms, store._client, store._own_lease
        take, complete = terms.claim[on_expired_lease], terms.complete

        def attempt_of(claim: Hold, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Attempt:
            return _Attempt(store, Claim(*claim), on_expired_lease, wait_for, partial(time_left, args, kwargs))

        def replayed(claim: Hold, replay: Replay, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            if isinstance(replay, FailureReplay):
                raise read_failure(claim[0], replay.text, permanent)
            result = codec.read(*replay)
            return result if on_duplicate is None else on_duplicate(result, *args, **kwargs)

        def fail(claim: Hold, error: BaseException, before: BaseException | None) -> None:
            if isinstance(error, permanent):
                _store_failure(store, claim, error)
            elif on_expired_lease == "raise" and leaves_outcome_open(error, before):
                log.warning("%s stays held: whether its effect took place is not known (token %s)", *claim[:2])
            else:
                _release(store, claim)

        def store_result(update: Callable[..., Any], claim: Hold, result: object) -> None:
            try:
                text, by_annotation = codec.write(result)
            except ValueError as error:
                if not store.complete(claim, None):
                    raise LeaseLostError(claim[0], result) from error
                problem = f"its {type(result).__name__} can't be stored: {error}"
                raise ResultError(claim[0], f"the function ran and counts as done, but {problem}") from error
            now = store._now()
            try:
                complete(update, claim, now, text, by_annotation)
            except ClientError as error:
                if not has_ended_so(_met(error), complete(dict, claim, now, text, by_annotation)):
                    raise LeaseLostError(claim[0], result) from error

        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
                if (call := claim_of(args, kwargs)) is None:
                    with _fenced(None):
                        return await function(*args, **kwargs)
                claim, _ = call
                attempt = attempt_of(claim, args, kwargs)
                while not isinstance(told := await _step_unless_cancelled(store, attempt), (Claimed, Replay)):
                    await store._sleep_async(told)
                if isinstance(told, Replay):
                    answer = replayed(claim, told, args, kwargs)
                    return await answer if inspect.isawaitable(answer) else answer
                before = sys.exception()
                try:
                    with _fenced(told.fence):
                        result = await function(*args, **kwargs)
                except BaseException as error:
                    await _in_thread(fail, claim, error, before)
                    raise
                await _in_thread(store_result, client().update_item, claim, result)
                return result

            return cast("Callable[Parameters, Returned]", run_async)

        def wait(claim: Hold, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Claimed | Replay:
            """What the key's claim comes to, as soon as it comes to something."""
            attempt = attempt_of(claim, args, kwargs)
            while not isinstance(told := attempt.step(), (Claimed, Replay)):
                store._sleep(told)
            return told

        @wraps(function)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
            if (call := claim_of(args, kwargs)) is None:
                with _fenced(None):
                    return function(*args, **kwargs)
            claim, lease = call
            if wait_for is None:
                update = client().update_item
                now = store._now()
                how_long = own_lease if lease is None else terms.lease(lease)
                refused = False
                try:
                    record: Mapping[str, Any] = take(update, claim, now, how_long)["Attributes"]
                except ClientError as error:
                    record, refused = _met(error), True
                if refused:
                    if what_is_met(claim, record, terms, now) is DONE:  # as nearly each duplicate does
                        result = codec.read(record["result"]["S"], "resultByAnnotation" in record)
                        return result if on_duplicate is None else on_duplicate(result, *args, **kwargs)
                    if replay := meet(claim, record, terms, now, on_expired_lease):
                        return replayed(claim, replay, args, kwargs)
                fence = int(record["fence"]["N"])
            elif isinstance(told := wait(claim, args, kwargs), Replay):
                return replayed(claim, told, args, kwargs)
            else:
                update, fence = client().update_item, told.fence
            before = sys.exception()
            try:
                reset = _fence.set(fence)
                try:
                    result = function(*args, **kwargs)
                finally:
                    _fence.reset(reset)
                if type(result) not in JSON_TYPES:
                    refuse_awaitable(result, name)
            except BaseException as error:
                fail(claim, error, before)
                raise
            store_result(update, claim, result)
            return result

        return cast("Callable[Parameters, Returned]", run)

    return decorate


class _Attempt:
    """A call's way to its key: it claims it and, where another call holds it, looks again for as long as it may."""

    def __init__(
        self,
        store: IdempotencyStore,
        claim: Claim,
        on_expired_lease: OnExpiredLease,
        wait_for: timedelta | None,
        lease: Callable[[], timedelta | None],
    ) -> None:
        self.claim = claim
        self._store = store
        self._on_expired_lease: OnExpiredLease = on_expired_lease
        self._lease = lease
        self._until: datetime | None = None
        self._waits = 0
        if wait_for is not None:
            remaining = lease()
            allowed = wait_for if remaining is None else min(wait_for, remaining - ANSWER_MARGIN)
            self._until = store._clock() + allowed

    def step(self) -> Claimed | Replay | float:
        """Claim the key, or look whether it can be claimed by now.

        Returns:
            What `IdempotencyStore.claim` returns, or the seconds to wait before the next step.
        """
        try:
            if self._waits and (replay := self._store.look(self.claim, on_expired_lease=self._on_expired_lease)):
                return replay
            return self._store.claim(self.claim, self._lease(), on_expired_lease=self._on_expired_lease)
        except AlreadyInProgressError:
            left = 0.0 if self._until is None else (self._until - self._store._clock()).total_seconds()
            if left <= 0:
                raise
            wait = min(full_jitter(self._waits, draw=self._store._draw()), left)
            self._waits += 1
            return wait


async def _step_unless_cancelled(store: IdempotencyStore, attempt: _Attempt) -> Claimed | Replay | float:
    """One step in a thread; where the caller is cancelled meanwhile, a key that it took is given back."""
    step, cancelled = await _to_the_end(attempt.step)
    if cancelled is None:
        return step.result()
    if step.exception() is None and isinstance(step.result(), Claimed):
        await _to_the_end(partial(_release, store, attempt.claim))
    raise cancelled


async def _in_thread(function: Callable[..., Returned], *args: object) -> Returned:
    """Call in a thread; a cancellation is raised when the call is over."""
    work, cancelled = await _to_the_end(partial(function, *args))
    if cancelled is not None:
        raise cancelled from work.exception()
    return work.result()


async def _to_the_end(function: Callable[[], Returned]) -> tuple[asyncio.Future[Returned], BaseException | None]:
    """Call in a thread and wait until it is over, however often the caller is cancelled meanwhile.

    A future of the executor's, not a task: the end of the loop cancels tasks, and what a thread has begun goes on.
    """
    work = asyncio.get_running_loop().run_in_executor(None, contextvars.copy_context().run, function)
    cancelled: BaseException | None = None
    while not work.done():
        try:
            await asyncio.wait([work])
        except asyncio.CancelledError as error:
            cancelled = error
    return work, cancelled


def _release(store: IdempotencyStore, claim: Hold) -> None:
    """Give the key back after a failure, whose own exception is the one to be raised: the lease ends without us too."""
    try:
        store.release(claim)
    except Exception:
        log.exception("%s could not be released; it stays held until its lease is over", claim[0])


def _store_failure(store: IdempotencyStore, claim: Hold, failure: Exception) -> None:
    """Store a permanent failure, whose own exception is the one to be raised."""
    try:
        if not store.fail(claim, write_failure(failure)):
            log.warning("%s failed for good, but another call had taken its key; that is not stored", claim[0])
    except Exception:
        log.exception("%s failed for good, but that could not be stored; it stays held", claim[0])
