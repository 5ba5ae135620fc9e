"""The scale on which a net sees values: which stored values are 0 and 1 to it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.validity import NOTHING, NoData, measured_values, without_fills

BYTES = (0.0, 255.0)
"""Range of 8-bit values."""
PERCENTILES = (0.1, 99.9)
"""Percentiles of the intensities that become 0 and 1, for data other than 8-bit. Values beyond
them are not clipped."""
TAIL_PERCENTILES = ((1.0, 99.0), (3.0, 97.0), (10.0, 90.0))
"""Percentiles that bound the base range instead, where a few values stretch it TAIL_RATIO times:
they have wider ranges of their own, see `brackets`."""
TAIL_RATIO = 16.0
"""Factor by which rarer values may stretch the base range."""
GROUPS_RATIO, GAP_RATIO = 128.0, 4.0
"""Factor by which a group of values has to lie farther from the rest than that spreads, to be left
to wider ranges however many they are: a net's own errors in one range for all are as strong as the
noise of the darker ones. And factor between the two that few values lie between, as edges have."""
FARTHEST = 1e6
"""Largest such factor that is believed, unless the values are as large as those for "no data"."""
FILL_LIKE = 1e9
"""Absolute value from which on far-away values are taken for "no data"."""
PLAIN_LEAST, PLAIN_MARGIN = 0.02, 0.1
"""Least highest value of floats that are taken for values of 0 to 1, and how far noise may reach
beyond these."""
DARK_PERCENTILES = (0.1, 99.99)
"""Percentiles that become 0 and 1 of grey 8-bit values that use a small part of 0 to 255, which is
what nets restore worst. They hold rare bright cells as well: 0 to 255 is better for these."""
DARK_SHARE = 0.5
"""Largest share of 0 to 255 that is such a part."""
SMALLEST_RANGE = 1e-37
"""Smallest distance between the values that become 0 and 1, in stored units. Values that lie
closer together are constant: float32 has no number to stretch them by."""


@dataclass(frozen=True)
class SampleScale:
    """How stored values of one sample become those that a net sees, and the answer is stored.

    Where values are counts of photons they are bent by the generalised Anscombe transform: noise
    then has a deviation of about 1 everywhere.

    Source: M. Makitalo, A. Foi, Optimal inversion of the generalized Anscombe transformation for
    Poisson-Gaussian noise, 2013: equation 2, and equation 12 for the inverse.
    """

    low: float
    """Stored value that the net sees as 0."""
    high: float
    """Stored value that the net sees as 1."""
    fill: float
    """Stored value that stands in for NaN and nodata inside the net."""
    gain: float = 0.0
    """Size of a photon in stored units; 0: values are not bent."""
    floor: float = 0.0
    """Variance of the noise at a stored value of 0, by a line that may go below 0."""
    shift: float = 0.0
    """Stored value that is added to the answer, so that means stay."""
    slope: float = 0.0
    """Share of the answer that is added as well, within the levels below."""
    least: float = 0.0
    """Lowest level at which that was measured."""
    most: float = 0.0
    """Highest level at which that was measured; brighter answers are moved like this one."""

    def bent(self, stored: NDArray[Any] | np.float64) -> NDArray[np.float64]:
        """Stored values, whose noise grows, as values of even noise."""
        values = np.asarray(stored, np.float64)
        if not self.gain:
            return values
        found: NDArray[np.float64] = np.sqrt(np.maximum(self.square(values), 0))
        return found

    def square(self, stored: Any) -> Any:
        """Squares of bent values; below 0 where stored values are too small to be bent."""
        return 4 / self.gain * stored + 1.5 + 4 * self.floor / self.gain**2

    def straight(self, bent: float) -> float:
        """The stored value that is bent to another."""
        return self.gain / 4 * (bent**2 - float(self.square(0.0))) if self.gain else bent

    @property
    def start(self) -> float:
        """Bent value that the net sees as 0."""
        return float(self.bent(np.float64(self.low)))

    @property
    def width(self) -> float:
        """Distance to the bent value that the net sees as 1."""
        return float(self.bent(np.float64(self.high))) - self.start

    def seen(self, stored: NDArray[Any] | np.float64) -> NDArray[np.float64]:
        """Stored values as the net sees them."""
        found: NDArray[np.float64] = (self.bent(stored) - self.start) / self.width
        return found


@dataclass(frozen=True)
class ValueScale:
    """How stored values become those that a net sees."""

    low: float
    """Stored value that the net sees as 0."""
    high: float
    """Stored value that the net sees as 1."""
    fill: float
    """Stored value that stands in for NaN and nodata inside the net."""
    samples: tuple[SampleScale, ...] = field(default=(), kw_only=True)
    """Scale of each sample, where it is more than the range above, which then spans them all."""

    @property
    def factor(self) -> float:
        """Distance on the net's scale of stored values that differ by 1."""
        return 1 / (self.high - self.low)

    @property
    def as_line(self) -> ValueScale:
        """The same range without what is done to counts."""
        return ValueScale(self.low, self.high, self.fill)

    def seen(self, stored: float) -> tuple[float, ...]:
        """What the net sees of a stored value, for each sample that has a scale of its own."""
        if not self.samples:
            return ((stored - self.low) / (self.high - self.low),)
        return tuple(float(s.seen(np.float64(stored))) for s in self.samples)

    @property
    def seen_fill(self) -> float:
        """What the net sees where nothing is measured."""
        if not self.samples:
            return self.seen(self.fill)[0]
        return sum(float(s.seen(np.float64(s.fill))) for s in self.samples) / len(self.samples)


def is_range(low: float, high: float) -> bool:
    """Whether values from `low` to `high` can be stretched to 0 to 1."""
    return math.isfinite(low) and SMALLEST_RANGE < high - low < math.inf


def intensity_range(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[float, float]:
    """Stored values that the net sees as 0 and 1: all of uint8, robust percentiles otherwise."""
    if dtype == np.uint8:
        return BYTES
    if not values.size:
        return 0.0, 1.0
    lows, highs = zip(PERCENTILES, *TAIL_PERCENTILES, strict=True)
    found = np.percentile(values.astype(np.float64), [*lows, *highs])
    low, high = _without_tails(*(half.tolist() for half in np.split(found, 2)))
    return (low, high) if high - low > SMALLEST_RANGE else (low, low + max(1.0, 1e-6 * abs(low)))


def _grey_range(values: NDArray[Any], dtype: np.dtype[Any]) -> tuple[float, float]:
    """The same for samples that go through the net by themselves: dark uint8 has a range too."""
    if dtype != np.uint8 or not values.size:
        return _of_two_groups(values, *intensity_range(values, dtype))
    low, high = map(float, np.percentile(values, DARK_PERCENTILES))
    return (low, high) if 0 < high - low <= DARK_SHARE * BYTES[1] else BYTES


def _of_two_groups(values: NDArray[Any], low: float, high: float) -> tuple[float, float]:
    """The range of the darker values, where the brighter are a group of their own far from them;
    or the other way round. Else the same range.
    """
    if not values.size:
        return low, high
    ranks = np.percentile(values.astype(np.float64), np.arange(1, 100))
    if width := _group_width(ranks - low):
        return low, low + width
    if width := _group_width(high - ranks[::-1]):
        return high - width, high
    return low, high


def _group_width(distances: NDArray[np.float64]) -> float:
    """Width of the group that lies near, by percentiles 1 to 99 of all distances; 0 if the others
    are no group of their own.
    """
    tenths = distances[9::10]
    for near, far in zip(tenths, [*tenths[2:], tenths[-1]], strict=False):
        is_apart = far > GAP_RATIO * near and tenths[-1] > GROUPS_RATIO * near
        if near > SMALLEST_RANGE and is_apart:
            return float(distances[distances <= 2 * near].max())
    return 0.0


def is_plain(values: NDArray[Any]) -> bool:
    """Whether values are floats of 0 to 1 already but for a few, and not all close to 0."""
    if values.dtype.kind != "f" or not values.size:
        return False
    low, high = intensity_range(values, values.dtype)
    return -PLAIN_MARGIN <= low and PLAIN_LEAST <= high <= 1 + PLAIN_MARGIN


def leaves_base_range(
    dtype: np.dtype[Any], fixed_range: tuple[float, float] | None, samples: int
) -> bool:
    """Whether an image of this type can have values beyond its base range.

    samples : of a pixel that go through the net together.
    """
    if dtype != np.uint8:
        return True
    return samples == 1 if fixed_range is None else fixed_range != BYTES


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
    measure = _grey_range if patches[0].shape[-1] == 1 else intensity_range
    low, high = fixed_range or measure(values, patches[0].dtype)
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
    for i, sample in enumerate(scale.samples):
        _bend(out[..., i], scale.low, sample)
        if mask is not None:
            out[..., i][~mask[..., i]] = sample.seen(np.float64(sample.fill))
    if scale.samples:
        return
    if mask is not None:
        out[~mask] = scale.fill - scale.low
    out *= np.float32(scale.factor)


def _bend(values: NDArray[np.float32], low: float, sample: SampleScale) -> None:
    """Stored values less `low` of one sample to the net's scale, in place."""
    start, inverse = sample.start, 1 / sample.width
    if not sample.gain:
        values -= np.float32(sample.low - low)
        values *= np.float32(inverse)
        return
    # The square of a bent value is linear in the stored one.
    values *= np.float32(4 / sample.gain)
    values += np.float32(sample.square(low))
    with np.errstate(invalid="ignore"):  # of pixels that are not measured
        np.maximum(values, 0, out=values)
    np.sqrt(values, out=values)
    values -= np.float32(start)
    values *= np.float32(inverse)


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
