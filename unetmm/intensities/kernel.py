"""The step from a net's answer back to stored values, compiled: one pass over a band."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.intensities.range import SampleScale

ROUNDER = np.float32(1.5 * 2**23)
"""Number that, added and taken off again, rounds a float32 below 2^22 to an integer, ties to
even."""
ROOT = math.sqrt(3 / 2)
"""Number of the closed form of the inverse."""
LEAST_BENT = ROOT
"""Bent value of no photons."""
SLOPE = 0.884
"""Slope of the inverse there."""


def move_stored(
    values: NDArray[np.float32],
    restored: NDArray[np.float32],
    first_column: int,
    low: float,
    high: float,
    strength: float,
    dtype: np.dtype[Any],
) -> None:
    """Move stored values by what the net changed, in place; where it changed nothing they stay.

    Parameters
    ----------
    values : (rows, width, channels), C-contiguous
        As stored, of at most 16 bits or float32, so that float32 holds them exactly.
    restored : (rows, at least width, channels), C-contiguous
        On the net's scale, where `low` is 0 and `high` is 1; `first_column` belongs to values'.
    dtype : values are rounded and clipped to its range if it has integers.
    """
    assert values.flags.c_contiguous, "or a copy would be moved"
    rows, width, channels = values.shape
    pitch = restored.shape[1] * channels
    integers = dtype.kind in "iu"
    least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if integers else (0, 0)
    _move(
        values.reshape(-1), restored.reshape(-1), first_column * channels, pitch, rows,
        width * channels, np.float32(low), np.float32(1 / (high - low)),
        np.float32((high - low) * strength), integers, np.float32(least), np.float32(most),
    )  # fmt: skip


@cached_on_disk
@njit(**INLINE)
def _move(values, restored, at, pitch, rows, count, low, inverse, scale, integers, least, most):
    for r in range(rows):
        own, other = r * count, at + r * pitch
        for i in range(count):
            stored = values[own + i]
            change = restored[other + i] - (stored - low) * inverse
            value = change * scale + stored
            if integers:
                value = value if value > least else least
                value = value if value < most else most
                value = (value + ROUNDER) - ROUNDER
            values[own + i] = value


def move_bent(
    values: NDArray[np.floating[Any]],
    restored: NDArray[np.float32],
    first_column: int,
    samples: Sequence[SampleScale],
    strength: float,
    dtype: np.dtype[Any],
) -> None:
    """Make stored values what the net says of them, in place, where samples have own scales.

    As `move_stored`, but nothing keeps its bits: the means of a bent value and of its noise differ,
    which the way back takes into account.

    values : float32 or float64
    """
    assert values.flags.c_contiguous, "or a copy would be moved"
    rows, width, channels = values.shape
    table = np.array(
        [(s.start, s.width, s.gain, s.floor, s.shift, s.slope, s.least, s.most) for s in samples],
        np.float64,
    )
    integers = dtype.kind in "iu"
    least, most = (np.iinfo(dtype).min, np.iinfo(dtype).max) if integers else (0, 0)
    _move_bent(
        values.reshape(-1), restored.reshape(-1), first_column * channels,
        restored.shape[1] * channels, rows, width * channels, table, strength, integers,
        float(least), float(most),
    )  # fmt: skip


@cached_on_disk
@njit(**INLINE)
def _move_bent(values, restored, at, pitch, rows, count, table, strength, integers, least, most):
    for c in range(len(table)):
        start, width, gain, floor, shift, slope, low, high = table[c]
        for r in range(rows):
            own, other = r * count, at + r * pitch
            for i in range(c, count, len(table)):
                value = start + width * restored[other + i]
                if gain > 0:
                    value = _photons(value) * gain - floor / gain
                value += shift + slope * min(max(value, low), high)
                stored = np.float64(values[own + i])
                value = stored + strength * (value - stored)
                values[own + i] = value
                if integers:  # as one that is rounded later, by what its type holds of it
                    values[own + i] = np.rint(min(max(values[own + i], least), most))


@njit(**INLINE)
def _photons(bent):
    """Expected count of photons where the mean of the bent counts is known: its exact unbiased
    inverse in closed form. Below the value of no photons a line goes on, or means would grow.
    """
    if bent < LEAST_BENT:
        return SLOPE * (bent - LEAST_BENT)
    inverse = 1 / bent
    tail = inverse * (ROOT / 4 + inverse * (-11 / 8 + inverse * (5 * ROOT / 8)))
    return bent * bent / 4 - 1 / 8 + tail


def compile_move() -> None:
    """Compile `move_stored` and `move_bent`, or read them from disk."""
    values = np.zeros((1, 1, 1), np.float32)
    move_stored(values, values.copy(), 0, 0.0, 1.0, 1.0, np.dtype(np.uint8))
    for dtype in (np.float32, np.float64):
        move_bent(values.astype(dtype), values, 0, [SampleScale(0, 1, 0)], 1.0, np.dtype(np.uint8))
