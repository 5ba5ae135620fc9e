"""bfloat16 in LLVM: rounding a vector to it, and multiplying pairs. Needs AVX512_BF16.

A word of 4 bytes holds a pair: of channels 2k (its low half) and 2k + 1 of one pixel, or of the
weights that these two channels have for one output. llvmlite knows no bfloat, but hands its name
on to LLVM.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils

VECTOR = ir.VectorType(ir.FloatType(), 16)


class _BFloat(ir.types.Type):
    """LLVM's bfloat."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _BFloat)

    def __hash__(self) -> int:
        return hash(_BFloat)


HALVES = ir.VectorType(_BFloat(), 16)
PAIRS = ir.VectorType(_BFloat(), 32)


def _call(builder: Any, name: str, result: Any, *args: Any) -> Any:
    kind = ir.FunctionType(result, [a.type for a in args])
    name = f"llvm.x86.avx512bf16.{name}.512"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def rounded(builder: Any, vector: Any) -> Any:
    """16 floats as 16 bfloat16, to nearest, ties to even."""
    return _call(builder, "cvtneps2bf16", HALVES, vector)


def dot(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """c + both products of each pair, for 16 words of a and b; denormals count as zero."""
    a, b = builder.bitcast(a, PAIRS), builder.bitcast(b, PAIRS)
    return _call(builder, "dpbf16ps", VECTOR, c, a, b)
