"""A shop in memory that sells books: its tables and bus, the faults that it meets, and what came of them."""

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
    """The process ended here: nothing that catches exceptions runs any more."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What was seen, and whether it is what it should be.

    Attributes:
        text: In a few words, with the numbers counted.
        right: Whether nothing is lost, twice or wrong.
    """

    text: str
    right: bool

    def __str__(self) -> str:
        return f"{'✓' if self.right else '✗'} {self.text}"


@dataclass
class World:
    """One fault's tables, bus and clock, all fresh."""

    clock: FakeClock = field(default_factory=FakeClock)
    dynamodb: FakeDynamoDB = field(init=False)
    bus: FakeEventBridge = field(init=False)

    def __post_init__(self) -> None:
        stream = {"StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"}}
        self.dynamodb = fake_dynamodb(TABLES, self.clock, **stream)
        self.bus = FakeEventBridge(clock=self.clock)

    def sell(self) -> None:
        """The effect: one more copy sold."""
        self.dynamodb.update_item(**self.sale())

    def sale(self) -> dict[str, Any]:
        """The update that counts a copy."""
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
        """Events on the bus that tell of a sale."""
        return sum(event["detail-type"] == "BookSold" for event in self.bus.events)

    def records(self) -> list[dict[str, Any]]:
        """What the events table's stream holds, as Lambda gives it."""
        streams = FakeDynamoDBStreams(self.dynamodb)
        arn = self.dynamodb.describe_table(TableName="events")["Table"]["LatestStreamArn"]
        (shard,) = streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]
        start = streams.get_shard_iterator(StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON")
        answer = streams.get_records(ShardIterator=start["ShardIterator"])
        return [wire_record(record, arn) for record in answer["Records"]]

    def stream(self, relay: Callable[[Any, Any], Any], *, deliveries: int = 3) -> None:
        """Lambda's mapping: the batch, and again from the lowest failure on, or all of it where the handler raised."""
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
        """The copies counted and the events on the bus, against what they should be."""
        text = f"{self.sold} of {copies} sold"
        right = self.sold == copies
        if events is not None:
            text += f", {self.announced} of {events} announced"
            right = right and self.announced == events
        return Observed(text, right)
