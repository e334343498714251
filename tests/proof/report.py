"""Rows that the parts of the proof return, and the tables made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Row", "Scale", "holds", "table", "written"]

Scale: TypeAlias = Literal["short", "full"]
"""``short``: a part of `make check`. ``full``: the whole proof."""
HEADINGS = ("claim", "fault", "runs", "outcome", "lost", "twice")
MOST_LISTED = 3
"""The page lists up to this many faults or outcomes of a claim; `make proof` prints all of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """Outcome of a claim under a fault.

    Attributes:
        claim: The claim: ``each event has its effect once``.
        fault: The fault: ``response lost after the commit``.
        runs: How often the fault occurred.
        outcome: The observation, in a few words.
        lost: The number of missing events or effects.
        twice: The number of events or effects applied more than once.
    """

    claim: str
    fault: str
    runs: int
    outcome: str
    lost: int = 0
    twice: int = 0


def holds(rows: Sequence[Row]) -> bool:
    """Return whether something was tried, and nothing was lost or applied twice."""
    return any(row.runs for row in rows) and not any(row.lost or row.twice for row in rows)


def written(page: str, rows: Sequence[Row]) -> str:
    """Return a page with one line for each claim between its markers."""
    start, end = "<!-- proved -->\n", "<!-- /proved -->"
    before, _, rest = page.partition(start)
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|--:|---|--:|--:|"]
    by_claim: dict[str, list[Row]] = {}
    for row in rows:
        by_claim.setdefault(row.claim, []).append(row)
    lines += [f"| {' | '.join(_cells(_summary(same)))} |" for same in by_claim.values()]
    return f"{before}{start}{chr(10).join(lines)}\n{end}{rest.partition(end)[2]}"


def _summary(rows: Sequence[Row]) -> Row:
    """Return one row for all faults of a claim; its numbers are sums."""
    faults = list(dict.fromkeys(row.fault for row in rows))
    outcomes = list(dict.fromkeys(row.outcome for row in rows))
    return Row(
        claim=rows[0].claim,
        fault="; ".join(faults) if len(faults) <= MOST_LISTED else f"{len(faults)} kinds",
        runs=sum(row.runs for row in rows),
        outcome="; ".join(outcomes) if len(outcomes) <= MOST_LISTED else "—",
        lost=sum(row.lost for row in rows),
        twice=sum(row.twice for row in rows),
    )


def _cells(row: Row) -> tuple[str, ...]:
    return row.claim, row.fault, f"{row.runs:,}", row.outcome, f"{row.lost:,}", f"{row.twice:,}"


def table(rows: Sequence[Row]) -> str:
    """Return the rows as columns of text: words aligned left, numbers aligned right."""
    lines = [HEADINGS, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    numbers = {HEADINGS.index(name) for name in ("runs", "lost", "twice")}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
