"""What a run asks of a net. That there are two kinds of nets is known in this file only.

The imports inside functions keep Numba and torch from being loaded before there is a net: a plan
is made without them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeAlias, Union

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.cpu.precision import Precision
from unetmm.engine.target import Target
from unetmm.models.weights import Model
from unetmm.plan.types import Plan

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet
    from unetmm.engine.cpu.stream import RowStream
    from unetmm.engine.torch.net import DeviceNet
    from unetmm.engine.torch.stream import DeviceStream

Net: TypeAlias = Union["CompiledNet", "DeviceNet"]
"""Net for the compiled kernels, or for a device."""

_one_strip = threading.Lock()
"""Lock of a device: it has memory for one strip, whatever Dask starts at once."""


def fold(model: Model, precision: Precision = "fp32") -> CompiledNet:
    """The model as the compiled kernels run it; its tensors are given back."""
    from unetmm.engine.cpu.compiled import CompiledNet
    from unetmm.engine.cpu.prepare import ensure_compiled

    ensure_compiled(precision)
    net = CompiledNet(model.config, model.tensors, precision)
    model.release()
    return net


def place(model: Model, target: Target) -> DeviceNet:
    """The model as a device runs it; its tensors are given back."""
    from unetmm.engine.torch.net import DeviceNet

    net = DeviceNet(model.config, model.tensors, target)
    model.release()
    return net


def open_stream(
    net: Net,
    attention: Mapping[str, NDArray[np.float32]],
    width_px: int,
    height_px: int,
    plan: Plan,
) -> RowStream | DeviceStream:
    """The stream of a strip where its plan says."""
    from unetmm.engine.cpu.compiled import CompiledNet

    if isinstance(net, CompiledNet):
        from unetmm.engine.cpu.stream import RowStream

        frozen = net.freeze(attention)
        return RowStream(net, frozen, width_px, height_px, plan.band_rows, plan.threads)
    from unetmm.engine.torch.stream import DeviceStream

    return DeviceStream(net, attention, width_px, height_px, plan.band_rows, plan.threads)


def memory_limit(net: Net, budget_bytes: int) -> AbstractContextManager[None]:
    """On a device: no more of its memory than the budget."""
    from unetmm.engine.cpu.compiled import CompiledNet

    if isinstance(net, CompiledNet):
        return nullcontext()
    return net.limited(budget_bytes)


def device_peak_bytes(net: Net) -> int | None:
    """The most memory of a GPU that was taken, None where the CPU computes."""
    from unetmm.engine.cpu.compiled import CompiledNet

    return None if isinstance(net, CompiledNet) else net.peak_bytes()


def ready_for_strip(net: Net) -> AbstractContextManager[object]:
    """Make a net ready in this process, which need not be the one that made it.

    Returns what is to be held while one strip goes through it.
    """
    from unetmm.engine.cpu.compiled import CompiledNet

    if isinstance(net, CompiledNet):
        from unetmm.engine.cpu.prepare import ensure_compiled

        ensure_compiled(net.precision)
        return nullcontext()
    return _one_strip
