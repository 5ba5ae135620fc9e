"""Weights of layers that our nets do not have, written out as those of ordinary convolutions."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.nets.layers import MOST_KERNEL_PX

Array = NDArray[np.float32]
MOST_WEIGHTS = 2**28
"""Largest number of weights that a layer is written out with."""


def zeros(*shape: int) -> Array:
    """Weights to fill in.

    Raises
    ------
    WeightsError
        If there are more than is reasonable.
    """
    if math.prod(shape) > MOST_WEIGHTS:
        raise WeightsError(
            f"written out it has {math.prod(shape)} weights; {MOST_WEIGHTS} are the most"
        )
    return np.zeros(shape, np.float32)


def linear_taps(ratio: int) -> Array:
    """Weights of the pixels before, at and after a cell: (pixels of it, 3), half-pixel centres."""
    taps = np.zeros((ratio, 3), np.float32)
    for d in range(ratio):
        place = (d + 0.5) / ratio - 0.5
        first = math.floor(place)
        taps[d, first + 1] += 1 - (place - first)
        taps[d, first + 2] += place - first
    return taps


def ungrouped(weight: Array, groups: int) -> Array:
    """(n, c / groups, k, k) -> (n, c, k, k) with zeros between the groups."""
    if groups == 1:
        return weight
    n, depth, kh, kw = weight.shape
    if groups < 1 or n % groups:
        raise WeightsError(f"{n} outputs in {groups} groups")
    whole = zeros(n, depth * groups, kh, kw)
    for g in range(groups):
        outputs = slice(g * n // groups, (g + 1) * n // groups)
        whole[outputs, g * depth : (g + 1) * depth] = weight[outputs]
    return whole


def dilated(weight: Array, dilation: int) -> Array:
    """A kernel with zeros between its taps; one that is not square gets zeros around it."""
    n, c, kh, kw = weight.shape
    if dilation < 1 or (max(kh, kw) - 1) * dilation + 1 > MOST_KERNEL_PX:
        raise WeightsError(
            f"a convolution of {kh} x {kw} with steps of {dilation}; {MOST_KERNEL_PX} px are the "
            "longest side"
        )
    if kh != kw and (kh % 2 == 0 or kw % 2 == 0):
        raise WeightsError(f"a convolution of {kh} x {kw}: only squares and odd sides are read")
    side = max(kh, kw)
    spread = zeros(n, c, *((side - 1) * dilation + 1,) * 2)
    top, left = (side - kh) // 2 * dilation, (side - kw) // 2 * dilation
    bottom, right = top + (kh - 1) * dilation + 1, left + (kw - 1) * dilation + 1
    spread[:, :, top:bottom:dilation, left:right:dilation] = weight
    return spread


def on_cells(weight: Array, pad: int, fine: int) -> tuple[Array, int]:
    """A convolution of fine pixels as one of cells of fine x fine: weights, and zeros around."""
    n, c, kernel, _ = weight.shape
    low, high = -(-pad // fine), (fine - 1 + kernel - 1 - pad) // fine
    reach = max(low, high)
    side = 2 * reach + 1
    made = zeros(n, fine, fine, c, fine, fine, side, side)
    for dy in range(fine):
        for dx in range(fine):
            for i in range(kernel):
                for j in range(kernel):
                    ty, ey = divmod(dy + i - pad, fine)
                    tx, ex = divmod(dx + j - pad, fine)
                    made[:, dy, dx, :, ey, ex, ty + reach, tx + reach] = weight[:, :, i, j]
    return made.reshape(n * fine**2, c * fine**2, side, side), reach


def spread_taps(weight: Array, stride: int, pad: int) -> Array:
    """A transposed convolution as an ordinary one whose outputs are (n, dy, dx)."""
    n, c, kernel, _ = weight.shape
    offsets = [(o + pad - k) for o in range(stride) for k in range(kernel)]
    reach = max(abs(o // stride) for o in offsets if o % stride == 0)
    side = 2 * reach + 1
    made = zeros(n, stride, stride, c, side, side)
    for dy in range(stride):
        for dx in range(stride):
            for i in range(kernel):
                for j in range(kernel):
                    y, x = dy + pad - i, dx + pad - j
                    if y % stride == 0 and x % stride == 0:
                        made[:, dy, dx, :, y // stride + reach, x // stride + reach] += weight[
                            :, :, i, j
                        ]
    return made.reshape(n * stride**2, c, side, side)
