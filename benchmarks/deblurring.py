"""Deblurring by a model that is told nothing, beside methods that are told the kernel.

    python benchmarks/deblurring.py MODEL CLEAN_FOLDER [--levin FOLDER] [--images 6]

Wiener's and Richardson and Lucy's filters are those of scikit-image (`pip install scikit-image`),
with the true kernel; how strongly they work is chosen so that they do best on these very images.
The blurs are those of `unetmm evaluate`: kernels the model was not trained on one by one, but of
kinds that it knows. --levin: real camera shake of Levin et al. (2009), as the public repository
csdwren/SelfDeblur has it: blurred/imI_kernelK.png, sharp/imI.png, kernels/kernelK.png.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from unetmm.models.weights import load_model
from unetmm.quality.degraded import degraded
from unetmm.quality.evaluate import model_on_255
from unetmm.quality.kernels import TEST_KERNELS
from unetmm.quality.metrics import PEAK, psnr
from unetmm.quality.testsets import list_images, read_image

Image = NDArray[np.float64]
BALANCES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""Weights of the regularisation of Wiener's filter that are tried."""
ROUNDS = (5, 10, 20, 40, 80)
"""Numbers of iterations of Richardson and Lucy that are tried."""
SHIFT_PX = 6
"""Largest shift between a sharp image of Levin's and a restored one; kernels leave it open."""
EDGE_PX = 24
"""Border that is not compared: what lay beyond it is not known."""


def others(blurred: Image, kernel: Image) -> dict[str, list[Image]]:
    """What each method makes of a blurred image (height, width) of 0 to 255, by strength."""
    from skimage.restoration import richardson_lucy, wiener

    scaled, pad = blurred / PEAK, 2 * len(kernel)
    wide = np.pad(scaled, pad, "symmetric")
    inner = np.s_[pad:-pad, pad:-pad]
    return {
        "Wiener": [wiener(wide, kernel, b, clip=False)[inner] * PEAK for b in BALANCES],
        "Richardson-Lucy": [richardson_lucy(wide, kernel, n)[inner] * PEAK for n in ROUNDS],
    }


def on_kernels(restore: Callable[[Image], Image], folder: Path, count: int, task: object) -> None:
    """Print the mean PSNR on the blurs of `unetmm evaluate`."""
    images = [read_image(path, 1)[..., 0].astype(float) for path in list_images(folder)[:count]]
    for number, (kind, kernel) in enumerate(TEST_KERNELS.items()):
        rows: dict[str, list[list[float]]] = {}
        for index, clean in enumerate(images):
            pair = degraded(clean[..., None], task, kind, (0, index, number))  # type: ignore[arg-type]
            given = pair.given[..., 0]
            found = {"blurred": [given], "model": [restore(given)], **others(given, kernel)}
            for name, made in found.items():
                scores = [_psnr(clean, one) for one in made]
                rows.setdefault(name, []).append(scores)
        _tell(kind, rows)


def on_levin(restore: Callable[[Image], Image], folder: Path) -> None:
    """Print the mean PSNR on real camera shake, over the best shift of each image."""
    rows: dict[str, list[list[float]]] = {}
    for path in sorted((folder / "blurred").glob("*.png")):
        name, _, kernel_name = path.stem.partition("_")
        blurred, sharp, kernel = (
            read_image(p, 1)[..., 0].astype(float)
            for p in (path, folder / f"sharp/{name}.png", folder / f"kernels/{kernel_name}.png")
        )
        kernel /= kernel.sum()
        made = {"blurred": [blurred], "model": [restore(blurred)], **others(blurred, kernel)}
        for method, results in made.items():
            scores = [_best_shift(sharp, one) for one in results]
            rows.setdefault(method, []).append(scores)
    _tell("camera shake (Levin)", rows)


def _tell(kind: str, rows: dict[str, list[list[float]]]) -> None:
    """Print the mean of each method at its best strength."""
    best = {name: float(np.mean(scores, 0).max()) for name, scores in rows.items()}
    told = ", ".join(f"{name} {db:.2f}" for name, db in best.items())
    sys.stdout.write(f"{kind}: {told} dB\n")


def _psnr(clean: Image, image: Image) -> float:
    inner = np.s_[EDGE_PX:-EDGE_PX, EDGE_PX:-EDGE_PX]
    return psnr(clean[inner], np.clip(np.rint(image), 0, PEAK)[inner])


def _best_shift(sharp: Image, image: Image) -> float:
    """PSNR at the shift where it is highest."""
    steps = range(-SHIFT_PX, SHIFT_PX + 1)
    shifts: Iterable[tuple[int, int]] = ((y, x) for y in steps for x in steps)
    return max(_psnr(sharp, np.roll(image, shift, (0, 1))) for shift in shifts)


def main() -> int:
    """Measure a model on both kinds."""
    parser = argparse.ArgumentParser(prog="python benchmarks/deblurring.py")
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--levin", type=Path)
    parser.add_argument("--images", type=int, default=6)
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    run = model_on_255(model)

    def restore(image: Image) -> Image:
        return np.asarray(run(image[..., None])[..., 0])

    on_kernels(restore, arguments.folder, arguments.images, model)
    if arguments.levin:
        on_levin(restore, arguments.levin)
    return 0


if __name__ == "__main__":
    sys.exit(main())
