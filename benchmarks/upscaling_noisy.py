"""Noisy images made larger: by interpolation, in two steps, and by a model for both at once.

    python benchmarks/upscaling_noisy.py FOLDER [--real upscale-x2-real]

FOLDER: clean images. Their brightness is reduced by averaging and gets noise or JPEG traces, by a
fixed seed. PSNR in dB of the whole set, without a border as wide as the scale.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unetmm.models.weights import load_model
from unetmm.quality.bicubic import enlarge_bicubic
from unetmm.quality.evaluate import model_on_255
from unetmm.quality.metrics import psnr

Pixels = NDArray[np.float32]
SUFFIXES = (".png", ".bmp", ".tif", ".jpg")


def white(sigma: float) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """Noise of that strength, clipped and rounded as an 8-bit file is."""
    return lambda x, rng: np.clip(np.rint(x + rng.normal(0, sigma, x.shape)), 0, 255)


def photons(peak: float) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """So many photons at white, rounded to 8 bits."""
    return lambda x, rng: np.clip(np.rint(rng.poisson(x / 255 * peak) * 255 / peak), 0, 255)


def jpeg(quality: int) -> Callable[[Pixels, np.random.Generator], Pixels]:
    """Traces of a JPEG file."""

    def stored(x: Pixels, rng: np.random.Generator) -> Pixels:
        file = io.BytesIO()
        Image.fromarray(np.rint(x).astype(np.uint8)).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file), np.float32)

    return stored


KINDS = {
    "none": white(0.0),
    "white noise, 5 of 255": white(5),
    "white noise, 15 of 255": white(15),
    "white noise, 30 of 255": white(30),
    "60 photons": photons(60),
    "JPEG quality 70": jpeg(70),
    "JPEG quality 40": jpeg(40),
}


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--plain", default="upscale-x2")
    parser.add_argument("--real", default="upscale-x2-real")
    parser.add_argument("--denoiser", default="universal-tiny-mono")
    arguments = parser.parse_args()
    names = arguments.plain, arguments.real
    scale = load_model(arguments.plain).config.output_scale
    plain, real = (_grey(name) for name in names)
    denoise = _grey(arguments.denoiser)
    ways: dict[str, Callable[[Pixels], Pixels]] = {
        "bicubic": lambda x: enlarge_bicubic(x[None], scale)[0],
        arguments.plain: plain,
        "in two steps": lambda x: plain(denoise(x)),
        arguments.real: real,
    }
    paths = sorted(p for p in arguments.folder.iterdir() if p.suffix in SUFFIXES)
    sys.stdout.write(f"| {arguments.folder.name} | {' | '.join(ways)} |\n")
    for kind, spoil in KINDS.items():
        found = []
        for number, path in enumerate(paths):
            clean = np.asarray(Image.open(path).convert("L"), np.float32)
            h, w = (n // scale * scale for n in clean.shape)
            clean = clean[:h, :w]
            small = clean.reshape(h // scale, scale, w // scale, scale).mean((1, 3))
            seen = spoil(small, np.random.default_rng(number)).astype(np.float32)
            inner = np.s_[scale:-scale, scale:-scale]
            found.append([psnr(clean[inner], _stored(way(seen))[inner]) for way in ways.values()])
        figures = " | ".join(f"{value:.2f}" for value in np.mean(found, 0))
        sys.stdout.write(f"| {kind} | {figures} |\n")
        sys.stdout.flush()
    return 0


def _grey(name: str) -> Callable[[Pixels], Pixels]:
    restore = model_on_255(load_model(name))
    return lambda x: restore(x[..., None])[..., 0]


def _stored(x: Pixels) -> Pixels:
    return np.clip(np.rint(x), 0, 255)


if __name__ == "__main__":
    sys.exit(main())
