"""Fuzzing of the decoders: any input gives only documented errors, and work is linear in the input."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..report import Row, Scale

__all__ = ["run"]


def run(scale: Scale) -> list[Row]:
    """Run the fuzzer and return its rows. With `full`, libFuzzer also runs if atheris is installed."""
    from . import executions, growth  # not at the top: `guided` imports this package before it instruments imports

    full = scale == "full"
    return [
        executions.replayed_corpus(),
        executions.mutated_samples(30_000 if full else 300),
        *([executions.with_coverage(40_000)] if full else []),
        growth.linear_steps(doublings=4 if full else 2),
        growth.within_a_cpu_budget(6_000_000 if full else 300_000),
    ]
