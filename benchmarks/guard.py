"""Does the guard catch what may go wrong with values, and leave ordinary images alone?

    python benchmarks/guard.py                            # the kinds of harm, made by code
    python benchmarks/guard.py --images FOLDER --sigma 0 --sigma 25

Each harm is done on purpose, as versions without the cures did it: a range that misses the bright
parts, no wider ranges, the attention of an empty image, a fill within the range, rounding of few
photons. A line tells what the guard found: means and details are blocks, `left` those with their
noise. With --images, each image of the folder is restored as it is, or with noise added to 8 bits;
whatever is doubtful there is a false alarm.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.calibration import Calibration
from unetmm.io.array import ArraySource, array_info
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.io.select import Selection
from unetmm.models.choice import pick_model
from unetmm.options import Options
from unetmm.run import job as jobs
from unetmm.run.of_file import restore_file
from unetmm.run.report import Report

SIDE_PX = 512
SUFFIXES = (".tif", ".png", ".npy")
Image = NDArray[Any]


@dataclass(frozen=True)
class Harm:
    """An image and the options that harm it."""

    name: str
    """Words for the kind of harm."""
    image: Image
    """Image that is harmed."""
    options: Options
    """Options that do it."""
    axes: str = ""
    """Axes of the image, where they are stated wrongly."""


def rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def spots(number: int, flux: float, sigma_px: float) -> Image:
    """Points of light in a grid."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    found = np.zeros((SIDE_PX, SIDE_PX))
    for i in range(number):
        cy, cx = 40 + 60 * (i // 8), 40 + 60 * (i % 8)
        near = np.s_[cy - 9 : cy + 10, cx - 9 : cx + 10]
        far2 = (y[near] - cy) ** 2 + (x[near] - cx) ** 2
        found[near] += flux * np.exp(-far2 / 2 / sigma_px**2)
    return found


def field(seed: int) -> Image:
    """Round cells of 0.3 to 1 on nothing."""
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    found = np.zeros((SIDE_PX, SIDE_PX))
    for _ in range(60):
        cy, cx = rng(seed).uniform(0, SIDE_PX, 2)
        seed += 1
        radius, height = rng(seed).uniform(6, 18), rng(seed).uniform(0.3, 1)
        inside = 1 / (1 + np.exp(np.clip(np.hypot(y - cy, x - cx) - radius, -30, 30) / 1.2))
        found = np.maximum(found, height * inside)
    return found


def counts(clean: Image, seed: int, read_noise: float = 0.0) -> Image:
    """16-bit counts of a clean image."""
    values = rng(seed).poisson(clean) + rng(seed + 1).normal(0, read_noise, clean.shape)
    return values.round().clip(0, 65535).astype(np.uint16)


def measured(image: Image, options: Options) -> Calibration:
    """Statistics of an image, as a run would measure them."""
    info = array_info(image.shape, image.dtype, None)
    chosen = replace(options, calibration=None)
    return jobs.compile_and_calibrate(
        ArraySource(image, info), pick_model(options.model, info), chosen
    )[1]


def attention_from(image: Image, others: list[tuple[float, Image]], options: Options) -> Options:
    """Options with the range of an image, or that asked for, and a mean attention of others."""
    own = measured(image, options)
    found = [(share, measured(other, options)) for share, other in others]
    entries = {
        key: replace(
            entry,
            attention={
                name: sum((w * c.entries[key].attention[name] for w, c in found), start=0 * values)
                for name, values in entry.attention.items()
            },
        )
        for key, entry in own.entries.items()
    }
    return replace(options, calibration=replace(own, entries=entries), fixed_range=None)


def harms(model: str, colour_model: str) -> Iterator[Harm]:
    """Every kind of harm."""
    # As before outliers and point sources were looked for.
    usual, colours = (Options(name, outliers="none") for name in (model, colour_model))
    flat = np.full((SIDE_PX, SIDE_PX), 105.0)
    for height in (300.0, 3000.0, 30000.0):
        cells = 5 + height * (spots(4, 1.0, 6.0) > 0.2)
        noisy = (rng(1).poisson(cells) + rng(2).normal(100, 2, cells.shape)).round()
        yield Harm(
            f"cells of {height:g} counts missed", noisy.clip(0, 65535).astype(np.uint16),
            replace(usual, fixed_range=(96.0, 115.0)),
        )  # fmt: skip
    sky = counts(flat * 9.5 + spots(60, 20000.0, 1.1), 2, 12.0)
    yield Harm("stars above the range", sky, replace(usual, fixed_range=(890.0, 1110.0)))
    ships = (180 * np.sqrt(rng(3).gamma(4.4, 1 / 4.4, flat.shape)) + spots(20, 9000, 0.9)).round()
    ships = ships.astype(np.uint16)
    yield Harm("ships above the range", ships, replace(usual, fixed_range=(60.0, 340.0)))
    sun = np.stack([0.5 * field(40 + i) + 0.02 for i in range(3)], -1)
    sun[40:60, 400:420] = 2000
    noise = rng(4).normal(0, 0.02, sun.shape) * np.sqrt(sun + 0.05)
    yield Harm(
        "sun of a float photo", (sun + noise).astype(np.float32),
        replace(colours, fixed_range=(0.0, 0.5)),
    )  # fmt: skip
    yield from _empty(usual)
    yield from _outliers(usual)
    for photons in (0.05, 0.2, 0.5, 1.0):
        few = rng(5).poisson(photons * (0.1 + field(11))).astype(np.uint16)
        yield Harm(f"{photons:g} photons in integers", few, usual)
    unequal = np.stack(
        [100 + a * field(20 + i) for i, a in enumerate((20000, 600, 60))], -1
    )  # fmt: skip
    yield Harm(
        "unequal channels, one range", counts(unequal, 6), replace(colours, fixed_range=(60, 20000))
    )
    yield from _fills(usual)
    channels = rng(7).poisson(300 * (1 + np.stack([field(30 + i) for i in range(5)], -1)))
    yield Harm(
        "channels taken for X", channels[:256, :256].astype(np.uint16), usual, axes="ZYX"
    )  # fmt: skip


def _empty(usual: Options) -> Iterator[Harm]:
    """Empty areas, which switch the denoiser off."""
    photo = (60 + 130 * field(8) + rng(8).normal(0, 50, (SIDE_PX, SIDE_PX))).clip(0, 255)
    photo = photo.round().astype(np.uint8)
    black = np.zeros_like(photo)
    for share in (0.5, 0.25, 0.12, 0.0):
        rows = round(SIDE_PX * (share or 0.25))
        canvas = np.where(np.arange(SIDE_PX)[:, None] < rows, photo, black)
        mean = [(share, photo), (1 - share, black)]
        yield Harm(
            f"content on {share:.0%} of the patches", canvas, attention_from(canvas, mean, usual)
        )
    photons = np.zeros((SIDE_PX, SIDE_PX))
    photons[:256, :256] = 20 * (0.2 + 0.8 * field(9)[:256, :256])
    read = rng(9).normal(100, 3, photons.shape)
    slide = (10 * rng(10).poisson(photons) + read).round().clip(0).astype(np.uint16)
    ranged = replace(usual, fixed_range=(90.0, 350.0))
    around = [(1.0, slide[256:])]
    yield Harm("tissue on a noisy background", slide, attention_from(slide, around, ranged))
    missed = np.zeros((SIDE_PX, SIDE_PX), np.uint16)
    missed[200:300, 200:300] = counts(1000 + 1000 * field(10)[:100, :100], 10)
    nothing = [(1.0, np.zeros_like(missed))]
    yield Harm(
        "content that no patch touches", missed,
        attention_from(missed, nothing, replace(usual, fixed_range=(0.0, 1.0))),
    )  # fmt: skip


def _outliers(usual: Options) -> Iterator[Harm]:
    base = counts(100 + 200 * field(3), 11)
    hot = rng(12).random(base.shape) < 0.0002
    known = replace(usual, fixed_range=(70.0, 330.0))
    for value in (1000, 3000, 10000, 65535):
        yield Harm(f"hot pixels of {value}", np.where(hot, np.uint16(value), base), known)
    columns = base.copy()
    columns[:, [100, 377]] = 20000
    yield Harm("hot columns", columns, known)
    one = base.copy()
    one[256, 256] = 65535
    yield Harm("one saturated point", one, replace(usual, fixed_range=(70.0, 65535.0)))


def _fills(usual: Options) -> Iterator[Harm]:
    scene = (10 + 5 * field(13) + rng(13).normal(0, 1, (SIDE_PX, SIDE_PX))).astype(np.float32)
    measured_all = replace(usual, nodata=())
    for fill in (9.97e36, 1e30, 1e20):
        image = scene.copy()
        image[:200, :150] = fill
        yield Harm(
            f"undeclared fill {fill:g}", image, replace(measured_all, fixed_range=(0.0, fill))
        )
    image = scene.copy()
    image[100:200, 100:300] = -9999
    yield Harm(
        "undeclared -9999", image, replace(measured_all, fixed_range=(5.0, 20.0))
    )  # fmt: skip
    border = counts(500 + 200 * field(14), 14)
    border[:, :100] = 0
    yield Harm("border of plain 0", border, replace(measured_all, fixed_range=(0.0, 900.0)))


@contextmanager
def without_wider_ranges() -> Iterator[None]:
    """As before there were ranges for what exceeds the base range."""
    kept, jobs.bracket_kernels = jobs.bracket_kernels, lambda *asked: None
    try:
        yield
    finally:
        jobs.bracket_kernels = kept


def restored(folder: Path, image: Image, options: Options, axes: str = "") -> Report:
    np.save(folder / "in.npy", image)
    select = Selection(axes=axes) if axes else None
    asked = replace(options, overwrite=True, select=select)
    return restore_file(folder / "in.npy", folder / "out.npy", asked)


def is_caught(report: Report, wanted: bool) -> bool:
    """Whether a reader is told; of ordinary images, whether the guard says anything."""
    guard, warnings = report.guard, report.as_dict()["warnings"]
    rounding = any("rounding to whole counts" in line for line in warnings)
    alarm = guard["is_doubtful"] or guard["is_left"] or guard["is_changed"] or rounding
    return bool(alarm or (wanted and warnings))


def line(report: Report) -> str:
    guard = report.guard
    worst = f", worst {guard['worst']['times_allowed']} times" if guard["worst"] else ""
    return (
        f"{guard['means']} means and {guard['details']} details of {guard['blocks']} blocks, "
        f"noise left in {guard['noise_left']} of {guard['noisy']}, rounding "
        f"{guard['rounding']['bias_share']}, mean {guard['mean_change']:+.2%}{worst}"
    )


def images(folder: Path, most: int) -> list[Path]:
    found = sorted(p for p in folder.rglob("*") if p.suffix.lower() in SUFFIXES)
    return found[:: max(1, len(found) // most)][:most] if most else found


def pixels_of(path: Path) -> Image:
    """The first plane of an image, without opacity."""
    with closing(open_source(path)) as source:
        info = source.info
        found = source.read(next(iter(info.planes)), Box(0, 0, info.height, info.width))
    return found[..., 0] if info.samples == 1 else found[..., :3]


def count(name: str, report: Report, wanted: bool) -> bool:
    """Print a line on one run; returns whether it is as wanted."""
    right = is_caught(report, wanted) == wanted
    word = {(True, True): "caught", (True, False): "MISSED", (False, True): "quiet"}
    print(f"{word.get((wanted, right), 'ALARM'):7} {name}: {line(report)}", flush=True)
    return right


def try_harms(folder: Path, asked: argparse.Namespace) -> Iterator[bool]:
    """Do every harm; whether each is caught."""
    with without_wider_ranges():
        for harm in harms(asked.model, asked.colour_model):
            if asked.only in harm.name:
                report = restored(folder, harm.image, harm.options, harm.axes)
                yield count(harm.name, report, wanted=True)


def try_images(folder: Path, asked: argparse.Namespace) -> Iterator[bool]:
    """Restore images; whether nothing is said of each."""
    for path in (p for place in asked.images for p in images(place, asked.most)):
        clean = pixels_of(path)
        options = Options(asked.colour_model if clean.ndim == 3 else asked.model)
        for sigma in asked.sigma or [0.0]:
            image = clean
            if sigma:
                noise = rng(int(sigma)).normal(0, sigma, clean.shape)
                image = (clean + noise).round().clip(0, 255).astype(np.uint8)
            name = f"{path.parent.name}/{path.name} sigma {sigma:g}"
            yield count(name, restored(folder, image, options), wanted=False)


def main() -> int:
    parser = argparse.ArgumentParser(description="Does the guard catch harm, and only harm?")
    parser.add_argument("--images", type=Path, action="append", default=[], help="folders")
    parser.add_argument("--sigma", type=float, action="append", help="noise added to 8 bits")
    parser.add_argument("--most", type=int, default=0, help="images of a folder; 0: all")
    parser.add_argument("--model", default="tiny-mono")
    parser.add_argument("--colour-model", default="tiny-rgb")
    parser.add_argument("--only", default="", help="harms whose name has this in it")
    asked = parser.parse_args()
    logging.getLogger("unetmm").addHandler(logging.NullHandler())
    with tempfile.TemporaryDirectory() as name:
        tried = try_images if asked.images else try_harms
        results = list(tried(Path(name), asked))
    print(f"{sum(results)} of {len(results)} as wanted")
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
