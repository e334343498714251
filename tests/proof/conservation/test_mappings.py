"""The stand-ins for Lambda's event source mappings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dynamo_outbox.testing import FakeDynamoDBStreams

from ...doubles import fake_dynamodb
from .mappings import Checkpoints, QueueMapping, StreamMapping, done_before

if TYPE_CHECKING:
    from pathlib import Path

    from dynamo_outbox.testing import FakeDynamoDB


@pytest.mark.parametrize(
    ("failed", "done"),
    [([], 3), (["1"], 0), (["2"], 1), (["3", "2"], 1), (["9"], 0), ([""], 0)],
)
def test_the_lowest_failed_number_is_the_checkpoint(failed: list[str], done: int) -> None:
    """Records before the lowest failed number are done; an unknown name fails the whole batch."""
    response = {"batchItemFailures": [{"itemIdentifier": name} for name in failed]}
    assert done_before(["1", "2", "3"], response) == done


@pytest.fixture
def dynamodb() -> FakeDynamoDB:
    """Return a table with a stream of four changes."""
    fake = fake_dynamodb({"books": ["pk"]}, StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"})
    for name in "abcd":
        fake.put_item(TableName="books", Item={"pk": {"S": name}})
    return fake


class Relay:
    """Handler that records its batches and fails some names."""

    def __init__(self, *failing: str) -> None:
        self.failing = set(failing)
        self.batches: list[str] = []

    def __call__(self, payload: Any) -> dict[str, Any]:
        keys = [record["dynamodb"]["Keys"]["pk"]["S"] for record in payload["Records"]]
        self.batches.append("".join(keys))
        numbers = [record["dynamodb"]["SequenceNumber"] for record in payload["Records"]]
        failures = [number for key, number in zip(keys, numbers, strict=True) if key in self.failing]
        return {"batchItemFailures": [{"itemIdentifier": number} for number in failures]}


def mapping_of(dynamodb: FakeDynamoDB, relay: Relay, file: Path, size: int = 3) -> StreamMapping:
    arn = dynamodb.describe_table(TableName="books")["Table"]["LatestStreamArn"]
    return StreamMapping(FakeDynamoDBStreams(dynamodb), arn, relay, Checkpoints(file), batch_size=size)


def test_a_stream_is_read_in_batches_to_its_end(dynamodb: FakeDynamoDB, tmp_path: Path) -> None:
    """If no record fails, each is delivered once."""
    relay = Relay()
    mapping = mapping_of(dynamodb, relay, tmp_path / "done.json")
    assert [mapping.poll() for _ in range(3)] == [3, 1, 0]
    assert relay.batches == ["abc", "d"]


def test_a_failed_record_and_all_later_ones_are_delivered_again(dynamodb: FakeDynamoDB, tmp_path: Path) -> None:
    """The next batch starts at the failed record until that record succeeds."""
    relay = Relay("b")
    mapping = mapping_of(dynamodb, relay, tmp_path / "done.json")
    assert [mapping.poll(), mapping.poll()] == [1, 0]
    relay.failing.clear()
    assert mapping.poll() == 3
    assert relay.batches == ["abc", "bcd", "bcd"]


def test_a_function_that_raises_gets_the_whole_batch_again(dynamodb: FakeDynamoDB, tmp_path: Path) -> None:
    """An exception does not move the checkpoint."""
    relay = Relay()
    mapping = mapping_of(dynamodb, relay, tmp_path / "done.json")
    relay.batches = None  # type: ignore[assignment]  # makes it raise
    with pytest.raises(AttributeError):
        mapping.poll()
    relay.batches = []
    mapping.poll()
    assert relay.batches == ["abc"]


def test_a_new_process_continues_from_the_checkpoint(dynamodb: FakeDynamoDB, tmp_path: Path) -> None:
    """The checkpoint is written to its file before the next batch is read."""
    file = tmp_path / "done.json"
    mapping_of(dynamodb, Relay(), file).poll()
    after_the_kill = Relay()
    mapping_of(dynamodb, after_the_kill, file).poll()
    assert after_the_kill.batches == ["d"]


class StubQueue:
    """Queue of two messages that stay until they are deleted."""

    def __init__(self) -> None:
        self.messages = {"1": "a", "2": "b"}

    def receive_message(self, **_: object) -> dict[str, Any]:
        messages = [{"MessageId": name, "ReceiptHandle": name, "Body": body} for name, body in self.messages.items()]
        return {"Messages": messages} if messages else {}

    def delete_message_batch(self, *, Entries: list[dict[str, str]], **_: object) -> None:  # noqa: N803  # SQS's name
        for entry in Entries:
            del self.messages[entry["ReceiptHandle"]]


def test_only_messages_that_did_not_fail_are_deleted() -> None:
    """A message that the batch response names stays in the queue."""
    queue = StubQueue()
    failing = ["1"]
    mapping = QueueMapping(
        queue, "url", lambda _: {"batchItemFailures": [{"itemIdentifier": name} for name in failing]}
    )
    assert mapping.poll() == 1
    assert queue.messages == {"1": "a"}
    assert mapping.poll() == 0
    failing.clear()
    assert [mapping.poll(), mapping.poll()] == [1, 0]
    assert queue.messages == {}
