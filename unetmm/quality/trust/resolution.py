"""The finest detail of an image, in the part of it with most structure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.quality.trust.blocks import BANDS, Numbers
from unetmm.quality.trust.decorrelation import LEAST_PX, decorrelation_px
from unetmm.quality.trust.noise import LayerNoise
from unetmm.quality.trust.pair import Layer, Pair
from unetmm.quality.trust.places import ResolvedPart
from unetmm.quality.trust.sums import LayerSums

THRESHOLD = 1 / 7
"""Correlation of rings below which detail is lost in noise (Rosenthal, Henderson 2003)."""
INDEPENDENT = 0.15
"""Largest correlation of neighbours' noise for which halves of one image have none in common."""
SMOOTHED_RINGS = 5
"""Number of rings that a mean is taken of."""


@dataclass(frozen=True)
class Resolution:
    """Finest detail, in pixels; None where it cannot be told."""

    decorrelation_before: float | None
    """Finest detail of the input by decorrelation analysis."""
    decorrelation_after: float | None
    """Finest detail of the output by decorrelation analysis."""
    rings_before: float | None
    """Finest detail of the input by Fourier ring correlation: with the reference, or of its halves,
    which tell no finer detail than of 4 px."""
    rings_after: float | None
    """Finest detail of the output by Fourier ring correlation with the reference."""


@dataclass(frozen=True)
class Truth:
    """Distance from a reference."""

    error_before: float
    """Root of the mean squared error of the input, in stored units."""
    error_after: float
    """Root of the mean squared error of the output."""
    coherence: tuple[float, ...]
    """Correlation of the output with the reference by band of frequencies."""

    @property
    def gain_db(self) -> float:
        """Improvement in decibels."""
        if not self.error_after or not self.error_before:
            return 0.0 if self.error_before == self.error_after else float("inf")
        return float(20 * np.log10(self.error_before / self.error_after))


def measure_resolution(
    pair: Pair, layer: Layer, part: ResolvedPart, noise: LayerNoise
) -> Resolution:
    """Finest detail in a part of both images."""
    found = pair.read(part.number, part.box)(layer)
    images = [_filled(p.values, p.measured) for p in found]
    if min(images[0].shape) < LEAST_PX:
        return Resolution(None, None, None, None)
    told = [decorrelation_px(image) for image in images[:2]]
    if len(images) > 2:
        rings = [ring_correlation_px(image, images[2]) for image in images[:2]]
        return Resolution(told[0], told[1], rings[0], rings[1])
    is_white = noise.survey is not None and noise.survey.neighbours < INDEPENDENT
    halves = _halves(images[0]) if is_white else None
    before = None if halves is None else ring_correlation_px(*halves)
    return Resolution(told[0], told[1], None if before is None else 2 * before, None)


def ring_correlation_px(one: NDArray[Any], other: NDArray[Any]) -> float | None:
    """Finest detail in pixels that two images have in common; None if they have none.

    Source: van Heel 1987; Nieuwenhuizen et al. 2013.
    """
    side = min(one.shape)
    tapered = [_tapered(image[:side, :side].astype(np.float64)) for image in (one, other)]
    a, b = (np.fft.rfft2(image) for image in tapered)
    down, across = np.fft.fftfreq(side), np.fft.rfftfreq(side)
    ring = np.rint(np.hypot(down[:, None], across) * side).astype(int).ravel()
    count = side // 2 + 1
    weights = np.full(a.shape, 2.0)
    weights[:, 0] = 1
    sums = [
        np.bincount(ring, (values * weights).ravel(), ring.max() + 1)[:count]
        for values in ((a * b.conj()).real, np.abs(a) ** 2, np.abs(b) ** 2)
    ]
    curve = sums[0] / np.maximum(np.sqrt(sums[1] * sums[2]), 1e-300)
    ones = np.ones(SMOOTHED_RINGS)
    smooth = np.convolve(curve, ones, "same") / np.convolve(np.ones(count), ones, "same")
    below = np.flatnonzero(smooth[1:] < THRESHOLD)
    if not below.size:
        return 2.0
    at = int(below[0]) + 1
    return side / at if at > 1 else None


def truth_of(sums: LayerSums) -> Truth | None:
    """Distance from the reference; None without one."""
    count, before, after = sums.truth
    if not count:
        return None
    reference, _, common, _, own = sums.rings
    bands = tuple(
        float((common @ b) / max(np.sqrt((reference @ b) * (own @ b)), 1e-300)) for b in BANDS
    )
    return Truth(float(np.sqrt(before / count)), float(np.sqrt(after / count)), bands)


def _filled(values: NDArray[Any], measured: NDArray[np.bool_] | None) -> Numbers:
    """Values, with the mean where nothing is measured."""
    found = values.astype(np.float64)
    if measured is not None:
        found[~measured] = found[measured].mean() if measured.any() else 0.0
    return found


def _halves(image: Numbers) -> tuple[Numbers, Numbers]:
    """Two images of half the size, of the pixels on one and on the other diagonal of 2 x 2.

    Source: Koho et al., Fourier ring correlation simplifies image restoration in fluorescence
    microscopy, 2019; both halves have the same middle.
    """
    height, width = (n // 2 * 2 for n in image.shape)
    cut = image[:height, :width]
    return cut[::2, ::2] + cut[1::2, 1::2], cut[::2, 1::2] + cut[1::2, ::2]


def _tapered(image: Numbers) -> Numbers:
    """The image less its mean, faded towards its edges."""
    line = np.sin(np.pi * (np.arange(len(image)) + 0.5) / len(image)) ** 2
    found: Numbers = (image - image.mean()) * np.outer(line, line)
    return found
