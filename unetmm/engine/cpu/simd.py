"""SIMD vectors for Numba: a float32 vector type and a register tile of a matrix product.

Numba has no vector type of its own, and LLVM does not find register-blocked matrix products by
itself (an accumulator array ends up in memory, 7 times slower). The few intrinsics here emit the
vector instructions directly; kernels.py then reads like the loops it means.

All memory is addressed as (flat array, offset in floats). Matrices are arrays of float32, or of
int32 where each word is a pair of bfloat16 (`pairs.py`): the type decides how a kernel that takes
them is compiled, and in which form it stores the factors for them. Every pixel's result is
computed by the same sequence of operations wherever it lies in a tile, so results are
bit-identical for any cut of the image.
"""

from __future__ import annotations

import operator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.typing.templates import signature
from numba.extending import (
    intrinsic,
    lower_builtin,
    models,
    register_model,
    type_callable,
)

from unetmm.compiling.processor import LANES
from unetmm.engine.cpu import pairs

F32 = ir.FloatType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)
INT = types.intp


TILE_PX = 8 if LANES == 16 else 4
"""Pixels per register tile: at two vectors of outputs each they fill half the registers."""

VEC = ir.VectorType(F32, LANES)


class VectorType(types.Type):
    """LANES float32 values in one register."""

    def __init__(self) -> None:
        super().__init__(name=f"f32x{LANES}")


class TileType(types.Type):
    """Accumulators of TILE_PX pixels (or one) times `vectors` vectors of output channels."""

    def __init__(self, pixels: int, vectors: int) -> None:
        self.pixels, self.vectors = pixels, vectors
        super().__init__(name=f"tile{pixels}x{vectors}xf32x{LANES}")


vector_type = VectorType()


@register_model(VectorType)
class VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, VEC)


@register_model(TileType)
class TileModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Any) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(VEC, fe_type.pixels * fe_type.vectors))


def address_of(context: Any, builder: Any, array_type: Any, array: Any, offset: Any) -> Any:
    data = context.make_array(array_type)(context, builder, array).data
    return builder.gep(data, [offset])


def load_at(builder: Any, pointer: Any) -> Any:
    return builder.load(builder.bitcast(pointer, VEC.as_pointer()), align=4)


def store_at(builder: Any, value: Any, pointer: Any) -> None:
    builder.store(value, builder.bitcast(pointer, VEC.as_pointer()), align=4)


def _splat(builder: Any, scalar: Any) -> Any:
    vector = builder.insert_element(ir.Constant(VEC, ir.Undefined), scalar, I32(0))
    mask = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    return builder.shuffle_vector(vector, ir.Constant(VEC, ir.Undefined), mask)


def fused(builder: Any, a: Any, b: Any, c: Any) -> Any:
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(VEC, [VEC] * 3), f"llvm.fma.v{LANES}f32"
    )
    return builder.call(function, [a, b, c])


@intrinsic
def load(typingctx: Any, array: Any, offset: Any) -> Any:
    """LANES floats of a flat array from `offset` on."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return load_at(builder, address_of(context, builder, sig.args[0], *args))

    return vector_type(array, INT), codegen


@intrinsic
def store(typingctx: Any, array: Any, offset: Any, value: Any) -> Any:
    """Write a vector into a flat array at `offset`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        store_at(builder, args[2], address_of(context, builder, sig.args[0], args[0], args[1]))
        return context.get_dummy_value()

    return types.void(array, INT, value), codegen


@intrinsic
def add_doubles(typingctx: Any, sums: Any, to: Any, array: Any, offset: Any) -> Any:
    """Add LANES floats to as many sums in double precision, which begin at `to`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        sums_value, at, array_value, k = args
        doubles = ir.VectorType(ir.DoubleType(), LANES)
        place = address_of(context, builder, sig.args[0], sums_value, at)
        place = builder.bitcast(place, doubles.as_pointer())
        vector = load_at(builder, address_of(context, builder, sig.args[2], array_value, k))
        total = builder.fadd(builder.load(place, align=8), builder.fpext(vector, doubles))
        builder.store(total, place, align=8)
        return context.get_dummy_value()

    return types.void(sums, INT, array, INT), codegen


def in_pairs(matrices: Any) -> bool:
    """Whether matrices of this Numba type are pairs of bfloat16."""
    return bool(matrices.dtype == types.int32)


def store_factors_at(builder: Any, matrices: Any, pixel: Any, channel: Any, vector: Any) -> None:
    """Write a pixel's factors for matrices of this Numba type, from `channel` on."""
    if in_pairs(matrices):
        place = builder.gep(pixel, [builder.lshr(channel, channel.type(1))])
        place = builder.bitcast(place, pairs.HALVES.as_pointer())
        builder.store(pairs.rounded(builder, vector), place, align=4)
    else:
        store_at(builder, vector, builder.gep(pixel, [channel]))


@intrinsic
def is_paired(typingctx: Any, matrices: Any) -> Any:
    """Whether they are pairs: known when a kernel is compiled, which then has one branch."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return ir.Constant(ir.IntType(1), int(in_pairs(sig.args[0])))

    return types.boolean(matrices), codegen


@intrinsic
def words(typingctx: Any, matrices: Any, channels: Any) -> Any:
    """Words of memory that a pixel's channels take as factors for such matrices."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return builder.lshr(args[1], args[1].type(1)) if in_pairs(sig.args[0]) else args[1]

    return INT(matrices, INT), codegen


@intrinsic
def store_factors(
    typingctx: Any, matrices: Any, array: Any, offset: Any, channel: Any, value: Any
) -> Any:
    """Write channels from `channel` on of a pixel's factors, which begin at `offset`."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _, array_value, at, k, vector = args
        place = address_of(context, builder, sig.args[1], array_value, at)
        store_factors_at(builder, sig.args[0], place, k, vector)
        return context.get_dummy_value()

    return types.void(matrices, array, INT, INT, value), codegen


@intrinsic
def splat(typingctx: Any, scalar: Any) -> Any:
    """The same float in every lane."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _splat(builder, args[0])

    return vector_type(types.float32), codegen


@intrinsic
def fma(typingctx: Any, a: Any, b: Any, c: Any) -> Any:
    """a * b + c, rounded once."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return fused(builder, *args)

    return vector_type(a, b, c), codegen


@intrinsic
def hsum(typingctx: Any, vector: Any) -> Any:
    """Sum over the lanes, pairwise, in a fixed order."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        value, lanes = args[0], LANES
        while lanes > 1:
            lanes //= 2
            low = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
            high = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes, 2 * lanes)))
            undefined = ir.Constant(ir.VectorType(F32, 2 * lanes), ir.Undefined)
            value = builder.fadd(
                builder.shuffle_vector(value, undefined, low),
                builder.shuffle_vector(value, undefined, high),
            )
        return builder.extract_element(value, I32(0))

    return types.float32(vector), codegen


for _operator, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
):

    @type_callable(_operator)
    def _type_binary(context: Any) -> Any:
        def typer(a: Any, b: Any) -> Any:
            both = isinstance(a, VectorType) and isinstance(b, VectorType)
            return signature(vector_type, vector_type, vector_type) if both else None

        return typer

    def _lower(instruction: str) -> Any:
        def implementation(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            return getattr(builder, instruction)(*args)

        return implementation

    lower_builtin(_operator, VectorType, VectorType)(_lower(_instruction))


def _tile_intrinsics(pixels: int, vectors: int) -> tuple[Any, Any, Any, Any]:
    """(bias, residual, multiply, store) for one tile shape."""
    tile = TileType(pixels, vectors)
    undefined = ir.Constant(ir.ArrayType(VEC, pixels * vectors), ir.Undefined)

    def cells() -> Any:
        return ((p, v, p * vectors + v) for p in range(pixels) for v in range(vectors))

    def at(builder: Any, pointer: Any, stride: Any, p: int, v: int) -> Any:
        offset = builder.add(builder.mul(stride, I64(p)), I64(v * LANES))
        return builder.gep(pointer, [offset])

    @intrinsic
    def tile_bias(typingctx: Any, array: Any, offset: Any) -> Any:
        """Every pixel starts from the same values at (array, offset)."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            pointer = address_of(context, builder, sig.args[0], *args)
            starts = [load_at(builder, at(builder, pointer, I64(0), 0, v)) for v in range(vectors)]
            value = undefined
            for _, v, i in cells():
                value = builder.insert_value(value, starts[v], i)
            return value

        return tile(array, INT), codegen

    @intrinsic
    def tile_add(typingctx: Any, acc: Any, array: Any, offset: Any, stride: Any) -> Any:
        """Add what lies at (array, offset), `stride` floats from pixel to pixel."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value, array_value, offset_value, stride_value = args
            pointer = address_of(context, builder, sig.args[1], array_value, offset_value)
            for p, v, i in cells():
                here = load_at(builder, at(builder, pointer, stride_value, p, v))
                value = builder.insert_value(
                    value, builder.fadd(builder.extract_value(value, i), here), i
                )
            return value

        return tile(tile, array, INT, INT), codegen

    @intrinsic
    def tile_fma(
        typingctx: Any, acc: Any, x: Any, x_offset: Any, x_stride: Any, w: Any, w_offset: Any
    ) -> Any:
        """acc[p, :] += x[x_offset + p * x_stride] * w[w_offset + :]: one step of the product.

        Where w is pairs, the word of x is one as well, and the step is two of the depth.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value, x_value, xo, xs, w_value, wo = args
            x_pointer = address_of(context, builder, sig.args[1], x_value, xo)
            w_pointer = address_of(context, builder, sig.args[4], w_value, wo)
            step = pairs.dot if in_pairs(sig.args[4]) else fused
            row = [load_at(builder, at(builder, w_pointer, I64(0), 0, v)) for v in range(vectors)]
            for p in range(pixels):
                factor = _splat(
                    builder, builder.load(builder.gep(x_pointer, [builder.mul(xs, I64(p))]))
                )
                for v in range(vectors):
                    i = p * vectors + v
                    cell = step(builder, factor, row[v], builder.extract_value(value, i))
                    value = builder.insert_value(value, cell, i)
            return value

        return tile(tile, x, INT, INT, w, INT), codegen

    @intrinsic
    def tile_store(
        typingctx: Any, acc: Any, array: Any, offset: Any, stride: Any, skipped: Any
    ) -> Any:
        """Write the tile to (array, offset), `stride` floats from pixel to pixel.

        The first `skipped` pixels are left out.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value, array_value, offset_value, stride_value, skip = args
            pointer = address_of(context, builder, sig.args[1], array_value, offset_value)
            for p in range(pixels):
                with builder.if_then(builder.icmp_signed("<=", skip, I64(p))):
                    for v in range(vectors):
                        target = at(builder, pointer, stride_value, p, v)
                        store_at(builder, builder.extract_value(value, p * vectors + v), target)
            return context.get_dummy_value()

        return types.void(tile, array, INT, INT, INT), codegen

    return tile_bias, tile_add, tile_fma, tile_store


def _gated_store(pixels: int) -> Any:
    """The last step of a product whose tiles are two vectors that multiply one another."""
    tile = TileType(pixels, 2)

    @intrinsic
    def tile_store_gated(
        typingctx: Any,
        acc: Any,
        matrices: Any,
        array: Any,
        offset: Any,
        stride: Any,
        channel: Any,
        skipped: Any,
    ) -> Any:
        """Write the product of each pixel's two vectors as its factors, from `channel` on.

        The factors begin at (array, offset), `stride` words from pixel to pixel. The first
        `skipped` pixels are left out.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            value, _, array_value, offset_value, stride_value, k, skip = args
            pointer = address_of(context, builder, sig.args[2], array_value, offset_value)
            for p in range(pixels):
                with builder.if_then(builder.icmp_signed("<=", skip, I64(p))):
                    halves = (builder.extract_value(value, 2 * p + v) for v in range(2))
                    pixel = builder.gep(pointer, [builder.mul(stride_value, I64(p))])
                    store_factors_at(builder, sig.args[1], pixel, k, builder.fmul(*halves))
            return context.get_dummy_value()

        return types.void(tile, matrices, array, INT, INT, INT, INT), codegen

    return tile_store_gated


bias_wide, add_wide, fma_wide, store_wide = _tile_intrinsics(TILE_PX, 2)
bias_narrow, add_narrow, fma_narrow, store_narrow = _tile_intrinsics(TILE_PX, 1)
bias_wide_1, add_wide_1, fma_wide_1, store_wide_1 = _tile_intrinsics(1, 2)
bias_narrow_1, add_narrow_1, fma_narrow_1, store_narrow_1 = _tile_intrinsics(1, 1)
store_gated, store_gated_1 = _gated_store(TILE_PX), _gated_store(1)
