"""Reads huge PNGs row by row; small ones, and those whose rows are no pixels, are decoded whole.

Rows are unfiltered by the PNG library itself: a few of them, with the row before as the first,
make a small PNG of their own.
"""

from __future__ import annotations

import logging
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.failures import translated
from unetmm.io.files import READING, read_at
from unetmm.io.image import Box, ImageInfo, Plane, Source
from unetmm.io.inflate import DeflateLayout, InflatedRows
from unetmm.io.palette import PaletteChoice
from unetmm.io.photo.header import PhotoHeader
from unetmm.io.photo.png_header import SIGNATURE, PngChunks, describe_png, pack_chunk, walk_chunks
from unetmm.io.photo.source import PhotoSource, describe_photo
from unetmm.io.remedy import WHOLE_BYTES

log = logging.getLogger(__name__)

_UNDONE_COPIES = 4
"""Copies of rows in memory: themselves, a small PNG of them twice, and its pixels."""


def open_png(path: Path, palette: PaletteChoice = "auto") -> Source:
    """The source that fits a PNG's size and kind."""
    with translated(path, "read it as PNG"), path.open("rb") as file:
        chunks = walk_chunks(path, file)
        header = describe_png(path, chunks, palette)
    if chunks.frames > 1:
        log.warning(
            "%s: is an animated PNG of %d images; only the first is read", path, chunks.frames
        )
    in_rows = chunks.plain and header.orientation == 1
    if in_rows and header.height * header.row_bytes > WHOLE_BYTES:
        return PngRowsSource(path, header, chunks)
    return PhotoSource(path, "png", header)


class PngRowsSource:
    """A PNG of one plane, unpacked from the nearest mark for every read."""

    sequential = True

    def __init__(self, path: Path, header: PhotoHeader, chunks: PngChunks) -> None:
        self.path = path
        self._ihdr = chunks.kept[b"IHDR"]
        layout = DeflateLayout(
            parts=np.array(chunks.pixel_parts, dtype=np.int64),
            height=header.height,
            row_bytes=1 + header.row_bytes,
            undone_copies=_UNDONE_COPIES,
            sum_start=b"IDAT",
        )
        self.info: ImageInfo = describe_photo(header, "png", whole=False)
        self._handle = os.open(path, READING)
        self._rows = InflatedRows(path, self._read_at, layout, self._unfilter)

    @property
    def resident_bytes(self) -> int:
        """Marks and the places of the chunks."""
        return self._rows.layout.resident_bytes

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """A few rows at a time, whatever the box."""
        return self._rows.layout.read_bytes

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        out = np.empty((box.height, box.width, self.info.samples), self.info.dtype)
        self._rows.read_into(out, box.y0, slice(box.x0, box.x1))
        return out

    def _read_at(self, offset: int, count: int) -> bytes:
        return read_at(self._handle, count, offset)

    def _unfilter(self, rows: NDArray[np.uint8], left: bytes) -> tuple[NDArray[Any], bytes]:
        import imagecodecs

        count, row_bytes = len(rows), self._rows.layout.row_bytes
        before = b"\0" + (left or bytes(row_bytes - 1))
        ihdr = self._ihdr[:4] + struct.pack(">I", count + 1) + self._ihdr[8:]
        packed = zlib.compress(before + rows.tobytes(), level=0)
        small = SIGNATURE + b"".join(
            pack_chunk(name, data)
            for name, data in ((b"IHDR", ihdr), (b"IDAT", packed), (b"IEND", b""))
        )
        pixels = imagecodecs.png_decode(small)
        pixels = pixels.reshape(count + 1, self.info.width, self.info.samples)[1:]
        return pixels, pixels[-1].astype(pixels.dtype.newbyteorder(">")).tobytes()

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
