"""Image + net + budget -> a Plan whose projected peak fits. No torch, no pixel is read.

Every way to cut the image and to spread the cores is priced by a small cost model, and the
cheapest that fits is taken. `workers` strips are live at once, the columns of each are shared by
`threads`. More workers read and write side by side but recompute halos and hold a stream each;
more threads hold one stream but wait for one another in every stage.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

from unetmm.errors import BudgetError
from unetmm.geometry import Span, recomputed_share, round_up, split_axis
from unetmm.memory import Pixels, Storage, Terms, packed_bytes, project
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import macs_per_px
from unetmm.sizes import format_size
from unetmm.stream.lanes import LANES
from unetmm.stream.layout import Layout, make_layout

MACS_PER_S = 65e9 * LANES / 16
"""Multiply-adds a second of one thread, for time estimates; half of what kernels reach at best."""
WEIGHT_BYTES_PER_S = 20e9
"""Rate at which weights come from beyond a core's own cache, once a step and thread."""
STORAGE_BYTES_PER_S = 250e6
"""Rate at which chunks are read and decoded, or encoded and written; whole chunks count."""
CONVERT_S = 2.5e-9
"""Turning one sample into the net's scale and back."""
STAGE_S = 1e-6
"""Fixed price of one stage in one step."""
PHASE_S = 4e-6
"""Waiting for the neighbours, once or twice a stage, where threads share columns."""
WAKE_S = 30e-6
"""Starting a step on several threads."""
WAKE_THREAD_S = 5e-6
"""The same, for each thread."""
BAND_STEPS = (1, 2, 4, 8)
"""Band heights that are tried, in strides of the net."""
MAX_PIECES = 256
"""Strips or segments that are tried along an axis."""


@dataclass(frozen=True)
class Request:
    """What is to be planned."""

    model: str
    config: NetConfig
    pixels: Pixels
    planes: int
    source: Storage
    sink: Storage
    budget_bytes: int
    calibration_bytes: int
    held_bytes: int = 0
    """What the process holds already beyond a fresh one."""
    max_cores: int = 0
    """Cores used at most, over all live strips; 0 for all that the process may use."""


@dataclass(frozen=True)
class Plan:
    """A way to run that fits the budget."""

    model: str
    band_rows: int
    workers: int
    """Strips that are live at once."""
    strips: tuple[Span, ...]
    segments: tuple[Span, ...]
    planes: int
    halo_px: int
    lag_rows: int
    terms: Terms
    budget_bytes: int
    estimated_s: float
    threads: int = 1
    """Threads that share the columns of each live strip."""

    @property
    def projected_peak_bytes(self) -> int:
        return self.terms.total

    @property
    def cores(self) -> int:
        """Threads that compute at once."""
        return self.workers * self.threads

    @property
    def strip_width_px(self) -> int:
        """Columns of the widest strip, halo included."""
        return max(s.read_px for s in self.strips)

    @property
    def recomputed_share(self) -> float:
        """Share of the pixels that are computed more than once, as halo."""
        across = recomputed_share(list(self.strips), self.strips[-1].write_stop)
        down = recomputed_share(list(self.segments), self.segments[-1].write_stop)
        return (1 + across) * (1 + down) - 1

    def as_dict(self) -> dict[str, Any]:
        """For reports: the field names of DESIGN.md section 8."""
        return {
            "strip_width_px": self.strip_width_px,
            "band_rows": self.band_rows,
            "strips": len(self.strips),
            "segments": len(self.segments),
            "workers": self.workers,
            "threads": self.threads,
            "halo_px": self.halo_px,
            "lag_rows": self.lag_rows,
            "recomputed_share": round(self.recomputed_share, 4),
            "projected_peak_bytes": self.projected_peak_bytes,
            "budget_bytes": self.budget_bytes,
            "terms": asdict(self.terms),
        }


def plan_run(request: Request) -> Plan:
    """The cheapest plan that fits.

    Raises
    ------
    BudgetError
        If not even the narrowest strip fits; it names the smallest budget that would do.
    """
    best: Plan | None = None
    for cut in _cuts(request):
        if best is not None and _least_s(request, cut) > best.estimated_s:
            continue
        for workers, threads in _teams(request, cut):
            seconds = _estimated_s(request, cut, workers, threads)
            if best is not None and seconds > best.estimated_s:
                continue
            plan = _make_plan(request, cut, workers, threads, seconds)
            if plan.projected_peak_bytes <= request.budget_bytes and (
                best is None or _price(plan) < _price(best)
            ):
                best = plan
    if best is None:
        alone = (_make_plan(request, cut, 1, 1, 0.0) for cut in _cuts(request))
        raise _too_small(request, min(alone, key=lambda p: p.projected_peak_bytes))
    return best


def _price(plan: Plan) -> tuple[float, int]:
    return plan.estimated_s, plan.projected_peak_bytes


@dataclass(frozen=True)
class _Division:
    """One way to divide an axis, and the most that one of its spans needs."""

    spans: tuple[Span, ...]
    read_px: int
    write_px: int
    new_px: int
    """Without what is read beyond the end of the write: once it is complete a task ends."""
    touched_px: int
    """Of the chunks that are decoded for a span."""


@dataclass(frozen=True)
class _Cut:
    """A band height and a division of the image."""

    layout: Layout
    strips: _Division
    segments: _Division
    planes: int

    @property
    def tasks(self) -> int:
        return len(self.strips.spans) * len(self.segments.spans) * self.planes


def _cuts(request: Request) -> Iterator[_Cut]:
    stride, pixels = request.config.stride_px, request.pixels
    limits = min(MAX_PIECES, 2 * _cores(request)), MAX_PIECES
    for steps in reversed(BAND_STEPS):
        layout = make_layout(request.config, steps * stride)
        segments, strips = (
            list(_divisions(length_px, math.lcm(stride, sink_px), source_px, layout, limit))
            for length_px, sink_px, source_px, limit in zip(
                (pixels.height, pixels.width), request.sink.chunk, request.source.chunk, limits,
                strict=True,
            )
        )  # fmt: skip
        for segment in segments:
            for strip in strips:
                yield _Cut(layout, strip, segment, request.planes)


def _divisions(
    length_px: int, align_px: int, chunk_px: int, layout: Layout, limit: int
) -> Iterator[_Division]:
    """Ways to divide an axis: every small number of pieces, then ever larger steps."""
    seen = set()
    pieces, most = 1, min(limit, -(-length_px // align_px))
    while True:
        spans = split_axis(length_px, pieces, align_px, layout.halo_px, layout.config.stride_px)
        widest = max(s.read_px for s in spans)
        if widest not in seen:  # more pieces that are not narrower only add halo
            seen.add(widest)
            yield _Division(
                tuple(spans),
                widest,
                max(s.write_px for s in spans),
                max(s.write_stop - s.read_start for s in spans),
                max(_touched(s, chunk_px, length_px) for s in spans),
            )
        if pieces >= most:
            return
        pieces = min(most, pieces + 1 + pieces // 12)


def _teams(request: Request, cut: _Cut) -> Iterator[tuple[int, int]]:
    """(workers, threads) that may use the cores: fewer only where the budget asks for it."""
    cores = _cores(request)
    cells = cut.strips.read_px // request.config.stride_px
    for workers in _halvings(min(cores, cut.tasks)):
        most = max(1, min(cores // workers, cells))
        for threads in {most, (most + 3) // 4, 1}:
            yield workers, threads


def _halvings(most: int) -> Iterator[int]:
    """`most` and powers of two below it."""
    yield most
    power = 1 << max(0, (most - 1).bit_length() - 1)
    while 0 < power < most:
        yield power
        power //= 2


def _make_plan(request: Request, cut: _Cut, workers: int, threads: int, seconds: float) -> Plan:
    layout = cut.layout
    terms = project(
        layout, LANES, request.pixels, request.source, request.sink, workers, threads,
        cut.strips.read_px, cut.strips.write_px, request.calibration_bytes, request.held_bytes,
    )  # fmt: skip
    return Plan(
        request.model, layout.band_rows, workers, cut.strips.spans, cut.segments.spans,
        request.planes, layout.halo_px, layout.lag_rows, terms, request.budget_bytes, seconds,
        threads,
    )  # fmt: skip


def _least_s(request: Request, cut: _Cut) -> float:
    """What the arithmetic takes at least, however the cores are used."""
    read_px = sum(s.read_px for s in cut.strips.spans) * request.pixels.height
    return _arithmetic_s(request.config, read_px * request.planes) / _cores(request)


def _arithmetic_s(config: NetConfig, pixels: int) -> float:
    return pixels * _macs_per_px(config) / MACS_PER_S


_macs_per_px = lru_cache(maxsize=64)(macs_per_px)


def _estimated_s(request: Request, cut: _Cut, workers: int, threads: int) -> float:
    """Seconds of the whole run: rounds of `workers` tasks, each with its reading and writing."""
    layout, stride = cut.layout, request.config.stride_px
    steps = -(-(cut.segments.new_px + layout.lag_rows) // layout.band_rows)
    # The thread with the most columns counts.
    columns = -(-(cut.strips.read_px // stride) // threads) * stride
    compute_s = _arithmetic_s(request.config, cut.segments.new_px * columns)
    compute_s += steps * _step_s(layout, threads)
    task_s = compute_s * request.pixels.nets + _storing_s(request, cut)
    return -(-cut.tasks // workers) * task_s


@lru_cache(maxsize=4096)
def _step_s(layout: Layout, threads: int) -> float:
    """What a step costs besides its arithmetic."""
    stages = len(layout.stages)
    seconds = packed_bytes(layout, LANES) / WEIGHT_BYTES_PER_S + STAGE_S * stages
    if threads > 1:
        phases = stages + len(layout.blocks)
        seconds += phases * PHASE_S + WAKE_S + threads * WAKE_THREAD_S
    return seconds


def _storing_s(request: Request, cut: _Cut) -> float:
    """Seconds of reading a task's box, of converting its samples and of writing them."""
    pixels, strips, segments = request.pixels, cut.strips, cut.segments
    samples = segments.write_px * strips.read_px * pixels.samples
    stored_bytes = samples * pixels.itemsize
    if not request.source.resident_bytes:  # every chunk that is touched is decoded
        touched = segments.touched_px * strips.touched_px
        stored_bytes += touched * pixels.samples * pixels.itemsize
    return samples * CONVERT_S + stored_bytes / STORAGE_BYTES_PER_S


def _touched(span: Span, chunk_px: int, length_px: int) -> int:
    """Pixels of the chunks that a span's read box touches along an axis."""
    first = span.read_start // chunk_px * chunk_px
    return min(length_px, round_up(span.read_stop, chunk_px)) - first


def _too_small(request: Request, smallest: Plan) -> BudgetError:
    terms, needed = smallest.terms, smallest.projected_peak_bytes
    streams = terms.stream_state + terms.skip + terms.image_rows + terms.arena
    megabytes = round_up(needed, 10**6) // 10**6
    return BudgetError(
        f"budget {format_size(request.budget_bytes)} is too small for model {request.model}: the "
        f"narrowest strip ({smallest.strip_width_px} px) needs {format_size(needed)} (runtime "
        f"{format_size(terms.runtime)}, weights {format_size(terms.weights)}, stream "
        f"{format_size(streams)}, source {format_size(terms.source)}, sink "
        f"{format_size(terms.sink)}, calibration {format_size(terms.calibration)}); give at least "
        f"{megabytes}MB",
        budget_bytes=request.budget_bytes,
        needed_bytes=megabytes * 10**6,
    )


def _cores(request: Request) -> int:
    return request.max_cores or available_cores()


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
