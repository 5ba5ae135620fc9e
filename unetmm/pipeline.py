"""Image in, restored image out: puts source, model, plan, calibration and sink together."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm import process_memory
from unetmm.calibrate import (
    Calibration,
    calibrate,
    calibration_bytes,
    load_calibration,
    sample_groups,
)
from unetmm.errors import BudgetError, ImageError, ResumeError
from unetmm.finished import check_record, read_record, remove_leftovers
from unetmm.io import Output, open_sink, open_source
from unetmm.io.array import ArraySink, ArraySource, array_info
from unetmm.io.part import output_exists
from unetmm.io.protocol import Encoding, ImageInfo, Sink, SinkOptions, Source
from unetmm.io.remote import Place, RemotePath, to_place
from unetmm.io.select import Selection
from unetmm.loaded import Loaded, fold, pick_model
from unetmm.memory import Pixels, Storage, in_memory_storage, sink_storage, source_storage
from unetmm.plan import Plan, Request, plan_run
from unetmm.resume import Share, check_same, make_facts, make_job_record, make_record
from unetmm.sizes import default_budget_bytes, parse_size
from unetmm.stream.lanes import LANES
from unetmm.stream.precision import PrecisionChoice, resolve
from unetmm.weights import Model

if TYPE_CHECKING:
    from unetmm.run import Job, Task
    from unetmm.stream.compiled import CompiledNet

log = logging.getLogger(__name__)

WHOLE = Share()
ARRAY_CHUNK_PX = 512
"""Cuts of an array in memory start at multiples of this."""


@dataclass(frozen=True)
class Options:
    """What a user may choose about a run."""

    model: str | Path | Model | None = None
    """A zoo name, a file, or a loaded model; None picks by the image's samples."""
    budget_bytes: int | None = None
    """Peak resident memory; None: half of what is available."""
    calibration: Path | Calibration | None = None
    """Frozen statistics to use instead of measuring the image."""
    fixed_range: tuple[float, float] | None = None
    """Stored values that the net sees as 0 and 1."""
    strength: float = 1.0
    """0 gives the input back, 1 the net's answer."""
    format: str | None = None
    overwrite: bool = False
    workers: int = 0
    """Cores used at most; 0 for all."""
    select: Selection | None = None
    """The part of a file to restore; None: all of it."""
    encoding: Encoding = Encoding()
    """How the output stores its pixels."""
    precision: PrecisionChoice = "auto"
    """Of the matrix products: fp32, or bf16 where the processor has it; auto is fp32."""

    def sink(self, path: Place) -> SinkOptions:
        """The part of these that an output needs."""
        return SinkOptions(path, self.overwrite, encoding=self.encoding)


@dataclass(frozen=True)
class Progress:
    """What a caller is told while a run goes on."""

    phase: str
    """plan, calibrate, compute, finish."""
    done_px: int
    total_px: int
    seconds: float
    """Since the compute phase began."""
    plan: Plan
    resumed_px: int = 0
    """Of the pixels done, those that were done before this run began."""


@dataclass
class Report:
    """What happened; `as_dict` has the fields of DESIGN.md section 8."""

    input: str
    output: str
    model: str
    plan: Plan | None
    """None where nothing was left to do."""
    megapixels: float
    calibration: Calibration
    seconds: dict[str, float] = field(default_factory=dict)
    measured_peak_bytes: int = 0
    resumed_rows: int = 0
    """Rows of the image that an earlier run had finished."""
    complete: bool = True
    """False if other shares of the run are still to be done."""
    already_done: bool = False
    """Whether an earlier run had finished this very output, so that nothing was done."""

    def as_dict(self) -> dict[str, Any]:
        from unetmm import __version__

        compute_s = self.seconds.get("compute", 0.0)
        return {
            "version": __version__,
            "input": self.input,
            "output": self.output,
            "model": self.model,
            "plan": self.plan.as_dict() if self.plan else None,
            "measured_peak_bytes": self.measured_peak_bytes,
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
            "megapixels": self.megapixels,
            "megapixels_per_s": round(self.megapixels / compute_s, 3) if compute_s else None,
            "resumed_rows": self.resumed_rows,
            "complete": self.complete,
            "already_done": self.already_done,
        }


def plan_image(
    info: ImageInfo,
    source: Storage,
    sink: Storage,
    model: Model,
    options: Options,
    held_bytes: int = 0,
) -> Plan:
    """The plan for an image of which only the metadata is known.

    held_bytes: what the process holds already, which the budget has to cover as well.

    Raises
    ------
    BudgetError
        If it cannot fit the budget.
    ShapeError
        If the model does not fit the image.
    """
    groups = sample_groups(model.config, info)
    precision = resolve(options.precision)
    request = Request(
        model=model.name,
        config=model.config,
        pixels=Pixels(info.height, info.width, info.samples, info.dtype.itemsize, len(groups)),
        planes=len(info.planes),
        source=source,
        sink=sink,
        budget_bytes=options.budget_bytes or default_budget_bytes(),
        calibration_bytes=calibration_bytes(model.config, info, LANES, options.workers, precision),
        held_bytes=held_bytes,
        max_cores=options.workers,
        precision=precision,
    )
    try:
        return plan_run(request)
    except BudgetError as error:
        remedy = info.notes.get("remedy")
        if remedy is None:
            raise
        numbers = {"budget_bytes": error.budget_bytes, "needed_bytes": error.needed_bytes}
        raise BudgetError(f"{error}; {remedy}", **numbers) from None


def make_plan(
    shape: tuple[int, ...],
    dtype: Any,
    model: str | Path | Model | None = None,
    mem_budget: str | int | None = None,
    axes: str | None = None,
) -> Plan:
    """What `restore` would do with an array of this shape; needs no torch and no pixels.

    Raises
    ------
    BudgetError
        If it cannot fit the budget.
    ShapeError
        If shape, dtype, axes and model do not fit together.
    """
    info = array_info(shape, np.dtype(dtype), axes)
    storage = in_memory_storage((ARRAY_CHUNK_PX, ARRAY_CHUNK_PX))
    options = Options(budget_bytes=_budget(mem_budget))
    return plan_image(info, storage, storage, pick_model(model, info), options)


def _budget(mem_budget: str | int | None) -> int | None:
    return parse_size(mem_budget) if isinstance(mem_budget, str) else mem_budget


def restore(
    image: Any,
    model: str | Path | Model | None = None,
    mem_budget: str | int | None = None,
    calibration: Path | Calibration | None = None,
    output: str | Place | None = None,
    axes: str | None = None,
    strength: float = 1.0,
    precision: PrecisionChoice = "auto",
) -> Any:
    """Restore an image.

    Parameters
    ----------
    image : NumPy array, Dask array, path or URL
        Arrays have axes YX, YXS (last axis 3 or 4), ZYX, CZYX or TCZYX, or those given.
    model : name of the zoo, weight file, or a loaded model
        None picks tiny-rgb for colour and tiny-mono otherwise.
    mem_budget : peak resident memory of the process: bytes, "4GB", "50%"
        Half of what is available by default. For arrays, what the process holds before, the
        arrays included, comes on top.
    output : where to write; needed where `image` is a path.
    precision : "fp32" (auto) or "bf16": faster, on processors with AVX512_BF16.

    Returns
    -------
    NumPy in: NumPy of the same shape and dtype. Dask in: a lazy Dask array. Path in: a Report.

    Raises
    ------
    UnetmmError
        One of its leaves, with what was asked, what was found and what would work.
    """
    options = Options(
        model, _budget(mem_budget), calibration, strength=strength, precision=precision
    )
    if isinstance(image, (str, Path, RemotePath)):
        if output is None:
            raise ImageError(f"{image}: give output=PATH to restore a file")
        return restore_file(to_place(image), to_place(output), options)
    if isinstance(image, np.ndarray):
        return restore_array(image, options, axes)
    from unetmm.lazy import is_dask_array, restore_lazily

    if is_dask_array(image):
        return restore_lazily(image, options, axes)
    raise ImageError(
        f"cannot restore a {type(image).__name__}; give a NumPy array, a Dask array or a path"
    )


def restore_array(image: NDArray[Any], options: Options, axes: str | None = None) -> NDArray[Any]:
    """A restored copy of an array."""
    info = array_info(image.shape, image.dtype, axes)
    out = np.empty_like(image)
    source, sink = ArraySource(image, info), ArraySink(out, info, ARRAY_CHUNK_PX)
    model = pick_model(options.model, info)
    plan = plan_image(info, source_storage(source), sink_storage(sink), model, options)
    from unetmm.run import run

    run(make_job(source, sink, model, plan, options))
    return out


def make_job(
    source: Source,
    sink: Sink,
    model: Model,
    plan: Plan,
    options: Options,
    loaded: Loaded | None = None,
) -> Job:
    """Put together what `run` needs."""
    from unetmm.run import Job

    net, calibration = compile_and_calibrate(source, model, options, loaded)
    groups = sample_groups(model.config, source.info)
    return Job(source, sink, net, groups, calibration, plan, options.strength)


def compile_and_calibrate(
    source: Source, model: Model, options: Options, loaded: Loaded | None = None
) -> tuple[CompiledNet, Calibration]:
    """Fold the net unless it is loaded, and measure the image unless its statistics are given."""
    precision = resolve(options.precision)
    net = loaded.fold(model, precision) if loaded else fold(model, precision)
    known = known_calibration(options)
    if known is None:
        groups = sample_groups(model.config, source.info)
        known = calibrate(source, net, model.name, groups, options.fixed_range, options.workers)
    return net, known


def known_calibration(options: Options) -> Calibration | None:
    """The statistics to use instead of measuring the image, if there are any.

    Raises
    ------
    ShapeError
        If they are in a file that cannot be read.
    """
    given = options.calibration
    return load_calibration(given) if isinstance(given, Path) else given


def restore_file(
    path: Place,
    output: Place,
    options: Options,
    progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
    share: Share = WHOLE,
    loaded: Loaded | None = None,
) -> Report:
    """Restore a file, or a share of it, into another; the output appears whole or not at all.

    What an earlier run, killed or stopped, has left of the same output is gone on with. An output
    that these very options have made already is left as it is, unless it is to be overwritten.

    Parameters
    ----------
    loaded : models of the process, where it restores several images.

    Raises
    ------
    UnetmmError
        One of its leaves. Nothing is left under the output's name; chunks that are finished are
        kept beside it, for the next run.
    ResumeError
        If what is kept was made from something else, or another process is writing it.
    """
    process_memory.reset_peak()
    process_memory.limit_allocator()
    started = time.monotonic()
    loaded = loaded or Loaded()
    with closing(open_source(path, options.select)) as source:
        info = source.info
        model = loaded.pick(options.model, info)
        remove_leftovers(output)
        if not options.overwrite and output_exists(output):
            return _finished(path, output, info, model, options)
        sink = open_sink(options.sink(output), info, options.format)
        storages = source_storage(source), sink_storage(sink)
        held_bytes = loaded.held_bytes(model, resolve(options.precision))
        plan = plan_image(info, *storages, model, options, held_bytes)
        with growing(sink, share):
            work = _Work(path, source, sink, model, plan, options, share, loaded)
            report = _compute(work, progress, stop)
            finishing = time.monotonic()
            report.complete = sink.complete()
    report.seconds |= {
        "finish": time.monotonic() - finishing,
        "total": time.monotonic() - started,
    }
    report.measured_peak_bytes = process_memory.peak_bytes()
    return report


def find_finished(
    path: Place, output: Place, options: Options, loaded: Loaded | None = None
) -> Report | None:
    """The report of an output that these very options have made of this input already.

    None if there is no output.

    Raises
    ------
    UnetmmError
        If there is one that was made from something else, or that does not say what from.
    """
    if not output_exists(output):
        return None
    with closing(open_source(path, options.select)) as source:
        model = (loaded or Loaded()).pick(options.model, source.info)
        remove_leftovers(output)
        return _finished(path, output, source.info, model, options)


def _finished(
    path: Place, output: Place, info: ImageInfo, model: Model, options: Options
) -> Report:
    record = read_record(output)
    # Without a record it is refused, because it exists.
    wanted = replace(options, overwrite=record is not None).sink(output)
    sink = open_sink(wanted, info, options.format)
    assert record is not None
    options = replace(options, calibration=known_calibration(options))
    check_record(output, record, make_facts(path, info, model, options, sink))
    calibration = Calibration.from_json(record["calibration"])
    return Report(str(path), str(output), model.name, None, 0.0, calibration, already_done=True)


@dataclass(frozen=True)
class _Work:
    """What one call of `restore_file` works with."""

    path: Place
    source: Source
    output: Output
    model: Model
    plan: Plan
    options: Options
    share: Share
    loaded: Loaded


def _begin(work: _Work) -> Job:
    """Calibrate and create the output, or go on with what another run has begun."""
    output = work.output
    known = known_calibration(work.options)
    options = replace(work.options, calibration=known)
    facts = make_facts(work.path, work.source.info, work.model, options, output)
    output.workspace.set_up()
    with output.workspace.locked("job"):
        begun = _earlier_job(output, facts, options.overwrite)
        if begun is not None:
            options = replace(options, calibration=Calibration.from_json(begun["calibration"]))
        job = make_job(work.source, output, work.model, work.plan, options, work.loaded)
        if begun is None:
            output.create(make_record(facts, job.calibration))
            content = make_job_record(work.path, facts, options, output, job.calibration)
            output.workspace.write_job(content)
    output.join(f"{work.share.index}-of-{work.share.count}")
    return job


def _earlier_job(
    output: Output, facts: Mapping[str, str], overwrite: bool
) -> dict[str, Any] | None:
    """The job that an earlier run has begun and this one goes on with, if there is one.

    Raises
    ------
    ResumeError
        If it was made from something else, and may not be begun anew.
    """
    begun = output.workspace.read_job()
    if begun is None or not output.holds_chunks():
        return None
    try:
        check_same(output, begun["facts"], facts)
    except ResumeError:
        if not overwrite:
            raise
        return None
    return begun


def _compute(
    work: _Work, progress: Callable[[Progress], None], stop: threading.Event | None
) -> Report:
    from unetmm.run import open_tasks
    from unetmm.shrink import run_or_shrink

    info, plan, output = work.source.info, work.plan, work.output
    stride_px = work.model.config.stride_px
    total_px = len(info.planes) * info.height * info.width
    progress(Progress("calibrate", 0, total_px, 0.0, plan))
    calibrating = time.monotonic()
    job = _begin(work)
    job.stop = stop or job.stop
    rows = work.share.of(rows_of(output, info))
    wrong = output.distrust(rows)
    if wrong:
        log.warning("%s: %d chunks were damaged and are made again", output.path, wrong)
    left_px = pixels_of(open_tasks(plan, info.planes, output, rows, stride_px))
    resumed_px = total_px * len(rows) // rows_of(output, info) - left_px
    computing = time.monotonic()
    lock, done = threading.Lock(), [total_px - left_px]

    def advance(pixels: int) -> None:
        with lock:
            done[0] += pixels
            now = time.monotonic() - computing
            progress(Progress("compute", done[0], total_px, now, plan, total_px - left_px))

    def tasks_left(plan: Plan) -> list[Task]:
        tasks = open_tasks(plan, info.planes, output, rows, stride_px)
        done[0] = total_px - pixels_of(tasks)
        advance(0)
        return tasks

    job.progress = advance
    run_or_shrink(job, tasks_left)
    seconds = {
        **job.seconds,
        "calibrate": computing - calibrating,
        "compute": time.monotonic() - computing,
    }
    progress(Progress("finish", total_px, total_px, seconds["compute"], plan))
    return Report(
        str(work.path), str(output.path), work.model.name, job.plan, left_px / 1e6, job.calibration,
        seconds, resumed_rows=max(0, resumed_px) // info.width,
    )  # fmt: skip


def pixels_of(tasks: list[Task]) -> int:
    """Pixels that they write."""
    return sum(t.segment.write_px * t.strip.write_px for t in tasks)


def rows_of(output: Output, info: ImageInfo) -> int:
    """Rows of chunks of all planes."""
    return len(info.planes) * output.store.levels[0].grid[0]


@contextmanager
def closing(source: Source) -> Iterator[Source]:
    try:
        yield source
    finally:
        source.close()


@contextmanager
def growing(output: Output, share: Share) -> Iterator[None]:
    """Leave an output at the end; on an error keep it if there is anything to keep."""
    try:
        yield
    except BaseException:
        worth_keeping = output.table.any_written() or share.count > 1
        begun_elsewhere = not output.taking_part and output.workspace.read_job() is not None
        if worth_keeping or begun_elsewhere:
            output.leave()
        else:
            output.abort()
        raise
    output.leave()
