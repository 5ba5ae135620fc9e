"""What the noise of an image is like, all in all: its level, its growth, and how far it is smeared.

Fine texture that is nowhere flat looks like noise, so a level is an upper bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.noise import NoiseModel, measure_noise
from unetmm.intensities.smear import NO_SMEAR, WHITE, Smear, measure_smear
from unetmm.intensities.validity import NOTHING, NoData, measured_of

GROWS = 0.3
"""Share of the variance of bright pixels that grew with the signal, from which on that is said."""

PARTLY_WHITE = 0.25
"""Share of the variance that is independent from pixel to pixel, from which on what is left may be
fine texture: smeared noise of cameras, of compression and of enlarged images has less."""
REGULAR = 0.6
"""Correlation of far pixels from which on what is taken for noise is a regular pattern."""

FEW_PHOTONS = 2.0
"""Mean number of photons of a pixel below which most pixels have fewer than that."""
MOST_CHANNELS = 3
"""Largest number of channels whose noise stands for that of an image."""


@dataclass(frozen=True)
class ImageNoise:
    """Noise of one channel and group of samples, as it was found on patches of the image."""

    models: tuple[NoiseModel, ...]
    """Growth with the signal and noise in the dark, as second differences see it, by sample."""
    smears: tuple[Smear, ...]
    """Distance over which it is smeared, by sample."""
    median: tuple[float, ...]
    """Stored value in the middle of each sample's values."""
    bright: tuple[float, ...]
    """Stored value that one in a hundred exceeds, by sample."""

    def deviation(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Deviation of the noise of pixels (..., samples) with these stored values."""
        found = [
            model.deviation(values[..., i]) / np.sqrt(smear.seen_share)
            for i, (model, smear) in enumerate(zip(self.models, self.smears, strict=True))
        ]
        return np.stack(found, -1)

    @property
    def level(self) -> float:
        """Deviation at the median, the mean of all samples."""
        return float(self.deviation(np.array([self.median])).mean())

    @property
    def growth(self) -> float:
        """Share of the variance of bright pixels that grew with the signal, mean of all samples."""
        shares = [
            1 - model.read**2 / max(float(model.variance(np.array(bright))), 1e-300)
            for model, bright in zip(self.models, self.bright, strict=True)
        ]
        return float(np.mean(shares))

    @property
    def photons(self) -> float:
        """Photons of bright pixels, the most of all samples; infinite where none are counted."""
        counts = [
            (bright - model.offset) / model.gain if model.gain else np.inf
            for model, bright in zip(self.models, self.bright, strict=True)
        ]
        return float(max(counts))

    @property
    def neighbours(self) -> float:
        """Correlation of neighbours along the axis where it is larger, mean of all samples."""
        return float(np.mean([max(smear.neighbours) for smear in self._measured]))

    @property
    def white_share(self) -> float:
        """Share of the variance that is independent from pixel to pixel, mean of all samples."""
        return float(np.mean([smear.white_share for smear in self._measured]))

    @property
    def is_white(self) -> bool:
        """Whether it is independent from pixel to pixel in all samples."""
        return all(smear.is_white for smear in self._measured)

    @property
    def may_be_texture(self) -> bool:
        """Whether what neighbours have in common may be fine texture beside independent noise."""
        pairs = np.mean([smear.neighbours for smear in self._measured], 0)
        either_way = pairs.min() > max(WHITE, pairs.max() / 2)  # rows and columns are noise
        return bool(self.white_share > PARTLY_WHITE and either_way)

    @property
    def is_regular(self) -> bool:
        """Whether a regular pattern fills the flattest places, and hides noise."""
        return max(smear.far for smear in self._measured) > REGULAR

    @property
    def reach_px(self) -> tuple[int, int]:
        """Rows and columns over which it is smeared, most of all samples."""
        down, across = zip(*(smear.reach_px for smear in self.smears), strict=True)
        return max(down), max(across)

    @property
    def _measured(self) -> list[Smear]:
        """The smears of the samples whose noise could be told."""
        return [smear for smear in self.smears if smear is not NO_SMEAR] or list(self.smears)


def channels_looked_at(count: int) -> list[int]:
    """Numbers of the channels whose noise stands for that of an image with so many of them."""
    return sorted({i * count // MOST_CHANNELS for i in range(MOST_CHANNELS)})


def survey_noise(
    patches: Sequence[NDArray[Any]],
    nodata: NoData = NOTHING,
    masks: Sequence[NDArray[np.bool_] | None] = (),
) -> ImageNoise | None:
    """The noise of an image by patches (height, width, samples); None where it cannot be told of
    any sample. Samples without noise, such as a colour that is nowhere, have none.

    Parameters
    ----------
    nodata : what tells pixels without a measurement.
    masks : those that came with the patches; none at all if none did.
    """
    smears = measure_smear(patches, nodata, masks)
    return noise_of(measure_noise(patches, nodata, masks, smears), patches, nodata, masks, smears)


def noise_of(
    models: tuple[NoiseModel, ...],
    patches: Sequence[NDArray[Any]],
    nodata: NoData,
    masks: Sequence[NDArray[np.bool_] | None],
    smears: Sequence[Smear | None] = (),
) -> ImageNoise | None:
    """As `survey_noise`, where its level and growth are measured already, and `smears` may be."""
    measured = smears or measure_smear(patches, nodata, masks)
    if not any(m.read or m.gain for m in models) or not any(measured):
        return None
    known = tuple(smear or NO_SMEAR for smear in measured)
    beside = masks or [None] * len(patches)
    quantiles = []
    for i in range(len(models)):
        parts = [measured_of(p, i, nodata, m) for p, m in zip(patches, beside, strict=True)]
        values = np.concatenate(parts)
        quantiles.append(_levels(values, models[i]) if values.size else np.zeros(2))
    median, bright = (tuple(map(float, q)) for q in zip(*quantiles, strict=True))
    return ImageNoise(models, known, median, bright)


def _levels(values: NDArray[Any], model: NoiseModel) -> NDArray[np.float64]:
    """The middle one of the values, and one that few exceed. Of few photons most pixels have none,
    and the mean is in the middle.
    """
    median, bright = np.percentile(values, (50, 99))
    mean = float(values.mean(dtype=np.float64))
    is_few = median < mean < model.offset + FEW_PHOTONS * model.gain
    return np.array([mean if is_few else median, bright])


def in_words(noise: Sequence[ImageNoise]) -> str:
    """Noise of an image in words for a reader, such as "about 4, smeared over 2 px"."""
    levels = [one.level for one in noise]
    low, high = min(levels), max(levels)
    # Two digits, of large numbers as of small ones: 4600, not 4.6e+03.
    least, most = (f"{float(f'{level:.2g}'):.10g}" for level in (low, high))
    told = f"about {least}" if high < 1.5 * low else f"about {least} to {most} by channel"
    parts = [told]
    if np.mean([one.growth for one in noise]) > GROWS:
        parts.append("grows with the signal")
    down, across = (max(r) for r in zip(*(one.reach_px for one in noise), strict=True))
    if all(one.is_regular for one in noise):
        parts.append("hidden by a regular pattern")
    elif all(one.may_be_texture for one in noise):
        parts.append("perhaps in part fine texture")
    elif down and across:
        parts.append(f"smeared over {max(down, across) + 1} px")
    elif down or across:
        along = "columns" if down else "rows"
        parts.append(f"smeared over {max(down, across) + 1} px along {along}")
    return ", ".join(parts)
