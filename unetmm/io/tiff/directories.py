"""How many directories a TIFF has, counted before anything is made of them."""

from __future__ import annotations

import mmap
import struct
from pathlib import Path

from unetmm.io.limits import check_room, room_bytes

DIRECTORY_BYTES = 400
"""Memory of what is known of a page, in tifffile and here, measured with 300,000 pages."""
_LEAST_BYTES = 18
"""Bytes of the smallest directory in a file: a number, a tag, and the place of the next."""


def check_directories(path: Path) -> None:
    """Refuse a TIFF whose directories alone exceed the budget.

    Raises
    ------
    ImageError
        If they do.
    """
    most = path.stat().st_size // _LEAST_BYTES
    room = room_bytes() // DIRECTORY_BYTES
    if most <= room:
        return
    count = count_directories(path, room + 1)
    what = f"the list of {'more than ' if count > room else ''}{min(count, room)} pages"
    check_room(path, what, count * DIRECTORY_BYTES)


def count_directories(path: Path, most: int) -> int:
    """Directories of the main chain, as far as `most`; where it leads nowhere, those before."""
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        order = {b"II": "<", b"MM": ">"}.get(bytes(data[:2]))
        if order is None or len(data) < 16:
            return 0
        big = struct.unpack_from(f"{order}H", data, 2)[0] == 43
        number = struct.Struct(f"{order}{'Q' if big else 'H'}")
        place = struct.Struct(f"{order}{'Q' if big else 'I'}")
        entry_bytes = 20 if big else 12
        at, count = int(place.unpack_from(data, 8 if big else 4)[0]), 0
        try:
            while at and count < most:
                count += 1
                entries = number.unpack_from(data, at)[0]
                at = int(place.unpack_from(data, at + number.size + entry_bytes * entries)[0])
        except struct.error:  # beyond the end of the file
            pass
        return count
