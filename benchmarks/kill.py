"""Kill runs with SIGKILL at random moments, go on until done, compare every byte.

    python benchmarks/kill.py --kills 50

Outputs are OME-Zarr (with pyramid) and TIFF in turn. Prints how many outputs differ from that of an
undisturbed run, and the share of pixels that were computed more than once.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile

SHAPE = (6000, 2000)


def make_image(path: Path) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    clean = 2000 + 1500 * np.sin(x / 40) * np.cos(y / 60)
    noisy = np.clip(clean + rng.normal(0, 200, SHAPE), 0, 65535).astype(np.uint16)
    tifffile.imwrite(path, noisy, tile=(512, 512))


def command(image: Path, output: Path, report: Path) -> list[str]:
    return [
        sys.executable, "-m", "unetmm_cli", "denoise", str(image), "-o", str(output), "--quiet",
        "--mem-budget", "700MB", "--report", str(report),
    ]  # fmt: skip


def content(path: Path) -> dict[str, bytes]:
    if path.is_file():
        return {"": path.read_bytes()}
    return {str(p.relative_to(path)): p.read_bytes() for p in path.rglob("*") if p.is_file()}


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    draw = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        image, report = folder / "in.tif", folder / "report.json"
        make_image(image)
        peace, seconds = {}, {}
        for kind in ("ome.zarr", "tif"):
            output = folder / f"peace.{kind}"
            start = time.monotonic()
            subprocess.run(command(image, output, report), check=True, stdout=subprocess.DEVNULL)
            seconds[kind] = time.monotonic() - start
            peace[kind] = content(output)
        kills = runs = wrong = 0
        resumed = []
        while kills < arguments.kills:
            kind = ("ome.zarr", "tif")[runs % 2]
            output = folder / f"peace.{kind}"  # the same name, which is in the metadata
            remove(output)
            while True:
                process = subprocess.Popen(
                    command(image, output, report), stdout=subprocess.DEVNULL
                )
                try:
                    wait_s = draw.uniform(0.2, 0.8) * seconds[kind]
                    process.wait(wait_s if kills < arguments.kills else None)
                    break
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    if output.exists():  # killed after its work was done
                        break
            runs += 1
            assert output.exists(), f"exit {process.returncode}"
            resumed.append(json.loads(report.read_text())["resumed_rows"] / SHAPE[0])
            wrong += content(output) != peace[kind]
            print(
                f"run {runs}: {kills} kills so far, {resumed[-1]:.0%} found done at the last start"
            )
        print(f"{runs} outputs after {kills} kills: {wrong} differ")


if __name__ == "__main__":
    main()
