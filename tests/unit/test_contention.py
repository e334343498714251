"""Contention: version locks, retried transactions, and functions that run again."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from dynamo_outbox import Condition, Event, Retry, TransactionalOutbox, Version
from dynamo_outbox.aws.backoff import full_jitter
from dynamo_outbox.codec.values import encode_item
from dynamo_outbox.errors import ConditionFailedError, InvalidEventError, TransactionConflictError

from ..doubles import FakeClock, StubDynamoDB, client_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB
    from dynamo_outbox.writing.transaction import Transaction

KEY = {"name": "Team Topologies"}


class Answers(StubDynamoDB):
    """A client that raises these errors for the first transactions and accepts the next ones."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self._errors = list(errors)

    def transact_write_items(self, **kwargs: Any) -> Any:
        super().transact_write_items(**kwargs)
        if self._errors:
            raise self._errors.pop(0)
        return {}

    @property
    def tokens(self) -> list[str]:
        return [request["ClientRequestToken"] for _, request in self.calls]


def cancelled(*codes: str) -> Exception:
    return client_error("TransactionCanceledException", CancellationReasons=[{"Code": code} for code in codes])


CONFLICT = ("TransactionConflict", "None")

FIRST = int(FakeClock().now().timestamp() * 1000)
"""The version of a new item."""


def outbox_of(client: Any, **options: Any) -> TransactionalOutbox:
    defaults: dict[str, Any] = {"keys": {"books": "name"}}
    return TransactionalOutbox("books-events", source="Books", client=client, clock=FakeClock(), **(defaults | options))


def add_book(outbox: TransactionalOutbox) -> None:
    outbox.put("books", KEY, must_not_exist=True, event=Event("BookAdded", {}))


@pytest.mark.parametrize(
    "error",
    [
        lambda: cancelled(*CONFLICT),
        lambda: cancelled("ThrottlingError", "None"),
        lambda: cancelled("ProvisionedThroughputExceeded", "TransactionConflict"),
    ],
)
def test_what_may_pass_is_sent_again_under_one_token(error: Callable[[], Exception]) -> None:
    """If all reasons are contention, the same request is sent again with the same token."""
    client = Answers(error(), error())
    add_book(outbox_of(client))
    assert len(client.calls) == 3
    assert len(set(client.tokens)) == 1
    assert len({str(request["TransactItems"]) for _, request in client.calls}) == 1


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (lambda: cancelled("ConditionalCheckFailed", "TransactionConflict"), ConditionFailedError),
        (lambda: client_error("IdempotentParameterMismatchException"), Exception),
        (lambda: client_error("ValidationException"), Exception),
    ],
)
def test_what_would_fail_again_is_sent_once(error: Callable[[], Exception], kind: type[Exception]) -> None:
    """One reason that is not contention is enough to raise without a retry."""
    client = Answers(error())
    with pytest.raises(kind):
        add_book(outbox_of(client))
    assert len(client.calls) == 1


@pytest.mark.parametrize(
    ("retry", "calls"), [(Retry(attempts=3), 3), (Retry(attempts=1), 1), (Retry(timeout=timedelta(milliseconds=60)), 2)]
)
def test_sending_again_comes_to_an_end(retry: Retry, calls: int) -> None:
    """The conflict is raised once the attempts or the timeout are used up."""
    client = Answers(*(cancelled(*CONFLICT) for _ in range(9)))
    with pytest.raises(TransactionConflictError):
        add_book(outbox_of(client, retry=retry))
    assert len(client.calls) == calls


def test_two_transactions_have_two_tokens() -> None:
    """Each transaction has its own token."""
    client = Answers()
    outbox = outbox_of(client)
    add_book(outbox)
    add_book(outbox)
    assert len(set(client.tokens)) == 2


def test_the_wait_grows_up_to_its_cap_and_is_drawn() -> None:
    """Full jitter draws from zero to a bound that doubles up to the cap."""
    assert [full_jitter(attempt, draw=1.0, base=0.1, cap=0.5) for attempt in range(5)] == [0.1, 0.2, 0.4, 0.5, 0.5]
    assert full_jitter(3, draw=0.0) == 0.0
    assert full_jitter(10**9, draw=0.5, cap=2.0) == 1.0


@pytest.fixture
def outbox(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> TransactionalOutbox:
    create_table("books", "name")
    create_table("books-events", "pk", "sk")
    return outbox_of(dynamodb)


def stored(dynamodb: FakeDynamoDB, table: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = dynamodb.scan(TableName=table)["Items"]
    return items


def test_a_version_lock_counts_up_and_numbers_the_event(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """Put, update and delete increment the version, and the event takes it as its sequence."""
    event = Event("BookChanged", {}, aggregate_type="Book", aggregate_id="Team Topologies")
    put = outbox.put("books", KEY, version=Version("version", expected=0), event=event)
    (book,) = stored(dynamodb, "books")
    assert book["version"] == {"N": str(FIRST)}
    update = outbox.update(
        "books", KEY, set={"year": 2019}, version=Version("version", expected=FIRST), event=event.replace(id="b")
    )
    (book,) = stored(dynamodb, "books")
    assert (book["version"], book["year"]) == ({"N": str(FIRST + 1)}, {"N": "2019"})
    delete = outbox.delete("books", KEY, version=Version("version", expected=FIRST + 1), event=event.replace(id="c"))
    assert stored(dynamodb, "books") == []
    assert [result.events[0].sequence for result in (put, update, delete)] == [FIRST, FIRST + 1, FIRST + 2]


def test_a_model_is_put_under_a_lock(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """A model without a version field gets the version in its item."""

    class Book(BaseModel):
        name: str

    outbox.put("books", Book(name="a"), version=Version("version", expected=0), event=Event("BookAdded", {}))
    assert stored(dynamodb, "books") == [{"name": {"S": "a"}, "version": {"N": str(FIRST)}}]


@pytest.mark.parametrize("expected", [0, 1, 3])
def test_a_stale_version_writes_nothing(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB, expected: int) -> None:
    """An outdated expected version is refused as stale, and neither item nor event is written."""
    dynamodb.put_item(TableName="books", Item={"name": {"S": "Team Topologies"}, "version": {"N": "2"}})
    with pytest.raises(ConditionFailedError) as caught:
        outbox.update(
            "books", KEY, set={"year": 1}, version=Version("version", expected=expected), event=Event("A", {})
        )
    assert caught.value.is_stale
    assert caught.value.item == {**KEY, "version": 2}
    assert stored(dynamodb, "books-events") == []


def test_a_failed_condition_of_ones_own_is_not_stale(outbox: TransactionalOutbox) -> None:
    """A failure of the caller's own condition is not stale; only a failed version lock is."""
    with pytest.raises(ConditionFailedError) as caught, outbox.transaction() as tx:
        tx.delete("books", {"name": "another"}, condition="must_exist")
        tx.update("books", KEY, set={"year": 1}, version=Version("version", expected=7))
    assert not caught.value.is_stale


def test_a_lock_has_an_attribute_and_a_version(outbox: TransactionalOutbox) -> None:
    """A version attribute without an expected version is refused unless `get` has read the item."""
    with pytest.raises(ValueError, match=r"version='version' needs the version that was read"):
        outbox.put("books", KEY, version="version", event=Event("A", {}))


def test_two_events_of_an_aggregate_need_two_numbers(outbox: TransactionalOutbox) -> None:
    """Two events of an aggregate with the same sequence are refused, because consumers would skip the second."""
    event = Event("A", {}, aggregate_type="Book", aggregate_id="x")
    with pytest.raises(InvalidEventError, match="another event's of this aggregate"), outbox.transaction() as tx:
        tx.put("books", KEY, version=Version("version", expected=0))
        tx.emit(event)
        tx.emit(event.replace(id="b"), sequence=FIRST)


@pytest.mark.parametrize(
    ("others", "is_stale"),
    [
        ((), True),
        (("None",), True),
        (("TransactionConflict",), True),
        (("ThrottlingError", "ProvisionedThroughputExceeded"), True),
        (("ValidationError",), False),
        (("ItemCollectionSizeLimitExceeded",), False),
        (("SomethingNew",), False),
    ],
)
def test_a_stale_lock_beside_another_refusal_is_not_contention(others: tuple[str, ...], *, is_stale: bool) -> None:
    """A refused lock is worth another attempt only if every other action was fine or met contention."""
    codes = [{"Code": "ConditionalCheckFailed", "Item": {"version": {"N": "2"}}}, *({"Code": code} for code in others)]
    refusal = client_error("TransactionCanceledException", CancellationReasons=codes)
    with pytest.raises(ConditionFailedError) as caught, outbox_of(StubDynamoDB(refusal)).transaction() as tx:
        tx.update("books", KEY, set={"year": 1}, version=Version("version", expected=1))
        for number, _ in enumerate(others):
            tx.put("books", {"name": str(number)})
    assert caught.value.is_stale is is_stale


@pytest.mark.parametrize("existing", [None, {**KEY, "year": 2019}])
def test_a_new_version_starts_at_the_time_in_milliseconds(
    outbox: TransactionalOutbox, dynamodb: FakeDynamoDB, existing: dict[str, Any] | None
) -> None:
    """A new item and one without a version get the time in epoch milliseconds, so that sequences never go back."""
    if existing:
        dynamodb.put_item(TableName="books", Item=encode_item(existing))
    with outbox.transaction() as tx:
        tx.get("books", KEY, version="version")
        tx.update("books", KEY, set={"year": 1})
        event = tx.emit(Event("BookChanged", {}, aggregate_type="Book", aggregate_id="a"))
    assert event.sequence == FIRST
    assert stored(dynamodb, "books")[0]["version"] == {"N": str(FIRST)}


def test_a_version_that_was_begun_goes_on(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """The version of an existing item counts on from where it is, also from a low number."""
    dynamodb.put_item(TableName="books", Item=encode_item({**KEY, "version": 41}))
    result = outbox.update("books", KEY, set={"year": 1}, version=Version("version", expected=41), event=Event("A", {}))
    assert result.events[0].sequence == 42


def test_a_recreated_aggregate_starts_above_its_earlier_life(
    dynamodb: FakeDynamoDB, outbox: TransactionalOutbox
) -> None:
    """Deleted and made again, an aggregate's sequence goes on, even after as many writes as an item can take."""
    clock = outbox.settings.clock
    assert isinstance(clock, FakeClock)
    sequences: list[int | None] = []

    @outbox.transactional()
    def change(tx: Transaction, act: str) -> None:
        tx.get("books", KEY, version="version")
        if act == "delete":
            tx.delete("books", KEY)
        else:
            tx.update("books", KEY, add={"changes": 1})
        sequences.append(tx.emit(Event("BookChanged", {}, aggregate_type="Book", aggregate_id="a")).sequence)

    for _ in range(2):
        for act in [*["update"] * 20, "delete"]:
            change(act)
            clock.advance(timedelta(milliseconds=1))
    assert stored(dynamodb, "books") == []
    assert sequences == sorted(set(map(int, sequences)))  # type: ignore[arg-type]


def test_a_versions_number_is_taken_once() -> None:
    """Only the first event after a version lock takes its version as its sequence."""
    with outbox_of(StubDynamoDB()).transaction() as tx:
        tx.put("books", KEY, version=Version("version", expected=41))
        tx.emit(Event("BookChanged", {}))
        tx.emit(Event("ShelfChanged", {}))
    assert [event.sequence for event in tx.result.events] == [42, None]


def test_an_event_behind_two_locks_says_whose_sequence_it_takes() -> None:
    """After two version locks, an event without an explicit sequence is refused."""
    with pytest.raises(InvalidEventError, match=r"version locks to \[2, 7\]"):
        with outbox_of(StubDynamoDB()).transaction() as tx:
            tx.put("books", KEY, version=Version("version", expected=1))
            tx.put("shelves", KEY, version=Version("version", expected=6))
            tx.emit(Event("BookShelved", {}))


def test_a_number_that_an_event_names_is_used_up() -> None:
    """A lock's version that an event takes explicitly is not used for the next event."""
    with outbox_of(StubDynamoDB()).transaction() as tx:
        tx.put("books", KEY, version=Version("version", expected=1))
        tx.put("shelves", KEY, version=Version("version", expected=6))
        tx.emit(Event("BookShelved", {}), sequence=2)
        tx.emit(Event("ShelfFilled", {}))
        tx.emit(Event("Audited", {}), sequence=7)
    assert [event.sequence for event in tx.result.events] == [2, 7, 7]


def test_a_function_runs_again_on_what_is_there_now(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """After a failed version lock the whole function runs again with current data; its result is returned."""
    dynamodb.put_item(TableName="books", Item={"name": {"S": "Team Topologies"}, "version": {"N": "2"}})
    versions = iter([1, 2])

    @outbox.transactional(attempts=4)
    def change(tx: Transaction, year: int) -> int:
        version = next(versions)
        tx.update("books", KEY, set={"year": year}, version=Version("version", expected=version))
        return version

    assert change(2019) == 2
    assert stored(dynamodb, "books")[0]["year"] == {"N": "2019"}


@pytest.mark.parametrize(
    ("error", "kind", "runs"),
    [
        (lambda: cancelled("TransactionConflict"), TransactionConflictError, 3),
        (lambda: cancelled("ConditionalCheckFailed"), ConditionFailedError, 1),
    ],
)
def test_a_function_runs_again_for_contention_only(
    error: Callable[[], Exception], kind: type[Exception], runs: int
) -> None:
    """Contention is retried up to `attempts`, the caller's own condition is not; each run sends one request."""
    client = Answers(*(error() for _ in range(9)))
    counted = []

    @outbox_of(client).transactional(attempts=3)
    def change(tx: Transaction) -> None:
        counted.append(1)
        tx.put("books", KEY)

    with pytest.raises(kind):
        change()
    assert len(counted) == len(client.calls) == runs


def test_what_would_run_after_the_commit_is_refused() -> None:
    """An async or generator function can't be transactional and is refused when it is decorated."""

    async def coroutine(tx: Transaction) -> None:
        pass

    def generator(tx: Transaction) -> Any:
        yield tx

    async def async_generator(tx: Transaction) -> Any:
        yield tx

    for function in (coroutine, generator, async_generator):
        with pytest.raises(TypeError, match="body runs after the call"):
            outbox_of(StubDynamoDB()).transactional()(function)


def test_a_method_gets_its_transaction_behind_self() -> None:
    """A transactional method gets the transaction as the argument after self."""
    outbox = outbox_of(client := StubDynamoDB())

    class Shelf:
        @outbox.transactional()
        def add(self: Any, tx: Transaction, name: str) -> str:
            tx.put("books", {"name": name})
            return f"{type(self).__name__} {name}"

    shelf: Any = Shelf()
    assert shelf.add("a") == "Shelf a"
    assert len(client.calls) == 1


def test_a_lock_that_holds_is_not_what_is_stale(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """If the version still matches, the other condition failed, and the error is not stale."""
    dynamodb.put_item(TableName="books", Item={"name": {"S": "Team Topologies"}, "version": {"N": "1"}})
    with pytest.raises(ConditionFailedError) as caught:
        outbox.update(
            "books",
            KEY,
            set={"year": 1},
            condition=Condition("attribute_exists(stock)"),
            version=Version("version", expected=1),
            event=Event("A", {}),
        )
    assert not caught.value.is_stale


def test_contention_beside_a_stale_lock_is_still_stale() -> None:
    """A conflict of another action does not hide that the version lock is stale."""
    stale = {"Code": "ConditionalCheckFailed", "Item": {"version": {"N": "2"}}}
    client = Answers(
        client_error("TransactionCanceledException", CancellationReasons=[stale, {"Code": "TransactionConflict"}])
    )
    with pytest.raises(ConditionFailedError) as caught:
        with outbox_of(client).transaction() as tx:
            tx.put("books", KEY, version=Version("version", expected=1))
            tx.put("books", {"name": "b"})
    assert caught.value.is_stale


@given(
    kinds=st.lists(st.sampled_from(["put", "update", "delete", "check", "add", "emit"]), max_size=30),
    labelled=st.lists(st.booleans(), min_size=30, max_size=30),
)
def test_a_plan_keeps_order_and_count(kinds: list[str], labelled: list[bool]) -> None:
    """All actions are sent once, in the caller's order, and each reason has its action's label."""
    client = Answers(cancelled(*("ConditionalCheckFailed" for _ in kinds)))

    def gather(tx: Transaction) -> None:
        for position, (kind, has_label) in enumerate(zip(kinds, labelled, strict=False)):
            label = f"{kind} {position}" if has_label else None
            key = {"id": position}
            match kind:
                case "put":
                    tx.put("books", key, label=label)
                case "update":
                    tx.update("books", key, set={"year": 1}, label=label)
                case "delete":
                    tx.delete("books", key, label=label)
                case "check":
                    tx.check("books", key, condition=Condition("attribute_exists(id)"), label=label)
                case "add":
                    typed = {"id": {"N": str(position)}}
                    tx.add({"Put": {"TableName": "books", "Item": typed}}, label=label)
                case _:
                    tx.emit(Event("A", {}, id=str(position)), label=label)

    outbox = outbox_of(client, keys={"books": "id"})
    if not kinds:
        with outbox.transaction() as tx:
            gather(tx)
        assert client.calls == []
        return
    with pytest.raises(ConditionFailedError) as caught, outbox.transaction() as tx:
        gather(tx)
    names = {
        "put": "Put",
        "update": "Update",
        "delete": "Delete",
        "check": "ConditionCheck",
        "add": "Put",
        "emit": "Put",
    }
    assert [next(iter(item)) for item in client.transact_items] == [names[kind] for kind in kinds]
    for position, (kind, has_label, reason) in enumerate(zip(kinds, labelled, caught.value.reasons, strict=False)):
        assert reason.position == position
        default = f"A {position}" if kind == "emit" else None
        assert reason.label == (f"{kind} {position}" if has_label else default)
