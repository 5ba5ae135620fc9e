"""How strong noise is and how far it is correlated, measured on noisy blocks alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetmm.errors import ImageError

CORRELATED = 0.1
"""Correlation of neighbours above which noise is taken to reach from one to the next."""
STRONGLY_CORRELATED = 0.5
"""Correlation of neighbours above which noise reaches further than one pixel."""
LEAST_VARIANCE = 0.02
"""Share of the mean variance; no part of an image is taken to have less noise."""
RECORRUPTION = 0.5
"""Factor of the noise that is added for an estimate of the error."""
FIT_ROUNDS = 3
"""Rounds of the least-squares fit, each weighted by the variances of the round before."""


@dataclass(frozen=True)
class Noise:
    """Noise of an image: its variance is slope * signal + offset, at least `floor`."""

    slope: float
    offset: float
    floor: float
    correlation: tuple[float, float]
    """Correlation of neighbours down and across; 0 where it is too small to matter."""

    @property
    def reach(self) -> tuple[int, int]:
        """Rows and columns, 0 or 1 each, over which noise is correlated."""
        down, across = self.correlation
        return int(down > 0), int(across > 0)

    def variance(self, signal: Tensor) -> Tensor:
        """Variance of the noise of each pixel, for signal (b, c, h, w)."""
        return (self.slope * signal + self.offset).clamp(min=self.floor)

    def draw(self, variance: Tensor, generator: torch.Generator) -> Tensor:
        """Noise of that variance with this correlation, (b, c, h, w)."""
        white = torch.randn(variance.shape, generator=generator)
        for axis, correlation in zip((2, 3), self.correlation, strict=True):
            if correlation > 0:
                white = _smeared(white, correlation, axis)
        return variance.sqrt() * white


def _smeared(white: Tensor, correlation: float, axis: int) -> Tensor:
    """Weights k, 1, k give neighbours the correlation 2 k / (1 + 2 k^2); the variance stays 1."""
    k = (1 - math.sqrt(max(0.0, 1 - 2 * correlation**2))) / (2 * correlation)
    sides = white.roll(1, axis) + white.roll(-1, axis)
    return (white + k * sides) / math.sqrt(1 + 2 * k**2)


def measure_noise(blocks: NDArray[np.float32]) -> Noise:
    """Noise of blocks (n, c, h, w) of an image.

    Raises
    ------
    ImageError
        If noise reaches further than to a neighbour, or there is none: neither can be told from
        detail.
    """
    axes = [_along_last_axis(blocks.swapaxes(2, 3)), _along_last_axis(blocks)]
    correlations = []
    for variances, shared in axes:
        variance = float(variances.mean())
        correlation = float(shared.mean()) / variance if variance > 0 else math.inf
        if correlation > STRONGLY_CORRELATED:
            raise ImageError(
                "no noise was found that is independent from pixel to pixel, which adapting relies "
                "on; the image was compressed, resampled or denoised before, or is clean: use a "
                "model as it is"
            )
        correlations.append(correlation if correlation > CORRELATED else 0.0)
    down, across = correlations
    variances = (axes[0][0] + axes[1][0]) / 2
    slope, offset = _fit(blocks.mean((1, 2, 3), dtype=np.float64), variances)
    return Noise(slope, offset, LEAST_VARIANCE * float(variances.mean()), (down, across))


def _along_last_axis(
    blocks: NDArray[np.float32],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variance of the noise, and covariance of neighbours, of each block.

    Half the mean squared difference of pixels k apart (a variogram) is that of the signal, smooth
    in k, plus the noise's variance wherever two pixels share no noise. A parabola through k = 2,
    3, 4 therefore meets k = 0 at the variance, and k = 1 as far above what is found there as
    neighbours share noise. Either may come out below 0 where there is hardly any noise.
    """
    width = blocks.shape[-1]
    one, two, three, four = (
        np.square(blocks[..., k:] - blocks[..., : width - k], dtype=np.float64).mean((1, 2, 3)) / 2
        for k in range(1, 5)
    )
    return 6 * two - 8 * three + 3 * four, 3 * two - 3 * three + four - one


def _fit(signal: NDArray[np.float64], variances: NDArray[np.float64]) -> tuple[float, float]:
    """Slope and offset of the variance over the signal, by weighted least squares.

    A variance is known to a share of itself, so blocks with little noise say it best.
    """
    least = 0.1 * max(float(np.median(np.abs(variances))), 1e-12)
    terms = np.stack([signal, np.ones_like(signal)], 1)
    expected = np.abs(variances)
    slope = offset = 0.0
    for _ in range(FIT_ROUNDS):
        weight = 1 / np.maximum(expected, least)
        solution = np.linalg.lstsq(terms * weight[:, None], variances * weight, rcond=None)[0]
        slope, offset = float(solution[0]), float(solution[1])
        expected = slope * signal + offset
    return slope, offset


def estimated_error(
    denoise: torch.nn.Module, noisy: Tensor, noise: Noise, signal: Tensor, draws: int
) -> float:
    """Mean squared error of a denoiser on noisy (b, c, h, w), without a clean image.

    Noise like the image's own is added with one factor and taken away with its inverse: the two
    results share no noise, so the second can judge what the denoiser makes of the first.

    Parameters
    ----------
    signal : an estimate of the clean image, for the variance; the same for all that are compared.
    draws : the more, the less does chance weigh; the same noise is drawn for every denoiser.

    Source
    ------
    Pang et al., Recorrupted-to-Recorrupted (2021), section 3.2; used there as a training loss,
    here to judge. It leaves the denoiser with slightly more noise than there is.
    """
    generator = torch.Generator().manual_seed(0)
    variance = noise.variance(signal)
    total = 0.0
    for _ in range(draws):
        added = noise.draw(variance, generator)
        output = denoise(
            (noisy + RECORRUPTION * added).contiguous(memory_format=torch.channels_last)
        )
        total += float(((output.float() - (noisy - added / RECORRUPTION)) ** 2).mean())
    return total / draws - float(variance.mean()) * (1 + 1 / RECORRUPTION**2)
