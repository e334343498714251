"""Run the parts of the proof and print a table of faults and outcomes: ``python -m tests.proof [--scale short|full]``.

Exits with 1 if anything was lost or applied twice, or if nothing was tried.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from .report import holds, table, written

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .report import Row, Scale

PAGE = Path(__file__).resolve().parents[2] / "docs" / "proof.md"
PARTS: tuple[str, ...] = (
    "conservation",
    "commit_states",
    "inbox_states",
    "relay_state_space",
    "idempotency_states",
    "fuzz",
    "mutations",
    "comparison",
)
"""The parts in the order of execution: modules of this package with ``run(scale) -> list[Row]``."""


def run(scale: Scale, parts: Sequence[str] = PARTS) -> list[Row]:
    """Run the parts and return their rows."""
    rows: list[Row] = []
    for part in parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        rows += import_module(f"{__package__}.{part}").run(scale)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, print the table, and return the exit status: 0 if all claims hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--scale", choices=("short", "full"), default="full")
    parser.add_argument("parts", nargs="*", default=PARTS, help="run only these parts")
    parser.add_argument("--write", action="store_true", help="also write the table to docs/proof.md")
    given = parser.parse_args(arguments)
    rows = run(given.scale, given.parts)
    print(table(rows))
    if given.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return 0 if holds(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
