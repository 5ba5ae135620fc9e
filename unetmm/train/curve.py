"""A training curve as a small picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from unetmm.train.history import Row

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw

SIZE_PX = (900, 480)
"""Width and height of the picture."""
MARGIN_PX = (60, 20, 30, 45)
"""Margins left, right, above and below the plot."""
TRAINING, VALIDATION, INK, GRID = "#9db8d9", "#c0392b", "#333333", "#e6e6e6"
TICKS = 6
"""Number of lines across the plot, about."""

Point = tuple[float, float]


@dataclass(frozen=True)
class _Axes:
    """Axes of the plot; they tell where a value lies in the picture."""

    steps: list[float]
    """Ticks, the first and last of which are the ends."""
    values: list[float]

    def at(self, step: float, value: float) -> Point:
        left, right, top, bottom = MARGIN_PX
        width, height = SIZE_PX[0] - left - right, SIZE_PX[1] - top - bottom
        across = (step - self.steps[0]) / (self.steps[-1] - self.steps[0])
        down = (self.values[-1] - value) / (self.values[-1] - self.values[0])
        return left + width * across, top + height * down


def draw_curve(rows: Sequence[Row], path: Path, title: str) -> None:
    """Write a PNG of PSNR over steps: training, and validation where the rows have it."""
    from PIL import Image, ImageDraw

    training = {r.step: r.psnr_db for r in rows}  # the later line of a repeated step counts
    validation = {r.step: r.validation_db for r in rows if r.validation_db is not None}
    values = [*training.values(), *validation.values()]
    if not values:
        return
    axes = _Axes(ticks(0, max(training)), ticks(min(values), max(values)))
    image = Image.new("RGB", SIZE_PX, "white")
    draw = ImageDraw.Draw(image)
    _draw_axes(draw, axes)
    for series, colour in ((training, TRAINING), (validation, VALIDATION)):
        draw.line([axes.at(step, series[step]) for step in sorted(series)], fill=colour, width=2)
    draw.text((MARGIN_PX[0], 8), f"{title}: PSNR in dB over steps", fill=INK)
    draw.text((SIZE_PX[0] - 190, 8), "training", fill=TRAINING)
    draw.text((SIZE_PX[0] - 110, 8), "validation", fill=VALIDATION)
    image.save(path, "PNG")


def _draw_axes(draw: ImageDraw, axes: _Axes) -> None:
    for value in axes.values:
        x, y = axes.at(axes.steps[0], value)
        draw.line([(x, y), axes.at(axes.steps[-1], value)], fill=GRID)
        draw.text((x - 8, y), f"{value:g}", fill=INK, anchor="rm")
    for step in axes.steps:
        x, y = axes.at(step, axes.values[0])
        draw.line([(x, y), axes.at(step, axes.values[-1])], fill=GRID)
        draw.text((x, y + 8), f"{step:,.0f}", fill=INK, anchor="mt")


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from just below `low` to just above `high`."""
    span = max(high - low, 1e-6)
    power = 10.0 ** math.floor(math.log10(span / TICKS))
    step = next(power * m for m in (1, 2, 5, 10) if power * m * TICKS >= span)
    first = math.floor(low / step)
    last = max(first + 1, math.ceil(high / step))  # a span that is none needs two ticks as well
    return [round(i * step, 10) for i in range(first, last + 1)]
