"""Stand-ins for Lambda's event source mappings, with Lambda's rules for redelivery.

https://docs.aws.amazon.com/lambda/latest/dg/services-ddb-batchfailurereporting.html
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from dynamo_outbox.testing import wire_record

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from dynamo_outbox.typing import StreamsClient

__all__ = ["Checkpoints", "QueueMapping", "StreamMapping", "done_before"]


class Checkpoints:
    """Last finished sequence number of each shard, in a file that outlives a killed process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._done: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}

    def __getitem__(self, shard: str) -> str | None:
        return self._done.get(shard)

    def __setitem__(self, shard: str, sequence_number: str) -> None:
        self._done[shard] = sequence_number
        fresh = self._file.with_suffix(".new")
        fresh.write_text(json.dumps(self._done))
        os.replace(fresh, self._file)


class StreamMapping:
    """Delivers a stream to a function, one batch of a shard at a time, in order.

    Args:
        streams: A client of DynamoDB Streams.
        stream_arn: The stream, read from its beginning.
        function: The Lambda handler.
        checkpoints: The checkpoint of each shard.
        batch_size: The maximum number of records per batch.
    """

    def __init__(
        self,
        streams: StreamsClient,
        stream_arn: str,
        function: Callable[[object], Mapping[str, Any]],
        checkpoints: Checkpoints,
        *,
        batch_size: int = 50,
    ) -> None:
        self._streams = streams
        self._stream_arn = stream_arn
        self._function = function
        self._checkpoints = checkpoints
        self._batch_size = batch_size

    def poll(self) -> int:
        """Deliver each shard's next batch to the function.

        Returns:
            The number of newly finished records: 0 if there were none or the first one failed.

        Raises:
            Exception: The function's exception; the whole batch will be delivered again.
        """
        description = self._streams.describe_stream(StreamArn=self._stream_arn)["StreamDescription"]
        return sum(self._poll_shard(shard["ShardId"]) for shard in description["Shards"])

    def _poll_shard(self, shard: str) -> int:
        done = self._checkpoints[shard]
        start: dict[str, str] = (
            {"ShardIteratorType": "TRIM_HORIZON"}
            if done is None
            else {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": done}
        )
        iterator = self._streams.get_shard_iterator(StreamArn=self._stream_arn, ShardId=shard, **start)
        answer = self._streams.get_records(ShardIterator=iterator["ShardIterator"], Limit=self._batch_size)
        if not answer["Records"]:
            return 0
        records = [wire_record(record, self._stream_arn) for record in answer["Records"]]
        numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
        count = done_before(numbers, self._function({"Records": records}))
        if count:
            self._checkpoints[shard] = numbers[count - 1]
        return count


def done_before(numbers: Sequence[str], response: Mapping[str, Any]) -> int:
    """Return the number of records before the lowest sequence number that the response names.

    Args:
        numbers: The batch's sequence numbers, in order.
        response: The function's batch response; an unknown name fails the whole batch.
    """
    failed = [failure["itemIdentifier"] for failure in response["batchItemFailures"]]
    if any(name not in numbers for name in failed):
        return 0
    return min((numbers.index(name) for name in failed), default=len(numbers))


class QueueMapping:
    """Delivers a queue's messages to a function; messages not named as failed are deleted, others are redelivered.

    Args:
        sqs: A client of SQS.
        queue: The queue's URL.
        function: The Lambda handler.
    """

    def __init__(self, sqs: Any, queue: str, function: Callable[[object], Mapping[str, Any]]) -> None:
        self._sqs = sqs
        self._queue = queue
        self._function = function

    def poll(self) -> int:
        """Wait up to a second for messages and deliver them to the function.

        Returns:
            The number of finished messages.
        """
        answer = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=1)
        messages = answer.get("Messages", [])
        if not messages:
            return 0
        records = [
            {"messageId": each["MessageId"], "body": each["Body"], "eventSource": "aws:sqs", "attributes": {}}
            for each in messages
        ]
        response = self._function({"Records": records})
        failed = {failure["itemIdentifier"] for failure in response["batchItemFailures"]}
        done = [each for each in messages if each["MessageId"] not in failed]
        entries = [{"Id": str(index), "ReceiptHandle": each["ReceiptHandle"]} for index, each in enumerate(done)]
        if entries:
            self._sqs.delete_message_batch(QueueUrl=self._queue, Entries=entries)
        return len(entries)
