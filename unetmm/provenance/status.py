"""How far an output is, and who works on it; nothing is changed or locked by asking."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from unetmm.errors import ResumeError
from unetmm.io.output.destination import output_exists
from unetmm.io.output.local_workspace import Workspace
from unetmm.io.output.records import JOB, JOURNAL
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import Place
from unetmm.provenance.record import read_record, summary
from unetmm.provenance.verify import reopened

if TYPE_CHECKING:
    from unetmm.io.output.remote_workspace import RemoteWorkspace

QUIET_S = 600.0
"""Time in seconds without a chunk after which a process elsewhere counts as gone."""


@dataclass(frozen=True)
class Writer:
    """A process that writes, or wrote, a part of an output."""

    name: str
    """Name of its journal: the number of its share, from 0."""
    host: str
    """Name of its machine."""
    process: int
    """Number of the process there."""
    quiet_s: float
    """Time in seconds since it wrote last."""
    at_work: bool
    """Whether it is alive: known on this machine, elsewhere guessed from when it wrote last."""


@dataclass(frozen=True)
class Status:
    """State of an output."""

    output: str
    """Path of the output."""
    state: Literal["finished", "under way", "stopped"]
    """State in a word; stopped: begun, and nobody is at work as far as can be told."""
    done_chunks: int
    """Number of chunks of full resolution that are written."""
    chunks: int
    """Number of chunks of full resolution; 0 where an output does not say."""
    writers: tuple[Writer, ...]
    """Processes that took part, of an output on a disk that is not finished."""
    made: dict[str, Any]
    """Facts of how it is made: input, model, strength, ..., as `info` shows them."""


def status(path: Place) -> Status:
    """How far an output is.

    Raises
    ------
    ResumeError
        If there is neither an output nor one under way.
    """
    workspace = workspace_of(path)
    job = workspace.read_job()
    if job is not None and not (output_exists(path) and _is_newer(path, workspace)):
        with reopened(path, job) as output:
            output.load_records()
            chunks = output.table.count()
            done = chunks - output.table.missing_count()
        writers = tuple(_writers(workspace)) if isinstance(workspace, Workspace) else ()
        at_work = any(writer.at_work for writer in writers)
        state: Literal["under way", "stopped"] = "under way" if at_work else "stopped"
        return Status(str(path), state, done, chunks, writers, summary(job, finished=False))
    if not output_exists(path):
        raise ResumeError(f"{path}: there is no such output, and none under way")
    record = read_record(path)
    return Status(str(path), "finished", 0, 0, (), summary(record, True) if record else {})


def _is_newer(path: Place, workspace: Workspace | RemoteWorkspace) -> bool:
    """Whether an output is newer than what is left of a run of that name."""
    if not isinstance(path, Path) or not isinstance(workspace, Workspace):
        return True  # behind an URL, its name comes last
    try:
        return path.stat().st_mtime_ns > (workspace.folder / JOB).stat().st_mtime_ns
    except OSError:
        return True


def _writers(workspace: Workspace) -> Iterator[Writer]:
    """Who wrote, by the last line of each journal that says so."""
    for journal in sorted(workspace.folder.glob(f"{JOURNAL}*")):
        try:
            quiet_s = max(0.0, time.time() - journal.stat().st_mtime)
            lines = journal.read_text(encoding="ascii", errors="replace").split("\n")
            host, process = [s for s in lines if s.startswith("by ")][-1].split(" ")[1:3]
            number = int(process)
        except (OSError, IndexError, ValueError):
            continue
        here = host == socket.gethostname()
        at_work = _is_alive(number) if here else quiet_s < QUIET_S
        yield Writer(journal.name.removeprefix(JOURNAL), host, number, quiet_s, at_work)


def _is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # of another user
        return True
    return True
