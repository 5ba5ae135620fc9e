"""Images made smaller and larger by bicubic interpolation, as the field's tests of upscaling do."""

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
    return _resized(image, h // factor, w // factor)


def enlarge_bicubic(image: NDArray[np.floating], factor: int) -> NDArray[np.float32]:
    """(..., h, w) -> (..., h * factor, w * factor), mirrored at edges; the source is the same."""
    h, w = image.shape[-2:]
    return _resized(image, h * factor, w * factor)


def _resized(image: NDArray[np.floating], height: int, width: int) -> NDArray[np.float32]:
    h, w = image.shape[-2:]
    rows, columns = resizing_matrix(h, height), resizing_matrix(w, width)
    resized = rows @ np.asarray(image, np.float64) @ columns.T
    return resized.astype(np.float32)


@lru_cache(maxsize=64)
def resizing_matrix(length: int, target: int) -> NDArray[np.float64]:
    """Matrix (target, length) of weights along one axis; each row adds up to 1."""
    step = length / target
    widened = max(1.0, step)
    reach = int(np.ceil(2 * widened))
    made = np.zeros((target, length))
    for i in range(target):
        centre = (i + 0.5) * step - 0.5
        taps = np.arange(int(np.floor(centre)) - reach, int(np.floor(centre)) + reach + 2)
        weights = _cubic((taps - centre) / widened)
        mirrored = taps % (2 * length)
        mirrored = np.where(mirrored < length, mirrored, 2 * length - 1 - mirrored)
        np.add.at(made[i], mirrored, weights / weights.sum())
    return made


def _cubic(distance: NDArray[np.floating]) -> NDArray[np.float64]:
    """Weight of a sample at a distance, in pixels of the coarser image."""
    d, a = np.abs(distance), SHARPNESS
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.asarray(np.where(d <= 1, near, np.where(d < 2, far, 0.0)), np.float64)
