"""Random runs at the smallest budget that is accepted: measured peak <= plan <= budget, every time.

    python benchmarks/plans.py --runs 200

Each run is the command in a process of its own, with an image of random size, type, format and cut,
to a random format, with random options. The smallest budget is what the command asks for when it is
given far too little. Prints every run that took more than was planned, and how near the others
came. Exit code 1 if there is one.
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

import imagecodecs
import numpy as np
import tifffile
import zarr
from watch import remove_output

OUTPUTS = ("out.tif", "out.ome.tif", "out.ome.zarr", "out.npy", "out.png")
LEAST = re.compile(r"--mem-budget (\d+)MB\)")


def draw_pixels(draw: random.Random) -> tuple[np.ndarray, str]:
    """Pixels and their axes; sides from a few pixels to some thousand."""
    height, width = (int(10 ** draw.uniform(1.2, 3.3)) for _ in "yx")
    samples, planes = draw.choice((1, 1, 1, 3, 4)), draw.choice((1, 1, 1, 2, 5))
    shape, axes = (height, width), "YX"
    if planes > 1:
        shape, axes = (planes, *shape), "Z" + axes
    if samples > 1:
        shape, axes = (*shape, samples), axes + "S"
    rng = np.random.default_rng(draw.randrange(2**32))
    levels = {"uint8": 200, "uint16": 30000, "int16": 9000, "float32": 3.0, "float64": 1e5}
    dtype = draw.choice(list(levels) if samples == 1 else ["uint8", "uint16", "float32"])
    ramp = np.linspace(0.1, 1, width)[:, None] if samples > 1 else np.linspace(0.1, 1, width)
    pixels = levels[dtype] * ramp * (1 + 0.1 * rng.standard_normal(shape, np.float32))
    if np.dtype(dtype).kind in "iu":
        limits = np.iinfo(dtype)
        return np.clip(pixels, limits.min, limits.max).astype(dtype), axes
    if draw.random() < 0.3:
        pixels[rng.random(shape) < 0.001] = np.nan
    return pixels.astype(dtype), axes


def write_input(folder: Path, pixels: np.ndarray, axes: str, draw: random.Random) -> Path:
    """The pixels in a random format that holds them."""
    colours = axes.endswith("S")
    choices = ["tif", "tif", "tiles", "npy"]
    if axes == "YX" or (axes == "YXS" and pixels.dtype.kind == "u"):
        choices += ["png"] if pixels.dtype in (np.uint8, np.uint16) else []
    choices += ["zarr"] if not colours else []
    kind = draw.choice(choices)
    path = folder / f"in.{'tif' if kind == 'tiles' else kind}"
    if kind == "npy":
        np.save(path, pixels)
    elif kind == "png":
        path.write_bytes(imagecodecs.png_encode(pixels))
    elif kind == "zarr":
        chunks = (1,) * (pixels.ndim - 2) + (draw.choice((64, 300, 512)),) * 2
        cut = tuple(map(min, chunks, pixels.shape))
        zarr.create_array(path, data=pixels, chunks=cut)
    else:
        more: dict[str, Any] = {"compression": draw.choice((None, "zlib", "lzw", "zstd"))}
        if kind == "tiles":
            more["tile"] = (draw.choice((64, 256, 512)),) * 2
        else:
            more["rowsperstrip"] = draw.choice((1, 16, 100, len(pixels)))
        if more["compression"] and pixels.dtype.kind in "ui":
            more["predictor"] = draw.random() < 0.5
        photometric = "rgb" if colours else "minisblack"
        tifffile.imwrite(path, pixels, photometric=photometric, metadata={"axes": axes}, **more)
    return path


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
    for left in folder.glob("in.*"):
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
            raise RuntimeError(f"{what}: {done.stderr}")
        return None
    budget = f"{found[1]}MB"
    done = subprocess.run([*words, "--mem-budget", budget], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{what} --mem-budget {budget}: {done.stderr}")
    told = json.loads(report.read_text())
    remove_output(output)
    remove_output(source)
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
    over, margins, number = 0, [], asked.seed * 10**6
    with tempfile.TemporaryDirectory() as name:
        while len(margins) < asked.runs:
            number += 1
            found = run_once(Path(name), random.Random(number))
            if found is None:
                continue
            margins.append((found["plan"] - found["peak"]) / 1e6)
            wrong = found["peak"] > found["plan"] or found["plan"] > found["budget"]
            over += wrong
            if wrong or len(margins) % 20 == 0:
                print(f"{'OVER' if wrong else 'run'} {number}: {found}", flush=True)
    margins.sort()
    print(
        f"{len(margins)} runs: {over} over; left of the plan: least {margins[0]:.1f} MB, "
        f"median {margins[len(margins) // 2]:.1f} MB"
    )
    return int(over > 0)


if __name__ == "__main__":
    sys.exit(main())
