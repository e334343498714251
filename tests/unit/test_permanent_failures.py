"""Permanent failures: stored, and raised again for each duplicate."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, IdempotencyStore, idempotent
from dynamo_outbox.consuming.claims import Claim
from dynamo_outbox.consuming.failures import read_failure, write_failure
from dynamo_outbox.errors import PermanentFailureError, UnknownOutcomeError

from ..doubles import FakeClock, client_error, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

LEASE, MARGIN = timedelta(minutes=1), timedelta(seconds=1)
EVENT = Event("OrderPlaced", {"total": 5}, id="7")


class CardDeclined(Exception):  # noqa: N818  # a user's name
    """An exception with an attribute and its own constructor."""

    def __init__(self, reason: str, *, code: int) -> None:
        super().__init__(f"declined: {reason}")
        self.code = code


class CardStolen(CardDeclined):
    """A subclass."""


class Strict(Exception):  # noqa: N818  # a user's name
    """An exception that can't be created from its arguments alone."""

    def __new__(cls, *_: object, secret: str) -> Strict:  # noqa: ARG004
        return super().__new__(cls)

    def __init__(self, *args: object, secret: str) -> None:  # noqa: ARG002
        super().__init__(*args)


class Mute(Exception):  # noqa: N818  # a user's name
    """An exception whose `__str__` raises."""

    def __str__(self) -> str:
        raise ZeroDivisionError


def same(error: Exception, *kinds: type[Exception]) -> Exception:
    """Return the error, stored and read."""
    return read_failure("charge#7", write_failure(error), kinds)


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"]}, clock)


@pytest.fixture
def store(dynamodb: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=dynamodb, lease=LEASE, clock_margin=MARGIN, clock=clock)


class Shop:
    """A shop whose charges raise the given exception."""

    def __init__(self, failure: Exception) -> None:
        self.failure = failure
        self.ran = 0

    def charge(self, _: Event) -> None:
        self.ran += 1
        raise self.failure


def failure_of(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("is_async", [False, True], ids=["plain", "async"])
def test_a_permanent_failure_is_raised_again_and_not_tried_again(
    store: IdempotencyStore, clock: FakeClock, *, is_async: bool
) -> None:
    """A duplicate raises an equal exception of the same type, and the function does not run again."""
    shop = Shop(CardStolen("reported", code=51))
    charge = idempotent(store, scope="charge", permanent_errors=(CardDeclined,))(shop.charge)

    @idempotent(store, scope="charge", permanent_errors=(CardDeclined,))
    async def charge_async(event: Event) -> None:
        shop.charge(event)

    def call() -> object:
        return asyncio.run(charge_async(EVENT)) if is_async else charge(EVENT)

    assert failure_of(call) is shop.failure
    for _ in range(2):
        clock.advance(LEASE + MARGIN)
        again = failure_of(call)
        assert type(again) is CardStolen
        assert again is not shop.failure
        assert (again.args, again.code, str(again)) == (("declined: reported",), 51, "declined: reported")
    assert shop.ran == 1


def test_a_failure_that_is_not_declared_gives_the_key_back(store: IdempotencyStore) -> None:
    """Any other exception releases the key, even a base class of a permanent one."""
    shop = Shop(CardDeclined("limit", code=61))
    charge = idempotent(store, scope="charge", permanent_errors=(CardStolen,))(shop.charge)
    assert [failure_of(lambda: charge(EVENT)), failure_of(lambda: charge(EVENT))] == [shop.failure] * 2
    assert shop.ran == 2


def test_a_permanent_failure_is_known_even_where_a_lost_answer_led_to_it(store: IdempotencyStore) -> None:
    """A permanent error is a known outcome, even if it was raised from a timeout."""

    @idempotent(store, scope="charge", permanent_errors=(CardDeclined,), on_expired_lease="raise")
    def charge(_: Event) -> None:
        raise CardDeclined("after asking again", code=5) from TimeoutError()

    for _ in range(2):
        assert isinstance(failure_of(lambda: charge(EVENT)), CardDeclined)


def test_a_failure_and_a_result_of_one_key_exclude_each_other(store: IdempotencyStore, clock: FakeClock) -> None:
    """A holder whose lease expired can't store a failure, and a failure can't be replaced by a result."""
    first, second = Claim("charge#7", "first", "payload"), Claim("charge#7", "second", "payload")
    store.records.claim(first, timedelta(0))
    clock.advance(MARGIN)
    store.records.claim(second)
    assert store.records.fail(first, "{}") is False
    assert store.records.fail(second, "{}") is True
    assert store.records.fail(second, "{}") is True  # its own, repeated
    assert store.records.complete(second, None) is False


def test_a_stored_failure_of_a_type_that_is_gone_still_says_that_it_failed(store: IdempotencyStore) -> None:
    """If the stored type is no longer declared, a duplicate raises PermanentFailureError, which names it."""
    shop = Shop(CardDeclined("limit", code=61))
    first = failure_of(lambda: idempotent(store, scope="charge", permanent_errors=(CardDeclined,))(shop.charge)(EVENT))
    assert first is shop.failure
    error = failure_of(lambda: idempotent(store, scope="charge", permanent_errors=(CardStolen,))(shop.charge)(EVENT))
    assert isinstance(error, PermanentFailureError)
    assert (error.key, error.kind, error.message) == ("call#charge##7", f"{__name__}.CardDeclined", "declined: limit")
    assert shop.ran == 1


def with_attributes(error: Exception, **attributes: Any) -> Exception:
    vars(error).update(attributes)
    return error


def test_what_json_can_hold_comes_back() -> None:
    """Arguments, attributes and notes are restored; nested tuples become lists."""
    error = with_attributes(CardDeclined("limit", code=61), retry={"after": [1, None]}, pair=(1, 2))
    error.add_note("on a Sunday")
    again = same(error, CardDeclined)
    assert vars(again) == {**vars(error), "pair": [1, 2]}
    assert again.args == error.args


def test_an_operating_systems_error_keeps_its_number() -> None:
    """Attributes that the constructor derives from its arguments are restored."""
    again = same(FileNotFoundError(2, "no such file", "order.pdf"), OSError)
    assert isinstance(again, FileNotFoundError)
    assert (again.errno, again.strerror) == (2, "no such file")


def test_what_json_cannot_hold_is_left_out() -> None:
    """An attribute without a JSON form is omitted; if an argument has none, the message replaces all of them."""
    error = with_attributes(CardDeclined("limit", code=61), amount=Decimal(5), client=object())
    assert vars(same(error, CardDeclined)) == {"code": 61}
    again = same(CardDeclined.__new__(CardDeclined, "limit", Decimal(5)), CardDeclined)
    assert (type(again), again.args) == (CardDeclined, ("('limit', Decimal('5'))",))


def test_what_is_too_large_keeps_its_type_and_the_beginning_of_its_message() -> None:
    """A failure too large for an item keeps its type and the beginning of its message."""
    again = same(CardDeclined("x" * 500_000, code=61), CardDeclined)
    assert (type(again), again.args, vars(again)) == (CardDeclined, ("declined: " + "x" * 990,), {})


def test_what_cannot_be_made_again_is_named() -> None:
    """An exception that can't be created again raises PermanentFailureError, which names it."""
    for error, message in (
        (Strict("a", secret="b"), "a"),
        (ExceptionGroup("g", [ValueError()]), "g (1 sub-exception)"),
    ):
        again = same(error, type(error))
        assert isinstance(again, PermanentFailureError)
        assert (again.kind.rpartition(".")[2], again.message) == (type(error).__name__, message)


def test_an_exception_that_cannot_say_what_it_is_is_stored_all_the_same() -> None:
    """An exception whose `__str__` raises is stored too."""
    assert type(same(Mute(Decimal(1)), Mute)) is Mute


def test_a_failure_that_cannot_be_stored_does_not_hide_the_functions_error(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """If the failure can't be stored, the function's exception is raised and the key stays claimed."""

    @idempotent(store, scope="charge", permanent_errors=(CardDeclined,), on_expired_lease="raise")
    def charge(_: Event) -> None:
        dynamodb.fail_next("update_item", client_error("InternalServerError"))
        raise CardDeclined("limit", code=61)

    assert isinstance(failure_of(lambda: charge(EVENT)), CardDeclined)
    assert "could not be stored" in caplog.text
    clock.advance(LEASE + MARGIN)
    assert isinstance(failure_of(lambda: charge(EVENT)), UnknownOutcomeError)


def test_a_late_failure_is_logged(store: IdempotencyStore, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """A permanent failure after another call took the key is logged and not stored; the exception is raised."""

    @idempotent(store, scope="charge", permanent_errors=(CardDeclined,))
    def charge(event: Event) -> None:
        clock.advance(LEASE + MARGIN)
        idempotent(store, scope="charge")(successor)(event)
        raise CardDeclined("limit", code=61)

    def successor(_: Event) -> str:
        return "done"

    with caplog.at_level(logging.WARNING):
        assert isinstance(failure_of(lambda: charge(EVENT)), CardDeclined)
    assert "is not stored" in caplog.text
    assert idempotent(store, scope="charge")(successor)(EVENT) == "done"
