"""Does `unetmm trust` tell good results from bad ones? Known faults are put into real restorations.

    python benchmarks/trust.py                          # images made by code
    python benchmarks/trust.py --pairs FOLDER ...       # besides, folders with noisy/ (and clean/)
    python benchmarks/trust.py --files FOLDER ...       # only photos, in colour

Every image is restored as a run would; then its output gets one fault after the other. A row of the
table says how often each finding was made.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import unetmm
from unetmm.io.array import ArraySource, array_info
from unetmm.quality.metrics import psnr
from unetmm.quality.testsets import list_images, read_image
from unetmm.quality.trust.pair import Pair
from unetmm.quality.trust.trust import Trust, trust_pair

Image = NDArray[np.float64]
SIDE_PX = 384
"""Height and width of images made by code, and largest ones of other images."""
WANTED: dict[str, tuple[str, ...]] = {
    "good": (),
    "strength 0.5": ("noise_left",),
    "1.5 times too much": ("removed_too_much",),
    "smoothed by 1 px": ("detail_removed",),
    "smoothed by 2 px": ("detail_removed",),
    "a mere Gaussian of 2 px": ("detail_removed",),
    "shifted by 1 px": ("shifted",),
    "shifted by 0.3 px": ("shifted",),
    "enlarged by 0.5 %": ("warped", "shifted"),
    "sharpened": ("sharpened", "invented"),
    "a little sharpened": ("sharpened", "invented"),
    "texture of another image": ("invented", "sharpened"),
    "stripes in 6 % of the area": ("invented", "sharpened"),
    "lines as strong as noise": ("invented", "sharpened"),
    "lines twice as strong": ("invented", "sharpened"),
    "clipped": ("clipped", "values_changed"),
    "gamma 0.9": ("values_changed",),
    "5 % brighter": ("values_changed",),
    "black raised": ("values_changed",),
    "another image": ("other_image", "shifted", "invented"),
}
"""Fault -> findings any of which tells it."""
PHOTO_FAULTS = (
    "good",
    "smoothed by 1 px",
    "smoothed by 2 px",
    "shifted by 0.3 px",
    "sharpened",
    "lines twice as strong",
)
"""Faults that are put into photos."""


def smooth(values: Image, width: float) -> Image:
    """Convolved with a Gaussian, mirrored at the edges."""
    reach = int(4 * width + 1)
    padded = np.pad(values, reach, "symmetric")
    f = [np.fft.fftfreq(padded.shape[0])[:, None], np.fft.rfftfreq(padded.shape[1])]
    transfer = np.exp(-2 * np.pi**2 * width**2 * (f[0] ** 2 + f[1] ** 2))
    found = np.fft.irfft2(np.fft.rfft2(padded) * transfer, padded.shape)
    return found[reach:-reach, reach:-reach]


def shifted(values: Image, down: float, right: float) -> Image:
    """Moved by parts of a pixel, by its phases."""
    padded = np.pad(values, 16, "reflect")
    phases = np.add.outer(
        np.fft.fftfreq(padded.shape[0]) * down, np.fft.fftfreq(padded.shape[1]) * right
    )
    return np.fft.ifft2(np.fft.fft2(padded) * np.exp(-2j * np.pi * phases)).real[16:-16, 16:-16]


def enlarged(values: Image, factor: float) -> Image:
    """Scaled about the middle, by cubic interpolation of rows, then of columns."""
    for _ in range(2):
        count = len(values)
        at = (np.arange(count) - count / 2) / factor + count / 2
        low = np.clip(np.floor(at).astype(int), 1, count - 3)
        t = (at - low)[:, None]
        a, b, c, d = (values[low + k] for k in (-1, 0, 1, 2))
        cubic = (3 * (b - c) + d - a) * t + 2 * a - 5 * b + 4 * c - d
        values = (b + 0.5 * t * (c - a + t * cubic)).T
    return values


@cache
def fine_texture(shape: tuple[int, ...], seed: int, everywhere: bool = False) -> Image:
    """Fine structure of another image, of deviation 1: bent stripes, by default in half of it."""
    rng = np.random.default_rng(seed)
    phase = smooth(rng.normal(size=shape), 12) * 60
    y, x = np.mgrid[: shape[0], : shape[1]]
    found = np.sin((y + 1.7 * x) / 2.3 + phase)
    found = found * (everywhere or smooth(rng.normal(size=shape), 20) > 0)
    return found / found.std()


def lines(shape: tuple[int, ...], strength: float, seed: int) -> Image:
    """Short lines, 2 px wide, one in every 20 000 px."""
    rng, found = np.random.default_rng(seed), np.zeros(shape)
    for _ in range(max(2, found.size // 20000)):
        y, x = (int(rng.integers(0, n - 40)) for n in shape)
        angle = rng.random() * np.pi / 2
        for step in np.arange(0, 40, 0.5):
            i, j = int(y + step * np.sin(angle)), int(x + step * np.cos(angle))
            found[i : i + 2, j : j + 2] = strength
    return found


def faults(x: Image, y: Image, seed: int) -> Iterator[tuple[str, Image]]:
    """Every fault in a restoration y of x."""
    noise = float(np.std(x - y)) + 1e-9
    low, high = float(y.min()), float(y.max()) + 1e-9
    dark, bright = np.percentile(y, (1, 99))
    detail, texture = y - smooth(y, 1.2), fine_texture(y.shape, seed % 4)
    place = np.zeros(y.shape)
    place[y.shape[0] // 2 :, y.shape[1] // 2 :][: y.shape[0] // 4, : y.shape[1] // 4] = 1
    yield "good", y
    yield "strength 0.5", (x + y) / 2
    yield "1.5 times too much", x + 1.5 * (y - x)
    yield "smoothed by 1 px", smooth(y, 1.0)
    yield "smoothed by 2 px", smooth(y, 2.0)
    yield "a mere Gaussian of 2 px", smooth(x, 2.0)
    yield "shifted by 1 px", shifted(y, 0, 1)
    yield "shifted by 0.3 px", shifted(y, 0.3, 0)
    yield "enlarged by 0.5 %", enlarged(y, 1.005)
    yield "sharpened", y + 0.8 * detail
    yield "a little sharpened", y + 0.3 * detail
    yield "texture of another image", y + 0.7 * noise * texture
    stripes = fine_texture(y.shape, seed % 4, everywhere=True)
    yield "stripes in 6 % of the area", y + 0.7 * noise * stripes * place
    yield "lines as strong as noise", y + lines(y.shape, noise, seed)
    yield "lines twice as strong", y + lines(y.shape, 2 * noise, seed)
    yield "clipped", np.minimum(y, np.percentile(y, 97))
    yield "gamma 0.9", low + (high - low) * ((y - low) / (high - low)) ** 0.9
    yield "5 % brighter", y * 1.05
    yield "black raised", y + 0.03 * (bright - dark)
    yield "another image", np.ascontiguousarray(y[::-1, ::-1])


def scenes() -> Iterator[tuple[str, Image]]:
    """Images without noise, made by code: values about 20 to 220."""
    shape = (SIDE_PX, SIDE_PX)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    for seed in range(2):
        rng = np.random.default_rng(seed)
        cells = np.zeros(shape)
        for _ in range(60):
            cy, cx, r = *rng.uniform(0, SIDE_PX, 2), rng.uniform(8, 30)
            cells += rng.uniform(40, 150) / (
                1 + np.exp(np.minimum((np.hypot(y - cy, x - cx) - r) / 0.8, 50))
            )
        yield f"cells {seed}", 20 + np.minimum(cells, 200) * (1 + 0.2 * fine_texture(shape, seed))
        field = sum(smooth(rng.normal(size=shape), w) * w**1.2 for w in (1, 2, 4, 8, 16, 32))
        yield f"land {seed}", np.clip(120 + 60 * field / np.std(field), 10, 240)
        threads = np.zeros(shape)
        for _ in range(80):
            angle, far = rng.uniform(0, np.pi), rng.uniform(-SIDE_PX / 2, SIDE_PX / 2)
            bent = 20 * np.sin(x / rng.uniform(40, 90) + rng.uniform(0, 6))
            away = (x - SIDE_PX / 2) * np.sin(angle) - (y - SIDE_PX / 2 + bent) * np.cos(angle)
            threads += rng.uniform(20, 90) * np.exp(-np.square(away - far) / 4)
        yield f"threads {seed}", 20 + np.minimum(threads, 220)


def noisy_scenes() -> Iterator[tuple[str, NDArray[Any]]]:
    """The scenes with noise of several kinds, and without any."""
    for number, (name, clean) in enumerate(scenes()):
        rng = np.random.default_rng(100 + number)
        white = rng.normal(size=clean.shape)
        smeared = smooth(white, 0.7)
        yield f"{name}, white", (clean + 12 * white).astype(np.float32)
        yield f"{name}, strong", (clean + 35 * white).astype(np.float32)
        yield f"{name}, photons", rng.poisson(np.maximum(clean, 0) / 4).astype(np.uint16)
        yield f"{name}, smeared", (clean + 12 * smeared / smeared.std()).astype(np.float32)
        if number < 3:
            yield f"{name}, clean", np.rint(clean * 100).astype(np.uint16)


def noisy_files(folder: Path, most: int) -> Iterator[tuple[str, NDArray[Any]]]:
    """The noisy images of a folder of pairs, green of colours."""
    from unetmm.io.image import Box
    from unetmm.io.open import open_source

    for path in list_images(folder / "noisy")[:most]:
        source = open_source(path)
        info = source.info
        box = Box(0, 0, min(SIDE_PX, info.height), min(SIDE_PX, info.width))
        pixels = source.read((0, 0, 0), box)
        source.close()
        yield f"{folder.name} {path.stem}", pixels[..., min(1, pixels.shape[-1] - 1)]


def look(x: NDArray[Any], y: NDArray[Any], axes: str = "YX") -> Trust:
    """What `unetmm trust` says of two arrays."""
    sources = [ArraySource(v, array_info(v.shape, v.dtype, axes)) for v in (x, y)]
    return trust_pair(Pair.of(*sources))


def judge_files(paths: list[Path]) -> None:
    """Restore photos as `unetmm denoise` does; verdicts on that, and on faults in all colours."""
    told: dict[str, dict[str, int]] = {}
    gains: dict[str, list[float]] = {}
    for seed, path in enumerate(paths):
        noisy, clean = (read_image(p, 3) for p in (path, path.parents[1] / "clean" / path.name))
        restored = unetmm.restore(noisy, mem_budget="2GB")
        gain_db = psnr(clean, restored, 255) - psnr(clean, noisy, 255)
        for fault, values in colour_faults(noisy, restored, seed):
            found = look(noisy, values, "YXS")
            counts = told.setdefault(fault, dict.fromkeys(("wrong", "doubtful", "good"), 0))
            counts[found.verdict] = counts.get(found.verdict, 0) + 1
            if fault == "good":
                gains.setdefault(found.verdict, []).append(gain_db)
                print(f"# {path.name}: {gain_db:+.1f} dB, {found}", flush=True)
    print(f"{len(paths)} photos")
    for verdict, found_db in sorted(gains.items()):
        print(f"{verdict}: PSNR {min(found_db):+.1f} to {max(found_db):+.1f} dB")
    for fault, counts in told.items():
        print(f"| {fault} | {' | '.join(f'{n / len(paths):.0%}' for n in counts.values())} |")


def colour_faults(x: NDArray[Any], y: NDArray[Any], seed: int) -> Iterator[tuple[str, Image]]:
    """Outputs with faults in all colours, as floats, and the one without."""
    wide = [dict(faults(x[..., i] * 1.0, y[..., i] * 1.0, seed)) for i in range(3)]
    for name in PHOTO_FAULTS:
        yield name, np.stack([found[name] for found in wide], -1).astype(np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=Path, nargs="*", default=[])
    parser.add_argument("--files", type=Path, nargs="*", default=[])
    parser.add_argument("--most", type=int, default=12, help="images of a folder")
    parser.add_argument("--only", help="name of a single fault")
    parser.add_argument("--verbose", action="store_true")
    asked = parser.parse_args()
    if asked.files:
        judge_files([p for folder in asked.files for p in list_images(folder / "noisy")])
        return
    images = [*noisy_scenes()]
    for folder in asked.pairs:
        images += noisy_files(folder, asked.most)
    told: dict[str, list[tuple[str, set[str], str]]] = {}
    for seed, (name, x) in enumerate(images):
        y = unetmm.restore(np.ascontiguousarray(x), mem_budget="2GB")
        for fault, values in faults(x.astype(np.float64), y.astype(np.float64), seed):
            if asked.only not in (None, fault):
                continue
            found = look(x, values.astype(np.float32))
            codes = {f.code for f in found.findings if f.verdict in ("wrong", "doubtful")}
            told.setdefault(fault, []).append((name, codes, found.verdict))
            missed = bool(codes) if fault == "good" else not codes & set(WANTED[fault])
            if asked.verbose and missed:
                print(f"# {fault}: {name}: {found.verdict} {sorted(codes)}", flush=True)
    print(f"{len(images)} images")
    print("| what was done to the output | told as such | wrong | doubtful | good | most said |")
    print("|---|---|---|---|---|---|")
    for fault, rows in told.items():
        wanted = set(WANTED[fault])
        hits = sum(bool(codes & wanted) if wanted else not codes for _, codes, _ in rows)
        verdicts = [sum(v == w for *_, v in rows) for w in ("wrong", "doubtful", "good")]
        counts: dict[str, int] = {}
        for _, codes, _ in rows:
            for code in codes:
                counts[code] = counts.get(code, 0) + 1
        most = sorted(counts.items(), key=lambda pair: -pair[1])[:3]
        words = ", ".join(f"{code} {count}" for code, count in most)
        shares = " | ".join(f"{n / len(rows):.0%}" for n in verdicts)
        print(f"| {fault} | {hits / len(rows):.0%} | {shares} | {words} |")


if __name__ == "__main__":
    main()
