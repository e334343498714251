"""Updates of a transaction: nested paths, functions, and what is refused before anything is sent."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import Condition, Event, EventBridgePublisher, IfNotExists, ListAppend, TransactionalOutbox, Version
from dynamo_outbox.codec.values import decode_item
from dynamo_outbox.errors import ConditionFailedError, EncodeError, InvalidEventError, TransactionCanceledError
from dynamo_outbox.testing import FakeEventBridge

from ..doubles import FakeClock, fake_dynamodb

if TYPE_CHECKING:
    from dynamo_outbox.testing import FakeDynamoDB

KEY = {"name": "Dune"}


@pytest.fixture
def dynamodb(clock: FakeClock) -> FakeDynamoDB:
    return fake_dynamodb({"books": ["name"], "events": ["pk", "sk"]}, clock)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def outbox(dynamodb: FakeDynamoDB, clock: FakeClock) -> TransactionalOutbox:
    return TransactionalOutbox("events", source="Shop", client=dynamodb, clock=clock, keys={"books": "name"})


def book(dynamodb: FakeDynamoDB) -> dict[str, Any]:
    return decode_item(dynamodb.get_item(TableName="books", Key={"name": {"S": "Dune"}}).get("Item", {}))


def updated(outbox: TransactionalOutbox, **changes: Any) -> None:
    with outbox.transaction() as tx:
        tx.update("books", KEY, **changes)


def test_a_dotted_name_is_a_path_into_a_nested_value(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """`set`, `add` and `remove` reach into nested maps and lists, as boto3's `Attr` does."""
    with outbox.transaction() as tx:
        tx.put("books", {**KEY, "address": {"city": "Arrakeen", "zip": "1"}, "lines": [{"n": 1}, {"n": 2}]})
    updated(outbox, set={"address.city": "Caladan"}, add={"lines[1].n": 5}, remove="address.zip")
    assert book(dynamodb) == {**KEY, "address": {"city": "Caladan"}, "lines": [{"n": 1}, {"n": 7}]}


def test_a_default_is_set_only_once(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """`IfNotExists` sets an attribute that does not exist, and leaves one that does."""
    for value in (1, 2):
        updated(outbox, set={"n": IfNotExists(value)})
    assert book(dynamodb)["n"] == 1


@pytest.mark.parametrize(("in_front", "expected"), [(False, ["a", "b", "c"]), (True, ["b", "c", "a"])])
def test_members_are_added_to_a_list(
    outbox: TransactionalOutbox, dynamodb: FakeDynamoDB, in_front: bool, expected: list[str]
) -> None:
    """`ListAppend` creates the list, and adds to either end of an existing one."""
    updated(outbox, set={"tags": ListAppend(["a"])})
    updated(outbox, set={"tags": ListAppend(["b", "c"], in_front=in_front)})
    assert book(dynamodb)["tags"] == expected


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "a[", "a[x]", "a[0", "a]", "[0]", 5, None])
@pytest.mark.parametrize("clause", ["set", "add", "remove"])
def test_a_malformed_path_is_refused(outbox: TransactionalOutbox, path: Any, clause: str) -> None:
    """A path that DynamoDB could not read is refused by name, before anything is sent."""
    changes = {"remove": [path]} if clause == "remove" else {clause: {path: 1}}
    with pytest.raises(ValueError, match=f"{clause}="):
        updated(outbox, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"set": {"n": 1}, "add": {"n": 1}},
        {"set": {"n": 1}, "remove": "n"},
        {"remove": ["n", "n"]},
        {"set": {"a.b": 1, "a": {}}},
        {"set": {"a": {}}, "remove": "a.b"},
        {"set": {"a[0]": 1}, "remove": "a[0].b"},
    ],
)
def test_changes_that_overlap_are_refused(outbox: TransactionalOutbox, changes: dict[str, Any]) -> None:
    """DynamoDB refuses two changes of one path; the error names both clauses."""
    with pytest.raises(ValueError, match="overlaps"):
        updated(outbox, **changes)


def test_a_locks_attribute_is_not_changed_twice(outbox: TransactionalOutbox) -> None:
    """The version attribute of a lock, or a part of it, can't be set, added to or removed by the same update."""
    for changes in ({"set": {"v": 1}}, {"set": {"v.a": 1}}, {"add": {"v": 1}}, {"add": {"v[0]": 1}}, {"remove": "v"}):
        with pytest.raises(ValueError, match="version lock"):
            updated(outbox, **changes, version=Version("v", expected=1))


@pytest.mark.parametrize(
    ("changes", "path"),
    [({"set": {"a.b": {"c": object()}}}, r"set\.a\.b\.c"), ({"add": {"n": object()}}, r"add\.n")],
)
def test_a_value_without_a_type_is_named(outbox: TransactionalOutbox, changes: dict[str, Any], path: str) -> None:
    """The error of an update names the attribute, and the place in its value."""
    with pytest.raises(EncodeError, match=path):
        updated(outbox, **changes)


@pytest.mark.parametrize("key", [{"name": ["x"]}, {"name": {"a": 1}}, {"name": True}, {"name": None}, {"name": {"x"}}])
def test_a_key_of_a_type_that_keys_do_not_have_is_refused(outbox: TransactionalOutbox, key: dict[str, Any]) -> None:
    """A key is text, a number or binary, in every operation that takes one."""
    options_of: dict[str, dict[str, Any]] = {
        "update": {"set": {"n": 1}},
        "delete": {},
        "check": {"condition": "must_exist"},
        "get": {"version": "v"},
    }
    for step, options in options_of.items():
        with outbox.transaction() as tx, pytest.raises(EncodeError, match="a key is text"):
            getattr(tx, step)("books", key, **options)


@pytest.mark.parametrize("names", [({"#outbox_0": "n"}, {}), ({}, {":outbox_key": 1})])
def test_placeholders_of_the_library_are_reserved(outbox: TransactionalOutbox, names: Any) -> None:
    """A condition with a placeholder that the library uses is refused; it used to be replaced in silence."""
    with pytest.raises(ValueError, match="reserved"):
        updated(outbox, set={"n": 1}, condition=Condition("attribute_exists(n)", *names))


def test_further_events_take_the_next_versions(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """Three events of one aggregate after one lock are numbered in a row, and the item gets the last number."""
    for operation in ("put", "update"):
        with outbox.transaction() as tx:
            lock = Version("v", expected=int(book(dynamodb).get("v", 0)) or 4)
            if operation == "put":
                tx.put("books", {**KEY, "v": 0})
            else:
                tx.update("books", KEY, set={"n": 1}, version=lock)
            events = [tx.emit(Event("T", {}, aggregate_type="Book", aggregate_id="Dune")) for _ in range(3)]
        if operation == "put":
            assert [event.sequence for event in events] == [None] * 3
            dynamodb.put_item(TableName="books", Item={"name": {"S": "Dune"}, "v": {"N": "4"}})
        else:
            assert [event.sequence for event in events] == [5, 6, 7]
            assert book(dynamodb)["v"] == 7


def test_a_whole_item_gets_the_last_version(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """A put under a lock writes the version of its last event, so that the next writer follows it."""
    with outbox.transaction() as tx:
        tx.put("books", KEY, version=Version("v", expected=0))
        events = [tx.emit(Event("T", {}, aggregate_type="Book", aggregate_id="Dune")) for _ in range(2)]
    assert [event.sequence for event in events] == [book(dynamodb)["v"] - 1, book(dynamodb)["v"]]


def test_a_refused_event_takes_no_version(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """An event that can't be written leaves the numbers to the others."""
    dynamodb.put_item(TableName="books", Item={"name": {"S": "Dune"}, "v": {"N": "4"}})
    with outbox.transaction() as tx:
        tx.put("books", KEY, version=Version("v", expected=4))
        tx.emit(Event("T", {}, aggregate_type="Book", aggregate_id="Dune"))
        with pytest.raises(InvalidEventError):
            tx.emit(Event("T", {"n": 2**64}, aggregate_type="Book", aggregate_id="Dune"))
        last = tx.emit(Event("T", {}, aggregate_type="Book", aggregate_id="Dune"))
    assert (last.sequence, book(dynamodb)["v"]) == (6, 6)


def test_an_event_of_another_aggregate_has_no_number(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """After a lock's version is taken, only events of its aggregate continue it."""
    dynamodb.put_item(TableName="books", Item={"name": {"S": "Dune"}, "v": {"N": "4"}})
    with outbox.transaction() as tx:
        tx.put("books", KEY, version=Version("v", expected=4))
        first = tx.emit(Event("T", {}, aggregate_type="Book", aggregate_id="Dune"))
        other = tx.emit(Event("T", {}, aggregate_type="Author", aggregate_id="Herbert"))
    assert (first.sequence, other.sequence, book(dynamodb)["v"]) == (5, None, 5)


def test_a_cancelled_transaction_says_what_and_why(outbox: TransactionalOutbox) -> None:
    """The text has table, key, label and stale version; PynamoDB#1143 and aws-sdk-js#2464 ask which one."""
    with outbox.transaction() as tx:
        tx.put("books", {**KEY, "v": 5})
    with pytest.raises(ConditionFailedError) as caught, outbox.transaction() as tx:
        tx.update("books", KEY, set={"n": 1}, version=Version("v", expected=4), label="the book")
    text = str(caught.value)
    assert "'the book' on books {'name': 'Dune'}: ConditionalCheckFailed" in text
    assert "stale: v=4 was read, and there is v=5 now" in text
    reason = caught.value.reasons[0]
    assert (reason.table, reason.key) == ("books", KEY)


def test_dynamodbs_own_reason_is_shown(outbox: TransactionalOutbox) -> None:
    """DynamoDB's message for a refused action is part of the text."""
    with pytest.raises(TransactionCanceledError, match=r"ValidationError: .+[Tt]ype"), outbox.transaction() as tx:
        tx.put("books", {"name": 5}, label="the book")


@pytest.mark.parametrize("token", ["", "x" * 37])
def test_a_token_that_dynamodb_would_refuse_is_refused(outbox: TransactionalOutbox, token: str) -> None:
    """A ClientRequestToken has 1 to 36 characters."""
    with pytest.raises(ValueError, match="token="):
        outbox.transaction(token=token)


def test_the_callers_token_is_sent(outbox: TransactionalOutbox, dynamodb: FakeDynamoDB) -> None:
    """The same transaction with the same token writes once."""
    for _ in range(2):
        with outbox.transaction(token="order-7") as tx:  # not a password
            tx.update("books", KEY, add={"n": 1})
    assert book(dynamodb)["n"] == 1
    assert {call.request["ClientRequestToken"] for call in dynamodb.calls if "ClientRequestToken" in call.request} == {
        "order-7"
    }


def test_a_repetition_with_the_callers_token_is_the_same_request(
    outbox: TransactionalOutbox, dynamodb: FakeDynamoDB, clock: FakeClock
) -> None:
    """The same transaction with an event of one's own id, repeated minutes later with the token, writes once."""
    event = Event("OrderPlaced", {}, id="order-7", time=clock.now())
    for _ in range(2):
        with outbox.transaction(token="order-7") as tx:  # not a password
            tx.update("books", KEY, add={"n": 1})
            tx.emit(event)
        clock.advance(timedelta(minutes=9))
    assert book(dynamodb)["n"] == 1


def test_a_repetition_on_another_day_is_refused(
    outbox: TransactionalOutbox, dynamodb: FakeDynamoDB, clock: FakeClock
) -> None:
    """A repetition whose events would be kept until another day is another request: refused, and nothing is written."""
    event = Event("OrderPlaced", {}, id="order-7", time=clock.now())

    def write() -> None:
        with outbox.transaction(token="order-7") as tx:  # not a password
            tx.update("books", KEY, add={"n": 1})
            tx.emit(event)

    clock.advance(timedelta(days=1) - timedelta(seconds=clock.now().timestamp() % 86_400 + 60))
    write()
    clock.advance(timedelta(minutes=2))
    with pytest.raises(ClientError, match="IdempotentParameterMismatch"):
        write()
    assert book(dynamodb)["n"] == 1


def test_a_global_endpoint_is_sent(clock: FakeClock) -> None:
    """`endpoint_id` goes into each PutEvents request."""
    requests: list[dict[str, Any]] = []

    class Bus:
        def put_events(self, **request: Any) -> dict[str, Any]:
            requests.append(request)
            return {"FailedEntryCount": 0, "Entries": [{"EventId": "1"}]}

    EventBridgePublisher("bus", client=Bus(), endpoint_id="abcde.veo", clock=clock).publish(
        [Event("T", {}, source="Shop")]
    )
    assert requests[0]["EndpointId"] == "abcde.veo"
    fake = FakeEventBridge(clock=clock)
    EventBridgePublisher("bus", client=fake, clock=clock).publish([Event("T", {}, source="Shop")])
    assert len(fake.events) == 1


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=3).map(".".join)


@given(st.lists(st.tuples(PATHS, st.integers(0, 9)), min_size=1, max_size=4, unique_by=lambda pair: pair[0]))
def test_paths_are_set_as_in_a_dict(changes: list[tuple[str, int]]) -> None:
    """An update of paths sets the same values as in nested dicts; changes that overlap are refused."""
    clock = FakeClock()
    dynamodb = fake_dynamodb({"books": ["name"], "events": ["pk", "sk"]}, clock)
    outbox = TransactionalOutbox("events", source="Shop", client=dynamodb, clock=clock, keys={"books": "name"})
    inner = {name: {other: dict.fromkeys("abc", -1) for other in "abc"} for name in "abc"}
    with outbox.transaction() as tx:
        tx.put("books", {**KEY, **inner})
    paths = [path.split(".") for path, _ in changes]
    overlap = any(one != other and other[: len(one)] == one for one in paths for other in paths)
    if overlap:
        with pytest.raises(ValueError, match="overlaps"):
            updated(outbox, set=dict(changes))
        return
    updated(outbox, set=dict(changes))
    found = book(dynamodb)
    for path, value in changes:
        at: Any = found
        for step in path.split("."):
            at = at[step]
        assert at == value
