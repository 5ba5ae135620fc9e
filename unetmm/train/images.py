"""Clean images decoded once into memory, read by the same code as any image to be restored."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.formats import READ_SUFFIXES
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.quality.metrics import LUMA
from unetmm.train.config import TrainConfig


def load_images(
    folders: Sequence[str], channels: int, exclude: Sequence[str] = ()
) -> list[NDArray[np.uint8]]:
    """All images below the folders as uint8 (h, w, channels); other bit depths are stretched.

    exclude: patterns of file names to leave out.

    Raises
    ------
    ImageError
        If no image is found.
    """
    found_below = (path for folder in folders for path in Path(folder).rglob("*"))
    paths = sorted(path for path in found_below if path.suffix.lower() in READ_SUFFIXES)
    kept = [p for p in paths if not any(p.match(pattern) for pattern in exclude)]
    found = [read_training_image(path, channels) for path in kept]
    images = [image for image in found if image is not None]
    if not images:
        raise ImageError(f"no training image with {channels} channels below {', '.join(folders)}")
    return images


def read_training_image(path: Path, channels: int) -> NDArray[np.uint8] | None:
    """One image as uint8 (h, w, channels), colour as grey for one channel; None if it has others.

    Raises
    ------
    ImageError
        If it cannot be read.
    """
    try:
        with closing(open_source(path)) as source:
            info = source.info
            whole = Box(0, 0, info.height, info.width)
            stored = source.read((0, 0, 0), whole) if len(info.planes) == 1 else None
    except ImageError as error:
        reason = str(error).removeprefix(f"{path}: ")
        raise ImageError(f"{path}: cannot be read as a training image ({reason})") from error
    if stored is None:
        raise ImageError(
            f"{path}: is a stack of shape {info.shape}; give single images, grey or RGB"
        )
    pixels = _to_uint8(stored)[..., :3]
    if channels == 1 and pixels.shape[-1] == 3:
        grey: NDArray[np.uint8] = np.rint(pixels @ LUMA).astype(np.uint8)[..., None]
        return grey
    return np.ascontiguousarray(pixels) if pixels.shape[-1] == channels else None


def _to_uint8(pixels: NDArray[Any]) -> NDArray[np.uint8]:
    if pixels.dtype == np.uint8:
        return pixels
    low, high = np.percentile(pixels, (0.1, 99.9))
    scaled = (pixels.astype(np.float32) - low) / max(high - low, 1e-6)
    stretched: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return stretched


def data_groups(config: TrainConfig) -> list[list[str]]:
    """Folders whose images share one part of the patches: each by itself, or all together."""
    return [[f] for f in config.data] if config.data_shares else [list(config.data)]
