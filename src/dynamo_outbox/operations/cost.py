"""Cost of events, from list prices and the assumptions in docs/what-it-costs.md; nothing here was billed.

All amounts are US dollars per million events unless a name says otherwise, and a GB counts as a million KB.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AS_OF",
    "EVENTBRIDGE_PRICES",
    "MEMORY_MB",
    "PARTS",
    "PRICES",
    "Consumer",
    "Relay",
    "bus_cost",
    "chunks",
    "consumer_units",
    "custom_bus_cost",
    "invocation_cost",
    "kept_cost",
    "list_cost",
    "parts",
    "per_gb",
    "put_events_price",
    "relay_cost",
    "write_units",
]

MILLION = 1_000_000
AS_OF = "2026-11-28"
CONFIRMED, LISTED, THIRD_HAND = "list price", "list price, check", "third party, check"


class Price(NamedTuple):
    """A list price in us-east-1: the dollars for an amount of units, its page, and where the number comes from."""

    what: str
    dollars: float
    amount: int
    unit: str
    source: str
    standing: str = LISTED

    @property
    def each(self) -> float:
        """Dollars per unit."""
        return self.dollars / self.amount


_DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"
_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
EVENTBRIDGE_PRICES = "https://aws.amazon.com/eventbridge/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_THIRD_PARTY = "https://github.com/dataGriff/aws.serverless.architecture"
PRICES: Mapping[str, Price] = {
    "write": Price("DynamoDB, on-demand write units", 0.625, MILLION, "units", _DYNAMODB),
    "read": Price("DynamoDB, on-demand read units", 0.125, MILLION, "units", _DYNAMODB),
    "stream read": Price("DynamoDB Streams, reads by others than Lambda", 0.02, 100_000, "reads", _DYNAMODB),
    "storage": Price("DynamoDB, storage", 0.25, 1, "GB-month", _DYNAMODB),
    "recovery": Price("DynamoDB, point-in-time recovery", 0.20, 1, "GB-month", _DYNAMODB),
    "invocation": Price("Lambda, requests", 0.20, MILLION, "requests", _LAMBDA),
    "duration": Price("Lambda, duration on x86", 0.0000166667, 1, "GB-second", _LAMBDA),
    "bus": Price("EventBridge Classic bus, per 64 KB", 1.00, MILLION, "events", EVENTBRIDGE_PRICES, CONFIRMED),
    "pipe": Price("EventBridge Pipes, per 64 KB", 0.40, MILLION, "requests", EVENTBRIDGE_PRICES),
    "custom in": Price("Custom Event Bus, ingestion per started KB", 0.18, 1, "GB", _THIRD_PARTY, THIRD_HAND),
    "custom out": Price("Custom Event Bus, delivery per started KB", 0.05, 1, "GB", _THIRD_PARTY, THIRD_HAND),
    "queue": Price("SQS standard queue, per 64 KB", 0.40, MILLION, "requests", "https://aws.amazon.com/sqs/pricing/"),
    "logs": Price("CloudWatch Logs, ingestion", 0.50, 1, "GB", _CLOUDWATCH),
    "alarm": Price("CloudWatch, alarms", 0.10, 1, "alarm-month", _CLOUDWATCH),
    "metric": Price("CloudWatch, custom metrics", 0.30, 1, "metric-month", _CLOUDWATCH),
}

CHUNK_KB = 64
"""Unit of billing of events, pipe requests and queue messages."""
CALL_ENTRIES, CALL_KB = 10, 1024
"""Limits of PutEvents: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html"""
RECORD_KB = 1
"""Surplus of a stream record, and of an event made by a pipe, over its item."""
MEMORY_MB, FULL_CORE_MB = 256, 1769
"""Memory of the books example's functions; memory at which Lambda gives a function one full core:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
LATENCY_MS, LOG_KB = 8, 0.4
"""Time of each AWS call; Lambda's own log lines for each invocation."""
OUTBOX_DAYS, RECORD_DAYS, DELETION_DAYS, MONTH_DAYS = 7, 8, 2, 30
"""TTL of outbox items and of dedup records; delay of TTL's deletion."""
DEDUP_KB, RECORD_UNITS = 0.5, 2
"""Size of a dedup record, and its write units: one transactional write, or a claim and a completion."""
PARTS = ("entity", "event item", "relay", "bus", "consumer's function", "effect and dedup record", "storage")


class Relay(NamedTuple):
    """A way from the stream to the bus: CPU time on a full core per invocation and per KB of items, 0 for a pipe;
    whether it reads a `ParkingTable`; whether an event item is written; records per batch at most."""

    name: str
    call_ms: float
    kb_ms: float
    has_parking: bool = True
    writes_event: bool = True
    most: int = 100


class Consumer(NamedTuple):
    """A Lambda function that handles each event once: CPU time of a first call on a full core; its requests, the
    effect's included; write units of the effect per started KB; whether a duplicate is a cancelled transaction, which
    costs as much as the first call; TTL of its dedup record."""

    name: str
    cpu_ms: float
    calls: int
    effect_units: int
    cancels_all: bool
    days: float = RECORD_DAYS


OUTBOX_RELAY = Relay("OutboxRelay", 1.0, 0.2)
PIPE = Relay("EventBridge Pipe", 0, 0, has_parking=False, most=10)
PROCESSOR = Relay("ChangeProcessor", 1.0, 0.3, writes_event=False)
INBOX = Consumer("Inbox", 1.5, 1, 2, cancels_all=True)
IDEMPOTENT = Consumer("idempotent", 4.0, 3, 1, cancels_all=False)


def list_cost(name: str, units: float = 1) -> float:
    """Return the dollars per million events for a number of units per event."""
    return PRICES[name].each * units * MILLION


def per_gb(name: str, kilobytes: float) -> float:
    """Return the dollars per million events for KB per event, at a price per GB."""
    return PRICES[name].each * kilobytes


def put_events_price(size_bytes: int, *, is_custom_bus: bool = False) -> float:
    """Return the dollars for publishing one event by PutEvents; a Custom Event Bus bills its deliveries, too."""
    if is_custom_bus:
        return custom_bus_cost(size_bytes / 1024, 0) / MILLION
    return PRICES["bus"].each * chunks(size_bytes / 1024)


def write_units(kilobytes: float, *, in_transaction: bool) -> int:
    """Return the write units of an item: one per started KB, two in a transaction, even if that is cancelled."""
    return max(1, ceil(kilobytes)) * (2 if in_transaction else 1)


def chunks(kilobytes: float) -> int:
    """Return the number of started chunks of 64 KB, which are billed as one each."""
    return max(1, ceil(kilobytes / CHUNK_KB))


def invocation_cost(cpu_ms: float, calls: int) -> float:
    """Return the cost of a million invocations: requests, duration (CPU and waiting) and Lambda's own log lines."""
    milliseconds = max(1, ceil(cpu_ms * FULL_CORE_MB / MEMORY_MB + calls * LATENCY_MS))
    gb_seconds = milliseconds / 1000 * MEMORY_MB / 1024
    return list_cost("invocation") + list_cost("duration", gb_seconds) + per_gb("logs", LOG_KB)


def relay_cost(relay: Relay, kilobytes: float, batch: int) -> float:
    """Return the cost of relaying in batches of this size, at most `relay.most`; the bus is not included."""
    batch = min(batch, relay.most)
    if not relay.call_ms:
        return list_cost("pipe", chunks(batch * (kilobytes + RECORD_KB)) / batch)
    entries = max(1, min(CALL_ENTRIES, int(CALL_KB // (kilobytes + RECORD_KB))))
    calls = ceil(batch / entries) + relay.has_parking
    cpu_ms = relay.call_ms + relay.kb_ms * max(1, ceil(kilobytes)) * batch
    parking = list_cost("read") if relay.has_parking else 0.0
    return invocation_cost(cpu_ms, calls) / batch + parking


def bus_cost(kilobytes: float) -> float:
    """Return the cost of publishing to a Classic bus; delivery to targets in the same account is free."""
    return list_cost("bus", chunks(kilobytes + RECORD_KB))


def custom_bus_cost(kilobytes: float, subscribers: int) -> float:
    """Return the cost of publishing to a Custom Event Bus and of its deliveries, kept for up to 24 hours."""
    billed = max(1, ceil(kilobytes))
    return per_gb("custom in", billed) + per_gb("custom out", billed * subscribers)


def kept_cost(kilobytes: float, days: float) -> float:
    """Return the cost of storing an item until TTL deletes it, which is free; with point-in-time recovery."""
    return (per_gb("storage", kilobytes) + per_gb("recovery", kilobytes)) * (days + DELETION_DAYS) / MONTH_DAYS


def consumer_units(consumer: Consumer, kilobytes: float) -> int:
    """Return the write units of a first call: the effect and the dedup record."""
    return consumer.effect_units * write_units(kilobytes, in_transaction=False) + RECORD_UNITS


def parts(
    relay: Relay,
    kilobytes: float,
    batch: int,
    consumer: Consumer | None = None,
    *,
    consumers: int = 1,
    is_custom_bus: bool = False,
) -> dict[str, float]:
    """Return the cost of each part, in the order of `PARTS`; the entity's storage is not included.

    Arguments:
        relay, kilobytes, batch: The relay, the size of entity, event and effect each, and the records per batch.
        consumer, consumers: What handles an event, and how many of them handle each; by default none.
        is_custom_bus: Whether the bus is a Custom Event Bus, with a subscriber for each consumer.
    """
    item = list_cost("write", write_units(kilobytes, in_transaction=relay.writes_event))
    function = effect = dedup = 0.0
    if consumer:
        function = consumers * invocation_cost(consumer.cpu_ms, consumer.calls)
        effect = consumers * list_cost("write", consumer_units(consumer, kilobytes))
        dedup = consumers * kept_cost(DEDUP_KB, consumer.days)
    event, stored = (item, kept_cost(kilobytes, OUTBOX_DAYS)) if relay.writes_event else (0.0, 0.0)
    relayed = relay_cost(relay, kilobytes, batch)
    bus = custom_bus_cost(kilobytes + RECORD_KB, consumers) if is_custom_bus else bus_cost(kilobytes)
    return dict(zip(PARTS, (item, event, relayed, bus, function, effect, stored + dedup), strict=True))
