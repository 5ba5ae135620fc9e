"""Image + net + budget -> a Plan whose projected peak fits. No torch, no pixel is read.

Every way to cut the image and to spread the cores is priced by a small cost model, and the
cheapest that fits is taken. `workers` strips are live at once, the columns of each are shared by
`threads`. More workers read and write side by side but recompute halos and hold a stream each;
more threads hold one stream but wait for one another in every stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from unetmm.compiling.processor import LANES
from unetmm.engine.layout import make_layout
from unetmm.engine.torch.footprint import shapes_of
from unetmm.errors import BudgetError
from unetmm.geometry import round_up
from unetmm.plan.cost import device_s, divisions, estimated_s, least_s
from unetmm.plan.memory import project, project_for_device
from unetmm.plan.types import Cut, Plan, Request
from unetmm.process import available_cores
from unetmm.sizes import format_size

BAND_STEPS = (1, 2, 4, 8)
"""Band heights that are tried, in strides of the net."""
GPU_BAND_STEPS = (1, 2, 4, 8, 16, 32, 64, 128)
"""The same on a GPU, which is only busy with many pixels at once."""
MAX_PIECES = 256
"""Strips or segments that are tried along an axis."""


def plan_run(request: Request) -> Plan:
    """The cheapest plan that fits.

    Raises
    ------
    BudgetError
        If not even the narrowest strip fits; it names the smallest budget that would do.
    """
    best: Plan | None = None
    for cut in _cuts(request):
        on_kernels = request.target.kind == "kernels"
        least = least_s(request, cut, cores_of(request)) if on_kernels else 0.0
        if best is not None and least > best.estimated_s:
            continue
        for workers, threads in _teams(request, cut):
            if on_kernels:
                seconds = estimated_s(request, cut, workers, threads)
            else:
                seconds = device_s(request, cut, threads)
            if best is not None and seconds > best.estimated_s:
                continue
            plan = _make_plan(request, cut, workers, threads, seconds)
            if plan.fits and (best is None or _price(plan) < _price(best)):
                best = plan
    if best is None:
        alone = [_make_plan(request, cut, 1, 1, 0.0) for cut in _cuts(request)]
        fitting = [plan for plan in alone if plan.fits_device]
        if not fitting:
            raise _device_too_small(alone)
        raise _too_small(request, min(fitting, key=lambda p: p.projected_peak_bytes))
    return best


def _price(plan: Plan) -> tuple[float, int]:
    return plan.estimated_s, plan.projected_peak_bytes


def _cuts(request: Request) -> Iterator[Cut]:
    stride, pixels = request.config.stride_px, request.pixels
    # Segments only keep cores busy, and a device has one strip live at a time.
    on_kernels = request.target.kind == "kernels"
    limits = min(MAX_PIECES, 2 * cores_of(request)) if on_kernels else 1, MAX_PIECES
    for steps in reversed(GPU_BAND_STEPS if request.target.kind == "cuda" else BAND_STEPS):
        layout = make_layout(request.config, steps * stride)
        segments, strips = (
            list(divisions(length_px, math.lcm(stride, sink_px), source_px, layout, limit))
            for length_px, sink_px, source_px, limit in zip(
                (pixels.height, pixels.width), request.sink.chunk, request.source.chunk, limits,
                strict=True,
            )
        )  # fmt: skip
        for segment in segments:
            for strip in strips:
                if on_kernels or shapes_of(layout, strip.read_px).addressable:
                    yield Cut(layout, strip, segment, request.planes)


def _teams(request: Request, cut: Cut) -> Iterator[tuple[int, int]]:
    """(workers, threads) that may use the cores: fewer only where the budget asks for it."""
    cores = cores_of(request)
    if request.target.kind != "kernels":
        yield 1, 1 if request.target.kind == "cuda" else cores
        return
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


def _make_plan(request: Request, cut: Cut, workers: int, threads: int, seconds: float) -> Plan:
    layout, target = cut.layout, request.target
    stored = request.pixels, request.source, request.sink
    read_px, write_px = cut.strips.read_px, cut.strips.write_px
    beside = request.calibration_bytes, request.held_bytes
    device_terms = None
    if target.kind == "kernels":
        terms = project(
            layout, LANES, *stored, workers, threads, read_px, write_px, *beside,
            target.host_precision,
        )  # fmt: skip
    else:
        terms, device_terms = project_for_device(
            layout, *stored, read_px, write_px, *beside, target, threads
        )
    return Plan(
        request.model, layout.band_rows, workers, cut.strips.spans, cut.segments.spans,
        request.planes, layout.halo_px, layout.lag_rows, terms, request.budget_bytes, seconds,
        threads, target.precision, target.label, target.model,
        device_terms if target.kind == "cuda" else None, request.device_budget_bytes,
    )  # fmt: skip


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


def _device_too_small(plans: list[Plan]) -> BudgetError:
    smallest = min(plans, key=lambda p: p.device_terms.total if p.device_terms else 0)
    terms = smallest.device_terms
    assert terms is not None
    megabytes = round_up(terms.total, 10**6) // 10**6
    return BudgetError(
        f"budget {format_size(smallest.device_budget_bytes)} of {smallest.device} is too small for "
        f"model {smallest.model}: the narrowest strip ({smallest.strip_width_px} px) needs "
        f"{format_size(terms.total)} there (weights {format_size(terms.weights)}, stream "
        f"{format_size(terms.stream_state + terms.skip + terms.image_rows + terms.arena)}, "
        f"libraries {format_size(terms.workspace)}); give at least {megabytes}MB, or use the cpu",
        budget_bytes=smallest.device_budget_bytes,
        needed_bytes=megabytes * 10**6,
        of_device=True,
    )


def cores_of(request: Request) -> int:
    """Cores that a run may use."""
    return request.max_cores or available_cores()
