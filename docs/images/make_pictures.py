"""The pictures before and after of README and docs, made of the files in source/.

Usage: python docs/images/make_pictures.py
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

HERE = Path(__file__).parent
SOURCE = HERE / "source"
WIDTH_PX, HEIGHT_PX = 200, 150
"""Size of the detail that is shown."""
ZOOM = 2
GAP_PX = 8
LABEL_PX = 26
ELECTRONS_AT_WHITE = 200
"""Light in the white of the photo, whose noise it gets: that of a camera in the dark."""
READ_NOISE_ELECTRONS = 3
SEED = 1

Pixels = NDArray[np.float64]


@dataclass(frozen=True)
class Shown:
    """What of an image is shown, and how bright."""

    file: str
    """Name in source/; the picture is NAME.png beside this script."""
    x_px: int
    y_px: int
    percentiles: tuple[float, float] | None = None
    """Values of the input, in per cent, that are black and white; None shows them as they are."""
    gamma: float = 1.0


PICTURES = (
    Shown("photo.jpg", 140, 90),
    Shown("cells.tif", 300, 60, (0.5, 99.5), 0.7),
    Shown("scene.tif", 90, 120, (0.5, 99.5)),
)


def main() -> None:
    """Make the noisy photo, denoise the three images as README does, and draw the pictures."""
    noisy = add_camera_noise(read(SOURCE / "photo_clean.jpg"))
    Image.fromarray(noisy).save(SOURCE / "photo.jpg", quality=95, subsampling=0)
    with tempfile.TemporaryDirectory() as folder:
        for shown in PICTURES:
            before = SOURCE / shown.file
            after = Path(folder) / before.name
            words = [sys.executable, "-m", "unetmm", "denoise", str(before), str(after)]
            subprocess.run(words, check=True)
            picture(shown, before, after).save(HERE / f"{before.stem}.png", optimize=True)


def read(path: Path) -> Pixels:
    """The values of a TIFF or photo."""
    if path.suffix == ".tif":
        return tifffile.imread(path).astype(np.float64)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float64)


def picture(shown: Shown, before: Path, after: Path) -> Image.Image:
    """Both details side by side, with labels above."""
    width, height = WIDTH_PX * ZOOM, HEIGHT_PX * ZOOM
    sheet = Image.new("RGB", (2 * width + GAP_PX, LABEL_PX + height), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(17)
    first = read(before)
    low, high = (0.0, 255.0)
    if shown.percentiles is not None:
        low, high = (float(value) for value in np.percentile(first, shown.percentiles))
    box = np.s_[shown.y_px : shown.y_px + HEIGHT_PX, shown.x_px : shown.x_px + WIDTH_PX]
    for i, (label, pixels) in enumerate((("before", first), ("after", read(after)))):
        scaled = np.clip((pixels[box] - low) / (high - low), 0, 1) ** shown.gamma
        detail = Image.fromarray((255 * scaled).round().astype(np.uint8))
        x = i * (width + GAP_PX)
        draw.text((x + 2, 2), label, fill="black", font=font)
        sheet.paste(detail.resize((width, height), Image.Resampling.NEAREST), (x, LABEL_PX))
    return sheet


def add_camera_noise(srgb: Pixels) -> NDArray[np.uint8]:
    """A photo of little light: few photons for each colour of each pixel."""
    rng = np.random.default_rng(SEED)
    share = srgb / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    light = rng.poisson(linear * ELECTRONS_AT_WHITE) + rng.normal(
        0, READ_NOISE_ELECTRONS, linear.shape
    )
    taken = np.clip(light / ELECTRONS_AT_WHITE, 0, 1)
    curve = np.where(taken <= 0.0031308, 12.92 * taken, 1.055 * taken ** (1 / 2.4) - 0.055)
    return (255 * curve).round().astype(np.uint8)


if __name__ == "__main__":
    main()
