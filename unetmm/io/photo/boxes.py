"""Boxes of files of JPEG 2000 and JPEG XL: a length, a name of four letters, and content.

Source: ISO/IEC 15444-1, annex I; ISO/IEC 18181-2 has the same.
"""

from __future__ import annotations

import struct
from typing import BinaryIO, NamedTuple


class BoxPlace(NamedTuple):
    """Where a box lies in its file."""

    name: bytes
    """Four letters."""
    start: int
    """Offset of its content in bytes."""
    stop: int
    """Offset behind it; of a damaged box it may lie before the start, or behind the file."""


def find_box(file: BinaryIO, at: int, end: int) -> BoxPlace:
    """The box that begins at an offset, at least eight bytes before the end of what it is in."""
    file.seek(at)
    length, name = struct.unpack(">I4s", file.read(8))
    start = at + 8
    if length == 1:
        (length,) = struct.unpack(">Q", file.read(8).ljust(8, b"\0"))
        start += 8
    return BoxPlace(name, start, end if length == 0 else at + length)
