"""What two calls with one key must have in common: the content, never the envelope that carries it."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import IdempotencyStore, idempotent
from dynamo_outbox.errors import MissingIdempotencyKeyError, PayloadMismatchError

from ..doubles import FixedClock

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB


@pytest.fixture
def store(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> IdempotencyStore:
    create_table("handled", "pk")
    return IdempotencyStore("handled", client=dynamodb, clock=FixedClock())


def http_v2(body: str, request_id: str) -> dict[str, Any]:
    return {
        "version": "2.0",
        "rawPath": "/orders",
        "headers": {"idempotency-key": "k"},
        "requestContext": {"requestId": request_id, "http": {"method": "POST"}},
        "body": body,
    }


def http_v1(body: str, request_id: str) -> dict[str, Any]:
    return {
        "httpMethod": "POST",
        "path": "/orders",
        "headers": {"idempotency-key": "k"},
        "requestContext": {"requestId": request_id},
        "body": body,
    }


def bus_event(title: str, delivery: str) -> dict[str, Any]:
    metadata = {"id": "1", "type": "BookAdded", "version": 1, "time": "2026-11-23T09:30:00Z"}
    detail = {"metadata": metadata, "data": {"title": title}}
    return {"id": delivery, "source": "Books", "detail-type": "BookAdded", "detail": detail}


@pytest.mark.parametrize(
    ("key", "payload_of"),
    [
        ('headers."idempotency-key"', http_v2),
        ('headers."idempotency-key"', http_v1),
        ("detail.metadata.id", bus_event),
        (None, bus_event),
    ],
)
def test_a_redelivery_is_a_duplicate_and_other_content_is_not(
    store: IdempotencyStore, key: Any, payload_of: Callable[[str, str], Any]
) -> None:
    """What comes again in another envelope is the same; another content under its key is an error."""
    runs = []

    @idempotent(store, key=key)
    def handle(payload: Any, _context: object = None) -> int:
        runs.append(payload)
        return len(runs)

    assert [handle(payload_of("a", "first")), handle(payload_of("a", "second"))] == [1, 1]
    with pytest.raises(PayloadMismatchError):
        handle(payload_of("b", "third"))


def test_every_argument_of_a_plain_call_counts(store: IdempotencyStore) -> None:
    """Another amount under the same key is an error, however the arguments are given."""

    @idempotent(store, key=lambda order, amount: order)  # noqa: ARG005  # it is called with both
    def charge(order: str, amount: int) -> int:
        assert order == "1"
        return amount

    assert [charge("1", 5), charge(amount=5, order="1"), charge("1", amount=5)] == [5, 5, 5]
    with pytest.raises(PayloadMismatchError):
        charge("1", 500)


def test_keywords_have_no_order(store: IdempotencyStore) -> None:
    """The payload is the function's first parameter, not the keyword that was written first."""

    @idempotent(store, key="id")
    def charge(order: dict[str, str], amount: int) -> int:
        assert order == {"id": "1"}
        return amount

    assert [charge(order={"id": "1"}, amount=5), charge(amount=5, order={"id": "1"})] == [5, 5]


def test_a_fingerprint_may_be_an_expression(store: IdempotencyStore) -> None:
    """A JMESPath expression says what must be equal; the rest of the payload may differ."""
    handle = idempotent(store, key="id", fingerprint="amount", scope="a")(lambda payload: payload["note"])
    assert [handle({"id": 1, "amount": 5, "note": "x"}), handle({"id": 1, "amount": 5, "note": "y"})] == ["x", "x"]
    with pytest.raises(PayloadMismatchError):
        handle({"id": 1, "amount": 6, "note": "x"})


@pytest.mark.parametrize("nameless", [lambda event: event, functools.partial(max, 1)])
def test_what_has_no_name_needs_a_scope(store: IdempotencyStore, nameless: Any) -> None:
    """Two lambdas of a module would share their calls, so each says its scope."""
    with pytest.raises(TypeError, match="give scope="):
        idempotent(store)(nameless)


def test_a_key_that_no_table_takes_is_refused(store: IdempotencyStore) -> None:
    """A key beyond DynamoDB's limit is refused before anything runs, with what to do."""
    handle = idempotent(store, key="id", scope="a")(lambda payload: payload)
    with pytest.raises(MissingIdempotencyKeyError, match="2,000 characters; give a digest"):
        handle({"id": "x" * 2000})
