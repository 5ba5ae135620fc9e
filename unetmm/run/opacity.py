"""Opacity of an output that is larger: soft edges stay soft, and hard ones stay hard.

A pixel is soft if it or one of its eight neighbours is neither clear nor opaque. It becomes pixels
between whose centres opacity passes evenly (bilinear); all others are repeated. That depends on
the neighbours alone, so it is the same for every cut.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.stored import opacity_as
from unetmm.io.enlarged import repeated
from unetmm.io.measured import Mask
from unetmm.run.job import Job
from unetmm.run.task import Task


class KeptOpacity:
    """Opacity of a strip's rows that are under way, and of the pixels around them."""

    def __init__(self, job: Job, task: Task) -> None:
        info, plan, strip = job.source.info, job.plan, task.strip
        self.scale, self.height = job.output_scale, info.height
        premultiplied = info.metadata.display.premultiplied
        self.reveals = info.has_mask and not premultiplied
        """Whether what is near a clear pixel, whose own colour is none, gets the net's."""
        self.stay_clear = info.has_mask and premultiplied
        """Whether clear pixels stay so: the net's colours there do not fade with the opacity."""
        columns = np.arange(strip.write_start - 1, strip.write_stop + 1)
        self.columns = np.clip(columns, 0, info.width - 1) - strip.read_start
        rows = plan.lag_rows + plan.band_rows + plan.delay_rows + 2
        self.rows = np.zeros((rows, len(columns)), info.dtype)
        """Those rows; row y of the image lies at y modulo their number."""

    def keep(self, opacity: NDArray[Any], first_row: int) -> None:
        """Remember some rows of the strip."""
        index = np.arange(first_row, first_row + len(opacity)) % len(self.rows)
        self.rows[index] = opacity[:, self.columns]

    def enlarged(
        self, row: int, count: int, dtype: np.dtype[Any], given: Mask | None
    ) -> tuple[NDArray[Any], Mask | None]:
        """What some rows become in the output's type, and where it shows colours: in the pixels
        that are measured, and where a clear one is no longer quite clear.

        given : the pixels that are measured; None if all are.
        """
        scale = self.scale
        rows = np.clip(np.arange(row - 1, row + count + 1), 0, self.height - 1)
        around = self.rows[rows % len(self.rows)]
        opacity = around[1:-1, 1:-1]
        answer = repeated(opacity_as(opacity, dtype), scale)
        shown = None if given is None else repeated(given, scale)
        soft = _soft(around)
        if soft is None:
            return answer, shown
        if self.stay_clear:
            soft &= opacity != 0
        for i in np.nonzero(soft.any(1))[0].tolist():
            for y, x, values in _between(around[i : i + 3], scale):
                made = answer[i * scale + y, x::scale]
                np.copyto(made, _as_type(values, opacity.dtype, dtype), where=soft[i])
        if shown is not None and self.reveals:
            shown |= repeated(opacity == 0, scale) & (answer != 0)
        return answer, shown


def _soft(around: NDArray[Any]) -> Mask | None:
    """Which pixels are soft; None if none is. `around`: with one more on each side."""
    opaque = 1 if around.dtype.kind == "f" else np.iinfo(around.dtype).max
    partly = (around != 0) & (around != opaque)
    if not partly.any():
        return None
    soft = _any_near(partly)
    if around.dtype.kind == "f":
        soft &= ~_any_near(~np.isfinite(around))
    return soft


def _any_near(flags: Mask) -> Mask:
    """Whether a pixel or one of its neighbours has a flag."""
    rows = flags[:-2] | flags[1:-1] | flags[2:]
    near: Mask = rows[:, :-2] | rows[:, 1:-1] | rows[:, 2:]
    return near


def _between(rows: NDArray[Any], scale: int) -> Iterator[tuple[int, int, NDArray[np.float64]]]:
    """What the middle one of three rows becomes: row, first column, and values a pixel apart."""
    offsets = [(2 * i + 1 - scale) / (2 * scale) for i in range(scale)]
    exact = rows.astype(np.float64)
    for y, down in enumerate(offsets):
        row = exact[1] * (1 - abs(down)) + exact[1 + (down > 0) - (down < 0)] * abs(down)
        for x, right in enumerate(offsets):
            first = 1 + (right > 0) - (right < 0)
            beside = row[first : len(row) - 2 + first]
            yield y, x, row[1:-1] * (1 - abs(right)) + beside * abs(right)


def _as_type(
    values: NDArray[np.float64], before: np.dtype[Any], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Opacity in the output's type, which is of the same kind as the input's."""
    if dtype.kind == "f":
        return values.astype(dtype)
    factor = np.iinfo(dtype).max / np.iinfo(before).max
    return np.rint(values * factor).astype(dtype)
