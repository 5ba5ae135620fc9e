"""The compiled inner loops of the row stream: one row, or a few pixels of it.

Everything lies in flat float32 arrays and is named by its offset there. Channel counts are padded
to whole vectors. All loops release the GIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from unetmm.nets.constants import LAYER_NORM_EPS
from unetmm.stream.lanes import LANES
from unetmm.stream.simd import (
    TILE_PX,
    add_narrow,
    add_narrow_1,
    add_wide,
    add_wide_1,
    bias_narrow,
    bias_narrow_1,
    bias_wide,
    bias_wide_1,
    fma,
    fma_narrow,
    fma_narrow_1,
    fma_wide,
    fma_wide_1,
    hsum,
    load,
    splat,
    store,
    store_factors,
    store_narrow,
    store_narrow_1,
    store_wide,
    store_wide_1,
    words,
)

INLINE: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
WIDE = 2 * LANES
"""Output channels of a wide tile."""
EPS = np.float32(LAYER_NORM_EPS)


@njit(**INLINE)
def matmul(
    x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, pixels, accumulate
):
    """out[p, :n] (+)= bias + sum over i and k of x[starts[i] + p * step + k] * w[i, k, :n].

    Weights come in panels of WIDE output channels, (panel, i, k, WIDE), a narrow one last. Where
    they are pairs of bfloat16, so is x, and step, depth and k count pairs.
    """
    panel = w_at
    for c in range(0, n - WIDE + 1, WIDE):
        p = 0
        while p + TILE_PX <= pixels:
            acc = bias_wide(b, b_at + c)
            if accumulate:
                acc = add_wide(acc, out, at + p * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + p * step
                for k in range(depth):
                    acc = fma_wide(acc, x, base + k, step, w, row)
                    row += WIDE
            store_wide(acc, out, at + p * out_step + c, out_step)
            p += TILE_PX
        while p < pixels:
            one = bias_wide_1(b, b_at + c)
            if accumulate:
                one = add_wide_1(one, out, at + p * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + p * step
                for k in range(depth):
                    one = fma_wide_1(one, x, base + k, step, w, row)
                    row += WIDE
            store_wide_1(one, out, at + p * out_step + c, out_step)
            p += 1
        panel += taps * depth * WIDE
    if n % WIDE:
        c = n - LANES
        p = 0
        while p + TILE_PX <= pixels:
            thin = bias_narrow(b, b_at + c)
            if accumulate:
                thin = add_narrow(thin, out, at + p * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + p * step
                for k in range(depth):
                    thin = fma_narrow(thin, x, base + k, step, w, row)
                    row += LANES
            store_narrow(thin, out, at + p * out_step + c, out_step)
            p += TILE_PX
        while p < pixels:
            thin_1 = bias_narrow_1(b, b_at + c)
            if accumulate:
                thin_1 = add_narrow_1(thin_1, out, at + p * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + p * step
                for k in range(depth):
                    thin_1 = fma_narrow_1(thin_1, x, base + k, step, w, row)
                    row += LANES
            store_narrow_1(thin_1, out, at + p * out_step + c, out_step)
            p += 1


@njit(**INLINE)
def normalise(matrices, x, at, to, channels, c, w, mask, pixels):
    """LayerNorm without its affine part over the `channels` real ones of c, from `at` to `to`.

    Written as factors for `matrices`, as by both gates.
    (w, mask): ones for the real channels of a pixel's last vector.
    """
    inverse = np.float32(1.0) / np.float32(channels)
    last = c - LANES
    for p in range(pixels):
        base = at + p * c
        total = load(x, base + last)
        for k in range(0, last, LANES):
            total = total + load(x, base + k)
        mean = splat(hsum(total) * inverse)
        d = (load(x, base + last) - mean) * load(w, mask)
        square = d * d
        for k in range(0, last, LANES):
            e = load(x, base + k) - mean
            square = fma(e, e, square)
        scale = splat(np.float32(1.0) / np.sqrt(hsum(square) * inverse + EPS))
        target = to + p * words(matrices, c)
        store_factors(matrices, x, target, last, d * scale)
        for k in range(0, last, LANES):
            store_factors(matrices, x, target, k, (load(x, base + k) - mean) * scale)


@njit(**INLINE)
def gate(matrices, x, at, to, c, pixels):
    """First half of the 2c channels from `at` on times the second half."""
    for p in range(pixels):
        for k in range(0, c, LANES):
            half = at + p * 2 * c + k
            value = load(x, half) * load(x, half + c)
            store_factors(matrices, x, to + p * words(matrices, c), k, value)


@njit(**INLINE)
def taps_of(w, at, step):
    """The nine vectors of a 3x3 depthwise convolution, held in registers for a row of pixels."""
    return (
        load(w, at),
        load(w, at + step),
        load(w, at + 2 * step),
        load(w, at + 3 * step),
        load(w, at + 4 * step),
        load(w, at + 5 * step),
        load(w, at + 6 * step),
        load(w, at + 7 * step),
        load(w, at + 8 * step),
    )


@njit(**INLINE)
def depthwise(x, at, pitch, c2, t, bias):
    """One vector of a 3x3 depthwise convolution around the pixel right of `at`, a row below."""
    middle = at + pitch
    bottom = middle + pitch
    acc = fma(load(x, at), t[0], bias)
    acc = fma(load(x, at + c2), t[1], acc)
    acc = fma(load(x, at + 2 * c2), t[2], acc)
    acc = fma(load(x, middle), t[3], acc)
    acc = fma(load(x, middle + c2), t[4], acc)
    acc = fma(load(x, middle + 2 * c2), t[5], acc)
    acc = fma(load(x, bottom), t[6], acc)
    acc = fma(load(x, bottom + c2), t[7], acc)
    return fma(load(x, bottom + 2 * c2), t[8], acc)


@njit(**INLINE)
def depthwise_gate(matrices, x, at, pitch, w, w_at, b_at, out, to, c, pixels):
    """3x3 depthwise convolution of 2c channels and its gate, `pixels` columns of one row."""
    for k in range(0, c, LANES):
        first, second = taps_of(w, w_at + k, 2 * c), taps_of(w, w_at + c + k, 2 * c)
        bias, bias_2 = load(w, b_at + k), load(w, b_at + c + k)
        for p in range(pixels):
            here = at + p * 2 * c + k
            a = depthwise(x, here, pitch, 2 * c, first, bias)
            b = depthwise(x, here + c, pitch, 2 * c, second, bias_2)
            store_factors(matrices, out, to + p * words(matrices, c), k, a * b)


@njit(**INLINE)
def copy(x, at, to, count):
    """Copy `count` floats, a whole number of vectors."""
    for k in range(0, count, LANES):
        store(x, to + k, load(x, at + k))


@njit(**INLINE)
def add_up(x, at, sums, to, count):
    """Add `count` floats to sums in double precision."""
    for k in range(count):
        sums[to + k] += x[at + k]


@njit(**INLINE)
def copy_factors(matrices, x, at, out, to, c, pixels):
    """Copy pixels of c channels as factors for `matrices`."""
    for p in range(pixels):
        for k in range(0, c, LANES):
            value = load(x, at + p * c + k)
            store_factors(matrices, out, to + p * words(matrices, c), k, value)


@njit(**INLINE)
def clear(x, at, count):
    """Set `count` floats to zero, a whole number of vectors."""
    zero = splat(np.float32(0.0))
    for k in range(0, count, LANES):
        store(x, at + k, zero)
