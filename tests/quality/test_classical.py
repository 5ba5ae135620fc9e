"""What the comparison with BM3D and non-local means stands on: noise levels and the transform."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import classical  # noqa: E402

SLOPE, OFFSET = 3.0, 40.0


def scene() -> classical.Image:
    """Smooth, (256, 256, 1), 20 to 200."""
    y, x = np.mgrid[:256, :256]
    return (110 + 90 * np.sin(x / 30) * np.cos(y / 40))[..., None]


def poisson_gaussian(clean: classical.Image, seed: int = 0) -> classical.Image:
    """Noise of variance SLOPE * value + OFFSET."""
    rng = np.random.default_rng(seed)
    return SLOPE * rng.poisson(clean / SLOPE) + rng.normal(0, OFFSET**0.5, clean.shape)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("sigma", [3.0, 25.0])
def test_level_of_white_noise_is_found(channels: int, sigma: float) -> None:
    noise = np.random.default_rng(1).normal(0, sigma, (256, 256, channels))
    assert classical.estimate_sigma(scene() + noise) == pytest.approx(sigma, rel=0.04)


def test_transform_makes_noise_alike_and_its_inverse_is_unbiased() -> None:
    forward, inverse = classical.anscombe(SLOPE, OFFSET)
    for mean in (5.0, 30.0, 200.0):
        noisy = poisson_gaussian(np.full((300, 300, 1), mean))
        stable = forward(noisy)
        assert stable.std() == pytest.approx(1, abs=0.08), mean
        restored = float(inverse(np.full((1, 1, 1), stable.mean()))[0, 0, 0])
        assert restored == pytest.approx(mean, rel=0.02, abs=0.3), mean


def test_stabilised_method_gets_white_noise_of_the_level_it_is_told() -> None:
    clean = scene()
    told = []

    def perfect(noisy: classical.Image, sigma: float) -> classical.Image:
        told.append((sigma, noisy))
        return noisy

    noisy = poisson_gaussian(clean)
    restored = classical.stabilised(noisy, perfect)
    (sigma, stretched), *more = told
    assert not more
    blocks = stretched.reshape(8, 32, 8, 32).transpose(0, 2, 1, 3).reshape(64, -1)
    dark, bright = np.argsort(blocks.mean(1))[[0, -1]]
    for block in (dark, bright):
        steps = np.diff(blocks[block].reshape(32, 32), axis=1)
        assert steps.std() / 2**0.5 == pytest.approx(sigma, rel=0.12)
    assert abs(float((restored - noisy).mean())) < 2.5, "the inverse undoes the transform"
