"""Measuring: contenders alternate round by round, and what counts is the median of each round's ratio."""

from __future__ import annotations

import gc
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice, permutations
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

__all__ = [
    "SOURCE",
    "Benchmark",
    "Measure",
    "Result",
    "Spread",
    "alternate",
    "collector_off",
    "measure",
    "spread_of",
    "timed",
    "timed_on",
]

SOURCE = Path(__file__).resolve().parents[1] / "src"
ROUNDS = 21
"""Odd, so that the median is a round that was. Of 21, the 6th and the 16th value hold the median with 97 %."""
MOST_PERMUTED = 4
TOLERANCE = 1.05
"""How far from its floor ours may be."""

Measure: TypeAlias = "Callable[[], float]"
"""Does the work once, or often, and returns what it cost."""
Costs: TypeAlias = "Mapping[str, float]"
Name = TypeVar("Name")
Input = TypeVar("Input")


def peer_over_ours(costs: Costs) -> float:
    """How many times faster ours is."""
    return costs["peer"] / costs["ours"]


def ours_over_peer(costs: Costs) -> float:
    """Which part of the peer's cost ours is."""
    return costs["ours"] / costs["peer"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One line of the table.

    Attributes:
        what: What is done, and with what.
        against: Whom it is compared with.
        target: The ratio to reach.
        sense: ``≥``: the ratio is the peer's cost over ours; ``≤``: ours over the peer's.
        measures: The contenders by name: ``ours``, ``peer``, whatever else `ratio` uses, and perhaps ``floor``: code
            that does the same checks as ours, and no more.
        check: Raises where the contenders, the floor among them, don't do the same work: where they make the same
            thing, by comparing what they make. It runs before anything is timed.
        ratio: The ratio of a round's costs, where it isn't the plain one.
        rounds: How many rounds.
    """

    what: str
    against: str
    target: float
    sense: Literal["≥", "≤"]
    measures: Mapping[str, Measure]
    check: Callable[[], object]
    ratio: Callable[[Costs], float] | None = None
    rounds: int = ROUNDS


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a benchmark: medians, and the interval in which the median lies with 95 %.

    Attributes:
        benchmark: The benchmark.
        got: The ratio.
        low, high: Its interval.
        floor: The ratio that the floor reaches against the peer, or None where there is no floor.
        above_floor: Ours over the floor, or None.
        costs: Each contender's median cost.
        rounds: What each contender cost, by round.
    """

    benchmark: Benchmark
    got: float
    low: float
    high: float
    floor: float | None = None
    above_floor: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)
    rounds: Sequence[Costs] = ()

    @property
    def met(self) -> Literal["yes", "floor", "no"]:
        """``floor``: the target isn't met, but nothing that does the same checks could be 5 % faster."""
        target = self.benchmark.target
        if self.got >= target if self.benchmark.sense == "≥" else self.got <= target:
            return "yes"
        return "floor" if self.above_floor is not None and self.above_floor <= TOLERANCE else "no"


def measure(benchmark: Benchmark, earlier: Sequence[Costs] = ()) -> Result:
    """Check that the contenders do the same work, and run the rounds.

    Args:
        benchmark: What is measured.
        earlier: Rounds of the same benchmark that count, too.
    """
    benchmark.check()
    rounds = [*earlier, *alternate(benchmark.measures, benchmark.rounds)]
    ratio = benchmark.ratio or (peer_over_ours if benchmark.sense == "≥" else ours_over_peer)
    ratios = [ratio(costs) for costs in rounds]
    costs = {name: median(each[name] for each in rounds) for name in benchmark.measures}
    if "floor" not in benchmark.measures:
        return Result(benchmark, *spread_of(ratios), costs=costs, rounds=rounds)
    floors = [ratio({**each, "ours": each["floor"]}) for each in rounds]
    pairs = zip(floors, ratios, strict=True) if benchmark.sense == "≥" else zip(ratios, floors, strict=True)
    above = [more / less for more, less in pairs]  # of ratios: what `ratio` takes off ours, it takes off the floor
    return Result(benchmark, *spread_of(ratios), median(floors), median(above), costs, rounds)


def alternate(measures: Mapping[Name, Measure], rounds: int) -> list[dict[Name, float]]:
    """What each cost, by round, after a first run that doesn't count: for caches, lazy imports, connections.

    Each round has another order, until all orders have had their turn: none is always the first, and none comes always
    after the same one, whose traces in memory it would have to bear. What there is when the rounds begin is kept from
    the collector meanwhile, so that collecting before each measurement costs next to nothing.
    """
    names = list(measures)
    for name in names:
        measures[name]()
    gc.collect()
    gc.freeze()
    try:
        orders = cycle(_orders(names))
        return [{name: measures[name]() for name in order} for order in islice(orders, rounds)]
    finally:
        gc.unfreeze()


def _orders(names: Sequence[Name]) -> Iterable[Sequence[Name]]:
    """All orders of a few; of many, those that begin with each in turn."""
    if len(names) <= MOST_PERMUTED:
        return permutations(names)
    return [[*names[first:], *names[:first]] for first in range(len(names))]


class Spread(NamedTuple):
    """A median, and the interval in which it lies with 95 %."""

    got: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """The median of what was measured. The interval is one of ranks, so nothing is supposed of how it is spread."""
    ordered = sorted(values)
    low, high = _ranks(len(ordered))
    return Spread(median(ordered), ordered[low], ordered[high])


def _ranks(count: int) -> tuple[int, int]:
    """The positions, from 0, of the order statistics between which the median lies with at least 95 %."""
    coefficient, below, rank = 1, 0, 0
    while (below + coefficient) * 40 <= 2**count:  # at most 2.5 % on each side
        below += coefficient
        coefficient = coefficient * (count - rank) // (rank + 1)
        rank += 1
    rank = max(rank - 1, 0)
    return rank, count - 1 - rank


@contextmanager
def collector_off() -> Iterator[None]:
    """A block without garbage collection: what there is to collect goes before it.

    As in the standard library's timeit. A collection walks all that is in the process, and whom it hits is chance.
    """
    was_on = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def timed(work: Callable[[], object], *, repeat: int = 1, clock: Callable[[], float] = process_time) -> Measure:
    """Measures work in this process: seconds by the clock, by default CPU time of all its threads, for one run.

    Args:
        work: The timed region. What it returns is thrown away inside it.
        repeat: How many runs a measurement has; as many as take some 10 ms.
        clock: Seconds.
    """

    def once() -> float:
        with collector_off():
            begin = clock()
            for _ in range(repeat):
                work()
            return (clock() - begin) / repeat

    return once


def timed_on(
    make: Callable[[], Input],
    work: Callable[[Input], object],
    *,
    repeat: int = 1,
    clock: Callable[[], float] = process_time,
) -> Measure:
    """Measures work as `timed` does, each run on an input of its own.

    Args:
        make: Makes a run's input, just before it and outside of the timed region.
        work: The timed region. What it returns is thrown away inside it.
        repeat, clock: As for `timed`. The clock is read for each run, so one run has to take much longer than that.
    """

    def once() -> float:
        spent = 0.0
        with collector_off():
            for _ in range(repeat):
                subject = make()
                begin = clock()
                work(subject)
                spent += clock() - begin
        return spent / repeat

    return once
