"""What the patches of an image tell besides their range: outliers, counts of photons, sources."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.choice import Choice, Observed
from unetmm.calibrate.places import Patch
from unetmm.intensities.counts import (
    TransformChoice,
    counted_scale,
    holding_noise,
    judge_counts,
    reaches_beyond,
)
from unetmm.intensities.noise import NoiseLevels, NoiseModel, fit_noise, measure_levels
from unetmm.intensities.points import PointRule, rule_of
from unetmm.intensities.range import ValueScale, is_plain, measure_scale, normalise
from unetmm.intensities.smear import measure_smear
from unetmm.intensities.validity import (
    NoData,
    measured_of,
    measured_values,
    valid_mask,
    without_fills,
)

FEW_OUTLIERS = 1 / 2000
"""Share of a patch up to which outliers that the base range holds do not change what is measured;
photos have as many details like them."""
NOISE_SHARE, MORE_NOISE = 0.1, 2.0
"""Share of the range by which the noise of light may be below 0, and how much farther it may be in
pixels that were not looked at."""
ROUNDED_SHARE = 1e-6
"""Share of the range by which values below 0 still count as 0."""
BELOW_SHARE, PILED = 0.01, 2.0
"""Share of the height of the largest value by which others lie just below it, and how many times as
frequent as all of these it is where a sensor saturates."""
SATURATED_SHARE = 1e-4
"""Smallest share of the pixels for it."""
SMEARED = 0.5
"""Correlation of neighbours from which on it may as well be texture."""
ENOUGH_VALUES = 2**16
"""Number of values of a sample by which it is told whether they are counts."""


@dataclass(frozen=True)
class Asked:
    """What was asked of the values' scale."""

    transform: TransformChoice
    """Way in which counts are brought to the net."""
    knows_counts: bool
    """Whether the net was trained on counts."""
    fixed_range: tuple[float, float] | None
    """Stored values that become 0 and 1, instead of the measured ones."""


@dataclass(frozen=True)
class Prepared:
    """Patches of one channel and group of samples without outliers, and what they tell."""

    patches: list[Patch]
    """Patches that the values below are measured by."""
    observed: list[Observed]
    """Parts of them that go through the net."""
    nodata: NoData
    """Statement on values without a measurement."""
    scale: ValueScale
    """Range of their values."""
    noise: tuple[NoiseModel, ...]
    """Noise of each sample."""
    levels: list[NoiseLevels]
    """Noise of each sample by brightness, which that was fitted to."""


def lie_in_0_to_1(chosen: Choice, nodata: NoData) -> bool:
    """Whether the patches' values are floats of 0 to 1."""
    parts = [measured_values(p.pixels, nodata, p.given) for p in chosen.patches]
    values = np.concatenate(parts)
    return is_plain(without_fills(values)[0] if nodata.guessed else values)


def prepare(
    chosen: Choice, nodata: NoData, fixed_range: tuple[float, float] | None, outliers: bool
) -> Prepared:
    """Measure patches, without outliers if these are to be left out."""
    pixels, masks = [p.pixels for p in chosen.patches], [p.given for p in chosen.patches]
    scale = measure_scale(pixels, nodata, fixed_range, masks)
    nodata = nodata.within(scale.low, scale.high)
    noise, levels = _noise(pixels, nodata, masks)
    patches, observed = list(chosen.patches), list(chosen.observed)
    if outliers:
        patches, observed = without_outliers(chosen, nodata, scale, noise)
        if any(a is not b for a, b in zip(patches, chosen.patches, strict=True)):
            pixels = [patch.pixels for patch in patches]
            scale = measure_scale(pixels, nodata, fixed_range, masks)
            noise, levels = _noise(pixels, nodata, masks)
    return Prepared(patches, observed, nodata, scale, noise, levels)


def _noise(
    pixels: list[NDArray[Any]], nodata: NoData, masks: list[NDArray[np.bool_] | None]
) -> tuple[tuple[NoiseModel, ...], list[NoiseLevels]]:
    """Noise of each sample of patches, and what it was fitted to."""
    levels = measure_levels(pixels, nodata, masks)
    return fit_noise(levels, measure_smear(pixels, nodata, masks)), levels


def scale_of_counts(
    scale: ValueScale,
    noise: tuple[NoiseModel, ...],
    patches: Sequence[Patch],
    nodata: NoData,
    asked: Asked,
) -> tuple[ValueScale, bool]:
    """The scale of counts if values are, and whether the answer's means are to be kept."""
    if not all(n.gain for n in noise):
        return scale, False
    dtype = patches[0].pixels.dtype
    wider = scale if asked.fixed_range else holding_noise(scale, noise, dtype)
    if asked.transform == "none":
        return wider, False
    some = max(1, sum(patch.pixels[..., 0].size for patch in patches) // ENOUGH_VALUES)
    values = [
        np.concatenate([measured_of(p.pixels, i, nodata, p.given)[::some] for p in patches])
        for i in range(len(noise))
    ]
    counting = judge_counts(noise, values, asked.transform, asked.knows_counts)
    if not counting or (asked.transform == "auto" and reaches_beyond(values, scale)):
        return wider, False
    kept = scale if counting.bend else wider
    return counted_scale(kept, noise, counting), counting.keep_means


def without_outliers(
    chosen: Choice, nodata: NoData, scale: ValueScale, noise: Sequence[NoiseModel]
) -> tuple[list[Patch], list[Observed]]:
    """The same patches, and parts of them, with stand-ins for outliers, unless these are a few that
    the base range holds.
    """
    from unetmm.intensities import outlier_search

    matters = [False]

    def cleaned(patch: Patch) -> Patch:
        mask = valid_mask(patch.pixels, nodata, patch.given)
        pixels = outlier_search.without_outliers(patch.pixels, mask, scale, noise)
        if pixels is patch.pixels:
            return patch
        changed = np.abs(np.subtract(pixels, patch.pixels, dtype=np.float64))
        many = np.count_nonzero(changed) > FEW_OUTLIERS * changed.size
        matters[0] |= many or bool(changed.max() > scale.high - scale.low)
        return patch._replace(pixels=pixels)

    patches = [cleaned(patch) for patch in chosen.patches]
    whole = {id(old): new for old, new in zip(chosen.patches, patches, strict=True)}
    parts = [
        replace(one, patch=whole[id(one.patch)] if id(one.patch) in whole else cleaned(one.patch))
        for one in chosen.observed
    ]
    return (patches, parts) if matters[0] else (list(chosen.patches), list(chosen.observed))


def even_values(
    patches: Sequence[Patch], nodata: NoData, noise: Sequence[NoiseModel]
) -> tuple[float, ...]:
    """The one stored value of each sample, where all measured pixels of patches have the same."""
    if any(model.gain or model.read for model in noise):
        return ()
    found = []
    for i in range(len(noise)):
        parts = (measured_of(p.pixels, i, nodata, p.given) for p in patches)
        spans = [(float(part.min()), float(part.max())) for part in parts if part.size]
        if not spans or min(spans)[0] != max(high for _, high in spans):
            return ()
        found.append(spans[0][0])
    return tuple(found)


def saturated_levels(
    patches: Sequence[Patch], nodata: NoData, noise: Sequence[NoiseModel]
) -> tuple[float, ...]:
    """Stored value of each sample at which a sensor saturates below the limit of its type, such as
    4095 of 16 bits; infinite where it does not, none at all if it does nowhere.

    That is the largest value, on areas of pixels and not on single ones, and far more frequent than
    those just below it. In 8 bits it is the limit of the type, or a matter of taste.
    """
    dtype = patches[0].pixels.dtype
    if dtype.itemsize == 1 or not any(model.gain or model.read for model in noise):
        return ()
    limit = np.inf if dtype.kind == "f" else float(np.iinfo(dtype).max)
    found = [_saturated_level(patches, i, nodata) for i in range(patches[0].pixels.shape[-1])]
    levels = tuple(level if level < limit else np.inf for level in found)
    return levels if np.isfinite(levels).any() else ()


def _saturated_level(patches: Sequence[Patch], sample: int, nodata: NoData) -> float:
    parts = [measured_of(p.pixels, sample, nodata, p.given) for p in patches]
    values = np.concatenate(parts)
    if not values.size:
        return np.inf
    level, low = float(values.max()), float(np.median(values))
    near = np.count_nonzero(values > level - BELOW_SHARE * (level - low))
    full = np.count_nonzero(values == level)
    if level <= low or full < PILED * (near - full) or full < SATURATED_SHARE * values.size:
        return np.inf
    areas = 0
    for patch in patches:
        same = patch.pixels[..., sample] == level
        areas += int(
            np.count_nonzero(same[1:, 1:] & same[:-1, 1:] & same[1:, :-1] & same[:-1, :-1])
        )
    return level if areas > full / 4 else np.inf


def not_below(found: Prepared) -> float | None:
    """Value that light and its noise stay above; None where values are negative by nature.

    What is below 0 by no more than what computing with floats leaves is 0.
    """
    least, width = 0.0, found.scale.high - found.scale.low
    for patch in found.patches:
        for i in range(patch.pixels.shape[-1]):
            measured = measured_of(patch.pixels, i, found.nodata, patch.given)
            least = min(least, float(measured.min())) if measured.size else least
    if least >= -ROUNDED_SHARE * width:
        return 0.0
    return MORE_NOISE * least if least >= -NOISE_SHARE * width else None


def noise_share(found: Prepared) -> float:
    """Deviation of white noise as a share of the range, of the noisiest sample; 0 if not known."""
    width = found.scale.high - found.scale.low
    level = np.array(found.scale.fill)
    white = (model for model in found.noise if model.correlation < SMEARED)
    return max((float(model.deviation(level)) / width for model in white), default=0.0)


def point_rules(
    patches: Sequence[Patch], nodata: NoData, scale: ValueScale, noise: Sequence[NoiseModel]
) -> tuple[PointRule, ...]:
    """What tells point sources in each sample, by a scale that is a line."""

    def seen(sample: int) -> Iterator[NDArray[np.float32]]:
        for patch in patches:
            mask = valid_mask(patch.pixels, nodata, patch.given)
            values = np.empty((*patch.pixels.shape[:2], 1), np.float32)
            normalise(patch.pixels[..., sample : sample + 1], None, scale, values)
            if mask is not None:
                values[..., 0][~mask[..., sample]] = np.nan
            yield values[..., 0]

    return tuple(rule_of(seen(i), model, scale) for i, model in enumerate(noise))
