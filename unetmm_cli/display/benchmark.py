"""Measurements of a benchmark as a table, one line a contender."""

from __future__ import annotations

from typing import TYPE_CHECKING

from unetmm.sizes import format_size
from unetmm_cli.display.tables import make_table, show_pairs, show_table

if TYPE_CHECKING:
    from unetmm.benchmark import BenchmarkResult, Measurement


def show_benchmark(outcome: BenchmarkResult) -> None:
    """What was measured, and a line for every contender."""
    show_pairs(facts_of(outcome))
    right = ("s/Mpx", "spread", "x stream", "peak", "max diff")
    table = make_table("", *right, "", right=right)
    for measurement in outcome.measurements:
        table.add_row(*row(measurement, outcome))
    show_table(table)


def facts_of(outcome: BenchmarkResult) -> dict[str, str]:
    """What was measured, in words."""
    threads = f"{outcome.threads} thread{'s' * (outcome.threads > 1)}"
    return {
        "model": outcome.model,
        "image": f"{outcome.side_px} x {outcome.side_px} px, 8-bit",
        "machine": f"{threads} of {outcome.processor}",
    }


def row(measurement: Measurement, outcome: BenchmarkResult) -> tuple[str, ...]:
    """A contender's line of the table."""
    m = measurement
    if m.failure:
        return m.label, "-", "-", "-", "-", "-", m.failure
    unit = "" if m.megapixels else " s"
    ratio = outcome.ratio(m)
    return (
        m.label,
        f"{m.median:.3f}{unit}",
        f"{m.low:.3f} to {m.high:.3f}",
        "" if ratio is None else f"{ratio:.2f}",
        "" if m.peak_bytes is None else format_size(m.peak_bytes),
        "" if m.difference is None else f"{m.difference:.1e}",
        "; ".join(filter(None, (m.note, _beside_products(m, outcome)))),
    )


def _beside_products(measurement: Measurement, outcome: BenchmarkResult) -> str:
    """What a stream takes more than the least that any engine would, if that was measured."""
    found = outcome.times_products(measurement)
    if found is None:
        return ""
    median, least, most = found
    return f"{median:.2f} x its matrix products ({least:.2f} to {most:.2f})"
