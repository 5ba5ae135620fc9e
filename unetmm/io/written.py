"""Which chunks of an output have been written, so that a hole is noticed before it is published."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.protocol import Box, ImageInfo, Plane


class WrittenMap:
    """One flag a chunk of every plane; safe to use from several threads."""

    def __init__(self, info: ImageInfo, chunk: tuple[int, int]) -> None:
        self._lengths = tuple(info.length(axis) for axis in "TCZ")
        self._chunk = chunk
        grid = (-(-info.height // chunk[0]), -(-info.width // chunk[1]))
        self._written = np.zeros((*self._lengths, *grid), dtype=bool)
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        return self._written.nbytes

    def mark(self, plane: Plane, box: Box) -> None:
        """Note that a box, which starts at chunks, has been written."""
        rows = slice(box.y0 // self._chunk[0], -(-box.y1 // self._chunk[0]))
        columns = slice(box.x0 // self._chunk[1], -(-box.x1 // self._chunk[1]))
        with self._lock:
            self._written[(*plane, rows, columns)] = True

    def check(self, path: Path) -> None:
        """Refuse an output with holes."""
        missing = self._written.size - int(self._written.sum())
        if missing:
            raise ImageError(
                f"{path}: {missing} of {self._written.size} chunks were never written; "
                "nothing is kept, run it again"
            )


def check_box(
    box: Box, pixels: NDArray[np.generic], chunk: tuple[int, int], info: ImageInfo
) -> None:
    """Our own invariant: boxes start at chunks and end there or at the edge of the image."""
    assert pixels.dtype == info.dtype, f"pixels are {pixels.dtype}, the image is {info.dtype}"
    assert pixels.shape == (box.height, box.width, info.samples), f"{pixels.shape} for {box}"
    assert box.y0 % chunk[0] == 0 and box.x0 % chunk[1] == 0, f"{box} starts within a chunk"
    assert box.y1 % chunk[0] == 0 or box.y1 == info.height, f"{box} ends within a chunk"
    assert box.x1 % chunk[1] == 0 or box.x1 == info.width, f"{box} ends within a chunk"
