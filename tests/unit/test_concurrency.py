"""Many calls at once on one store: threads, coroutines, and a call that is cancelled."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Attr, Key

from dynamo_outbox import Event, IdempotencyStore, TransactionalOutbox, idempotent
from dynamo_outbox.errors import AlreadyInProgressError, ConditionFailedError

from ..doubles import FakeClock, fake_dynamodb

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

EVENT = Event("BookAdded", {"name": "Team Topologies"})
CALLERS = 8


@pytest.fixture
def dynamodb() -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"], "books": ["name"], "events": ["pk", "sk"]})


@pytest.fixture
def store(dynamodb: FakeDynamoDB) -> IdempotencyStore:
    return IdempotencyStore("handled", client=dynamodb, clock=FakeClock(), lease=timedelta(minutes=1))


def test_of_many_threads_with_one_message_one_runs(store: IdempotencyStore) -> None:
    """While the first call runs, all others are refused; afterwards every call gets its result."""
    refused = threading.Semaphore(0)
    runs: list[int] = []

    @idempotent(store, scope="a")
    def handle(_event: Event) -> str:
        runs.append(threading.get_ident())
        for _ in range(CALLERS - 1):  # until every other caller has been refused
            assert refused.acquire(timeout=30)
        return "done"

    def call(_caller: int) -> str:
        try:
            return handle(EVENT)
        except AlreadyInProgressError:
            refused.release()
            return "refused"

    with ThreadPoolExecutor(CALLERS) as pool:
        outcomes = list(pool.map(call, range(CALLERS)))
    assert sorted(outcomes) == ["done"] + ["refused"] * (CALLERS - 1)
    assert [handle(EVENT), len(runs)] == ["done", 1]


def test_threads_with_messages_of_their_own_do_not_meet(store: IdempotencyStore) -> None:
    """Calls with different keys on one store run side by side, and each keeps its own result."""
    together = threading.Barrier(CALLERS, timeout=30)

    @idempotent(store, key="id", scope="a")
    def handle(payload: dict[str, int]) -> int:
        together.wait()
        return payload["id"] * 10

    with ThreadPoolExecutor(CALLERS) as pool:
        for _ in range(2):  # the second time the barrier would never open: nothing runs
            assert list(pool.map(lambda n: handle({"id": n}), range(CALLERS))) == [n * 10 for n in range(CALLERS)]


def test_of_many_coroutines_with_one_message_one_runs(store: IdempotencyStore) -> None:
    """In one event loop, too, a second call is refused while the first awaits."""
    runs: list[str] = []

    async def both() -> list[Any]:
        begun, refused = asyncio.Event(), asyncio.Event()

        @idempotent(store, scope="a")
        async def handle(_event: Event) -> str:
            runs.append("run")
            begun.set()
            await refused.wait()
            return "done"

        first = asyncio.create_task(handle(EVENT))
        await begun.wait()
        with pytest.raises(AlreadyInProgressError):
            await handle(EVENT)
        refused.set()
        return [await first, await handle(EVENT)]

    assert asyncio.run(both()) == ["done", "done"]
    assert runs == ["run"]


def test_a_call_that_is_cancelled_while_it_takes_the_key_gives_it_back(dynamodb: FakeDynamoDB) -> None:
    """The claim goes on in its thread; when it has gone through, its key is released."""
    begun, go_on = threading.Event(), threading.Event()

    class Slow:
        def update_item(self, **request: Any) -> Any:
            begun.set()
            assert go_on.wait(timeout=30)
            return dynamodb.update_item(**request)

        def __getattr__(self, name: str) -> Any:
            return getattr(dynamodb, name)

    client: Any = Slow()
    store = IdempotencyStore("handled", client=client, clock=FakeClock())

    @idempotent(store, scope="a")
    async def handle(_event: Event) -> str:
        return "done"

    async def cancelled() -> None:
        call = asyncio.create_task(handle(EVENT))
        await asyncio.to_thread(begun.wait, 30)
        call.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await call

    asyncio.run(cancelled())
    assert [item["status"] for item in dynamodb.scan(TableName="handled")["Items"]] == [{"S": "RELEASED"}]
    assert asyncio.run(handle(EVENT)) == "done"


def test_conditions_of_boto3_are_taken(dynamodb: FakeDynamoDB) -> None:
    """boto3's Attr and Key conditions, combined, decide about the write beside the outbox's own."""
    outbox = TransactionalOutbox("events", source="Books", client=dynamodb, keys={"books": "name"}, clock=FakeClock())
    dynamodb.put_item(TableName="books", Item={"name": {"S": "a"}})
    condition = Key("name").eq("a") & (Attr("year").not_exists() | ~Attr("year").eq(2019))
    outbox.put("books", {"name": "a", "year": 2019}, condition=condition, event=EVENT.replace(id="1"))
    with pytest.raises(ConditionFailedError) as caught:
        outbox.put("books", {"name": "a", "year": 2020}, condition=condition, event=EVENT.replace(id="2"))
    assert caught.value.item == {"name": "a", "year": 2019}
