"""How strong the noise of an image is, and how it grows with the signal.

Photons come by chance: the brighter a pixel, the larger the deviation of its noise. Small blocks of
an image show that. In each of them second differences tell the noise (structure leaves little in
them), and the mean tells how bright it is. Of blocks that are about as bright as one another, only
the flattest count. Which ones are flat is told by coarser differences, in which white noise is
independent of what is measured, so that choosing them makes the answer no smaller. Where no block
of a level is flat, as in small cells, fourth differences tell whether what there is is soft enough
to leave nothing in second ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.smear import EVEN_FLOOR, Smear, measure_smear, squared_differences
from unetmm.intensities.validity import NOTHING, NoData, valid_mask

BLOCK_PX = 8
"""Side of a block in pixels."""
FREEDOMS = 17
"""Independent numbers among the second differences of a block."""
FLAT_SHARE = 0.4
"""Share of the blocks of about the same mean that are flat enough to count."""
LEVELS = 16
"""Number of groups of equally many blocks by their means; the outermost are split further."""
TAILS = (1 / 32, 1 / 64, 1 / 128)
"""Shares of the darkest and of the brightest blocks by which those are split."""
LEAST_BLOCKS = 6
"""Fewest blocks of a group."""
CLIPPED_SHARE = 0.1
"""Share of a group's pixels at a limit of an integer type from which on it counts as clipped."""
UNCLIPPED_SHARE = 0.25
"""Smallest share of blocks in other groups for which the clipped ones are left out. Where there are
fewer, most of the image is at 0 because it has few photons, and its zeros are a measurement."""
UNHARMED_SHARE = 0.8
"""Smallest variance of a clipped group, as a share of the line of the others, that is whole."""
SIGNIFICANT = 4.0
"""Growth of the noise, in deviations of its own error, from which on it is believed."""
ROUGH = 2.0
"""Coarse structure, as a multiple of that of the flatter groups, from which on a group does not
count, unless it is soft."""
BENDS = 3.0
"""Coarse structure of white noise of variance 1."""
LEAST_VARIANCE = 1e-74
"""Smallest variance that is noise: what deviates less is constant to float32."""
IMPULSE = 20.0
"""Distance of a pixel from the median of its block, in units of the median distance, from which on
the block does not count: 13 deviations of white noise."""
TOLERANCE = 0.15
"""Distance from the line, as a share of it, at which a group counts half: it may be texture."""
DARK_NOISE = 4.0
"""Largest deviation of the noise in the dark, in counts, with which it matters how many counts lie
above the dark: parts of a count are nothing beside more."""
READING = 2.0
"""Deviation, in counts, of the noise that cameras are read with at most, as a rule."""
FROM_ZERO = 0.5
"""Variance of the darkest level, as a share of that of so many photons, from which on it is light
and no offset."""
LEAST_DARK = 1.0
"""Least offset of a camera, in counts: the darkest level of few photons is no such thing."""
_ROUNDS = 12
"""Rounds of the fit, each weighted by the line of the round before."""

Numbers = NDArray[np.float64]
Values = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class NoiseModel:
    """Noise of one sample of a pixel: variance(v) = read^2 + gain * max(v - offset, 0).

    All 0 where none was found, or where it could not be told.
    """

    gain: float
    """Growth of the variance with the signal, in stored units a photon; 0: it does not grow."""
    offset: float
    """Stored value from which on it grows: the darkest level that was seen."""
    read: float
    """Deviation of the noise there and below, in stored units."""
    correlation: float = 0.0
    """Share of the variance that neighbouring pixels have in common, of which `gain` and `read`
    know nothing; 0 for white noise."""

    @property
    def dark(self) -> float:
        """Stored value that no light gives, a camera's offset; 0 where that is not known well."""
        is_told = self.gain > 0 and self.read <= DARK_NOISE and self.offset >= LEAST_DARK
        # Photons that are counted from 0 have as much noise at the darkest level as on the line.
        is_line = self.read**2 > FROM_ZERO * self.gain * self.offset
        if not is_told or is_line:
            return 0.0
        # Noise beyond that of reading a camera is of light, which even the darkest level has.
        light = max(0.0, self.read**2 - READING**2) / self.gain
        return self.offset - light if self.offset - light >= LEAST_DARK else 0.0

    def variance(self, values: NDArray[Any]) -> Numbers:
        """Variance of the noise of pixels with these stored values, which may be noisy."""
        with np.errstate(invalid="ignore", over="ignore"):  # of infinite values
            signal = np.maximum(np.asarray(values, np.float64) - self.offset, 0)
            found: Numbers = self.read**2 + self.gain * signal
        return found

    def deviation(self, values: NDArray[Any]) -> Numbers:
        """Deviation of the noise of pixels with these stored values, which may be noisy."""
        found: Numbers = np.sqrt(self.variance(values))
        return found

    def relative_to(self, low: float, high: float) -> NoiseModel:
        """The same noise of values of which `low` has become 0 and `high` 1."""
        width = high - low
        return replace(
            self, gain=self.gain / width, offset=(self.offset - low) / width, read=self.read / width
        )

    @property
    def intercept(self) -> float:
        """Variance at a stored value of 0 by the same line; may be below 0."""
        return self.read**2 - self.gain * self.offset


UNKNOWN = NoiseModel(0.0, 0.0, 0.0)
"""Noise that could not be told."""


@dataclass(frozen=True)
class NoiseLevels:
    """Noise of one sample by groups of blocks that are about as bright, the darkest first."""

    means: Numbers
    """Mean of each group in stored units."""
    variances: Numbers
    """Variance of the noise of each."""
    structure: Numbers
    """Coarse structure of each, as a multiple of what its noise makes."""
    fine: Numbers
    """Variances of the noise of each by fourth differences, in which white noise is as strong."""
    blocks: Numbers
    """Number of blocks of each."""
    clipped: NDArray[np.bool_]
    """Flags of those with many pixels at a limit of an integer type."""

    def fit(self, white: bool = False) -> NoiseModel:
        """The line through the groups; those above it, which may be texture, count less.

        Clipped ones count if they lie on the line of the others: few photons make many zeros too.

        white : whether noise is known to be independent from pixel to pixel.
        """
        if not self.means.size:
            return UNKNOWN
        some = ~self.clipped
        if some.all() or self.blocks[some].sum() < UNCLIPPED_SHARE * self.blocks.sum():
            return self._line(white)
        found = self._of(some)._line(white)
        line = found.intercept + found.gain * self.means
        return self._of(some | (self.variances >= UNHARMED_SHARE * line))._line(white)

    def _of(self, some: NDArray[np.bool_]) -> NoiseLevels:
        """Some of the groups."""
        return NoiseLevels(*(getattr(self, f.name)[some] for f in fields(self)))

    def _line(self, white: bool) -> NoiseModel:
        offset = float(self.means[0])
        least = max(1.0, float(np.quantile(self.structure, 0.25)))
        flat = self.structure <= ROUGH * least
        if white:
            soft = self.fine >= EVEN_FLOOR * self.variances
            least, flat = 1.0, soft if soft.any() else flat
        level, gain = _line(
            self.means[flat] - offset, self.variances[flat], self.blocks[flat] * FREEDOMS / 2
        )
        return NoiseModel(gain, offset, math.sqrt(max(level, 0.0)), 1 - 1 / least)


def measure_noise(
    patches: Sequence[NDArray[Any]],
    nodata: NoData = NOTHING,
    masks: Sequence[NDArray[np.bool_] | None] = (),
    smears: Sequence[Smear | None] = (),
) -> tuple[NoiseModel, ...]:
    """The noise of each sample of an image by some patches (height, width, samples) of it.

    Parameters
    ----------
    nodata : what tells pixels without a measurement.
    masks : those that came with the patches; none at all if none did.
    smears : how far the noise of each sample is smeared, where that is measured already.
    """
    known = smears or measure_smear(patches, nodata, masks)
    return fit_noise(measure_levels(patches, nodata, masks), known)


def fit_noise(
    levels: Sequence[NoiseLevels], smears: Sequence[Smear | None]
) -> tuple[NoiseModel, ...]:
    """The noise of each sample by its levels, and by how far it is smeared."""
    white = [smear is not None and smear.is_white for smear in smears]
    return tuple(one.fit(w) for one, w in zip(levels, white, strict=True))


def measure_levels(
    patches: Sequence[NDArray[Any]],
    nodata: NoData = NOTHING,
    masks: Sequence[NDArray[np.bool_] | None] = (),
) -> list[NoiseLevels]:
    """What `measure_noise` draws its lines through, sample by sample."""
    beside = masks or [None] * len(patches)
    found = []
    for sample in range(patches[0].shape[2]):
        blocks = [
            _blocks(pixels, sample, nodata, given)
            for pixels, given in zip(patches, beside, strict=True)
        ]
        found.append(_grouped(np.concatenate(blocks, axis=1)))
    return found


def _blocks(
    pixels: NDArray[Any], sample: int, nodata: NoData, given: NDArray[np.bool_] | None
) -> Numbers:
    """(5, blocks): means, variances of the noise by second and by fourth differences, coarse
    structure, and clipped pixels, of all blocks that are measured and not constant.
    """
    rows, columns = (n // BLOCK_PX * BLOCK_PX for n in pixels.shape[:2])
    if not rows or not columns:
        return np.zeros((5, 0))
    stored = np.ascontiguousarray(pixels[:rows, :columns, sample])
    # Squares of small integers fit float32, which takes half the time.
    values: Values = stored.astype(np.float32 if stored.dtype.itemsize < 4 else np.float64)
    mask = valid_mask(pixels, nodata, given)
    if mask is not None:
        values[~mask[:rows, :columns, sample]] = np.nan
    with np.errstate(over="ignore", invalid="ignore"):  # which leaves blocks that are no number
        noise, fine = (_mean_differences(values, order) for order in (2, 4))
        bends = _sums(_bends(_sums(values, 2) / 4), BLOCK_PX // 2) / (BLOCK_PX // 2) ** 2
        found = np.stack([_smooth_means(values), noise, fine, bends, _clipped(stored)])
    found = found.reshape(5, -1).astype(np.float64)
    known = np.isfinite(found).all(0) & (found[1] > LEAST_VARIANCE)
    return found[:, known & ~_with_impulses(values)]


def _with_impulses(values: Values) -> NDArray[np.bool_]:
    """Whether a block has, or has beside it, a pixel far beyond all others, as a hot one is."""
    rows, columns = (n // BLOCK_PX for n in values.shape)
    squares = values.reshape(rows, BLOCK_PX, columns, BLOCK_PX).swapaxes(1, 2)
    parts = squares.reshape(rows * columns, BLOCK_PX**2)
    with np.errstate(over="ignore", invalid="ignore"):
        away = np.abs(parts - np.median(parts, axis=1, keepdims=True))
        usual = np.median(away, axis=1, keepdims=True)
        # It is 0 where photons are few: then every one of them stands out.
        found = (usual > 0) & (away > IMPULSE * usual)
    if not found.any():
        return np.zeros(len(parts), bool)
    image = found.reshape(rows, columns, BLOCK_PX, BLOCK_PX).swapaxes(1, 2)
    image = np.pad(image.reshape(values.shape), 1)
    image = image[:-2] | image[1:-1] | image[2:]  # second differences reach one pixel far
    image = image[:, :-2] | image[:, 1:-1] | image[:, 2:]
    return np.asarray(image.reshape(rows, BLOCK_PX, columns, BLOCK_PX).any((1, 3))).ravel()


def _mean_differences(values: Values, order: int) -> Values:
    """Variance of the noise of each block by its squared differences."""
    beside = np.pad(squared_differences(values, order), order // 2, mode="edge")
    found: Values = _sums(beside, BLOCK_PX) / BLOCK_PX**2
    return found


def _bends(values: Values) -> Values:
    """Squared second differences along one axis and along the other, added."""
    padded = np.pad(values, 1, mode="edge")
    middle = 2 * values
    down = padded[:-2, 1:-1] - middle + padded[2:, 1:-1]
    across = padded[1:-1, :-2] - middle + padded[1:-1, 2:]
    found: Values = down**2 + across**2
    return found


def _clipped(stored: NDArray[Any]) -> NDArray[Any]:
    """Number of pixels of each block at a limit of an integer type."""
    if stored.dtype.kind == "f":
        return np.zeros([n // BLOCK_PX for n in stored.shape])
    limits = np.iinfo(stored.dtype)
    return _sums((stored == limits.min) | (stored == limits.max), BLOCK_PX)


def _smooth_means(values: Values) -> Values:
    """Means of blocks, weighted around their edges as a second difference weighs squares: 1, 4, 1.

    So a single photon there counts as much in the mean as in the variance.
    """
    for axis in (0, 1):
        blocks = np.moveaxis(values, axis, 0)
        blocks = blocks.reshape(-1, BLOCK_PX, *blocks.shape[1:])
        first, last = blocks[:, 0], blocks[:, -1]
        before = np.concatenate([first[:1], last[:-1]])
        after = np.concatenate([first[1:], last[-1:]])
        means = (blocks.sum(1) + (before - first + after - last) / 6) / BLOCK_PX
        values = np.moveaxis(means, 0, axis)
    return values


def _sums(values: NDArray[Any], side: int) -> NDArray[Any]:
    """Sums of squares of `side` pixels; rows first, which are one after the other in memory."""
    rows = values.reshape(-1, side, values.shape[1]).sum(1)
    found: NDArray[Any] = rows.reshape(len(rows), -1, side).sum(2)
    return found


def _grouped(blocks: Numbers) -> NoiseLevels:
    """The flattest blocks of each group of about the same mean."""
    blocks = blocks[:, np.argsort(blocks[0], kind="stable")]
    rows, clipped = [], []
    for part in _parts(blocks.shape[1]):
        group = blocks[:, part]
        flat = np.argsort(group[3], kind="stable")[: math.ceil(FLAT_SHARE * group.shape[1])]
        mean, variance, fine, bends = group[:4, flat].mean(1)
        rows.append([mean, variance, bends / (BENDS * variance), fine, len(flat)])
        clipped.append(bool(group[4].mean() > CLIPPED_SHARE * BLOCK_PX**2))
    groups = np.array(rows, np.float64).reshape(-1, 5)
    means, variances, structure, fine, counts = groups.T
    return NoiseLevels(means, variances, structure, fine, counts, np.array(clipped, bool))


def _parts(count: int) -> list[slice]:
    """Blocks that are sorted by their means, in groups."""
    shares = [*TAILS[::-1], *(i / LEVELS for i in range(1, LEVELS)), *(1 - t for t in TAILS)]
    edges = [0]
    for share in shares:
        edge = round(share * count)
        if edge - edges[-1] >= LEAST_BLOCKS and count - edge >= LEAST_BLOCKS:
            edges.append(edge)
    return [slice(a, b) for a, b in zip(edges, [*edges[1:], count], strict=True) if b > a]


def _line(signal: Numbers, variances: Numbers, freedoms: Numbers) -> tuple[float, float]:
    """Variance at signal 0 and its growth, neither below 0.

    The best of the lines through two groups, then least squares around it.
    """
    flat = _level(variances, freedoms)
    if len(signal) < 3 or not signal[-1] > 0:
        return flat, 0.0
    x = signal / signal[-1]
    expected = _best_line(x, variances, freedoms)
    least = 1e-6 * float(variances.max())
    level, growth, error = flat, 0.0, math.inf
    for _ in range(_ROUNDS):
        weights = freedoms / expected**2 * _doubt(variances / expected - 1)
        a, b, c = weights.sum(), (weights * x).sum(), (weights * x * x).sum()
        u, v = (weights * variances).sum(), (weights * x * variances).sum()
        determinant = a * c - b * b
        if not determinant > 1e-12 * a * c:
            return flat, 0.0
        level, growth = (c * u - b * v) / determinant, (a * v - b * u) / determinant
        if level < 0:
            level, growth = 0.0, v / c
        error = math.sqrt(a / determinant)
        expected = np.maximum(level + growth * x, least)
    if growth < SIGNIFICANT * error:
        return flat, 0.0
    return float(level), float(growth / signal[-1])


def _best_line(x: Numbers, variances: Numbers, freedoms: Numbers) -> Numbers:
    """Variances by the line through two of the groups, or level, that fits most of them."""
    i, j = np.triu_indices(len(x))
    run = x[j] - x[i]
    slope = np.divide(variances[j] - variances[i], run, out=np.zeros(len(i)), where=run > 0)
    level = variances[i] - slope * x[i]
    rising = (slope >= 0) & (level >= -0.25 * variances.max())
    lines = level[rising, None] + slope[rising, None] * x
    return _best(np.maximum(lines, 1e-6 * float(variances.max())), variances, freedoms)


def _best(lines: Numbers, variances: Numbers, freedoms: Numbers) -> Numbers:
    """Of several lines the one that most groups lie near to."""
    off = np.square((variances / lines - 1) / TOLERANCE)
    misfit = (np.sqrt(freedoms) * np.log1p(off)).sum(1)
    found: Numbers = lines[int(misfit.argmin())]
    return found


def _level(variances: Numbers, freedoms: Numbers) -> float:
    """The variance where it does not grow."""
    best = _best(np.repeat(variances[:, None], len(variances), 1), variances, freedoms)
    return float(np.average(variances, weights=freedoms * _doubt(variances / best - 1)))


def _doubt(excess: Numbers) -> Numbers:
    """Weight of groups that lie off the line by a share of it."""
    found: Numbers = 1 / (1 + np.square(excess / TOLERANCE))
    return found
