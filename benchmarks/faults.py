"""Disk full, output folder read-only, input truncated while it is read: one line, exit 1, go on.

    python benchmarks/faults.py          # needs root, for a small file system of its own

Each case runs the real command into the fault, takes the fault away, runs the same command again
and compares the output with that of a run in peace, byte for byte.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from watch import files_of

SIDE_PX = 4000
SMALL_DISK_MB = 8
"""Size of a disk that holds a part of the output only."""
NAME = "out.ome.zarr"
"""Name of all outputs, as it is in their metadata."""
RUN_LIMIT_S = 300.0


class Failed(Exception):
    """A case did not end as it should."""


def command(image: Path, output: Path) -> list[str]:
    chosen = ["--mem-budget", "1GB", "--cores", "1", "--log", "json"]
    return [sys.executable, "-m", "unetmm_cli", "denoise", str(image), "-o", str(output), *chosen]


def run(image: Path, output: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(image, output), capture_output=True, text=True, timeout=RUN_LIMIT_S
    )


def error_of(done: subprocess.CompletedProcess[str]) -> str:
    """What a run that failed in order said, as the last and only event of that kind.

    Raises
    ------
    Failed
        If it did not, or said more.
    """
    lines = done.stderr.splitlines()
    if done.returncode == 1 and all(line.startswith("{") for line in lines):
        *before, last = (json.loads(line) for line in lines)
        if last["event"] == "error" and all(event["event"] != "error" for event in before):
            return str(last["message"])
    raise Failed(f"exit {done.returncode}, not 1 with one line: {done.stderr[-2000:]}")


def goes_on(image: Path, output: Path, peace: Path) -> int:
    """Run again; returns the rows that were not done again.

    Raises
    ------
    Failed
        If the output is not that of a run in peace.
    """
    report = output.with_name(f"{output.name}.json")
    done = subprocess.run(
        [*command(image, output), "--report", str(report)],
        capture_output=True, text=True, timeout=RUN_LIMIT_S,
    )  # fmt: skip
    if done.returncode:
        raise Failed(f"the second run ended with {done.returncode}: {done.stderr[-2000:]}")
    if files_of(output) != files_of(peace):
        raise Failed(f"{output} differs from {peace}")
    return int(json.loads(report.read_text())["resumed_rows"])


def disk_full(folder: Path, image: Path, peace: Path) -> str:
    disk = folder / "disk"
    disk.mkdir()
    options = f"size={SMALL_DISK_MB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(disk)], check=True)
    try:
        said = error_of(run(image, disk / NAME))
        subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
        rows = goes_on(image, disk / NAME, peace)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return f"{said}; went on behind row {rows}"


def read_only(folder: Path, image: Path, peace: Path) -> str:
    disk = folder / "read-only"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(disk)], check=True)
    try:
        said = error_of(run(image, disk / NAME))
        if any(disk.iterdir()):
            raise Failed("something was left in the read-only folder")
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        goes_on(image, disk / NAME, peace)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
    return said


def truncated(folder: Path, image: Path, peace: Path) -> str:
    """The input loses its end once the first rows of chunks are written, and gets it back."""
    output, whole = folder / "truncated" / NAME, image.read_bytes()
    output.parent.mkdir()
    stamp = image.stat()
    child = subprocess.Popen(
        command(image, output), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    journals = output.with_name(f".{output.name}.part")
    wait_for(lambda: any(p.read_text().count("\n") > 12 for p in journals.glob("journal-*")))
    os.truncate(image, len(whole) // 2)
    try:
        out, err = child.communicate(timeout=RUN_LIMIT_S)
        said = error_of(subprocess.CompletedProcess(child.args, child.returncode, out, err))
    finally:
        image.write_bytes(whole)
        os.utime(image, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    return f"{said}; went on behind row {goes_on(image, output, peace)}"


def wait_for(happened: Callable[[], bool]) -> None:
    give_up = time.monotonic() + RUN_LIMIT_S
    while not happened():
        if time.monotonic() > give_up:
            raise Failed("the run never came so far")
        time.sleep(0.02)


CASES = {"disk full": disk_full, "read-only": read_only, "truncated": truncated}


def main() -> int:
    """Exit code 1 if a case failed."""
    argparse.ArgumentParser(prog="faults.py", description=__doc__.splitlines()[0]).parse_args()
    if os.geteuid() != 0:
        print("needs root, to mount small file systems", file=sys.stderr)
        return 2
    folder = Path(tempfile.mkdtemp(prefix="unetmm-faults-"))
    failed = 0
    try:
        image, peace = folder / "in.tif", folder / "peace" / NAME
        peace.parent.mkdir()
        noise = np.random.default_rng(0).normal(900, 90, (SIDE_PX, SIDE_PX))
        tifffile.imwrite(image, noise.astype(np.uint16), rowsperstrip=16)
        if run(image, peace).returncode:
            raise Failed("the run in peace failed")
        for name, case in CASES.items():
            try:
                print(f"PASS {name}: {case(folder, image, peace)}", flush=True)
            except Failed as error:
                failed += 1
                print(f"FAIL {name}: {error}", flush=True)
    finally:
        shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
