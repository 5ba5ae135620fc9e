"""Headers of WebP and BMP, read without touching a pixel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from unetmm.errors import ImageError
from unetmm.io.photo.header import MAX_PROFILE_BYTES, PILLOW_COPIES, PhotoHeader
from unetmm.io.xmp import without_companions

if TYPE_CHECKING:
    from PIL import Image

_WEBP_COPIES = 2.5
"""Peak of decoding in decoded images: the result, and lossless WebP as ARGB; measured."""
_PIXEL_CHUNKS = (b"VP8X", b"VP8L", b"VP8 ", b"ALPH", b"ANIM", b"ANMF")
"""Names of the chunks of a WebP that hold pixels, or say how."""
_BMP_MODES = {"1": 1, "L": 1, "P": 3, "RGB": 3, "RGBA": 4}
"""Mode of a BMP as Pillow has it -> samples as we read it."""


@contextmanager
def open_by_pillow(file: BinaryIO, format: str) -> Iterator[Image.Image]:
    """The image in a file of any size: what is too large is for the budget to say.

    Its reader is called itself: `Image.open` asks for a limit that belongs to the whole process.
    """
    from PIL import Image

    if format not in Image.OPEN:
        Image.init()
    reader, _ = Image.OPEN[format]
    with reader(file, "") as image:
        yield image


def read_webp_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Walk the chunks of a WebP.

    Raises
    ------
    ImageError
        If it is an animation, truncated, or another RIFF file.
    """
    file.seek(0, 2)
    end = file.tell()
    file.seek(8)
    if file.read(4) != b"WEBP":
        raise ImageError(f"{path}: is a RIFF file but no WebP; give an image")
    header: PhotoHeader | None = None
    blocks: dict[bytes, bytes] = {}
    lost: list[str] = []
    at = 12
    while at + 8 <= end:
        file.seek(at)
        name, length = struct.unpack("<4sI", file.read(8))
        if at + 8 + length > end:
            raise ImageError(f"{path}: the WebP is truncated; copy it again")
        if name in (b"ANIM", b"ANMF"):
            raise ImageError(f"{path}: is an animated WebP; save one frame as PNG")
        if name in (b"VP8X", b"VP8L", b"VP8 ") and header is None:
            header = _webp_size(name, file.read(10))
        elif name in (b"EXIF", b"ICCP", b"XMP ") and length <= MAX_PROFILE_BYTES:
            blocks[name] = file.read(length)
        elif name not in _PIXEL_CHUNKS:
            lost.append(f"chunk {name.decode('latin-1').strip()}")
        at += 8 + length + length % 2
    if header is None:
        raise ImageError(f"{path}: the WebP holds no image; export it again")
    header.decode_copies = _WEBP_COPIES
    header.reading = header.reading.without(*lost)
    header.take_exif(blocks.get(b"EXIF", b""))
    if blocks.get(b"ICCP"):
        header.photo = replace(header.photo, icc_profile=blocks[b"ICCP"])
    header.photo = replace(header.photo, xmp=without_companions(blocks.get(b"XMP ", b"")))
    return header


def _webp_size(name: bytes, head: bytes) -> PhotoHeader:
    """What the first image chunk says; missing bytes raise struct.error."""
    if name == b"VP8X":
        width, height = (int.from_bytes(head[i : i + 3], "little") + 1 for i in (4, 7))
        alpha = bool(head[0] & 0x10)
    elif name == b"VP8L":
        (bits,) = struct.unpack_from("<I", head, 1)
        width, height, alpha = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1, bool(bits >> 28 & 1)
    else:
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", head, 6))
        alpha = False
    return PhotoHeader(height, width, 3 + alpha, alpha=alpha)


def read_bmp_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Size and samples of a BMP.

    Raises
    ------
    ImageError
        If its pixels cannot be restored.
    """
    file.seek(0)
    with open_by_pillow(file, "BMP") as image:
        width, height, mode = *image.size, image.mode
        dpi = image.info.get("dpi")
    if mode not in _BMP_MODES or min(width, height) < 1:
        raise ImageError(f"{path}: is a BMP of {width} x {height} px in mode {mode}; save a PNG")
    samples = _BMP_MODES[mode]
    header = PhotoHeader(height, width, samples, alpha=samples == 4, decode_copies=PILLOW_COPIES)
    if mode == "P":
        header.display = replace(header.display, palette="expanded")
    if dpi and min(dpi) > 0:
        x, y = map(float, dpi)
        header.photo = replace(header.photo, resolution=(x, y, "inch"))
    return header
