"""How chunks of an output become those of the next level: with the mask that says what counts.

A mask that comes beside the pixels is read again from the input for every level, tile by tile, so
that no level of it has to be kept.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, ImageInfo, MaskedSource, Plane, Source
from unetmm.io.measured import Mask, opaque_mask
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.levels import Level, halve, halve_bytes, halve_mask

TILE_PX = 256
"""Side in pixels of a tile of a level's mask, which is made of four of the level before."""


class Halving:
    """Halves chunks of an image, without pixels that hold no measurement."""

    def __init__(
        self, info: ImageInfo, levels: tuple[Level, ...], masks: Source | None = None
    ) -> None:
        """masks: image whose mask it is; None where it is not known."""
        self._info, self._levels = info, levels
        is_masked = masks is not None and info.nodata.masked
        self._masks = cast("MaskedSource", masks) if is_masked else None

    def set_range(self, low: float, high: float) -> None:
        """Say between which values nearly all lie: floats far beyond them count in no mean."""
        self._info = replace(self._info, nodata=self._info.nodata.within(low, high))

    def half(self, key: ChunkKey, pixels: NDArray[Any]) -> NDArray[Any]:
        """A chunk in half its height and width."""
        if self._info.metadata.display.meaning == "labels":
            return pixels[::2, ::2].copy()  # a mean of two classes would be a third
        info, colours = self._info, self._info.samples - self._info.alpha
        nodata = info.nodata_of(key.plane[1], range(colours))
        given = self._given(key, pixels)
        if not info.alpha:
            return halve(pixels, nodata, given)
        half = halve(pixels[..., :colours], nodata, given)
        return np.concatenate([half, halve(pixels[..., colours:])], axis=-1)

    def _given(self, key: ChunkKey, pixels: NDArray[Any]) -> Mask | None:
        """Where pixels hold a measurement by opacity and mask; None if everywhere."""
        mask = opaque_mask(pixels, self._info)
        if self._masks is not None:
            box = self._levels[key.level].box(key.row, key.column)
            given = self._level_mask(key.level, key.plane, box)
            mask = given if mask is None else mask & given
        return None if mask is None or mask.all() else mask

    def _level_mask(self, level: int, plane: Plane, box: Box) -> Mask:
        """The mask of a box of a level: pixels of which a part is measured are."""
        assert self._masks is not None
        if level == 0:
            return self._masks.read_mask(plane, box)
        out = np.empty((box.height, box.width), bool)
        below = self._levels[level - 1]
        for tile in _tiles(box):
            y1, x1 = min(2 * tile.y1, below.height), min(2 * tile.x1, below.width)
            finer = self._level_mask(level - 1, plane, Box(2 * tile.y0, 2 * tile.x0, y1, x1))
            rows = slice(tile.y0 - box.y0, tile.y1 - box.y0)
            out[rows, tile.x0 - box.x0 : tile.x1 - box.x0] = halve_mask(finer)
        return out

    @property
    def scratch_bytes(self) -> int:
        """Most bytes that `half` takes beyond its argument and result, for a whole chunk."""
        info, chunk = self._info, self._levels[0].chunk
        found = halve_bytes(chunk, info)
        if info.alpha:  # the colours and the opacity by themselves, before they are joined
            found += chunk[0] * chunk[1] * info.samples * info.dtype.itemsize // 2
        if info.has_mask:
            found += 2 * chunk[0] * chunk[1]
        if self._masks is not None:
            tile = 2 * TILE_PX
            found += len(self._levels) * 3 * tile**2 + self._masks.read_bytes(tile, tile)
        return found


def _tiles(box: Box) -> Iterator[Box]:
    for y in range(box.y0, box.y1, TILE_PX):
        for x in range(box.x0, box.x1, TILE_PX):
            yield Box(y, x, min(y + TILE_PX, box.y1), min(x + TILE_PX, box.x1))
