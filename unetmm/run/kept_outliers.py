"""Outliers of a strip's rows, remembered until the rows are written."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.stored import clipped
from unetmm.run.job import Job
from unetmm.run.kept_rows import KeptRows
from unetmm.run.watching import Stored


class KeptOutliers(KeptRows):
    """Kinds of the outliers among the samples of the rows that are under way."""

    def __init__(self, job: Job, shape: tuple[int, int, int]) -> None:
        """Shape: rows, columns and colours that are under way."""
        super().__init__(shape)
        self.job = job

    def written(self, row: int, count: int, column: int) -> NDArray[np.uint8] | None:
        """The outliers of some rows that are about to be written, which are counted now; None:
        there are none.
        """
        kinds = self.take(row, count)
        if kinds is not None:
            self.job.outlier_count.add(kinds, row, column)
        return kinds

    def put(self, kinds: NDArray[np.uint8], values: NDArray[Any], made: NDArray[Any]) -> None:
        """Put stored values where the run keeps outliers."""
        if self.job.outliers == "keep":
            if values.dtype.kind == "f" and made.dtype.kind != "f":
                values = np.rint(values)
            np.copyto(made, clipped(values, made.dtype), where=kinds != 0)

    def others(self, kinds: NDArray[np.uint8], stored: Stored) -> Stored:
        """What is left to compare with."""
        others = ~(kinds != 0).any(2)
        given = others if stored.given is None else stored.given & others
        return stored._replace(given=given)
