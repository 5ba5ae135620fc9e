"""Looks for images that the plain command makes worse: any content, contrast, type and noise.

    python benchmarks/harm.py --first 0 --count 310

Each number makes one image, the same on every machine. An image counts as harmed where its error
grows by more than a twentieth and by more than half a grey level of 255 of its own range.
"""

from __future__ import annotations

import argparse
import io
import logging
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import unetmm
from unetmm.train.noise.spectrum import blur_image

Values = NDArray[np.floating[Any]]
ROOT = Path(__file__).resolve().parent.parent
SIDE_PX = 320
PHOTOS = ("eval/kodak24", "eval/mcmaster", "train/aerial", "eval/urban100_part")
STORED = {
    "uint8": (np.uint8, 0, 255), "uint16": (np.uint16, 0, 60000), "12 bits": (np.uint16, 100, 3800),
    "0 to 1": (np.float32, 0, 1), "counts": (np.float32, 0, 3000),
    "signed": (np.int16, -10000, 20000), "-1 to 1": (np.float32, -1, 2),
}  # fmt: skip
"""Name -> type, value of black, and distance to white."""
HARM, HARM_GREY = 1.05, 0.5


@dataclass(frozen=True)
class Case:
    """An image with noise and without, in stored values."""

    words: str
    noisy: NDArray[Any]
    clean: Values
    counted: NDArray[np.bool_]


def make_case(number: int, data: Path) -> Case:
    """The image of a number."""
    rng = np.random.default_rng(number)
    name, clean = content(rng, data)
    contrast = rng.choice([1, 1, 0.3, 0.05])
    clean = 0.3 * (1 - contrast) + contrast * clean
    kind = str(rng.choice(list(NOISES)))
    level = float(10 ** rng.uniform(-2.7, -0.8) * max(0.15, contrast))
    noisy, clean = NOISES[kind](clean, level, rng)
    store = str(rng.choice(list(STORED)))
    dtype, black, white = STORED[store]
    counted = np.ones(clean.shape[:2], bool)
    empty = str(rng.choice(["no", "no", "half", "border"]))
    if empty == "half":
        counted[:, : int(rng.uniform(0.2, 0.9) * clean.shape[1])] = False
    elif empty == "border":
        width = int(rng.integers(5, 100))
        counted[:width] = counted[:, :width] = False
    values = black + white * noisy
    values[~counted] = 0
    if np.issubdtype(dtype, np.integer):
        values = np.clip(np.rint(values), np.iinfo(dtype).min, np.iinfo(dtype).max)
    words = f"{name}, {store}, contrast {contrast:g}, noise {kind} {level:.3f}, empty {empty}"
    return Case(words, values.astype(dtype), black + white * clean, counted)


def content(rng: np.random.Generator, data: Path) -> tuple[str, Values]:
    """Name and pixels, 0 to 1, of a photo or of something made by code.

    There are no micrographs: those said to be clean have noise, whose loss would count as harm.
    """
    if rng.random() < 0.5:
        name = str(rng.choice(list(MADE)))
        return name, MADE[name](rng)
    paths = [path for folder in PHOTOS for path in sorted((data / folder).glob("*"))]
    path = paths[rng.integers(len(paths))]
    pixels = np.asarray(Image.open(path).convert("RGB"), float) / 255
    pixels = pixels if rng.random() < 0.5 else pixels[..., 1]
    y, x = (int(rng.integers(0, max(1, n - SIDE_PX))) for n in pixels.shape[:2])
    return path.stem, pixels[y : y + SIDE_PX, x : x + SIDE_PX]


def cells(rng: np.random.Generator) -> Values:
    found = np.full((SIDE_PX, SIDE_PX), 0.02)
    for _ in range(rng.integers(5, 60)):
        y, x, radius = rng.uniform((0, 0, 4), (SIDE_PX, SIDE_PX, 25))
        squares = ((ROWS - y) ** 2 + (COLUMNS - x) ** 2) / radius**2
        found += rng.uniform(0.05, 0.9) * np.exp(-(squares**2))
    return np.clip(found, 0, 1)


def stars(rng: np.random.Generator) -> Values:
    found = np.full((SIDE_PX, SIDE_PX), 0.01)
    for _ in range(rng.integers(20, 200)):
        y, x = rng.uniform(0, SIDE_PX, 2)
        squares = (ROWS - y) ** 2 + (COLUMNS - x) ** 2
        found += 10 ** rng.uniform(-2.5, 0) * np.exp(-squares / (2 * 1.4**2))
    return np.clip(found, 0, 1)


def checks(rng: np.random.Generator) -> Values:
    side = int(rng.integers(1, 9))
    return np.asarray(0.2 + 0.6 * ((ROWS // side + COLUMNS // side) % 2))


def lines(rng: np.random.Generator) -> Values:
    period, turn = rng.uniform(3, 40), rng.uniform(0, np.pi)
    return np.asarray(
        0.5 + 0.4 * np.sin(2 * np.pi * (COLUMNS * np.cos(turn) + ROWS * np.sin(turn)) / period)
    )


def land(rng: np.random.Generator) -> Values:
    frequency = np.hypot(np.fft.fftfreq(SIDE_PX)[:, None], np.fft.rfftfreq(SIDE_PX))
    frequency[0, 0] = 1
    drawn = np.fft.rfft2(rng.standard_normal((SIDE_PX, SIDE_PX)))
    found = np.fft.irfft2(drawn / frequency ** rng.uniform(1.5, 2.5), (SIDE_PX, SIDE_PX))
    return np.asarray((found - found.min()) / np.ptp(found))


ROWS, COLUMNS = np.mgrid[:SIDE_PX, :SIDE_PX]
MADE: dict[str, Callable[[np.random.Generator], Values]] = {
    "cells": cells, "stars": stars, "checks": checks, "lines": lines, "land": land,
    "ramp": lambda rng: 0.1 + 0.8 * COLUMNS / SIDE_PX,
    "steps": lambda rng: 0.1 + 0.8 * (COLUMNS * 9 // SIDE_PX) / 9,
}  # fmt: skip


def smeared(shape: tuple[int, ...], sigma_px: float, rng: np.random.Generator) -> Values:
    """Noise of deviation 1, smeared by a Gaussian."""
    drawn = rng.standard_normal(shape).astype(np.float32)
    planes = [blur_image(p[None], sigma_px)[0] for p in np.moveaxis(np.atleast_3d(drawn), -1, 0)]
    found = np.stack(planes, -1).reshape(shape)
    return np.asarray(found / found.std(), float)


def poisson(clean: Values, level: float, rng: np.random.Generator) -> tuple[Values, Values]:
    peak = 1 / level**2
    return rng.poisson(np.clip(clean, 0, None) * peak) / peak, np.clip(clean, 0, None)


def resampled(clean: Values, level: float, rng: np.random.Generator) -> tuple[Values, Values]:
    noisy, share = clean + level * rng.standard_normal(clean.shape), rng.uniform(0.5, 0.95)
    size = (int(clean.shape[1] * share), int(clean.shape[0] * share))

    def smaller(image: Values) -> Values:
        planes = [
            np.asarray(
                Image.fromarray(p.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
            )
            for p in np.moveaxis(np.atleast_3d(image), -1, 0)
        ]
        return np.stack(planes, -1).squeeze().astype(float)

    return smaller(noisy), smaller(clean)


def through_jpeg(clean: Values, level: float, rng: np.random.Generator) -> tuple[Values, Values]:
    noisy = np.clip(np.rint((clean + level * rng.standard_normal(clean.shape)) * 255), 0, 255)
    file = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(file, "JPEG", quality=int(rng.integers(50, 97)))
    return np.asarray(Image.open(file), float) / 255, clean


def rows(clean: Values, level: float, rng: np.random.Generator) -> tuple[Values, Values]:
    stripes = rng.standard_normal((clean.shape[0], 1) + (1,) * (clean.ndim - 2))
    return clean + level * (0.5 * rng.standard_normal(clean.shape) + stripes), clean


NOISES: dict[str, Callable[[Values, float, np.random.Generator], tuple[Values, Values]]] = {
    "white": lambda c, level, rng: (c + level * rng.standard_normal(c.shape), c),
    "smeared": lambda c, level, rng: (c + level * smeared(c.shape, rng.uniform(0.4, 2), rng), c),
    "poisson": poisson, "resampled": resampled, "jpeg": through_jpeg, "rows": rows,
    "none": lambda c, level, rng: (c.copy(), c),
}  # fmt: skip


def main() -> int:
    """Restore each image, and list those that got worse."""
    parser = argparse.ArgumentParser(prog="harm.py")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int, default=100)
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    harmed = []
    for number in range(arguments.first, arguments.first + arguments.count):
        case = make_case(number, arguments.data)
        restored = unetmm.restore(case.noisy, axes="YXS" if case.noisy.ndim == 3 else "YX")
        grey = 255 / max(1e-12, float(np.ptp(case.clean[case.counted])))
        before, after = (
            grey
            * float(np.sqrt(np.mean(np.square(image.astype(float) - case.clean)[case.counted])))
            for image in (case.noisy, restored)
        )
        if after > HARM * before and after - before > HARM_GREY:
            harmed.append(number)
            print(f"{number}: {case.words}: error {before:.2f} -> {after:.2f} of 255", flush=True)
    print(f"{len(harmed)} of {arguments.count} images got worse")
    return 0


if __name__ == "__main__":
    sys.exit(main())
