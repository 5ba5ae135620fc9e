"""Headers of AVIF and HEIC, which keep an image and what belongs to it in the boxes of a film.

Decoders of AVIF leave turning to whoever shows the image; that of HEIC has turned it already.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

from unetmm.errors import ImageError
from unetmm.extras import need
from unetmm.io.code_points import chunk_of, is_hdr
from unetmm.io.exif import reset_orientation, strip_prefix
from unetmm.io.photo.film_boxes import has_film, has_still, without_film
from unetmm.io.photo.header import PhotoHeader
from unetmm.io.photo.other_headers import open_by_pillow
from unetmm.io.xmp import without_companions

_COPIES = 4.0
"""Peak of decoding in decoded images, measured: planes of the decoder, tiles, and the result."""
_SAMPLES = {"L": 1, "I": 1, "LA": 2, "RGB": 3, "RGBA": 4}
_CONFIGURATION = b"av1C"
_COLOURS = b"colrnclx"
_HEAD_BYTES = 2**16
"""Part of a file in which the boxes about its image lie."""
_LIGHT_BOXES = {b"mdcv": "mastering display (mdcv)", b"clli": "light levels (clli)"}


def read_avif_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Size, depth and metadata of an AVIF.

    Raises
    ------
    ImageError
        If its pixels cannot be restored.
    """
    file.seek(0)
    data = file.read()
    film = has_film(data)
    if film and not has_still(data):
        raise ImageError(f"{path}: is a film without an image beside it; save a frame as PNG")
    with open_by_pillow(io.BytesIO(without_film(data)), "AVIF") as image:
        (width, height), mode, about = image.size, image.mode, dict(image.info)
    if mode not in _SAMPLES:
        raise ImageError(f"{path}: is an AVIF in mode {mode}; save it as PNG")
    head = data[:_HEAD_BYTES]
    bits, is_grey = _depth_of_av1(head)
    samples = (1 if is_grey else 3) + (mode[-1] == "A")
    header = _header(height, width, samples, bits)
    header.take_exif(about.get("exif") or b"")
    if film:
        header.file_copies = 2
        header.reading = replace(header.reading, animation="the still image of it only")
    lost = [_named_film(data)] if film else []
    at = head.find(_COLOURS) + len(_COLOURS)
    numbers = (
        struct.unpack(">HH", head[at : at + 4].ljust(4, b"\0")) if _COLOURS in head else (2, 2)
    )
    return _with_metadata(header, about, [*lost, *_light_boxes(head)], numbers)


def _named_film(data: bytes) -> str:
    """What is lost of a file that holds a film beside its image."""
    try:
        with open_by_pillow(io.BytesIO(data), "AVIF") as image:
            others = int(getattr(image, "n_frames", 1)) - 1
    except (OSError, SyntaxError, ValueError):
        others = 0
    return f"{others} further frame{'s' * (others > 1)}" if others else "film beside the image"


def read_heic_header(path: Path, file: BinaryIO) -> PhotoHeader:
    """Size, depth and metadata of the primary image of a HEIC or HEIF.

    Raises
    ------
    ImageError
        If pillow-heif is not installed, or its pixels cannot be restored.
    """
    container, image = open_heic(path, file)
    mode, bits = image.mode.split(";")[0], int(image.info.get("bit_depth") or 8)
    if mode not in _SAMPLES:
        raise ImageError(f"{path}: is a HEIC in mode {image.mode}; save it as PNG")
    width, height = image.size
    header = _header(height, width, _SAMPLES[mode], bits)
    header.take_exif(reset_orientation(strip_prefix(image.info.get("exif") or b"")))
    others = len(container) - 1
    lost = [f"{others} further image{'s' * (others > 1)}"] if others else []
    lost += ["depth map"] if image.info.get("depth_images") else []
    lost += ["gain map or the like"] if image.info.get("aux") else []
    file.seek(0)
    lost += _light_boxes(file.read(_HEAD_BYTES))
    said = image.info.get("nclx_profile") or {}
    numbers = said.get("color_primaries", 2), said.get("transfer_characteristics", 2)
    return _with_metadata(header, image.info, lost, numbers)


def open_heic(path: Path, file: BinaryIO) -> tuple[Any, Any]:
    """A container of images, and the primary one, of as many bits as are stored.

    Raises
    ------
    ImageError
        If pillow-heif is not installed.
    """
    need("pillow_heif", f"{path}: is a HEIC; to read it unetmm", 'pip install "unetmm[heic]"')
    import pillow_heif

    file.seek(0)
    container = pillow_heif.open_heif(file, convert_hdr_to_8bit=False)
    return container, container[container.primary_index]


def _light_boxes(head: bytes) -> list[str]:
    """Names of what is said of the light of an HDR image."""
    return [name for mark, name in _LIGHT_BOXES.items() if mark in head]


def _header(height: int, width: int, samples: int, bits: int) -> PhotoHeader:
    header = PhotoHeader(height, width, samples, 8 if bits == 8 else 16, alpha=samples in (2, 4))
    header.decode_copies = _COPIES
    header.scaled_bits = bits if bits not in (8, 16) else 0
    return header


def _with_metadata(
    header: PhotoHeader, about: Mapping[Any, Any], lost: list[str], numbers: tuple[int, int]
) -> PhotoHeader:
    """A header with what is said of colours.

    numbers : of primaries and transfer; a profile has precedence over them, if they are not HDR.
    """
    profile = about.get("icc_profile") or b""
    chunks = chunk_of(*numbers, has_colours=header.samples > 2)
    header.photo = replace(
        header.photo,
        icc_profile=profile,
        png_chunks=tuple(c for c in chunks if not profile or is_hdr(c[1])),
        xmp=without_companions(about.get("xmp") or b""),
    )
    header.reading = header.reading.without(*lost)
    return header


def _depth_of_av1(head: bytes) -> tuple[int, bool]:
    """(bits of a sample, whether it is grey) by the configuration of the codec; 8 if there is none.

    Source: AV1 Codec ISO Media File Format Binding, section 2.3.3.
    """
    at = head.find(_CONFIGURATION)
    if at < 0 or at + 7 > len(head):
        return 8, False
    flags = head[at + 6]
    bits = (12 if flags & 0x20 else 10) if flags & 0x40 else 8
    return bits, bool(flags & 0x10)
