"""A block's weights as its kernels take them, and the gradients of that: a program each, where
torch would start some seventy operations on matrices that are small.

Norms are in the product that follows them, beta and gamma in the one before the residual.
"""

from __future__ import annotations

import triton
import triton.language as tl

from unetmm.engine.torch.kernels.parts import vector


@triton.jit
def whole(pointer, first, c: tl.constexpr, C: tl.constexpr):
    """Tile (outputs, inputs) of a matrix, outputs from `first` on."""
    n, k = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    return tl.load(pointer + (first + n) * c + k, mask=(n < c) & (k < c), other=0.0)


@triton.jit
def keep(pointer, first, values, c: tl.constexpr, C: tl.constexpr):
    """Write such a tile."""
    n, k = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    tl.store(pointer + (first + n) * c + k, values, mask=(n < c) & (k < c))


@triton.jit
def fold_normed(weight, bias, scale, shift, into, into_bias, c: tl.constexpr, C: tl.constexpr):
    """A norm's affine part goes into both halves of a product."""
    ch = tl.arange(0, C)
    s, t = vector(scale, ch < c, ch)[None, :], vector(shift, ch < c, ch)[None, :]
    for half in range(2):
        w, at = whole(weight, half * c, c, C), half * c + ch
        keep(into, half * c, w * s, c, C)
        tl.store(into_bias + at, vector(bias, ch < c, at) + tl.sum(w * t, 1), mask=ch < c)


@triton.jit
def fold_scaled(weight, bias, factor, into, into_bias, c: tl.constexpr, C: tl.constexpr):
    """beta or gamma goes into a product."""
    ch = tl.arange(0, C)
    f = vector(factor, ch < c, ch)
    keep(into, 0, whole(weight, 0, c, C) * f[:, None], c, C)
    tl.store(into_bias + ch, vector(bias, ch < c, ch) * f, mask=ch < c)


@triton.jit
def fold(
    w1, b1, s1, t1, w3, b3, beta, w4, b4, s4, t4, w5, b5, gamma,
    f1, g1, f3, g3, f4, g4, f5, g5, c: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Products f and biases g of weights w and b, norms s and t, beta and gamma."""
    fold_normed(w1, b1, s1, t1, f1, g1, c, C)
    fold_scaled(w3, b3, beta, f3, g3, c, C)
    fold_normed(w4, b4, s4, t4, f4, g4, c, C)
    fold_scaled(w5, b5, gamma, f5, g5, c, C)


@triton.jit
def normed_gradient(
    weight, scale, shift, d_product, d_bias, into, into_bias, into_scale, into_shift,
    c: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Gradients of what `fold_normed` is given."""
    ch = tl.arange(0, C)
    s, t = vector(scale, ch < c, ch)[None, :], vector(shift, ch < c, ch)[None, :]
    of_scale, of_shift = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    for half in range(2):
        w, d, at = whole(weight, half * c, c, C), whole(d_product, half * c, c, C), half * c + ch
        e = vector(d_bias, ch < c, at)
        keep(into, half * c, d * s + e[:, None] * t, c, C)
        tl.store(into_bias + at, e, mask=ch < c)
        of_scale += tl.sum(d * w, 0)
        of_shift += tl.sum(e[:, None] * w, 0)
    tl.store(into_scale + ch, of_scale, mask=ch < c)
    tl.store(into_shift + ch, of_shift, mask=ch < c)


@triton.jit
def scaled_gradient(
    weight, bias, factor, d_product, d_bias, into, into_bias, into_factor,
    c: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Gradients of what `fold_scaled` is given."""
    ch = tl.arange(0, C)
    f, e = vector(factor, ch < c, ch), vector(d_bias, ch < c, ch)
    d = whole(d_product, 0, c, C)
    keep(into, 0, d * f[:, None], c, C)
    tl.store(into_bias + ch, e * f, mask=ch < c)
    of_factor = tl.sum(d * whole(weight, 0, c, C), 1) + e * vector(bias, ch < c, ch)
    tl.store(into_factor + ch, of_factor, mask=ch < c)


@triton.jit
def fold_gradient(
    w1, b1, s1, t1, w3, b3, beta, w4, b4, s4, t4, w5, b5, gamma,
    f1, g1, f3, g3, f4, g4, f5, g5,
    v1, a1, r1, q1, v3, a3, r3, v4, a4, r4, q4, v5, a5, r5,
    c: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Gradients of all that `fold` is given (v1 to r5), from those of what it gives (f1 to g5)."""
    normed_gradient(w1, s1, t1, f1, g1, v1, a1, r1, q1, c, C)
    scaled_gradient(w3, b3, beta, f3, g3, v3, a3, r3, c, C)
    normed_gradient(w4, s4, t4, f4, g4, v4, a4, r4, q4, c, C)
    scaled_gradient(w5, b5, gamma, f5, g5, v5, a5, r5, c, C)
