"""The shipped nets beside BM3D and non-local means: the same files, the same protocol, one run.

    PYTHONPATH=SITE OMP_NUM_THREADS=1 nice -n 10 python benchmarks/denoisers.py
    python benchmarks/denoisers.py --page-only

SITE holds the packages bm3d (for non-commercial use only) and scikit-image; see classical.py.
One row an image and method is appended to the CSV as it is measured, and rows that are there are
not measured again: it can be killed at any moment. The page is made from the CSV.
"""

from __future__ import annotations

import argparse
import csv
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import classical
import numpy as np
from denoisers_page import Row, write_page

from unetmm.models.weights import Model, load_model
from unetmm.options import Options
from unetmm.quality.evaluate import (
    Case,
    Restore,
    model_on_255,
    model_on_stored,
    score_pair,
    score_white,
)
from unetmm.quality.metrics import PEAK, fit_affine
from unetmm.quality.testsets import Pixels, list_images, read_image

ROOT = Path(__file__).resolve().parent.parent
ORDER_SEED = 0
"""Seed of the order in which a set's images are measured: a part of a set is a random one."""
MODELS = frozenset({"tiny-rgb", "tiny-mono", "universal-tiny-rgb", "micrograph-tiny"})


@dataclass(frozen=True)
class TestSet:
    """Images that are measured in one way."""

    name: str
    folder: str
    """Folder below the data folder; with noisy/ and clean/ in it if there are no sigmas."""
    channels: int
    methods: tuple[str, ...]
    sigmas: tuple[int, ...] = ()
    """Levels of the white noise that is added, in grey levels of 255."""
    affine: bool = False
    images: int | None = None
    """Number of images that are measured, in a seeded order; None: all."""


COLOUR = ("universal-tiny-rgb", "tiny-rgb", "bm3d-told")
MICROGRAPH = ("micrograph-tiny", "tiny-mono", "bm3d", "bm3d-vst", "nlm", "nlm-vst")
SETS = (
    TestSet("Hagen", "microscopy/hagen", 1, MICROGRAPH, affine=True),
    TestSet("FMD", "microscopy/fmd", 1, MICROGRAPH, affine=True),
    TestSet("Bacteria", "microscopy/bacteria_u16", 1, MICROGRAPH, affine=True),
    TestSet("W2S", "microscopy/w2s", 1, MICROGRAPH, affine=True, images=30),
    TestSet("CC15", "real_noise/cc15", 3, COLOUR),
    TestSet("Set12", "eval/set12", 1, ("tiny-mono", "bm3d-told"), (25,)),
    TestSet("PolyU", "real_noise/polyu", 3, COLOUR),
    TestSet("CC15, a part", "real_noise/cc15", 3, (*COLOUR, "bm3d"), images=3),
    TestSet("CBSD68", "eval/cbsd68", 3, ("tiny-rgb", "bm3d-told"), (25,), images=8),
)


@dataclass(frozen=True)
class Task:
    """One image, one method."""

    test_set: TestSet
    path: Path
    index: int
    """Place in the sorted folder, which seeds the noise as `unetmm evaluate` does."""
    sigma: int | None
    method: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        sigma = "" if self.sigma is None else str(self.sigma)
        return self.test_set.name, self.path.name, sigma, self.method


def all_tasks(data: Path, only: str | None) -> Iterator[Task]:
    """Image by image, all methods of one after the other."""
    for chosen in SETS:
        if only is not None and only.lower() not in chosen.name.lower():
            continue
        folder = data / chosen.folder
        paths = list(enumerate(list_images(folder if chosen.sigmas else folder / "noisy")))
        random.Random(ORDER_SEED).shuffle(paths)
        for index, path in paths[: chosen.images]:
            for sigma in chosen.sigmas or (None,):
                for method in chosen.methods:
                    yield Task(chosen, path, index, sigma, method)


def measure(task: Task) -> Row:
    """Restore one image with one method and compare it, as `unetmm evaluate` does."""
    pixels = read_image(task.path, task.test_set.channels)
    if task.sigma is not None:
        restore, level = _restorer(task.method, pixels.dtype, float(task.sigma), white=True)
        seed = (0, task.index, task.sigma)
        case = score_white(task.path, pixels, task.sigma, seed, restore)
        return _row(task, case, level)
    clean = read_image(task.path.parent.parent / "clean" / task.path.name, task.test_set.channels)
    scale = PEAK / float(pixels.max()) if pixels.dtype == np.uint16 else 1.0
    told = scale * _rms_noise(pixels, clean, task.test_set.affine)
    restore, level = _restorer(task.method, pixels.dtype, told, white=False, scale=scale)
    return _row(task, score_pair(task.path, pixels, clean, task.test_set.affine, restore), level)


def _rms_noise(noisy: Pixels, clean: Pixels, affine: bool) -> float:
    gain, offset = fit_affine(clean, noisy) if affine else (1.0, 0.0)
    return float(np.sqrt(np.mean(np.square(noisy - (gain * clean.astype(np.float64) + offset)))))


def _restorer(
    method: str, dtype: np.dtype[np.generic], told: float, *, white: bool, scale: float = 1.0
) -> tuple[Restore, list[float]]:
    """A denoiser, and a list that the noise level it used is put into."""
    level: list[float] = []
    if method in MODELS:
        model, options = _model(method), Options(workers=1)
        if white:
            return model_on_255(model, options), level
        return model_on_stored(model, dtype, options), level

    def restore(noisy: Pixels) -> Pixels:
        scaled = noisy.astype(np.float64) * scale
        if method.endswith("-vst"):
            plain = classical.bm3d if method == "bm3d-vst" else classical.non_local_means
            return classical.stabilised(scaled, plain) / scale
        sigma = told if method.endswith("-told") else classical.estimate_sigma(scaled)
        level.append(sigma)
        plain = classical.non_local_means if method == "nlm" else classical.bm3d
        return plain(scaled, sigma) / scale

    return restore, level


@cache
def _model(name: str) -> Model:
    """A model that has run once: the first image is not charged for weights and kernels."""
    model = load_model(name)
    model_on_255(model, Options(workers=1))(np.zeros((64, 64, model.config.in_channels)))
    return model


def _row(task: Task, case: Case, level: list[float]) -> Row:
    name, image, sigma, method = task.key
    score, told = case.score, f"{level[0]:.2f}" if level else ""
    return Row(
        name,
        image,
        sigma,
        method,
        told,
        round(score.psnr_before_db, 4),
        round(score.psnr_db, 4),
        round(score.ssim_before, 5),
        round(score.ssim, 5),
        round(score.seconds, 3),
    )


def read_rows(path: Path) -> list[Row]:
    """Rows measured so far; a last line cut off by a kill is left out."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        lines = [line for line in file if line.endswith("\n")]
    texts = [(f.name, f.type == "float") for f in fields(Row)]
    return [
        Row(**{name: float(line[name]) if is_float else line[name] for name, is_float in texts})
        for line in csv.DictReader(lines)
    ]


def write_rows(path: Path, rows: list[Row], mode: str) -> None:
    """Append to the CSV, or replace it ("w")."""
    with path.open(mode, newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Row)], lineterminator="\n")
        if mode == "w":
            writer.writeheader()
        writer.writerows(asdict(row) for row in rows)


def main() -> int:
    """Measure what is missing; exit code 75 when the time limit came first."""
    parser = argparse.ArgumentParser(prog="denoisers.py")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--csv", type=Path, default=ROOT / "benchmarks" / "denoisers.csv")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "measured" / "denoisers.md")
    parser.add_argument("--only", help="sets whose name has this in it")
    parser.add_argument("--limit-s", type=float, default=float("inf"))
    parser.add_argument("--page-only", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    started, rows = time.monotonic(), read_rows(arguments.csv)
    if not arguments.page_only:
        classical.require()
        write_rows(arguments.csv, rows, "w")
        done = {row.key for row in rows}
        for task in all_tasks(arguments.data, arguments.only):
            if task.key in done:
                continue
            if time.monotonic() - started > arguments.limit_s:
                write_page(arguments.page, rows)
                return 75
            row = measure(task)
            write_rows(arguments.csv, [row], "a")
            rows.append(row)
            print(*task.key, f"{row.psnr_before_db:.2f} -> {row.psnr_db:.2f} dB", flush=True)
    write_page(arguments.page, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
