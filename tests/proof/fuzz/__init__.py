"""What the decoders do with whatever may arrive: documented errors only, and work that grows as the input does."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report import Row, Scale

__all__ = ["run"]


def run(scale: Scale) -> list[Row]:
    """The rows of the fuzz. With `full`, libFuzzer takes part if atheris is installed."""
    from . import executions, growth  # not above: `guided` instruments what it imports, and this package comes first

    full = scale == "full"
    return [
        executions.replayed_corpus(),
        executions.mutated_samples(30_000 if full else 300),
        *([executions.with_coverage(40_000)] if full else []),
        growth.linear_steps(doublings=4 if full else 2),
        growth.within_a_cpu_budget(6_000_000 if full else 300_000),
    ]
