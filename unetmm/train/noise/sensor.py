"""Noise that is independent from pixel to pixel: white, and of photons.

Source: the Poisson-Gaussian model of Foi et al., Practical Poissonian-Gaussian noise modeling and
fitting for single-image raw-data (2008), section II. Photons are drawn as true counts.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.train.noise.spectrum import log_uniform

Patch = NDArray[np.float32]
Pair = tuple[Patch, Patch]
"""Noisy patch and what a net should make of it, (c, h, w) each, black 0 and white 1."""

WHITE_MAX = 55 / 255
"""Largest standard deviation of white noise."""
PHOTONS = (1.5, 3000.0)
"""Span of the photons at white, drawn log-uniformly."""
READ_MAX = 15 / 255
"""Largest standard deviation of the read noise on top of photons."""


BELOW_WHITE_PERCENT = 99.5
"""Share of the noisy values that a range holds."""


def white(clean: Patch, rng: np.random.Generator) -> Pair:
    """Gaussian noise of one level, uniformly between 0 and `WHITE_MAX`; not clipped."""
    sigma = np.float32(rng.uniform(0, WHITE_MAX))
    return clean + sigma * rng.standard_normal(clean.shape, np.float32), clean


def photons(clean: Patch, rng: np.random.Generator) -> Pair:
    """Counted photons times a gain, and read noise; linear, not clipped."""
    at_white = log_uniform(rng, PHOTONS)
    counts = rng.poisson(np.maximum(clean, 0) * at_white) / at_white
    read = rng.uniform(0, READ_MAX) * rng.random()
    noisy = counts + read * rng.standard_normal(clean.shape)
    return in_range((noisy.astype(np.float32), clean))


def in_range(pair: Pair) -> Pair:
    """Both scaled alike so that all but the brightest noisy values stay at or below white.

    A run chooses its range so too; otherwise strong noise would be cut off on one side.
    """
    noisy, target = pair
    white = np.float32(np.percentile(noisy, BELOW_WHITE_PERCENT))
    return (noisy / white, target / white) if white > 1 else pair


def spread(clean: Patch, rng: np.random.Generator, largest: float = WHITE_MAX) -> Patch:
    """Standard deviation of each pixel's noise where it follows the signal to a random degree.

    At white it is at most `largest`; low levels are more frequent than high ones.
    """
    at_white = largest * rng.random() ** 1.5
    shot = rng.random()
    variance = at_white**2 * (shot * np.clip(clean, 0, 1) + 1 - shot)
    deviation: Patch = np.sqrt(variance).astype(np.float32)
    return deviation
