"""How restored values become integers: to the nearest one, or by chance so that means stay.

Where an image has less than about a count a pixel, the nearest integer is 0 nearly everywhere, and
the mean is lost. `dither` adds a uniform number in [-0.5, 0.5) before: a value of 0.4 becomes 1 for
40 % of the pixels. The number is a hash of the pixel's place, so it does not depend on the cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
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
HALF_COUNT = 0.5
"""Most that rounding moves a value, in counts."""
LOST_SHARE, LOST_COUNTS = 0.1, 0.005
"""Change by rounding from which on it is spoken of: a share of the mean, and counts a pixel."""
MOVED_SHARE = 0.01
"""Change of the mean of a level by rounding, as a share of it, that is spoken of."""
CHANCE = 4.0
"""Change of a sum, in deviations of what chance makes, from which on it counts."""
LEVELS = 2.0 ** np.arange(-7, 7)
"""Bounds of the means of levels in counts. Above the last one, rounding moves nothing."""
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
    """Parts of a row of which some have few counts a pixel."""

    dim: NDArray[np.bool_]
    """Flags of the parts that are dim, (parts, channels)."""
    pixels: NDArray[np.float64]
    """Number of measured values of each part that is not all 0, (parts, channels)."""
    there: NDArray[np.bool_] | None
    """Flags of the measured values, (width, channels); None if all are."""
    starts: NDArray[np.intp]
    """First column of each part."""
    dark: NDArray[np.float64] | float = 0.0
    """Stored value of each channel that no light gives."""

    def sums(self, row: NDArray[Any]) -> NDArray[np.float64]:
        """Sums of the measured values of a row (1, width, channels) in each part."""
        values = row[0].astype(np.float64)
        if self.there is not None:
            values[~self.there] = 0
        found: NDArray[np.float64] = np.add.reduceat(values, self.starts, axis=0)
        return found


class Moved(NamedTuple):
    """A level of brightness whose mean rounding changes."""

    mean: float
    """Mean in counts."""
    share: float
    """Share of the image that is as bright."""
    change: float
    """Change of its mean, as a share of it."""


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
    levels: NDArray[np.float64] = field(default_factory=lambda: np.zeros((len(LEVELS) + 1, 4)))
    """Pixels, sum, change of the sum and squares of changes of the parts of each level of mean, and
    of all parts in the last row."""

    def look(
        self,
        stored: NDArray[Any],
        nodata: NoData,
        given: NDArray[np.bool_] | None,
        part_px: int,
        dark: NDArray[np.float64] | float = 0.0,
    ) -> DimParts | None:
        """Look at a row (1, width, channels) of the input; None if all of its parts are bright.

        dark : stored value of each channel that no light gives, as a camera's offset.
        """
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
        if np.any(dark):
            before = np.maximum(before - dark * count, np.finfo(np.float64).tiny * (count > 0))
        self.seen_px += int(count.sum())
        if not (before < LEVELS[-1] * count).any():
            # Bright parts lose nothing worth a word; they count as parts of the whole.
            self.levels[-1, :2] += count.sum(), before.sum()
            return None
        # Parts that are exactly 0 have no counts to lose.
        pixels = np.where(before > 0, count, 0)
        dim = (before > 0) & (before < DIM_COUNTS * count)
        return DimParts(dim, pixels, there, starts, dark)

    def note(self, parts: DimParts, exact: NDArray[np.float64], made: NDArray[Any]) -> None:
        """Compare a row (1, width, channels) of the exact answer with the output."""
        asked, got = parts.sums(exact), parts.sums(made)
        there = parts.dark * parts.pixels
        asked, got = asked - there, got - there
        changes = parts.sums(np.square(made - exact))
        # The value of no light is not known so well that less than this is light for sure.
        dark = (there > 0) & (asked < HALF_COUNT * parts.pixels)
        asked, got, changes = (np.where(dark, 0, sums) for sums in (asked, got, changes))
        parts = parts._replace(dim=parts.dim & ~dark, pixels=np.where(dark, 0, parts.pixels))
        self._note_levels(np.stack([parts.pixels, asked, got - asked, changes], -1))
        dim = parts.dim
        self.dim_px += int(parts.pixels[dim].sum())
        self.exact += float(asked[dim].sum())
        self.bias += float(np.abs(got - asked)[dim].sum())

    def _note_levels(self, parts: NDArray[np.float64]) -> None:
        """Add (..., 4) pixels, sums, changes and squares of changes to those of their levels."""
        parts = parts.reshape(-1, 4)
        parts = parts[parts[:, 0] > 0]
        self.levels[-1] += parts.sum(0)
        level = np.searchsorted(LEVELS, np.abs(parts[:, 1] / parts[:, 0]))
        low = level < len(LEVELS)
        np.add.at(self.levels, level[low], parts[low])

    def add(self, other: Dimness) -> None:
        """Take in what was found elsewhere."""
        for name in ("seen_px", "dim_px", "exact", "bias"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.levels += other.levels

    @property
    def loses(self) -> bool:
        """Whether rounding changes the means of a good part of the image."""
        much = self.dim_px >= DIM_SHARE * max(self.seen_px, 1)
        changed = self.bias > LOST_SHARE * abs(self.exact) + LOST_COUNTS * self.dim_px
        return (much and changed) or self.worst is not None

    @property
    def change(self) -> float:
        """Change of the mean of all that was looked at by rounding, as a share of it."""
        _, exact, change, _ = self.levels[-1].tolist()
        return change / abs(exact) if exact else 0.0

    @property
    def worst(self) -> Moved | None:
        """The level of which rounding adds, or takes away, the largest share; None if that is less
        than MOVED_SHARE of any.
        """
        found, most = None, MOVED_SHARE
        for pixels, exact, change, squares in self.levels.tolist():
            # Changes by chance cancel out; those that add up do not.
            real = abs(change) > CHANCE * math.sqrt(squares)
            share = change / abs(exact) if exact else math.copysign(1, change)
            if real and abs(share) > most and pixels >= DIM_SHARE * self.seen_px:
                found, most = Moved(exact / pixels, pixels / self.seen_px, share), abs(share)
        return found
