"""Picture of docs/how-far-it-scales.md: lag over load, and lag after an hour's stop."""

from __future__ import annotations

from math import log10
from typing import TYPE_CHECKING

from .report import escaped, opening
from .simulation import SECOND

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .simulation import Outcome

    Curve = tuple[str, Sequence[tuple[float, float]]]

__all__ = ["lag_over_time", "picture"]

WIDTH, HEIGHT = 440, 330
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 44, 42
COLORS = ("#2f81c7", "#8b7fd1", "#c9622f", "#3f9a5b", "#b8862b", "#c2528b")
"""Readable on white and on black."""
LAGS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
RATES = (10, 25, 50, 100, 200, 500)
MINUTES = 60
POINTS = 60
"""Points of a curve over time."""


def lag_over_time(outcome: Outcome) -> list[tuple[float, float]]:
    """Return the lag of a stopped relay's publications, by the time since its restart, both in minutes."""
    restart = outcome.restart or 0
    after = [event for event in outcome.events() if event.published and event.published[0] >= restart]
    step = max(1, len(after) // POINTS)
    return [
        ((event.published[0] - restart) / SECOND / 60, (event.published[0] - event.time) / SECOND / 60)
        for event in after[::step]
    ]


def picture(loads: Sequence[Curve], stops: Sequence[Curve]) -> str:
    """Return the picture as SVG; curves have numbers, which the legend below explains."""
    legend = max(len(loads), len(stops)) * 17 + 14
    lines = opening("Lag by load, and lag after an hour without a relay", WIDTH * 2, HEIGHT + legend)
    lines += _panel(loads, "p99 of the lag by load, seconds", "events a second of a shard", _log_axes, 0)
    lines += _panel(stops, "lag after an hour's stop, minutes", "minutes since the restart", _linear_axes, WIDTH)
    return "\n".join([*lines, "</svg>\n"])


def _panel(
    curves: Sequence[Curve],
    title: str,
    below: str,
    axes: Callable[[], tuple[Callable[[float], float], Callable[[float], float], list[str]]],
    offset: int,
) -> list[str]:
    x, y, grid = axes()
    lines = [
        f'<g transform="translate({offset} 0)">',
        f'<text x="{LEFT}" y="20">{escaped(title)}</text>',
        f'<text class="less" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">{escaped(below)}</text>',
        *grid,
    ]
    for number, (name, points) in enumerate(curves):
        color = COLORS[number]
        path = " ".join(f"{x(across):.1f},{y(up):.1f}" for across, up in points)
        lines.append(f'<polyline points="{path}" style="fill:none;stroke:{color};stroke-width:2"/>')
        row = HEIGHT + 14 + 17 * number
        lines += [
            f'<line x1="{LEFT}" y1="{row - 4}" x2="{LEFT + 22}" y2="{row - 4}" style="stroke:{color};stroke-width:3"/>',
            f'<text class="less" x="{LEFT + 30}" y="{row}">{escaped(name)}</text>',
        ]
    return [*lines, "</g>"]


def _log_axes() -> tuple[Callable[[float], float], Callable[[float], float], list[str]]:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(rate: float) -> float:
        return LEFT + log10(rate / RATES[0]) / log10(RATES[-1] / RATES[0]) * wide

    def y(lag: float) -> float:
        inside = min(max(lag, LAGS[0]), LAGS[-1])
        return HEIGHT - BOTTOM - log10(inside / LAGS[0]) / log10(LAGS[-1] / LAGS[0]) * high

    return x, y, _grid([(x(rate), f"{rate}") for rate in RATES], [(y(lag), f"{lag:g}") for lag in LAGS])


def _linear_axes() -> tuple[Callable[[float], float], Callable[[float], float], list[str]]:
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM

    def x(minutes: float) -> float:
        return LEFT + min(minutes, MINUTES) / MINUTES * wide

    def y(minutes: float) -> float:
        return HEIGHT - BOTTOM - minutes / 60 * high

    quarters = range(0, 61, 15)
    return x, y, _grid([(x(each), f"{each}") for each in quarters], [(y(each), f"{each}") for each in quarters])


def _grid(across: Sequence[tuple[float, str]], up: Sequence[tuple[float, str]]) -> list[str]:
    lines = []
    for at, label in up:
        lines += [
            f'<line class="grid" x1="{LEFT}" y1="{at:.1f}" x2="{WIDTH - RIGHT}" y2="{at:.1f}"/>',
            f'<text class="less" x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{label}</text>',
        ]
    for at, label in across:
        lines += [
            f'<line class="grid" x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{HEIGHT - BOTTOM}"/>',
            f'<text class="less" x="{at:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{label}</text>',
        ]
    return lines
