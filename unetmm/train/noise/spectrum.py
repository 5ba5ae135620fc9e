"""Gaussian blur of small patches, of noise (periodic) and of images (mirrored at the edges)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def blur_noise(noise: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """(..., h, w) blurred as if it went on periodically, which noise without an edge may."""
    if sigma_px <= 0:
        return noise
    h, w = noise.shape[-2:]
    rows, columns = _response(np.fft.fftfreq(h), sigma_px), _response(np.fft.rfftfreq(w), sigma_px)
    response = rows[:, None] * columns
    blurred = np.fft.irfft2(np.fft.rfft2(noise) * response, s=(h, w))
    return blurred.astype(np.float32)


def blur_image(image: NDArray[np.float32], sigma_px: float) -> NDArray[np.float32]:
    """(..., h, w) blurred, mirrored beyond its edges."""
    h, w = image.shape[-2:]
    pad = min(int(np.ceil(4 * sigma_px)), h, w)
    widths = [(0, 0)] * (image.ndim - 2) + [(pad, pad), (pad, pad)]
    padded = np.pad(image, widths, mode="symmetric")
    return blur_noise(padded, sigma_px)[..., pad : pad + h, pad : pad + w]


def smeared_field(
    shape: tuple[int, ...], sigma_px: tuple[float, float], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Gaussian noise (..., h, w) of variance 1, blurred by `sigma_px` down and across.

    It is periodic, and renormalised by what the blur leaves of the variance on average.
    """
    h, w = shape[-2:]
    noise = rng.standard_normal(shape, np.float32)
    down, across = (
        _response(np.fft.fftfreq(h), sigma_px[0]),
        _response(np.fft.fftfreq(w), sigma_px[1]),
    )
    kept = np.sqrt(np.mean(down**2) * np.mean(across**2))
    response = down[:, None] * across[: w // 2 + 1] / kept
    field = np.fft.irfft2(np.fft.rfft2(noise) * response, s=(h, w))
    return field.astype(np.float32)


def _response(frequency: NDArray[np.floating], sigma_px: float) -> NDArray[np.floating]:
    """A Gaussian's transform at frequencies in cycles per pixel."""
    return np.asarray(np.exp(-2 * (np.pi * sigma_px * frequency) ** 2))


def log_uniform(rng: np.random.Generator, span: tuple[float, float]) -> float:
    """A number between the ends of `span`, every factor of it equally likely."""
    return float(np.exp(rng.uniform(np.log(span[0]), np.log(span[1]))))
