"""A run put together: the image, the net, its statistics and the plan, which all tasks share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, cast

from unetmm.calibrate.calibration import Calibration
from unetmm.calibrate.measure import calibrate
from unetmm.engine.contract import Net
from unetmm.errors import ShapeError
from unetmm.intensities.validity import NoData
from unetmm.io.image import Sink, Source
from unetmm.models.groups import Groups, sample_groups
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import Storage, source_storage
from unetmm.plan.types import Plan
from unetmm.provenance.record import load_calibration
from unetmm.run.loaded import Loaded

if TYPE_CHECKING:
    from unetmm.engine.cpu.net import CpuNet


class Cancelled(Exception):
    """The run was asked to stop; raised inside tasks only."""


@dataclass
class Job:
    """What all tasks of a run share."""

    source: Source
    """Image that is read."""
    sink: Sink
    """Image that is written."""
    net: Net
    """Net that the rows go through."""
    groups: Groups
    """Groups of samples, each of which goes through the net by itself."""
    calibration: Calibration
    """Statistics of the whole image."""
    plan: Plan
    """Cut of the image, and how many tasks are under way at once."""
    strength: float = 1.0
    """Share of the net's change that is kept: 0 gives the input back, 1 the net's answer."""
    progress: Callable[[int], None] = lambda pixels: None
    """Function that is told the number of pixels finished since the last call; called from any
    task's thread."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Event that is set to make all tasks end before their time."""
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "write": 0.0})
    """Time in seconds spent reading and writing, summed over the tasks' threads."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def storage(self) -> Storage:
        """What reading costs, asked once: a source may count its pages for it."""
        return source_storage(self.source)

    def nodata(self, channel: int, group: int) -> NoData:
        """What tells pixels without a measurement in a group of samples of a channel."""
        stated = self.source.info.nodata_of(channel, self.groups[group])
        scale = self.calibration.entry(channel, group)
        return stated.within(scale.low, scale.high)

    @property
    def device_peak_bytes(self) -> int | None:
        """The most memory of a GPU that was taken, None where the CPU computes."""
        return self.net.peak_bytes()

    @contextmanager
    def clock(self, kind: str) -> Iterator[None]:
        """Add the time of the block to `seconds[kind]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[kind] += time.perf_counter() - start


def make_job(
    source: Source,
    sink: Sink,
    model: Model,
    plan: Plan,
    options: Options,
    loaded: Loaded | None = None,
) -> Job:
    """Put together what `run` needs."""
    net, calibration = compile_and_calibrate(source, model, options, plan.calibration_cores, loaded)
    groups = sample_groups(model.config, source.info)
    return Job(source, sink, net, groups, calibration, plan, options.strength)


def compile_and_calibrate(
    source: Source, model: Model, options: Options, cores: int = 0, loaded: Loaded | None = None
) -> tuple[Net, Calibration]:
    """Fold the net unless it is loaded, and measure the image unless its statistics are given.

    cores: that measure at once; 0 for all.

    The compiled kernels measure it, whatever the device, so every device has the same statistics.
    """
    loaded, engine = loaded or Loaded(), options.engine
    known = known_calibration(options, model)
    if known is None:
        kernels = cast("CpuNet", loaded.fold(model, engine.calibrator))
        groups = sample_groups(model.config, source.info)
        known = calibrate(source, kernels.compiled, model.name, groups, options.fixed_range, cores)
    return loaded.fold(model, engine), known


def known_calibration(options: Options, model: Model) -> Calibration | None:
    """The statistics to use instead of measuring the image, if there are any.

    Raises
    ------
    ShapeError
        If they are in a file that cannot be read, or of another model.
    """
    given = options.calibration
    found = load_calibration(given) if isinstance(given, Path) else given
    if found is not None and found.model != model.name:
        raise ShapeError(
            f"the calibration was made with model {found.model}, this run uses {model.name}; "
            f"give the calibration's model, or calibrate with this one"
        )
    return found
