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

from unetmm.engine.torch.kernels import gradients, halves, products
from unetmm.engine.torch.kernels.launch import options
from unetmm.engine.torch.kernels.tiles import CONVOLUTION, DEPTHWISE, GRADIENT, POINTWISE, PRODUCT

TYPES = {2: ("bf16", tl.bfloat16), 4: ("fp32", tl.float32)}
FLOATS = frozenset({"sums"})
"""Names of pointers that are float32 whatever the map is."""
IN_TRAINING = frozenset(
    """x given into_x third third_bias fourth fourth_bias fifth fifth_bias first first_bias taps
    taps_bias of_third of_fourth of_fifth of_biases of_means of_taps of_first of_bias""".split()
)
"""Names of those that are so in training, where only maps between kernels are of half precision."""
NUMBERS = frozenset("first height width rows walk across tiles pixels".split())


def compiled(
    kernel: Any, item: int, capability: int, warps: int,
    floats: frozenset[str] = FLOATS, **fixed: Any,
) -> Any:  # fmt: skip
    """A kernel for maps of numbers of so many bytes; `fixed` are its constants."""
    name, dtype = TYPES[item]
    fixed = {"T": dtype, **fixed} if "T" in kernel.arg_names else fixed
    signature = {}
    for argument in kernel.arg_names:
        is_number = argument in NUMBERS or argument[-2:] in ("_n", "_c", "_y", "_x", "_p")
        if argument in fixed:
            signature[argument] = "constexpr"
        elif argument in floats:
            signature[argument] = "*fp32"
        else:
            signature[argument] = "i32" if is_number else f"*{name}"
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
    for item, wide in CONVOLUTION.items():
        fixed = {"c": 32, "outputs": 64, "TAPS": 2, "STEP": 2, "PAD": 0, "REPEAT": 1, "SHARE": 1}
        fixed |= {"P": wide.pixels, "K": wide.depth, "N": wide.outputs}
        fixed |= {"BIASED": True, "ADDS": True, "RECTIFIES": True}
        made = compiled(products.convolution, item, capability, wide.warps, **fixed)
        yield f"convolution {item}", made.metadata.shared, 48 * 1024
    yield from in_training(capability, everything)
    made = compiled(products.depthwise_gate, 2, capability, 4, c=256, P=64, C=16)
    yield "depthwise_gate", made.metadata.shared, 48 * 1024


def in_training(capability: int, everything: bool) -> Iterator[tuple[str, int, int]]:
    """The same of the kernels of training."""
    for (item, c), tile in GRADIENT.items():
        if everything or (item, c) == (2, 32):
            fixed = {"c": c, "C": c, "P": tile.pixels}
            for kernel, other in (
                (gradients.finish_gradient, frozenset()),
                (gradients.first_gradient, frozenset({"given"})),
            ):
                floats = IN_TRAINING - other - ({"first"} if other == frozenset() else set())
                made = compiled(kernel, item, capability, tile.warps, floats, **fixed)
                yield f"{kernel.__name__} {item} {c}", made.metadata.shared, tile.shared_bytes
    floats = frozenset({"taps", "taps_bias", "of_means", "of_taps"})
    for kernel, size in ((gradients.gate_gradient, (64, 16)), (gradients.taps_gradient, (32, 32))):
        fixed = {"c": 64, "P": size[0], "C": size[1]}
        made = compiled(kernel, 2, capability, 4, floats, **fixed)
        yield kernel.__name__, made.metadata.shared, 48 * 1024


if __name__ == "__main__":
    json.dump(list(kernels(int(sys.argv[1]), sys.argv[2] == "all")), sys.stdout)
