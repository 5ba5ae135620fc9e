"""Models on every kind of noise that there are test images of, and on clean images.

    python benchmarks/real_noise.py tiny-mono micrograph-tiny --cases CASES
    python benchmarks/real_noise.py training/universal-tiny-mono.toml@runs/universal-tiny-mono --all

CASES is the folder that `shared/cases/noise/make.py` writes. A model is a name, a weight file, or
CONFIG@FOLDER for the averaged weights of a run that goes on. By default the first images of each
set alone are taken, for quick looks; means of those are not those of the cards. The table goes to
the standard output, all of it to `--json`. Single channels are measured with models for one
channel, colour with models for three; PSNR in dB, by the protocol of `unetmm evaluate`.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from unetmm.models.weights import Model, load_model
from unetmm.options import Options
from unetmm.quality.evaluate import model_on_255, model_on_stored, score_pair, score_white
from unetmm.quality.metrics import PEAK, psnr
from unetmm.quality.testsets import Pixels, list_images, read_image
from unetmm.train.checkpoint import load_checkpoint
from unetmm.train.config import load_train_config
from unetmm.train.drawn import draw_picture

ROOT = Path(__file__).resolve().parent.parent
QUICK_IMAGES = 6
"""Number of images of each set for a quick look."""
SIGMAS = (15, 25, 50)
"""Levels of white noise, in grey levels of 255."""
HALVES = (10, 50)
"""Levels of white noise on the left and the right half of one image."""
DRAWN_PX = 256
"""Side of the drawn clean pictures."""
CHANNELS = {"mono": (1,), "rgb": (3,), "both": (1, 3)}


@dataclass(frozen=True)
class TestSet:
    """Images that are measured in one way."""

    name: str
    folder: str
    """Folder below the data folder, or below the cases where `suffix` is given."""
    channels: str
    """Channels of the models that are measured on it: mono, rgb or both."""
    kind: str
    """Way of measuring: white, halves, pairs, affine (pairs of two scales), clean, drawn."""
    suffix: str = ""
    """End of the names of the cases that belong to this set."""


SETS = (
    TestSet("Set12", "eval/set12", "mono", "white"),
    TestSet("CBSD68", "eval/cbsd68", "rgb", "white"),
    TestSet("Kodak24", "eval/kodak24", "rgb", "white"),
    TestSet("halves", "eval/kodak24", "both", "halves"),
    TestSet("CC15", "real_noise/cc15", "rgb", "pairs"),
    TestSet("PolyU", "real_noise/polyu", "rgb", "pairs"),
    TestSet("W2S", "microscopy/w2s", "mono", "affine"),
    TestSet("Hagen", "microscopy/hagen", "mono", "affine"),
    TestSet("FMD", "microscopy/fmd", "mono", "affine"),
    TestSet("Bacteria", "microscopy/bacteria_u16", "mono", "affine"),
    TestSet("bilinear", "", "mono", "pairs", "_bilinear"),
    TestSet("jpeg", "", "mono", "pairs", "_jpeg"),
    TestSet("rows", "", "mono", "pairs", "_rows"),
    TestSet("clean Kodak24", "eval/kodak24", "both", "clean"),
    TestSet("clean drawn", "", "both", "drawn"),
)


@dataclass(frozen=True)
class Figure:
    """Mean of one model on one set."""

    model: str
    test_set: str
    images: int
    noisy_db: float
    restored_db: float


@dataclass(frozen=True)
class Places:
    """Folders that images are read from, and how many of each set."""

    data: Path
    cases: Path | None
    most: int | None
    """Largest number of images of a set; None: all."""

    def images(self, test_set: TestSet) -> list[Path]:
        """The noisy images of a set of pairs, or the clean images of another; spread evenly."""
        folder = self.data / test_set.folder
        if test_set.suffix:
            if self.cases is None:
                return []
            folder = self.cases
        if test_set.kind in ("pairs", "affine"):
            folder = folder / "noisy"
        found = [p for p in list_images(folder) if p.stem.endswith(test_set.suffix)]
        if self.most is None or len(found) <= self.most:
            return found
        return [found[i * len(found) // self.most] for i in range(self.most)]


def open_model(name: str) -> Model:
    """A model by name or path, or the averaged weights of CONFIG@FOLDER."""
    if "@" not in name:
        return load_model(name)
    config_path, folder = name.split("@", 1)
    config, found = load_train_config(Path(config_path)), load_checkpoint(Path(folder))
    if found is None:
        raise SystemExit(f"{folder}: holds no checkpoint")
    step, states = found
    tensors = {k: v.float().numpy() for k, v in states["ema"].items()}
    return Model(f"{config.name} {step}", config.net, {}, None, tensors)


def measure(model: Model, test_set: TestSet, places: Places) -> Iterator[Figure]:
    """The figures of one model on one set: one, or one for each level of white noise."""
    channels = model.config.in_channels
    options = Options(workers=1)
    if test_set.kind == "drawn":
        pictures = [_drawn(channels, seed) for seed in range(places.most or 20)]
        yield _mean(model, test_set.name, [_untouched(model, p, options) for p in pictures])
        return
    paths = places.images(test_set)
    if not paths:
        return
    if test_set.kind == "clean":
        found = [_untouched(model, read_image(p, channels), options) for p in paths]
        yield _mean(model, test_set.name, found)
    elif test_set.kind == "white":
        index = {p: i for i, p in enumerate(list_images(places.data / test_set.folder))}
        restore = model_on_255(model, options)
        for sigma in SIGMAS:
            scores = [
                score_white(p, read_image(p, channels), sigma, (0, index[p], sigma), restore).score
                for p in paths
            ]
            found = [(s.psnr_before_db, s.psnr_db) for s in scores]
            yield _mean(model, f"{test_set.name} {sigma}", found)
    elif test_set.kind == "halves":
        yield from _halves(model, [read_image(p, channels) for p in paths], options)
    else:
        found = [_pair(model, p, test_set.kind == "affine", options) for p in paths]
        yield _mean(model, test_set.name, found)


def _pair(model: Model, path: Path, affine: bool, options: Options) -> tuple[float, float]:
    channels = model.config.in_channels
    noisy = read_image(path, channels)
    clean = read_image(path.parent.parent / "clean" / path.name, channels)
    score = score_pair(
        path, noisy, clean, affine, model_on_stored(model, noisy.dtype, options)
    ).score
    return score.psnr_before_db, score.psnr_db


def _halves(model: Model, images: Sequence[Pixels], options: Options) -> Iterator[Figure]:
    """Each half of the images with its level, beside the other level and beside its own."""
    restore = model_on_255(model, options)
    for side, (level, other) in enumerate((HALVES, HALVES[::-1])):
        for beside in (level, other):
            found = []
            for seed, clean in enumerate(images):
                middle = clean.shape[1] // 2
                half = np.s_[:, middle:] if side else np.s_[:, :middle]
                sigma = np.full((1, clean.shape[1], 1), float(beside))
                sigma[half] = level
                white = np.random.default_rng(seed).standard_normal(clean.shape)
                noisy = clean + sigma * white
                restored = np.clip(restore(noisy), 0, PEAK)[half]
                target = clean[half].astype(np.float64)
                found.append((psnr(target, noisy[half], PEAK), psnr(target, restored, PEAK)))
            yield _mean(model, f"{level} beside {beside}", found)


def _untouched(model: Model, clean: Pixels, options: Options) -> tuple[float, float]:
    """How far a clean image of 8 bits stays what it is."""
    restored = np.clip(model_on_255(model, options)(clean.astype(np.float64)), 0, PEAK)
    return math.inf, psnr(clean.astype(np.float64), restored, PEAK)


def _drawn(channels: int, seed: int) -> Pixels:
    """(h, w, channels) of uint8."""
    picture = draw_picture(channels, DRAWN_PX, np.random.default_rng(seed))
    drawn: Pixels = np.rint(picture.transpose(1, 2, 0) * 255).astype(np.uint8)
    return drawn


def _mean(model: Model, name: str, found: Sequence[tuple[float, float]]) -> Figure:
    before, after = np.array(found).mean(0)
    return Figure(model.name, name, len(found), float(before), float(after))


def table(figures: Sequence[Figure]) -> str:
    """Rows of sets, columns of models."""
    models = list(dict.fromkeys(f.model for f in figures))
    cells = {(f.test_set, f.model): f for f in figures}
    lines = ["| set | images | noisy | " + " | ".join(models) + " |"]
    lines.append("|---|---|---|" + "---|" * len(models))
    for name in dict.fromkeys(f.test_set for f in figures):
        row = [cells.get((name, model)) for model in models]
        first = next(f for f in row if f is not None)
        noisy = f"{first.noisy_db:.2f}" if math.isfinite(first.noisy_db) else ""
        restored = (f"{f.restored_db:.2f}" if f else "" for f in row)
        lines.append(f"| {name} | {first.images} | {noisy} | " + " | ".join(restored) + " |")
    return "\n".join(lines)


def _as_json(figures: Sequence[Figure]) -> str:
    def number(value: float) -> float | None:
        return round(value, 4) if math.isfinite(value) else None

    rows = [
        {
            "model": f.model,
            "set": f.test_set,
            "images": f.images,
            "noisy_db": number(f.noisy_db),
            "restored_db": number(f.restored_db),
        }
        for f in figures
    ]
    return json.dumps(rows, indent=1)


def main() -> int:
    """Measure models on sets and show a table."""
    parser = argparse.ArgumentParser(prog="real_noise.py")
    parser.add_argument("models", nargs="+", metavar="MODEL", help="name, file or CONFIG@FOLDER")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--cases", type=Path, help="folder of correlated pairs")
    parser.add_argument("--only", help="sets whose name has this in it")
    parser.add_argument("--images", type=int, default=QUICK_IMAGES, help="of each set, at most")
    parser.add_argument("--all", action="store_true", help="all images of each set")
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    places = Places(arguments.data, arguments.cases, None if arguments.all else arguments.images)
    figures: list[Figure] = []
    for model in map(open_model, arguments.models):
        for test_set in SETS:
            is_chosen = arguments.only is None or arguments.only.lower() in test_set.name.lower()
            if is_chosen and model.config.in_channels in CHANNELS[test_set.channels]:
                figures += measure(model, test_set, places)
                print(".", end="", file=sys.stderr, flush=True)
    print(f"\n{table(figures)}")
    if arguments.json is not None:
        arguments.json.write_text(_as_json(figures) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
