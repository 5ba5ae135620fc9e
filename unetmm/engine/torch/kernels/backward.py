"""Starts the kernels of a block in training: both halves, and their gradients.

Maps are (b, c, h, w) in channels-last memory, so that they are matrices (pixels, channels) without
a copy. Weights are float32; `dtype` is that of the products' operands.
"""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from unetmm.engine.torch.kernels.folding import fold, fold_gradient
from unetmm.engine.torch.kernels.gradients import (
    finish,
    finish_gradient,
    first_gradient,
    gate_gradient,
    taps_gradient,
)
from unetmm.engine.torch.kernels.halves import depthwise_half
from unetmm.engine.torch.kernels.launch import TYPES, options
from unetmm.engine.torch.kernels.products import product_kernel
from unetmm.engine.torch.kernels.tiles import (
    GATE_CHANNELS,
    GATE_PIXELS,
    PRODUCT,
    Fusing,
    Tile,
    padded_channels,
)

TAPS_TILE = 32, 32
"""Pixels and channels of a tile of the taps' gradients."""


def channels_last(x: Tensor) -> Tensor:
    """The same map in channels-last memory."""
    return x.contiguous(memory_format=torch.channels_last)


def folded_weights(given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Products and biases, 1, 3, 4 and 5, of a block's weights.

    given : weight and bias of conv1, norm1, conv3 with beta, conv4, norm2, conv5 with gamma.
    """
    c, x = given[4].shape[0], given[0]
    made = tuple(x.new_empty(shape) for n in (2, 1, 2, 1) for shape in ((n * c, c), (n * c,)))
    fold[(1,)](*given, *made, c=c, C=padded_channels(c), **options(4))
    return made


def folded_weights_backward(
    given: tuple[Tensor, ...], gradients: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Gradients of what `folded_weights` is given."""
    c = given[4].shape[0]
    made = tuple(torch.empty_like(weights) for weights in given)
    of_folded = tuple(gradient.contiguous() for gradient in gradients)
    fold_gradient[(1,)](*given, *of_folded, *made, c=c, C=padded_channels(c), **options(4))
    return made


def gate(
    x: Tensor, weights: tuple[Tensor, ...], dtype: torch.dtype, fusing: Fusing, tile: Tile
) -> tuple[Tensor, Tensor]:
    """What the gate of the depthwise half gives, (b, c, h, w), and its means (b, c).

    weights : first product, its bias, taps (2c, 9), their bias.
    """
    b, c, h, w = x.shape
    cut = fusing.cut(tile, c, h, w, b)
    out = torch.empty_like(x, dtype=dtype)
    scratch = torch.empty(cut.scratch, dtype=dtype, device=x.device)
    sums = torch.empty((cut.programs, b, c), device=x.device)
    strides = h * w * c, 1, w * c, c
    depthwise_half[(cut.programs, b)](
        x, x, out, sums, scratch, *weights, x, x, -1, h, w, h, cut.walk, cut.across, cut.tiles,
        *strides, 0, 0, *strides, c=c, P=tile.pixels, C=padded_channels(c), T=TYPES[dtype],
        IS_BANDED=False, ATTENDS=True, **options(tile.warps),
    )  # fmt: skip
    return out, sums.sum(0) / (h * w)


def gate_backward(
    x: Tensor, weights: tuple[Tensor, ...], of_gated: Tensor, of_means: Tensor,
    dtype: torch.dtype, fusing: Fusing, tile: Tile,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of x and the weights of `gate`, from those of what it gives."""
    b, c, h, w = x.shape
    pixels, (first, first_bias, taps, taps_bias) = b * h * w, weights
    hidden = torch.empty((pixels, 2 * c), dtype=dtype, device=x.device)
    wide = PRODUCT[hidden.element_size()]
    block = min(wide.outputs, padded_channels(2 * c))
    product_kernel[(triton.cdiv(pixels, wide.pixels), triton.cdiv(2 * c, block))](
        x, first, first_bias, hidden, hidden, 0, 0, 1, pixels, 1, c, 1, 2 * c, 1, 2 * c,
        c=c, outputs=2 * c, P=wide.pixels, K=min(wide.depth, padded_channels(c)), N=block,
        T=TYPES[dtype], NORM=True, GATE=False, RESIDUAL=False, ROWS=False, **options(wide.warps),
    )  # fmt: skip
    of_made = torch.empty_like(hidden)
    gate_gradient[(triton.cdiv(pixels, GATE_PIXELS), triton.cdiv(c, GATE_CHANNELS))](
        hidden, of_gated, of_means / (h * w), of_made, taps, taps_bias, h, w, pixels,
        c=c, P=GATE_PIXELS, C=GATE_CHANNELS, **options(4),
    )  # fmt: skip
    tiles = triton.cdiv(pixels, TAPS_TILE[0])
    programs = min(tiles, fusing.programs(tile))
    of_taps = torch.empty((programs, 10, 2 * c), device=x.device)
    taps_gradient[(programs, triton.cdiv(2 * c, TAPS_TILE[1]))](
        hidden, of_made, of_taps, h, w, pixels, tiles,
        c=2 * c, P=TAPS_TILE[0], C=TAPS_TILE[1], **options(4),
    )  # fmt: skip
    tiles = triton.cdiv(pixels, tile.pixels)
    programs = min(tiles, fusing.programs(tile))
    of_x, of_first = torch.empty_like(x), torch.empty((programs, 2 * c, c), device=x.device)
    of_bias = torch.empty((programs, 2 * c), device=x.device)
    first_gradient[(programs,)](
        x, of_made, of_x, first, taps, of_first, of_bias, h, w, pixels, tiles,
        c=c, P=tile.pixels, C=padded_channels(c), T=TYPES[dtype], **options(tile.warps),
    )  # fmt: skip
    found = of_taps.sum(0)
    return of_x, of_first.sum(0), of_bias.sum(0), found[:9].T, found[9]


def finished(
    x: Tensor, gated: Tensor, weights: tuple[Tensor, ...], dtype: torch.dtype, tile: Tile
) -> Tensor:
    """The block's answer, float32.

    weights : third product (b, c, c), its bias, fourth, its bias, fifth, its bias.
    """
    b, c, h, w = x.shape
    out = torch.empty_like(x, dtype=torch.float32)
    finish[(triton.cdiv(h * w, tile.pixels), b)](
        x, gated, out, *weights, h * w,
        c=c, P=tile.pixels, C=padded_channels(c), T=TYPES[dtype], **options(tile.warps),
    )  # fmt: skip
    return out


def finished_backward(
    x: Tensor, gated: Tensor, weights: tuple[Tensor, ...], given: Tensor,
    dtype: torch.dtype, fusing: Fusing, tile: Tile,
) -> tuple[Tensor, ...]:  # fmt: skip
    """Gradients of x, of what the gate gave, and of the weights of `finished`."""
    b, c, h, w = x.shape
    tiles = triton.cdiv(h * w, tile.pixels)
    programs = min(tiles, max(1, fusing.programs(tile) // b))
    of_x, of_gated = torch.empty_like(x), torch.empty_like(gated)
    of_third, of_fourth, of_fifth, of_biases = (
        torch.empty((programs, b, *shape), device=x.device)
        for shape in ((c, c), (2 * c, c), (c, c), (4, c))
    )
    third, third_bias, fourth, fourth_bias, fifth, _ = weights
    finish_gradient[(programs, b)](
        x, gated, given, of_x, of_gated, third, third_bias, fourth, fourth_bias, fifth,
        of_third, of_fourth, of_fifth, of_biases, h * w, tiles,
        c=c, P=tile.pixels, C=padded_channels(c), T=TYPES[dtype], **options(tile.warps),
    )  # fmt: skip
    biases = of_biases.sum((0, 1))
    return (
        of_x, of_gated, of_third.sum(0), biases[0], of_fourth.sum((0, 1)), biases[1:3].flatten(),
        of_fifth.sum((0, 1)), biases[3],
    )  # fmt: skip
