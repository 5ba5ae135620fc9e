"""Bias of restored counts by brightness: `python benchmarks/bias.py PHOTOS docs/explain/counts.md`.

PHOTOS is a folder of clean photographs, of which a few are used. Clean fields get Poisson noise of
0.5 to 10,000 photons at their brightest, and the restored means are compared with the truth in ten
classes of equally many pixels by brightness. Wide flat areas, without their edges, tell the bias of
values. Photographs and small cells tell what smoothing does as well: a net that cannot see an edge
in the noise makes dark places beside bright ones brighter, whatever its means are.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import unetmm

MODELS = ("tiny-mono", "micrograph-tiny")
PHOTONS = (0.5, 1.0, 3.0, 10.0, 100.0, 1000.0, 10000.0)
SIDE_PX = 512
MARGIN_PX = 16
"""Distance from the edges of flat areas within which pixels do not count."""
PAGE_MARKS = "<!-- bias -->", "<!-- end of bias -->"
Field = NDArray[np.float64]


def steps(seed: int) -> Field:
    """Ten flat areas of 0.1 to 1 in random order, 102 px wide and half as high as the field."""
    order = np.random.default_rng(seed).permutation(10).reshape(2, 5)
    levels = (1 + order) / 10
    rows = np.minimum(np.arange(SIDE_PX) * 2 // SIDE_PX, 1)
    columns = np.minimum(np.arange(SIDE_PX) * 5 // SIDE_PX, 4)
    found: Field = levels[rows[:, None], columns]
    return found


def cells(seed: int) -> Field:
    """Bright discs with soft edges on a dark ground of a tenth."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE_PX, :SIDE_PX]
    found = np.zeros((SIDE_PX, SIDE_PX))
    for _ in range(60):
        distance = np.hypot(y - rng.uniform(0, SIDE_PX), x - rng.uniform(0, SIDE_PX))
        edge = np.clip((rng.uniform(6, 18) - distance) / 1.2, -40, 40)
        found = np.maximum(found, rng.uniform(0.3, 0.9) / (1 + np.exp(-edge)))
    return 0.1 + found


def photos(folder: Path, count: int = 3) -> Iterator[Field]:
    """Photographs as grey fields of 0.05 to 1, tone curve removed."""
    for path in sorted(folder.iterdir())[:count]:
        grey = np.asarray(Image.open(path).convert("L"), np.float64)[:SIDE_PX, :SIDE_PX] / 255
        yield 0.05 + 0.95 * grey**2.2


def away_from_edges(field: Field, margin_px: int) -> NDArray[np.bool_]:
    """Pixels of flat areas that lie some way from their edges."""
    found = np.zeros(field.shape, bool)
    inner = slice(margin_px, -margin_px)
    found[inner, inner] = True
    for step in range(-margin_px, margin_px + 1):
        for axis in (0, 1):
            found &= np.roll(field, step, axis) == field
    return found


def biases(
    model: str, fields: list[Field], photons: float, margin_px: int, repeats: int = 2
) -> tuple[Field, Field]:
    """Ratio of restored and true means in ten classes of brightness, and its error by chance."""
    classes, sums = 10, np.zeros((10, 2))
    for number, field in enumerate(fields):
        clean = photons * field
        seen = np.ones(field.shape, bool) if margin_px == 0 else away_from_edges(field, margin_px)
        edges = np.quantile(clean[seen], np.arange(1, classes) / classes)
        index = np.searchsorted(edges, clean[seen], side="left")
        for repeat in range(repeats):
            rng = np.random.default_rng((number, repeat, int(photons * 10)))
            noisy = rng.poisson(clean).astype(np.float32)
            restored = unetmm.restore(noisy, model=model, axes="YX").astype(np.float64)
            sums[:, 0] += np.bincount(index, restored[seen], classes)
            sums[:, 1] += np.bincount(index, clean[seen], classes)
    known = sums[:, 1] > 0
    return sums[known, 0] / sums[known, 1] - 1, 1 / np.sqrt(sums[known, 1])


def rows(folder: Path) -> Iterator[str]:
    """Rows of the table, as Markdown."""
    kinds = {
        "flat areas": ([steps(i) for i in range(4)], MARGIN_PX),
        "cells": ([cells(20 + i) for i in range(3)], 0),
        "photographs": (list(photos(folder)), 0),
    }
    yield "| model | fields | photons | mean | largest | tenths, darkest first | chance |"
    yield "|---|---|---|---|---|---|---|"
    for model in MODELS:
        for kind, (fields, margin_px) in kinds.items():
            for photons in PHOTONS:
                found, chance = biases(model, fields, photons, margin_px)
                weights = 1 / chance**2
                mean = float((found * weights).sum() / weights.sum())
                each = " ".join(f"{100 * b:+.1f}" for b in found)
                yield (
                    f"| {model} | {kind} | {photons:g} | {100 * mean:+.2f} % | "
                    f"{100 * found[np.abs(found).argmax()]:+.1f} % | {each} | "
                    f"{100 * chance.max():.1f} |"
                )


def main() -> None:
    """Write the table into the page, between its marks."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", type=Path)
    parser.add_argument("page", type=Path)
    asked = parser.parse_args()
    text = asked.page.read_text()
    before, rest = text.split(PAGE_MARKS[0])
    _, after = rest.split(PAGE_MARKS[1])
    table = "\n".join(rows(asked.photos))
    asked.page.write_text(f"{before}{PAGE_MARKS[0]}\n\n{table}\n\n{PAGE_MARKS[1]}{after}")


if __name__ == "__main__":
    main()
