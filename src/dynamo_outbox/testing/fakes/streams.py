"""In-memory DynamoDB Streams: the changes of a `FakeDynamoDB`, in any order that the service allows.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Streams.html
https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetRecords.html
"""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from .client import FakeClient, RefusedError, refuse_unknown
from .values import item_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from .dynamodb import FakeDynamoDB
    from .table import Change, KeyOf, StreamLog

__all__ = ["FakeDynamoDBStreams", "shuffled"]

KEPT = timedelta(hours=24)
"""A stream's retention."""
ITERATOR_LIFE = timedelta(minutes=15)
MAX_RECORDS = 1000
"""The maximum number of records in one response."""
FIRST_NUMBER = 10**21 - 1
"""The first sequence number has 21 digits, the next one 22, so that comparing them as text gives a wrong order."""
SHARD = "shardId-00000001795426200000-fa4ec0de"


class _Iterator(NamedTuple):
    arn: str
    position: int
    made: datetime


def shuffled(seed: int) -> Callable[[Sequence[Change]], Sequence[Change]]:
    """Return an `arrange` for `FakeDynamoDBStreams` that shuffles changes of different items, repeatable by `seed`."""
    chance = random.Random(seed)  # noqa: S311  # not for secrets

    def arrange(pending: Sequence[Change]) -> Sequence[Change]:
        by_item: dict[KeyOf, list[Change]] = {}
        for change in pending:
            by_item.setdefault(change.key, []).append(change)
        turns = [change.key for change in pending]
        chance.shuffle(turns)
        return [by_item[key].pop(0) for key in turns]

    return arrange


class FakeDynamoDBStreams(FakeClient):
    """Fake low-level DynamoDB Streams client that reads the streams of a `FakeDynamoDB`.

    Args:
        dynamodb: The client whose tables have the streams.
        arrange: Orders the changes in the stream. At each read it gets the changes that are not in the stream yet, in
            commit order, and returns some or all of them in stream order; the others are passed to it again at the next
            read. By default all changes appear in commit order. `shuffled` returns an `arrange`.

    Each change appears once, and the changes of one item appear in order; an `arrange` that breaks this is refused.
    DynamoDB guarantees no more than this, not even for the changes of one transaction.

    Limit: a stream has one shard, which ends when its table is deleted.
    """

    SERVICE = "dynamodbstreams"

    def __init__(
        self, dynamodb: FakeDynamoDB, *, arrange: Callable[[Sequence[Change]], Sequence[Change]] | None = None
    ) -> None:
        super().__init__()
        self._dynamodb = dynamodb
        self._arrange = arrange or list
        self._taken: dict[str, int] = {}
        self._pending: dict[str, list[Change]] = {}
        self._records: dict[str, list[dict[str, Any]]] = {}
        self._iterators: dict[str, _Iterator] = {}

    def describe_stream(self, **request: Any) -> dict[str, Any]:
        return self._call("describe_stream", request, self._describe_stream)

    def get_shard_iterator(self, **request: Any) -> dict[str, Any]:
        return self._call("get_shard_iterator", request, self._get_shard_iterator)

    def get_records(self, **request: Any) -> dict[str, Any]:
        return self._call("get_records", request, self._get_records)

    def _log(self, arn: str) -> StreamLog:
        if arn not in self._dynamodb.streams:
            raise RefusedError("ResourceNotFoundException", f"Requested resource not found: Stream: {arn} not found")
        return self._dynamodb.streams[arn]

    def _read(self, log: StreamLog) -> list[dict[str, Any]]:
        """Return the stream's current records."""
        taken = self._taken.get(log.arn, 0)
        changes = log.changes[taken:]
        self._taken[log.arn] = taken + len(changes)
        pending = self._pending.get(log.arn, []) + changes
        coming = list(self._arrange(tuple(pending)))
        self._pending[log.arn] = _remaining(pending, coming)
        records = self._records.setdefault(log.arn, [])
        for change in coming:
            told = change.record["dynamodb"]
            size = sum(item_size(told.get(image, {})) for image in ("Keys", "NewImage", "OldImage"))
            more = {
                "SequenceNumber": str(FIRST_NUMBER + len(records)),
                "SizeBytes": size,
                "StreamViewType": log.view_type,
            }
            records.append({**change.record, "dynamodb": {**told, **more}})
        return records

    def _horizon(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Return the position of the oldest retained record."""
        oldest = self._dynamodb.clock.now() - KEPT
        ages = [record["dynamodb"]["ApproximateCreationDateTime"] < oldest for record in records]
        return ages.index(False) if False in ages else len(ages)

    def _describe_stream(self, request: dict[str, Any]) -> dict[str, Any]:
        refuse_unknown(request, {"StreamArn"})
        log = self._log(request["StreamArn"])
        records = self._read(log)
        numbers = {"StartingSequenceNumber": str(FIRST_NUMBER)}
        if log.closed:
            numbers["EndingSequenceNumber"] = str(FIRST_NUMBER + max(len(records) - 1, 0))
        description = {
            "StreamArn": log.arn,
            "StreamLabel": log.label,
            "StreamStatus": "DISABLED" if log.closed else "ENABLED",
            "StreamViewType": log.view_type,
            "CreationRequestDateTime": log.created,
            "TableName": log.table,
            "KeySchema": log.key_schema,
            "Shards": [{"ShardId": SHARD, "SequenceNumberRange": numbers}],
        }
        return {"StreamDescription": description}

    def _get_shard_iterator(self, request: dict[str, Any]) -> dict[str, Any]:
        log = self._log(request["StreamArn"])
        if request["ShardId"] != SHARD:
            raise RefusedError("ResourceNotFoundException", f"Requested resource not found: Shard {request['ShardId']}")
        records = self._read(log)
        horizon, kind = self._horizon(records), request["ShardIteratorType"]
        if kind == "TRIM_HORIZON":
            return {"ShardIterator": self._iterator(log.arn, horizon)}
        if kind == "LATEST":
            return {"ShardIterator": self._iterator(log.arn, len(records))}
        if kind not in ("AT_SEQUENCE_NUMBER", "AFTER_SEQUENCE_NUMBER"):
            raise RefusedError("ValidationException", f"{kind!r} is not a ShardIteratorType")
        if not str(request.get("SequenceNumber", "")).isdigit():
            raise RefusedError("ValidationException", f"{kind} needs a SequenceNumber")
        position = int(request["SequenceNumber"]) - FIRST_NUMBER
        if not 0 <= position < max(len(records), 1):
            raise RefusedError("ValidationException", "Invalid SequenceNumber: it is not of this shard")
        if position < horizon:
            raise RefusedError("TrimmedDataAccessException", "The requested record is older than 24 hours")
        return {"ShardIterator": self._iterator(log.arn, position + (kind == "AFTER_SEQUENCE_NUMBER"))}

    def _iterator(self, arn: str, position: int) -> str:
        name = f"{arn}|1|{len(self._iterators)}"
        self._iterators[name] = _Iterator(arn, position, self._dynamodb.clock.now())
        return name

    def _get_records(self, request: dict[str, Any]) -> dict[str, Any]:
        iterator = self._iterators.get(request["ShardIterator"])
        if iterator is None:
            raise RefusedError("ValidationException", "Invalid ShardIterator")
        if self._dynamodb.clock.now() - iterator.made > ITERATOR_LIFE:
            raise RefusedError("ExpiredIteratorException", "Iterator expired")
        limit = request.get("Limit", MAX_RECORDS)
        if limit > MAX_RECORDS:
            raise RefusedError("ValidationException", f"Limit must be less than or equal to {MAX_RECORDS}")
        log = self._log(iterator.arn)
        records = self._read(log)
        if iterator.position < self._horizon(records):
            raise RefusedError("TrimmedDataAccessException", "The requested record is older than 24 hours")
        page = records[iterator.position : iterator.position + limit]
        after = iterator.position + len(page)
        if log.closed and after == len(records) and not self._pending[log.arn]:
            return {"Records": page}
        return {"Records": page, "NextShardIterator": self._iterator(log.arn, after)}


def _remaining(pending: Sequence[Change], coming: Sequence[Change]) -> list[Change]:
    """Return the pending changes that `arrange` did not return; refuse a change that it may not return now."""
    left = list(pending)
    for change in coming:
        first = next((each for each in left if each.key == change.key), None)
        if first is not change:
            raise ValueError("arrange= returned a change twice, an unknown one, or one before an earlier of its item")
        left = [each for each in left if each is not change]
    return left
