"""EXIF blocks as photos carry them: the orientation is read, and reset once it is applied."""

from __future__ import annotations

import struct

_ORIENTATION_TAG = 274
_SHORT = 3
_PREFIX = b"Exif\0\0"


def strip_prefix(data: bytes) -> bytes:
    """The TIFF-structured payload, empty if `data` is no EXIF block."""
    data = data.removeprefix(_PREFIX)
    return data if data[:4] in (b"II*\0", b"MM\0*") else b""


def orientation_of(payload: bytes) -> int:
    """EXIF orientation 1..8; 1 where none is stated or the block is damaged."""
    found = _find_orientation(payload)
    value = struct.unpack_from(found[0] + "H", payload, found[1])[0] if found else 1
    return value if 1 <= value <= 8 else 1


def reset_orientation(payload: bytes) -> bytes:
    """The same block for pixels that have been turned upright."""
    found = _find_orientation(payload)
    if found is None:
        return payload
    order, at = found
    return payload[:at] + struct.pack(order + "H", 1) + payload[at + 2 :]


def _find_orientation(payload: bytes) -> tuple[str, int] | None:
    """(byte order, place of the value) of the orientation in the first directory."""
    order = {b"II": "<", b"MM": ">"}.get(payload[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(order + "I", payload, 4)
        (count,) = struct.unpack_from(order + "H", payload, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, _, _ = struct.unpack_from(order + "HHIH", payload, at)
            if (tag, kind) == (_ORIENTATION_TAG, _SHORT):
                return order, at + 8
    except struct.error:
        return None
    return None
