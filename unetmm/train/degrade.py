"""Noise added to clean patches while training."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.train.config import NoiseConfig


def add_noise(
    clean: NDArray[np.float32], noise: NoiseConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(b, c, h, w) in [0, 1] -> the same with noise, not clipped; each sample has its own level.

    Gaussian: one sigma. Poisson-Gaussian: variance = gain * signal + sigma**2, drawn as a true
    Poisson count, with the gain chosen so that white has up to sigma_max of shot noise.
    """
    b = clean.shape[0]
    shape = (b, 1, 1, 1)
    sigma_max = noise.sigma_max / 255
    sigma = rng.uniform(0, sigma_max, shape)
    is_poisson = rng.random(shape) < noise.poisson_share
    gain = rng.uniform(0.02 * sigma_max, sigma_max, shape) ** 2
    read_sigma = np.where(is_poisson, 0.4 * sigma, sigma).astype(np.float32)
    signal = np.where(is_poisson, gain * rng.poisson(clean / gain), clean).astype(np.float32)
    return signal + read_sigma * rng.standard_normal(clean.shape, np.float32)
