"""Reads TIFF by box: striped, tiled, BigTIFF, ImageJ, OME; only the segments a box touches."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.guard import translated
from unetmm.io.protocol import Box, ImageInfo, Plane
from unetmm.io.tiff_info import TiffAxes, describe, map_axes, missing_companions
from unetmm.io.tiff_segments import Overlap, PageData, SegmentFiles, SegmentGrid

# tifffile warns through logging; without a handler Python would print that to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

_CODEC_COPIES = {"jpeg": 4, "image": 10}
"""Peak in decoded segments of JPEG, and of JPEG 2000, the greediest of the others; measured."""
_TIFFFILE_BYTES = 2 * 2**20
"""What reading the tags of a small file leaves behind, measured."""


class TiffSource:
    """Boxes of the first series of a TIFF at full resolution.

    Every page shares one layout; what differs, its segments' places, is read and checked when
    the file is opened, so a truncated file is refused before anything is computed.
    """

    def __init__(self, path: Path) -> None:
        with translated(path, "read it as TIFF"), tifffile.TiffFile(path) as tif:
            if not tif.series:
                raise ImageError(f"{path}: the TIFF holds no image; give one with a page")
            series = tif.series[0]
            self._axes: TiffAxes = map_axes(path, series)
            self.info: ImageInfo = describe(path, tif, series, self._axes)
            self._grid = SegmentGrid.of(series.keyframe)
            self._decode = series.keyframe.decode
            self._decode(None, 0)  # raises for a compression or layout that cannot be decoded
            self._jpeg_header = series.keyframe.jpegheader if self._grid.jpeg else None
            self._pages = _find_pages(path, series, self._grid, self._axes.pages)
            self._fill = _fill_value(series.keyframe.nodata, self.info.dtype)
        self.path = path
        self._files = SegmentFiles()

    @property
    def resident_bytes(self) -> int:
        """The table of segments, once as arrays and, inside tifffile, as Python integers."""
        segments = sum(len(page.offsets) for page in self._pages if page is not None)
        return segments * (16 + 2 * 40) + _TIFFFILE_BYTES

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """One segment, compressed and decoded, whatever the box; nothing for plain storage."""
        if self._grid.raw and not self._axes.interleaved_bands:
            return 0
        if self._grid.raw:
            return min(box_width, self._grid.segment_width) * self._grid.pixel_bytes
        largest = max((p.largest_bytes for p in self._pages if p is not None), default=0)
        copies = 1 + self._grid.swapped + self._grid.predicted
        if self._grid.image_codec:
            copies = _CODEC_COPIES["jpeg" if self._grid.jpeg else "image"]
        return 2 * largest + copies * self._grid.segment_bytes

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        page = self._pages[self._axes.page_index(plane)]
        band = self._axes.band_index(plane)
        grid = self._grid
        samples = 1 if self._axes.bands > 1 else grid.samples
        separate = grid.separate and samples > 1
        shape = (box.height, box.width)
        out = np.empty(
            (samples, *shape, 1) if separate else (1, *shape, samples), dtype=grid.stored_dtype
        )
        for layer in range(len(out)):
            stored_layer = (band or 0) if grid.separate and not separate else layer
            picked = None if grid.separate else band
            for overlap in grid.overlaps(stored_layer, box):
                self._fill_overlap(out[layer], page, overlap, picked)
        if grid.swapped:
            out = out.byteswap(inplace=True).view(self.info.dtype)
        return np.moveaxis(out[..., 0], 0, -1) if separate else out[0]

    def _fill_overlap(
        self,
        out: NDArray[Any],
        page: PageData | None,
        overlap: Overlap,
        band: int | None,
    ) -> None:
        """Put one segment's part of a box into `out`, (box height, box width, samples)."""
        target = out[overlap.rows_out, overlap.columns_out]
        if page is None or page.counts[overlap.segment] == 0:
            target[...] = self._fill
            return
        with translated(self.path, "decode a part of it"):
            if self._grid.raw:
                self._files.read_plain(target, page, overlap, self._grid, band)
                return
            data = self._files.read(page, overlap.segment)
            options: dict[str, Any] = {}
            if self._grid.jpeg:
                options = {"jpegtables": page.jpeg_tables, "jpegheader": self._jpeg_header}
            pixels = self._decode(data, overlap.segment, **options)[0]
            if pixels is None:
                target[...] = self._fill
                return
            part = pixels[0, overlap.rows_in, overlap.columns_in]
            if part.shape[:2] != target.shape[:2]:
                raise ImageError(f"{self.path}: segment {overlap.segment} is too short, damaged")
            target[...] = part if band is None else part[..., band : band + 1]

    def close(self) -> None:
        self._files.close()


def _fill_value(nodata: float, dtype: np.dtype[Any]) -> float:
    """What pixels that were never written hold: nodata, or 0 where the dtype cannot hold that."""
    if dtype.kind == "f":
        return float(nodata)
    limits = np.iinfo(dtype)
    return int(nodata) if limits.min <= nodata <= limits.max else 0


def _find_pages(
    path: Path, series: tifffile.TiffPageSeries, grid: SegmentGrid, count: int
) -> list[PageData | None]:
    """Where each page's segments lie; None for a page that was never written.

    Raises
    ------
    ImageError
        If a segment lies outside of its file, or pages are missing with the file they are in.
    """
    if series.is_truncated and len(series) < count:
        first = PageData.of(series.keyframe)
        pages: list[PageData | None] = [first.shifted(i * grid.page_bytes) for i in range(count)]
        if not grid.raw:
            raise ImageError(f"{path}: describes {count} pages but holds 1; it is truncated")
    else:
        pages = [None if page is None else PageData.of(page) for page in series]
    if len(pages) != count:
        raise ImageError(f"{path}: describes {count} pages but holds {len(pages)}; it is damaged")
    if None in pages:
        missing = missing_companions(path, series)
        if missing:
            raise ImageError(f"{path}: needs {', '.join(missing)}; put these files beside it")
    for page in pages:
        if page is not None:
            page.check(grid)
    return pages
