"""Counts what of a run was restored in wider ranges than the base range."""

from __future__ import annotations

import logging
import threading

from unetmm.intensities.brackets import RATIO, RUNGS

log = logging.getLogger(__name__)


class ExcessCount:
    """Counts a run's samples that were restored in each rung; several tasks add to it."""

    def __init__(self) -> None:
        self.rungs, self.warned = [0] * RUNGS, False
        self.stored_px = 0
        """Number of pixels beyond the base range that stay as they are stored."""
        self._lock = threading.Lock()

    def add(self, rungs: tuple[int, ...]) -> None:
        with self._lock:
            self.rungs = [a + b for a, b in zip(self.rungs, rungs, strict=True)]

    def add_stored(self, pixels: int) -> None:
        with self._lock:
            self.stored_px += pixels

    def warn(self) -> None:
        """Say once that some values are no measurement of this image."""
        with self._lock:
            first, self.warned = not self.warned, True
        if first:
            log.warning(
                "some values lie more than a million times as far away as all others; they are "
                "taken for missing measurements and stay as they are"
            )

    def shares(self, samples: int) -> dict[str, float]:
        """Share of a run's samples in each rung that was used, by its width in base ranges, and of
        those beyond the base range that stay as stored."""
        used = {f"{RATIO ** (i + 1):.0f}": n for i, n in enumerate(self.rungs) if n}
        if self.stored_px:
            used["stored"] = self.stored_px
        return {width: n / max(1, samples) for width, n in used.items()}
