"""Reading our own outbox record.

Inside the timed region: 100 raw records, warm or fresh as in `decode`, to one `Event` each; data and context stay text
until they are read. This includes the check whether a record holds an event. The peer is TypeDeserializer from
the same NewImage to a dict, where these texts stay text, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from boto3.dynamodb.types import TypeDeserializer

from dynamo_outbox.events.outbox_item import decode_event

from .decode import KINDS, reading
from .harness import Benchmark
from .payloads import from_lambda, outbox_records

if TYPE_CHECKING:
    from dynamo_outbox import Event

__all__ = ["rows"]

_deserialize = TypeDeserializer().deserialize


def ours(payload: dict[str, Any]) -> list[Event]:
    """Return each record's event."""
    return [
        decode_event(record["dynamodb"]["NewImage"])
        for record in payload["Records"]
        if record["eventName"] == "INSERT" and "outboxFormat" in record["dynamodb"]["NewImage"]
    ]


def boto3s(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each record's item."""
    return [
        {name: _deserialize(typed) for name, typed in record["dynamodb"]["NewImage"].items()}
        for record in payload["Records"]
    ]


def check(payload: dict[str, Any]) -> None:
    """Raise an error unless event and item agree."""
    events, items = ours(from_lambda(payload)), boto3s(from_lambda(payload))
    for event, item in zip(events, items, strict=True):
        told = (event.id, event.type, event.source, event.version, event.aggregate_id, event.data_json)
        names = ("eventId", "eventType", "source", "eventVersion", "aggregateId", "eventData")
        if told != tuple(item[name] for name in names):
            raise AssertionError(f"{event} and {item} differ")


def rows() -> list[Benchmark]:
    """Return rows of warm and of fresh records."""
    payload = outbox_records()
    return [
        Benchmark(
            what=f"outbox record to Event, {kind}",
            against="TypeDeserializer",
            target=4.0,
            sense="≥",
            measures={
                "ours": reading(ours, payload, kind),
                "peer": reading(boto3s, payload, kind),
            },
            check=lambda: check(payload),
        )
        for kind in KINDS
    ]
