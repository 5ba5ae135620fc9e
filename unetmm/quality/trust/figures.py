"""Sums over an image -> figures that say what a restoration did to it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.quality.trust.alignment import NO_SHIFT, Shift, measure_shift
from unetmm.quality.trust.blocks import (
    ALL_BANDS,
    BANDS,
    BLOCK_PX,
    COLUMNS,
    DISTANCE,
    EDGES,
    JOINED,
    WEIGHTS,
    Numbers,
)
from unetmm.quality.trust.extremes import Extremes
from unetmm.quality.trust.noise import LayerNoise
from unetmm.quality.trust.sums import LayerSums, Suspect

SURE = 6.0
"""Deviations of chance from which on something is believed."""
LEAST_BLOCKS = 8
"""Fewest blocks that spectra are averaged over, where there are as many."""
SHARE = 0.1
"""Share of the blocks that are called flat, and structured."""
STRONG = 5.0
"""Power of structure, as a multiple of noise, from which on its strength is compared."""
SEEN = 0.5
"""Power of structure, as a multiple of noise, from which on the output is compared
with what it has in common with the input."""
DECILES = 10
"""Groups of equally many blocks, by how bright they are."""
REACH_PX = 4
"""Largest distance at which what was removed is compared with noise."""
NOTHING = 1e-6
"""Power, as a share of that of noise, below which nothing was removed."""
SURE_PX, ALIKE = 0.05, 0.3
"""Largest deviation of the shift of a region, and smallest share of power in common, that count."""
AGREEING = 3
"""Number of regions that are shifted differently; where much was smoothed, one may seem so."""
WORTH = 0.5
"""Structure of a region, as a share of the mean of all, from which on its shift counts."""
CHANCE = 2.0
"""Deviations by which power in common may be too small by chance."""
BEYOND, HALF = 0.1, 0.5
"""Least mean distance of cut-off values from the end that they were cut off at, in deviations of
noise, and in steps of whole numbers."""
FIRST_BAND = 1
"""First band that tells whether detail was removed, or made stronger: below it the shape of things
decides."""


@dataclass(frozen=True)
class Decile:
    """One tenth of the blocks, by how bright they are."""

    level: float
    """Mean value of the input there."""
    change: float
    """Mean of what was added to it."""
    chance: float
    """Deviation that noise may give that mean."""


@dataclass(frozen=True)
class BandGain:
    """How strong structure is in the output, for one band of frequencies."""

    low: float
    """Lowest frequency in cycles a pixel."""
    high: float
    """Highest frequency in cycles a pixel."""
    structure: float
    """Power of structure in the input, as a multiple of that of noise."""
    gain: float
    """Strength of structure that is kept: 1 is all of it."""
    excess: float
    """Power of the output as a share of what it has in common with the input; honest up to 1."""
    removed: float
    """Power of what was removed, as a share of noise."""


@dataclass(frozen=True)
class LayerFigures:
    """What was found of one layer."""

    blocks: int
    """Number of blocks that were looked at."""
    noise_removed: float
    """Power of what was removed in flat places, as a share of noise."""
    noise_left: float
    """Share of the noise's amplitude that is still there in flat places, 0 to 1; below 0 where more
    was removed than there was."""
    whiteness: float
    """Largest difference between neighbours' correlations of noise and of what was removed."""
    detail_removed: float
    """Power of what was removed where there is most structure, as a multiple of noise, largest of
    all bands."""
    bands: tuple[BandGain, ...]
    """Strength of structure by frequency."""
    unlikely_share: float
    """Share of blocks that the input hardly bears out."""
    impossible: int
    """Number of blocks that it does not bear out at all."""
    spots: tuple[Suspect, ...]
    """Worst of them."""
    shift: Shift
    """Distance between both images."""
    warp_px: float
    """Distance of the shift of regions from that of all, in pixels, that a few of them exceed."""
    gain: float
    """Slope of the output's means over those of the input."""
    offset: float
    """Value that is added to black."""
    deciles: tuple[Decile, ...]
    """Change of the means by how bright they are."""
    bias_share: float
    """Largest change of a decile's mean, as a share of the range of the means."""
    bias_sure: float
    """Largest such change in deviations of what chance does."""
    bend_share: float
    """Part of it that no straight line explains, as a share of the range."""
    clipped: tuple[float, float]
    """Share of pixels that lie at the lowest and highest value of the output, beyond those that do
    so in the input."""
    changed_share: float
    """Share of pixels whose value differs."""
    is_emptied: bool
    """Whether all that is left of several values is one."""
    gap_share: float
    """Share of pixels that are measured in one of the images only."""
    error: float
    """Estimated error of a pixel of the output, in stored units."""

    @property
    def strong_gains(self) -> list[float]:
        """Gains of the bands in which structure is much stronger than noise."""
        return [band.gain for band in self.bands if band.structure > STRONG]

    @property
    def excess(self) -> float:
        """Largest excess of a band with structure; 0 if there is none.

        Values that were cut off in the input make coarse structure seem weaker in it.
        """
        bands = self.bands[FIRST_BAND:]
        return max((b.excess for b in bands if b.structure > SEEN), default=0.0)


def make_figures(sums: LayerSums, noise: LayerNoise) -> LayerFigures:
    """The figures of one layer."""
    (flat, _), (top, top_blocks) = _ends(sums.groups, sums.counts)
    removed = [p[0] + p[1] - 2 * p[2] for p in (flat, top)]
    _, (rounding, _) = _ends(sums.rounding, sums.counts)
    chance = np.maximum(noise.spectrum, removed[0])
    shift, warp = _shifts(sums)
    deciles, gain, offset, bias = _means(sums.bins)
    pixels = max(1, sums.pixels)
    error = float(np.maximum(sums.maps[2], 0).sum() / max(1.0, sums.maps[0].sum()))
    return LayerFigures(
        sums.blocks,
        _over(removed[0], noise.spectrum, ALL_BANDS),
        _left(flat),
        _whiteness(removed[0], noise.spectrum),
        max((_over(removed[1], chance, b) for b in BANDS[FIRST_BAND:]), default=0.0),
        tuple(_bands(top, top_blocks, removed[1], noise.spectrum, chance, float(rounding))),
        sums.unlikely / max(1, sums.blocks),
        sums.impossible,
        tuple(sums.spots),
        shift,
        warp,
        gain,
        offset,
        deciles,
        *bias,
        _clipped(sums.before, sums.after, pixels, BEYOND * noise.level),
        sums.changed / pixels,
        sums.after.is_even and not sums.before.is_even,
        sums.unequal_gaps / max(1, sums.pixels + sums.unequal_gaps),
        float(np.sqrt(max(0.0, error))),
    )


def _ends(groups: Numbers, counts: Numbers) -> list[tuple[Numbers, float]]:
    """Mean spectra of the flattest blocks, and of those with most structure, and their numbers."""
    whole = counts.sum()
    wanted = max(SHARE * whole, min(LEAST_BLOCKS, whole))
    found = []
    for order in (range(len(counts)), range(len(counts) - 1, -1, -1)):
        total, count = np.zeros(groups.shape[1:]), 0.0
        for i in order:
            if count >= wanted:
                break
            total += groups[i]
            count += counts[i]
        found.append((total / max(count, 1), float(count)))
    return found


def _over(power: Numbers, of: Numbers, band: Numbers) -> float:
    """Power in a band as a multiple of another."""
    return float((power / of) @ band / band.sum()) if of.all() else 0.0


def _left(flat: Numbers) -> float:
    """Share of the noise's amplitude that is still in flat places: least of the finer bands, for
    structure looks like noise that is left.
    """
    shares = [(flat[2] @ band) / max(float(flat[0] @ band), 1e-300) for band in BANDS[2:]]
    return float(min(shares, key=abs))


def _whiteness(removed: Numbers, noise: Numbers) -> float:
    """How far correlations of what was removed are from those of noise."""
    if removed.sum() < NOTHING * noise.sum():
        return 0.0
    lines = []
    for power in (removed, noise):
        table = np.fft.irfft2(power.reshape(BLOCK_PX, COLUMNS), (BLOCK_PX, BLOCK_PX))
        lines.append(table / table[0, 0])
    near = np.abs(lines[0] - lines[1])[: REACH_PX + 1, : REACH_PX + 1]
    return float(near.max())


def _bands(
    top: Numbers,
    blocks: float,
    removed: Numbers,
    noise: Numbers,
    chance: Numbers,
    rounding: float,
) -> list[BandGain]:
    """Strength of structure by frequency, where there is most of it.

    blocks : how many there are of these.
    rounding : power that rounding put into each frequency of the output.
    """
    found = []
    for band, low, high in zip(BANDS, EDGES, EDGES[1:], strict=False):
        before, after, common, expected = (
            float(power @ band) for power in (top[0], top[1], top[2], noise)
        )
        structure = before - expected
        share = min(1.0, common**2 / max(before * after, 1e-300))
        numbers = max(1.0, 2 * blocks * float(band.sum()) / JOINED)
        luck = CHANCE * np.sqrt((1 - share) / max(share, 1e-300) / numbers)
        found.append(
            BandGain(
                low,
                high,
                max(0.0, structure / expected),
                common / structure if structure > 0 else 1.0,
                (after - rounding * float(band.sum())) / common - luck if common > 0 else np.inf,
                _over(removed, chance, band),
            )
        )
    return found


def _shifts(sums: LayerSums) -> tuple[Shift, float]:
    """The shift of all, and the distance of a region's from it that a few regions have."""
    whole = measure_shift(sums.regions.sum(0), float(sums.region_counts.sum()))
    aways, powers = [0.0] * AGREEING, sums.regions[:, 0] @ ALL_BANDS
    for spectra, count, power in zip(sums.regions, sums.region_counts, powers, strict=True):
        if power < WORTH * float(powers.mean()):
            continue
        own = measure_shift(spectra, float(count)) if count >= LEAST_BLOCKS else NO_SHIFT
        away = float(np.hypot(own.down_px - whole.down_px, own.right_px - whole.right_px))
        sure = max(own.error_px, whole.error_px)
        if sure < SURE_PX and own.coherence > ALIKE and away > 6 * sure:
            aways.append(away)
    return whole, sorted(aways)[-AGREEING]


def _means(
    bins: Numbers,
) -> tuple[tuple[Decile, ...], float, float, tuple[float, float, float]]:
    """Change of means by decile; gain and offset; and how large, sure and bent the change is."""
    whole = bins[0].sum()
    if whole < DECILES:
        return (), 1.0, 0.0, (0.0, 0.0, 0.0)
    tenth = np.minimum((bins[0].cumsum() - bins[0] / 2) * DECILES / whole, DECILES - 1).astype(int)
    sums = np.stack([np.bincount(tenth, row, DECILES) for row in bins])
    sums = sums[:, sums[0] > 0]
    count, before, after, variance = sums
    levels, changes = before / count, (after - before) / count
    # Noise of means may be twice that of pixels by themselves, where it is smeared.
    chance = np.sqrt(variance / count / count) * 2 / BLOCK_PX
    # All tenths of an image of few counts may be as bright, and its level is the range then.
    spread = max(float(np.ptp(levels) or np.abs(levels).max()), 1e-300)
    found = tuple(Decile(*map(float, one)) for one in zip(levels, changes, chance, strict=True))
    gain, offset = _line(levels, levels + changes, count)
    left = levels + changes - gain * levels - offset
    offset = offset if abs(offset) > 1e-9 * spread else 0.0
    most, sure = _largest(changes / spread, chance / spread)
    # Few counts may be sure in all tenths together, and in none of them.
    mean, its_chance = changes @ count / whole, np.sqrt(variance.sum()) / whole * 2 / BLOCK_PX
    all_share, all_sure = _largest(np.array([mean]) / spread, np.array([its_chance]) / spread)
    if sure <= SURE < all_sure:
        most, sure = all_share, all_sure
    return found, gain, offset, (most, sure, float(np.abs(left).max()) / spread)


def _largest(changes: Numbers, chance: Numbers) -> tuple[float, float]:
    """The largest change, and the largest in deviations of what chance does."""
    sizes = np.abs(changes)
    return float(sizes.max()), float((sizes / np.maximum(chance, 1e-9)).max())


def _line(x: Numbers, y: Numbers, weights: Numbers) -> tuple[float, float]:
    """Slope and offset of the straight line nearest to some points."""
    middle_x, middle_y = np.average(x, weights=weights), np.average(y, weights=weights)
    spread = float((weights * np.square(x - middle_x)).sum())
    if not spread:
        return 1.0, float(middle_y - middle_x)
    slope = float((weights * (x - middle_x) * (y - middle_y)).sum()) / spread
    return slope, float(middle_y - slope * middle_x)


def _clipped(before: Extremes, after: Extremes, pixels: int, least: float) -> tuple[float, float]:
    """Share of pixels that were cut off at the ends of the output, and were not in the input.

    What was cut off lay beyond the end. A flat background that became even did not.

    least : how far beyond it has to lie on the average.
    """
    found = []
    for there, own in ((before.low, after.low), (before.high, after.high)):
        # Whole numbers lie up to half a one from what they stand for.
        is_whole = own.last.value % 1 == own.second.value % 1 == 0
        beyond = own.last.mean_other - own.last.value
        cut = own.last.value < there.last.value and beyond > max(least, HALF * is_whole)
        found.append(max(0, own.piled - there.piled) / pixels if cut else 0.0)
    return found[0], found[1]


@dataclass(frozen=True)
class PowerCurves:
    """Mean power of all blocks by frequency, in units of the noise's mean power."""

    frequency: NDArray[np.float64]
    """Frequencies in cycles a pixel."""
    before: NDArray[np.float64]
    """Power of the input."""
    after: NDArray[np.float64]
    """Power of the output."""
    removed: NDArray[np.float64]
    """Power of what was removed."""
    noise: NDArray[np.float64]
    """Power of the noise."""


def power_curves(sums: LayerSums, noise: LayerNoise) -> PowerCurves:
    """Mean power by frequency, whatever the direction."""
    before, after, common, _ = sums.groups.sum(0) / max(1.0, float(sums.counts.sum()))
    ring = np.rint(DISTANCE * BLOCK_PX).astype(int)
    count = BLOCK_PX // 2 + 1
    weights = np.bincount(ring, WEIGHTS)[1:count]
    found = [
        np.bincount(ring, power * WEIGHTS)[1:count] / weights / BLOCK_PX**2
        for power in (before, after, before + after - 2 * common, noise.spectrum)
    ]
    return PowerCurves(np.arange(1, count) / BLOCK_PX, *found)


def error_map(sums: LayerSums) -> NDArray[np.float64]:
    """Estimated error of the output by place, (rows, columns), in stored units."""
    count, _, error, _ = sums.maps
    found: Numbers = np.sqrt(np.maximum(error / np.maximum(count, 1), 0))
    return found
