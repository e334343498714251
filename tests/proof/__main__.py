"""``python -m tests.proof [--scale short|full]``: runs every part and prints the table of faults and outcomes.

Ends with 1 when anything was lost or applied twice, or when nothing was tried.
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
"""The parts, in the order in which they are run: modules of this package with ``run(scale) -> list[Row]``."""


def run(scale: Scale, parts: Sequence[str] = PARTS) -> list[Row]:
    """The rows of all parts."""
    rows: list[Row] = []
    for part in parts:
        print(f"{part} …", file=sys.stderr, flush=True)
        rows += import_module(f"{__package__}.{part}").run(scale)
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the parts, print the table, and say by the exit status whether the claims hold."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof", description=__doc__)
    parser.add_argument("--scale", choices=("short", "full"), default="full")
    parser.add_argument("parts", nargs="*", default=PARTS, help="of these parts only")
    parser.add_argument("--write", action="store_true", help="write the table into docs/proof.md, too")
    given = parser.parse_args(arguments)
    rows = run(given.scale, given.parts)
    print(table(rows))
    if given.write:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8"), rows), encoding="utf-8")
    return 0 if holds(rows) else 1


if __name__ == "__main__":
    sys.exit(main())
