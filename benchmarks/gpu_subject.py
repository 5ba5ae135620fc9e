"""A net on a device with an image to restore, and how its time and memory are taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from unetmm.api import ARRAY_CHUNK_PX, compile_and_calibrate, plan_image, restore_array
from unetmm.benchmark.contenders import synthetic_image
from unetmm.benchmark.setting import load_subject
from unetmm.calibrate.calibration import Calibration
from unetmm.engine.target import DevicePrecision, Target
from unetmm.engine.torch import cuda
from unetmm.engine.torch.net import DeviceNet
from unetmm.io.array import ArraySource, array_info
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.search import Plan
from unetmm.run.loaded import Loaded

SCENE_PX = 2048
"""Side of the synthetic image that a larger one repeats."""


@dataclass
class Subject:
    """A net in a precision on a device, and the image that it restores."""

    name: str
    precision: DevicePrecision
    device: str
    size_px: int
    budget_bytes: int
    repeats: int
    more_bands: tuple[int, ...] = ()
    """Further heights of bands that the stream alone is tried with."""
    loaded: Loaded = field(default_factory=Loaded)

    @cached_property
    def model(self) -> Model:
        return load_subject(self.name)

    @cached_property
    def image(self) -> NDArray[np.uint8]:
        """Image to restore, uint8, (size_px, size_px, 3)."""
        scene = synthetic_image(min(self.size_px, SCENE_PX), 3)
        times = -(-self.size_px // len(scene))
        return np.tile(scene, (times, times, 1))[: self.size_px, : self.size_px]

    @property
    def target(self) -> Target:
        return self.options().target

    @cached_property
    def net(self) -> DeviceNet:
        return self.loaded.place(self.model, self.target)

    @cached_property
    def calibration(self) -> Calibration:
        source = ArraySource(self.image, array_info(self.image.shape, self.image.dtype, "YXS"))
        return compile_and_calibrate(source, self.model, self.options(), self.loaded)[1]

    @cached_property
    def plan(self) -> Plan:
        """Plan as `restore_array` makes it."""
        info = array_info(self.image.shape, self.image.dtype, "YXS")
        storage = in_memory_storage((ARRAY_CHUNK_PX, ARRAY_CHUNK_PX))
        return plan_image(info, storage, storage, self.model, self.options())

    def options(self, **chosen: Any) -> Options:
        given = {"precision": self.precision, "device": self.device, **chosen}
        return Options(self.model, device_budget_bytes=self.budget_bytes, **given)

    def restore(self, **chosen: Any) -> None:
        restore_array(self.image, self.options(**chosen), "YXS", self.loaded)


def settle(target: Target) -> None:
    """Wait until the device has done everything."""
    if target.kind == "cuda":
        torch.cuda.synchronize(target.index)


def seconds(work: Callable[[], object], target: Target, repeats: int) -> float:
    """Median after one round that warms up."""
    taken = []
    for _ in range(repeats + 1):
        settle(target)
        start = perf_counter()
        work()
        settle(target)
        taken.append(perf_counter() - start)
    return median(taken[1:])


def begin(target: Target) -> None:
    """Give back what is only kept for later, and count the peak from here on."""
    if target.kind == "cuda":
        cuda.begin(target.index)
