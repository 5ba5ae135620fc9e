"""Headers and chunks of PNG, read without touching a pixel."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from unetmm.errors import ImageError
from unetmm.io.metadata import PhotoFacts, ReadingFacts
from unetmm.io.palette import PaletteChoice
from unetmm.io.photo.header import MAX_PROFILE_BYTES, PILLOW_COPIES, PhotoHeader
from unetmm.io.photo.png_kept import is_copied, name_lost, take_profiles
from unetmm.io.photo.png_palette import apply_palette
from unetmm.io.xmp import without_companions

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOURS = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (3, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
"""PNG colour type -> (samples once a palette is expanded, bits allowed)."""
_KEPT = (b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"pHYs", b"acTL", b"eXIf", b"sBIT")
_MOST_COPIED_BYTES = 2**20
"""Most bytes of chunks that an output keeps; those beyond are left out."""
OWN_RECORD = b"unetmm\0"
"""Name before how an output was made."""
_OWN_TEXTS = (b"Software\0", OWN_RECORD)
"""Beginnings of texts that are ours to write."""


@dataclass
class PngChunks:
    """What lies where in a PNG."""

    kept: dict[bytes, bytes] = field(default_factory=dict)
    """Name -> content of the chunks that are understood."""
    copied: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Name and content of each chunk that an output keeps as it is."""
    lost: list[str] = field(default_factory=list)
    """Names of what the chunks hold that no output keeps."""
    pixel_parts: list[tuple[int, int]] = field(default_factory=list)
    """Offset and length of the data of each IDAT chunk."""

    @property
    def interlaced(self) -> bool:
        return self.kept[b"IHDR"][12] != 0

    @property
    def copied_bytes(self) -> int:
        return sum(len(content) for _, content in self.copied)

    @property
    def frames(self) -> int:
        """Images of an animation, 1 if it is none."""
        return max(1, int.from_bytes(self.kept.get(b"acTL", b"")[:4], "big"))

    @property
    def plain(self) -> bool:
        """Whether a decompressed row is a row of pixels: no interlacing, palette or key colour."""
        bits, colour = self.kept[b"IHDR"][8:10]
        return bits >= 8 and colour != 3 and not self.interlaced and b"tRNS" not in self.kept


def pack_chunk(name: bytes, data: bytes) -> bytes:
    """A chunk as it stands in a PNG: length, name, content, checksum."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def read_png_header(path: Path, file: BinaryIO, palette: PaletteChoice = "auto") -> PhotoHeader:
    """Size, samples and metadata of a PNG.

    Raises
    ------
    ImageError
        If the file ends before IEND, has no pixels or claims what does not exist.
    """
    return describe_png(path, walk_chunks(path, file), palette)


def walk_chunks(path: Path, file: BinaryIO) -> PngChunks:
    """Find every chunk without reading pixels.

    Raises
    ------
    ImageError
        If the file ends before IEND or has no pixels.
    """
    file.seek(0, 2)
    end = file.tell()
    file.seek(len(SIGNATURE))
    chunks, name = PngChunks(), b""
    while name != b"IEND":
        head = file.read(8)
        if len(head) < 8:
            raise ImageError(f"{path}: the PNG is truncated (no IEND chunk); copy it again")
        length, name = struct.unpack(">I4s", head)
        start = file.tell()
        if start + length + 4 > end:
            raise ImageError(
                f"{path}: the PNG is truncated: chunk {name.decode('latin-1')!r} should reach to "
                f"byte {start + length + 4}, the file ends at byte {end}; copy it again"
            )
        if name in _KEPT and length <= MAX_PROFILE_BYTES:
            chunks.kept[name] = file.read(length)
        elif name == b"IDAT":
            chunks.pixel_parts.append((start, length))
        elif not is_copied(name):
            chunks.lost.append(name_lost(name, b"", 0))
        elif length + chunks.copied_bytes <= _MOST_COPIED_BYTES:
            chunks.copied.append((name, file.read(length)))
        else:
            chunks.lost.append(f"a long {name.decode('latin-1')}")
        file.seek(start + length + 4)
    if not chunks.pixel_parts:
        raise ImageError(f"{path}: the PNG has no pixels (no IDAT chunk); export it again")
    return chunks


def describe_png(path: Path, chunks: PngChunks, palette: PaletteChoice = "auto") -> PhotoHeader:
    """What the chunks say.

    Parameters
    ----------
    palette : what the values of a palette are to be taken for.

    Raises
    ------
    ImageError
        If they claim what does not exist.
    """
    kept = chunks.kept
    if len(kept.get(b"IHDR", b"")) != 13:
        raise ImageError(f"{path}: the PNG has no valid IHDR chunk; it is damaged")
    width, height, bits, colour = struct.unpack(">IIBB", kept[b"IHDR"][:10])
    samples, allowed = _COLOURS.get(colour, (0, ()))
    if bits not in allowed or not width or not height:
        raise ImageError(
            f"{path}: the PNG claims {width} x {height} px of colour type {colour} and {bits} "
            "bits, which does not exist; it is damaged"
        )
    alpha = colour in (4, 6)
    if b"tRNS" in kept and not alpha:
        samples, alpha = samples + 1, True
    header = PhotoHeader(height, width, samples, 16 if bits == 16 else 8, alpha)
    header.photo = _photo_facts(chunks)
    header.reading = ReadingFacts(
        animation="first frame only" if b"acTL" in kept else "", left_out=_lost(chunks, bits)
    )
    if chunks.interlaced:
        header.interlaced, header.decode_copies = True, PILLOW_COPIES
    if colour == 3:
        apply_palette(path, header, kept, palette)
    header.take_exif(kept.get(b"eXIf", b""))
    return header


def _lost(chunks: PngChunks, bits: int) -> tuple[str, ...]:
    """Names of what no output keeps."""
    others = [f"{chunks.frames - 1} further frames"] if chunks.frames > 1 else []
    bits_name = name_lost(b"sBIT", chunks.kept.get(b"sBIT", b""), bits)
    return tuple(dict.fromkeys(name for name in (*chunks.lost, bits_name, *others) if name))


def _photo_facts(chunks: PngChunks) -> PhotoFacts:
    kept, resolution = chunks.kept, None
    xmp, iptc, copied = take_profiles(chunks.copied)
    if len(kept.get(b"pHYs", b"")) == 9:
        x, y, unit = struct.unpack(">IIB", kept[b"pHYs"])
        if unit == 1 and x and y:
            resolution = (x / 100, y / 100, "centimeter")
    return PhotoFacts(
        icc_profile=_inflate_profile(kept[b"iCCP"]) if b"iCCP" in kept else b"",
        resolution=resolution,
        png_chunks=tuple(c for c in copied if not c[1].startswith(_OWN_TEXTS)),
        xmp=without_companions(xmp),
        iptc=iptc,
    )


def _inflate_profile(chunk: bytes) -> bytes:
    """ICC profile of an iCCP chunk, empty if it is damaged."""
    start = chunk.find(b"\0") + 2
    try:
        return zlib.decompressobj().decompress(chunk[start:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""


def check_png_sums(path: Path, data: bytes) -> None:
    """Refuse a PNG of which a chunk does not fit its checksum."""
    view, at = memoryview(data), len(SIGNATURE)
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
