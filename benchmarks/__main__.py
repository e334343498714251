"""Run the benchmarks and print tables of targets and results: ``python -m benchmarks [--write] [names]``.

Exits with 1 if a row neither meets its target nor has a floor that shows why.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import growth_report, report, shares
from .growth import Grown, Growth, grow
from .harness import Benchmark, Result, measure

if TYPE_CHECKING:
    from collections.abc import Sequence

DOCS = Path(__file__).resolve().parents[1] / "docs"
WHOLE: tuple[str, ...] = ("handlers", "cold_start", "quota", "calls", "memory")
"""Modules of this package with ``rows() -> list[Benchmark]`` that measure what a user deploys, in the table's order."""
PARTS: tuple[str, ...] = ("decode", "own_record", "encode", "imports")
"""Modules that measure a part of it; their rows are the page's appendix."""
GROWING: tuple[str, ...] = ("sizes",)
"""Modules with ``rows() -> list[Growth]``."""
ALL = (*WHOLE, *PARTS, *GROWING)
TURNS = 3
Row = TypeVar("Row", Benchmark, Growth)


def rows_of(names: Sequence[str]) -> list[Benchmark | Growth]:
    """Return the rows of the named modules."""
    return [row for name in names for row in import_module(f"{__package__}.{name}").rows()]


def run(rows: Sequence[Benchmark | Growth]) -> tuple[list[Result], list[Grown]]:
    """Measure the rows and return the results of comparisons and of growth, each in order.

    Other processes on the machine can make a row miss its target. Such a row is measured again after all others, up to
    `TURNS` times in total, and all of its rounds count.
    """
    results = [measure(said(row)) for row in rows if isinstance(row, Benchmark)]
    all_grown = [grow(said(row)) for row in rows if isinstance(row, Growth)]
    for _ in range(TURNS - 1):
        results = [measure(said(each.benchmark), each.rounds) if each.met == "no" else each for each in results]
        all_grown = [grow(said(each.growth), each.series) if each.met == "no" else each for each in all_grown]
    return results, all_grown


def said(row: Row) -> Row:
    """Print that a row's turn has come, and return the row."""
    print(f"{row.what} …", file=sys.stderr, flush=True)
    return row


def write(results: Sequence[Result], all_grown: Sequence[Grown], parts: Sequence[Benchmark | Growth]) -> None:
    """Write tables and pictures to the docs; the rows of `parts` go into the appendix."""
    page = DOCS / "benchmarks.md"
    text = page.read_text(encoding="utf-8")
    of_parts = [result for result in results if result.benchmark in parts]
    whole = [result for result in results if result not in of_parts]
    growth = report.markdown(growth_report.HEADINGS, [growth_report.cells(grown) for grown in all_grown])
    for name, content in (
        ("measured", f"{report.table(whole)}\n{report.circumstances()}"),
        ("shares", report.markdown(shares.HEADINGS, shares.table())),
        ("growth", f"{growth}\n![How cost grows with size](growth.svg)\n"),
        ("parts", report.table(of_parts)),
    ):
        text = report.written(text, name, content)
    page.write_text(text, encoding="utf-8")
    (DOCS / "benchmarks.svg").write_text(report.plot(whole), encoding="utf-8")
    (DOCS / "growth.svg").write_text(growth_report.panels(all_grown), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and return the exit status: 0 if each row meets its target or is near its floor."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"run only these: {', '.join(ALL)}")
    parser.add_argument("--write", action="store_true", help="also write all tables and plots to docs")
    parser.add_argument("--check", action="store_true", help="check that all sides do the same work; measure nothing")
    given = parser.parse_args(arguments)
    if unknown := set(given.names) - set(ALL):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; choose from {', '.join(ALL)}")
    if given.write and given.names:
        parser.error("--write needs all rows: omit the names")
    if given.check:
        checked = [row.check() for row in rows_of(given.names or ALL) if isinstance(row, Benchmark)]
        print(f"{len(checked)} comparisons: all sides do the same work")
        return 0
    parts = rows_of([name for name in given.names or ALL if name in PARTS])
    results, all_grown = run([*rows_of([name for name in given.names or ALL if name not in PARTS]), *parts])
    if results:
        print(report.columns(report.HEADINGS, [report.cells(result) for result in results]), end="\n\n")
    if all_grown:
        print(report.columns(growth_report.HEADINGS, [growth_report.cells(each) for each in all_grown]), end="\n\n")
    print(report.circumstances(), end="")
    if given.write:
        write(results, all_grown, parts)
    met = [result.met for result in results] + [grown.met for grown in all_grown]
    return 1 if "no" in met else 0


if __name__ == "__main__":
    sys.exit(main())
