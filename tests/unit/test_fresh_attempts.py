"""Each attempt of a transactional function gets its arguments as they were given."""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from pydantic import BaseModel, ConfigDict, Field

from dynamo_outbox import DomainEvent, Event, Transaction, TransactionalOutbox
from dynamo_outbox.writing.callables import fresh

from ..doubles import FakeClock, client_error, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB


class Line(BaseModel):
    tags: list[str] = []


class LineAdded(DomainEvent):
    tags: list[str] = Field(default_factory=list)


@dataclass
class Parcel:
    tags: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Frozen:
    tags: list[str] = field(default_factory=list)


class Pair(NamedTuple):
    name: str
    tags: list[str]


ARGUMENTS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "event": (lambda: Event("A", {"tags": []}), lambda given: given.data["tags"]),
    "domain event": (LineAdded, lambda given: given.tags),
    "model": (Line, lambda given: given.tags),
    "dataclass": (Parcel, lambda given: given.tags),
    "frozen dataclass with slots": (Frozen, lambda given: given.tags),
    "list": (list, lambda given: given),
    "deque": (deque, lambda given: given),
    "dict": (lambda: {"a": {"tags": []}}, lambda given: given["a"]["tags"]),
    "ordered dict": (lambda: OrderedDict(tags=[]), lambda given: given["tags"]),
    "default dict": (lambda: defaultdict(list), lambda given: given["tags"]),
    "tuple": (lambda: (1, []), lambda given: given[1]),
    "named tuple": (lambda: Pair("a", []), lambda given: given.tags),
    "list of events": (lambda: [Event("A", {"tags": []})], lambda given: given[0].data["tags"]),
    "event in a dataclass": (lambda: Parcel([Event("A", {"tags": []})]), lambda given: given.tags[0].data["tags"]),  # type: ignore[list-item]
    "bytes": (bytearray, lambda given: given),
}


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"books": ("name",), "events": ("pk", "sk")}, clock)


@pytest.fixture
def outbox(fake: FakeDynamoDB, clock: FakeClock) -> TransactionalOutbox:
    """An outbox whose first two transactions meet contention."""
    for _ in range(2):
        reasons = [{"Code": "TransactionConflict"}]
        fake.fail_next(
            "transact_write_items", client_error("TransactionCanceledException", CancellationReasons=reasons)
        )
    return TransactionalOutbox("events", source="Demo", client=fake, keys={"books": "name"}, clock=clock)


@pytest.mark.parametrize(("make", "tags"), ARGUMENTS.values(), ids=ARGUMENTS)
@pytest.mark.parametrize("named", [False, True])
def test_an_attempt_sees_nothing_of_what_an_earlier_one_changed(
    outbox: TransactionalOutbox, make: Callable[[], Any], tags: Callable[[Any], Any], *, named: bool
) -> None:
    """A function that changes its argument runs on the same argument again when its transaction meets contention."""
    seen: list[int] = []

    @outbox.transactional()
    def add(tx: Transaction, given: object) -> None:
        found = tags(given)
        seen.append(len(found))
        found.append(1)
        tx.put("books", {"name": "a"})

    _ = add(given=make()) if named else add(make())
    assert seen == [0, 0, 0]


def test_a_method_keeps_its_object(outbox: TransactionalOutbox) -> None:
    """`self` and objects such as clients are the same in each attempt."""
    transactional: Any = outbox.transactional

    class Shop:
        def __init__(self) -> None:
            self.attempts: list[tuple[object, object]] = []

        @transactional()  # type: ignore[untyped-decorator]  # Any
        def add(self, tx: Transaction, client: object, lock: object) -> None:
            self.attempts.append((client, lock))
            tx.put("books", {"name": "a"})

    shop, client, lock = Shop(), object(), threading.Lock()
    shop.add(client, lock)
    assert shop.attempts == [(client, lock)] * 3


class WithLock(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    lock: Any


def test_what_cannot_be_copied_is_shared() -> None:
    """An argument that can't be copied is passed as it is, rather than refused."""
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    model = WithLock(lock=threading.Lock())
    given: Any
    for given in (cyclic, deep, model, Line, iter([]), 1, "a", None):
        assert fresh(given) is given


def test_a_copy_is_equal() -> None:
    """A copy has the types, the order and the settings of its original, and an event its identity."""
    event = Event("A", {"tags": [1]}, aggregate_type="Book", aggregate_id="a", sequence=3, correlation_id="c")
    given = {"event": event, "deque": deque([1, 2], 5), "default": defaultdict(list, a=[1]), "set": {1, (2,)}}
    copied = fresh(given)
    assert copied == given
    assert copied["deque"].maxlen == 5
    assert copied["default"]["new"] == []
    assert copied["event"].created_at == event.created_at
    assert type(fresh(OrderedDict(b=1, a=2))) is OrderedDict


def test_the_caller_keeps_what_the_last_attempt_returns(outbox: TransactionalOutbox) -> None:
    """The returned value is that of the attempt that was committed."""
    attempts: list[int] = []

    @outbox.transactional()
    def add(tx: Transaction, tags: list[str]) -> list[str]:
        attempts.append(1)
        tags.append(f"attempt {len(attempts)}")
        tx.put("books", {"name": "a"})
        return tags

    assert add(["new"]) == ["new", "attempt 3"]
