"""Faults of idempotency in Powertools for AWS Lambda (3.37), and what this library does instead."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ReadTimeoutError

from dynamo_outbox import Event, IdempotencyStore, Key, idempotent
from dynamo_outbox.consuming.claims import Claim
from dynamo_outbox.errors import (
    AlreadyInProgressError,
    LeaseLostError,
    MissingIdempotencyKeyError,
    PayloadMismatchError,
    ResultError,
)
from dynamo_outbox.testing import FakeDynamoDB

from ..contract.engine import key_schema

if TYPE_CHECKING:
    from ..doubles import FakeClock

LEASE, MARGIN = timedelta(minutes=1), timedelta(seconds=1)
PAST_THE_LEASE = LEASE + MARGIN
TABLE = "handled"
EVENT = Event("BookAdded", {"name": "Team Topologies"}, id="1")
LOST = ReadTimeoutError(endpoint_url="https://dynamodb")


class Resending(FakeDynamoDB):
    """A fake that resends a request whose response was lost, as botocore does."""

    def update_item(self, **request: Any) -> dict[str, Any]:
        return self._again(super().update_item, request)

    def _again(self, send: Any, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = send(**request)
        except ReadTimeoutError:
            answer = send(**request)
        return answer


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    """A fake DynamoDB with the table of idempotency records."""
    fake = Resending(clock=clock)
    fake.create_table(TableName=TABLE, **key_schema())
    return fake


@pytest.fixture
def store(dynamodb: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore(TABLE, client=dynamodb, lease=LEASE, clock_margin=MARGIN, clock=clock)


def records(dynamodb: FakeDynamoDB) -> dict[str, dict[str, Any]]:
    """Return the store's records by key."""
    return {item["pk"]["S"]: item for item in dynamodb.scan(TableName=TABLE)["Items"]}


@pytest.mark.parametrize("fails", [False, True], ids=["late result", "late failure"])
@pytest.mark.parametrize("is_done", [False, True], ids=["successor at work", "successor done"])
def test_a_slow_holder_leaves_its_successors_record_alone(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, clock: FakeClock, *, is_done: bool, fails: bool
) -> None:
    """Powertools completes and releases unconditionally; here a late holder can't change its successor's record."""
    left: dict[str, Any] = {}

    @idempotent(store, scope="one")
    def successor(_: Event) -> str:
        return "successor's"

    @idempotent(store, scope="one")
    def slow(event: Event) -> str:
        clock.advance(PAST_THE_LEASE)
        if is_done:
            successor(event)
        else:
            fingerprint = records(dynamodb)["call#one##1"]["fingerprint"]["S"]
            store.records.claim(Claim("call#one##1", "the successor's token", fingerprint))
        left.update(records(dynamodb))
        if fails:
            raise ZeroDivisionError
        return "slow"

    with pytest.raises(ZeroDivisionError if fails else LeaseLostError):
        slow(EVENT)
    assert records(dynamodb) == left
    if is_done:
        assert successor(EVENT) == "successor's"
    else:
        with pytest.raises(AlreadyInProgressError):
            successor(EVENT)


def test_nested_functions_on_one_store_keep_their_keys_apart(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """Powertools mixes up the keys of nested functions with one store; here each has its own record."""
    ran: list[str] = []

    @idempotent(store, scope="inner")
    def inner(_: Event) -> str:
        ran.append("inner")
        return "inner's"

    @idempotent(store, scope="outer")
    def outer(event: Event) -> str:
        ran.append("outer")
        return f"outer's, with {inner(event)}"

    for _ in range(2):
        assert (outer(EVENT), inner(EVENT)) == ("outer's, with inner's", "inner's")
    assert ran == ["outer", "inner"]
    assert {key: item["status"]["S"] for key, item in records(dynamodb).items()} == {
        "call#outer##1": "COMPLETED",
        "call#inner##1": "COMPLETED",
    }


def test_each_function_on_one_store_has_its_own_configuration(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """Powertools ignores a store's second configuration; here each function has its own settings."""
    first: list[Any] = []
    second: list[Any] = []

    @idempotent(store, scope="first", key="order")
    def by_order(payload: dict[str, Any]) -> None:
        first.append(payload)

    @idempotent(
        store,
        scope="second",
        key=Key("customer", fingerprint=lambda payload: payload.get("customer")),
        on_missing_key="run",
        on_duplicate=lambda _, payload: f"{payload['order']} came late",
    )
    def by_customer(payload: dict[str, Any]) -> str:
        second.append(payload)
        return "served"

    payloads = [{"order": 1, "customer": 7}, {"order": 2, "customer": 7}]
    for payload in payloads:
        by_order(payload)
    told = [by_customer(payload) for payload in (*payloads, {"order": 3}, {"order": 3})]
    assert (first, second) == (payloads, [payloads[0], {"order": 3}, {"order": 3}])
    assert told == ["served", "2 came late", "served", "served"]
    assert set(records(dynamodb)) == {"call#first#=1", "call#first#=2", "call#second#=7"}
    with pytest.raises(PayloadMismatchError):
        by_order({**payloads[0], "customer": 8})
    with pytest.raises(MissingIdempotencyKeyError):
        by_order({"customer": 7})


@pytest.mark.parametrize("payload", [{}, {"order": None}, {"order": {"id": None}}, {"order": {"id": ""}}])
def test_a_payload_without_a_key_is_refused(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, payload: dict[str, Any]
) -> None:
    """Powertools only warns of a missing key and runs unprotected; here the call is refused and nothing is stored."""
    ran: list[Any] = []

    @idempotent(store, scope="handle", key="order.id")
    def handle(payload: dict[str, Any]) -> None:
        ran.append(payload)

    with pytest.raises(MissingIdempotencyKeyError):
        handle(payload)
    assert (ran, records(dynamodb)) == ([], {})


@pytest.mark.parametrize("result", [{}, [], 0, False, "", None], ids=repr)
def test_a_falsy_result_is_replayed_as_itself(store: IdempotencyStore, result: Any) -> None:
    """Powertools replays `{} [] 0 False ""` as None; here a duplicate gets the value that was returned."""
    ran: list[Event] = []

    @idempotent(store, scope="handle")
    def handle(event: Event) -> Any:
        ran.append(event)
        return result

    handle(EVENT)
    replayed = handle(EVENT)
    assert (replayed, type(replayed), len(ran)) == (result, type(result), 1)


def test_an_async_function_runs_and_completes(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """Powertools never runs an async function and leaves its key locked; here it is awaited, stored and replayed."""
    ran: list[Event] = []

    @idempotent(store, scope="async")
    async def handle(event: Event) -> str:
        await asyncio.sleep(0)
        ran.append(event)
        return "done"

    assert [asyncio.run(handle(EVENT)), asyncio.run(handle(EVENT))] == ["done", "done"]
    assert (ran, records(dynamodb)["call#async##1"]["status"]) == ([EVENT], {"S": "COMPLETED"})


@pytest.mark.parametrize(
    ("lost", "fails", "left"),
    [
        pytest.param("claim", False, "COMPLETED", id="claim"),
        pytest.param("ending", False, "COMPLETED", id="completion"),
        pytest.param("ending", True, "RELEASED", id="release"),
    ],
)
def test_a_write_whose_answer_got_lost_is_known_as_ones_own(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, lost: str, left: str, *, fails: bool
) -> None:
    """Powertools takes its own put with a lost response for another call's lock; here the call recognises it."""
    if lost == "claim":
        dynamodb.fail_next("update_item", LOST, after_commit=True)

    @idempotent(store, scope="handle")
    def handle(_: Event) -> str:
        if lost == "ending":
            dynamodb.fail_next("update_item", LOST, after_commit=True)
        if fails:
            raise ZeroDivisionError
        return "done"

    if fails:
        with pytest.raises(ZeroDivisionError):
            handle(EVENT)
    else:
        assert handle(EVENT) == "done"
    assert [item["status"]["S"] for item in records(dynamodb).values()] == [left]
    assert dynamodb.pending_faults == []


def test_a_result_over_400_kb_does_not_repeat_the_effect(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, clock: FakeClock
) -> None:
    """Powertools repeats an effect whose result is over 400 KB; here the call is completed and raises ResultError."""
    ran: list[Event] = []

    @idempotent(store, scope="large")
    def handle(event: Event) -> str:
        ran.append(event)
        return "x" * 410_000

    for _ in range(3):
        with pytest.raises(ResultError):
            handle(EVENT)
        clock.advance(PAST_THE_LEASE)
    assert (len(ran), records(dynamodb)["call#large##1"]["status"]) == (1, {"S": "COMPLETED"})
