"""What another kind of processor computes, against this one, to the last bit of a float.

    UNETMM_LANES=4 python benchmarks/processors.py write here.npz
    qemu-aarch64 -L ROOT ROOT/usr/bin/python3.11 benchmarks/processors.py compare here.npz

Restores small images of every type with models of the zoo: kernels of all stages, of what looks at
an image, and of what stores values. `tests/arm/run.sh` does all of it. Vectors of 4 floats are
those of ARM; only then the sums are added in the same order. Exit code 1 if values differ by more
than 1e-6 of their image's range.
"""

from __future__ import annotations

import platform
import sys
import time

import numpy as np
from numpy.typing import NDArray

import unetmm
from unetmm.compiling.processor import LANES, processor

MOST = 1e-6
"""Largest difference that is allowed, as a share of the range of the image."""
CASES = {
    "grey": ("tiny-mono", "uint16"),
    "bytes": ("tiny-mono", "uint8"),
    "floats": ("tiny-mono", "float32"),
    "colour": ("tiny-rgb", "uint8"),
    "sharper": ("deblur", "uint8"),
    "larger": ("upscale-x2", "uint8"),
}
"""Name of a case -> model and type of the image."""


def draw(name: str, dtype: str) -> NDArray[np.generic]:
    """An image of edges, slopes and noise, the same on every machine."""
    rng, (y, x) = np.random.default_rng(0), np.mgrid[:70, :90]
    light = 0.2 + 0.3 * (np.sin(x / 9) * np.cos(y / 7) > 0) + 0.3 * x / 90
    light = light + 0.05 * rng.standard_normal(light.shape)
    if name in ("colour", "sharper", "larger"):
        light = np.stack([light, light[::-1], light[:, ::-1]], -1)
    top = 1.0 if dtype == "float32" else float(np.iinfo(dtype).max)
    return np.asarray(np.clip(light, 0, 1) * top).astype(dtype)


def restore_all() -> dict[str, NDArray[np.float32]]:
    """Every case restored, as floats."""
    found = {}
    for name, (model, dtype) in CASES.items():
        image, start = draw(name, dtype), time.perf_counter()
        act = unetmm.upscale if name == "larger" else unetmm.restore
        found[name] = np.asarray(act(image, model=model, dtype="float32"))
        print(f"{name}: {time.perf_counter() - start:.0f} s", file=sys.stderr, flush=True)
    return found


def compare(ours: dict[str, NDArray[np.float32]], path: str) -> bool:
    """Whether values are near enough to those in a file; prints how near."""
    fine = True
    with np.load(path) as file:
        print(f"{file['processor']} and {processor()} ({platform.machine()}, {LANES} floats)")
        for name, values in ours.items():
            theirs = file[name]
            away = np.abs(values.astype(np.float64) - theirs) / float(np.ptp(theirs))
            same = float((values == theirs).mean())
            fine &= bool(away.max() <= MOST)
            print(f"{name:8} at most {away.max():.1e} of the range, {same:.1%} of values equal")
    return fine


def main() -> int:
    what, path = sys.argv[1:]
    found = restore_all()
    if what == "compare":
        return int(not compare(found, path))
    np.savez(path, processor=np.array(f"{processor()} ({LANES} floats)"), **found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
