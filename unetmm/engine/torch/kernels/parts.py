"""What the kernels of a block share. Tiles are (pixels, channels), channels padded with zeros."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from unetmm.nets.constants import LAYER_NORM_EPS

EPS = tl.constexpr(LAYER_NORM_EPS)
EXACT = tl.constexpr("tf32x3" if torch.version.hip is None else "ieee")
"""Way of multiplying float32 on tensor cores, where that is a way to all of its digits."""


@triton.jit
def nothing():
    """A kernel that is only looked at."""


INTERPRETED = tl.constexpr(not isinstance(nothing, triton.JITFunction))
"""Sign that Triton's interpreter runs the kernels: it cannot multiply bfloat16, nor round to it."""


@triton.jit
def narrowed(x, T: tl.constexpr):
    """float32 numbers rounded to the nearest of another type."""
    if INTERPRETED:
        if T == tl.bfloat16:
            bits = x.to(tl.int32, bitcast=True)
            bits += 0x7FFF + ((bits >> 16) & 1)
            x = bits.to(tl.float32, bitcast=True)
    return x.to(T)


@triton.jit
def product(a, b, total):
    """total + a @ b with a float32 sum; float32 operands as sums of three of fewer digits."""
    if INTERPRETED:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=EXACT)


@triton.jit
def centred(x, real, c):
    """LayerNorm without its affine part: (normalised, scale); `real` are channels that exist."""
    mean = tl.sum(x, 1) / c
    d = tl.where(real[None, :], x - mean[:, None], 0.0)
    scale = tl.rsqrt(tl.sum(d * d, 1) / c + EPS)
    return d * scale[:, None], scale


@triton.jit
def uncentred(gradient, normalised, scale, c):
    """Gradient of what `centred` was given, from that of what it gave."""
    mean = tl.sum(gradient, 1) / c
    along = tl.sum(gradient * normalised, 1) / c
    return (gradient - mean[:, None] - normalised * along[:, None]) * scale[:, None]


@triton.jit
def matrix(pointer, first, c, C: tl.constexpr, into: tl.constexpr):
    """Tile (inputs, outputs) of a matrix (outputs, inputs = c), outputs from `first` on."""
    k, n = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    given = (k < c) & (n < c)
    return tl.load(pointer + (first + n) * c + k, mask=given, other=0.0).to(into)


@triton.jit
def turned(pointer, first, c, C: tl.constexpr, into: tl.constexpr):
    """The same, transposed: (outputs, inputs)."""
    n, k = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    given = (k < c) & (n < c)
    return tl.load(pointer + (first + n) * c + k, mask=given, other=0.0).to(into)


@triton.jit
def vector(pointer, real, places):
    """float32 numbers of channels, 0 where there are none."""
    return tl.load(pointer + places, mask=real, other=0.0).to(tl.float32)


@triton.jit
def three(left, middle, right, pointer, real, places):
    """One row of a depthwise convolution's three taps."""
    made = left * vector(pointer, real, places)[None, :]
    made += middle * vector(pointer, real, places + 1)[None, :]
    return made + right * vector(pointer, real, places + 2)[None, :]
