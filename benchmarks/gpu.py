"""What share of a GPU's bounds the stream reaches: of its memory's bandwidth and of its products.

    python benchmarks/gpu.py --model tiny-rgb --model nafnet-32 --precision bf16 --json gpu.json

The bounds are measured first, in the same process. Where a net fails, what was measured of it is
kept, and the next one follows. `--device torch` tries all of it on the CPU, with a small --size.
"""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import torch
from gpu_plain import plain
from gpu_subject import Subject, begin, seconds, settle
from gpu_traffic import macs_per_px, moved_bytes_per_px
from numpy.typing import NDArray
from watch import end_tidily, markdown

from unetmm.engine.choice import pick_engine
from unetmm.engine.layouts import make_layout
from unetmm.engine.precision import ITEM_BYTES, Precision
from unetmm.engine.torch.engine import TorchEngine
from unetmm.engine.torch.folded import DTYPES
from unetmm.engine.torch.stream import TorchStream
from unetmm.geometry import round_up
from unetmm.run.of_array import restore_array
from unetmm.sizes import parse_size

DEFAULT_MODELS = "tiny-rgb", "nafnet-32"
SMALL_PX = 512
"""Side of the image that the compiled kernels restore as well."""
COPY_BYTES = {"cuda": 2 * 2**30, "cpu": 2**26}
MATMUL_SIDE = {"cuda": 8192, "cpu": 512}
ROUNDS = 10
"""Copies or products that are timed together."""
PROFILED_STEPS = 3
PROFILED_ROWS = 12

Figures = dict[str, Any]


def main() -> int:
    arguments = parse()
    end_tidily()
    where = pick_engine(arguments.device, "fp32")
    assert isinstance(where, TorchEngine), "the kernels have a benchmark of their own"
    precisions: list[Precision] = arguments.precision or ["bf16"]
    found: Figures = {
        "device": where.device_name or "CPU",
        "torch": torch.__version__,
        "size_px": arguments.size,
        "copy_gb_per_s": copy_bandwidth(where) / 1e9,
        "tflop_per_s": {p: matmul_rate(where, p) / 1e12 for p in precisions},
        "rows": [],
    }
    print(f"{found['device']}, torch {found['torch']}: copies {found['copy_gb_per_s']:.0f} GB/s,")
    print("products " + ", ".join(f"{p} {r:.1f} TFLOP/s" for p, r in found["tflop_per_s"].items()))
    begin(where)  # or the nets would lie in what these products have left behind
    failed = False
    for name in arguments.model or DEFAULT_MODELS:
        for precision in precisions:
            subject = Subject(
                name, precision, arguments.device, arguments.size, arguments.device_budget,
                arguments.repeat, tuple(arguments.band),
            )  # fmt: skip
            row: Figures = {"model": name, "precision": precision}
            found["rows"].append(row)
            try:
                for figures in measured(subject, found, row):
                    row |= figures
                    write(arguments.json, found)
                if arguments.profile:
                    print(f"\n{profile(subject)}", flush=True)
            except Exception:  # whatever it was, the next one may go well
                row["error"] = traceback.format_exc()
                print(row["error"], file=sys.stderr, flush=True)
                write(arguments.json, found)
                failed = True
            title = f"{name}, {precision}, {arguments.size} x {arguments.size}"
            print(f"\n{markdown((title, ''), lines(row))}", flush=True)
    return int(failed)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", action="append", help=f"default: {', '.join(DEFAULT_MODELS)}")
    parser.add_argument("--precision", action="append", choices=ITEM_BYTES, help="default: bf16")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:N or torch")
    parser.add_argument("--device-budget", type=parse_size, default="8GB")
    parser.add_argument("--size", type=int, default=8192)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--band", type=int, action="append", default=[], help="other rows to try")
    parser.add_argument("--profile", action="store_true", help="a table of what takes the time")
    parser.add_argument("--json", type=Path, metavar="FILE")
    return parser.parse_args()


def write(path: Path | None, found: Figures) -> None:
    if path:  # after every figure, so that a run that is cut short leaves something
        path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def copy_bandwidth(engine: TorchEngine) -> float:
    """Bytes a second, read and written, of copies within the device."""
    nbytes = COPY_BYTES[engine.place]
    source = torch.ones(nbytes, dtype=torch.uint8, device=engine.device)
    into = torch.empty_like(source)

    def work() -> None:
        for _ in range(ROUNDS):
            into.copy_(source)

    return 2 * nbytes * ROUNDS / seconds(work, engine, 5)


def matmul_rate(engine: TorchEngine, precision: Precision) -> float:
    """Floating-point operations a second of a large square product of random numbers, no TF32."""
    side = MATMUL_SIDE[engine.place]
    a, b = (torch.randn((side, side), device=engine.device).to(DTYPES[precision]) for _ in "ab")
    out = torch.empty_like(a)

    def work() -> None:
        for _ in range(ROUNDS):
            torch.mm(a, b, out=out)

    return 2 * side**3 * ROUNDS / seconds(work, engine, 5)


# What is measured of a net


def measured(subject: Subject, bounds: Figures, row: Figures) -> Iterator[Figures]:
    """Figures of a subject, a few at a time."""
    megapixels, engine = subject.size_px**2 / 1e6, subject.engine
    yield planned(subject)
    yield {"difference_counts": difference(subject)}
    taken_s = seconds(
        lambda: subject.restore(calibration=subject.calibration), engine, subject.repeats
    )
    yield {"array_s": taken_s, "array_mpx_per_s": megapixels / taken_s}
    yield memory(subject)
    start = perf_counter()
    subject.restore()
    yield {"calibrating_array_s": perf_counter() - start}
    rate = stream_rate(subject, subject.plan.band_rows)
    yield rate.figures | shares(row, bounds, rate)
    for band in subject.more_bands:
        yield {f"stream_{band}": stream_rate(subject, band).figures}
    yield plain(subject)


def planned(subject: Subject) -> Figures:
    """How the image is cut, and what that computes and moves."""
    plan = subject.plan
    layout = make_layout(subject.model.config, plan.band_rows)
    width, item = plan.strip_width_px, subject.engine.item_bytes
    return {
        "band_rows": plan.band_rows,
        "strip_width_px": width,
        "strips": len(plan.strips),
        "macs_per_px": macs_per_px(layout),
        "moved_bytes_per_px": moved_bytes_per_px(layout, width, item, subject.engine.fusing),
    }


def shares(row: Figures, bounds: Figures, rate: Rate) -> Figures:
    """Of the bounds that were measured, in per cent. In its last step a stream computes a whole
    band for the rows it lags behind, which is work of the device as well."""
    flops = 2 * row["macs_per_px"] * rate.computed_px_per_s
    moved = row["moved_bytes_per_px"] * rate.computed_px_per_s
    return {
        "product_share_percent": flops / bounds["tflop_per_s"][row["precision"]] / 1e10,
        "bandwidth_share_percent": moved / bounds["copy_gb_per_s"] / 1e7,
    }


def memory(subject: Subject) -> Figures:
    """The peak of the last run on a GPU, and what it must not exceed."""
    terms, peak_bytes = subject.plan.device_terms, subject.net.peak_bytes()
    if terms is None or peak_bytes is None:
        return {}
    return {
        "peak_bytes": peak_bytes,
        "projected_bytes": terms.total,
        "budget_bytes": subject.budget_bytes,
        "fits": peak_bytes <= terms.total <= subject.budget_bytes,
    }


@dataclass(frozen=True)
class Rate:
    """Speed of the stream alone."""

    px_per_s: float
    """Speed in pixels of the strip."""
    computed_px_per_s: float
    """Speed in pixels of all bands that were computed for it."""

    @property
    def figures(self) -> Figures:
        return {
            "stream_mpx_per_s": self.px_per_s / 1e6,
            "computed_mpx_per_s": self.computed_px_per_s / 1e6,
        }


def stream_rate(subject: Subject, band_rows: int) -> Rate:
    """Float32 rows in and out, over one strip of the plan."""
    rows, taken, heights = random_rows(subject, band_rows), [], (0, 0)
    for _ in range(subject.repeats + 1):
        stream = open_stream(subject, band_rows)
        steps = -(-(stream.height + stream.layout.lag_rows) // band_rows)
        heights = stream.height, steps * band_rows
        settle(subject.engine)
        start = perf_counter()
        for _ in range(0, stream.height, band_rows):
            for _ in stream.push(rows):
                pass
        for _ in stream.flush():
            pass
        settle(subject.engine)
        taken.append(perf_counter() - start)
        del stream  # or there would be two of them
    taken_s, width = median(taken[1:]), rows.shape[1]
    return Rate(heights[0] * width / taken_s, heights[1] * width / taken_s)


def open_stream(subject: Subject, band_rows: int) -> TorchStream:
    """A stream of the plan's width for the image's height."""
    plan, height = subject.plan, round_up(subject.size_px, band_rows)
    attention = subject.calibration.entry(0, 0).attention
    return subject.net.open_stream(attention, plan.strip_width_px, height, band_rows, plan.threads)


def random_rows(subject: Subject, band_rows: int) -> NDArray[np.float32]:
    """Random rows of a band, to be pushed again and again."""
    shape = band_rows, subject.plan.strip_width_px, subject.model.config.in_channels
    return np.random.default_rng(0).random(shape, np.float32)


def difference(subject: Subject) -> float:
    """Largest difference from the compiled kernels in fp32, of 255, before rounding."""
    scaled = subject.image[:SMALL_PX, :SMALL_PX].astype(np.float32) / np.float32(255)
    known = subject.calibration
    entries = {k: replace(e, low=0.0, high=1.0) for k, e in known.entries.items()}
    exact = replace(known, entries=entries)
    ours, theirs = (
        restore_array(scaled, subject.options(calibration=exact, **chosen), "YXS", subject.loaded)
        for chosen in ({}, {"device": "cpu", "precision": "fp32"})
    )
    return float(np.abs(ours - theirs).max()) * 255


# What is shown


def profile(subject: Subject) -> str:
    """Torch's table of the operations of a few steps."""
    on_gpu = subject.engine.gpu is not None
    band = subject.plan.band_rows
    stream, rows = open_stream(subject, band), random_rows(subject, band)
    most = stream.height // stream.band
    before = max(0, min(most - PROFILED_STEPS, -(-stream.layout.lag_rows // stream.band)))
    for _ in range(before):
        list(stream.push(rows))
    settle(subject.engine)
    activities = [torch.profiler.ProfilerActivity.CPU]
    if on_gpu:
        activities.append(torch.profiler.ProfilerActivity.CUDA)
    with torch.profiler.profile(activities=activities) as profiler:
        for _ in range(min(PROFILED_STEPS, most - before)):
            list(stream.push(rows))
        settle(subject.engine)
    order = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    averages = profiler.key_averages()
    return str(averages.table(sort_by=order, row_limit=PROFILED_ROWS, max_name_column_width=70))


def lines(row: Figures) -> list[tuple[str, str]]:
    """Lines of a net's table, for those figures that there are."""
    formats = {
        "band_rows": ("band, rows", "{:,}"),
        "strip_width_px": ("strip, px", "{:,}"),
        "strips": ("strips", "{}"),
        "array_mpx_per_s": ("array to array, calibrated, Mpx/s", "{:.2f}"),
        "array_s": ("the same, s", "{:.2f}"),
        "calibrating_array_s": ("with calibration, s", "{:.2f}"),
        "stream_mpx_per_s": ("stream alone, Mpx/s", "{:.2f}"),
        "computed_mpx_per_s": ("the same, every band that is computed, Mpx/s", "{:.2f}"),
        "macs_per_px": ("multiply-adds per px", "{:,.0f}"),
        "product_share_percent": ("share of the product rate", "{:.1f} %"),
        "moved_bytes_per_px": ("bytes moved per px", "{:,.0f}"),
        "bandwidth_share_percent": ("share of the bandwidth", "{:.1f} %"),
        "peak_bytes": ("measured peak, bytes", "{:,}"),
        "projected_bytes": ("projected peak, bytes", "{:,}"),
        "budget_bytes": ("budget, bytes", "{:,}"),
        "difference_counts": ("largest difference, of 255", "{:.4f}"),
    }
    for label in ("nchw", "channels_last"):
        key, words = f"plain_{label}", f"plain {label.replace('_', ' ')}"
        formats |= {
            f"{key}_mpx_per_s": (f"{words}, Mpx/s", "{:.2f}"),
            f"{key}_side_px": (f"{words}, side, px", "{:,}"),
            f"{key}_peak_bytes": (f"{words}, peak, bytes", "{:,}"),
        }
    shown = [(words, how.format(row[k])) for k, (words, how) in formats.items() if k in row]
    for key in (k for k in row if k.startswith("stream_") and isinstance(row[k], dict)):
        rate = row[key]["stream_mpx_per_s"]
        shown.append((f"stream alone, bands of {key[7:]} rows, Mpx/s", f"{rate:.2f}"))
    if "fits" in row:
        shown.append(("within projection and budget", "ok" if row["fits"] else "EXCEEDED"))
    if "error" in row:
        shown.append(("error", row["error"].strip().rpartition("\n")[2].replace("|", "/")))
    return shown


if __name__ == "__main__":
    sys.exit(main())
