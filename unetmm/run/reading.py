"""Reads a task's rows ahead of the net that takes them."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box
from unetmm.io.measured import read_measured
from unetmm.plan.memory import slab_rows
from unetmm.run.job import Cancelled, Job
from unetmm.run.task import Task

Measured = tuple[NDArray[Any], NDArray[np.bool_] | None]
"""Pixels as stored, and the mask that came with them; None where all of them are measured."""


def stored_rows(job: Job, task: Task, reader: ThreadPoolExecutor) -> Iterator[Measured]:
    """The strip's rows as stored, from top to bottom, at most a band at once.

    While one slab is used up, `reader` reads the next; there are never more than these two.
    """

    def read(box: Box) -> Measured:
        with job.clock("read"):
            return read_measured(job.source, task.plane, box)

    band = job.plan.band_rows
    boxes = slab_boxes(job, task)
    coming = reader.submit(read, boxes[0])
    for box, following in zip(boxes, [*boxes[1:], None], strict=True):
        slab, given = coming.result()
        if following is not None:
            coming = reader.submit(read, following)
        y = box.y0
        while y < box.y1:
            if job.stop.is_set():
                raise Cancelled
            # They end where the stream's bands do, counted from the strip's first row.
            pushed = y - task.segment.read_start
            end = min(box.y1, y + band - pushed % band)
            rows = slice(y - box.y0, end - box.y0)
            yield slab[rows], None if given is None else given[rows]
            y = end
        del slab, given


def slab_boxes(job: Job, task: Task) -> list[Box]:
    """What is read at once: whole rows of chunks, or a compressed chunk would be decoded twice."""
    info, storage = job.source.info, job.storage
    rows = slab_rows(storage, job.plan.band_rows, info.height)
    start, stop = task.segment.read_start, min(task.segment.read_stop, info.height)
    x0, x1 = task.strip.read_start, min(task.strip.read_stop, info.width)
    first = start if storage.by_row else start // info.chunk[0] * info.chunk[0]
    edges = [start, *range(first + rows, stop, rows), stop]
    return [Box(y0, x0, y1, x1) for y0, y1 in pairwise(edges)]
