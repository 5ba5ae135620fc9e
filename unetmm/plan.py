"""Image + net + budget -> a Plan whose projected peak fits. No torch, no pixel is read.

Every way to cut the image is priced by a small cost model and the cheapest that fits is taken.
What a step costs: its multiply-adds, the weights that stream through the cache once a step, and
a fixed price per stage. Wider strips and taller bands recompute less and cost more memory.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from unetmm.errors import BudgetError
from unetmm.geometry import Span, recomputed_share, round_up, split_axis
from unetmm.memory import Pixels, Storage, Terms, project, weight_bytes
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import macs_per_px
from unetmm.sizes import format_size
from unetmm.stream.lanes import LANES
from unetmm.stream.layout import Layout, make_layout

MACS_PER_S = 50e9 * LANES / 16
"""Multiply-adds a second of one thread, for time estimates; half of what kernels reach at best."""
WEIGHT_BYTES_PER_S = 20e9
"""Rate at which weights come from beyond a core's own cache."""
READ_BYTES_PER_S = 250e6
"""Rate at which chunks are read and decoded; the whole chunk counts, however little is needed."""
STAGE_S = 15e-6
"""Fixed price of one stage in one step: row tables and the call."""
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
    max_workers: int = 0
    """Strips live at once at most; 0 for one a core."""


@dataclass(frozen=True)
class Plan:
    """A way to run that fits the budget."""

    model: str
    band_rows: int
    workers: int
    """Strips that are live at once, one thread each."""
    strips: tuple[Span, ...]
    segments: tuple[Span, ...]
    planes: int
    halo_px: int
    lag_rows: int
    terms: Terms
    budget_bytes: int
    estimated_s: float

    @property
    def projected_peak_bytes(self) -> int:
        return self.terms.total

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
    smallest: Plan | None = None
    for plan in _candidates(request):
        if smallest is None or plan.projected_peak_bytes < smallest.projected_peak_bytes:
            smallest = plan
        if plan.projected_peak_bytes > request.budget_bytes:
            continue
        if best is None or _price(plan) < _price(best):
            best = plan
    if best is None:
        assert smallest is not None
        raise _too_small(request, smallest)
    return best


def _price(plan: Plan) -> tuple[float, int]:
    return plan.estimated_s, plan.projected_peak_bytes


def _candidates(request: Request) -> Iterator[Plan]:
    stride = request.config.stride_px
    cores = request.max_workers or available_cores()
    for steps in BAND_STEPS:
        layout = make_layout(request.config, steps * stride)
        row_align = math.lcm(stride, request.sink.chunk[0])
        column_align = math.lcm(stride, request.sink.chunk[1])
        for segments in _cuts(request.pixels.height, row_align, layout, limit=2 * cores):
            for strips in _cuts(request.pixels.width, column_align, layout, limit=MAX_PIECES):
                tasks = len(segments) * len(strips) * request.planes
                # Fewer workers only where the budget asks for it: they never run slower.
                for workers in {min(cores, tasks), 1, max(1, min(cores, tasks) // 2)}:
                    yield _make_plan(request, layout, strips, segments, workers)


def _cuts(length_px: int, align_px: int, layout: Layout, limit: int) -> Iterator[list[Span]]:
    seen = set()
    for pieces in range(1, min(limit, -(-length_px // align_px)) + 1):
        spans = split_axis(length_px, pieces, align_px, layout.halo_px, layout.config.stride_px)
        widest = max(s.read_px for s in spans)
        if widest not in seen:  # more pieces that are not narrower only add halo
            seen.add(widest)
            yield spans


def _make_plan(
    request: Request, layout: Layout, strips: list[Span], segments: list[Span], workers: int
) -> Plan:
    read_px, write_px = max(s.read_px for s in strips), max(s.write_px for s in strips)
    terms = project(
        layout, LANES, request.pixels, request.source, request.sink, workers, read_px, write_px,
        request.calibration_bytes, request.held_bytes,
    )  # fmt: skip
    tasks = len(strips) * len(segments) * request.planes
    rounds = -(-tasks // workers)
    rows = max(s.write_stop - s.read_start for s in segments) + layout.lag_rows
    compute_s = -(-rows // layout.band_rows) * _step_s(layout, read_px) * request.pixels.nets
    seconds = rounds * (compute_s + _read_s(request, strips, segments))
    return Plan(
        request.model, layout.band_rows, workers, tuple(strips), tuple(segments), request.planes,
        layout.halo_px, layout.lag_rows, terms, request.budget_bytes, seconds,
    )  # fmt: skip


def _step_s(layout: Layout, read_px: int) -> float:
    """Seconds of one step of one strip."""
    arithmetic = read_px * layout.band_rows * macs_per_px(layout.config) / MACS_PER_S
    weights = weight_bytes(layout.config, layout, LANES) / WEIGHT_BYTES_PER_S
    return arithmetic + weights + STAGE_S * len(layout.stages)


def _read_s(request: Request, strips: list[Span], segments: list[Span]) -> float:
    """Seconds of reading one task's box: every chunk that it touches is decoded."""
    pixels, source = request.pixels, request.source
    if source.resident_bytes:
        return 0.0
    rows, columns = (
        max(_touched(s, c, n) for s in spans)
        for spans, c, n in zip(
            (segments, strips), source.chunk, (pixels.height, pixels.width), strict=True
        )
    )
    return rows * columns * pixels.samples * pixels.itemsize / READ_BYTES_PER_S


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


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)
