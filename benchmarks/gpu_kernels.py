"""All that a lent GPU has to say about the fused kernels, in one run of less than five minutes.

    python benchmarks/gpu_kernels.py -o gpu-kernels.json
    TRITON_INTERPRET=1 python benchmarks/gpu_kernels.py --tiny -o tiny.json     without a GPU

In this order: every kernel against the reference; the stream and training by torch's operations and
by kernels as their tables have them; tiles tuned; stream and training once more. What was found is
written after each figure, and nothing begins after --seconds. `tables` in the file are the tiles
that were quicker than those of unetmm/engine/torch/kernels/tiles.py; --keep keeps them for this
card in ~/.cache/unetmm (or UNETMM_CACHE_DIR), where runs and training find them.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

import torch
from gpu_kernel_cases import PIXELS, WARPS, Case, Size, Work, cases, difference
from gpu_kernel_runs import curves, stream_rates, training_steps

from unetmm.engine.precision import ITEM_BYTES
from unetmm.engine.torch import cuda
from unetmm.engine.torch.kernels.kept import CardOfTiles, keep
from unetmm.engine.torch.kernels.tiles import Fusing, Measured, Tile
from unetmm.train.fused import refusal, way_of

Figures = dict[str, Any]
ALLOWED = {"fp32": 1e-5, "fp16": 2e-3, "bf16": 4e-3}
"""Share of its range that a block may differ by, rounding of the result included."""
LEAST_GAIN = 0.03
"""Share of its time that a kernel has to be quicker by, or its tile stays that of the table."""
LAUNCHES = 10
"""Starts of a kernel that are timed together."""


@dataclass
class Report:
    """Figures found so far, in a file."""

    path: Path
    end: float
    """Moment after which nothing more begins."""
    found: Figures = field(default_factory=dict)
    failed: bool = False
    tiles: list[Measured] = field(default_factory=list)
    """Tiles that were quicker than those of the tables."""

    def put(self, part: str, name: str, figures: object) -> None:
        self.found.setdefault(part, {})[name] = figures
        self.path.write_text(json.dumps(self.found, indent=2) + "\n", encoding="utf-8")
        print(f"{part}: {name}: {figures}", flush=True)

    def attempt(self, part: str, name: str, work: Callable[[], object]) -> None:
        """Do it if there is time, and note what it gave or how it failed."""
        if time.monotonic() > self.end:
            self.put(part, name, "no time was left")
            return
        try:
            self.put(part, name, work())
        except Exception:  # whatever it was, the next one may go well
            self.failed = True
            self.put(part, name, traceback.format_exc().splitlines()[-1])
            traceback.print_exc(file=sys.stderr)


def main() -> int:
    arguments = parse()
    report = Report(arguments.output, time.monotonic() + arguments.seconds)
    fusing = describe(report, arguments)
    size = Size(2, 20, 2, 4) if arguments.tiny else Size(256, 8192, 8, 160)
    widths = [16, 32] if arguments.tiny else [16, 32, 64, 128, 256]
    known = cases(arguments.precision, widths, size, fusing, device_of(arguments))
    report.attempt("check", "all", lambda: check(report, known, arguments.tiny))
    compare(report, "torch", arguments, fused=False)
    compare(report, "fused", arguments, fused=True)
    if not arguments.tiny:
        report.attempt("kernels", "compiled ahead", lambda: compile_ahead(known))
    for case in known:
        report.attempt("kernels", case.name, lambda case=case: tuned(case, report, arguments.tiny))
    report.put("tables", "lines", [str(tile) for tile in report.tiles])
    if arguments.keep:
        report.attempt("tables", "kept", lambda: kept(report, arguments))
    compare(report, "fused and tuned", arguments, fused=True)
    if not arguments.tiny:
        report.attempt("curves", "small-rgb", lambda: curves(arguments.curve_steps))
    return int(report.failed)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu-kernels.json"))
    parser.add_argument("--seconds", type=float, default=270, help="nothing begins after them")
    parser.add_argument("--precision", choices=ITEM_BYTES, default="bf16")
    parser.add_argument("--curve-steps", type=int, default=500)
    parser.add_argument("--keep", action="store_true", help="keep the best tiles for this card")
    parser.add_argument("--tiny", action="store_true", help="tiny maps on the CPU: a rehearsal")
    return parser.parse_args()


def device_of(arguments: argparse.Namespace) -> str:
    return "cpu" if arguments.tiny else "cuda:0"


def card_of(arguments: argparse.Namespace) -> CardOfTiles:
    return CardOfTiles("interpreter", (0, 0), "") if arguments.tiny else cuda.card(0)


def kept(report: Report, arguments: argparse.Namespace) -> str:
    """File that the tiles found are in now."""
    return str(keep(card_of(arguments), ITEM_BYTES[arguments.precision], report.tiles))


def describe(report: Report, arguments: argparse.Namespace) -> Fusing:
    """What the machine is, and the kernels' view of it."""
    item = ITEM_BYTES[arguments.precision]
    if arguments.tiny:
        report.put("machine", "device", "CPU, interpreter")
        return Fusing(item, 1, 10**6)
    import triton

    found = torch.cuda.get_device_properties(0)
    shared = found.shared_memory_per_block_optin
    report.put("machine", "device", found.name)
    report.put("machine", "versions", {"torch": torch.__version__, "triton": triton.__version__})
    report.put("machine", "processors, shared bytes", [found.multi_processor_count, shared])
    report.put("machine", "copies, GB/s", copies_gb_per_s())
    return Fusing(item, found.multi_processor_count, shared)


def copies_gb_per_s() -> float:
    """Bandwidth of the GPU's memory, read and written."""
    a = torch.ones(2**30, dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    return 2 * len(a) / seconds_of(lambda: b.copy_(a)) / 1e9


def seconds_of(work: Work) -> float:
    """Median time of a start, of several together; a single one in the interpreter."""
    rounds, launches = (4, LAUNCHES) if torch.cuda.is_available() else (1, 1)
    taken = []
    for _ in range(rounds):
        settle()
        start = time.perf_counter()
        for _ in range(launches):
            work()
        settle()
        taken.append((time.perf_counter() - start) / launches)
    return median(taken[-3:])


def settle() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def check(report: Report, known: list[Case], is_tiny: bool) -> str:
    """Every kernel against the reference, forward and gradients, in half precision and float32."""
    wanted = []
    for precision in dict.fromkeys((known[0].precision, "fp32")):
        for case in known:
            if case.kind == "pointwise":  # checked with the other half
                continue
            fusing = replace(case.fusing, item_bytes=ITEM_BYTES[precision])
            wanted.append(replace(case, precision=precision, fusing=fusing))
    words = in_processes(judged, wanted, is_tiny)
    for case, said in zip(wanted, words, strict=True):
        report.put("check", case.name, said)
    wrong = sum(said.startswith("WRONG") for said in words)
    report.failed = report.failed or wrong > 0
    return f"{wrong} of {len(words)} are wrong"


def in_processes(work: Callable[[Any], Any], wanted: list[Any], is_tiny: bool) -> list[Any]:
    """Work on each, by many processes, for a compiler is what takes the time."""
    if is_tiny:
        return [work(each) for each in wanted]
    workers = max(1, (os.cpu_count() or 2) - 2)
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(work, wanted))


def judged(case: Case) -> str:
    """What a kernel makes, in words."""
    try:
        if case.kind == "gradient":
            return trained(case)
        rows, width = (2, 20) if case.device == "cpu" else (37, 208)
        found = difference(case, rows, width)
        right = found <= ALLOWED[case.precision]
        return f"{'ok' if right else 'WRONG'}: {found:.1e} of the range"
    except Exception as error:  # whatever it was, the next one may go well
        return f"WRONG: {type(error).__name__}: {error}"


def trained(case: Case) -> str:
    dtype = torch.float32 if case.precision == "fp32" else torch.bfloat16
    way = way_of(case.block, dtype, case.fusing)
    if way is None:
        return "by torch's operations"
    refused = refusal(case.channels, way, torch.device(case.device))
    return "ok" if refused is None else f"WRONG: {refused}"


def compare(report: Report, name: str, arguments: argparse.Namespace, fused: bool) -> None:
    """Stream and training in one of the ways."""
    chosen = arguments.precision, arguments.tiny, fused, tuple(report.tiles)
    for model in ("tiny-rgb",) if arguments.tiny else ("tiny-rgb", "nafnet-32"):
        report.attempt(f"stream, {name}", model, lambda model=model: stream_rates(model, *chosen))
    for model in ("tiny-rgb",) if arguments.tiny else ("tiny-rgb", "small-rgb"):
        report.attempt(
            f"training, {name}", model, lambda model=model: training_steps(model, *chosen)
        )


# Tuning


def tuned(case: Case, report: Report, is_short: bool) -> Figures:
    """Time of a kernel as its table has it, and with the best tile."""
    if (tile := case.tile) is None:
        return measured(case, None)
    before = measured(case, tile)
    best: list[tuple[float, Tile]] = [(before["us"], tile)]
    for candidate in case.candidates(lambda: min(best, key=lambda pair: pair[0])[1]):
        if time.monotonic() > report.end or (is_short and len(best) > 1):
            break
        try:
            best.append((measured(case, candidate)["us"], candidate))
        except Exception as error:  # too much shared memory, or registers
            print(f"  {candidate}: {str(error).splitlines()[0][:80]}", flush=True)
    quickest = min(best, key=lambda pair: pair[0])[1]
    again = measured(case, quickest)
    if again["us"] < (1 - LEAST_GAIN) * before["us"]:
        report.tiles.append(case.measured(quickest))
    return {"table": before, "best": again, "tile": str(quickest)}


def measured(case: Case, tile: Tile | None) -> Figures:
    work, pixels, least_bytes = case.work(tile)
    work()
    taken_s = seconds_of(work)
    return {
        "us": round(taken_s * 1e6, 1),
        "mpx_per_s": round(pixels / taken_s / 1e6, 1),
        "gb_per_s": round(least_bytes / taken_s / 1e9, 1),
    }


def compile_ahead(known: list[Case]) -> str:
    """Have all candidates compiled by many processes, into Triton's cache."""
    start = time.monotonic()
    wanted = [
        (case, replace(tile, pixels=pixels, warps=warps))
        for case in known
        if (tile := case.tile) is not None
        for pixels in PIXELS
        for warps in WARPS
    ]
    works = in_processes(compiles, wanted, is_tiny=False)
    return f"{sum(works)} of {len(works)} work, {time.monotonic() - start:.0f} s"


def compiles(wanted: tuple[Case, Tile]) -> bool:
    """Run a kernel once."""
    case, tile = wanted
    try:
        case.work(tile)[0]()
        settle()
    except Exception:  # the tuning says why
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
