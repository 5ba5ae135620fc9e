"""What a Workspace is behind an URL, where nothing can be renamed, locked or appended to.

scan.ome.zarr.part/
    job.json            what the output is made from
    journal-WRITER      written anew as a whole every few seconds, and when its writer leaves
    lock-...            leases of processes that must be alone for a moment
    lock-writer-WRITER  renewed as long as a writer lives, so that nobody begins anew meanwhile
    image.zarr/...      metadata of the group, put in place at the very end
scan.ome.zarr/
    0/c/0/0 ...         the chunks, where they stay; without the group's metadata no image

A kill loses the last seconds of a journal; those chunks are made again, to the same bytes. An
output that is replaced is removed when the new one begins. Two processes that do the same share
at once are not noticed, and only waste work, for their bytes are the same. Where one must be
alone, it has a lease (`unetmm.io.output.lease`), for there are no locks.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from unetmm.errors import ImageError, LockedError
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.lease import Lease, find_living
from unetmm.io.output.records import (
    JOB,
    JOURNAL,
    LOCK,
    JournalReader,
    format_record,
    load_job,
)
from unetmm.io.places import ZARR_MARKS, RemotePath, is_zarr

log = logging.getLogger(__name__)

SAVE_EVERY_S = 3.0
"""Shortest pause between two times that a journal is saved, in seconds."""
SAVE_SHARE = 0.05
"""Largest share of a run's time spent saving journals."""
ALIVE = f"{LOCK}writer-"
"""Beginning of the names of signs of life."""
LINE_BYTES = 224
"""Longest line of a journal, in bytes; it is held once, and once more while it is sent."""


class RemoteWorkspace(JournalReader):
    """Job and journals as objects beside the output."""

    def __init__(self, path: RemotePath) -> None:
        self.path = path
        self.folder = path.with_name(f"{path.name}.part")
        self._journal: RemoteJournal | None = None
        self._leases: list[Lease] = []

    @property
    def journal_bytes_per_chunk(self) -> int:
        """What a writer's journal keeps in memory of every chunk."""
        return 2 * LINE_BYTES

    def set_up(self) -> None:
        """Nothing: a prefix exists with its first object."""

    def is_own(self) -> bool:
        """Whether what is in it may be removed; who may is the server's matter."""
        return True

    def exists(self) -> bool:
        """Whether the output is still under way, rather than finished or not begun."""
        return any(not name.startswith(LOCK) for name in self.folder.names())

    def read_job(self) -> dict[str, Any] | None:
        """What the output is made from; None if nothing was begun here."""
        return load_job(self.folder / JOB)

    def write_job(self, job: dict[str, Any]) -> None:
        (self.folder / JOB).write_bytes(json.dumps(job).encode())

    def open_journal(self, writer: str) -> RemoteJournal:
        """Go on with a writer's journal."""
        self._journal = RemoteJournal(self.folder / f"{JOURNAL}{writer}")
        return self._journal

    def _journals(self) -> Iterator[list[str]]:
        for name in self.folder.names():
            if name.startswith(JOURNAL):
                try:
                    text = (self.folder / name).read_bytes()
                except FileNotFoundError:  # another process has finished the output meanwhile
                    continue
                yield text.decode("ascii", errors="replace").splitlines(keepends=True)

    @contextmanager
    def locked(self, name: str, *, make: bool = False) -> Iterator[None]:
        """Only one process at a time is in here; that of a dead process is free after a while."""
        lease = Lease(self.folder / f"{LOCK}{name}")
        lease.take()
        self._leases.append(lease)
        try:
            yield
        finally:
            lease.give_back()
            self._leases.remove(lease)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """No writer is at work in here; new ones are kept away by the lock "job", not by this.

        Raises
        ------
        LockedError
            If one is.
        """
        signs = [self.folder / name for name in self.folder.names() if name.startswith(ALIVE)]
        if owner := find_living(signs):
            raise LockedError(
                f"{self.path}: another process is writing it ({owner}); wait for it, or stop it"
            )
        for sign in signs:
            sign.remove()
        yield

    def clear(self) -> None:
        """Remove what another run left, and the output that is to be replaced.

        Raises
        ------
        LockedError
            If another process is writing it.
        """
        with self.alone():
            for name in self.folder.names():
                if not name.startswith(LOCK):
                    (self.folder / name).remove()
            self._remove_output()

    def publish(self, made: RemotePath) -> None:
        """Put the metadata of the finished group into place, the mark of a Zarr last."""
        names = made.names()
        for name in sorted(names, key=lambda name: name in ZARR_MARKS):
            (self.path / name).write_bytes((made / name).read_bytes())

    def remove(self) -> None:
        if self._journal is not None:
            self._journal.stop()  # or it would come back
        for lease in self._leases:
            lease.stop()
        self.folder.remove()

    def sweep(self) -> None:
        """Nothing: what is removed is gone."""

    def abandon(self) -> None:
        """Remove what was written, but not an output that was there before."""
        if self._journal is not None:
            self._journal.close()
        if not is_zarr(self.path):
            self._remove_output()
        self.remove()

    def _remove_output(self) -> None:
        for mark in ZARR_MARKS:  # first, so that nobody takes the rest for an image
            if (self.path / mark).exists():
                (self.path / mark).remove()
        self.path.remove()


class RemoteJournal:
    """Lines in memory, saved as one object again and again by a thread of its own."""

    def __init__(self, place: RemotePath) -> None:
        self._place = place
        self._alive = Lease(place.with_name(place.name.replace(JOURNAL, ALIVE, 1)))
        try:
            self._text = bytearray(place.read_bytes())
        except FileNotFoundError:
            self._text = bytearray()
        self._text += f"\nby {socket.gethostname()} {os.getpid()}\n".encode()
        self._lock = threading.Lock()
        self._saved = 0
        self._failure: ImageError | None = None
        self._over = threading.Event()
        self._alive.keep()
        self.save()
        self._thread = threading.Thread(
            target=self._keep_saving, name="unetmm-journal", daemon=True
        )
        self._thread.start()

    def record(self, key: ChunkKey, crc: int, note: str = "") -> None:
        """Note a chunk; raises what went wrong when the journal was saved last."""
        if self._failure is not None:
            raise self._failure
        line = format_record(key, crc, note).encode() + b"\n"
        with self._lock:
            self._text += line

    def save(self) -> None:
        """Let others see all of it.

        Raises
        ------
        ImageError
            If it cannot be written.
        """
        with self._lock:
            data = bytes(self._text)
            if self._saved == len(data):
                return
            self._place.write_bytes(data)
            self._saved = len(data)

    def stop(self) -> None:
        """Save it no more."""
        self._over.set()
        self._thread.join()
        self._alive.give_back()

    def close(self) -> None:
        """Save it for the last time; what cannot be saved is made again by the next run."""
        if self._over.is_set():
            return
        self.stop()
        try:
            self.save()
        except ImageError as error:
            log.warning("%s; the next run makes some chunks again", error)

    def _keep_saving(self) -> None:
        pause_s = SAVE_EVERY_S
        while not self._over.wait(pause_s):
            started = time.monotonic()
            try:
                self.save()
                self._failure = None
            except ImageError as error:
                self._failure = error
            pause_s = max(SAVE_EVERY_S, (time.monotonic() - started) / SAVE_SHARE)
