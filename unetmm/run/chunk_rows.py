"""What writers of a task have in common: finished rows fill rows of chunks, which are written.

Rows and columns are counted in the input's pixels. Where the net enlarges, the buffers and what the
sink is told are larger by its scale.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, planes_of_maps
from unetmm.run.excess import ExcessCells
from unetmm.run.job import Job
from unetmm.run.slab import Rows
from unetmm.run.task import Task


class ChunkRows(ABC):
    """Has whole rows of chunks written: one is filled while `background` writes the one before."""

    def __init__(self, job: Job, task: Task, background: ThreadPoolExecutor, samples: int) -> None:
        """samples : values of a pixel of the output that come of the input's plane."""
        self.job, self.task = job, task
        self.sink = job.sink
        self.background = background
        self.writing: Future[None] | None = None
        self.scale, self.width = job.output_scale, task.strip.write_px
        self.chunk_rows = min(job.chunk[0], job.written.height)
        self.top = job.written.y0
        """Row of the image that is the first of the output."""
        shape = (self.chunk_rows * self.scale, self.width * self.scale, samples)
        dtype = job.storing.type_of(job.source.info.dtype)
        self.buffer, self.spare = np.zeros(shape, dtype), np.zeros(shape, dtype)
        self.under_way_rows = job.plan.lag_rows + job.plan.band_rows + job.plan.delay_rows
        """Rows at most between those that came in and those that were written."""
        self.kept_rows = task.segment.read_start
        self.seen_row = task.segment.read_start
        self.next_row = task.segment.write_start
        self.first_column = task.strip.write_start - task.strip.read_start
        self.excess: list[ExcessCells] = []
        """Of each group, what of it is no measurement and stays as it is."""

    @abstractmethod
    def keep(self, rows: Rows) -> None:
        """Remember rows and their mask until their restored values come out."""

    @abstractmethod
    def fill(self, bands: list[NDArray[np.float32]], a: int, b: int, to: int, row: int) -> None:
        """Rows a..b of the bands become stored values in the buffer from row `to` on."""

    @property
    def complete(self) -> bool:
        return self.next_row >= self.task.segment.write_stop

    def write(self, bands: list[NDArray[np.float32]]) -> int:
        """Take the next finished rows of every group; returns the pixels that count as done."""
        first = self.seen_row
        self.seen_row += len(bands[0])
        start = max(first, self.task.segment.write_start)
        stop = min(self.seen_row, self.task.segment.write_stop)
        y = start
        while y < stop:
            base = y - (y - self.top) % self.chunk_rows
            end = min(stop, base + self.chunk_rows)
            self.fill(bands, y - first, end - first, y - base, y)
            self.next_row = y = end
            if y == base + self.chunk_rows or self.complete:
                self._flush(base, y)
        return max(0, stop - start) * self.width

    def _flush(self, base: int, stop: int) -> None:
        strip, left = self.task.strip, self.job.written.x0
        start = max(base, self.task.segment.write_start)
        columns = strip.write_start - left, strip.write_stop - left
        box = Box(start - self.top, columns[0], stop - self.top, columns[1]).enlarged(self.scale)
        self.note(box)
        self.settle()
        self.writing = self.background.submit(
            self._write, box, self.buffer[(start - base) * self.scale : (stop - base) * self.scale]
        )
        self.buffer, self.spare = self.spare, self.buffer

    def note(self, box: Box) -> None:  # noqa: B027
        """Say what was found in a row of chunks that is written next; of most, nothing."""

    def _write(self, box: Box, pixels: NDArray[Any]) -> None:
        with self.job.clock("write"):
            self.put(box, pixels)

    def put(self, box: Box, pixels: NDArray[Any]) -> None:
        """Hand a row of chunks to the sink, each map or band as a plane of its own."""
        if self.job.answer is None and not self.job.bands_apart:
            self.sink.write(self.task.plane, box, pixels)
            return
        for i, plane in enumerate(planes_of_maps(self.task.plane, pixels.shape[-1])):
            self.sink.write(plane, box, pixels[..., i : i + 1])

    def settle(self) -> None:
        """Wait for what is being written.

        Raises
        ------
        ImageError
            If it could not be written.
        """
        if self.writing is not None:
            self.writing.result()

    def end(self) -> None:
        """Wait for the last row of chunks, and give the run what was found."""
        self.settle()
