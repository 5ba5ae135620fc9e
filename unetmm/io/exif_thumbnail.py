"""The small copy of a photo inside its EXIF: taken out, and put in anew for other pixels.

A block's directory 0 is followed by directory 1, which says where a small JPEG lies.
"""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.exif import byte_order, find_entry, first_directory

SIDE_PX = 160
"""Longest side of a small copy, which is the one that cameras write."""
_START_TAG, _LENGTH_TAG = 513, 514
"""Tags of directory 1 that say where its JPEG lies."""
_ENTRIES = ((259, 3, 6), (296, 3, 2), (_START_TAG, 4, 0), (_LENGTH_TAG, 4, 0))
"""Tag, type and value of the entries of a directory 1: JPEG, and inches for unit."""
_QUALITY = 85


def take_thumbnail(payload: bytes) -> tuple[bytes, bool]:
    """(block without its small copy, whether there was one); of other pixels it would be wrong."""
    order, start = byte_order(payload), first_directory(payload)
    try:
        link = _link_of(payload, order, start)
        (second,) = struct.unpack_from(order + "I", payload, link)
        if not second:
            return payload, False
        found = bytearray(payload)
        struct.pack_into(order + "I", found, link, 0)
        place = [_value(payload, order, second, tag) for tag in (_START_TAG, _LENGTH_TAG)]
    except struct.error:
        return payload, False
    at, length = place
    if not 0 < at < at + length <= len(payload):
        return bytes(found), False
    if at + length == len(payload):
        return bytes(found[:at]), True
    found[at : at + length] = bytes(length)
    return bytes(found), True


def put_thumbnail(payload: bytes, jpeg: bytes) -> bytes:
    """The same block, which has none, with a small copy; as it is if it is damaged."""
    order, start = byte_order(payload), first_directory(payload)
    if not order or not start:
        return payload
    try:
        link = _link_of(payload, order, start)
        found = bytearray(payload + bytes(len(payload) % 2))
        second = len(found)
        struct.pack_into(order + "I", found, link, second)
    except struct.error:
        return payload
    at = second + 2 + 12 * len(_ENTRIES) + 4
    values = {_START_TAG: at, _LENGTH_TAG: len(jpeg)}
    found += struct.pack(order + "H", len(_ENTRIES))
    for tag, kind, value in _ENTRIES:
        stored = struct.pack(order + ("H" if kind == 3 else "I"), values.get(tag, value))
        found += struct.pack(order + "HHI", tag, kind, 1) + stored.ljust(4, b"\0")
    return bytes(found + bytes(4) + jpeg)


def make_thumbnail(pixels: NDArray[Any]) -> bytes:
    """A small JPEG of (height, width, 1 or 3) pixels of 8 or 16 bits, each a mean of a square."""
    from PIL import Image

    step = max(1, -(-max(pixels.shape[:2]) // SIDE_PX))
    height, width = (max(1, n // step) for n in pixels.shape[:2])
    small = np.empty((height, width, pixels.shape[2]), np.uint8)
    for row in range(height):
        part = pixels[row * step : (row + 1) * step, : width * step].astype(np.float32)
        part = part.reshape(len(part), width, -1, pixels.shape[2]).mean(axis=(0, 2))
        small[row] = np.round(part / 257 if pixels.dtype == np.uint16 else part)
    return encode_thumbnail(Image.fromarray(small[..., 0] if small.shape[2] == 1 else small))


def encode_thumbnail(image: Any) -> bytes:
    """A small JPEG of an image of Pillow that is small."""
    file = io.BytesIO()
    image.save(file, "JPEG", quality=_QUALITY)
    return file.getvalue()


def _link_of(payload: bytes, order: str, start: int) -> int:
    """Place of the offset of the directory behind one."""
    (count,) = struct.unpack_from(order + "H", payload, start)
    return int(start + 2 + 12 * count)


def _value(payload: bytes, order: str, start: int, tag: int) -> int:
    """A number of a directory; 0 if it is not there."""
    entry = find_entry(payload, start, tag)
    return 0 if entry is None else int(struct.unpack_from(order + "I", payload, entry + 8)[0])
