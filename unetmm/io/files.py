"""Bytes and arrays at places in open files, wherever Python runs.

POSIX reads and writes at a place in one step, so threads may share a file. Elsewhere the position
of a file is moved first, and only one thread at a time does so.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError

_BINARY = getattr(os, "O_BINARY", 0)
READING = os.O_RDONLY | _BINARY
"""Flags that a file is opened with to be read."""
UPDATING = os.O_RDWR | _BINARY
"""Flags that a file is opened with to be changed."""
_moving = threading.Lock()


def read_at(handle: int, count: int, offset: int) -> bytes:
    """Bytes of a file; fewer at its end."""
    if hasattr(os, "pread"):
        return os.pread(handle, count, offset)
    with _moving:
        os.lseek(handle, offset, os.SEEK_SET)
        return os.read(handle, count)


def write_bytes_at(handle: int, data: Any, offset: int) -> int:
    """Put bytes at a place in a file; how many of them were written."""
    if hasattr(os, "pwrite"):
        return os.pwrite(handle, data, offset)
    with _moving:
        os.lseek(handle, offset, os.SEEK_SET)
        return os.write(handle, data)


def read_into(handle: int, target: NDArray[Any], offset: int, path: Path) -> None:
    """Fill a contiguous array from a place in a file."""
    view = target.view(np.uint8).reshape(-1).data
    while len(view):
        count = _read_into_view(handle, view, offset)
        if count == 0:
            raise ImageError(f"{path}: ends within the pixels; it has been truncated")
        view, offset = view[count:], offset + count


def _read_into_view(handle: int, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(handle, [view], offset)
    data = read_at(handle, len(view), offset)
    view[: len(data)] = data
    return len(data)


def write_at(handle: int, array: NDArray[Any], offset: int) -> None:
    """Write all of a contiguous array into an open file."""
    view = array.data.cast("B")
    while len(view):
        count = write_bytes_at(handle, view, offset)
        view, offset = view[count:], offset + count
