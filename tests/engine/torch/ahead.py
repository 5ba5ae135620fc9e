"""Kernels compiled by what starts them, for a GPU that is not there: all but the start itself.

`test_kernels_compile.py` runs it in a process of its own, for it replaces Triton's driver.

    python tests/engine/torch/ahead.py 90 all
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import torch
from triton.backends.compiler import GPUTarget
from triton.runtime import driver
from triton.runtime.jit import JITFunction

from unetmm.engine.torch.kernels import launch
from unetmm.engine.torch.kernels.tiles import DEPTHWISE, GRADIENT, POINTWISE, Fusing
from unetmm.nets.blocks import NAFBlock
from unetmm.train.fused import fused_block, way_of

Entry = tuple[str, int, int]
"""Name of a kernel, shared memory that it takes, shared memory that the tables say."""
LEAST_SHARED_BYTES = 48 * 1024
"""Shared memory that any program may take, for kernels that are in no table."""
TYPES = {2: torch.bfloat16, 4: torch.float32}


class Absent:
    """A driver of a GPU that is not there."""

    def __init__(self, capability: int) -> None:
        self.target = GPUTarget("cuda", capability, 32)

    def get_current_target(self) -> GPUTarget:
        return self.target

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0


def compile_only(capability: int) -> list[tuple[str, int]]:
    """Compile kernels from now on, and start none: a list that grows by names and shared memory."""
    driver.set_active(Absent(capability))
    seen, run = [], JITFunction.run

    def compiled(self: Any, *given: Any, grid: Any, warmup: bool, **named: Any) -> Any:
        kernel = run(self, *given, grid=grid, warmup=True, **named)
        seen.append((self.__name__, kernel.metadata.shared))
        return kernel

    JITFunction.run = compiled
    return seen


def entries(capability: int, everything: bool) -> Iterator[Entry]:
    """All kernels, or those of bfloat16 with 32 channels."""
    seen = compile_only(capability)
    for item, c in DEPTHWISE if everything else [(2, 32)]:
        halves(item, c)
        stated = DEPTHWISE[item, c].shared_bytes, POINTWISE[item, c].shared_bytes
        for (name, shared), bytes_ in zip(seen, stated, strict=True):
            yield f"{name} {item} {c}", shared, bytes_
        seen.clear()
    for item, c in GRADIENT if everything else [(2, 32)]:
        training(item, c)
        for name, shared in seen:
            stated_bytes = max(LEAST_SHARED_BYTES, DEPTHWISE[item, c].shared_bytes)
            if "gradient" in name:
                stated_bytes = GRADIENT[item, c].shared_bytes
            yield f"{name} {item} {c} in training", shared, stated_bytes
        seen.clear()
    for item in (2, 4) if everything else (2,):
        wide(item)
        yield from ((f"{name} {item}", shared, LEAST_SHARED_BYTES) for name, shared in seen)
        seen.clear()


def halves(item: int, c: int) -> None:
    """Both halves of a block, as a stream starts them."""
    x = torch.zeros((c, 6, 128), dtype=TYPES[item])
    fusing, w = Fusing(item, 4, 10**6), x.new_zeros(18 * c * c)
    tile, other = DEPTHWISE[item, c], POINTWISE[item, c]
    cut = fusing.cut(tile, c, 6, 128)
    scratch = x.new_zeros(cut.scratch)
    launch.depthwise_band(x, x[:, :2], x, scratch, (w,) * 6, -2, 6, tile, cut)
    launch.pointwise(x.flatten(1), x.flatten(1), (w,) * 4, other, fusing.programs(other))


def training(item: int, c: int) -> None:
    """A block, forward and backward, in float32 maps."""
    block = NAFBlock(c)
    way = way_of(block, TYPES[item], Fusing(item, 4, 10**6))
    assert way is not None, "the tables of both halves and of gradients have the same widths"
    x = torch.zeros((2, c, 4, 6), requires_grad=True)
    fused_block(block, way, x).sum().backward()


def wide(item: int) -> None:
    """A block of many channels, one kernel an operation, and convolutions between blocks."""
    c = 256
    x = torch.zeros((c, 4, 16), dtype=TYPES[item])
    w, hidden = x.new_zeros(2 * c * c), x.new_zeros((2 * c, 6, 16))
    flat, rows = x.flatten(1), (0, 4, 16)
    launch.product(w, w, flat, hidden[:, :4].reshape(2 * c, -1), norm=True, rows=rows)
    launch.gated_depthwise(hidden, w, w, x)
    launch.product(w, w, flat, flat, base=flat)
    launch.product(w, w, flat, flat, norm=True, gate=True)
    image, dtype = torch.zeros((3, 6, 16)), TYPES[item]
    launch.convolve(image, w, w, x[:32], dtype, taps=3, pad=1)
    launch.convolve(x[:128, :, :], w, None, x[:64, :2, :8], dtype, taps=2, step=2)
    launch.convolve(x[:128, :2, :8], w, None, x[:64], dtype, taps=1, repeat=2, base=x[:64])
    launch.convolve(x[:32], w, w, image[:, :4], dtype, taps=3, pad=1, base=image[:, :4])


if __name__ == "__main__":
    json.dump(list(entries(int(sys.argv[1]), sys.argv[2] == "all")), sys.stdout)
