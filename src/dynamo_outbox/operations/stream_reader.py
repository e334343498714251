"""Read a DynamoDB stream as a second reader: all of it, or the range that a failure record points to.

https://docs.aws.amazon.com/amazondynamodb/latest/APIReference/API_streams_GetShardIterator.html
"""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from ..aws.errors import error_code

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

__all__ = ["parents_first", "records_between", "stream_pages"]

EMPTY_PAGES = 100
"""Empty pages in a row after which an open shard counts as read: a stream doesn't say where it ends."""
LOST = ("ResourceNotFoundException", "TrimmedDataAccessException", "ValidationException")


def stream_pages(streams: Any, arn: str, until: datetime) -> Iterator[list[dict[str, Any]]]:
    """Yield the records of a stream up to a time, in pages; no shard before its parent."""
    shards: list[dict[str, Any]] = []
    start: dict[str, Any] | None = {}
    while start is not None:
        page = streams.describe_stream(StreamArn=arn, **start)["StreamDescription"]
        shards += page["Shards"]
        start = {"ExclusiveStartShardId": last} if (last := page.get("LastEvaluatedShardId")) else None
    for shard in parents_first(shards):
        for records in _pages(streams, {"StreamArn": arn, "ShardId": shard, "ShardIteratorType": "TRIM_HORIZON"}):
            wanted = [each for each in records if each["dynamodb"].get("ApproximateCreationDateTime", until) <= until]
            yield wanted
            if len(wanted) < len(records):
                break


def parents_first(shards: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the shards' ids so that none comes before its parent."""
    parents = {shard["ShardId"]: shard.get("ParentShardId") for shard in shards}
    known = {shard: [parent] if parent in parents else [] for shard, parent in parents.items()}
    return [str(shard) for shard in TopologicalSorter(known).static_order()]


def records_between(streams: Any, info: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the records that a failure record's ``DDBStreamBatchInfo`` points to; none if the stream lost some."""
    start = {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": info["startSequenceNumber"]}
    last, found = int(info["endSequenceNumber"]), list[dict[str, Any]]()
    try:
        for records in _pages(streams, {"StreamArn": info["streamArn"], "ShardId": info["shardId"], **start}):
            found += [each for each in records if int(each["dynamodb"]["SequenceNumber"]) <= last]
            if records and int(records[-1]["dynamodb"]["SequenceNumber"]) >= last:
                return found
    except ClientError as error:
        if error_code(error) not in LOST:
            raise
    return []


def _pages(streams: Any, start: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """Yield a shard's pages; each record has the stream's ARN, as in Lambda, because event ids are made from it."""
    iterator, empty = streams.get_shard_iterator(**start)["ShardIterator"], 0
    while iterator and empty < EMPTY_PAGES:
        try:
            page = streams.get_records(ShardIterator=iterator)
        except ClientError as error:
            if error_code(error) != "ExpiredIteratorException":  # after 15 minutes
                raise
            iterator = streams.get_shard_iterator(**start)["ShardIterator"]
            continue
        records = [{**record, "eventSourceARN": start["StreamArn"]} for record in page["Records"]]
        empty = 0 if records else empty + 1
        if records:
            last = records[-1]["dynamodb"]["SequenceNumber"]
            start = {**start, "ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": last}
        yield records
        iterator = page.get("NextShardIterator")
