"""Resolution of a single image by decorrelation analysis: up to which frequency phases agree.

The image is compared with itself after all of its frequencies were made equally strong, first all
of them, then those above ever higher limits. Where noise begins, the agreement falls.

Source: A. Descloux, K. Grussmayer, A. Radenovic, Parameter-free image resolution estimation based
on decorrelation analysis, 2019; steps and constants as in NanoPyx, which follows the authors'
plugin.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FADE_PX = 20
"""Width of the edge over which an image fades into its mean."""
RINGS = 50
"""Number of frequencies at which the agreement is told."""
FILTERS = 10
"""Number of limits below which frequencies are dimmed, in each of two rounds."""
FINEST_PX = 0.14
"""Deviation in pixels of the narrowest Gaussian whose smoothing is taken away."""
NOTHING_PX = 0.177
"""Deviation in pixels below which a Gaussian of single precision smooths nothing."""
LEAST_DROP = 0.001
"""Drop of the agreement behind a peak from which on it is one."""
BEFORE, BEHIND = 0.05, 0.3
"""Distance from the peaks of the first round, as a share of the largest frequency, in which the
second one looks."""
LEAST_PX = 64
"""Smallest height and width of an image whose resolution is told."""

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class _Peaks:
    """Peaks of several curves."""

    places: Numbers
    """Frequency of each peak as a share of the largest one."""
    heights: Numbers
    """Agreement there."""

    @property
    def best(self) -> int:
        """Number of the curve whose place and height are largest together."""
        return int(np.argmax(self.places * self.heights))

    @property
    def farthest(self) -> int:
        """Number of the curve whose peak lies at the largest frequency."""
        return int(np.argmax(self.places))


def decorrelation_px(image: NDArray[Any]) -> float | None:
    """Smallest distance in pixels that an image (height, width) resolves; None if it shows none.

    It is 2 where details reach as far as pixels can hold them. Noise is no detail, but what a
    restoration makes up is taken for one.
    """
    if min(image.shape) < LEAST_PX:
        return None
    spectrum = _Spectrum(_padded(_faded(image.astype(np.float64))))
    if not spectrum.sizes.any():
        return None
    place = spectrum.farthest_peak()
    return 2 / place if place > 0 else None


class _Spectrum:
    """Sizes of the frequencies of a square image."""

    def __init__(self, image: Numbers) -> None:
        side = len(image)
        self.side = side
        self.sizes = np.abs(np.fft.rfft2(image))
        self.sizes[0, 0] = 0
        down, across = np.fft.fftfreq(side), np.fft.rfftfreq(side)
        self.distance = 2 * np.hypot(down[:, None], across)
        self.weights = np.full(self.sizes.shape, 2.0)
        self.weights[:, [0, -1]] = 1
        self.inside = self.distance <= 1

    def farthest_peak(self) -> float:
        """Frequency up to which the image carries detail, as a share of the largest one."""
        first = _peak(self.curve(None, 0.0, 1.0), 0.0, 1.0)
        coarsest = self.side / 2 if first[0] == 0 else 2 / first[0]
        finest = FINEST_PX
        peaks = self.peaks(finest, coarsest, 0.0, 1.0, first)
        near = sorted((float(peaks.places[peaks.best]), float(peaks.places[peaks.farthest])))
        low, high = max(0.0, near[0] - BEFORE), min(1.0, near[1] + BEHIND)
        begin, end = sorted((peaks.best, peaks.farthest))
        begin -= 1
        if end < FILTERS:
            step = math.log(coarsest / finest) / (FILTERS - 1)
            finest, coarsest = finest * math.exp(step * begin), finest * math.exp(step * end)
        else:
            finest, coarsest = 2 / self.side, finest
        refined = self.peaks(finest, coarsest, low, high)
        return float(refined.places[refined.farthest])

    def peaks(
        self,
        finest: float,
        coarsest: float,
        low: float,
        high: float,
        last: tuple[float, float] | None = None,
    ) -> _Peaks:
        """The peaks after what Gaussians of several deviations, in pixels, leave was taken away."""
        widths = np.exp(np.linspace(math.log(finest), math.log(coarsest), FILTERS))
        found = [_peak(self.curve(float(width), low, high), low, high) for width in widths]
        found += [] if last is None else [last]
        places, heights = np.array(found).T
        return _Peaks(places, heights)

    def curve(self, width: float | None, low: float, high: float) -> Numbers:
        """Agreement by frequency, RINGS of them from `low` to `high`."""
        sizes = self.sizes
        if width is not None and width < NOTHING_PX:
            return np.zeros(RINGS)
        if width is not None:
            down, across = np.fft.fftfreq(self.side), np.fft.rfftfreq(self.side)
            sizes = sizes * (1 - np.outer(_transfer(width, down), _transfer(width, across)))
        inside, weights = self.inside, self.weights
        whole = math.sqrt(float((np.square(sizes) * weights)[inside].sum()))
        within = inside & (self.distance <= high)
        ring = (self.distance[within] - low) / (high - low) * (RINGS - 1)
        rings = np.rint(np.clip(ring, 0, None)).astype(int)
        agreement = np.bincount(rings, (sizes * weights)[within], RINGS).cumsum()
        count = np.bincount(rings, (weights * (sizes > 0))[within], RINGS).cumsum()
        found: Numbers = agreement / np.maximum(whole * np.sqrt(count), 1e-300)
        return found


def _peak(curve: Numbers, low: float, high: float) -> tuple[float, float]:
    """Frequency and height of the last peak of a curve that is followed by a drop."""
    curve = curve.copy()
    end = len(curve) - 1
    at = int(curve.argmax())
    while at == end:
        curve[end] = 0
        end -= 1
        if end < 0:
            return low, 0.0
        at = int(curve.argmax())
        least = float(curve[at : max(end, at + 1)].min())
        if curve[at] - least > LEAST_DROP:
            break
        curve[at] = least
        at = end
    return low + (high - low) * at / (len(curve) - 1), float(curve[at])


def _transfer(width: float, frequencies: NDArray[np.floating[Any]]) -> Numbers:
    """What a Gaussian of this deviation, cut off at four of them, leaves of each frequency."""
    reach = int(4 * width + 0.5)
    steps = np.arange(1, reach + 1)
    weights = np.exp(-(steps**2) / (2 * width**2))
    found = 1 + 2 * (weights * np.cos(2 * np.pi * np.outer(frequencies, steps))).sum(1)
    return np.asarray(found / (1 + 2 * weights.sum()), np.float64)


def _faded(image: Numbers) -> Numbers:
    """The image with edges that fade into the mean of what lies around it."""
    height, width = image.shape
    y = np.arange(height) - height / 2
    x = np.arange(width) - width / 2
    outside = np.hypot(y[:, None], x) > width / 2 - FADE_PX
    mean = float(image[outside].mean()) if outside.any() else float(image.mean())
    near = np.minimum.outer(height / 2 - np.abs(y), width / 2 - np.abs(x))
    fade = np.where(near <= FADE_PX, (np.cos(near * np.pi / FADE_PX - np.pi) + 1) / 2, 1.0)
    found: Numbers = fade * (image - mean) + mean
    return found


def _padded(image: Numbers) -> Numbers:
    """The image in a square whose side is a power of two."""
    side = 2 ** math.ceil(math.log2(max(image.shape)))
    found = np.full((side, side), image[0, 0])
    y, x = ((side - n) // 2 for n in image.shape)
    found[y : y + image.shape[0], x : x + image.shape[1]] = image
    return found
