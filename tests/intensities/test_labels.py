"""Labels, classes and masks are told from images, and every task says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import unetmm
from unetmm.intensities.labels import LABELS, TWO_VALUES, labels_in_words
from unetmm_cli.__main__ import run

Pixels = NDArray[Any]
SHAPE = 200, 240


def nearest() -> tuple[Pixels, Pixels]:
    """Number of the nearest of 40 points, and the squared distance to it."""
    rng = np.random.default_rng(0)
    points = rng.uniform((0, 0), SHAPE, (40, 2))
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    squares = (y[..., None] - points[:, 0]) ** 2 + (x[..., None] - points[:, 1]) ** 2
    return squares.argmin(-1), squares.min(-1)


NUMBERS, SQUARES = nearest()
CELLS = np.where(SQUARES < 15**2, NUMBERS + 1, 0)
NAMED = {
    "cells": (CELLS.astype(np.uint16), LABELS),
    "cells in many bits": (CELLS.astype(np.int32) * 1000, LABELS),
    "cells as floats": (CELLS.astype(np.float32), LABELS),
    "cells of 8 bits": (CELLS.astype(np.uint8), LABELS),
    "land use": ((NUMBERS % 7).astype(np.uint8), LABELS),
    "land use with holes": (np.where(SQUARES < 400, NUMBERS % 7, -9999).astype(np.int16), LABELS),
    "cell and nucleus": ((SQUARES < 225).astype(np.uint8) + (SQUARES < 64), LABELS),
    "mask": ((CELLS > 0).astype(np.uint8) * 255, TWO_VALUES),
    "mask of ones": ((CELLS > 0).astype(np.uint16), TWO_VALUES),
}


def measured() -> dict[str, Pixels]:
    rng = np.random.default_rng(1)
    glow = np.exp(-SQUARES / 200)
    terrain = 40 * np.sin(np.mgrid[: SHAPE[0], : SHAPE[1]][1] / 30) + 100
    return {
        "few photons": rng.poisson(glow).astype(np.uint16),
        "single photons": rng.poisson(0.02 * glow).astype(np.uint16),
        "cells on nothing": np.where(CELLS, rng.normal(900, 30, SHAPE), 0).astype(np.uint16),
        "no noise": (glow * 4000).astype(np.uint16),
        "no noise, few steps": (glow * 12).astype(np.uint8),
        "terrain in metres": terrain.astype(np.int16),
        "terrain in feet": np.rint(np.rint(terrain) * 3.28).astype(np.int16),
        "blown out": np.clip(glow * 900, 0, 255).astype(np.uint8),
        "soft stripes": np.repeat([900 * np.tanh(np.sin(np.arange(240) / 9) * 5)], 200, 0).astype(
            np.int16
        ),
        "halftone": (glow > rng.random(SHAPE)).astype(np.uint8),
        "one value": np.full(SHAPE, 7, np.uint16),
        "smooth edges": np.minimum(CELLS > 0, 1) * np.clip(225 - SQUARES, 0, 60),
        "floats": glow.astype(np.float32),
        "tiny": np.eye(2, dtype=np.uint8),
    }


@pytest.mark.parametrize("name", NAMED)
def test_labels_are_told(name: str) -> None:
    pixels, words = NAMED[name]
    halves = [pixels[:100, :, None], pixels[100:, :, None]]
    assert labels_in_words(halves, [None, None]) == words


@pytest.mark.parametrize("name", measured())
def test_measurements_are_none(name: str) -> None:
    assert not labels_in_words([measured()[name][..., None]], [None])


def test_colours_are_none() -> None:
    flat = np.repeat(NAMED["land use"][0][..., None], 3, 2)
    assert not labels_in_words([flat], [None])


@pytest.mark.parametrize("name", ["cells", "cells as floats"])
def test_denoising_leaves_them_alone(name: str) -> None:
    pixels, _ = NAMED[name]
    np.testing.assert_array_equal(unetmm.denoise(pixels), pixels)
    assert not np.array_equal(unetmm.denoise(pixels, model="tiny-mono"), pixels)


def test_labels_in_one_of_several_channels_do_not_keep_others_noisy() -> None:
    noisy = np.random.default_rng(0).normal(900, 30, SHAPE).astype(np.uint16)
    both = np.stack([NAMED["cells"][0], noisy])
    assert not np.array_equal(unetmm.denoise(both, axes="CYX")[1], noisy)


@pytest.mark.parametrize("task", ["upscale", "deblur", "restore", "denoise"])
def test_every_task_warns(
    task: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tifffile.imwrite("labels.tif", NAMED["cells"][0])
    assert run([task, "labels.tif", "-o", "o.tif", "--report", "r.json"]) == 0
    words = f"{LABELS}; a net would make values between those of neighbours"
    assert words in " ".join(capsys.readouterr().err.split())
    assert any(words in line for line in json.loads(Path("r.json").read_text())["warnings"])
    assert run(["info", "labels.tif"]) == 0
    assert words in " ".join(capsys.readouterr().out.split())
