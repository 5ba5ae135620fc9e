"""Pages that are one compressed strip or tile: they cannot be read in parts, so nothing is
decoded twice. Huge deflate strips are unpacked from marks, all others decoded once and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.io.inflate import DeflateLayout, InflatedRows
from unetmm.io.remedy import WHOLE_BYTES
from unetmm.io.tiff.segments import PageData, SegmentFiles, SegmentGrid

_KEPT_BYTES = 64 * 2**20
"""Most memory of small decoded pages that are kept."""
_MOST_KEPT = 16
"""Most small decoded pages that are kept."""
_HUGE_KEPT_PAGES = 2
"""Huge pages that are kept, for two are in work where one ends and the next begins."""
_UNDONE_COPIES = 3
"""Copies of rows in memory: as stored, in native byte order, and without predictor."""

Decode = Callable[[PageData, int], "NDArray[Any] | None"]
"""Decoder of a segment: (page, segment) -> (rows, columns, samples), None for nothing stored."""


def layers_of(grid: SegmentGrid) -> int:
    """Segments of a page of one strip: one, or one for each sample."""
    return grid.samples if grid.separate else 1


def is_one_strip(grid: SegmentGrid) -> bool:
    """Whether a page is one compressed segment, or one for each sample."""
    return grid.rows == grid.columns == 1 and not grid.raw


def is_inflatable(page: tifffile.TiffPage, grid: SegmentGrid) -> bool:
    """Whether a page is one huge strip whose rows can be unpacked from marks."""
    return (
        is_one_strip(grid)
        and grid.segment_bytes > WHOLE_BYTES
        and grid.deflate
        and page.predictor in (1, 2, 3)
        and page.fillorder == 1
        and page.bitspersample == 8 * grid.stored_dtype.itemsize
    )


class DecodedStrips:
    """The latest decoded strips; one is decoded at a time."""

    def __init__(self, decode: Decode, grid: SegmentGrid, pages: int) -> None:
        self._decode = decode
        self._lock = threading.Lock()
        self._kept: dict[tuple[int, int], NDArray[Any] | None] = {}
        layers = layers_of(grid)
        fitting = min(_MOST_KEPT, _KEPT_BYTES // (grid.segment_bytes * layers))
        self.capacity = layers * min(pages, max(_HUGE_KEPT_PAGES, fitting))

    def get(self, page: PageData, segment: int) -> NDArray[Any] | None:
        """The pixels of a segment."""
        key = id(page), segment
        with self._lock:
            if key in self._kept:
                found = self._kept.pop(key)
            else:
                while len(self._kept) >= self.capacity:
                    self._kept.pop(next(iter(self._kept)))
                found = self._decode(page, segment)
            self._kept[key] = found
        return found


class InflatedStrips:
    """The latest huge deflate strips, each with its marks."""

    def __init__(
        self, path: Path, files: SegmentFiles, page: tifffile.TiffPage, grid: SegmentGrid
    ) -> None:
        self.path = path
        self._files = files
        self._grid = grid
        self._unpredict = tifffile.TIFF.UNPREDICTORS[page.predictor] if grid.predicted else None
        self._by_weight = page.predictor == 3
        self._lock = threading.Lock()
        self._kept: dict[tuple[int, int], InflatedRows] = {}

    def get(self, page: PageData, segment: int) -> InflatedRows:
        """The rows of a segment."""
        key = id(page), segment
        with self._lock:
            rows = self._kept.pop(key, None)
            if rows is None:
                rows = InflatedRows(
                    self.path, self._reader(page), self.layout(page, segment), self._undo
                )
            self._kept[key] = rows
            while len(self._kept) > _HUGE_KEPT_PAGES * layers_of(self._grid):
                self._kept.pop(next(iter(self._kept)))
        return rows

    def layout(self, page: PageData, segment: int) -> DeflateLayout:
        """Where a segment lies."""
        place = [[int(page.offsets[segment]), int(page.counts[segment])]]
        row_bytes = self._grid.segment_width * self._grid.pixel_bytes
        return DeflateLayout(
            np.array(place, np.int64), self._grid.height, row_bytes, _UNDONE_COPIES
        )

    def resident_bytes(self, pages: Sequence[PageData | None]) -> int:
        """Marks of all strips that are kept at once."""
        page = next((p for p in pages if p is not None), None)
        if page is None:
            return 0
        kept = layers_of(self._grid) * min(len(pages), _HUGE_KEPT_PAGES)
        return kept * self.layout(page, 0).resident_bytes

    def read_bytes(self, pages: Sequence[PageData | None]) -> int:
        """Most memory of one read beyond its result."""
        return max((self.layout(p, 0).read_bytes for p in pages[:1] if p is not None), default=0)

    def _reader(self, page: PageData) -> Callable[[int, int], bytes]:
        return lambda offset, count: self._files.read_at(page.path, offset, count)

    def _undo(self, rows: NDArray[np.uint8], left: bytes) -> tuple[NDArray[Any], bytes]:
        grid = self._grid
        # The predictor of floats sorts bytes by weight, so none are left to swap.
        stored = grid.stored_dtype.newbyteorder("=") if self._by_weight else grid.stored_dtype
        pixels = rows.view(stored).reshape(len(rows), grid.segment_width, -1)
        pixels = pixels.astype(pixels.dtype.newbyteorder("="))
        if self._unpredict is not None:
            pixels = self._unpredict(pixels, axis=-2, out=pixels)
        return pixels, b""
