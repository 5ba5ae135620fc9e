"""Marks of a strip's pixels, remembered by row until the rows are written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class KeptRows:
    """Marks of the rows that are under way; few rows have any."""

    def __init__(self, shape: tuple[int, int, int]) -> None:
        """Shape: rows and columns that are under way, and marks of each pixel."""
        self.marks = np.zeros(shape, np.uint8)
        self.rows: set[int] = set()
        """Rows of the image with a mark."""

    def keep(self, marks: NDArray[np.uint8], first_row: int) -> None:
        """Remember the marks of some rows (rows, width, marks of a pixel); 0 is none."""
        for i in np.nonzero(marks.any((1, 2)))[0].tolist():
            self.marks[(first_row + i) % len(self.marks)] = marks[i]
            self.rows.add(first_row + i)

    def take(self, row: int, count: int) -> NDArray[np.uint8] | None:
        """The marks of some rows, which are forgotten; None: there are none."""
        found = [y for y in range(row, row + count) if y in self.rows]
        if not found:
            return None
        taken = np.zeros((count, *self.marks.shape[1:]), np.uint8)
        for y in found:
            taken[y - row] = self.marks[y % len(self.marks)]
            self.rows.remove(y)
        return taken
