"""Header of a JPEG XL: its codestream, alone or in boxes, and what belongs to it beside.

Decoders turn an image upright themselves, by the codestream alone: what EXIF says of it is void.

Source: ISO/IEC 18181-2 (boxes); ISO/IEC 18181-1 (codestream).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.code_points import chunk_of
from unetmm.io.colour_profile import profile_of_places
from unetmm.io.exif import reset_orientation, strip_prefix
from unetmm.io.jxl_codestream import (
    BLACK,
    MARK,
    JxlColours,
    JxlDepth,
    JxlHeader,
    read_jxl_header,
)
from unetmm.io.jxl_frames import JxlFrame, read_frames, unread
from unetmm.io.metadata import PhotoFacts
from unetmm.io.photo.boxes import BoxPlace, find_box
from unetmm.io.photo.header import MAX_PROFILE_BYTES, PhotoHeader
from unetmm.io.xmp import without_companions

_PLANE_COPIES = 4.0
"""Peak of decoding in planes of floats, one for each channel; measured."""
_FILE_COPIES, _MOST_KEPT = 2, 8
_HEAD_BYTES = 2**20
"""Part of a codestream that its header is looked for in."""
_MOST_BOXES = 10_000
_STRUCTURE = (b"JXL ", b"ftyp", b"jxll", b"jxlc", b"jxlp", b"jxli", b"jbrd")
_PACKED = b"brob"
_KEPT = (b"Exif", b"xml ")
_THIRD_OF_TEN_BITS = bytes.fromhex("ff0a001014142d020804010024004b188b15c251e8a802")
"""An image of one grey pixel, 341 of 1023."""
_DJXL = "convert it: djxl {0} {1}.png"
_KEEPING = f"{_DJXL} (djxl 0.9 or newer), which keeps the profile"
_REORDER = f"{_DJXL}, or write it by cjxl without --group_order"
_FLOATS = ((32, 8), (16, 5))
"""Bits of floats that are read, and of their exponents."""


def read_jxl(path: Path, file: BinaryIO) -> PhotoHeader:
    """Size, depth and metadata of a JPEG XL.

    Raises
    ------
    ImageError
        If its pixels cannot be restored.
    """
    stream, boxes = _unboxed(path, file)
    found = read_jxl_header(stream.read(0, _HEAD_BYTES))
    _refuse(path, found)
    frames = read_frames(found, found.frames_at, stream.read)
    if problem := unread(found, frames):
        remedy = _KEEPING if found.colours.profile else _REORDER
        raise ImageError(f"{path}: is a JPEG XL {problem}; {remedy.format(path.name, path.stem)}")
    header = _header(found)
    header.decode_copies = _copies(header, found, frames)
    lost = list(found.others) + [channel.name for channel in found.further]
    if not (header.photo.icc_profile or found.colours.code_point or found.colours.is_grey):
        lost.append("HDR colour space")
    lost += [f"box {name.decode('latin-1').strip()}" for name in boxes if name not in _KEPT]
    header.take_exif(reset_orientation(strip_prefix(boxes.get(b"Exif", b"")[4:])))
    header.photo = replace(header.photo, xmp=without_companions(boxes.get(b"xml ", b"")))
    header.reading = header.reading.without(*lost)
    return header


def decode_jxl(data: bytes, header: PhotoHeader) -> NDArray[Any]:
    """Upright pixels, (height, width) or (height, width, samples)."""
    import imagecodecs

    pixels: NDArray[Any] = imagecodecs.jpegxl_decode(data, index=0, numthreads=1)
    if header.samples == 1 and pixels.ndim == 3:  # grey, and channels of other things behind it
        pixels = pixels[0]
    return pixels


def bits_as_stored(header: PhotoHeader) -> int:
    """Bits of samples that decoding does not spread over those of their type; 0 where it does.

    imagecodecs 2024.6 spread them, that of 2026 does not.
    """
    import imagecodecs

    if header.scaled_bits and imagecodecs.jpegxl_decode(_THIRD_OF_TEN_BITS, index=0).max() > 341:
        return 0
    return header.scaled_bits


def _refuse(path: Path, found: JxlHeader) -> None:
    """Refuse what decodes to something else than the image.

    Raises
    ------
    ImageError
        It says what, and how to convert the image.
    """
    depths = {found.depth} | ({found.alpha.depth} if found.alpha else set())
    bits = " and ".join(sorted(f"{d.bits}" for d in depths))
    what = ""
    if found.animated:
        what = "is an animated JPEG XL; save one frame as PNG"
    elif any(channel.kind == BLACK for channel in found.channels):
        what = "is a JPEG XL of CMYK; save it as RGB"
    elif not found.colours.is_known:
        what = f"is a JPEG XL of colour model {found.colours.space}; save it as RGB"
    elif len(depths) > 1 or not all(map(_is_read, depths)):
        kind = "floats" if found.depth.exponent_bits else "samples"
        what = f"is a JPEG XL with {kind} of {bits} bits, of a kind that is not read; "
        what += _DJXL.format(path.name, path.stem)
    if what:
        raise ImageError(f"{path}: {what}")


def _is_read(depth: JxlDepth) -> bool:
    if depth.exponent_bits:
        return (depth.bits, depth.exponent_bits) in _FLOATS
    return depth.bits <= 16


def _header(found: JxlHeader) -> PhotoHeader:
    """The header of an image as it is decoded, turned upright."""
    height, width = found.height, found.width
    turned = found.orientation > 4
    depth, alpha = found.depth, found.alpha
    samples = (1 if found.colours.is_grey else 3) + (alpha is not None)
    header = PhotoHeader(
        *((width, height) if turned else (height, width)),
        samples,
        depth.bits if depth.exponent_bits else 8 if depth.bits <= 8 else 16,
        alpha is not None,
        is_float=depth.exponent_bits > 0,
        file_copies=_FILE_COPIES,
    )
    if not depth.exponent_bits and depth.bits not in (8, 16):
        header.scaled_bits = depth.bits
    header.photo = _colour_facts(found.colours)
    if alpha and alpha.associated:
        header.display = replace(header.display, premultiplied=True)
    if found.orientation > 1:
        header.reading = replace(
            header.reading,
            orientation=f"EXIF {found.orientation}, applied",
            stored_size=(height, width) if turned else None,
        )
    return header


def _copies(header: PhotoHeader, found: JxlHeader, frames: list[JxlFrame]) -> float:
    """Peak of decoding in decoded images: the result, the largest frame, and those that are kept.

    At most four frames are kept at a time, and as many of means.
    """
    image_px = found.height * found.width
    kept_px = sorted(max(frame.pixels, image_px) for frame in frames if frame.is_kept)[-_MOST_KEPT:]
    largest_px = max(image_px, *(frame.pixels for frame in frames))
    planes_px = _PLANE_COPIES * largest_px + sum(kept_px)
    return 1 + 4 * found.samples * planes_px / (header.height * header.row_bytes)


def _colour_facts(colours: JxlColours) -> PhotoFacts:
    """The colour space: as a profile where it has no number."""
    if not colours.gamma and (primaries := colours.code_point):
        chunks = chunk_of(primaries, colours.transfer, has_colours=not colours.is_grey)
        return PhotoFacts(png_chunks=chunks)
    if colours.is_grey:
        return PhotoFacts(png_chunks=((b"gAMA", struct.pack(">I", round(colours.gamma * 1e5))),))
    return PhotoFacts(
        icc_profile=profile_of_places(colours.all_places, colours.transfer, colours.gamma)
    )


class _Stream:
    """A codestream, which may be in several boxes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._parts: list[tuple[int, int]] = []

    def add(self, start: int, stop: int) -> None:
        """Let it go on with what lies between two offsets of the file."""
        self._parts.append((start, max(start, stop)))

    def read(self, at: int, count: int) -> bytes:
        """So many bytes from an offset in it, fewer at its end."""
        found = bytearray()
        for start, stop in self._parts:
            here = min(stop - start, at)
            at -= here
            if here < stop - start and count > 0:
                self._file.seek(start + here)
                found += self._file.read(min(stop - start - here, count))
                count -= min(stop - start - here, count)
        return bytes(found)


def _unboxed(path: Path, file: BinaryIO) -> tuple[_Stream, dict[bytes, bytes]]:
    """The codestream, and name and content of boxes that hold no pixels, if that is kept.

    Raises
    ------
    ImageError
        If a box ends behind the file.
    """
    stream, others = _Stream(file), dict[bytes, bytes]()
    file.seek(0)
    if file.read(2) == MARK:
        stream.add(0, file.seek(0, 2))
        return stream, {}
    for name, start, stop in _boxes(path, file):
        if name in (b"jxlc", b"jxlp"):
            stream.add(start + 4 * (name == b"jxlp"), stop)  # the number of a part comes first
        elif name not in _STRUCTURE:
            file.seek(start)
            packed = name == _PACKED
            name = file.read(4) if packed else name
            if name in others:
                continue
            length = stop - start - 4 * packed
            content = file.read(length) if name in _KEPT and length <= MAX_PROFILE_BYTES else b""
            others[name] = _unpacked(content) if packed and content else content
    return stream, others


def _unpacked(content: bytes) -> bytes:
    """The content of a box that is packed by Brotli."""
    import imagecodecs

    return bytes(imagecodecs.brotli_decode(content, out=MAX_PROFILE_BYTES))


def _boxes(path: Path, file: BinaryIO) -> Iterator[BoxPlace]:
    """The outermost boxes."""
    at, end = 0, file.seek(0, 2)
    for _ in range(_MOST_BOXES):
        if at + 8 > end:
            return
        box = find_box(file, at, end)
        if not box.start <= box.stop <= end:
            raise ImageError(f"{path}: the JPEG XL is truncated; copy it again")
        yield box
        at = box.stop
    raise ImageError(f"{path}: holds more than {_MOST_BOXES} boxes; it is damaged")
