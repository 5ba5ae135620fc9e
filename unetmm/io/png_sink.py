"""Writes PNG, which is encoded whole: the image is collected in memory until `close`."""

from __future__ import annotations

import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.guard import translated
from unetmm.io.part import discard, part_path, publish, sync
from unetmm.io.protocol import Box, ImageInfo, Plane, SinkOptions
from unetmm.io.stage import Stage
from unetmm.io.written import WrittenMap, check_box

_AFTER_IHDR = 8 + 25
"""Bytes of a PNG's signature and its IHDR chunk."""
_ENCODER_BYTES = 4 * 2**20
"""Windows and row buffers of the PNG encoder."""


class PngSink:
    """One plane of 8 or 16 bit grey or RGB, with or without alpha."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        self.path = options.path
        _check_writable(options.path, info)
        self.info = info
        self.chunk = (options.chunk_px, options.chunk_px)
        self._written = WrittenMap(info, self.chunk)
        self._stage = Stage(self.path)
        self._pixels = _no_pixels(info)

    def begin(self) -> None:
        self._stage.begin(self._create)

    def _create(self) -> None:
        info = self.info
        self._pixels = np.zeros((info.height, info.width, info.samples), dtype=info.dtype)

    @property
    def resident_bytes(self) -> int:
        """The image and twice the encoded file, which imagecodecs grows and then copies.

        Noise hardly compresses, so that file may be as large as the image; 3.2 were measured.
        """
        info = self.info
        image_bytes = math.prod((info.height, info.width, info.samples)) * info.dtype.itemsize
        return 13 * image_bytes // 4 + 2 * info.height + _ENCODER_BYTES

    def write_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def write(self, plane: Plane, box: Box, pixels: NDArray[np.generic]) -> None:
        check_box(box, pixels, self.chunk, self.info)
        self.begin()
        self._pixels[box.y0 : box.y1, box.x0 : box.x1] = pixels
        self._written.mark(plane, box)

    def close(self) -> None:
        if not self._stage.finish():
            return
        part = part_path(self.path)
        try:
            self._written.check(self.path)
            with translated(self.path, "write it"):
                encoded = self._encode()
                _write_png(part, encoded, _colour_chunks(self.info))
            publish(part, self.path)
        except ImageError:
            discard(part)
            raise

    def _encode(self) -> bytes | bytearray:
        """The PNG; the image is given up for it."""
        import imagecodecs

        pixels, self._pixels = self._pixels, _no_pixels(self.info)
        if self.info.notes.get("photometric") == "miniswhite":  # PNG knows only 0 = black
            bits = self.info.notes.get("bits", 8 * self.info.dtype.itemsize)
            np.subtract(2**bits - 1, pixels, out=pixels)
        return imagecodecs.png_encode(pixels[..., 0] if self.info.samples == 1 else pixels)

    def abort(self) -> None:
        self._stage.finish()
        self._pixels = _no_pixels(self.info)


def _no_pixels(info: ImageInfo) -> NDArray[Any]:
    return np.empty((0, 0, info.samples), dtype=info.dtype)


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
        chunks += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
    if "resolution" in info.notes:
        *per_unit, unit = info.notes["resolution"]
        per_metre = [round(n * (100 if unit == "centimeter" else 100 / 2.54)) for n in per_unit]
        if all(0 < n < 2**31 for n in per_metre):
            chunks += _chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
    return chunks


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + zlib.crc32(name + data).to_bytes(4, "big")


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
