"""Reads TIFF by box: striped, tiled, BigTIFF, ImageJ, OME; only the segments a box touches."""

from __future__ import annotations

import logging
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.image import Box, ImageInfo, Plane
from unetmm.io.joined import read_each
from unetmm.io.ome_sets import COMPANION, first_member
from unetmm.io.ome_xml import xml_bytes
from unetmm.io.palette import PaletteChoice
from unetmm.io.remedy import remedy
from unetmm.io.tiff.info import describe, map_axes
from unetmm.io.tiff.inner_headers import misfit
from unetmm.io.tiff.mask import mask_bytes
from unetmm.io.tiff.mask_pages import internal_mask
from unetmm.io.tiff.page_list import PageList
from unetmm.io.tiff.pages import drop_missing, find_pages
from unetmm.io.tiff.segments import Overlap, PageData, SegmentFiles, SegmentGrid
from unetmm.io.tiff.series import main_series, open_tiff
from unetmm.io.tiff.set_files import check_siblings
from unetmm.io.tiff.strips import DecodedStrips, InflatedStrips, is_inflatable, is_one_strip

# tifffile warns through logging; without a handler Python would print that to stderr.
logging.getLogger("tifffile").addHandler(logging.NullHandler())

log = logging.getLogger(__name__)

_CODEC_COPIES = {"jpeg": 4, "image": 10}
"""Peak of decoding in decoded segments, measured: JPEG, and JPEG 2000 for all others."""
_OLD_JPEG = 6
_MAP_BYTES = 40
"""Memory of what is known of a colour map and its likes of other channels, a value."""
_PAGE_BYTES = 1000
"""Memory of what is known of a page, measured."""
_TIFFFILE_BYTES = 2 * 2**20
"""Memory that reading the tags of a small file leaves behind, measured."""


class TiffSource:
    """Boxes of the first series of a TIFF that is no thumbnail, at full resolution.

    Every page shares one layout; what differs, its segments' places, is read and checked when
    the file is opened, so a truncated file is refused before anything is computed.
    """

    def __init__(
        self, path: Path, palette: PaletteChoice = "auto", series: int | None = None
    ) -> None:
        self._named = path
        self.path = path = _member(path)
        self._files = SegmentFiles()
        with translated(path, "read it as TIFF"), open_tiff(path) as tif:
            self._take(tif, main_series(path, tif, series), palette)

    def _take(
        self, tif: tifffile.TiffFile, series: tifffile.TiffPageSeries, palette: PaletteChoice
    ) -> None:
        """Note where the pixels of an image of the file lie, and what is known of it."""
        path = self.path
        self._xml_chars = len(tif.ome_metadata or "") if tif.is_ome else 0
        keyframe = series.keyframe
        axes = map_axes(path, series, palette)
        self._grid = grid = SegmentGrid.of(keyframe)
        inflatable = is_inflatable(keyframe, grid)
        chunk = (1, grid.width) if inflatable else grid.chunk
        self._inflated = InflatedStrips(path, self._files, keyframe, grid) if inflatable else None
        self._compression = int(keyframe.compression)
        self._decode = keyframe.decode
        self._decode(None, 0)  # raises for a compression or layout that cannot be decoded
        self._jpeg_header = keyframe.jpegheader if grid.jpeg else None
        pages = find_pages(path, series, grid, axes.pages)
        self._axes, self._pages = drop_missing(path, axes, pages)
        self.info: ImageInfo = describe(path, tif, series, self._axes, chunk)
        self._note_other_files()
        self._mask = internal_mask(path, tif, series, self._files)
        if self._mask is not None:
            self.info = replace(self.info, nodata=replace(self.info.nodata, masked=True))
        stated = self.info.nodata.values or (keyframe.nodata,)
        self._fill = _fill_value(stated[0], grid.stored_dtype)
        if keyframe.compression == _OLD_JPEG:
            self._check_old_jpeg()
        one_strip = is_one_strip(grid) and not inflatable
        if one_strip:
            kind = f"a page of one {self.info.metadata.reading.compression} strip"
            self._note(remedy=remedy(kind, grid.segment_bytes))
        self._decoded = (
            DecodedStrips(self._decode_segment, grid, len(self._pages)) if one_strip else None
        )

    def _note(self, **facts: Any) -> None:
        """Add to what is known of reading the file."""
        known = self.info.metadata
        known = replace(known, reading=replace(known.reading, **facts))
        self.info = replace(self.info, metadata=known)

    def _note_other_files(self) -> None:
        """An OME-TIFF may be a set of files, of which any one opens the whole image."""
        pages = self._pages
        listed = pages.files if isinstance(pages, PageList) else None
        named = set(listed or (page.path for page in pages if page is not None))
        check_siblings(self.path, sorted(named))
        files = {path.resolve() for path in named}
        others = tuple(sorted(map(str, files - {self._named.resolve()})))
        if others:
            self._note(other_files=others)
            log.warning(
                "%s: is one of %d files of an image, which is read whole", self.path, len(files)
            )

    @property
    def sequential(self) -> bool:
        """Whether the first read of a row unpacks all rows before it."""
        return self._inflated is not None

    @property
    def resident_bytes(self) -> int:
        """The table of segments, once as arrays and, inside tifffile, as Python integers.

        Besides, what is kept of pages that are one strip.
        """
        pages = self._pages
        segments = (
            pages.segments
            if isinstance(pages, PageList)
            else sum(len(page.offsets) for page in pages if page is not None)
        )
        table = segments * (16 + 2 * 40) + len(self._pages) * _PAGE_BYTES + _TIFFFILE_BYTES
        table += xml_bytes(self._xml_chars)
        table += 2 * mask_bytes(self.info.metadata.tiff.mask)  # as parts and joined
        if self.info.metadata.display.colour_maps:
            table += _MAP_BYTES * 2 ** (8 * self._grid.stored_dtype.itemsize)
        if self._mask is not None:
            table += self._mask.resident_bytes
        if self._inflated is not None:
            return table + self._inflated.resident_bytes(self._pages)
        if self._decoded is not None:
            return table + self._decoded.capacity * self._grid.segment_bytes + self._decode_bytes
        return table

    @property
    def _decode_bytes(self) -> int:
        """Most memory of decoding a segment, its result included."""
        pages = self._pages
        largest = (
            pages.largest_bytes
            if isinstance(pages, PageList)
            else max((p.largest_bytes for p in pages if p is not None), default=0)
        )
        copies = 1 + self._grid.swapped + self._grid.predicted + self._grid.packed
        if self._grid.image_codec:
            copies = _CODEC_COPIES["jpeg" if self._grid.jpeg else "image"]
        return 2 * largest + copies * self._grid.segment_bytes

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """One segment, compressed and decoded, whatever the box; nothing for plain storage.

        Besides, what reading the mask takes.
        """
        indices = 0 if self._mask is None else self._mask.read_bytes
        if self._axes.palette is not None:
            indices += box_height * box_width * self._grid.stored_dtype.itemsize
        if self._inflated is not None:
            return indices + self._inflated.read_bytes(self._pages)
        if self._decoded is not None:
            return indices
        if not self._grid.raw:
            return indices + self._decode_bytes
        if not self._axes.interleaved_bands:
            return indices
        return min(box_width, self._grid.segment_width) * self._grid.pixel_bytes

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        band = self._axes.band_index(plane)
        return self._read(plane, box, None if band is None else [band])

    def read_channels(self, plane: Plane, channels: list[int], box: Box) -> NDArray[Any]:
        """Some channels side by side; where they are stored so, all of them are decoded once."""
        if not (self._axes.interleaved_bands and self._axes.band_axis == "C"):
            return read_each(self, plane, channels, box)
        return self._read(plane, box, channels)

    def _read(self, plane: Plane, box: Box, bands: list[int] | None) -> NDArray[np.generic]:
        """The samples of a box, or some of those that are bands; one if they lie apart."""
        page = self._pages[self._axes.page_index(plane)]
        grid = self._grid
        samples = grid.samples if bands is None else len(bands)
        separate = grid.separate and samples > 1
        shape = (box.height, box.width)
        out = np.empty(
            (samples, *shape, 1) if separate else (1, *shape, samples), dtype=grid.stored_dtype
        )
        for layer in range(len(out)):
            stored_layer = layer if bands is None or not grid.separate else bands[0]
            picked = None if grid.separate else bands
            for overlap in grid.overlaps(stored_layer, box):
                self._fill_overlap(out[layer], page, overlap, picked)
        if grid.swapped:
            out = out.byteswap(inplace=True).view(grid.stored_dtype.newbyteorder("="))
        if self._axes.palette is not None:
            indices = out[0, ..., 0]
            bits = indices.dtype == bool
            return _expand(indices.view(np.uint8) if bits else indices, self._axes.palette)
        if self._axes.offset:
            out ^= 0x8000  # which takes 32768 off
            out = out.view(np.int16)
        return np.moveaxis(out[..., 0], 0, -1) if separate else out[0]

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        assert self._mask is not None, "asked for only where info.nodata says masked"
        return self._mask.read(self._axes.page_index(plane), self._axes.band_index(plane), box)

    def _fill_overlap(
        self,
        out: NDArray[Any],
        page: PageData | None,
        overlap: Overlap,
        bands: list[int] | None,
    ) -> None:
        """Put one segment's part of a box into `out`, (box height, box width, samples)."""
        target = out[overlap.rows_out, overlap.columns_out]
        if page is None or page.counts[overlap.segment] == 0:
            target[...] = self._fill
            return
        if self._grid.raw:
            with translated(self.path, "read its pixels"):
                self._files.read_plain(target, page, overlap, self._grid, bands)
            return
        if self._inflated is not None:
            rows = self._inflated.get(page, overlap.segment)
            picked = slice(None) if bands is None else bands
            rows.read_into(target, overlap.rows_in.start, overlap.columns_in, picked)
            return
        segment = self._decoded.get if self._decoded is not None else self._decode_segment
        pixels = segment(page, overlap.segment)
        if pixels is None:
            target[...] = self._fill
            return
        part = pixels[overlap.rows_in, overlap.columns_in]
        if part.shape[:2] != target.shape[:2]:
            raise ImageError(f"{self.path}: segment {overlap.segment} is too short, damaged")
        if bands is None:
            target[...] = part
            return
        for i, band in enumerate(bands):
            target[..., i] = part[..., band]

    def _decode_segment(self, page: PageData, segment: int) -> NDArray[Any] | None:
        """(rows, columns, samples) of a segment, None where it holds nothing."""
        kind = "tile" if self._grid.tiled else "strip"
        with translated(self.path, f"decode {kind} {segment}"):
            options: dict[str, Any] = {}
            if self._grid.jpeg:
                options = {"jpegtables": page.jpeg_tables, "jpegheader": self._jpeg_header}
            data = self._files.read(page, segment)
            self._check_inner_size(data)
            try:
                pixels = self._decode(data, segment, **options)[0]
            except Exception:
                whole = self._without_end(data)
                if whole is None:
                    raise
                pixels = self._decode(whole, segment)[0]
        return None if pixels is None else pixels[0]

    def _check_inner_size(self, data: bytes) -> None:
        """Refuse a segment whose codec would make more of it than the file says."""
        grid = self._grid
        if self._jpeg_header is not None:
            return  # without a header of its own
        size = grid.segment_height, grid.segment_width, grid.samples
        if problem := misfit(self._compression, data, *size):
            raise ValueError(problem)

    def _without_end(self, data: bytes) -> bytes | None:
        """A deflate segment of which only the end is missing, as libtiff reads it too.

        None if anything else is wrong with it, its checksum above all.
        """
        if not self._grid.deflate:
            return None
        inflater = zlib.decompressobj()
        try:
            pixels = inflater.decompress(data, self._grid.segment_bytes)
            inflater.decompress(inflater.unconsumed_tail, 1)  # compares the sum, if there is one
        except zlib.error:
            return None
        whole = len(pixels) == self._grid.segment_bytes and not inflater.eof
        return zlib.compress(pixels, level=0) if whole else None

    def _check_old_jpeg(self) -> None:
        """Refuse JPEG of before 1995 whose tables lie elsewhere, which no decoder here reads."""
        page = self._pages[0]
        if page is None or self._jpeg_header is not None or page.counts[0] == 0:
            return
        if self._files.read_at(page.path, int(page.offsets[0]), 2) != b"\xff\xd8":
            self.close()
            raise ImageError(
                f"{self.path}: holds old-style JPEG without its tables; save it again as TIFF "
                "with other compression"
            )

    def close(self) -> None:
        self._files.close()


def _member(path: Path) -> Path:
    """The file itself, that with its OME-XML, or the first of those that a companion names.

    Raises
    ------
    ImageError
        If none of them is there.
    """
    if not path.name.lower().endswith(COMPANION):
        return first_member(path) or path
    found = first_member(path)
    if found is None:
        raise ImageError(f"{path}: none of the TIFF files that it names is there; put them beside")
    return found


def _expand(indices: NDArray[Any], palette: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Colours of stored values, row by row, since an index array takes 8 bytes a value."""
    out = np.empty((*indices.shape, palette.shape[1]), np.uint8)
    for target, row in zip(out, indices, strict=True):
        target[...] = palette[row]
    return out


def _fill_value(nodata: float, dtype: np.dtype[Any]) -> float:
    """What pixels that were never written hold: nodata, or 0 where the dtype cannot hold that."""
    if dtype.kind == "f":
        return float(nodata)
    if dtype.kind == "b":
        return 0
    limits = np.iinfo(dtype)
    return int(nodata) if limits.min <= nodata <= limits.max else 0
