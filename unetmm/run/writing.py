"""Turns a task's restored rows into stored values and writes them by whole rows of chunks."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.stored import to_stored
from unetmm.io.image import Box
from unetmm.models.groups import slice_of
from unetmm.run.job import Job
from unetmm.run.task import Task


class ChunkRowWriter:
    """Turns finished rows back into stored values and has whole rows of chunks written.

    One row of chunks is filled while `background` writes the one before it.
    """

    def __init__(self, job: Job, task: Task, background: ThreadPoolExecutor) -> None:
        self.job, self.task, info = job, task, job.source.info
        self.sink = job.sink
        self.background = background
        self.writing: Future[None] | None = None
        width, samples = task.strip.write_px, info.samples
        self.chunk_rows = min(job.sink.chunk[0], info.height)
        shape = (self.chunk_rows, width, samples)
        self.buffer, self.spare = np.zeros(shape, info.dtype), np.zeros(shape, info.dtype)
        kept_rows = job.plan.lag_rows + job.plan.band_rows + job.plan.delay_rows
        self.kept = np.zeros((kept_rows, width, samples), info.dtype)
        self.kept_mask = np.ones((kept_rows, width), bool) if info.has_mask else None
        self.scratch = np.zeros(
            (job.plan.band_rows, width, job.net.config.out_channels), np.float32
        )
        self.kept_rows = task.segment.read_start
        self.seen_row = task.segment.read_start
        self.next_row = task.segment.write_start
        groups = range(len(job.groups))
        self.statistics = [job.calibration.entry(task.plane[1], g) for g in groups]
        self.nodata = [job.nodata(task.plane[1], g) for g in groups]
        self.first_column = task.strip.write_start - task.strip.read_start

    @property
    def complete(self) -> bool:
        return self.next_row >= self.task.segment.write_stop

    def keep(self, stored: NDArray[Any], given: NDArray[np.bool_] | None) -> None:
        """Remember rows and their mask until their restored values come out."""
        index = np.arange(self.kept_rows, self.kept_rows + len(stored)) % len(self.kept)
        columns = slice(self.first_column, self.first_column + self.buffer.shape[1])
        self.kept[index] = stored[:, columns]
        if self.kept_mask is not None:
            self.kept_mask[index] = True if given is None else given[:, columns]
        self.kept_rows += len(stored)

    def write(self, bands: list[NDArray[np.float32]]) -> int:
        """Take the next finished rows of every group; returns the pixels that count as done."""
        first = self.seen_row
        self.seen_row += len(bands[0])
        start = max(first, self.task.segment.write_start)
        stop = min(self.seen_row, self.task.segment.write_stop)
        y = start
        while y < stop:
            base = y // self.chunk_rows * self.chunk_rows
            end = min(stop, base + self.chunk_rows)
            self._fill(bands, y - first, end - first, y - base, y)
            self.next_row = y = end
            if y == base + self.chunk_rows or self.complete:
                self._flush(base, y)
        pixels: int = max(0, stop - start) * self.buffer.shape[1]
        return pixels

    def _fill(self, bands: list[NDArray[np.float32]], a: int, b: int, to: int, row: int) -> None:
        """Rows a..b of the bands become stored values in the buffer from row `to` on."""
        target = self.buffer[to : to + b - a]
        index = np.arange(row, row + b - a) % len(self.kept)
        original = self.kept[index]
        given = None if self.kept_mask is None else self.kept_mask[index]
        target[...] = original  # alpha
        found = zip(self.job.groups, self.statistics, self.nodata, bands, strict=True)
        for group, statistics, nodata, band in found:
            samples = slice_of(group)
            to_stored(
                band[a:b], self.first_column, original[..., samples], statistics,
                self.job.strength, nodata, given, self.scratch[: b - a], target[..., samples],
            )  # fmt: skip

    def _flush(self, base: int, stop: int) -> None:
        strip = self.task.strip
        start = max(base, self.task.segment.write_start)
        box = Box(start, strip.write_start, stop, strip.write_stop)
        self.settle()
        self.writing = self.background.submit(
            self._write, box, self.buffer[start - base : stop - base]
        )
        self.buffer, self.spare = self.spare, self.buffer

    def _write(self, box: Box, pixels: NDArray[Any]) -> None:
        with self.job.clock("write"):
            self.sink.write(self.task.plane, box, pixels)

    def settle(self) -> None:
        """Wait for what is being written.

        Raises
        ------
        ImageError
            If it could not be written.
        """
        if self.writing is not None:
            self.writing.result()
