"""How far noise is smeared: what neighbouring pixels have in common where an image is flat.

Cameras interpolate colours, files are resampled, registered or compressed: then noise is no longer
independent from pixel to pixel, and a net that knows only such noise takes it for detail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.validity import NOTHING, NoData, valid_mask

BLOCK_PX = 16
"""Side of a block in pixels."""
PART_PX = 4
"""Side of the parts of a block whose means tell how flat it is."""
FLAT_SHARE = 0.1
"""Share of the blocks of about the same mean that are flat enough to count."""
LEVELS = 8
"""Largest number of groups of equally many blocks, by their means."""
LEAST_BLOCKS = 10
"""Fewest blocks of a group."""
TABLE_PX = 2 * BLOCK_PX
"""Side of a table of correlations, by distances down and across that wrap around."""
FARTHEST_PX = 6
"""Largest distance over which noise is drawn smeared."""
SMEARED = 0.2
"""Correlation from which on noise is said to reach from one pixel to another."""
FINEST = 3 / 8
"""Frequency from which on, down and across, in periods a pixel, only what is independent from pixel
to pixel is strong: optics, interpolation and texture leave little there."""
FAR_PX = (3, 8)
"""Distances down and across over which noise has nothing in common: it is smeared over less, or
along rows or columns only."""
WHITE = 0.1
"""Largest correlation of neighbours of noise that is taken for independent from pixel to pixel."""
EVEN_FLOOR = 0.9
"""Fourth differences, as a share of second ones, from which on what both see is independent from
pixel to pixel: smeared noise has less, the finer it is looked at."""
FAR_CONTENT = 0.35
"""Correlation over CONTENT_PX, of what is not independent, from which on it is soft content: noise
smeared by optics, interpolation or compression has less."""
LEAST_FAR_CONTENT = 0.2
"""Correlation along each of the axes that it has at least: noise may be smeared along one."""
CONTENT_PX = 2
"""Distance over which content is told from smeared noise."""
ROUNDING = 1 / 6
"""Variance that is more than rounding to whole numbers leaves, twice as much. Less tells nothing:
rounding makes white noise of its own, below smeared noise too."""
LEAST_SEEN = 0.02
"""Smallest share of noise that second differences are taken to see."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Smear:
    """Correlation of the noise of two pixels of one sample by the distance between them."""

    table: Numbers
    """Correlation by rows and columns of distance, (TABLE_PX, TABLE_PX); 1 at distance 0."""

    @property
    def neighbours(self) -> tuple[float, float]:
        """Correlation of neighbours, down and across."""
        return float(self.table[1, 0]), float(self.table[0, 1])

    @property
    def is_white(self) -> bool:
        """Whether it is independent from pixel to pixel."""
        return max(self.neighbours) <= WHITE

    @property
    def reach_px(self) -> tuple[int, int]:
        """Distance down and across up to which noise is smeared; 0 where it is not."""
        return tuple(  # type: ignore[return-value]
            next(i for i, v in enumerate([*line[1:BLOCK_PX], 0.0]) if v < SMEARED)
            for line in (self.table[:, 0], self.table[0])
        )

    @property
    def seen_share(self) -> float:
        """Share of its variance that second differences see, from which levels are measured."""
        line = np.outer([1, -2, 1], [1, -2, 1]).ravel() / 6
        rows, columns = np.divmod(np.arange(9), 3)
        down, across = rows[:, None] - rows, columns[:, None] - columns
        return max(LEAST_SEEN, float(line @ self.table[down, across] @ line))

    @property
    def white_share(self) -> float:
        """Share of its variance that is independent from pixel to pixel, by its finest details."""
        frequencies = np.abs(np.fft.fftfreq(TABLE_PX))
        finest = frequencies >= FINEST
        return float(self._power()[np.ix_(finest, finest)].mean())

    @property
    def far(self) -> float:
        """Largest correlation of pixels that are far apart both down and across."""
        near, most = FAR_PX
        down = np.arange(near, most + 1)
        return float(np.abs(self.table[np.ix_(down, [*down, *-down])]).max())

    def _power(self) -> Numbers:
        """Variance by frequency down and across, of noise whose variance is 1; their mean is 1."""
        distance = np.minimum(np.arange(TABLE_PX), TABLE_PX - np.arange(TABLE_PX))
        fade = np.clip(1 - distance / (FARTHEST_PX + 1), 0, None)
        power = np.fft.fft2(self.table * np.outer(fade, fade)).real.clip(0)
        return np.asarray(power / power.mean(), np.float64)

    def draw(self, shape: tuple[int, int], rng: np.random.Generator) -> Numbers:
        """Noise of variance 1 with these correlations, (height, width), that wraps around."""
        kernel = np.fft.ifft2(np.sqrt(self._power())).real
        height, width = (max(n, TABLE_PX) for n in shape)
        wide = np.zeros((height, width))
        half = TABLE_PX // 2
        wide[:TABLE_PX, :TABLE_PX] = np.roll(kernel, (half, half), (0, 1))
        wide = np.roll(wide, (-half, -half), (0, 1))
        white = rng.standard_normal((height, width))
        smeared = np.fft.irfft2(np.fft.rfft2(white) * np.fft.rfft2(wide), (height, width))
        return np.asarray(smeared[: shape[0], : shape[1]], np.float64)


NO_SMEAR = Smear(np.eye(TABLE_PX, 1) @ np.eye(1, TABLE_PX))
"""Noise that is independent from pixel to pixel."""


def measure_smear(
    patches: Sequence[NDArray[Any]],
    nodata: NoData = NOTHING,
    masks: Sequence[NDArray[np.bool_] | None] = (),
) -> list[Smear | None]:
    """How far the noise of each sample of an image is smeared, by patches (height, width, samples).

    None for a sample where that cannot be told: patches are too small, or constant.

    Parameters
    ----------
    nodata : what tells pixels without a measurement.
    masks : those that came with the patches; none at all if none did.
    """
    beside = masks or [None] * len(patches)
    whole = [valid_mask(p, nodata, m) for p, m in zip(patches, beside, strict=True)]
    found = []
    for sample in range(patches[0].shape[2]):
        blocks = [
            _blocks(pixels[..., sample], None if mask is None else mask[..., sample])
            for pixels, mask in zip(patches, whole, strict=True)
        ]
        rounding = 0.0 if patches[0].dtype.kind == "f" else ROUNDING
        found.append(_smear_of(np.concatenate(blocks), rounding))
    return found


def squared_differences(values: NDArray[Any], order: int) -> NDArray[Any]:
    """Squared second or fourth differences along the last two axes, as far as they reach; on the
    average the variance of white noise.

    Source: J. Immerkaer, Fast noise variance estimation, 1996.
    """
    for _ in range(order // 2):
        values = values[..., :-2, :] - 2 * values[..., 1:-1, :] + values[..., 2:, :]
        values = values[..., :-2] - 2 * values[..., 1:-1] + values[..., 2:]
    found: NDArray[Any] = values * values
    found /= {2: 6, 4: 70}[order] ** 2
    return found


def block_view(values: NDArray[Any], side_px: int = BLOCK_PX) -> NDArray[Any]:
    """All whole blocks of an image (height, width): (blocks, side_px, side_px)."""
    rows, columns = (n // side_px for n in values.shape)
    cut = values[: rows * side_px, : columns * side_px]
    squares = cut.reshape(rows, side_px, columns, side_px).swapaxes(1, 2)
    return squares.reshape(-1, side_px, side_px)


def _blocks(values: NDArray[Any], mask: NDArray[np.bool_] | None) -> Numbers:
    """The blocks that are measured as a whole."""
    found = block_view(values)
    if mask is not None:
        found = found[block_view(mask).all((1, 2))]
    return found.astype(np.float64)


def _smear_of(blocks: Numbers, rounding: float) -> Smear | None:
    """What the flattest blocks of each level have in common, where they are the flattest.

    rounding : variance that may be that of rounding.
    """
    means = blocks.mean((1, 2))
    noise = _less_planes(blocks)
    parts = noise.reshape(-1, BLOCK_PX // PART_PX, PART_PX, BLOCK_PX // PART_PX, PART_PX)
    structure = np.square(parts.mean((2, 4))).mean((1, 2))
    variances = np.square(noise).mean((1, 2))
    known = np.flatnonzero(variances > 1e-12 * max(1.0, float(np.abs(means).max(initial=0)) ** 2))
    if len(known) < 2:
        return None
    groups = list(_flat_groups(known[np.argsort(means[known], kind="stable")], structure))
    ratios = [structure[g].mean() / variances[g].mean() for g in groups]
    flattest = np.argsort(ratios, kind="stable")[: max(1, len(groups) // 2)]
    levels = [float(variances[groups[g]].mean()) for g in flattest]
    even = [noise[groups[g]] / np.sqrt(v) for g, v in zip(flattest, levels, strict=True)]
    pixels = np.concatenate(even)
    found = _correlations(pixels)
    if _is_below_content(pixels, found, rounding / float(np.median(levels))):
        return Smear(NO_SMEAR.table)
    return Smear(found)


def _is_below_content(noise: Numbers, table: Numbers, rounding: float) -> bool:
    """Whether even the flattest blocks hold soft content, with white noise below it.

    Content that is soft leaves nothing in fourth differences, so they see noise alone. What else
    there is reaches farther than smeared noise does.
    """
    second, fourth = (float(squared_differences(noise, order).mean()) for order in (2, 4))
    rest = float(table[0, 0]) - fourth
    if fourth < EVEN_FLOOR * second or fourth <= rounding or rest <= WHITE:
        return False
    far = float(table[CONTENT_PX, 0]) / rest, float(table[0, CONTENT_PX]) / rest
    return sum(far) / 2 >= FAR_CONTENT and min(far) >= LEAST_FAR_CONTENT


def _flat_groups(order: NDArray[np.intp], structure: Numbers) -> Iterator[NDArray[np.intp]]:
    """The flattest blocks of each group of about the same mean."""
    for part in np.array_split(order, min(LEVELS, max(1, len(order) // LEAST_BLOCKS))):
        count = max(2, int(np.ceil(FLAT_SHARE * len(part))))
        yield part[np.argsort(structure[part], kind="stable")[:count]]


def _less_planes(blocks: Numbers) -> Numbers:
    """Blocks less the plane that fits each best."""
    line = np.arange(BLOCK_PX) - (BLOCK_PX - 1) / 2
    weight = BLOCK_PX * float((line**2).sum())
    down = np.einsum("nij,i->n", blocks, line) / weight
    across = np.einsum("nij,j->n", blocks, line) / weight
    found: Numbers = blocks - blocks.mean((1, 2), keepdims=True)
    found -= down[:, None, None] * line[:, None]
    found -= across[:, None, None] * line
    return found


def _correlations(noise: Numbers) -> Numbers:
    """Mean correlations of blocks by distance, from the pairs of pixels that there are."""
    power = np.square(np.abs(np.fft.fft2(noise, (TABLE_PX, TABLE_PX)))).mean(0)
    distance = np.minimum(np.arange(TABLE_PX), TABLE_PX - np.arange(TABLE_PX))
    pairs = np.clip(BLOCK_PX - distance, 1, None)
    table = np.fft.ifft2(power).real / np.outer(pairs, pairs)
    found: Numbers = table / table[0, 0]
    return found
