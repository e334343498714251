"""Table and picture of the growth of cost: one panel per row, with logarithmic axes and no absolute costs."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING

from .growth import upper_end
from .report import escaped, opening

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .growth import Grown

__all__ = ["HEADINGS", "cells", "panels"]

HEADINGS = ("what", "from, to", "power, at most", "got [95 %]", "met")
ACROSS = 2
WIDTH, HEIGHT = 400, 236
LEFT, RIGHT, TOP, BOTTOM = 44, 18, 46, 44
"""A panel's margins around the plot."""
LINES = tuple(digit * 10.0**exponent for exponent in range(-12, 13) for digit in (1, 2, 5))
"""The possible horizontal lines."""


def cells(grown: Grown) -> tuple[str, ...]:
    """Return the cells of a row."""
    sizes = sorted(grown.points)
    span = f"{sizes[0]:,} to {sizes[-1]:,} {grown.growth.per}"
    got = f"{grown.got:.2f} [{grown.low:.2f}, {grown.high:.2f}]"
    return (grown.growth.what, span, f"{grown.limit:.2f}", got, grown.met)


def panels(all_grown: Sequence[Grown]) -> str:
    """Return an SVG picture of the cost per unit by size: a flat line is linear, the dashed line is the limit."""
    rows = -(-len(all_grown) // ACROSS)
    low, high = _range(all_grown)
    lines = opening("How cost grows with size", WIDTH * ACROSS, HEIGHT * rows)
    for position, grown in enumerate(all_grown):
        across, down = position % ACROSS, position // ACROSS
        lines.append(f'<g transform="translate({WIDTH * across} {HEIGHT * down})">')
        lines += _panel(grown, low, high)
        lines.append("</g>")
    return "\n".join([*lines, "</svg>\n"])


def _panel(grown: Grown, low: float, high: float) -> list[str]:
    sizes = sorted(grown.points)
    decades = log10(sizes[-1] / sizes[0])

    def x(size: float) -> float:
        return LEFT + log10(size / sizes[0]) / decades * (WIDTH - LEFT - RIGHT)

    def y(cost: float) -> float:
        return HEIGHT - BOTTOM - log10(cost / low) / log10(high / low) * (HEIGHT - TOP - BOTTOM)

    one = "cost per unit" if grown.growth.claim else "total cost"
    lines = [
        f'<text x="{LEFT}" y="18">{escaped(grown.growth.what)}</text>',
        f'<text class="less" x="{LEFT}" y="34">{one}, as a multiple of the first</text>',
        f'<text class="less" x="{WIDTH - RIGHT}" y="{HEIGHT - 8}" text-anchor="end">{escaped(grown.growth.per)}</text>',
    ]
    for cost in _levels(low, high):
        lines += [
            f'<line class="grid" x1="{LEFT}" y1="{y(cost):.1f}" x2="{WIDTH - RIGHT}" y2="{y(cost):.1f}"/>',
            f'<text class="less" x="{LEFT - 6}" y="{y(cost) + 4:.1f}" text-anchor="end">{cost:g}</text>',
        ]
    for size in _ticks(sizes):
        anchor = {sizes[0]: "start", sizes[-1]: "end"}.get(size, "middle")
        lines += [
            f'<line class="grid" x1="{x(size):.1f}" y1="{TOP}" x2="{x(size):.1f}" y2="{HEIGHT - BOTTOM}"/>',
            f'<text class="less" x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="{anchor}">{size:,}</text>',
        ]
    largest, begin = upper_end(grown.points)
    from_here = grown.points[begin]
    most = from_here * (largest / begin) ** (grown.limit - grown.growth.claim)
    path = " ".join(f"{x(size):.1f},{y(grown.points[size]):.1f}" for size in sizes)
    kind = "line" if grown.met == "yes" else "line no"
    return [
        *lines,
        f'<line class="limit" x1="{x(begin):.1f}" y1="{y(from_here):.1f}" x2="{x(largest):.1f}" y2="{y(most):.1f}"/>',
        f'<polyline class="{kind}" points="{path}"/>',
        *(
            f'<circle class="{"bar" if grown.met == "yes" else "no"}" cx="{x(size):.1f}" '
            f'cy="{y(grown.points[size]):.1f}" r="3"/>'
            for size in sizes
        ),
    ]


def _range(all_grown: Sequence[Grown]) -> tuple[float, float]:
    """Return the lowest and highest horizontal line around all costs; they are the same in each panel."""
    costs = [cost for grown in all_grown for cost in grown.points.values()]
    low, high = min(0.5, *costs), max(2.0, *costs)
    return max(line for line in LINES if line <= low), min(line for line in LINES if line >= high)


def _levels(low: float, high: float) -> list[float]:
    """Return the horizontal lines: all of a few, or those at powers of ten."""
    levels = [line for line in LINES if low <= line <= high]
    return levels if len(levels) <= 7 else [line for line in levels if f"{line:e}".startswith("1.0")]


def _ticks(sizes: Sequence[int]) -> list[int]:
    """Return the labelled sizes: all of a few, or the smallest and the largest."""
    return [*sizes] if len(sizes) <= 5 else [sizes[0], sizes[-1]]
