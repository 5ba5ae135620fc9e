"""Is noise told rightly? Images of known noise, by kinds of content and of noise.

    python benchmarks/noise_told.py                     # what is told beside what is true
    python benchmarks/noise_told.py --only "soft" --photos /work/shared/data/eval/kodak24

A row is an image: deviations of the noise at dark, middling and bright pixels and the gain, each as
a share of the true one; the share of its variance that is seen as correlated over one pixel, told
and true; and the words of `unetmm info`. Rows that are off by more than OFF, and whose words are
wrong, are marked.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unetmm.intensities.image_noise import ImageNoise, in_words, survey_noise

Values = NDArray[np.floating[Any]]
Generator = np.random.Generator
SIDE_PX = 512
ROWS, COLUMNS = np.mgrid[:SIDE_PX, :SIDE_PX].astype(np.float32)
OFF = 0.15
"""Share of a true deviation from which on what is told is marked."""
CORRELATED = 0.12
"""Difference of correlations of neighbours from which on it is."""
PERCENTILES = (5, 50, 98)
"""Percentiles of the clean image at which deviations are compared."""


def smooth(values: Values, width_px: float) -> Values:
    """Convolved with a Gaussian that wraps around."""
    f = [np.fft.fftfreq(values.shape[0])[:, None], np.fft.rfftfreq(values.shape[1])]
    transfer = np.exp(-2 * np.pi**2 * width_px**2 * (f[0] ** 2 + f[1] ** 2))
    return np.asarray(np.fft.irfft2(np.fft.rfft2(values) * transfer, values.shape), np.float64)


def blobs(rng: Generator, count: int, sigma: tuple[float, float]) -> Values:
    """Gaussian blobs on little."""
    found = np.full((SIDE_PX, SIDE_PX), 0.05)
    for _ in range(count):
        y, x, width = *rng.uniform(0, SIDE_PX, 2), rng.uniform(*sigma)
        squares = (ROWS - y) ** 2 + (COLUMNS - x) ** 2
        found += rng.uniform(0.2, 1) * np.exp(-squares / (2 * width**2))
    return found / found.max()


def disks(rng: Generator, count: int, radius: tuple[float, float], edge: float) -> Values:
    """Disks with an edge that is so soft, in pixels."""
    found = np.full((SIDE_PX, SIDE_PX), 0.05)
    for _ in range(count):
        y, x, r = *rng.uniform(0, SIDE_PX, 2), rng.uniform(*radius)
        far = np.clip((np.hypot(ROWS - y, COLUMNS - x) - r) / edge, -50, 50)
        found = np.maximum(found, rng.uniform(0.2, 1) / (1 + np.exp(far)))
    return found


def fibres(rng: Generator) -> Values:
    """Bent lines, about 3 px wide."""
    found = np.full((SIDE_PX, SIDE_PX), 0.05)
    for _ in range(120):
        angle, far = rng.uniform(0, np.pi), rng.uniform(-SIDE_PX / 2, SIDE_PX / 2)
        bent = 20 * np.sin(COLUMNS / rng.uniform(40, 90) + rng.uniform(0, 6))
        away = (COLUMNS - SIDE_PX / 2) * np.sin(angle)
        away = away - (ROWS - SIDE_PX / 2 + bent) * np.cos(angle)
        found += rng.uniform(0.1, 0.4) * np.exp(-np.square(away - far) / 4)
    return np.clip(found, 0, 1)


def stars(rng: Generator) -> Values:
    found = np.full((SIDE_PX, SIDE_PX), 0.02)
    for _ in range(400):
        y, x = rng.uniform(0, SIDE_PX, 2)
        squares = (ROWS - y) ** 2 + (COLUMNS - x) ** 2
        found += 10 ** rng.uniform(-2.5, 0) * np.exp(-squares / (2 * 1.2**2))
    return np.clip(found, 0, 1)


def land(rng: Generator) -> Values:
    """Texture at every scale."""
    drawn = rng.normal(size=(SIDE_PX, SIDE_PX))
    found = sum(smooth(drawn[::-1], w) * w**1.2 for w in (1, 2, 4, 8, 16, 32))
    return np.clip(0.5 + 0.22 * found / np.std(found), 0.05, 1)


def fine(rng: Generator) -> Values:
    """Weak texture as fine as pixels hold, everywhere: grass, sand."""
    drawn = smooth(rng.normal(size=(SIDE_PX, SIDE_PX)), 0.7)
    return np.clip(0.4 + 0.04 * drawn / drawn.std() + 0.2 * (COLUMNS / SIDE_PX), 0.02, 1)


def wide_range(rng: Generator) -> Values:
    """Light over four decades: shapes, texture, and lamps."""
    stops = 4 * smooth(rng.normal(size=(SIDE_PX, SIDE_PX)), 40) * 90
    found = 10 ** np.clip(-2 + 0.6 * stops, -4, -0.7) * (0.6 + disks(rng, 60, (6, 40), 1.0))
    return np.clip(found + 20 * (disks(rng, 6, (2, 8), 1.0) - 0.05), 0, None) / 10


CONTENTS: dict[str, Callable[[Generator], Values]] = {
    "flat": lambda rng: np.full((SIDE_PX, SIDE_PX), 0.4),
    "ramp": lambda rng: np.asarray(0.05 + 0.9 * COLUMNS / SIDE_PX, np.float64),
    "soft blobs 2-4, few": lambda rng: blobs(rng, 300, (2, 4)),
    "soft blobs 2-4, dense": lambda rng: blobs(rng, 6000, (2, 4)),
    "soft blobs 3-8, few": lambda rng: blobs(rng, 100, (3, 8)),
    "soft blobs 3-8, dense": lambda rng: blobs(rng, 1500, (3, 8)),
    "soft disks 3-10, dense": lambda rng: disks(rng, 1500, (3, 10), 1.5),
    "nuclei": lambda rng: disks(rng, 120, (8, 20), 0.8),
    "nuclei, dense": lambda rng: disks(rng, 900, (6, 14), 0.8),
    "fibres": fibres,
    "stars": stars,
    "land": land,
    "fine texture": fine,
    "wide range": wide_range,
}  # fmt: skip


def white(level: float) -> Callable[[Values, Generator], Values]:
    return lambda clean, rng: 1000 * clean + 1000 * level * rng.normal(size=clean.shape)


def photons(most: float, read: float = 0.0) -> Callable[[Values, Generator], Values]:
    """Counts, as deviations of reading noise too, on an offset of 100 where there is any."""

    def noisy(clean: Values, rng: Generator) -> Values:
        found = rng.poisson(most * clean) + read * rng.normal(size=clean.shape)
        return np.rint(found + (100 if read else 0))

    return noisy


def smeared(level: float, width_px: float) -> Callable[[Values, Generator], Values]:
    def noisy(clean: Values, rng: Generator) -> Values:
        drawn = smooth(rng.normal(size=clean.shape), width_px)
        return 1000 * clean + 1000 * level * drawn / drawn.std()

    return noisy


def halfway(level: float) -> Callable[[Values, Generator], Values]:
    """Registered by half a pixel: means of 2 x 2."""

    def noisy(clean: Values, rng: Generator) -> Values:
        drawn = rng.normal(size=clean.shape)
        drawn = drawn + np.roll(drawn, 1, 0)
        return 1000 * clean + 1000 * level * (drawn + np.roll(drawn, 1, 1)) / 2

    return noisy


def through_jpeg(level: float, quality: int) -> Callable[[Values, Generator], Values]:
    def noisy(clean: Values, rng: Generator) -> Values:
        values = clean / max(1.0, clean.max()) + level * rng.normal(size=clean.shape)
        stored, file = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8), io.BytesIO()
        Image.fromarray(stored).save(file, "JPEG", quality=quality)
        return np.asarray(Image.open(file), np.float64)

    return noisy


NOISES: dict[str, tuple[float, Callable[[Values, Generator], Values]]] = {
    "white 0.003": (1000, white(0.003)),
    "white 0.02": (1000, white(0.02)),
    "white 0.1": (1000, white(0.1)),
    "photons 10": (10, photons(10)),
    "photons 100": (100, photons(100)),
    "photons 3000": (3000, photons(3000)),
    "photons 100, read 3": (100, photons(100, 3)),
    "2 x 2": (1000, halfway(0.05)),
    "Gauss 0.7": (1000, smeared(0.05, 0.7)),
    "Gauss 1.2": (1000, smeared(0.02, 1.2)),
    "JPEG 80": (255, through_jpeg(0.06, 80)),
}  # fmt: skip
"""Name -> stored value of 1, and the function that makes noisy values of clean ones."""


@dataclass(frozen=True)
class Row:
    """What is told of an image beside what is true."""

    name: str
    deviations: tuple[float, ...]
    """Deviations at PERCENTILES as shares of the true ones."""
    gain: tuple[float, float]
    """Gain, told and true."""
    neighbours: tuple[float, float]
    """Correlation of neighbours, told and true."""
    words: str

    @property
    def grows(self) -> bool:
        """Whether it is said to grow."""
        return "grows" in self.words

    @property
    def flaws(self) -> str:
        """What is wrong, in letters: level, gain, correlation."""
        found = ["L"] if any(abs(d - 1) > OFF for d in self.deviations) else []
        told, true = self.gain
        found += ["G"] if (abs(told / true - 1) > 0.25 if true else self.grows) else []
        told, true = self.neighbours
        found += ["C"] if abs(told - true) > CORRELATED else []
        return "".join(found)

    def line(self) -> str:
        """A row of the table."""
        levels = " ".join(f"{d:.2f}" for d in self.deviations)
        gain, near = (f"{a:.2f} ({b:.2f})" for a, b in (self.gain, self.neighbours))
        return f"| {self.name} | {self.flaws} | {levels} | {gain} | {near} | {self.words} |"


def shares(told: ImageNoise, clean: Values, noise: Values) -> tuple[float, ...]:
    """Deviations told of pixels about as bright as each of PERCENTILES, as shares of the true."""
    found = []
    order = np.argsort(clean, axis=None, kind="stable")
    for percentile in PERCENTILES:
        middle = round(percentile / 100 * clean.size)
        near = order[max(0, middle - clean.size // 50) : middle + clean.size // 50]
        expected = np.square(told.deviation(clean.ravel()[near, None])).mean()
        found.append(float(np.sqrt(expected / np.square(noise.ravel()[near]).mean())))
    return tuple(found)


def look(name: str, clean: Values, noisy: NDArray[Any], true_gain: float) -> Row:
    """Compare what is told with what is true.

    clean : in the stored values' scale.
    """
    noise = noisy - clean
    noise = noise - smooth(noise, 6)
    told: ImageNoise | None = survey_noise([noisy[..., None]])
    if told is None:
        return Row(name, (0.0,) * 3, (0.0, true_gain), (0.0, 0.0), "nothing")
    unit = noise / np.maximum(np.sqrt(smooth(noise**2, 6)), 1e-9)
    true = max(float((unit * np.roll(unit, 1, axis)).mean() / (unit**2).mean()) for axis in (0, 1))
    gain = told.models[0].gain / told.smears[0].seen_share
    return Row(
        name, shares(told, clean, noise), (gain, true_gain), (told.neighbours, true),
        in_words([told]),
    )  # fmt: skip


def scenes(only: str, photos: Path | None) -> Iterator[tuple[str, Values]]:
    """Clean images, 0 to 1 but for the wide range."""
    for name, make in CONTENTS.items():
        yield name, make(np.random.default_rng(len(name)))
    for path in sorted(photos.glob("*.png"))[::4] if photos else ():
        pixels = np.asarray(Image.open(path).convert("RGB"), float)[..., 1] / 255
        yield f"photo {path.stem}", pixels[:SIDE_PX, :SIDE_PX]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="rows whose name has this in it")
    parser.add_argument("--photos", type=Path, help="folder of clean photos")
    parser.add_argument("--wrong", action="store_true", help="only rows with something wrong")
    asked = parser.parse_args()
    rows = []
    print("| content, noise | wrong | dark, middling, bright | gain | neighbours | in words |")
    print("|---|---|---|---|---|---|")
    for content, clean in scenes(asked.only, asked.photos):
        for number, (kind, (unit, make)) in enumerate(NOISES.items()):
            name = f"{content}, {kind}"
            if asked.only not in name or ("JPEG" in kind and clean.max() > 1):
                continue
            noisy = make(clean, np.random.default_rng(number))
            offset = 100 if "read" in kind else 0
            gain = 1.0 if "photons" in kind and np.ptp(clean) else 0.0
            stored = noisy.astype(np.uint16 if "photons" in kind else np.float32)
            if "JPEG" in kind:
                stored = noisy.astype(np.uint8)
            rows.append(look(name, unit * clean + offset, stored, gain))
            if rows[-1].flaws or not asked.wrong:
                print(rows[-1].line(), flush=True)
    counts = [sum(letter in row.flaws for row in rows) for letter in "LGC"]
    print(f"{len(rows)} images; wrong level {counts[0]}, gain {counts[1]}, correlation {counts[2]}")


if __name__ == "__main__":
    main()
