"""A run put together: the image, the net, its statistics and the plan, which all tasks share."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unetmm.calibrate.calibration import Calibration
from unetmm.calibrate.measure import calibrate
from unetmm.engine.contract import Net
from unetmm.errors import ShapeError
from unetmm.intensities.counts import TransformChoice
from unetmm.intensities.guard import Guard
from unetmm.intensities.outliers import OutlierChoice
from unetmm.intensities.rounding import Dimness, Losses
from unetmm.intensities.stored import Storing
from unetmm.intensities.validity import NoData
from unetmm.io.answered import Answer
from unetmm.io.image import Box, ImageInfo, Sink, Source
from unetmm.models.groups import Groups, sample_groups
from unetmm.models.tasks import task_of
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import Storage, source_storage
from unetmm.plan.types import Plan
from unetmm.provenance.record import load_calibration
from unetmm.run.excess_count import ExcessCount
from unetmm.run.loaded import Loaded
from unetmm.run.outlier_count import OutlierCount
from unetmm.run.point_count import PointCount
from unetmm.run.scales import say_bands, say_few, say_scales, say_unused

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet
    from unetmm.engine.cpu.net import CpuNet

log = logging.getLogger(__name__)

_ATTENTION = ".sca."
"""Part of the names of tensors that a block's channel attention is computed by, after its name."""


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
    storing: Storing = Storing()
    """Way in which restored values are stored."""
    losses: Losses = field(default_factory=Losses)
    """Number of values that the output's type could not hold."""
    guard: Guard = field(default_factory=Guard)
    """Findings of the comparison of input and output."""
    dimness: Dimness = field(default_factory=Dimness)
    """Findings on what rounding did to dim parts."""
    progress: Callable[[int], None] = lambda pixels: None
    """Function that is told the number of pixels finished since the last call; called from any
    task's thread."""
    stop: threading.Event = field(default_factory=threading.Event)
    """Event that is set to make all tasks end before their time."""
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "write": 0.0})
    """Time in seconds spent reading and writing, summed over the tasks' threads."""
    kernels: CompiledNet | None = None
    """Net in kernels that restore what exceeds the base range; None: that is not looked for."""
    excess: ExcessCount = field(default_factory=ExcessCount)
    """Count of what exceeded the base range."""
    outliers: OutlierChoice = "keep"
    """Choice of what becomes of pixels that no optics can make."""
    outlier_count: OutlierCount = field(default_factory=OutlierCount)
    """Count of those."""
    point_count: PointCount = field(default_factory=PointCount)
    """Count of samples that belong to point sources."""
    crop: Box | None = None
    """Part of each plane that is written; None: all of it."""
    keeps_details: bool = True
    """Whether small parts of the image are to keep their means."""
    removes_noise: bool = True
    """Whether noise is to be gone from the output."""
    answer: Answer | None = None
    """Nature of the output's values where they are no restored image's."""
    bands_apart: bool = False
    """Whether each band of a restored pixel is written as a plane of its own, as maps are."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def storage(self) -> Storage:
        """What reading costs, asked once: a source may count its pages for it."""
        return source_storage(self.source)

    @property
    def output_scale(self) -> int:
        """Output pixels per input pixel and axis."""
        return self.net.config.output_scale

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns of the input that become a chunk of the output."""
        rows, columns = self.sink.chunk
        return rows // self.output_scale, columns // self.output_scale

    @property
    def written(self) -> Box:
        """The part of each plane that is written, in the input's pixels; from its first one the
        output counts.
        """
        info = self.source.info
        return self.crop or Box(0, 0, info.height, info.width)

    def nodata(self, channel: int, group: int) -> NoData:
        """What tells pixels without a measurement in a group of samples of a channel."""
        stated = self.source.info.nodata_of(channel, self.groups[group])
        scale = self.calibration.entry(channel, group)
        return stated.within(scale.low, scale.high)

    @property
    def device_peak_bytes(self) -> int | None:
        """The most memory of a GPU that was taken, None where the CPU computes."""
        return self.net.peak_bytes()

    def stored_as_dict(self) -> dict[str, Any]:
        """How values were stored and what was lost, for a report."""
        dtype = self.storing.type_of(self.source.info.dtype)
        rounding = None if dtype.kind == "f" else self.storing.rounding
        return {"dtype": dtype.name, "rounding": rounding, **asdict(self.losses)}

    def note_losses(self, losses: Losses) -> None:
        """Count what a task's values lost."""
        with self._lock:
            self.losses.add(losses)

    def note_dimness(self, dimness: Dimness) -> None:
        """Take in what a task found on rounding."""
        with self._lock:
            self.dimness.add(dimness)

    def guard_as_dict(self) -> dict[str, Any]:
        """What the guard has found, for a report."""
        dim = self.dimness
        found = self.guard.findings.as_dict()
        share = dim.bias / abs(dim.exact) if dim.exact else 0.0
        found["rounding"] = {
            "dim_share": round(dim.dim_px / max(dim.seen_px, 1), 4),
            "dim_mean": dim.exact / max(dim.dim_px, 1),
            "bias_share": round(share, 4),
            "mean_change": round(dim.change, 4),
            "is_lossy": dim.loses,
        }
        return found

    def outliers_as_dict(self) -> dict[str, Any]:
        """What became of outliers and how many there were, for a report."""
        return {"choice": self.outliers, **self.outlier_count.as_dict()}

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
    loaded = loaded or Loaded()
    kernels = bracket_kernels(model, options, source.info, loaded)
    net, calibration = compile_and_calibrate(source, model, options, plan.calibration_cores, loaded)
    groups = sample_groups(model.config, source.info)
    task = task_of(model)
    say_scales(calibration)
    if task.removes_noise:
        storing = options.storing
        say_few(calibration, storing.type_of(source.info.dtype), storing.rounding)
    say_bands(source.info, options)
    if options.answer is not None and source.info.metadata.display.photometric == "miniswhite":
        log.warning("0 is white in this image, and the net sees it as black; invert it first")
    return Job(
        source, sink, net, groups, calibration, plan, options.strength, options.storing,
        kernels=kernels, outliers=options.outliers_of(source.info),
        crop=options.frame(source.info), keeps_details=task.keeps_details,
        removes_noise=task.removes_noise, answer=options.answer,
        bands_apart=bool(source.info.joined),
    )  # fmt: skip


def bracket_kernels(
    model: Model, options: Options, info: ImageInfo, loaded: Loaded
) -> CompiledNet | None:
    """The net that restores what exceeds the base range; None where that is not done."""
    if not options.brackets(model, info):
        return None
    kernels = cast("CpuNet", loaded.fold(model, options.engine.calibrator))
    return kernels.compiled


def compile_and_calibrate(
    source: Source, model: Model, options: Options, cores: int = 0, loaded: Loaded | None = None
) -> tuple[Net, Calibration]:
    """Fold the net unless it is loaded, and measure the image unless its statistics are given.

    cores: that measure at once; 0 for all.

    The compiled kernels measure it, whatever the device, so every device has the same statistics.
    """
    loaded, engine = loaded or Loaded(), options.engine
    known = known_calibration(options, model)
    groups = sample_groups(model.config, source.info)
    if known is not None:
        say_unused(known, source.info.length("C") * len(groups))
    else:
        kernels = cast("CpuNet", loaded.fold(model, engine.calibrator))
        seen = options.range_for(model, source.info)
        gives_image = model.config.gives == "image"
        by_value = not gives_image or model.config.takes_bands
        takes_noise = model.takes_noise or not gives_image
        known = calibrate(
            source, kernels.compiled, model.name, groups, seen, cores,
            options.measured_outliers_of(source.info) != "none", transform_for(options, model),
            model.knows_counts, task_of(model).removes_noise, takes_noise, by_value,
        )  # fmt: skip
    return loaded.fold(model, engine), known


def transform_for(options: Options, model: Model) -> TransformChoice:
    """The transform that is asked for; roots of values neither blur nor mix as light does, nor are
    they what a net of bands was made for.
    """
    keeps_values = not task_of(model).removes_noise or model.config.takes_bands
    if options.transform == "auto" and keeps_values:
        return "none"
    return options.transform


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
    if found is not None:
        _check_blocks(found, model)
    return found


def _check_blocks(known: Calibration, model: Model) -> None:
    """Refuse statistics of blocks that a model does not have."""
    blocks = {name.partition(_ATTENTION)[0] for name in model.tensors if _ATTENTION in name}
    foreign = {name for entry in known.entries.values() for name in entry.attention} - blocks
    if foreign:
        raise ShapeError(
            f"calibration: {min(foreign)} is no block of model {model.name}; calibrate with it"
        )
