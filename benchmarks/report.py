"""The table and the plot that are made of the results. Absolute times are in neither: they are the machine's."""

from __future__ import annotations

import os
import platform
from importlib.metadata import version
from math import log10
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .harness import Result

__all__ = ["circumstances", "markdown", "plot", "table", "written"]

HEADINGS = ("what", "against", "target", "got [95 %]", "floor", "met")
PEERS = ("boto3", "aws-lambda-powertools", "pynamodb")
STYLE = (
    "text{font:13px sans-serif;fill:#57606a}.bar{fill:#2f81c7}.no{fill:#c9622f}.floor{fill:#8b7fd1}"
    ".mark{stroke:#57606a;stroke-width:2}.range{stroke:#8c959f;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.mark{stroke:#c9d1d9}}"
)


def _cells(result: Result) -> tuple[str, ...]:
    benchmark = result.benchmark
    floor = "" if result.floor is None else f"{_number(result.floor)} ({(result.above_floor or 0) - 1:+.0%})"
    return (
        benchmark.what,
        benchmark.against,
        f"{benchmark.sense} {_number(benchmark.target)}",
        f"{_number(result.got)} [{_number(result.low)}, {_number(result.high)}]",
        floor,
        result.met,
    )


def _number(value: float) -> str:
    return f"{value:.2f}" if value >= 0.1 else f"{value:.4f}"


def table(results: Sequence[Result]) -> str:
    """The results as text, in columns."""
    lines = [HEADINGS, *map(_cells, results)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(results: Sequence[Result]) -> str:
    """The results as a table of the docs."""
    rows = [HEADINGS, ("---", "---", "--:", "--:", "--:", "---"), *map(_cells, results)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def circumstances() -> str:
    """Versions and the kind of machine."""
    peers = ", ".join(f"{name} {version(name)}" for name in PEERS)
    kind = f"{platform.system()} on {platform.machine()}, {os.cpu_count()} cores"
    return f"{platform.python_implementation()} {platform.python_version()}; {peers}; {kind}.\n"


def written(page: str, name: str, text: str) -> str:
    """A page with the text between the markers of that name."""
    start, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
    before, found, rest = page.partition(start)
    if not found:
        raise ValueError(f"the page has no marker {start!r}")
    return f"{before}{start}{text}{end}{rest.partition(end)[2]}"


def plot(results: Sequence[Result]) -> str:
    """How far each target is surpassed, as SVG: a bar from the target's line, on a scale of powers of two."""
    left, width, step, top = 430, 320, 26, 34
    height = top + step * len(results) + 12
    gains = [_gains(result) for result in results]
    most = max((abs(log10(value)) for each in gains for value in each), default=0.3)

    def x(gain: float) -> float:
        return left + width / 2 + log10(gain) / most * width / 2

    zero = x(1)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + width + 70}" height="{height}" '
        f'viewBox="0 0 {left + width + 70} {height}" role="img"><title>How far each target is surpassed</title>'
        f"<style>{STYLE}</style>",
        f'<line class="mark" x1="{zero}" y1="{top - 10}" x2="{zero}" y2="{height - 8}"/>',
        f'<text x="{zero}" y="16" text-anchor="middle">target</text>',
    ]
    for position, (result, (got, low, high)) in enumerate(zip(results, gains, strict=True)):
        y = top + step * position
        begin, end = sorted((zero, x(got)))
        kind = {"yes": "bar", "floor": "floor", "no": "no"}[result.met]
        lines += [
            f'<text x="{left - 8}" y="{y + 13}" text-anchor="end">{_escaped(result.benchmark.what)}</text>',
            f'<rect class="{kind}" x="{begin:.1f}" y="{y + 2}" width="{max(end - begin, 1):.1f}" height="14"/>',
            f'<line class="range" x1="{x(low):.1f}" y1="{y + 9}" x2="{x(high):.1f}" y2="{y + 9}"/>',
            f'<text x="{left + width + 8}" y="{y + 13}">{_number(result.got)}</text>',
        ]
    return "\n".join([*lines, "</svg>\n"])


def _gains(result: Result) -> tuple[float, float, float]:
    """Got and its interval as multiples of the target, above 1 where it is met."""
    target, values = result.benchmark.target, (result.got, result.low, result.high)
    most = result.benchmark.sense == "≥"
    got, *ends = (max(value, 1e-9) / target if most else target / max(value, 1e-9) for value in values)
    return got, min(ends), max(ends)


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
