"""Models that a process has loaded and folded, so that several images share them."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from unetmm import process
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.precision import Precision
from unetmm.engine.layout import make_layout
from unetmm.engine.target import Target
from unetmm.geometry import round_up
from unetmm.io.image import ImageInfo
from unetmm.models.choice import pick_model
from unetmm.models.weights import Model
from unetmm.plan.memory import RUNTIME_BYTES, TORCH_BYTES, packed_bytes

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet
    from unetmm.engine.torch.net import DeviceNet

STEP_BYTES = 4 * 10**6
"""What a process holds is counted in such steps."""


def fold(model: Model, precision: Precision = "fp32") -> CompiledNet:
    """The model as the stream runs it; its tensors are given back."""
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


class Loaded:
    """Keeps every model that it was asked for; safe to use from several threads."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, int], Model] = {}
        self._nets: dict[tuple[str, Precision], CompiledNet] = {}
        self._placed: dict[tuple[str, str], DeviceNet] = {}
        self._lock = threading.Lock()

    def pick(self, choice: str | Path | Model | None, info: ImageInfo) -> Model:
        """As `pick_model`."""
        if isinstance(choice, Model):
            return choice
        key = str(choice or ""), 0 if choice else info.samples - info.alpha
        with self._lock:
            if key not in self._models:
                self._models[key] = pick_model(choice, info)
            return self._models[key]

    def fold(self, model: Model, precision: Precision) -> CompiledNet:
        """As `fold`, once a model."""
        key = model.checksum, precision
        with self._lock:
            if key not in self._nets:
                self._nets[key] = fold(model, precision)
            return self._nets[key]

    def place(self, model: Model, target: Target) -> DeviceNet:
        """As `place`, once a model and device."""
        key = model.checksum, f"{target.precision} on {target.label}"
        with self._lock:
            if key not in self._placed:
                self._placed[key] = place(model, target)
            return self._placed[key]

    def held_bytes(self, model: Model, precision: Precision) -> int:
        """What the process holds beyond what the plan for an image with this model counts.

        After the first image that is no longer a fresh process, but one with all libraries and
        with nets; those of them that the plan counts are not to be counted twice.
        """
        if not self._nets and not self._placed:
            return process.held_bytes()
        counted = RUNTIME_BYTES
        if (model.checksum, precision) in self._nets:
            layout = make_layout(model.config, model.config.stride_px)
            counted += packed_bytes(layout, LANES, precision)
        counted += max((TORCH_BYTES[net.target.kind] for net in self._placed.values()), default=0)
        return round_up(max(0, process.resident_bytes() - counted), STEP_BYTES)
