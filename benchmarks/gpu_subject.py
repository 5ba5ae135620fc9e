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

from unetmm.benchmark.contenders import synthetic_image
from unetmm.benchmark.setting import load_subject
from unetmm.calibrate.calibration import Calibration
from unetmm.engine.precision import Precision
from unetmm.engine.torch import cuda
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.net import TorchNet
from unetmm.io.array import ArraySource, array_info
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image
from unetmm.plan.types import Plan
from unetmm.run.job import compile_and_calibrate
from unetmm.run.loaded import Loaded
from unetmm.run.of_array import ARRAY_CHUNK_PX, restore_array

SCENE_PX = 2048
"""Side of the synthetic image that a larger one repeats."""


@dataclass
class Subject:
    """A net in a precision on a device, and the image that it restores."""

    name: str
    precision: Precision
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
    def engine(self) -> TorchEngine:
        engine = self.options().engine
        assert isinstance(engine, TorchEngine)
        return engine

    @cached_property
    def net(self) -> TorchNet:
        net = self.loaded.fold(self.model, self.engine)
        assert isinstance(net, TorchNet)
        return net

    @cached_property
    def calibration(self) -> Calibration:
        source = ArraySource(self.image, array_info(self.image.shape, self.image.dtype, "YXS"))
        return compile_and_calibrate(source, self.model, self.options(), loaded=self.loaded)[1]

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


def settle(engine: TorchEngine) -> None:
    """Wait until the device has done everything."""
    if engine.gpu is not None:
        torch.cuda.synchronize(engine.gpu)


def seconds(work: Callable[[], object], engine: TorchEngine, repeats: int) -> float:
    """Median after one round that warms up."""
    taken = []
    for _ in range(repeats + 1):
        settle(engine)
        start = perf_counter()
        work()
        settle(engine)
        taken.append(perf_counter() - start)
    return median(taken[1:])


def begin(engine: TorchEngine) -> None:
    """Give back what is only kept for later, and count the peak from here on."""
    if engine.gpu is not None:
        cuda.begin(engine.gpu)
