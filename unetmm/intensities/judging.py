"""Whether blocks of an output differ from the input by more than their noise allows. Arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.range import ValueScale

FEWEST_PX = 256
"""Fewest measured pixels of a block that is judged."""
MEAN_LIMIT, CELL_LIMIT = 3.0, 16.0
"""Largest differences of a block's mean, and of a cell's, in units of what noise explains."""
MEAN_FLOOR, CELL_FLOOR = 3e-5, 1e-4
"""Changes of a mean and of a cell that count for nothing, as shares of the range."""
CONSTANT_FACTOR = 10
"""Factor of the floor of a mean where a block is constant: nets bend flat areas near hard edges."""
LEFT_SHARE = 0.35
"""Smallest mean change of a block of white noise, as a share of the noise's deviation."""
WHITE_RATIO = 1.05
"""Largest ratio of differences over two pixels to those over one, where noise is white."""
DIFFERENCE = 1.128
"""Mean difference of two pixels of white noise, in units of its deviation."""


@dataclass(frozen=True)
class Watched:
    """Which values are watched, and what may be expected of them."""

    plane: tuple[int, ...]
    """Index (t, c, z) of the plane."""
    column: int
    """First column of the strip."""
    width: int
    """Columns of the strip."""
    height: int
    """Rows of the image."""
    sample: int
    """First sample of the group."""
    channels: int
    """Samples of the group."""
    chunk_rows: int
    """Rows of a chunk, at whose beginnings blocks begin."""
    sides: tuple[int, int]
    """Rows and columns of a block."""
    scale: ValueScale
    """Stored values that are 0 and 1 to the net."""
    integers: bool
    """Whether the output has integers."""
    strength: float
    """Share of the net's change that is kept."""


@dataclass(frozen=True)
class Verdict:
    """What was found of some blocks, an entry for each."""

    judged: NDArray[np.bool_]
    """Whether there was enough to judge by."""
    mean: NDArray[np.float64]
    """Mean of the input, in stored units."""
    difference: NDArray[np.float64]
    """Change of the mean, in stored units."""
    mean_times: NDArray[np.float64]
    """Change of the mean in units of what is allowed; 0 where nothing is judged."""
    cell_times: NDArray[np.float64]
    """Largest change of a cell in units of what is allowed; 0 where nothing is judged."""
    noisy: NDArray[np.bool_]
    """Whether there is noise."""
    left: NDArray[np.bool_]
    """Whether there is white noise in the output still."""


def judge(cells: NDArray[np.float32], watched: Watched) -> Verdict:
    """Judge blocks by the sums of their cells (FLOATS, blocks, rows of cells, columns of cells)."""
    total, change, size, once, twice, pixels, pairs, wide_pairs = cells.astype(np.float64)
    scale, (rows, columns) = watched.scale, (1, 2)
    extent = scale.high - scale.low
    count = pixels.sum((rows, columns))
    judged = count >= FEWEST_PX
    some = np.maximum(count, 1)
    mean = total.sum((rows, columns)) / some + scale.low
    difference = change.sum((rows, columns)) / some
    deviation = _median(once, pairs) / DIFFERENCE
    structure = np.maximum(_of_lines(total, pixels, rows), _of_lines(total, pixels, columns))
    # Most cells of a block are constant where there are few photons, or next to none.
    sparse = deviation == 0
    events = once.sum((rows, columns)) / np.maximum(pairs.sum((rows, columns)), 1)
    known = deviation
    if sparse.any():
        height = _median(once, 2.0 * (once > 0))  # an event differs from both of its neighbours
        known = np.where(sparse, np.sqrt(height * events / 2), deviation)
    floors = MEAN_FLOOR * np.where(events == 0, CONSTANT_FACTOR, 1)
    allowed = np.maximum(known / np.sqrt(some), structure) + floors * extent
    if watched.integers:
        allowed += np.minimum(0.5, 0.02 * np.abs(mean))
    many = np.maximum(pixels, 1)
    floor = CELL_FLOOR * extent + (0.3 if watched.integers else 0.0)
    noise = known[:, None, None] / np.sqrt(many)
    cell_times = np.abs(change / many) / np.maximum(noise, floor)
    if cell_times.max() > CELL_LIMIT:
        # Noise of bright cells may be larger, in proportion at most.
        with np.errstate(all="ignore"):
            brightness = np.abs(total / many + scale.low) / np.abs(mean)[:, None, None]
        brighter = np.where(sparse[:, None, None], 1, np.nan_to_num(brightness, nan=1.0))
        noise *= np.maximum(brighter, 1)
        cell_times = np.abs(change / many) / np.maximum(noise, floor)
    noisy = judged & (deviation > (0.5 if watched.integers else 1e-3 * extent))
    wide = twice.sum((rows, columns)) / np.maximum(wide_pairs.sum((rows, columns)), 1)
    white = noisy & (wide < WHITE_RATIO * events)
    moved = size.sum((rows, columns)) / some
    return Verdict(
        judged, mean, difference,
        _times(np.abs(difference) / (MEAN_LIMIT * allowed), judged),
        _times(cell_times.max((rows, columns)) / CELL_LIMIT, judged),
        noisy, white & (moved < LEFT_SHARE * watched.strength * deviation),
    )  # fmt: skip


def _times(found: NDArray[np.float64], judged: NDArray[np.bool_]) -> NDArray[np.float64]:
    """What was found where it counts; sums beyond float32 differ by too much for sure."""
    return np.asarray(np.where(judged, np.where(np.isnan(found), np.inf, found), 0))


def _median(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of the cells' means of each block; 0 where there are none."""
    means = (sums / np.maximum(counts, 1)).reshape(len(sums), -1)
    there = counts.reshape(len(sums), -1) > 0
    if there.all():
        return np.asarray(np.median(means, axis=1))
    means[~there] = np.inf
    means.sort(axis=1)
    middle = there.sum(1)
    lower, upper = np.maximum(middle - 1, 0) // 2, np.minimum(middle // 2, means.shape[1] - 1)
    each = np.arange(len(means))
    found = (means[each, lower] + means[each, upper]) / 2
    return np.asarray(np.where(middle > 0, found, 0))


def _of_lines(
    total: NDArray[np.float64], pixels: NDArray[np.float64], axis: int
) -> NDArray[np.float64]:
    """Noise of a block's mean by the differences of its lines of cells, whatever is correlated."""
    count = pixels.sum(axis)
    means = total.sum(axis) / np.maximum(count, 1)
    both = (count[:, 1:] > 0) & (count[:, :-1] > 0)
    steps = np.abs(np.diff(means, axis=1)) * both
    lines = np.maximum((count > 0).sum(1), 1)
    found: NDArray[np.float64] = steps.sum(1) / np.maximum(both.sum(1), 1) / DIFFERENCE
    return np.asarray(found / np.sqrt(lines))
