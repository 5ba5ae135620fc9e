"""Arrays at places in open files, read and written without a copy."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError


def read_into(handle: int, target: NDArray[Any], offset: int, path: Path) -> None:
    """Fill a contiguous array from a place in a file."""
    view = target.view(np.uint8).reshape(-1).data
    while len(view):
        count = os.preadv(handle, [view], offset)
        if count == 0:
            raise ImageError(f"{path}: ends within the pixels; it has been truncated")
        view, offset = view[count:], offset + count


def write_at(handle: int, array: NDArray[Any], offset: int) -> None:
    """Write all of a contiguous array into an open file."""
    view = array.data.cast("B")
    while len(view):
        count = os.pwrite(handle, view, offset)
        view, offset = view[count:], offset + count
