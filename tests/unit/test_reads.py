"""`Transaction.get`: the commit requires that each item read is unchanged."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from dynamo_outbox import Condition, Event, Transaction, TransactionalOutbox
from dynamo_outbox.codec.values import encode_item
from dynamo_outbox.errors import ConditionFailedError, EncodeError, InvalidEventError, TransactionLimitError

from ..doubles import FakeClock, fake_dynamodb, waiting_outbox

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

KEY = {"name": "a"}
FIRST = int(FakeClock().now().timestamp() * 1000)
"""The version of a new item."""


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"books": ("name",), "events": ("pk", "sk")}, clock)


@pytest.fixture
def outbox(fake: FakeDynamoDB, clock: FakeClock) -> TransactionalOutbox:
    return waiting_outbox(fake, clock, source="Demo")


def write(fake: FakeDynamoDB, **attributes: Any) -> None:
    fake.put_item(TableName="books", Item=encode_item(KEY | attributes))


def book(fake: FakeDynamoDB) -> dict[str, Any] | None:
    found: dict[str, Any] | None = fake.get_item(TableName="books", Key=encode_item(KEY)).get("Item")
    return found


class Book(BaseModel):
    name: str
    copies: int


ACTIONS: list[Callable[[Transaction], None]] = [
    lambda tx: tx.put("books", KEY | {"copies": 1}),
    lambda tx: tx.put("books", Book(name="a", copies=1)),
    lambda tx: tx.update("books", KEY, set={"copies": 1}),
    lambda tx: tx.delete("books", KEY),
    lambda tx: tx.check("books", KEY, condition=Condition("attribute_not_exists(lent)")),
    lambda tx: tx.put("books", {"name": "b"}),
]
IDS = ["put", "put of a model", "update", "delete", "check", "no action on it"]


def others(fake: FakeDynamoDB) -> dict[str, Callable[[], object]]:
    """Return what another writer may do meanwhile."""
    return {
        "deleted": lambda: fake.delete_item(TableName="books", Key=encode_item(KEY)),
        "created": lambda: write(fake, copies=7, version=1),
        "created without a version": lambda: write(fake, copies=7),
        "moved on": lambda: write(fake, copies=7, version=9),
    }


@pytest.mark.parametrize("act", ACTIONS, ids=IDS)
@pytest.mark.parametrize(
    ("before", "meanwhile"),
    [
        (None, "created"),
        (None, "created without a version"),
        ({}, "deleted"),
        ({}, "created"),
        ({"version": 0}, "deleted"),
        ({"version": 0}, "created"),
        ({"version": 1}, "deleted"),
        ({"version": 1}, "moved on"),
        ({"version": 1}, "created without a version"),
    ],
)
def test_a_commit_wants_what_was_read_to_be_so_still(
    outbox: TransactionalOutbox,
    fake: FakeDynamoDB,
    act: Callable[[Transaction], None],
    before: dict[str, Any] | None,
    meanwhile: str,
) -> None:
    """If an item was created, changed or deleted after the read, nothing is written, and the error is stale."""
    if before is not None:
        write(fake, **before)
    with pytest.raises(ConditionFailedError) as caught, outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        others(fake)[meanwhile]()
        left = book(fake)
        act(tx)
    assert caught.value.is_stale
    assert book(fake) == left


@pytest.mark.parametrize("act", ACTIONS, ids=IDS)
@pytest.mark.parametrize("before", [None, {}, {"version": 0}, {"version": 1}], ids=repr)
def test_what_is_as_it_was_read_is_no_hindrance(
    outbox: TransactionalOutbox, fake: FakeDynamoDB, act: Callable[[Transaction], None], before: dict[str, Any] | None
) -> None:
    """An unchanged item, with any version, with none, or missing, does not block the commit."""
    if before is not None:
        write(fake, **before)
    with outbox.transaction() as tx:
        read = tx.get("books", KEY, version="version")
        act(tx)
    assert read == (None if before is None else KEY | {name: Decimal(n) for name, n in before.items()})


def test_a_condition_of_ones_own_is_not_stale(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """The caller's own condition applies in addition to the read, and its failure is not stale."""
    write(fake, version=1, lent=True)
    with pytest.raises(ConditionFailedError) as caught, outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        tx.check("books", KEY, condition=Condition("attribute_not_exists(lent)"), label="free")
    assert (caught.value.label, caught.value.is_stale) == ("free", False)


def test_what_is_written_after_a_read_moves_its_version_on(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """A write after a read increments the version, which is the next event's sequence; a check does not."""
    write(fake, version=3)
    for expected in (4, 5):
        with outbox.transaction() as tx:
            tx.get("books", KEY, version="version")
            tx.update("books", KEY, set={"copies": 1})
            assert tx.emit(Event("Counted", {}, aggregate_type="Book", aggregate_id="a")).sequence == expected
    with outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        tx.check("books", KEY, condition=Condition("attribute_exists(copies)"))
        assert tx.emit(Event("Seen", {}, aggregate_type="Book", aggregate_id="a")).sequence is None
    assert (book(fake) or {})["version"] == {"N": "5"}


def test_what_is_read_twice_must_be_as_it_was_first(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """A second read returns the current item, but the commit requires the version of the first."""
    write(fake, version=1)
    with pytest.raises(ConditionFailedError), outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        write(fake, version=2)
        assert (tx.get("books", KEY, version="version") or {})["version"] == 2
        tx.put("books", {"name": "b"})


def test_a_function_that_read_what_changed_runs_again(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """A transactional function runs again if an item that it read was changed or created."""
    seen: list[Any] = []

    @outbox.transactional()
    def lend(tx: Transaction) -> None:
        found = tx.get("books", KEY, version="version")
        seen.append(found and found["copies"])
        if len(seen) == 1:
            write(fake, copies=2)
        tx.put("books", (found or KEY) | {"lent": True})

    lend()
    assert seen == [None, 2]
    assert book(fake) == encode_item(KEY | {"copies": 2, "lent": True, "version": FIRST + 50})  # after a wait of 50 ms


def test_an_action_that_is_refused_leaves_the_read_guarded(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """After an invalid action, the commit still checks the items read."""
    write(fake, version=1)
    with pytest.raises(ConditionFailedError), outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        with pytest.raises(EncodeError):
            tx.update("books", KEY, set={"copies": object()})
        write(fake, version=2)
        tx.put("books", {"name": "b"})


def test_an_event_that_is_refused_takes_no_sequence(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """A refused event does not use up the version; the next event gets it as its sequence."""
    write(fake, version=1)
    with outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        tx.update("books", KEY, set={"copies": 1})
        for sequence in (None, 2):
            with pytest.raises(InvalidEventError):
                tx.emit(Event("Counted", {"copies": 10**30}), sequence=sequence)
        assert tx.emit(Event("Counted", {})).sequence == 2


@pytest.mark.parametrize("version", ["one", True, None, Decimal("1.5")], ids=repr)
def test_what_is_no_version_is_refused(outbox: TransactionalOutbox, fake: FakeDynamoDB, version: object) -> None:
    """A version attribute that is not a whole number is refused; the error names table and key."""
    write(fake, version=version)
    with pytest.raises(ValueError, match=r"books \{'name': 'a'\}: version holds"), outbox.transaction() as tx:
        tx.get("books", KEY, version="version")


def test_another_version_attribute_than_was_read_by_is_refused(outbox: TransactionalOutbox) -> None:
    """An action can't lock an item by a version attribute other than the one used to read it."""
    with pytest.raises(ValueError, match="by 'version'"), outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        tx.update("books", KEY, set={"copies": 1}, version="revision")


def test_an_action_before_the_read_is_not_taken_for_one_behind_it(outbox: TransactionalOutbox) -> None:
    """A write before the read of the same item is refused, and nothing is sent."""
    with pytest.raises(TransactionLimitError, match="same item"), outbox.transaction() as tx:
        tx.put("books", KEY | {"copies": 1})
        tx.get("books", KEY, version="version")


def test_a_transaction_that_has_ended_reads_nothing(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """After the transaction's end, `get` is refused."""
    with outbox.transaction() as tx:
        pass
    fake.calls.clear()
    with pytest.raises(RuntimeError, match="has ended"):
        tx.get("books", KEY, version="version")
    assert fake.calls == []


def test_a_block_inside_the_block_is_refused(outbox: TransactionalOutbox, fake: FakeDynamoDB) -> None:
    """Entering a transaction a second time is refused, and nothing is committed."""

    @outbox.transactional()
    def lend(tx: Transaction) -> None:
        with tx:
            tx.update("books", KEY, add={"copies": 1})

    with pytest.raises(RuntimeError, match="has begun already"):
        lend()
    assert book(fake) is None
