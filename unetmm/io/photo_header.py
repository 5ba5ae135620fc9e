"""Headers of PNG and JPEG: size, samples and profile, known before anything is decoded."""

from __future__ import annotations

import math
import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from unetmm.errors import ImageError

_DECODER_BYTES = 2 * 2**20
"""Windows and tables of a decoder."""
_TAIL_BYTES = 65536
_MAX_PROFILE_BYTES = 16 * 2**20


_PNG_COLOURS = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (3, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
"""PNG colour type -> (samples once a palette is expanded, bits allowed)."""


@dataclass
class PhotoHeader:
    """What a PNG or JPEG holds, upright orientation not yet applied."""

    height: int
    width: int
    samples: int
    bits: int
    """Bits of a sample when decoded, 8 or 16."""
    alpha: bool = False
    orientation: int = 1
    """EXIF orientation 1..8."""
    decode_copies: float = 1.0
    """Peak of decoding in decoded images, the result included."""
    notes: dict[str, Any] = field(default_factory=dict)


def read_png_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Walk the chunks without reading pixels; refuse a file that ends before IEND."""
    file.seek(0, 2)
    end = file.tell()
    file.seek(8)
    chunks: dict[bytes, bytes] = {}
    kept = (b"IHDR", b"tRNS", b"iCCP", b"pHYs", b"acTL")
    name, seen_pixels = b"", False
    while name != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise ImageError(f"{path}: the PNG is truncated (no IEND chunk); copy it again")
        length, name = struct.unpack(">I4s", head)
        after = file.tell() + length + 4
        if after > end:
            raise ImageError(
                f"{path}: the PNG is truncated: chunk {name.decode('latin-1')!r} should reach to "
                f"byte {after}, the file ends at byte {end}; copy it again"
            )
        if name in kept and length <= _MAX_PROFILE_BYTES:
            chunks[name] = file.read(length)
        file.seek(after)
        seen_pixels |= name == b"IDAT"
    if not seen_pixels:
        raise ImageError(f"{path}: the PNG has no pixels (no IDAT chunk); export it again")
    return _png_from_chunks(path, chunks)


def _png_from_chunks(path: Path, chunks: dict[bytes, bytes]) -> PhotoHeader:
    if len(chunks.get(b"IHDR", b"")) != 13:
        raise ImageError(f"{path}: the PNG has no valid IHDR chunk; it is damaged")
    width, height, bits, colour = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    samples, allowed = _PNG_COLOURS.get(colour, (0, ()))
    if bits not in allowed or not width or not height:
        raise ImageError(
            f"{path}: the PNG claims {width} x {height} px of colour type {colour} and {bits} "
            "bits, which does not exist; it is damaged"
        )
    alpha = colour in (4, 6)
    if b"tRNS" in chunks and not alpha:
        samples, alpha = samples + 1, True
    notes: dict[str, Any] = {}
    if colour == 3:
        notes["palette"] = "expanded"
    if b"acTL" in chunks:
        notes["animation"] = "first frame only"
    if b"iCCP" in chunks:
        notes["icc_profile"] = _inflate_profile(chunks[b"iCCP"])
    if len(chunks.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", chunks[b"pHYs"])
        if unit == 1 and x and y:
            notes["resolution"] = (x / 100, y / 100, "centimeter")
    notes = {key: value for key, value in notes.items() if value}
    return PhotoHeader(height, width, samples, 16 if bits == 16 else 8, alpha, notes=notes)


def _inflate_profile(chunk: bytes) -> bytes:
    """ICC profile of an iCCP chunk, empty if it is damaged."""
    start = chunk.find(b"\0") + 2
    try:
        return zlib.decompressobj().decompress(chunk[start:], _MAX_PROFILE_BYTES)
    except zlib.error:
        return b""


def check_png_sums(path: Path, data: bytes) -> None:
    """Refuse a PNG of which a chunk does not fit its checksum."""
    view, at = memoryview(data), 8
    while at + 12 <= len(view):
        (length,) = struct.unpack_from(">I", view, at)
        stop = at + 8 + length
        if stop + 4 > len(view) or zlib.crc32(view[at + 4 : stop]) != int.from_bytes(
            view[stop : stop + 4], "big"
        ):
            name = bytes(view[at + 4 : at + 8]).decode("latin-1")
            raise ImageError(f"{path}: PNG chunk {name!r} at byte {at} is damaged; copy it again")
        if bytes(view[at + 4 : at + 8]) == b"IEND":
            return
        at = stop + 4


def read_jpeg_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Walk the markers up to the pixels; refuse a file that lacks its end."""
    header: PhotoHeader | None = None
    app: dict[int, list[bytes]] = {}
    file.seek(2)
    while True:
        marker, body = _next_marker(path, file)
        if marker == 0xDA:
            break
        if 0xE0 <= marker <= 0xEF:
            app.setdefault(marker - 0xE0, []).append(body)
        elif 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            header = _jpeg_frame(path, marker, body)
    if header is None:
        raise ImageError(f"{path}: the JPEG states no size before its pixels; it is damaged")
    _check_jpeg_end(path, file)
    header.orientation = next((o for o in map(_orientation, app.get(1, [])) if o), 1)
    if header.orientation != 1:
        header.notes["orientation"] = f"EXIF {header.orientation}, applied"
        if header.orientation > 4:
            header.notes["stored_size"] = (header.height, header.width)
    parts = [body[14:] for body in app.get(2, []) if body.startswith(b"ICC_PROFILE\0")]
    if parts:
        header.notes["icc_profile"] = b"".join(parts)
    for body in app.get(0, []):
        if body.startswith(b"JFIF\0") and len(body) >= 12:
            unit, x, y = struct.unpack_from(">BHH", body, 7)
            if unit in (1, 2) and x and y:
                header.notes["resolution"] = (float(x), float(y), ("inch", "centimeter")[unit - 1])
    return header


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


def _jpeg_frame(path: Path, marker: int, body: bytes) -> PhotoHeader:
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
    return PhotoHeader(height, width, components, 8, decode_copies=3.0 if progressive else 1.0)


def _check_jpeg_end(path: Path, file: BinaryIO) -> None:
    start = file.tell()
    file.seek(0, 2)
    file.seek(max(start, file.tell() - _TAIL_BYTES))
    if b"\xff\xd9" not in file.read():
        raise ImageError(f"{path}: the JPEG is truncated (no end marker); copy it again")


def _orientation(body: bytes) -> int:
    """EXIF orientation 1..8 of an APP1 segment, 0 if it states none."""
    order = {b"II": "<", b"MM": ">"}.get(body[6:8])
    if not body.startswith(b"Exif\0\0") or order is None:
        return 0
    tiff = body[6:]
    try:
        (at,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, at)
        for i in range(count):
            tag, _, _, value = struct.unpack_from(order + "HHIH", tiff, at + 2 + 12 * i)
            if tag == 274:
                return value if 1 <= value <= 8 else 0
    except struct.error:
        return 0
    return 0


def upright_size(header: PhotoHeader) -> tuple[int, int]:
    """(height, width) once the orientation is applied."""
    size = (header.height, header.width)
    return size[::-1] if header.orientation > 4 else size


def peak_bytes(header: PhotoHeader, file_bytes: int) -> int:
    """Most memory that decoding takes: the compressed file beside the decoder's copies."""
    image_bytes = header.height * header.width * header.samples * header.bits // 8
    return file_bytes + math.ceil(header.decode_copies * image_bytes) + _DECODER_BYTES
