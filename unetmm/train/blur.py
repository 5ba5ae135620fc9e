"""Blur of clean patches: soft optics, a wrong focus, a shaken camera, something that moves.

Source: shaken cameras as random walks with inertia are of Boracchi and Foi, Modeling the
Performance of Image Restoration from Motion Blur (2012), section III; the spans are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.train.config import BlurConfig
from unetmm.train.noise.camera import to_linear, to_srgb
from unetmm.train.noise.spectrum import log_uniform

Kernel = NDArray[np.float64]

FINE = 4
"""Points per pixel and axis that a disk's edge is sampled at."""
WALK_STEPS = 200
"""Points of a shaken camera's path."""
TURN = 0.25
"""Largest typical change of a path's direction from point to point, in radians."""


def blur_patches(
    clean: NDArray[np.float32], blur: BlurConfig, rng: np.random.Generator
) -> NDArray[np.float32]:
    """(b, c, h, w) in [0, 1] -> blurred, each sample in its own way; some stay sharp.

    It is periodic, so `BlurConfig.margin_px` at each edge are wrong.
    """
    blurred = clean.copy()
    for i, patch in enumerate(clean):
        if rng.random() < blur.share:
            kernel = draw_kernel(blur, rng)
            if rng.random() < blur.linear_share:
                has_curve = rng.random() < 0.5
                light = convolve(to_linear(patch, has_curve), kernel)
                blurred[i] = to_srgb(light, has_curve)
            else:
                blurred[i] = convolve(patch, kernel)
    return blurred


def convolve(patch: NDArray[np.float32], kernel: Kernel) -> NDArray[np.float32]:
    """(c, h, w) convolved with an odd square kernel, as if it went on periodically."""
    h, w = patch.shape[-2:]
    placed = np.zeros((h, w))
    n = len(kernel)
    placed[:n, :n] = kernel
    placed = np.roll(placed, (-(n // 2), -(n // 2)), (0, 1))
    made = np.fft.irfft2(np.fft.rfft2(patch) * np.fft.rfft2(placed), s=(h, w))
    return made.astype(np.float32)


def draw_kernel(blur: BlurConfig, rng: np.random.Generator) -> Kernel:
    """(n, n), n odd and at most 2 * margin_px + 1, of sum 1, its centre of mass in the middle."""
    kind = rng.random()
    reach = blur.margin_px
    if kind < blur.gaussian_share:
        sigma = log_uniform(rng, blur.gaussian_px)
        return gaussian(sigma, sigma * rng.uniform(1, blur.longest), rng.uniform(0, np.pi), reach)
    if kind < blur.gaussian_share + blur.disk_share:
        return disk(log_uniform(rng, blur.disk_px), reach)
    return _centred(_path(log_uniform(rng, blur.motion_px), rng), reach, rng.uniform(0.3, 0.8))


def gaussian(short_px: float, long_px: float, angle: float, reach: int) -> Kernel:
    """A Gaussian with two widths, the long one at an angle."""
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    u = np.cos(angle) * x + np.sin(angle) * y
    v = np.cos(angle) * y - np.sin(angle) * x
    return _normalised(np.exp(-0.5 * ((u / long_px) ** 2 + (v / short_px) ** 2)))


def disk(radius_px: float, reach: int) -> Kernel:
    """What a point out of focus becomes: an even disk."""
    steps = (np.arange((2 * reach + 1) * FINE) + 0.5) / FINE - reach - 0.5
    inside = steps[:, None] ** 2 + steps**2 <= radius_px**2
    n = 2 * reach + 1
    return _normalised(inside.reshape(n, FINE, n, FINE).mean((1, 3)))


def _path(length_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points (n, 2) of a shaken camera's path of a given length; some are straight."""
    bend = 0.0 if rng.random() < 0.3 else rng.uniform(0, TURN)
    turns = np.cumsum(bend * rng.standard_normal(WALK_STEPS))
    angle = rng.uniform(0, 2 * np.pi) + turns
    speed = np.exp(np.cumsum(0.1 * rng.standard_normal(WALK_STEPS)))
    steps = speed[:, None] * np.stack((np.sin(angle), np.cos(angle)), 1)
    return np.cumsum(steps * (length_px / speed.sum()), 0)


def _centred(points: NDArray[np.float64], reach: int, soft_px: float) -> Kernel:
    """A path as a kernel about its centre of mass, a little soft, cut off beyond the reach."""
    points = points - points.mean(0)
    offsets = np.arange(-reach, reach + 1)
    down, across = (
        np.exp(-0.5 * ((offsets[:, None] - points[:, axis]) / soft_px) ** 2) for axis in (0, 1)
    )
    return _normalised(down @ across.T)


def _normalised(kernel: Kernel) -> Kernel:
    return np.asarray(kernel / kernel.sum())
