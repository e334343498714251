"""A function that is called twice with one message runs once."""

from __future__ import annotations

import asyncio
import gc
import sys
import weakref
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, IdempotencyStore, Key, idempotent, parse_event
from dynamo_outbox.consuming.claims import Claim, Claimed, Replay
from dynamo_outbox.consuming.keys import MAX_KEY_BYTES
from dynamo_outbox.consuming.results import StoredResult
from dynamo_outbox.errors import (
    AlreadyInProgressError,
    DecodeError,
    IdempotencyError,
    InvalidIdempotencyKeyError,
    LeaseLostError,
    MissingIdempotencyKeyError,
    PayloadMismatchError,
    ResultError,
)

from ..doubles import FakeClock, StubDynamoDB, client_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dynamo_outbox.testing import FakeDynamoDB

LEASE = timedelta(minutes=1)
MARGIN = timedelta(seconds=1)
TTL = timedelta(days=8)
CLAIM = Claim("catalogue#1", "token of the first", "fingerprint")
OTHER_CLAIM = CLAIM._replace(token="token of the second")
BOOK_ADDED = Event("BookAdded", {"name": "Team Topologies"}, id="01a207bd-aa3b-774b-9ac1-f03e77d21b9c")


@pytest.fixture
def store(dynamodb: FakeDynamoDB, create_table: Callable[..., None], clock: FakeClock) -> IdempotencyStore:
    create_table("handled", "pk")
    return store_over(dynamodb, clock)


def store_over(client: Any, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=client, lease=LEASE, clock_margin=MARGIN, ttl=TTL, clock=clock)


class Repeating:
    """Client that sends each request twice, as botocore does when the first response is lost."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        send = getattr(self._client, operation)

        def send_twice(**request: Any) -> Any:
            send(**request)
            return send(**request)

        return send_twice


class Context:
    """Lambda context with five seconds left."""

    def get_remaining_time_in_millis(self) -> int:
        return 5_000


class Calls:
    """Function that records its payloads and returns or raises a given outcome."""

    def __init__(self, outcome: Any = "done") -> None:
        self.payloads: list[Any] = []
        self.outcome = outcome

    def __call__(self, payload: Any) -> Any:
        self.payloads.append(payload)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def decorated(store: IdempotencyStore, calls: Calls, **options: Any) -> Callable[[Any], Any]:
    @idempotent(store, **{"scope": "handle", **options})
    def handle(payload: Any) -> Any:
        return calls(payload)

    return handle


def records(dynamodb: FakeDynamoDB) -> list[Mapping[str, Any]]:
    return list(dynamodb.scan(TableName="handled")["Items"])


@pytest.mark.parametrize("form", ["from_relay", "from_templated_pipe", "from_bare_pipe", "cloudevents"])
def test_an_event_is_handled_once_whichever_way_it_comes(
    store: IdempotencyStore, load_event: Callable[[str], dict[str, Any]], form: str
) -> None:
    """The key is the event's id and the fingerprint its content, so every form of delivery counts as the same event."""
    calls = Calls({"shelf": 7})
    handle = decorated(store, calls)
    first = load_event("eventbridge_from_relay")
    assert handle(first) == {"shelf": 7}
    again = load_event(f"eventbridge_{form}")
    assert handle(again) == handle(parse_event(again)) == {"shelf": 7}
    assert calls.payloads == [first]


@pytest.mark.parametrize("result", [None, {}, [], 0, False, "", 0.5, "text", {"a": [1, None]}])
def test_a_duplicate_gets_the_first_calls_result(store: IdempotencyStore, result: Any) -> None:
    """A result, even a falsy one, is replayed with the same value and type."""
    calls = Calls(result)
    handle = decorated(store, calls)
    for _ in range(2):
        returned = handle(BOOK_ADDED)
        assert (returned, type(returned)) == (result, type(result))
    assert len(calls.payloads) == 1


def test_what_a_duplicate_returns_can_be_chosen(store: IdempotencyStore) -> None:
    """`on_duplicate` is called with the stored result and the call's arguments, and its result is returned."""
    calls = Calls("first")
    handle = decorated(store, calls, on_duplicate=lambda result, event: f"{result}, again: {event.type}")
    assert [handle(BOOK_ADDED), handle(BOOK_ADDED)] == ["first", "first, again: BookAdded"]


def test_a_duplicate_is_answered_outside_of_the_refusal(store: IdempotencyStore) -> None:
    """An exception from `on_duplicate` does not have DynamoDB's refusal of the claim as its context."""

    def again(*_: object) -> str:
        raise ValueError(f"again, during {sys.exception()!r}")

    handle = decorated(store, Calls("first"), on_duplicate=again)
    handle(BOOK_ADDED)
    with pytest.raises(ValueError, match="again, during None") as caught:
        handle(BOOK_ADDED)
    assert caught.value.__context__ is None


def test_a_call_that_is_at_work_is_not_joined(store: IdempotencyStore) -> None:
    """While a call runs, a second call with its key is refused; the first call's result is stored."""

    @idempotent(store, scope="catalogue")
    def handle(event: Event) -> str:
        with pytest.raises(AlreadyInProgressError) as caught:
            handle(event)
        assert caught.value.key == f"call#catalogue##{event.id}"
        return "first"

    assert handle(BOOK_ADDED) == handle(BOOK_ADDED) == "first"


def test_a_key_with_another_payload_is_the_senders_mistake(store: IdempotencyStore) -> None:
    """A key that is used again with other content is refused, not answered with the first result."""
    calls = Calls()
    handle = decorated(store, calls)
    handle(BOOK_ADDED)
    for changes in ({"data": {"name": "Accelerate"}}, {"type": "BookRemoved"}):
        with pytest.raises(PayloadMismatchError):
            handle(BOOK_ADDED.replace(**changes))
    assert len(calls.payloads) == 1


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyboardInterrupt()])
def test_a_call_that_fails_gives_its_key_back(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, error: BaseException
) -> None:
    """The function's exception is raised unchanged, and the next delivery runs."""
    calls = Calls(error)
    handle = decorated(store, calls)
    with pytest.raises(type(error)):
        handle(BOOK_ADDED)
    assert [record["status"] for record in records(dynamodb)] == [{"S": "RELEASED"}]
    calls.outcome = "done"
    assert handle(BOOK_ADDED) == "done"


def test_a_release_that_fails_does_not_hide_the_functions_error(
    clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """If the key can't be released, the function's own exception is raised and the other one is logged."""

    class OneUpdate(StubDynamoDB):
        def update_item(self, **request: Any) -> Mapping[str, Any]:
            if self.calls:
                raise client_error("InternalServerError")
            return {**super().update_item(**request), "Attributes": {"fence": {"N": "1"}}}

    handle = decorated(store_over(OneUpdate(), clock), Calls(ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        handle(BOOK_ADDED)
    assert "could not be released" in caplog.text


@pytest.mark.parametrize(
    ("passed", "claimed"), [(LEASE + MARGIN, True), (LEASE + MARGIN - timedelta(milliseconds=1), False)]
)
def test_a_lease_runs_out_after_its_margin(
    store: IdempotencyStore, clock: FakeClock, passed: timedelta, *, claimed: bool
) -> None:
    """A vanished holder's key can be claimed once lease and margin have passed, and not before."""
    store.records.claim(CLAIM)
    clock.advance(passed)
    if claimed:
        assert isinstance(store.records.claim(OTHER_CLAIM), Claimed)
    else:
        with pytest.raises(AlreadyInProgressError):
            store.records.claim(OTHER_CLAIM)


@pytest.mark.parametrize(("args", "kwargs"), [([Context()], {}), ([], {"context": Context()})])
def test_a_lambda_call_holds_its_key_as_long_as_it_may_run(
    store: IdempotencyStore, clock: FakeClock, args: list[Any], kwargs: dict[str, Any]
) -> None:
    """The lease is the remaining time of Lambda's context, at any position among the arguments."""

    @idempotent(store, scope="catalogue")
    def handle(event: Event, *_: Any, **__: Any) -> bool:
        clock.advance(timedelta(seconds=5) + MARGIN)
        second = Claim(f"call#catalogue##{event.id}", "token", "another fingerprint")  # allowed: the lease has expired
        return isinstance(store.records.claim(second), Claimed)

    with pytest.raises(LeaseLostError) as caught:
        handle(BOOK_ADDED, *args, **kwargs)
    assert caught.value.result is True
    with pytest.raises(PayloadMismatchError):
        handle(BOOK_ADDED)


def test_a_late_holder_overwrites_and_releases_nothing(store: IdempotencyStore, clock: FakeClock) -> None:
    """A holder whose lease was taken over can't change its successor's claim or result."""
    store.records.claim(CLAIM)
    clock.advance(LEASE + MARGIN)
    store.records.claim(OTHER_CLAIM)
    assert store.records.complete(CLAIM, StoredResult('"late"', "json")) is False
    store.records.release(CLAIM)
    with pytest.raises(AlreadyInProgressError):
        store.records.claim(CLAIM._replace(token="third"))
    assert store.records.complete(OTHER_CLAIM, StoredResult('"second"', "json")) is True
    assert store.records.complete(CLAIM, StoredResult('"late"', "json")) is False
    store.records.release(CLAIM)
    assert store.records.claim(CLAIM) == Replay('"second"', "json")


def test_a_call_is_forgotten_after_the_time_to_live(store: IdempotencyStore, clock: FakeClock) -> None:
    """The result is kept for the ttl after completion and no longer, whether or not TTL has deleted the item."""
    calls = Calls()
    handle = decorated(store, calls)
    handle(BOOK_ADDED)
    clock.advance(TTL - timedelta(seconds=1))
    handle(BOOK_ADDED)
    assert len(calls.payloads) == 1
    clock.advance(timedelta(seconds=1))
    handle(BOOK_ADDED)
    assert len(calls.payloads) == 2


@pytest.mark.usefixtures("store")
def test_lost_answers_are_recognised_as_ones_own(dynamodb: FakeDynamoDB, clock: FakeClock) -> None:
    """A claim, completion or release whose response was lost is recognised as the caller's own."""
    calls = Calls()
    handle = decorated(store_over(Repeating(dynamodb), clock), calls)
    assert [handle(BOOK_ADDED), handle(BOOK_ADDED)] == ["done", "done"]
    assert len(calls.payloads) == 1
    calls.outcome = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        handle(BOOK_ADDED.replace(id="2"))
    assert sorted(record["status"]["S"] for record in records(dynamodb)) == ["COMPLETED", "RELEASED"]


@pytest.mark.parametrize("result", [object(), {1, 2}, "x" * 420_000], ids=["no JSON", "a set", "too large"])
def test_a_result_that_cannot_be_stored_does_not_repeat_the_effect(
    store: IdempotencyStore, clock: FakeClock, result: Any
) -> None:
    """The call counts as made: it raises ResultError, and so does each duplicate, even after the lease has expired."""
    calls = Calls(result)
    handle = decorated(store, calls)
    for _ in range(2):
        with pytest.raises(ResultError):
            handle(BOOK_ADDED)
        clock.advance(LEASE + MARGIN)
    assert len(calls.payloads) == 1


@pytest.mark.parametrize("attempt", ["claim", "complete", "release"])
def test_another_error_of_dynamodb_is_raised_as_it_is(clock: FakeClock, attempt: str) -> None:
    """Only a failed condition means that the key is held; any other error of botocore is raised unchanged."""
    refused = client_error("ProvisionedThroughputExceededException")
    store = store_over(StubDynamoDB(refused), clock)
    arguments = (CLAIM, StoredResult('"result"', "json")) if attempt == "complete" else (CLAIM,)
    with pytest.raises(type(refused)) as caught:
        getattr(store.records, attempt)(*arguments)
    assert caught.value is refused


def test_an_async_function_acts_once(store: IdempotencyStore) -> None:
    """A coroutine function is awaited; its result is stored and replayed."""
    calls = Calls("done")

    @idempotent(store, scope="handle")
    async def handle(event: Event) -> Any:
        await asyncio.sleep(0)
        return calls(event)

    assert [asyncio.run(handle(BOOK_ADDED)), asyncio.run(handle(BOOK_ADDED))] == ["done", "done"]
    assert len(calls.payloads) == 1


def test_an_async_function_that_fails_gives_its_key_back(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """A coroutine's exception, including its cancellation, releases the key."""

    @idempotent(store, scope="handle")
    async def handle(_: Event) -> None:
        raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(handle(BOOK_ADDED))
    assert [record["status"] for record in records(dynamodb)] == [{"S": "RELEASED"}]


async def async_generator() -> Any:
    yield 1


@pytest.mark.parametrize("target", [lambda: (yield), async_generator, Calls])
def test_what_cannot_be_replayed_is_refused_when_decorated(clock: FakeClock, target: Any) -> None:
    """A generator or a class is refused, because its values or instances can't be stored."""
    with pytest.raises(TypeError, match="can't be idempotent"):
        idempotent(store_over(StubDynamoDB(), clock), scope="call")(target)


@pytest.mark.parametrize(
    ("key", "stored"),
    [("order.id", "=7"), ("order.number", "=0"), (lambda payload: f"order {payload['order']['id']}", "order 7")],
)
def test_a_key_is_found_by_an_expression_or_a_function(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, key: Any, stored: str
) -> None:
    """A JMESPath expression on the first argument, or a function of the arguments, gives the key within its scope."""
    handle = decorated(store, Calls(), key=key, scope="orders")
    handle({"order": {"id": 7, "number": 0}})
    assert [record["pk"] for record in records(dynamodb)] == [{"S": f"call#orders#{stored}"}]


@pytest.mark.parametrize("key", ["order.id", "order.note", lambda _: None, lambda _: ""])
def test_a_missing_key_is_an_error(clock: FakeClock, key: Any) -> None:
    """A payload without a key is refused before a request is sent or the function is called."""
    client, calls = StubDynamoDB(), Calls()
    with pytest.raises(MissingIdempotencyKeyError):
        decorated(store_over(client, clock), calls, key=key)({"order": {"note": ""}})
    assert (client.calls, calls.payloads) == ([], [])


def test_without_a_key_the_payload_is_an_event(clock: FakeClock) -> None:
    """By default, a payload that is not an event raises DecodeError."""
    with pytest.raises(DecodeError):
        decorated(store_over(StubDynamoDB(), clock), Calls())({"order": 7})


def test_a_fingerprint_of_ones_own_decides_what_is_the_same(store: IdempotencyStore) -> None:
    """Two payloads with the same key and custom fingerprint are one call, even if everything else differs."""
    calls = Calls()
    handle = decorated(store, calls, key=Key("id", fingerprint=lambda payload: payload["amount"]))
    handle({"id": "1", "amount": 5, "sent": "09:30"})
    handle({"id": "1", "amount": 5, "sent": "09:31"})
    with pytest.raises(PayloadMismatchError):
        handle({"id": "1", "amount": 6})
    assert len(calls.payloads) == 1


def test_functions_that_share_a_store_do_not_share_keys(store: IdempotencyStore) -> None:
    """A key is valid within its scope; two functions with one scope share their results."""

    def catalogue(_: Event) -> str:
        return "catalogue"

    def search(_: Event) -> str:
        return "search"

    apart = [idempotent(store, scope=each.__name__)(each)(BOOK_ADDED) for each in (catalogue, search)]
    assert apart == ["catalogue", "search"]
    together = [idempotent(store, scope="one")(function)(BOOK_ADDED) for function in (catalogue, search)]
    assert together == ["catalogue", "catalogue"]


def test_a_record_says_what_ttl_needs(store: IdempotencyStore, dynamodb: FakeDynamoDB, clock: FakeClock) -> None:
    """A completed call's record holds its result, and expires one ttl after completion."""
    decorated(store, Calls({"shelf": 7}), scope="catalogue")(BOOK_ADDED)
    (record,) = records(dynamodb)
    assert (record["status"], record["result"]) == ({"S": "COMPLETED"}, {"S": '{"shelf": 7}'})
    assert record["expiresAt"] == {"N": str(int((clock.now() + TTL).timestamp()))}


@pytest.mark.parametrize("arguments", [{"table": ""}, {"ttl": timedelta(0)}, {"lease": timedelta(seconds=-1)}])
def test_a_setting_that_cannot_work_is_refused(arguments: dict[str, Any]) -> None:
    """A store refuses an empty table name, and a duration that is not positive."""
    with pytest.raises(ValueError, match=next(iter(arguments))):
        IdempotencyStore(**{"table": "handled", **arguments})


def test_every_refusal_is_an_idempotency_error() -> None:
    """Every refusal is a subclass of IdempotencyError."""
    refusals = (AlreadyInProgressError, PayloadMismatchError, LeaseLostError, MissingIdempotencyKeyError, ResultError)
    assert all(issubclass(each, IdempotencyError) for each in refusals)


@pytest.mark.parametrize("name", ["ttl", "lease", "clock_margin"])
def test_a_stores_durations_stay_as_they_were_made(name: str) -> None:
    """A store's durations are read-only, so that a claim and the check of its refusal use the same values."""
    store = IdempotencyStore("handled", lease=timedelta(minutes=1), clock_margin=timedelta(seconds=2))
    durations = {"ttl": timedelta(days=8), "lease": timedelta(minutes=1), "clock_margin": timedelta(seconds=2)}
    assert getattr(store, name) == durations[name]
    with pytest.raises(AttributeError):
        setattr(store, name, timedelta(hours=1))


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_a_functions_exception_keeps_its_context(store: IdempotencyStore, *, is_async: bool) -> None:
    """The function's exception keeps its own context, even if the caller is handling another exception."""

    def fail(_: Event) -> None:
        try:
            raise TimeoutError
        except TimeoutError:
            raise ZeroDivisionError  # noqa: B904  # on purpose: the context is tested

    @idempotent(store, scope="async")
    async def fail_async(event: Event) -> None:
        fail(event)

    async def call() -> None:
        try:
            raise KeyError
        except KeyError:
            if is_async:
                await fail_async(BOOK_ADDED)
            else:
                idempotent(store, scope="plain")(fail)(BOOK_ADDED)

    async def context() -> BaseException | None:
        try:
            await call()
        except ZeroDivisionError as error:
            return error.__context__
        return None

    assert isinstance(asyncio.run(context()), TimeoutError)


def test_a_long_event_id_is_a_key(store: IdempotencyStore) -> None:
    """An event's id is a key up to DynamoDB's limit; a longer one is an error, even with `on_missing_key="run"`."""
    calls = Calls("done")
    handle = idempotent(store, scope="s", on_missing_key="run")(calls)
    event = BOOK_ADDED.replace(id="x" * (MAX_KEY_BYTES - len("call#s##")))
    assert [handle(event), handle(event)] == ["done", "done"]
    with pytest.raises(InvalidIdempotencyKeyError, match="the event gives a key of 1,985 bytes, and 1,984 fit"):
        handle(event.replace(id=f"{event.id}x"))
    assert len(calls.payloads) == 1


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_a_stop_iteration_of_the_callers_functions_stays_one(store: IdempotencyStore, *, is_async: bool) -> None:
    """A `StopIteration` from `key=` is raised unchanged; in a coroutine Python turns it into a `RuntimeError`."""

    def handle(_: Any) -> None: ...

    async def handle_async(_: Any) -> None: ...

    def key(_: Any) -> str:
        return next(iter(()))

    if is_async:
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            asyncio.run(idempotent(store, scope="s", key=key)(handle_async)(BOOK_ADDED))
    else:
        with pytest.raises(StopIteration):
            idempotent(store, scope="s", key=key)(handle)(BOOK_ADDED)


def test_a_stop_iteration_for_a_duplicate_stays_one(store: IdempotencyStore) -> None:
    """A `StopIteration` from `on_duplicate` is raised unchanged."""
    handle = idempotent(store, scope="s", on_duplicate=lambda *_: next(iter(())))(Calls("done"))
    handle(BOOK_ADDED)
    with pytest.raises(StopIteration):
        handle(BOOK_ADDED)


def test_an_exception_is_freed_with_its_last_reference(store: IdempotencyStore) -> None:
    """No reference cycle keeps a function's exception and its traceback alive until the garbage collector runs."""

    @idempotent(store, scope="s")
    def fail(_: Event) -> None:
        raise FailedError

    gc.disable()
    try:
        with pytest.raises(FailedError) as caught:
            fail(BOOK_ADDED)
        error = weakref.ref(caught.value)
        del caught
        assert error() is None
    finally:
        gc.enable()


class FailedError(Exception):
    """Exception that a function raises."""


def test_an_interrupted_release_shows_the_functions_exception(clock: FakeClock) -> None:
    """If releasing the key is interrupted, the interruption has the function's exception as its context."""

    class OneUpdate(StubDynamoDB):
        def update_item(self, **request: Any) -> Mapping[str, Any]:
            if self.calls:
                raise KeyboardInterrupt
            return {**super().update_item(**request), "Attributes": {"fence": {"N": "1"}}}

    with pytest.raises(KeyboardInterrupt) as caught:
        decorated(store_over(OneUpdate(), clock), Calls(FailedError()))(BOOK_ADDED)
    assert isinstance(caught.value.__context__, FailedError)
