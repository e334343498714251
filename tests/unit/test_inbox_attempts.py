"""Attempts of inbox handlers: each gets the event as it arrived."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import Event, IdempotencyStore, Inbox, InboxTransaction
from dynamo_outbox.errors import PayloadMismatchError, TransactionConflictError

from ..doubles import client_error, fake_dynamodb, waiting_outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

    from ..doubles import FakeClock


def conflict(actions: int) -> Exception:
    return client_error("TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}] * actions)


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"stock": ["item"], "handled": ["pk"], "events": ["pk", "sk"]}, clock)


@pytest.fixture
def store(fake: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=fake, clock=clock)


def pop(data: dict[str, Any]) -> None:
    data["lines"].pop(0)


def deep(data: dict[str, Any]) -> None:
    data["customer"]["address"]["city"] = "Rome"


def double(data: dict[str, Any]) -> None:
    data["total"] *= 2


def default(data: dict[str, Any]) -> None:
    data.setdefault("seen", []).append("again")


def clear(data: dict[str, Any]) -> None:
    data.clear()


def data() -> dict[str, Any]:
    return {"lines": [["a"], ["b"]], "total": 5, "customer": {"address": {"city": "Oslo"}}}


@pytest.mark.parametrize("change", [pop, deep, double, default, clear], ids=lambda change: str(change.__name__))
@pytest.mark.parametrize("as_payload", [False, True], ids=["event", "payload"])
def test_each_attempt_sees_the_event_as_it_arrived(
    store: IdempotencyStore,
    fake: FakeDynamoDB,
    change: Callable[[dict[str, Any]], None],
    *,
    as_payload: bool,
) -> None:
    """If a handler changes `event.data` and runs again, the second attempt decides on the event's own data."""
    seen: list[Any] = []
    for _ in range(2):
        fake.fail_next("transact_write_items", conflict(actions=2))

    @Inbox(store).handler(consumer="packing")
    def pack(event: Event, tx: InboxTransaction) -> int:
        seen.append(event.copied().data)
        change(event.data)
        tx.put("stock", {"item": "a"})
        return len(seen)

    event = Event("OrderPlaced", data(), id="1", source="Shop")
    detail = {"metadata": {"id": "1", "type": "OrderPlaced", "version": 1, "time": "2026-01-01T00:00:00Z"}}
    payload = {
        "id": "e",
        "source": "Shop",
        "detail-type": "OrderPlaced",
        "time": "2026-01-01T00:00:00Z",
        "detail": {**detail, "data": data()},
    }
    delivered: Any = payload if as_payload else event
    assert pack(delivered) == 3
    assert seen == [data()] * 3
    assert (event.data, payload["detail"]["data"]) == (data(), data())  # type: ignore[index]
    assert pack(delivered) == 3  # the event is known as a duplicate, as its fingerprint is of what arrived


def test_functions_for_duplicates_and_stale_events_see_it_too(store: IdempotencyStore) -> None:
    """`on_duplicate` and `on_stale` get the event as it arrived, after the handler has changed its own copy."""
    seen: list[Any] = []

    def handled(event: Event, _: InboxTransaction) -> None:
        event.data.clear()

    event = Event("T", {"n": [1]}, id="1", aggregate_type="A", aggregate_id="1", sequence=5)
    handler = Inbox(store).handler(
        consumer="c",
        on_stale=lambda stale: seen.append(stale.data),
        on_duplicate=lambda _, again: seen.append(again.data),
    )(handled)
    for each in (event, event, event.replace(id="2", sequence=4)):
        handler(each)
    assert seen == [{"n": [1]}] * 2


def test_the_last_attempt_raises(store: IdempotencyStore, fake: FakeDynamoDB) -> None:
    """With one attempt, the conflict is raised, and the next delivery decides on the event as it arrives."""
    fake.fail_next("transact_write_items", conflict(actions=1))
    pack = Inbox(store).handler(consumer="packing", attempts=1)(lambda event, _: event.data["lines"].pop())
    event = Event("T", data(), id="1")
    with pytest.raises(TransactionConflictError):
        pack(event)
    assert pack(event) == ["b"]
    assert pack(event) == ["b"]


def test_emitted_events_are_those_of_the_last_attempt(
    store: IdempotencyStore, fake: FakeDynamoDB, clock: FakeClock
) -> None:
    """An attempt that was refused leaves no event behind, and an emitted event has the data of its attempt."""
    fake.fail_next("transact_write_items", conflict(actions=2))
    attempts: list[int] = []

    @Inbox(store, waiting_outbox(fake, clock, source="Packing")).handler(consumer="packing")
    def pack(event: Event, tx: InboxTransaction) -> None:
        attempts.append(1)
        event.data["lines"].pop()
        tx.emit(Event("Packed", {"lines": event.data["lines"], "attempt": len(attempts)}))

    pack(Event("OrderPlaced", data(), id="1"))
    (item,) = fake.scan(TableName="events")["Items"]
    assert item["eventData"]["S"].replace(" ", "") == '{"lines":[["a"]],"attempt":2}'


def test_a_handlers_change_is_not_another_payload(store: IdempotencyStore) -> None:
    """A handler that changes its event does not make the redelivery another payload; a sender that does, does."""
    handler = Inbox(store).handler(consumer="c")(lambda event, _: event.data.clear())
    event = Event("T", {"n": 1}, id="1")
    handler(event)
    handler(event)
    with pytest.raises(PayloadMismatchError):
        handler(event.replace(data={}))
