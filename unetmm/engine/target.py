"""Which device and which precision a user's choice means on this machine. Imports no torch
unless a GPU is asked for.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from typing import Literal

from unetmm.compiling.processor import multiplies_tiles
from unetmm.engine.cpu import precision as kernels
from unetmm.errors import ShapeError

Kind = Literal["kernels", "torch", "cuda"]
"""The compiled kernels; torch on the CPU; torch on an NVIDIA GPU."""
DevicePrecision = Literal["fp32", "fp16", "bf16"]
DeviceChoice = str
"""auto, cpu, torch, cuda or cuda:N."""
PrecisionChoice = Literal["auto", "fp32", "fp16", "bf16"]
ITEM_BYTES: dict[DevicePrecision, int] = {"fp32": 4, "fp16": 2, "bf16": 2}
"""Of a number of a map or a matrix. The image, sums and what LayerNorm measures are float32."""
FREE_SHARE_PERCENT = 80
"""Share of a GPU's free memory that a run may use when no budget is given."""


@dataclass(frozen=True)
class Target:
    """Where a net is computed, and in which precision."""

    kind: Kind
    precision: DevicePrecision
    index: int = 0
    """Number of the GPU."""
    model: str = ""
    """The GPU's name."""
    free_bytes: int = 0
    """Memory of the GPU that was free when it was looked at."""

    @property
    def name(self) -> str:
        """As torch names the device."""
        return f"cuda:{self.index}" if self.kind == "cuda" else "cpu"

    @property
    def label(self) -> str:
        """As the user names it: cpu, torch or cuda:N."""
        return {"kernels": "cpu", "torch": "torch"}.get(self.kind, self.name)

    @property
    def host_precision(self) -> kernels.Precision:
        """Of the compiled kernels, which calibrate for every device."""
        if self.kind != "kernels":
            return "fp32"
        assert self.precision != "fp16", "the kernels have none"
        return self.precision

    @property
    def item_bytes(self) -> int:
        return ITEM_BYTES[self.precision]

    @property
    def recorded(self) -> str:
        """What pixels depend on, in words: a run that goes on has to have the same."""
        if self.kind == "kernels":
            in_tiles = self.precision == "bf16" and multiplies_tiles()
            return "bf16 by AMX" if in_tiles else self.precision
        where = f"{self.model} " if self.kind == "cuda" else "CPU, "
        return f"{self.precision} on {where}by torch {metadata.version('torch')}"

    @property
    def default_budget_bytes(self) -> int:
        return self.free_bytes * FREE_SHARE_PERCENT // 100


def resolve_target(device: str, precision: str) -> Target:
    """The device and precision that a choice means.

    Parameters
    ----------
    device : "auto", "cpu", "torch" (the CPU without the compiled kernels), "cuda" or "cuda:N"
        auto is cpu, so that a result does not depend on what a machine has. cuda is the first GPU.

    Raises
    ------
    ShapeError
        If there is no such device or precision, or this machine lacks it.
    """
    if device in ("auto", "cpu"):
        if precision == "fp16":
            raise ShapeError("precision fp16 is for CUDA, asked for on cpu; use fp32 or bf16")
        return Target("kernels", kernels.resolve(precision))
    cuda = re.fullmatch(r"cuda(?::(\d{1,3}))?", device)
    if device != "torch" and cuda is None:
        raise ShapeError(f'device "{device}": there are auto, cpu, torch, cuda and cuda:N')
    chosen = _precision(precision)
    if cuda is None:
        if find_spec("torch") is None:
            raise ShapeError("device torch: torch is not installed; use device cpu")
        return Target("torch", chosen)
    return _gpu(device, int(cuda[1] or 0), chosen)


def _precision(choice: str) -> DevicePrecision:
    for known in ITEM_BYTES:
        if choice == known or (choice == "auto" and known == "fp32"):
            return known
    raise ShapeError(f'precision "{choice}": there are auto, fp32, fp16 and bf16')


def _gpu(device: str, index: int, precision: DevicePrecision) -> Target:
    if find_spec("torch") is None:
        raise ShapeError(f"device {device}: torch is not installed; use device cpu")
    from unetmm.engine.torch import cuda

    count = cuda.count()
    if count == 0:
        raise ShapeError(f"device {device}: {cuda.why_none()}; use device cpu")
    if index >= count:
        raise ShapeError(f"device {device}: this machine has cuda:0 to cuda:{count - 1}")
    if precision == "bf16" and not cuda.multiplies_bf16(index):
        raise ShapeError(
            f"precision bf16 needs a GPU of compute capability 8 or more, {cuda.model(index)} has "
            "less; use fp32 or fp16"
        )
    return Target("cuda", precision, index, cuda.model(index), cuda.free_bytes(index))
