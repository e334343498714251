"""What the parts of the proof hand in, and the table that is printed of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Row", "Scale", "holds", "table", "written"]

Scale: TypeAlias = Literal["short", "full"]
"""``short``: what `make test` can afford. ``full``: what the proof is."""
HEADINGS = ("claim", "fault", "runs", "outcome", "lost", "twice")


@dataclass(frozen=True, slots=True)
class Row:
    """What became of a claim under a fault.

    Attributes:
        claim: What the library says: ``effects once``.
        fault: What was done to it: ``answer lost after the commit``.
        runs: How often the fault was met.
        outcome: What was seen, in a few words.
        lost: How many events or effects are missing.
        twice: How many were applied more than once.
    """

    claim: str
    fault: str
    runs: int
    outcome: str
    lost: int = 0
    twice: int = 0


def holds(rows: Sequence[Row]) -> bool:
    """Whether something was tried, and nothing of it was lost or applied twice."""
    return any(row.runs for row in rows) and not any(row.lost or row.twice for row in rows)


def written(page: str, rows: Sequence[Row]) -> str:
    """A page with the rows between its markers, as a table."""
    start, end = "<!-- proved -->\n", "<!-- /proved -->"
    before, _, rest = page.partition(start)
    lines = [f"| {' | '.join(HEADINGS)} |", "|---|---|--:|---|--:|--:|"]
    lines += [
        f"| {row.claim} | {row.fault} | {row.runs:,} | {row.outcome} | {row.lost:,} | {row.twice:,} |" for row in rows
    ]
    return f"{before}{start}{chr(10).join(lines)}\n{end}{rest.partition(end)[2]}"


def table(rows: Sequence[Row]) -> str:
    """The rows as text, in columns: text to the left, numbers to the right."""
    lines = [
        HEADINGS,
        *((row.claim, row.fault, f"{row.runs:,}", row.outcome, f"{row.lost:,}", f"{row.twice:,}") for row in rows),
    ]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    numbers = {HEADINGS.index(name) for name in ("runs", "lost", "twice")}
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column in numbers else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
