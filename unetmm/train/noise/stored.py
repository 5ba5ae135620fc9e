"""What files do to noise: few bits, ends cut off, JPEG and WebP."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from unetmm.train.noise.sensor import Pair, in_range

JPEG_QUALITY = (20, 95)
"""Span of the qualities of JPEG and WebP."""
WEBP_SHARE = 0.15
BITS = (5, 8)
"""Span of the bits of a sample that quantisation leaves."""
GRID_PX = 8
"""Side of JPEG's blocks, in which a patch begins anywhere."""


def quantised(pair: Pair, rng: np.random.Generator) -> Pair:
    """Rounded to few levels between black and white, and cut off there."""
    noisy, target = in_range(pair)
    top = np.float32(2 ** int(rng.integers(*BITS, endpoint=True)) - 1)
    return np.rint(np.clip(noisy, 0, 1) * top) / top, target


def in_8_bit(pair: Pair) -> Pair:
    """Rounded to 256 levels and cut off at black and white."""
    noisy, target = in_range(pair)
    return np.rint(np.clip(noisy, 0, 1) * np.float32(255)) / np.float32(255), target


def compressed(pair: Pair, rng: np.random.Generator) -> Pair:
    """Stored as JPEG, seldom WebP; the patch begins anywhere in the grid of blocks."""
    noisy, target = in_range(pair)
    quality = int(rng.integers(*JPEG_QUALITY, endpoint=True))
    y, x = rng.integers(GRID_PX, size=2) if rng.random() < 0.5 else (0, 0)
    pixels = np.rint(np.clip(noisy, 0, 1) * 255).astype(np.uint8)
    pixels = np.pad(pixels, ((0, 0), (y, 0), (x, 0)), mode="reflect")
    coded = as_webp(pixels, quality) if rng.random() < WEBP_SHARE else as_jpeg(pixels, quality, rng)
    return np.asarray(coded[:, y:, x:], np.float32) / np.float32(255), target


def as_jpeg(image: NDArray[np.uint8], quality: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """(c, h, w), 1 or 3 channels, as JPEG gives it back; colour in full or half resolution."""
    subsampling = int(rng.choice([0, 2]))  # 4:4:4 or 4:2:0
    return _coded(image, "JPEG", quality=quality, subsampling=subsampling)


def as_webp(image: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """(c, h, w), 1 or 3 channels, as WebP gives it back."""
    coded = _coded(np.repeat(image, 3 // len(image), axis=0), "WEBP", quality=quality, method=0)
    return coded[1:2] if len(image) == 1 else coded


def _coded(image: NDArray[np.uint8], kind: str, **settings: int) -> NDArray[np.uint8]:
    from PIL import Image

    buffer = io.BytesIO()
    pixels = image[0] if len(image) == 1 else np.ascontiguousarray(image.transpose(1, 2, 0))
    Image.fromarray(pixels).save(buffer, kind, **settings)
    found = np.asarray(Image.open(buffer))
    return found[None] if found.ndim == 2 else found.transpose(2, 0, 1)
