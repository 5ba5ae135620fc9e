"""Point sources: stars, beads, single molecules, ships in radar images.

A net that has learned from photos dims what is as small as noise, even where it stands far out of
it. There, noise is little beside the signal, so such pixels stay as they are stored, and their sums
and peaks with them.

A pixel belongs to a point source if the blurred image has a peak near it: a value that stands out
of its surroundings, on a ring of 3 px radius, in every direction. Edges and lines do not. It is a
function of the stored values at most REACH_PX away, so it does not depend on how an image is cut.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.brackets import smoothstep
from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.range import ValueScale

SPREAD_PX = 2
"""Pixels around a peak that belong to the source."""
REACH_PX = 8
"""Distance in pixels within which values decide on a pixel: 1 to its neighbours, 2 of the blur, 3
to the ring, and SPREAD_PX."""
BEGINS = 7.0
"""Height of a peak, in deviations of the blurred noise, from which on a little of the stored value
is kept."""
FAINT = (1.0, 1.5)
"""Heights, as multiples of that, between which a source is found for sure."""
FAINT_SHARE = 0.8
"""Share of its stored value that such a source keeps: the net's answer has less noise."""
BRIGHT = (8.0, 24.0)
"""Heights, as the same multiples, between which the rest is kept as well."""
HIGHEST_GROUND = 1.5
"""Value around a source, in base ranges, beyond which a wider range restores it, which keeps what
stands out by itself."""
RAREST = 0.02
"""Share of pixels that may be peaks. Where there are more, they are texture, and only the highest
count."""
FLOOR = 0.002
"""Least noise that is reckoned with, as a share of the range: a net's own errors."""
WHOLE = 255
"""Number that means all of the stored value."""
_BLOCK_PX = 512
"""Columns that are looked at together, so that they stay in the processor's cache."""
_CELL_PX = 16
"""Side in pixels of the squares by which blurred noise is measured."""
_FLAT_PERCENTILE = 20
"""Percentile of the squares that is taken for one of noise alone."""
_FLAT_FACTOR = 1.15
"""Factor from that percentile to the mean."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class PointRule:
    """What tells point sources in one sample, in base ranges as measured."""

    offset: float
    """Level from which on noise grows."""
    growth: float
    """Growth of the variance of the noise with the signal."""
    floor: float
    """Variance of the noise at the offset."""
    height: float
    """Height of a peak, in deviations of blurred white noise, from which on it begins to count."""
    ground: float = HIGHEST_GROUND
    """Highest level of what is around a source."""

    def moved(self, factor: float, shift: float) -> PointRule:
        """The same for values that were multiplied by a factor and then moved."""
        return PointRule(
            self.offset * factor + shift, self.growth * factor, self.floor * factor**2,
            self.height, self.ground * factor + shift,
        )  # fmt: skip


def rule_of(patches: Iterable[Floats], noise: NoiseModel, scale: ValueScale) -> PointRule:
    """The rule for one sample.

    Parameters
    ----------
    patches : (height, width) each
        Values in base ranges, NaN where none is measured; looked at one after the other.
    """
    seen = noise.relative_to(scale.low, scale.high)
    plain = PointRule(seen.offset, seen.gain, max(seen.read, FLOOR) ** 2, BEGINS)
    count, high, flat = 0, [np.zeros(1, np.float32)], [np.zeros(1, np.float32)]
    for patch in patches:
        heights, blurred = _heights(patch, plain)
        count += heights.size
        high.append(heights[heights > BEGINS])
        flat.append(_deviations(blurred))
    smear = max(1.0, _FLAT_FACTOR * float(np.percentile(np.concatenate(flat), _FLAT_PERCENTILE)))
    highest = np.sort(np.concatenate(high))
    rare = float(highest[-min(len(highest), 1 + int(RAREST * count))])
    return replace(plain, height=max(BEGINS * smear, rare))


def _deviations(blurred: Floats) -> Floats:
    """Deviations of a blurred image in squares, in units of those of white noise."""
    from unetmm.intensities.points_kernel import BLURRED_DEVIATION, FOOT_PX

    steps = blurred[:, 2 * FOOT_PX :] - blurred[:, : -2 * FOOT_PX]
    rows, columns = (n // _CELL_PX for n in steps.shape)
    whole = steps[: rows * _CELL_PX, : columns * _CELL_PX]
    squares = (whole**2).reshape(rows, _CELL_PX, columns, _CELL_PX).mean((1, 3))
    found: Floats = np.sqrt(squares.ravel() / 2) / np.float32(BLURRED_DEVIATION)
    return found


def point_share(windows: Floats, rules: Sequence[PointRule]) -> NDArray[np.uint8] | None:
    """Share of the stored value that pixels keep, in parts of WHOLE; None: no pixel keeps any.

    Parameters
    ----------
    windows : (samples, rows + 2 REACH_PX, columns + 2 REACH_PX)
        Values with their surroundings, NaN where none is measured.
    rules : of each sample, for values in these units.

    Returns
    -------
    (rows, columns): the largest of all samples, or colours would shift.
    """
    found = None
    rows, columns = (n - 2 * REACH_PX for n in windows.shape[1:])
    for first in range(0, columns, _BLOCK_PX):
        last = min(columns, first + _BLOCK_PX)
        for window, rule in zip(windows, rules, strict=True):
            block = window[:, first : last + 2 * REACH_PX]
            heights, _ = _heights(block, rule)
            if heights.max() <= rule.height:
                continue
            heights /= np.maximum(_deviations_near(block, rule), 1)
            heights[_least_near(block) > rule.ground] = 0
            if found is None:
                found = np.zeros((rows, columns), np.uint8)
            part = found[:, first:last]
            np.maximum(part, _shares(heights, rule), out=part)
    return found


def _heights(values: Floats, rule: PointRule) -> tuple[Floats, Floats]:
    """Heights of all pixels that are RIM_PX from the edge, and the blurred values used."""
    # Numba is loaded when the first rows are done: a plan needs this package without it.
    from unetmm.intensities.points_kernel import FOOT_PX, stand_out

    heights, room = _looked_at(values, rule, stand_out)
    rows, columns = heights.shape
    return heights, room[: rows + 2 * FOOT_PX, : columns + 2 * FOOT_PX]


def _deviations_near(values: Floats, rule: PointRule) -> Floats:
    """Least deviations of the noise near the same pixels, as multiples of what the rule expects.

    Where an image has few bright pixels, nobody knows how strong their noise is.
    """
    from unetmm.intensities.points_kernel import local_deviations

    return _looked_at(values, rule, local_deviations)[0]


def _least_near(values: Floats) -> Floats:
    """The least of eight values around each of the same pixels, one pixel beyond the ring."""
    from unetmm.intensities.points_kernel import FOOT_PX, RIM_PX

    far = FOOT_PX + 1
    rows, columns = (n - 2 * RIM_PX for n in values.shape)
    around = [
        values[RIM_PX + dy : RIM_PX + dy + rows, RIM_PX + dx : RIM_PX + dx + columns]
        for dy in (-far, 0, far)
        for dx in (-far, 0, far)
        if dy or dx
    ]
    return np.asarray(np.fmin.reduce(around))


def _looked_at(
    values: Floats, rule: PointRule, kernel: Callable[..., None]
) -> tuple[Floats, Floats]:
    """What a kernel gives for all pixels that are RIM_PX from the edge, and its room."""
    from unetmm.intensities.points_kernel import RIM_PX

    room = np.empty((2, *values.shape), np.float32)
    np.subtract(values, np.float32(rule.offset), out=room[0])
    if not np.isfinite(room[0].sum()):  # dark, where nothing is measured: no peak begins there
        np.nan_to_num(room[0], copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    found = np.empty([max(0, n - 2 * RIM_PX) for n in values.shape], np.float32)
    if found.size:
        kernel(room[0], rule.growth, rule.floor, room[1], found)
    return found, room[1]


def _shares(heights: Floats, rule: PointRule) -> NDArray[np.uint8]:
    """Shares of pixels by the largest height around each."""
    most = heights
    for axis in (0, 1):
        length = most.shape[axis] - 2 * SPREAD_PX
        parts = [
            most[:, i : i + length] if axis else most[i : i + length]
            for i in range(2 * SPREAD_PX + 1)
        ]
        most = parts[0].copy()
        for part in parts[1:]:
            np.maximum(most, part, out=most)
    most /= np.float32(rule.height)
    found = np.zeros(most.shape, np.uint8)
    some = most > np.float32(FAINT[0])  # few, and all others keep nothing
    high = most[some]
    share = FAINT_SHARE * _rise(high, *FAINT) + (1 - FAINT_SHARE) * _rise(high, *BRIGHT)
    found[some] = np.rint(share * WHOLE)
    return found


def _rise(values: Floats, begins: float, ends: float) -> Floats:
    """0 up to one value, 1 from the other on, smooth between."""
    return smoothstep((values - np.float32(begins)) / np.float32(ends - begins))


def keep_points(restored: NDArray[Any], stored: NDArray[Any], share: NDArray[np.uint8]) -> None:
    """Give pixels back their share of the stored value, in place.

    Parameters
    ----------
    restored, stored : (rows, columns, samples), of one type
    share : (rows, columns), in parts of WHOLE
    """
    where = np.nonzero(share)
    part = share[where][:, None] / np.float64(WHOLE)
    own, net = stored[where], restored[where].astype(np.float64)
    mixed = net + (own - net) * part
    if restored.dtype.kind != "f":
        np.rint(mixed, out=mixed)
    restored[where] = np.where(part == 1, own, mixed.astype(restored.dtype))


def points_bytes(rows: int, columns: int) -> int:
    """Most bytes that looking for points in a band takes, beside its windows."""
    block = (rows + 2 * REACH_PX) * (min(columns, _BLOCK_PX) + 2 * REACH_PX)
    return 3 * 4 * block + 2 * 8 * block + rows * columns
