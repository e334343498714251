"""Expired leases: unknown outcomes, how to resolve them, and the fence number that rejects a late holder."""

from __future__ import annotations

import asyncio
import http.client
import json
import pickle
import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ChecksumError, ReadTimeoutError
from botocore.parsers import ResponseParserError
from pydantic import BaseModel

from dynamo_outbox import AtMostOnce, Event, IdempotencyStore, fence_number, idempotent
from dynamo_outbox.consuming.claims import Claim, Claimed
from dynamo_outbox.errors import (
    AlreadyInProgressError,
    CommitUnknownError,
    LeaseLostError,
    MissingIdempotencyKeyError,
    TransactionConflictError,
    UnknownOutcomeError,
)

from ..doubles import FakeClock, client_error, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

LEASE, MARGIN = timedelta(minutes=1), timedelta(seconds=1)
CHARGE = Event("OrderPlaced", {"total": 5}, id="7")
KEY = "call#charge##7"
TIMEOUT = ReadTimeoutError(endpoint_url="https://cards.example")


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"]}, clock)


@pytest.fixture
def store(dynamodb: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=dynamodb, lease=LEASE, clock_margin=MARGIN, clock=clock)


class Card:
    """Card that counts its charges, and returns a receipt or raises a given exception."""

    def __init__(self, ending: BaseException | None = None) -> None:
        self.charges = 0
        self.ending = ending

    def charge(self) -> str:
        self.charges += 1
        if self.ending is not None:
            raise self.ending
        return f"receipt {self.charges}"


def charging(store: IdempotencyStore, card: Card, **options: Any) -> Callable[[Event], str]:
    @idempotent(store, scope="charge", **{"on_expired_lease": "raise", **options})
    def charge(_: Event) -> str:
        return card.charge()

    return charge


def status(dynamodb: FakeDynamoDB) -> str:
    (record,) = dynamodb.scan(TableName="handled")["Items"]
    return str(record["status"]["S"])


def unknown(charge: Callable[[Event], str]) -> UnknownOutcomeError:
    with pytest.raises(UnknownOutcomeError) as caught:
        charge(CHARGE)
    return caught.value


def test_an_expired_lease_can_be_an_error(store: IdempotencyStore, clock: FakeClock) -> None:
    """If the holder vanished, every later call is refused, and the error carries all that resolving the key needs."""
    card = Card(KeyboardInterrupt())
    charge = charging(store, card)
    began = clock.now()
    with pytest.raises(KeyboardInterrupt):
        charge(CHARGE)
    with pytest.raises(AlreadyInProgressError):
        charge(CHARGE)
    clock.advance(LEASE + MARGIN)
    for _ in range(2):
        error = unknown(charge)
        clock.advance(timedelta(days=1))
    assert (error.key, error.since, error.since.tzinfo is None) == (KEY, began + LEASE, False)
    assert error.fence == int(began.timestamp() * 1000) + 1
    assert error.token in str(error)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own
    assert (str(again), again.token) == (str(error), error.token)
    assert card.charges == 1


@pytest.mark.parametrize(
    ("timeout", "outcomes"),
    [(300, ["refused", "refused"]), (175, ["refused", "runs"]), (120, ["refused", "runs"])],
)
def test_the_docs_example_of_a_lease_that_outlives_the_retries(
    store: IdempotencyStore, clock: FakeClock, timeout: int, outcomes: list[str]
) -> None:
    """Lambda retries one minute after a crash and two minutes after that; only a longer lease refuses both retries."""
    store.records.claim(Claim(KEY, "killed", "payload"), timedelta(seconds=timeout))
    outcomes_seen = []
    for wait in (10 + 60, 120):
        clock.advance(timedelta(seconds=wait))
        try:
            store.records.claim(Claim(KEY, f"after {wait}", "payload"), timedelta(seconds=timeout))
            outcomes_seen.append("runs")
        except AlreadyInProgressError:
            outcomes_seen.append("refused")
    assert outcomes_seen == outcomes


def test_a_lease_lasts_fifteen_minutes_by_default(dynamodb: FakeDynamoDB, clock: FakeClock) -> None:
    """A vanished holder's claim refuses others for Lambda's longest timeout, and no longer."""
    store = IdempotencyStore("handled", client=dynamodb, clock_margin=MARGIN, clock=clock)
    store.records.claim(Claim(KEY, "a vanished holder's", "payload"))
    clock.advance(timedelta(minutes=15))
    with pytest.raises(AlreadyInProgressError):
        store.records.claim(Claim(KEY, "the next", "payload"))
    clock.advance(MARGIN)
    store.records.claim(Claim(KEY, "the next", "payload"))


def test_by_default_an_expired_lease_lets_the_next_call_run(store: IdempotencyStore, clock: FakeClock) -> None:
    """With `rerun`, the default, the next call runs once a vanished holder's lease has expired."""
    store.records.claim(Claim(KEY, "a vanished holder's", "payload"))
    clock.advance(LEASE + MARGIN)
    assert charging(store, Card(), on_expired_lease="rerun")(CHARGE) == "receipt 1"


def test_a_call_that_had_no_effect_can_be_forgotten(store: IdempotencyStore, clock: FakeClock) -> None:
    """After `forget`, the next call runs once; with a token other than the holder's, `forget` changes nothing."""
    card = Card(KeyboardInterrupt())
    charge = charging(store, card)
    with pytest.raises(KeyboardInterrupt):
        charge(CHARGE)
    clock.advance(LEASE + MARGIN)
    error = unknown(charge)
    assert store.forget(error.key, token="another's") is False
    unknown(charge)
    assert store.forget(error.key, token=error.token) is True
    card.ending = None
    assert [charge(CHARGE), charge(CHARGE)] == ["receipt 2", "receipt 2"]
    assert store.forget(error.key, token=error.token) is False
    assert charge(CHARGE) == "receipt 2"


def test_a_call_that_had_its_effect_can_be_resolved(store: IdempotencyStore, clock: FakeClock) -> None:
    """After `resolve`, duplicates get its result, which is stored once and only with the holder's token."""
    charge = charging(store, Card(KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        charge(CHARGE)
    clock.advance(LEASE + MARGIN)
    error = unknown(charge)
    assert store.resolve(error.key, "by hand", token="another's") is False
    unknown(charge)
    assert store.resolve(error.key, "by hand", token=error.token) is True
    assert store.resolve(error.key, "another", token=error.token) is False
    assert store.forget(error.key, token=error.token) is False
    assert charge(CHARGE) == "by hand"


class Receipt(BaseModel):
    number: int


def test_a_result_by_hand_is_written_by_the_functions_annotation(store: IdempotencyStore, clock: FakeClock) -> None:
    """A result that plain JSON can't hold needs `function=` in `resolve`: its annotation defines the form."""

    @idempotent(store, scope="charge", on_expired_lease="raise")
    def charge(_: Event) -> Receipt:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        charge(CHARGE)
    clock.advance(LEASE + MARGIN)
    with pytest.raises(UnknownOutcomeError) as caught:
        charge(CHARGE)
    with pytest.raises(ValueError, match="annotate what the function returns"):
        store.resolve(KEY, Receipt(number=1), token=caught.value.token)
    assert store.resolve(KEY, Receipt(number=1), token=caught.value.token, function=charge)
    assert charge(CHARGE) == Receipt(number=1)


@pytest.mark.parametrize("settle", ["forget", "resolve"])
def test_a_holder_that_comes_late_changes_nothing_that_was_settled(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, clock: FakeClock, settle: str
) -> None:
    """A call that ends after an operator settled its key raises LeaseLostError and leaves the record unchanged."""

    @idempotent(store, scope="charge", on_expired_lease="raise")
    def charge(event: Event) -> str:
        clock.advance(LEASE + MARGIN)
        error = unknown(charge)
        if settle == "forget":
            assert store.forget(error.key, token=error.token)
        else:
            assert store.resolve(error.key, "by hand", token=error.token)
        before.append(dynamodb.scan(TableName="handled")["Items"])
        return f"late {event.id}"

    before: list[Any] = []
    with pytest.raises(LeaseLostError) as caught:
        charge(CHARGE)
    assert caught.value.result == "late 7"
    assert dynamodb.scan(TableName="handled")["Items"] == before[0]


class DeclinedError(Exception):
    """The card is declined: nothing was charged."""


class StolenError(DeclinedError):
    """The card is declined because it was stolen."""


ENDINGS = [
    KeyboardInterrupt(),
    SystemExit(1),
    asyncio.CancelledError(),
    TimeoutError(),
    ConnectionResetError(),
    ConnectionRefusedError(),
    TIMEOUT,
    ResponseParserError("Unable to parse response"),
    ChecksumError(checksum_type="crc32", expected_checksum="1", actual_checksum="2"),
    client_error("InternalServerError"),
    http.client.IncompleteRead(b"{"),
    http.client.BadStatusLine("garbage"),
    json.JSONDecodeError("Expecting value", "", 0),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    CommitUnknownError("token"),
    AlreadyInProgressError("inner#7", "another call is at work on it"),
    TransactionConflictError(()),
    ExceptionGroup("two", [ValueError(), DeclinedError()]),
    ValueError(),
    ZeroDivisionError(),
]
"""Exceptions that a function may raise after its effect, most of them caused by a broken response."""


@pytest.mark.parametrize("policy", ["raise", AtMostOnce(), AtMostOnce(safe_to_retry=(DeclinedError,))], ids=repr)
@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
@pytest.mark.parametrize("ending", ENDINGS, ids=repr)
def test_an_exception_that_is_not_safe_to_retry_keeps_the_key(
    store: IdempotencyStore,
    dynamodb: FakeDynamoDB,
    clock: FakeClock,
    ending: BaseException,
    policy: Any,
    caplog: pytest.LogCaptureFixture,
    *,
    is_async: bool,
) -> None:
    """At most once: after an exception that is not listed as safe, the function does not run again by itself."""
    card = Card(ending)

    @idempotent(store, scope="charge", on_expired_lease=policy)
    async def charge_async(_: Event) -> str:
        return card.charge()

    def charge(event: Event) -> str:
        return asyncio.run(charge_async(event)) if is_async else plain(event)

    plain = charging(store, card, on_expired_lease=policy)
    with pytest.raises(type(ending)):
        charge(CHARGE)
    assert status(dynamodb) == "IN_PROGRESS"
    assert "is not known" in caplog.text
    clock.advance(LEASE + MARGIN)
    unknown(charge)
    assert card.charges == 1


@pytest.mark.parametrize("ending", [DeclinedError(), StolenError()], ids=repr)
def test_an_exception_that_is_safe_to_retry_releases_the_key(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, ending: Exception
) -> None:
    """An exception listed in `safe_to_retry`, or a subclass of one, means that nothing happened: the next call runs."""
    card = Card(ending)
    charge = charging(store, card, on_expired_lease=AtMostOnce(safe_to_retry=(DeclinedError,)))
    with pytest.raises(type(ending)):
        charge(CHARGE)
    assert status(dynamodb) == "RELEASED"
    card.ending = None
    assert charge(CHARGE) == "receipt 2"


def test_a_permanent_failure_is_stored_at_most_once_too(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """A permanent error is stored and raised again, even if it is also listed as safe to retry."""
    card = Card(StolenError("reported"))
    policy = AtMostOnce(safe_to_retry=(DeclinedError,))
    charge = charging(store, card, on_expired_lease=policy, permanent_errors=(StolenError,))
    for _ in range(2):
        with pytest.raises(StolenError, match="reported"):
            charge(CHARGE)
    assert (status(dynamodb), card.charges) == ("COMPLETED", 1)


def test_a_call_that_is_refused_before_it_runs_holds_nothing(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """A payload without a usable key is refused, and no record is stored."""
    charge = charging(store, Card(), key="data.total.amount")
    with pytest.raises(MissingIdempotencyKeyError):
        charge(CHARGE)
    assert dynamodb.scan(TableName="handled")["Items"] == []


@pytest.mark.parametrize("kinds", [(ValueError(),), (KeyboardInterrupt,), ["ValueError"], "ValueError", (None,)])
def test_only_exceptions_can_be_safe_to_retry(kinds: Any) -> None:
    """`safe_to_retry` takes subclasses of `Exception` only, which excludes interruptions."""
    with pytest.raises(TypeError, match="safe_to_retry"):
        AtMostOnce(safe_to_retry=kinds)


@pytest.mark.parametrize("ending", ENDINGS, ids=repr)
def test_by_default_every_failure_gives_the_key_back(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, ending: BaseException
) -> None:
    """With `rerun`, any exception releases the key, so the next call does not wait for the lease to expire."""
    with pytest.raises(type(ending)):
        charging(store, Card(ending), on_expired_lease="rerun")(CHARGE)
    assert status(dynamodb) == "RELEASED"


def test_a_coroutine_that_is_cancelled_keeps_its_key(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """A cancelled coroutine keeps its key, because its charge may have gone through."""

    @idempotent(store, scope="charge", on_expired_lease="raise")
    async def charge(_: Event) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def cancelled() -> None:
        call = asyncio.create_task(charge(CHARGE))
        await begun.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    begun = asyncio.Event()
    asyncio.run(cancelled())
    assert status(dynamodb) == "IN_PROGRESS"


def test_a_fence_number_grows_over_releases_takeovers_and_ttl(store: IdempotencyStore, clock: FakeClock) -> None:
    """Each claim of a key gets a larger number than the claim before, however the earlier call ended."""
    numbers = []

    @idempotent(store, scope="charge")
    def charge(_: Event) -> None:
        numbers.append(fence_number())
        raise ZeroDivisionError

    def run() -> None:
        with pytest.raises(ZeroDivisionError):
            charge(CHARGE)

    for _ in range(2):
        run()
    clock.advance(timedelta(seconds=-30))  # another holder, whose clock is behind
    run()
    claimed = store.records.claim(Claim(KEY, "a vanished holder's", "payload"))
    assert isinstance(claimed, Claimed)
    numbers.append(claimed.fence)
    clock.advance(LEASE + MARGIN)
    run()
    assert numbers == [*range(numbers[0], numbers[0] + 5)]
    clock.advance(store.ttl)
    run()
    assert numbers[-1] == numbers[0] + 5


def test_a_fence_goes_on_from_the_time_where_ttl_deleted_the_record(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, clock: FakeClock
) -> None:
    """After TTL deleted the record, the next number is still larger than the earlier ones."""
    first = store.records.claim(Claim(KEY, "first", "payload"))
    clock.advance(store.ttl)
    dynamodb.delete_item(TableName="handled", Key={"pk": {"S": KEY}})
    second = store.records.claim(Claim(KEY, "second", "payload"))
    assert isinstance(first, Claimed)
    assert isinstance(second, Claimed)
    assert second.fence - first.fence == store.ttl / timedelta(milliseconds=1)


def test_a_fence_is_the_innermost_calls(store: IdempotencyStore) -> None:
    """A nested call has its own number, and the outer call's is restored afterwards; a call without a key has none."""

    @idempotent(store, key="id", scope="inner", on_missing_key="run")
    def inner(_: dict[str, Any]) -> int:
        return fence_number()

    @idempotent(store, scope="outer")
    def outer(_: Event) -> list[int]:
        store.records.claim(Claim("call#inner#1", "token", "payload"))
        store.forget("call#inner#1", token="token")
        before = fence_number()
        seen = inner({"id": "1"})
        with pytest.raises(RuntimeError, match="no fence number"):
            inner({})
        return [seen - before, fence_number() - before]

    assert outer(CHARGE) == [1, 0]
    with pytest.raises(RuntimeError, match="no fence number"):
        fence_number()


def test_coroutines_see_their_own_fences(store: IdempotencyStore) -> None:
    """Concurrent coroutines each read their own number, and so do the threads that they start with `to_thread`."""

    @idempotent(store, key="id", scope="charge")
    async def charge(_: dict[str, int]) -> list[int]:
        first = fence_number()
        await asyncio.sleep(0)
        return [first, fence_number(), await asyncio.to_thread(fence_number)]

    async def both() -> list[list[int]]:
        store.records.claim(Claim("call#charge#=2", "token", "payload"))
        store.forget("call#charge#=2", token="token")
        return [*await asyncio.gather(charge({"id": 1}), charge({"id": 2}))]

    one, two = asyncio.run(both())
    assert (len(set(one)), len(set(two)), two[0] - one[0]) == (1, 1, 1)


def test_another_thread_has_no_fence(store: IdempotencyStore) -> None:
    """A thread that the function starts itself cannot read the number; the function must pass it on."""
    seen: list[str] = []

    def look() -> None:
        try:
            fence_number()
        except RuntimeError as error:
            seen.append(str(error))

    @idempotent(store, scope="charge")
    def charge(_: Event) -> None:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join()

    charge(CHARGE)
    assert len(seen) == 1


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"on_expired_lease": "ignore"}, ValueError),
        ({"wait_for": timedelta(0)}, ValueError),
        ({"permanent_errors": (KeyboardInterrupt,)}, TypeError),
        ({"permanent_errors": (ValueError(),)}, TypeError),
    ],
)
def test_an_option_that_cannot_work_is_refused(
    store: IdempotencyStore, options: dict[str, Any], error: type[Exception]
) -> None:
    """An unknown policy, a wait of zero or an unusable permanent error is refused on decoration."""
    with pytest.raises(error, match=next(iter(options))):
        idempotent(store, scope="charge", **options)
