"""How far an output is, and who works on it; nothing is changed or locked by asking."""

from __future__ import annotations

import contextlib
import math
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from unetmm.errors import ResumeError
from unetmm.io.formats import RECORDLESS_SUFFIXES
from unetmm.io.output.destination import output_exists
from unetmm.io.output.local_workspace import Workspace, owner_of
from unetmm.io.output.records import JOB, JOURNAL
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import Place
from unetmm.plan.share import Share
from unetmm.process import is_alive
from unetmm.provenance.record import read_record, summary
from unetmm.provenance.verify import reopened

if TYPE_CHECKING:
    from unetmm.io.output.output import Output
    from unetmm.io.output.remote_workspace import RemoteWorkspace

QUIET_S = 600.0
"""Time in seconds without a chunk after which a process elsewhere counts as gone."""


@dataclass(frozen=True)
class Writer:
    """A process that writes, or wrote, a part of an output."""

    name: str
    """Name of its journal: share and number of shares, from 0, as "0-of-3"."""
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
    missing_shares: tuple[str, ...] = ()
    """Shares, as "2/3", that are not done, where the run is done by shares."""


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
        return _of_run(path, workspace, job)
    if output_exists(path):
        record = read_record(path)
        if record is None and path.suffix.lower() not in RECORDLESS_SUFFIXES:
            raise ResumeError(f"{path}: is no output of unetmm, which says how it was made")
        made = {} if record is None else summary(record, finished=True)
        return Status(str(path), "finished", 0, 0, (), made)
    if workspace.exists():  # a run that is just looking at its image
        return Status(str(path), "under way", 0, 0, (), {})
    raise ResumeError(f"{path}: there is no such output, and none under way")


def _of_run(path: Place, workspace: Workspace | RemoteWorkspace, job: Mapping[str, Any]) -> Status:
    """State of an output that is under way."""
    with reopened(path, job) as output:
        output.load_records()
        chunks = output.table.count()
        done = chunks - output.table.missing_count()
        writers = tuple(_writers(workspace)) if isinstance(workspace, Workspace) else ()
        missing = tuple(_missing_shares(output, writers))
    just_begun = not writers and _age_s(workspace) < QUIET_S
    at_work = just_begun or any(writer.at_work for writer in writers)
    state: Literal["under way", "stopped"] = "under way" if at_work else "stopped"
    made = summary(job, finished=False)
    return Status(str(path), state, done, chunks, writers, made, missing)


def _age_s(workspace: Workspace | RemoteWorkspace) -> float:
    """Time in seconds since a run began; endless where that is not known."""
    if not isinstance(workspace, Workspace):
        return math.inf
    with contextlib.suppress(OSError):
        return time.time() - (workspace.folder / JOB).stat().st_mtime
    return math.inf


def _missing_shares(output: Output, writers: Sequence[Writer]) -> Iterator[str]:
    """Shares, as "2/3", whose chunks are not all there, where the run is done by shares."""
    shares = (Share.of_writer(writer.name) for writer in writers)
    counts = {share.count for share in shares if share is not None}
    if len(counts) != 1 or (count := counts.pop()) < 2:
        return
    whole = (output.rows_missing(plane, slice(None)) for plane in output.inputs)
    missing = np.concatenate(list(whole))
    for share in (Share(index, count) for index in range(count)):
        if any(missing[row] for row in share.of(len(missing))):
            yield str(share)


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
            host, process = owner_of(journal)
        except (OSError, ValueError):
            continue
        here = host == socket.gethostname()
        at_work = is_alive(process) if here else quiet_s < QUIET_S
        yield Writer(journal.name.removeprefix(JOURNAL), host, process, quiet_s, at_work)
