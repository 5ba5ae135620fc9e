"""Headers of JPEG and JPEG 2000, read without touching a pixel."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

from unetmm.errors import ImageError
from unetmm.io.metadata import Resolution
from unetmm.io.photo.header import PhotoHeader
from unetmm.io.photo.jp2_boxes import Jp2Box, read_boxes, take_boxes
from unetmm.io.photo.jpeg_kept import take_segments

_TAIL_BYTES = 65536
_JPEG2000_COPIES = 10.0
"""Peak of decoding JPEG 2000 in decoded images: 32-bit planes and wavelet coefficients."""
_JPEG2000_START = b"\xff\x4f\xff\x51"
_MAX_BOXES = 100
_COMMENT = 0xFE
_PIXELS = 0xDA
"""Marker of the segment that pixels follow."""


def read_jpeg_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Walk the markers up to the pixels.

    Raises
    ------
    ImageError
        If the file lacks its end, or holds what cannot be restored.
    """
    header: PhotoHeader | None = None
    app: dict[int, list[bytes]] = {}
    comments: list[bytes] = []
    for marker, body in segments_before_pixels(path, file):
        if 0xE0 <= marker <= 0xEF:
            app.setdefault(marker - 0xE0, []).append(body)
        elif marker == _COMMENT:
            comments.append(body)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            header = _frame(path, marker, body)
    if header is None:
        raise ImageError(f"{path}: the JPEG states no size before its pixels; it is damaged")
    _check_end(path, file)
    for body in app.get(1, []):
        if body.startswith(b"Exif\0\0"):
            header.take_exif(body)
    take_segments(header, app)
    header.photo = replace(
        header.photo,
        comment=b"\n".join(comments),
        resolution=_resolution(app.get(0, [])) or header.photo.resolution,
    )
    return header


def _resolution(segments: list[bytes]) -> Resolution | None:
    """Pixels per unit as the last JFIF segment states them; None if none does."""
    found = None
    for body in segments:
        if body.startswith(b"JFIF\0") and len(body) >= 12:
            unit, x, y = struct.unpack_from(">BHH", body, 7)
            if unit in (1, 2) and x and y:
                found = float(x), float(y), ("inch", "centimeter")[unit - 1]
    return found


def segments_before_pixels(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Marker and content of every segment before the pixels, after which the file then stands.

    Raises
    ------
    ImageError
        If the file ends before them.
    """
    file.seek(2)
    while (found := _next_marker(path, file))[0] != _PIXELS:
        yield found


def _next_marker(path: Path, file: BinaryIO) -> tuple[int, bytes]:
    """(code, body) of the next marker."""
    byte = file.read(1)
    while byte and byte != b"\xff":
        byte = file.read(1)
    while byte == b"\xff":
        byte = file.read(1)
    if not byte or byte == b"\xd9":
        raise ImageError(f"{path}: the JPEG ends before its pixels; copy it again")
    if byte[0] == 0x01 or 0xD0 <= byte[0] <= 0xD8 or byte == b"\0":
        return byte[0], b""
    size = file.read(2)
    length = int.from_bytes(size, "big") - 2
    body = file.read(max(0, length))
    if len(size) < 2 or len(body) < length:
        raise ImageError(f"{path}: the JPEG ends within its header; copy it again")
    return byte[0], body


def _frame(path: Path, marker: int, body: bytes) -> PhotoHeader:
    if len(body) < 6:
        raise ImageError(f"{path}: the JPEG's frame header is damaged")
    bits, height, width, components = struct.unpack_from(">BHHB", body)
    if not height or not width:
        raise ImageError(f"{path}: the JPEG claims {width} x {height} px; it is damaged")
    if components == 4:
        raise ImageError(f"{path}: is a CMYK JPEG, which cannot be restored; convert it to RGB")
    if components not in (1, 3) or bits != 8:
        raise ImageError(f"{path}: is a {bits}-bit JPEG of {components} components; give 8-bit RGB")
    # A progressive file is collected as 16-bit coefficients before any pixel appears.
    progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
    return PhotoHeader(height, width, components, decode_copies=3.0 if progressive else 1.0)


def _check_end(path: Path, file: BinaryIO) -> None:
    start = file.tell()
    file.seek(0, 2)
    file.seek(max(start, file.tell() - _TAIL_BYTES))
    if b"\xff\xd9" not in file.read():
        raise ImageError(f"{path}: the JPEG is truncated (no end marker); copy it again")


def read_jpeg2000_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Size of a JP2 file or a bare codestream.

    Raises
    ------
    ImageError
        If there is no size, or samples that cannot be restored.
    """
    file.seek(0)
    boxes: list[Jp2Box] = []
    if file.read(4) != _JPEG2000_START:
        boxes = read_boxes(file)
        _seek_codestream(path, file)
    body = file.read(38)
    if len(body) < 38:
        raise ImageError(f"{path}: the JPEG 2000 ends within its header; copy it again")
    x1, y1, x0, y0 = struct.unpack_from(">4I", body, 4)
    (count,) = struct.unpack_from(">H", body, 36)
    components = file.read(3 * count)
    height, width = y1 - y0, x1 - x0
    if min(height, width) < 1 or len(components) < 3 * count:
        raise ImageError(f"{path}: the JPEG 2000 claims {width} x {height} px; it is damaged")
    depths, steps = set(components[0::3]), set(components[1::3]) | set(components[2::3])
    bits = max(depths, default=0) + 1  # beyond 128 where samples are signed
    if not 1 <= count <= 4 or len(depths) > 1 or bits > 16 or steps != {1}:
        raise ImageError(
            f"{path}: is a JPEG 2000 of {count} components that differ, are signed, subsampled or "
            "of more than 16 bits; save grey or RGB of 8 or 16 bits as TIFF"
        )
    header = PhotoHeader(height, width, count, 8 if bits <= 8 else 16, alpha=count in (2, 4))
    header.decode_copies = _JPEG2000_COPIES
    if bits % 8:
        header.display = replace(header.display, bits=bits)
    take_boxes(header, boxes)
    return header


def _seek_codestream(path: Path, file: BinaryIO) -> None:
    """Go behind the first marker of the codestream of a JP2 file."""
    at = 0
    for _ in range(_MAX_BOXES):
        file.seek(at)
        head = file.read(16)
        if len(head) < 8:
            break
        length, name = struct.unpack_from(">I4s", head)
        data = at + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            data = at + 16
        if name == b"jp2c":
            file.seek(data)
            if file.read(4) == _JPEG2000_START:
                return
            break
        if length < 8:
            break
        at += length
    raise ImageError(f"{path}: the JPEG 2000 holds no image; copy it again")
