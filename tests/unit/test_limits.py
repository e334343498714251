"""DynamoDB's and EventBridge's limits are checked before a request is sent; the error names the offender."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamo_outbox import (
    Condition,
    Event,
    EventBridgePublisher,
    Retry,
    TableKeys,
    TransactionalOutbox,
    decode_item,
    encode_item,
)
from dynamo_outbox.aws.limits import MAX_ITEM_BYTES
from dynamo_outbox.codec.json_text import dumps
from dynamo_outbox.errors import DecodeError, EncodeError, InvalidEventError, TransactionLimitError
from dynamo_outbox.events.bus_event import DETAIL_FORMS
from dynamo_outbox.events.event import event_from_texts
from dynamo_outbox.events.limits import check_numbers
from dynamo_outbox.events.outbox_item import encode_event
from dynamo_outbox.publishing.classic_bus import MAX_REQUEST_BYTES, entry_size
from dynamo_outbox.writing.limits import item_size

from ..doubles import FakeClock, StubBus, StubDynamoDB
from ..strategies import dynamodb_items, events

if TYPE_CHECKING:
    from collections.abc import Callable

KILOBYTE = 1024
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def outbox_of(client: Any) -> TransactionalOutbox:
    keys = {"books": "name", "lines": ("order", "line")}
    return TransactionalOutbox("books-events", source="Books", client=client, keys=keys, clock=FakeClock())


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({}, 0),
        ({"name": "ab"}, 6),
        ({"ü": "ü"}, 4),
        ({"n": 0}, 2),
        ({"n": 7}, 3),
        ({"n": 1234}, 4),
        ({"n": -12300}, 4),
        ({"b": b"1234"}, 5),
        ({"t": True, "n": None}, 4),
        ({"l": []}, 4),
        ({"l": ["a", "b"]}, 8),
        ({"m": {"k": "v"}}, 7),
        ({"s": {"a", "bc"}}, 4),
    ],
)
def test_an_item_is_measured_by_dynamodbs_rules(item: dict[str, Any], size: int) -> None:
    """Text counts in UTF-8 bytes, numbers one byte per two digits, containers three plus one per member."""
    assert item_size(encode_item(item)) == size


@given(item=dynamodb_items)
def test_an_item_is_at_least_as_large_as_its_names(item: dict[str, Any]) -> None:
    """Each attribute counts at least the length of its name."""
    assert item_size(encode_item(item)) >= sum(len(name.encode()) for name in item)


@pytest.mark.parametrize("label", ["the book", None])
def test_an_item_over_400_kb_is_refused_by_name(label: str | None) -> None:
    """An item of exactly 400 KB is sent; a larger one is refused with its label or position."""
    client = StubDynamoDB()
    item = {"name": "x" * (400 * KILOBYTE - len("name"))}
    with outbox_of(client).transaction() as tx:
        tx.put("books", item)
    with (
        pytest.raises(TransactionLimitError, match=f"^{label or 'action 0'}: the item has 409,601 bytes"),
        outbox_of(client).transaction() as tx,
    ):
        tx.put("books", {"name": item["name"] + "x"}, label=label)
    assert len(client.calls) == 1


def test_a_transaction_over_4_mb_is_refused_by_name() -> None:
    """A transaction over 4 MB is refused; the error names the first action beyond the limit."""
    client = StubDynamoDB()
    with pytest.raises(TransactionLimitError, match=r"^book 10: with it the transaction has"):
        with outbox_of(client).transaction() as tx:
            for number in range(12):
                tx.put("books", {"name": str(number), "text": "x" * 399 * KILOBYTE}, label=f"book {number}")
    assert client.calls == []


@pytest.mark.parametrize(
    "second",
    [
        lambda tx: tx.put("books", {"name": "a", "year": 2}),
        lambda tx: tx.delete("books", {"name": "a"}),
        lambda tx: tx.check("books", {"name": "a"}, condition=Condition("attribute_exists(year)")),
        lambda tx: tx.add({"Delete": {"TableName": "books", "Key": {"name": {"S": "a"}}}}),
    ],
)
def test_an_item_that_is_named_twice_is_refused(second: Any) -> None:
    """Two actions on one item are refused if the table's key is known; the error names both."""
    client = StubDynamoDB()
    with pytest.raises(TransactionLimitError, match="names the same item as the first"):
        with outbox_of(client).transaction() as tx:
            tx.put("books", {"name": "a", "year": 1}, label="the first")
            second(tx)
    assert client.calls == []


def test_two_items_of_one_partition_are_two() -> None:
    """An item is identified by table, partition key and sort key."""
    client = StubDynamoDB()
    with outbox_of(client).transaction() as tx:
        tx.put("lines", {"order": "1", "line": "1"})
        tx.put("lines", {"order": "1", "line": "2"})
        tx.put("books", {"name": "1"})
        tx.put("elsewhere", {"name": "1"})
        tx.put("elsewhere", {"name": "1"})  # an unknown key, so DynamoDB checks it
    assert len(client.calls) == 1


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_an_integer_beyond_64_bits_is_refused_when_emitted(number: int) -> None:
    """An integer beyond 64 bits is refused with its path; the largest one that fits is accepted."""
    check_numbers(Event("A", {"in": 2**63 - 1, "least": -(2**63)}, source="Books"))
    client = StubDynamoDB()
    with (
        pytest.raises(InvalidEventError, match=r"data\.list\[1\]\.n: an integer beyond 64 bits"),
        outbox_of(client).transaction() as tx,
    ):
        tx.emit(Event("A", {"list": [1, {"n": number}]}))
    assert client.calls == []


@given(events(), st.text(max_size=50))
def test_an_event_that_fits_an_item_fits_the_bus(event: Event, text: str) -> None:
    """In each form, even with its data escaped as text, an event is at most about twice as large as its item."""
    event = event.replace(source="Books", correlation_id=text or None)
    item = encode_event(event, expires_at=1, keys=TableKeys())
    escaped = len(dumps(event.data_json).encode()) - len(event.data_json.encode())
    names = (event.id, event.type, event.aggregate_type or "", event.aggregate_id or "")
    most = 2 * item_size(item) + 6 * sum(len(name.encode()) for name in names) + 1024
    for form in DETAIL_FORMS.values():
        entry = {
            "Source": event.source,
            "DetailType": event.type,
            "Detail": form(event, event.source),
            "Time": event.time,
        }
        assert entry_size(entry) + escaped <= most
    assert 2 * MAX_ITEM_BYTES + 6 * (1024 + 128 * 4 + 2 * 2048) + 1024 < MAX_REQUEST_BYTES


def test_a_client_that_would_encode_again_is_refused() -> None:
    """A resource's `meta.client`, which encodes values itself, is refused; a low-level client is accepted."""
    plain = boto3.client("dynamodb", region_name="eu-west-1")
    TransactionalOutbox("books-events", client=plain)
    resource = boto3.resource("dynamodb", region_name="eu-west-1")
    with pytest.raises(TypeError, match=r"its meta\.client.*boto3\.client\('dynamodb'\)"):
        TransactionalOutbox("books-events", client=resource.meta.client)


def test_the_trace_of_the_invocation_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each entry has Lambda's current X-Ray trace header."""
    bus = StubBus()
    publisher = EventBridgePublisher("books", source="Books", client=bus)
    publisher.publish([Event("A", {})])
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-5759e988-bd862e3fe1be46a994272793")
    publisher.publish([Event("B", {})])
    headers = [entry.get("TraceHeader") for entries in bus.calls for entry in entries]
    assert headers == [None, "Root=1-5759e988-bd862e3fe1be46a994272793"]


def test_order_is_kept_where_it_is_asked_for() -> None:
    """With `in_order=True`, two events of an aggregate are sent in separate calls; otherwise they share one."""
    events = [Event(name, {}, aggregate_type="Book", aggregate_id="x") for name in ("A", "B")]
    bus = StubBus()
    publisher = EventBridgePublisher("books", source="Books", client=bus)
    publisher.publish(events, in_order=True)
    publisher.publish(events)
    assert bus.types == [["A"], ["B"], ["A", "B"]]


def test_an_update_counts_what_it_sets() -> None:
    """Updates over 400 KB each or 4 MB together are refused with their label."""
    client = StubDynamoDB()
    with pytest.raises(TransactionLimitError, match=r"^too much: the item has"):
        with outbox_of(client).transaction() as tx:
            tx.update("books", {"name": "a"}, set={"text": "x" * 500 * KILOBYTE}, label="too much")
    with pytest.raises(TransactionLimitError, match=r"^book 10: with it the transaction has"):
        with outbox_of(client).transaction() as tx:
            for number in range(14):
                name = {"name": str(number)}
                tx.update("books", name, set={"text": "x" * 390 * KILOBYTE}, label=f"book {number}")
    assert client.calls == []


def test_two_spellings_of_a_number_name_one_item() -> None:
    """Numbers in keys are compared by value."""
    outbox = TransactionalOutbox("events", client=StubDynamoDB(), keys={"shelves": "number"})
    with pytest.raises(TransactionLimitError, match="names the same item"), outbox.transaction() as tx:
        tx.put("shelves", {"number": 1})
        tx.delete("shelves", {"number": Decimal("1.0")})


@pytest.mark.parametrize(
    ("event", "field"),
    [
        (Event("A", {}, source="Books", aggregate_type="Book", aggregate_id="x" * 2044), "aggregate_id"),
        (Event("A", {}, source="Books", id="x" * 1025), "id"),
        (Event("A", {"text": "x" * 410_000}, source="Books"), "data"),
        (Event("A", {"n": Decimal(2**70)}, source="Books"), "data.n"),
        (Event("A", {"n": Decimal("1E+400")}, source="Books"), "data.n"),
    ],
)
def test_an_event_that_could_never_be_stored_or_read_is_refused_when_emitted(event: Event, field: str) -> None:
    """An event that is too large for DynamoDB or for JSON readers is refused with its field."""
    with pytest.raises(InvalidEventError) as caught:
        outbox_of(StubDynamoDB()).transact_item(event)
    assert caught.value.field == field


def test_a_number_that_no_reader_holds_is_refused_on_arrival() -> None:
    """A JSON number beyond a double raises DecodeError and is not read as infinity."""
    with pytest.raises(DecodeError, match="holds 1e999"):
        _ = event_from_texts(("A", None, None, 1), "1", NOON, None, data='{"n": 1e999}', context="{}").data


@pytest.mark.parametrize(
    "names",
    [
        {"partition_key": "source"},
        {"sort_key": "eventType"},
        {"ttl_attribute": "outboxFormat"},
        {"partition_key": "k", "sort_key": "k"},
        {"ttl_attribute": "pk"},
    ],
)
def test_attributes_that_would_overwrite_each_other_are_refused(names: dict[str, str]) -> None:
    """TableKeys must have distinct names that differ from the item's own attributes."""
    with pytest.raises(ValueError, match="needs"):
        TransactionalOutbox("events", table_keys=TableKeys(**names))


def test_untyped_values_in_an_action_of_ones_own_are_refused_where_they_are() -> None:
    """`add` refuses untyped values with label and path."""
    client = StubDynamoDB()
    with pytest.raises(EncodeError, match=r"^book\.Put\.Item\.name: add\(\) takes DynamoDB's typed values"):
        with outbox_of(client).transaction() as tx:
            tx.add({"Put": {"TableName": "books", "Item": {"name": "a"}}}, label="book")
    assert client.calls == []


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        (lambda: Retry(attempts=0), ValueError),
        (lambda: Retry(timeout=timedelta(seconds=-1)), ValueError),
        (lambda: encode_item({"a": object()}), EncodeError),
        (lambda: decode_item({"a": {"M": []}}), DecodeError),
        (lambda: decode_item({"a": {"M": {1: {"S": "b"}}}}), DecodeError),
        (lambda: encode_item({"a": {1: "b"}}), EncodeError),
    ],
)
def test_small_mistakes_are_refused_too(mistake: Callable[[], object], error: type[Exception]) -> None:
    """Zero attempts, a negative timeout, a map that is not a dict and a name that is not text are refused."""
    with pytest.raises(error):
        mistake()


def test_a_conditions_value_is_typed_like_any_other() -> None:
    """A condition's value that DynamoDB has no type for is refused."""
    client = StubDynamoDB()
    with pytest.raises(EncodeError), outbox_of(client).transaction() as tx:
        tx.check("books", {"name": "a"}, condition=Condition("a = :v", {}, {":v": object()}))
    assert client.calls == []
