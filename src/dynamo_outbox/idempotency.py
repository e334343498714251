"""A function that is called twice with one message acts once: `idempotent`, and the table behind it."""

from __future__ import annotations

import asyncio
import dataclasses
import inspect
import logging
import secrets
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import wraps
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Literal, ParamSpec, TypeVar, cast

from botocore.exceptions import ClientError

from .clients import LazyClient
from .core.claims import Claim, Place, Replay, claim_request, completion_request, meet, release_request
from .core.envelope import parse_event
from .core.json_text import canonical
from .errors import DecodeError, LeaseLostError, MissingIdempotencyKeyError, ResultError
from .event import Event
from .functions import is_method, name_of, refuse_awaitable, refuse_unfit, remaining_time
from .results import ResultCodec, StoredResult

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .typing import Clock, DynamoDBClient

__all__ = ["IdempotencyStore", "idempotent"]

log = logging.getLogger(__name__)

Parameters = ParamSpec("Parameters")
Returned = TypeVar("Returned")

MAX_KEY_BYTES = 2048 - 64
"""A partition key's limit, less room for a store's prefix.
https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html"""
DEFAULT_LEASE = timedelta(minutes=15)
"""Where no Lambda context says how long the call may run: Lambda's own longest time.
https://docs.aws.amazon.com/lambda/latest/dg/configuration-timeout.html"""


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
        clock: Clock = lambda: datetime.now(UTC),
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
        self.ttl = ttl
        self._place = Place(table, partition_key, sort_key, key_prefix, ttl_attribute)
        self.lease = lease
        self.clock_margin = clock_margin
        self._clock = clock
        self._client: LazyClient[DynamoDBClient] = LazyClient("dynamodb", client)

    def claim(self, claim: Claim, lease: timedelta | None = None) -> Replay | None:
        """Take the key: one conditional put.

        Returns:
            None where this call now holds the key, or the `Replay` of the call that was made before.

        Raises:
            AlreadyInProgressError, PayloadMismatchError, ResultError: The call must not run.
        """
        now = self._clock()
        request = claim_request(
            claim,
            self._place,
            now=now,
            lease=self.lease if lease is None else lease,
            margin=self.clock_margin,
            ttl=self.ttl,
        )
        try:
            self._client().put_item(**request)
        except ClientError as error:
            if not _condition_failed(error):
                raise
            record = cast("Mapping[str, Any]", error.response.get("Item", {}))
            ttl_attribute = self._place.ttl_attribute
            return meet(claim, record, ttl_attribute=ttl_attribute, now=now, margin=self.clock_margin)
        return None

    def complete(self, claim: Claim, result: StoredResult | None) -> bool:
        """Store the result; False where somebody else holds the key by now, and nothing was changed."""
        request = completion_request(claim, self._place, result=result, now=self._clock(), ttl=self.ttl)
        try:
            self._client().update_item(**request)
        except ClientError as error:
            if not _condition_failed(error):
                raise
            return False
        return True

    def release(self, claim: Claim) -> None:
        """Give the key back. Where it is gone or another's, there is nothing to give back."""
        request = release_request(claim, self._place)
        try:
            self._client().delete_item(**request)
        except ClientError as error:
            if not _condition_failed(error):
                raise


def _condition_failed(error: ClientError) -> bool:
    return error.response["Error"]["Code"] == "ConditionalCheckFailedException"


def idempotent(
    store: IdempotencyStore,
    *,
    key: str | Callable[..., str] | None = None,
    fingerprint: str | Callable[..., object] | None = None,
    scope: str | None = None,
    on_missing_key: Literal["raise", "run"] = "raise",
    on_duplicate: Callable[..., Any] | None = None,
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

    Raises:
        TypeError: When decorating what can't be made idempotent: a generator, a class.
        MissingIdempotencyKeyError, AlreadyInProgressError, PayloadMismatchError: When called; the function did not run.
        LeaseLostError, ResultError: When called; the function did run.
        DecodeError: When called by default with what is no event.

    Guarantee: of calls with one key, one at a time holds the lease, and after one has returned within it none runs
    until the store's ttl is over. Limits: a function that outlives its lease (only possible where no Lambda context set
    it) may meet a second run, and then raises `LeaseLostError`; one whose process died before its result was stored
    runs again when the lease is over. Effects that must not repeat then belong into the dedup record's transaction.
    """

    def decorate(function: Callable[Parameters, Returned]) -> Callable[Parameters, Returned]:
        refuse_unfit(function, "idempotent", allow_async=True)
        name = scope or name_of(function)
        if name is None:
            raise TypeError(
                "a lambda, a partial or a callable object has no name to remember its calls by; give scope="
            )
        codec = ResultCodec(function)
        signature = inspect.signature(function)
        skipped = 1 if is_method(function) else 0

        def claim_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Claim | None:
            bound = signature.bind(*args, **kwargs)
            arguments = dict(list(bound.arguments.items())[skipped:])
            try:
                identity = _identify(key, arguments, args[skipped:], kwargs, name)
            except MissingIdempotencyKeyError:
                if on_missing_key == "run":
                    return None
                raise
            content = _content(fingerprint, arguments, args[skipped:], kwargs)
            return Claim(f"{name}#{identity}", secrets.token_hex(16), sha256(canonical(content).encode()).hexdigest())

        def replayed(replay: Replay, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            result = codec.read(StoredResult(*replay))
            return result if on_duplicate is None else on_duplicate(result, *args, **kwargs)

        def keep(claim: Claim, result: object) -> None:
            _store_result(store, codec, claim, result)

        if inspect.iscoroutinefunction(function):

            @wraps(function)
            async def run_async(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Any:
                claim = claim_of(args, kwargs)
                if claim is None:
                    return await function(*args, **kwargs)
                replay = await _claim_unless_cancelled(store, claim, _lease_of(args, kwargs))
                if replay is not None:
                    told = replayed(replay, args, kwargs)
                    return await told if inspect.isawaitable(told) else told
                try:
                    result = await function(*args, **kwargs)
                except BaseException:
                    await asyncio.to_thread(_release, store, claim)
                    raise
                await asyncio.to_thread(keep, claim, result)
                return result

            return cast("Callable[Parameters, Returned]", run_async)

        @wraps(function)
        def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Returned:
            claim = claim_of(args, kwargs)
            if claim is None:
                return function(*args, **kwargs)
            replay = store.claim(claim, _lease_of(args, kwargs))
            if replay is not None:
                return cast("Returned", replayed(replay, args, kwargs))
            try:
                result = function(*args, **kwargs)
                refuse_awaitable(result, name)
            except BaseException:
                _release(store, claim)
                raise
            keep(claim, result)
            return result

        return run

    return decorate


async def _claim_unless_cancelled(store: IdempotencyStore, claim: Claim, lease: timedelta | None) -> Replay | None:
    """Take the key in a thread; where the caller is cancelled meanwhile, give it back."""
    claiming = asyncio.ensure_future(asyncio.to_thread(store.claim, claim, lease))
    try:
        return await asyncio.shield(claiming)
    except asyncio.CancelledError:
        with suppress(Exception):
            if await claiming is None:
                await asyncio.to_thread(_release, store, claim)
        raise


def _identify(
    key: str | Callable[..., str] | None,
    arguments: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    scope: str,
) -> str:
    """The call's key."""
    payload = next(iter(arguments.values()), None)
    if key is None:
        return payload.id if isinstance(payload, Event) else parse_event(payload).id
    found: object = key(*args, **kwargs) if callable(key) else _search(key, payload)
    where = repr(key) if isinstance(key, str) else "the key function"
    if found is None or found == "":
        raise MissingIdempotencyKeyError(scope, f"{where} finds no idempotency key in the payload")
    if not isinstance(found, (str, int, Decimal)) or isinstance(found, bool):
        raise MissingIdempotencyKeyError(scope, f"{where} finds {found!r}, and a key is text or a whole number")
    identity = str(found)
    if len(f"{scope}#{identity}".encode()) > MAX_KEY_BYTES:
        raise MissingIdempotencyKeyError(scope, f"{where} finds a key of {len(identity):,} characters; give a digest")
    return identity


def _content(
    fingerprint: str | Callable[..., object] | None,
    arguments: dict[str, Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> object:
    """What two calls with one key must have in common; never the envelope, which differs from delivery to delivery."""
    payload = next(iter(arguments.values()), None)
    if fingerprint is not None:
        return fingerprint(*args, **kwargs) if callable(fingerprint) else _search(fingerprint, payload)
    if isinstance(payload, Event):
        return [payload.type, payload.data]
    if isinstance(payload, dict) and isinstance(context := payload.get("requestContext"), dict):
        http = context.get("http", payload)  # the payload's version 2.0 has it there, 1.0 in the request itself
        method = http.get("method", payload.get("httpMethod"))
        return [method, payload.get("rawPath", payload.get("path")), payload.get("body")]
    with suppress(DecodeError):
        event = parse_event(payload)
        return [event.type, event.data]
    contexts = [name for name, value in arguments.items() if hasattr(value, "get_remaining_time_in_millis")]
    return {name: _plain(value) for name, value in arguments.items() if name not in contexts}


def _search(expression: str, payload: object) -> object:
    import jmespath

    found: object = jmespath.search(expression, payload)
    return found


def _plain(value: Any) -> object:
    """A value as JSON, for its fingerprint: a pydantic model or a dataclass by its fields."""
    if hasattr(type(value), "model_dump"):
        return value.model_dump(mode="json")
    return dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value


def _lease_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> timedelta | None:
    """How long this call may still run, where a Lambda context among its arguments says so."""
    return next((time for each in (*args, *kwargs.values()) if (time := remaining_time(each)) is not None), None)


def _release(store: IdempotencyStore, claim: Claim) -> None:
    """Give the key back after a failure, whose own exception is the one to be raised: the lease ends without us too."""
    try:
        store.release(claim)
    except Exception:
        log.exception("%s could not be released; it stays held until its lease is over", claim.key)


def _store_result(store: IdempotencyStore, codec: ResultCodec, claim: Claim, result: object) -> None:
    try:
        stored = codec.write(result)
    except ValueError as error:
        if not store.complete(claim, None):
            raise LeaseLostError(claim.key, result) from error
        raise ResultError(
            claim.key, f"the function ran and counts as done, but its {type(result).__name__} can't be stored: {error}"
        ) from error
    if not store.complete(claim, stored):
        raise LeaseLostError(claim.key, result)
