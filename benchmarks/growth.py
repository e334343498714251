"""Growth of cost with size: measurement and criterion.

The criterion is the power of the size with which cost grows, between the largest size and the largest one that is at
most a tenth of it. The power is 1 for linear growth, 2 for quadratic growth and 0 for constant cost. It may exceed its
claim by 0.1: ten times the size may then cost 12.6 times as much if the claim is 1, and 1.26 times if it is 0.
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
"""The amount by which the power may exceed its claim."""
SPAN = 10
"""The power is measured from about one `SPAN`th of the largest size to the largest."""

Costs: TypeAlias = Mapping[int, float]
"""The total cost by size."""
Series: TypeAlias = Sequence[Costs]
"""The costs of each round."""


@dataclass(frozen=True, kw_only=True)
class Growth:
    """One line of the table of growth.

    Attributes:
        what: The measured work.
        per: The unit of the size, as in "1 to 100 actions a transaction".
        claim: The power: 1 for linear, 0 for constant cost.
        check: Raises an error if the measured work is not as described. It runs before the series.
        series: Measures and returns each round's costs by size.
    """

    what: str
    per: str
    claim: Literal[0, 1] = 1
    check: Callable[[], object]
    series: Callable[[], Series]


@dataclass(frozen=True, slots=True)
class Grown:
    """Result of a `Growth`.

    Attributes:
        growth: The line of the table.
        got: The power at the upper end, as the median of the rounds.
        low, high: Its 95 % interval.
        points: Cost per unit by size (total cost if the claim is 0), as a multiple of the smallest size's.
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
        """The maximum power."""
        return self.growth.claim + MARGIN

    @property
    def met(self) -> Literal["yes", "no"]:
        return "yes" if self.got <= self.limit else "no"


def grow(growth: Growth, earlier: Series = ()) -> Grown:
    """Check, measure and return the result.

    Args:
        growth: The line of the table.
        earlier: Earlier rounds of the same line, which are included.
    """
    growth.check()
    series = [*earlier, *growth.series()]
    sizes = sorted(series[0])
    one = {size: median(costs[size] for costs in series) / size**growth.claim for size in sizes}
    points = {size: one[size] / one[sizes[0]] for size in sizes}
    return Grown(growth, *spread_of([power(costs) for costs in series]), points, series)


def power(costs: Costs) -> float:
    """Return the power of the size with which the cost grows at the upper end.

    Raises:
        ValueError: Every size is larger than a tenth of the largest.
    """
    largest, begin = upper_end(costs)
    return log(costs[largest] / costs[begin]) / log(largest / begin)


def upper_end(sizes: Mapping[int, object]) -> tuple[int, int]:
    """Return the largest size, and the size from which the growth to it is measured."""
    largest = max(sizes)
    return largest, max(size for size in sizes if size * SPAN <= largest)


def by_size(measures: Mapping[int, Measure], rounds: int = ROUNDS) -> Series:
    """Run the measures with alternating sizes, each first in turn, and return their series."""
    return alternate(measures, rounds)
