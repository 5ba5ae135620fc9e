"""Restores a file, or a share of it: what is done is kept, and another run goes on with it.

open --> plan --> begin, or go on with what is there --> run the tasks left --> finish
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from unetmm import process
from unetmm.calibrate.calibration import Calibration
from unetmm.errors import DeviceError, ResumeError, WeightsError, WidthError
from unetmm.intensities.guard import Guard
from unetmm.io.image import Source
from unetmm.io.limits import reading_within
from unetmm.io.output.destination import output_exists
from unetmm.io.output.output import Output
from unetmm.io.places import Place
from unetmm.models.choice import is_auto, pick_model
from unetmm.models.tasks import task_of
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import sink_storage, source_storage
from unetmm.plan.outlook import plan_image
from unetmm.plan.share import WHOLE, Share
from unetmm.plan.types import Plan
from unetmm.provenance.facts import (
    check_record,
    check_same,
    make_facts,
    make_job_record,
    make_record,
)
from unetmm.provenance.record import read_record, remove_leftovers
from unetmm.run.heard import hearing
from unetmm.run.job import Job, known_calibration, make_job
from unetmm.run.loaded import Loaded, compiling_bytes
from unetmm.run.model import settle
from unetmm.run.remarks import say_remarks
from unetmm.run.report import Progress, Report, Told
from unetmm.run.scales import bands_in
from unetmm.run.shrink import run_or_shrink
from unetmm.run.task import Task, open_tasks, pixels_of, rows_of

log = logging.getLogger(__name__)


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
    DeviceError
        If a GPU failed on the way. Another process may go on with what is kept.
    """
    process.reset_peak()
    with process.limited_allocator(), hearing() as heard:
        report = _restore_file(path, output, options, progress, stop, share, loaded or Loaded())
    report.warnings = tuple(heard)
    return report


def _restore_file(
    path: Place,
    output: Place,
    options: Options,
    progress: Callable[[Progress], None],
    stop: threading.Event | None,
    share: Share,
    loaded: Loaded,
) -> Report:
    started = time.monotonic()
    with reading_within(options.budget_bytes):
        opened = options.opened(path)
    with closing(opened) as source:
        remove_leftovers(output)
        if not options.overwrite and output_exists(output):
            return _finished(path, output, source, options, loaded)
        work = _plan_work(path, output, source, options, share, loaded, progress)
        try:
            with growing(work.output, share):
                job, report = _compute(work, progress, stop)
                finishing = time.monotonic()
                report.complete = work.output.complete()
                _conclude(job, report, work.output)
        except _FinishedMeanwhile:
            remove_leftovers(output)  # the workspace that this process has just set up
            return _finished(path, output, source, work.options, loaded)
        except DeviceError as error:
            raise DeviceError(f"{error}; {_way_on(work.output)}") from error
    ended = time.monotonic()
    report.seconds |= {"finish": ended - finishing, "total": ended - started}
    report.measured_peak_bytes = process.peak_bytes()
    return report


def _way_on(output: Output) -> str:
    """What became of an output whose GPU failed, and what can be done about it, in words."""
    if not output.workspace.exists():
        return f"nothing was done of {output.path} yet; run it again, or with --device cpu"
    return (
        f"what is done of {output.path} is kept, and the same command goes on with it; or begin "
        "anew with --device cpu --overwrite, as pixels of both are not mixed"
    )


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
    with closing(options.opened(path)) as source:
        remove_leftovers(output)
        return _finished(path, output, source, options, loaded or Loaded())


def _finished(
    path: Place, output: Place, source: Source, options: Options, loaded: Loaded
) -> Report:
    """The report of an output that is there, by what it says of itself."""
    info, record = source.info, read_record(output)
    if record is None:  # it is refused, because it exists
        replace(options, overwrite=False).open_output(output, source)
    assert record is not None
    model, options = _settled(options, source, loaded, record, path.name, output)
    sink = replace(options, overwrite=True).open_output(output, source)
    check_record(output, record, make_facts(path, info, model, options, sink))
    calibration = Calibration.from_json(record["calibration"])
    return Report(
        str(path), str(output), model.name, None, 0.0, calibration, already_done=True,
        choice=options.choice, not_kept=sink.not_kept, bands=bands_in(info),
        holds=options.answer.in_words if options.answer else "",
    )  # fmt: skip


def _settled(
    options: Options,
    source: Source,
    loaded: Loaded,
    earlier: Mapping[str, Any] | None,
    name: str,
    output: Place,
) -> tuple[Model, Options]:
    """The model of a run, chosen if need be, and the options with it and with its statistics."""
    options = settle(options, source, loaded, earlier, name=name, output=output)
    model = loaded.pick(options.model, source.info)
    return model, replace(options, calibration=known_calibration(options, model))


class _FinishedMeanwhile(Exception):
    """Another process gave the output its final name since this one looked for it."""


@dataclass(frozen=True)
class _Work:
    """What one call of `restore_file` works with."""

    path: Place
    """Path of the image."""
    source: Source
    """Image that is read."""
    output: Output
    """Image that is written."""
    model: Model
    """Model that restores it."""
    plan: Plan
    """Way to run that fits the budget."""
    options: Options
    """Options of the run."""
    share: Share
    """Part of the run that is done here."""
    loaded: Loaded
    """Models of the process."""


def _plan_work(
    path: Place,
    output: Place,
    source: Source,
    options: Options,
    share: Share,
    loaded: Loaded,
    progress: Callable[[Progress], None],
) -> _Work:
    """Open the output, settle on a model and make the plan; nothing is written yet."""
    kept = options.output_info(source.info)
    sink = options.open_output(output, source)
    storages = source_storage(source), sink_storage(sink, options.output_scale)
    # Before nets are tried, whose memory is given back.
    options.engine.prepare(lambda: progress(Progress("compile kernels", 0, kept.pixels, 0, None)))
    likely = pick_model(options.model, source.info)
    held_bytes = loaded.held_bytes(likely, options.engine)
    if compiling_bytes(options.engine):  # refused now rather than once kernels are compiled here
        plan_image(source.info, *storages, likely, options, held_bytes)
    if is_auto(options.model):
        progress(Progress("choose a model", 0, kept.pixels, 0.0, None))
    begun = sink.workspace.read_job() if sink.holds_chunks() else None
    model, options = _settled(options, source, loaded, begun, path.name, output)
    _say_made(path, model)
    if options.output_info(source.info).dtype != kept.dtype:
        sink = options.open_output(output, source)
        storages = storages[0], sink_storage(sink, options.output_scale)
    plan = plan_image(source.info, *storages, model, options, held_bytes)
    return _Work(path, source, sink, model, plan, options, share, loaded)


def _say_made(path: Place, model: Model) -> None:
    """Log that an image was restored before, as each run smooths it more."""
    made = read_record(path) if task_of(model).removes_noise else None
    if made is not None:
        log.warning(
            "%s: unetmm made it already, by model %s; restored again, it loses detail",
            path.name, str(made["facts"].get("model", "")).split(" ")[0],
        )  # fmt: skip


def _begin(work: _Work) -> Job:
    """Calibrate and create the output, or go on with what another run has begun.

    Raises
    ------
    _FinishedMeanwhile
        If it is there by now, and not to be overwritten.
    """
    output, options = work.output, work.options
    facts = make_facts(work.path, work.source.info, work.model, options, output)
    with output.workspace.locked("job", make=True):
        if not options.overwrite and output_exists(output.path):
            raise _FinishedMeanwhile
        begun = _earlier_job(output, facts, options.overwrite, work.share)
        if begun is not None:
            options = replace(options, calibration=Calibration.from_json(begun["calibration"]))
        job = make_job(work.source, output, work.model, work.plan, options, work.loaded)
        if options.answer is None:
            output.halving.set_range(*job.calibration.span)
        if begun is None:
            output.create(make_record(facts, job.calibration, options.choice))
            together = bool(work.source.info.joined)
            content = make_job_record(work.path, facts, options, output, job.calibration, together)
            output.workspace.write_job(content)
        # Before others may look: they leave alone what has a writer.
        output.join(work.share.writer)
    return job


def _earlier_job(
    output: Output, facts: Mapping[str, str], overwrite: bool, share: Share
) -> dict[str, Any] | None:
    """The job that an earlier run has begun and this one goes on with, if there is one.

    Raises
    ------
    ResumeError
        If it was made from something else, and may not be begun anew, or is being written.
    WidthError
        If this process is to have vectors of another width to go on with it.
    """
    begun = output.workspace.read_job()
    if begun is None or not output.holds_chunks():
        return None
    try:
        check_same(output, begun["facts"], facts)
    except ResumeError as error:
        # A share on another kind of node must not undo what the others have done.
        if not overwrite or (isinstance(error, WidthError) and share != WHOLE):
            raise
        with output.workspace.alone():  # refused now rather than once the image is measured
            return None
    return begun


def _compute(
    work: _Work, progress: Callable[[Progress], None], stop: threading.Event | None
) -> tuple[Job, Report]:
    plan, output = work.plan, work.output
    info, crop = output.info, work.options.frame(work.source.info)
    config = work.model.config
    total_px = info.pixels // output.maps
    scale = config.output_scale
    progress(Progress("calibrate", 0, total_px, 0.0, plan))
    calibrating = time.monotonic()
    job = _begin(work)
    job.stop = stop or job.stop
    rows = work.share.of(rows_of(output))
    wrong = output.distrust(rows)
    if wrong:
        log.warning("%s: %d chunks were damaged and are made again", output.path, wrong)
    computing = time.monotonic()
    told = Told(progress, total_px, plan)

    def tasks_left(plan: Plan) -> Iterator[Task]:
        def left() -> Iterator[Task]:
            return open_tasks(plan, output, rows, config.stride_px, crop, scale)

        # Gone through once more for their pixels: a list of a film's tasks is part of the budget.
        told.begin(pixels_of(left()) * scale**2)
        return left()

    job.progress = lambda pixels: told.add(pixels * scale**2)
    run_or_shrink(job, tasks_left)
    left_px = told.left_px[0]
    resumed_px = total_px * len(rows) // rows_of(output) - left_px
    seconds = {
        **job.seconds,
        "calibrate": computing - calibrating,
        "compute": time.monotonic() - computing,
    }
    progress(Progress("finish", total_px, total_px, seconds["compute"], plan))
    samples = left_px * len(job.groups)
    return job, Report(
        str(work.path), str(output.path), work.model.name, job.plan, left_px / 1e6,
        job.calibration, seconds, stored=job.stored_as_dict(),
        measured_device_peak_bytes=job.device_peak_bytes,
        resumed_rows=max(0, resumed_px) // info.width,
        outliers=job.outliers_as_dict(), points=job.point_count.share(samples),
        ranges=job.excess.shares(samples), choice=work.options.choice, not_kept=output.not_kept,
        bands=bands_in(work.source.info),
    )  # fmt: skip


def _conclude(job: Job, report: Report, output: Output) -> None:
    """Report what was found, in all of the image if this process has finished it, and say it."""
    if output.findings is not None:
        job.guard = Guard(output.findings)
    report.holds = job.answer.in_words if job.answer else ""
    report.guard = {} if job.answer else job.guard_as_dict()
    say_remarks(job, str(output.path))


@contextmanager
def growing(output: Output, share: Share) -> Iterator[None]:
    """Leave an output at the end; on an error keep it if there is anything to keep."""
    try:
        yield
    except BaseException as error:
        # Another run with the same weights would come to the same end.
        useless = isinstance(error, WeightsError)
        worth_keeping = (output.table.any_written() and not useless) or share.count > 1
        begun_elsewhere = not output.taking_part and output.workspace.read_job() is not None
        if worth_keeping or begun_elsewhere:
            output.leave()
        else:
            output.abort()
        raise
    output.leave()
