"""``python -m benchmarks [--write] [names]``: measures, and prints the table of targets and what was got.

Ends with 1 where a row is neither met nor has a floor that shows why.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from .harness import Benchmark, Result, measure
from .report import circumstances, markdown, plot, table, written

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parents[1] / "docs"
ROWS: tuple[str, ...] = (
    "decode",
    "decode_hot",
    "own_record",
    "encode",
    "exact_json",
    "imports",
    "calls",
    "idempotency",
)
"""The modules of this package with ``rows() -> list[Benchmark]``, in the order of the table."""


def run(names: Sequence[str]) -> list[Result]:
    """The results of the modules named."""
    results = []
    for name in names:
        rows: list[Benchmark] = import_module(f"{__package__}.{name}").rows()
        for benchmark in rows:
            print(f"{name}: {benchmark.what} …", file=sys.stderr, flush=True)
            results.append(measure(benchmark))
    return results


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and say by the exit status whether each row is met or has its floor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", default=ROWS, help=f"of these rows only: {', '.join(ROWS)}")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/benchmarks.md, too")
    given = parser.parse_args(arguments)
    results = run(given.names)
    print(table(results))
    print(f"\n{circumstances()}", end="")
    if given.write:
        page = DOCS / "benchmarks.md"
        text = f"{markdown(results)}\n{circumstances()}"
        page.write_text(written(page.read_text(encoding="utf-8"), "measured", text), encoding="utf-8")
        (DOCS / "benchmarks.svg").write_text(plot(results), encoding="utf-8")
    return 0 if all(result.met != "no" for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
