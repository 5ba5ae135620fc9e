"""Curves as SVG, which need no script and can be read in light and in dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT = 640, 260
"""Size of a chart in its own units."""
LEFT, RIGHT, TOP, BOTTOM = 70, 12, 10, 40
"""Room around the curves, for the axes."""
TICKS = 5
"""Number of marks of an axis."""
MOST_POINTS = 900
"""Most points of a curve."""


class Curve(NamedTuple):
    """One curve of a chart."""

    name: str
    """Name of it; its style is that of the class "curve-NAME"."""
    values: NDArray[np.float64]
    """Values, one for each place."""


class Axes(NamedTuple):
    """What the axes of a chart mean."""

    across: str
    """Name of the places."""
    up: str
    """Name of the values."""
    is_log: bool = False
    """Whether values are shown by their logarithm."""


def chart(title: str, places: NDArray[np.float64], curves: Sequence[Curve], axes: Axes) -> str:
    """A chart of some curves over the same places."""
    lines = [_shown(curve.values, axes.is_log) for curve in curves]
    known = np.concatenate([line[np.isfinite(line)] for line in lines])
    low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 1.0)
    if high <= low:
        low, high = low - 0.5, high + 0.5
    x0, x1 = float(places[0]), float(places[-1])
    names = ", ".join(curve.name for curve in curves)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(f"{title}: {axes.up} by {axes.across}, for {names}")}">',
        *_marks_across(x0, x1),
        *_marks_up(low, high, axes.is_log),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 4}" text-anchor="middle">'
        f"{escape(axes.across)}</text>",
    ]
    for curve, line in zip(curves, lines, strict=True):
        points = _points(places, line, (x0, x1), (low, high))
        parts.append(f'<polyline class="curve curve-{escape(curve.name)}" points="{points}"/>')
    legend = " ".join(
        f'<span class="key key-{escape(c.name)}"></span>{escape(c.name)}' for c in curves
    )
    caption = f"<figcaption><strong>{escape(title)}</strong> {legend}</figcaption>"
    return f"<figure>{caption}{''.join(parts)}</svg></figure>"


def _shown(values: NDArray[np.float64], is_log: bool) -> NDArray[np.float64]:
    if not is_log:
        return np.asarray(values, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.log10(values)
    found[~np.isfinite(found)] = np.nan
    return np.asarray(found, np.float64)


def _points(
    places: NDArray[np.float64],
    line: NDArray[np.float64],
    across: tuple[float, float],
    up: tuple[float, float],
) -> str:
    step = max(1, len(line) // MOST_POINTS)
    x = LEFT + (places - across[0]) / max(across[1] - across[0], 1e-300) * (WIDTH - LEFT - RIGHT)
    y = HEIGHT - BOTTOM - (line - up[0]) / (up[1] - up[0]) * (HEIGHT - TOP - BOTTOM)
    pairs = zip(x[::step], y[::step], strict=True)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in pairs if math.isfinite(b))


def _marks_across(low: float, high: float) -> list[str]:
    found = []
    for i in range(TICKS):
        x = LEFT + i / (TICKS - 1) * (WIDTH - LEFT - RIGHT)
        value = low + i / (TICKS - 1) * (high - low)
        y = HEIGHT - BOTTOM
        found.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{y}"/>')
        found.append(f'<text x="{x:.1f}" y="{y + 16}" text-anchor="middle">{value:.4g}</text>')
    return found


def _marks_up(low: float, high: float, is_log: bool) -> list[str]:
    found = []
    for i in range(TICKS):
        y = HEIGHT - BOTTOM - i / (TICKS - 1) * (HEIGHT - TOP - BOTTOM)
        value = low + i / (TICKS - 1) * (high - low)
        text = f"{10**value:.2g}" if is_log else f"{value:.4g}"
        found.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        found.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    return found
