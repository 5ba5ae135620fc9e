"""Starts the kernels of a block on tensors of a GPU, or on those of a CPU in the interpreter."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from unetmm.engine.torch.kernels.halves import depthwise_half, pointwise_half
from unetmm.engine.torch.kernels.products import convolution, depthwise_gate, product_kernel
from unetmm.engine.torch.kernels.tiles import (
    CONVOLUTION,
    GATE_CHANNELS,
    GATE_PIXELS,
    PRODUCT,
    Tile,
    Tiling,
    padded_channels,
)

TYPES = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def on_device(tensor: Tensor) -> AbstractContextManager[object]:
    """Context in which Triton starts kernels on a tensor's GPU."""
    return torch.cuda.device(tensor.device) if tensor.is_cuda else nullcontext()


def options(warps: int) -> dict[str, Any]:
    """How a kernel is compiled: no loads ahead of the stores before them."""
    return {"num_warps": warps, "num_stages": 1, "enable_fp_fusion": True}


def depthwise_band(
    x: Tensor, above: Tensor, out: Tensor, scratch: Tensor, weights: tuple[Tensor, ...],
    first: int, height: int, tile: Tile, cut: Tiling,
) -> None:  # fmt: skip
    """The depthwise half of a band of a planar map.

    x : (c, rows, width); with the two rows `above` (c, 2, width) before it, row 0 of which has the
        number `first` in a map of `height` rows.
    out : (c, rows, width): rows from the second of them on.
    scratch : `cut.scratch` numbers.
    weights : first product and its bias, taps and their bias, third product and its bias.
    """
    c, rows, width = x.shape
    depthwise_half[(cut.programs, 1)](
        x, above, out, x, scratch, *weights, first, height, width, rows, cut.walk,
        cut.across, cut.tiles, 0, x.stride(0), x.stride(1), 1, above.stride(0), above.stride(1),
        0, out.stride(0), out.stride(1), 1, c=c, P=tile.pixels, C=padded_channels(c),
        T=TYPES[x.dtype], IS_BANDED=True, ATTENDS=False, **options(tile.warps),
    )  # fmt: skip


def pointwise(
    x: Tensor, out: Tensor, weights: tuple[Tensor, ...], tile: Tile, programs: int
) -> None:
    """The pointwise half of a planar map (c, pixels) by so many programs; `out` may be `x`."""
    c, pixels = x.shape
    tiles = triton.cdiv(pixels, tile.pixels)
    pointwise_half[(min(tiles, programs),)](
        x, out, *weights, pixels, tiles, x.stride(0), 1, out.stride(0), 1,
        c=c, P=tile.pixels, C=padded_channels(c), T=TYPES[x.dtype], **options(tile.warps),
    )  # fmt: skip


def product(
    matrix: Tensor, bias: Tensor, x: Tensor, out: Tensor, base: Tensor | None = None,
    norm: bool = False, gate: bool = False, rows: tuple[int, int, int] | None = None,
) -> None:  # fmt: skip
    """out = matrix @ x + bias of planar maps (channels, pixels), in a single kernel.

    base : a map that is added. norm : x is normalised before. gate : the halves of the outputs are
    multiplied. rows : number of the map's first row, rows of the whole map, columns; what lies in
    rows outside the whole map is zero.
    """
    c, pixels = x.shape
    outputs = len(out)
    first, height, width = rows or (0, 0, 1)
    tile = PRODUCT[x.element_size()]
    added = out if base is None else base
    wide = min(tile.outputs, padded_channels(outputs))
    grid = triton.cdiv(pixels, tile.pixels), triton.cdiv(outputs, wide)
    product_kernel[grid](
        x, matrix, bias, added, out, first, height, width, pixels, x.stride(0), 1,
        added.stride(0), 1, out.stride(0), 1, c=c, outputs=outputs, P=tile.pixels,
        K=min(tile.depth, padded_channels(c)), N=wide, T=TYPES[x.dtype], NORM=norm, GATE=gate,
        RESIDUAL=base is not None, ROWS=rows is not None, **options(tile.warps),
    )  # fmt: skip


def gated_depthwise(hidden: Tensor, taps: Tensor, bias: Tensor, out: Tensor) -> None:
    """(2c, rows + 2, width) -> (c, rows, width): depthwise 3x3 and gate, both contiguous."""
    c, rows, width = out.shape
    grid = triton.cdiv(rows * width, GATE_PIXELS), triton.cdiv(c, GATE_CHANNELS)
    depthwise_gate[grid](
        hidden, out, taps, bias, rows, width, hidden.stride(0), out.stride(0), c=c,
        P=GATE_PIXELS, C=GATE_CHANNELS, **options(4),
    )  # fmt: skip


def convolve(
    x: Tensor, weights: Tensor, bias: Tensor | None, out: Tensor, dtype: torch.dtype,
    taps: int, step: int = 1, pad: int = 0, repeat: int = 1,
    base: Tensor | None = None, share: int = 1, rectify: bool = False,
) -> None:  # fmt: skip
    """A square convolution of planar maps with zeros beside them.

    x : (c, rows, width) from the first row that is read on.
    weights : (repeat * repeat * outputs, taps, taps * c) in `dtype`, that of the operands.
    out : (outputs, rows, width) of any type. base : a map that is added, which may be `out`; each
        of its channels belongs to `share` outputs.
    """
    (c, _, width), (outputs, rows, wide) = x.shape, out.shape
    rows, across, tile = rows // repeat, wide // repeat, CONVOLUTION[weights.element_size()]
    block = min(tile.outputs, padded_channels(outputs))
    added = out if base is None else base
    grid = triton.cdiv(rows * across, tile.pixels), repeat**2 * triton.cdiv(outputs, block)
    convolution[grid](
        x, weights, weights if bias is None else bias, added, out, rows, across, width,
        x.stride(0), x.stride(1), added.stride(0), added.stride(1), out.stride(0), out.stride(1),
        c=c, outputs=outputs, TAPS=taps, STEP=step, PAD=pad, REPEAT=repeat, SHARE=share,
        P=tile.pixels, K=min(tile.depth, padded_channels(c)), N=block, T=TYPES[dtype],
        BIASED=bias is not None, ADDS=base is not None, RECTIFIES=rectify, **options(tile.warps),
    )  # fmt: skip
