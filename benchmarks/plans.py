"""Random runs at the smallest budget that is accepted: measured peak <= plan <= budget, every time.

    python benchmarks/plans.py --runs 200

Each run is the command in a process of its own, with an image of random size, type, cut and format
of all that are read, to a random format, with random options. The smallest budget is what the
command asks for when it is given far too little. Prints every run that took more than was planned,
or failed, and how near the others came. Exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from plan_inputs import draw_pixels, write_input
from watch import remove_output

OUTPUTS = (
    "out.tif", "out.ome.tif", "out.ome.zarr", "out.ozx", "out.npy", "out.png", "out.jpg", "out.mrc",
)  # fmt: skip
NEAR = 0.02
"""Share of a plan within which a peak is called near it: the next change may take it over."""
LEAST = re.compile(r"--mem-budget (\d+)MB\)")


def draw_options(draw: random.Random) -> list[str]:
    words = ["--cores", str(draw.choice((1, 2)))]
    if draw.random() < 0.3:
        words += ["--strength", "0.5"]
    if draw.random() < 0.2:
        words += ["--outliers", draw.choice(("replace", "none"))]
    if draw.random() < 0.2:
        words += ["--dtype", "float32"]
    if draw.random() < 0.2:
        words += ["--no-pyramid"]
    return words


def run_once(folder: Path, draw: random.Random) -> dict[str, Any] | None:
    """Budget, plan and peak of a run in bytes; None where the options do not go together."""
    for left in folder.iterdir():  # of a run that failed
        remove_output(left)
    pixels, axes = draw_pixels(draw)
    source, report = write_input(folder, pixels, axes, draw), folder / "report.json"
    output = folder / draw.choice(OUTPUTS)
    words = [sys.executable, "-m", "unetmm_cli", "denoise", str(source), "-o", str(output)]
    words += ["--report", str(report), *draw_options(draw)]
    what = f"{axes} {pixels.shape} {pixels.dtype} {source.name} {' '.join(words[6:])}"
    done = subprocess.run([*words, "--mem-budget", "2MB"], capture_output=True, text=True)
    found = LEAST.search(done.stderr)
    if found is None:
        if "budget" in done.stderr or "Traceback" in done.stderr:
            return {"what": what, "failed": done.stderr}
        return None
    budget = f"{found[1]}MB"
    done = subprocess.run([*words, "--mem-budget", budget], capture_output=True, text=True)
    if done.returncode:
        return {"what": f"{what} --mem-budget {budget}", "failed": done.stderr}
    told = json.loads(report.read_text())
    return {
        "what": what,
        "budget": int(found[1]) * 10**6,
        "plan": told["plan"]["projected_peak_bytes"],
        "peak": told["measured_peak_bytes"],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    over, near, margins, number = 0, 0, [], asked.seed * 10**6
    with tempfile.TemporaryDirectory() as name:
        while len(margins) < asked.runs:
            number += 1
            found = run_once(Path(name), random.Random(number))
            if found is None:
                continue
            wrong = "failed" in found or not found["peak"] <= found["plan"] <= found["budget"]
            if "failed" not in found:
                left_bytes = found["plan"] - found["peak"]
                margins.append(left_bytes / 1e6)
                near += left_bytes < NEAR * found["plan"]
            over += wrong
            if wrong or len(margins) % 20 == 0:
                print(f"{'WRONG' if wrong else 'run'} {number}: {found}", flush=True)
    margins.sort()
    print(
        f"{len(margins)} runs: {over} wrong; left of the plan: least {margins[0]:.1f} MB, "
        f"median {margins[len(margins) // 2]:.1f} MB; "
        f"{near} peaks within {NEAR:.0%} of their plan"
    )
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
