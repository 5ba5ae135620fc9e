"""Which pixels hold a measurement: not NaN, not infinite, not marked as "no data" by the image.

All that marks pixels meets here. `NoData` says what an image states of values; a mask that comes
beside the pixels (a mask of the file, opacity 0) is given to `valid_mask`. What is not measured
influences nothing and passes through bit for bit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError

LARGEST = float(np.finfo(np.float32).max) / 4
"""Largest absolute value of a float that counts as measured. Files that do not name a value for
"no data" use the largest floats for it."""
FAR = 2.0**20
"""Times that a float must exceed all others to be no measurement. In float32, where a net sees
both, the others would vanish beside it."""
_MOST_FILLS = 8
"""Most different values beyond all others that are taken for fills; more are a measurement."""
_ROUNDED_FROM = 1e15
"""Smallest value that files write with few digits, so that it is compared within a tolerance."""
_TOLERANCE = 1e-5
"""Relative tolerance of such a comparison."""

Values = tuple[float, ...]
"""Values that stand for "no data"."""


@dataclass(frozen=True)
class NoData:
    """What an image says of pixels that hold no measurement; the default says nothing."""

    bands: tuple[Values, ...] = ()
    """Values without a measurement, by channel or by colour; a single entry is for all of them."""
    low: float = -math.inf
    """Smallest value that can be a measurement."""
    high: float = math.inf
    """Largest value that can be a measurement."""
    masked: bool = False
    """Whether the source has a mask too, which is to be read with the pixels."""
    by_opacity: bool = True
    """Whether pixels of opacity 0 hold no measurement."""
    largest: float = LARGEST
    """Largest absolute value of a float that counts as measured."""
    guessed: bool = True
    """Whether floats far beyond all others count as no data although nobody says so."""

    @classmethod
    def of(cls, *values: float) -> NoData:
        """The same values for all bands."""
        return cls((tuple(dict.fromkeys(values)),) if values else ())

    @property
    def single(self) -> float | None:
        """The value where there is one, and for all bands; None otherwise."""
        values = {_key(v) for band in self.bands for v in band}
        alike = len({tuple(map(_key, band)) for band in self.bands}) == 1
        return self.bands[0][0] if alike and len(values) == 1 else None

    @property
    def values(self) -> Values:
        """All values of all bands, each once."""
        return tuple({_key(v): v for band in self.bands for v in band}.values())

    @property
    def in_range(self) -> bool:
        """Whether a valid range is stated."""
        return self.low > -math.inf or self.high < math.inf

    @property
    def stated(self) -> bool:
        """Whether anything is said of values."""
        return self.in_range or any(self.bands)

    def picked(self, bands: Sequence[int]) -> NoData:
        """The same for some of the bands."""
        if len(self.bands) < 2:
            return self
        found = tuple(self.bands[i] if i < len(self.bands) else () for i in bands)
        return replace(self, bands=found[:1] if len(set(found)) == 1 else found)

    def beside(self, other: NoData) -> NoData:
        """What both of them say."""
        count = max(len(self.bands), len(other.bands))
        mine, others = _spread(self.bands, count), _spread(other.bands, count)
        joined = (NoData.of(*a, *b).bands or ((),) for a, b in zip(mine, others, strict=True))
        return replace(
            self,
            bands=tuple(band for (band,) in joined),
            low=max(self.low, other.low),
            high=min(self.high, other.high),
            masked=self.masked or other.masked,
        )

    def overridden(self, values: Values | None) -> NoData:
        """With the values of a user instead; none at all means that all pixels are measured."""
        if values is None:
            return self
        if not values:
            return NoData(by_opacity=False, guessed=False)
        return replace(NoData.of(*values), masked=self.masked)

    def within(self, low: float, high: float) -> NoData:
        """The same for values of which nearly all lie between two; floats far beyond are none."""
        limit = FAR * max(abs(low), abs(high))
        return replace(self, largest=min(LARGEST, limit)) if self.guessed and limit else self

    def __str__(self) -> str:
        words = [f"{v:.10g}" for v in self.values]
        words += [f"below {self.low:.10g}"] if self.low > -math.inf else []
        words += [f"above {self.high:.10g}"] if self.high < math.inf else []
        return ", ".join([*words, *(["a mask"] if self.masked else [])])


NOTHING = NoData()
"""An image that says nothing."""


def _key(value: float) -> float | str:
    return "nan" if math.isnan(value) else value


def _spread(bands: tuple[Values, ...], count: int) -> tuple[Values, ...]:
    """One entry for each of the bands."""
    if len(bands) < 2:
        return (bands or ((),)) * count
    return bands + ((),) * (count - len(bands))


def parse_nodata(text: str) -> Values:
    """ "-9999,0" as numbers; "none" means that there are none.

    Raises
    ------
    ShapeError
        If it is anything else.
    """
    if text.strip().lower() == "none":
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise ShapeError(
            f'"{text}" is no value for "no data"; write -9999, or -9999,0 for several, or none'
        ) from None


def nodata_values(nodata: float | Sequence[float] | str | None) -> Values | None:
    """Values for "no data" as a user gives them; None stays None.

    Raises
    ------
    ShapeError
        If they are none.
    """
    if nodata is None or isinstance(nodata, str):
        return None if nodata is None else parse_nodata(nodata)
    try:
        return tuple(map(float, nodata if isinstance(nodata, Sequence) else (nodata,)))
    except (TypeError, ValueError):
        raise ShapeError(
            f'asked for nodata={nodata!r}; give a number, several in a list, or "none"'
        ) from None


def valid_mask(
    pixels: NDArray[Any], nodata: NoData = NOTHING, given: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    """Where pixels hold a measurement, or None if all do by their kind.

    No measurement are NaN, infinities, and floats so large that float32, in which the net sees
    their distance to others, would make infinities of them.

    Parameters
    ----------
    pixels : (..., samples)
    nodata : what is said of the values of these samples.
    given : (...), what a mask beside the pixels says; None if all are measured.
    """
    mask: NDArray[np.bool_] | None = None
    if pixels.dtype.kind == "f":
        largest = min(nodata.largest, float(np.finfo(pixels.dtype).max))
        mask = (pixels >= -largest) & (pixels <= largest)
    return _without_nodata(mask, pixels, nodata, given)


def finite_mask(
    pixels: NDArray[Any], nodata: NoData = NOTHING, given: NDArray[np.bool_] | None = None
) -> NDArray[np.bool_] | None:
    """Where pixels count in a mean, or None if all do by their kind.

    As `valid_mask`, but the largest floats count too: a mean in float64 holds them.
    """
    if nodata.largest < LARGEST:
        return valid_mask(pixels, nodata, given)
    mask = np.isfinite(pixels) if pixels.dtype.kind == "f" else None
    return _without_nodata(mask, pixels, nodata, given)


def _without_nodata(
    mask: NDArray[np.bool_] | None,
    pixels: NDArray[Any],
    nodata: NoData,
    given: NDArray[np.bool_] | None,
) -> NDArray[np.bool_] | None:
    """The mask without values that the image excludes, and without what is not given."""
    if given is not None and not given.all():
        beside = np.broadcast_to(given[..., None], pixels.shape)
        mask = beside.copy() if mask is None else np.logical_and(mask, beside, out=mask)
    if not nodata.stated:
        return mask
    if mask is None:
        mask = np.ones(pixels.shape, bool)
    if nodata.in_range:
        mask &= (pixels >= nodata.low) & (pixels <= nodata.high)
    several = len(nodata.bands) > 1
    for i, values in enumerate(nodata.bands):
        where: Any = (..., i) if several else ...
        for value in values:
            _exclude(mask[where], pixels[where], value)
    return mask


def _exclude(mask: NDArray[np.bool_], pixels: NDArray[Any], value: float) -> None:
    """Take a value out of a mask, in place; one that the type cannot hold is nowhere."""
    bounds = _bounds(value, pixels.dtype)
    if bounds is None:
        return
    low, high = bounds
    if low == high:
        mask &= pixels != low
    else:
        mask &= (pixels < low) | (pixels > high)


def _bounds(value: float, dtype: np.dtype[Any]) -> tuple[float, float] | None:
    """Smallest and largest stored value that stand for a stated one."""
    if math.isnan(value) or math.isinf(value):
        return None  # which are no measurement anyway
    if dtype.kind != "f":
        limits = np.iinfo(dtype)
        inside = value == int(value) and limits.min <= value <= limits.max
        return (int(value), int(value)) if inside else None
    if abs(value) > float(np.finfo(dtype).max):
        return None
    if abs(value) < _ROUNDED_FROM:
        stored = float(dtype.type(value))
        return stored, stored
    return value - _TOLERANCE * abs(value), value + _TOLERANCE * abs(value)


def measured_values(
    pixels: NDArray[Any], nodata: NoData = NOTHING, given: NDArray[np.bool_] | None = None
) -> NDArray[Any]:
    """The values of all pixels that hold a measurement, in one row."""
    mask = valid_mask(pixels, nodata, given)
    return pixels.ravel() if mask is None else pixels[mask]


def measured_of(
    pixels: NDArray[Any], sample: int, nodata: NoData, given: NDArray[np.bool_] | None
) -> NDArray[Any]:
    """The same of one sample; what the statement says of samples holds for those of `pixels`."""
    mask = valid_mask(pixels, nodata, given)
    values = pixels[..., sample]
    return values.ravel() if mask is None else values[mask[..., sample]]


def without_fills(values: NDArray[Any]) -> tuple[NDArray[Any], Values]:
    """The values without those that nobody declared as "no data" and that can be nothing else.

    Those are few values, repeated exactly, `FAR` beyond all others: 9.97e36, 1e20 and their like.

    Parameters
    ----------
    values : finite numbers in one row.
    """
    fills: Values = ()
    while found := _fills(values):
        values = values[np.abs(values) < min(map(abs, found))]
        fills += found
    return values, fills


def _fills(values: NDArray[Any]) -> Values:
    """Fills of one size."""
    if values.dtype.kind != "f" or not values.size:
        return ()
    top = max(abs(float(values.min())), abs(float(values.max())))
    sizes = np.abs(values)
    bulk = float(sizes.max(where=sizes < top / FAR, initial=0.0))
    beyond = values[sizes > bulk]
    if not bulk or beyond.size == values.size:
        return ()
    found, counts = np.unique(beyond, return_counts=True)
    repeated = counts.sum() >= 2 * len(found)
    return tuple(found.tolist()) if len(found) <= _MOST_FILLS and repeated else ()


def keep_measured(restored: NDArray[Any], stored: NDArray[Any], nodata: NoData) -> None:
    """Move restored values that became "no data" back to the nearest that is none, in place.

    Parameters
    ----------
    restored, stored : (..., samples)
    """
    if nodata.in_range:
        inside = (stored >= nodata.low) & (stored <= nodata.high)
        kept = np.clip(restored, *_limits(nodata, restored.dtype))
        np.copyto(restored, kept, where=inside)
    several = len(nodata.bands) > 1
    for i, values in enumerate(nodata.bands):
        where: Any = (..., i) if several else ...
        for value in values:
            if (bounds := _bounds(value, restored.dtype)) is not None:
                _move_off(restored[where], stored[where], bounds[0])


def _limits(nodata: NoData, dtype: np.dtype[Any]) -> tuple[Any, Any]:
    """The valid range as values of a type."""
    if dtype.kind == "f":
        return dtype.type(nodata.low), dtype.type(nodata.high)
    limits = np.iinfo(dtype)
    low, high = max(nodata.low, limits.min), min(nodata.high, limits.max)
    return dtype.type(math.ceil(low)), dtype.type(math.floor(high))


def _move_off(restored: NDArray[Any], stored: NDArray[Any], value: float) -> None:
    """Move restored values that hit `value` to its neighbour on the stored one's side."""
    lost = (restored == value) & (stored != value)
    if not lost.any():
        return
    if restored.dtype.kind == "f":
        restored[lost] = np.nextafter(restored[lost], stored[lost])
    else:
        restored[lost] += np.where(stored[lost] > value, 1, -1).astype(restored.dtype)
