"""Parking under odd inputs: what doesn't fit is cut, what isn't Unicode is escaped, and no key starves another."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dynamo_outbox import (
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    OutboxRelay,
    ParkingQueue,
    ParkingTable,
    Retry,
    StreamRecord,
    decode_record,
)
from dynamo_outbox.aws.limits import MAX_ITEM_BYTES
from dynamo_outbox.errors import DecodeError
from dynamo_outbox.events.ids import uuid7
from dynamo_outbox.streams.outbox_records import ordering_key
from dynamo_outbox.writing.limits import item_size

from ..doubles import FakeClock, StubBus
from .test_parking import UNREADABLE, Context, Lot, batch
from .test_processors import ALL_WELL, NOON, book_record, failed_from, outbox_record

if TYPE_CHECKING:
    from collections.abc import Iterator

HUGE = 120_000
LONG = {"ascii": "x" * 4 * HUGE, "four bytes each": "\U0001f4da" * HUGE, "half a pair": "\ud800" * HUGE}


def fits(lot: Lot) -> bool:
    return all(item_size(item) < MAX_ITEM_BYTES for item in lot.items)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_long_reason_is_cut(text: str) -> None:
    """A reason longer than an item is cut, so that its record can be parked."""

    def fail(_: StreamRecord) -> Event:
        raise ValueError(text)

    lot = Lot()
    assert lot.processor(fail)(batch(book_record("a", "1"))) == ALL_WELL
    (item,) = [item for item in lot.items if "parts" in item]
    assert len(item["reasonMessage"]["S"]) < 10_000
    assert fits(lot)


@pytest.mark.parametrize("name", ["x" * HUGE, "\U0001f4da" * 50_000], ids=["ascii", "four bytes each"])
def test_a_long_path_is_cut(name: str) -> None:
    """A path through a member with a very long name is cut."""
    lot = Lot()
    record = outbox_record("A", "1", "a", eventData={"S": f'{{"{name}": "\\ud800"}}'})
    assert lot.relay(batch(record)) == ALL_WELL
    (item,) = [item for item in lot.items if "parts" in item]
    assert len(item["reasonPath"]["S"]) <= 500
    assert fits(lot)


def test_an_exception_with_a_long_name_is_parked() -> None:
    """The name of an exception's class is a reason's code and is cut, too."""
    kind = type("E" * HUGE, (Exception,), {})

    def fail(_: StreamRecord) -> Event:
        raise kind

    lot = Lot()
    assert lot.processor(fail)(batch(book_record("a", "1"))) == ALL_WELL
    assert fits(lot)


def test_an_exception_without_a_text_is_parked() -> None:
    """An exception whose text can't be made parks its record like any other."""

    class BrokenError(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    def fail(_: StreamRecord) -> Event:
        raise BrokenError

    lot = Lot()
    assert lot.processor(fail)(batch(book_record("a", "1"))) == ALL_WELL
    (item,) = [item for item in lot.items if "parts" in item]
    assert (item["reasonCode"]["S"], item["reasonMessage"]["S"]) == (
        "BrokenError",
        "its text can't be made: ZeroDivisionError",
    )


def test_long_and_many_event_ids_are_cut() -> None:
    """The ids that are stored for a search are limited in number and length."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    events = [Event("A", {}, id=f"{number}{'x' * 5_000}") for number in range(50)]
    assert lot.processor(lambda _: events)(batch(book_record("a", "1"))) == ALL_WELL
    (item,) = [item for item in lot.items if "parts" in item]
    assert len(item["eventIds"]["L"]) == 20
    assert all(len(each["S"]) <= 100 for each in item["eventIds"]["L"])
    lot.bus._refused = {}
    assert lot.parking.redrive(lot.processor(lambda _: events)).sent == 1


@pytest.mark.parametrize("size", [2_000, 2_044, 5_000, HUGE])
@pytest.mark.parametrize("letter", ["x", "é", "\U0001f4da", "\ud800"], ids=["ascii", "two", "four", "half a pair"])
def test_an_aggregate_with_any_name_keeps_its_order(size: int, letter: str) -> None:
    """An ordering key of any length and any characters can be stored and found, and differs from a longer one."""
    lot = Lot()
    record = outbox_record("A", "1", "a", **UNREADABLE, aggregateId={"S": letter * size})
    later = outbox_record("B", "2", "a", aggregateId={"S": letter * size})
    other = outbox_record("C", "3", "a", **UNREADABLE, aggregateId={"S": letter * (size + 1)})
    assert lot.relay(batch(record)) == ALL_WELL
    assert lot.relay(batch(later, other)) == ALL_WELL
    assert sorted(lot.heads.values()) == [1, 2]
    assert fits(lot)
    assert len(lot.parking.redrive(lot.relay).failures) == 2


PARTS = ["eventId", "eventType", "source", "eventTime", "aggregateType", "aggregateId", "eventData", "eventContext"]


@pytest.mark.parametrize("has_parking", [True, False])
@pytest.mark.parametrize("part", [*PARTS, "pk", "sk"])
@pytest.mark.parametrize("text", ["\ud800", "a\udfff", '{"a": "\ud800"}', '{"\ud800": 1}'], ids=ascii)
def test_half_a_surrogate_pair_blocks_nothing(part: str, text: str, *, has_parking: bool) -> None:
    """A record with text that is not Unicode is parked, or reported, like any other bad record."""
    lot = Lot()
    relay = lot.relay if has_parking else OutboxRelay(lot.publisher)
    record = outbox_record("A", "1", "a", **{part: {"S": text}})
    record["dynamodb"]["Keys"] = {name: record["dynamodb"]["NewImage"][name] for name in ("pk", "sk")}
    answer = relay(batch(record, outbox_record("B", "2", "b")))
    assert "B" in lot.bus.sent
    if part in ("pk", "sk"):
        assert answer == ALL_WELL  # the event doesn't depend on them
    else:
        assert answer == (ALL_WELL if has_parking else failed_from("1"))
        assert sum(lot.heads.values()) == has_parking


@pytest.mark.parametrize("text", ["\ud800", "a\udfff"], ids=ascii)
def test_half_a_surrogate_pair_in_a_change_blocks_nothing(text: str) -> None:
    """A ChangeProcessor parks a change whose key, attribute or ids are not Unicode."""
    lot = Lot()
    process = lot.processor(lambda record: Event("A", {"image": record.new_image}))
    by_id = {**book_record("a", "3"), "eventID": text}
    by_name = book_record("b", "4")
    by_name["dynamodb"]["NewImage"][text] = {"S": "a"}
    assert process(batch(book_record(text, "1"), by_id, by_name, book_record("c", "9"))) == ALL_WELL
    assert lot.bus.sent == ["A"]
    assert sum(lot.heads.values()) == 3
    assert len(lot.parking.redrive(process).failures) == 3


def test_an_ordering_key_does_not_depend_on_the_order_of_attributes() -> None:
    """The whole key as ordering key is sorted: Lambda gives a map's members in any order."""
    one, other = book_record("a", "1"), book_record("a", "1")
    one["dynamodb"]["Keys"] = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    other["dynamodb"]["Keys"] = {"sk": {"N": "1"}, "pk": {"S": "a"}}
    assert ordering_key(decode_record(one)) == ordering_key(decode_record(other)) is not None


def test_ordering_keys_differ_if_the_keys_do() -> None:
    """Two items with different keys have different ordering keys, also if only the type differs or they are long."""
    keys: list[Any] = [{"pk": {"S": "1"}}, {"pk": {"N": "1"}}, {"pk": {"S": "2"}}, {"sk": {"S": "1"}}, {}]
    keys += [{"pk": {"S": "x" * 3_000}}, {"pk": {"S": f"{'x' * 2_999}y"}}]
    found = set()
    for key in keys:
        record = book_record("a", "1")
        record["dynamodb"]["Keys"] = key
        found.add(ordering_key(decode_record(record)))
    assert len(found) == len(keys)
    assert all(key is not None and len(key) <= 2_048 for key in found)


def test_a_record_without_a_time_is_parked_by_its_events_age() -> None:
    """If the bus fails for hours, a record without a time is parked by the age of its event."""
    lot = Lot(StubBus({"A": "InternalFailure", "B": "InternalFailure"}))
    record, undated = outbox_record("A", "1", "a"), outbox_record("B", "2", "b")
    created = uuid7(int((NOON - timedelta(hours=13)).timestamp()) * 10**9, bytes(8))
    record["dynamodb"]["NewImage"]["eventId"] = {"S": created}
    for each in (record, undated):
        del each["dynamodb"]["ApproximateCreationDateTime"]
    assert lot.relay(batch(record, undated)) == failed_from("2")
    assert lot.heads == {"Book#a": 1}
    early = Lot(StubBus({"A": "InternalFailure"}))
    early.clock.set(NOON - timedelta(hours=2))
    assert early.relay(batch(record)) == failed_from("1")


def test_a_limit_counts_what_is_published() -> None:
    """A key that fails at its first record doesn't use up the limit of the others."""
    lot = Lot()
    for key in "abcd":
        lot.relay(batch(*(outbox_record(f"{key}1", f"1{n}", key, **UNREADABLE) for n in range(3))))
    for key in "efgh":
        lot.relay(batch(outbox_record("Bad", "1", key, **UNREADABLE), outbox_record(f"{key}2", "2", key)))
    readable = {f"Book#{key}" for key in "efgh"}

    class Repaired(OutboxRelay):
        """A relay whose current code can read the records of four keys."""

        def republish(self, parked: Any, context: object) -> Any:
            reasons = super().republish(parked, context)
            return [
                None if each.order_key in readable else reason for each, reason in zip(parked, reasons, strict=True)
            ]

    Repaired.__name__ = "OutboxRelay"
    relay = Repaired(lot.publisher, parking=lot.parking)
    results = [lot.parking.redrive(relay, limit=3) for _ in range(4)]
    assert [result.sent for result in results] == [3, 3, 2, 0]
    assert [result.finished for result in results] == [False, False, True, True]
    assert lot.heads == {f"Book#{key}": 3 for key in "abcd"}
    assert all(len({failure.order_key for failure in result.failures}) == len(result.failures) for result in results)


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7, 8, 9])
def test_a_limit_is_reached_and_not_passed(limit: int) -> None:
    """A redrive publishes exactly `limit` records if as many can be published."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    lot.relay(batch(*(outbox_record("A", str(n), "ab"[n % 2]) for n in range(1, 9))))
    lot.relay(batch(outbox_record("Bad", "1", "poison", **UNREADABLE)))
    lot.bus._refused = {}
    result = lot.parking.redrive(lot.relay, limit=limit)
    assert result.sent == min(limit, 8)
    assert sum(lot.heads.values()) == 9 - result.sent


@pytest.mark.parametrize("parking", [ParkingTable("parking"), ParkingQueue("https://sqs/parking")])
def test_a_negative_limit_is_refused(parking: Any) -> None:
    """A limit that no number of records can reach is refused."""
    relay = OutboxRelay(EventBridgePublisher("books", client=StubBus()))
    with pytest.raises(ValueError, match="limit=-1 must not be negative"):
        parking.redrive(relay, limit=-1)


@pytest.fixture
def queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[ParkingQueue]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        client = boto3.client("sqs", region_name="eu-west-1")
        yield ParkingQueue(client.create_queue(QueueName="parking")["QueueUrl"], client=client, clock=FakeClock(NOON))


def test_a_queues_limit_counts_what_is_published(queue: ParkingQueue) -> None:
    """A message that fails again doesn't use up the limit of the others."""
    bus = StubBus({"A": "MalformedDetail"})
    publisher = EventBridgePublisher("books", client=bus, retry=Retry(attempts=1))
    relay = OutboxRelay(publisher, parking=queue)
    bad = [outbox_record("Bad", str(number), "a", **UNREADABLE) for number in range(1, 13)]
    relay(batch(*bad, *(outbox_record("A", str(number), str(number)) for number in range(20, 25))))
    bus._refused = {}
    result = queue.redrive(relay, limit=3)
    assert (result.sent, result.finished) == (3, False)
    result = queue.redrive(relay, limit=3)
    assert (result.sent, result.finished) == (2, True)


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_a_queue_takes_any_reason(queue: ParkingQueue, text: str) -> None:
    """A reason of any length and any characters fits a message."""

    def fail(_: StreamRecord) -> Event:
        raise ValueError(text)

    publisher = EventBridgePublisher("books", source="Books", client=StubBus())
    processor = ChangeProcessor(publisher, fail, parking=queue)
    assert processor(batch(book_record("a\ud800", "1"))) == ALL_WELL
    client = boto3.client("sqs", region_name="eu-west-1")
    (message,) = client.receive_message(QueueUrl=queue.queue_url)["Messages"]
    assert json.loads(message["Body"])["reasonCode"] == "ValueError"


def test_parking_goes_on_to_the_end_of_lambdas_time() -> None:
    """With little time left, at least the first records are parked, and the next one is reported."""
    lot = Lot()
    records = [outbox_record("A", str(number), f"{number}", **UNREADABLE) for number in range(1, 120)]
    answer = lot.relay(batch(*records), Context(60_000, 250))
    parked = sum(lot.heads.values())
    assert 0 < parked < 119
    assert answer == failed_from(str(parked + 1))


def test_an_error_of_the_decoder_has_an_ordering_key_that_can_be_stored() -> None:
    """A record that can't be decoded at all has a storable ordering key, too."""
    record = outbox_record("A", "1", "a")
    record["dynamodb"]["NewImage"]["aggregateId"] = {"S": "\ud800" * 3_000}
    record["dynamodb"]["SizeBytes"] = "large"
    with pytest.raises(DecodeError) as caught:
        decode_record(record)
    key = ordering_key(caught.value, by_aggregate=True)
    assert key is not None
    assert len(key.encode()) <= 2_048


def test_the_keys_of_parked_records_stay_as_they_are() -> None:
    """Another version of the library finds what this one parked: by the order key, or its digest from 513 bytes on."""
    lot = Lot()
    longest = "b" * (512 - len("Book#"))
    for number, aggregate_id in enumerate(("a", longest, f"{longest}b"), start=1):
        lot.relay(batch(outbox_record("A", str(number), aggregate_id, **UNREADABLE)))
    digest = "sha256#15cc9eba4d992b47d4873b72b5384731326e0d263ef4188e06aa1e1a3de3ce8d"
    assert {(item["pk"]["S"], item["sk"]["S"]) for item in lot.items} == {
        ("heads#b", "Book#a"),
        ("parked#Book#a", "001.1#66a03574d8fff386cee64426#00"),
        ("heads#9", f"Book#{longest}"),
        (f"parked#Book#{longest}", "001.2#d0573b7fe7ce06ea81d6fdb0#00"),
        ("heads#1", digest),
        (f"parked#{digest}", "001.3#c7c1f3ee93a0b849ebc76f31#00"),
    }
