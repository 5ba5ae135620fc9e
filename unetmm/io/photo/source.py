"""Reads photos, which are decoded whole: on the first read, once, and counted as resident."""

from __future__ import annotations

import io
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.failures import translated
from unetmm.io.image import Box, ImageInfo, Plane
from unetmm.io.metadata import Metadata
from unetmm.io.photo.film_boxes import without_film
from unetmm.io.photo.header import PhotoHeader, ReadHeader
from unetmm.io.photo.heif_headers import open_heic, read_avif_header, read_heic_header
from unetmm.io.photo.jpeg_header import read_jpeg2000_header, read_jpeg_header
from unetmm.io.photo.jxl_header import bits_as_stored, decode_jxl, read_jxl
from unetmm.io.photo.other_headers import open_by_pillow, read_bmp_header, read_webp_header
from unetmm.io.photo.png_header import check_png_sums, read_png_header
from unetmm.io.remedy import remedy
from unetmm.io.xmp import fit_xmp

READERS: dict[str, ReadHeader] = {
    "png": read_png_header,
    "jpeg": read_jpeg_header,
    "jpeg2000": read_jpeg2000_header,
    "webp": read_webp_header,
    "bmp": read_bmp_header,
    "avif": read_avif_header,
    "heic": read_heic_header,
    "jxl": read_jxl,
}
"""Short name of a format that is decoded whole -> reader of its header."""


class PhotoSource:
    """A photo of one plane; the header is read on opening, the pixels at the first `read`."""

    def __init__(self, path: Path, format: str, header: PhotoHeader | None = None) -> None:
        with translated(path, f"read it as {format.upper()}"), path.open("rb") as file:
            self._header = header or READERS[format](path, file)
            self._file_bytes = path.stat().st_size
        self.path = path
        self.info = describe_photo(self._header, format)
        self._lock = threading.Lock()
        self._pixels: NDArray[Any] | None = None

    @property
    def resident_bytes(self) -> int:
        """The peak of decoding: compressed file and decoded image side by side."""
        return self._header.peak_bytes(self._file_bytes)

    def read_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        with self._lock:
            if self._pixels is None:
                self._pixels = self._decode()
            pixels = self._pixels
        return pixels[box.y0 : box.y1, box.x0 : box.x1].copy()

    def _decode(self) -> NDArray[Any]:
        """Upright pixels, (height, width, samples)."""
        header = self._header
        with translated(self.path, f"decode this {self.info.format.upper()}"):
            pixels = decode_photo(self.path, self.path.read_bytes(), self.info.format, header)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        expected = (header.height, header.width, header.samples)
        if pixels.shape != expected or pixels.dtype != self.info.dtype:
            raise ImageError(
                f"{self.path}: its header states {expected} {self.info.dtype}, its pixels are "
                f"{pixels.shape} {pixels.dtype}; it is damaged"
            )
        return upright(pixels, header.orientation)

    def close(self) -> None:
        self._pixels = None


def decode_photo(path: Path, data: bytes, format: str, header: PhotoHeader) -> NDArray[Any]:
    """Pixels of a whole file as stored, (height, width) or (height, width, samples)."""
    import imagecodecs

    pixels: NDArray[Any]
    if format == "png":
        check_png_sums(path, data)
        # libpng would print a warning for every interlaced image.
        pillow = header.indices or (header.interlaced and header.bits == 8)
        pixels = _decode_by_pillow(data, "PNG", header) if pillow else imagecodecs.png_decode(data)
    elif format == "jpeg":
        pixels = imagecodecs.jpeg_decode(data)
    elif format == "jpeg2000":
        pixels = imagecodecs.jpeg2k_decode(data)
    elif format == "webp":
        pixels = imagecodecs.webp_decode(data, hasalpha=header.alpha)
    elif format == "avif":
        pixels = _spread(imagecodecs.avif_decode(without_film(data)), header.scaled_bits)
    elif format == "jxl":
        pixels = _spread(decode_jxl(data, header), bits_as_stored(header))
    elif format == "heic":
        pixels = _decode_heic(path, data, header.scaled_bits)
    else:
        pixels = _decode_by_pillow(data, "BMP", header)
    return pixels


def _decode_by_pillow(data: bytes, format: str, header: PhotoHeader) -> NDArray[Any]:
    with open_by_pillow(io.BytesIO(data), format) as image:
        if header.indices:
            return np.asarray(image)
        return np.asarray(image.convert({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[header.samples]))


def _decode_heic(path: Path, data: bytes, bits: int) -> NDArray[Any]:
    """Pixels of the primary image; their bits come as the upper ones of 16."""
    _, image = open_heic(path, io.BytesIO(data))
    pixels = np.asarray(image)
    return _spread(pixels >> (16 - bits), bits) if bits else pixels


def _spread(pixels: NDArray[Any], bits: int) -> NDArray[Any]:
    """Values of so many bits over those of their type, as viewers take them; 0 bits are left as
    they are."""
    if not bits:
        return pixels
    most = 2**bits - 1
    table = np.rint(np.arange(most + 1) * (np.iinfo(pixels.dtype).max / most)).astype(pixels.dtype)
    return np.asarray(table[pixels])


def describe_photo(header: PhotoHeader, format: str, whole: bool = True) -> ImageInfo:
    """What is known of a photo; it is decoded as a whole or by rows."""
    height, width = header.upright_size
    decoded_bytes = header.height * header.row_bytes
    several = header.samples > 1
    photo, reading = header.photo, header.reading
    photo = replace(photo, xmp=fit_xmp(photo.xmp, height, width))
    if whole:
        reading = replace(reading, remedy=remedy(format.upper(), decoded_bytes))
    if header.orientation > 4 and photo.resolution:
        x, y, unit = photo.resolution
        photo = replace(photo, resolution=(y, x, unit))
    return ImageInfo(
        format=format,
        axes="YXS" if several else "YX",
        shape=(height, width, header.samples) if several else (height, width),
        dtype=header.dtype,
        chunk=(height if whole else 1, width),
        alpha=header.alpha,
        nodata=NOTHING if header.nodata is None else NoData.of(header.nodata),
        metadata=Metadata(photo, header.tiff, header.geo, display=header.display, reading=reading),
    )


def upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation with views only, so it costs no memory."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def turn_box(box: Box, orientation: int, height: int, width: int) -> Box:
    """Where `upright` puts a box; height and width are those of the upright image."""
    y0, x0, y1, x1 = box.y0, box.x0, box.y1, box.x1
    if orientation > 4:
        y0, x0, y1, x1 = x0, y0, x1, y1
    if orientation in (3, 4, 7, 8):
        y0, y1 = height - y1, height - y0
    if orientation in (2, 3, 6, 7):
        x0, x1 = width - x1, width - x0
    return Box(y0, x0, y1, x1)
