"""Where a box of an image has content: cells as noisy as most, not blank, padded or empty.

A net takes from the whole image little but how strong its noise is. Where an image is empty there
is none, or less of it, so the noise in small cells tells content from emptiness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.places import Patch
from unetmm.intensities.validity import NoData, valid_mask
from unetmm.io.image import Box

CELL_PX = 16
"""Side of a cell in pixels, of which the noise is measured."""
PART_PX = 4
"""Side in pixels of the parts of a cell. A quarter of them have no more noise than their cell is
said to have, so edges and hot pixels in some of them do not count."""
CALM_SHARE = 0.25
"""Share of the noise of content below which a cell is empty."""
TOP_SHARE = 0.005
"""Share of all cells that are noisier than what counts as the noise of content. Content that
covers less of an image is not told from outliers."""
FULL_SHARE = 0.9
"""Smallest share of cells with content of a window that is taken as it is."""
PURE_AREA = 0.5
"""Smallest area, as a share of such a window, of one that has nothing but measured content; it is
taken then, for a few constant columns are seen in the means over an almost even image."""
LEAST_CELLS = 2
"""Fewest rows and columns of cells in a window."""

WHITE_SHARE = 0.9
"""Largest noise of pixels joined by 2 x 2, as a share of that of single pixels, that is noise. It
is half for white noise; for texture, which natural images have at every scale, it is 1 and more."""
TINY = 1e-300
"""Smallest number that is divided by."""

COPIES = 6
"""Float64 copies of a box in memory while its cells are measured."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """What is known of the cells of a box, (rows, columns, samples) each."""

    noise: Numbers
    """Noise in stored units; NaN where a cell is not measured."""
    coarse: Numbers
    """Noise of pixels joined by 2 x 2 as a share of that of single ones; NaN where unknown."""
    measured: NDArray[np.bool_]
    """Flags of the cells all pixels of which are measured."""
    even: Numbers
    """Value that all pixels of a cell have; NaN where they differ or are not measured."""
    least: Numbers
    """Mean of its darkest part but one, which a few dead pixels do not change."""
    most: Numbers
    """Mean of its brightest part but one."""

    def of(self, group: list[int]) -> Cells:
        """The same of some of the samples."""
        return Cells(
            self.noise[..., group], self.coarse[..., group], self.measured[..., group],
            self.even[..., group], self.least[..., group], self.most[..., group],
        )  # fmt: skip

    def reach_beyond(self, low: float, high: float) -> NDArray[np.bool_]:
        """Which of them, (rows, columns), hold more than single pixels outside of a range."""
        with np.errstate(invalid="ignore"):
            return np.asarray(((self.least < low) | (self.most > high)).any(-1))

    def without(self, left_out: NDArray[np.bool_]) -> Cells:
        """The same as if some of them were not measured."""
        noise = np.where(left_out[..., None], np.nan, self.noise)
        return replace(self, noise=noise, measured=self.measured & ~left_out[..., None])


def measure_cells(patch: Patch, colours: int, nodata: NoData) -> Cells:
    """Every whole cell of a box, opacity left out; none where it is too small.

    Noise is measured by second differences along both axes, of which structure leaves the least
    (Immerkaer 1996).
    """
    rows, columns = (n // CELL_PX for n in patch.pixels.shape[:2])
    values = _measured(patch, colours, nodata)[: rows * CELL_PX, : columns * CELL_PX]
    if not values.size:
        none = np.zeros((rows, columns, values.shape[2]))
        return Cells(none, none, none > 0, none, none, none)
    single = _differences(values)
    joined = _differences(values.reshape(len(values) // 2, 2, -1, 2, values.shape[2]).mean((1, 3)))
    parts = CELL_PX // PART_PX
    noise = _means(single, PART_PX).reshape(rows, parts, columns, parts, -1)
    noise = noise.swapaxes(1, 2).reshape(rows, columns, parts**2, -1)
    noise.sort(axis=2)  # NaN last
    found = parts**2 - np.isnan(noise).sum(2, keepdims=True)
    levels = np.take_along_axis(noise, np.maximum(found - 1, 0) // 4, 2)
    levels[found < parts**2 // 2] = np.nan
    coarse = _means(joined, CELL_PX // 2) / np.maximum(_means(single, CELL_PX), TINY)
    squares = values.reshape(rows, CELL_PX, columns, CELL_PX, -1)
    least, most = squares.min((1, 3)), squares.max((1, 3))
    even = np.where(least == most, least, np.nan)
    means = values.reshape(rows * parts, PART_PX, columns * parts, PART_PX, -1).mean((1, 3))
    means = means.reshape(rows, parts, columns, parts, -1).swapaxes(1, 2)
    means = np.sort(means.reshape(rows, columns, parts**2, -1), axis=2)
    known = np.isfinite(_means(values, CELL_PX))
    return Cells(levels[:, :, 0], coarse, known, even, means[:, :, 1], means[:, :, -2])


def _differences(values: Numbers) -> Numbers:
    """Absolute second differences along both axes, on the average the deviation of white noise."""
    for axis in (0, 1):
        values = np.diff(values, 2, axis=axis)
    found: Numbers = np.abs(np.pad(values, ((1, 1), (1, 1), (0, 0)), mode="edge"))
    found *= np.sqrt(np.pi / 2) / 6
    return found


def _means(values: Numbers, side: int) -> Numbers:
    """Means of squares."""
    rows, columns, samples = values.shape
    squares = values.reshape(rows // side, side, columns // side, side, samples)
    found: Numbers = squares.mean((1, 3))
    return found


def _measured(patch: Patch, colours: int, nodata: NoData) -> NDArray[np.float64]:
    """Pixels without opacity, NaN where nothing is measured."""
    pixels = patch.pixels[..., :colours]
    values = pixels.astype(np.float64)
    mask = valid_mask(pixels, nodata, patch.given)
    if mask is not None:
        values[~mask] = np.nan
    return values


@dataclass(frozen=True)
class Content:
    """What tells content from emptiness in an image, for one group of samples."""

    noise: Numbers
    """Noise of content for every sample, 0 where nothing has any."""
    is_noise: bool
    """Whether that is noise; else it is texture, and places without it are no less content."""

    @classmethod
    def of(cls, boxes: Sequence[Cells], samples: int) -> Content:
        """The content of an image, by cells of boxes that are spread over it."""
        noise = np.concatenate(
            [np.zeros((0, samples)), *(b.noise.reshape(-1, samples) for b in boxes)]
        )
        coarse = np.concatenate([b.coarse.reshape(-1, samples) for b in boxes])
        if not len(noise):
            return cls(np.zeros(samples), False)
        known = np.nan_to_num(noise)
        top = np.sort(known, axis=0)[-1 - int(TOP_SHARE * len(known))]
        shares = coarse[(top > 0) & (known >= CALM_SHARE * top) & np.isfinite(coarse)]
        return cls(top, bool(shares.size) and float(np.median(shares)) <= WHITE_SHARE)

    def has(self, cells: Cells) -> NDArray[np.bool_]:
        """Which cells have content, in at least one of the samples."""
        measured = np.isfinite(cells.noise)
        if not self.is_noise:
            return np.asarray(measured.any(-1))
        noisy = np.nan_to_num(cells.noise) >= CALM_SHARE * self.noise
        return np.asarray((measured & noisy & (self.noise > 0)).any(-1))


@dataclass(frozen=True)
class FullWindow:
    """The part of a patch that has content."""

    box: Box
    """Pixels of the patch."""
    weight: int
    """Number of its cells."""
    is_whole: bool = False
    """Whether it is the patch."""


def content_window(
    cells: NDArray[np.bool_], measured: NDArray[np.bool_], height: int, width: int
) -> FullWindow | None:
    """The largest window of a patch that is full of content, None if there is none.

    Parameters
    ----------
    cells : which of the patch's cells have content.
    measured : which of them are measured in each of their pixels.
    """
    rows, columns = cells.shape
    if cells.mean() >= FULL_SHARE and measured.all():
        return FullWindow(Box(0, 0, height, width), cells.size, is_whole=True)
    best, pure = _largest(cells, FULL_SHARE), _largest(cells & measured, 1.0)
    if best is None:
        return None
    if pure is not None and pure[0] >= PURE_AREA * best[0]:
        best = pure
    count, box = best
    if count == cells.size:
        return FullWindow(Box(0, 0, height, width), count, is_whole=True)
    y1, x1 = (
        size if end == n else end * CELL_PX
        for end, n, size in ((box.y1, rows, height), (box.x1, columns, width))
    )
    return FullWindow(Box(box.y0 * CELL_PX, box.x0 * CELL_PX, y1, x1), count)


def _largest(cells: NDArray[np.bool_], share: float) -> tuple[int, Box] | None:
    """Area and place, in cells, of the largest window with such a share of these."""
    rows, columns = cells.shape
    sums = np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    best: tuple[int, Box] | None = None
    for h in range(min(LEAST_CELLS, rows), rows + 1):
        for w in range(min(LEAST_CELLS, columns), columns + 1):
            found = sums[h:, w:] - sums[:-h, w:] - sums[h:, :-w] + sums[:-h, :-w]
            y, x = divmod(int(found.argmax()), found.shape[1])
            if found[y, x] >= share * h * w and (best is None or h * w > best[0]):
                best = h * w, Box(y, x, y + h, x + w)
    return best
