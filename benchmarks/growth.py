"""How cost grows with size: what grows, by which measure that is judged, and what came of it.

The criterion: between the largest size and the largest that is at most a tenth of it, cost grows as a power of the
size. The power is 1 where ten times as many cost ten times as much, 2 where they cost a hundred times as much, and 0
where they cost no more. It may be a tenth above what is claimed: ten times as many then cost 12.6 times as much where
the claim is 1, and 1.26 times as much where it is 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log
from statistics import median
from typing import TYPE_CHECKING, Literal, TypeAlias

from .harness import Measure, alternate, spread_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Growth", "Grown", "Series", "by_size", "grow", "power"]

ROUNDS = 15
MARGIN = 0.1
"""How far above its claim the power may be."""
SPAN = 10
"""Over which part of the sizes, from the largest down, the power is taken."""

Costs: TypeAlias = Mapping[int, float]
"""What each size costs, all of it."""
Series: TypeAlias = Sequence[Costs]
"""The costs of each round."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One line of the table of growth.

    Attributes:
        what: What is done.
        per: What a size counts, as in "1 to 100 actions a transaction".
        claim: The power: 1 for linear, 0 for what doesn't grow.
        check: Raises where what is measured isn't what is said. It runs before the series.
        series: Measures: each round's costs by size.
    """

    what: str
    per: str
    claim: Literal[0, 1] = 1
    check: Callable[[], object]
    series: Callable[[], Series]


@dataclass(frozen=True, slots=True)
class Grown:
    """What came of it.

    Attributes:
        growth: What was measured.
        got: The power at the upper end, the median of the rounds.
        low, high: The interval in which it lies with 95 %.
        points: By size, what one costs, or where nothing is to grow all of it, as a multiple of the smallest size's.
        series: Each round's costs by size.
    """

    growth: Growth
    got: float
    low: float
    high: float
    points: Mapping[int, float]
    series: Series = ()

    @property
    def limit(self) -> float:
        """What the power may be."""
        return self.growth.claim + MARGIN

    @property
    def met(self) -> Literal["yes", "no"]:
        return "yes" if self.got <= self.limit else "no"


def grow(growth: Growth, earlier: Series = ()) -> Grown:
    """Check, measure and judge.

    Args:
        growth: What is measured.
        earlier: Rounds of the same that count, too.
    """
    growth.check()
    series = [*earlier, *growth.series()]
    sizes = sorted(series[0])
    one = {size: median(costs[size] for costs in series) / size**growth.claim for size in sizes}
    points = {size: one[size] / one[sizes[0]] for size in sizes}
    return Grown(growth, *spread_of([power(costs) for costs in series]), points, series)


def power(costs: Costs) -> float:
    """As which power of the size the cost grows at the upper end.

    Raises:
        ValueError: No size is as small as a tenth of the largest.
    """
    largest, begin = upper_end(costs)
    return log(costs[largest] / costs[begin]) / log(largest / begin)


def upper_end(sizes: Mapping[int, object]) -> tuple[int, int]:
    """The largest size, and the one from which the growth up to it is judged."""
    largest = max(sizes)
    return largest, max(size for size in sizes if size * SPAN <= largest)


def by_size(measures: Mapping[int, Measure], rounds: int = ROUNDS) -> Series:
    """The series of measures that can be taken in any order: the sizes alternate, each first in turn."""
    return alternate(measures, rounds)
