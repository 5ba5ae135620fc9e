"""Stored values as bytes for the eye: the same stretch before and after, and what differs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm_cli.display.preview.pictures import (
    GREY,
    Picture,
    Stretch,
    difference_bytes,
    finished,
    to_bytes,
)

SLICE_PX = 1024
"""Columns that are turned into bytes at once."""


@dataclass(frozen=True)
class Shades:
    """How values become bytes, in both images."""

    stretch: Stretch
    """Values that are shown black and white."""
    limit: float
    """Difference that is shown black or white; 0 where nothing differs."""

    def picture(self, pixels: NDArray[Any], measured: NDArray[np.bool_] | None) -> Picture:
        """Values (height, width, 1 or 3) as bytes; black where nothing is measured."""
        table = self._table(pixels.dtype)
        found: Picture = np.empty(pixels.shape, np.uint8)
        for columns in _slices(pixels.shape[1]):
            part = pixels[:, columns]
            if table is not None:
                lowest = np.iinfo(pixels.dtype).min
                found[:, columns] = table[part.astype(np.int32) - lowest if lowest else part]
            else:
                found[:, columns] = to_bytes(part, self.stretch.low, self.stretch.high)
        return finished(found, measured, 0)

    def difference(
        self, before: NDArray[Any], after: NDArray[Any], measured: NDArray[np.bool_] | None
    ) -> Picture:
        """What was added (bright) and taken away (dark); grey where nothing changed."""
        found: Picture = np.empty(before.shape, np.uint8)
        for columns in _slices(before.shape[1]):
            parts = before[:, columns], after[:, columns]
            found[:, columns] = difference_bytes(*parts, self.limit)
        return finished(found, measured, GREY)

    def _table(self, dtype: np.dtype[Any]) -> Picture | None:
        """Byte of every value of a small integer type; None for other types."""
        if dtype.kind == "f" or dtype.itemsize > 2:
            return None
        limits = np.iinfo(dtype)
        return to_bytes(np.arange(limits.min, limits.max + 1), self.stretch.low, self.stretch.high)


def _slices(width: int) -> list[slice]:
    return [slice(x, min(x + SLICE_PX, width)) for x in range(0, width, SLICE_PX)]
