"""Carries out a plan: read slabs, push bands, write chunk rows. One task per strip and segment.

    source --slab--> bands --RowStream--> bands --chunk row--> sink

A task owns its stream and buffers; Dask schedules the tasks, each on a thread of its own. While it
computes, one more thread reads and decodes the next slab, and one encodes and writes the last row
of chunks. The plan's threads share the columns of its stream. Every buffer is a term of the plan.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice, pairwise
from typing import TYPE_CHECKING, Any, Union

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.calibration import Calibration, Groups, fits_float32, normalise, valid_mask
from unetmm.engine.cpu.compiled import CompiledNet
from unetmm.engine.cpu.stream import RowStream
from unetmm.geometry import Span, make_span, mirrored
from unetmm.intensities.stored import move_stored
from unetmm.io.image import Box, Plane, Planes, Sink, Source
from unetmm.io.output.output import Output
from unetmm.plan.memory import Storage, slab_rows, source_storage
from unetmm.plan.types import Plan

if TYPE_CHECKING:
    from unetmm.engine.torch.net import DeviceNet
    from unetmm.engine.torch.stream import DeviceStream

Pixels = NDArray[Any]
Net = Union[CompiledNet, "DeviceNet"]
"""For the compiled kernels, or for a device."""


TASKS_AT_ONCE = 256
"""Of which Dask makes one graph."""


class Cancelled(Exception):
    """The run was asked to stop; raised inside tasks only."""


@dataclass
class Job:
    """What all tasks of a run share."""

    source: Source
    sink: Sink
    net: Net
    groups: Groups
    calibration: Calibration
    plan: Plan
    strength: float = 1.0
    """0 gives the input back, 1 the net's answer."""
    progress: Callable[[int], None] = lambda pixels: None
    """Told the number of pixels finished since the last call; called from any task's thread."""
    stop: threading.Event = field(default_factory=threading.Event)
    seconds: dict[str, float] = field(default_factory=lambda: {"read": 0.0, "write": 0.0})
    """Time spent reading and writing, summed over the tasks' threads."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @cached_property
    def storage(self) -> Storage:
        """What reading costs, asked once: a source may count its pages for it."""
        return source_storage(self.source)

    @property
    def device_peak_bytes(self) -> int | None:
        """The most memory of a GPU that was taken, None where the CPU computes."""
        return None if isinstance(self.net, CompiledNet) else self.net.peak_bytes()

    @contextmanager
    def clock(self, kind: str) -> Iterator[None]:
        """Add the time of the block to `seconds[kind]`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            with self._lock:
                self.seconds[kind] += time.perf_counter() - start


@dataclass(frozen=True, slots=True)
class Task:
    """One strip of one segment of one plane."""

    plane: Plane
    strip: Span
    segment: Span


def tasks_of(plan: Plan, planes: Planes) -> Iterator[Task]:
    """All tasks in the order that reads storage front to back."""
    for plane in planes:
        for segment in plan.segments:
            for strip in plan.strips:
                yield Task(plane, strip, segment)


def open_tasks(
    plan: Plan, planes: Planes, output: Output, rows: range, stride_px: int
) -> Iterator[Task]:
    """What is left to do for an output: tasks cut down to the rows of chunks that are missing.

    They may be asked for while others are under way: a task writes whole chunks, all its own.

    rows: those that are this process's part, counted over all planes.
    """
    height, chunk = output.info.height, output.chunk
    align_px = math.lcm(stride_px, chunk[0])
    rows_a_plane = output.store.levels[0].grid[0]
    for task in tasks_of(plan, planes):
        strip, segment = task.strip, task.segment
        columns = slice(strip.write_start // chunk[1], -(-strip.write_stop // chunk[1]))
        missing = output.table.rows_missing(task.plane, columns)
        first = rows_a_plane * planes.number(task.plane)
        own = range(segment.write_start // chunk[0], -(-segment.write_stop // chunk[0]))
        left = [row for row in own if missing[row] and first + row in rows]
        if left:
            start = left[0] * chunk[0] // align_px * align_px
            stop = min(height, segment.write_stop, (left[-1] + 1) * chunk[0])
            rest = make_span(start, stop, height, plan.halo_px, stride_px)
            yield Task(task.plane, strip, rest)


def run(job: Job, tasks: Iterable[Task] | None = None) -> None:
    """Do all tasks, or those given, `plan.workers` at a time, through Dask's threaded scheduler.

    Raises
    ------
    ImageError
        If reading or writing fails; the other tasks are stopped.
    """
    import dask

    left = iter(tasks_of(job.plan, job.source.info.planes) if tasks is None else tasks)

    def guarded(task: Task) -> None:
        if job.stop.is_set():
            raise Cancelled
        run_task(job, task)

    # A pool of our own: the user's Dask may have one of more threads than the plan counts.
    with memory_limit(job), ThreadPoolExecutor(job.plan.workers, "unetmm-task") as pool:
        try:
            # Dask holds 5 kB a task, which of a long stack would be a part of the budget.
            while chosen := list(islice(left, TASKS_AT_ONCE)):
                dask.compute(
                    *[dask.delayed(guarded, pure=False)(task) for task in chosen],
                    scheduler="threads",
                    pool=pool,
                    optimize_graph=False,
                )
        except BaseException:
            # Dask returns with the first error. The output may only be removed when nobody
            # writes, so the pool then waits for the tasks that are under way.
            job.stop.set()
            raise


def memory_limit(job: Job) -> AbstractContextManager[None]:
    """On a device: no more of its memory than the plan's budget."""
    if isinstance(job.net, CompiledNet):
        return nullcontext()
    return job.net.limited(job.plan.device_budget_bytes)


def run_task(job: Job, task: Task) -> None:
    """Restore one strip of one segment and write it."""
    # Both end before we do, whatever happens, so nobody reads or writes afterwards.
    with ThreadPoolExecutor(1, "unetmm-read") as reader, ThreadPoolExecutor(1, "unetmm-write") as w:
        writer = ChunkRowWriter(job, task, w)
        _stream(job, task, stored_rows(job, task, reader), writer)
        writer.settle()


def _stream(job: Job, task: Task, rows: Iterator[Pixels], writer: ChunkRowWriter) -> None:
    """Push the task's rows through its streams until everything is handed to the writer."""
    streams = [Lane(job, task, i) for i in range(len(job.groups))]
    for stored in rows:
        writer.keep(stored)
        for lane in streams:
            lane.take(stored)
        del stored  # or its slab would live on while the two next ones do
        _write_finished(job, writer, streams)
        if writer.complete:
            return
    if task.segment.read_stop > job.source.info.height:
        for lane in streams:
            lane.take_mirrored()
        _write_finished(job, writer, streams)
    while not writer.complete:
        if job.stop.is_set():
            raise Cancelled
        for lane in streams:
            lane.drain()
        _write_finished(job, writer, streams)


def _write_finished(job: Job, writer: ChunkRowWriter, lanes: list[Lane]) -> None:
    """Hand over what all lanes have finished; lanes run in step, so the counts agree."""
    for bands in zip(*(lane.finished for lane in lanes), strict=True):
        done = writer.write(list(bands))
        job.progress(done)
    for lane in lanes:
        lane.finished.clear()


def stored_rows(job: Job, task: Task, reader: ThreadPoolExecutor) -> Iterator[Pixels]:
    """The strip's rows as stored, from top to bottom, in pieces of at most a band.

    While one slab is used up, `reader` reads the next; there are never more than these two.
    """

    def read(box: Box) -> Pixels:
        with job.clock("read"):
            return job.source.read(task.plane, box)

    band = job.plan.band_rows
    boxes = slab_boxes(job, task)
    coming = reader.submit(read, boxes[0])
    for box, following in zip(boxes, [*boxes[1:], None], strict=True):
        slab = coming.result()
        if following is not None:
            coming = reader.submit(read, following)
        y = box.y0
        while y < box.y1:
            if job.stop.is_set():
                raise Cancelled
            # Pieces end where the stream's bands do, counted from the strip's first row.
            pushed = y - task.segment.read_start
            piece = min(box.y1 - y, band - pushed % band)
            yield slab[y - box.y0 : y - box.y0 + piece]
            y += piece
        del slab


def slab_boxes(job: Job, task: Task) -> list[Box]:
    """What is read at once: whole rows of chunks, or a compressed chunk would be decoded twice."""
    info, storage = job.source.info, job.storage
    rows = slab_rows(storage, job.plan.band_rows, info.height)
    start, stop = task.segment.read_start, min(task.segment.read_stop, info.height)
    x0, x1 = task.strip.read_start, min(task.strip.read_stop, info.width)
    first = start if storage.by_row else start // info.chunk[0] * info.chunk[0]
    edges = [start, *range(first + rows, stop, rows), stop]
    return [Box(y0, x0, y1, x1) for y0, y1 in pairwise(edges)]


def open_stream(
    net: Net,
    attention: Mapping[str, NDArray[np.float32]],
    width_px: int,
    height_px: int,
    plan: Plan,
) -> RowStream | DeviceStream:
    """The stream of a strip where its plan says."""
    if isinstance(net, CompiledNet):
        frozen = net.freeze(attention)
        return RowStream(net, frozen, width_px, height_px, plan.band_rows, plan.threads)
    from unetmm.engine.torch.stream import DeviceStream

    return DeviceStream(net, attention, width_px, height_px, plan.band_rows, plan.threads)


class Lane:
    """One group of samples of a strip on its way through its stream."""

    def __init__(self, job: Job, task: Task, group: int) -> None:
        info, strip, segment = job.source.info, task.strip, task.segment
        self.group, self.nodata = samples_of(job.groups[group]), info.nodata
        self.entry = job.calibration.entry(task.plane[1], group)
        width, channels = strip.read_px, job.net.config.in_channels
        self.stream = open_stream(job.net, self.entry.attention, width, segment.read_px, job.plan)
        self.rows = np.zeros((job.plan.band_rows, width, channels), np.float32)
        self.next_row = segment.read_start
        self.finished: list[NDArray[np.float32]] = []
        inside = min(strip.read_stop, info.width) - strip.read_start
        self.columns_beyond = mirrored(inside, width - inside)
        self.rows_beyond = mirrored(info.height, max(0, segment.read_stop - info.height))
        self.last_from = min(self.rows_beyond, default=info.height)
        self.last = np.zeros((info.height - self.last_from, width, channels), np.float32)
        """The image's last rows, as far as they stand in for those beyond them."""

    def take(self, stored: Pixels) -> None:
        """Push rows (n, width, samples) as stored."""
        n, width, _ = stored.shape
        chosen = stored[..., self.group]
        mask = valid_mask(chosen, self.nodata)
        rows = self.rows[:n]
        normalise(chosen, mask, self.entry, rows[:, :width])
        rows[:, width:] = rows[:, self.columns_beyond]
        first = max(0, self.last_from - self.next_row)
        if first < n:
            to = self.next_row + first - self.last_from
            self.last[to : to + n - first] = rows[first:]
        self.next_row += n
        self.finished.extend(self.stream.push(rows))

    def take_mirrored(self) -> None:
        """Push the rows between the image's last and the next multiple of the stride."""
        rows = self.rows[: len(self.rows_beyond)]
        rows[...] = self.last[[row - self.last_from for row in self.rows_beyond]]
        self.finished.extend(self.stream.push(rows))

    def drain(self) -> None:
        """One more step after the last row."""
        self.finished.extend(self.stream.drain())


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
        self.inputs = np.zeros((job.plan.band_rows, width, job.net.config.out_channels), np.float32)
        self.kept_rows = task.segment.read_start
        self.seen_row = task.segment.read_start
        self.next_row = task.segment.write_start
        self.entries = [job.calibration.entry(task.plane[1], g) for g in range(len(job.groups))]
        self.first_column = task.strip.write_start - task.strip.read_start

    @property
    def complete(self) -> bool:
        return self.next_row >= self.task.segment.write_stop

    def keep(self, stored: Pixels) -> None:
        """Remember rows as stored until their restored values come out."""
        index = np.arange(self.kept_rows, self.kept_rows + len(stored)) % len(self.kept)
        columns = slice(self.first_column, self.first_column + self.buffer.shape[1])
        self.kept[index] = stored[:, columns]
        self.kept_rows += len(stored)

    def write(self, bands: list[NDArray[np.float32]]) -> int:
        """Take the next finished rows of every lane; returns the pixels that count as done."""
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
        columns = slice(self.first_column, self.first_column + self.buffer.shape[1])
        target = self.buffer[to : to + b - a]
        original = self.kept[np.arange(row, row + b - a) % len(self.kept)]
        target[...] = original  # alpha, and what is not measured
        nodata = self.job.source.info.nodata
        for group, entry, band in zip(self.job.groups, self.entries, bands, strict=True):
            chosen, into = original[..., samples_of(group)], target[..., samples_of(group)]
            mask = valid_mask(chosen, nodata)
            inputs = self.inputs[: b - a]
            if (mask is None or mask.all()) and fits_float32(target.dtype):
                inputs[...] = chosen
                move_stored(
                    inputs, band[a:b], self.first_column, entry.low, entry.high,
                    self.job.strength, target.dtype,
                )  # fmt: skip
                np.copyto(into, inputs, casting="unsafe")
            else:
                normalise(chosen, mask, entry, inputs)
                change = np.subtract(band[a:b, columns], inputs, out=inputs)
                values = changed(chosen, change, (entry.high - entry.low) * self.job.strength)
                restored = to_dtype(values, target.dtype)
                into[...] = restored if mask is None else np.where(mask, restored, chosen)
            if nodata is not None:
                keep_measured(into, chosen, nodata)

    def _flush(self, base: int, stop: int) -> None:
        strip = self.task.strip
        start = max(base, self.task.segment.write_start)
        box = Box(start, strip.write_start, stop, strip.write_stop)
        self.settle()
        self.writing = self.background.submit(
            self._write, box, self.buffer[start - base : stop - base]
        )
        self.buffer, self.spare = self.spare, self.buffer

    def _write(self, box: Box, pixels: Pixels) -> None:
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


def samples_of(group: tuple[int, ...]) -> slice:
    """The samples that go through the net together, which lie side by side."""
    return slice(group[0], group[-1] + 1)


def keep_measured(restored: Pixels, stored: Pixels, nodata: float) -> None:
    """Move restored values that hit the one for "no data" to its neighbour, in place."""
    lost = (restored == nodata) & (stored != nodata)
    if not lost.any():
        return
    if restored.dtype.kind == "f":
        restored[lost] = np.nextafter(restored[lost], stored[lost])
    else:
        restored[lost] += np.where(stored[lost] > nodata, 1, -1).astype(restored.dtype)


def changed(chosen: Pixels, change: NDArray[np.float32], scale: float) -> NDArray[Any]:
    """Stored values moved by what the net changed; where it changed nothing they stay bit for bit.

    Wide types are added in float64, or their low digits would be lost although the net, which
    sees float32, has nothing to say about them.
    """
    if not fits_float32(chosen.dtype):
        return chosen + change * np.float64(scale)
    change *= np.float32(scale)
    change += chosen
    return change


def to_dtype(values: NDArray[Any], dtype: np.dtype[Any]) -> Pixels:
    """Round and clip to the limits of an integer dtype; floats are only converted."""
    if dtype.kind == "f":
        return values.astype(dtype, copy=False)
    limits = np.iinfo(dtype)
    np.rint(values, out=values)
    return np.clip(values, limits.min, limits.max, out=values).astype(dtype)
