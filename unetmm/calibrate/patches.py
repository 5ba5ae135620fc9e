"""The patches that an image is measured by: how many there are, and where they lie."""

from __future__ import annotations

import numpy as np

from unetmm.geometry import round_up
from unetmm.io.image import Box, ImageInfo, Planes
from unetmm.nets.config import NetConfig

GRID = 4
"""Rows and columns of the grid in which patches lie."""
PATCHES = GRID**2
"""Number of patches of a large image."""
PATCH_PX = 128
"""Height and width of a patch in pixels, where the image is no smaller."""
OBSERVED_SHARE = 1 / 32
"""Largest share of an image that all its patches may be; where they are more, half of them go
through the net."""
WHOLE_PX = 256
"""Largest height and width in pixels of a plane that is measured as a whole."""


def patch_size(info: ImageInfo) -> tuple[int, int]:
    """(height, width) in pixels of a calibration patch of this image."""
    if max(info.height, info.width) <= WHOLE_PX:
        return info.height, info.width
    return min(PATCH_PX, info.height), min(PATCH_PX, info.width)


def _is_whole(info: ImageInfo) -> bool:
    """Whether patches are whole planes."""
    return patch_size(info) == (info.height, info.width)


def patch_count(info: ImageInfo) -> int:
    """Patches of an image: a few, or the whole of as many planes where planes are small."""
    return min(PATCHES, info.length("T") * info.length("Z")) if _is_whole(info) else PATCHES


def patch_boxes(info: ImageInfo) -> list[tuple[int, int, Box]]:
    """(t, z, box) of every patch: a jittered grid over the plane, spread over times and depths."""
    height, width = patch_size(info)
    stacks = Planes(info.length("T"), 1, info.length("Z"))
    count = patch_count(info)
    rng = np.random.default_rng((info.height, info.width, len(stacks)))
    boxes = []
    for i in range(count):
        t, _, z = stacks[i * len(stacks) // count]
        row, column = divmod(i, GRID)
        y = int((row + rng.random()) / GRID * (info.height - height + 1))
        x = int((column + rng.random()) / GRID * (info.width - width + 1))
        boxes.append((t, z, Box(y, x, y + height, x + width)))
    return boxes


def observed_patches(info: ImageInfo) -> list[int]:
    """Which patches go through the net; half of them lie like the white squares of a chessboard.

    Sets of natural images are restored as well with half of them (docs/measured/speed.md).
    """
    everything = list(range(patch_count(info)))
    height, width = patch_size(info)
    image_px = info.length("T") * info.length("Z") * info.height * info.width
    if _is_whole(info) or len(everything) * height * width <= OBSERVED_SHARE * image_px:
        return everything
    return [i for i in everything if sum(divmod(i, GRID)) % 2 == 0]


def padded_patch_size(config: NetConfig, info: ImageInfo) -> tuple[int, int]:
    """(height, width) of a patch as a stream takes it: multiples of the net's stride."""
    height, width = patch_size(info)
    return round_up(height, config.stride_px), round_up(width, config.stride_px)
