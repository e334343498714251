"""Parking: a record that can't be published is stored with its successors until it is redriven."""

from __future__ import annotations

import json
import os
from base64 import b64encode
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox import (
    ChangeProcessor,
    Event,
    EventBridgePublisher,
    OutboxRelay,
    ParkingTable,
    Retry,
    StreamRecord,
    TableKeys,
)
from dynamo_outbox.errors import ParkingError
from dynamo_outbox.relaying.parking import RedriveFailure

from ..doubles import FakeClock, StubBus, client_error, fake_dynamodb
from .test_processors import ALL_WELL, NOON, book_record, failed_from, insertion, outbox_record

if TYPE_CHECKING:
    from collections.abc import Callable

    from dynamo_outbox.testing import FakeDynamoDB

UNREADABLE = {"outboxFormat": {"N": "2"}}


class Lot:
    """A parking table, a bus, and the relay and publisher that connect them."""

    def __init__(self, bus: StubBus | None = None, **settings: Any) -> None:
        self.clock = FakeClock()
        self.clock.set(NOON)
        self.dynamodb: FakeDynamoDB = fake_dynamodb({"parking": ["pk", "sk"]}, self.clock)
        self.bus = bus or StubBus()
        self.parking = ParkingTable("parking", client=self.dynamodb, clock=self.clock, **settings)
        self.publisher = EventBridgePublisher(
            "books", source="OutboxDemo.Books", client=self.bus, retry=Retry(attempts=1)
        )
        self.relay = OutboxRelay(self.publisher, parking=self.parking)

    def processor(self, to_events: Callable[[StreamRecord], Any], **settings: Any) -> ChangeProcessor:
        return ChangeProcessor(self.publisher, to_events, parking=self.parking, **settings)

    @property
    def items(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.dynamodb.scan(TableName="parking")["Items"]
        return found

    @property
    def parked(self) -> list[tuple[str, str, str]]:
        """The order key, sequence number and reason of each parked record, in the table's order."""
        fields = ("orderKey", "sequenceNumber", "reasonCode")
        return [(*(item[name]["S"] for name in fields),) for item in self.items if "parts" in item]

    @property
    def heads(self) -> dict[str, int]:
        return {item["orderKey"]["S"]: int(item["parked"]["N"]) for item in self.items if "parked" in item}


def batch(*records: Any) -> dict[str, Any]:
    return {"Records": list(records)}


class Context:
    """A Lambda context whose remaining time takes the next value each time it is read."""

    def __init__(self, *left: int) -> None:
        self._left = list(left)

    def get_remaining_time_in_millis(self) -> int:
        return self._left.pop(0) if len(self._left) > 1 else self._left[0]


def test_an_unreadable_item_and_what_follows_it_are_parked() -> None:
    """An item of an unknown format and its aggregate's next record are parked; other records are published."""
    lot = Lot()
    records = [outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "a"), outbox_record("C", "3", "c")]
    assert lot.relay(batch(*records)) == ALL_WELL
    assert lot.bus.sent == ["C"]
    assert lot.parked == [("Book#a", "1", "DecodeError"), ("Book#a", "2", "Behind")]
    assert lot.heads == {"Book#a": 2}


def test_dropped_records_are_not_counted_and_not_published() -> None:
    """`drop` removes records with their part of the count, once; a head that counts nothing is removed."""
    lot = Lot()
    lot.relay(batch(*(outbox_record(name, number, "a", **UNREADABLE) for name, number in (("A", "1"), ("B", "2")))))
    first, second = lot.parking.records("Book#a")
    lot.parking.drop([first])
    lot.parking.drop([first])
    assert (lot.heads, [number for _, number, _ in lot.parked]) == ({"Book#a": 1}, ["2"])
    lot.parking.drop([first, second])
    assert (lot.items, lot.bus.sent) == ([], [])


def test_what_follows_in_a_later_batch_is_parked_too() -> None:
    """A record in a later batch is parked if an earlier record of its aggregate is still parked."""
    lot = Lot()
    lot.relay(batch(outbox_record("A", "1", "a", **UNREADABLE)))
    assert lot.relay(batch(outbox_record("B", "2", "a"), outbox_record("C", "3", "c"))) == ALL_WELL
    assert (lot.bus.sent, lot.heads) == (["C"], {"Book#a": 2})


def test_a_parked_record_says_why_and_is_whole() -> None:
    """The complete record is stored with the reason, the path, the time and the event's id."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    record = outbox_record("A", "12", "a")
    lot.relay(batch(record))
    (item,) = [item for item in lot.items if "parts" in item]
    told = {name: item[name]["S"] for name in ("reasonCode", "reasonMessage", "reasonPath", "parkedBy", "parkedAt")}
    assert told == {
        "reasonCode": "MalformedDetail",
        "reasonMessage": "A was refused",
        "reasonPath": "",
        "parkedBy": "OutboxRelay",
        "parkedAt": "2026-11-23T12:00:00.000000Z",
    }
    assert item["eventIds"] == {"L": [{"S": "event 12"}]}
    lot.bus._refused = {}
    assert lot.parking.redrive(lot.relay).sent == 1
    assert json.loads(lot.bus.calls[-1][0]["Detail"])["metadata"]["id"] == "event 12"


def test_the_path_of_what_cannot_be_read_is_kept() -> None:
    """The stored reason includes the path of the unreadable attribute in the record."""
    lot = Lot()
    lot.relay(batch(outbox_record("A", "1", "a", **UNREADABLE)))
    (path,) = [item["reasonPath"]["S"] for item in lot.items if "parts" in item]
    assert path == "dynamodb.NewImage.outboxFormat.N"


def test_a_record_that_is_none_is_parked() -> None:
    """A malformed record is parked under its aggregate, or on its own if the aggregate is unknown."""
    lot = Lot()
    broken = outbox_record("A", "1", "a") | {"eventID": 1}
    rest = [outbox_record("B", "2", "a"), "no record", {"dynamodb": {"SequenceNumber": "4"}}, outbox_record("C", "5")]
    assert lot.relay(batch(broken, *rest)) == ALL_WELL
    assert lot.bus.sent == ["C"]
    assert {(key[:1], number, code) for key, number, code in lot.parked} == {
        ("B", "1", "DecodeError"),
        ("B", "2", "Behind"),
        ("?", "", "DecodeError"),
        ("?", "4", "DecodeError"),
    }


def test_a_refused_event_is_parked_and_its_followers_with_it() -> None:
    """An event that EventBridge rejects permanently is parked with the later events of its aggregate."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    records = [
        outbox_record(name, number, key) for name, number, key in (("A", "1", "a"), ("B", "2", "a"), ("C", "3", "c"))
    ]
    assert lot.relay(batch(*records)) == ALL_WELL
    assert (lot.bus.sent, lot.parked) == (["A", "C"], [("Book#a", "1", "MalformedDetail"), ("Book#a", "2", "Behind")])


def test_what_may_pass_comes_again() -> None:
    """A throttled event is reported as failed and nothing is parked, not even an unreadable record after it."""
    lot = Lot(StubBus({"A": "ThrottlingException"}))
    records = [outbox_record("A", "1", "a"), outbox_record("B", "2", "a", **UNREADABLE), outbox_record("C", "3", "c")]
    assert lot.relay(batch(*records)) == failed_from("1")
    assert (lot.bus.sent, lot.items) == (["A", "C"], [])


def test_a_caller_without_permission_parks_nothing() -> None:
    """A call that is refused because of the caller's permissions is retried; nothing is parked."""
    lot = Lot(StubBus(failing_call=0, error=lambda: client_error("AccessDeniedException")))
    assert lot.relay(batch(outbox_record("A", "1", "a"))) == failed_from("1")
    assert lot.items == []


@pytest.mark.parametrize(("hours", "parked"), [(11, False), (12, True)])
def test_what_may_pass_is_parked_when_it_is_old(hours: int, *, parked: bool) -> None:
    """A record with a retryable failure is parked once it is older than `park_after`."""
    lot = Lot(StubBus({"A": "ThrottlingException"}))
    lot.clock.advance(timedelta(hours=hours))
    assert lot.relay(batch(outbox_record("A", "1", "a"))) == (ALL_WELL if parked else failed_from("1"))
    assert [code for _, _, code in lot.parked] == (["ThrottlingException"] if parked else [])


def test_an_old_record_that_was_not_tried_is_not_parked() -> None:
    """If only the invocation's time ran out, an old record is retried and not parked."""
    lot = Lot()
    lot.clock.advance(timedelta(hours=20))
    assert lot.relay(batch(outbox_record("A", "1", "a")), Context(500)) == failed_from("1")
    assert lot.items == []


def test_an_outage_parks_what_was_not_reached_as_well() -> None:
    """If the bus itself fails, old records that were not attempted are parked too."""
    lot = Lot(StubBus(failing_call=0, error=lambda: client_error("AccessDeniedException")))
    lot.clock.advance(timedelta(hours=20))
    records = [outbox_record(f"E{number}", str(number), str(number)) for number in range(1, 13)]
    assert lot.relay(batch(*records)) == ALL_WELL
    assert [code for _, _, code in lot.parked].count("NotAttempted") == 2


@pytest.mark.parametrize("after_commit", [False, True])
def test_nothing_moves_where_parking_fails(*, after_commit: bool) -> None:
    """A record that can't be parked is reported as failed; the redelivered record is parked once."""
    lot = Lot()
    lot.dynamodb.fail_next("transact_write_items", client_error("InternalServerError"), after_commit=after_commit)
    records = [outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "a")]
    assert lot.relay(batch(*records)) == failed_from("1")
    assert lot.relay(batch(*records)) == ALL_WELL
    assert (lot.bus.sent, lot.heads, len(lot.parked)) == ([], {"Book#a": 2}, 2)


def test_nothing_is_sent_where_it_cannot_be_told_what_is_parked() -> None:
    """If the parked order keys can't be read, the batch fails before anything is published."""
    lot = Lot()
    lot.dynamodb.fail_next("batch_get_item", "ProvisionedThroughputExceededException")
    with pytest.raises(lot.dynamodb.exceptions.ProvisionedThroughputExceededException):
        lot.relay(batch(outbox_record("A", "1", "a")))
    assert lot.bus.calls == []


def test_keys_that_were_left_are_asked_for_again() -> None:
    """UnprocessedKeys are read again; if some remain after the retries, ParkingError is raised."""
    lot = Lot()
    lot.relay(batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "b", **UNREADABLE)))
    for _ in range(3):
        lot.dynamodb.limit_next_batch(0)
    assert lot.parking.waiting(["Book#a", "Book#b", "Book#c"]) == {"Book#a", "Book#b"}
    for _ in range(5):
        lot.dynamodb.limit_next_batch(0)
    with pytest.raises(ParkingError):
        lot.parking.waiting(["Book#a"])


def test_more_keys_than_a_read_takes() -> None:
    """More than 100 order keys are read in several requests, each key once."""
    lot = Lot()
    lot.relay(batch(outbox_record("A", "1", "150", **UNREADABLE)))
    keys = [f"Book#{number}" for number in range(201)]
    lot.dynamodb.calls.clear()
    assert lot.parking.waiting(keys + keys) == {"Book#150"}
    assert [len(call.request["RequestItems"]["parking"]["Keys"]) for call in lot.dynamodb.calls] == [100, 100, 1]


def test_a_throttled_or_contended_transaction_is_made_again() -> None:
    """A transaction that is cancelled only by contention is retried a limited number of times."""
    lot = Lot()

    def contended() -> Exception:
        reasons = [{"Code": "None"}, {"Code": "TransactionConflict"}]
        return lot.dynamodb.error("transact_write_items", "TransactionCanceledException", CancellationReasons=reasons)

    record = outbox_record("A", "1", "a", **UNREADABLE)
    for _ in range(4):
        lot.dynamodb.fail_next("transact_write_items", contended())
    assert lot.relay(batch(record)) == ALL_WELL
    for _ in range(5):
        lot.dynamodb.fail_next("transact_write_items", contended())
    assert lot.relay(batch(outbox_record("A", "2", "b", **UNREADABLE))) == failed_from("2")
    assert lot.dynamodb.pending_faults == []


def test_parking_ends_in_time_and_goes_on_with_the_next_delivery() -> None:
    """Records for which Lambda's time is too short are reported; each delivery parks some of them."""
    lot = Lot()
    records = [outbox_record("A", str(number), str(number), **UNREADABLE) for number in range(1, 121)]
    assert lot.relay(batch(*records), Context(200)) == failed_from("51")
    assert lot.relay(batch(*records[50:]), Context(200)) == failed_from("101")
    assert lot.relay(batch(*records[100:]), Context(200)) == ALL_WELL
    assert len(lot.parked) == 120


def test_a_batch_delivered_again_parks_what_is_new() -> None:
    """If part of a batch is parked already, a redelivery parks the rest and counts each record once."""
    lot = Lot()
    records = [outbox_record("A", str(number), "a", **UNREADABLE) for number in range(1, 6)]
    lot.relay(batch(*records[:3]))
    lot.relay(batch(*records))
    assert (len(lot.parked), lot.heads) == (5, {"Book#a": 5})


def test_redrive_sends_in_order_under_the_same_ids() -> None:
    """Redrive publishes by numeric sequence number under the original event ids and leaves nothing behind."""
    lot = Lot(StubBus({"E9": "MalformedDetail"}))
    records = [outbox_record(f"E{number}", number, "a") for number in ("9", "10", "11", "100")]
    lot.relay(batch(*records))
    lot.bus._refused = {}
    lot.bus.calls.clear()
    result = lot.parking.redrive(lot.relay)
    assert (result.sent, result.failures, result.finished) == (4, (), True)
    assert lot.bus.sent == ["E9", "E10", "E11", "E100"]
    assert [json.loads(call[0]["Detail"])["metadata"]["id"] for call in lot.bus.calls] == [
        f"event {number}" for number in (9, 10, 11, 100)
    ]
    assert lot.items == []


def test_a_key_stops_at_its_first_failure_and_others_go_on() -> None:
    """A record that fails again stays parked with its successors; the result has the new reason."""
    lot = Lot(StubBus({"A": "MalformedDetail", "C": "MalformedDetail"}))
    names = (("A", "1", "a"), ("B", "2", "a"), ("C", "3", "c"), ("D", "4", "c"))
    lot.relay(batch(*(outbox_record(*each) for each in names)))
    lot.bus._refused = {"A": "InternalFailure"}
    lot.bus.calls.clear()
    result = lot.parking.redrive(lot.relay)
    assert result.failures == (RedriveFailure("Book#a", "1", "InternalFailure", "A was refused"),)
    assert (result.sent, result.finished, lot.heads) == (2, True, {"Book#a": 2})
    assert sorted(lot.bus.sent) == ["A", "C", "D"]


def test_redrive_goes_wave_by_wave_as_far_as_it_may() -> None:
    """A redrive stops at its limit and the next run continues; without a limit it processes all records."""
    lot = Lot(StubBus({"E1": "MalformedDetail"}))
    lot.relay(batch(*(outbox_record(f"E{number}", str(number), "a") for number in range(1, 251))))
    assert lot.heads == {"Book#a": 250}
    lot.bus._refused = {}
    lot.bus.calls.clear()
    first = lot.parking.redrive(lot.relay, limit=7)
    assert (first.sent, first.finished, lot.heads) == (7, False, {"Book#a": 243})
    assert lot.parking.redrive(lot.relay, context=Context(1000)).sent == 0
    second = lot.parking.redrive(lot.relay)
    assert (second.sent, second.finished, lot.items) == (243, True, [])
    assert lot.bus.sent == [f"E{number}" for number in range(1, 251)]


def test_a_key_that_failed_is_not_begun_again() -> None:
    """If an order key fails, the run counts as finished even if the limit cut that key short."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    lot.relay(batch(*(outbox_record(name, number, "a") for name, number in (("A", "1"), ("B", "2"), ("C", "3")))))
    result = lot.parking.redrive(lot.relay, limit=2)
    assert (len(result.failures), result.sent, result.finished) == (1, 0, True)
    assert lot.heads == {"Book#a": 3}


def test_a_redrive_that_runs_out_of_time_is_not_finished() -> None:
    """A redrive that runs out of time reports NotAttempted and `finished` is false."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    lot.relay(batch(outbox_record("A", "1", "a")))
    result = lot.parking.redrive(lot.relay, context=Context(60_000, 60_000, 500))
    assert ([failure.code for failure in result.failures], result.finished) == (["NotAttempted"], False)
    assert lot.heads == {"Book#a": 1}


@pytest.mark.parametrize("after_commit", [False, True])
def test_a_redrive_that_was_killed_runs_again(*, after_commit: bool) -> None:
    """A redrive that ends between publishing and removing can run again: same ids, nothing lost or left behind."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    lot.relay(batch(outbox_record("A", "1", "a"), outbox_record("B", "2", "a")))
    lot.bus._refused = {}
    lot.bus.calls.clear()
    lot.dynamodb.fail_next("transact_write_items", client_error("InternalServerError"), after_commit=after_commit)
    with pytest.raises(Exception, match="InternalServerError"):
        lot.parking.redrive(lot.relay)
    assert lot.parking.redrive(lot.relay).finished
    assert lot.bus.sent == (["A", "B"] if after_commit else ["A", "B", "A", "B"])
    assert lot.items == []


def test_two_redrives_at_once_remove_each_record_once() -> None:
    """A record that another run removed is not counted twice; records parked meanwhile stay counted."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    lot.relay(batch(outbox_record("A", "1", "a"), outbox_record("B", "2", "a")))
    lot.bus._refused = {}

    class Slow(OutboxRelay):
        def republish(self, records: Any, context: object) -> Any:
            lot.parking.redrive(lot.relay, limit=1)
            lot.relay(batch(outbox_record("C", "3", "a")))
            return lot.relay.republish(records, context)

    assert lot.parking.redrive(Slow(lot.publisher)).finished
    assert (lot.heads, [number for _, number, _ in lot.parked]) == ({"Book#a": 1}, ["3"])
    assert lot.parking.redrive(lot.relay).sent == 1
    assert lot.items == []


def test_a_head_that_counts_nothing_stops_nobody() -> None:
    """A head with a count of zero does not block its order key, and the next redrive removes it."""
    lot = Lot(StubBus({"A": "MalformedDetail"}))
    lot.relay(batch(outbox_record("A", "1", "a")))
    lot.bus._refused = {}
    lot.dynamodb.fail_next("delete_item", client_error("InternalServerError"))
    with pytest.raises(Exception, match="InternalServerError"):
        lot.parking.redrive(lot.relay)
    assert lot.heads == {"Book#a": 0}
    assert lot.relay(batch(outbox_record("B", "2", "a"))) == ALL_WELL
    assert lot.bus.sent == ["A", "A", "B"]
    assert lot.parking.redrive(lot.relay).sent == 0
    assert lot.items == []


def big_book(name: str, sequence_number: str, size: int) -> dict[str, Any]:
    """Return the record of a modified book with two images that can't be compressed."""
    cover = {"B": b64encode(os.urandom(size)).decode()}
    record = insertion({"name": {"S": name}, "cover": cover}, sequence_number, "name")
    record["dynamodb"]["OldImage"] = {"name": {"S": name}, "cover": {"B": b64encode(os.urandom(size)).decode()}}
    return record


def test_a_record_with_two_images_of_400_kb_is_parked_whole() -> None:
    """A record too large for one item is split into parts and put together again."""
    lot = Lot()
    seen: list[StreamRecord] = []
    records = [big_book("a", str(number), 399 * 1024) for number in range(1, 9)]
    assert lot.processor(lambda _: 1 / 0)(batch(*records)) == ALL_WELL
    assert len(lot.items) == 8 * 3 + 1
    result = lot.parking.redrive(lot.processor(seen.append))
    assert (result.sent, [record.raw for record in seen], lot.items) == (8, records, [])


def test_a_record_beyond_all_limits_stays_reported() -> None:
    """A record too large even for a transaction is reported as failed; the records before it are parked."""
    lot = Lot()
    records = [book_record("a", "1"), big_book("a", "2", 2_500_000), book_record("a", "3")]
    assert lot.processor(lambda _: 1 / 0)(batch(*records)) == failed_from("2")
    assert lot.heads == {repr([("name", {"S": "a"})]): 1}


def test_what_no_stream_delivers_is_not_parked() -> None:
    """A record that can't be stored as JSON is reported as failed."""
    lot = Lot()
    record = book_record("a", "1") | {"odd": object()}
    assert lot.processor(lambda _: 1 / 0)(batch(record)) == failed_from("1")


def test_records_of_get_records_are_parked_with_bytes_and_times() -> None:
    """A record from boto3's GetRecords is stored in Lambda's form and decoded with its bytes and time."""
    lot = Lot()
    record = book_record("a", "1")
    record["dynamodb"] |= {"ApproximateCreationDateTime": NOON, "NewImage": {"cover": {"B": b"\x00\xff"}}}
    lot.processor(lambda _: 1 / 0)(batch(record))
    seen: list[StreamRecord] = []
    lot.parking.redrive(lot.processor(seen.append))
    assert [(record.time, record.new_image) for record in seen] == [(NOON, {"cover": b"\x00\xff"})]


def test_records_of_kinesis_are_parked_in_their_envelope() -> None:
    """A record from a Kinesis data stream is stored with its envelope, which has the sequence number."""
    lot = Lot()
    inner = book_record("a", "1")
    del inner["dynamodb"]["SequenceNumber"]
    inner["dynamodb"]["ApproximateCreationDateTime"] *= 1000
    number = "4" + "9" * 55
    data = b64encode(json.dumps(inner).encode()).decode()
    envelope = {"eventID": f"shardId-000000000000:{number}", "kinesis": {"sequenceNumber": number, "data": data}}
    assert lot.processor(lambda _: 1 / 0)(batch(envelope)) == ALL_WELL
    assert [place for _, place, _ in lot.parked] == [number]
    seen: list[StreamRecord] = []
    assert lot.parking.redrive(lot.processor(seen.append)).sent == 1
    assert [(record.sequence_number, record.keys) for record in seen] == [(number, {"name": "a"})]


def test_what_is_parked_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Parking logs the record, the order key and the reason at ERROR level."""
    Lot(StubBus({"A": "MalformedDetail"})).relay(batch(outbox_record("A", "1", "a")))
    assert caplog.records[-1].levelname == "ERROR"
    assert caplog.messages[-1] == "stream record 1 of Book#a (A event 1) is parked: MalformedDetail: A was refused"


def test_a_derived_id_is_the_same_when_it_is_sent_again() -> None:
    """In CDC mode a redriven event has the same derived id as a directly published one."""
    bus = StubBus()
    Lot(bus).processor(lambda _: Event("A", {}))(batch(book_record("a", "1")))
    lot = Lot(bus)
    others = {"0": None, "1": ZeroDivisionError()}

    def to_events(record: StreamRecord) -> None:
        if error := others[str(record.sequence_number)]:
            raise error

    lot.processor(to_events)(batch(book_record("b", "0"), book_record("a", "1")))
    lot.parking.redrive(lot.processor(lambda _: Event("A", {})))
    first, again = (json.loads(entry["Detail"])["metadata"] for (entry,) in bus.calls)
    assert first == again


def test_an_exception_that_may_pass_comes_again() -> None:
    """An exception listed in `retry_on` fails the record until it is old; any other exception parks it."""
    lot = Lot()

    def to_events(record: StreamRecord) -> Event:
        raise {"1": TimeoutError, "2": KeyError}[str(record.sequence_number)]

    processor = lot.processor(to_events, retry_on=(TimeoutError,))
    assert processor(batch(book_record("a", "1"), book_record("b", "2"))) == failed_from("1")
    assert lot.items == []
    assert processor(batch(book_record("b", "2"))) == ALL_WELL
    lot.clock.advance(timedelta(hours=12))
    assert processor(batch(book_record("a", "1"))) == ALL_WELL
    assert {code for _, _, code in lot.parked} == {"TimeoutError", "KeyError"}


def shelf_record(shelf: str, name: str, sequence_number: str) -> dict[str, Any]:
    """Return the insertion of a book into a table that is partitioned by shelf."""
    return insertion({"shelf": {"S": shelf}, "name": {"S": name}}, sequence_number, "shelf", "name")


def test_changes_keep_their_order_by_item_or_by_a_key_attribute() -> None:
    """Changes are ordered by item by default, and by the key attribute that `order_by` names."""
    records = [shelf_record("7", "a", "1"), shelf_record("7", "b", "2"), shelf_record("8", "a", "3")]

    def to_events(record: StreamRecord) -> Event:
        return Event(f"E{record.sequence_number}", {"poison": 1 / (int(str(record.sequence_number)) - 1)})

    by_item, by_shelf = Lot(), Lot()
    assert by_item.processor(to_events)(batch(*records)) == ALL_WELL
    assert by_shelf.processor(to_events, order_by="shelf")(batch(*records)) == ALL_WELL
    assert (by_item.bus.sent, by_shelf.bus.sent) == (["E2", "E3"], ["E3"])
    with pytest.raises(ValueError, match="order_by='row' is not a key attribute"):
        by_shelf.processor(to_events, order_by="row")(batch(*records))


def test_a_processor_of_another_kind_touches_nothing() -> None:
    """A ChangeProcessor does not redrive a record that an OutboxRelay parked."""
    lot = Lot()
    lot.relay(batch(outbox_record("A", "1", "a", **UNREADABLE)))
    result = lot.parking.redrive(lot.processor(lambda _: None))
    assert ([failure.code for failure in result.failures], lot.heads) == (["AnothersRecord"], {"Book#a": 1})


def test_prefixes_part_what_shares_a_table() -> None:
    """Two parking tables with different prefixes in one DynamoDB table don't see each other's records."""
    lot = Lot(table_keys=TableKeys(prefix="one#"))
    other = ParkingTable("parking", client=lot.dynamodb, clock=lot.clock, table_keys=TableKeys(prefix="two#"))
    lot.relay(batch(outbox_record("A", "1", "a", **UNREADABLE)))
    assert (lot.parking.waiting(["Book#a"]), other.waiting(["Book#a"])) == ({"Book#a"}, set())
    assert other.redrive(lot.relay).finished
    assert lot.heads == {"Book#a": 1}


def test_an_aggregate_with_a_long_name_has_a_head_too() -> None:
    """An order key too long for a sort key is stored under its digest."""
    lot = Lot()
    name = "n" * 2000
    assert lot.relay(batch(outbox_record("A", "1", name, **UNREADABLE))) == ALL_WELL
    assert lot.relay(batch(outbox_record("B", "2", name))) == ALL_WELL
    assert lot.heads == {f"Book#{name}": 2}


def test_without_order_only_the_record_itself_is_parked() -> None:
    """With `in_order=False` only the failed record is parked, and no order keys are read beforehand."""
    lot = Lot(StubBus({"A": "MalformedDetail"}), in_order=False)
    records = [outbox_record("A", "1", "a"), outbox_record("B", "2", "a"), outbox_record("X", "3", "x", **UNREADABLE)]
    assert lot.relay(batch(*records, outbox_record("Y", "4", "x"))) == failed_from("2")
    assert lot.relay(batch(*records[1:], outbox_record("Y", "4", "x"))) == ALL_WELL
    assert lot.bus.sent == ["A", "Y", "B", "Y"]
    assert [number for _, number, _ in lot.parked] == ["1", "3"]
    assert not any(call.operation == "batch_get_item" for call in lot.dynamodb.calls)


def test_without_order_a_redrive_stops_for_nobody() -> None:
    """With `in_order=False` an unreadable record does not block a redrive of its aggregate's other records."""
    lot = Lot(StubBus({"B": "MalformedDetail"}), in_order=False)
    lot.relay(batch(outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "a")))
    lot.bus._refused = {}
    result = lot.parking.redrive(lot.relay)
    assert (result.sent, len(result.failures), [number for _, number, _ in lot.parked]) == (1, 1, ["1"])


def test_a_parked_record_of_a_later_format_stops_its_key_alone() -> None:
    """A record that a newer version parked is reported and left in place; other order keys are redriven."""
    lot = Lot(StubBus({"A": "MalformedDetail", "B": "MalformedDetail"}))
    lot.relay(batch(outbox_record("A", "1", "a"), outbox_record("B", "2", "b")))
    lot.bus._refused = {}
    newer = next(item for item in lot.items if item.get("orderKey") == {"S": "Book#a"} and "parts" in item)
    lot.dynamodb.put_item(TableName="parking", Item=newer | {"parkedFormat": {"N": "2"}})
    result = lot.parking.redrive(lot.relay)
    assert ([(failure.order_key, failure.code) for failure in result.failures], result.sent) == (
        [("Book#a", "ParkingError")],
        1,
    )


@pytest.mark.parametrize("settings", [{"table": ""}, {"table": "parking", "table_keys": TableKeys(sort_key=None)}])
def test_a_table_that_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    """A parking table without a name or a sort key is refused."""
    with pytest.raises(ValueError, match=r"table needs a name|needs a sort key"):
        ParkingTable(**settings)


@pytest.mark.parametrize("names", [{"partition_key": "sk"}, {"ttl_attribute": "pk"}, {"sort_key": ""}])
def test_keys_of_one_name_are_refused(names: dict[str, str]) -> None:
    """TableKeys refuses an empty name and a name that is used for two attributes."""
    with pytest.raises(ValueError, match="needs a different name for each attribute"):
        TableKeys(**names)


def test_a_relay_that_parks_at_once_is_refused() -> None:
    """A `park_after` of zero is refused, because each temporary failure would park a record."""
    with pytest.raises(ValueError, match="park_after"):
        OutboxRelay(EventBridgePublisher("books", client=StubBus()), park_after=timedelta(0))
