"""Values that are counts of photons: whether they are, on which scale a net sees them best, and
which answer keeps their means.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.intensities.brackets import HOLDS
from unetmm.intensities.noise import NoiseLevels, NoiseModel
from unetmm.intensities.range import SampleScale, ValueScale
from unetmm.intensities.rounding import limits_of

log = logging.getLogger(__name__)

TransformChoice = Literal["auto", "none", "anscombe"]
"""Ways to bring counts to a net."""
TRANSFORMS: tuple[TransformChoice, ...] = ("auto", "none", "anscombe")
"""Values of a `TransformChoice`, the default first."""
GROWTH = 1.8
"""Deviation of the noise of bright values, in units of that of dark ones, from which on noise
counts as growing."""
ENDS = (5.0, 99.0)
"""Percentiles that are dark and bright values."""
WHITE = 0.1
"""Largest correlation of neighbours' noise: more is texture, or noise that was smoothed before."""
LEAST_SHARE = 0.01
"""Least deviation of noise worth it, as a share of the distance from dark to bright values."""
PHOTONS = (0.06, 1000.0)
"""Fewest and most photons a pixel, on the average, for the transform. With fewer, bent values are
hardly ever anything but that of no photons; with more, nets restore as well without it."""
MOST_PHOTONS = 30.0
"""Most photons a pixel on the average for which means are set right; with more they are."""
LEAST_WIDTH = 10.0
"""Smallest range of bent values that becomes 0 to 1, so that noise is at most a tenth of it: what
nets restore best, and far from the strongest noise that they know."""
MOST_BEYOND = 4.0
"""Distance from the low end, in widths of the range, up to which values are bent ..."""
FEW_BEYOND = 99.95
"""... but for the few beyond this percentile."""
REACHES = 3.0
"""Deviations of its noise by which a bright value may lie above the high end of the range. That end
holds all but a thousandth of the noisy values, so it has about as many of them already."""
FEW_COUNTS = 4.0
"""Mean of stored values above the dark below which whole numbers are too coarse for an answer:
where that is even they move it by up to half a count."""
FEWEST_LEVELS = 4
"""Fewest groups of places of different brightness by which it is told how far these lie apart."""
TRUSTED = 0.01
"""Deviation of what the factor of an answer may be from 1, before anything is measured."""


@dataclass(frozen=True)
class Light:
    """What is known of the counts of one sample."""

    noise: NoiseModel
    """Noise of the sample."""
    growth: float
    """Deviation of the noise of bright values, in units of that of dark ones."""
    share: float
    """Deviation of the noise of bright values, as a share of their distance from dark ones."""
    photons: float
    """Mean count a pixel; noise of reading counts as the photons that would make it."""

    @classmethod
    def of(cls, values: NDArray[Any], noise: NoiseModel) -> Light:
        """What some measured values tell."""
        dark, bright = np.percentile(values, ENDS)
        if bright == dark:  # of few photons, most of all pixels have none
            bright = values.min(initial=values.max(), where=values > dark)
        low, high = noise.deviation(np.array([dark, bright]))
        mean = float(noise.variance(values.mean(dtype=np.float64)))
        share = high / (bright - dark) if bright > dark else 0.0
        return cls(noise, float(high / max(low, 1e-30)), float(share), mean / noise.gain**2)


@dataclass(frozen=True)
class Counting:
    """What is to be done with the values of a group of samples."""

    bend: bool = False
    """Whether they are bent, so that their noise is even."""
    keep_means: bool = False
    """Whether the answer is moved so that its means are those of the input."""

    def __bool__(self) -> bool:
        return self.bend or self.keep_means


def judge_counts(
    noise: Sequence[NoiseModel],
    values: Sequence[NDArray[Any]],
    choice: TransformChoice,
    knows_counts: bool,
) -> Counting:
    """Whether values are counts, by their noise, and what is to be done about it.

    Parameters
    ----------
    noise : of each sample.
    values : measured values of each sample.
    knows_counts : whether the net was trained on counts, which it then restores best as they are.
    """
    if choice == "none" or not all(n.gain for n in noise) or not all(v.size for v in values):
        return Counting()
    light = [Light.of(v, n) for v, n in zip(values, noise, strict=True)]
    few = max(one.photons for one in light) < MOST_PHOTONS
    if choice == "anscombe":
        return Counting(bend=True, keep_means=few)
    grows = max(one.growth for one in light) >= GROWTH
    # Where the line meets 0 at the darkest level, noise grows in another way, as speckle does.
    white = all(one.noise.correlation <= WHITE and one.noise.read > 0 for one in light)
    if not (grows and white and max(one.share for one in light) >= LEAST_SHARE):
        return Counting()
    suits = all(PHOTONS[0] <= one.photons <= PHOTONS[1] for one in light)
    return Counting(bend=suits and not knows_counts, keep_means=few)


def counted_scale(scale: ValueScale, noise: Sequence[NoiseModel], counting: Counting) -> ValueScale:
    """The scale of values that are counts, from the scale of values that are none.

    What is rare and far beyond the others stays out of the range, on this scale too.
    """
    if not counting.bend:
        return replace(
            scale, samples=(SampleScale(scale.low, scale.high, scale.fill),) * len(noise)
        )
    straight = [SampleScale(0, 1, scale.fill, n.gain, n.intercept) for n in noise]
    low, high = (
        float(np.mean([s.bent(np.float64(v)) for s in straight])) for v in (scale.low, scale.high)
    )
    high = max(high, low + LEAST_WIDTH)
    samples = tuple(replace(s, low=s.straight(low), high=s.straight(high)) for s in straight)
    return ValueScale(
        min(s.low for s in samples), max(s.high for s in samples), scale.fill, samples=samples
    )


def holding_noise(
    scale: ValueScale, noise: Sequence[NoiseModel], dtype: np.dtype[Any]
) -> ValueScale:
    """The scale with a range that holds what noise may reach.

    Chance makes some values of few photons several times as large as all others. They are noise,
    and would stay in the image as dots if they were taken for something bright.

    dtype: of the values, whose limit noise does not pass.
    """
    if not all(n.gain and n.correlation <= WHITE for n in noise):
        return scale
    reached = 0.0
    for model in noise:
        sample = SampleScale(0, 1, scale.fill, model.gain, model.intercept)
        bright = float(sample.bent(np.float64(scale.high)))
        reached = max(reached, sample.straight(bright + REACHES))
    reached = min(reached, limits_of(dtype)[1])
    return replace(scale, high=max(scale.high, scale.low + (reached - scale.low) / HOLDS))


def fewest_counts(
    channels: Iterable[tuple[float, Sequence[NoiseModel], Sequence[NoiseLevels]]],
) -> float | None:
    """Least signal of some channels, where it is too small for whole numbers: its mean above the
    dark, or how far bright places lie above dark ones.

    channels : mean of the stored values of each, and the noise of its samples.
    """
    found = [FEW_COUNTS]
    for mean, noise, levels in channels:
        found += [mean - one.dark for one in noise if one.gain and mean > one.dark]
        found += [float(np.ptp(one.means)) for one in levels if len(one.means) >= FEWEST_LEVELS]
    least = min(found)
    return least if least < FEW_COUNTS else None


def reaches_beyond(values: Sequence[NDArray[Any]], scale: ValueScale) -> bool:
    """Whether more than a few values lie so far beyond the range that wider ranges are for them.

    Bent, they would come close to the others, and a net dims what is small and bright.
    """
    farthest = max(float(np.percentile(v, FEW_BEYOND)) - scale.low for v in values)
    return farthest > MOST_BEYOND * (scale.high - scale.low)


@dataclass(frozen=True)
class BlockMeans:
    """Means of blocks before and after a net, (blocks, samples)."""

    before: NDArray[np.float64]
    after: NDArray[np.float64]


MEANS_PX = 32
"""Side of the blocks whose means are compared."""


def block_means(
    stored: NDArray[Any],
    answer: NDArray[np.float32],
    seen: NDArray[np.bool_] | None,
) -> BlockMeans:
    """Compare the blocks of a patch that are measured throughout."""
    rows, columns = (max(1, n // MEANS_PX) for n in stored.shape[:2])
    sides = stored.shape[0] // rows, stored.shape[1] // columns

    def means(values: NDArray[Any]) -> NDArray[np.float64]:
        whole = values[: rows * sides[0], : columns * sides[1]]
        parts = whole.reshape(rows, sides[0], columns * sides[1], -1).sum(1, dtype=np.float64)
        found: NDArray[np.float64] = parts.reshape(rows, columns, sides[1], -1).mean(2) / sides[0]
        return found.reshape(rows * columns, -1)

    before, after = means(stored), means(answer)
    if seen is None:
        return BlockMeans(before, after)
    whole = means(seen).min(1) == 1
    return BlockMeans(before[whole], after[whole])


def with_means_kept(
    scale: ValueScale, noise: Sequence[NoiseModel], parts: Sequence[BlockMeans]
) -> ValueScale:
    """The scale whose answers have the means that were measured, as far as that can be told."""
    before = np.concatenate([part.before for part in parts])
    after = np.concatenate([part.after for part in parts])
    samples = []
    for i, sample in enumerate(scale.samples):
        known = np.isfinite(before[:, i]) & np.isfinite(after[:, i])
        pair = before[known, i], after[known, i]
        if len(pair[0]) > 1:
            shift, factor = _line_of_means(*pair, noise[i])
            ends = float(pair[1].min()), float(pair[1].max())
            sample = replace(sample, shift=shift, slope=factor - 1, least=ends[0], most=ends[1])
        samples.append(sample)
    return replace(scale, samples=tuple(samples))


def _line_of_means(
    before: NDArray[np.float64], after: NDArray[np.float64], noise: NoiseModel
) -> tuple[float, float]:
    """Shift and factor that make means after a net those before it; the factor is near 1."""
    variance = noise.variance(before) / MEANS_PX**2
    weights = 1 / np.maximum(variance, 1e-3 * float(variance.max()))
    # The line goes through the means of all blocks, so the mean of the whole stays.
    center_before, center_after = before.mean(), after.mean()
    x, y = after - center_after, before - center_before
    # A prior of 1 with deviation TRUSTED counts like one more block.
    factor = (float((weights * x * y).sum()) + TRUSTED**-2) / (
        float((weights * x * x).sum()) + TRUSTED**-2
    )
    return float(center_before - factor * center_after), factor


def check_transform(choice: str) -> None:
    """Refuse what is no transform.

    Raises
    ------
    ShapeError
        It names those that there are.
    """
    if choice not in TRANSFORMS:
        raise ShapeError(f"asked for transform {choice!r}; use one of {', '.join(TRANSFORMS)}")
