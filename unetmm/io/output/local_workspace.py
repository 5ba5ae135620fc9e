"""The hidden folder in which an output grows: what it is made from, its journals, its chunks.

.NAME.part/
    job.json            what the output is made from; written last when the folder is set up
    journal-WRITER      one a process: a line for every chunk that is written, and its checksum
    store...            the chunks themselves, as the output's format keeps them
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unetmm.errors import ImageError, LockedError
from unetmm.io.failures import translated
from unetmm.io.locking import OPENING, is_at, lock_file
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import discard, is_own, part_path, publish, spent_path, sync
from unetmm.io.output.records import (
    JOB,
    JOURNAL,
    LOCK,
    REPLACED,
    JournalReader,
    format_record,
    is_ours,
    load_job,
)

log = logging.getLogger(__name__)


class Workspace(JournalReader):
    """A folder beside the output, so that the final rename stays within one file system."""

    journal_bytes_per_chunk = 0
    """Memory of a journal for each chunk: none, for it goes to the disk line by line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.folder = part_path(path)
        self._journal: Journal | None = None

    def set_up(self) -> None:
        """Make it, empty; harmless if it is there.

        Raises
        ------
        ImageError
            If its name is that of a link, a file, or another user's folder.
        """
        with translated(self.path, "create it"):
            with contextlib.suppress(FileExistsError):
                self.folder.mkdir(mode=0o755)
            if self.is_own():
                return
        raise ImageError(
            f"{self.path}: its hidden folder {self.folder} is a link, a file or another user's, so "
            "nothing is written there; remove it, or name another output"
        )

    def is_own(self) -> bool:
        """Whether it is there, and no link nor another user's."""
        return is_own(self.folder)

    def exists(self) -> bool:
        """Whether the output is still under way, rather than finished or not begun."""
        return self.folder.is_dir() and not self.folder.is_symlink()

    def read_job(self) -> dict[str, Any] | None:
        """What the output is made from; None if nothing was begun here."""
        return load_job(self.folder / JOB)

    def write_job(self, job: dict[str, Any]) -> None:
        """Whole or not at all."""
        aside = self.folder / f".{JOB}.{os.getpid()}"
        with translated(self.path, "create it"):
            aside.write_text(json.dumps(job), encoding="utf-8")
            sync(aside)
            os.replace(aside, self.folder / JOB)
            sync(self.folder)

    def open_journal(self, writer: str) -> Journal:
        """Go on with a writer's journal.

        Raises
        ------
        LockedError
            If another process is writing it.
        """
        with translated(self.path, "write its journal"):
            self._journal = Journal(self.path, self.folder / f"{JOURNAL}{writer}")
        return self._journal

    def _journals(self) -> Iterator[Iterator[str]]:
        """The lines of each journal.

        Those of journals that are gone are not: another process has finished the output meanwhile.
        """
        with translated(self.path, "read its journal"):
            try:
                names = sorted(os.listdir(self.folder))
            except FileNotFoundError:
                return
            for name in names:
                if not name.startswith(JOURNAL):
                    continue
                try:
                    lines = (self.folder / name).open(encoding="ascii", errors="replace")
                except FileNotFoundError:
                    continue
                with lines:
                    yield lines

    @contextmanager
    def locked(self, name: str, *, make: bool = False) -> Iterator[None]:
        """Only one process at a time is in here; the lock of a dead process is free.

        make : whether to make the workspace if it is not there. Otherwise another process has
            finished the output, and there is nothing to protect.
        """
        handle = self._take_lock(self.folder / f"{LOCK}{name}", make)
        try:
            yield
        finally:
            if handle is not None:
                os.close(handle)

    def _take_lock(self, file: Path, make: bool) -> int | None:
        while True:
            if make:
                self.set_up()
            try:
                handle = os.open(file, OPENING, 0o666)
            except FileNotFoundError:
                if make:
                    continue  # it was removed just now
                return None
            # While this one waited, the one before may have finished and removed the lock.
            if lock_file(handle, wait=True) and is_at(handle, file):
                return handle
            os.close(handle)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No writer is at work in here; new ones are kept away by the lock "job", not by this.

        Raises
        ------
        LockedError
            If one is.
        """
        handles = []
        try:
            with translated(self.path, "see who is writing it"):
                names = sorted(n for n in os.listdir(self.folder) if n.startswith(JOURNAL))
                for name in names:
                    handles.append(_lock_journal(self.path, self.folder / name))
            yield
        finally:
            for handle in handles:
                os.close(handle)

    def clear(self) -> None:
        """Empty it but for its locks, which other processes may be waiting at.

        Raises
        ------
        LockedError
            If another process is writing it.
        """
        with self.alone(), translated(self.path, "begin anew"):
            self._discard_ours()

    def _discard_ours(self) -> None:
        """Remove what runs leave in it; files of others stay."""
        for path in self.folder.iterdir():
            if is_ours(path.name) and not path.name.startswith(LOCK):
                discard(path)

    def publish(self, made: Path) -> None:
        """Give the finished output its final name; an old one disappears only now."""
        publish(made, self.path, self.folder / REPLACED)

    def remove(self) -> None:
        """Remove it, whoever waits at its locks; `sweep` removes the rest of it.

        Files that are open cannot be removed everywhere, and keep a folder: so the journal is
        closed, and the folder gets another name at once.
        """
        if self._journal is not None:
            self._journal.close()
        if not self.is_own():
            return
        spent = spent_path(self.path)
        with contextlib.suppress(OSError):
            self._discard_ours()
            self.sweep()
            os.rename(self.folder, spent)

    def sweep(self) -> None:
        """Remove what a workspace has left that nobody needs any more."""
        spent = spent_path(self.path)
        if not is_own(spent):
            return
        with contextlib.suppress(OSError):
            for path in spent.iterdir():
                if is_ours(path.name):
                    discard(path)
            spent.rmdir()

    def abandon(self) -> None:
        """Remove what was written, unless another process is at work here."""
        if self._journal is not None:
            self._journal.close()
        if not self.is_own():
            return
        with contextlib.suppress(LockedError), self.locked("job"):
            with self.alone():
                pass
            self.remove()
        self.sweep()


class Journal:
    """A text file that only grows; the kernel keeps what was written even if we are killed.

    A power cut may lose or tear the end of it, or chunks that it lists: a run that goes on
    compares every chunk with its checksum before it believes the journal.
    """

    def __init__(self, output: Path, path: Path) -> None:
        self._output = output
        self._lock = threading.Lock()
        self._handle = _lock_journal(output, path)
        # Starting with a line end closes a line that a killed process left half-written.
        os.write(self._handle, f"\nby {socket.gethostname()} {os.getpid()}\n".encode())

    def record(self, key: ChunkKey, crc: int, note: str = "") -> None:
        line = format_record(key, crc, note).encode() + b"\n"
        with self._lock, translated(self._output, "write its journal"):
            os.write(self._handle, line)

    def save(self) -> None:
        """Nothing: others see every line at once."""

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _lock_journal(output: Path, path: Path) -> int:
    """Open a journal and lock it; raises LockedError if another process has it."""
    while True:
        handle = os.open(path, OPENING | os.O_APPEND, 0o666)
        if not lock_file(handle, wait=False):
            os.close(handle)
            raise LockedError(
                f"{output}: another process is writing it ({_owner(path)}); wait for it, or stop it"
            )
        if is_at(handle, path):
            return handle
        os.close(handle)  # it was removed between the two


def _owner(path: Path) -> str:
    """Host and process that opened a journal last, in words."""
    try:
        host, process = owner_of(path)
    except (OSError, ValueError):
        return "unknown"
    return f"process {process} on {host}"


def owner_of(journal: Path) -> tuple[str, int]:
    """Host, and number of the process, that opened a journal last.

    Raises
    ------
    OSError
        If it cannot be read.
    ValueError
        If it does not say so.
    """
    lines = journal.read_text(encoding="ascii", errors="replace").split("\n")
    stated = [line.split(" ") for line in lines if line.startswith("by ")]
    if not stated or len(stated[-1]) < 3:
        raise ValueError(f"{journal}: does not say who wrote it")
    return stated[-1][1], int(stated[-1][2])
