"""A worker's side of a distributed run: what it is told, and how it does a share of it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, replace
from typing import Any

from unetmm.errors import LockedError, UnetmmError
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import ZARR_MARKS, Place, RemotePath
from unetmm.options import Options
from unetmm.plan.share import Share
from unetmm.run.job import Cancelled
from unetmm.run.of_file import restore_file
from unetmm.run.report import Progress, Report

POLL_S = 0.2
"""Time in seconds between two tries to get a lock."""
LOCK_WAIT_S = 60.0
"""Longest time in seconds that a share waits for a process that is dying with its lock held."""
STOP_POLL_S = 0.5
"""Time in seconds between two looks of a worker whether it is to stop."""

_one_share = threading.Lock()
"""Lock of a worker's budget, which is one process's: of its threads one does a share at a time."""

OutputState = str | None
"""Inode and time of an output, or its version; None if it is not there."""


@dataclass(frozen=True)
class ShareTask:
    """What a worker is told: all it needs to do one share."""

    path: Place
    """Path of the image."""
    output: Place
    """Path of the restored image."""
    options: Options
    """Options of the run; budget and cores are those of the worker."""
    share: Share
    """Part of the run to do."""
    before: OutputState
    """State of the output before the run, to tell a finished run from one that is not begun."""
    run: str
    """Name of the run, with which the names of its events begin."""
    devices: tuple[str, ...] = ()
    """Devices of the workers, by the numbers that are their names; empty: that of the options."""


@dataclass(frozen=True)
class Failure:
    """An error that another try would not mend, in a form that travels."""

    kind: type[UnetmmError]
    """Class of the error."""
    message: str
    """Text of the error."""
    facts: dict[str, Any]
    """Attributes of the error, by name."""

    def to_error(self) -> UnetmmError:
        return self.kind(self.message, **self.facts)


ShareResult = Report | Failure | None
"""Result of a share; None: stopped, or the output was finished already."""


def output_state(path: Place) -> OutputState:
    """What tells an output from one that replaces it."""
    if isinstance(path, RemotePath):
        marks = (path / name for name in ZARR_MARKS)
        return next((mark.version() for mark in marks if mark.exists()), None)
    try:
        found = path.stat()
    except OSError:
        return None
    return f"{found.st_ino} {found.st_mtime_ns}"


def do_share(task: ShareTask) -> ShareResult:
    """A worker's side: do a share; an error that another try would not mend is returned."""
    task = on_own_device(task)
    with _one_share, _Watch(task) as watch:
        give_up = time.monotonic() + LOCK_WAIT_S
        while not watch.stop.is_set():
            if is_finished(task):
                return None
            try:
                return restore_file(
                    task.path, task.output, task.options, watch.note, watch.stop, task.share
                )
            except Cancelled:
                return None
            except LockedError:
                # Left to the scheduler, a retry would come at once, and the process still die.
                if time.monotonic() > give_up:
                    raise
                time.sleep(POLL_S)
            except UnetmmError as error:
                if is_finished(task):  # between our look and the run
                    return None
                return Failure(type(error), str(error), vars(error))
    return None


def on_own_device(task: ShareTask) -> ShareTask:
    """The task with the device that belongs to this worker."""
    if not task.devices:
        return task
    from distributed import get_worker

    device = task.devices[int(get_worker().name) % len(task.devices)]
    return replace(task, options=replace(task.options, device=device))


def is_finished(task: ShareTask) -> bool:
    """Whether the run has put the output under its name."""
    return not workspace_of(task.output).exists() and output_state(task.output) != task.before


class _Watch:
    """Tells the client that the output is begun, and the share that the client wants to stop."""

    def __init__(self, task: ShareTask) -> None:
        from distributed import Event, get_client

        client = get_client()
        self.stop = threading.Event()
        self._begun = Event(f"{task.run}-begun", client=client)
        self._stopping = Event(f"{task.run}-stop", client=client)
        self._over = threading.Event()
        self._told = False
        self._thread = threading.Thread(target=self._watch, name="unetmm-stop", daemon=True)

    def __enter__(self) -> _Watch:
        if self._stopping.is_set():
            self.stop.set()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(STOP_POLL_S):
            if self._stopping.is_set():
                self.stop.set()
                return

    def note(self, progress: Progress) -> None:
        """Take the progress of the share; the first pixels mean that the output exists."""
        if progress.phase == "compute" and not self._told:
            self._told = True
            self._begun.set()
