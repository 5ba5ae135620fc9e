"""A worker's side of a distributed run: what it is told, and how it does a share of it."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

from unetmm.errors import LockedError, UnetmmError, WidthError
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import ZARR_MARKS, Place, RemotePath
from unetmm.run.cluster.aside import restore_aside
from unetmm.run.cluster.told import Failure, OutputState, ShareResult, ShareTask
from unetmm.run.job import Cancelled
from unetmm.run.of_file import restore_file
from unetmm.run.report import Progress

POLL_S = 0.2
"""Time in seconds between two tries to get a lock."""
LOCK_WAIT_S = 60.0
"""Longest time in seconds that a share waits for a process that is dying with its lock held."""
STOP_POLL_S = 0.5
"""Time in seconds between two looks of a worker whether it is to stop."""

_one_share = threading.Lock()
"""Lock of a worker's budget, which is one process's: of its threads one does a share at a time."""


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
                return _restore(task, watch)
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


def _restore(task: ShareTask, watch: _Watch) -> ShareResult:
    """Do a share here, or in a process with vectors of the width that the run was begun with."""
    try:
        return restore_file(
            task.path, task.output, task.options, watch.note, watch.stop, task.share
        )
    except WidthError as error:
        watch.begun()
        return restore_aside(task, error.lanes, watch.stop)


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
        if progress.phase == "compute":
            self.begun()

    def begun(self) -> None:
        """Tell that the output exists."""
        if not self._told:
            self._told = True
            self._begun.set()
