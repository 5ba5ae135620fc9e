"""GPUs that a plan can be made for where there is none. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from unetmm.engine.precision import ITEM_BYTES, Precision
from unetmm.engine.torch.kernels.tiles import Fusing

CONTEXT_BYTES = 10**9
"""Memory of a GPU that CUDA takes, and is not free."""


@dataclass(frozen=True)
class Card:
    """What of a GPU decides a plan, as its maker states it."""

    name: str
    memory_bytes: int
    """Memory of the GPU."""
    processors: int
    """Multiprocessors."""
    shared_bytes: int
    """Shared memory that a program may take."""

    @property
    def free_bytes(self) -> int:
        """Memory that is free where nobody else uses it."""
        return self.memory_bytes - CONTEXT_BYTES

    def fusing(self, precision: Precision) -> Fusing:
        """Cut of the fused kernels there."""
        return Fusing(ITEM_BYTES[precision], self.processors, self.shared_bytes)


CARDS = {
    "a100": Card("NVIDIA A100 80GB", 80 * 2**30, 108, 163 * 1024),
    "h100": Card("NVIDIA H100 80GB", 80 * 2**30, 132, 227 * 1024),
    "h200": Card("NVIDIA H200", 141 * 10**9, 132, 227 * 1024),
}
"""Cards by the name that `plan --device` takes."""
