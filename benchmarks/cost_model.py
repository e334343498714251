"""Cost of an event, from list prices and stated assumptions: the model behind ``python -m benchmarks.costs``.

All amounts are US dollars per million events unless a name says otherwise, and a GB counts as a million KB. Free tiers
are not deducted.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "EVENTBRIDGE_PRICES",
    "list_cost",
    "ALARMS",
    "AS_OF",
    "BATCHES",
    "CALL_ENTRIES",
    "CHUNK_KB",
    "CONSUMERS",
    "DEDUP_KB",
    "DELETION_DAYS",
    "FULL_CORE_MB",
    "IDEMPOTENT",
    "INBOX",
    "LATENCY_MS",
    "LOG_KB",
    "LOOP",
    "MAPPING_METRICS",
    "MEMORY_MB",
    "MONTH_DAYS",
    "OUTBOX_DAYS",
    "OUTBOX_RELAY",
    "PARTS",
    "PIPE",
    "POLLS_PER_SECOND",
    "POWERTOOLS",
    "POWERTOOLS_DAYS",
    "PRICES",
    "PROCESSOR",
    "RECORD_DAYS",
    "RECORD_KB",
    "RELAYS",
    "SETUPS",
    "SIZES",
    "Consumer",
    "Relay",
    "Setup",
    "bus_cost",
    "conflict_cost",
    "consumer_units",
    "custom_bus_cost",
    "duplicate_cost",
    "idle_month",
    "kept_cost",
    "parked_cost",
    "parts",
    "read_units",
    "relay_cost",
    "total",
    "write_units",
]

MILLION = 1_000_000
SIZES = (1, 4, 30)
"""Sizes of an item in KB."""
BATCHES = (1, 10, 100)
"""Records per invocation of the relay."""


# --- Prices --------------------------------------------------------------------------------------------------------

AS_OF = "2026-11-28"
CONFIRMED = "list price"
LISTED = "list price, check"
THIRD_HAND = "third party, check"


@dataclass(frozen=True, slots=True)
class Price:
    """A list price in us-east-1.

    Attributes:
        what: What is billed.
        dollars, amount, unit: The price of an amount of units.
        source: URL of the price page.
        standing: Where the number comes from.
    """

    what: str
    dollars: float
    amount: int
    unit: str
    source: str
    standing: str = LISTED

    @property
    def each(self) -> float:
        """Dollars per unit, which is also dollars per million events at a millionth of the amount."""
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
    "key": Price("KMS, AWS managed key, without requests", 0.00, 1, "month", "https://aws.amazon.com/kms/pricing/"),
}


def list_cost(name: str, units: float = 1) -> float:
    """Return the dollars per million events for a number of units per event."""
    return PRICES[name].each * units * MILLION


def _per_gb(name: str, kilobytes: float) -> float:
    """Return the dollars per million events for KB per event, at a price per GB."""
    return PRICES[name].each * kilobytes


# --- Assumptions ---------------------------------------------------------------------------------------------------

CHUNK_KB = 64
"""Unit of billing of events, pipe requests and queue messages."""
CALL_ENTRIES, CALL_KB = 10, 1024
"""Limits of PutEvents: https://docs.aws.amazon.com/eventbridge/latest/APIReference/API_PutEvents.html"""
RECORD_KB = 1
"""Surplus of a stream record, and of an event made by a pipe, over its item."""
MEMORY_MB, FULL_CORE_MB = 256, 1769
"""Memory of the books example's functions; memory at which Lambda gives a function one full core:
https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html"""
LATENCY_MS = 8
LOG_KB = 0.4
"""Lambda's own log lines for each invocation."""
OUTBOX_DAYS, RECORD_DAYS, POWERTOOLS_DAYS, DELETION_DAYS = 7, 8, 1 / 24, 2
"""TTL of outbox items, of dedup records, and of Powertools' records; delay of TTL's deletion."""
DEDUP_KB = 0.5
MONTH_DAYS = 30
POLLS_PER_SECOND = 4
"""Reads of an idle shard."""
MAPPING_METRICS = 6
"""Metrics of an event source mapping with `EventCount`, at most."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A way from the stream to the bus.

    Attributes:
        name: Its name.
        call_ms, kb_ms: CPU time on a full core per invocation and per KB of items; 0 for a pipe.
        has_parking: Whether it asks a `ParkingTable` about each batch.
        writes_event: Whether an event item is written beside the entity.
        most: Maximum records per batch.
    """

    name: str
    call_ms: float
    kb_ms: float
    has_parking: bool = True
    writes_event: bool = True
    most: int = max(BATCHES)

    @property
    def is_function(self) -> bool:
        return self.call_ms > 0


@dataclass(frozen=True, slots=True)
class Consumer:
    """A Lambda function that handles each event once.

    Attributes:
        name: Its name.
        cpu_ms: CPU time of a first call on a full core.
        calls: Requests of a first call, the effect's included; a duplicate makes one.
        effect_units: Write units of the effect per started KB.
        cancels_all: Whether a duplicate is a cancelled transaction, which costs as much as the first call.
        days: TTL of its dedup record.
    """

    name: str
    cpu_ms: float
    calls: int
    effect_units: int
    cancels_all: bool
    days: float


OUTBOX_RELAY = Relay("OutboxRelay", 1.0, 0.2)
PIPE = Relay("EventBridge Pipe", 0, 0, has_parking=False, most=10)
PROCESSOR = Relay("ChangeProcessor", 1.0, 0.3, writes_event=False)
LOOP = Relay("Lambda loop", 1.0, 0.2, has_parking=False)
RELAYS = (OUTBOX_RELAY, PIPE, PROCESSOR, LOOP)

INBOX = Consumer("Inbox", 1.5, 1, 2, cancels_all=True, days=RECORD_DAYS)
IDEMPOTENT = Consumer("idempotent", 4.0, 3, 1, cancels_all=False, days=RECORD_DAYS)
POWERTOOLS = Consumer("Powertools", 4.0, 3, 1, cancels_all=False, days=POWERTOOLS_DAYS)
CONSUMERS = (INBOX, IDEMPOTENT, POWERTOOLS)
RECORD_UNITS = 2
"""Write units of a dedup record below 1 KB: one transactional write, or a claim and a completion."""

ALARMS: Mapping[str, int] = {"outbox mode, pipe": 10, "outbox mode, OutboxRelay": 13, "CDC mode": 13}
"""Alarms in the books example's templates."""


# --- Units and costs -----------------------------------------------------------------------------------------------


def write_units(kilobytes: float, *, in_transaction: bool) -> int:
    """Return the write units of an item: one per started KB, two in a transaction, even if that is cancelled."""
    return max(1, ceil(kilobytes)) * (2 if in_transaction else 1)


def read_units(kilobytes: float) -> int:
    """Return the read units of a consistent read: one per started 4 KB."""
    return max(1, ceil(kilobytes / 4))


def chunks(kilobytes: float) -> int:
    """Return the number of started chunks of 64 KB, which are billed as one each."""
    return max(1, ceil(kilobytes / CHUNK_KB))


def duration_ms(cpu_ms: float, calls: int) -> int:
    """Return the billed milliseconds of an invocation: its CPU time at the memory's share of a core, and waiting."""
    return max(1, ceil(cpu_ms * FULL_CORE_MB / MEMORY_MB + calls * LATENCY_MS))


def invocation_cost(cpu_ms: float, calls: int) -> float:
    """Return the cost of a million invocations: requests, duration and Lambda's own log lines."""
    gb_seconds = duration_ms(cpu_ms, calls) / 1000 * MEMORY_MB / 1024
    return list_cost("invocation") + list_cost("duration", gb_seconds) + _per_gb("logs", LOG_KB)


def relay_cost(relay: Relay, kilobytes: float, batch: int) -> float:
    """Return the cost of relaying in batches of this size; the bus is not included."""
    batch = min(batch, relay.most)
    if not relay.is_function:
        return list_cost("pipe", chunks(batch * (kilobytes + RECORD_KB)) / batch)
    entries = max(1, min(CALL_ENTRIES, int(CALL_KB // (kilobytes + RECORD_KB))))
    calls = ceil(batch / entries) + relay.has_parking
    cpu_ms = relay.call_ms + relay.kb_ms * max(1, ceil(kilobytes)) * batch
    parking = list_cost("read", read_units(0)) if relay.has_parking else 0.0
    return invocation_cost(cpu_ms, calls) / batch + parking


def bus_cost(kilobytes: float) -> float:
    """Return the cost of publishing to a Classic bus; delivery to targets in the same account is free."""
    return list_cost("bus", chunks(kilobytes + RECORD_KB))


def custom_bus_cost(kilobytes: float, subscribers: int) -> float:
    """Return the cost of a Custom Event Bus within its first 24 hours of retention."""
    billed = max(1, ceil(kilobytes))
    return _per_gb("custom in", billed) + _per_gb("custom out", billed * subscribers)


def kept_cost(kilobytes: float, days: float) -> float:
    """Return the cost of storing an item until TTL deletes it, which is free; with point-in-time recovery."""
    months = (days + DELETION_DAYS) / MONTH_DAYS
    return (_per_gb("storage", kilobytes) + _per_gb("recovery", kilobytes)) * months


def consumer_units(consumer: Consumer, kilobytes: float) -> int:
    """Return the write units of a first call: the effect and the dedup record."""
    return consumer.effect_units * write_units(kilobytes, in_transaction=False) + RECORD_UNITS


def duplicate_cost(consumer: Consumer, kilobytes: float) -> float:
    """Return the cost of a duplicate at the consumer: an invocation, and a transaction or one update refused."""
    units = consumer_units(consumer, kilobytes) if consumer.cancels_all else 1
    return invocation_cost(consumer.cpu_ms, 1) + list_cost("write", units)


def conflict_cost(relay: Relay, kilobytes: float) -> float:
    """Return the cost of a refused write: the cancelled transaction, or in CDC mode the conditional write."""
    items = 2 if relay.writes_event else 1
    return list_cost("write", items * write_units(kilobytes, in_transaction=relay.writes_event))


def parked_cost(place: str, kilobytes: float) -> float:
    """Return the cost of parking a record and redriving it, beyond those of publishing it.

    Args:
        place: "ParkingTable", "ParkingQueue", or "pipe" for a pipe's dead-letter queue.
        kilobytes: Size of the item.
    """
    size = kilobytes + RECORD_KB
    if place == "ParkingTable":
        record_and_head = write_units(size, in_transaction=True) + write_units(0, in_transaction=True)
        head_removed = write_units(0, in_transaction=False)
        return list_cost("write", 2 * record_and_head + head_removed) + list_cost("read", read_units(size))
    if place == "ParkingQueue":
        return list_cost("queue", 2 * chunks(size) + 1)  # send and receive; delete
    return list_cost("queue", 3) + list_cost(
        "read", read_units(kilobytes)
    )  # a pointer; the item is read from the table


@dataclass(frozen=True, slots=True)
class Setup:
    """A relay and a consumer, or no consumer."""

    relay: Relay
    consumer: Consumer | None = None

    @property
    def name(self) -> str:
        by_hand = self.relay is LOOP
        mode = "by hand" if by_hand else "outbox" if self.relay.writes_event else "CDC"
        names = [self.relay.name, *([self.consumer.name] if self.consumer else [])]
        return f"{mode}: {', '.join(names)}"

    @property
    def peer(self) -> Setup:
        """The same made by hand, with Powertools for the consumer."""
        return Setup(LOOP, POWERTOOLS if self.consumer else None)


SETUPS = (
    *(Setup(relay, each) for relay in RELAYS[:3] for each in (None, INBOX, IDEMPOTENT)),
    *(Setup(LOOP, each) for each in (None, POWERTOOLS)),
)
PARTS = ("entity", "event item", "relay", "bus", "consumer's function", "effect and dedup record", "storage")


def parts(setup: Setup, kilobytes: float, batch: int = max(BATCHES)) -> dict[str, float]:
    """Return the cost of each part, in the order of `PARTS`; the entity's storage is not included."""
    relay, consumer = setup.relay, setup.consumer
    item = list_cost("write", write_units(kilobytes, in_transaction=relay.writes_event))
    storage = kept_cost(kilobytes, OUTBOX_DAYS) if relay.writes_event else 0.0
    function = effect = 0.0
    if consumer:
        function = invocation_cost(consumer.cpu_ms, consumer.calls)
        effect = list_cost("write", consumer_units(consumer, kilobytes))
        storage += kept_cost(DEDUP_KB, consumer.days)
    values = (
        item,
        item if relay.writes_event else 0.0,
        relay_cost(relay, kilobytes, batch),
        bus_cost(kilobytes),
        function,
        effect,
        storage,
    )
    return dict(zip(PARTS, values, strict=True))


def total(setup: Setup, kilobytes: float, batch: int = max(BATCHES)) -> float:
    """Return the cost per million events."""
    return sum(parts(setup, kilobytes, batch).values())


def idle_month(stack: str, *, are_pipe_reads_billed: bool = False) -> dict[str, float]:
    """Return what an idle stack of the books example costs in a month, by resource.

    Args:
        stack: A name in `ALARMS`.
        are_pipe_reads_billed: Whether a pipe's reads of its one shard are billed.
    """
    has_pipe = "pipe" in stack
    reads = POLLS_PER_SECOND * 86_400 * MONTH_DAYS if has_pipe and are_pipe_reads_billed else 0
    return {
        "alarms": ALARMS[stack] * PRICES["alarm"].each,
        "metrics of the event source mapping, at most": 0.0 if has_pipe else MAPPING_METRICS * PRICES["metric"].each,
        "reads of the stream": reads * PRICES["stream read"].each,
        "AWS managed key": PRICES["key"].each,
        "tables without items, functions, pipe, bus, queues": 0.0,
    }
