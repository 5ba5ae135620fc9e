"""Whether blocks of an output differ from the input by more than their noise allows. Arithmetic."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.range import ValueScale

FEWEST_PX = 256
"""Fewest measured pixels of a block that is judged."""
MEAN_LIMIT, CELL_LIMIT, AREA_LIMIT = 3.0, 16.0, 10.0
"""Largest differences of means, of a block, a cell and an area, in units of what noise explains."""
AREA_CELLS = 4
"""Rows and columns of cells of an area."""
LOST_SHARE = 0.25
"""Share of what a cell stands out by that it must not lose, even if its noise may be larger."""
MEAN_FLOOR, CELL_FLOOR = 3e-5, 1e-4
"""Changes of a mean and of a cell that count for nothing, as shares of the range."""
CONSTANT_FACTOR = 10
"""Factor of the floor of a mean where a block is constant: nets bend flat areas near hard edges."""
LEFT_SHARE = 0.35
"""Smallest mean change of a block of white noise, as a share of the noise's deviation."""
WHITE_RATIO = 1.05
"""Largest ratio of differences over two pixels to those over one, where noise is white."""
MOST_COMMON = 0.75
"""Share of the variance in common beyond which texture is taken for smeared noise."""
FEW_PHOTONS = 2.0
"""Photons a pixel up to which differences tell too little of their noise: most of them are 0."""
VALUES = 8
"""Number of values of a verdict."""
NOISE_PARTS = 1000
"""Parts of the range in which deviations of noise are counted."""


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
    chunk: tuple[int, int]
    """Rows and columns of a chunk, at whose beginnings blocks begin."""
    sides: tuple[int, int]
    """Rows and columns of a block."""
    scale: ValueScale
    """Stored values that are 0 and 1 to the net."""
    integers: bool
    """Whether the output has integers."""
    strength: float
    """Share of the net's change that is kept."""
    output_scale: int = 1
    """Pixels of the output per pixel of the input and axis."""
    cells: bool = True
    """Whether small parts are to keep their means, as all do but what was blurred."""
    removes_noise: bool = True
    """Whether noise is to be gone."""
    smear: float = 1.0
    """Factor by which means differ more than those of white noise with the same differences."""
    noise: tuple[NoiseModel, ...] = ()
    """Noise of each sample as it was measured; none where nothing is known of it."""


def _limits(smear: float) -> tuple[float, ...]:
    """All limits, as the compiled code takes them."""
    differences = (smear * limit for limit in (MEAN_LIMIT, CELL_LIMIT, AREA_LIMIT))
    return (
        float(FEWEST_PX), *differences, LOST_SHARE, MEAN_FLOOR, float(CONSTANT_FACTOR), CELL_FLOOR,
        LEFT_SHARE, WHITE_RATIO, float(NOISE_PARTS), FEW_PHOTONS,
    )  # fmt: skip


def smear_factor(correlations: Iterable[float]) -> float:
    """How much more the means of smeared noise differ than its differences tell.

    Parameters
    ----------
    correlations : share of the variance that neighbours have in common, of each sample.
    """
    common = min(MOST_COMMON, max([0.0, *correlations]))
    # A difference has 1 - common of the variance; a mean along an axis 1 + 2 common, about.
    return (1 + 2 * common) / math.sqrt(1 - common)


class Verdict(NamedTuple):
    """What was found of some blocks, (blocks, channels) each."""

    judged: NDArray[np.bool_]
    """Flags of blocks with enough to judge by; all else is 0 where there is not."""
    mean: NDArray[np.float64]
    """Mean of the input, in stored units."""
    difference: NDArray[np.float64]
    """Change of the mean, in stored units."""
    mean_times: NDArray[np.float64]
    """Change of the mean in units of what is allowed."""
    cell_times: NDArray[np.float64]
    """Largest change of a cell in units of what is allowed."""
    noisy: NDArray[np.bool_]
    """Flags of blocks with noise."""
    left: NDArray[np.bool_]
    """Flags of blocks whose output has white noise still."""
    power: NDArray[np.float64]
    """Variance of the noise, whole numbers, in units of a millionth of the range's square."""


def judge(
    cells: NDArray[np.float32], lines: NDArray[np.float32], side: int, watched: Watched
) -> Verdict:
    """Judge a row of blocks.

    Parameters
    ----------
    cells : (COLUMN_SUMS, rows of cells, columns of cells, channels)
    lines : (BLOCK_SUMS, pixels, channels)
    side : columns of cells of a block.
    """
    # Numba is loaded when the first rows are done: a plan needs this package without it.
    from unetmm.intensities.judging_kernel import judge_blocks

    _, rows, columns, channels = cells.shape
    scale = watched.scale.low, watched.scale.high - watched.scale.low
    verdicts = np.empty((columns // side, channels, VALUES))
    counts = np.zeros((channels, 2))
    for i, model in enumerate(watched.noise):
        counts[i] = model.gain, model.offset
    judge_blocks(
        cells, lines, side, AREA_CELLS, counts, (*scale, watched.strength, float(watched.integers)),
        _limits(watched.smear), np.empty(rows * side, np.int32), np.empty((4, max(rows, side))),
        verdicts,
    )  # fmt: skip
    verdicts[np.isnan(verdicts)] = np.inf  # sums beyond float32, which differ by too much for sure
    judged, mean, difference, mean_times, cell_times, noisy, left, power = np.moveaxis(
        verdicts, -1, 0
    )
    return Verdict(judged > 0, mean, difference, mean_times, cell_times, noisy > 0, left > 0, power)
