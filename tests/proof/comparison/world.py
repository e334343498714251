"""Bookshop in memory: its tables and bus, and the observed results of faults."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dynamo_outbox.testing import FakeDynamoDB, FakeDynamoDBStreams, FakeEventBridge, wire_record

from ...doubles import FakeClock, fake_dynamodb

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DAY", "LEASE", "Killed", "Observed", "World"]

LEASE = timedelta(minutes=15)
DAY = timedelta(days=1)
TABLES = {"books": ["name"], "events": ["pk", "sk"], "handled": ["pk"], "parking": ["pk", "sk"]}


class Killed(BaseException):
    """The process is killed: no exception handler runs any more."""


@dataclass(frozen=True, slots=True)
class Observed:
    """Observation and its verdict.

    Attributes:
        text: The observation in a few words, with the counted numbers.
        right: Whether nothing is lost, repeated or wrong.
    """

    text: str
    right: bool

    def __str__(self) -> str:
        return f"{'✓' if self.right else '✗'} {self.text}"


@dataclass
class World:
    """Fresh tables, bus and clock for one fault."""

    clock: FakeClock = field(default_factory=FakeClock)
    dynamodb: FakeDynamoDB = field(init=False)
    bus: FakeEventBridge = field(init=False)

    def __post_init__(self) -> None:
        stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
        self.dynamodb = fake_dynamodb(TABLES, self.clock, **stream)
        self.bus = FakeEventBridge(clock=self.clock)

    def sell(self) -> None:
        """Sell one copy: the effect that is counted."""
        self.dynamodb.update_item(**self.sale())

    def sale(self) -> dict[str, Any]:
        """Return the update that counts a copy."""
        return {
            "TableName": "books",
            "Key": {"name": {"S": "a"}},
            "UpdateExpression": "ADD sold :one",
            "ExpressionAttributeValues": {":one": {"N": "1"}},
        }

    @property
    def book(self) -> dict[str, Any]:
        item: dict[str, Any] = self.dynamodb.get_item(TableName="books", Key={"name": {"S": "a"}}).get("Item", {})
        return item

    @property
    def sold(self) -> int:
        return int(self.book.get("sold", {"N": "0"})["N"])

    @property
    def announced(self) -> int:
        """The number of sale events on the bus."""
        return sum(event["detail-type"] == "BookSold" for event in self.bus.events)

    def records(self) -> list[dict[str, Any]]:
        """Return the records of the events table's stream as Lambda delivers them."""
        streams = FakeDynamoDBStreams(self.dynamodb)
        arn = self.dynamodb.describe_table(TableName="events")["Table"]["LatestStreamArn"]
        (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        answer = streams.get_records(ShardIterator=start["ShardIterator"])
        return [wire_record(record, arn) for record in answer["Records"]]

    def stream(self, relay: Callable[[Any, Any], Any], *, deliveries: int = 3) -> None:
        """Deliver the batch as Lambda does: again from the lowest failure, or all of it if the handler raised."""
        records = self.records()
        for _ in range(deliveries):
            if not records:
                return
            failures: Any = None
            with suppress(Exception):
                failures = relay({"Records": records}, None)["batchItemFailures"]
            if failures is None:
                continue
            failed = [int(failure["itemIdentifier"]) for failure in failures]
            sequence = [int(record["dynamodb"]["SequenceNumber"]) for record in records]
            records = records[sequence.index(min(failed)) :] if failed else []

    def sales(self, *, copies: int = 1, events: int | None = 1) -> Observed:
        """Compare the copies sold and the events on the bus with the expected numbers."""
        text = f"{self.sold} of {copies} sold"
        right = self.sold == copies
        if events is not None:
            text += f", {self.announced} of {events} announced"
            right = right and self.announced == events
        return Observed(text, right)
