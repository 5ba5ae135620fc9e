"""Writes PNG, which is encoded whole, in memory, once every chunk is there."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.exif_thumbnail import make_thumbnail, put_thumbnail
from unetmm.io.image import ImageInfo, SinkOptions
from unetmm.io.photo.png_header import pack_chunk
from unetmm.io.photo.png_kept import comment_chunk, fits, profile_chunks
from unetmm.io.photo.record import png_chunk
from unetmm.io.photo.store import ENCODER_BYTES, PhotoStore, check_one_plane, check_sides

_MAX_SIDE_PX = 1_000_000
"""Longest side that libpng takes, in pixels."""
_AFTER_IHDR = 8 + 25
"""Bytes of a PNG's signature and its IHDR chunk."""


class PngStore(PhotoStore):
    """One plane of 8 or 16 bit grey or RGB, with or without alpha."""

    format = "PNG"
    compressions = ("deflate",)

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        super().__init__(options, info)
        check_one_plane(self.path, info, self.format, ("uint8", "uint16"))
        if info.samples > 4 or (info.samples in (2, 4)) != info.alpha:
            raise ImageError(
                f"{self.path}: PNG holds grey or RGB with or without alpha, not {info.samples} "
                "samples; write .tif or .ome.zarr"
            )

        check_sides(self.path, info, self.format, _MAX_SIDE_PX, ".tif or .ome.zarr")

    @property
    def resident_bytes(self) -> int:
        """The image and twice the encoded file, which imagecodecs grows and then copies.

        Noise hardly compresses, so that file may be as large as the image; 3.2 were measured.
        """
        return 13 * self.info.plane_bytes // 4 + 2 * self.info.height + ENCODER_BYTES

    def encode_into(self, part: Path, record: Mapping[str, Any]) -> None:
        """Write the file, with our chunks between its IHDR and the rest."""
        import imagecodecs

        pixels = self._collect()
        view = memoryview(
            imagecodecs.png_encode(pixels[..., 0] if self.info.samples == 1 else pixels)
        )
        with part.open("wb") as file:
            file.write(view[:_AFTER_IHDR])
            file.write(self._kept_chunks(pixels))
            file.write(png_chunk(record) if record else b"")
            file.write(view[_AFTER_IHDR:])

    def _collect(self) -> NDArray[Any]:
        """The whole image."""
        pixels = np.empty((*self.shown_size, self.info.samples), dtype=self.info.dtype)
        for box, chunk in self.shown_chunks():
            pixels[box.y0 : box.y1, box.x0 : box.x1] = chunk
        return pixels

    def _kept_chunks(self, pixels: NDArray[Any]) -> bytes:
        """iCCP, pHYs, eXIf, XMP, gamma and texts, if the image came with such, and who wrote it.

        No sBIT: it means values that were stretched to all bits, and ours are as measured.
        """
        chunks = b""
        photo = self.photo
        if profile := photo.icc_profile:
            chunks += pack_chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(profile))
        if self.resolution:
            *per_unit, unit = self.resolution
            per_metre = [round(n * (100 if unit == "centimeter" else 100 / 2.54)) for n in per_unit]
            if all(0 < n < 2**31 for n in per_metre):
                chunks += pack_chunk(b"pHYs", struct.pack(">IIB", *per_metre, 1))
        if photo.exif:
            chunks += pack_chunk(b"eXIf", self._exif(pixels))
        colours = self.info.samples - self.info.alpha
        copied = [chunk for chunk in photo.png_chunks if fits(chunk, colours)]
        if photo.comment:
            copied.append(comment_chunk(photo.comment))
        for name, content in (*copied, *profile_chunks(photo.xmp, photo.iptc)):
            chunks += pack_chunk(name, content)
        return chunks + pack_chunk(b"tEXt", b"Software\0unetmm")

    def _exif(self, pixels: NDArray[Any]) -> bytes:
        """EXIF, with a small copy of the image where the input had one."""
        if not self.photo.thumbnail:
            return self.photo.exif
        colours = self.info.samples - self.info.alpha
        return put_thumbnail(self.photo.exif, make_thumbnail(pixels[..., :colours]))
