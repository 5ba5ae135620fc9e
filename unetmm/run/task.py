"""What a plan leaves to do: one task for every strip of every segment of every plane."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from unetmm.geometry import Span, make_span
from unetmm.io.image import Box, Plane, Planes
from unetmm.io.output.output import Output
from unetmm.plan.types import Plan


@dataclass(frozen=True, slots=True)
class Task:
    """One strip of one segment of one plane."""

    plane: Plane
    """Plane (t, c, z) of the image."""
    strip: Span
    """Columns of the plane."""
    segment: Span
    """Rows of the plane."""


def tasks_of(plan: Plan, planes: Planes) -> Iterator[Task]:
    """All tasks in the order that reads storage front to back."""
    for plane in planes:
        for segment in plan.segments:
            for strip in plan.strips:
                yield Task(plane, strip, segment)


def open_tasks(
    plan: Plan,
    output: Output,
    rows: range,
    stride_px: int,
    crop: Box | None = None,
    output_scale: int = 1,
) -> Iterator[Task]:
    """What is left to do for an output: tasks cut down to the rows of chunks that are missing.

    They may be asked for while others are under way: a task writes whole chunks, all its own.

    rows: rows of chunks that this process does, counted over all planes of the input.
    crop: the part of each plane that is written, None for all of it.
    output_scale: pixels of the output per pixel of the input and axis.
    """
    chunk = output.chunk[0] // output_scale, output.chunk[1] // output_scale
    top, left_edge = (crop.y0, crop.x0) if crop else (0, 0)
    align_px = math.lcm(stride_px, chunk[0])
    rows_a_plane = output.store.levels[0].grid[0]
    for task in tasks_of(plan, output.inputs):
        strip, segment = task.strip, task.segment
        columns = _chunks(strip, left_edge, chunk[1])
        missing = output.rows_missing(task.plane, columns)
        first = rows_a_plane * output.inputs.number(task.plane)
        own = _chunks(segment, top, chunk[0])
        left = [r for r in range(own.start, own.stop) if missing[r] and first + r in rows]
        if left:
            start = top + left[0] * chunk[0] // align_px * align_px
            stop = min(segment.write_stop, top + (left[-1] + 1) * chunk[0])
            rest = make_span(start, stop, segment.read_stop, plan.halo_px, stride_px)
            yield Task(task.plane, strip, rest)


def _chunks(span: Span, first_px: int, chunk_px: int) -> slice:
    """The chunks of an axis that a span writes, counted from the first pixel of the output."""
    start, stop = span.write_start - first_px, span.write_stop - first_px
    return slice(start // chunk_px, -(-stop // chunk_px))


def pixels_of(tasks: Iterable[Task]) -> int:
    """Number of pixels that tasks write."""
    return sum(t.segment.write_px * t.strip.write_px for t in tasks)


def rows_of(output: Output) -> int:
    """Number of rows of chunks that an output is made by, in all planes of its input."""
    return len(output.inputs) * output.store.levels[0].grid[0]
