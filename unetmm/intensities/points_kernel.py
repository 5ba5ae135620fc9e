"""How far each pixel of a blurred image stands out all around it, compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.intensities.brackets import NOISE_FACTOR

BLUR_PX = 2
"""Reach in pixels of the blur, a Gaussian of sigma 1."""
FOOT_PX = 3
"""Distance in pixels of those that a pixel is compared to."""
RIM_PX = 1 + BLUR_PX + FOOT_PX
"""Pixels around that have to be known: a pixel's neighbours, the blur, and the foot of a peak."""
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

    A pixel counts as no more than the second of its neighbours, or outliers would stand out: single
    pixels, and pairs.

    Parameters
    ----------
    values : (rows + 2 RIM_PX, columns + 2 RIM_PX), C-contiguous
        What a pixel holds above the level from which on noise grows; used up.
    growth : growth of the variance of the noise for each unit of a value.
    floor : variance of the noise at 0.
    blurred : like `values`
        Of it the blur of rows + 2 FOOT_PX, columns + 2 FOOT_PX is given.
    heights : (rows, columns)
        Blurred value, less the largest of eight on a ring around it, in deviations of white noise
        after the blur.
    """
    _stand_out(
        values, np.float32(growth), np.float32(floor), blurred, heights,
        np.float32(1 / BLURRED_DEVIATION),
    )  # fmt: skip


@cached_on_disk
@njit(**INLINE)
def _stand_out(values, growth, floor, blurred, heights, inverse):
    rows, columns = values.shape
    for y in range(rows):
        _to_noise(values[y], growth, floor, columns)
    for y in range(rows - 2):
        _bound(values[y], values[y + 1], values[y + 2], blurred[y], columns - 2)
    for y in range(rows - 2):
        row, out = blurred[y], values[y]
        for x in range(columns - 6):
            out[x] = _blur(row[x], row[x + 1], row[x + 2], row[x + 3], row[x + 4])
    for y in range(rows - 6):
        a, b, c, d, e = values[y], values[y + 1], values[y + 2], values[y + 3], values[y + 4]
        out = blurred[y]
        for x in range(columns - 6):
            out[x] = _blur(a[x], b[x], c[x], d[x], e[x])
    for y in range(heights.shape[0]):
        above, over, own = blurred[y], blurred[y + 1], blurred[y + 3]
        under, below, out = blurred[y + 5], blurred[y + 6], heights[y]
        for x in range(heights.shape[1]):
            most = _larger(own[x], own[x + 6])
            most = _larger(most, _larger(above[x + 3], below[x + 3]))
            most = _larger(most, _larger(over[x + 1], under[x + 5]))
            most = _larger(most, _larger(over[x + 5], under[x + 1]))
            out[x] = (own[x + 3] - most) * inverse


@njit(**INLINE)
def _to_noise(row, growth, floor, columns):
    """To a scale on which the noise has deviation 1 everywhere, in place."""
    zero = np.float32(0)
    if growth > zero:
        double, least = np.float32(2) / growth, np.sqrt(floor)
        for x in range(columns):
            signal = growth * row[x]
            signal = signal if signal > zero else zero
            row[x] = double * (np.sqrt(signal + floor) - least)
    else:
        factor = np.float32(1) / np.sqrt(floor)
        for x in range(columns):
            row[x] = row[x] * factor


@njit(**INLINE, inline="always")
def _smaller(one, other):
    return one if one < other else other


@njit(**INLINE, inline="always")
def _larger(one, other):
    return one if one > other else other


@njit(**INLINE, inline="always")
def _blur(a, b, c, d, e):
    w0, w1, w2 = np.float32(WEIGHTS[0]), np.float32(WEIGHTS[1]), np.float32(WEIGHTS[2])
    return w0 * c + w1 * (b + d) + w2 * (a + e)


@njit(**INLINE)
def _bound(above, row, below, out, count):
    """Pixels without their outermost, none above the second of its eight neighbours."""
    for x in range(count):
        first, second = _larger(row[x], row[x + 2]), _smaller(row[x], row[x + 2])
        for line in (above, below):
            one, other = _larger(line[x], line[x + 1]), _smaller(line[x], line[x + 1])
            second = _larger(_larger(second, other), _smaller(first, one))
            first = _larger(first, one)
            second = _larger(second, _smaller(first, line[x + 2]))
            first = _larger(first, line[x + 2])
        out[x] = _smaller(row[x + 1], second)


def local_deviations(
    values: NDArray[np.float32],
    growth: float,
    floor: float,
    room: NDArray[np.float32],
    heights: NDArray[np.float32],
) -> None:
    """Give the least deviation of the noise near each pixel, as a multiple of what is expected.

    Parameters are those of `stand_out`, and so are the pixels of `heights`, which are given.
    Source: J. Immerkaer, Fast noise variance estimation, 1996, for the filter.
    """
    _local_deviations(
        values, np.float32(growth), np.float32(floor), room, heights, np.float32(NOISE_FACTOR / 6)
    )


@cached_on_disk
@njit(**INLINE)
def _local_deviations(values, growth, floor, room, heights, factor):
    rows, columns = values.shape
    for y in range(rows):
        _to_noise(values[y], growth, floor, columns)
    for y in range(rows):
        row, out = values[y], room[y]
        for x in range(columns - 2):
            out[x] = row[x] - 2 * row[x + 1] + row[x + 2]
    for y in range(rows - 2):
        a, b, c, out = room[y], room[y + 1], room[y + 2], values[y]
        for x in range(columns - 2):
            found = a[x] - 2 * b[x] + c[x]
            out[x] = found * found
    for y in range(rows - 2):
        row, out = values[y], room[y]
        for x in range(columns - 4):
            out[x] = row[x] + row[x + 1] + row[x + 2]
    ninth = np.float32(1 / 9)
    for y in range(rows - 4):
        a, b, c, out = room[y], room[y + 1], room[y + 2], values[y]
        for x in range(columns - 4):
            out[x] = (a[x] + b[x] + c[x]) * ninth
    for y in range(rows - 4):
        row, out = values[y], room[y]
        for x in range(columns - 10):
            least = _smaller(_smaller(row[x], row[x + 1]), _smaller(row[x + 2], row[x + 3]))
            out[x] = _smaller(least, _smaller(_smaller(row[x + 4], row[x + 5]), row[x + 6]))
    for y in range(heights.shape[0]):
        a, b, c, d = room[y + 1], room[y + 2], room[y + 3], room[y + 4]
        e, f, g, out = room[y + 5], room[y + 6], room[y + 7], heights[y]
        for x in range(heights.shape[1]):
            at = x + 1
            least = _smaller(_smaller(a[at], b[at]), _smaller(c[at], d[at]))
            least = _smaller(least, _smaller(_smaller(e[at], f[at]), g[at]))
            out[x] = np.sqrt(least) * factor


def compile_points() -> None:
    """Compile both, or read them from disk."""
    side: Any = 2 * RIM_PX + 1
    room = np.zeros((2, side, side), np.float32)
    for compiled in (stand_out, local_deviations):
        compiled(room[0], 1.0, 1.0, room[1], np.zeros((1, 1), np.float32))
