"""Clean pictures turned into dim micrographs: optics, photons, detector, stretch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.train.config import MicrographNoise
from unetmm.train.noise.spectrum import blur_image, log_uniform

Patch = NDArray[np.float32]

SCAN_KERNEL = (0.15, 0.7, 0.15)
"""Shares of the pixel before, of a pixel itself, and of the next in what a slow detector sees."""
GAMMA = (0.8, 2.5)
"""Span of the power that makes photographs darker and sparser."""


def make_micrograph(
    clean: Patch, micrograph: MicrographNoise, rng: np.random.Generator
) -> tuple[Patch, Patch]:
    """(c, h, w) in [0, 1] -> a noisy micrograph and its noiseless self, on one scale.

    The scale is what a run would choose: about 0 to 1 for the noisy values.
    """
    signal = clean ** np.float32(rng.uniform(*GAMMA)) if rng.random() < 0.5 else clean
    if rng.random() < micrograph.blur_share:
        signal = np.maximum(blur_image(signal, rng.uniform(*micrograph.blur_px)), 0)
    photons = log_uniform(rng, micrograph.photons)
    background = micrograph.background * rng.random() ** 2
    expected = photons * (signal + background)
    counts = _detected(expected, micrograph, rng)
    low, high = _stretch(counts, expected, rng)
    scale = np.float32(1 / (high - low))
    noisy, target = (counts - low) * scale, (expected - low) * scale
    if rng.random() < micrograph.clip_share:
        noisy = np.rint(np.clip(noisy, 0, 1) * 255) / 255
    return noisy.astype(np.float32), target.astype(np.float32)


def _detected(
    expected: NDArray[np.floating], micrograph: MicrographNoise, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Counts of a detector for an expected number of photons, in photons."""
    counts = rng.poisson(expected).astype(np.float64)
    if rng.random() < micrograph.excess_share:
        # Each photon sets free an exponentially distributed charge: a gamma law for their sum.
        counts = rng.gamma(np.maximum(counts, 1e-9))
    if rng.random() < micrograph.scan_share:
        padded = np.pad(counts, ((0, 0), (0, 0), (1, 1)), mode="reflect")
        width = counts.shape[-1]
        counts = np.sum([k * padded[..., i : i + width] for i, k in enumerate(SCAN_KERNEL)], axis=0)
    read = log_uniform(rng, micrograph.read_electrons)
    return counts + read * rng.standard_normal(counts.shape)


def _stretch(
    counts: NDArray[np.float64], expected: NDArray[np.floating], rng: np.random.Generator
) -> tuple[float, float]:
    """Counts that become 0 and 1: near the ends of what occurs, black at times above the least."""
    low = float(np.percentile(counts, rng.uniform(0, 1)))
    if rng.random() < 0.3:
        low += rng.random() * (float(expected.min()) - low)
    high = float(np.percentile(counts, rng.uniform(99, 100))) * rng.uniform(1.0, 1.5)
    return low, max(high, low + 1.0)
