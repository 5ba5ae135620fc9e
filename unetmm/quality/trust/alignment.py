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
ROUNDS = 4
"""Steps towards the shift, each by the phases that the one before left."""


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
    strong, or it is none; then the phases tell its part. A net may turn a frequency of much noise
    the other way round, so what is more than a quarter of a turn away says nothing, and of two
    answers the one counts that more of the power agrees with.
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
    sure = np.where(used, WEIGHTS * coherence / (1 - coherence), 0) * blocks / JOINED
    whole = _whole_pixels(common, np.where(used, np.sqrt(coherence), 0))
    found = [_part_of_pixel(common, sure, start) for start in {whole, (0, 0)}]
    _, shift, error = max(found, key=lambda one: one[0])
    return Shift(float(shift[0]), float(shift[1]), error, alike)


def _part_of_pixel(
    common: NDArray[np.complex128], sure: Numbers, start: tuple[int, int]
) -> tuple[float, Numbers, float]:
    """Power that agrees with the shift near another, the shift, and its deviation."""
    slopes, shift, error = 2 * np.pi * np.stack([DOWN, ACROSS]), np.array(start, float), np.inf
    for _ in range(ROUNDS):
        phases = np.angle(common * np.exp(1j * (shift @ slopes)))
        weights = np.where(np.abs(phases) < np.pi / 2, sure, 0)
        matrix = (slopes * weights) @ slopes.T
        if np.linalg.det(matrix) <= 1e-12:
            break
        shift = shift + np.linalg.solve(matrix, -(slopes * weights) @ phases)
        error = float(np.sqrt(np.linalg.inv(matrix).diagonal().max()))
    left = np.angle(common * np.exp(1j * (shift @ slopes)))
    agreeing = float(sure @ np.maximum(np.cos(left), 0))
    return agreeing, shift, error


def _whole_pixels(common: NDArray[np.complex128], sure: Numbers) -> tuple[int, int]:
    """Rows and columns of the peak of the phase correlation."""
    phases = common / np.maximum(np.abs(common), 1e-300) * sure
    peaks = np.fft.irfft2(phases.reshape(BLOCK_PX, COLUMNS), (BLOCK_PX, BLOCK_PX))
    y, x = divmod(int(peaks.argmax()), BLOCK_PX)
    half = BLOCK_PX // 2
    return (y + half) % BLOCK_PX - half, (x + half) % BLOCK_PX - half
