"""Kernels compiled for GPUs that are not there; run by `test_kernels_compile.py` in a process where
Triton is itself, for in the interpreter's process it compiles nothing.

    python tests/engine/torch/ahead.py 90 all
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import triton
import triton.language as tl
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from unetmm.engine.torch.kernels import halves, products
from unetmm.engine.torch.kernels.launch import options
from unetmm.engine.torch.kernels.tiles import DEPTHWISE, POINTWISE, PRODUCT

TYPES = {2: ("bf16", tl.bfloat16), 4: ("fp32", tl.float32)}
FLOATS = frozenset({"sums"})
"""Names of pointers that are float32 whatever the map is."""
NUMBERS = frozenset("first height width rows walk across tiles pixels".split())


def compiled(kernel: Any, item: int, capability: int, warps: int, **fixed: Any) -> Any:
    """A kernel for maps of numbers of so many bytes; `fixed` are its constants."""
    name, dtype = TYPES[item]
    fixed = {"T": dtype, **fixed} if "T" in kernel.arg_names else fixed
    signature = {}
    for argument in kernel.arg_names:
        if argument in fixed:
            signature[argument] = "constexpr"
        elif argument in NUMBERS or argument[-2:] in ("_n", "_c", "_y", "_x", "_p"):
            signature[argument] = "i32"
        else:
            signature[argument] = "*fp32" if argument in FLOATS else f"*{name}"
    source = ASTSource(fn=kernel, signature=signature, constexprs=fixed)
    target = GPUTarget("cuda", capability, 32)
    return triton.compile(source, target=target, options=options(warps))


def kernels(capability: int, everything: bool) -> Iterator[tuple[str, int, int]]:
    """(kernel, shared memory it takes, shared memory that the tables say)."""
    for table, kernel, fixed in (
        (DEPTHWISE, halves.depthwise_half, {"x_x": 1, "out_x": 1}),
        (POINTWISE, halves.pointwise_half, {"x_p": 1, "out_p": 1}),
    ):
        for (item, c), tile in table.items():
            if everything or (item, c) == (2, 32):
                given = {**fixed, "c": c, "C": c, "P": tile.pixels}
                if table is DEPTHWISE:
                    given |= {"IS_BANDED": True, "ATTENDS": False}
                made = compiled(kernel, item, capability, tile.warps, **given)
                yield f"{kernel.__name__} {item} {c}", made.metadata.shared, tile.shared_bytes
    for item, tile in PRODUCT.items() if everything else [(2, PRODUCT[2])]:
        for norm, gate in ((True, False), (True, True), (False, False)):
            sizes = {"c": 256, "outputs": 256, "P": tile.pixels, "K": tile.depth}
            flags = {"NORM": norm, "GATE": gate, "RESIDUAL": not norm, "ROWS": norm and not gate}
            fixed = {**sizes, **flags, "N": tile.outputs, "x_p": 1, "out_p": 1, "base_p": 1}
            made = compiled(products.product_kernel, item, capability, tile.warps, **fixed)
            yield f"product {item} {norm} {gate}", made.metadata.shared, 48 * 1024
    made = compiled(products.depthwise_gate, 2, capability, 4, c=256, P=64, C=16)
    yield "depthwise_gate", made.metadata.shared, 48 * 1024


if __name__ == "__main__":
    json.dump(list(kernels(int(sys.argv[1]), sys.argv[2] == "all")), sys.stdout)
