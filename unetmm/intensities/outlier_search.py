"""The search for outliers in arrays, see `outliers`; it loads Numba."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.outliers import REACH_PX, SCRATCH, Floats, limits_of, units_of
from unetmm.intensities.outliers_kernel import find
from unetmm.intensities.range import ValueScale, normalise


class Search:
    """Looks for outliers in rows of one or more samples, in windows that bring their surroundings.

    Windows are in the units of `units_of`.
    """

    def __init__(
        self, scales: Sequence[ValueScale], limits: Sequence[Floats | None], rows: int, width: int
    ) -> None:
        """For at most so many rows at once; `limits` are those of each sample."""
        self.scales, self.limits = scales, limits
        shape = (len(scales), rows, width)
        self._kinds, self._stand_ins = np.zeros(shape, np.uint8), np.zeros(shape, np.float32)
        self._best, self._scratch = np.zeros(width, np.float32), np.zeros(SCRATCH, np.float32)

    def fill(
        self, pixels: NDArray[Any], measured: NDArray[np.bool_] | None, windows: Floats
    ) -> None:
        """Put stored pixels (rows, width, samples) into windows (samples, rows, width); NaN where
        they are not measured.
        """
        for sample, scale in enumerate(self.scales):
            one, target = slice(sample, sample + 1), windows[sample][..., None]
            mask = None if measured is None else measured[..., one]
            if units_of(scale, pixels.dtype) == (0, 1):
                np.copyto(target, pixels[..., one], casting="unsafe")
            else:
                normalise(pixels[..., one], mask, scale, target)
            if mask is not None:
                target[~mask] = np.nan

    def find(self, windows: Floats, first: int, rows: int) -> NDArray[np.uint8] | None:
        """Kind of each outlier of some rows, (rows, width, samples), 0 elsewhere; None: there are
        none. The array is good until the next call.

        Parameters
        ----------
        windows : (samples, more rows, width + 2 REACH_PX)
            NaN where nothing is measured, or where the image ends.
        first : row of the windows to begin with, at least REACH_PX.
        """
        found = 0
        for sample, limits in enumerate(self.limits):
            kinds = self._kinds[sample, :rows]
            if limits is not None:
                stand_ins = self._stand_ins[sample, :rows]
                found += find(
                    windows[sample], first, limits, kinds, stand_ins, self._best, self._scratch
                )
        return np.moveaxis(self._kinds[:, :rows], 0, -1) if found else None

    def replace(self, pixels: NDArray[Any], kinds: NDArray[np.uint8]) -> None:
        """Put stand-ins in the place of outliers that were found last, in stored units."""
        for sample, scale in enumerate(self.scales):
            where = kinds[..., sample] != 0
            values = self._stand_ins[sample, : len(kinds)][where].astype(np.float64)
            low, unit = units_of(scale, pixels.dtype)
            values = low + unit * values
            pixels[..., sample][where] = np.rint(values) if pixels.dtype.kind in "iu" else values


def without_outliers(
    pixels: NDArray[Any],
    measured: NDArray[np.bool_] | None,
    scale: ValueScale,
    noise: Sequence[NoiseModel],
) -> NDArray[Any]:
    """Pixels (height, width, samples) of one scale with stand-ins; the same array without any."""
    height, width, samples = pixels.shape
    limits = [limits_of(scale, one, pixels.dtype) for one in noise]
    search = Search([scale] * samples, limits, height, width)
    windows = np.full((samples, height + 2 * REACH_PX, width + 2 * REACH_PX), np.nan, np.float32)
    inner = slice(REACH_PX, -REACH_PX)
    search.fill(pixels, measured, windows[:, inner, inner])
    kinds = search.find(windows, REACH_PX, height)
    if kinds is None:
        return pixels
    replaced = pixels.copy()
    search.replace(replaced, kinds)
    return replaced
