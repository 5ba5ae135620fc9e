"""The sink of every file format: chunks in any order, journal, pyramid, and the final rename.

run --box--> Output --chunk--> store          one class a format
               |----- line ---> journal       resumable at any instant
               |----- halve --> next level    as soon as four chunks are there (`io.output.halves`)
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.intensities.findings import Findings
from unetmm.io.image import Box, ImageInfo, Plane, Planes, Source, planes_of_maps
from unetmm.io.output.chunks import ChunkKey, ChunkTable, checksum
from unetmm.io.output.halves import Halves
from unetmm.io.output.halving import Halving
from unetmm.io.output.store import ChunkStore, Pixels
from unetmm.io.output.workspace import workspace_of
from unetmm.io.places import Place

if TYPE_CHECKING:
    from unetmm.io.output.local_workspace import Journal
    from unetmm.io.output.remote_workspace import RemoteJournal


log = logging.getLogger(__name__)


class Output:
    """An output that grows beside its final name."""

    def __init__(
        self,
        path: Place,
        info: ImageInfo,
        store: ChunkStore,
        masks: Source | None = None,
        not_kept: tuple[str, ...] = (),
        told: tuple[str, ...] = (),
        maps: int = 1,
    ) -> None:
        """masks: image with the mask that leaves pixels out of the pyramid.

        not_kept: names of what the input says and the output does not.
        told: those of them that the store says itself, with more words.
        maps: channels that come of each of the input's, and are written together.
        """
        self.path, self.info, self.store = path, info, store
        self.not_kept, self.told, self.maps = not_kept, told, maps
        self.chunk = store.levels[0].chunk
        self.workspace = workspace_of(path)
        self.table = ChunkTable(info, store.levels)
        self.halving = Halving(info, store.levels, masks)
        self._halves = Halves(info, store.levels, self.halving, maps)
        self._journal: Journal | RemoteJournal | None = None
        self._begun: dict[str, Any] | None = None
        """Job of the workspace that was joined, to tell it from one that came after it."""
        self._notes: dict[ChunkKey, str] = {}
        """Notes of chunks that are about to be written."""
        self.findings: Findings | None = None
        """Findings in all of the image, once this process has finished it; None: unknown."""
        self._closed = False
        self._lock = threading.Lock()

    @property
    def resident_bytes(self) -> int:
        chunks = sum(self.table.count(level) for level in range(len(self.store.levels)))
        journal_bytes = chunks * self.workspace.journal_bytes_per_chunk
        waiting_bytes = self._halves.limit_bytes
        noted_bytes = self.table.count()  # while it is finished
        held_bytes = self.table.nbytes + journal_bytes + waiting_bytes + noted_bytes
        return held_bytes + self.store.resident_bytes

    def write_bytes(self, box_height: int, box_width: int) -> int:
        """One chunk made contiguous and stored, and one of the next level made of four.

        Meanwhile there are the chunk before it, which is stored by then, itself, its halves, and
        a chunk that is read back for one of them.
        """
        pixel_bytes = self.info.samples * self.info.dtype.itemsize
        chunk_bytes = self.chunk[0] * self.chunk[1] * pixel_bytes
        halving = 0
        if len(self.store.levels) > 1:
            halving = 4 * chunk_bytes
            halving += self.halving.scratch_bytes
        return chunk_bytes + self.store.chunk_bytes + halving

    @property
    def inputs(self) -> Planes:
        """The planes of the input, each of which becomes one plane, or several maps."""
        t, c, z = (self.info.length(axis) for axis in "TCZ")
        return Planes(t, c // self.maps, z)

    def rows_missing(self, plane: Plane, columns: slice) -> NDArray[np.bool_]:
        """Per row of chunks: whether one of these columns is not written of what becomes of a plane
        of the input.
        """
        own = planes_of_maps(plane, self.maps)
        missing = self.table.rows_missing(own[0], columns)
        for each in own[1:]:
            missing |= self.table.rows_missing(each, columns)
        return missing

    @property
    def taking_part(self) -> bool:
        """Whether this process has joined and not left."""
        return self._journal is not None and not self._closed

    def create(self, record: Mapping[str, Any]) -> None:
        """Begin anew, whatever was there; nothing appears under the final name.

        Raises
        ------
        LockedError
            If another process is writing what is there.
        """
        self.workspace.set_up()
        self.workspace.clear()
        if lost := [name for name in self.not_kept if name not in self.told]:
            log.warning("%s: not kept: %s", self.path, ", ".join(lost))
        self.store.create(self.workspace.folder, record)

    def holds_chunks(self) -> bool:
        """Whether the store is there; a run killed at its very end leaves a folder without."""
        if not self.workspace.is_own():
            return False
        try:
            self.store.open(self.workspace.folder)
        except ImageError:
            return False
        self.store.close()
        return True

    def join(self, writer: str) -> None:
        """Take part in an output that was created, here or by another process.

        Raises
        ------
        LockedError
            If a writer of that name is at work.
        """
        journal = self.workspace.open_journal(writer)
        try:
            self.store.open(self.workspace.folder)
            self.load_records()
        except BaseException:
            journal.close()
            raise
        self._begun = self.workspace.read_job()
        self._journal = journal  # last, for a thread that sees it writes at once

    def begin(self) -> None:
        """Create the output and join it; until then only memory was planned.

        The first `write` does so too; beginning twice is harmless.
        """
        with self._lock:
            if self._closed:
                raise ImageError(f"{self.path}: is closed and takes no more; open it again")
            if self._journal is None:
                with self.workspace.locked("job", make=True):
                    self.create({})
                    self.join("0")

    def load_records(self) -> None:
        """Take in what all writers have recorded so far."""
        for key, crc in self.workspace.records():
            if self.table.knows(key):
                self.table.mark(key, crc)

    def distrust(self, rows: range) -> int:
        """Compare recorded chunks with their checksums, forget those that differ, count them.

        rows: of chunks of the finest level, counted over all planes of the input; what is made of
        them counts as theirs.
        """
        planes, grid_rows = self.inputs, self.store.levels[0].grid[0]

        def is_own(key: ChunkKey) -> bool:
            t, c, z = key.plane
            number = planes.number((t, c // self.maps, z))
            return number * grid_rows + (key.row << key.level) in rows

        own = (key for key in self.table.written() if is_own(key))
        wrong = [key for key in own if not self._holds(key)]
        for key in wrong:
            self.table.forget(key)
        return len(wrong)

    def _holds(self, key: ChunkKey) -> bool:
        box = self.store.levels[key.level].box(key.row, key.column)
        return is_intact(
            lambda: self.store.read(key.level, key.plane, box), self.table.recorded(key)
        )

    def write(self, plane: Plane, box: Box, pixels: Pixels) -> None:
        check_box(box, pixels, self.chunk, self.info)
        if self._journal is None or self._closed:
            self.begin()
        height, width = self.chunk
        for y in range(box.y0, box.y1, height):
            for x in range(box.x0, box.x1, width):
                rows = slice(y - box.y0, min(y + height, box.y1) - box.y0)
                columns = slice(x - box.x0, min(x + width, box.x1) - box.x0)
                self._put(ChunkKey(0, plane, y // height, x // width), pixels[rows, columns])

    def note(self, plane: Plane, box: Box, notes: Sequence[str]) -> None:
        """Say what was found in each chunk of a row of them that is written next; or nothing."""
        row, first = box.y0 // self.chunk[0], box.x0 // self.chunk[1]
        keys = (ChunkKey(0, plane, row, first + i) for i in range(len(notes)))
        with self._lock:
            self._notes.update(zip(keys, notes, strict=True))

    def _put(self, key: ChunkKey, pixels: Pixels) -> None:
        """Store a chunk, record it, and make every chunk above that it completes."""
        assert self._journal is not None
        while True:
            crc = checksum(pixels)
            self.store.write(key, pixels)
            self._journal.record(key, crc, self._taken_note(key))
            self._halves.keep(key, pixels)  # before anybody can see that the chunk is there
            self.table.mark(key, crc)
            key = key.parent
            if not self.table.claim(key):
                return
            pixels = self._shrunk(key)

    def _taken_note(self, key: ChunkKey) -> str:
        with self._lock:
            return self._notes.pop(key, "")

    def _shrunk(self, key: ChunkKey) -> Pixels:
        """The pixels of a chunk of a higher level, from those below it."""
        below = self.store.levels[key.level - 1]
        box = self.store.levels[key.level].box(key.row, key.column)
        pixels = np.empty((box.height, box.width, self.info.samples), self.info.dtype)
        for child in key.children(below):
            half = self._halves.take(child)
            if half is None:
                read = self.store.read(child.level, key.plane, below.box(child.row, child.column))
                half = self.halving.half(child, read)
            y = child.row % 2 * below.chunk[0] // 2
            x = child.column % 2 * below.chunk[1] // 2
            pixels[y : y + half.shape[0], x : x + half.shape[1]] = half
        return pixels

    def complete(self) -> bool:
        """Whether every writer's chunks are there; then finish the output under its final name.

        The last of several processes does it; for one that comes later it is done already.
        """
        if self._journal is not None:
            self._journal.save()
        if self.table.missing_count():
            self.load_records()
        finished = False
        if not self.table.missing_count():
            with self.workspace.locked("finish"):
                # Otherwise another has finished it, and a third may have begun to replace it.
                if self.workspace.exists() and self.workspace.read_job() == self._begun:
                    self._finish()
            finished = True
        self._release()
        self.workspace.sweep()
        return finished or not self.workspace.exists()

    def _finish(self) -> None:
        for level in range(1, len(self.store.levels)):
            for key in self.table.missing(level):
                self._put(key, self._shrunk(key))
        self.findings = self._noted()
        found = {"guard": self.findings.as_dict()} if self.findings else {}
        made = self.store.finish(self.table.checksums, found)
        self.store.close()
        with self.workspace.locked("job"):  # nobody joins or begins anew meanwhile
            self.workspace.publish(made)
            self.workspace.remove()

    def _noted(self) -> Findings | None:
        """What all writers noted of the chunks, each once; None if they noted nothing."""
        found, planes = Findings(), self.info.planes
        seen = np.zeros((len(planes), *self.store.levels[0].grid), bool)
        for key, note in self.workspace.notes():
            if key.level or not self.table.knows(key):
                continue
            place = planes.number(key.plane), key.row, key.column
            with suppress(ValueError):  # of a line that was not written by us
                if not seen[place]:
                    found.add(Findings.of_note(note, key.plane))
                    seen[place] = True
        return found if seen.any() else None

    def close(self) -> None:
        """Finish the output.

        Raises
        ------
        ImageError
            If chunks were never written; what there is is kept for another run.
        """
        if self._closed:
            return
        if self._journal is None:
            self.begin()
        missing = self.table.missing_count()
        if not self.complete():
            self._release()
            raise ImageError(
                f"{self.path}: {missing} of {self.table.count()} chunks were never written; run it "
                "again"
            )

    def leave(self) -> None:
        """Stop taking part; what is written stays for another run."""
        self._release()

    def abort(self) -> None:
        """Remove what was written; nothing appears under the final name.

        Like `close`, only once no `write` is running; after either, neither does anything.
        """
        was_open = not self._closed
        self._release()
        if was_open:
            self.workspace.abandon()

    def _release(self) -> None:
        self._closed = True
        self._halves.clear()
        if self._journal is not None:
            self._journal.close()
            self.store.close()


def is_intact(read: Callable[[], Pixels], crc: int) -> bool:
    """Whether a chunk can be read and has the checksum that it was written with."""
    try:
        return checksum(read()) == crc
    except ImageError:
        return False


def check_box(box: Box, pixels: Pixels, chunk: tuple[int, int], info: ImageInfo) -> None:
    """Our own invariant: boxes start at chunks and end there or at the edge of the image."""
    assert pixels.dtype == info.dtype, f"pixels are {pixels.dtype}, the image is {info.dtype}"
    assert pixels.shape == (box.height, box.width, info.samples), f"{pixels.shape} for {box}"
    assert box.y0 % chunk[0] == 0 and box.x0 % chunk[1] == 0, f"{box} starts within a chunk"
    assert box.y1 % chunk[0] == 0 or box.y1 == info.height, f"{box} ends within a chunk"
    assert box.x1 % chunk[1] == 0 or box.x1 == info.width, f"{box} ends within a chunk"
