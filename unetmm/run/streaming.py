"""Carries out one task: its rows are read, go through the net, and are written by chunk.

    source --slab--> bands --stream--> bands --chunk row--> sink

A task owns its streams and buffers. While it computes, one more thread reads and decodes the next
slab, and one encodes and writes the last row of chunks. The plan's threads share the columns of
its streams. Every buffer is a term of the plan.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.contract import Scaling
from unetmm.geometry import mirrored
from unetmm.intensities.range import normalise
from unetmm.models.groups import slice_of
from unetmm.run.answers import AnswerWriter
from unetmm.run.chunk_rows import ChunkRows
from unetmm.run.excess import ExcessCells
from unetmm.run.job import Cancelled, Job
from unetmm.run.outliers import reach_px, rows_with_stand_ins
from unetmm.run.reading import stored_rows
from unetmm.run.slab import Rows
from unetmm.run.task import Task
from unetmm.run.writing import ChunkRowWriter


def run_task(job: Job, task: Task) -> None:
    """Restore one strip of one segment and write it."""
    # Both end before we do, whatever happens, so nobody reads or writes afterwards.
    with ThreadPoolExecutor(1, "unetmm-read") as reader, ThreadPoolExecutor(1, "unetmm-write") as w:
        is_image = job.net.config.gives == "image"
        writer = ChunkRowWriter(job, task, w) if is_image else AnswerWriter(job, task, w)
        rows = stored_rows(job, task, reader, reach_px(job))
        _stream(job, task, rows_with_stand_ins(job, task, rows), writer)
        writer.end()


def _stream(job: Job, task: Task, rows: Iterator[Rows], writer: ChunkRows) -> None:
    """Push the task's rows through its streams until everything is handed to the writer."""
    streams = [GroupStream(job, task, i) for i in range(len(job.groups))]
    writer.excess = [stream.excess for stream in streams]
    for some in rows:
        writer.keep(some)
        for stream in streams:
            stream.take(some.seen, some.known)
        del some  # or its slab would live on while the two next ones do
        _write_finished(job, writer, streams)
        if writer.complete:
            return
    if task.segment.read_stop > job.source.info.height:
        for stream in streams:
            stream.take_beyond()
        _write_finished(job, writer, streams)
    while not writer.complete:
        if job.stop.is_set():
            raise Cancelled
        for stream in streams:
            stream.drain()
        _write_finished(job, writer, streams)


def _write_finished(job: Job, writer: ChunkRows, streams: list[GroupStream]) -> None:
    """Hand over what all streams have finished; they run in step, so the counts agree."""
    for bands in zip(*(stream.finished for stream in streams), strict=True):
        done = writer.write(list(bands))
        job.progress(done)
    for stream in streams:
        stream.finished.clear()


class GroupStream:
    """Carries one group of a strip's samples through the net: rows as stored in, its answer out."""

    def __init__(self, job: Job, task: Task, group: int) -> None:
        info, strip, segment = job.source.info, task.strip, task.segment
        self.group = slice_of(job.groups[group])
        self.statistics = job.calibration.entry(task.plane[1], group)
        width, channels = strip.read_px, job.net.config.in_channels
        self.excess = ExcessCells(job, task, group, self.statistics)
        self.scaling = self._scaling(job, task, group)
        self.stream = job.net.open_stream(
            self.statistics.attention, width, segment.read_px, job.plan.band_rows,
            job.plan.threads, self.scaling,
        )  # fmt: skip
        dtype = np.float32 if self.scaling is None else self.scaling.dtype
        self.rows = np.zeros((job.plan.band_rows, width, channels), dtype)
        self.next_row = segment.read_start
        self.finished: list[NDArray[np.float32]] = []
        inside = min(strip.read_stop, info.width) - strip.read_start
        self.columns_beyond = mirrored(inside, width - inside)
        self.rows_beyond = mirrored(info.height, max(0, segment.read_stop - info.height))
        self.has_zeros = job.net.config.padding == "zeros"
        self.last_from = min(self.rows_beyond, default=info.height)
        self.last = np.zeros((info.height - self.last_from, width, channels), dtype)
        """The image's last rows, as far as they stand in for those beyond them."""

    def _scaling(self, job: Job, task: Task, group: int) -> Scaling | None:
        """How the device brings rows to the net's scale; None: the host does.

        They travel as stored where that is a line and nothing else looks at them on that scale.
        """
        info, scale = job.source.info, self.statistics
        if not job.net.takes_stored or info.dtype.kind not in "iu" or info.dtype.itemsize > 2:
            return None
        has_gaps = info.may_have_gaps or job.nodata(task.plane[1], group).stated
        fills_up = job.net.config.padding == "zeros" and scale.low != 0
        if has_gaps or fills_up or scale.samples or self.excess.watches:
            return None
        return Scaling(info.dtype, scale.low, scale.factor)

    def take(self, seen: NDArray[Any], known: NDArray[np.bool_] | None) -> None:
        """Push rows (n, width, samples) in stored units; what is not known becomes the fill."""
        n, width, _ = seen.shape
        mask = None if known is None else known[..., self.group]
        rows = self.rows[:n]
        if self.scaling is not None:
            assert mask is None, "rows without gaps are all known"
            rows[:, :width] = seen[..., self.group]
        else:
            normalise(seen[..., self.group], mask, self.statistics, rows[:, :width])
            self.excess.watch(rows[:, :width], self.next_row)
        rows[:, width:] = 0 if self.has_zeros else rows[:, self.columns_beyond]
        first = max(0, self.last_from - self.next_row)
        if first < n:
            to = self.next_row + first - self.last_from
            self.last[to : to + n - first] = rows[first:]
        self.next_row += n
        self._finish(self.stream.push(rows))

    def take_beyond(self) -> None:
        """Push the rows between the image's last and the next multiple of the stride."""
        rows = self.rows[: len(self.rows_beyond)]
        stand_ins = self.last[[row - self.last_from for row in self.rows_beyond]]
        rows[...] = 0 if self.has_zeros else stand_ins
        self._finish(self.stream.push(rows))

    def drain(self) -> None:
        """One more step after the last row."""
        self._finish(self.stream.drain())

    def _finish(self, bands: Iterator[NDArray[np.float32]]) -> None:
        for band in bands:
            self.excess.mend(band)
            self.finished.append(band)
