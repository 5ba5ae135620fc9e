"""All that only CUDA has: what GPU there is, streams, events and pinned memory.

Nothing here runs on a machine without a GPU, apart from `count` and `why_none`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from unetmm.engine.precision import ITEM_BYTES, Precision
from unetmm.engine.torch.copies import FLOAT32, Copies, Shape
from unetmm.engine.torch.failures import translated
from unetmm.engine.torch.folded import DTYPES
from unetmm.engine.torch.footprint import SLOTS
from unetmm.engine.torch.kernels.kept import CardOfTiles, find
from unetmm.engine.torch.kernels.tiles import Fusing, Measured
from unetmm.extras import has

log = logging.getLogger(__name__)

LEAST_SHARED_BYTES = 48 * 1024
"""Shared memory that a program may take on any GPU."""


def count() -> int:
    """GPUs that torch can use; 0 where it is built without CUDA."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def why_none() -> str:
    """What is missing, in words."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA"
    return "torch finds no NVIDIA GPU here"


def model(index: int) -> str:
    return torch.cuda.get_device_name(index)


def multiplies_bf16(index: int) -> bool:
    return torch.cuda.get_device_capability(index)[0] >= 8


@cache
def fusing(index: int, precision: Precision) -> Fusing | None:
    """What the fused kernels need to know of a GPU; None where torch's operations are to be used.

    They are tried on a small block first, which compiles them once a machine.
    """
    if not has("triton") or torch.cuda.get_device_capability(index)[0] < 8:
        return None
    found = torch.cuda.get_device_properties(index)
    shared_bytes = getattr(found, "shared_memory_per_block_optin", LEAST_SHARED_BYTES)
    chosen = Fusing(
        ITEM_BYTES[precision], found.multi_processor_count, shared_bytes, _measured(index)
    )
    refused = _refusal(index, precision, chosen)
    if refused is not None and chosen.measured:
        log.warning("tiles measured on %s do not work and are not used: %s", model(index), refused)
        chosen = replace(chosen, measured=())
        refused = _refusal(index, precision, chosen)
    if refused is None:
        return chosen
    log.warning("fused kernels do not work on %s, so that it is slower: %s", model(index), refused)
    return None


def _measured(index: int) -> tuple[Measured, ...]:
    """Tiles that were measured on a card of this kind."""
    try:
        return find(card(index))
    except Exception:  # of a Triton that is broken, which the trial says
        return ()


def card(index: int) -> CardOfTiles:
    """What measured tiles are kept under."""
    import triton

    return CardOfTiles(model(index), torch.cuda.get_device_capability(index), triton.__version__)


def _refusal(index: int, precision: Precision, chosen: Fusing) -> str | None:
    """Reason why the kernels cannot be used, one line; None: they can."""
    try:
        from unetmm.engine.torch.kernels.trial import refusal
    except Exception as error:  # of a Triton that is too old, or broken
        return f"{type(error).__name__}: {error}".splitlines()[0]
    with torch.cuda.device(index):
        return refusal(f"cuda:{index}", DTYPES[precision], chosen)


def free_bytes(index: int) -> int:
    """Memory of the GPU that nobody else has taken, besides the CUDA context of this process.

    Raises
    ------
    DeviceError
        If the GPU is lost, or another process has it for itself.
    """
    with suppress(MemoryError), translated(torch.device("cuda", index)):
        torch.cuda.empty_cache()
        free: int = torch.cuda.mem_get_info(index)[0]
        return free + torch.cuda.memory_allocated(index)
    return 0  # others have taken it all, the context's part as well


def begin(index: int) -> None:
    """Give back what is only kept for later, and measure the peak from now on."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(index)


@contextmanager
def limited(index: int, budget_bytes: int, own_bytes: int) -> Iterator[None]:
    """Torch's allocator takes no more of the GPU than the budget, beside what others hold.

    It keeps what is free for later, in parts that may not fit; at the limit it gives them back.
    The peak is measured from now on.

    own_bytes: held already, and a part of the budget.
    """
    with translated(torch.device("cuda", index)):
        begin(index)
        others = max(0, torch.cuda.memory_reserved(index) - own_bytes)
        whole = torch.cuda.get_device_properties(index).total_memory
        share = min(1.0, (others + budget_bytes) / whole)
        torch.cuda.set_per_process_memory_fraction(share, index)
    try:
        yield
    finally:
        with suppress(RuntimeError):  # of a GPU that was lost, which has been said
            torch.cuda.set_per_process_memory_fraction(1.0, index)


def peak_bytes(index: int) -> int:
    """The most that torch's allocator has taken from the GPU, its own rounding included."""
    return torch.cuda.max_memory_reserved(index)


class CudaCopies(Copies):
    """Copies through pinned memory on streams of their own, beside the computation.

    host       fill 2      fill 3
    up              copy 2      copy 3
    compute    step 1      step 2     step 3
    down            copy 0      copy 1
    """

    def __init__(
        self, device: torch.device, taken: Shape, given: Shape, dtype: np.dtype[Any] = FLOAT32
    ) -> None:
        super().__init__(device, taken, given, dtype, pinned=True)
        with torch.cuda.device(device):
            self.up, self.down = torch.cuda.Stream(), torch.cuda.Stream()
            events = [[torch.cuda.Event() for _ in range(SLOTS)] for _ in range(4)]
        self.arrived, self.used, self.ready, self.back = events
        self.staged_in = torch.empty((SLOTS, *taken), dtype=self.dtype, device=device)
        self.staged_out = torch.empty((SLOTS, *given), device=device)
        # Their memory may be what kernels under way on the current stream have just given back.
        for stream in (self.up, self.down):
            stream.wait_stream(torch.cuda.current_stream(device))

    def inbox(self) -> NDArray:  # type: ignore[type-arg]
        self.arrived[self.sent % SLOTS].synchronize()
        return super().inbox()

    def upload(self, into: Tensor) -> None:
        slot, compute = self.sent % SLOTS, torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self.up):
            self.up.wait_event(self.used[slot])
            self.staged_in[slot].copy_(self.inboxes[slot], non_blocking=True)
            self.arrived[slot].record(self.up)
        compute.wait_event(self.arrived[slot])
        into.copy_(self.staged_in[slot])
        self.used[slot].record(compute)
        self.sent += 1

    def download(self, band: Tensor) -> None:
        slot, compute = self.asked % SLOTS, torch.cuda.current_stream(self.device)
        compute.wait_event(self.back[slot])
        self.staged_out[slot].copy_(band)
        self.ready[slot].record(compute)
        with torch.cuda.stream(self.down):
            self.down.wait_event(self.ready[slot])
            self.outboxes[slot].copy_(self.staged_out[slot], non_blocking=True)
            self.back[slot].record(self.down)
        self.asked += 1

    def fetched(self) -> NDArray:  # type: ignore[type-arg]
        self.back[self.given % SLOTS].synchronize()
        return super().fetched()
