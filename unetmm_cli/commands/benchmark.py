"""`unetmm benchmark`: what is under way on stderr, and the table of what was found."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING

from unetmm.sizes import format_size
from unetmm_cli import display

if TYPE_CHECKING:
    from unetmm.benchmark import BenchmarkResult, Measurement, Setting, Step

ALL_PEERS = "all"


def measure(setting: Setting, as_json: bool) -> None:
    """Run a benchmark and show what it found.

    Raises
    ------
    UnetmmError
        If model or peers cannot be used.
    """
    from dataclasses import replace

    from unetmm.benchmark import run_benchmark
    from unetmm.benchmark.session import installed_peers

    if ALL_PEERS in setting.peers:
        setting = replace(setting, peers=installed_peers())
    # A batch system's signal ends the run as Ctrl-C does: its processes and files go with it.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    outcome = run_benchmark(setting, _show)
    if sys.stderr.isatty():
        display.progress_line("")
    if as_json:
        display.result_json(outcome.as_dict())
    else:
        display.show_benchmark(facts_of(outcome), [row(m, outcome) for m in outcome.measurements])


def _show(step: Step) -> None:
    took = f" {step.seconds:.2f} s" if step.seconds else ""
    text = f"{step.label}: {step.what}{took}"
    if sys.stderr.isatty() and not step.what.startswith("failed"):
        display.progress_line(text)
    else:
        display.say(text)


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
