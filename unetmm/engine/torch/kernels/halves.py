"""The two halves of a NAFNet block, for maps whose channels fit one tile.

The depthwise half has two passes over a tile and its rim. What the first gives goes to a part of a
scratch memory that is the program's own, and serves its next tile again, so that it stays in the
chip's caches:

    rows and rim  ->  LayerNorm, 1x1  ->  scratch  ->  depthwise 3x3, gate, 1x1, residual  ->  rows
"""

from __future__ import annotations

import triton
import triton.language as tl

from unetmm.engine.torch.kernels.parts import centred, matrix, narrowed, product, vector


@triton.jit
def taken_row(
    x, above, s, columns, x_c, x_y, x_x, above_c, above_y, mask, ch, IS_BANDED: tl.constexpr
):
    """Row s of what a half reads: of a band, the first two lie elsewhere."""
    row, channel = x + (s - 1) * x_y, x_c
    if IS_BANDED:
        row, channel = x + (s - 2) * x_y, tl.where(s < 2, above_c, x_c)
        if s < 2:
            row = above + s * above_y
    taken = row + columns[:, None] * x_x + ch[None, :] * channel
    return tl.load(taken, mask=mask, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["first", "height", "rows", "walk", "across", "tiles"])
def depthwise_half(
    x, above, out, sums, scratch, first_matrix, first_bias, taps, taps_bias, third, third_bias,
    first, height, width, rows, walk, across, tiles,
    x_n, x_c, x_y, x_x, above_c, above_y, out_n, out_c, out_y, out_x,
    c: tl.constexpr, P: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
    IS_BANDED: tl.constexpr, ATTENDS: tl.constexpr,
):  # fmt: skip
    """LayerNorm, 1x1, depthwise 3x3, gate, and with frozen attention 1x1 and residual.

    A tile is `walk` of the `rows` rows of P - 2 columns; there are `across` side by side, `tiles`
    in all. Row s of what is read is row first + s of the image; row o that is made needs rows
    o to o + 2 of them.

    IS_BANDED: rows 0 and 1 are those of `above`, the others x; else row s is row s - 1 of x.
    ATTENDS: the attention waits for the whole image: `out` is what the gate gives, and `sums`
    (programs, images, c) what it adds up to; else attention is in `third`, and `out` the half.
    scratch: (programs, images, walk + 2, P, 2 C).
    """
    image, program = tl.program_id(1), tl.program_id(0)
    x += image * x_n
    out += image * out_n
    slot = program * tl.num_programs(1) + image
    scratch += slot * ((walk + 2) * P * 2 * C)
    ch, p = tl.arange(0, C), tl.arange(0, P)
    real = ch < c
    inner = (p > 0) & (p < P - 1)
    places = p[:, None] * (2 * C) + ch[None, :]
    total = tl.zeros((C,), tl.float32)
    w_a, w_b = matrix(first_matrix, 0, c, C, T), matrix(first_matrix, c, c, C, T)
    for tile in range(program, tiles, tl.num_programs(0)):
        start = tile // across * walk
        stop = tl.minimum(start + walk, rows)
        columns = tile % across * (P - 2) - 1 + p
        within = (columns >= 0) & (columns < width)
        tl.debug_barrier()  # what the tile before wrote to the scratch has been read by all
        for s in range(start, stop + 2):
            seen = tl.where((first + s >= 0) & (first + s < height), width, 0)
            mask = ((columns >= 0) & (columns < seen))[:, None] & real[None, :]
            pixels = taken_row(
                x, above, s, columns, x_c, x_y, x_x, above_c, above_y, mask, ch, IS_BANDED
            )
            norm = narrowed(centred(pixels, real, c)[0], T)
            a = product(norm, w_a, tl.zeros((P, C), tl.float32))
            b = product(norm, w_b, tl.zeros((P, C), tl.float32))
            # What lies outside the image is zero for the convolution, not the bias.
            a = tl.where(mask, a + vector(first_bias, real, ch)[None, :], 0.0)
            b = tl.where(mask, b + vector(first_bias, real, c + ch)[None, :], 0.0)
            at = scratch + (s - start) * (P * 2 * C) + places
            tl.store(at, narrowed(a, T))
            tl.store(at + C, narrowed(b, T))
        tl.debug_barrier()  # all of the scratch is written
        for o in range(start, stop):
            kept = (inner & within)[:, None] & real[None, :]
            a = tl.zeros((P, C), tl.float32) + vector(taps_bias, real, ch)[None, :]
            b = tl.zeros((P, C), tl.float32) + vector(taps_bias, real, c + ch)[None, :]
            for tap in range(9):
                moved = (o - start + tap // 3) * (P * 2 * C) + (tap % 3 - 1) * (2 * C)
                at = scratch + moved + places
                va = tl.load(at, mask=kept, other=0.0).to(tl.float32)
                vb = tl.load(at + C, mask=kept, other=0.0).to(tl.float32)
                a += va * vector(taps, real, ch * 9 + tap)[None, :]
                b += vb * vector(taps, real, (c + ch) * 9 + tap)[None, :]
            gated = a * b
            if ATTENDS:
                total += tl.sum(tl.where(kept, gated, 0.0), 0)
            else:
                before = taken_row(
                    x, above, o + 1, columns, x_c, x_y, x_x, above_c, above_y, kept, ch, IS_BANDED
                )
                gated = product(narrowed(gated, T), matrix(third, 0, c, C, T), before)
                gated += vector(third_bias, real, ch)[None, :]
            into = out + o * out_y + columns[:, None] * out_x + ch[None, :] * out_c
            tl.store(into, narrowed(gated, out.dtype.element_ty), mask=kept)
    if ATTENDS:
        tl.store(sums + slot * c + ch, total, mask=real)


@triton.jit(do_not_specialize=["tiles"])
def pointwise_half(
    x, out, fourth, fourth_bias, fifth, fifth_bias,
    pixels, tiles, x_c, x_p, out_c, out_p,
    c: tl.constexpr, P: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """LayerNorm, 1x1, gate, 1x1, residual; `out` may be `x`."""
    ch = tl.arange(0, C)
    real = ch < c
    w_a, w_b = matrix(fourth, 0, c, C, T), matrix(fourth, c, c, C, T)
    w_5 = matrix(fifth, 0, c, C, T)
    zeros = tl.zeros((P, C), tl.float32)
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        p = tile * P + tl.arange(0, P)
        kept = (p < pixels)[:, None] & real[None, :]
        taken = x + p[:, None] * x_p + ch[None, :] * x_c
        given = tl.load(taken, mask=kept, other=0.0).to(tl.float32)
        norm = narrowed(centred(given, real, c)[0], T)
        a = product(norm, w_a, zeros) + vector(fourth_bias, real, ch)[None, :]
        b = product(norm, w_b, zeros) + vector(fourth_bias, real, c + ch)[None, :]
        made = product(narrowed(a * b, T), w_5, given)
        made += vector(fifth_bias, real, ch)[None, :]
        into = out + p[:, None] * out_p + ch[None, :] * out_c
        tl.store(into, narrowed(made, out.dtype.element_ty), mask=kept)
