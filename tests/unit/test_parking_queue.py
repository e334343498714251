"""The parking queue: complete records in SQS, unordered, until they are redriven."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto import mock_aws

from dynamo_outbox import ChangeProcessor, EventBridgePublisher, OutboxRelay, ParkingQueue, Retry

from ..doubles import FakeClock, StubBus, client_error
from .test_parking import UNREADABLE, Context, batch, big_book
from .test_processors import ALL_WELL, NOON, failed_from, outbox_record

if TYPE_CHECKING:
    from collections.abc import Iterator


class Lot:
    """A parking queue in memory, a bus, and a relay between them."""

    def __init__(self, client: Any) -> None:
        self.client = client
        self.url: str = client.create_queue(QueueName="parking")["QueueUrl"]
        self.clock = FakeClock()
        self.clock.set(NOON)
        self.parking = ParkingQueue(self.url, client=client, clock=self.clock)
        self.bus = StubBus()
        self.publisher = EventBridgePublisher(
            "books", source="OutboxDemo.Books", client=self.bus, retry=Retry(attempts=1)
        )
        self.relay = OutboxRelay(self.publisher, parking=self.parking)

    @property
    def count(self) -> int:
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        told = self.client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)["Attributes"]
        return sum(int(told[name]) for name in names)


@pytest.fixture
def lot(monkeypatch: pytest.MonkeyPatch) -> Iterator[Lot]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with mock_aws():
        yield Lot(boto3.client("sqs", region_name="eu-west-1"))


def test_a_record_is_parked_whole_and_nobody_waits_for_it(lot: Lot) -> None:
    """An unreadable record is sent to the queue with the reason; later records are published."""
    records = [outbox_record("A", "1", "a", **UNREADABLE), outbox_record("B", "2", "a")]
    assert lot.relay(batch(*records)) == ALL_WELL
    assert lot.bus.sent == ["B"]
    (message,) = lot.client.receive_message(QueueUrl=lot.url)["Messages"]
    told = json.loads(message["Body"])
    assert told["record"] == records[0]
    assert told["reasonPath"] == "dynamodb.NewImage.outboxFormat.N"
    assert (told["sequenceNumber"], told["orderKey"], told["parkedBy"]) == ("1", "Book#a", "OutboxRelay")


def test_redrive_sends_what_can_be_sent_and_leaves_the_rest(lot: Lot) -> None:
    """A published record is removed from the queue; a record that fails again stays."""
    lot.bus._refused = {"A": "MalformedDetail"}
    lot.relay(batch(outbox_record("A", "1", "a"), outbox_record("B", "2", "b", **UNREADABLE)))
    assert lot.count == 2
    lot.bus._refused = {}
    result = lot.parking.redrive(lot.relay)
    assert (result.sent, [failure.path for failure in result.failures], result.finished) == (
        1,
        ["dynamodb.NewImage.outboxFormat.N"],
        True,
    )
    assert json.loads(lot.bus.calls[-1][0]["Detail"])["metadata"]["id"] == "event 1"
    assert lot.count == 1


def test_a_limit_or_the_time_ends_a_redrive(lot: Lot) -> None:
    """A redrive stops at its limit and when Lambda's time is up."""
    lot.bus._refused = {"A": "MalformedDetail"}
    lot.relay(batch(*(outbox_record("A", str(number), str(number)) for number in range(1, 13))))
    lot.bus._refused = {}
    assert lot.parking.redrive(lot.relay, context=Context(1000)).finished is False
    first = lot.parking.redrive(lot.relay, limit=11)
    assert (first.sent, first.finished, lot.count) == (11, False, 1)
    assert lot.parking.redrive(lot.relay).finished
    assert lot.count == 0


def test_a_message_that_is_none_is_left(lot: Lot) -> None:
    """A message of another kind or of a newer version stays and is reported."""
    lot.client.send_message(QueueUrl=lot.url, MessageBody="hello")
    lot.client.send_message(QueueUrl=lot.url, MessageBody='{"parkedFormat": 2}')
    result = lot.parking.redrive(lot.relay)
    assert all(failure.code == "ParkingError" for failure in result.failures)
    assert (len(result.failures), lot.count) == (2, 2)


def test_nothing_moves_where_the_queue_refuses(lot: Lot, monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that can't be sent to the queue is reported as failed, and later ones are not parked yet."""

    def refuse(**_: Any) -> None:
        raise client_error("AccessDeniedException")

    with monkeypatch.context() as patched:
        patched.setattr(lot.client, "send_message", refuse)
        records = [outbox_record("A", str(number), str(number), **UNREADABLE) for number in (1, 2)]
        assert lot.relay(batch(*records)) == failed_from("1")
    assert lot.count == 0
    assert lot.relay(batch(*records), Context(100)) == failed_from("2")
    assert lot.count == 1


def test_a_large_record_is_compressed_and_a_huge_one_stays_reported(lot: Lot) -> None:
    """A record over 1 MiB is compressed; if it is still too large, it is reported as failed."""
    large = outbox_record("A", "1", "a", **UNREADABLE, filler={"S": "x" * 1_200_000})
    assert lot.relay(batch(large)) == ALL_WELL
    message = lot.client.receive_message(QueueUrl=lot.url, VisibilityTimeout=0)["Messages"][0]
    assert len(message["Body"]) < 10_000
    (failure,) = lot.parking.redrive(lot.relay).failures
    assert failure.path == "dynamodb.NewImage.outboxFormat.N"
    processor = ChangeProcessor(lot.publisher, lambda _: 1 / 0, parking=lot.parking)  # type: ignore[arg-type, return-value]
    assert processor(batch(big_book("a", "2", 600_000))) == failed_from("2")


@pytest.mark.parametrize("url", ["", "https://sqs.eu-west-1.amazonaws.com/123456789012/parking.fifo"])
def test_a_queue_that_cannot_be_is_refused(url: str) -> None:
    """An empty URL and a FIFO queue, which would need a message group, are refused."""
    with pytest.raises(ValueError, match="queue_url"):
        ParkingQueue(url)
