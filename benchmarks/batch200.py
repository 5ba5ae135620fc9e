"""A batch of 200 small files of all kinds, 10 of them broken, against every file run by itself.

    python benchmarks/batch200.py [--model tiny-mono] [--singles 190]

Checks that the command ends with 3, that its report names the 10 and nothing else as failed, that
every output is, byte for byte, what a run of that file alone writes, and that the same command
again changes nothing. Ends with 1 where any of that is not so.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import tifffile
import zarr
from PIL import Image
from watch import files_of

Pixels = np.ndarray
FILES, BROKEN = 200, 10


def image(rng: np.random.Generator, *shape: int) -> Pixels:
    """Values from 0 to 1 with a bright blob and noise; the last axes are rows and columns."""
    y, x = np.mgrid[: shape[-2], : shape[-1]]
    blob = np.exp(-((y - shape[-2] / 2) ** 2 + (x - shape[-1] / 3) ** 2) / 400)
    return np.clip(0.2 + 0.6 * blob + rng.normal(0, 0.05, shape), 0, 1)


def rows_columns(rng: np.random.Generator) -> tuple[int, int]:
    return int(rng.integers(33, 130)), int(rng.integers(33, 130))


def colour(rng: np.random.Generator, samples: int = 3) -> Pixels:
    height, width = rows_columns(rng)
    return np.moveaxis(255 * image(rng, samples, height, width), 0, -1).astype(np.uint8)


def write_zarr(path: Path, rng: np.random.Generator) -> None:
    pixels = (4095 * image(rng, 2, *rows_columns(rng))).astype(np.uint16)
    axes = [{"name": n, "type": t} for n, t in (("c", "channel"), ("y", "space"), ("x", "space"))]
    dataset = {
        "path": "0",
        "coordinateTransformations": [{"type": "scale", "scale": [1.0, 0.5, 0.5]}],
    }
    ome = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [dataset]}]}
    group = zarr.create_group(path, attributes={"ome": ome})
    group.create_array("0", data=pixels, chunks=(1, 64, 64))


KINDS: dict[str, Callable[[Path, np.random.Generator], object]] = {
    "grey8.tif": lambda p, r: tifffile.imwrite(
        p, (255 * image(r, *rows_columns(r))).astype(np.uint8)
    ),
    "grey16.tif": lambda p, r: tifffile.imwrite(
        p, (4095 * image(r, *rows_columns(r))).astype(np.uint16), compression="zlib"
    ),
    "float.tif": lambda p, r: tifffile.imwrite(p, image(r, *rows_columns(r)).astype(np.float32)),
    "rgb.tif": lambda p, r: tifffile.imwrite(p, colour(r), photometric="rgb"),
    "stack.ome.tif": lambda p, r: tifffile.imwrite(
        p, (999 * image(r, 2, 2, *rows_columns(r))).astype(np.uint16),
        metadata={"axes": "ZCYX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm"},
    ),
    "imagej.tif": lambda p, r: tifffile.imwrite(
        p, (999 * image(r, 3, *rows_columns(r))).astype(np.uint16), imagej=True,
        metadata={"axes": "ZYX"},
    ),
    "rgb.png": lambda p, r: Image.fromarray(colour(r)).save(p),
    "rgba.png": lambda p, r: Image.fromarray(colour(r, 4)).save(p),
    "grey.png": lambda p, r: Image.fromarray(colour(r)[..., 0]).save(p),
    "photo.jpg": lambda p, r: Image.fromarray(colour(r)).save(p, quality=90),
    "photo.webp": lambda p, r: Image.fromarray(colour(r)).save(p, lossless=True),
    "grey.bmp": lambda p, r: Image.fromarray(colour(r)[..., 0]).save(p),
    "grey.pgm": lambda p, r: Image.fromarray(colour(r)[..., 0]).save(p),
    "plane.npy": lambda p, r: np.save(p, image(r, *rows_columns(r)).astype(np.float32)),
    "stack.npy": lambda p, r: np.save(
        p, (999 * image(r, 2, *rows_columns(r))).astype(np.uint16)
    ),
    "cells.ome.zarr": write_zarr,
}  # fmt: skip
"""Writers of the files: name -> function that writes such a file."""


def damage(path: Path, how: int) -> None:
    """One of five ways in which files are broken."""
    data = path.read_bytes()
    path.write_bytes(
        [data[:200], b"", b"this is no image\n", data[: len(data) // 2], bytes(len(data))][how % 5]
    )


def make_files(folder: Path) -> list[Path]:
    """All files, in folders of 50; the first BROKEN are broken."""
    paths = []
    for i in range(FILES):
        name = list(KINDS)[i % len(KINDS)] if i >= BROKEN else list(KINDS)[i % 4]
        path = folder / f"{i // 50}" / f"{i:03}_{name}"
        path.parent.mkdir(parents=True, exist_ok=True)
        KINDS[name](path, np.random.default_rng(i))
        if i < BROKEN:
            damage(path, i)
        paths.append(path)
    return paths


def denoise(arguments: argparse.Namespace, *words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unetmm_cli", "denoise", *map(str, words)]
    command += ["--mem-budget", arguments.mem_budget]
    if arguments.model:
        command += ["--model", arguments.model]
    return subprocess.run(command, capture_output=True, text=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="", help="one for all; by default as the image asks")
    parser.add_argument("--mem-budget", default="1GB")
    parser.add_argument("--singles", type=int, default=FILES, help="files run by themselves too")
    parser.add_argument("--jobs", type=int, default=2, help="such runs at once")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        failures = check(Path(name), arguments)
    for failure in failures:
        print(f"WRONG: {failure}")
    sys.exit(bool(failures))


def check(folder: Path, arguments: argparse.Namespace) -> list[str]:
    """Sentences about all that is not as it should be."""
    paths = make_files(folder / "in")
    report = folder / "report.json"
    words = (folder / "in", "-o", folder / "out", "--report", report)
    wrong = []

    started = time.monotonic()
    first = denoise(arguments, *words)
    seconds = time.monotonic() - started
    entries = {e["input"]: e for e in json.loads(report.read_text())}
    broken = {str(path) for path in paths[:BROKEN]}
    failed = {p for p, e in entries.items() if e["outcome"] == "failed"}
    good = [e for e in entries.values() if e["outcome"] == "done"]
    if first.returncode != 3:
        wrong.append(f"exit {first.returncode}: {first.stderr[-300:]}")
    if failed != broken or len(entries) != FILES:
        wrong.append(f"{len(entries)} entries; failed by mistake or not: {failed ^ broken}")
    if not all(e["error"].startswith(p) for p, e in entries.items() if p in failed):
        wrong.append("an error does not name its file")
    over = [e for e in good if e["measured_peak_bytes"] > e["plan"]["projected_peak_bytes"]]
    peak = max((e["measured_peak_bytes"] for e in good), default=0)
    print(f"batch: {seconds:.1f} s for {FILES} files, {len(good)} done, {len(failed)} failed")
    print(f"peak {peak / 1e6:.0f} MB; above the plan: {len(over)} images")
    wrong += [f"{e['input']}: above its plan" for e in over]

    started = time.monotonic()
    differing, compared = compare(folder, good, arguments)
    print(
        f"alone: {time.monotonic() - started:.1f} s; {compared} compared, {len(differing)} differ"
    )
    wrong += [f"{path}: differs from the run alone" for path in differing]

    before = {p: p.stat().st_mtime_ns for p in sorted((folder / "out").rglob("*"))}
    started = time.monotonic()
    second = denoise(arguments, *words)
    again = json.loads(report.read_text())
    redone = [e["input"] for e in again if e["outcome"] == "done"]
    changed = before != {p: p.stat().st_mtime_ns for p in sorted((folder / "out").rglob("*"))}
    print(f"again: {time.monotonic() - started:.1f} s, {len(redone)} made again")
    if second.returncode != 3 or redone or changed:
        wrong.append(f"again: exit {second.returncode}, made again: {redone}, changed: {changed}")
    return wrong


def compare(
    folder: Path, entries: list[dict[str, str]], arguments: argparse.Namespace
) -> tuple[list[str], int]:
    """Outputs that a run of the file alone writes differently, and how many were compared."""

    def differs(entry: dict[str, str]) -> bool:
        output = Path(entry["output"])
        # The same name in another folder, for the name is in the metadata.
        alone = folder / "alone" / output.relative_to(folder / "out")
        alone.parent.mkdir(parents=True, exist_ok=True)
        done = denoise(arguments, entry["input"], "-o", alone)
        return done.returncode != 0 or files_of(alone) != files_of(output)

    chosen = entries[: arguments.singles]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = list(pool.map(differs, chosen))
    return [e["input"] for e, bad in zip(chosen, found, strict=True) if bad], len(chosen)


if __name__ == "__main__":
    main()
