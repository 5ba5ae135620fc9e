"""The net's answer as stored values, in one pass over a band."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE

ROUNDER = np.float32(1.5 * 2**23)
"""Added and taken off again it rounds a float32 below 2^22 to an integer, ties to even."""


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


def compile_move() -> None:
    """Compile `move_stored`, or read it from disk."""
    values = np.zeros((1, 1, 1), np.float32)
    move_stored(values, values.copy(), 0, 0.0, 1.0, 1.0, np.dtype(np.uint8))
