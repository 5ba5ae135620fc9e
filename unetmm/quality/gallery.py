"""The cases where a model helped least, as pictures to look at."""

from __future__ import annotations

import heapq
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.quality.evaluate import Case
from unetmm.quality.scores import Score

WORST = 8
"""Number of cases that are kept."""
GAP_PX = 6
"""Width of the white gap between two pictures."""


class Gallery:
    """Keeps the pictures of the worst cases only: those with the least gain in PSNR."""

    def __init__(self, count: int = WORST) -> None:
        self.count = count
        self._heap: list[tuple[float, int, Case]] = []
        self._added = 0

    def add(self, case: Case) -> None:
        """Keep `case` if it is among the worst so far."""
        self._added += 1
        heapq.heappush(self._heap, (-_gain_db(case.score), self._added, case))
        if len(self._heap) > self.count:
            heapq.heappop(self._heap)

    @property
    def cases(self) -> list[Case]:
        """Kept cases, the worst first."""
        return [case for _, _, case in sorted(self._heap, reverse=True)]

    def save(self, folder: Path) -> list[Path]:
        """Write clean | noisy | restored of every case as PNG, worst first; the files written.

        Raises
        ------
        ImageError
            If the folder cannot be made.
        """
        from PIL import Image

        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImageError(f"{folder}: cannot be made ({error.strerror})") from error
        written = []
        for i, case in enumerate(self.cases, start=1):
            score = case.score
            noise = "" if score.sigma is None else f"_sigma{score.sigma}"
            stem = Path(score.image).stem
            path = folder / f"{i:02}_{stem}{noise}_{_gain_db(score):+.2f}dB.png"
            Image.fromarray(side_by_side(case)).save(path)
            written.append(path)
        return written


def _gain_db(score: Score) -> float:
    """Gain in PSNR by restoration; an image without noise can only lose."""
    if np.isinf(score.psnr_before_db):
        return 0.0 if np.isinf(score.psnr_db) else -np.inf
    return score.psnr_db - score.psnr_before_db


def side_by_side(case: Case) -> NDArray[np.uint8]:
    """clean | noisy | restored, (h, 3 w + 2 GAP_PX, 3) or without the last axis for grey."""
    pictures = [_to_uint8(p, case) for p in (case.clean, case.noisy, case.restored)]
    gap = np.full((pictures[0].shape[0], GAP_PX, *pictures[0].shape[2:]), 255, np.uint8)
    return np.concatenate([pictures[0], gap, pictures[1], gap, pictures[2]], axis=1)


def _to_uint8(pixels: NDArray[np.generic], case: Case) -> NDArray[np.uint8]:
    scaled = (pixels.astype(np.float64) - case.low) / case.score.peak
    shown: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return shown if shown.shape[-1] == 3 else shown[..., 0]
