"""Limits from AWS's quotas, and a simulation of many shards: ``python -m benchmarks.scaling``.

Prints the tables of docs/how-far-it-scales.md; ``--write`` updates the page and its picture. ``--measure`` measures the
handler's CPU time on this machine and uses it; ``--latency`` sets the mean response time of PutEvents.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import dataclass, replace
from math import ceil, inf
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from . import scaling_picture
from .report import columns, markdown, written
from .simulation import SECOND, Chance, Lambda, Load, Outcome, Shard, Timing, Written, simulate, split, write

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "FLEETS",
    "LOADS",
    "MIXES",
    "STOPS",
    "TIMING",
    "compared",
    "fleet",
    "fleet_cells",
    "lag",
    "lag_cells",
    "limits",
    "regions",
    "relays",
    "stop",
    "stop_cells",
]

Value = TypeVar("Value")
PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-far-it-scales.md"
SEED = 2026
TIMING = Timing(batch=0.0001, record=0.00007, call=0.0007)
"""CPU times that `real_relay.cpu_times` measured on 2026-11-28, rounded: CPython 3.11.7 on one core at 2.5 GHz. The
response time of PutEvents is an assumption: 10 ms, and an exponential part with a mean of 10 ms."""

DYNAMODB = "https://docs.aws.amazon.com/amazondynamodb/latest/developerguide"
EVENTBRIDGE = "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-quota.html"
LAMBDA = "https://docs.aws.amazon.com/lambda/latest/dg"
PARTITION = f"[partition]({DYNAMODB}/bp-partition-key-design.html)"
TRANSACTION = f"[transaction]({DYNAMODB}/transaction-apis.html)"
TABLES = f"[tables]({DYNAMODB}/ServiceQuotas.html#default-limits-throughput)"
NEW_TABLE = f"[new table]({DYNAMODB}/warm-throughput-scenarios.html)"
BUS = f"[EventBridge]({EVENTBRIDGE})"
CONCURRENCY = f"[Lambda]({LAMBDA}/gettingstarted-limits.html)"

PARTITION_UNITS = 1_000
"""Write units a second of a partition, and so of an item."""
TRANSACTION_FACTOR = 2
"""A transaction costs this many write units for each KB of an item."""
TABLE_UNITS = 40_000
"""Default quota of a table."""
ACCOUNT_UNITS = 80_000
"""Default quota of an account, for provisioned tables; on-demand tables have none."""
NEW_TABLE_UNITS = 4_000
"""Write units a second that a new on-demand table takes immediately."""
LAMBDA_CONCURRENCY = 1_000
GROUP_BUDGET = 1_500
"""Of an event group of a Custom Event Bus: events and KB a second, added."""
BUS_EVENTS = 500_000
"""Events a second of a Custom Event Bus."""
PIPES = ((3_000, "us-east-1, us-west-2, eu-west-1"), (1_000, "others"))
REGIONS = (
    ("us-east-1, us-west-2, eu-west-1", 10_000, 18_750),
    ("us-east-2, eu-central-1, eu-south-2", 2_400, 4_500),
    ("us-west-1, ap-northeast-1, ap-southeast-1, ap-southeast-2, eu-west-2", 1_200, 2_250),
    ("ap-east-1, ap-northeast-2, ap-south-1, ca-central-1, eu-north-1, eu-west-3, sa-east-1", 600, 1_100),
    ("all others", 400, 750),
)
"""Default quotas: PutEvents calls a second, and deliveries to targets a second."""
ENTRIES = 10
SHARD_EVENTS = PARTITION_UNITS // TRANSACTION_FACTOR
"""Events a second that a shard carries in outbox mode, if an event's item has at most 1 KB."""
KNEE = 1.0
"""The knee is the highest load at which the 99th percentile of the lag stays below this, in seconds."""


class Mix(NamedTuple):
    """Distribution of a shard's events over aggregates."""

    name: str
    hot: float
    others: int = 1_000


MIXES = (
    Mix("1,000 aggregates alike", 0.0),
    Mix("one aggregate has 10 %", 0.1),
    Mix("one aggregate has 50 %", 0.5),
    Mix("a single aggregate", 1.0),
)
LOADS = (0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Loads as fractions of `SHARD_EVENTS`."""
LAG_SECONDS, LAG_SHARDS = 60.0, 2
BROKEN = 10.0
"""Loads above one with a longer 99th percentile are not shown: the lag grows for as long as the load lasts."""
HOUR = 3_600.0
STOPS = ((MIXES[0], 25.0), (MIXES[0], 100.0), (MIXES[2], 20.0), (MIXES[2], 40.0), (MIXES[3], 10.0), (MIXES[3], 20.0))
"""Mixes, and events a second, of a shard whose relay is down for an hour."""


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Many shards of one events table on one bus, with disturbances.

    Attributes:
        name: What is disturbed.
        quota: PutEvents calls a second.
        window: The batching window, in seconds.
        poison, crashes: As for `Load` and `Lambda`.
        splits: The share of shards that are split halfway.
        rate: Events a second of a shard, on average.
    """

    name: str
    quota: float = 10_000
    window: float = 0.0
    poison: float = 0.0
    crashes: float = 0.0
    splits: float = 0.0
    rate: float = 2.0


SHARDS, FLEET_SECONDS = 2_000, 12.0
FLEETS = (
    Fleet(name="nothing"),
    Fleet(name="quota 2,400 calls/s", quota=2_400),
    Fleet(name="the same, batching window 2 s", quota=2_400, window=2),
    Fleet(name="quota 600 calls/s, batching window 2 s", quota=600, window=2),
    Fleet(name="1 of 10,000 events is poison", poison=0.0001),
    Fleet(name="1 of 100 invocations ends without a response", crashes=0.01),
    Fleet(name="every tenth shard is split", splits=0.1),
    Fleet(name="the last three disturbances and 2,400 calls/s", quota=2_400, poison=0.0001, crashes=0.01, splits=0.1),
)


class Comparison(NamedTuple):
    """A load for the simulation and for the library's relay."""

    name: str
    load: Load
    quota: float = inf
    crashes: float = 0.0


COMPARISONS = (
    Comparison("30 events/s, one aggregate has 30 %", Load(rate=30, hot=0.3, others=50)),
    Comparison("60 events/s, the same: overload", Load(rate=60, hot=0.5, others=50)),
    Comparison("1 of 200 events is poison", Load(rate=30, hot=0.3, others=50, poison=0.005)),
    Comparison("1 of 10 invocations crashes", Load(rate=30, hot=0.3, others=50), crashes=0.1),
    Comparison("bus takes 8 calls/s", Load(rate=30, hot=0.3, others=50), quota=8),
)
COMPARED_SECONDS = 40.0


def limits(latency: float, handler: float = 0.05) -> list[tuple[str, str, str]]:
    """Return the limits from quotas: what, how many a second, and the source.

    Args:
        latency: Response time of PutEvents, in seconds.
        handler: Time of a consumer for one event, in seconds.
    """
    both = f"{PARTITION}, {TRANSACTION}"
    return [
        ("transactions of one aggregate; entity and event have up to 1 KB each", f"{SHARD_EVENTS:,}", both),
        ("the same with 4 KB", f"{PARTITION_UNITS // (TRANSACTION_FACTOR * 4):,}", both),
        ("CDC mode: plain writes of one item of up to 1 KB", f"{PARTITION_UNITS:,}", PARTITION),
        ("transactions of a new on-demand events table", f"{NEW_TABLE_UNITS // TRANSACTION_FACTOR:,}", NEW_TABLE),
        ("transactions of an events table, by default", f"{TABLE_UNITS // TRANSACTION_FACTOR:,}", TABLES),
        ("transactions of an account: on-demand tables", "no quota", TABLES),
        ("the same: provisioned tables, by default", f"{ACCOUNT_UNITS // TRANSACTION_FACTOR:,}", TABLES),
        ("PutEvents calls in series, and so ordered events of one aggregate", f"{1 / latency:,.0f}", "assumed latency"),
        ("PutEvents calls of an account in a Region", "400 to 10,000", BUS),
        ("the same on a Custom Event Bus", "check Service Quotas", BUS),
        ("events of one group of a Custom Event Bus, 1 KB each", f"{GROUP_BUDGET // 2:,}", BUS),
        ("events of a Custom Event Bus", f"{BUS_EVENTS:,}", BUS),
        (
            f"events of all Lambda consumers of an account, {handler * 1000:g} ms each",
            f"{LAMBDA_CONCURRENCY / handler:,.0f}",
            CONCURRENCY,
        ),
    ]


def regions() -> list[tuple[str, ...]]:
    """Return the EventBridge quotas by Region: calls, events in full and in single calls, and deliveries a second."""
    return [(names, f"{calls:,}", f"{calls * ENTRIES:,}", f"{deliveries:,}") for names, calls, deliveries in REGIONS]


def throughput(mix: Mix, timing: Timing, mapping: Lambda) -> tuple[float, float]:
    """Return the events a second, and the seconds of an invocation, of a relay that always has a backlog."""
    chance = Chance(f"{SEED} throughput {mix}")
    events = write(Load(rate=4_000, hot=mix.hot, others=mix.others), chance, seconds=1, name="shard")
    for event in events:
        event.time = 0
    outcome = simulate([Shard(events)], timing=timing, mapping=mapping, chance=chance)
    seconds = max(event.published[0] for event in events) / SECOND
    return len(events) / seconds, seconds / outcome.invocations


def handler_time(books: int, *, latency: float, timing: Timing) -> float:
    """Return the seconds of one invocation with 100 records of a number of aggregates, if each call takes the same."""
    events = [Written(0, f"shop#{number % books}") for number in range(100)]
    same = replace(timing, call=0.0, latency=latency, tail=1e-9)
    simulate([Shard(events)], timing=same, mapping=Lambda(), chance=Chance(SEED))
    return max(event.published[0] for event in events) / SECOND


def relays(timing: Timing) -> list[tuple[str, ...]]:
    """Return what the relay of a shard achieves: handler time, batches and events a second, share of a shard."""
    rows: list[tuple[str, ...]] = []
    for mix in MIXES:
        events, handler = throughput(mix, timing, Lambda())
        cells = (f"{handler * 1000:,.0f} ms", f"{1 / handler:.1f}", f"{events:,.0f}", f"{events / SHARD_EVENTS:.0%}")
        rows.append((mix.name, *cells))
    return rows


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile of sorted values."""
    return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else 0.0


def lag(mix: Mix, load: float, timing: Timing) -> Outcome:
    """Simulate shards at a load."""
    chance = Chance(f"{SEED} lag {mix} {load}")
    what = Load(rate=load * SHARD_EVENTS, hot=mix.hot, others=mix.others)
    shards = [Shard(write(what, chance, seconds=LAG_SECONDS, name=f"{name}")) for name in range(LAG_SHARDS)]
    return simulate(shards, timing=timing, mapping=Lambda(), chance=chance)


def lag_cells(mix: Mix, load: float, outcome: Outcome) -> tuple[str, ...]:
    """Return a row of the table of lags."""
    lags = outcome.lags()
    shown = [seconds(percentile(lags, share)) for share in (0.5, 0.99, 1)]
    return (mix.name, f"{load * SHARD_EVENTS:g}", f"{load:.0%}", *shown)


def stop(mix: Mix, rate: float, timing: Timing) -> Outcome:
    """Simulate a shard whose relay is down for an hour, until it has caught up."""
    events, _ = throughput(mix, timing, Lambda())
    recovery = HOUR * rate / max(1.0, events - rate) * 1.2
    chance = Chance(f"{SEED} stop {mix} {rate}")
    begin = 60.0
    what = Load(rate=rate, hot=mix.hot, others=mix.others)
    written_events = write(what, chance, seconds=begin + HOUR + recovery + 60, name="shard")
    mapping = Lambda(stops=(begin, begin + HOUR))
    return simulate([Shard(written_events)], timing=timing, mapping=mapping, chance=chance)


def stop_cells(mix: Mix, rate: float, outcome: Outcome) -> tuple[str, ...]:
    """Return a row of the table of stops."""
    return (mix.name, f"{rate:g}", f"{rate * HOUR:,.0f}", duration(outcome.recovery()))


def fleet(fleet: Fleet, timing: Timing) -> Outcome:
    """Simulate the shards of a fleet; their rates differ by up to a factor of three."""
    chance = Chance(f"{SEED} fleet {fleet}")
    shards = []
    for number in range(SHARDS):
        rate = fleet.rate * (0.5 + chance.load.random())
        what = Load(rate=rate, hot=0.2, others=100, poison=fleet.poison)
        events = write(what, chance, seconds=FLEET_SECONDS, name=f"{number}")
        is_split = fleet.splits and number % round(1 / fleet.splits) == 0
        shards.append(split(events, at=FLEET_SECONDS / 2) if is_split else Shard(events))
    mapping = Lambda(window=fleet.window, crashes=fleet.crashes)
    return simulate(shards, timing=timing, mapping=mapping, chance=chance, quota=fleet.quota)


def fleet_cells(fleet: Fleet, outcome: Outcome) -> tuple[str, ...]:
    """Return a row of the table of fleets."""
    events, lags = outcome.events(), outcome.lags()
    shown = [seconds(percentile(lags, share)) for share in (0.5, 0.99, 1)]
    duplicates = outcome.duplicates() / len(events)
    parked = sum(event.parked for event in events)
    filled = (len(lags) + outcome.duplicates()) / max(1, outcome.bus.calls)
    return (fleet.name, *shown, f"{filled:.1f}", f"{outcome.bus.throttled:,}", f"{duplicates:.1%}", f"{parked:,}")


def compared(comparison: Comparison, timing: Timing) -> tuple[str, ...]:
    """Relay a load in the simulation and by the library's relay; return a row of the differences."""
    from . import real_relay

    seed = f"{SEED} {comparison.name}"
    mapping = Lambda(concurrency=1, crashes=comparison.crashes)
    sides: list[list[Written]] = [
        Shard(write(comparison.load, Chance(seed), seconds=COMPARED_SECONDS, name="shop")).events for _ in range(2)
    ]
    simulated, real = sides
    outcome = simulate([Shard(simulated)], timing=timing, mapping=mapping, chance=Chance(seed), quota=comparison.quota)
    log = logging.getLogger("dynamo_outbox")
    level = log.level
    log.setLevel(logging.CRITICAL)  # the poison records are logged as errors
    try:
        counts = real_relay.relay(real, timing=timing, mapping=mapping, chance=Chance(seed), quota=comparison.quota)
    finally:
        log.setLevel(level)
    pairs = [
        (one, other)
        for ours, theirs in zip(simulated, real, strict=True)
        for one, other in zip(ours.published, theirs.published, strict=False)
    ]
    apart = max((abs(one - other) for one, other in pairs), default=0)
    publications = [sum(len(event.published) for event in side) for side in sides]
    parked = sum(event.parked for event in simulated)
    return (
        comparison.name,
        f"{len(real):,}",
        f"{publications[1]:,} / {publications[0]:,}",
        f"{counts['calls']:,} / {outcome.bus.calls:,}",
        f"{counts['throttled']:,} / {outcome.bus.throttled:,}",
        f"{counts['parked']:,} / {parked:,}",
        f"{apart} µs",
    )


def seconds(value: float) -> str:
    """Return a lag with a unit that suits it."""
    return f"{value * 1000:.0f} ms" if value < 1 else duration(value)


def duration(value: float) -> str:
    """Return seconds, minutes or hours with a decimal."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7_200 else f"{value / 3_600:.1f} h"


class Table(NamedTuple):
    """A table of the page, by the name of its markers."""

    name: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def tables(timing: Timing) -> tuple[list[Table], str]:
    """Return the tables of the page, and its picture."""
    lag_rows: list[tuple[str, ...]] = []
    curves: list[tuple[str, list[tuple[float, float]]]] = []
    knees: list[tuple[str, ...]] = []
    for mix in MIXES:
        points: list[tuple[float, float]] = []
        for load in LOADS:
            outcome = said(f"lag, {mix.name}, {load:.0%}", lag(mix, load, timing))
            points.append((load * SHARD_EVENTS, percentile(outcome.lags(), 0.99)))
            lag_rows.append(lag_cells(mix, load, outcome))
            if points[-1][1] > BROKEN:
                break
        curves.append((mix.name, points))
        knee = max((load for load, high in points if high < KNEE), default=0)
        knees.append((f"{knee:g}", f"{knee / SHARD_EVENTS:.0%}"))
    stops = [(mix, rate, said(f"stop, {mix.name}, {rate:g}/s", stop(mix, rate, timing))) for mix, rate in STOPS]
    recoveries = [
        (f"{mix.name}, {rate:g} events/s", scaling_picture.lag_over_time(outcome)) for mix, rate, outcome in stops
    ]
    out = [
        Table("limits", ("what", "a second", "source"), limits(timing.latency + timing.tail)),
        Table("regions", ("Regions", "calls/s", "events/s in calls of 10", "deliveries/s"), regions()),
        Table(
            "relays",
            ("events of a shard", "handler", "batches/s", "events/s", "of a shard", "knee, events/s", "of a shard"),
            [(*row, *knee) for row, knee in zip(relays(timing), knees, strict=True)],
        ),
        Table("lag", ("events of a shard", "events/s", "of a shard", "p50", "p99", "longest"), lag_rows),
        Table(
            "stops",
            ("events of a shard", "events/s", "backlog", "recovered after"),
            [stop_cells(mix, rate, outcome) for mix, rate, outcome in stops],
        ),
        Table(
            "fleets",
            ("disturbance", "p50", "p99", "longest", "events a call", "throttled calls", "duplicates", "parked"),
            [fleet_cells(each, said(f"fleet, {each.name}", fleet(each, timing))) for each in FLEETS],
        ),
        Table(
            "compared",
            ("load", "events", "publications", "calls", "throttled", "parked", "furthest apart"),
            [said(f"compared, {each.name}", compared(each, timing)) for each in COMPARISONS],
        ),
    ]
    return out, scaling_picture.picture(curves, recoveries)


def said(what: str, value: Value) -> Value:
    """Print what was computed, and return it."""
    print(what, file=sys.stderr)
    return value


def main() -> None:
    """Print the tables, or write the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition(":")[0])
    parser.add_argument("--write", action="store_true", help="update the page and its picture")
    parser.add_argument("--measure", action="store_true", help="measure the CPU time of the handler on this machine")
    parser.add_argument("--latency", type=float, metavar="MS", help="mean response time of PutEvents (default: 20)")
    options = parser.parse_args()
    timing = TIMING
    if options.write and (options.measure or options.latency is not None):
        parser.error("--write uses the recorded times; omit --measure and --latency")
    if options.latency is not None:
        half = options.latency / 2_000
        timing = replace(timing, latency=half, tail=half)
    if options.measure:
        from . import real_relay

        batch, record, call = real_relay.cpu_times()
        timing = replace(timing, batch=batch, record=record, call=call)
        print(f"CPU: {batch * 1000:.3f} ms a batch, {record * 1000:.3f} ms a record, {call * 1000:.3f} ms a call")
        for books in (100, 10, 1):
            wall = real_relay.wall_time(books, seconds=0.02, concurrency=8)
            ours = handler_time(books, latency=0.02, timing=timing)
            print(
                f"100 records of {books} aggregates, 20 ms to each response: "
                f"{wall * 1000:.0f} ms measured, {ours * 1000:.0f} ms simulated"
            )
    out, svg = tables(timing)
    if options.write:
        page = PAGE.read_text(encoding="utf-8")
        for table in out:
            page = written(page, table.name, markdown(table.headings, table.rows))
        PAGE.write_text(page, encoding="utf-8")
        PAGE.with_suffix(".svg").write_text(svg, encoding="utf-8")
    for table in out:
        print(f"\n{columns(table.headings, table.rows)}")


if __name__ == "__main__":
    main()
