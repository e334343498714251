"""Tables and plot of the results. They contain no absolute times, which depend on the machine."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from math import log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .harness import Result

__all__ = [
    "HEADINGS",
    "cells",
    "circumstances",
    "columns",
    "escaped",
    "markdown",
    "number",
    "opening",
    "plot",
    "table",
    "written",
]

HEADINGS = ("what", "against", "which lacks", "target", "got [95 %]", "floor", "met")
NUMBERS = {"target", "power, at most", "got [95 %]", "floor"}
PEERS = ("boto3", "aws-lambda-powertools", "pynamodb")
STYLE = (
    "text{font:13px sans-serif;fill:#57606a}.less{font-size:11px}"
    ".bar{fill:#2f81c7}.no{fill:#c9622f}.floor{fill:#8b7fd1}"
    ".mark{stroke:#57606a;stroke-width:2}.range{stroke:#24292f;stroke-width:2}.grid{stroke:#8c959f;stroke-width:.5}"
    ".line{fill:none;stroke:#2f81c7;stroke-width:2}.line.no{fill:none;stroke:#c9622f}"
    ".limit{stroke:#8c959f;stroke-width:1.5;stroke-dasharray:4 3}"
    "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.mark{stroke:#c9d1d9}.range{stroke:#f0f6fc}}"
)


def cells(result: Result) -> tuple[str, ...]:
    """Return the cells of a result's row."""
    benchmark = result.benchmark
    floor = "" if result.floor is None else f"{number(result.floor)} ({(result.above_floor or 0) - 1:+.0%})"
    return (
        benchmark.what,
        benchmark.against,
        benchmark.lacks,
        f"{benchmark.sense} {number(benchmark.target)}",
        f"{number(result.got)} [{number(result.low)}, {number(result.high)}]",
        floor,
        result.met,
    )


def number(value: float) -> str:
    """Return a number with two decimals, or four if it is below 0.1."""
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table for a terminal."""
    lines = [headings, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table with numeric columns aligned right."""
    rules = ["--:" if heading in NUMBERS else "---" for heading in headings]
    return "".join(f"| {' | '.join(row)} |\n" for row in (headings, rules, *rows))


def table(results: Sequence[Result]) -> str:
    """Return the results as a Markdown table."""
    return markdown(HEADINGS, [cells(result) for result in results])


def circumstances() -> str:
    """Return the versions and the kind of machine."""
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    kind = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores"
    return f"{platform.python_implementation()} {platform.python_version()}; {peers}; {kind}.\n"


def written(page: str, name: str, text: str) -> str:
    """Return the page with the text between the markers of that name."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.partition(start)
    if not found:
        raise ValueError(f"page has no marker {start!r}")
    return f"{before}{start}{text}{end}{rest.partition(end)[2]}"


def plot(results: Sequence[Result]) -> str:
    """Return an SVG chart of results relative to their targets, as bars on a logarithmic scale."""
    left, width, right, step, top = 470, 260, 140, 38, 34
    height = top + step * len(results) + 4
    gains = [_gains(result) for result in results]
    most = max((abs(log10(value)) for each in gains for value in each), default=0) or 1

    def x(gain: float) -> float:
        return left + width / 2 + log10(gain) / most * width / 2

    zero = x(1)
    lines = [
        *opening("Results relative to their targets", left + width + right, height),
        f'<line class="mark" x1="{zero}" y1="{top - 10}" x2="{zero}" y2="{height - 4}"/>',
        f'<text x="{zero}" y="16" text-anchor="middle">target</text>',
    ]
    for position, (result, (got, low, high)) in enumerate(zip(results, gains, strict=True)):
        y, benchmark = top + step * position, result.benchmark
        begin, end = sorted((zero, x(got)))
        kind = {"yes": "bar", "floor": "floor", "no": "no"}[result.met]
        goal = f"{benchmark.sense} {number(benchmark.target)}"
        lines += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{escaped(benchmark.what)}</text>',
            f'<text class="less" x="{left - 8}" y="{y + 27}" text-anchor="end">{escaped(benchmark.against)}</text>',
            f'<rect class="{kind}" x="{begin:.1f}" y="{y + 8}" width="{max(end - begin, 1):.1f}" height="14"/>',
            f'<line class="range" x1="{x(low):.1f}" y1="{y + 15}" x2="{x(high):.1f}" y2="{y + 15}"/>',
            f'<text x="{left + width + 12}" y="{y + 20}">{number(result.got)}'
            f'<tspan class="less" dx="8">{goal}</tspan></text>',
        ]
    return "\n".join([*lines, "</svg>\n"])


def opening(title: str, width: float, height: float) -> list[str]:
    """Return the opening tags of a picture, with a style for light and dark mode."""
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" role="img"><title>{title}</title><style>{STYLE}</style>'
    ]


def _gains(result: Result) -> tuple[float, float, float]:
    """Return the result and its interval as multiples of the target; 1 or more meets it."""
    target, values = result.benchmark.target, (result.got, result.low, result.high)
    most = result.benchmark.sense == "≥"
    got, *ends = (max(value, 1e-9) / target if most else target / max(value, 1e-9) for value in values)
    return got, min(ends), max(ends)


def escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
