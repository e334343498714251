"""Measuring: contenders alternate round by round, and what counts is the median of each round's ratio."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import process_time
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Benchmark", "Measure", "Result", "fresh", "measure", "peer_over_ours", "timed"]

SOURCE = Path(__file__).resolve().parents[1] / "src"
ROUNDS = 21
"""Odd, so that the median is a round that was. Of 21, the 6th and the 16th value hold the median with 97 %."""
TOLERANCE = 1.05
"""How far from its floor ours may be."""

Measure: TypeAlias = "Callable[[], float]"
"""Does the work once, or often, and returns what it cost."""
Costs: TypeAlias = "Mapping[str, float]"


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
        check: Raises where the contenders don't do the same work. It runs before anything is timed.
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
    """

    benchmark: Benchmark
    got: float
    low: float
    high: float
    floor: float | None = None
    above_floor: float | None = None
    costs: Mapping[str, float] = field(default_factory=dict)

    @property
    def met(self) -> Literal["yes", "floor", "no"]:
        """``floor``: the target isn't met, but nothing that does the same checks could be 5 % faster."""
        target = self.benchmark.target
        if self.got >= target if self.benchmark.sense == "≥" else self.got <= target:
            return "yes"
        return "floor" if self.above_floor is not None and self.above_floor <= TOLERANCE else "no"


def measure(benchmark: Benchmark) -> Result:
    """Run the rounds. The order of the contenders turns with each round, so that none is always the first."""
    benchmark.check()
    names = list(benchmark.measures)
    for name in names:
        benchmark.measures[name]()  # warm: caches, lazy imports, connections
    rounds: list[dict[str, float]] = []
    for number in range(benchmark.rounds):
        turned = names[number % len(names) :] + names[: number % len(names)]
        rounds.append({name: benchmark.measures[name]() for name in turned})
    ratio = benchmark.ratio or (peer_over_ours if benchmark.sense == "≥" else ours_over_peer)
    ratios = sorted(ratio(costs) for costs in rounds)
    low, high = _ranks(len(ratios))
    costs = {name: median(each[name] for each in rounds) for name in names}
    if "floor" not in benchmark.measures:
        return Result(benchmark, median(ratios), ratios[low], ratios[high], costs=costs)
    floors = [ratio({**each, "ours": each["floor"]}) for each in rounds]
    above = [each["ours"] / each["floor"] for each in rounds]
    return Result(benchmark, median(ratios), ratios[low], ratios[high], median(floors), median(above), costs)


def _ranks(count: int) -> tuple[int, int]:
    """The positions, from 0, of the order statistics between which the median lies with at least 95 %."""
    coefficient, below, rank = 1, 0, 0
    while (below + coefficient) * 40 <= 2**count:  # at most 2.5 % on each side
        below += coefficient
        coefficient = coefficient * (count - rank) // (rank + 1)
        rank += 1
    rank = max(rank - 1, 0)
    return rank, count - 1 - rank


def timed(work: Callable[[], object], *, repeat: int = 1, clock: Callable[[], float] = process_time) -> Measure:
    """Measures work in this process: seconds by the clock, by default CPU time of all its threads, for one run.

    Args:
        work: The timed region. What it returns is thrown away inside it.
        repeat: How many runs a measurement has; as many as take some 10 ms.
        clock: Seconds.
    """

    def once() -> float:
        begin = clock()
        for _ in range(repeat):
            work()
        return (clock() - begin) / repeat

    return once


def fresh(code: str, environment: Mapping[str, str] | None = None) -> Measure:
    """Measures a fresh interpreter that runs the code: CPU seconds, user's and system's, of the whole process.

    Args:
        code: Python.
        environment: Variables beside ``PYTHONPATH`` and ``PATH``.
    """
    variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), **(environment or {})}

    def once() -> float:
        with subprocess.Popen([sys.executable, "-c", code], env=variables) as process:  # noqa: S603  # this interpreter
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise RuntimeError(f"ended with {process.returncode}: {code}")
        return usage.ru_utime + usage.ru_stime

    return once


def all_of(works: Sequence[Callable[[], object]]) -> Callable[[], object]:
    """One piece of work that is several."""

    def work() -> None:
        for each in works:
            each()

    return work
