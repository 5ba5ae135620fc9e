"""Blur of clean patches: soft optics, a wrong focus, a shaken camera, something that moves.

Source: shaken cameras as random walks with inertia are of Boracchi and Foi, Modeling the
Performance of Image Restoration from Motion Blur (2012), section III; the spans are ours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.quality.kernels import Kernel, convolve, disk, gaussian, path
from unetmm.train.config import BlurConfig
from unetmm.train.noise.camera import to_linear, to_srgb
from unetmm.train.noise.spectrum import log_uniform

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


def draw_kernel(blur: BlurConfig, rng: np.random.Generator) -> Kernel:
    """(n, n), n odd and at most 2 * margin_px + 1, of sum 1, its centre of mass in the middle."""
    kind = rng.random()
    reach = blur.margin_px
    if kind < blur.gaussian_share:
        sigma = log_uniform(rng, blur.gaussian_px)
        return gaussian(sigma, sigma * rng.uniform(1, blur.longest), rng.uniform(0, np.pi), reach)
    if kind < blur.gaussian_share + blur.disk_share:
        return disk(log_uniform(rng, blur.disk_px), reach)
    return path(_walk(log_uniform(rng, blur.motion_px), rng), reach, rng.uniform(0.3, 0.8))


def _walk(length_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Points (n, 2) of a shaken camera's path of a given length; some are straight."""
    bend = 0.0 if rng.random() < 0.3 else rng.uniform(0, TURN)
    turns = np.cumsum(bend * rng.standard_normal(WALK_STEPS))
    angle = rng.uniform(0, 2 * np.pi) + turns
    speed = np.exp(np.cumsum(0.1 * rng.standard_normal(WALK_STEPS)))
    steps = speed[:, None] * np.stack((np.sin(angle), np.cos(angle)), 1)
    return np.cumsum(steps * (length_px / speed.sum()), 0)
