"""Reads PNG and JPEG, which are decoded whole: on the first read, once, and counted as resident."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.guard import translated
from unetmm.io.photo_header import (
    PhotoHeader,
    check_png_sums,
    peak_bytes,
    read_jpeg_header,
    read_png_header,
    upright_size,
)
from unetmm.io.protocol import Box, ImageInfo, Plane


class PngJpegSource:
    """A photo of one plane; the header is read on opening, the pixels at the first `read`."""

    def __init__(self, path: Path, format: str) -> None:
        read_header = read_png_header if format == "png" else read_jpeg_header
        with translated(path, f"read it as {format.upper()}"), path.open("rb") as file:
            self._header = read_header(path, file)
            self._file_bytes = path.stat().st_size
        self.path = path
        self.info = _describe(self._header, format)
        self._lock = threading.Lock()
        self._pixels: NDArray[Any] | None = None

    @property
    def resident_bytes(self) -> int:
        """The peak of decoding: compressed file and decoded image side by side."""
        return peak_bytes(self._header, self._file_bytes)

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
        import imagecodecs

        header = self._header
        with translated(self.path, f"decode this {self.info.format.upper()}"):
            data = self.path.read_bytes()
            if self.info.format == "png":
                check_png_sums(self.path, data)
                pixels = imagecodecs.png_decode(data)
            else:
                pixels = imagecodecs.jpeg_decode(data)
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        expected = (header.height, header.width, header.samples)
        if pixels.shape != expected or pixels.dtype != self.info.dtype:
            raise ImageError(
                f"{self.path}: its header states {expected} {self.info.dtype}, its pixels are "
                f"{pixels.shape} {pixels.dtype}; it is damaged"
            )
        return _upright(pixels, header.orientation)

    def close(self) -> None:
        self._pixels = None


def _describe(header: PhotoHeader, format: str) -> ImageInfo:
    height, width = upright_size(header)
    several = header.samples > 1
    return ImageInfo(
        format=format,
        axes="YXS" if several else "YX",
        shape=(height, width, header.samples) if several else (height, width),
        dtype=np.dtype(np.uint16 if header.bits == 16 else np.uint8),
        chunk=(height, width),
        alpha=header.alpha,
        notes=header.notes,
    )


def _upright(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Undo an EXIF orientation with views only, so it costs no memory."""
    if orientation > 4:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
