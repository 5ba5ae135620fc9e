"""Small blocks of an image of any size, read one by one: some to train on, some held out."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.choice import choose_patches
from unetmm.errors import ShapeError
from unetmm.intensities.range import measure_scale
from unetmm.intensities.validity import valid_mask
from unetmm.io.image import Box, ImageInfo, Source
from unetmm.io.measured import read_measured
from unetmm.models.groups import Groups, sample_groups
from unetmm.nets.config import NetConfig

BLOCK_PX = 64
"""Side of a block; less in images that are smaller."""
POOL = 512
"""Blocks that are in memory at once."""
BATCH = 8
"""Blocks in one training step."""
HELD_OUT = 32
"""Blocks that are not trained on."""
LEAST_BLOCKS = 16
"""Fewest blocks of an image; of fewer, too few are held out to tell a gain from chance."""

_TOO_FEW = (
    "hardly any part of the image holds measurements only; give an image with fewer unmeasured "
    "pixels"
)

Blocks = NDArray[np.float32]
"""Blocks one behind the other, (n, c, block, block) on the net's scale."""


@dataclass(frozen=True)
class Grid:
    """Numbers the blocks of an image: plane, group of samples, row, column."""

    info: ImageInfo
    groups: Groups
    block_px: int

    @property
    def rows(self) -> int:
        return self.info.height // self.block_px

    @property
    def columns(self) -> int:
        return self.info.width // self.block_px

    def __len__(self) -> int:
        return len(self.info.planes) * len(self.groups) * self.rows * self.columns

    def place(self, index: int) -> tuple[tuple[int, int, int], int, Box]:
        """(plane, group, box) of a block."""
        index, column = divmod(index, self.columns)
        index, row = divmod(index, self.rows)
        plane, group = divmod(index, len(self.groups))
        y, x, size = row * self.block_px, column * self.block_px, self.block_px
        return self.info.planes[plane], group, Box(y, x, y + size, x + size)


class BlockReader:
    """Blocks of one image, held out and for training; depends on nothing but image and seed.

    Raises
    ------
    ShapeError
        If the net does not fit the image, or the image is too small.
    """

    def __init__(
        self,
        source: Source,
        config: NetConfig,
        seed: int,
        fixed_range: tuple[float, float] | None = None,
    ) -> None:
        self.source = source
        info = source.info
        side = min(BLOCK_PX, info.height // 2, info.width // 2)
        side -= side % config.stride_px
        self.grid = Grid(info, sample_groups(config, info), max(side, 1))
        if side < config.stride_px or len(self.grid) < LEAST_BLOCKS:
            raise ShapeError(
                f"an image of {info.height} x {info.width} px is too small to adapt a net to; give "
                f"one of at least {4 * BLOCK_PX} x {4 * BLOCK_PX} px, or use the model as it is"
            )
        self._random = random.Random(seed)
        self._ranges = _ranges(source, self.grid.groups, fixed_range)
        self.held_out_indices: set[int] = set()
        self.held_out = self._held_out()

    def _held_out(self) -> Blocks:
        count = min(HELD_OUT, len(self.grid) // 4)
        candidates = self._random.sample(range(len(self.grid)), min(len(self.grid), 16 * count))
        found: dict[int, NDArray[np.float32]] = {}
        for index in candidates:
            block = self.read(index)
            if block is not None:
                found[index] = block
            if len(found) == count:
                break
        if len(found) < count:  # most of the image holds no measurement; the rest is to learn from
            found = dict(list(found.items())[: len(found) // 4])
        if len(found) < 2:
            raise ShapeError(_TOO_FEW)
        self.held_out_indices = set(found)
        return np.stack(list(found.values()))

    def read(self, index: int) -> NDArray[np.float32] | None:
        """(c, block, block) on the net's scale; None where pixels hold no measurement."""
        plane, group, box = self.grid.place(index)
        samples = list(self.grid.groups[group])
        stored, given = read_measured(self.source, plane, box)
        pixels = stored[..., samples]
        mask = valid_mask(pixels, self.source.info.nodata_of(plane[1], samples), given)
        if mask is not None and not mask.all():
            return None
        low, high = self._ranges[plane[1], group]
        scaled = (pixels.astype(np.float32) - np.float32(low)) * np.float32(1 / (high - low))
        return np.ascontiguousarray(scaled.transpose(2, 0, 1))

    def training_blocks(self) -> Iterator[NDArray[np.float32]]:
        """Blocks without end, none of those held out; of small images all before one comes again.

        Raises
        ------
        ShapeError
            If there are none.
        """
        size = min(len(self.grid), 8 * POOL)
        while True:
            any_read = False
            for index in self._random.sample(range(len(self.grid)), size):
                if index not in self.held_out_indices:
                    block = self.read(index)
                    if block is not None:
                        any_read = True
                        yield block
            if not any_read:
                raise ShapeError(_TOO_FEW)


def _ranges(
    source: Source, groups: Groups, fixed_range: tuple[float, float] | None
) -> dict[tuple[int, int], tuple[float, float]]:
    """Stored values that are 0 and 1 to the net, by (channel, group), as a run measures them."""
    info, found = source.info, {}
    for channel in range(info.length("C")):
        for g, chosen in enumerate(choose_patches(source, channel, groups)):
            patches, masks = [p.pixels for p in chosen.patches], [p.given for p in chosen.patches]
            nodata = info.nodata_of(channel, groups[g])
            scale = measure_scale(patches, nodata, fixed_range, masks)
            found[channel, g] = scale.low, scale.high
    return found
