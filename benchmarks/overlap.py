"""unetmm against Dask's map_overlap around the reference net: same image, budget and answer.

    python benchmarks/overlap.py --model tiny-rgb --size 2048 --budget 2000000000

Dask gets the halo that makes its answer exact, the channels-last forward, and the largest chunks
with which its peak stays within the budget: once with one chunk at a time on all threads, once with
a chunk for every thread; the faster counts. The peak is that of the process, torch included.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from watch import end_tidily, markdown, megabytes

from unetmm import process
from unetmm.benchmark.contenders import Subject, prepare, stream
from unetmm.benchmark.peers import halo_px, map_overlap
from unetmm.benchmark.setting import Files, Setting
from unetmm.geometry import round_up
from unetmm.process import available_cores
from unetmm.run.of_array import restore_array

PROBE_PX = 160, 416
"""Sides of the chunks from which the memory of others is foreseen; their halos come on top."""
FILL = 1.1
"""Share of the budget up to which chunks are tried, as a forecast is not exact."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--model", default="tiny-rgb")
    parser.add_argument("--size", type=int, default=2048)
    parser.add_argument("--budget", type=int, default=2 * 10**9, metavar="BYTES")
    parser.add_argument("--repeat", type=int, default=5, help="runs of unetmm")
    parser.add_argument("--repeat-dask", type=int, default=3, help="runs of the faster Dask")
    arguments = parser.parse_args()
    end_tidily()
    setting = Setting(arguments.model, arguments.size, threads=available_cores())
    with tempfile.TemporaryDirectory(prefix="unetmm-overlap-") as name:
        subject = Subject(setting, Files(Path(name)))
        aside(make_files, subject)
        ours = aside(run_stream, subject, arguments.budget, arguments.repeat)
        say(f"unetmm: {statistics.median(ours['seconds']):.2f} s")
        dask = fastest_dask(subject, arguments.budget)
        more = aside(run_dask, subject, dask["chunk"], dask["workers"], arguments.repeat_dask - 1)
        dask["seconds"] += more["seconds"]
        difference, extent = compare(Path(name))
    show(arguments, ours, dask)
    print(f"largest difference {difference:.2e}, {difference / extent:.2e} of the value range")
    return int(difference > 2e-6 * extent)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def aside(work: Callable[..., Any], *values: Any) -> Any:
    """What a function gives in a fresh process of its own; an empty dictionary if that died."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_send, args=(theirs, work, values), daemon=True)
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        return {}
    finally:
        process.join()


def _send(pipe: Connection, work: Callable[..., Any], values: tuple[Any, ...]) -> None:
    pipe.send(work(*values))


def make_files(subject: Subject) -> None:
    prepare(subject)


def run_stream(subject: Subject, budget: int, repeats: int) -> dict[str, Any]:
    """unetmm from array to array within the budget; leaves its unrounded answer in a file."""
    options = subject.options(budget_bytes=budget)
    image = subject.image
    restore_array(image, options, "YXS")
    process.reset_peak()
    seconds = [seconds_of(lambda: restore_array(image, options, "YXS")) for _ in range(repeats)]
    peak = process.peak_bytes()
    answer = stream(subject).answer
    assert answer is not None
    np.save(subject.files.folder / "ours.npy", answer())
    return {"seconds": seconds, "peak_bytes": peak}


def run_dask(subject: Subject, chunk: int, workers: int, repeats: int) -> dict[str, Any]:
    """Dask over the whole image; leaves its answer in a file."""
    pixels, halo = subject.scaled, halo_px(subject.model.config)
    subject.frozen_net()
    process.reset_peak()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        answer = map_overlap(subject, pixels, chunk, halo, workers)
        seconds.append(time.perf_counter() - start)
        np.save(subject.files.folder / "dask.npy", answer)
    return {
        "seconds": seconds,
        "peak_bytes": process.peak_bytes(),
        "chunk": chunk,
        "workers": workers,
        "halo": halo,
    }


def probe(subject: Subject, chunk: int) -> tuple[int, int]:
    """(pixels, peak bytes) of one chunk with its halo."""
    side = chunk + 2 * halo_px(subject.model.config)
    pixels = np.resize(subject.scaled, (side, side, subject.image.shape[-1]))
    subject.frozen_net()
    process.reset_peak()
    map_overlap(subject, pixels, side, 0, 1)
    return side * side, process.peak_bytes()


def seconds_of(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def fastest_dask(subject: Subject, budget: int) -> dict[str, Any]:
    """The run with the largest chunks that keep the budget, for one chunk at a time or several."""
    first, second = (aside(probe, subject, chunk) for chunk in PROBE_PX)
    slope = (second[1] - first[1]) / (second[0] - first[0])
    floor = first[1] - slope * first[0]
    found = [
        within_budget(subject, budget, workers, slope, floor)
        for workers in sorted({1, subject.setting.threads})
    ]
    runs = [run for run in found if run]
    if not runs:
        raise SystemExit("no chunk keeps Dask within the budget")
    return min(runs, key=lambda run: run["seconds"][0])


def within_budget(
    subject: Subject, budget: int, workers: int, slope: float, floor: float
) -> dict[str, Any] | None:
    """Run with ever more chunks an axis until the peak is within the budget; None if none is."""
    stride, halo = subject.model.config.stride_px, halo_px(subject.model.config)
    side = subject.setting.side_px
    for count in range(1, side // stride + 1):
        chunk = round_up(-(-side // count), stride)
        window = chunk + min(2, count - 1) * halo
        live = min(workers, count * count)
        if floor + live * slope * window**2 > FILL * budget:
            continue
        run = aside(run_dask, subject, chunk, workers, 1)
        if run:
            say(
                f"Dask, {workers} at a time, chunks of {chunk} px: {run['seconds'][0]:.1f} s, "
                f"peak {megabytes(run['peak_bytes'])}"
            )
            if run["peak_bytes"] <= budget:
                return dict(run)
    return None


def compare(folder: Path) -> tuple[float, float]:
    """(largest difference, extent of the values)."""
    ours, theirs = (np.load(folder / name, mmap_mode="r") for name in ("ours.npy", "dask.npy"))
    return float(np.abs(ours - theirs).max()), float(theirs.max() - theirs.min())


def show(arguments: argparse.Namespace, ours: dict[str, Any], dask: dict[str, Any]) -> None:
    megapixels = arguments.size**2 / 1e6
    base = statistics.median(ours["seconds"])
    what = (
        f"Dask map_overlap, chunks of {dask['chunk']} px, halo {dask['halo']} px, "
        f"{dask['workers']} at a time"
    )
    rows = []
    for label, run in (("unetmm", ours), (what, dask)):
        seconds = run["seconds"]
        median = statistics.median(seconds)
        rows.append(
            [
                label,
                f"{median / megapixels:.3f}",
                f"{min(seconds) / megapixels:.3f} to {max(seconds) / megapixels:.3f}, "
                f"{len(seconds)} runs",
                f"{median / base:.1f}",
                megabytes(run["peak_bytes"]),
            ]
        )
    print(f"{arguments.model}, {arguments.size} x {arguments.size}, {megabytes(arguments.budget)}")
    print(markdown(("", "s/Mpx", "spread", "x unetmm", "peak"), rows))


if __name__ == "__main__":
    sys.exit(main())
