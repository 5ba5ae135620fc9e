"""Precision of the blocks' matrix products, where nearly all of a net's arithmetic is.

fp32: everything is float32. bf16: weights and what LayerNorm and the gates hand to these products
are rounded to bfloat16 (8 significant bits, to nearest, ties to even) and multiplied in pairs;
sums, maps, LayerNorm and all other layers stay float32. Either way the answer does not depend on
how the image was cut.
"""

from __future__ import annotations

from typing import Literal

from unetmm.compiling.processor import multiplies_bf16, processor
from unetmm.errors import ShapeError

Precision = Literal["fp32", "bf16"]
PrecisionChoice = Literal["auto", "fp32", "bf16"]


def resolve(choice: str) -> Precision:
    """The precision that a choice means on this machine; auto is fp32.

    Raises
    ------
    ShapeError
        If there is no such precision, or this machine cannot multiply in it.
    """
    if choice in ("auto", "fp32"):
        return "fp32"
    if choice != "bf16":
        raise ShapeError(f'precision "{choice}": there are auto, fp32 and bf16')
    if not multiplies_bf16():
        raise ShapeError(
            f"precision bf16 needs a processor with AVX512_BF16 (AMD Zen 4, Intel Sapphire Rapids "
            f"and newer), this one ({processor()}) has none; use precision fp32"
        )
    return "bf16"


def words(count: int, precision: Precision) -> int:
    """Words of 4 bytes that so many factors of a product take, an even number of them."""
    return count // 2 if precision == "bf16" else count
