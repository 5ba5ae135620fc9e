"""Writes PNG, which is encoded whole, in memory, once every chunk is there."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.guard import translated
from unetmm.io.levels import Level
from unetmm.io.part import sync, write_at
from unetmm.io.png_header import pack_chunk
from unetmm.io.protocol import Box, ImageInfo, Plane, SinkOptions
from unetmm.io.table import ChunkKey

PIXELS = "pixels"
"""Name of the file of chunks in its folder."""
_AFTER_IHDR = 8 + 25
"""Bytes of a PNG's signature and its IHDR chunk."""
_ENCODER_BYTES = 4 * 2**20
"""Windows and row buffers of the PNG encoder."""


class PngStore:
    """One plane of 8 or 16 bit grey or RGB, with or without alpha.

    Chunks lie in a plain file, each in a place of its own, until `finish` encodes them at once.
    """

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        self.path = options.path
        _check_writable(options.path, info)
        self.info = info
        self.chunk = (options.chunk_px, options.chunk_px)
        self.levels = (Level(info.height, info.width, self.chunk),)
        self._slot_bytes = math.prod(self.chunk) * info.samples * info.dtype.itemsize
        self._folder = Path()
        self._handle = -1

    @property
    def resident_bytes(self) -> int:
        """The image and twice the encoded file, which imagecodecs grows and then copies.

        Noise hardly compresses, so that file may be as large as the image; 3.2 were measured.
        """
        return 13 * self.info.plane_bytes // 4 + 2 * self.info.height + _ENCODER_BYTES

    @property
    def chunk_bytes(self) -> int:
        return self._slot_bytes

    def create(self, folder: Path, record: Mapping[str, Any]) -> None:
        with translated(self.path, "create it"):
            (folder / PIXELS).write_bytes(b"")

    def open(self, folder: Path) -> None:
        self._folder = folder
        with translated(self.path, "open what was begun"):
            self._handle = os.open(folder / PIXELS, os.O_RDWR)

    def _offset(self, row: int, column: int) -> int:
        return (row * self.levels[0].grid[1] + column) * self._slot_bytes

    def write(self, key: ChunkKey, pixels: NDArray[np.generic]) -> None:
        with translated(self.path, "write to it"):
            write_at(self._handle, np.ascontiguousarray(pixels), self._offset(key.row, key.column))

    def read(self, level: int, plane: Plane, box: Box) -> NDArray[np.generic]:
        """One chunk; without a pyramid nobody asks for more."""
        shape = (box.height, box.width, self.info.samples)
        size = math.prod(shape) * self.info.dtype.itemsize
        row, column = box.y0 // self.chunk[0], box.x0 // self.chunk[1]
        with translated(self.path, "read back what was written"):
            data = os.pread(self._handle, size, self._offset(row, column))
            return np.frombuffer(data, self.info.dtype).reshape(shape)

    def finish(self, checksums: list[NDArray[np.uint32]]) -> Path:
        part = self._folder / "image.png"
        with translated(self.path, "write it"):
            _write_png(part, self._encode(), _colour_chunks(self.info))
        return part

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def _collect(self) -> NDArray[Any]:
        """The whole image."""
        info, level = self.info, self.levels[0]
        pixels = np.empty((info.height, info.width, info.samples), dtype=info.dtype)
        for row in range(level.grid[0]):
            for column in range(level.grid[1]):
                box = level.box(row, column)
                pixels[box.y0 : box.y1, box.x0 : box.x1] = self.read(0, (0, 0, 0), box)
        return pixels

    def _encode(self) -> bytes | bytearray:
        """The PNG file."""
        import imagecodecs

        pixels = self._collect()
        if self.info.notes.get("photometric") == "miniswhite":  # PNG knows only 0 = black
            bits = self.info.notes.get("bits", 8 * self.info.dtype.itemsize)
            np.subtract(2**bits - 1, pixels, out=pixels)
        return imagecodecs.png_encode(pixels[..., 0] if self.info.samples == 1 else pixels)


def _write_png(path: Path, encoded: bytes | bytearray, chunks: bytes) -> None:
    """Write a PNG with more chunks, which go between its IHDR and the rest."""
    view = memoryview(encoded)
    with path.open("wb") as file:
        file.write(view[:_AFTER_IHDR])
        file.write(chunks)
        file.write(view[_AFTER_IHDR:])
    sync(path)


def _colour_chunks(info: ImageInfo) -> bytes:
    """iCCP and pHYs, if the image came with a colour profile and a print resolution."""
    chunks = b""
    profile = info.notes.get("icc_profile")
    if profile:
        chunks += pack_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if "resolution" in info.notes:
        *per_unit, unit = info.notes["resolution"]
        per_metre = [round(n * (100 if unit == "centimeter" else 100 / 2.54)) for n in per_unit]
        if all(0 < n < 2**31 for n in per_metre):
            chunks += pack_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    return chunks


def _check_writable(path: Path, info: ImageInfo) -> None:
    if len(info.planes) > 1:
        raise ImageError(
            f"{path}: PNG holds one plane, the image has {len(info.planes)} "
            f"({info.axes}); write .tif or .ome.zarr"
        )
    if info.dtype.name not in ("uint8", "uint16"):
        raise ImageError(
            f"{path}: PNG holds uint8 or uint16, the image is {info.dtype.name}; "
            "write .tif or .ome.zarr"
        )
    if info.samples > 4 or (info.samples in (2, 4)) != info.alpha:
        raise ImageError(
            f"{path}: PNG holds grey or RGB with or without alpha, not {info.samples} samples; "
            "write .tif or .ome.zarr"
        )
