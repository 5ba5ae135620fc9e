"""Kill runs with SIGKILL at random moments, go on until done, compare every byte.

    python benchmarks/kill.py --kills 50 --races 50

Outputs are OME-Zarr (with pyramid) and TIFF in turn. Prints how many outputs differ from that of an
undisturbed run, and the share of pixels that were computed more than once. Exit code 1 if one does.

That share is counted, not derived: every run, the killed ones too, adds the pixels that it pushes
into the net's row stream to a number in a file that is mapped into its memory, which the kernel
keeps whatever happens to the process. The pixels of a band count just before the band is computed,
so that of a killed run one band a strip counts in full. Pixels of calibration count apart.

A race is two commands at one output at once, the later one with --overwrite and another strength,
either of them killed now and then. What is there in the end has to be, byte by byte, what one of
the two makes undisturbed, record included.
"""

from __future__ import annotations

import argparse
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from watch import files_of, remove_output

WIDTH = 2000
RACE_HEIGHT = 1200
"""Rows of the image that is raced for, in pixels."""
KILLED_SHARE = 0.3
"""Share of racing runs that are killed."""
COUNTERS = struct.Struct("<QQ")
"""Pixels pushed into streams, and pixels looked at for calibration."""
COUNTING = """
import mmap, struct, sys, threading
from unetmm.run.streaming import GroupStream
from unetmm.engine.cpu import stream

counters, lock = struct.Struct("<QQ"), threading.Lock()
with open(sys.argv[1], "r+b") as file:
    memory = mmap.mmap(file.fileno(), counters.size)

def add(streamed, calibrated):
    with lock:
        a, b = counters.unpack(memory[:])
        memory[:] = counters.pack(a + streamed, b + calibrated)

take, observe = GroupStream.take, stream.ObservingStream.observe

def counted_take(self, seen, *more):
    add(seen.shape[0] * seen.shape[1], 0)
    take(self, seen, *more)

def counted_observe(self, patch, *more):
    add(0, patch.shape[0] * patch.shape[1])
    return observe(self, patch, *more)

GroupStream.take, stream.ObservingStream.observe = counted_take, counted_observe
from unetmm_cli.__main__ import run as run_command
sys.exit(run_command(sys.argv[2:]))
"""
"""Program that runs the command and counts what it computes."""


class Counter:
    """Pixels that the runs since the last `take` have computed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.take()

    def take(self) -> tuple[int, int]:
        """(streamed, calibrated), and begin again at nothing."""
        data = self.path.read_bytes() if self.path.exists() else bytes(COUNTERS.size)
        self.path.write_bytes(bytes(COUNTERS.size))
        streamed, calibrated = COUNTERS.unpack(data)
        return streamed, calibrated


def make_image(path: Path, height: int) -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:height, :WIDTH]
    clean = 2000 + 1500 * np.sin(x / 40) * np.cos(y / 60)
    noisy = np.clip(clean + rng.normal(0, 200, clean.shape), 0, 65535).astype(np.uint16)
    tifffile.imwrite(path, noisy, tile=(512, 512))


def command(image: Path, output: Path, report: Path, counter: Counter, *more: str) -> list[str]:
    return [
        sys.executable, "-c", COUNTING, str(counter.path), "denoise", str(image), "-o",
        str(output), "--quiet", "--mem-budget", "700MB", "--report", str(report),
        *more,
    ]  # fmt: skip


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--races", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--height", type=int, default=6000, help="of the image, in pixels")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        wrong = kill_and_compare(Path(name), arguments) if arguments.kills else 0
        return int(wrong + race_and_compare(Path(name), arguments) > 0)


def run_with_kills(
    words: list[str], output: Path, most_kills: int, draw_wait_s: Callable[[], float]
) -> int:
    """Run a command until its output is there, killing it now and then; how often it was killed."""
    kills = 0
    while True:
        process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
        try:
            wait_s = draw_wait_s()
            process.wait(wait_s if kills < most_kills else None)
            break
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            kills += 1
            if output.exists():  # killed after its work was done
                break
    assert output.exists(), f"exit {process.returncode}"
    return kills


def kill_and_compare(folder: Path, arguments: argparse.Namespace) -> int:
    """How many outputs are not those of an undisturbed run."""
    draw = random.Random(arguments.seed)
    image, report = folder / "in.tif", folder / "report.json"
    make_image(image, arguments.height)
    image_px = arguments.height * WIDTH
    counter = Counter(folder / "counter")
    peace, seconds, peace_px = {}, {}, {}
    for kind in ("ome.zarr", "tif"):
        output = folder / f"peace.{kind}"
        start = time.monotonic()
        words = command(image, output, report, counter)
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        seconds[kind] = time.monotonic() - start
        peace[kind], (peace_px[kind], _) = files_of(output), counter.take()
    kills = runs = wrong = streamed_px = calibrated_px = undisturbed_px = 0
    while kills < arguments.kills:
        kind = ("ome.zarr", "tif")[runs % 2]
        output = folder / f"peace.{kind}"  # the same name, which is in the metadata
        remove(output)
        killed = run_with_kills(
            command(image, output, report, counter), output, arguments.kills - kills,
            lambda kind=kind: draw.uniform(0.2, 0.8) * seconds[kind],
        )  # fmt: skip
        kills += killed
        runs += 1
        wrong += files_of(output) != peace[kind]
        streamed, calibrated = counter.take()
        streamed_px += streamed
        calibrated_px += calibrated
        undisturbed_px += peace_px[kind]
        print(
            f"output {runs}: {killed} kills, {streamed / peace_px[kind] - 1:.1%} computed again",
            flush=True,
        )
    print(f"{runs} outputs after {kills} kills: {wrong} differ")
    print(
        f"recomputed: {streamed_px / undisturbed_px - 1:.1%} of the pixels that undisturbed runs "
        f"compute ({streamed_px / image_px / runs - 1:.1%} of the image, halos included), "
        f"{(streamed_px - undisturbed_px) / max(1, kills) / image_px:.1%} of the image a kill; "
        f"calibration {calibrated_px / 1e6:.1f} Mpx in {runs + kills} starts"
    )
    return wrong


def race_and_compare(folder: Path, arguments: argparse.Namespace) -> int:
    """How many outputs of two racing writers are not those of one of them undisturbed."""
    draw = random.Random(arguments.seed)
    image, counter = folder / "raced.tif", Counter(folder / "counter")
    make_image(image, RACE_HEIGHT)
    asked = {"1.0": (), "0.3": ("--strength", "0.3")}
    wrong, seconds, won = 0, 0.0, dict.fromkeys(asked, 0)
    peace: dict[str, dict[str, dict[str, bytes]]] = {}
    words: dict[str, dict[str, list[str]]] = {}
    for kind in ("ome.zarr", "tif") if arguments.races else ():
        output = folder / f"race.{kind}"
        words[kind] = {
            s: command(image, output, folder / f"r{s}.json", counter, "--cores", "1", *more)
            for s, more in asked.items()
        }
        peace[kind] = {}
        for strength, line in words[kind].items():
            start = time.monotonic()
            subprocess.run(line, check=True, stdout=subprocess.DEVNULL)
            seconds = time.monotonic() - start
            peace[kind][strength] = files_of(output)
            remove(output)
    for number in range(arguments.races):
        kind = ("ome.zarr", "tif")[number % 2]
        output = folder / f"race.{kind}"
        first, second = words[kind]["1.0"], [*words[kind]["0.3"], "--overwrite"]
        race(first, second, seconds, draw)
        if not output.exists():
            subprocess.run(second, check=True, stdout=subprocess.DEVNULL)
        found = files_of(output)
        strength = next((s for s, files in peace[kind].items() if files == found), None)
        wrong += strength is None
        if strength is not None:
            won[strength] += 1
        print(f"race {number + 1}, {kind}: strength {strength or 'of neither'}", flush=True)
        remove_output(output)
        left = [p.name for p in folder.iterdir() if p.name.startswith(f".race.{kind}")]
        wrong += bool(left)
    print(f"{arguments.races} races: {wrong} wrong; each strength was left so often: {won}")
    return wrong


def race(first: list[str], second: list[str], seconds: float, draw: random.Random) -> None:
    """Two commands at once, the second a while after the first; either may be killed."""
    a = subprocess.Popen(first, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(draw.uniform(0, 1.1) * seconds)
    b = subprocess.Popen(second, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for process in (a, b):
        if draw.random() < KILLED_SHARE:
            time.sleep(draw.uniform(0, 0.6) * seconds)
            process.kill()
    a.wait()
    b.wait()


if __name__ == "__main__":
    sys.exit(main())
