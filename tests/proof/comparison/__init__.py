"""The same faults side by side: an outbox by hand, Powertools' idempotency, and this library."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..report import Row
from .faults import FAULTS
from .world import World

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..report import Scale

__all__ = ["COLUMNS", "PAGE", "cells", "committed", "run", "table"]

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "comparison.md"
COLUMNS = ("hand_made", "powertools", "ours")
HEADING = "| fault | by hand, boto3 | Powertools' idempotency | dynamo-outbox |\n|---|---|---|---|\n"
TABLE = re.compile(r"(?<=<!-- counted -->\n).*(?=<!-- end -->)", re.DOTALL)


def cells(columns: Sequence[str] = COLUMNS) -> dict[str, dict[str, str]]:
    """Return the observations by fault and column; a dash if a solution has no part for the fault."""
    return {
        fault.name: {
            column: "—" if (observe := getattr(fault, column)) is None else str(observe(World())) for column in columns
        }
        for fault in FAULTS
    }


def table(observed: dict[str, dict[str, str]]) -> str:
    """Return the table of the page."""
    lines = (f"| {name} | {' | '.join(row[column] for column in COLUMNS)} |\n" for name, row in observed.items())
    return HEADING + "".join(lines)


def committed() -> str:
    """Return the table that the page contains."""
    found = TABLE.search(PAGE.read_text(encoding="utf-8"))
    assert found is not None, f"{PAGE} has no markers around its table"
    return found[0]


def run(scale: Scale) -> list[Row]:
    """Return a row for each fault, and with `full` one for the whole table, if Powertools is installed."""
    observed = cells(("hand_made", "ours"))
    rows = [
        Row(
            "dynamo-outbox withstands the faults of the comparison",
            name,
            1,
            f"by hand {row['hand_made']}; dynamo-outbox {row['ours']}",
            lost=row["ours"][0] != "✓",
        )
        for name, row in observed.items()
    ]
    if scale == "full":
        rows.append(_whole())
    return rows


def _whole() -> Row:
    claim, fault = "the comparison's page is up to date", "its table, with Powertools' column, counted again"
    if find_spec("aws_lambda_powertools") is None:
        return Row(claim, fault, 0, "not tried: Powertools is not installed")
    answer = subprocess.run(  # this interpreter
        [sys.executable, "-W", "ignore", "-m", "tests.proof.comparison"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    same = answer.stdout == committed()
    return Row(claim, fault, len(FAULTS), "the same" if same else "the page's table differs: use --write", not same)
