"""What bright spots beyond the base range cost, and images without them beside another checkout.

    python benchmarks/excess.py --repeat 5
    python benchmarks/excess.py --repeat 7 --against /path/to/another/checkout

Every restoration is one of array to array in a process of its own, after a small one that loads and
compiles what it needs. The CPU time counts, which other work on the machine disturbs least.
Rounds go through all images in turns; a factor is the median of the factors of its rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
SIDE_PX = 2560
OFFSET = 105.0
READ_NOISE = 2.0
SHARE = 0.01
"""Share of pixels that lie in bright content."""
CELL_PX = 18.0
SPOT_PX = 6.0


def field(spots: int, radius_px: float, seed: int) -> Any:
    """Discs of a radius at random places, 1 inside and 0 outside, with soft edges."""
    rng = np.random.default_rng(seed)
    canvas = np.zeros((SIDE_PX, SIDE_PX))
    reach = int(radius_px + 8)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = 1 / (1 + np.exp((np.hypot(y, x) - radius_px) / 1.2))
    for row, column in rng.integers(reach, SIDE_PX - reach, (spots, 2)):
        window = np.s_[row - reach : row + reach + 1, column - reach : column + reach + 1]
        canvas[window] = np.maximum(canvas[window], disc)
    return canvas


def spots_of(radius_px: float) -> int:
    """Number of discs that fill the share."""
    return round(SHARE * SIDE_PX**2 / (np.pi * radius_px**2))


def counts(clean: Any) -> Any:
    """What a camera makes of photons above an offset."""
    rng = np.random.default_rng(3)
    noisy = rng.poisson(clean - 100) + rng.normal(100, READ_NOISE, clean.shape)
    return np.clip(np.round(noisy), 0, 65535).astype(np.uint16)


def dim() -> Any:
    """A scene of a few counts, the same under every kind of bright content."""
    return OFFSET + 6 * field(600, 40, 1)


def cells(counts_each: float, radius_px: float = CELL_PX) -> Any:
    return counts(dim() + counts_each * field(spots_of(radius_px), radius_px, 2))


def photo() -> Any:
    """A colour scene of 8 bits with white noise of 25."""
    rng = np.random.default_rng(5)
    clean = np.stack([40 + 150 * field(400, 60, 10 + i)[:2048, :2048] for i in range(3)], -1)
    return np.clip(np.round(clean + rng.normal(0, 25, clean.shape)), 0, 255).astype(np.uint8)


IMAGES: dict[str, tuple[Callable[[], Any], str, str]] = {
    "no excess": (lambda: counts(dim()), "micrograph-tiny", "YX"),
    "no excess, RGB": (photo, "tiny-rgb", "YXS"),
    "cells of 300": (lambda: cells(300), "micrograph-tiny", "YX"),
    "cells of 3000": (lambda: cells(3000), "micrograph-tiny", "YX"),
    "cells of 30000": (lambda: cells(30000), "micrograph-tiny", "YX"),
    "spots of 3000": (lambda: cells(3000, SPOT_PX), "micrograph-tiny", "YX"),
}
PLAIN = "no excess"


def child(name: str) -> None:
    import unetmm

    make, model, axes = IMAGES[name]
    image = make()

    def restore(array: Any) -> None:
        unetmm.restore(array, model=model, axes=axes)

    restore(np.ascontiguousarray(image[:512, :512]))
    before, started = time.process_time(), time.monotonic()
    restore(image)
    print(json.dumps([time.process_time() - before, time.monotonic() - started]))


def measure(tree: Path, name: str, kernels: Path) -> list[float]:
    """CPU and wall seconds of one restoration by a checkout, whose kernels lie in a folder."""
    kept = {"PYTHONPATH": str(tree), "UNETMM_CACHE_DIR": str(kernels)}
    environment = {**os.environ, **kept}
    command = [sys.executable, "-P", __file__, "--child", name]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{tree}, {name}: {done.stderr.strip().splitlines()[-1]}")
    found: list[float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def told(title: str, pairs: list[tuple[float, float]]) -> None:
    factors = sorted(a / b for a, b in pairs)
    median = statistics.median(factors)
    print(
        f"{title}: {median:.3f} ({factors[0]:.3f} to {factors[-1]:.3f}), "
        f"median {statistics.median(a for a, _ in pairs):.2f} CPU s",
        flush=True,
    )


def compare(tree: Path, repeat: int, kernels: Path) -> None:
    """Images without excess, beside those of another checkout."""
    names = [name for name in IMAGES if name.startswith(PLAIN)]
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(repeat):
        for name in names:
            ours = measure(ROOT, name, kernels / "ours")
            theirs = measure(tree, name, kernels / "theirs")
            pairs[name].append((ours[0], theirs[0]))
    for name in names:
        told(f"{name}, beside {tree.name}", pairs[name])


def cost(repeat: int, kernels: Path) -> None:
    """Images with bright content, beside the same scene without."""
    seconds: dict[str, list[float]] = {name: [] for name in IMAGES if "RGB" not in name}
    for _ in range(repeat):
        for name, taken in seconds.items():
            taken.append(measure(ROOT, name, kernels)[0])
    for name, taken in seconds.items():
        told(name, list(zip(taken, seconds[PLAIN], strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--against", type=Path, help="a checkout whose time is 1 without excess")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        return child(arguments.child)
    with tempfile.TemporaryDirectory(prefix="unetmm-excess-") as folder:
        if arguments.against:
            return compare(arguments.against.resolve(), arguments.repeat, Path(folder))
        return cost(arguments.repeat, Path(folder))


if __name__ == "__main__":
    main()
