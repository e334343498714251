"""Measurement: contenders alternate in rounds, and the result is the median of the rounds' ratios."""

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
"""Odd, so that the median is a measured round. Of 21, the 6th and the 16th value enclose the median with 97 %."""
MOST_PERMUTED = 4
TOLERANCE = 1.05
"""The maximum cost of ours as a multiple of the floor's."""

Measure: TypeAlias = "Callable[[], float]"
"""Does the work once or repeatedly, and returns its cost."""
Costs: TypeAlias = "Mapping[str, float]"
Name = TypeVar("Name")
Input = TypeVar("Input")


def peer_over_ours(costs: Costs) -> float:
    """Return how many times faster ours is."""
    return costs["peer"] / costs["ours"]


def ours_over_peer(costs: Costs) -> float:
    """Return our cost as a fraction of the peer's."""
    return costs["ours"] / costs["peer"]


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """One line of the table.

    Attributes:
        what: The measured work and its input.
        against: The peer.
        target: The ratio to reach.
        sense: ``≥``: the ratio is the peer's cost over ours; ``≤``: ours over the peer's.
        measures: The contenders by name: ``ours``, ``peer``, others that `ratio` uses, and optionally ``floor``: code
            with only the same checks as ours.
        check: Raises an error if the contenders, including the floor, do not do the same work; it compares outputs if
            they are comparable. It runs before the timing.
        ratio: The ratio of a round's costs, if not the default for `sense`.
        rounds: The number of rounds.
        lacks: What the peer does not do.
    """

    what: str
    against: str
    target: float
    sense: Literal["≥", "≤"]
    measures: Mapping[str, Measure]
    check: Callable[[], object]
    ratio: Callable[[Costs], float] | None = None
    rounds: int = ROUNDS
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """Result of a benchmark: medians and their 95 % interval.

    Attributes:
        benchmark: The benchmark.
        got: The ratio.
        low, high: Its interval.
        floor: The floor's ratio against the peer, or None without a floor.
        above_floor: Our cost over the floor's, or None.
        costs: Each contender's median cost.
        rounds: Each contender's cost by round.
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
        """``floor`` if the target is not met, but ours is within 5 % of the floor."""
        target = self.benchmark.target
        if self.got >= target if self.benchmark.sense == "≥" else self.got <= target:
            return "yes"
        return "floor" if self.above_floor is not None and self.above_floor <= TOLERANCE else "no"


def measure(benchmark: Benchmark, earlier: Sequence[Costs] = ()) -> Result:
    """Check that the contenders do the same work, and run the rounds.

    Args:
        benchmark: The line of the table.
        earlier: Earlier rounds of the same benchmark, which are included.
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
    above = [more / less for more, less in pairs]  # ratios, because `ratio` may subtract a cost from both
    return Result(benchmark, *spread_of(ratios), median(floors), median(above), costs, rounds)


def alternate(measures: Mapping[Name, Measure], rounds: int) -> list[dict[Name, float]]:
    """Return each contender's cost by round, after an uncounted first run for caches, lazy imports and connections.

    The rounds cycle through the orders, so that no contender always runs first or always after the same one, which
    would affect its caches. Existing objects are frozen, so that collecting garbage before each measurement is cheap.
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
    """Return all orders of a few names; of many, one order that begins with each."""
    if len(names) <= MOST_PERMUTED:
        return permutations(names)
    return [[*names[first:], *names[:first]] for first in range(len(names))]


class Spread(NamedTuple):
    """Median and its 95 % interval."""

    got: float
    low: float
    high: float


def spread_of(values: Sequence[float]) -> Spread:
    """Return the median and its interval; the interval uses ranks, so it assumes no distribution."""
    ordered = sorted(values)
    low, high = _ranks(len(ordered))
    return Spread(median(ordered), ordered[low], ordered[high])


def _ranks(count: int) -> tuple[int, int]:
    """Return the positions, from 0, of the order statistics that enclose the median with at least 95 %."""
    coefficient, below, rank = 1, 0, 0
    while (below + coefficient) * 40 <= 2**count:  # at most 2.5 % on each side
        below += coefficient
        coefficient = coefficient * (count - rank) // (rank + 1)
        rank += 1
    rank = max(rank - 1, 0)
    return rank, count - 1 - rank


@contextmanager
def collector_off() -> Iterator[None]:
    """Collect garbage, then disable the collector for a block, as the standard library's timeit does.

    A collection visits every object of the process, and would hit a random contender.
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
    """Return a measure of work in this process, in seconds per run; by default CPU time of all threads.

    Args:
        work: The timed region. Its result is discarded inside the region.
        repeat: The number of runs in a measurement, which should take some 10 ms.
        clock: Returns seconds.
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
    """Return a measure like `timed`, with a new input for each run.

    Args:
        make: Creates a run's input just before the run, outside the timed region.
        work: The timed region. Its result is discarded inside the region.
        repeat, clock: As for `timed`. The clock is read for each run, so a run must take much longer than reading it.
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
