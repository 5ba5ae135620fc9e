"""What a camera does to noise before anyone sees it.

Sensor noise is added where it arises, in linear light on a Bayer mosaic, and goes through what a
camera does: demosaicing, noise reduction, white balance, tone curve, JPEG. Only the noise is
demosaiced and blurred; the picture keeps its detail, as the mean of many shots would.

Source: the order of steps, the sensor's noise levels and the tone curve are those of Brooks et al.,
Unprocessing Images for Learned Raw Denoising (2019), section 3. Ours: bilinear demosaicing of the
noise alone, its blur in brightness and colour, the coarse part, JPEG.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.train.config import CameraNoise
from unetmm.train.noise.spectrum import blur_noise, log_uniform
from unetmm.train.noise.stored import as_jpeg

Patch = NDArray[np.float32]

TO_YCC = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], np.float32
)
"""Matrix from RGB to JPEG's brightness and colour differences."""
FROM_YCC = np.linalg.inv(TO_YCC).astype(np.float32)
BALANCE = (1.2, 2.4)
"""Span of the factors by which white balance multiplies red and blue."""
READ_SLOPE, READ_OFFSET, READ_SPREAD = 2.18, 1.20, 0.26
"""Law of the read noise: log(read variance) = slope * log(shot) + offset, within the spread."""
CHROMA_GAIN = (0.3, 1.0)
"""Span of the amplitude of colour noise. It is multiplied by sqrt(1 + blur), or a strong blur would
leave none of it."""
COARSE_BLUR_PX = 3.0
"""Standard deviation of the coarse noise's blur."""


def add_camera_noise(clean: Patch, camera: CameraNoise, rng: np.random.Generator) -> Patch:
    """(3, h, w) in [0, 1], sRGB -> the same as a camera would have taken it, in steps of 1/255.

    Raises
    ------
    ShapeError
        If there are not three channels.
    """
    if clean.shape[0] != 3:
        raise ShapeError(
            f"camera noise: takes colour patches, found {clean.shape[0]} channels; use "
            f"[noise.micrograph] for single channels"
        )
    has_curve = rng.random() < 0.5
    linear = to_linear(clean, has_curve)
    balance = np.array([rng.uniform(*BALANCE), 1.0, rng.uniform(*BALANCE)], np.float32)
    noise = _sensor_noise(linear, balance, camera, rng)
    noise = _reduced(noise, camera, rng)
    noisy = np.rint(to_srgb(linear + noise, has_curve) * 255).astype(np.uint8)
    if rng.random() < camera.jpeg_share:
        noisy = as_jpeg(noisy, int(rng.integers(*camera.jpeg_quality, endpoint=True)), rng)
    return noisy.astype(np.float32) / np.float32(255)


def to_linear(image: Patch, has_curve: bool) -> Patch:
    """sRGB -> linear light; `has_curve`: a camera's S-shaped tone curve is undone as well."""
    if has_curve:
        image = (0.5 - np.sin(np.arcsin(1 - 2 * np.clip(image, 0, 1)) / 3)).astype(np.float32)
    linear: NDArray[np.floating] = np.where(
        image <= 0.04045, image / 12.92, ((image + 0.055) / 1.055) ** 2.4
    )
    return linear.astype(np.float32)


def to_srgb(linear: Patch, has_curve: bool) -> Patch:
    """The inverse of `to_linear`; what is below 0 or above 1 is cut off, as a camera does."""
    linear = np.clip(linear, 0, 1)
    image: NDArray[np.floating] = np.where(
        linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055
    )
    if has_curve:
        image = 3 * image**2 - 2 * image**3
    return image.astype(np.float32)


def _sensor_noise(
    linear: Patch, balance: NDArray[np.float32], camera: CameraNoise, rng: np.random.Generator
) -> Patch:
    """Demosaiced and balanced noise (3, h, w) in linear light."""
    shot = log_uniform(rng, camera.shot)
    read = float(np.exp(READ_SLOPE * np.log(shot) + READ_OFFSET + rng.normal(0, READ_SPREAD)))
    raw = linear / balance[:, None, None]
    noise: Patch = np.sqrt(shot * raw + read) * rng.standard_normal(raw.shape, np.float32)
    h, w = raw.shape[1:]
    return demosaic(noise * bayer_mask(h, w, rng)) * balance[:, None, None]


def bayer_mask(h: int, w: int, rng: np.random.Generator) -> Patch:
    """(3, h, w): 1 where the mosaic has that colour; the pattern starts at any of its pixels."""
    y, x = np.mgrid[:h, :w] + rng.integers(2, size=(2, 1, 1))
    red, blue = (y % 2 == 0) & (x % 2 == 0), (y % 2 == 1) & (x % 2 == 1)
    return np.stack([red, ~(red | blue), blue]).astype(np.float32)


def demosaic(mosaic: Patch) -> Patch:
    """Bilinear interpolation of (3, h, w) that is zero where a colour was not measured."""
    p = np.pad(mosaic, ((0, 0), (1, 1), (1, 1)), mode="reflect")
    centre = p[:, 1:-1, 1:-1]
    sides = p[:, :-2, 1:-1] + p[:, 2:, 1:-1] + p[:, 1:-1, :-2] + p[:, 1:-1, 2:]
    corners = p[:, :-2, :-2] + p[:, :-2, 2:] + p[:, 2:, :-2] + p[:, 2:, 2:]
    full: Patch = centre + np.float32(0.5) * sides + np.float32(0.25) * corners
    full[1] = centre[1] + np.float32(0.25) * sides[1]
    return full


def _reduced(noise: Patch, camera: CameraNoise, rng: np.random.Generator) -> Patch:
    """Noise after a camera's own reduction: smoother, in colour above all, and with coarse grains.

    The coarse part is what denoisers that work on small windows leave behind.
    """
    luma_px, chroma_px = rng.uniform(*camera.luma_blur_px), log_uniform(rng, camera.chroma_blur_px)
    chroma_gain = rng.uniform(*CHROMA_GAIN) * float(np.sqrt(1 + chroma_px))
    coarse = rng.uniform(*camera.coarse)
    ycc = np.einsum("ij,jhw->ihw", TO_YCC, noise)
    fine = np.concatenate(
        [blur_noise(ycc[:1], luma_px), chroma_gain * blur_noise(ycc[1:], chroma_px)]
    )
    grains = blur_noise(ycc, COARSE_BLUR_PX)
    scale = fine.std((1, 2), keepdims=True) / (grains.std((1, 2), keepdims=True) + 1e-12)
    reduced: Patch = np.einsum("ij,jhw->ihw", FROM_YCC, fine + coarse * scale * grains)
    return reduced
