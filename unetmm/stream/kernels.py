"""The compiled inner loops of the row stream.

Maps are flat float32 arrays; a row is named by its offset, so rings need no copying. Rows outside
the image have an offset of -1 (nothing to write) or point at a row of zeros (to be read).
Channel counts are padded to whole vectors. All loops release the GIL.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit

from unetmm.nets.constants import LAYER_NORM_EPS
from unetmm.stream.kernel_cache import cached_on_disk
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
    store_narrow,
    store_narrow_1,
    store_wide,
    store_wide_1,
)

INLINE: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": False}
WIDE = 2 * LANES
"""Output channels of a wide tile."""
EPS = np.float32(LAYER_NORM_EPS)


@njit(**INLINE)
def matmul(x, starts, step, depth, w, bias, out, at, out_step, n, pixels, accumulate):
    """out[p, :n] (+)= bias + sum over i and k of x[starts[i] + p * step + k] * w[i, k, :n].

    Weights come in panels of WIDE output channels, (panel, i, k, WIDE), a narrow one last.
    """
    taps = len(starts)
    panel = 0
    for c in range(0, n - WIDE + 1, WIDE):
        p = 0
        while p + TILE_PX <= pixels:
            acc = bias_wide(bias, c)
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
            one = bias_wide_1(bias, c)
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
            thin = bias_narrow(bias, c)
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
            thin_1 = bias_narrow_1(bias, c)
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
def normalise(x, at, out, channels, c, mask, pixels):
    """LayerNorm without its affine part over the `channels` real ones of c; mask hides the rest."""
    inverse = np.float32(1.0) / np.float32(channels)
    last = c - LANES
    for p in range(pixels):
        base = at + p * c
        total = load(x, base + last)
        for k in range(0, last, LANES):
            total = total + load(x, base + k)
        mean = splat(hsum(total) * inverse)
        d = (load(x, base + last) - mean) * load(mask, 0)
        square = d * d
        for k in range(0, last, LANES):
            e = load(x, base + k) - mean
            square = fma(e, e, square)
        scale = splat(np.float32(1.0) / np.sqrt(hsum(square) * inverse + EPS))
        store(out, p * c + last, d * scale)
        for k in range(0, last, LANES):
            store(out, p * c + k, (load(x, base + k) - mean) * scale)


@njit(**INLINE)
def gate(hidden, out, c, pixels):
    """First half of the channels times the second half."""
    for p in range(pixels):
        for k in range(0, c, LANES):
            store(out, p * c + k, load(hidden, p * 2 * c + k) * load(hidden, p * 2 * c + c + k))


@njit(**INLINE)
def depthwise(taps, at, pitch, w, bias, k, c2, p):
    """One vector of a 3x3 depthwise convolution: channels from k, p columns right of `at`."""
    top = at + p * c2 + k
    middle = top + pitch
    bottom = middle + pitch
    acc = fma(load(taps, top), load(w, k), load(bias, k))
    acc = fma(load(taps, top + c2), load(w, c2 + k), acc)
    acc = fma(load(taps, top + 2 * c2), load(w, 2 * c2 + k), acc)
    acc = fma(load(taps, middle), load(w, 3 * c2 + k), acc)
    acc = fma(load(taps, middle + c2), load(w, 4 * c2 + k), acc)
    acc = fma(load(taps, middle + 2 * c2), load(w, 5 * c2 + k), acc)
    acc = fma(load(taps, bottom), load(w, 6 * c2 + k), acc)
    acc = fma(load(taps, bottom + c2), load(w, 7 * c2 + k), acc)
    return fma(load(taps, bottom + 2 * c2), load(w, 8 * c2 + k), acc)


@njit(**INLINE)
def depthwise_gate(taps, at, pitch, w, bias, out, c, pixels):
    """3x3 depthwise convolution of 2c channels and its gate, `pixels` columns of one row."""
    for k in range(0, c, LANES):
        for p in range(pixels):
            a = depthwise(taps, at, pitch, w, bias, k, 2 * c, p)
            b = depthwise(taps, at, pitch, w, bias, c + k, 2 * c, p)
            store(out, p * c + k, a * b)


@njit(**INLINE)
def copy(x, at, out, to, count):
    """Copy `count` floats, a whole number of vectors."""
    for k in range(0, count, LANES):
        store(out, to + k, load(x, at + k))


@njit(**INLINE)
def clear(out, at, count):
    """Set `count` floats to zero, a whole number of vectors."""
    zero = splat(np.float32(0.0))
    for k in range(0, count, LANES):
        store(out, at + k, zero)


@cached_on_disk
@njit(**INLINE)
def product_rows(x, x_rows, step, depth, w, bias, out, out_rows, out_step, n, pixels, accumulate):
    """`matmul` for every row j with out_rows[j] >= 0, from the input rows at offsets x_rows[j]."""
    for j in range(len(out_rows)):
        if out_rows[j] >= 0:
            matmul(
                x,
                x_rows[j],
                step,
                depth,
                w,
                bias,
                out,
                out_rows[j],
                out_step,
                n,
                pixels,
                accumulate,
            )


@cached_on_disk
@njit(**INLINE)
def block_rows(
    x, in_rows, out_rows, width, channels, c, panel, mask, kept, taps, norm, hidden, gated,
    w1, b1, w2, b2, w3, b3, w4, b4, w5, b5, sums, observe,
):  # fmt: skip
    """A NAFNet block in place on rows of x, panel by panel so that its scratch stays in cache.

    in_rows: offsets of the new rows, -1 outside the image. out_rows: offsets of the rows that can
    be finished, one row above each new one, -1 outside. kept: the last two rows of the depthwise
    convolution's input. Panels are skewed by one column: a panel prepares one column beyond its
    right edge for the convolution and finds its left neighbour's last two columns in `taps`.

        prepared by panel 1 |-----------|
        finished by panel 1 |----------|
        prepared by panel 2             |-----------|
        finished by panel 2            |-----------|

    With `observe`, x stays as it is and the gated map is added up into `sums` instead.
    """
    rows = len(in_rows)
    c2 = 2 * c
    pitch = (panel + 2) * c2
    start = np.zeros(1, np.int64)
    for x0 in range(0, width, panel):
        x1 = min(x0 + panel, width)
        first = x0 if x0 == 0 else x0 + 1
        stop = x1 if x1 == width else x1 + 1
        fresh = (first - x0 + 1) * c2
        span = stop - first
        for r in range(rows + 2):
            if x0 == 0:
                clear(taps, r * pitch, c2)
            else:
                copy(taps, r * pitch + panel * c2, taps, r * pitch, 2 * c2)
            if x1 == width:
                clear(taps, r * pitch + (x1 - x0 + 1) * c2, c2)
        for r in range(2):
            copy(kept, (r * width + first) * c2, taps, r * pitch + fresh, span * c2)
        for r in range(rows):
            at = (r + 2) * pitch + fresh
            if in_rows[r] < 0:
                clear(taps, at, span * c2)
            else:
                normalise(x, in_rows[r] + first * c, norm, channels, c, mask, span)
                matmul(norm, start, c, c, w1, b1, taps, at, c2, c2, span, False)
        if not observe:
            for r in range(2):
                copy(taps, (rows + r) * pitch + fresh, kept, (r * width + first) * c2, span * c2)
        for r in range(rows):
            if out_rows[r] < 0:
                continue
            pixels = x1 - x0
            depthwise_gate(taps, r * pitch, pitch, w2, b2, gated, c, pixels)
            if observe:
                for p in range(pixels):
                    for k in range(c):
                        sums[k] += gated[p * c + k]
                continue
            at = out_rows[r] + x0 * c
            matmul(gated, start, c, c, w3, b3, x, at, c, c, pixels, True)
            normalise(x, at, norm, channels, c, mask, pixels)
            matmul(norm, start, c, c, w4, b4, hidden, 0, c2, c2, pixels, False)
            gate(hidden, gated, c, pixels)
            matmul(gated, start, c, c, w5, b5, x, at, c, c, pixels, True)


@cached_on_disk
@njit(**INLINE)
def ending_rows(x, x_rows, c, w, bias, image, image_rows, out, out_step, n, pixels):
    """3x3 convolution to a few channels by dot products; adds the image where its row is given.

    w: (n, 3, 3 * c) flat. out: (rows, pixels, n) flat, row j at j * out_step.
    """
    for j in range(len(x_rows)):
        if x_rows[j, 1] < 0:
            continue
        for p in range(pixels):
            for o in range(n):
                acc = splat(np.float32(0.0))
                at = o * 9 * c
                for i in range(3):
                    base = x_rows[j, i] + p * c
                    for k in range(0, 3 * c, LANES):
                        acc = fma(load(x, base + k), load(w, at + k), acc)
                    at += 3 * c
                value = hsum(acc) + bias[o]
                if image_rows[j] >= 0:
                    value += image[image_rows[j] + p * n + o]
                out[j * out_step + p * n + o] = value


@cached_on_disk
@njit(**INLINE)
def guide_rows(
    aggregate, a_rows, image, image_rows, out, out_rows, shared, samples, scale, a_step, pixels
):
    """E' at full resolution beside the image: (shared + samples) channels per pixel.

    E' keeps its channels in the order (dy, dx, channel), so a fine row's channels of `scale`
    neighbouring pixels lie side by side.
    """
    n = shared + samples
    for j in range(len(out_rows)):
        if out_rows[j] < 0:
            continue
        for p in range(pixels):
            source = a_rows[j] + (p // scale) * a_step + (p % scale) * shared
            target = out_rows[j] + p * n
            for k in range(shared):
                out[target + k] = aggregate[source + k]
            for k in range(samples):
                out[target + shared + k] = image[image_rows[j] + p * samples + k]


def compile_all() -> None:
    """Compile every kernel, or load it from disk."""
    floats, sums = np.zeros(64 * LANES, np.float32), np.zeros(LANES, np.float64)
    rows, none = np.zeros((1, 3), np.int64), np.full(1, -1, np.int64)
    f = floats
    product_rows(f, rows, 1, 1, f, f, f, none, 1, LANES, 1, False)
    block_rows(
        f,
        none,
        none,
        0,
        LANES,
        LANES,
        32,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        f,
        sums,
        False,
    )
    ending_rows(f, rows - 1, LANES, f, f, f, none, f, 1, 1, 1)
    guide_rows(f, none, f, none, f, none, 1, 1, 1, 1, 1)
