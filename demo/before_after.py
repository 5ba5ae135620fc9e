"""Before and after, side by side, with a detail enlarged three times below.

Usage: python demo/before_after.py BEFORE AFTER OUT.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from unetmm.io.image import Box
from unetmm.io.open import open_source

ZOOM = 3
SHOWN_PERCENTILES = (0.5, 99.8)
"""Stored values shown as black and white; those of the input serve both pictures."""
GAMMA = 0.7
GAP_PX = 12
LABEL_PX = 34


def main(before_path: Path, after_path: Path, out_path: Path) -> None:
    """Write the comparison picture."""
    before, after = read(before_path), read(after_path)
    low, high = np.percentile(before, SHOWN_PERCENTILES)
    box = detail_box(before)
    rows = []
    for pixels in (before, after):
        picture = shown(pixels, low, high)
        detail = picture.crop(box).resize((picture.width, picture.width * 3 // 4), 0)
        ImageDraw.Draw(picture).rectangle(box, outline=255)
        rows.append((picture, detail))
    compose(rows).save(out_path)


def read(path: Path) -> NDArray[np.float64]:
    """The first plane of an image, grey."""
    source = open_source(path)
    box = Box(0, 0, source.info.height, source.info.width)
    pixels: NDArray[np.float64] = source.read((0, 0, 0), box).astype(np.float64).mean(axis=-1)
    source.close()
    return pixels


def detail_box(pixels: NDArray[np.float64]) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of the middle part that fills the width when enlarged."""
    height, width = pixels.shape
    w, h = width // ZOOM, width // ZOOM * 3 // 4
    x, y = (width - w) // 2, (height - h) // 2
    return x, y, x + w, y + h


def shown(pixels: NDArray[np.float64], low: float, high: float) -> Image.Image:
    """An 8-bit picture of stored values."""
    scaled = np.clip((pixels - low) / (high - low), 0, 1) ** GAMMA
    return Image.fromarray((255 * scaled).round().astype(np.uint8))


def compose(columns: list[tuple[Image.Image, Image.Image]]) -> Image.Image:
    """Columns with labels: the whole image above its detail."""
    whole, detail = columns[0]
    step = whole.width + GAP_PX
    height = 2 * LABEL_PX + whole.height + detail.height
    sheet = Image.new("L", (step * len(columns) - GAP_PX, height), 255)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(20)
    for i, ((picture, enlarged), name) in enumerate(zip(columns, ("before", "after"), strict=True)):
        draw.text((i * step + 6, 5), name, fill=0, font=font)
        sheet.paste(picture, (i * step, LABEL_PX))
        y = LABEL_PX + picture.height
        draw.text((i * step + 6, y + 5), f"{name}, detail x{ZOOM}", fill=0, font=font)
        sheet.paste(enlarged, (i * step, y + LABEL_PX))
    return sheet


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    main(*map(Path, sys.argv[1:]))
