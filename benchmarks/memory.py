"""Peak memory of a relay's batch of 1,000 records of 10 KB.

Measured by tracemalloc: the most memory in use during one call of the handler, above what the parsed payload needs. The
peer is the loop by hand, which keeps all entries, too; the relay also keeps each event's data until the batch ends. The
client accepts everything at once.
"""

from __future__ import annotations

import gc
import tracemalloc
from typing import TYPE_CHECKING, Any

from dynamo_outbox import EventBridgePublisher, OutboxRelay

from .handlers import BUS, CONTEXT, relay_by_hand
from .harness import Benchmark
from .payloads import from_lambda, outbox_records
from .sizes import Taking

if TYPE_CHECKING:
    from .handlers import Handler
    from .harness import Measure

__all__ = ["rows"]

RECORDS, SIZE = 1_000, 10_000


def payload() -> Any:
    """Return a batch whose events have data of 10 KB."""
    batch = outbox_records(RECORDS)
    for record in batch["Records"]:
        data = record["dynamodb"]["NewImage"]["eventData"]
        data["S"] = f'{data["S"][:-1]},"text":"{"x" * (SIZE - len(data["S"]))}"}}'
    return batch


def peak(handler: Handler, batch: Any) -> Measure:
    """Return a measure of a call's peak memory in bytes."""

    def once() -> float:
        event = from_lambda(batch)
        gc.collect()
        tracemalloc.start()
        try:
            handler(event, CONTEXT)
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    return once


def rows() -> list[Benchmark]:
    """Return the row."""
    client = Taking()
    batch = payload()
    handlers: dict[str, Handler] = {
        "ours": OutboxRelay(EventBridgePublisher(BUS, client=client)),
        "peer": relay_by_hand(client),
    }

    def check() -> None:
        for handler in handlers.values():
            before = client.taken
            handler(from_lambda(batch), CONTEXT)
            if client.taken - before != RECORDS:
                raise AssertionError(f"{client.taken - before} of {RECORDS} events were sent")

    return [
        Benchmark(
            what="peak memory, relay, 1,000 records of 10 KB",
            against="boto3 by hand",
            target=3,
            sense="≤",
            measures={name: peak(handler, batch) for name, handler in handlers.items()},
            check=check,
            rounds=15,
        )
    ]
