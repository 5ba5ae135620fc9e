"""Drawings, texts and screenshots are told from what a sensor has seen."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import unetmm
from unetmm.calibrate.auto import ChoiceTerms, choose_model
from unetmm.intensities.drawn import is_drawn
from unetmm.io.array import ArraySource, array_info

Pixels = NDArray[Any]


def text(mode: str, paper: Any, ink: Any, size: int = 18) -> Pixels:
    image = Image.new(mode, (400, 300), paper)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    words = "".join(np.random.default_rng(0).choice(list("abcdefgh ijkl mnop 0123"), 3000))
    for i, y in enumerate(range(4, 300, int(1.4 * size))):
        draw.text((6, y), words[60 * i : 60 * i + 60], fill=ink, font=font)
    return np.asarray(image)


def cartoon() -> Pixels:
    rng = np.random.default_rng(1)
    image = Image.new("RGB", (800, 600), (120, 190, 250))
    draw = ImageDraw.Draw(image)
    for _ in range(40):
        x, y, r = rng.uniform((0, 0, 10), (800, 600, 120))
        fill = tuple(int(v) for v in rng.integers(0, 255, 3))
        draw.ellipse((x - r, y - r, x + r, y + r), fill=fill, outline=(0, 0, 0), width=4)
    return np.asarray(image.resize((400, 300), Image.Resampling.LANCZOS))


DRAWINGS = {
    "text": text("L", 255, 0),
    "small text": text("L", 230, 40, 11),
    "dark text": text("RGB", (30, 30, 30), (220, 220, 200)),
    "cartoon": cartoon(),
}


def photo(channels: int = 3) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:300, :400]
    waves = 120 + 70 * np.sin(rows / 37)[..., None] * np.cos(columns / 23)[..., None]
    return np.repeat(waves, channels, 2)


def bytes_of(values: Pixels) -> Pixels:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def sensed() -> dict[str, Pixels]:
    rng, clean = np.random.default_rng(2), photo()
    noise = rng.normal(0, 1, clean.shape)
    cut_out = clean + 15 * noise
    cut_out[:, :250] = 255
    photons = rng.poisson(np.where(photo(1) > 150, 2.0, 0.05))
    jpeg = io.BytesIO()
    Image.fromarray(bytes_of(clean + 4 * noise)).save(jpeg, "JPEG", quality=40)
    return {
        "clean": bytes_of(clean),
        "quiet": bytes_of(clean + noise),
        "blown out": bytes_of(clean * 2.5 + 15 * noise),
        "cut out": bytes_of(cut_out),
        "dark": bytes_of(clean / 10 - 12 + 2 * noise),
        "photons": bytes_of(photons * 40),
        "few photons": bytes_of(photons),
        "jpeg": np.asarray(Image.open(jpeg)),
        "noisy text": bytes_of(DRAWINGS["text"] + rng.normal(0, 3, DRAWINGS["text"].shape)),
    }


def with_samples(image: Pixels) -> Pixels:
    return image if image.ndim == 3 else image[..., None]


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawings_are_left_alone(name: str) -> None:
    image = DRAWINGS[name]
    assert is_drawn([with_samples(image)])
    np.testing.assert_array_equal(unetmm.restore(image), image)
    model = "tiny-rgb" if image.ndim == 3 else "tiny-mono"
    assert not np.array_equal(unetmm.restore(image, model=model), image)


@pytest.mark.parametrize("name", sensed())
def test_what_a_sensor_has_seen_is_restored(name: str) -> None:
    assert not is_drawn([with_samples(sensed()[name])])


def test_the_word_for_it_names_the_remedy() -> None:
    image = DRAWINGS["cartoon"]

    def never(model: Any) -> Any:
        raise AssertionError("no net is needed to see that")

    source = ArraySource(image, array_info(image.shape, image.dtype, "YXS"))
    _, choice = choose_model(source, never, ChoiceTerms())
    assert choice.leaves_alone
    assert "--model NAME" in choice.reason


def test_labels_of_more_bits_and_tiny_images_are_not_judged() -> None:
    assert not is_drawn([with_samples(DRAWINGS["text"]).astype(np.uint16)])
    assert not is_drawn([np.zeros((20, 20, 1), np.uint8)])
    assert not is_drawn([np.zeros((3, 2, 1), np.uint8)])
