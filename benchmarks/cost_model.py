"""Cost of an event beyond what `dynamo-outbox cost` computes: the model behind ``python -m benchmarks.costs``.

Prices, assumptions and the parts of an event's cost are those of `dynamo_outbox.operations.cost`. All amounts are US
dollars per million events unless a name says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING

from dynamo_outbox.operations import cost
from dynamo_outbox.operations.cost import (
    IDEMPOTENT,
    INBOX,
    MONTH_DAYS,
    OUTBOX_RELAY,
    PIPE,
    PRICES,
    PROCESSOR,
    RECORD_KB,
    Consumer,
    Relay,
    chunks,
    consumer_units,
    invocation_cost,
    list_cost,
    write_units,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "ALARMS",
    "BATCHES",
    "CONSUMERS",
    "LOOP",
    "MAPPING_METRICS",
    "POLLS_PER_SECOND",
    "POWERTOOLS",
    "POWERTOOLS_DAYS",
    "RELAYS",
    "SETUPS",
    "SIZES",
    "Setup",
    "conflict_cost",
    "duplicate_cost",
    "idle_month",
    "parked_cost",
    "parts",
    "read_units",
    "total",
]

SIZES = (1, 4, 30)
"""Sizes of an item in KB."""
BATCHES = (1, 10, 100)
"""Records per invocation of the relay."""
POWERTOOLS_DAYS = 1 / 24
"""TTL of Powertools' records."""
POLLS_PER_SECOND = 4
"""Reads of an idle shard."""
MAPPING_METRICS = 6
"""Metrics of an event source mapping with `EventCount`, at most."""

LOOP = Relay("Lambda loop", 1.0, 0.2, has_parking=False)
RELAYS = (OUTBOX_RELAY, PIPE, PROCESSOR, LOOP)
POWERTOOLS = Consumer("Powertools", 4.0, 3, 1, cancels_all=False, days=POWERTOOLS_DAYS)
CONSUMERS = (INBOX, IDEMPOTENT, POWERTOOLS)

ALARMS: Mapping[str, int] = {"outbox mode, pipe": 19, "outbox mode, OutboxRelay": 25, "CDC mode": 25}
"""Alarms in the books example's templates."""


def read_units(kilobytes: float) -> int:
    """Return the read units of a consistent read: one per started 4 KB."""
    return max(1, ceil(kilobytes / 4))


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


def parts(setup: Setup, kilobytes: float, batch: int = max(BATCHES)) -> dict[str, float]:
    """Return the cost of each part, in the order of `PARTS`; the entity's storage is not included."""
    return cost.parts(setup.relay, kilobytes, batch, setup.consumer)


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
        "tables without items, functions, pipe, bus, queues": 0.0,
    }
