"""Regression tests: small cases that do not belong to a single module's tests."""

from __future__ import annotations

import asyncio
import copy
import dataclasses
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from boto3.dynamodb.conditions import Attr
from pydantic import BaseModel, ConfigDict

from dynamo_outbox import (
    ChangeProcessor,
    Condition,
    DomainEvent,
    Event,
    EventBridgePublisher,
    IdempotencyStore,
    OutboxRelay,
    TransactionalOutbox,
    Version,
    decode_item,
    decode_record,
    encode_item,
    idempotent,
    parse_event,
    parse_events,
)
from dynamo_outbox.aws.clients import forget_shared_clients, shared_client
from dynamo_outbox.codec.json_text import canonical
from dynamo_outbox.errors import (
    DecodeError,
    EncodeError,
    InvalidEventError,
    InvalidIdempotencyKeyError,
    LeaseLostError,
    OutboxError,
    PublishError,
    TransactionLimitError,
)
from dynamo_outbox.events.outbox_item import decode_event

from ..doubles import FakeClock, StubBus, StubDynamoDB

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

EVENT = Event("BookAdded", {"name": "Team Topologies"}, source="Books")
YEAR, PAGES = Attr("year").gt(2000), Attr("pages").lt(300)


@pytest.mark.parametrize(
    ("condition", "grouped"),
    [
        (YEAR, "(#n0 > :v0)"),
        (YEAR | PAGES, "(#n0 > :v0 OR #n1 < :v1)"),
        (~YEAR, "(NOT #n0 > :v0)"),
        (Condition("(a = b) OR (c = d)"), "((a = b) OR (c = d))"),
        (Condition("(a = b OR c = d)"), "(a = b OR c = d)"),
        (Condition("a = b"), "(a = b)"),
    ],
)
def test_a_condition_has_no_redundant_parentheses(condition: Any, grouped: str) -> None:
    """A condition has no doubled parentheses, which DynamoDB refuses; boto3 adds some of its own."""
    client = StubDynamoDB()
    with TransactionalOutbox("events", client=client).transaction() as tx:
        tx.delete("books", {"name": "a"}, version=Version("version", expected=3), condition=condition)
    expression = client.transact_items[0]["Delete"]["ConditionExpression"]
    assert expression == f"(#outbox_version = :outbox_version) AND {grouped}"


def test_a_single_attribute_to_remove_is_one_attribute() -> None:
    """`remove="draft"` removes the attribute draft, not the attributes d, r, a, f and t."""
    client = StubDynamoDB()
    with TransactionalOutbox("events", client=client).transaction() as tx:
        tx.update("books", {"name": "a"}, remove="draft")
    assert client.transact_items[0]["Update"]["ExpressionAttributeNames"] == {"#outbox_0": "draft"}


def test_a_stream_without_images_fails_the_relay_loudly() -> None:
    """An insertion without its new image is reported as failed, because it may have been an event."""
    record = {
        "eventID": "1",
        "eventName": "INSERT",
        "dynamodb": {"Keys": {"pk": {"S": "a"}}, "SequenceNumber": "1", "ApproximateCreationDateTime": 1},
    }
    answer = OutboxRelay(EventBridgePublisher("books", client=StubBus()))({"Records": [record]})
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}


@pytest.mark.parametrize("bad", [Event("Bad", {}), Event("Bad", {"n": 10**4000}, source="Books")])
def test_an_event_that_can_never_be_sent_holds_up_no_other(bad: Event) -> None:
    """An event without a source or with an oversized number fails only its own record; the others are published."""
    bus = StubBus()
    changes = {"1": EVENT, "2": bad, "3": EVENT.replace(type="Last")}
    process = ChangeProcessor(
        EventBridgePublisher("books", client=bus), lambda record: changes[str(record.sequence_number)]
    )
    records = [
        {
            "eventID": number,
            "eventName": "INSERT",
            "dynamodb": {"Keys": {"pk": {"S": number}}, "SequenceNumber": number, "ApproximateCreationDateTime": 1},
        }
        for number in changes
    ]
    assert process({"Records": records}) == {"batchItemFailures": [{"itemIdentifier": "2"}]}
    assert bus.sent == ["BookAdded", "Last"]


@pytest.mark.parametrize("metadata", [..., None, "text", {"id": "2", "type": "BookRemoved", "version": 7}])
def test_an_event_from_a_pipe_is_read_from_its_item(
    load_event: Callable[[str], dict[str, Any]], metadata: object
) -> None:
    """The metadata beside a pipe's item, which another template may change, do not change the event."""
    event = load_event("eventbridge_from_templated_pipe")
    expected = parse_event(event)
    if metadata is ...:
        del event["detail"]["metadata"]
    else:
        event["detail"]["metadata"] = metadata
    assert parse_event(event) == expected


@pytest.mark.parametrize(
    "equals",
    [
        [1, 1.0, Decimal("1.0"), Decimal(1)],
        [0, -0.0, Decimal("0E+5")],
        [0.1, Decimal("0.1"), Decimal("0.10")],
        [100, 1e2, Decimal("1E+2")],
        [{"a": 1, "b": [1]}, {"b": (1.0,), "a": Decimal(1)}],
    ],
)
def test_equal_payloads_have_one_fingerprint(equals: list[Any]) -> None:
    """Numbers are compared by value: a pipe may spell a number differently than the relay."""
    assert len({canonical(value) for value in equals}) == 1


def test_different_payloads_have_different_fingerprints() -> None:
    """Text and numbers, true and 1, and numbers that differ in one digit have different fingerprints."""
    values = [1, "1", True, None, [], {}, [1], {"1": 1}, Decimal("1.00000000000000000000000000000000000001"), 2**64]
    assert len({canonical(value) for value in values}) == len(values)


def test_a_call_is_not_forgotten_while_it_runs() -> None:
    """A store whose `ttl` is shorter than its lease is refused."""
    with pytest.raises(ValueError, match="a running call must not be forgotten"):
        IdempotencyStore("handled", ttl=timedelta(minutes=1))


@pytest.fixture
def store(dynamodb: FakeDynamoDB, create_table: Callable[..., None]) -> IdempotencyStore:
    create_table("handled", "pk")
    return IdempotencyStore("handled", client=dynamodb, clock=FakeClock())


def test_an_async_on_duplicate_is_awaited(store: IdempotencyStore) -> None:
    """An async `on_duplicate` is awaited, and the caller gets its return value."""

    async def told(result: str, _event: Event) -> str:
        return f"{result} again"

    @idempotent(store, scope="handle", on_duplicate=told)
    async def handle(_event: Event) -> str:
        return "done"

    async def both() -> list[str]:
        return [await handle(EVENT), await handle(EVENT)]

    assert asyncio.run(both()) == ["done", "done again"]


def test_a_function_that_returns_an_awaitable_is_not_counted_as_run(store: IdempotencyStore) -> None:
    """A sync function that returns an awaitable is refused, and its key is released."""

    async def effect() -> None:
        pass

    @idempotent(store, scope="a")
    def handle(_event: Event) -> Any:
        return awaitables.pop()

    awaitables: list[Any] = [asyncio.sleep(0), effect()]
    waiting = list(awaitables)
    for _ in range(2):
        with pytest.raises(TypeError, match="returned an awaitable"):
            handle(EVENT)
    for each in waiting:
        each.close()


class Order(BaseModel):
    id: str
    at: datetime


@dataclasses.dataclass
class Parcel:
    id: str


@pytest.mark.parametrize("payload", [Order(id="1", at=datetime(2026, 11, 23, tzinfo=UTC)), Parcel("1"), {"id": 1}])
def test_a_model_is_its_own_fingerprint(store: IdempotencyStore, payload: Any) -> None:
    """The fingerprint of a pydantic model or a dataclass is made from its fields."""
    runs = []

    @idempotent(store, scope="handle", key=lambda order: order["id"] if isinstance(order, dict) else order.id)
    def handle(order: Any) -> int:
        runs.append(order)
        return len(runs)

    assert [handle(payload), handle(copy.deepcopy(payload))] == [1, 1]


@pytest.mark.parametrize("found", [{"a": 1}, [["a"]], True, float("nan")])
def test_a_key_is_text_or_a_number(store: IdempotencyStore, found: Any) -> None:
    """A key that is neither text nor a number nor the like is refused, because its spelling would define duplicates."""
    handle = idempotent(store, key="key", scope="a")(lambda payload: payload)
    with pytest.raises(InvalidIdempotencyKeyError, match="a key is text, a number"):
        handle({"key": found})


def test_a_context_that_tells_no_time_is_no_lambda_context(store: IdempotencyStore) -> None:
    """A context whose remaining time is not a number is ignored, and the store's lease is used."""

    class Mock:
        def get_remaining_time_in_millis(self) -> Any:
            return self

    @idempotent(store, scope="handle", key="id")
    def handle(payload: dict[str, str], _context: Any) -> str:
        return payload["id"]

    assert handle({"id": "1"}, Mock()) == "1"


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))])  # noqa: S301
def test_values_can_be_copied_and_pickled(copied: Callable[[Any], Any]) -> None:
    """A frozen event or record can be copied and pickled, and the copy is frozen too."""
    record = decode_record(
        {
            "eventID": "1",
            "eventName": "INSERT",
            "dynamodb": {"Keys": {"pk": {"S": "a"}}, "SequenceNumber": "1", "ApproximateCreationDateTime": 1},
        }
    )
    for value in (EVENT, record):
        again = copied(value)
        assert again == value
        assert getattr(again, "new_image", None) == getattr(value, "new_image", None)
        assert getattr(again, "keys", None) == getattr(value, "keys", None)
        with pytest.raises(AttributeError, match="is frozen"):
            again.index = 3


@pytest.mark.parametrize(
    "error",
    [
        InvalidEventError("type", "is wrong"),
        LeaseLostError("key", {"a": 1}),
        TransactionLimitError("actions", "book", "too many"),
        InvalidIdempotencyKeyError("key", "none"),
    ],
)
def test_errors_keep_their_facts_through_pickle(error: OutboxError) -> None:
    """A pickled error keeps its message and attributes."""
    again = pickle.loads(pickle.dumps(error))  # noqa: S301  # pickled by this test
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


def test_threads_share_one_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Concurrent threads share one client per service; after `forget_shared_clients` a new one is created."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    forget_shared_clients()
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(shared_client, ["events"] * 16))
    assert len(made) == 1
    forget_shared_clients()
    assert shared_client("events") not in made
    forget_shared_clients()


class Moved(DomainEvent, aggregate="Parcel", key="parcel"):
    model_config = ConfigDict(strict=True)

    parcel: str | None
    at: datetime


class Lost(Moved, version=2):
    pass


def test_a_strict_model_reads_its_own_event() -> None:
    """A strict model accepts a datetime from its own event, where it is text."""
    moved = Moved(parcel="7", at=datetime(2026, 11, 23, tzinfo=UTC))
    entry = EventBridgePublisher("bus", source="Parcels")._entry(moved.to_event(), None)
    arrived = parse_event({"source": "Parcels", "detail": json.loads(entry["Detail"])})
    assert Moved.from_event(arrived) == moved


def test_a_subclass_keeps_its_parents_aggregate() -> None:
    """A subclass inherits its parent's aggregate and key."""
    event = Lost(parcel="7", at=datetime(2026, 11, 23, tzinfo=UTC)).to_event()
    assert (event.type, event.version, event.aggregate) == ("Lost", 2, "Parcel#7")


def test_an_aggregate_without_an_id_is_refused() -> None:
    """An aggregate id of None is refused and not converted to the text "None"."""
    with pytest.raises(InvalidEventError, match=r"Moved\.parcel is None"):
        Moved(parcel=None, at=datetime(2026, 11, 23, tzinfo=UTC)).to_event()


def test_a_publishers_impossible_source_is_refused_at_once() -> None:
    """A source reserved for AWS is refused by the constructors of the publisher and the outbox."""
    with pytest.raises(InvalidEventError, match=r"'aws\.' are reserved for AWS"):
        EventBridgePublisher("books", source="aws.books")
    with pytest.raises(InvalidEventError, match=r"'aws\.' are reserved for AWS"):
        TransactionalOutbox("events", source="aws.books")


def test_a_publish_error_names_the_first_event() -> None:
    """A PublishError names the first failed event, and its result has all of them."""
    publisher = EventBridgePublisher("books", client=StubBus({"BookAdded": "MalformedDetail"}))
    with pytest.raises(PublishError, match=r"BookAdded .*: MalformedDetail") as caught:
        publisher.publish([EVENT])
    assert [failure.position for failure in caught.value.result.failed] == [0]


class Author(BaseModel):
    name: str


@dataclasses.dataclass
class Book:
    name: str
    authors: list[Author]
    price: Decimal | None = None


@pytest.mark.parametrize(
    ("item", "typed"),
    [
        (Author(name="Manuel Pais"), {"name": {"S": "Manuel Pais"}}),
        (
            Book("Team Topologies", [Author(name="Manuel Pais")]),
            {
                "name": {"S": "Team Topologies"},
                "authors": {"L": [{"M": {"name": {"S": "Manuel Pais"}}}]},
                "price": {"NULL": True},
            },
        ),
        ({"book": Book("x", [])}, {"book": {"M": {"name": {"S": "x"}, "authors": {"L": []}, "price": {"NULL": True}}}}),
    ],
)
def test_models_and_dataclasses_are_maps_of_their_fields(item: Any, typed: dict[str, Any]) -> None:
    """A pydantic model or a dataclass is encoded by its fields, as the item or inside it."""
    assert encode_item(item) == typed


def test_a_models_value_without_a_type_is_refused_by_its_path() -> None:
    """A model's value that DynamoDB has no type for is refused with its path; an item must be a map."""
    with pytest.raises(EncodeError, match=r"^at: DynamoDB has no type for datetime"):
        encode_item(Order(id="1", at=datetime(2026, 11, 23, tzinfo=UTC)))
    with pytest.raises(EncodeError, match="an item must be a map of attributes"):
        encode_item(7)  # type: ignore[arg-type]  # the mistake that is tested


def _nested(levels: int) -> Any:
    value: Any = []
    for _ in range(levels):
        value = [value]
    return value


TOO_MUCH_TO_SHOW = [_nested(100_000), 10**5000]
RECORD: dict[str, Any] = {
    "eventID": "1",
    "eventName": "INSERT",
    "dynamodb": {"Keys": {}, "ApproximateCreationDateTime": 1},
}


@pytest.mark.parametrize("value", TOO_MUCH_TO_SHOW, ids=["nested", "digits"])
@pytest.mark.parametrize(
    "read",
    [
        lambda value: decode_item({"a": {"S": value}}),
        lambda value: decode_item({"a": {"L": [value]}}),
        lambda value: decode_record({**RECORD, "eventID": value}),
        lambda value: decode_record({**RECORD, "dynamodb": {"Keys": {}, "ApproximateCreationDateTime": value}}),
        lambda value: decode_record({**RECORD, "dynamodb": {"Keys": {}, "SequenceNumber": value}}),
        lambda value: parse_event({"source": value, "detail": {}}),
        lambda value: parse_event({"source": "a", "detail": {"metadata": {"outboxFormat": value}}}),
        lambda value: parse_event(
            {"specversion": "1.0", "type": "a", "id": "a", "source": "a", "data": {}, "time": value}
        ),
        lambda value: parse_events({"Records": [{"body": value}]}),
    ],
)
def test_a_value_that_cant_be_shown_is_refused_all_the_same(read: Callable[[Any], Any], value: Any) -> None:
    """A value that Python can't represent as text still raises a DecodeError with a short message."""
    with pytest.raises(DecodeError) as caught:
        read(value)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "data",
    ['{"a":' + "[" * 900 + "]" * 900 + "}", '{"a":' + "[" * 64 + "]" * 64 + "}", '{"a":"\\ud800"}', '{"a":"\ud800"}'],
    ids=["deep", "one level too deep", "escaped half of a pair", "half of a pair"],
)
def test_an_outbox_item_whose_data_cant_be_sent_fails_alone(data: str) -> None:
    """Data that are nested too deeply or are not valid Unicode fail only their own record."""
    written = TransactionalOutbox("events", source="Books", client=StubDynamoDB())
    images = [written.transact_item(EVENT)["Put"]["Item"] for _ in range(2)]
    images[0]["eventData"]["S"] = data
    images[0]["pk"]["S"] = "another"
    records = [
        {
            **RECORD,
            "dynamodb": {**RECORD["dynamodb"], "Keys": {"pk": each["pk"]}, "NewImage": each, "SequenceNumber": n},
        }
        for n, each in zip("12", images, strict=True)
    ]
    bus = StubBus()
    relay = OutboxRelay(EventBridgePublisher("books", client=bus))
    assert relay({"Records": records}) == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert bus.sent == ["BookAdded"]


def test_data_may_be_as_deep_in_an_item_as_in_an_event() -> None:
    """Data of 64 levels, the most that an event may have, can be read back from the item."""
    data: Any = {}
    for _ in range(63):
        data = {"a": data}
    item = TransactionalOutbox("events", source="Books", client=StubDynamoDB()).transact_item(Event("Deep", data))
    assert decode_event(item["Put"]["Item"]).data == data


@pytest.mark.parametrize(
    "keys", [{"a": _nested(100_000)}, {"a": 10**5000}, {1: 1, "a": 1}], ids=["nested", "digits", "mixed"]
)
def test_a_key_that_cant_be_read_fails_its_record_and_not_the_relay(keys: Any) -> None:
    """Unreadable item keys do not make the relay fail."""
    record = {**RECORD, "dynamodb": {**RECORD["dynamodb"], "Keys": keys, "NewImage": {}, "SequenceNumber": "1"}}
    answer = OutboxRelay(EventBridgePublisher("books", client=StubBus()))({"Records": [record]})
    assert answer == {"batchItemFailures": []}


def test_a_number_too_large_for_decimals_own_arithmetic_is_refused_by_name() -> None:
    """A Decimal that overflows Python's default context is refused as too large."""
    outbox = TransactionalOutbox("events", source="Books", client=StubDynamoDB())
    with pytest.raises(InvalidEventError, match=r"data\.a\[0\]: a number beyond"):
        outbox.transact_item(Event("Big", {"a": [Decimal("1E+1000000")]}))


def test_an_integer_that_python_doesnt_write_is_refused_at_once() -> None:
    """An integer of more than 4,300 digits, which Python does not convert to text, is refused by Event."""
    with pytest.raises(InvalidEventError, match=r"data\.a: an integer of more than 4,300 digits"):
        Event("Big", {"a": -(10**4300)})
    Event("Big", {"a": 10**4300 - 1}).data_json  # noqa: B018  # reading does not raise
