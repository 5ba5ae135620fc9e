"""What the noise of an input is like, by places spread over it: its deviation, and its spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.image_noise import ImageNoise, in_words, survey_noise
from unetmm.intensities.smear import FARTHEST_PX, NO_SMEAR, TABLE_PX, Smear
from unetmm.intensities.validity import NOTHING, NoData, measured_values, valid_mask
from unetmm.quality.trust.blocks import (
    ALL_BANDS,
    BANDS,
    BLOCK_PX,
    COLUMNS,
    CORNERS,
    DISTANCE,
    EDGES,
    LINE,
    WEIGHTS,
    Numbers,
)

ROUNDING = 0.289
"""Deviation of what rounding to integers adds; noise is hardly ever taken for less."""
LEAST_SHARE = 1e-3
"""Smallest deviation that counts, as a share of the range of the values: what is made up of less is
not seen."""
SEEN_BANDS = (np.where(DISTANCE <= EDGES[0], WEIGHTS, 0.0), *BANDS[:-1], BANDS[-1] + CORNERS)
"""Bands in which noise is looked at in flat places; they hold all frequencies."""
SMALL = 1e-3
"""Range of values below which they are made larger for a look: some of it knows no smaller ones."""
LEAST_POWER = 0.03
"""Smallest noise at a frequency, as a share of its mean over all of them."""
MOST_TIMES = 4.0
"""Largest factor by which what was removed in flat places makes noise seem stronger."""

SURELY = 4.0
"""Factor by which white noise exceeds the smallest that counts where it is noise beyond doubt."""


@dataclass(frozen=True)
class LayerNoise:
    """Noise of one sample of one channel of the input."""

    survey: ImageNoise | None
    """Noise as it was measured; None where it could not be told."""
    least: float
    """Smallest deviation that is taken for noise, in stored units."""
    spectrum: Numbers
    """Power of noise of deviation 1 by frequency, seen through the window."""
    chance: Numbers
    """Power by frequency that chance may put into what was removed, for noise of deviation 1."""
    origin: float
    """Stored value of what was 0 when noise was measured."""
    unit: float
    """Stored difference of what was 1 then."""

    @property
    def is_smeared(self) -> bool:
        """Whether neighbours' noise is alike, as cameras and JPEG leave it."""
        return self.survey is not None and max(self.survey.smears[0].reach_px) > 0

    @classmethod
    def of(
        cls,
        patches: Sequence[NDArray[Any]],
        nodata: NoData,
        masks: Sequence[NDArray[np.bool_] | None],
        spread: float,
        origin: float = 0.0,
    ) -> LayerNoise:
        """Noise by patches (height, width, 1) of the input.

        Parameters
        ----------
        spread : distance between its dark and bright values.
        origin : value beside which they vary so little that their digits would not do.
        """
        is_float = not patches or patches[0].dtype.kind == "f"
        unit = spread if is_float and 0 < spread < SMALL else 1.0
        if origin or unit != 1:
            masks = [valid_mask(p, nodata, m) for p, m in zip(patches, masks, strict=True)]
            masks = [None if mask is None else np.asarray(mask.all(-1)) for mask in masks]
            patches, nodata = [(p - np.float64(origin)) / unit for p in patches], NOTHING
        survey = survey_noise(patches, nodata, masks) if patches else None
        least = max(LEAST_SHARE * spread, 1e-30 if is_float else _rounding(patches, nodata, masks))
        spectrum = noise_spectrum(NO_SMEAR if survey is None else survey.smears[0])
        return cls(survey, least, spectrum, spectrum, origin, unit)

    def deviation(self, means: NDArray[Any]) -> Numbers:
        """Deviation of the noise where blocks have these means."""
        if self.survey is None:
            return np.full(len(means), self.least)
        values = (np.asarray(means, np.float64) - self.origin) / self.unit
        found: Numbers = self.survey.deviation(values[:, None])[:, 0] * self.unit
        return np.maximum(found, self.least)

    def seeing(self, before: Numbers, removed: Numbers) -> LayerNoise:
        """With what flat places show: noise is not stronger than the input there, and chance may do
        what was removed there.

        Parameters
        ----------
        before, removed : power by frequency of the input, and of what was removed.
        """
        noise, chance = self.spectrum.copy(), self.spectrum.copy()
        floor = max(LEAST_POWER, (self.least / self.level) ** 2)
        for band in SEEN_BANDS:
            usual = float(self.spectrum @ band)
            noise[band > 0] *= min(1.0, max(floor, float(before @ band) / usual))
            times = max(float(noise @ band), float(removed @ band)) / usual
            chance[band > 0] *= min(times, MOST_TIMES)
        return LayerNoise(self.survey, self.least, noise, chance, self.origin, self.unit)

    @property
    def is_known(self) -> bool:
        """Whether there is noise that could be told."""
        return self.survey is not None

    @property
    def is_sure(self) -> bool:
        """Whether it is noise beyond doubt: independent from pixel to pixel, which no texture is,
        and stronger than what rounding leaves.
        """
        if self.survey is None:
            return False
        return self.survey.is_white and self.survey.level * self.unit > SURELY * self.least

    @property
    def level(self) -> float:
        """Deviation in the middle of the values."""
        if self.survey is None:
            return self.least
        return max(self.survey.level * self.unit, self.least)

    @property
    def words(self) -> str:
        """Noise for a reader."""
        if self.survey is None:
            return "none that can be told"
        return in_words([self.survey]) if self.unit == 1 else f"about {self.level:.2g}"


def _rounding(
    patches: Sequence[NDArray[Any]], nodata: NoData, masks: Sequence[NDArray[np.bool_] | None]
) -> float:
    """Deviation of what rounding adds; no more than that of the values, which few counts have."""
    pairs = zip(patches, masks, strict=True)
    values = np.concatenate([measured_values(patch, nodata, mask) for patch, mask in pairs])
    deviation = float(values.std(dtype=np.float64)) if values.size else 0.0
    return min(ROUNDING, deviation or ROUNDING)


def noise_spectrum(smear: Smear) -> Numbers:
    """Power of noise of variance 1 by frequency, seen through the window."""
    steps = np.arange(TABLE_PX)
    signed = np.where(steps < TABLE_PX // 2, steps, steps - TABLE_PX)
    fade = np.clip(1 - np.abs(signed) / (FARTHEST_PX + 1), 0, None)
    seen = np.correlate(LINE, LINE, "full")[BLOCK_PX - 1 + signed] * fade
    power = np.fft.fft2(smear.table * np.outer(seen, seen)).real[:, :COLUMNS].ravel()
    power *= BLOCK_PX**2 / max(float((power @ WEIGHTS) / WEIGHTS.sum()), 1e-30)
    found: Numbers = np.maximum(power, LEAST_POWER * BLOCK_PX**2)
    return found


def flat_power(power: Numbers, structure: Numbers, share: float = 0.1) -> Numbers:
    """Mean power by frequency of the blocks with the least structure.

    power : (blocks, frequencies)
    """
    count = max(1, int(np.ceil(share * len(structure))))
    found: Numbers = power[np.argsort(structure, kind="stable")[:count]].mean(0)
    return found


def structure_of(power: NDArray[Any], noise: LayerNoise) -> NDArray[Any]:
    """Structure of blocks of the output, in units of the noise of the input; (blocks,)."""
    weights = ALL_BANDS / noise.spectrum / ALL_BANDS.sum()
    found: NDArray[Any] = power @ weights.astype(power.dtype)
    return found
