"""Does a gigapixel cost what its megapixels cost, in the memory that was planned?

    python benchmarks/scale.py                  # 32768 x 32768 against 7168 x 7168, tiny-mono
    python benchmarks/scale.py --wide           # UNet-- against NAFNet at 1 GB, 40000 px wide

Images are synthetic TIFFs in a temporary folder (2.2 GB and as much output; --folder chooses
where), removed at the end. Small and large runs alternate, so that a drift of the machine shows.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from watch import (
    Run,
    aside,
    end_tidily,
    make_image,
    markdown,
    megabytes,
    model_for,
    plan_of,
    remove_output,
    restore,
)

WIDE_PX, WIDE_BUDGET = 40000, 10**9
WIDE_PLANNED_ROWS, WIDE_RUN_ROWS = 30000, 2048
"""Height of the wide image as it is planned, and of the one that is run."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--large-px", type=int, default=32768)
    parser.add_argument("--small-px", type=int, default=7168)
    parser.add_argument("--budget", type=int, default=2 * 10**9, metavar="BYTES")
    parser.add_argument("--repeat", type=int, default=3, help="runs of the small one a large run")
    parser.add_argument("--repeat-large", type=int, default=1)
    parser.add_argument("--model", default="tiny-mono")
    parser.add_argument("--format", default="ome.zarr", choices=("ome.zarr", "tif"))
    parser.add_argument("--wide", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    arguments = parser.parse_args()
    end_tidily()
    with tempfile.TemporaryDirectory(prefix="unetmm-scale-", dir=arguments.folder) as name:
        return wide(Path(name)) if arguments.wide else scale(Path(name), arguments)


def scale(folder: Path, arguments: argparse.Namespace) -> int:
    """Small runs and large ones in turn, small ones at both ends."""
    sides = {"small": arguments.small_px, "large": arguments.large_px}
    for name, side in sides.items():
        print(f"making {side} x {side}", file=sys.stderr, flush=True)
        aside(make_image, folder / f"{name}.tif", side, side, "mono16", None)
    between = ["small"] * arguments.repeat
    order = ["small", *between, *(arguments.repeat_large * ["large", *between])]
    found: dict[str, list[Run]] = {name: [] for name in sides}
    for i, name in enumerate(order):
        output = folder / f"out.{arguments.format}"
        run = restore(folder / f"{name}.tif", output, arguments.model, arguments.budget)
        remove_output(output)
        if run.exit_code:
            print(f"{name}: exit code {run.exit_code}: {run.words}")
            return 1
        print(f"{name}: {run.seconds:.1f} s", file=sys.stderr, flush=True)
        if i:  # the first one compiles, and wakes the machine
            found[name].append(run)
    print(scale_table(found))
    for what, cost in (("whole command", command_cost), ("computing", compute_cost)):
        small, large = (statistics.median(cost(r) for r in found[n]) for n in ("small", "large"))
        print(f"{what}: {large / small:.3f} x the cost per megapixel")
    peaks = [r.peak_bytes / r.plan["projected_peak_bytes"] for r in found["large"]]
    print(f"peak of the large one: {min(peaks):.3f} to {max(peaks):.3f} x what was planned")
    return 0


def command_cost(run: Run) -> float:
    """Seconds a megapixel of the whole command."""
    return run.seconds / run.megapixels


def compute_cost(run: Run) -> float:
    """Seconds a megapixel of the computing alone, without start-up, calibration and the end."""
    return float(run.report["seconds"]["compute"]) / run.megapixels


def scale_table(found: dict[str, list[Run]]) -> str:
    header = (
        "", "Mpx", "runs", "wall time", "s/Mpx (min to max)", "computing s/Mpx", "cut", "planned",
        "measured",
    )  # fmt: skip
    rows = []
    for name, runs in found.items():
        costs, plan = [command_cost(r) for r in runs], runs[0].plan
        rows.append(
            [
                name,
                f"{runs[0].megapixels:.0f}",
                f"{len(runs)}",
                f"{statistics.median(r.seconds for r in runs):.1f} s",
                f"{statistics.median(costs):.4f} ({min(costs):.4f} to {max(costs):.4f})",
                f"{statistics.median(compute_cost(r) for r in runs):.4f}",
                f"{plan['strips']} x {plan['segments']}, {plan['workers']} x {plan['threads']}",
                megabytes(plan["projected_peak_bytes"]),
                megabytes(max(r.peak_bytes for r in runs)),
            ]
        )
    return markdown(header, rows)


def wide(folder: Path) -> int:
    """Strip width and recomputed share of both nets at the same budget, planned and run."""
    # Of the planned one only the metadata is read.
    aside(make_image, folder / "planned.tif", WIDE_PLANNED_ROWS, WIDE_PX, "flat8", "zlib")
    aside(make_image, folder / "run.tif", WIDE_RUN_ROWS, WIDE_PX, "rgb8", "zlib")
    plans, rows = {}, []
    for net in ("nafnet-32", "unetmm-32"):
        print(f"running {net}", file=sys.stderr, flush=True)
        model, output = model_for(net, "rgb8", folder), folder / "out.ome.zarr"
        planned = plan_of(folder / "planned.tif", output, model, WIDE_BUDGET)
        assert not isinstance(planned, str), planned
        run = restore(folder / "run.tif", output, model, WIDE_BUDGET, stop_early=True)
        remove_output(output)
        plans[net] = planned["plan"], run.plan
        rows.append(wide_row(net, WIDE_PLANNED_ROWS, planned["plan"], None))
        rows.append(wide_row(net, WIDE_RUN_ROWS, run.plan, run))
    header = "net", "rows", "strips x segments", "width", "recomputed", "planned", "measured"
    print(markdown(header, rows))
    for i, what in enumerate(("plan", "run")):
        plain, reduced = plans["nafnet-32"][i], plans["unetmm-32"][i]
        print(
            f"{what}: UNet-- strips are {reduced['strip_width_px'] / plain['strip_width_px']:.2f} "
            f"x as wide; recomputed {plain['recomputed_share']:.1%} -> "
            f"{reduced['recomputed_share']:.1%}"
        )
    return 0


def wide_row(net: str, rows: int, plan: dict[str, Any], run: Run | None) -> list[str]:
    measured = "planned only" if run is None else megabytes(run.peak_bytes)
    if run is not None and run.exit_code not in (0, 130):
        measured = f"exit {run.exit_code}: {run.words}"
    return [
        net,
        f"{rows}",
        f"{plan['strips']} x {plan['segments']}",
        f"{plan['strip_width_px']} px",
        f"{plan['recomputed_share']:.1%}",
        megabytes(plan["projected_peak_bytes"]),
        measured,
    ]


if __name__ == "__main__":
    sys.exit(main())
