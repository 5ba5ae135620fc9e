"""A NAFNet block as one kernel an operation, for maps of so many channels that no tile holds them.

hidden = product(norm)  ->  gated = depthwise_gate  ->  x1 = product(residual)
gated = product(norm, gate)  ->  x = product(residual)
"""

from __future__ import annotations

import triton
import triton.language as tl

from unetmm.engine.torch.kernels.parts import EPS, narrowed, product, vector


@triton.jit
def moments(x, p, given, x_p, x_c, c: tl.constexpr, P: tl.constexpr, K: tl.constexpr):
    """Mean and LayerNorm's scale of each pixel, from parts of its channels, two sums each."""
    mean = tl.zeros((P,), tl.float32)
    spread = tl.zeros((P,), tl.float32)
    for k0 in range(0, c, K):
        k = k0 + tl.arange(0, K)
        count = tl.minimum(c - k0, K)
        mask = given[:, None] & (k < c)[None, :]
        taken = x + p[:, None] * x_p + k[None, :] * x_c
        v = tl.load(taken, mask=mask, other=0.0).to(tl.float32)
        part = tl.sum(v, 1) / count
        d = tl.where((k < c)[None, :], v - part[:, None], 0.0)
        apart = part - mean
        spread += tl.sum(d * d, 1) + apart * apart * (k0 * count / (k0 + count))
        mean += apart * (count / (k0 + count))
    return mean, tl.rsqrt(spread / c + EPS)


@triton.jit(do_not_specialize=["first", "height", "width"])
def product_kernel(
    x, weights, bias, base, out, first, height, width,
    pixels, x_c, x_p, base_c, base_p, out_c, out_p, c: tl.constexpr, outputs: tl.constexpr,
    P: tl.constexpr, K: tl.constexpr, N: tl.constexpr, T: tl.constexpr,
    NORM: tl.constexpr, GATE: tl.constexpr, RESIDUAL: tl.constexpr, ROWS: tl.constexpr,
):  # fmt: skip
    """out = weights @ x + bias, (outputs, c) a matrix.

    NORM: x is normalised first. GATE: there are twice as many outputs, whose halves are multiplied.
    RESIDUAL: added to `base`. ROWS: what lies in rows outside the image, `first` being the number
    of row 0, is zero.
    """
    p = tl.program_id(0) * P + tl.arange(0, P)
    n = tl.program_id(1) * N + tl.arange(0, N)
    given, made = p < pixels, n < outputs
    mean, scale = tl.zeros((P,), tl.float32), tl.zeros((P,), tl.float32)
    if NORM:
        mean, scale = moments(x, p, given, x_p, x_c, c, P, K)
    a = tl.zeros((P, N), tl.float32)
    b = a
    for k0 in range(0, c, K):
        k = k0 + tl.arange(0, K)
        mask = given[:, None] & (k < c)[None, :]
        v = tl.load(x + p[:, None] * x_p + k[None, :] * x_c, mask=mask, other=0.0)
        if NORM:
            v = (v.to(tl.float32) - mean[:, None]) * scale[:, None]
            v = narrowed(tl.where((k < c)[None, :], v, 0.0), T)
        at = weights + n[None, :] * c + k[:, None]
        inside = made[None, :] & (k < c)[:, None]
        a = product(v.to(T), tl.load(at, mask=inside, other=0.0).to(T), a)
        if GATE:
            at += outputs * c
            b = product(v.to(T), tl.load(at, mask=inside, other=0.0).to(T), b)
    a += vector(bias, made, n)[None, :]
    if GATE:
        a *= b + vector(bias, made, outputs + n)[None, :]
    mask = given[:, None] & made[None, :]
    if RESIDUAL:
        before = base + p[:, None] * base_p + n[None, :] * base_c
        a += tl.load(before, mask=mask, other=0.0).to(tl.float32)
    if ROWS:
        row = first + p // width
        a = tl.where(((row >= 0) & (row < height))[:, None], a, 0.0)
    into = out + p[:, None] * out_p + n[None, :] * out_c
    tl.store(into, narrowed(a, out.dtype.element_ty), mask=mask)


@triton.jit(do_not_specialize=["rows", "width"])
def depthwise_gate(
    hidden, out, taps, taps_bias, rows, width, h_c, out_c, c: tl.constexpr,
    P: tl.constexpr, C: tl.constexpr,
):  # fmt: skip
    """Depthwise 3x3 and gate: (2c, rows + 2, width) -> (c, rows, width), planar."""
    p, ch = tl.program_id(0) * P + tl.arange(0, P), tl.program_id(1) * C + tl.arange(0, C)
    real, column = ch < c, p % width
    given = p < rows * width
    a = tl.zeros((P, C), tl.float32) + vector(taps_bias, real, ch)[None, :]
    b = tl.zeros((P, C), tl.float32) + vector(taps_bias, real, c + ch)[None, :]
    for tap in tl.static_range(9):
        dy, dx = tap // 3, tap % 3 - 1
        inside = given & (column + dx >= 0) & (column + dx < width)
        mask = inside[:, None] & real[None, :]
        at = hidden + (p + dy * width + dx)[:, None] + ch[None, :] * h_c
        va = tl.load(at, mask=mask, other=0.0).to(tl.float32)
        vb = tl.load(at + c * h_c, mask=mask, other=0.0).to(tl.float32)
        a += va * vector(taps, real, ch * 9 + tap)[None, :]
        b += vb * vector(taps, real, (c + ch) * 9 + tap)[None, :]
    into = out + p[:, None] + ch[None, :] * out_c
    tl.store(into, narrowed(a * b, out.dtype.element_ty), mask=given[:, None] & real[None, :])


@triton.jit(do_not_specialize=["rows", "across", "width"])
def convolution(
    x, weights, bias, base, out, rows, across, width, x_c, x_y, base_c, base_y, out_c, out_y,
    c: tl.constexpr, outputs: tl.constexpr, TAPS: tl.constexpr, STEP: tl.constexpr,
    PAD: tl.constexpr, REPEAT: tl.constexpr, SHARE: tl.constexpr,
    P: tl.constexpr, K: tl.constexpr, N: tl.constexpr, T: tl.constexpr,
    BIASED: tl.constexpr, ADDS: tl.constexpr, RECTIFIES: tl.constexpr,
):  # fmt: skip
    """A square convolution with a step, whose outputs may become REPEAT * REPEAT pixels.

    x : row 0 is the first that is read; columns outside 0 to width are zero.
    weights : (REPEAT, REPEAT, outputs, TAPS, TAPS, c). rows, across : pixels before the repeat.
    ADDS: to `base`, each channel of which SHARE outputs have.
    """
    p = tl.program_id(0) * P + tl.arange(0, P)
    y, column = p // across, p % across
    given = y < rows
    blocks: tl.constexpr = (outputs + N - 1) // N
    cell = tl.program_id(1) // blocks
    n = tl.program_id(1) % blocks * N + tl.arange(0, N)
    made = n < outputs
    total = tl.zeros((P, N), tl.float32)
    for tap in range(TAPS * TAPS):
        place = column * STEP + tap % TAPS - PAD
        inside = given & (place >= 0) & (place < width)
        at = x + (y * STEP + tap // TAPS) * x_y + place
        for k0 in range(0, c, K):
            k = k0 + tl.arange(0, K)
            mask = inside[:, None] & (k < c)[None, :]
            v = tl.load(at[:, None] + k[None, :] * x_c, mask=mask, other=0.0).to(tl.float32)
            w = weights + ((cell * outputs + n)[None, :] * (TAPS * TAPS) + tap) * c + k[:, None]
            taken = tl.load(w, mask=made[None, :] & (k < c)[:, None], other=0.0).to(T)
            total = product(narrowed(v, T), taken, total)
    if BIASED:
        total += vector(bias, made, cell * outputs + n)[None, :]
    row, column = y * REPEAT + cell // REPEAT, column * REPEAT + cell % REPEAT
    mask = given[:, None] & made[None, :]
    if ADDS:
        before = base + (row * base_y + column)[:, None] + (n // SHARE)[None, :] * base_c
        total += tl.load(before, mask=mask, other=0.0).to(tl.float32)
    if RECTIFIES:
        total = tl.maximum(total, 0.0)
    into = out + (row * out_y + column)[:, None] + n[None, :] * out_c
    tl.store(into, narrowed(total, out.dtype.element_ty), mask=mask)
