"""Which pixels hold a measurement: not NaN, not infinite, not the image's value for "no data"."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max) / 4
"""Largest absolute value of a float that counts as measured. Files that do not name a value for
"no data" use the largest floats for it."""


def valid_mask(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Where pixels hold a measurement, or None if all do by their kind.

    No measurement are NaN, infinities, and floats so large that float32, in which the net sees
    their distance to others, would make infinities of them.
    """
    mask: NDArray[np.bool_] | None = None
    if pixels.dtype.kind == "f":
        largest = min(LARGEST, float(np.finfo(pixels.dtype).max))
        mask = (pixels >= -largest) & (pixels <= largest)
    return _without_nodata(mask, pixels, nodata)


def finite_mask(pixels: NDArray[Any], nodata: float | None) -> NDArray[np.bool_] | None:
    """Where pixels count in a mean, or None if all do by their kind.

    As `valid_mask`, but the largest floats count too: a mean in float64 holds them.
    """
    mask = np.isfinite(pixels) if pixels.dtype.kind == "f" else None
    return _without_nodata(mask, pixels, nodata)


def _without_nodata(
    mask: NDArray[np.bool_] | None, pixels: NDArray[Any], nodata: float | None
) -> NDArray[np.bool_] | None:
    if nodata is None or np.isnan(nodata):
        return mask
    is_data: NDArray[np.bool_] = pixels != nodata
    return is_data if mask is None else mask & is_data


def measured_values(pixels: NDArray[Any], nodata: float | None) -> NDArray[Any]:
    """The values of all pixels that hold a measurement, in one row."""
    mask = valid_mask(pixels, nodata)
    return pixels.ravel() if mask is None else pixels[mask]


def keep_measured(restored: NDArray[Any], stored: NDArray[Any], nodata: float) -> None:
    """Move restored values that hit the one for "no data" to its neighbour, in place."""
    lost = (restored == nodata) & (stored != nodata)
    if not lost.any():
        return
    if restored.dtype.kind == "f":
        restored[lost] = np.nextafter(restored[lost], stored[lost])
    else:
        restored[lost] += np.where(stored[lost] > nodata, 1, -1).astype(restored.dtype)
