"""EXIF: blocks as photos carry them, and the same directories inside a TIFF.

A block is a small TIFF without pixels: directory 0 (maker, date, orientation), which points at
the camera's (34665) and the GPS directory (34853), and the former at one for interoperability.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from unetmm.io.metadata import Resolution

CAMERA, GPS, _INTEROPERABILITY = 34665, 34853, 40965
"""Tags that point at directories."""
_ORIENTATION_TAG = 274
_RESOLUTION_TAGS, _UNIT_TAG, _CENTIMETERS = (282, 283), 296, 3
_POINTERS = (CAMERA, GPS, _INTEROPERABILITY)
_SIZE_TAGS = (
    ((), (257, 256)),
    ((CAMERA,), (40963, 40962)),
    ((CAMERA, _INTEROPERABILITY), (4098, 4097)),
)
"""Tags that point at a directory, one after another; its tags of the height and the width."""
_ASCII, _SHORT, _LONG = 2, 3, 4
_PREFIX = b"Exif\0\0"
_VALUE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 4, 6: 1, 7: 1, 8: 2, 9: 4, 10: 4, 11: 4, 12: 8, 13: 4}
"""Type of a value -> bytes that the byte order turns around; a fraction has two such parts."""
_FRACTIONS = (5, 10)
_MAX_ENTRIES, _MAX_VALUE_BYTES = 1000, 2**24
"""Most tags of a directory, and most bytes of a value; a file with more is damaged."""

Read = Callable[[int, int], bytes]
"""Function that gives bytes of a file: (offset, count) -> bytes."""


@dataclass(frozen=True)
class ExifEntry:
    """One tag of a directory."""

    code: int
    """Number that says what the tag means."""
    kind: int
    """Type of the value, as TIFF counts types."""
    count: int
    """Number of values."""
    value: bytes
    """Content, little-endian."""


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


def fit_sizes(payload: bytes, height: int, width: int) -> bytes:
    """The same block with the size of the image, in pixels, wherever it states one."""
    order = byte_order(payload)
    found = bytearray(payload)
    for pointers, tags in _SIZE_TAGS:
        start = _start_of(payload, pointers)
        for tag, size in zip(tags, (height, width), strict=True):
            entry = find_entry(payload, start, tag) if start else None
            if entry is None:
                continue
            kind = struct.unpack_from(order + "H", payload, entry + 2)[0]
            if kind == _LONG or (kind == _SHORT and size < 2**16):
                struct.pack_into(order + {_SHORT: "H", _LONG: "I"}[kind], found, entry + 8, size)
    return bytes(found)


def scale_resolution(payload: bytes, factor: int) -> bytes:
    """The same block for pixels that are smaller by a factor, so more of them lie in an inch."""
    order, start = byte_order(payload), first_directory(payload)
    found = bytearray(payload)
    for tag in _RESOLUTION_TAGS:
        entry = find_entry(payload, start, tag) if start else None
        if entry is None or entry + 12 > len(payload):
            continue
        kind, count, at = struct.unpack_from(order + "HII", payload, entry + 2)
        if kind in _FRACTIONS and count == 1 and at + 8 <= len(payload):
            above, below = struct.unpack_from(order + "II", payload, at)
            if above * factor < 2**32:
                struct.pack_into(order + "II", found, at, above * factor, below)
    return bytes(found)


def _start_of(payload: bytes, pointers: tuple[int, ...]) -> int:
    """Offset of a directory that tags point at, one after another; 0 if there is none."""
    start = first_directory(payload)
    for tag in pointers:
        entry = find_entry(payload, start, tag) if start else None
        if entry is None:
            return 0
        start = struct.unpack_from(byte_order(payload) + "I", payload, entry + 8)[0]
    return start


def byte_order(payload: bytes) -> str:
    """Byte order of a block, as struct writes it; empty if it is none."""
    return {b"II": "<", b"MM": ">"}.get(payload[:2], "")


def first_directory(payload: bytes) -> int:
    """Offset of directory 0; 0 if the block is damaged."""
    order = byte_order(payload)
    found = struct.unpack_from(order + "I", payload, 4)[0] if order and len(payload) >= 8 else 0
    return int(found)


def find_entry(payload: bytes, start: int, tag: int) -> int | None:
    """Offset of the entry of a tag in a directory; None if there is none."""
    order = byte_order(payload)
    try:
        (count,) = struct.unpack_from(order + "H", payload, start)
        for at in range(start + 2, start + 2 + 12 * count, 12):
            if struct.unpack_from(order + "HHII", payload, at)[0] == tag:
                return at
    except struct.error:
        pass
    return None


def resolution_of(payload: bytes) -> Resolution | None:
    """(x, y, "inch" or "centimeter"), pixels per unit, as stored; None where it is not stated."""
    found = {entry.code: entry for entry in read_directories(payload).get(0, ())}
    per_unit = []
    for code in _RESOLUTION_TAGS:
        if code not in found or len(found[code].value) != 8:
            return None
        numerator, denominator = struct.unpack("<II", found[code].value)
        if not numerator or not denominator:
            return None
        per_unit.append(numerator / denominator)
    unit = found.get(_UNIT_TAG)
    centimeters = unit is not None and int.from_bytes(unit.value, "little") == _CENTIMETERS
    return (per_unit[0], per_unit[1], "centimeter" if centimeters else "inch")


def read_directories(payload: bytes) -> dict[int, list[ExifEntry]]:
    """Entries of directory 0, and of those pointed at, by the tag that does; damaged ones miss."""
    order = {b"II": "<", b"MM": ">"}.get(payload[:2])
    if order is None or len(payload) < 8:
        return {}
    starts = {0: struct.unpack(order + "I", payload[4:8])[0]}
    return _follow(lambda at, size: payload[at : at + size], order, False, starts)


def read_from_tiff(
    read: Read, order: str, big: bool, starts: dict[int, int], texts: dict[int, bytes]
) -> bytes:
    """A block of the camera's and the GPS directory of a TIFF, empty if there are none.

    Parameters
    ----------
    read : gives bytes from an offset on.
    order : "<" or ">". big : whether it is a BigTIFF.
    starts : offsets of the directories, by the tag that points at them.
    texts : tags of the page that belong into directory 0.
    """
    tables = _follow(read, order, big, starts)
    if not any(tables.values()):
        return b""
    first = [ExifEntry(code, _ASCII, len(text) + 1, text + b"\0") for code, text in texts.items()]
    return _pack_block(tables | {0: first})


def _follow(
    read: Read, order: str, big: bool, starts: dict[int, int]
) -> dict[int, list[ExifEntry]]:
    """Entries of directories and of those that they point at."""
    todo = dict(starts)
    tables: dict[int, list[ExifEntry]] = {}
    while todo:
        code, start = todo.popitem()
        try:
            found = _read_directory(read, order, big, start)
        except (struct.error, ValueError):
            continue
        tables[code] = [e for e in found if e.code not in _POINTERS]
        for entry in found:
            if entry.code in _POINTERS and entry.code not in tables:
                todo[entry.code] = int.from_bytes(entry.value, "little")
    return tables


def _read_directory(read: Read, order: str, big: bool, start: int) -> list[ExifEntry]:
    head, form, inline = ("Q", "HHQ", 8) if big else ("H", "HHI", 4)
    number = order + ("Q" if big else "I")
    (count,) = struct.unpack(order + head, read(start, struct.calcsize(order + head)))
    at, step, found = start + struct.calcsize(order + head), struct.calcsize(order + form), []
    for _ in range(min(count, _MAX_ENTRIES)):
        code, kind, length = struct.unpack(order + form, read(at, step))
        stored = read(at + step, inline)
        at += step + inline
        part = _VALUE_SIZES.get(kind, 0)
        size = part * (2 if kind in _FRACTIONS else 1) * length
        if size > inline:
            stored = read(struct.unpack(number, stored)[0], min(size, _MAX_VALUE_BYTES))
        if not size or len(stored) < size:
            continue
        raw = np.frombuffer(stored, f"{order}u{part}", size // part)
        found.append(ExifEntry(code, kind, length, raw.astype(f"<u{part}").tobytes()))
    return found


def pack_directories(
    tables: dict[int, list[ExifEntry]], base: int, big: bool = False
) -> tuple[bytes, dict[int, int]]:
    """Directories as they lie in a little-endian TIFF from `base` on.

    Parameters
    ----------
    base : offset in the file of the first byte, even.
    big : for a BigTIFF.

    Returns
    -------
    The bytes, and the offset of each of the camera's and the GPS directory that there is.
    """
    packed = b""
    places: dict[int, int] = {}
    for code in (_INTEROPERABILITY, CAMERA, GPS):
        if entries := list(tables.get(code, ())):
            if code == CAMERA and _INTEROPERABILITY in places:
                place = struct.pack("<I", places[_INTEROPERABILITY])
                entries.append(ExifEntry(_INTEROPERABILITY, _LONG, 1, place))
            places[code] = base + len(packed)
            packed += _pack_directory(entries, places[code], big)
    return packed, {code: at for code, at in places.items() if code != _INTEROPERABILITY}


def _pack_directory(entries: list[ExifEntry], base: int, big: bool) -> bytes:
    """One directory and its values, an even number of bytes."""
    count, number, inline = ("<Q", "<Q", 8) if big else ("<H", "<I", 4)
    entry_bytes = 4 + 2 * inline
    values_at = base + struct.calcsize(count) + entry_bytes * len(entries) + inline
    table, values = struct.pack(count, len(entries)), b""
    for entry in sorted(entries, key=lambda e: e.code):
        table += struct.pack("<HH", entry.code, entry.kind) + struct.pack(number, entry.count)
        if len(entry.value) <= inline:
            table += entry.value.ljust(inline, b"\0")
        else:
            table += struct.pack(number, values_at + len(values))
            values += entry.value + b"\0" * (len(entry.value) % 2)
    whole = table + bytes(inline) + values
    return whole + b"\0" * (len(whole) % 2)


def _pack_block(tables: dict[int, list[ExifEntry]]) -> bytes:
    """A block of its own, directory 0 last."""
    packed, places = pack_directories(tables, 8)
    pointers = [ExifEntry(code, _LONG, 1, struct.pack("<I", at)) for code, at in places.items()]
    first = 8 + len(packed)
    head = b"II*\0" + struct.pack("<I", first)
    return head + packed + _pack_directory([*tables[0], *pointers], first, big=False)


def _find_orientation(payload: bytes) -> tuple[str, int] | None:
    """(byte order, place of the value) of the orientation in the first directory."""
    start = first_directory(payload)
    entry = find_entry(payload, start, _ORIENTATION_TAG) if start else None
    order = byte_order(payload)
    if entry is None or struct.unpack_from(order + "H", payload, entry + 2)[0] != _SHORT:
        return None
    return order, entry + 8
