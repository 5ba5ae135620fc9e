"""Noise that multiplies the signal is told from all other."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from unetmm.intensities.noise import measure_levels
from unetmm.intensities.speckle import find_speckle

Values = NDArray[np.float64]


def scene() -> Values:
    """Soft fields of 20 to 200."""
    y, x = np.mgrid[:256, :256]
    return 20 * 10 ** (0.5 + 0.5 * np.sin(x / 40) * np.cos(y / 50))


def told(image: Values) -> list[str]:
    return list(find_speckle(measure_levels([image[..., None]])))


@pytest.mark.parametrize("looks", [1, 4, 16])
def test_speckle_of_intensities_is_told(looks: int) -> None:
    speckle = np.random.default_rng(1).gamma(looks, 1 / looks, (256, 256))
    (line,) = told(scene() * speckle)
    assert 0.85 < float(line.split("%")[0].split()[-1]) / 100 * looks**0.5 < 1.15


def test_speckle_of_amplitudes_is_told() -> None:
    speckle = np.random.default_rng(1).gamma(1, 1, (256, 256))
    (line,) = told(np.sqrt(scene() ** 2 * speckle))
    assert "restore decibels or logarithms" in line


def test_other_noise_is_none() -> None:
    rng, clean = np.random.default_rng(1), scene()
    photons = rng.poisson(clean / 10).astype(float)
    white = clean + rng.normal(0, 20, clean.shape)
    decibels = 10 * np.log10(clean * rng.gamma(1, 1, clean.shape))
    for image in (photons, white, decibels, clean, np.full((256, 256), 7.0)):
        assert told(image) == []
    even = 100 * rng.gamma(1, 1, clean.shape)  # of one brightness, by which nothing can be told
    assert told(even) == []
