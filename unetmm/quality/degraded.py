"""Clean images made small or blurred, as tests of upscaling and deblurring have them.

Upscaling: by the field's protocol. Sides are cut to multiples of the scale, bicubic interpolation
makes the image small, which is stored in 8 bits; what comes back is rounded to 8 bits, and its
brightness Y is compared without a border as wide as the scale. A plain way to do it is bicubic
interpolation.

Deblurring: each image is blurred in five ways, gets a little noise, and is stored in 8 bits; all
channels are compared without a border as wide as the blur. A plain way is to leave it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.models.weights import Model
from unetmm.quality.bicubic import enlarge_bicubic, reduce_bicubic
from unetmm.quality.kernels import TEST_KERNELS, TEST_REACH_PX, TEST_SIGMA, convolve
from unetmm.quality.metrics import PEAK

Pixels = NDArray[Any]

LEAST_PX = 64
"""Height and width of an image that enough is left of to compare."""
Y_WEIGHTS, Y_BLACK = np.array([65.481, 128.553, 24.966]) / 255, 16.0
"""Brightness Y of red, green and blue of 0 to 255: weights, and what is added.

Source: ITU-R BT.601, as MATLAB's rgb2ycbcr has it."""


@dataclass(frozen=True)
class Degraded:
    """A clean image and what a model gets of it, (height, width, channels) of 0 to 255 each."""

    clean: Pixels
    """Image as it should come back."""
    given: Pixels
    """Image that the model gets."""
    plain: Pixels
    """Image as a plain way makes it of the same, as large as the clean one."""
    compared: Callable[[Pixels], Pixels]
    """Function that takes of an image what is compared."""


def kinds_of(model: Model) -> tuple[str, ...]:
    """Names of the ways in which an image is degraded for a model; an only one has none."""
    return ("",) if model.task == "upscale" else tuple(TEST_KERNELS)


def degraded(clean: Pixels, model: Model, kind: str, seed: tuple[int, ...]) -> Degraded:
    """An image degraded in one of these ways.

    clean : (height, width, channels) of 0 to 255
    """
    if model.task == "upscale":
        return _small(clean, model.config.output_scale)
    planes = np.asarray(clean, np.float32).transpose(2, 0, 1)
    noise = np.random.default_rng(seed).normal(0, TEST_SIGMA, planes.shape)
    given = _in_8_bit((convolve(planes, TEST_KERNELS[kind]) + noise).transpose(1, 2, 0))
    # The blur went round the edges.
    inner = slice(2 * TEST_REACH_PX, -2 * TEST_REACH_PX)
    return Degraded(clean, given, given, lambda image: _in_8_bit(image)[inner, inner])


def _small(clean: Pixels, scale: int) -> Degraded:
    """An image made small, and made large again by bicubic interpolation."""
    height, width = (n - n % scale for n in clean.shape[:2])
    clean = clean[:height, :width]
    given = _in_8_bit(reduce_bicubic(clean.transpose(2, 0, 1), scale).transpose(1, 2, 0))
    plain = enlarge_bicubic(given.transpose(2, 0, 1), scale).transpose(1, 2, 0)
    inner = slice(scale, -scale)
    return Degraded(clean, given, plain, lambda image: brightness(_in_8_bit(image)[inner, inner]))


def brightness(image: Pixels) -> Pixels:
    """(height, width, 1 or 3) of 0 to 255 -> Y, (height, width, 1); grey is Y of equal colours."""
    colours = image if image.shape[-1] == 3 else image.repeat(3, -1)
    return np.asarray(colours @ Y_WEIGHTS + Y_BLACK)[..., None]


def _in_8_bit(image: Pixels) -> Pixels:
    """Rounded to whole values of 0 to 255."""
    return np.clip(np.rint(np.asarray(image, np.float64)), 0, PEAK)
