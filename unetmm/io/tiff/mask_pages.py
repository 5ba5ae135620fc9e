"""Masks of valid pixels in the pages of a TIFF, read by box: internal ones and in a `.msk`."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.image import Box, ImageInfo
from unetmm.io.tiff.mask import is_mask_of
from unetmm.io.tiff.segments import PageData, SegmentFiles, SegmentGrid

log = logging.getLogger(__name__)

_DECODED_COPIES = 4
"""Copies of a decoded segment, a byte a pixel: unpacked, as booleans, and joined over bands."""


class MaskPages:
    """One mask for all planes, or one for each page of an image; all of one layout."""

    def __init__(self, path: Path, pages: Sequence[Any], files: SegmentFiles) -> None:
        keyframe = pages[0]
        self._path, self._files = path, files
        self._grid = SegmentGrid.of(keyframe)
        self._decode = keyframe.decode
        self._decode(None, 0)  # raises for a compression or layout that cannot be decoded
        self._pages = [PageData.of(page).with_counts(self._grid) for page in pages]
        for page in self._pages:
            page.check(self._grid)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._grid.height, self._grid.width

    @property
    def resident_bytes(self) -> int:
        """The table of segments."""
        return sum(16 * len(page.offsets) for page in self._pages)

    @property
    def read_bytes(self) -> int:
        """One segment, compressed and decoded, whatever the box."""
        grid = self._grid
        largest = max((page.largest_bytes for page in self._pages), default=0)
        pixels = grid.segment_height * grid.segment_width * grid.samples
        return 2 * largest + _DECODED_COPIES * pixels

    def read(self, page: int, band: int | None, box: Box) -> NDArray[np.bool_]:
        """(box.height, box.width), where pixels are valid; a part never written is not.

        Parameters
        ----------
        page : number of the image's page.
        band : number of the band, where bands have masks of their own; None: valid in all bands.
        """
        grid = self._grid
        stored = self._pages[page if len(self._pages) > 1 else 0]
        layers = range(grid.samples) if grid.separate else (0,)
        if band is not None and band < grid.samples and grid.separate:
            layers = (band,)
        out = np.ones((box.height, box.width), bool)
        for layer in layers:
            for overlap in grid.overlaps(layer, box):
                target = out[overlap.rows_out, overlap.columns_out]
                if stored.counts[overlap.segment] == 0:
                    target[...] = False
                    continue
                pixels = self._segment(stored, overlap.segment)
                part = pixels[overlap.rows_in, overlap.columns_in]
                if part.shape[:2] != target.shape:
                    raise ImageError(f"{self._path}: its mask is too short, damaged")
                one = band is not None and band < part.shape[-1]
                target &= part[..., band] != 0 if one else (part != 0).all(axis=-1)
        return out

    def close(self) -> None:
        self._files.close()

    def _segment(self, page: PageData, segment: int) -> NDArray[Any]:
        """(rows, columns, bands) of a segment."""
        with translated(self._path, f"decode part {segment} of its mask"):
            pixels: NDArray[Any] = self._decode(self._files.read(page, segment), segment)[0][0]
        return pixels


def internal_mask(
    path: Path, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, files: SegmentFiles
) -> MaskPages | None:
    """The mask of an image that lies in the same file; None if there is none."""
    with suppress(AttributeError, IndexError):
        for other in tif.series:
            if other is not series and is_mask_of(other.keyframe, series.keyframe):
                count = len(other) if len(other) == len(series) else 1
                return _readable(path, list(other)[:count], files)
    return None


def beside_mask(path: Path, info: ImageInfo, files: SegmentFiles) -> MaskPages | None:
    """The mask in a file of its own; None if it does not fit or cannot be read, with a warning."""
    try:
        with tifffile.TiffFile(path) as tif:
            found = _readable(path, [tif.pages[0].aspage()], files)
    except Exception as error:  # whatever a decoder raises: the image itself can be read
        log.warning("%s: is no mask that can be read (%s); it is left out", path, error)
        return None
    if found is not None and found.size != (info.height, info.width):
        log.warning("%s: is not of the image's size; this mask is left out", path)
        return None
    return found


def _readable(path: Path, pages: list[Any], files: SegmentFiles) -> MaskPages | None:
    try:
        return MaskPages(path, [page.aspage() for page in pages], files)
    except Exception as error:  # whatever a decoder raises: the image itself can be read
        log.warning("%s: its mask of valid pixels cannot be read: %s", path, error)
        return None
