"""How restored values become integers: to the nearest one, or by chance so that means stay.

Where an image has less than about a count a pixel, the nearest integer is 0 nearly everywhere, and
the mean is lost. `dither` adds a uniform number in [-0.5, 0.5) before: a value of 0.4 becomes 1 for
40 % of the pixels. The number is a hash of the pixel's place, so it does not depend on the cut.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.validity import NoData, valid_mask

RoundingChoice = Literal["nearest", "dither"]
"""Ways to round to integers."""
DIM_COUNTS = 4.0
"""Largest mean, in counts, of a part of a row that rounding may bias."""
DIM_SHARE = 0.05
"""Smallest share of an image that is dim for rounding to be spoken of."""
LOST_SHARE, LOST_COUNTS = 0.1, 0.005
"""Change by rounding from which on it is spoken of: a share of the mean, and counts a pixel."""
ROUNDINGS: tuple[RoundingChoice, ...] = ("nearest", "dither")
"""Values of a `RoundingChoice`, the default first."""
_SEED, _FACTOR, _MIXER = 0x9E3779B9, 0x01000193, 0x85EBCA6B
"""Numbers of a plane's hash: its start, and odd ones that spread the bits."""


@dataclass(frozen=True)
class Spot:
    """Place in an image of the first of some values, by which they are dithered."""

    plane: Sequence[int]
    """Index (t, c, z) of the plane."""
    row: int
    """Row of the first value."""
    column: int
    """Column of the first value."""
    sample: int
    """Sample of the first value."""
    samples: int
    """Number of samples of a pixel."""


@dataclass
class Losses:
    """What a pixel type could not hold."""

    clipped: int = 0
    """Number of values that lie beyond the type and became its least or its largest value."""
    unmeasured: int = 0
    """Number of NaN and infinities that became 0, because integers have no such values."""

    def add(self, other: Losses) -> None:
        """Count another part's losses too."""
        self.clipped += other.clipped
        self.unmeasured += other.unmeasured


def round_rows(values: NDArray[np.floating[Any]], spot: Spot | None) -> None:
    """Round values (rows, width, channels) to integers in place.

    spot : their place, for dithering; None rounds to the nearest, ties to even.
    """
    if spot is None:
        np.rint(values, out=values)
        return
    # Numba is loaded when the first rows are done: a plan needs this package without it.
    from unetmm.intensities.rounding_kernel import dither

    place = spot.column * spot.samples + spot.sample
    dither(values, _plane_hash(spot.plane), spot.row, place, spot.samples)


def _plane_hash(plane: Sequence[int]) -> int:
    """A number of 32 bits for a plane."""
    found = _SEED
    for index in plane:
        found = (found * _FACTOR + index + 1) % 2**32
        found = (found ^ found >> 16) * _MIXER % 2**32
        found ^= found >> 13
    return found


def clip_to(values: NDArray[np.floating[Any]], source: np.dtype[Any], target: np.dtype[Any]) -> int:
    """Clip values to the limits of a type in place.

    NaN and infinite values of floats stay. Returns how many were beyond a limit that values of the
    source type may be beyond; a net's answer that overshoots a limit of both loses nothing.
    """
    least, most = limits_of(target)
    lowest, highest = limits_of(source)
    if target.kind == "f" and values.dtype.itemsize <= target.itemsize:
        return 0
    finite = np.isfinite(values) if target.kind == "f" else True
    below, above = (values < least) & finite, (values > most) & finite
    np.clip(values, least, most, out=values, where=finite)
    lost_below = np.count_nonzero(below) if lowest < least else 0
    return int(lost_below + (np.count_nonzero(above) if highest > most else 0))


def may_clip(source: np.dtype[Any], target: np.dtype[Any]) -> bool:
    """Whether a type has values that another cannot hold without clipping."""
    least, most = limits_of(target)
    lowest, highest = limits_of(source)
    return lowest < least or highest > most


def limits_of(dtype: np.dtype[Any]) -> tuple[float, float]:
    """Least and largest finite value of a type."""
    found = np.finfo(dtype) if dtype.kind == "f" else np.iinfo(dtype)
    return float(found.min), float(found.max)


class DimParts(NamedTuple):
    """Parts of a row that have few counts a pixel."""

    dim: NDArray[np.bool_]
    """Flags of the parts that are dim, (parts, channels)."""
    there: NDArray[np.bool_] | None
    """Flags of the measured values, (width, channels); None if all are."""
    starts: NDArray[np.intp]
    """First column of each part."""

    def sums(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of the measured values of a row (1, width, channels) in each dim part."""
        values = row[0].astype(np.float64)
        if self.there is not None:
            values[~self.there] = 0
        found: NDArray[np.float64] = np.add.reduceat(values, self.starts, axis=0)[self.dim]
        return found


@dataclass
class Dimness:
    """What rounding to whole numbers did to parts of rows that have few counts a pixel."""

    seen_px: int = 0
    """Number of pixels looked at."""
    dim_px: int = 0
    """Number of those in dim parts."""
    exact: float = 0.0
    """Sum of the dim parts before they were rounded."""
    bias: float = 0.0
    """Sum of what rounding changed in each dim part, whichever way."""

    def look(
        self,
        stored: NDArray[Any],
        nodata: NoData,
        given: NDArray[np.bool_] | None,
        part_px: int,
    ) -> DimParts | None:
        """Look at a row (1, width, channels) of the input; None if none of its parts are dim."""
        mask = valid_mask(stored, nodata, given)
        row = np.abs(stored[0], dtype=np.float64)
        there = None if mask is None else mask[0]
        count: NDArray[Any] | np.float64
        starts = np.arange(0, len(row), part_px)
        if there is None:
            count = np.diff(starts, append=len(row))[:, None] * np.ones(row.shape[1])
        else:
            row[~there] = 0
            count = np.add.reduceat(there, starts, axis=0, dtype=np.float64)
        before = np.add.reduceat(row, starts, axis=0)
        self.seen_px += int(count.sum())
        dim = (before > 0) & (before < DIM_COUNTS * count)
        if not dim.any():
            return None
        self.dim_px += int(count[dim].sum())
        return DimParts(dim, there, starts)

    def note(self, dim: DimParts, exact: NDArray[np.float64], made: NDArray[Any]) -> None:
        """Compare a row (1, width, channels) of the exact answer with the output."""
        asked, got = dim.sums(exact), dim.sums(made)
        self.exact += float(asked.sum())
        self.bias += float(np.abs(got - asked).sum())

    def add(self, other: Dimness) -> None:
        """Take in what was found elsewhere."""
        for name in ("seen_px", "dim_px", "exact", "bias"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def loses(self) -> bool:
        """Whether rounding changes the means of a good part of the image."""
        much = self.dim_px >= DIM_SHARE * max(self.seen_px, 1)
        return much and self.bias > LOST_SHARE * abs(self.exact) + LOST_COUNTS * self.dim_px
