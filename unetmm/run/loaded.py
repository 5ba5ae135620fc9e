"""Models that a process has loaded and folded, so that several images share them."""

from __future__ import annotations

import threading
from pathlib import Path

from unetmm import process
from unetmm.engine.contract import Engine, Net
from unetmm.engine.layouts import make_layout
from unetmm.geometry import round_up
from unetmm.io.image import ImageInfo
from unetmm.models.choice import is_auto, pick_model
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig
from unetmm.plan.memory import RUNTIME_BYTES

STEP_BYTES = 4 * 10**6
"""Unit in which the memory that a process holds is counted."""

NetKey = tuple[str, NetConfig, str, str]
"""Checksum and config of a model, label and precision of an engine."""


class Loaded:
    """Keeps every model that it was asked for; safe to use from several threads."""

    def __init__(self) -> None:
        self._models: dict[tuple[str, int], Model] = {}
        self._nets: dict[NetKey, Net] = {}
        self._lock = threading.Lock()

    def pick(self, choice: str | Path | Model | None, info: ImageInfo) -> Model:
        """As `pick_model`."""
        if isinstance(choice, Model):
            return choice
        key = str(choice or ""), 0 if not is_auto(choice) else info.samples - info.alpha
        with self._lock:
            if key not in self._models:
                self._models[key] = pick_model(choice, info)
            return self._models[key]

    def fold(self, model: Model, engine: Engine) -> Net:
        """The model as the engine runs it, folded once; its tensors are given back."""
        key = _key(model, engine)
        with self._lock:
            if key not in self._nets:
                self._nets[key] = engine.fold(model.config, model.tensors)
                model.release()
            return self._nets[key]

    def forget(self, model: Model, engine: Engine) -> None:
        """Let go of a net that is not needed any more."""
        with self._lock:
            self._nets.pop(_key(model, engine), None)

    def held_bytes(self, model: Model, engine: Engine) -> int:
        """Memory that the process holds beyond what the plan for an image with this model counts.

        After the first image that is no longer a fresh process, but one with all libraries and
        with nets; those of them that the plan counts are not to be counted twice.
        """
        if not self._nets:
            held_bytes = process.held_bytes()
            return held_bytes + compiling_bytes(engine)
        counted = RUNTIME_BYTES
        if _key(model, engine.calibrator) in self._nets:
            layout = make_layout(model.config, model.config.stride_px)
            counted += engine.calibrator.net_bytes(layout)
        counted += max(net.library_bytes for net in self._nets.values())
        return round_up(max(0, process.resident_bytes() - counted), STEP_BYTES)


def compiling_bytes(engine: Engine) -> int:
    """Memory that compiling kernels will take in this process, usually none; libraries are loaded.

    Other processes compile them now, before anything is measured, if that can be.
    """
    from unetmm.engine.cpu import prepare

    return prepare.compiling_bytes(engine.calibrator.precision)


def _key(model: Model, engine: Engine) -> NetKey:
    return model.checksum, model.config, engine.label, engine.precision
