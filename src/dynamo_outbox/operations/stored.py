"""Read what is stored of events: items, void markers, parked records, dedup records, backlogs. Nothing is changed.

A table is given as ``NAME``, or as ``NAME:PREFIX`` if its partition keys have a prefix.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict

from ..consuming.claims import Claim
from ..consuming.idempotency import IdempotencyStore
from ..consuming.inbox_records import dedup_claim
from ..events.ids import joined
from ..options import TableKeys
from ..relaying.parked_record import ParkedRecord
from ..relaying.parking_table import ParkingTable
from ..writing.commit_rules import is_marker
from .clients import clients_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..events.event import Event
    from .clients import Clients

__all__ = [
    "Backlog",
    "dedup_records",
    "event_items",
    "parked_records",
    "parking_backlog",
    "parking_table",
    "queue_backlog",
    "relay_backlog",
    "table_options",
]


class Backlog(TypedDict):
    """What is left in a place: the number of records or messages, and the age of the oldest; None if it is unknown."""

    place: str
    name: str
    left: int | None
    oldest_seconds: int | None
    note: str


def table_options(table: str, clients: Clients | None = None) -> dict[str, Any]:
    """Return a table's arguments for the library's constructors; DescribeTable tells the names of its keys."""
    name, _, prefix = table.partition(":")
    dynamodb = (clients or clients_of())("dynamodb")
    schema = dynamodb.describe_table(TableName=name)["Table"]["KeySchema"]
    names = {key["KeyType"]: key["AttributeName"] for key in schema}
    return {"table": name, "client": dynamodb, "table_keys": TableKeys(names["HASH"], names.get("RANGE"), prefix)}


def event_items(
    table: str, partition: str | None, event_id: str | None = None, *, clients: Clients | None = None
) -> Iterator[dict[str, Any]]:
    """Yield an events table's items, typed: events and void markers, by consistent reads.

    Arguments:
        table: The events table.
        partition: The aggregate, ``Type#id``, or the id of an event without one; None scans the **whole table**.
        event_id: Only this event, or the marker in its place.
    """
    options = table_options(table, clients)
    keys, request = options["table_keys"], {"TableName": options["table"], "ConsistentRead": True}
    if partition is not None:
        request["KeyConditionExpression"] = "#pk = :pk"
        request["ExpressionAttributeNames"] = {"#pk": keys.partition_key}
        request["ExpressionAttributeValues"] = {":pk": {"S": keys.prefix + partition}}
    for page in options["client"].get_paginator("scan" if partition is None else "query").paginate(**request):
        for item in page["Items"]:
            sort = item.get(keys.sort_key, {}).get("S", "")
            is_asked_for = event_id is None or sort == event_id or sort.endswith(f"#{event_id}")
            if is_asked_for and ("outboxFormat" in item or is_marker(item)):
                yield item


def parking_table(table: str, *, clients: Clients | None = None) -> ParkingTable:
    """Return a parking table, whose methods ``heads``, ``records``, ``drop`` and ``redrive`` the commands call."""
    return ParkingTable(**table_options(table, clients))


def parked_records(
    table: str, event_id: str | None, aggregate: str | None, *, clients: Clients | None = None
) -> Iterator[ParkedRecord]:
    """Yield the parked records of an event, or else of an aggregate; reads the whole parking table.

    Raises:
        ParkingError: A record has an unknown format.
    """
    parking = parking_table(table, clients=clients)
    for head in parking.heads():
        for record in parking.records(head.order_key):
            if event_id in record.event_ids or (event_id is None and head.order_key.partition("@")[0] == aggregate):
                yield record


def dedup_records(
    table: str, consumer: str, event: Event, *, clients: Clients | None = None
) -> Iterator[Mapping[str, Any]]:
    """Yield a consumer's records of an event, typed: an inbox's, and one of `idempotent` without ``key=``.

    Arguments:
        table: The table of the `IdempotencyStore`.
        consumer: The inbox's ``consumer``, or the ``scope``.
        event: The event; its source and id are the key.
    """
    records = IdempotencyStore(**table_options(table, clients)).records
    called = Claim(joined("call", consumer, event.source or "", event.id), "", "")
    yield from filter(None, map(records.read, (dedup_claim(consumer, event, "", ""), called)))


def parking_backlog(table: str, now: datetime, *, clients: Clients | None = None) -> Backlog:
    """Return how many records are parked, and how long ago the earliest first record of an order key was."""
    heads = list(parking_table(table, clients=clients).heads())
    parked_at = [head.first.parked_at for head in heads if isinstance(head.first, ParkedRecord)]
    age = int((now - min(parked_at)).total_seconds()) if parked_at else None
    note = "since it was parked" if len(parked_at) == len(heads) else "some records can't be read: see parked list"
    return Backlog(place="parking", name=table, left=sum(each.parked for each in heads), oldest_seconds=age, note=note)


def queue_backlog(queue_url: str, now: datetime, *, clients: Clients | None = None) -> Backlog:
    """Return SQS's approximate number of messages, those in flight included, and CloudWatch's age of the oldest."""
    clients = clients or clients_of()
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = clients("sqs").get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    age = _latest("AWS/SQS", "ApproximateAgeOfOldestMessage", "QueueName", queue_url.rpartition("/")[2], now, clients)
    note = "approximate; in a dead-letter queue the age counts from the move"
    left = sum(int(counts[name]) for name in names)
    return Backlog(place="queue", name=queue_url, left=left, oldest_seconds=age, note=note)


def relay_backlog(function: str, now: datetime, *, clients: Clients | None = None) -> Backlog:
    """Return the age of the last record of the latest batch of a function that reads a stream (IteratorAge)."""
    age = _latest("AWS/Lambda", "IteratorAge", "FunctionName", function, now, clients or clients_of())
    note = "no batch in 15 minutes: nothing to publish, or stopped" if age is None else "the number can't be known"
    seconds = None if age is None else age // 1000
    return Backlog(place="relay", name=function, left=None, oldest_seconds=seconds, note=note)


def _latest(namespace: str, metric: str, dimension: str, name: str, now: datetime, clients: Clients) -> int | None:
    """Return a metric's latest maximum within a minute; None without a value in 15 minutes."""
    measured = {"Namespace": namespace, "MetricName": metric, "Dimensions": [{"Name": dimension, "Value": name}]}
    query = {"Id": "latest", "MetricStat": {"Metric": measured, "Period": 60, "Stat": "Maximum"}}
    window = {"StartTime": now - timedelta(minutes=15), "EndTime": now}
    [found] = clients("cloudwatch").get_metric_data(MetricDataQueries=[query], **window)["MetricDataResults"]
    return max(zip(found["Timestamps"], map(int, found["Values"]), strict=True), default=(None, None))[1]
