"""Counts the outliers of a run: single pixels, and the columns and rows that they make up."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.outliers import COLUMN, POINT, ROW


class OutlierCount:
    """Counts outliers where they are written, so each once; several tasks add to it."""

    def __init__(self) -> None:
        self.pixels = 0
        """Number of pixels with a single outlier, of any of their samples."""
        self.columns: set[int] = set()
        """Columns of any plane with a line of outliers."""
        self.rows: set[int] = set()
        """Rows of any plane with a line of outliers."""
        self._lock = threading.Lock()

    def add(self, kinds: NDArray[np.uint8], row: int, column: int) -> None:
        """Count outliers (rows, width, samples); the first pixel's place is `row`, `column`."""
        pixels = int(np.count_nonzero((kinds == POINT).any(2)))
        columns = np.nonzero((kinds == COLUMN).any((0, 2)))[0] + column
        rows = np.nonzero((kinds == ROW).any((1, 2)))[0] + row
        with self._lock:
            self.pixels += pixels
            self.columns.update(columns.tolist())
            self.rows.update(rows.tolist())

    def as_dict(self) -> dict[str, int]:
        """For reports, whose field names this fixes."""
        return {"pixels": self.pixels, "columns": len(self.columns), "rows": len(self.rows)}
