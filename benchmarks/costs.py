"""Cost per million events, from list prices and stated assumptions: ``python -m benchmarks.costs [--write]``.

Nothing is measured or requested here; the same prices always give the same page. All amounts are US dollars per million
events unless a name says otherwise, and a GB counts as a million KB. Free tiers are not deducted.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from math import ceil
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

from .report import columns, escaped, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "ALARMS",
    "BATCHES",
    "CONSUMERS",
    "IDEMPOTENT",
    "INBOX",
    "LOOP",
    "OUTBOX_RELAY",
    "PARTS",
    "PIPE",
    "POWERTOOLS",
    "PRICES",
    "PROCESSOR",
    "RELAYS",
    "SETUPS",
    "SIZES",
    "Consumer",
    "Price",
    "Relay",
    "Setup",
    "bus_cost",
    "conflict_cost",
    "custom_bus_cost",
    "duplicate_cost",
    "idle_month",
    "main",
    "page_with",
    "parked_cost",
    "parts",
    "picture",
    "read_units",
    "relay_cost",
    "tables",
    "total",
    "write_units",
]

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE_WIDTH = 158
PAGE, PICTURE = DOCS / "what-it-costs.md", DOCS / "what-it-costs.svg"
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
_EVENTBRIDGE = "https://aws.amazon.com/eventbridge/pricing/"
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
    "bus": Price("EventBridge Classic bus, per 64 KB", 1.00, MILLION, "events", _EVENTBRIDGE, CONFIRMED),
    "pipe": Price("EventBridge Pipes, per 64 KB", 0.40, MILLION, "requests", _EVENTBRIDGE),
    "custom in": Price("Custom Event Bus, ingestion per started KB", 0.18, 1, "GB", _THIRD_PARTY, THIRD_HAND),
    "custom out": Price("Custom Event Bus, delivery per started KB", 0.05, 1, "GB", _THIRD_PARTY, THIRD_HAND),
    "queue": Price("SQS standard queue, per 64 KB", 0.40, MILLION, "requests", "https://aws.amazon.com/sqs/pricing/"),
    "logs": Price("CloudWatch Logs, ingestion", 0.50, 1, "GB", _CLOUDWATCH),
    "alarm": Price("CloudWatch, alarms", 0.10, 1, "alarm-month", _CLOUDWATCH),
    "metric": Price("CloudWatch, custom metrics", 0.30, 1, "metric-month", _CLOUDWATCH),
    "key": Price("KMS, AWS managed key, without requests", 0.00, 1, "month", "https://aws.amazon.com/kms/pricing/"),
}


def _each(name: str, units: float = 1) -> float:
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
    return _each("invocation") + _each("duration", gb_seconds) + _per_gb("logs", LOG_KB)


def relay_cost(relay: Relay, kilobytes: float, batch: int) -> float:
    """Return the cost of relaying in batches of this size; the bus is not included."""
    batch = min(batch, relay.most)
    if not relay.is_function:
        return _each("pipe", chunks(batch * (kilobytes + RECORD_KB)) / batch)
    entries = max(1, min(CALL_ENTRIES, int(CALL_KB // (kilobytes + RECORD_KB))))
    calls = ceil(batch / entries) + relay.has_parking
    cpu_ms = relay.call_ms + relay.kb_ms * max(1, ceil(kilobytes)) * batch
    parking = _each("read", read_units(0)) if relay.has_parking else 0.0
    return invocation_cost(cpu_ms, calls) / batch + parking


def bus_cost(kilobytes: float) -> float:
    """Return the cost of publishing to a Classic bus; delivery to targets in the same account is free."""
    return _each("bus", chunks(kilobytes + RECORD_KB))


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
    return invocation_cost(consumer.cpu_ms, 1) + _each("write", units)


def conflict_cost(relay: Relay, kilobytes: float) -> float:
    """Return the cost of a refused write: the cancelled transaction, or in CDC mode the conditional write."""
    items = 2 if relay.writes_event else 1
    return _each("write", items * write_units(kilobytes, in_transaction=relay.writes_event))


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
        return _each("write", 2 * record_and_head + head_removed) + _each("read", read_units(size))
    if place == "ParkingQueue":
        return _each("queue", 2 * chunks(size) + 1)  # send and receive; delete
    return _each("queue", 3) + _each("read", read_units(kilobytes))  # a pointer; the item is read from the table


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
DRAWN = (
    Setup(OUTBOX_RELAY, INBOX),
    Setup(OUTBOX_RELAY, IDEMPOTENT),
    Setup(PIPE, INBOX),
    Setup(PROCESSOR, INBOX),
    Setup(LOOP, POWERTOOLS),
)
"""The setups in the picture."""
PARTS = ("entity", "event item", "relay", "bus", "consumer's function", "effect and dedup record", "storage")


def parts(setup: Setup, kilobytes: float, batch: int = max(BATCHES)) -> dict[str, float]:
    """Return the cost of each part, in the order of `PARTS`; the entity's storage is not included."""
    relay, consumer = setup.relay, setup.consumer
    item = _each("write", write_units(kilobytes, in_transaction=relay.writes_event))
    storage = kept_cost(kilobytes, OUTBOX_DAYS) if relay.writes_event else 0.0
    function = effect = 0.0
    if consumer:
        function = invocation_cost(consumer.cpu_ms, consumer.calls)
        effect = _each("write", consumer_units(consumer, kilobytes))
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


# --- Page ----------------------------------------------------------------------------------------------------------

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def money(dollars: float) -> str:
    """Return an amount in dollars and cents, with a third decimal below 10 cents."""
    if dollars == 0:
        return "$0"
    digits = 2 if dollars >= 0.0995 else 3
    return f"${Decimal(repr(dollars)).quantize(Decimal(10) ** -digits, ROUND_HALF_UP)}"


def _by_size(costs: Iterable[float]) -> tuple[str, ...]:
    return tuple(money(cost) for cost in costs)


_SIZED = tuple(f"{size} KB" for size in SIZES)


def _totals() -> Table:
    rows = [
        (
            setup.name,
            *(f"{money(total(setup, size))} ({total(setup, size) / total(setup.peer, size):.2f})" for size in SIZES),
        )
        for setup in SETUPS
    ]
    return ("setup", *_SIZED), rows


def _parts() -> Table:
    rows = [(setup.name, *_by_size(parts(setup, SIZES[0]).values())) for setup in DRAWN]
    return ("setup", *PARTS), rows


def _relays() -> Table:
    rows = [
        (
            relay.name,
            f"{size} KB",
            *(money(relay_cost(relay, size, batch)) if batch <= relay.most else "—" for batch in BATCHES),
        )
        for relay in RELAYS
        for size in SIZES
    ]
    return ("relay", "item", *(f"batch of {batch}" for batch in BATCHES)), rows


def _extras() -> Table:
    rows = [
        ("an event is published twice: the bus", *_by_size(bus_cost(size) for size in SIZES)),
        *(
            (f"a duplicate at {consumer.name}", *_by_size(duplicate_cost(consumer, size) for size in SIZES))
            for consumer in CONSUMERS
        ),
        (
            "a conflict: the cancelled transaction of entity and event",
            *_by_size(conflict_cost(OUTBOX_RELAY, size) for size in SIZES),
        ),
        (
            "a conflict in CDC mode: the refused write of the entity",
            *_by_size(conflict_cost(PROCESSOR, size) for size in SIZES),
        ),
        (
            "a conflict in an Inbox handler: the cancelled transaction of effect and dedup record",
            *_by_size(_each("write", consumer_units(INBOX, size)) for size in SIZES),
        ),
        *(
            (f"a record in {place}, and its redrive", *_by_size(parked_cost(place, size) for size in SIZES))
            for place in ("ParkingTable", "ParkingQueue")
        ),
        (
            "a pointer in a pipe's dead-letter queue, and the read of its item",
            *_by_size(parked_cost("pipe", size) for size in SIZES),
        ),
    ]
    return ("a million of these", *_SIZED), rows


def _idle() -> Table:
    months = [[idle_month(stack, are_pipe_reads_billed=billed) for billed in (False, True)] for stack in ALARMS]
    rows = [(name, *(_range(*(each[name] for each in month)) for month in months)) for name in months[0][0]]
    rows.append(("total", *(_range(*(sum(each.values()) for each in month)) for month in months)))
    return ("resource", *ALARMS), rows


def _range(least: float, most: float) -> str:
    return money(least) if least == most else f"{money(least)} to {money(most)}"


def _buses() -> Table:
    rows = [
        ("Classic, any number of rules", *_by_size(bus_cost(size) for size in SIZES)),
        *(
            (
                f"Custom, {count} subscriber{'s' * (count > 1)}",
                *_by_size(custom_bus_cost(size, count) for size in SIZES),
            )
            for count in (1, 3)
        ),
    ]
    return ("bus", *_SIZED), rows


def _prices() -> Table:
    rows: list[tuple[str, ...]] = []
    for price in PRICES.values():
        dollars = f"{price.dollars:.10f}".rstrip("0")
        dollars = dollars + "0" * max(0, 2 - len(dollars.partition(".")[2]))
        amount = price.unit if price.amount == 1 else f"{price.amount:,} {price.unit}"
        rows.append((price.what, f"${dollars}", amount, price.standing, AS_OF, f"[page]({price.source})"))
    return ("what", "price", "per", "standing", "as known on", "source"), rows


def _assumptions() -> Table:
    check = "assumption: check"
    measured = f"measured on {AS_OF} (medians, one core)"
    transactions = "[AWS](https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/transaction-apis.html)"
    memory = "[AWS](https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html)"
    classic = f"[AWS]({_EVENTBRIDGE})"
    cpu = ", ".join(f"{relay.name} {relay.call_ms:g} + {relay.kb_ms:g}" for relay in RELAYS if relay.is_function)
    consumers = ", ".join(f"{each.name} {each.cpu_ms:g}" for each in CONSUMERS)
    calls = ", ".join(f"{each.name} {each.calls}" for each in CONSUMERS)
    rows: list[tuple[str, ...]] = [
        ("entity, event item, event on the bus, effect", "one of each per event, all of the size in the table", check),
        ("write units in a transaction", "2 per started KB and item, also if it is cancelled", transactions),
        ("other write units", "1 per started KB, also if the condition fails", check),
        ("read units, consistent", "1 per started 4 KB", check),
        ("Lambda's reads of the stream, TTL deletions", "free", check),
        ("a pipe's reads of the stream", "not included; see the idle month", check),
        ("pipe request", f"a batch, per started {CHUNK_KB} KB; at most {PIPE.most} records", check),
        ("an event that a pipe puts on the bus", "billed as any other", check),
        ("functions, pipes, buses, queues and Lambda's polling without traffic", "free", check),
        ("Classic bus", f"per started {CHUNK_KB} KB; targets in the same account are free", classic),
        ("stream record, and an event made by a pipe", f"{RECORD_KB} KB larger than the item", check),
        ("functions' memory", f"{MEMORY_MB} MB, {MEMORY_MB / FULL_CORE_MB:.0%} of a core", memory),
        ("CPU ms on a full core, per batch + per KB", cpu, measured),
        ("CPU ms on a full core, first call of a consumer", consumers, measured),
        ("each AWS call", f"{LATENCY_MS} ms, one after another", check),
        ("calls of a relay", f"PutEvents by {CALL_ENTRIES}; with a parking table one more per batch", "the code"),
        ("calls of a consumer", calls, "the code"),
        ("parking table while nothing is parked", "1 read unit per record: each of its own aggregate", "the code"),
        ("log lines of Lambda", f"{LOG_KB:g} KB per invocation", check),
        ("outbox items are kept", f"{OUTBOX_DAYS} days, then {DELETION_DAYS} until TTL deletes them", check),
        (
            "dedup records are kept",
            f"{RECORD_DAYS} days, Powertools' 1 hour, then {DELETION_DAYS} days; {DEDUP_KB:g} KB",
            check,
        ),
        ("parked records", "not compressed, each of its own aggregate and in its own request", check),
        ("idle month", f"{MONTH_DAYS} days; a pipe reads a shard {POLLS_PER_SECOND} times a second", check),
        ("metrics of an event source mapping", f"{MAPPING_METRICS} custom metrics", check),
    ]
    return ("what", "value", "basis"), rows


def _findings() -> list[str]:
    small, large = SIZES[0], SIZES[-1]
    added = total(Setup(OUTBOX_RELAY), small) - total(Setup(LOOP), small)
    inbox = [total(Setup(OUTBOX_RELAY, INBOX), size) - total(Setup(OUTBOX_RELAY, IDEMPOTENT), size) for size in SIZES]
    saved = [total(Setup(OUTBOX_RELAY), size) - total(Setup(PROCESSOR), size) for size in SIZES]
    alone, full = (relay_cost(OUTBOX_RELAY, small, batch) for batch in (1, 100))
    share = parts(Setup(OUTBOX_RELAY), small)["bus"] / total(Setup(OUTBOX_RELAY), small)
    big = parts(Setup(OUTBOX_RELAY), large)
    writes = (big["entity"] + big["event item"]) / sum(big.values())
    reads = idle_month("outbox mode, pipe", are_pipe_reads_billed=True)["reads of the stream"]
    pipe = total(Setup(PIPE), small) - total(Setup(OUTBOX_RELAY), small)
    ttl = kept_cost(DEDUP_KB, RECORD_DAYS) - kept_cost(DEDUP_KB, POWERTOOLS_DAYS)
    return [
        f"At {small} KB, outbox mode with the relay costs {_difference(added)} than the hand-made outbox, for the "
        "read of the parking table. `ParkingQueue` does not need this read.",
        f"`idempotent` costs {_difference(ttl)} than Powertools, because its records are kept for {RECORD_DAYS} "
        "days by default.",
        f"`Inbox` costs {_listed([_difference(each) for each in inbox])} than `idempotent` at {_listed(_SIZED)}. "
        "A transaction doubles the effect's write units, but the handler makes one call instead of three.",
        f"At {small} KB, a pipe (batches of {PIPE.most}) costs {_difference(pipe)} than the relay "
        f"(batches of {max(BATCHES)}).",
        f"CDC mode needs neither an event item nor a transaction. It costs {_difference(-saved[0])} than outbox mode "
        f"at {small} KB, and {_difference(-saved[-1])} at {large} KB.",
        f"At {small} KB, the relay costs {money(alone)} with batches of 1 and {money(full)} with batches of 100.",
        f"Without a consumer, the bus is {share:.0%} of the cost at {small} KB. At {large} KB, the write units of "
        f"entity and event are {writes:.0%}.",
        f"If AWS bills a pipe's reads of the stream, each shard costs up to {money(reads)} a month more, idle or not.",
    ]


def _difference(dollars: float) -> str:
    return f"{money(abs(dollars))} {'less' if dollars < 0 else 'more'}"


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def tables() -> dict[str, Table]:
    """Return the tables of the page by the names of their markers."""
    return {
        "totals": _totals(),
        "parts": _parts(),
        "relays": _relays(),
        "extras": _extras(),
        "idle": _idle(),
        "buses": _buses(),
        "prices": _prices(),
        "assumptions": _assumptions(),
    }


def page_with(page: str) -> str:
    """Return the page with its marked tables and findings computed again."""
    for name, (headings, rows) in tables().items():
        page = written(page, name, _markdown(headings, rows))
    page = written(page, "picture", f"![{_alternative()}]({PICTURE.name})\n")
    return written(page, "findings", "".join(map(_bullet, _findings())))


def _alternative() -> str:
    """Return the picture in a sentence for each size."""
    said = []
    for size in SIZES:
        cost = parts(DRAWN[0], size)
        whole = sum(cost.values())
        writes = (cost["entity"] + cost["event item"] + cost["effect and dedup record"]) / whole
        said.append(f"At {size} KB, write units are {writes:.0%} and the bus is {cost['bus'] / whole:.0%}.")
    return fill(f"Shares of the cost with {DRAWN[0].name}, and four other setups. {' '.join(said)}", PAGE_WIDTH)


def _bullet(text: str) -> str:
    return fill(text, PAGE_WIDTH, initial_indent="- ", subsequent_indent="  ", break_on_hyphens=False) + "\n"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; columns that hold only amounts are aligned right."""
    cells = list(zip(*rows, strict=True))
    rules = ["--:" if all(cell[:1] in "$—" for cell in column) else "---" for column in cells]
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, rules, *rows))


# --- Picture -------------------------------------------------------------------------------------------------------

COLOURS = ("#7fb3e6", "#3f8fd9", "#f2a93b", "#e2725b", "#b58be0", "#5fb878", "#a8b0b8")
"""One for each part: readable with dark text, on light and dark pages."""
STYLE = (
    "text{font:13px sans-serif;fill:#57606a}.head{font-weight:bold}.in{font-size:11px;fill:#0d1117}"
    "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.in{fill:#0d1117}}"
)
LEFT, WIDTH, RIGHT, BAR, STEP = 250, 480, 80, 20, 26
LABELLED = 0.07
"""Smallest share that is labelled in its bar."""


def picture() -> str:
    """Return an SVG of the parts' shares, a group of bars for each size, with the same in words."""
    lines, y = _legend()
    words = []
    for size in SIZES:
        lines.append(f'<text class="head" x="0" y="{y + 16}">{size} KB</text>')
        y += STEP
        for setup in DRAWN:
            shares = parts(setup, size)
            whole = sum(shares.values())
            lines += _bar(setup.name, {name: cost / whole for name, cost in shares.items()}, whole, y)
            said = ", ".join(f"{name} {cost / whole:.0%}" for name, cost in shares.items() if cost)
            words.append(f"{size} KB, {setup.name}, {money(whole)}: {said}.")
            y += STEP
        y += 8
    across = LEFT + WIDTH + RIGHT
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{across}" height="{y}" viewBox="0 0 {across} {y}" '
        'role="img" aria-labelledby="title desc"><title id="title">Shares of the cost per million events</title>'
        f'<desc id="desc">{escaped(" ".join(words))}</desc><style>{STYLE}</style>'
    )
    return "\n".join([head, *lines, "</svg>\n"])


def _legend() -> tuple[list[str], int]:
    """Return the legend in two rows, and the height below it."""
    lines = []
    for position, (name, colour) in enumerate(zip(PARTS, COLOURS, strict=True)):
        x, y = position % 4 * 195, position // 4 * 22
        lines += [
            f'<rect x="{x}" y="{y + 2}" width="14" height="14" fill="{colour}"/>',
            f'<text x="{x + 20}" y="{y + 14}">{escaped(name)}</text>',
        ]
    return lines, 52


def _bar(name: str, shares: Mapping[str, float], whole: float, y: int) -> list[str]:
    lines = [f'<text x="{LEFT - 8}" y="{y + 15}" text-anchor="end">{escaped(name)}</text>']
    x = float(LEFT)
    for share, colour in zip(shares.values(), COLOURS, strict=True):
        width = share * WIDTH
        if width > 0:
            shown = max(width - 1, 0.5)
            lines.append(f'<rect x="{x:.1f}" y="{y}" width="{shown:.1f}" height="{BAR}" fill="{colour}"/>')
        if share >= LABELLED:
            middle = x + width / 2
            lines.append(f'<text class="in" x="{middle:.1f}" y="{y + 14}" text-anchor="middle">{share:.0%}</text>')
        x += width
    lines.append(f'<text x="{LEFT + WIDTH + 8}" y="{y + 15}">{money(whole)}</text>')
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; with ``--write``, also write them and the picture to the docs."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.costs", description=__doc__)
    parser.add_argument("--write", action="store_true", help="also write the tables and the picture to docs")
    given = parser.parse_args(arguments)
    print("\n\n".join(f"{name}\n{columns(*table)}" for name, table in tables().items()), end="\n\n")
    print("\n".join(_findings()))
    if given.write:
        PAGE.write_text(page_with(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        PICTURE.write_text(picture(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
