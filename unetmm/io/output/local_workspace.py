"""The hidden folder in which an output grows: what it is made from, its journals, its chunks.

.NAME.part/
    job.json            what the output is made from; written last when the folder is set up
    journal-WRITER      one a process: a line for every chunk that is written, and its checksum
    store...            the chunks themselves, as the output's format keeps them
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from unetmm.errors import LockedError
from unetmm.io.failures import translated
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import discard, part_path, publish, sync
from unetmm.io.output.records import (
    JOB,
    JOURNAL,
    LOCK,
    JournalReader,
    format_record,
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

    def set_up(self) -> None:
        """Make it, empty; harmless if it is there."""
        with translated(self.path, "create it"):
            if not self.folder.is_dir():
                discard(self.folder)
                self.folder.mkdir(exist_ok=True)

    def exists(self) -> bool:
        """Whether the output is still under way, rather than finished or not begun."""
        return self.folder.is_dir()

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
        ResumeError
            If another process is writing it.
        """
        with translated(self.path, "write its journal"):
            return Journal(self.path, self.folder / f"{JOURNAL}{writer}")

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
    def locked(self, name: str) -> Iterator[None]:
        """Only one process at a time is in here; the lock of a dead process is free."""
        try:
            handle = os.open(self.folder / f"{LOCK}{name}", os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:  # another process has finished the output and removed the folder
            yield
            return
        try:
            _lock(handle, wait=True)
            yield
        finally:
            os.close(handle)

    def clear(self) -> None:
        """Empty it but for its locks, which other processes may be waiting at."""
        with translated(self.path, "begin anew"):
            for path in self.folder.iterdir():
                if not path.name.startswith(LOCK):
                    discard(path)

    def publish(self, made: Path) -> None:
        """Give the finished output its final name; an old one disappears only now."""
        publish(made, self.path)

    def remove(self) -> None:
        discard(self.folder)

    def abandon(self) -> None:
        """Remove what was written."""
        self.remove()


class Journal:
    """A text file that only grows; the kernel keeps what was written even if we are killed.

    A power cut may lose or tear the end of it, or chunks that it lists: a run that goes on
    compares every chunk with its checksum before it believes the journal.
    """

    def __init__(self, output: Path, path: Path) -> None:
        self._output = output
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
        self._lock = threading.Lock()
        if not _lock(self._handle, wait=False):
            os.close(self._handle)
            raise LockedError(
                f"{output}: another process is writing it ({_owner(path)}); wait for it, or stop it"
            )
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


def _owner(path: Path) -> str:
    """Host and process that opened a journal last."""
    try:
        lines = path.read_text(encoding="ascii", errors="replace").split("\n")
        host, process = [line for line in lines if line.startswith("by ")][-1].split(" ")[1:3]
    except (OSError, IndexError, ValueError):
        return "unknown"
    return f"process {process} on {host}"


def _lock(handle: int, wait: bool) -> bool:
    """Lock an open file until it is closed; False if another process has it."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:  # a file system that knows no locks
        log.warning("files cannot be locked here (%s); start no run twice", error.strerror)
    return True
