"""Stored values as bytes for the eye: the same stretch before and after, and what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm_cli.display.preview.pictures import Stretch

SLICE_PX = 2048
"""Columns that are turned into bytes at once."""
COLOURS = 3
"""Samples of a colour picture."""

Bytes = NDArray[np.uint8]
"""Grey (height, width) or colours (height, width, 3)."""


@dataclass(frozen=True)
class Shades:
    """How values become bytes, in both images."""

    stretch: Stretch
    """Values that are shown black and white."""
    limit: float
    """Difference that is shown black or white; 0 where nothing differs."""

    def picture(self, pixels: NDArray[Any], measured: NDArray[np.bool_] | None) -> Bytes:
        """Values (height, width, 1 or 3) as bytes; black where nothing is measured."""
        table = self._table(pixels.dtype)
        found: Bytes = np.empty(pixels.shape, np.uint8)
        for columns in _slices(pixels.shape[1]):
            part = pixels[:, columns]
            if table is not None:
                lowest = np.iinfo(pixels.dtype).min
                found[:, columns] = table[part.astype(np.int32) - lowest if lowest else part]
            else:
                found[:, columns] = _to_bytes(part, self.stretch.low, self.stretch.high)
        if measured is not None:
            found[~measured] = 0
        return _flat(found)

    def difference(
        self, before: NDArray[Any], after: NDArray[Any], measured: NDArray[np.bool_] | None
    ) -> Bytes:
        """What was added (bright) and taken away (dark); grey where nothing changed."""
        found: Bytes = np.empty(before.shape, np.uint8)
        for columns in _slices(before.shape[1]):
            with np.errstate(over="ignore", invalid="ignore"):
                change = after[:, columns].astype(np.float32) - before[:, columns]
            limit = self.limit or 1.0
            found[:, columns] = _to_bytes(change.astype(np.float32, copy=False), -limit, limit)
        if measured is not None:
            found[~measured] = 128
        return _flat(found)

    def _table(self, dtype: np.dtype[Any]) -> Bytes | None:
        """Byte of every value of a small integer type; None for other types."""
        if dtype.kind == "f" or dtype.itemsize > 2:
            return None
        limits = np.iinfo(dtype)
        values = np.arange(limits.min, limits.max + 1, dtype=np.float32)
        return _to_bytes(values, self.stretch.low, self.stretch.high)


def _flat(picture: Bytes) -> Bytes:
    return picture if picture.shape[-1] == COLOURS else picture[..., 0]


def _slices(width: int) -> list[slice]:
    return [slice(x, min(x + SLICE_PX, width)) for x in range(0, width, SLICE_PX)]


def _to_bytes(values: NDArray[Any], low: float, high: float) -> Bytes:
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = values.astype(np.float32)
        scaled -= np.float32(low)
        scaled *= np.float32(255 / (high - low))
        np.nan_to_num(scaled, copy=False)
        scaled += np.float32(0.5)
        return np.clip(scaled, 0, 255, out=scaled).astype(np.uint8)
