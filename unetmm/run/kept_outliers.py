"""Outliers of a strip's rows, remembered until the rows are written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.stored import clipped
from unetmm.run.job import Job
from unetmm.run.watching import Stored


class KeptOutliers:
    """Which samples of the rows that are under way are outliers."""

    def __init__(self, job: Job, shape: tuple[int, int, int]) -> None:
        """Shape: rows, columns and colours that are under way."""
        self.job = job
        self.kinds = np.zeros(shape, np.uint8)
        self.rows: set[int] = set()
        """Rows of the image with an outlier."""

    def keep(self, kinds: NDArray[np.uint8], first_row: int) -> None:
        """Remember the outliers of some rows (rows, width, colours)."""
        for i in np.nonzero(kinds.any((1, 2)))[0].tolist():
            self.kinds[(first_row + i) % len(self.kinds)] = kinds[i]
            self.rows.add(first_row + i)

    def written(self, row: int, count: int, column: int) -> NDArray[np.uint8] | None:
        """The outliers of some rows that are about to be written, which are counted now; None:
        there are none.
        """
        found = [y for y in range(row, row + count) if y in self.rows]
        if not found:
            return None
        kinds = np.zeros((count, *self.kinds.shape[1:]), np.uint8)
        for y in found:
            kinds[y - row] = self.kinds[y % len(self.kinds)]
            self.rows.remove(y)
        self.job.outlier_count.add(kinds, row, column)
        return kinds

    def apply(self, kinds: NDArray[np.uint8], stored: Stored, made: NDArray[Any]) -> Stored:
        """Put stored values where the run keeps outliers; gives what is left to compare with."""
        where = kinds != 0
        if self.job.outliers == "keep":
            values = stored.pixels
            if values.dtype.kind == "f" and made.dtype.kind != "f":
                values = np.rint(values)
            np.copyto(made, clipped(values, made.dtype), where=where)
        others = ~where.any(2)
        given = others if stored.given is None else stored.given & others
        return stored._replace(given=given)
