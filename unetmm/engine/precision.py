"""Precision of an engine's arithmetic; each engine says which it has.

fp32: everything is float32. bf16 and fp16: the matrix products take rounded numbers. The compiled
kernels round only what goes into a block's products and know no fp16; torch operations round all
maps and matrices. Sums, the image and what LayerNorm measures are float32 everywhere.
"""

from __future__ import annotations

from typing import Literal

Precision = Literal["fp32", "fp16", "bf16"]
PrecisionChoice = Literal["auto", "fp32", "fp16", "bf16"]
"""A user's choice; auto is fp32."""
ITEM_BYTES: dict[Precision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Bytes of a number of a map or a matrix."""
