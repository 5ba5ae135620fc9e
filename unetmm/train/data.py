"""Clean images decoded once into memory, and random patches cut from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.metrics import LUMA

EXTENSIONS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}


def load_images(folders: Sequence[str], channels: int) -> list[NDArray[np.uint8]]:
    """All images below the folders as uint8 (h, w, channels); other bit depths are stretched.

    Raises
    ------
    ImageError
        If no image is found.
    """
    import imageio.v3 as iio

    paths = sorted(p for f in folders for p in Path(f).rglob("*") if p.suffix.lower() in EXTENSIONS)
    images = []
    for path in paths:
        pixels = _to_uint8(np.asarray(iio.imread(path)))
        pixels = pixels[..., None] if pixels.ndim == 2 else pixels[..., :3]
        if channels == 3 and pixels.shape[-1] == 3:
            images.append(np.ascontiguousarray(pixels))
        elif channels == 1 and pixels.shape[-1] == 3:
            images.append(np.rint(pixels @ LUMA).astype(np.uint8)[..., None])
        elif channels == pixels.shape[-1]:
            images.append(pixels)
    if not images:
        raise ImageError(f"no training image with {channels} channels below {', '.join(folders)}")
    return images


def _to_uint8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    low, high = np.percentile(pixels, (0.1, 99.9))
    scaled = (pixels.astype(np.float32) - low) / max(high - low, 1e-6)
    stretched: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return stretched


class PatchSampler:
    """Random patches; the same generator state gives the same patches.

    An image is drawn with probability proportional to the square root of its pixel count: large
    photographs hold more, but not proportionally more, that is new.
    """

    def __init__(self, images: Sequence[NDArray[np.uint8]], half_size_share: float) -> None:
        self.images, self.half_size_share = images, half_size_share
        weights = np.array([np.sqrt(i.shape[0] * i.shape[1]) for i in images])
        self.probability = weights / weights.sum()

    def batch(self, rng: np.random.Generator, size: int, patch_px: int) -> NDArray[np.float32]:
        """(size, c, patch_px, patch_px), range [0, 1]."""
        indices = rng.choice(len(self.images), size, p=self.probability)
        return np.stack([self._patch(rng, self.images[i], patch_px) for i in indices])

    def _patch(
        self, rng: np.random.Generator, image: NDArray[np.uint8], patch_px: int
    ) -> NDArray[np.float32]:
        h, w, c = image.shape
        factor = 2 if min(h, w) >= 2 * patch_px and rng.random() < self.half_size_share else 1
        size = factor * patch_px
        image = np.pad(
            image, ((0, max(0, size - h)), (0, max(0, size - w)), (0, 0)), mode="symmetric"
        )
        y = int(rng.integers(image.shape[0] - size + 1))
        x = int(rng.integers(image.shape[1] - size + 1))
        patch = image[y : y + size, x : x + size].astype(np.float32) / 255
        patch = patch.reshape(patch_px, factor, patch_px, factor, c).mean((1, 3))
        patch = np.rot90(patch, int(rng.integers(4)))
        if rng.random() < 0.5:
            patch = patch[:, ::-1]
        return np.ascontiguousarray(patch.transpose(2, 0, 1), dtype=np.float32)
