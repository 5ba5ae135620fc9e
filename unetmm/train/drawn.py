"""Clean pictures drawn by code: smooth and dark ones, lines, texts, cells, stars.

They hold what photographs seldom do, and they are exactly clean: a net that has seen them neither
invents structure on an empty background nor rounds off letters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from unetmm.train.noise.spectrum import blur_image, log_uniform

if TYPE_CHECKING:
    from PIL import ImageDraw

Picture = NDArray[np.float32]

FINE = 2
"""Factor by which lines and letters are drawn larger and then reduced, so that edges are soft."""
LETTERS = "abcdefghiklmnoprstuvwxyzABCDEFGHKLMNOPRSTUVXYZ0123456789.,:-+%()"


def draw_picture(channels: int, size_px: int, rng: np.random.Generator) -> Picture:
    """(channels, size_px, size_px) in [0, 1]."""
    kinds: list[Callable[[int, int, np.random.Generator], Picture]]
    kinds = [smooth, line_art, text, cells, stars]
    picture = kinds[int(rng.integers(len(kinds)))](channels, size_px, rng)
    return np.ascontiguousarray(np.clip(picture, 0, 1), np.float32)


def smooth(channels: int, size_px: int, rng: np.random.Generator) -> Picture:
    """A flat colour, a gradient, or slow waves; often dark."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32) / size_px - 0.5
    brightest = rng.random() ** (3 if rng.random() < 0.5 else 1)
    base = brightest * rng.random((channels, 1, 1))
    angle = rng.uniform(0, 2 * np.pi)
    along = np.cos(angle) * x + np.sin(angle) * y
    slope = rng.normal(0, 0.4, (channels, 1, 1)) if rng.random() < 0.7 else 0.0
    waves = rng.normal(0, 0.1) * np.sin(rng.uniform(1, 6) * along * 2 * np.pi + angle)
    picture: Picture = base + brightest * (slope * along + waves)
    return picture


def line_art(channels: int, size_px: int, rng: np.random.Generator) -> Picture:
    """Lines, boxes and ellipses on a flat ground, as in charts and cartoons."""

    def shapes(draw: ImageDraw.ImageDraw, side: int) -> None:
        for _ in range(int(rng.integers(2, 14))):
            a, b = rng.uniform(-0.2, 1.2, (2, 2)) * side
            box = [*np.minimum(a, b), *np.maximum(a, b)]
            width = int(rng.integers(1, 4 * FINE))
            colour, kind = _colour(channels, rng), rng.random()
            if kind < 0.5:
                draw.line([*a, *b], colour, width)
            elif kind < 0.75:
                draw.rectangle(box, colour if kind < 0.65 else None, colour, width)
            else:
                draw.ellipse(box, colour if kind < 0.85 else None, colour, width)

    return _finely(channels, size_px, shapes, rng)


def text(channels: int, size_px: int, rng: np.random.Generator) -> Picture:
    """Lines of letters of one size, dark on light or the other way round."""
    from PIL import ImageFont

    height = rng.uniform(7, 26) * FINE
    font = ImageFont.load_default(height)
    ink = _colour(channels, rng)

    def lines(draw: ImageDraw.ImageDraw, side: int) -> None:
        y = rng.uniform(-height, 0)
        while y < side:
            letters = rng.choice(list(LETTERS + "    "), int(2.5 * side / height) + 2)
            draw.text((rng.uniform(-height, 0), y), "".join(letters), ink, font)
            y += height * rng.uniform(1.1, 1.6)

    return _finely(channels, size_px, lines, rng)


def cells(channels: int, size_px: int, rng: np.random.Generator) -> Picture:
    """Soft ellipses of several brightnesses on a dark ground, some with a grain of their own."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    picture = np.full((channels, size_px, size_px), 0.1 * rng.random() ** 2, np.float32)
    hue = rng.random((channels, 1, 1)).astype(np.float32) if channels > 1 else np.float32(1)
    grain = blur_image(rng.standard_normal((1, size_px, size_px), np.float32), 1.5)
    for _ in range(int(rng.integers(1, 14))):
        middle_y, middle_x = rng.uniform(0, size_px, 2)
        radius, long = log_uniform(rng, (1.5, 0.35 * size_px)), rng.uniform(1, 2.5)
        angle = rng.uniform(0, np.pi)
        u = np.cos(angle) * (x - middle_x) + np.sin(angle) * (y - middle_y)
        v = np.cos(angle) * (y - middle_y) - np.sin(angle) * (x - middle_x)
        distance = np.sqrt((u / long) ** 2 + v**2) / radius
        edge = rng.uniform(0.05, 0.6)
        inside = 1 / (1 + np.exp(np.clip((distance - 1) / edge * 4, -30, 30)))
        brightness = log_uniform(rng, (0.05, 0.9)) * (1 + rng.uniform(0, 2) * grain)
        picture = picture + (hue * brightness * inside).astype(np.float32)
    return picture


def stars(channels: int, size_px: int, rng: np.random.Generator) -> Picture:
    """Points of a power law of brightnesses, as wide as one telescope makes them, on dark sky."""
    y, x = np.mgrid[:size_px, :size_px].astype(np.float32)
    sky = 0.15 * rng.random() ** 2
    picture = np.full((channels, size_px, size_px), sky, np.float32)
    width, wings = rng.uniform(0.7, 2.5), rng.uniform(2.0, 4.0)
    for _ in range(int(rng.integers(1, 25))):
        middle_y, middle_x = rng.uniform(0, size_px, 2)
        squared = (y - middle_y) ** 2 + (x - middle_x) ** 2
        tint = rng.uniform(0.7, 1.0, (channels, 1, 1)).astype(np.float32)
        brightness = min(4.0, 0.05 / rng.random())
        picture = picture + tint * brightness * (1 + squared / width**2) ** -wings
    return picture


def _finely(
    channels: int,
    size_px: int,
    draw_on: Callable[[ImageDraw.ImageDraw, int], None],
    rng: np.random.Generator,
) -> Picture:
    """What `draw_on` draws on a flat ground, larger than asked for, reduced by averaging."""
    from PIL import Image, ImageDraw

    side = FINE * size_px
    image = Image.new("RGB" if channels == 3 else "L", (side, side), _colour(channels, rng))
    draw_on(ImageDraw.Draw(image), side)
    pixels = np.asarray(image, np.float32).reshape(size_px, FINE, size_px, FINE, channels)
    picture: Picture = pixels.mean((1, 3)).transpose(2, 0, 1) / np.float32(255)
    return picture


def _colour(channels: int, rng: np.random.Generator) -> int | tuple[int, ...]:
    """A colour for Pillow; black, white and greys are frequent."""
    if channels == 1 or rng.random() < 0.4:
        grey = int(rng.choice([0, 255, int(rng.integers(256))], p=(0.25, 0.25, 0.5)))
        return grey if channels == 1 else (grey,) * channels
    return tuple(int(v) for v in rng.integers(256, size=channels))
