"""What is known of a photo before anything is decoded: size, samples, orientation, memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from unetmm.io.exif import (
    fit_sizes,
    orientation_of,
    reset_orientation,
    resolution_of,
    strip_prefix,
)
from unetmm.io.exif_thumbnail import take_thumbnail
from unetmm.io.metadata import DisplayFacts, GeoFacts, PhotoFacts, ReadingFacts, TiffFacts

DECODER_BYTES = 2 * 2**20
"""Memory of a decoder's windows and tables."""
PILLOW_COPIES = 5.0
"""Peak of Pillow in decoded images, measured: 4 bytes a pixel, conversion, bytes and array."""
MAX_PROFILE_BYTES = 16 * 2**20
"""Longest metadata block that is kept, in bytes."""


@dataclass
class PhotoHeader:
    """What a photo holds, upright orientation not yet applied."""

    height: int
    """Rows as stored."""
    width: int
    """Columns as stored."""
    samples: int
    """Samples of a decoded pixel, opacity included."""
    bits: int = 8
    """Bits of a sample when decoded, 8 or 16, or 32 of floats."""
    alpha: bool = False
    """Whether the last sample is opacity."""
    is_float: bool = False
    """Whether samples are floats, of 16 or 32 bits."""
    indices: bool = False
    """Whether pixels are values that a palette would give colours to."""
    nodata: float | None = None
    """Value of pixels that hold no measurement."""
    interlaced: bool = False
    """Whether rows are stored in several passes."""
    orientation: int = 1
    """Orientation as EXIF counts them, 1 to 8."""
    decode_copies: float = 1.0
    """Peak of decoding in decoded images, the result included."""
    file_copies: int = 1
    """Number of copies of the compressed file that decoding takes."""
    photo: PhotoFacts = PhotoFacts()
    """Profile, EXIF, resolution and the like."""
    display: DisplayFacts = DisplayFacts()
    """Meaning of the decoded values."""
    reading: ReadingFacts = ReadingFacts()
    """Facts on how the file is stored and read."""
    tiff: TiffFacts = TiffFacts()
    """Tags of a place on Earth."""
    geo: GeoFacts = GeoFacts()
    """Place on Earth in words."""
    scaled_bits: int = 0
    """Bits of a stored sample whose values are spread over the 8 or 16 bits that are decoded; 0 if
    none are."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a decoded sample."""
        return np.dtype(f"{'f' if self.is_float else 'u'}{self.bits // 8}")

    @property
    def row_bytes(self) -> int:
        """Bytes of a decoded row."""
        return self.width * self.samples * self.bits // 8

    def peak_bytes(self, file_bytes: int) -> int:
        """Most memory that decoding takes: the compressed file beside the decoder's copies."""
        image_bytes = self.height * self.row_bytes
        return (
            self.file_copies * file_bytes
            + math.ceil(self.decode_copies * image_bytes)
            + DECODER_BYTES
        )

    @property
    def upright_size(self) -> tuple[int, int]:
        """(height, width) once the orientation is applied."""
        size = (self.height, self.width)
        return size[::-1] if self.orientation > 4 else size

    def take_exif(self, data: bytes) -> None:
        """Keep an EXIF block as it is once the pixels are upright."""
        payload = strip_prefix(data)
        if not payload or self.photo.exif or len(payload) > MAX_PROFILE_BYTES:
            return
        self.orientation = orientation_of(payload)
        payload, small = take_thumbnail(payload)
        self.photo = replace(
            self.photo,
            exif=fit_sizes(reset_orientation(payload), *self.upright_size),
            resolution=self.photo.resolution or resolution_of(payload),
            thumbnail=small,
        )
        if self.orientation != 1:
            self.reading = replace(
                self.reading,
                orientation=f"EXIF {self.orientation}, applied",
                stored_size=(self.height, self.width) if self.orientation > 4 else None,
            )


ReadHeader = Callable[[Path, BinaryIO], PhotoHeader]
"""Reader of the header of an open file; it raises ImageError for what cannot be restored."""
