"""The compiled kernels as an engine: a strip a worker, columns shared by threads."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from unetmm import process
from unetmm.compiling.processor import LANES, multiplies_tiles
from unetmm.engine.contract import THREAD_BYTES, Footprint, Pixels
from unetmm.engine.cpu import cost
from unetmm.engine.cpu.footprint import (
    converted_bytes,
    frozen_bytes,
    packed_bytes,
    stream_bytes,
    stream_parts,
)
from unetmm.engine.folding import Tensors
from unetmm.engine.layout import Layout
from unetmm.engine.precision import Precision
from unetmm.nets.config import NetConfig

if TYPE_CHECKING:
    from unetmm.engine.cpu.net import CpuNet

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CpuEngine:
    """Fulfils `contract.Engine`; planning with it loads no kernel."""

    precision: Precision = "fp32"
    """Precision of the blocks' matrix products: fp32 or bf16."""

    label = "cpu"
    device_name = ""
    default_device_budget_bytes = 0
    band_steps = (1, 2, 4, 8)
    delay_bands = 0
    one_strip_at_once = False

    @property
    def calibrator(self) -> CpuEngine:
        return self

    @property
    def recorded(self) -> str:
        return "bf16 by AMX" if self.precision == "bf16" and multiplies_tiles() else self.precision

    def fits(self, layout: Layout, width_px: int) -> bool:
        return True

    def teams(self, cores: int, tasks: int, cells: int) -> Iterator[tuple[int, int]]:
        for workers in _halvings(min(cores, tasks)):
            most = max(1, min(cores // workers, cells))
            for threads in {most, (most + 3) // 4, 1}:
                yield workers, threads

    def footprint(
        self, layout: Layout, width_px: int, pixels: Pixels, workers: int, threads: int
    ) -> Footprint:
        live = workers * pixels.nets
        parts = stream_parts(layout, LANES, width_px, threads)
        converted = converted_bytes(layout, width_px, pixels.widest_itemsize)
        frozen = frozen_bytes(layout, LANES, self.precision)
        return Footprint(
            runtime=live * (threads - 1) * THREAD_BYTES,
            weights=self.net_bytes(layout) + live * frozen,
            stream_state=live * parts.state,
            skip=live * parts.skip,
            image_rows=live * parts.image,
            arena=live * parts.arena + workers * converted,
        )

    def net_bytes(self, layout: Layout) -> int:
        return packed_bytes(layout, LANES, self.precision)

    def stream_bytes(self, layout: Layout, width_px: int, threads: int) -> int:
        return stream_bytes(layout, width_px, LANES, threads)

    def least_s(self, config: NetConfig, pixels: int) -> float:
        return cost.arithmetic_s(config, self.precision, pixels)

    def compute_s(
        self, layout: Layout, rows: int, width_px: int, workers: int, threads: int
    ) -> float:
        return cost.compute_s(layout, self.precision, rows, width_px, workers, threads)

    def prepare(self, told: Callable[[], None]) -> None:
        from unetmm.engine.cpu.prepare import compile_aside, is_compiled

        if not is_compiled(self.precision):
            told()
            compile_aside(self.precision)

    def fold(self, config: NetConfig, tensors: Tensors) -> CpuNet:
        # Kernels are compiled or read from disk here, not when something is planned.
        from unetmm.engine.cpu.compiled import CompiledNet
        from unetmm.engine.cpu.net import CpuNet
        from unetmm.engine.cpu.prepare import ensure_compiled

        ensure_compiled(self.precision)
        if self.precision == "bf16" and config.body != "nafnet":
            log.warning("the convolutions of this net are computed in fp32: bf16 is for NAFNet's")
        process.let_go_of_compiler()  # of which little is needed to load kernels
        net = CpuNet(CompiledNet(config, tensors, self.precision))
        process.let_go_of_compiler()  # which has nothing more to do
        return net


def _halvings(most: int) -> Iterator[int]:
    """`most` and powers of two below it."""
    yield most
    power = 1 << max(0, (most - 1).bit_length() - 1)
    while 0 < power < most:
        yield power
        power //= 2
