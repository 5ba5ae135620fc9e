"""The halves of a block for training, where attention is global, and their gradients.

Maps are (pixels, channels), images one behind the other. Programs go through tiles one after the
other, so that what they add up for the weights is written once each; torch adds up the programs.

    x -> gated, means        `halves.depthwise_half`, which waits for the attention
    gated, attention -> out  `finish`: third product, residual, the pointwise half
"""

from __future__ import annotations

import triton
import triton.language as tl

from unetmm.engine.torch.kernels.parts import (
    centred,
    matrix,
    narrowed,
    product,
    turned,
    uncentred,
    vector,
)


@triton.jit
def tile_of(pointer, p, stride, ch, mask):
    """float32 numbers of pixels and channels."""
    taken = pointer + p[:, None] * stride + ch[None, :]
    return tl.load(taken, mask=mask, other=0.0).to(tl.float32)


@triton.jit(do_not_specialize=["pixels"])
def finish(
    x, gated, out, third, third_bias, fourth, fourth_bias, fifth, fifth_bias, pixels,
    c: tl.constexpr, P: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Third product by each image's own matrix, residual, and the pointwise half.

    pixels : of an image.
    """
    image = tl.program_id(1)
    p, ch = tl.program_id(0) * P + tl.arange(0, P), tl.arange(0, C)
    real = ch < c
    mask = (p < pixels)[:, None] & real[None, :]
    p += image * pixels
    g = narrowed(tile_of(gated, p, c, ch, mask), T)
    middle = product(g, matrix(third + image * c * c, 0, c, C, T), tile_of(x, p, c, ch, mask))
    middle += vector(third_bias, real, ch)[None, :]
    norm = narrowed(centred(middle, real, c)[0], T)
    zeros = tl.zeros((P, C), tl.float32)
    a = product(norm, matrix(fourth, 0, c, C, T), zeros) + vector(fourth_bias, real, ch)[None, :]
    b = product(norm, matrix(fourth, c, c, C, T), zeros)
    b += vector(fourth_bias, real, c + ch)[None, :]
    made = product(narrowed(a * b, T), matrix(fifth, 0, c, C, T), middle)
    made += vector(fifth_bias, real, ch)[None, :]
    tl.store(out + p[:, None] * c + ch[None, :], narrowed(made, out.dtype.element_ty), mask=mask)


@triton.jit
def add_product(total, left, right, T: tl.constexpr):
    """total + left^T right, over the pixels of a tile: a weight's gradient."""
    return product(tl.trans(narrowed(left, T)), narrowed(right, T), total)


@triton.jit
def keep_matrix(pointer, total, c, C: tl.constexpr):
    """Write a matrix (outputs, inputs) of c * c numbers."""
    n, k = tl.arange(0, C)[:, None], tl.arange(0, C)[None, :]
    tl.store(pointer + n * c + k, total, mask=(n < c) & (k < c))


@triton.jit(do_not_specialize=["pixels", "tiles"])
def finish_gradient(
    x, gated, given, into_x, into_gated, third, third_bias, fourth, fourth_bias, fifth,
    of_third, of_fourth, of_fifth, of_biases, pixels, tiles,
    c: tl.constexpr, P: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Gradients of all that `finish` is given, from `given`, that of what it makes.

    of_third (programs, images, c, c), of_fourth (programs, images, 2, c, c), of_fifth as of_third,
    of_biases (programs, images, 4, c): third, both halves of the fourth, fifth.
    """
    image, ch = tl.program_id(1), tl.arange(0, C)
    real = ch < c
    third += image * c * c
    zeros = tl.zeros((P, C), tl.float32)
    d3, d4a = tl.zeros((C, C), tl.float32), tl.zeros((C, C), tl.float32)
    d4b, d5 = tl.zeros((C, C), tl.float32), tl.zeros((C, C), tl.float32)
    s3, s4a = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    s4b, s5 = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        p = tile * P + tl.arange(0, P)
        mask = (p < pixels)[:, None] & real[None, :]
        p += image * pixels
        g = narrowed(tile_of(gated, p, c, ch, mask), T)
        middle = product(g, matrix(third, 0, c, C, T), tile_of(x, p, c, ch, mask))
        middle += tl.where(mask, vector(third_bias, real, ch)[None, :], 0.0)
        norm, scale = centred(middle, real, c)
        n = narrowed(norm, T)
        a = product(n, matrix(fourth, 0, c, C, T), zeros) + vector(fourth_bias, real, ch)[None, :]
        b = product(n, matrix(fourth, c, c, C, T), zeros)
        b += vector(fourth_bias, real, c + ch)[None, :]
        d_out = tile_of(given, p, c, ch, mask)
        d5 = add_product(d5, d_out, a * b, T)
        s5 += tl.sum(d_out, 0)
        d_gate = product(narrowed(d_out, T), turned(fifth, 0, c, C, T), zeros)
        d_a, d_b = d_gate * b, d_gate * a
        d4a, d4b = add_product(d4a, d_a, norm, T), add_product(d4b, d_b, norm, T)
        s4a += tl.sum(d_a, 0)
        s4b += tl.sum(d_b, 0)
        d_norm = product(narrowed(d_a, T), turned(fourth, 0, c, C, T), zeros)
        d_norm = product(narrowed(d_b, T), turned(fourth, c, c, C, T), d_norm)
        d_middle = d_out + tl.where(mask, uncentred(d_norm, norm, scale, c), 0.0)
        d3 = add_product(d3, d_middle, tile_of(gated, p, c, ch, mask), T)
        s3 += tl.sum(d_middle, 0)
        d_gated = product(narrowed(d_middle, T), turned(third, 0, c, C, T), zeros)
        at = p[:, None] * c + ch[None, :]
        tl.store(into_x + at, narrowed(d_middle, into_x.dtype.element_ty), mask=mask)
        tl.store(into_gated + at, narrowed(d_gated, into_gated.dtype.element_ty), mask=mask)
    slot = tl.program_id(0) * tl.num_programs(1) + image
    keep_matrix(of_third + slot * c * c, d3, c, C)
    keep_matrix(of_fourth + slot * 2 * c * c, d4a, c, C)
    keep_matrix(of_fourth + (slot * 2 + 1) * c * c, d4b, c, C)
    keep_matrix(of_fifth + slot * c * c, d5, c, C)
    biases = of_biases + slot * 4 * c + ch
    tl.store(biases, s3, mask=real)
    tl.store(biases + c, s4a, mask=real)
    tl.store(biases + 2 * c, s4b, mask=real)
    tl.store(biases + 3 * c, s5, mask=real)


@triton.jit
def moved_tile(pointer, p, dy, dx, height, width, pixels, stride, ch, real):
    """What lies dy rows below and dx columns beside, zero outside the image."""
    y, column = p % (height * width) // width + dy, p % width + dx
    inside = (p < pixels) & (y >= 0) & (y < height) & (column >= 0) & (column < width)
    return tile_of(pointer, p + dy * width + dx, stride, ch, inside[:, None] & real[None, :])


@triton.jit(do_not_specialize=["height", "width", "pixels"])
def gate_gradient(
    hidden, given, of_means, out, taps, taps_bias, height, width, pixels,
    c: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Gradient of what the depthwise convolution gives, (pixels, 2c).

    hidden : (pixels, 2c), what it is given. given : gradient of what the gate gives. of_means :
    (images, c), the gradient of each image's means, as a share of each pixel.
    """
    p, ch = tl.program_id(0) * P + tl.arange(0, P), tl.program_id(1) * C + tl.arange(0, C)
    real = ch < c
    a = tl.zeros((P, C), tl.float32) + vector(taps_bias, real, ch)[None, :]
    b = tl.zeros((P, C), tl.float32) + vector(taps_bias, real, c + ch)[None, :]
    for tap in range(9):
        dy, dx = tap // 3 - 1, tap % 3 - 1
        va = moved_tile(hidden, p, dy, dx, height, width, pixels, 2 * c, ch, real)
        vb = moved_tile(hidden + c, p, dy, dx, height, width, pixels, 2 * c, ch, real)
        a += va * vector(taps, real, ch * 9 + tap)[None, :]
        b += vb * vector(taps, real, (c + ch) * 9 + tap)[None, :]
    mask = (p < pixels)[:, None] & real[None, :]
    d = tile_of(given, p, c, ch, mask)
    d += tile_of(of_means, p // (height * width), c, ch, mask)
    at = out + p[:, None] * (2 * c) + ch[None, :]
    tl.store(at, narrowed(d * b, out.dtype.element_ty), mask=mask)
    tl.store(at + c, narrowed(d * a, out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["height", "width", "pixels", "tiles"])
def taps_gradient(
    hidden, given, of_taps, height, width, pixels, tiles,
    c: tl.constexpr, P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Gradients of a depthwise convolution's taps and bias, (programs, 10, c): the bias last.

    c : channels of the convolution, twice those of the block.
    """
    ch = tl.program_id(1) * C + tl.arange(0, C)
    real = ch < c
    zeros = tl.zeros((P, C), tl.float32)
    d0, d1, d2, d3, d4 = zeros, zeros, zeros, zeros, zeros
    d5, d6, d7, d8, total = zeros, zeros, zeros, zeros, zeros
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        p = tile * P + tl.arange(0, P)
        d = tile_of(given, p, c, ch, (p < pixels)[:, None] & real[None, :])
        total += d
        d0 += d * moved_tile(hidden, p, -1, -1, height, width, pixels, c, ch, real)
        d1 += d * moved_tile(hidden, p, -1, 0, height, width, pixels, c, ch, real)
        d2 += d * moved_tile(hidden, p, -1, 1, height, width, pixels, c, ch, real)
        d3 += d * moved_tile(hidden, p, 0, -1, height, width, pixels, c, ch, real)
        d4 += d * moved_tile(hidden, p, 0, 0, height, width, pixels, c, ch, real)
        d5 += d * moved_tile(hidden, p, 0, 1, height, width, pixels, c, ch, real)
        d6 += d * moved_tile(hidden, p, 1, -1, height, width, pixels, c, ch, real)
        d7 += d * moved_tile(hidden, p, 1, 0, height, width, pixels, c, ch, real)
        d8 += d * moved_tile(hidden, p, 1, 1, height, width, pixels, c, ch, real)
    slot = of_taps + tl.program_id(0) * 10 * c + ch
    tl.store(slot, tl.sum(d0, 0), mask=real)
    tl.store(slot + c, tl.sum(d1, 0), mask=real)
    tl.store(slot + 2 * c, tl.sum(d2, 0), mask=real)
    tl.store(slot + 3 * c, tl.sum(d3, 0), mask=real)
    tl.store(slot + 4 * c, tl.sum(d4, 0), mask=real)
    tl.store(slot + 5 * c, tl.sum(d5, 0), mask=real)
    tl.store(slot + 6 * c, tl.sum(d6, 0), mask=real)
    tl.store(slot + 7 * c, tl.sum(d7, 0), mask=real)
    tl.store(slot + 8 * c, tl.sum(d8, 0), mask=real)
    tl.store(slot + 9 * c, tl.sum(total, 0), mask=real)


@triton.jit(do_not_specialize=["height", "width", "pixels", "tiles"])
def first_gradient(
    x, given, into_x, first, taps, of_first, of_bias, height, width, pixels, tiles,
    c: tl.constexpr, P: tl.constexpr, C: tl.constexpr, T: tl.constexpr,
):  # fmt: skip
    """Gradients of the depthwise half's input, first product and bias.

    given : gradient of what the convolution gives, (pixels, 2c). of_first (programs, 2, c, c),
    of_bias (programs, 2, c).
    """
    ch = tl.arange(0, C)
    real = ch < c
    da, db = tl.zeros((C, C), tl.float32), tl.zeros((C, C), tl.float32)
    sa, sb = tl.zeros((C,), tl.float32), tl.zeros((C,), tl.float32)
    for tile in range(tl.program_id(0), tiles, tl.num_programs(0)):
        p = tile * P + tl.arange(0, P)
        a, b = tl.zeros((P, C), tl.float32), tl.zeros((P, C), tl.float32)
        for tap in range(9):
            dy, dx = 1 - tap // 3, 1 - tap % 3
            va = moved_tile(given, p, dy, dx, height, width, pixels, 2 * c, ch, real)
            vb = moved_tile(given + c, p, dy, dx, height, width, pixels, 2 * c, ch, real)
            a += va * vector(taps, real, ch * 9 + tap)[None, :]
            b += vb * vector(taps, real, (c + ch) * 9 + tap)[None, :]
        mask = (p < pixels)[:, None] & real[None, :]
        a, b = tl.where(mask, a, 0.0), tl.where(mask, b, 0.0)
        norm, scale = centred(tile_of(x, p, c, ch, mask), real, c)
        da, db = add_product(da, a, norm, T), add_product(db, b, norm, T)
        sa += tl.sum(a, 0)
        sb += tl.sum(b, 0)
        d = product(narrowed(a, T), turned(first, 0, c, C, T), tl.zeros((P, C), tl.float32))
        d = product(narrowed(b, T), turned(first, c, c, C, T), d)
        d = uncentred(d, norm, scale, c)
        into = into_x + p[:, None] * c + ch[None, :]
        tl.store(into, narrowed(d, into_x.dtype.element_ty), mask=mask)
    slot = tl.program_id(0) * 2
    keep_matrix(of_first + slot * c * c, da, c, C)
    keep_matrix(of_first + (slot + 1) * c * c, db, c, C)
    tl.store(of_bias + slot * c + ch, sa, mask=real)
    tl.store(of_bias + (slot + 1) * c + ch, sb, mask=real)
