"""Image + net + budget -> a Plan whose projected peak fits. No torch, no pixel is read.

Every way to cut the image and to spread the cores is priced by a small cost model, and the
cheapest that fits is taken. `workers` strips are live at once, the columns of each are shared by
`threads`. More workers read and write side by side but recompute halos and hold a stream each;
more threads hold one stream but wait for one another in every stage.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from unetmm.engine.layouts import LEAST_BAND_ROWS, make_layout
from unetmm.errors import BudgetError
from unetmm.geometry import round_up
from unetmm.plan.cost import divisions, estimated_s, least_s
from unetmm.plan.memory import project
from unetmm.plan.types import Cut, Plan, Request
from unetmm.process import available_cores
from unetmm.sizes import format_size

MAX_PARTS = 256
"""Most strips, or segments, that are tried along an axis."""


def plan_run(request: Request) -> Plan:
    """The cheapest plan that fits.

    Raises
    ------
    BudgetError
        If not even the narrowest strip fits; it names the smallest budget that would do.
    """
    best: Plan | None = None
    for cut in _cuts(request):
        least = least_s(request, cut, cores_of(request))
        if best is not None and least > best.estimated_s:
            continue
        for workers, threads in _teams(request, cut):
            seconds = estimated_s(request, cut, workers, threads)
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
    stride, pixels, engine = request.config.stride_px, request.pixels, request.engine
    # Segments only keep cores busy.
    most_segments = 1 if engine.one_strip_at_once else min(MAX_PARTS, 2 * cores_of(request))
    limits = most_segments, MAX_PARTS
    unit = round_up(LEAST_BAND_ROWS, stride)
    for steps in reversed(engine.band_steps):
        layout = make_layout(request.config, steps * unit)
        segments, strips = (
            list(divisions(length_px, math.lcm(stride, sink_px), source_px, layout, limit, part))
            for length_px, sink_px, source_px, limit, part in zip(
                (pixels.height, pixels.width), request.sink.chunk, request.source.chunk, limits,
                request.written, strict=True,
            )
        )  # fmt: skip
        for segment in segments:
            for strip in strips:
                if engine.fits(layout, strip.read_px):
                    yield Cut(layout, strip, segment, request.planes)


def _teams(request: Request, cut: Cut) -> Iterator[tuple[int, int]]:
    """(workers, threads) that may use the cores: fewer only where the budget asks for it."""
    cells = cut.strips.read_px // request.config.stride_px
    return request.engine.teams(cores_of(request), cut.tasks, cells)


def _make_plan(request: Request, cut: Cut, workers: int, threads: int, seconds: float) -> Plan:
    layout, engine = cut.layout, request.engine
    terms, device_terms = project(
        engine, layout, request.pixels, request.source, request.sink, workers, threads,
        cut.strips.read_px, cut.strips.write_px, request.calibration_bytes, request.held_bytes,
        request.exceeds, request.searches,
    )  # fmt: skip
    return Plan(
        model=request.model,
        band_rows=layout.band_rows,
        workers=workers,
        strips=cut.strips.spans,
        segments=cut.segments.spans,
        planes=request.planes,
        halo_px=layout.halo_px,
        lag_rows=layout.lag_rows,
        terms=terms,
        budget_bytes=request.budget_bytes,
        estimated_s=seconds,
        threads=threads,
        precision=engine.precision,
        device=engine.label,
        device_name=engine.device_name,
        device_terms=device_terms,
        device_budget_bytes=request.device_budget_bytes,
        delay_bands=engine.delay_bands,
    )


def _too_small(request: Request, smallest: Plan) -> BudgetError:
    terms, needed = smallest.terms, smallest.projected_peak_bytes
    streams = terms.stream_state + terms.skip + terms.image_rows + terms.arena
    megabytes = round_up(needed, 10**6) // 10**6
    excess = f", wider ranges {format_size(terms.excess)}" if terms.excess else ""
    excess += f", outliers {format_size(terms.outliers)}" if terms.outliers else ""
    return BudgetError(
        f"budget {format_size(request.budget_bytes)} is too small for model {request.model}: the "
        f"narrowest strip ({smallest.strip_width_px} px) needs {format_size(needed)} (runtime "
        f"{format_size(terms.runtime)}, weights {format_size(terms.weights)}, stream "
        f"{format_size(streams)}, source {format_size(terms.source)}, sink "
        f"{format_size(terms.sink)}, calibration {format_size(terms.calibration)}{excess}); give "
        f"at least {megabytes}MB",
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
