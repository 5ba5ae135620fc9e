"""Photoshop's image resources, in which JPEG keeps IPTC.

"8BIM", number (2 bytes), name (its length first, even in all), length (4 bytes), content (even).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

_MARK = b"8BIM"
_IPTC, _IPTC_DIGEST = 0x0404, 0x0425
_THUMBNAILS = (0x0409, 0x040C)
"""Numbers of small copies of the image."""


def read_resources(data: bytes) -> tuple[bytes, bytes, list[str]]:
    """(IPTC, other resources as stored, names of those that are left out)."""
    iptc, others, lost = b"", b"", []
    for number, whole, content in _parts(data):
        if number == _IPTC:
            iptc = iptc or content
        elif number in _THUMBNAILS:
            lost.append("thumbnail of Photoshop")
        elif number != _IPTC_DIGEST:  # which ours would have to be computed for
            others += whole
    return iptc, others, lost


def _parts(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, whole and content of each resource; those behind a damaged one are left out."""
    at = 0
    while data[at : at + 4] == _MARK and at + 12 <= len(data):
        (number,) = struct.unpack_from(">H", data, at + 4)
        behind = at + 6 + (1 + data[at + 6] + 1) // 2 * 2
        if behind + 4 > len(data):
            return
        (length,) = struct.unpack_from(">I", data, behind)
        start, end = behind + 4, behind + 4 + length
        if end > len(data):
            return
        whole = data[at:end] + b"\0" * (length % 2)
        yield number, whole, data[start:end]
        at = end + length % 2


def pack_resources(iptc: bytes, others: bytes) -> bytes:
    """IPTC as a resource, and others as they were read."""
    head = _MARK + struct.pack(">HHI", _IPTC, 0, len(iptc))
    return (head + iptc + b"\0" * (len(iptc) % 2) if iptc else b"") + others
