"""A plan as tables: geometry, memory term by term, and what UNet-- saves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from unetmm.plan.cost import START_S
from unetmm.plan.outlook import Outlook, Variant, term_rows
from unetmm.sizes import format_size
from unetmm_cli.display.lines import say
from unetmm_cli.display.models import choice_rows
from unetmm_cli.display.tables import make_table, show_pairs, show_table
from unetmm_cli.display.text import seconds_text

if TYPE_CHECKING:
    from rich.table import Table

    from unetmm.plan.types import Plan

FIRST = ("input", "output", "model", "because", "noise", "time")
"""Names of the facts that are shown without being asked for."""
TERM_NOTES = {
    "runtime": "Python, libraries and kernels",
    "weights": "tensors, and packed for the stream",
    "stream_state": "rows that layers keep",
    "skip": "what is held for the decoder",
    "image_rows": "input rows for the residual, and as stored",
    "arena": "working set and finished bands",
    "source": "reading and decoding",
    "sink": "encoding and writing",
    "calibration": "beyond the streams, before they start",
    "outliers": "rows held back to look for hot pixels",
    "excess": "wider ranges for bright or dark content",
}
"""Term of the memory of the process -> what it holds."""
DEVICE_NOTES = {
    "weights": "folded matrices",
    "stream_state": "rows that layers keep",
    "skip": "what is held for the decoder",
    "image_rows": "input rows for the residual",
    "arena": "working set and finished band",
    "transfers": "bands under way",
    "workspace": "cuBLAS and torch's allocator, as a constant",
}
"""Term of the memory of a device -> what it holds."""


def show_plan(outlook: Outlook) -> None:
    """What most people ask: model and why, time, memory, output, cut."""
    plan = outlook.plan
    cut = f"{len(plan.strips)} strip{'s' * (len(plan.strips) > 1)}"
    if len(plan.segments) > 1:
        cut += f" in {len(plan.segments)} segments"
    memory = f"peak {format_size(plan.projected_peak_bytes)} of {format_size(plan.budget_bytes)}"
    if plan.device_terms is not None:
        memory += (
            f"; on {plan.device} {format_size(plan.device_terms.total)} of "
            f"{format_size(plan.device_budget_bytes)}"
        )
    known = _summary(outlook)
    pairs = {name: known[name] for name in FIRST if name in known}
    show_pairs({**pairs, "memory": memory, "cut": f"{cut}, {known['recomputed']} recomputed"})
    say("--verbose shows the memory term by term, the geometry, and what UNet-- saves")


def show_whole_plan(outlook: Outlook) -> None:
    """Geometry, memory term by term, and what UNet-- saves."""
    plan = outlook.plan
    show_pairs(_summary(outlook))
    show_table(_terms_table("memory", term_rows(plan.terms), TERM_NOTES, plan.budget_bytes))
    if plan.device_terms is not None:
        title, terms = f"memory of {plan.device}", term_rows(plan.device_terms)
        show_table(_terms_table(title, terms, DEVICE_NOTES, plan.device_budget_bytes))
    if outlook.variants:
        show_table(_comparison_table(outlook.variants))


def _summary(outlook: Outlook) -> dict[str, Any]:
    """The run in words, a pair for each fact."""
    plan, info = outlook.plan, outlook.info
    kind = "bands" if info.joined else "samples"
    samples = f" x {info.samples} {kind}" if info.samples > 1 else ""
    precision = "" if plan.precision == "fp32" else f", in {plan.precision}"
    return {
        "input": f"{outlook.input}: {info.width} x {info.height} px, "
        f"{len(info.planes)} plane{'s' * (len(info.planes) > 1)}{samples}, {info.dtype}",
        "output": str(outlook.output),
        **({"holds": outlook.holds} if outlook.holds else {}),
        "model": f"{plan.model}, {outlook.model.parameters / 10**6:.2f} M parameters{precision}",
        **(choice_rows(outlook.choice) if outlook.choice else {}),
        "strips": f"{len(plan.strips)} of at most {plan.strip_width_px} px",
        "segments": len(plan.segments),
        "band": f"{plan.band_rows} rows",
        **({} if plan.device == "cpu" else {"device": _device(plan)}),
        "workers": f"{plan.workers}, {plan.threads} thread{'s' * (plan.threads > 1)} each",
        "halo": f"{plan.halo_px} px",
        "lag": f"{plan.lag_rows} rows",
        "recomputed": f"{plan.recomputed_share:.1%}",
        "time": f"about {seconds_text(START_S + plan.estimated_s)} on {_computes_on(plan)}",
    }


def _terms_table(
    title: str, terms: Sequence[tuple[str, int]], notes: dict[str, str], budget_bytes: int
) -> Table:
    table = make_table(title, "size", "bytes", "", right=("size", "bytes"))
    for name, size in terms:
        table.add_row(name, format_size(size), f"{size:,}", notes.get(name, ""))
    table.add_section()
    peak_bytes = sum(size for _, size in terms)
    for name, size in (
        ("projected peak", peak_bytes),
        ("budget", budget_bytes),
        ("left", budget_bytes - peak_bytes),
    ):
        table.add_row(name, format_size(size), f"{size:,}", "")
    return table


def _device(plan: Plan) -> str:
    return f"{plan.device}{f', {plan.device_name}' if plan.device_name else ''}"


def _computes_on(plan: Plan) -> str:
    if plan.device_terms is not None:
        return plan.device
    return f"{plan.cores} core{'s' * (plan.cores > 1)} of this machine"


def _comparison_table(variants: tuple[Variant, ...]) -> Table:
    table = make_table("same body, same budget", *(v.name for v in variants), "with UNet--")
    plain_skips, reduced = variants
    saved = 1 - reduced.skip_floats_per_px / plain_skips.skip_floats_per_px
    table.add_row(
        "kept for the decoder, whole image",
        *(f"{v.skip_floats_per_px:g} floats/px" for v in variants),
        f"{saved:.1%} less",
    )
    table.add_row(
        "widest strip in that memory",
        *(f"{v.widest_strip_px:,} px" for v in variants),
        f"{reduced.widest_strip_px / max(1, plain_skips.widest_strip_px):.2f} x as wide",
    )
    table.add_row("projected peak", *(_needed(v) for v in variants), "")
    rows: dict[str, Callable[[Plan], str]] = {
        "skip in this plan": lambda p: format_size(p.terms.skip),
        "strip width in this plan": lambda p: f"{p.strip_width_px} px",
        "strips": lambda p: f"{len(p.strips)}",
        "workers x threads": lambda p: f"{p.workers} x {p.threads}",
        "recomputed": lambda p: f"{p.recomputed_share:.1%}",
        "time": lambda p: f"about {seconds_text(p.estimated_s)}",
    }
    for name, text in rows.items():
        table.add_row(name, *(text(v.plan) if v.plan else "-" for v in variants), "")
    return table


def _needed(variant: Variant) -> str:
    size = format_size(variant.needed_bytes)
    return size if variant.plan else f"does not fit, needs {size}"
