"""Inbox: a handler's effect, its dedup record and its events are one transaction, so an event takes effect once."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from dynamo_outbox import Event, IdempotencyStore, Inbox, InboxTransaction, TableKeys, TransactionalOutbox
from dynamo_outbox.errors import (
    CommitUnknownError,
    ConditionFailedError,
    InvalidEventError,
    PayloadMismatchError,
    ResultError,
    TransactionConflictError,
)
from dynamo_outbox.events.outbox_item import decode_event

from ..doubles import client_error, fake_dynamodb, waiting_outbox

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

    from ..doubles import FakeClock

TIMEOUT = ReadTimeoutError(endpoint_url="http://dynamodb")


@pytest.fixture
def fake(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"accounts": ("id",), "events": ("pk", "sk"), "handled": ("pk",)}, clock)


@pytest.fixture
def outbox(fake: FakeDynamoDB, clock: FakeClock) -> TransactionalOutbox:
    return waiting_outbox(fake, clock, source="Accounts")


@pytest.fixture
def store(fake: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=fake, clock=clock)


@pytest.fixture
def inbox(store: IdempotencyStore, outbox: TransactionalOutbox) -> Inbox:
    return Inbox(store, outbox)


def paid(amount: int = 30, **fields: Any) -> Event:
    return Event("Paid", {"account": "a", "amount": amount}, **fields)


def deposit(event: Event, tx: InboxTransaction) -> int:
    """A handler that is not idempotent: each committed run adds the amount again."""
    amount: int = event.data["amount"]
    tx.update("accounts", {"id": event.data["account"]}, add={"balance": amount}, label="account")
    return amount


def withdraw(event: Event, tx: InboxTransaction) -> int:
    """A handler that raises ValueError if the balance is too low, even because of its own earlier effect."""
    key = {"id": event.data["account"]}
    account = tx.get("accounts", key, version="version") or {"balance": 0}
    left = int(account["balance"]) - int(event.data["amount"])
    if left < 0:
        raise ValueError("balance too low")
    tx.update("accounts", key, set={"balance": left})
    return left


def balance(fake: FakeDynamoDB) -> int:
    return int(
        fake.get_item(TableName="accounts", Key={"id": {"S": "a"}}).get("Item", {}).get("balance", {"N": 0})["N"]
    )


def open_account(fake: FakeDynamoDB, amount: int) -> None:
    fake.put_item(TableName="accounts", Item={"id": {"S": "a"}, "balance": {"N": str(amount)}, "version": {"N": "1"}})


def records(fake: FakeDynamoDB) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = fake.scan(TableName="handled")["Items"]
    return found


def test_effect_record_and_events_are_one_transaction(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """The first delivery is one transaction with the handler's write, its event and the dedup record."""

    @inbox.handler(consumer="accounts")
    def handler(event: Event, tx: InboxTransaction) -> int:
        tx.emit(Event("Deposited", {}))
        return deposit(event, tx)

    fake.calls.clear()
    assert handler(paid()) == 30
    (call,) = fake.calls
    assert call.operation == "transact_write_items"
    tables = [next(iter(action.values()))["TableName"] for action in call.request["TransactItems"]]
    assert tables == ["events", "accounts", "handled"]
    assert balance(fake) == 30


def test_a_duplicate_gets_the_stored_result_and_has_no_effect(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """A duplicate costs one call, the transaction that the existing dedup record refuses."""
    handler = inbox.handler(consumer="accounts")(deposit)
    event = paid()
    handler(event)
    fake.calls.clear()
    assert [handler(event), handler(event)] == [30, 30]
    assert [call.operation for call in fake.calls] == ["transact_write_items"] * 2
    assert balance(fake) == 30


@pytest.mark.parametrize("result", [None, 0, "", [], {}, False], ids=repr)
def test_an_empty_result_is_a_result(inbox: Inbox, result: object) -> None:
    """A duplicate returns an empty result unchanged, with its type."""

    @inbox.handler(consumer="accounts")
    def handler(_event: Event, _tx: InboxTransaction) -> Any:
        return result

    event = paid()
    handler(event)
    replayed = handler(event)
    assert (type(replayed), replayed) == (type(result), result)


def test_what_follows_for_a_duplicate_can_be_chosen(inbox: Inbox) -> None:
    """A duplicate returns what `on_duplicate` makes from the stored result and the event."""
    handler = inbox.handler(consumer="accounts", on_duplicate=lambda result, event: (result, event.id))(deposit)
    event = paid()
    told: list[Any] = [handler(event), handler(event)]
    assert told == [30, (30, event.id)]


def test_a_duplicate_that_met_its_own_effect_is_a_duplicate(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """If a duplicate's handler fails because of its own earlier effect, the stored result is returned."""
    open_account(fake, 40)
    handler = inbox.handler(consumer="accounts")(withdraw)
    event = paid(30)
    assert handler(event) == 10
    assert handler(event) == 10
    assert balance(fake) == 10


def test_a_condition_that_the_effect_broke_is_a_duplicate_too(inbox: Inbox) -> None:
    """If the handler's own earlier effect refuses a duplicate's write too, it is still a duplicate."""

    @inbox.handler(consumer="accounts")
    def handler(_event: Event, tx: InboxTransaction) -> str:
        tx.put("accounts", {"id": "a"}, must_not_exist=True)
        return "opened"

    event = paid()
    assert [handler(event), handler(event)] == ["opened", "opened"]


def test_a_handler_that_fails_writes_nothing_and_may_run_again(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """A handler's exception is raised and no record is written; the next delivery runs the handler again."""
    open_account(fake, 10)
    handler = inbox.handler(consumer="accounts")(withdraw)
    event = paid(30)
    with pytest.raises(ValueError, match="balance too low"):
        handler(event)
    assert records(fake) == []
    open_account(fake, 40)
    assert handler(event) == 10


def test_a_condition_of_the_handlers_own_is_raised_in_its_terms(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """If the handler's own condition fails, it runs once, and the error has the handler's label and position."""
    open_account(fake, 10)
    runs = []

    @inbox.handler(consumer="accounts")
    def handler(event: Event, tx: InboxTransaction) -> None:
        runs.append(event.id)
        tx.update("accounts", {"id": "b"}, set={"balance": 1})
        tx.put("accounts", {"id": "a"}, must_not_exist=True, label="mine")

    with pytest.raises(ConditionFailedError) as caught:
        handler(paid())
    assert caught.value.label == "mine"
    assert caught.value.failed[0].position == 1
    assert records(fake) == []
    assert len(runs) == 1


def test_contention_runs_the_handler_again_from_the_start(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """After a conflict the whole handler runs again and reads the current data."""
    open_account(fake, 40)
    runs: list[int] = []

    @inbox.handler(consumer="accounts")
    def handler(event: Event, tx: InboxTransaction) -> int:
        left = withdraw(event, tx)
        runs.append(left)
        if len(runs) == 1:  # another writer is faster
            fake.put_item(TableName="accounts", Item={"id": {"S": "a"}, "balance": {"N": "100"}, "version": {"N": "2"}})
        return left

    assert handler(paid(30)) == 70
    assert runs == [10, 70]
    assert balance(fake) == 70


CONFLICT = client_error("TransactionCanceledException", CancellationReasons=[{"Code": "TransactionConflict"}] * 2)


def test_contention_without_end_is_raised(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """The conflict is raised once the attempts are used up, and nothing is written."""
    for _ in range(3):
        fake.fail_next("transact_write_items", CONFLICT)
    handler = inbox.handler(consumer="accounts", attempts=3)(deposit)
    with pytest.raises(TransactionConflictError):
        handler(paid())
    assert fake.pending_faults == []
    assert (balance(fake), records(fake)) == (0, [])


def test_contention_of_a_transaction_of_the_handlers_own_is_its_own_affair(inbox: Inbox) -> None:
    """A TransactionConflictError that the handler itself raises is not retried."""
    runs: list[str] = []

    @inbox.handler(consumer="accounts")
    def handler(_event: Event, _tx: InboxTransaction) -> None:
        runs.append("run")
        raise TransactionConflictError([])

    with pytest.raises(TransactionConflictError):
        handler(paid())
    assert runs == ["run"]


def test_what_was_only_read_is_checked_by_the_commit(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """If an item changes after `get` with a version, the handler runs again, even if it does not write the item."""
    open_account(fake, 1)
    seen: list[Any] = []

    @inbox.handler(consumer="accounts")
    def handler(_event: Event, tx: InboxTransaction) -> None:
        account = tx.get("accounts", {"id": "a"}, version="version")
        seen.append(account and account["balance"])
        if len(seen) == 1:
            fake.put_item(TableName="accounts", Item={"id": {"S": "a"}, "balance": {"N": "2"}, "version": {"N": "2"}})
        tx.put("accounts", {"id": "b", "as": seen[-1]})

    handler(paid())
    assert seen == [1, 2]


def test_an_expired_record_counts_as_absent(inbox: Inbox, fake: FakeDynamoDB, clock: FakeClock) -> None:
    """A dedup record past its time to live is ignored, even if DynamoDB has not deleted it yet."""
    handler = inbox.handler(consumer="accounts")(deposit)
    event = paid()
    handler(event)
    clock.advance(timedelta(days=8))
    assert handler(event) == 30
    assert balance(fake) == 60
    assert len(records(fake)) == 1


def test_an_expired_record_does_not_answer_for_a_failure(inbox: Inbox, fake: FakeDynamoDB, clock: FakeClock) -> None:
    """A failing handler's exception is raised if the only dedup record has expired."""
    open_account(fake, 40)
    handler = inbox.handler(consumer="accounts")(withdraw)
    event = paid(30)
    handler(event)
    clock.advance(timedelta(days=8))
    with pytest.raises(ValueError, match="balance too low"):
        handler(event)


def test_each_consumer_handles_for_itself(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """Two consumers with the same store and function each handle an event once."""
    event = paid()
    for consumer in ("accounts", "statistics", "accounts"):
        inbox.handler(consumer=consumer)(deposit)(event)
    assert balance(fake) == 60


def test_what_a_handler_emits_carries_on_from_what_it_handled(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """Emitted events inherit correlation and trace, and the handled event is the cause. Explicit values win."""

    @inbox.handler(consumer="accounts")
    def handler(_event: Event, tx: InboxTransaction) -> None:
        tx.emit(Event("Plain", {}))
        tx.emit(Event("Own", {}, correlation_id="mine"), causation_id="that")
        tx.emit(Event("Traced", {}, traceparent=own_trace))

    own_trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    first, second = paid(traceparent=trace), paid(correlation_id="order-1")
    handler(first)
    handler(second)
    emitted = [decode_event(item) for item in fake.scan(TableName="events")["Items"]]
    carried = {(each.type, each.correlation_id, each.causation_id, each.traceparent) for each in emitted}
    assert carried == {
        ("Plain", first.id, first.id, trace),
        ("Own", "mine", "that", trace),
        ("Plain", "order-1", second.id, None),
        ("Own", "mine", "that", None),
        ("Traced", first.id, first.id, own_trace),
        ("Traced", "order-1", second.id, own_trace),
    }


def test_an_inbox_without_an_outbox_emits_nothing(store: IdempotencyStore, fake: FakeDynamoDB) -> None:
    """Without an outbox a handler can write, but `emit` raises an error that names the missing outbox."""
    inbox = Inbox(store)
    assert inbox.handler(consumer="accounts")(deposit)(paid()) == 30
    assert balance(fake) == 30

    @inbox.handler(consumer="other")
    def handler(_event: Event, tx: InboxTransaction) -> None:
        tx.emit(Event("A", {}, source="S"))

    with pytest.raises(RuntimeError, match="no outbox"):
        handler(paid())


def test_an_inbox_without_an_outbox_waits_and_keys_as_its_store_does(fake: FakeDynamoDB, clock: FakeClock) -> None:
    """Without an outbox, the inbox uses its store's table keys and clock; the table may hold the entities too."""
    fake.create_table(
        TableName="all",
        KeySchema=[{"AttributeName": "eventId", "KeyType": "HASH"}, {"AttributeName": "kind", "KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("eventId", "kind")],
        BillingMode="PAY_PER_REQUEST",
    )
    store = IdempotencyStore("all", client=fake, clock=clock, table_keys=TableKeys("eventId", "kind"))

    @Inbox(store).handler(consumer="accounts")
    def handler(_event: Event, tx: InboxTransaction) -> None:
        for kind in "ab":
            tx.put("all", {"eventId": "one", "kind": kind}, must_not_exist=True)

    reasons = [{"Code": "TransactionConflict"}] * 3
    fake.fail_next("transact_write_items", client_error("TransactionCanceledException", CancellationReasons=reasons))
    handler(paid())
    assert len(clock.slept) == 1
    assert len(fake.scan(TableName="all")["Items"]) == 3
    assert "describe_table" not in [call.operation for call in fake.calls]


def test_a_callable_objects_attributes_are_its_own(inbox: Inbox) -> None:
    """A handler can be a callable object; its attributes do not clash with those of the decorator."""

    class Handler:
        def __init__(self) -> None:
            self._settings = "another"
            self._function = self._consumption = None

        def __call__(self, event: Event, tx: InboxTransaction) -> int:
            return deposit(event, tx)

    event = paid()
    assert inbox.handler(consumer="accounts")(Handler())(event) == 30
    assert inbox.handler(consumer="accounts", on_duplicate=lambda *_: 0)(deposit)(event) == 0


def test_a_method_is_decorated_when_it_is_bound(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """A bound method can be a handler; an unbound one is refused when it is decorated."""

    class Accounts:
        def deposit(self, event: Event, tx: InboxTransaction) -> int:
            return deposit(event, tx)

    unbound: Any = Accounts.deposit
    with pytest.raises(TypeError, match="is a method"):
        inbox.handler(consumer="accounts")(unbound)
    assert inbox.handler(consumer="accounts")(Accounts().deposit)(paid()) == 30
    assert balance(fake) == 30


def test_one_id_with_other_data_is_an_error(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """An event id that is reused with other data raises PayloadMismatchError."""
    handler = inbox.handler(consumer="accounts")(deposit)
    handler(paid(30, id="one"))
    with pytest.raises(PayloadMismatchError):
        handler(paid(31, id="one"))
    assert balance(fake) == 30


def test_a_result_that_cannot_be_stored_commits_nothing(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """A result that can't be stored raises ResultError before anything is committed."""

    @inbox.handler(consumer="accounts")
    def handler(event: Event, tx: InboxTransaction) -> Any:
        deposit(event, tx)
        return object()

    with pytest.raises(ResultError, match="nothing was committed"):
        handler(paid())
    assert (balance(fake), records(fake)) == (0, [])


@pytest.mark.parametrize("emits", [True, False])
@pytest.mark.parametrize("after_commit", [True, False])
def test_a_lost_answer_is_settled(inbox: Inbox, fake: FakeDynamoDB, after_commit: bool, emits: bool) -> None:
    """After a lost response the effect happens exactly once, whether or not the commit succeeded."""

    @inbox.handler(consumer="accounts", on_duplicate=lambda *_: "duplicate")
    def handler(event: Event, tx: InboxTransaction) -> int:
        if emits:
            tx.emit(Event("Deposited", {}))
        return deposit(event, tx)

    event = paid()
    for _ in range(4):
        fake.fail_next("transact_write_items", TIMEOUT, after_commit=after_commit)
    told: list[Any] = [handler(event), handler(event)]
    assert told == [30, "duplicate"]
    assert balance(fake) == 30


def test_an_event_id_made_of_the_handled_events_is_no_hindrance_to_the_next_run(
    inbox: Inbox, fake: FakeDynamoDB
) -> None:
    """After lost responses the handler runs again and can emit under the same event id.

    Only the dedup record shows the commit, and no void marker takes the event's key.
    """

    @inbox.handler(consumer="accounts")
    def handler(event: Event, tx: InboxTransaction) -> int:
        tx.emit(Event("Deposited", {}, id=f"{event.id}-deposited", time=event.time))
        return deposit(event, tx)

    for _ in range(4):
        fake.fail_next("transact_write_items", TIMEOUT)
    assert handler(paid()) == 30
    assert balance(fake) == 30
    assert len(fake.scan(TableName="events")["Items"]) == 1


def test_an_answer_that_stays_out_is_an_error_that_the_next_delivery_settles(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """If the read gets no response either, CommitUnknownError is raised; the next delivery finds the record."""
    handler = inbox.handler(consumer="accounts", attempts=1)(deposit)
    event = paid()
    for _ in range(5):
        fake.fail_next("transact_write_items", TIMEOUT, after_commit=True)
    fake.fail_next("get_item", TIMEOUT)
    with pytest.raises(CommitUnknownError):
        handler(event)
    fake._faults.clear()
    assert handler(event) == 30
    assert balance(fake) == 30


def numbered(sequence: int | None, **fields: Any) -> Event:
    return Event(
        "Renamed", {"n": sequence}, sequence=sequence, **({"aggregate_type": "Book", "aggregate_id": "b"} | fields)
    )


def rename(event: Event, tx: InboxTransaction) -> Any:
    tx.put("accounts", {"id": "b", "name": event.sequence})
    return event.sequence


def name(fake: FakeDynamoDB) -> int:
    return int(fake.get_item(TableName="accounts", Key={"id": {"S": "b"}})["Item"]["name"]["N"])


def test_a_stale_event_is_skipped_in_the_same_transaction(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """An event whose sequence is not above the last one handled has no effect and goes to `on_stale`."""
    handler = inbox.handler(consumer="names", on_stale=lambda event: ("stale", event.sequence))(rename)
    assert [handler(numbered(n)) for n in (1, 3, 2, 3, 4)] == [1, 3, ("stale", 2), ("stale", 3), 4]
    assert name(fake) == 4
    assert inbox.handler(consumer="names", on_stale="skip")(rename)(numbered(1)) is None


def test_without_being_told_stale_events_are_handled(inbox: Inbox, fake: FakeDynamoDB) -> None:
    """By default, stale events are handled in the order of delivery."""
    handler = inbox.handler(consumer="names")(rename)
    assert [handler(numbered(n)) for n in (3, 2)] == [3, 2]
    assert name(fake) == 2


def test_a_duplicate_is_a_duplicate_before_it_is_stale(inbox: Inbox) -> None:
    """A duplicate returns its stored result even if it is stale by now."""
    handler = inbox.handler(consumer="names", on_stale=lambda _: "stale")(rename)
    event = numbered(3)
    assert [handler(event), handler(numbered(4)), handler(event)] == [3, 4, 3]


def test_staleness_is_each_aggregates_and_each_consumers_own(inbox: Inbox) -> None:
    """Staleness is tracked separately for each aggregate, by type and id, and each consumer."""
    names = inbox.handler(consumer="names", on_stale="skip")(rename)
    others = inbox.handler(consumer="others", on_stale="skip")(rename)
    names(numbered(3))
    assert names(numbered(1, aggregate_id="c")) == 1
    assert names(numbered(1, aggregate_type="Author")) == 1
    assert others(numbered(1)) == 1


def test_a_handler_that_stumbles_over_a_stale_event_skips_it(inbox: Inbox) -> None:
    """If the handler raises on a stale event, the event is skipped and the exception is not raised."""

    @inbox.handler(consumer="names", on_stale=lambda _: "stale")
    def handler(event: Event, tx: InboxTransaction) -> Any:
        if event.sequence == 2:
            raise ValueError("gone")
        return rename(event, tx)

    handler(numbered(3))
    assert handler(numbered(2)) == "stale"
    with pytest.raises(ValueError, match="gone"):
        handler(numbered(2, aggregate_id="c"))


def test_what_was_seen_last_is_forgotten_with_the_records(inbox: Inbox, clock: FakeClock) -> None:
    """After the store's time to live, an earlier event is no longer stale."""
    handler = inbox.handler(consumer="names", on_stale="skip")(rename)
    handler(numbered(3))
    clock.advance(timedelta(days=8))
    assert handler(numbered(2)) == 2


@pytest.mark.parametrize(
    ("event", "field"),
    [(numbered(None), "sequence"), (numbered(1, aggregate_type=None, aggregate_id=None), "aggregate_id")],
)
def test_an_event_without_a_place_in_an_order_is_refused(inbox: Inbox, event: Event, field: str) -> None:
    """If stale events are skipped, an event without a sequence or an aggregate id is refused by that field."""
    with pytest.raises(InvalidEventError) as caught:
        inbox.handler(consumer="names", on_stale="skip")(rename)(event)
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"consumer": ""}, "consumer"),
        ({"consumer": None}, "consumer"),
        ({"consumer": 7}, "consumer"),
        ({"consumer": "a", "on_stale": "refuse"}, "on_stale"),
        ({"consumer": "a", "attempts": 0}, "attempts"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused(inbox: Inbox, options: dict[str, Any], named: str) -> None:
    """An invalid option is refused when the handler is decorated, and the error names the option."""
    with pytest.raises(ValueError, match=named):
        inbox.handler(**options)


def test_a_coroutine_is_refused(inbox: Inbox) -> None:
    """An async function can't be a handler: it would count as done before it ran."""

    async def handler(event: Event, tx: InboxTransaction) -> None: ...

    with pytest.raises(TypeError, match="coroutine"):
        inbox.handler(consumer="a")(handler)


def test_a_handlers_exception_keeps_its_context(inbox: Inbox) -> None:
    """A handler's exception keeps its own context, also if the caller is handling another exception."""

    @inbox.handler(consumer="catalogue")
    def fail(_: Event, __: InboxTransaction) -> None:
        try:
            raise TimeoutError
        except TimeoutError:
            raise ZeroDivisionError  # noqa: B904  # without `from`, deliberately

    with pytest.raises(ZeroDivisionError) as caught:
        try:
            raise KeyError
        except KeyError:
            fail(paid())
    context = caught.value.__context__
    assert (type(context), type(context and context.__context__)) == (TimeoutError, KeyError)


def test_a_failed_read_shows_the_first_error(fake: FakeDynamoDB, inbox: Inbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the dedup record can't be read after a failure, the error still shows the handler's own exception."""

    monkeypatch.setattr(fake, "get_item", Mock(side_effect=client_error("AccessDeniedException")))
    with pytest.raises(ClientError) as caught:
        inbox.handler(consumer="catalogue")(lambda *_: 1 / 0)(paid())
    assert isinstance(caught.value.__context__, ZeroDivisionError)
