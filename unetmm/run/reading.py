"""Reads a task's rows ahead of the net that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

from unetmm.geometry import Span
from unetmm.io.image import Box
from unetmm.plan.memory import slab_rows
from unetmm.run.job import Cancelled, Job
from unetmm.run.slab import Rows, Slab
from unetmm.run.task import Task


def stored_rows(
    job: Job, task: Task, reader: ThreadPoolExecutor, reach_px: int = 0
) -> Iterator[Rows]:
    """The strip's rows as stored, from top to bottom, at most a band at once.

    With the columns and rows up to `reach_px` beyond it, as far as the image has them.
    While one slab is used up, `reader` reads the next; there are never more than these two.
    """

    def read(box: Box) -> Slab:
        with job.clock("read"):
            return Slab(job, task.plane, box)

    band = job.plan.band_rows
    boxes = slab_boxes(job, task, reach_px)
    coming = reader.submit(read, boxes[0])
    for box, following in zip(boxes, [*boxes[1:], None], strict=True):
        slab = coming.result()
        if following is not None:
            coming = reader.submit(read, following)
        y = box.y0
        while y < box.y1:
            if job.stop.is_set():
                raise Cancelled
            # They end where the stream's bands do, counted from the strip's first row.
            pushed = y - task.segment.read_start
            end = min(box.y1, y + band - pushed % band)
            yield slab.rows(y, end)
            y = end
        del slab


def slab_boxes(job: Job, task: Task, reach_px: int = 0) -> list[Box]:
    """What is read at once: whole rows of chunks, or a compressed chunk would be decoded twice."""
    info, storage = job.source.info, job.storage
    rows = slab_rows(storage, job.plan.band_rows, info.height)
    start, stop = _reached(task.segment, reach_px, info.height)
    x0, x1 = _reached(task.strip, reach_px, info.width)
    # Where rows cost nothing more, slabs begin where the stream's bands do.
    first = start // info.chunk[0] * info.chunk[0]
    if storage.by_row:
        first = start - (start - task.segment.read_start) % rows
    edges = [start, *range(first + rows, stop, rows), stop]
    return [Box(y0, x0, y1, x1) for y0, y1 in pairwise(edges)]


def _reached(span: Span, reach_px: int, length_px: int) -> tuple[int, int]:
    """What is read of an axis."""
    return max(0, span.read_start - reach_px), min(span.read_stop + reach_px, length_px)
