"""By how much one image is shifted against the other: the phases of what both have in common."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.quality.trust.blocks import (
    ACROSS,
    BLOCK_PX,
    COLUMNS,
    DISTANCE,
    DOWN,
    JOINED,
    WEIGHTS,
    Numbers,
)

USED = (0.03, 0.25)
"""Frequencies by which a shift is told, in cycles a pixel."""


class Shift(NamedTuple):
    """How far the output lies from the input."""

    down_px: float
    """Distance down in pixels; below 0 upwards."""
    right_px: float
    """Distance to the right in pixels."""
    error_px: float
    """Deviation of the distance; infinite where the images have too little in common."""
    coherence: float
    """Share of the power of both that they have in common, 0 to 1."""

    @property
    def distance_px(self) -> float:
        """Distance in pixels."""
        return float(np.hypot(self.down_px, self.right_px))


NO_SHIFT = Shift(0.0, 0.0, np.inf, 0.0)
"""Images whose shift cannot be told."""


def measure_shift(spectra: Numbers, blocks: float) -> Shift:
    """The shift by sums of spectra (before, after, common real, common imaginary).

    The nearest pixel is found first, by the peak of what is left when all frequencies are equally
    strong; then the phases tell its part.
    """
    before, after = spectra[0], spectra[1]
    common = spectra[2] - 1j * spectra[3]  # of the output against the input
    if blocks < 1 or not before.any() or not after.any():
        return NO_SHIFT
    coherence = np.abs(common) ** 2 / np.maximum(before * after, 1e-300)
    coherence = np.clip((coherence - 1 / (blocks + 1)) * (blocks + 1) / blocks, 0, 0.9999)
    used = (DISTANCE > USED[0]) & (DISTANCE <= USED[1])
    power = np.where(used, WEIGHTS * np.sqrt(before * after), 0)
    alike = float((coherence * power).sum() / max(power.sum(), 1e-300))
    y, x = _whole_pixels(common, np.where(used, np.sqrt(coherence), 0))
    turned = common * np.exp(2j * np.pi * (DOWN * y + ACROSS * x))
    sure = np.where(used, WEIGHTS * coherence / (1 - coherence), 0) * blocks / JOINED
    slopes = 2 * np.pi * np.stack([DOWN, ACROSS])
    matrix = (slopes * sure) @ slopes.T
    if np.linalg.det(matrix) <= 1e-12:
        return Shift(float(y), float(x), np.inf, alike)
    moved = np.linalg.solve(matrix, -(slopes * sure) @ np.angle(turned))
    error = float(np.sqrt(np.linalg.inv(matrix).diagonal().max()))
    return Shift(y + float(moved[0]), x + float(moved[1]), error, alike)


def _whole_pixels(common: NDArray[np.complex128], sure: Numbers) -> tuple[int, int]:
    """Rows and columns of the peak of the phase correlation."""
    phases = common / np.maximum(np.abs(common), 1e-300) * sure
    peaks = np.fft.irfft2(phases.reshape(BLOCK_PX, COLUMNS), (BLOCK_PX, BLOCK_PX))
    y, x = divmod(int(peaks.argmax()), BLOCK_PX)
    half = BLOCK_PX // 2
    return (y + half) % BLOCK_PX - half, (x + half) % BLOCK_PX - half
