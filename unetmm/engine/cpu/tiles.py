"""Products of pairs of bfloat16 in the processor's tile registers (AMX).

A tile is 16 rows of 64 bytes: of 16 pixels' factors, 32 channels each; of a panel's weights, 16
words of 16 pairs; or of 16 pixels' sums for 16 outputs. One instruction multiplies the first two
and adds to the third, 16 times what a vector instruction does. As each depends on the one before,
two groups of 16 pixels go side by side where there are so many.

    pixels  sums          factors  weights
    32      0, 1 | 2, 3   4 | 5    6, 7
    16      0, 1          2 (5)    3, 4 (6, 7)     (): of half the depth, as 16 channels are

As with vectors, a pixel's sums come about by the same operations wherever it lies, because each
row of a tile is by itself.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.simd import (
    F32,
    I32,
    I64,
    INT,
    address_of,
    load,
    load_at,
    store,
    store_factors_at,
)

I8, I16 = ir.IntType(8), ir.IntType(16)
BYTES = I8.as_pointer()
TILE_ROWS = 16
"""Pixels of a tile."""
TILE_WORDS = 16
"""Pairs of a tile's row, or words of a vector of outputs."""
HALF_WORDS = 8
WIDE = 2 * LANES


def _call(builder: Any, name: str, *args: Any) -> None:
    kind = ir.FunctionType(ir.VoidType(), [a.type for a in args])
    function = cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.{name}")
    builder.call(function, args)


def _load(builder: Any, tile: int, pointer: Any, stride_words: Any) -> None:
    stride = builder.shl(stride_words, I64(2))
    _call(builder, "tileloadd64", I8(tile), builder.bitcast(pointer, BYTES), stride)


def _store(builder: Any, tile: int, pointer: Any, stride_words: Any) -> None:
    stride = builder.shl(stride_words, I64(2))
    _call(builder, "tilestored64", I8(tile), builder.bitcast(pointer, BYTES), stride)


def _shape(builder: Any, shapes: dict[int, tuple[Any, int]]) -> None:
    """Give tiles their rows and bytes a row; the contents of all are lost."""
    room = cgutils.alloca_once(builder, ir.ArrayType(I64, 8))
    room.align = 64
    for word in range(8):
        builder.store(I64(0), builder.gep(room, [I32(0), I32(word)]))
    at = builder.bitcast(room, BYTES)
    builder.store(I8(1), at)  # the palette
    for tile, (rows, row_bytes) in shapes.items():
        place = builder.gep(at, [I32(16 + 2 * tile)])
        builder.store(I16(row_bytes), builder.bitcast(place, I16.as_pointer()), align=1)
        builder.store(rows, builder.gep(at, [I32(48 + tile)]))
    _call(builder, "ldtilecfg", at)


def _shaping(groups: int) -> Any:
    """What gives the tiles their shapes for so many tiles of pixels at once."""

    @intrinsic
    def shape(typingctx: Any, pixels: Any) -> Any:
        """For so many pixels; a single tile may be lower than 16."""

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            full, half, whole = 4 * TILE_WORDS, 4 * HALF_WORDS, I8(TILE_ROWS)
            if groups == 2:
                _shape(builder, {tile: (whole, full) for tile in range(8)})
                return context.get_dummy_value()
            most = I64(TILE_ROWS)
            is_lower = builder.icmp_signed("<", args[0], most)
            rows = builder.trunc(builder.select(is_lower, args[0], most), I8)
            shapes = {tile: (rows, full) for tile in (0, 1, 2)} | {5: (rows, half)}
            shapes |= {tile: (whole, full) for tile in (3, 4)}
            shapes |= {tile: (I8(HALF_WORDS), full) for tile in (6, 7)}
            _shape(builder, shapes)
            return context.get_dummy_value()

        return types.void(INT), codegen

    return shape


@intrinsic
def release_tiles(typingctx: Any) -> Any:
    """Leave the tile registers, which the system would have to save otherwise."""

    def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), codegen


def _tile_intrinsics(groups: int, vectors: int) -> tuple[Any, Any, Any, Any]:
    """(start, multiply, multiply_half, finish) for groups of pixels and vectors of outputs."""
    cells = [(g, v, 2 * g + v) for g in range(groups) for v in range(vectors)]
    # Of the whole depth, and of half of it.
    factors_in = [(4, 5), (4, 5)] if groups == 2 else [(2,), (5,)]
    weights_in = [(6, 7), (6, 7)] if groups == 2 else [(3, 4), (6, 7)]

    def at(builder: Any, pointer: Any, stride: Any, g: int, v: int) -> Any:
        pixel = builder.mul(stride, I64(g * TILE_ROWS))
        return builder.gep(pointer, [builder.add(pixel, I64(v * LANES))])

    def moving(move: Any) -> Any:
        """Sums from or to (array, offset), `stride` floats from pixel to pixel."""

        @intrinsic
        def moved(typingctx: Any, array: Any, offset: Any, stride: Any) -> Any:
            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                pointer = address_of(context, builder, sig.args[0], args[0], args[1])
                for g, v, tile in cells:
                    move(builder, tile, at(builder, pointer, args[2], g, v), args[2])
                return context.get_dummy_value()

            return types.void(array, INT, INT), codegen

        return moved

    def multiplication(half: int) -> Any:
        @intrinsic
        def multiply(
            typingctx: Any, x: Any, x_offset: Any, x_stride: Any, w: Any, w_offset: Any
        ) -> Any:
            """Add products over a tile's depth, or half of it; offsets and stride in words."""

            def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
                x_value, xo, xs, w_value, wo = args
                factors = address_of(context, builder, sig.args[0], x_value, xo)
                weights = address_of(context, builder, sig.args[3], w_value, wo)
                for v in range(vectors):
                    place = builder.gep(weights, [I64(v * LANES)])
                    _load(builder, weights_in[half][v], place, I64(vectors * LANES))
                for g in range(groups):
                    _load(builder, factors_in[half][g], at(builder, factors, xs, g, 0), xs)
                for g, v, tile in cells:
                    numbers = tile, factors_in[half][g], weights_in[half][v]
                    _call(builder, "tdpbf16ps", *(I8(n) for n in numbers))
                return context.get_dummy_value()

            return types.void(x, INT, INT, w, INT), codegen

        return multiply

    return moving(_load), multiplication(0), multiplication(1), moving(_store)


def _gated_finish(groups: int) -> Any:
    """The last step of a product whose panels are two vectors that multiply one another."""

    @intrinsic
    def finish_gated(
        typingctx: Any, matrices: Any, array: Any, offset: Any, stride: Any, channel: Any,
        pixels: Any,
    ) -> Any:  # fmt: skip
        """Write the product of each pixel's two sums as its factors, from `channel` on.

        The factors begin at (array, offset), `stride` words from pixel to pixel.
        """

        def codegen(context: Any, builder: Any, sig: Any, args: Any) -> Any:
            _, array_value, offset_value, stride_value, k, count = args
            rows = groups * TILE_ROWS
            room = cgutils.alloca_once(builder, ir.ArrayType(F32, 2 * rows * LANES))
            room.align = 64
            sums = builder.bitcast(room, F32.as_pointer())
            for g in range(groups):
                for v in range(2):
                    first = (v * rows + g * TILE_ROWS) * LANES
                    _store(builder, 2 * g + v, builder.gep(sums, [I64(first)]), I64(LANES))
            pointer = address_of(context, builder, sig.args[1], array_value, offset_value)
            with cgutils.for_range(builder, count) as loop:
                pixel = builder.mul(loop.index, I64(LANES))
                halves = [
                    load_at(builder, builder.gep(sums, [builder.add(pixel, I64(v * rows * LANES))]))
                    for v in range(2)
                ]
                place = builder.gep(pointer, [builder.mul(stride_value, loop.index)])
                store_factors_at(builder, sig.args[0], place, k, builder.fmul(*halves))
            return context.get_dummy_value()

        return types.void(matrices, array, INT, INT, INT, INT), codegen

    return finish_gated


def _panel(groups: int, vectors: int, inline: dict[str, Any]) -> Any:
    """A loop over pixels for one panel of outputs."""
    start, multiply, multiply_half, finish = _tile_intrinsics(groups, vectors)
    pixels_at_once, width = groups * TILE_ROWS, vectors * LANES

    @njit(**inline)
    def panel(
        x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, begin, end, accumulate
    ):
        for first in range(begin, end, pixels_at_once):
            place = at + first * out_step
            if accumulate:
                start(out, place, out_step)
            else:
                start(b, b_at, 0)
            row = w_at
            for i in range(taps):
                base = starts[i] + first * step
                for k in range(0, depth - TILE_WORDS + 1, TILE_WORDS):
                    multiply(x, base + k, step, w, row + k * width)
                if depth % TILE_WORDS:
                    k = depth - HALF_WORDS
                    multiply_half(x, base + k, step, w, row + k * width)
                row += depth * width
            finish(out, place, out_step)

    return panel


def _gated_panel(groups: int, inline: dict[str, Any]) -> Any:
    """The same for a vector of outputs and the one that it is multiplied by."""
    start, multiply, multiply_half, _ = _tile_intrinsics(groups, 2)
    finish, pixels_at_once = _gated_finish(groups), groups * TILE_ROWS

    @njit(**inline)
    def panel(x, at, depth, w, w_at, b, b_at, out, to, channel, begin, end):
        for first in range(begin, end, pixels_at_once):
            start(b, b_at, 0)
            base = at + first * depth
            for k in range(0, depth - TILE_WORDS + 1, TILE_WORDS):
                multiply(x, base + k, depth, w, w_at + k * WIDE)
            if depth % TILE_WORDS:
                k = depth - HALF_WORDS
                multiply_half(x, base + k, depth, w, w_at + k * WIDE)
            count = min(pixels_at_once, end - first)
            finish(w, out, to + first * depth, depth, channel, count)

    return panel


def _product_part(groups: int, inline: dict[str, Any]) -> Any:
    """`kernels.matmul` for the pixels from `begin` to `end`, so many tiles of them at once."""
    wide, narrow = _panel(groups, 2, inline), _panel(groups, 1, inline)
    shape = _shaping(groups)

    @njit(**inline)
    def part(
        x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, begin, end, accumulate
    ):
        shape(end - begin)
        panel = w_at
        for c in range(0, n - WIDE + 1, WIDE):
            wide(
                x, starts, taps, step, depth, w, panel, b, b_at + c, out, at + c, out_step, begin,
                end, accumulate,
            )  # fmt: skip
            panel += taps * depth * WIDE
        if n % WIDE:
            c = n - LANES
            narrow(
                x, starts, taps, step, depth, w, panel, b, b_at + c, out, at + c, out_step, begin,
                end, accumulate,
            )  # fmt: skip

    return part


def _gated_part(groups: int, inline: dict[str, Any]) -> Any:
    """The same of `kernels.matmul_gated`."""
    gated, shape = _gated_panel(groups, inline), _shaping(groups)

    @njit(**inline)
    def part(x, at, w, w_at, b, b_at, out, to, c, begin, end):
        shape(end - begin)
        depth, panel = c // 2, w_at
        for channel in range(0, c, LANES):
            gated(x, at, depth, w, panel, b, b_at + 2 * channel, out, to, channel, begin, end)
            panel += depth * WIDE

    return part


def products_in_tiles(inline: dict[str, Any]) -> tuple[Any, Any]:
    """`kernels.matmul` and `kernels.matmul_gated` for matrices of pairs, compiled alike."""
    part_32, part_16 = _product_part(2, inline), _product_part(1, inline)
    gated_32, gated_16 = _gated_part(2, inline), _gated_part(1, inline)

    @njit(**inline)
    def add_bias(out, at, out_step, b, b_at, n, pixels):
        """Add the same n values to each pixel."""
        for p in range(pixels):
            for c in range(0, n, LANES):
                place = at + p * out_step + c
                store(out, place, load(out, place) + load(b, b_at + c))

    @njit(**inline)
    def ends_of(depth, pixels):
        """Up to where pixels go 32 at a time, and 16; what is left goes through a lower tile."""
        last_32 = 0 if depth % TILE_WORDS else pixels - pixels % (2 * TILE_ROWS)
        return last_32, pixels - pixels % TILE_ROWS

    @njit(**inline)
    def matmul(
        x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, pixels, accumulate
    ):
        if accumulate:
            add_bias(out, at, out_step, b, b_at, n, pixels)
        end_32, end_16 = ends_of(depth, pixels)
        if end_32 > 0:
            part_32(
                x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, 0, end_32,
                accumulate,
            )  # fmt: skip
        for begin, end in ((end_32, end_16), (end_16, pixels)):
            if end > begin:
                part_16(
                    x, starts, taps, step, depth, w, w_at, b, b_at, out, at, out_step, n, begin,
                    end, accumulate,
                )  # fmt: skip
        release_tiles()

    @njit(**inline)
    def matmul_gated(x, at, w, w_at, b, b_at, out, to, c, pixels):
        end_32, end_16 = ends_of(c // 2, pixels)
        if end_32 > 0:
            gated_32(x, at, w, w_at, b, b_at, out, to, c, 0, end_32)
        for begin, end in ((end_32, end_16), (end_16, pixels)):
            if end > begin:
                gated_16(x, at, w, w_at, b, b_at, out, to, c, begin, end)
        release_tiles()

    return matmul, matmul_gated
