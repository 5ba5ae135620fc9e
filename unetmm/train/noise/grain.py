"""Noise that multiplies the picture or follows its brightness: speckle, film grain.

Sources: fully developed speckle as in Goodman, Speckle Phenomena in Optics (2007), chapter 3, with
intensities of a gamma law for several looks. Grain scaled by brightness as in Norkin and Birkbeck,
Film Grain Synthesis for AV1 Video Codec (2018); there it is autoregressive, here blurred.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unetmm.train.noise.sensor import Pair, Patch
from unetmm.train.noise.spectrum import log_uniform, smeared_field

LOOKS_MAX = 32
"""Largest number of looks that speckle is averaged over, from 1 on, drawn log-uniformly."""
LOG_RANGE_DB = (20.0, 50.0)
"""Span of the decibels between black and white where intensities are shown by their logarithm."""
EULER = 0.5772156649015329
GRAIN_SIGMA = (2 / 255, 28 / 255)
"""Span of film grain's standard deviation at middle grey, drawn log-uniformly."""
GRAIN_BLUR_PX = (0.3, 1.6)
"""Span of the blur that makes grains of noise."""


def speckle(clean: Patch, rng: np.random.Generator) -> Pair:
    """Speckle of several looks in intensity, amplitude or its logarithm; mean values are kept."""
    looks = round(log_uniform(rng, (1.0, LOOKS_MAX)))
    intensity = _intensity(clean.shape, looks, rng)
    kind = rng.random()
    if kind < 0.4:
        scale = 10 / math.log(10) / rng.uniform(*LOG_RANGE_DB)
        mean = sum(1 / k for k in range(1, looks)) - EULER - math.log(looks)
        noise = np.log(np.maximum(intensity, 1e-6)) - mean
        return (clean + scale * noise).astype(np.float32), clean
    target = clean * np.float32(rng.uniform(0.4, 1.0))  # bright speckle needs room above
    if kind < 0.7:
        mean = math.exp(math.lgamma(looks + 0.5) - math.lgamma(looks)) / math.sqrt(looks)
        return (target * np.sqrt(intensity) / mean).astype(np.float32), target
    return (target * intensity).astype(np.float32), target


def _intensity(
    shape: tuple[int, ...], looks: int, rng: np.random.Generator
) -> NDArray[np.floating]:
    """Intensities of mean 1, averaged over looks; at times of few looks, grains are larger."""
    if looks > 4 or rng.random() < 0.5:
        return rng.gamma(looks, 1 / looks, shape)
    blur = rng.uniform(0.3, 1.5)
    fields = smeared_field((2 * looks, *shape), (blur, blur), rng)
    return np.asarray(np.mean(fields**2, axis=0))


def film(clean: Patch, rng: np.random.Generator) -> Pair:
    """Grain, strongest at middle grey, partly shared by the channels."""
    blur = rng.uniform(*GRAIN_BLUR_PX)
    own = smeared_field(clean.shape, (blur, blur), rng)
    shared = smeared_field((1, *clean.shape[1:]), (blur, blur), rng)
    angle = rng.uniform(0, np.pi / 2)
    grain = np.cos(angle) * own + np.sin(angle) * shared
    bright = np.clip(clean, 0, 1)
    shape = np.maximum(4 * bright * (1 - bright), 0.02) ** rng.uniform(0.3, 1.0)
    noisy = clean + log_uniform(rng, GRAIN_SIGMA) * shape * grain
    return noisy.astype(np.float32), clean
