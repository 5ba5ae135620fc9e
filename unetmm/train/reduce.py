"""Images reduced by a whole factor, as the field's tests of upscaling make their small ones."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

SHARPNESS = -0.5
"""Parameter of the cubic; -0.5 gives back a straight line exactly."""


def reduce_bicubic(image: NDArray[np.floating], factor: int) -> NDArray[np.float32]:
    """(..., h, w), sides multiples of `factor` -> (..., h / factor, w / factor), mirrored at edges.

    Source: Keys, Cubic Convolution Interpolation for Digital Image Processing (1981), widened by
    the factor against aliasing; this is what the published low resolutions were made with.
    """
    h, w = image.shape[-2:]
    rows, columns = reducing_matrix(h, factor), reducing_matrix(w, factor)
    small = rows @ np.asarray(image, np.float64) @ columns.T
    return small.astype(np.float32)


@lru_cache(maxsize=64)
def reducing_matrix(length: int, factor: int) -> NDArray[np.float64]:
    """Matrix (length / factor, length) of weights along one axis; each row adds up to 1."""
    assert length % factor == 0, "sides are multiples of the factor"
    made = np.zeros((length // factor, length))
    reach = 2 * factor
    for i in range(length // factor):
        centre = factor * i + (factor - 1) / 2
        taps = np.arange(int(np.floor(centre)) - reach, int(np.floor(centre)) + reach + 2)
        weights = _cubic((taps - centre) / factor)
        mirrored = taps % (2 * length)
        mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
        np.add.at(made[i], mirrored, weights / weights.sum())
    return made


def _cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weight of a sample at a distance, in pixels of the small image."""
    d, a = np.abs(distance), SHARPNESS
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))
