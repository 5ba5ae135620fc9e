"""How the CPU's rate grows with cores: array to array and file to file, in one run.

    python benchmarks/scaling.py --seconds 240 --json scaling.json
    python benchmarks/scaling.py --cores 1 --cores 2 --size 512 --rounds 2    a rehearsal

Each measurement is a process of its own that may run on so many cores and no others, one of each
pair of hardware threads first. A round goes through all numbers of cores, so that a drift of the
machine is in all of them; a ratio is of two rates of the same round. Sizes above --most-rows are so
many rows high. Nothing begins after --seconds, and the file is written after each measurement.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from watch import end_tidily, markdown

CORES = (1, 2, 4, 8, 16)
MODELS = ("tiny-rgb", "nafnet-32")
SIZES = (2048, 8192)
WAYS = {"array": "array to array, given the calibration", "file": "file to file, measuring it"}
WANTED = 0.85
"""Share of linear growth that is wanted on 16 cores."""
BUDGET_BYTES = 4 * 10**9
SCENE_PX = 2048
"""Side of the synthetic image that a larger one repeats."""

Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """What one process measures."""

    model: str
    width_px: int
    height_px: int
    cores: tuple[int, ...]
    """Numbers of the cores that it may run on."""

    @property
    def megapixels(self) -> float:
        return self.width_px * self.height_px / 1e6

    @property
    def name(self) -> str:
        return f"{self.model}, {self.width_px} x {self.height_px}"


def main() -> int:
    arguments = parse()
    if arguments.child is not None:
        print(json.dumps(measure(Case(**json.loads(arguments.child)), arguments.folder)))
        return 0
    end_tidily()
    end = time.monotonic() + arguments.seconds
    order = cores_in_order()
    counts = [n for n in arguments.cores or CORES if n <= len(order)]
    found: Figures = {"machine": machine(order), "left_out": [], "runs": []}
    with tempfile.TemporaryDirectory(prefix="unetmm-scaling-", dir=arguments.folder) as folder:
        for number, case in cases(arguments, counts, order):
            if time.monotonic() > end:
                found["left_out"].append(f"round {number + 1}: {case.name}, {len(case.cores)}")
            else:
                found["runs"] += [run | {"round": number} for run in in_process(case, folder)]
            if arguments.json:
                text = json.dumps(found | {"table": table(found["runs"])}, indent=2)
                arguments.json.write_text(text + "\n", encoding="utf-8")
    print(shown(table(found["runs"])))
    if found["left_out"]:
        print(f"\nno time was left for {len(found['left_out'])} of the processes")
    return int(any("failed" in run for run in found["runs"]))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--cores", type=int, action="append", help=f"default: {CORES}")
    parser.add_argument("--model", action="append", help=f"default: {', '.join(MODELS)}")
    parser.add_argument("--size", type=int, action="append", help=f"width in px, default: {SIZES}")
    parser.add_argument("--most-rows", type=int, default=2048, help="height in px at most")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1e9, help="nothing begins after them")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def cases(
    arguments: argparse.Namespace, counts: list[int], order: list[int]
) -> Iterator[tuple[int, Case]]:
    """(round, what to measure), the numbers of cores one after the other."""
    for number in range(arguments.rounds):
        for width in arguments.size or SIZES:
            for model in arguments.model or MODELS:
                for count in counts:
                    height = min(width, arguments.most_rows)
                    yield number, Case(model, width, height, tuple(order[:count]))


def cores_in_order() -> list[int]:
    """Cores that this process may run on: one hardware thread of each core first."""
    available, chosen = sorted(os.sched_getaffinity(0)), []
    seen: set[str] = set()
    for core in available:
        path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        pair = path.read_text(encoding="ascii") if path.exists() else str(core)
        if pair not in seen:
            chosen.append(core)
        seen.add(pair)
    return [*chosen, *(core for core in available if core not in chosen)]


def machine(order: list[int]) -> Figures:
    """What the figures were measured on."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
    return {"processor": sorted(names), "cores": order, "load_before": os.getloadavg()}


def in_process(case: Case, folder: str) -> list[Figures]:
    """What a process of its own measures; one entry that says how it failed."""
    words = [sys.executable, __file__, "--folder", folder, "--child", json.dumps(asdict(case))]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=False)
    base = {"case": case.name, "cores": len(case.cores)}
    if done.returncode:
        return [base | {"failed": done.returncode}]
    runs: Figures = json.loads(done.stdout.splitlines()[-1])
    for way, figures in runs.items():
        rate = f"{figures['mpx_per_s']:.2f} Mpx/s"
        print(f"{case.name}, {len(case.cores)} cores, {way}: {rate}", file=sys.stderr, flush=True)
    return [base | {"way": way} | figures for way, figures in runs.items()]


def measure(case: Case, folder: Path) -> Figures:
    """The seconds of both ways, in this process, whose kernels a small image has loaded."""
    os.sched_setaffinity(0, case.cores)
    import numpy as np
    import tifffile

    from unetmm.benchmark.contenders import synthetic_image
    from unetmm.benchmark.setting import load_subject
    from unetmm.options import Options
    from unetmm.run.loaded import Loaded
    from unetmm.run.of_array import restore_array
    from unetmm.run.of_file import restore_file

    logging.getLogger("unetmm").setLevel(logging.ERROR)  # a net with random weights is no guard's
    model, loaded = load_subject(case.model), Loaded()
    options = Options(model, BUDGET_BYTES, overwrite=True)
    scene = synthetic_image(min(SCENE_PX, case.width_px), 3)
    times = (-(-side // len(scene)) for side in (case.height_px, case.width_px))
    image = np.tile(scene, (*times, 1))[: case.height_px, : case.width_px]
    restore_array(np.ascontiguousarray(image[:256, :256]), options, "YXS", loaded)
    source, output = folder / "in.tif", folder / "out.tif"
    tifffile.imwrite(source, image, photometric="rgb", rowsperstrip=64)
    start = time.perf_counter()
    report = restore_file(source, output, options, loaded=loaded)
    file_s = time.perf_counter() - start
    known = Options(model, BUDGET_BYTES, calibration=report.calibration)
    start = time.perf_counter()
    restore_array(image, known, "YXS", loaded)
    array_s = time.perf_counter() - start
    assert report.plan is not None
    plan = {name: getattr(report.plan, name) for name in ("workers", "threads", "band_rows")}
    return {
        "array": _figures(case, array_s),
        "file": _figures(case, file_s) | {"parts_s": report.seconds, "plan": plan},
    }


def _figures(case: Case, taken_s: float) -> Figures:
    return {"seconds": round(taken_s, 4), "mpx_per_s": round(case.megapixels / taken_s, 4)}


def table(runs: list[Figures]) -> list[Figures]:
    """A line for each image, way and number of cores: rates, and shares of linear growth."""
    good = [run for run in runs if "failed" not in run]
    rates = {(r["case"], r["way"], r["round"], r["cores"]): r["mpx_per_s"] for r in good}
    lines = []
    for case, way, cores in dict.fromkeys((r["case"], r["way"], r["cores"]) for r in good):
        found = {n: rate for (c, w, n, k), rate in rates.items() if (c, w, k) == (case, way, cores)}
        least = min(k for c, w, _, k in rates if (c, w) == (case, way))
        firsts = {n: rates.get((case, way, n, least)) for n in found}
        shares = [found[n] / first / (cores / least) for n, first in firsts.items() if first]
        line = {"case": case, "way": way, "cores": cores, "rounds": len(found)}
        line |= {"mpx_per_s": _spread(list(found.values())), "compared_with_cores": least}
        lines.append(line | {"share_of_linear": _spread(shares) if shares else None})
    return lines


def _spread(values: list[float]) -> list[float]:
    """Median, least and most."""
    return [round(v, 4) for v in (median(values), min(values), max(values))]


def shown(lines: list[Figures]) -> str:
    """The table as Markdown."""
    header = ("", "cores", "Mpx/s, median (range)", "of linear, median (range)", "rounds")
    rows = []
    for line in lines:
        share = line["share_of_linear"]
        missed = share is not None and line["cores"] == max(CORES) and share[0] < WANTED
        words = (
            "-" if share is None else _words(share) + (" below what is wanted" if missed else "")
        )
        name = f"{line['case']}, {WAYS[line['way']]}"
        rows.append(
            [name, str(line["cores"]), _words(line["mpx_per_s"]), words, str(line["rounds"])]
        )
    return markdown(header, rows)


def _words(spread: list[float]) -> str:
    middle, least, most = spread
    return f"{middle:.2f} ({least:.2f} to {most:.2f})"


if __name__ == "__main__":
    sys.exit(main())
