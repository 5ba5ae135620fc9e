"""Upscaling on the field's test sets, beside bicubic interpolation and published figures.

    python benchmarks/upscaling.py MODEL FOLDER... [-o docs/measured/upscaling.csv]

FOLDER: a set as the public repository jbhuang0604/SelfExSR has it, such as
data/Urban100/image_SRF_2: NAME_HR.png and NAME_LR.png, made small by MATLAB. PSNR of brightness Y,
without a border as wide as the scale, as `unetmm evaluate` has it.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

from unetmm.models.weights import load_model
from unetmm.quality.bicubic import enlarge_bicubic
from unetmm.quality.degraded import brightness
from unetmm.quality.evaluate import model_on_255
from unetmm.quality.metrics import PEAK, psnr
from unetmm.quality.testsets import Pixels, read_image

METHODS = ("SRCNN", "VDSR", "CARN", "LatticeNet", "SwinIR-light")
PUBLISHED = {
    ("Set5", 2): (None, None, 37.76, 38.15, 38.14),
    ("Set14", 2): (None, None, 33.52, 33.78, 33.86),
    ("BSD100", 2): (31.36, 31.90, 32.09, 32.25, 32.31),
    ("Urban100", 2): (29.51, 30.77, 31.92, 32.43, 32.76),
    ("Set5", 4): (None, None, 32.13, 32.30, 32.44),
    ("Set14", 4): (None, None, 28.60, 28.68, 28.77),
    ("BSD100", 4): (26.90, 27.29, 27.58, 27.62, 27.69),
    ("Urban100", 4): (24.52, None, 26.07, 26.25, 26.47),
}
"""Figures of METHODS by set and scale, from Table 3 of SwinIR (arXiv 2108.10257); those of the
first two as others state them. None where none was looked up."""


def measure(model_name: str, folder: Path) -> dict[str, object]:
    """Mean PSNR of a set, of bicubic interpolation and of a model."""
    model = load_model(model_name)
    scale, restore = model.config.output_scale, model_on_255(model)
    found, pixels, seconds = [], 0, 0.0
    for path in sorted(folder.glob("*_HR.png")):
        clean = _read(path)
        small = _read(path.with_name(path.name.replace("_HR", "_LR")))
        plain = enlarge_bicubic(small.transpose(2, 0, 1), scale).transpose(1, 2, 0)
        begun = time.perf_counter()
        restored = restore(small)
        seconds += time.perf_counter() - begun
        pixels += restored.shape[0] * restored.shape[1]
        found.append([psnr(_y(clean, scale), _y(image, scale)) for image in (plain, restored)])
    if not found:
        raise SystemExit(f"{folder}: holds no NAME_HR.png")
    bicubic, ours = np.mean(found, 0)
    return {
        "set": folder.parent.name, "scale": scale, "images": len(found), "model": model.name,
        "bicubic_db": round(float(bicubic), 2), "psnr_db": round(float(ours), 2),
        "output_mpx_per_s": round(pixels / seconds / 1e6, 2),
    }  # fmt: skip


def _read(path: Path) -> Pixels:
    """A grey or colour image as numbers of 0 to 255."""
    from PIL import Image

    with Image.open(path) as image:
        channels = 1 if image.mode == "L" else 3
    return read_image(path, channels).astype(np.float64)


def _y(image: Pixels, scale: int) -> Pixels:
    """What is compared of an image."""
    inner = slice(scale, -scale)
    return brightness(np.clip(np.rint(image), 0, PEAK)[inner, inner])


def main() -> int:
    """Measure each set, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python benchmarks/upscaling.py")
    parser.add_argument("model")
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path)
    arguments = parser.parse_args()
    rows = []
    for folder in arguments.folders:
        row = measure(arguments.model, folder)
        rows.append(row)
        known = PUBLISHED.get((str(row["set"]), int(str(row["scale"]))), ())
        others = ", ".join(f"{name} {db}" for name, db in zip(METHODS, known, strict=False) if db)
        sys.stdout.write(
            f"{row['set']} x{row['scale']}: bicubic {row['bicubic_db']}, {row['model']} "
            f"{row['psnr_db']} ({row['output_mpx_per_s']} Mpx/s of output); published: {others}\n"
        )
    if arguments.output:
        is_new = not arguments.output.exists()
        with arguments.output.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerows(rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
