"""One image on many machines: the shares of a run as tasks of a Dask cluster.

client --path, options, share--> worker: restore_file(share)      no pixels on the wire
   ^                                |
   +-- journals in the part folder -+   a shared file system carries the work and its progress

A share that is done again skips what is recorded, so a lost worker costs one chunk a strip.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from unetmm.calibrate.calibration import Calibration
from unetmm.errors import ImageError, ResumeError, UnetmmError
from unetmm.io.output.output import Output
from unetmm.io.places import Place
from unetmm.models.choice import pick_model
from unetmm.options import Options
from unetmm.plan.memory import sink_storage, source_storage
from unetmm.plan.outlook import plan_image
from unetmm.plan.share import Share
from unetmm.plan.types import Plan
from unetmm.provenance.record import read_record
from unetmm.provenance.verify import finalize
from unetmm.run.cluster.told import Failure, ShareResult, ShareTask
from unetmm.run.cluster.worker import do_share, output_state
from unetmm.run.job import Cancelled, known_calibration
from unetmm.run.loaded import Loaded
from unetmm.run.model import settle
from unetmm.run.of_file import find_finished
from unetmm.run.report import Progress, Report, merged
from unetmm.run.task import rows_of

log = logging.getLogger(__name__)

RETRIES = 10
"""Number of times that a share is tried again where its task fails or its workers are lost."""
POLL_S = 0.2
"""Time in seconds between two looks at the tasks and the journals."""
POLL_SHARE = 0.1
"""Largest share of a run's time spent reading journals."""


def restore_distributed(
    path: Place,
    output: Place,
    options: Options,
    client: Any,
    shares: int,
    progress: Callable[[Progress], None] = lambda progress: None,
    stop: threading.Event | None = None,
    devices: tuple[str, ...] = (),
) -> Report:
    """Restore a file on the workers of a cluster; all of them see the same files.

    Parameters
    ----------
    options : budget_bytes and workers are those of each worker process.
    client : dask.distributed.Client
    shares : number of them to cut the run into; several a worker, so that they end together.
    devices : GPUs of one kind, one for each worker, whose names are 0, 1, ...; empty: each worker
        has that of the options.

    Raises
    ------
    UnetmmError
        Whatever `restore_file` raises, there or here.
    Cancelled
        If it was stopped; what is done is kept.
    """
    path, output, options = path.resolve(), output.resolve(), _anywhere(options)
    finished = None if options.overwrite else find_finished(path, output, options)
    if finished is not None:
        return finished
    with closing(options.opened(path)) as source:
        info = source.info
        sink = options.open_output(output, source)
        begun = sink.workspace.read_job() if sink.holds_chunks() else None
        options = settle(options, source, Loaded(), begun, name=path.name, output=output)
        kept = options.output_info(info)
        sink = options.open_output(output, source)
        model = pick_model(options.model, info)
        options = replace(options, calibration=known_calibration(options, model))
        storages = source_storage(source), sink_storage(sink, options.output_scale)
        plan = plan_image(info, *storages, model, options)
        total_px = kept.pixels // sink.maps
        count = max(1, min(shares, rows_of(sink)))
    first = Share(0, count)
    task = ShareTask(path, output, options, first, output_state(output), uuid.uuid4().hex, devices)
    return _ClusterRun(
        task, sink, client, plan, total_px, progress, stop or threading.Event()
    ).run()


def _anywhere(options: Options) -> Options:
    """The options with paths that hold in a worker's folder too."""
    changes: dict[str, Any] = {}
    for name in ("model", "calibration"):
        value = getattr(options, name)
        if isinstance(value, (str, Path)) and Path(value).is_file():
            changes[name] = Path(value).resolve()
    return replace(options, **changes)


class _ClusterRun:
    """The client's side: submit, watch, finish."""

    def __init__(
        self,
        task: ShareTask,
        output: Output,
        client: Any,
        plan: Plan,
        total_px: int,
        progress: Callable[[Progress], None],
        stop: threading.Event,
    ) -> None:
        from distributed import Event

        self._task, self._output, self._client = task, output, client
        self._plan, self._total_px, self._progress, self._stop = plan, total_px, progress, stop
        self._begun = Event(f"{task.run}-begun", client=client)
        self._stopping = Event(f"{task.run}-stop", client=client)
        self._running: dict[Any, Share] = {}
        self._losses: dict[Share, int] = {}
        self._reports: list[Report] = []
        self._failure: UnetmmError | None = None
        self._resumed_px = -1
        self._computing = 0.0
        self._last_look_s = 0.0
        self._calibration: Calibration | None = None

    def run(self) -> Report:
        started = time.monotonic()
        self._progress(Progress("calibrate", 0, self._total_px, 0.0, self._plan))
        # One share creates the output; the others find it there.
        self._submit(self._task.share)
        waiting = [Share(i, self._task.share.count) for i in range(1, self._task.share.count)]
        try:
            while self._running or waiting:
                self._collect()
                if self._stop.is_set() or self._failure is not None:
                    waiting.clear()
                    self._stopping.set()
                if waiting and (self._begun.is_set() or not self._running):
                    for share in waiting:
                        self._submit(share)
                    waiting.clear()
                if self._computing or self._begun.is_set():
                    self._show()
                time.sleep(max(POLL_S, self._last_look_s / POLL_SHARE) if self._running else 0)
        except BaseException:
            self._stopping.set()
            raise
        if self._failure is not None:
            raise self._failure
        finished = self._finish_if_needed()
        if not finished and self._stop.is_set():
            raise Cancelled
        if not finished:
            raise ResumeError(f"{self._task.output}: chunks are missing at the end; run it again")
        return self._report(time.monotonic() - started)

    def _submit(self, share: Share) -> None:
        task, losses = replace(self._task, share=share), self._losses.get(share, 0)
        key = f"unetmm-{self._task.run}-{share.index + 1}-of-{share.count}-{losses}"
        future = self._client.submit(do_share, task, key=key, retries=RETRIES)
        self._running[future] = share

    def _collect(self) -> None:
        """Take in what has ended; a share whose workers were lost is submitted anew."""
        from distributed.scheduler import KilledWorker

        for future in [f for f in self._running if f.done()]:
            share = self._running.pop(future)
            if future.cancelled():
                raise ImageError(
                    f"{self._task.output}: the cluster's scheduler was lost; what is done is "
                    "kept, the same command goes on with it"
                )
            try:
                result: ShareResult = future.result()
            except KilledWorker:
                self._losses[share] = self._losses.get(share, 0) + 1
                if self._losses[share] > RETRIES:
                    raise ImageError(
                        f"{self._task.output}: the workers of share {share.index + 1} of "
                        f"{share.count} are lost again and again; see their logs, memory first"
                    ) from None
                self._submit(share)
                continue
            if isinstance(result, Failure):
                self._failure = self._failure or result.to_error()
            elif result is not None:
                self._reports.append(result)

    def _show(self) -> None:
        """Count the chunks in the journals of all workers."""
        looking = time.monotonic()
        self._computing = self._computing or looking
        table, level = self._output.table, self._output.store.levels[0]
        if self._calibration is None:
            job = self._output.workspace.read_job()
            self._calibration = Calibration.from_json(job["calibration"]) if job else None
        self._output.load_records()
        missing = (level.box(k.row, k.column) for k in table.missing(0))
        missing_px = sum(box.height * box.width for box in missing) // self._output.maps
        done_px = self._total_px - missing_px
        if self._resumed_px < 0:
            self._resumed_px = done_px
        now = time.monotonic()
        self._last_look_s = now - looking
        seconds = now - self._computing
        self._progress(
            Progress("compute", done_px, self._total_px, seconds, self._plan, self._resumed_px)
        )

    def _finish_if_needed(self) -> bool:
        """Whether the output is whole; no share may have seen the last chunk of another."""
        if not self._output.workspace.exists():
            return output_state(self._task.output) != self._task.before
        return not self._stop.is_set() and finalize(self._task.output)

    def _report(self, total_s: float) -> Report:
        reports, info = self._reports, self._output.info
        plans = [r.plan for r in reports if r.plan is not None]
        if plans:
            calibration, plan = reports[0].calibration, plans[0]
        else:  # the one worker that did it all was lost after its work
            calibration, plan = self._calibration or Calibration("", {}), self._plan
        compute_s = time.monotonic() - (self._computing or time.monotonic())
        self._progress(Progress("finish", self._total_px, self._total_px, compute_s, self._plan))
        found, answer = merged(reports), self._task.options.answer
        record = read_record(self._task.output) or {}
        found["guard"] = record.get("guard") or found["guard"]
        return Report(
            str(self._task.path),
            str(self._task.output),
            plan.model,
            plan,
            (self._total_px - max(0, self._resumed_px)) / 1e6,
            calibration,
            {"calibrate": total_s - compute_s, "compute": compute_s, "total": total_s},
            max((r.measured_peak_bytes for r in reports), default=0),
            max(0, self._resumed_px) // info.width,
            choice=self._task.options.choice,
            not_kept=self._output.not_kept,
            holds=answer.in_words if answer else "",
            **found,
        )
