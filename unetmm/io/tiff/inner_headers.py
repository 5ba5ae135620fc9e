"""How large an image a tile is, by its own header: a tile may be any JPEG, PNG, JPEG 2000 or WebP.

Such codecs give back what their data say, whatever the TIFF says of the tile, so a small file could
take any memory. Their headers are read before they are decoded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from unetmm.io.jxl_codestream import MARK, read_jxl_header
from unetmm.io.jxl_frames import read_frames, unread

JPEGS = (6, 7, 33007, 34892)
JPEG_2000 = (33003, 33004, 33005, 34712)
PNGS = (34933, 50013)
WEBPS = (34927, 50001)
JPEG_XLS = (50002, 52546)
JPEG_XRS = (22610, 34934)
LERCS = (34887, 50010)
"""Values of the Compression tag, of old writers too."""
SLACK_PX = 64
"""Pixels by which a side may exceed that of the tile, as for whole blocks of a codec."""
_FRAMES = (*range(0xC0, 0xC4), *range(0xC5, 0xC8), *range(0xC9, 0xCC), *range(0xCD, 0xD0))
"""Markers of JPEG that begin with the size of the image."""


@dataclass(frozen=True)
class InnerSize:
    """What the data of a tile become once they are decoded."""

    height: int
    """Rows in pixels."""
    width: int
    """Columns in pixels."""
    samples: int = 1
    """Samples of a pixel, 1 where that is not looked for."""
    problem: str = ""
    """Reason why it is not decoded whatever its size; empty if there is none."""


def inner_size(compression: int, data: bytes) -> InnerSize | None:
    """Size of the image that a tile holds; None where its codec says none, or it is damaged."""
    reader = _READERS.get(compression)
    try:
        return None if reader is None else reader(data)
    except (EOFError, ValueError, IndexError, struct.error):
        return None  # which the decoder will see


def misfit(compression: int, data: bytes, height: int, width: int, samples: int) -> str:
    """What is wrong with the image that a tile holds; empty if it fits its place."""
    found = inner_size(compression, data)
    if found is None:
        return ""
    if found.problem:
        return f"{found.problem}; write the TIFF with another compression"
    fits = found.height <= height + SLACK_PX and found.width <= width + SLACK_PX
    if fits and found.samples <= max(4, samples):
        return ""
    return (
        f"it holds an image of {found.width} x {found.height} px and {found.samples} samples, "
        f"where {width} x {height} px are its place; it is damaged"
    )


def _jpeg(data: bytes) -> InnerSize | None:
    at = 2
    while at < len(data):
        if data[at] != 0xFF:
            at += 1
            continue
        marker = data[at + 1]
        if marker in _FRAMES:
            height, width, samples = struct.unpack_from(">HHB", data, at + 5)
            return InnerSize(height, width, samples)
        if marker == 0xFF:
            at += 1
        elif marker in (0x00, 0x01) or 0xD0 <= marker <= 0xD9:  # without a length
            at += 2
        elif marker == 0xDA:
            return None
        else:
            at += 2 + int(struct.unpack_from(">H", data, at + 2)[0])
    return None


def _jpeg_2000(data: bytes) -> InnerSize | None:
    at = data.find(b"\xff\x4f\xff\x51")  # a codestream, alone or in boxes
    if at < 0:
        return None
    x1, y1, x0, y0 = struct.unpack_from(">4I", data, at + 8)
    (samples,) = struct.unpack_from(">H", data, at + 40)
    return InnerSize(y1 - y0, x1 - x0, samples)


def _png(data: bytes) -> InnerSize | None:
    if data[:4] != b"\x89PNG":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return InnerSize(height, width)


def _webp(data: bytes) -> InnerSize | None:
    if data[:4] != b"RIFF" or data[8:12] != b"WEBP":
        return None
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        return InnerSize(height, width)
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return InnerSize((bits >> 14 & 0x3FFF) + 1, (bits & 0x3FFF) + 1)
    width, height = struct.unpack_from("<HH", data, 26)
    return InnerSize(height & 0x3FFF, width & 0x3FFF)


def _jpeg_xl(data: bytes) -> InnerSize | None:
    """Headers of a codestream, alone or in the box `jxlc` or `jxlp`, and of its largest frame."""
    at = 0
    if data[:2] != MARK:
        boxes = [data.find(name) for name in (b"jxlc", b"jxlp")]
        if max(boxes) < 0:
            return None
        at = boxes[0] + 4 if boxes[0] >= 0 else boxes[1] + 8
    stream = data[at:]
    header = read_jxl_header(stream)
    sizes, problem = [(header.height, header.width)], ""
    with suppress(EOFError, ValueError):  # such as a codestream in several boxes
        frames = read_frames(header, header.frames_at, lambda at, count: stream[at : at + count])
        sizes += [(frame.height, frame.width) for frame in frames]
        problem = unread(header, frames)
    height, width = map(max, zip(*sizes, strict=True))
    return InnerSize(height, width, header.samples, problem and f"it holds a JPEG XL {problem}")


def _jpeg_xr(data: bytes) -> InnerSize | None:
    """Tags of its container, as in a TIFF: 0xBC80 is the width, 0xBC81 the height."""
    if data[:3] != b"II\xbc":
        return None
    (at,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, at)
    found = {}
    for entry in range(count):
        code, kind, _, value = struct.unpack_from("<HHII", data, at + 2 + 12 * entry)
        found[code] = value & {1: 0xFF, 3: 0xFFFF}.get(kind, 0xFFFFFFFF)
    return InnerSize(found[0xBC81], found[0xBC80]) if {0xBC80, 0xBC81} <= found.keys() else None


def _lerc(data: bytes) -> InnerSize | None:
    if data[:6] == b"Lerc2 ":
        (version,) = struct.unpack_from("<i", data, 6)
        height, width = struct.unpack_from("<ii", data, 14 if version >= 3 else 10)
        return InnerSize(height, width)
    if data[:10] == b"CntZImage ":
        height, width = struct.unpack_from("<ii", data, 18)
        return InnerSize(height, width)
    return None


_READERS: dict[int, Callable[[bytes], InnerSize | None]] = {
    **dict.fromkeys(JPEGS, _jpeg),
    **dict.fromkeys(JPEG_2000, _jpeg_2000),
    **dict.fromkeys(PNGS, _png),
    **dict.fromkeys(WEBPS, _webp),
    **dict.fromkeys(JPEG_XLS, _jpeg_xl),
    **dict.fromkeys(JPEG_XRS, _jpeg_xr),
    **dict.fromkeys(LERCS, _lerc),
}
