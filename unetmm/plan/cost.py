"""What a plan costs in time: how an image is divided, and the price of doing it that way.

An engine prices its streams. Reading and writing go on beside them, but take the cores' time too.
"""

from __future__ import annotations

from collections.abc import Iterator

from unetmm.engine.layout import Layout
from unetmm.geometry import Span, round_up, split_axis
from unetmm.plan.types import Cut, Division, Request

STORAGE_BYTES_PER_S = 250e6
"""Rate at which chunks are read and decoded, or encoded and written; whole chunks count."""
CONVERT_S = 2.5e-9
"""Turning one sample into the net's scale and back."""
START_S = 1.5
"""Time before a run computes: to load libraries, choose a model and measure the image."""
TASK_S = 7e-3
"""Cost of a task in Python, whose threads take turns: films of small planes are made of it."""


def divisions(
    length_px: int,
    align_px: int,
    chunk_px: int,
    layout: Layout,
    limit: int,
    written: tuple[int, int] | None = None,
) -> Iterator[Division]:
    """Ways to divide an axis: every small number of parts, then ever larger steps.

    written : the part of the axis that is written, None for all of it.
    """
    first, stop = written or (0, length_px)
    stride_px, seen = layout.config.stride_px, set()
    parts, most = 1, min(limit, -(-(stop - first) // align_px))
    while True:
        spans = split_axis(length_px, parts, align_px, layout.halo_px, stride_px, (first, stop))
        widest = max(s.read_px for s in spans)
        if widest not in seen:  # more parts that are not narrower only add halo
            seen.add(widest)
            yield Division(
                tuple(spans),
                widest,
                max(s.write_px for s in spans),
                max(s.write_stop - s.read_start for s in spans),
                max(_touched(s, chunk_px, length_px) for s in spans),
            )
        if parts >= most:
            return
        parts = min(most, parts + 1 + parts // 12)


def _touched(span: Span, chunk_px: int, length_px: int) -> int:
    """Pixels of the chunks that a span's read box touches along an axis."""
    first = span.read_start // chunk_px * chunk_px
    return min(length_px, round_up(span.read_stop, chunk_px)) - first


def estimated_s(request: Request, cut: Cut, workers: int, threads: int) -> float:
    """Seconds of the whole run: rounds of `workers` tasks, each with its reading and writing."""
    rows, width_px = cut.segments.new_px, cut.strips.read_px
    compute_s = request.engine.compute_s(cut.layout, rows, width_px, workers, threads)
    task_s = compute_s * request.pixels.nets + _storing_s(request, cut)
    return -(-cut.tasks // workers) * task_s + cut.tasks * TASK_S


def least_s(request: Request, cut: Cut, cores: int) -> float:
    """What the arithmetic takes at least, however the cores are used."""
    first, stop = request.written[0]
    read_px = sum(s.read_px for s in cut.strips.spans) * (stop - first)
    return request.engine.least_s(request.config, read_px * request.planes) / cores


def _storing_s(request: Request, cut: Cut) -> float:
    """Seconds of reading a task's box, of converting its samples and of writing them."""
    pixels, strips, segments = request.pixels, cut.strips, cut.segments
    samples = segments.write_px * strips.read_px * (pixels.maps or pixels.samples)
    samples *= request.config.output_scale**2
    stored_bytes = samples * pixels.itemsize
    if not request.source.by_row:  # every chunk that is touched is decoded
        touched = segments.touched_px * strips.touched_px
        stored_bytes += touched * pixels.samples * pixels.itemsize
    return samples * CONVERT_S + stored_bytes / STORAGE_BYTES_PER_S
