"""Counts the samples that keep their stored value as parts of point sources."""

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
