"""Models and images that tests of commands share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import COLOUR, HEIGHT, MONO, WIDTH, save_random
from PIL import Image


@pytest.fixture(autouse=True)
def untouched_logging() -> Iterator[None]:
    """Commands set up logging for their process; the tests' own comes back afterwards."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session")
def mono(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random(tmp_path_factory.mktemp("zoo") / "mono.safetensors", MONO, licence="test")


@pytest.fixture(scope="session")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_random(tmp_path_factory.mktemp("zoo") / "colour.safetensors", COLOUR)


@pytest.fixture
def grey_tiff(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(1).integers(100, 4000, (HEIGHT, WIDTH), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "grey.tif", pixels)
    return tmp_path / "grey.tif"


@pytest.fixture
def colour_png(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(2).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "colour.png")
    return tmp_path / "colour.png"
