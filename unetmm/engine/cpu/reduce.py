"""Sums over the channels of LANES pixels at once, for Numba.

One pixel's sum over a vector's lanes takes a chain of shuffles, and a root and a division wait for
it. LANES pixels together take hardly more instructions than one: their vectors are transposed while
they are added up, so that pixel p's sum ends in lane p. Lanes are added pairwise in the order of
`simd.hsum`, so a pixel's sum is the same bits in a group and by itself.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.simd import (
    I32,
    INT,
    VEC,
    TileType,
    address_of,
    fused,
    load_at,
    store_factors_at,
    vector_type,
)

sums_type = TileType(LANES, 1)
"""A vector for each of LANES pixels."""

ZERO = ir.Constant(VEC, [0.0] * LANES)


def _lane(builder: Any, vector: Any, p: int) -> Any:
    """Lane p in every lane."""
    mask = ir.Constant(ir.VectorType(I32, LANES), [p] * LANES)
    return builder.shuffle_vector(vector, ir.Constant(VEC, ir.Undefined), mask)


def _pixels(builder: Any, pointer: Any, stride: Any) -> Any:
    """The vectors at `pointer`, one of each pixel."""
    for p in range(LANES):
        place = builder.gep(pointer, [builder.mul(stride, ir.Constant(stride.type, p))])
        yield p, load_at(builder, place)


@intrinsic
def no_sums(typingctx: Any) -> Any:
    """Zeros."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value = ir.Constant(ir.ArrayType(VEC, LANES), ir.Undefined)
        for p in range(LANES):
            value = builder.insert_value(value, ZERO, p)
        return value

    return sums_type(), codegen


@intrinsic
def add_sums(typingctx: Any, sums: Any, x: Any, offset: Any, stride: Any) -> Any:
    """sums[p] += x[offset + p * stride :]."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, array, at, step = args
        pointer = address_of(context, builder, sig.args[1], array, at)
        for p, pixel in _pixels(builder, pointer, step):
            total = builder.fadd(builder.extract_value(value, p), pixel)
            value = builder.insert_value(value, total, p)
        return value

    return sums_type(sums, x, INT, INT), codegen


@intrinsic
def add_products(typingctx: Any, sums: Any, x: Any, offset: Any, stride: Any, w: Any) -> Any:
    """sums[p] += x[offset + p * stride :] * w, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, array, at, step, weights = args
        pointer = address_of(context, builder, sig.args[1], array, at)
        for p, pixel in _pixels(builder, pointer, step):
            total = fused(builder, pixel, weights, builder.extract_value(value, p))
            value = builder.insert_value(value, total, p)
        return value

    return sums_type(sums, x, INT, INT, w), codegen


def _add_squares(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    value, array, at, step, mean, *real = args
    pointer = address_of(context, builder, sig.args[1], array, at)
    for p, pixel in _pixels(builder, pointer, step):
        d = builder.fsub(pixel, _lane(builder, mean, p))
        for mask in real:
            d = builder.fmul(d, mask)
        total = fused(builder, d, d, builder.extract_value(value, p))
        value = builder.insert_value(value, total, p)
    return value


@intrinsic
def add_squares(typingctx: Any, sums: Any, x: Any, offset: Any, stride: Any, mean: Any) -> Any:
    """sums[p] += (x[offset + p * stride :] - mean[p])^2."""
    return sums_type(sums, x, INT, INT, mean), _add_squares


@intrinsic
def add_real_squares(
    typingctx: Any, sums: Any, x: Any, offset: Any, stride: Any, mean: Any, real: Any
) -> Any:
    """The same where `real` is one; zero where it is zero."""
    return sums_type(sums, x, INT, INT, mean, real), _add_squares


def _store_normalised(context: Any, builder: Any, sig: Any, args: Any) -> Any:
    _, array, at, step, mean, scale, *real, to, to_step, channel = args
    pointer = address_of(context, builder, sig.args[1], array, at)
    for p, pixel in _pixels(builder, pointer, step):
        d = builder.fsub(pixel, _lane(builder, mean, p))
        for mask in real:
            d = builder.fmul(d, mask)
        value = builder.fmul(d, _lane(builder, scale, p))
        target = builder.add(to, builder.mul(to_step, ir.Constant(to_step.type, p)))
        place = address_of(context, builder, sig.args[1], array, target)
        store_factors_at(builder, sig.args[0], place, channel, value)
    return context.get_dummy_value()


@intrinsic
def store_normalised(
    typingctx: Any, matrices: Any, x: Any, offset: Any, stride: Any, mean: Any, scale: Any,
    to: Any, to_stride: Any, channel: Any,
) -> Any:  # fmt: skip
    """(x - mean[p]) * scale[p] as factors for `matrices`, from channel `channel` on.

    Pixel p's factors begin at `to` + p * `to_stride`.
    """
    kinds = matrices, x, INT, INT, mean, scale, INT, INT, INT
    return types.void(*kinds), _store_normalised


@intrinsic
def store_real_normalised(
    typingctx: Any, matrices: Any, x: Any, offset: Any, stride: Any, mean: Any, scale: Any,
    real: Any, to: Any, to_stride: Any, channel: Any,
) -> Any:  # fmt: skip
    """The same where `real` is one; zero where it is zero."""
    kinds = matrices, x, INT, INT, mean, scale, real, INT, INT, INT
    return types.void(*kinds), _store_normalised


@intrinsic
def lane_sums(typingctx: Any, sums: Any) -> Any:
    """The sum of pixel p's lanes in lane p."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        rows = [builder.extract_value(args[0], p) for p in range(LANES)]
        lanes = LANES  # that each pixel still has, in groups of so many
        while lanes > 1:
            half, group = len(rows) // 2, lanes // 2
            low = [start + i for start in range(0, LANES, lanes) for i in range(group)]
            rows = [
                builder.fadd(
                    _interleave(builder, a, b, low, group, 0),
                    _interleave(builder, a, b, low, group, group),
                )
                for a, b in zip(rows[:half], rows[half:], strict=True)
            ]
            lanes = group
        return rows[0]

    return vector_type(sums), codegen


def _interleave(builder: Any, a: Any, b: Any, low: list[int], group: int, shift: int) -> Any:
    """Groups of `group` lanes, of a and b in turn: their lower or (by `shift`) upper halves."""
    picked = []
    for start in range(0, len(low), group):
        lanes = [i + shift for i in low[start : start + group]]
        picked += [*lanes, *(LANES + i for i in lanes)]
    mask = ir.Constant(ir.VectorType(I32, LANES), picked)
    return builder.shuffle_vector(a, b, mask)


@intrinsic
def inverse_root(typingctx: Any, vector: Any) -> Any:
    """1 / sqrt(x), both rounded exactly."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        kind = ir.FunctionType(VEC, [VEC])
        root = cgutils.get_or_insert_function(builder.module, kind, f"llvm.sqrt.v{LANES}f32")
        ones = ir.Constant(VEC, [1.0] * LANES)
        return builder.fdiv(ones, builder.call(root, [args[0]]))

    return vector_type(vector), codegen
