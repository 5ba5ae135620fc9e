"""Counts the outliers of a run: single pixels, and the columns and rows that they make up."""

from __future__ import annotations

import threading
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.outliers import COLUMN, LINE_PX, POINT, ROW

LEAST_PX = LINE_PX
"""Fewest outliers of a line that is one: those of a hot column are all along it."""


class OutlierCount:
    """Counts outliers where they are written, so each once; several tasks add to it."""

    def __init__(self) -> None:
        self.pixels = 0
        """Number of pixels with a single outlier, of any of their samples."""
        self.columns: Counter[int] = Counter()
        """Number of outliers on lines by column, of any plane."""
        self.rows: Counter[int] = Counter()
        """The same by row."""
        self._lock = threading.Lock()

    def add(self, kinds: NDArray[np.uint8], row: int, column: int) -> None:
        """Count outliers (rows, width, samples); the first pixel's place is `row`, `column`."""
        pixels = int(np.count_nonzero((kinds == POINT).any(2)))
        columns = (kinds == COLUMN).any(2).sum(0)
        rows = (kinds == ROW).any(2).sum(1)
        with self._lock:
            self.pixels += pixels
            self.columns.update(_numbers(columns, column))
            self.rows.update(_numbers(rows, row))

    def as_dict(self) -> dict[str, int]:
        """For reports, whose field names this fixes. Short ones count as single pixels: parts of
        sharp things look like lines.
        """
        counts = (self.columns, self.rows)
        short = sum(n for count in counts for n in count.values() if n < LEAST_PX)
        columns, rows = (sum(n >= LEAST_PX for n in count.values()) for count in counts)
        return {"pixels": self.pixels + short, "columns": columns, "rows": rows}


def _numbers(counts: NDArray[np.int64], first: int) -> dict[int, int]:
    """Counts that are not 0, by their place."""
    there = np.flatnonzero(counts)
    return dict(zip((there + first).tolist(), counts[there].tolist(), strict=True))
