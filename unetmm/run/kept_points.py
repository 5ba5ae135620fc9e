"""Point sources of a strip's rows, remembered until the rows are written."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.points import WHOLE


class PointCount:
    """Counts samples that keep most of their stored value; several tasks add to it."""

    def __init__(self) -> None:
        self.samples = 0
        self._lock = threading.Lock()

    def add(self, shares: NDArray[np.uint8]) -> None:
        """Count some rows where they are written, so that each counts once."""
        found = int(np.count_nonzero(shares > WHOLE // 2))
        with self._lock:
            self.samples += found

    def share(self, samples: int) -> float:
        """Share of a run's samples."""
        return self.samples / max(1, samples)


class KeptPoints:
    """Shares of the stored value that pixels keep, of the rows that are under way."""

    def __init__(self, count: PointCount, shape: tuple[int, int, int]) -> None:
        """Shape: rows, columns and groups of samples that are under way."""
        self.count = count
        self.shares = np.zeros(shape, np.uint8)
        self.rows: set[int] = set()
        """Rows of the image with a point source."""

    def keep(self, shares: NDArray[np.uint8], first_row: int) -> None:
        """Remember the shares of some rows (rows, width, groups)."""
        for i in np.nonzero(shares.any((1, 2)))[0].tolist():
            self.shares[(first_row + i) % len(self.shares)] = shares[i]
            self.rows.add(first_row + i)

    def written(self, row: int, count: int) -> NDArray[np.uint8] | None:
        """The shares of some rows that are about to be written, which are counted now; None: there
        are none.
        """
        found = [y for y in range(row, row + count) if y in self.rows]
        if not found:
            return None
        shares = np.zeros((count, *self.shares.shape[1:]), np.uint8)
        for y in found:
            shares[y - row] = self.shares[y % len(self.shares)]
            self.rows.remove(y)
        self.count.add(shares)
        return shares
