"""Counts of photons are restored on a square-root scale: for any cut the same, and told."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
from helpers import SMALL_UNETMM, lively_model

import unetmm
from unetmm.calibrate.calibration import Calibration
from unetmm.errors import ImageError, ShapeError
from unetmm.io.array import ArraySource, array_info
from unetmm.options import Options
from unetmm.run.job import compile_and_calibrate
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file
from unetmm.sizes import parse_size

MODEL = lively_model(replace(SMALL_UNETMM, in_channels=1, out_channels=1))


def counts(photons: float = 20.0, shape: tuple[int, int] = (301, 277)) -> np.ndarray:
    """Shot noise of discs on a dark ground, with some spots far beyond."""
    rng = np.random.default_rng(5)
    y, x = np.mgrid[: shape[0], : shape[1]]
    field = np.full(shape, 0.05)
    for _ in range(30):
        distance = np.hypot(y - rng.uniform(0, shape[0]), x - rng.uniform(0, shape[1]))
        field = np.maximum(field, rng.uniform(0.3, 1) * (distance < rng.uniform(10, 40)))
    found = rng.poisson(photons * field)
    found[100:104, 130:134] = 60000
    return found.astype(np.uint16)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_counts_do_not_depend_on_the_cut(dtype: str) -> None:
    image = counts().clip(0, np.iinfo(np.uint8).max if dtype == "uint8" else None).astype(dtype)
    whole = unetmm.restore(image, model=MODEL)
    plain = restore_array(image, Options(MODEL, transform="none"))
    assert not np.array_equal(whole, plain)
    for budget, workers in (("240MB", 1), ("260MB", 2)):
        options = Options(MODEL, parse_size(budget), workers=workers)
        np.testing.assert_array_equal(restore_array(image, options), whole)
    lazy = unetmm.restore(da.from_array(image, (150, 140)), model=MODEL)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), whole)


def test_a_run_says_and_reports_it(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "counts.tif"
    tifffile.imwrite(path, counts())
    with caplog.at_level(logging.INFO):
        report = restore_file(path, tmp_path / "out.tif", Options(MODEL))
    (line,) = [m for m in caplog.messages if "square-root" in m]
    assert line.startswith("noise grows with the signal (a photon is worth 1")
    (told,) = report.as_dict()["counts"]["0.0"]
    assert (told["transform"], told["gain"]) == ("anscombe", pytest.approx(1, abs=0.05))
    back = Calibration.from_json(report.calibration.to_json())
    assert back.entry(0, 0).samples == report.calibration.entry(0, 0).samples
    broken = json.loads(report.calibration.to_json())
    broken["entries"]["0.0"]["samples"][0]["high"] = -1e9
    with pytest.raises(ShapeError, match="not a calibration file"):
        Calibration.from_json(json.dumps(broken))


def test_another_transform_makes_another_output(tmp_path: Path) -> None:
    path, output = tmp_path / "counts.tif", tmp_path / "out.tif"
    tifffile.imwrite(path, counts())
    restore_file(path, output, Options(MODEL))
    assert restore_file(path, output, Options(MODEL)).already_done
    with pytest.raises(ImageError, match="transform auto, now it is none"):
        restore_file(path, output, Options(MODEL, transform="none"))


def test_white_noise_is_restored_as_ever() -> None:
    rng = np.random.default_rng(2)
    image = (counts(100).clip(0, 200) + rng.normal(500, 20, (301, 277))).astype(np.float32)
    auto = unetmm.restore(image, model=MODEL)
    np.testing.assert_array_equal(auto, restore_array(image, Options(MODEL, transform="none")))


def test_a_calibration_brings_its_scale() -> None:
    image = counts()
    path_options = Options(MODEL)
    whole = restore_array(image, path_options)
    source = ArraySource(image, array_info(image.shape, image.dtype, None))
    _, found = compile_and_calibrate(source, MODEL, path_options)
    assert found.entry(0, 0).samples
    known = Calibration.from_json(found.to_json())
    np.testing.assert_array_equal(unetmm.restore(image, model=MODEL, calibration=known), whole)
    with pytest.raises(ShapeError, match="a calibration, which has one already"):
        unetmm.restore(image, model=MODEL, calibration=known, transform="none")
