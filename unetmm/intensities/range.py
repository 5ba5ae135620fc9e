"""The scale on which a net sees values: which stored values are 0 and 1 to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.validity import NOTHING, NoData, measured_values, without_fills

PERCENTILES = (0.1, 99.9)
"""Percentiles of the intensities that become 0 and 1, for data other than 8-bit. Values beyond
them are not clipped."""
TAIL_PERCENTILES = ((1.0, 99.0), (3.0, 97.0), (10.0, 90.0))
"""Percentiles that bound the base range instead, where a few values stretch it TAIL_RATIO times:
they have wider ranges of their own, see `brackets`."""
TAIL_RATIO = 16.0
"""Factor by which rarer values may stretch the base range."""
FARTHEST = 1e6
"""Largest such factor that is believed, unless the values are as large as those for "no data"."""
FILL_LIKE = 1e9
"""Absolute value from which on far-away values are taken for "no data"."""
SMALLEST_RANGE = 1e-37
"""Smallest distance between the values that become 0 and 1, in stored units. Values that lie
closer together are constant: float32 has no number to stretch them by."""


@dataclass(frozen=True)
class ValueScale:
    """How stored values become those that a net sees."""

    low: float
    """Stored value that the net sees as 0."""
    high: float
    """Stored value that the net sees as 1."""
    fill: float
    """Stored value that stands in for NaN and nodata inside the net."""


def is_range(low: float, high: float) -> bool:
    """Whether values from `low` to `high` can be stretched to 0 to 1."""
    return math.isfinite(low) and SMALLEST_RANGE < high - low < math.inf


def intensity_range(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[float, float]:
    """Stored values that the net sees as 0 and 1: all of uint8, robust percentiles otherwise."""
    if dtype == np.uint8:
        return 0.0, 255.0
    if not values.size:
        return 0.0, 1.0
    lows, highs = zip(PERCENTILES, *TAIL_PERCENTILES, strict=True)
    found = np.percentile(values.astype(np.float64), [*lows, *highs])
    low, high = _without_tails(*(half.tolist() for half in np.split(found, 2)))
    return (low, high) if high - low > SMALLEST_RANGE else (low, low + max(1.0, 1e-6 * abs(low)))


def leaves_base_range(dtype: np.dtype[Any], fixed_range: tuple[float, float] | None) -> bool:
    """Whether an image of this type can have values beyond its base range."""
    return dtype != np.uint8 or fixed_range is not None


def _without_tails(lows: list[float], highs: list[float]) -> tuple[float, float]:
    """The base range by percentiles, the outermost first, without tails that stretch it far."""
    low, high = lows[0], highs[0]
    for less in highs[1:]:
        if _is_tail(high - low, less - low, high):
            high = less
    for more in lows[1:]:
        if _is_tail(high - low, high - more, low):
            low = more
    return low, high


def _is_tail(width: float, without: float, value: float) -> bool:
    """Whether rare values as far as `value` stretch a range too much that is narrow without."""
    if without <= SMALLEST_RANGE or width <= TAIL_RATIO * without:
        return False
    return width <= FARTHEST * without or abs(value) >= FILL_LIKE


def measure_scale(
    patches: Sequence[NDArray[Any]],
    nodata: NoData = NOTHING,
    fixed_range: tuple[float, float] | None = None,
    masks: Sequence[NDArray[np.bool_] | None] = (),
) -> ValueScale:
    """The scale of an image by some patches of it, all of one dtype.

    Parameters
    ----------
    nodata : what tells pixels without a measurement.
    fixed_range : stored values that become 0 and 1, instead of the measured ones.
    masks : those that came with the patches; none at all if none did.
    """
    beside = masks or [None] * len(patches)
    measured = [measured_values(p, nodata, m) for p, m in zip(patches, beside, strict=True)]
    values = np.concatenate(measured)
    if nodata.guessed:
        values, _ = without_fills(values)
    low, high = fixed_range or intensity_range(values, patches[0].dtype)
    mean = float(values.mean(dtype=np.float64)) if values.size else low
    fill = min(max(mean, low), high)  # which a few far-away values may have moved out of the range
    return ValueScale(low, high, fill)


def normalise(
    pixels: NDArray[Any],
    mask: NDArray[np.bool_] | None,
    scale: ValueScale,
    out: NDArray[np.float32],
) -> None:
    """Stored values to the net's scale: low -> 0, high -> 1; unmeasured pixels become `fill`.

    mask: where pixels are measured; None if everywhere.
    """
    less_low(pixels, scale.low, out)
    if mask is not None:
        out[~mask] = scale.fill - scale.low
    out *= np.float32(1 / (scale.high - scale.low))


def less_low(pixels: NDArray[Any], low: float, out: NDArray[np.float32]) -> None:
    """Stored values less the low end of a range, so that float32 holds their differences."""
    if not fits_float32(pixels.dtype):  # their small differences would be lost in float32
        with np.errstate(over="ignore", invalid="ignore"):  # of pixels that are not measured
            np.subtract(pixels, np.float64(low), out=out, casting="unsafe")
        return
    np.copyto(out, pixels, casting="unsafe")
    if low:
        out -= np.float32(low)


def fits_float32(dtype: np.dtype[Any]) -> bool:
    """Whether float32, in which a net computes, holds all values of a type."""
    return dtype.itemsize <= 2 or (dtype.kind == "f" and dtype.itemsize == 4)
