"""Kernels of blur: soft optics, a wrong focus, a straight motion; and images blurred by them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Kernel = NDArray[np.float64]
"""Odd square (n, n) of sum 1 with its centre of mass in the middle."""

FINE = 4
"""Points per pixel and axis that a disk's edge is sampled at."""


def gaussian(short_px: float, long_px: float, angle: float, reach: int) -> Kernel:
    """A Gaussian with two widths, the long one at an angle."""
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    return normalised(np.exp(-0.5 * ((u / long_px) ** 2 + (v / short_px) ** 2)))


def disk(radius_px: float, reach: int) -> Kernel:
    """What a point out of focus becomes: an even disk."""
    steps = (np.arange((2 * reach + 1) * FINE) + 0.5) / FINE - reach - 0.5
    inside = steps[:, None] ** 2 + steps**2 <= radius_px**2
    n = 2 * reach + 1
    return normalised(inside.reshape(n, FINE, n, FINE).mean((1, 3)))


def path(points: NDArray[np.float64], reach: int, soft_px: float) -> Kernel:
    """A path (points, 2) about its centre of mass, a little soft, cut off beyond the reach."""
    points = points - points.mean(0)
    offsets = np.arange(-reach, reach + 1)
    down, across = (
        np.exp(-0.5 * ((offsets[:, None] - points[:, axis]) / soft_px) ** 2) for axis in (0, 1)
    )
    return normalised(down @ across.T)


def line(length_px: float, angle: float, reach: int) -> Kernel:
    """A straight, even motion."""
    along = np.linspace(-0.5, 0.5, 200)[:, None] * length_px
    return path(along * np.array([np.sin(angle), np.cos(angle)]), reach, 0.5)


def normalised(kernel: Kernel) -> Kernel:
    """The same of sum 1."""
    return np.asarray(kernel / kernel.sum())


def convolve(image: NDArray[np.float32], kernel: Kernel) -> NDArray[np.float32]:
    """(..., h, w) convolved with a kernel, as if it went on periodically."""
    h, w = image.shape[-2:]
    placed = np.zeros((h, w))
    n = len(kernel)
    placed[:n, :n] = kernel
    placed = np.roll(placed, (-(n // 2), -(n // 2)), (0, 1))
    made = np.fft.irfft2(np.fft.rfft2(image) * np.fft.rfft2(placed), s=(h, w))
    return made.astype(np.float32)


TEST_REACH_PX = 10
"""Reach of the kernels below."""
TEST_KERNELS = {
    "Gaussian 1 px": gaussian(1.0, 1.0, 0.0, TEST_REACH_PX),
    "Gaussian 1.6 px": gaussian(1.6, 1.6, 0.0, TEST_REACH_PX),
    "disk 1.5 px": disk(1.5, TEST_REACH_PX),
    "disk 3 px": disk(3.0, TEST_REACH_PX),
    "motion 9 px": line(9.0, 0.6, TEST_REACH_PX),
}
"""Blurs that a model for deblurring is measured on."""
TEST_SIGMA = 1.0
"""Standard deviation, of 255, of the noise that is added to them."""
