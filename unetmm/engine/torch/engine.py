"""Torch operations as an engine: one strip at a time, on the CPU or on an NVIDIA GPU."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING

from unetmm.engine.contract import THREAD_BYTES, DeviceTerms, Engine, Footprint, Pixels
from unetmm.engine.folding import Tensors
from unetmm.engine.layout import Layout
from unetmm.engine.precision import ITEM_BYTES, Precision
from unetmm.engine.torch import cost
from unetmm.engine.torch.footprint import (
    LIBRARY_BYTES,
    TRITON_BYTES,
    Place,
    attended_bytes,
    converted_bytes,
    host_slot_bytes,
    project_device,
    shapes_of,
)
from unetmm.engine.torch.kernels.tiles import Fusing
from unetmm.errors import ShapeError
from unetmm.nets.config import NetConfig

if TYPE_CHECKING:
    from unetmm.engine.torch.net import TorchNet

FREE_SHARE_PERCENT = 80
"""Share of a GPU's free memory that a run may use when no budget is given."""


@dataclass(frozen=True)
class TorchEngine:
    """Fulfils `contract.Engine`; planning with it imports no torch."""

    calibrator: Engine
    """Engine that measures an image: the compiled kernels."""
    precision: Precision = "fp32"
    """Precision of all maps and matrices."""
    gpu: int | None = None
    """Number of the GPU; None: the CPU."""
    device_name: str = ""
    """Name of the GPU."""
    free_bytes: int = 0
    """Memory of the GPU that was free when it was looked at."""
    fusing: Fusing | None = None
    """Cut of the blocks' fused kernels; None: torch operations alone."""
    described: str = ""
    """Name of a GPU that is not here, which can only be planned for."""

    delay_bands = 1
    one_strip_at_once = True

    @property
    def place(self) -> Place:
        """Kind of the device, as torch names it."""
        return "cpu" if self.gpu is None else "cuda"

    @property
    def device(self) -> str:
        """The device as torch names it: cpu or cuda:N."""
        return "cpu" if self.gpu is None else f"cuda:{self.gpu}"

    @property
    def label(self) -> str:
        return self.described or ("torch" if self.gpu is None else self.device)

    @property
    def item_bytes(self) -> int:
        """Bytes of a number of a map or a matrix."""
        return ITEM_BYTES[self.precision]

    @property
    def recorded(self) -> str:
        if self.described:
            return f"{self.precision} on {self.device_name}"
        where = "CPU, " if self.gpu is None else f"{self.device_name} "
        fused = ""
        if self.fusing:  # imported then; its package has several names
            import triton

            fused = f" and triton {triton.__version__}"
            if self.fusing.name:
                fused += f" with measured tiles {self.fusing.name}"
        return f"{self.precision} on {where}by torch {metadata.version('torch')}{fused}"

    @property
    def library_bytes(self) -> int:
        """Memory of torch in the process, and of Triton's compiler where kernels are fused."""
        return LIBRARY_BYTES[self.place] + (TRITON_BYTES if self.fusing else 0)

    @property
    def default_device_budget_bytes(self) -> int:
        return self.free_bytes * FREE_SHARE_PERCENT // 100

    @property
    def band_steps(self) -> tuple[int, ...]:
        """Band heights worth trying; a GPU is only busy with many pixels at once."""
        return (1, 2, 4, 8) if self.gpu is None else (1, 2, 4, 8, 16, 32, 64, 128)

    def fits(self, layout: Layout, width_px: int) -> bool:
        return shapes_of(layout, width_px, self.fusing).addressable

    def teams(self, cores: int, tasks: int, cells: int) -> Iterator[tuple[int, int]]:
        yield 1, cores if self.gpu is None else 1

    def footprint(
        self, layout: Layout, width_px: int, pixels: Pixels, workers: int, threads: int
    ) -> Footprint:
        """As the contract says; on the CPU the device's memory is the process's."""
        device = self.device_terms(layout, width_px, pixels.nets)
        here = device if self.gpu is None else DeviceTerms(0, 0, 0, 0, 0, 0, 0)
        slots = pixels.nets * host_slot_bytes(layout, width_px, self.place)
        converted = converted_bytes(layout, width_px, pixels)
        # The kernels that have calibrated before still hold their net.
        folded = self.calibrator.net_bytes(layout) + self.net_bytes(layout)
        return Footprint(
            runtime=self.library_bytes + (threads - 1) * THREAD_BYTES,
            weights=folded + here.weights,
            stream_state=here.stream_state,
            skip=here.skip,
            image_rows=here.image_rows,
            arena=slots + converted + here.arena + here.workspace,
            device=None if self.gpu is None else device,
        )

    def device_terms(self, layout: Layout, width_px: int, streams: int) -> DeviceTerms:
        """Terms of so many streams side by side on one strip."""
        return project_device(layout, width_px, self.item_bytes, self.place, streams, self.fusing)

    def net_bytes(self, layout: Layout) -> int:
        return attended_bytes(layout)

    def stream_bytes(self, layout: Layout, width_px: int, threads: int) -> int:
        device = self.device_terms(layout, width_px, streams=1)
        return device.stream_state + device.skip + device.image_rows + device.arena

    def least_s(self, config: NetConfig, pixels: int) -> float:
        return 0.0

    def compute_s(
        self, layout: Layout, rows: int, width_px: int, workers: int, threads: int
    ) -> float:
        return cost.compute_s(layout, self.place, self.item_bytes, rows, width_px, threads)

    def prepare(self, told: Callable[[], None]) -> None:
        if self.described:
            raise ShapeError(
                f"device {self.described}: a GPU that is not here, which only `plan` takes; give "
                "cuda on a machine that has it, or cpu"
            )
        self.calibrator.prepare(told)

    def fold(self, config: NetConfig, tensors: Tensors) -> TorchNet:
        # The one place from which torch is imported for a run.
        from unetmm.engine.torch.folded import FoldedNet
        from unetmm.engine.torch.net import TorchNet

        folded = FoldedNet(config, tensors, self.precision, self.device, self.fusing)
        return TorchNet(folded, self.place, self.library_bytes)
