"""The compiled inner loops of the row stream: one row, or a few pixels of it.

Everything lies in flat float32 arrays and is named by its offset there. Channel counts are padded
to whole vectors. All loops release the GIL.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from unetmm.compiling.flags import INLINE
from unetmm.compiling.processor import LANES, multiplies_tiles
from unetmm.engine.cpu.reduce import (
    add_real_squares,
    add_squares,
    add_sums,
    inverse_root,
    lane_sums,
    no_sums,
    store_normalised,
    store_real_normalised,
)
from unetmm.engine.cpu.simd import (
    TILE_PX,
    add_doubles,
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
    is_paired,
    load,
    splat,
    store,
    store_factors,
    store_gated,
    store_gated_1,
    store_narrow,
    store_narrow_1,
    store_wide,
    store_wide_1,
    words,
)
from unetmm.nets.constants import LAYER_NORM_EPS

WIDE = 2 * LANES
"""Output channels of a wide tile."""
EPS = np.float32(LAYER_NORM_EPS)


@njit(**INLINE)
def matmul_by_vectors(
    x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, pixels, accumulate
):
    """out[p, :n] (+)= bias + sum over i and k of x[starts[i] + p * step + k] * w[i, k, :n].

    Weights come in panels of WIDE output channels, (panel, i, k, WIDE), a narrow one last. Where
    they are pairs of bfloat16, so is x, and step, depth and k count pairs.
    """
    panel = w_at
    for c in range(0, n - WIDE + 1, WIDE):
        p = 0 if pixels >= TILE_PX else pixels
        while p < pixels:
            # The last tile begins early enough to be whole, and stores what is new of it.
            first = min(p, pixels - TILE_PX)
            acc = bias_wide(b, b_at + c)
            if accumulate:
                acc = add_wide(acc, out, at + first * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + first * step
                for k in range(depth):
                    acc = fma_wide(acc, x, base + k, step, w, row)
                    row += WIDE
            store_wide(acc, out, at + first * out_step + c, out_step, p - first)
            p += TILE_PX
        for q in range(pixels if pixels < TILE_PX else 0):
            one = bias_wide_1(b, b_at + c)
            if accumulate:
                one = add_wide_1(one, out, at + q * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + q * step
                for k in range(depth):
                    one = fma_wide_1(one, x, base + k, step, w, row)
                    row += WIDE
            store_wide_1(one, out, at + q * out_step + c, out_step, 0)
        panel += taps * depth * WIDE
    if n % WIDE:
        c = n - LANES
        p = 0 if pixels >= TILE_PX else pixels
        while p < pixels:
            first = min(p, pixels - TILE_PX)
            thin = bias_narrow(b, b_at + c)
            if accumulate:
                thin = add_narrow(thin, out, at + first * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + first * step
                for k in range(depth):
                    thin = fma_narrow(thin, x, base + k, step, w, row)
                    row += LANES
            store_narrow(thin, out, at + first * out_step + c, out_step, p - first)
            p += TILE_PX
        for q in range(pixels if pixels < TILE_PX else 0):
            thin_1 = bias_narrow_1(b, b_at + c)
            if accumulate:
                thin_1 = add_narrow_1(thin_1, out, at + q * out_step + c, out_step)
            row = panel
            for i in range(taps):
                base = starts[i] + q * step
                for k in range(depth):
                    thin_1 = fma_narrow_1(thin_1, x, base + k, step, w, row)
                    row += LANES
            store_narrow_1(thin_1, out, at + q * out_step + c, out_step, 0)


@njit(**INLINE)
def matmul_gated_by_vectors(x, at, w, w_at, b, b_at, out, to, c, pixels):
    """A 1x1 from c to 2c channels and its gate, from factors at `at` to factors at `to`.

    A panel holds a vector of the first half of the 2c and its partner of the second.
    """
    depth, panel = words(w, c), w_at
    for channel in range(0, c, LANES):
        p = 0 if pixels >= TILE_PX else pixels
        while p < pixels:
            first = min(p, pixels - TILE_PX)
            acc = bias_wide(b, b_at + 2 * channel)
            row = panel
            for k in range(depth):
                acc = fma_wide(acc, x, at + first * depth + k, depth, w, row)
                row += WIDE
            store_gated(acc, w, out, to + first * depth, depth, channel, p - first)
            p += TILE_PX
        for q in range(pixels if pixels < TILE_PX else 0):
            one = bias_wide_1(b, b_at + 2 * channel)
            row = panel
            for k in range(depth):
                one = fma_wide_1(one, x, at + q * depth + k, depth, w, row)
                row += WIDE
            store_gated_1(one, w, out, to + q * depth, depth, channel, 0)
        panel += depth * WIDE


if multiplies_tiles():
    from unetmm.engine.cpu.tiles import products_in_tiles

    matmul_by_tiles, matmul_gated_by_tiles = products_in_tiles(INLINE)

    @njit(**INLINE)
    def matmul(
        x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, pixels, accumulate
    ):
        if is_paired(w):
            matmul_by_tiles(
                x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, pixels,
                accumulate,
            )  # fmt: skip
        else:
            matmul_by_vectors(
                x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, pixels,
                accumulate,
            )  # fmt: skip

    @njit(**INLINE)
    def matmul_gated(x, at, w, w_at, b, b_at, out, to, c, pixels):
        if is_paired(w):
            matmul_gated_by_tiles(x, at, w, w_at, b, b_at, out, to, c, pixels)
        else:
            matmul_gated_by_vectors(x, at, w, w_at, b, b_at, out, to, c, pixels)
else:
    matmul, matmul_gated = matmul_by_vectors, matmul_gated_by_vectors


@njit(**INLINE)
def normalise(matrices, x, at, to, channels, c, w, mask, pixels):
    """LayerNorm without its affine part over the `channels` real ones of c, from `at` to `to`.

    Written as factors for `matrices`, as by both gates.
    (w, mask): ones for the real channels of a pixel's last vector.
    """
    inverse = np.float32(1.0) / np.float32(channels)
    last, depth, real = c - LANES, words(matrices, c), load(w, mask)
    p = 0
    while p + LANES <= pixels:
        base, target = at + p * c, to + p * depth
        sums = no_sums()
        for k in range(0, c, LANES):
            sums = add_sums(sums, x, base + k, c)
        mean = lane_sums(sums) * splat(inverse)
        squares = no_sums()
        for k in range(0, last, LANES):
            squares = add_squares(squares, x, base + k, c, mean)
        squares = add_real_squares(squares, x, base + last, c, mean, real)
        scale = inverse_root(lane_sums(squares) * splat(inverse) + splat(EPS))
        for k in range(0, last, LANES):
            store_normalised(matrices, x, base + k, c, mean, scale, target, depth, k)
        store_real_normalised(matrices, x, base + last, c, mean, scale, real, target, depth, last)
        p += LANES
    while p < pixels:
        normalise_pixel(matrices, x, at + p * c, to + p * depth, inverse, c, real)
        p += 1


@njit(**INLINE)
def normalise_pixel(matrices, x, at, to, inverse, c, real):
    """One pixel of `normalise`, by the same operations as in a group."""
    last = c - LANES
    total = splat(np.float32(0.0))
    for k in range(0, c, LANES):
        total = total + load(x, at + k)
    mean = splat(hsum(total) * inverse)
    square = splat(np.float32(0.0))
    for k in range(0, last, LANES):
        d = load(x, at + k) - mean
        square = fma(d, d, square)
    d = (load(x, at + last) - mean) * real
    square = fma(d, d, square)
    scale = splat(np.float32(1.0) / np.sqrt(hsum(square) * inverse + EPS))
    for k in range(0, last, LANES):
        store_factors(matrices, x, to, k, (load(x, at + k) - mean) * scale)
    store_factors(matrices, x, to, last, d * scale)


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
def column(pixel, t, side, acc):
    """acc and what one column of three pixels adds through the taps at one side (0, 1, 2)."""
    acc = fma(pixel[0], t[side], acc)
    acc = fma(pixel[1], t[3 + side], acc)
    return fma(pixel[2], t[6 + side], acc)


@njit(**INLINE)
def depthwise_gate(matrices, x, top, middle, bottom, w, w_at, b_at, out, to, c, pixels):
    """3x3 depthwise convolution of 2c channels and its gate, `pixels` columns of one row.

    top, middle, bottom: where the three rows have the column left of the first one. Every column
    is loaded once and goes into the three pixels that it touches.
    """
    for k in range(0, c, LANES):
        s, t = taps_of(w, w_at + k, 2 * c), taps_of(w, w_at + c + k, 2 * c)
        bias, bias_2 = load(w, b_at + k), load(w, b_at + c + k)
        at, at_1, at_2 = top + k, middle + k, bottom + k
        pixel = load(x, at), load(x, at_1), load(x, at_2)
        pixel_2 = load(x, at + c), load(x, at_1 + c), load(x, at_2 + c)
        this, this_2 = column(pixel, s, 0, bias), column(pixel_2, t, 0, bias_2)
        at, at_1, at_2 = at + 2 * c, at_1 + 2 * c, at_2 + 2 * c
        pixel = load(x, at), load(x, at_1), load(x, at_2)
        pixel_2 = load(x, at + c), load(x, at_1 + c), load(x, at_2 + c)
        this, this_2 = column(pixel, s, 1, this), column(pixel_2, t, 1, this_2)
        after, after_2 = column(pixel, s, 0, bias), column(pixel_2, t, 0, bias_2)
        for p in range(pixels):
            at, at_1, at_2 = at + 2 * c, at_1 + 2 * c, at_2 + 2 * c
            pixel = load(x, at), load(x, at_1), load(x, at_2)
            value = column(pixel, s, 2, this)
            this = column(pixel, s, 1, after)
            after = column(pixel, s, 0, bias)
            pixel_2 = load(x, at + c), load(x, at_1 + c), load(x, at_2 + c)
            value = value * column(pixel_2, t, 2, this_2)
            this_2 = column(pixel_2, t, 1, after_2)
            after_2 = column(pixel_2, t, 0, bias_2)
            store_factors(matrices, out, to + p * words(matrices, c), k, value)


@njit(**INLINE)
def copy(x, at, to, count):
    """Copy `count` floats, a whole number of vectors."""
    for k in range(0, count, LANES):
        store(x, to + k, load(x, at + k))


@njit(**INLINE)
def add_up(x, at, sums, to, count):
    """Add `count` floats, a whole number of vectors, to sums in double precision."""
    for k in range(0, count, LANES):
        add_doubles(sums, to + k, x, at + k)


@njit(**INLINE)
def scaled_factors(matrices, x, at, scales, out, to, c, pixels):
    """Pixels of c channels, each channel times its scale, as factors for `matrices`."""
    for p in range(pixels):
        for k in range(0, c, LANES):
            value = load(x, at + p * c + k) * load(scales, k)
            store_factors(matrices, out, to + p * words(matrices, c), k, value)


@njit(**INLINE)
def clear(x, at, count):
    """Set `count` floats to zero, a whole number of vectors."""
    zero = splat(np.float32(0.0))
    for k in range(0, count, LANES):
        store(x, at + k, zero)


@njit(**INLINE)
def rectify(x, at, count):
    """Make 0 of what is below it, among `count` floats."""
    zero = np.float32(0.0)
    for k in range(at, at + count):
        x[k] = max(x[k], zero)
