"""Where a handler's CPU time goes: shares by part, of ours and of the loop by hand.

A timer interrupts the handler after each two milliseconds of CPU time. The innermost frame of a known part gets the
sample, so the standard library counts for its caller. Both sides take turns, and publish one call after another,
because samples see the main thread only. All shares are of the loop's total, so a column's sum is our cost.
"""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import contextmanager
from time import process_time
from typing import TYPE_CHECKING, Any

import boto3

from dynamo_outbox import ChangeProcessor, EventBridgePublisher, OutboxRelay

from .canned_server import server_of_process
from .handlers import BUS, CONTEXT, cdc_by_hand, changed, relay_by_hand
from .payloads import from_lambda, outbox_records, rich_records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from .handlers import Handler

__all__ = ["HEADINGS", "table"]

HEADINGS = ("part", "relay", "by hand", "CDC", "by hand")
EVERY = 0.002
"""Seconds of CPU time between samples."""
SECONDS = 12
"""CPU time of one side."""
PARTS = (
    ("botocore", ("/botocore/", "/urllib3/", "/http/client.py", "/aws/clients.py")),
    ("decoding", ("/boto3/dynamodb/types.py", "/dynamo_outbox/codec/", "/dynamo_outbox/streams/")),
    ("encoding", ("/dynamo_outbox/events/bus_event.py", "/json/encoder.py")),
    ("event objects", ("/dynamo_outbox/events/",)),
    ("batching", ("/dynamo_outbox/publishing/",)),
    ("parking, log, response", ("/dynamo_outbox/",)),
)
"""Parts by what a file's path contains; the first that matches."""
REST = "the handler itself"


def part_of(frame: FrameType | None) -> str:
    """Return the part of the innermost frame that belongs to one."""
    while frame is not None:
        path = frame.f_code.co_filename
        for part, places in PARTS:
            if any(place in path for place in places):
                return part
        if path.endswith("benchmarks/handlers.py"):
            return REST
        frame = frame.f_back
    return "outside"


@contextmanager
def sampling(found: Counter[str]) -> Iterator[None]:
    """Count samples by part while the block runs."""
    before = signal.signal(signal.SIGPROF, lambda _, frame: found.update([part_of(frame)]))
    signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def sampled(handlers: dict[str, Handler], payload: Any) -> dict[str, Counter[str]]:
    """Run the handlers in turn; return each one's CPU time by part, for each call."""
    found: dict[str, Counter[str]] = {name: Counter() for name in handlers}
    spent = dict.fromkeys(handlers, 0.0)
    calls = Counter[str]()
    while min(spent.values()) < SECONDS:
        for name, handler in handlers.items():
            payloads = [from_lambda(payload) for _ in range(10)]
            begin = process_time()
            with sampling(found[name]):
                for each in payloads:
                    handler(each, CONTEXT)
            spent[name] += process_time() - begin
            calls[name] += len(payloads)
    out: dict[str, Counter[str]] = {}
    for name, counted in found.items():
        inside = sum(counted.values()) - counted.pop("outside", 0)
        each = spent[name] / calls[name] / inside
        out[name] = Counter({part: count * each for part, count in counted.items()})
    return out


def table() -> list[tuple[str, ...]]:
    """Return the rows: a part's CPU time in percent of the loop's total."""
    server_of_process()
    publisher = EventBridgePublisher(BUS, source="Shop.Books", concurrency=1)
    client = boto3.client("events")
    columns = []
    for ours, by_hand, payload in (
        (OutboxRelay(publisher), relay_by_hand(client), outbox_records()),
        (ChangeProcessor(publisher, changed), cdc_by_hand(client), rich_records()),
    ):
        both = sampled({"ours": ours, "by hand": by_hand}, payload)
        total = sum(both["by hand"].values())
        columns += [{part: cost / total for part, cost in both[name].items()} for name in both]
    parts = [*(part for part, _ in PARTS), REST]
    rows = [(part, *(f"{column.get(part, 0):.0%}" for column in columns)) for part in parts]
    return [*rows, ("together", *(f"{sum(column.values()):.0%}" for column in columns))]
