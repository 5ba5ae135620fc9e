"""Palettes of PNG stay colours; grey ones become one channel, and values can be asked for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.io.palette import unpack_map
from unetmm.io.select import Selection

X = np.arange(256)
GREY = np.stack([X] * 3, axis=-1)
HOT = np.clip(np.stack([3 * X, 3 * X - 255, 3 * X - 510], axis=-1), 0, 255)
PHOTO = np.random.default_rng(0).integers(0, 256, (256, 3))
CLASSES = np.random.default_rng(1).integers(0, 256, (12, 3))


def write(path: Path, colours: NDArray[Any], **more: Any) -> NDArray[Any]:
    pixels = np.random.default_rng(2).integers(0, min(len(colours), 200), (30, 40), np.uint8)
    image = Image.fromarray(pixels)
    image.putpalette(colours.astype(np.uint8).tobytes())
    image.save(path, **more)
    return pixels


def read(path: Path, palette: Any = "auto") -> tuple[Any, NDArray[Any]]:
    source = open_source(path, Selection(palette=palette))
    return source.info, source.read((0, 0, 0), Box(0, 0, 30, 40))


def test_a_grey_ramp_is_one_channel(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = write(tmp_path / "a.png", GREY)
    info, found = read(tmp_path / "a.png")
    assert (info.axes, info.dtype, info.metadata.display.palette) == ("YX", np.uint8, "values")
    np.testing.assert_array_equal(found[..., 0], pixels)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


SHOWN = [
    ("photo", PHOTO, False, ""),
    ("falling grey", GREY[::-1], False, "may show measured values"),
    ("colour map", HOT, False, "may show measured values"),
    ("classes", CLASSES, True, "palette of 12 colours may stand for classes"),
]


@pytest.mark.parametrize(("name", "colours", "classes", "told"), SHOWN, ids=[s[0] for s in SHOWN])
def test_other_palettes_are_colours_with_a_word_on_doubts(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    colours: Any,
    classes: bool,
    told: str,
) -> None:
    pixels = write(tmp_path / "a.png", colours)
    with caplog.at_level(logging.WARNING, "unetmm"):
        info, found = read(tmp_path / "a.png")
    assert (info.axes, info.metadata.display.palette) == ("YXS", "expanded")
    assert info.metadata.display.classes == classes
    np.testing.assert_array_equal(found, colours[pixels])
    assert [told in line and "--palette values" in line for line in caplog.messages] == (
        [True] if told else []
    )


@pytest.mark.parametrize("colours", [PHOTO, HOT, CLASSES, PHOTO[:4]])
def test_values_are_read_where_they_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, colours: Any
) -> None:
    pixels = write(tmp_path / "a.png", colours)
    info, found = read(tmp_path / "a.png", "values")
    assert (info.axes, info.shape, info.dtype) == ("YX", (30, 40), np.uint8)
    np.testing.assert_array_equal(found[..., 0], pixels)
    (packed,) = info.metadata.display.colour_maps
    np.testing.assert_array_equal(unpack_map(packed)[: len(colours)] >> 8, colours)
    info, found = read(tmp_path / "a.png", "colours")
    np.testing.assert_array_equal(found, colours[pixels])
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_the_transparent_one_of_asked_values_is_nodata(tmp_path: Path) -> None:
    pixels = write(tmp_path / "a.png", CLASSES, transparency=3)
    info, found = read(tmp_path / "a.png", "values")
    assert (info.axes, info.alpha, info.nodata.single) == ("YX", False, 3)
    np.testing.assert_array_equal(found[..., 0], pixels)
    info, _ = read(tmp_path / "a.png")
    assert (info.axes, info.alpha, info.shape[-1]) == ("YXS", True, 4)
