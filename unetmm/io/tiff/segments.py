"""Segments (strips or tiles) of a TIFF page: which ones a box touches, where they lie.

a box over tiles of segment_height x segment_width pixels; an `Overlap` is the part of one of them:

    +-------+-------+
    |   +---|---+   |      rows_in, columns_in    within the segment
    |   | 0 | 1 |   |      rows_out, columns_out  within the box
    +---|---+---|---+
    |   | 2 | 3 |   |      strips are tiles as wide as the page
    +-------+-------+
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.files import READING, read_at, read_into
from unetmm.io.image import Box

_DEFLATE_COMPRESSIONS = (8, 32946)
_JPEG_COMPRESSIONS = (6, 7, 34892, 33007)


@dataclass(frozen=True)
class Overlap:
    """The part of one segment that lies in a box."""

    segment: int
    """Number of the segment in its page."""
    rows_in: slice
    """Rows within the segment."""
    columns_in: slice
    """Columns within the segment."""
    rows_out: slice
    """Rows within the box."""
    columns_out: slice
    """Columns within the box."""


@dataclass(frozen=True)
class SegmentGrid:
    """How a page is cut into segments, the same for every page of a series."""

    height: int
    """Rows of the page."""
    width: int
    """Columns of the page."""
    samples: int
    """Samples of a pixel."""
    separate: bool
    """Whether samples lie in segments of their own instead of interleaved."""
    segment_height: int
    """Rows of a segment."""
    segment_width: int
    """Columns of a segment."""
    tiled: bool
    """Whether segments are tiles rather than strips."""
    stored_dtype: np.dtype[Any]
    """Type of a sample, with its byte order in the file."""
    raw: bool
    """Whether pixels lie in the file as they are, so that rows are read without their segment."""
    predicted: bool
    """Whether values are stored as differences or the like."""
    jpeg: bool
    """Whether a segment is compressed as JPEG."""
    image_codec: bool
    """Whether a segment is compressed by a codec of images."""
    deflate: bool = False
    """Whether a segment is a zlib stream."""
    packed: bool = False
    """Whether samples have other than 8, 16, 32 or 64 bits and are unpacked once decompressed."""

    @classmethod
    def of(cls, page: tifffile.TiffPage) -> SegmentGrid:
        separate, _, height, width, contiguous = page.shaped
        dtype = np.dtype(page.dtype)
        return cls(
            height=height,
            width=width,
            samples=separate * contiguous,
            separate=separate > 1,
            segment_height=page.tilelength if page.is_tiled else min(page.rowsperstrip, height),
            segment_width=page.tilewidth if page.is_tiled else width,
            tiled=page.is_tiled,
            stored_dtype=dtype.newbyteorder(page.parent.byteorder),
            raw=page.compression == 1
            and page.predictor == 1
            and page.fillorder == 1
            and page.bitspersample == 8 * dtype.itemsize,
            predicted=page.predictor != 1,
            jpeg=page.compression in _JPEG_COMPRESSIONS,
            image_codec=page.compression in tifffile.TIFF.IMAGE_COMPRESSIONS,
            deflate=page.compression in _DEFLATE_COMPRESSIONS,
            packed=page.bitspersample != 8 * dtype.itemsize,
        )

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns that are read at once: one row where rows lie as they are."""
        rows = 1 if self.raw and not self.tiled else self.segment_height
        return rows, self.segment_width

    @property
    def swapped(self) -> bool:
        return not self.stored_dtype.isnative

    @property
    def rows(self) -> int:
        """Segments from top to bottom."""
        return -(-self.height // self.segment_height)

    @property
    def columns(self) -> int:
        """Segments from left to right."""
        return -(-self.width // self.segment_width)

    @property
    def segments(self) -> int:
        """Segments of a page."""
        return self.rows * self.columns * (self.samples if self.separate else 1)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel within a segment."""
        return self.stored_dtype.itemsize * (1 if self.separate else self.samples)

    @property
    def segment_bytes(self) -> int:
        """Bytes of a full segment when decoded."""
        return self.segment_height * self.segment_width * self.pixel_bytes

    @property
    def page_bytes(self) -> int:
        """Bytes of the pixels of a page."""
        return self.height * self.width * self.samples * self.stored_dtype.itemsize

    def plain_bytes(self) -> NDArray[np.int64]:
        """Bytes of each segment of a page when stored without compression."""
        heights = np.full(self.rows, self.segment_height, dtype=np.int64)
        if not self.tiled:
            heights[-1] = self.height - (self.rows - 1) * self.segment_height
        one_layer = np.repeat(heights, self.columns) * self.segment_width * self.pixel_bytes
        return np.tile(one_layer, self.segments // len(one_layer))

    def overlaps(self, layer: int, box: Box) -> Iterator[Overlap]:
        """Segments that a box touches; `layer` is the sample if those are separate, else 0."""
        sh, sw = self.segment_height, self.segment_width
        first = layer * self.rows * self.columns
        for row in range(box.y0 // sh, -(-box.y1 // sh)):
            y0, y1 = max(box.y0, row * sh), min(box.y1, (row + 1) * sh)
            for column in range(box.x0 // sw, -(-box.x1 // sw)):
                x0, x1 = max(box.x0, column * sw), min(box.x1, (column + 1) * sw)
                yield Overlap(
                    first + row * self.columns + column,
                    slice(y0 - row * sh, y1 - row * sh),
                    slice(x0 - column * sw, x1 - column * sw),
                    slice(y0 - box.y0, y1 - box.y0),
                    slice(x0 - box.x0, x1 - box.x0),
                )


@dataclass(frozen=True)
class PageData:
    """Where the segments of one page lie."""

    path: Path
    """File that holds the page."""
    offsets: NDArray[np.int64]
    """Place of each segment in the file."""
    counts: NDArray[np.int64]
    """Stored bytes of each segment, 0 for one that was never written."""
    jpeg_tables: bytes | None
    """Tables that the JPEGs of all segments share."""

    @classmethod
    def of(cls, page: tifffile.TiffPage | tifffile.TiffFrame) -> PageData:
        return cls(
            Path(page.parent.filehandle.path),
            np.array(page.dataoffsets, dtype=np.int64),
            np.array(page.databytecounts, dtype=np.int64),
            page.jpegtables,
        )

    @property
    def largest_bytes(self) -> int:
        return int(self.counts.max(initial=0))

    def with_counts(self, grid: SegmentGrid) -> PageData:
        """With what a sloppy writer left at 0: bytes of segments that have a place.

        Raises
        ------
        ImageError
            If they cannot be known, as those of compressed segments.
        """
        counts, offsets = (a[: grid.segments] for a in (self.counts, self.offsets))
        if min(len(counts), len(offsets)) < grid.segments:
            return self  # which `check` refuses
        unknown = (counts == 0) & (offsets > 0)
        if not unknown.any():
            return self
        if not grid.raw:
            raise ImageError(
                f"{self.path}: {np.count_nonzero(unknown)} of its {grid.segments} strips or tiles "
                "have a place but no length (StripByteCounts 0); save it again"
            )
        return replace(self, counts=np.where(unknown, grid.plain_bytes(), counts))

    def shifted(self, by_bytes: int) -> PageData:
        """The page of the same layout that lies `by_bytes` further on."""
        return replace(self, offsets=self.offsets + by_bytes)

    def check(self, grid: SegmentGrid) -> None:
        """Refuse segments that are missing or reach beyond the end of the file."""
        size = self.path.stat().st_size
        if min(len(self.offsets), len(self.counts)) < grid.segments:
            raise ImageError(
                f"{self.path}: has {min(len(self.offsets), len(self.counts))} of the "
                f"{grid.segments} strips or tiles its size needs; it is damaged"
            )
        counts = self.counts[: grid.segments]
        needed = np.where(counts > 0, grid.plain_bytes() if grid.raw else counts, 0)
        ends = np.where(needed > 0, self.offsets[: grid.segments] + needed, 0)
        if int(self.offsets.min()) < 0 or int(ends.max(initial=0)) > size:
            raise ImageError(
                f"{self.path}: is truncated: its pixels reach to byte {int(ends.max())}, the file "
                f"ends at byte {size}; copy or export it again"
            )


class SegmentFiles:
    """Open files to read segments from; `pread` keeps threads from sharing a file position."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._handles: dict[Path, int] = {}

    def read(self, page: PageData, segment: int) -> bytes:
        """The stored bytes of a segment."""
        count, offset = int(page.counts[segment]), int(page.offsets[segment])
        data = self.read_at(page.path, offset, count)
        # Linux reads 2 GiB at once at most.
        while rest := count - len(data):
            more = self.read_at(page.path, offset + len(data), rest)
            if not more:
                break
            data += more
        if len(data) != count:
            raise ImageError(f"{page.path}: ends within segment {segment}; it has been truncated")
        return data

    def read_at(self, path: Path, offset: int, count: int) -> bytes:
        """Bytes of a file; fewer at its end."""
        return read_at(self._handle(path), count, offset)

    def read_plain(
        self,
        target: NDArray[Any],
        page: PageData,
        overlap: Overlap,
        grid: SegmentGrid,
        bands: list[int] | None,
    ) -> None:
        """Read rows of an uncompressed segment straight into `target`.

        bands : samples of each pixel that are wanted; None for all of them.
        """
        handle, base = self._handle(page.path), int(page.offsets[overlap.segment])
        row_bytes = grid.segment_width * grid.pixel_bytes
        start = base + overlap.columns_in.start * grid.pixel_bytes
        rows = range(overlap.rows_in.start, overlap.rows_in.stop)
        if bands is None and target.flags.c_contiguous and target.shape[1] == grid.segment_width:
            read_into(handle, target, start + rows.start * row_bytes, page.path)
            return
        scratch = None
        if bands is not None:
            scratch = np.empty((target.shape[1], grid.samples), dtype=grid.stored_dtype)
        for line, row in zip(target, rows, strict=True):
            if scratch is None:
                read_into(handle, line, start + row * row_bytes, page.path)
            else:
                read_into(handle, scratch, start + row * row_bytes, page.path)
                line[...] = scratch[:, bands]

    def _handle(self, path: Path) -> int:
        with self._lock:
            if path not in self._handles:
                self._handles[path] = os.open(path, READING)
            return self._handles[path]

    def close(self) -> None:
        with self._lock:
            for handle in self._handles.values():
                os.close(handle)
            self._handles.clear()
