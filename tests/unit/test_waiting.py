"""Calls that wait for another call with the same key."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from typing_extensions import override

from dynamo_outbox import Event, IdempotencyStore, idempotent
from dynamo_outbox.consuming.claims import Claim, Claimed
from dynamo_outbox.consuming.results import StoredResult
from dynamo_outbox.errors import AlreadyInProgressError, PayloadMismatchError, ResultError, UnknownOutcomeError

from ..doubles import FakeClock
from ..doubles import fake_dynamodb as new_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

SECOND = timedelta(seconds=1)
LEASE, MARGIN = 60 * SECOND, SECOND
EVENT = Event("OrderPlaced", {"total": 5}, id="7")
DONE = StoredResult('"the first one\'s"', "json")


class BusyClock(FakeClock):
    """A clock that lets other callers act while a call sleeps.

    Attributes:
        meanwhile: Functions to run at the end of a sleep, by the number of sleeps so far.
    """

    def __init__(self) -> None:
        super().__init__()
        self.meanwhile: dict[int, Callable[[], object]] = {}

    @override
    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        self.meanwhile.get(len(self.slept), lambda: None)()

    @override
    async def sleep_async(self, seconds: float) -> None:
        await asyncio.sleep(0)
        self.sleep(seconds)


class World:
    """A table, a clock that advances while a call waits, and a record of the requests made."""

    def __init__(self) -> None:
        self.clock = BusyClock()
        self.meanwhile = self.clock.meanwhile
        self.dynamodb = new_dynamodb({"handled": ["pk"]}, self.clock)
        self.requests: list[str] = []
        self.store = IdempotencyStore(
            "handled",
            client=self,  # forwards the requests that it records
            lease=LEASE,
            clock_margin=MARGIN,
            clock=self.clock,
        )
        self.ran = 0
        self.first = self.claim_of_the_first()

    def __getattr__(self, operation: str) -> Any:
        self.requests.append(operation)
        return getattr(self.dynamodb, operation)

    @property
    def waits(self) -> list[float]:
        return self.clock.slept

    def claim_of_the_first(self) -> Claim:
        """Return the first caller's claim, with the event's fingerprint."""
        self.handler()(EVENT)
        (record,) = self.dynamodb.scan(TableName="handled")["Items"]
        self.dynamodb.delete_item(TableName="handled", Key={"pk": {"S": "call#charge##7"}})
        self.ran = 0
        first = Claim("call#charge##7", "the first one's", record["fingerprint"]["S"])
        assert isinstance(self.store.records.claim(first), Claimed)
        self.requests.clear()
        return first

    def handler(self, **options: Any) -> Callable[..., str]:
        @idempotent(self.store, scope="charge", **options)
        def handle(_: Event, __: Any = None) -> str:
            self.ran += 1
            return "the second one's"

        return handle

    def call(self, *args: Any, is_async: bool = False, **options: Any) -> str:
        if not is_async:
            return self.handler(**options)(*args)

        @idempotent(self.store, scope="charge", **options)
        async def handle(_: Event, __: Any = None) -> str:
            self.ran += 1
            return "the second one's"

        return asyncio.run(handle(*args))


@pytest.fixture
def world() -> World:
    return World()


both = pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])


def test_by_default_nobody_waits(world: World) -> None:
    """By default a duplicate of a call in progress is refused after one request, without a wait."""
    with pytest.raises(AlreadyInProgressError):
        world.call(EVENT)
    assert (world.waits, world.requests) == ([], ["update_item"])


@both
def test_a_call_gets_the_result_that_it_waited_for(world: World, *, is_async: bool) -> None:
    """A waiting call reads the record with growing pauses and returns the first caller's result without running."""
    world.meanwhile[3] = lambda: world.store.records.complete(world.first, DONE)
    assert world.call(EVENT, wait_for=10 * SECOND, is_async=is_async) == "the first one's"
    assert (world.waits, world.ran) == ([0.05, 0.1, 0.2], 0)
    assert world.requests == ["update_item", "get_item", "get_item", "update_item", "get_item"]


@both
def test_a_wait_ends(world: World, *, is_async: bool) -> None:
    """After `wait_for` the call is refused."""
    began = world.clock.now()
    with pytest.raises(AlreadyInProgressError):
        world.call(EVENT, wait_for=5 * SECOND, is_async=is_async)
    assert world.clock.now() - began == 5 * SECOND
    assert max(world.waits) <= 2.0
    assert world.ran == 0


@both
def test_a_key_that_is_given_back_meanwhile_is_taken(world: World, *, is_async: bool) -> None:
    """If the first caller releases the key, the waiting call runs."""
    world.meanwhile[2] = lambda: world.store.records.release(world.first)
    assert world.call(EVENT, wait_for=10 * SECOND, is_async=is_async) == "the second one's"
    assert (world.ran, len(world.waits)) == (1, 2)


def test_of_two_that_wait_one_runs(world: World) -> None:
    """If another caller takes the released key, the call continues to wait."""
    third = world.first._replace(token="third")

    def overtaken() -> None:
        world.store.records.release(world.first)
        get_item = world.dynamodb.get_item

        def read_and_lose(**request: Any) -> Any:
            response = get_item(**request)
            world.dynamodb.get_item = get_item  # type: ignore[method-assign]  # once
            assert isinstance(world.store.records.claim(third), Claimed)
            return response

        world.dynamodb.get_item = read_and_lose  # type: ignore[method-assign]  # another caller is faster

    world.meanwhile[1] = overtaken
    world.meanwhile[3] = lambda: world.store.records.complete(third, DONE)
    assert world.call(EVENT, wait_for=10 * SECOND) == "the first one's"
    assert (world.ran, len(world.waits)) == (0, 3)


@both
def test_a_lease_that_ends_meanwhile_is_as_the_policy_says(world: World, *, is_async: bool) -> None:
    """A call that waits beyond the holder's lease runs or raises UnknownOutcomeError, according to the policy."""
    with pytest.raises(UnknownOutcomeError):
        world.call(EVENT, wait_for=2 * LEASE, on_expired_lease="raise", is_async=is_async)
    assert world.ran == 0
    world = World()
    assert world.call(EVENT, wait_for=2 * LEASE, is_async=is_async) == "the second one's"
    assert world.ran == 1


def test_what_is_met_after_a_wait_ends_as_without_one(world: World) -> None:
    """A missing result and another payload raise the same errors after a wait as without one."""
    world.meanwhile[1] = lambda: world.store.records.complete(world.first, None)
    with pytest.raises(ResultError):
        world.call(EVENT, wait_for=10 * SECOND)
    world = World()

    def another() -> None:
        world.store.records.release(world.first)
        world.store.records.claim(world.first._replace(fingerprint="another", token="third"))

    world.meanwhile[1] = another
    with pytest.raises(PayloadMismatchError):
        world.call(EVENT, wait_for=10 * SECOND)


class Context:
    """A Lambda context whose remaining time follows a clock."""

    def __init__(self, clock: FakeClock, left: timedelta) -> None:
        self._clock = clock
        self._end = clock.now() + left

    def get_remaining_time_in_millis(self) -> int:
        return int((self._end - self._clock.now()) / timedelta(milliseconds=1))


@both
@pytest.mark.parametrize(("left", "waited"), [(4 * SECOND, 3 * SECOND), (SECOND, 0 * SECOND), (SECOND / 2, 0 * SECOND)])
def test_a_wait_leaves_lambda_time_to_answer(
    world: World, left: timedelta, waited: timedelta, *, is_async: bool
) -> None:
    """A wait ends one second before Lambda's time is up, even if `wait_for` is longer."""
    began = world.clock.now()
    with pytest.raises(AlreadyInProgressError):
        world.call(EVENT, Context(world.clock, left), wait_for=30 * SECOND, is_async=is_async)
    assert world.clock.now() - began == waited


def test_a_call_that_waited_holds_its_key_for_the_time_that_is_left(world: World) -> None:
    """After a wait, the lease is Lambda's remaining time when the key is taken."""
    context = Context(world.clock, 20 * SECOND)
    world.meanwhile[6] = lambda: world.store.records.release(world.first)
    taken: list[dict[str, Any]] = []

    @idempotent(world.store, scope="charge", wait_for=10 * SECOND)
    def handle(_: Event, __: Any) -> None:
        taken.extend(world.dynamodb.scan(TableName="handled")["Items"])

    handle(EVENT, context)
    assert int(taken[0]["leaseExpiresAt"]["N"]) == int(context._end.timestamp() * 1000)


def test_coroutines_wait_side_by_side(world: World) -> None:
    """Waiting does not block the event loop, so the holder can finish in the same loop."""

    @idempotent(world.store, key="id", scope="wait", wait_for=30 * SECOND)
    async def handle(_: dict[str, Any]) -> str:
        world.ran += 1
        await finish.wait()
        return "done"

    async def all_of_them() -> list[str]:
        calls = [asyncio.create_task(handle({"id": 1})) for _ in range(5)]
        while len(world.waits) < 8:
            await asyncio.sleep(0)
        finish.set()
        return [*await asyncio.gather(*calls)]

    finish = asyncio.Event()
    assert asyncio.run(all_of_them()) == ["done"] * 5
    assert world.ran == 1


@pytest.mark.parametrize("times", [1, 3])
def test_a_call_that_is_cancelled_while_it_waits_leaks_no_claim(world: World, times: int) -> None:
    """A call that is cancelled while it takes the key after a wait releases the key."""
    begun, go_on = threading.Event(), threading.Event()
    world.meanwhile[1] = lambda: world.store.records.release(world.first)
    update_item = world.dynamodb.update_item

    def slow_second_claim(**request: Any) -> Any:
        is_claim = ":leaseExpiresAt" in request["ExpressionAttributeValues"]
        if is_claim and world.waits:
            begun.set()
            assert go_on.wait(timeout=30)
        return update_item(**request)

    world.dynamodb.update_item = slow_second_claim  # type: ignore[method-assign]  # to be cancelled within

    @idempotent(world.store, scope="charge", wait_for=10 * SECOND)
    async def handle(_: Event) -> None:
        world.ran += 1

    async def cancelled() -> None:
        call = asyncio.create_task(handle(EVENT))
        await asyncio.to_thread(begun.wait, 30)
        for _ in range(times):
            call.cancel()
            await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    (record,) = world.dynamodb.scan(TableName="handled")["Items"]
    assert (record["status"], world.ran) == ({"S": "RELEASED"}, 0)
    assert record["claimToken"] != {"S": "the first one's"}


def test_a_call_that_is_cancelled_while_its_result_is_stored_stores_it(world: World) -> None:
    """A call that is cancelled while its result is stored finishes storing it first."""
    begun, go_on = threading.Event(), threading.Event()
    update_item = world.dynamodb.update_item
    world.store.records.release(world.first)

    def slow(**request: Any) -> Any:
        if ":result" in request["ExpressionAttributeValues"]:
            begun.set()
            assert go_on.wait(timeout=30)
        return update_item(**request)

    world.dynamodb.update_item = slow  # type: ignore[method-assign]  # to be cancelled within

    @idempotent(world.store, scope="charge")
    async def handle(_: Event) -> str:
        return "done"

    async def cancelled() -> None:
        call = asyncio.create_task(handle(EVENT))
        await asyncio.to_thread(begun.wait, 30)
        call.cancel()
        for _ in range(5):
            await asyncio.sleep(0)
        assert not call.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert asyncio.run(handle(EVENT)) == "done"
    (record,) = world.dynamodb.scan(TableName="handled")["Items"]
    assert record["result"] == {"S": '"done"'}
