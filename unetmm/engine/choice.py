"""Which engine a user's choice of device and precision means on this machine. Imports no torch
unless a GPU is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from unetmm.engine.contract import Engine
from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.cpu.precision import resolve
from unetmm.engine.precision import ITEM_BYTES, Precision
from unetmm.engine.torch.described import CARDS
from unetmm.engine.torch.engine import TorchEngine
from unetmm.errors import ShapeError
from unetmm.extras import need_torch

DeviceChoice = str
"""A user's choice: auto, cpu, torch, cuda or cuda:N; for plans alone also a name of CARDS."""


def pick_engine(device: str, precision: str) -> Engine:
    """The engine that a choice means.

    Parameters
    ----------
    device : "auto", "cpu", "torch" (the CPU without the compiled kernels), "cuda" or "cuda:N"
        auto is cpu, so that a result does not depend on what a machine has. cuda is the first GPU.
        A name of CARDS: a GPU that is not here, for a plan.

    Raises
    ------
    ShapeError
        If there is no such device or precision, or this machine lacks it.
    MissingPackageError
        If it needs torch, which is not installed.
    """
    if device in ("auto", "cpu"):
        if precision == "fp16":
            raise ShapeError("precision fp16 is for CUDA, asked for on cpu; use fp32 or bf16")
        return CpuEngine(resolve(precision))
    if device in CARDS:
        chosen, card = _precision(precision), CARDS[device]
        return TorchEngine(
            CpuEngine(), chosen, 0, card.name, card.free_bytes, card.fusing(chosen), device
        )
    cuda = re.fullmatch(r"cuda(?::(\d{1,3}))?", device)
    if re.fullmatch(r"cuda:\d+(,\d+)+", device):
        raise ShapeError(
            f"device {device}: a process computes on one GPU; the command line starts one for each,"
            " and shares of an image (restore_file) may each have another"
        )
    if device != "torch" and cuda is None:
        raise ShapeError(f'device "{device}": there are auto, cpu, torch, cuda and cuda:N')
    chosen = _precision(precision)
    if cuda is None:
        need_torch("device torch")
        return TorchEngine(CpuEngine(), chosen)
    return _on_gpu(device, int(cuda[1] or 0), chosen)


def _precision(choice: str) -> Precision:
    for known in ITEM_BYTES:
        if choice == known or (choice == "auto" and known == "fp32"):
            return known
    raise ShapeError(f'precision "{choice}": there are auto, fp32, fp16 and bf16')


def check_alike(devices: Sequence[str]) -> None:
    """Refuse GPUs of several kinds: pixels of one image would differ by the one that made them.

    Raises
    ------
    ShapeError
        If they are not the same, or not there.
    """
    need_torch(f"device {devices[0]}")
    from unetmm.engine.torch import cuda

    names = {}
    for device in devices:
        index = int(device.removeprefix("cuda:"))
        _check_there(device, index)
        names[device] = cuda.model(index)
    first = devices[0]
    for device, name in names.items():
        if name != names[first]:
            raise ShapeError(
                f"{first} is {names[first]} and {device} is {name}, whose pixels differ in the "
                "last bits; one image wants GPUs of one kind"
            )


def _check_there(device: str, index: int) -> None:
    """Refuse a GPU that this machine lacks."""
    from unetmm.engine.torch import cuda

    count = cuda.count()
    if count == 0:
        raise ShapeError(f"device {device}: {cuda.why_none()}; use device cpu")
    if index >= count:
        raise ShapeError(f"device {device}: this machine has cuda:0 to cuda:{count - 1}")


def _on_gpu(device: str, index: int, precision: Precision) -> TorchEngine:
    need_torch(f"device {device}")
    from unetmm.engine.torch import cuda

    _check_there(device, index)
    if precision == "bf16" and not cuda.multiplies_bf16(index):
        raise ShapeError(
            f"precision bf16 needs a GPU of compute capability 8 or more, {cuda.model(index)} has "
            "less; use fp32 or fp16"
        )
    fusing = cuda.fusing(index, precision)
    free_bytes = cuda.free_bytes(index)
    return TorchEngine(CpuEngine(), precision, index, cuda.model(index), free_bytes, fusing)
