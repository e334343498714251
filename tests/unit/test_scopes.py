"""Scopes and identities: no combination of scope, consumer, source, id and key gives another one's record."""

from __future__ import annotations

import types
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from dynamo_outbox import Event, IdempotencyStore, Inbox, InboxTransaction, idempotent, parse_event
from dynamo_outbox.consuming.inbox_records import dedup_claim, sequence_claim
from dynamo_outbox.consuming.keys import claim_maker
from dynamo_outbox.errors import InvalidIdempotencyKeyError, PayloadMismatchError
from dynamo_outbox.events.ids import joined

from ..doubles import fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

    from ..doubles import FakeClock

EVENT = Event("OrderPlaced", {"n": 1}, id="1", source="Shop")
TEXTS = st.text(alphabet="a#%=2350\x00é", max_size=5)
PARTS = st.lists(TEXTS, min_size=1, max_size=4)


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"handled": ["pk"], "days": ["source"]}, clock)


@pytest.fixture
def store(dynamodb: FakeDynamoDB, clock: FakeClock) -> IdempotencyStore:
    return IdempotencyStore("handled", client=dynamodb, clock=clock)


def records(dynamodb: FakeDynamoDB) -> set[str]:
    return {item["pk"]["S"] for item in dynamodb.scan(TableName="handled")["Items"]}


@st.composite
def splits(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Return parts, and another split of the text that they would be without escapes."""
    some = draw(PARTS)
    text = "#".join(some)
    kept = draw(st.sets(st.sampled_from(range(len(text) + 1))))
    pieces = [""]
    for position, character in enumerate(text):
        if character == "#" and position in kept:
            pieces.append("")
        else:
            pieces[-1] += character
    return some, pieces


@given(st.tuples(PARTS, PARTS) | splits())
def test_no_two_sequences_of_parts_give_one_key(pair: tuple[list[str], list[str]]) -> None:
    """Joined parts are equal only if the parts are."""
    some, others = pair
    assert (joined(*some) == joined(*others)) == (some == others)


def key_for(scope: str, found: object) -> str:
    def function(payload: Any) -> None: ...

    claim = claim_maker(function, key=lambda _: found, scope=scope, on_missing_key="raise")(({},), {})
    assert claim is not None
    return claim.key


FOUND = st.one_of(
    TEXTS.filter(bool), st.integers(-9, 9), st.lists(TEXTS.filter(bool) | st.integers(-9, 9), min_size=1, max_size=3)
)


@st.composite
def two_keys(draw: st.DrawFn) -> tuple[str, object, str, object]:
    """Return two scopes and keys whose texts, joined without escapes, are the same, if the parts allow it."""
    (scope, *found), (other, *other_found) = draw(splits())
    assume(scope and other and found and other_found and all([*found, *other_found]))
    return scope, found, other, other_found


@given(st.tuples(TEXTS.filter(bool), FOUND, TEXTS.filter(bool), FOUND) | two_keys())
def test_no_two_scopes_and_keys_give_one_record(pair: tuple[str, object, str, object]) -> None:
    """Two calls share a record only if scope and key are equal; a list of one member is that member."""
    scope, found, other, other_found = pair
    some, others = ([each] if not isinstance(each, list) else each for each in (found, other_found))
    is_same = (scope, some) == (other, others)
    assert (key_for(scope, found) == key_for(other, other_found)) == is_same


@given(TEXTS.filter(bool), FOUND, TEXTS.filter(bool), st.tuples(TEXTS, TEXTS, TEXTS))
def test_no_call_gives_an_inboxs_record(scope: str, found: object, consumer: str, identity: Any) -> None:
    """Calls, dedup records and sequence records have different keys, whatever scope and consumer are called."""
    source, name, number = (f"x{each}".replace("\x00", "") for each in identity)
    event = Event("T", {}, id=name, source=source, aggregate_type="T", aggregate_id=number, sequence=1)
    keys = {
        key_for(scope, found),
        dedup_claim(consumer, event, "token", "").key,
        sequence_claim(consumer, event).key,
    }
    assert len(keys) == 3


@given(st.tuples(TEXTS, TEXTS, TEXTS), st.tuples(TEXTS, TEXTS, TEXTS))
def test_no_two_events_or_consumers_share_a_dedup_record(some: Any, others: Any) -> None:
    """Consumer, source and id together identify a dedup record."""

    def key(consumer: str, source: str, name: str) -> str:
        event = Event("T", {}, id=f"x{name}".replace("\x00", ""), source=f"x{source}".replace("\x00", ""))
        return dedup_claim(consumer, event, "token", "").key

    plain = [tuple(each.replace("\x00", "") if at else each for at, each in enumerate(one)) for one in (some, others)]
    assert (key(*some) == key(*others)) == (plain[0] == plain[1])


@pytest.mark.parametrize("scope", ["", None, 7, b"s", ["s"]])
def test_a_scope_is_a_name(store: IdempotencyStore, scope: Any) -> None:
    """A scope that is not a name is refused when the function is decorated; the error says what it is for."""
    with pytest.raises(ValueError, match="must be a name, unique among the functions that share the store's table"):
        idempotent(store, scope=scope)


def test_a_scope_is_required(store: IdempotencyStore) -> None:
    """Without a scope the decorator is refused, because no name that Python knows is unique."""
    unscoped: Any = idempotent
    with pytest.raises(TypeError, match="scope"):
        unscoped(store)


def test_a_scope_may_be_an_enum(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """A member of a StrEnum is the name that it stands for."""

    class Scope(StrEnum):
        CHARGE = "billing.charge"

    idempotent(store, scope=Scope.CHARGE)(lambda _: None)(EVENT)
    assert records(dynamodb) == {"call#billing.charge#Shop#1"}


def handler_of_a_module(store: IdempotencyStore, scope: str) -> Callable[..., Any]:
    """Return `app.handler` of a module of its own, as each Lambda function has one."""
    module = types.ModuleType("app")
    vars(module).update(store=store, scope=scope, idempotent=idempotent)
    exec("@idempotent(store, scope=scope)\ndef handler(event, context):\n    return scope", vars(module))  # noqa: S102
    handler: Callable[..., Any] = module.handler
    return handler


def test_two_functions_called_app_handler_both_run(store: IdempotencyStore) -> None:
    """powertools-lambda-python#318: handlers of one name that share a table each handle the event."""
    billing, mail = handler_of_a_module(store, "billing"), handler_of_a_module(store, "mail")
    assert billing.__qualname__ == mail.__qualname__
    assert [billing(EVENT, None), mail(EVENT, None), billing(EVENT, None)] == ["billing", "mail", "billing"]


def test_closures_and_reused_names_have_scopes_of_their_own(store: IdempotencyStore) -> None:
    """powertools-lambda-python#318: closures of one function, and functions of one name, each handle the event."""

    def sender(channel: str) -> Callable[[Event], str]:
        @idempotent(store, scope=f"send.{channel}")
        def _(_event: Event) -> str:
            return channel

        return _

    assert [sender(each)(EVENT) for each in ("mail", "sms", "mail")] == ["mail", "sms", "mail"]


def test_a_methods_key_may_name_its_object(store: IdempotencyStore) -> None:
    """powertools-lambda-python#318: with `self` in the key, each object of a class and a subclass handles the event."""

    class Sender:
        def __init__(self, to: str) -> None:
            self.to = to

        @idempotent(store, scope="send", key=lambda self, event: [type(self).__name__, self.to, event.id])
        def send(self, event: Event) -> str:
            return f"{event.id} to {self.to} by {type(self).__name__}"

    class Mail(Sender): ...

    senders = [Sender("a"), Sender("b"), Mail("a")]
    expected = ["1 to a by Sender", "1 to b by Sender", "1 to a by Mail"]
    assert [each.send(EVENT) for each in (*senders, *senders)] == expected * 2


def test_two_functions_with_one_scope_are_one(store: IdempotencyStore) -> None:
    """A function that was renamed or replaced keeps its calls, as long as its scope stays."""

    def old(_: Event) -> str:
        return "old"

    def new(_: Event) -> str:
        return "new"

    assert [idempotent(store, scope="s")(each)(EVENT) for each in (old, new)] == ["old", "old"]


@pytest.mark.parametrize(
    ("some", "others"),
    [
        (("pay", "refund#1"), ("pay#refund", "1")),
        (("pay", ["refund", "1"]), ("pay#refund", "1")),
        (("a%23b", "1"), ("a#b", "1")),
        (("a", "1"), ("a", 1)),
        (("a", "=1"), ("a", 1)),
        (("a", "%3D1"), ("a", "=1")),
        (("a", "1#2"), ("a", ["1", "2"])),
        (("inbox", "c#77"), ("inbox#c", "77")),
    ],
)
def test_calls_of_two_scopes_do_not_replay_each_other(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, some: tuple[str, Any], others: tuple[str, Any]
) -> None:
    """A separator in a scope or in a key separates nothing: both functions run."""
    ran = []
    for scope, key in (some, others):
        idempotent(store, scope=scope, key="id")(lambda _, scope=scope: ran.append(scope))({"id": key})
    assert (ran, len(records(dynamodb))) == ([some[0], others[0]], 2)


@pytest.mark.parametrize("scope", ["inbox", "inbox#c", "inbox-sequence", "inbox#c#/shop/eu", "call"])
def test_a_scope_cannot_take_an_inboxs_record(store: IdempotencyStore, scope: str) -> None:
    """An idempotent function whose scope looks like an inbox's key takes no event away from the inbox."""
    handled = []

    @Inbox(store).handler(consumer="c")
    def handler(event: Event, _: InboxTransaction) -> None:
        handled.append(event.id)

    for key in ("77", "c#77", "c#/shop/eu#77", "/shop/eu#77", ["c", "/shop/eu", "77"]):
        idempotent(store, scope=scope, key="id")(lambda payload: payload)({"id": key})
    handler(cloud_event("/shop/eu", id="77"))
    assert handled == ["77"]


def cloud_event(source: str, **members: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "1",
        "source": source,
        "type": "DayClosed",
        "time": "2026-01-01T00:00:00Z",
        "data": {"day": "2026-01-01"},
        **members,
    }


@pytest.mark.parametrize("prepare", [lambda event: event, parse_event], ids=["payload", "event"])
def test_an_event_is_identified_by_source_and_id(
    store: IdempotencyStore, dynamodb: FakeDynamoDB, prepare: Callable[[Any], Any]
) -> None:
    """CloudEvents 1.0, "id": two sources may use one id; inbox and decorator handle both events, each once."""
    handled: list[str | None] = []

    @Inbox(store).handler(consumer="c")
    def inbox(event: Event, tx: InboxTransaction) -> str | None:
        tx.update("days", {"source": event.source}, add={"n": 1})
        return event.source

    @idempotent(store, scope="s")
    def call(event: Any) -> str | None:
        source: str | None = event.source if isinstance(event, Event) else event["source"]
        handled.append(source)
        return source

    sources = ["/shop/eu", "/shop/us", "/shop/eu"]
    for function in (inbox, call):
        assert [function(prepare(cloud_event(each))) for each in sources] == sources
    assert handled == sources[:2]
    assert [item["n"] for item in dynamodb.scan(TableName="days")["Items"]] == [{"N": "1"}] * 2
    assert len(records(dynamodb)) == 4


@pytest.mark.parametrize("change", [{"type": "DayOpened"}, {"data": {"day": "2026-01-02"}}])
def test_one_identity_with_other_content_is_an_error(store: IdempotencyStore, change: dict[str, Any]) -> None:
    """One source and id with another type or other data is another payload, for inbox and decorator."""
    inbox = Inbox(store).handler(consumer="c")(lambda _event, _tx: None)
    call = idempotent(store, scope="s")(lambda _: None)
    for function in (inbox, call):
        function(cloud_event("/shop"))
        function(cloud_event("/shop", time="2026-02-02T00:00:00Z", subject="another envelope"))
        with pytest.raises(PayloadMismatchError):
            function(cloud_event("/shop", **change))


def test_the_source_counts_in_a_fingerprint(store: IdempotencyStore) -> None:
    """A key of the caller's own that two sources share is another payload's."""
    call = idempotent(store, scope="s", key="data.day")(lambda _: None)
    call(cloud_event("/shop/eu"))
    with pytest.raises(PayloadMismatchError):
        call(cloud_event("/shop/us", id="2"))


def test_stale_events_are_skipped_by_source(store: IdempotencyStore) -> None:
    """Aggregates of one name in two sources have their own last sequences."""
    handler = Inbox(store).handler(consumer="c", on_stale="skip")(lambda event, _: event.source)
    days = [Event("T", {}, source=each, aggregate_type="Day", aggregate_id="1", sequence=5) for each in ("eu", "us")]
    assert [handler(each) for each in (*days, days[0].replace(id="another"))] == ["eu", "us", None]


@pytest.mark.parametrize(("consumer", "key"), [("a#b", "inbox#a%23b#Shop#1"), ("a%23b", "inbox#a%2523b#Shop#1")])
def test_a_consumer_may_have_any_name(store: IdempotencyStore, dynamodb: FakeDynamoDB, consumer: str, key: str) -> None:
    """A separator in a consumer's name is escaped."""
    assert Inbox(store).handler(consumer=consumer)(lambda event, _: event.id)(EVENT) == "1"
    assert records(dynamodb) == {key}


def test_an_event_id_that_makes_the_key_too_long_is_refused(store: IdempotencyStore, dynamodb: FakeDynamoDB) -> None:
    """An inbox refuses an event whose source and id exceed DynamoDB's limit before it sends a request."""
    dynamodb.calls.clear()
    inbox = Inbox(store).handler(consumer="c")(lambda event, _: event.id)
    with pytest.raises(InvalidIdempotencyKeyError, match=r"source and id give a key of 2,0\d\d bytes, and 1,984 fit"):
        inbox(EVENT.replace(id="x" * 2000))
    assert dynamodb.calls == []
