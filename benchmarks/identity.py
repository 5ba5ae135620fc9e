"""Copies a large TIFF through the whole program with a net that changes nothing.

    python benchmarks/identity.py --side-px 20000 --budget 512MB

What is left is what everything but the net costs: reading, planning, streaming, encoding, pyramid,
journal, checksums. Beside it, the same file by `cp`, and by a bare tifffile -> Zarr loop over rows
of chunks. Each runs in a process of its own; peaks are the kernel's (ru_maxrss, which knows nothing
below this process's own size), times end when the disk has everything. Exit code 1 if an output
differs or a peak is above the budget.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import tensor_shapes
from unetmm.sizes import parse_size

TILE_PX = 512
BARE = """
import sys, tifffile, zarr
source = zarr.open(tifffile.imread(sys.argv[1], aszarr=True), mode="r")
rows = int(sys.argv[3])
target = zarr.create_array(sys.argv[2], shape=source.shape, chunks=(rows, rows), dtype=source.dtype)
for y in range(0, source.shape[0], rows):
    target[y : y + rows] = source[y : y + rows]
"""


def tiles(side_px: int) -> Iterator[NDArray[np.uint16]]:
    """Cells of light on a dark ground, with noise, tile by tile."""
    rng = np.random.default_rng(0)
    rows = np.arange(TILE_PX)
    for y in range(0, side_px, TILE_PX):
        for x in range(0, side_px, TILE_PX):
            wave = np.sin((rows + y) / 40)[:, None] * np.cos((rows + x) / 60)
            noise = rng.standard_normal((TILE_PX, TILE_PX), np.float32)
            yield np.clip(2000 + 1500 * wave + 60 * noise, 0, 65535).astype(np.uint16)


def make_image(path: Path, side_px: int) -> None:
    tifffile.imwrite(
        path,
        tiles(side_px),  # type: ignore[arg-type]
        shape=(side_px, side_px),
        dtype=np.uint16,
        tile=(TILE_PX, TILE_PX),
        bigtiff=True,
        photometric="minisblack",
    )


def make_model(path: Path) -> None:
    """The smallest net there is, whose answer is 0: what it adds to the image is nothing."""
    config = NetConfig(1, 1, 8, (0,), 0, (0,))
    tensors = {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(config).items()}
    save_model(path, config, tensors, {"task": "denoise"})


def measure(command: list[str]) -> dict[str, float]:
    """Seconds, until the disk has everything, and peak bytes of a process."""
    os.sync()
    start = time.monotonic()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    os.sync()
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
    return {"seconds": time.monotonic() - start, "peak_bytes": 1024 * usage.ru_maxrss}


def differs(first: Path, second: Path) -> bool:
    """Whether two images have other pixels, compared by rows of tiles."""
    a, b = open_source(first), open_source(second)
    width = a.info.width
    for y in range(0, a.info.height, TILE_PX):
        box = Box(y, 0, min(y + TILE_PX, a.info.height), width)
        if not np.array_equal(a.read((0, 0, 0), box), b.read((0, 0, 0), box)):
            return True
    return False


def size_of(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())


def run(folder: Path, side_px: int, budget: str) -> dict[str, dict[str, Any]]:
    """Figures of every contender."""
    image, model, report = folder / "in.tif", folder / "same.safetensors", folder / "report.json"
    make_image(image, side_px)
    make_model(model)
    found: dict[str, dict[str, Any]] = {}
    found["cp"] = measure(["cp", str(image), str(folder / "cp.tif")])
    found["cp"]["bytes"] = size_of(folder / "cp.tif")
    bare = folder / "bare.zarr"
    found["tifffile -> zarr"] = measure(
        [sys.executable, "-c", BARE, str(image), str(bare), str(TILE_PX)]
    )
    found["tifffile -> zarr"]["bytes"] = size_of(bare)
    for name, output, more in (
        ("unetmm -> OME-Zarr", "out.ome.zarr", []),
        ("unetmm -> OME-Zarr, no pyramid", "flat.ome.zarr", ["--no-pyramid"]),
        ("unetmm -> TIFF", "out.tif", []),
        ("unetmm -> TIFF, plain, no pyramid", "flat.tif", ["--no-pyramid", "--compression=none"]),
    ):
        path = folder / output
        command = [
            *(sys.executable, "-m", "unetmm_cli", "denoise", str(image), "-o", str(path)),
            *("--model", str(model), "--strength", "0", "--mem-budget", budget, "--quiet"),
            *("--report", str(report), *more),
        ]
        found[name] = measure(command) | {"bytes": size_of(path)}
        told = json.loads(report.read_text())
        found[name] |= {
            "projected_bytes": told["plan"]["projected_peak_bytes"],
            "compute_s": told["seconds"]["compute"],
            "finish_s": told["seconds"]["finish"],
            "differs": differs(image, path),
        }
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side-px", type=int, default=20_000)
    parser.add_argument("--budget", default="512MB")
    parser.add_argument("--folder", type=Path, help="where the files go; a temporary one if left")
    parser.add_argument("--json", metavar="FILE", type=Path)
    arguments = parser.parse_args()
    budget_bytes = parse_size(arguments.budget)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        found = run(Path(name), arguments.side_px, arguments.budget)
    image_mb = 2 * arguments.side_px**2 / 1e6
    print(f"{arguments.side_px} x {arguments.side_px} uint16, {image_mb:.0f} MB, "
          f"budget {arguments.budget}")  # fmt: skip
    print("| | s | x cp | x bare copy | peak MB | of budget | MB written | pixels |")
    print("|---|---|---|---|---|---|---|---|")
    wrong = False
    for label, row in found.items():
        ratios = [row["seconds"] / found[other]["seconds"] for other in ("cp", "tifffile -> zarr")]
        ours = "differs" in row
        share = f"{row['peak_bytes'] / budget_bytes:.0%}" if ours else ""
        equal = ("differ" if row["differs"] else "equal") if ours else ""
        floor = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        peak = f"{'< ' * (row['peak_bytes'] <= floor)}{row['peak_bytes'] / 1e6:.0f}"
        wrong |= ours and (row["differs"] or row["peak_bytes"] > budget_bytes)
        print(
            f"| {label} | {row['seconds']:.1f} | {ratios[0]:.1f} | {ratios[1]:.1f} | "
            f"{peak} | {share} | {row['bytes'] / 1e6:.0f} | {equal} |"
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2), encoding="utf-8")
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
