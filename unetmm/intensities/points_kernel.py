"""How far each pixel of a blurred image stands out all around it, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE

BLUR_PX = 2
"""Reach in pixels of the blur, a Gaussian of sigma 1."""
FOOT_PX = 3
"""Distance in pixels of those that a pixel is compared to."""
SLANT_PX = 2
"""Rows and columns to those of them that lie on a diagonal."""
RIM_PX = BLUR_PX + FOOT_PX
"""Pixels around that have to be known."""
_WEIGHTS = np.exp(-(np.arange(BLUR_PX + 1) ** 2) / 2.0)
_WEIGHTS /= 2 * _WEIGHTS.sum() - _WEIGHTS[0]
WEIGHTS = tuple(float(weight) for weight in _WEIGHTS)
"""Weights of the blur: of a pixel itself, its neighbours, and those after them."""
BLURRED_DEVIATION = WEIGHTS[0] ** 2 + 2 * (WEIGHTS[1] ** 2 + WEIGHTS[2] ** 2)
"""Deviation that white noise of deviation 1 has after the blur, along both axes."""


def stand_out(
    values: NDArray[np.float32],
    growth: float,
    floor: float,
    blurred: NDArray[np.float32],
    heights: NDArray[np.float32],
) -> None:
    """Give how far pixels stand out all around, in units of the noise.

    Parameters
    ----------
    values : (rows + 2 RIM_PX, columns + 2 RIM_PX), C-contiguous
        What a pixel holds above the level from which on noise grows; used up.
    growth : growth of the variance of the noise for each unit of a value.
    floor : variance of the noise at 0.
    blurred : (2, rows + 2 RIM_PX, columns + 2 RIM_PX)
        Room to work in.
    heights : (rows, columns)
        Blurred value, less the largest of two opposite ones around it: the least of four such
        pairs. It counts deviations of white noise after the blur.
    """
    _stand_out(
        values, np.float32(growth), np.float32(floor), *blurred, heights,
        np.float32(1 / BLURRED_DEVIATION),
    )  # fmt: skip


@cached_on_disk
@njit(**INLINE)
def _stand_out(values, growth, floor, across, blurred, heights, inverse):
    rows, columns = values.shape
    w0, w1, w2 = np.float32(WEIGHTS[0]), np.float32(WEIGHTS[1]), np.float32(WEIGHTS[2])
    zero = np.float32(0)
    for y in range(rows):
        row, out = values[y], across[y]
        if growth > zero:  # to a scale on which the noise has deviation 1 everywhere
            double, least = np.float32(2) / growth, np.sqrt(floor)
            for x in range(columns):
                signal = growth * row[x]
                signal = signal if signal > zero else zero
                row[x] = double * (np.sqrt(signal + floor) - least)
        else:
            factor = np.float32(1) / np.sqrt(floor)
            for x in range(columns):
                row[x] = row[x] * factor
        for x in range(columns - 4):
            out[x] = w0 * row[x + 2] + w1 * (row[x + 1] + row[x + 3]) + w2 * (row[x] + row[x + 4])
    for y in range(rows - 4):
        a, b, c, d, e = across[y], across[y + 1], across[y + 2], across[y + 3], across[y + 4]
        out = blurred[y]
        for x in range(columns - 4):
            out[x] = w0 * c[x] + w1 * (b[x] + d[x]) + w2 * (a[x] + e[x])
    for y in range(heights.shape[0]):
        above, over, own = blurred[y], blurred[y + 1], blurred[y + 3]
        under, below, out = blurred[y + 5], blurred[y + 6], heights[y]
        for x in range(heights.shape[1]):
            one, other = own[x], own[x + 6]
            most = one if one > other else other
            one, other = above[x + 3], below[x + 3]
            most = most if most > one else one
            most = most if most > other else other
            one, other = over[x + 1], under[x + 5]
            most = most if most > one else one
            most = most if most > other else other
            one, other = over[x + 5], under[x + 1]
            most = most if most > one else one
            most = most if most > other else other
            out[x] = (own[x + 3] - most) * inverse


def compile_points() -> None:
    """Compile `stand_out`, or read it from disk."""
    side: Any = 2 * RIM_PX + 1
    room = np.zeros((3, side, side), np.float32)
    stand_out(room[0], 1.0, 1.0, room[1:], np.zeros((1, 1), np.float32))
