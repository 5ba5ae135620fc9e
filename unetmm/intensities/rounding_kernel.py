"""Dithering, compiled: values become one of their two neighbouring integers by a hash."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE

MASK = 2**32 - 1
"""Bits of a hash."""
_SHARE = 2.0**-24
"""Step of the uniform numbers, which have the upper 24 bits of a hash."""


def dither(
    values: NDArray[np.floating[Any]], plane: int, row: int, place: int, samples: int
) -> None:
    """Round values (rows, width, channels) in place, up as often as their fraction says.

    The same as adding a uniform number in [-0.5, 0.5) and rounding to the nearest; integers stay.

    Parameters
    ----------
    plane : hash of the plane, 32 bits.
    row : row of the first value.
    place : number of the first value within its row.
    samples : values of a pixel in the image, of which these may be some.
    """
    rows, width, channels = values.shape
    assert values.flags.c_contiguous, "rows of a band are"
    _dither(values.reshape(-1), rows, width, channels, plane, row, place, samples)


@cached_on_disk
@njit(**INLINE)
def _dither(values, rows, width, channels, plane, first_row, place, samples):
    mask, low, high = np.uint64(MASK), np.uint64(0x85EBCA6B), np.uint64(0xC2B2AE35)
    at = 0
    for r in range(rows):
        h = (np.uint64(plane) + np.uint64(first_row + r + 1) * np.uint64(0x9E3779B1)) & mask
        h ^= h >> np.uint64(16)
        h = (h * low) & mask
        h ^= h >> np.uint64(13)
        line = (h * high) & mask
        for x in range(width):
            for c in range(channels):
                h = line ^ ((np.uint64(place + x * samples + c + 1) * np.uint64(0x85EBCA77)) & mask)
                h ^= h >> np.uint64(16)
                h = (h * low) & mask
                h ^= h >> np.uint64(13)
                h = (h * high) & mask
                h ^= h >> np.uint64(16)
                value = values[at]
                below = np.floor(value)
                if np.float64(h >> np.uint64(8)) * _SHARE < value - below:
                    below += 1
                values[at] = below
                at += 1


def compile_dither() -> None:
    """Compile `dither` for both widths of floats, or read it from disk."""
    for dtype in (np.float32, np.float64):
        dither(np.zeros((1, 1, 1), dtype), 1, 0, 0, 1)
