"""Images of less than a count a pixel: whole numbers lose what is restored of them."""

from __future__ import annotations

import logging
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import plane_of
from interrupted import stop_after

import unetmm
from unetmm.io.open import open_source
from unetmm.options import Options
from unetmm.plan.outlook import look_ahead
from unetmm.plan.share import Share
from unetmm.run.model import settle_file
from unetmm.run.of_file import restore_file

ROWS = 1300
"""Rows of an image of several chunks."""


def dim_image(rows: int = 200, photons: float = 0.3) -> np.ndarray:
    """Photons of soft cells on a ground of a tenth."""
    y, x = np.mgrid[:rows, :220]
    cells = 0.1 + 0.9 * np.sin(x / 17) ** 2 * np.sin(y / 23) ** 2
    return np.random.default_rng(0).poisson(photons * cells).astype(np.uint16)


def pixels_of(path: Path) -> np.ndarray:
    """The plane of an output."""
    with closing(open_source(path)) as source:
        return plane_of(source)[..., 0]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    tifffile.imwrite(tmp_path / "in.tif", dim_image())
    return tmp_path / "in.tif"


def test_a_file_gets_floats_and_that_is_said(
    path: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    report = restore_file(path, tmp_path / "a.tif", Options())
    found = tifffile.imread(tmp_path / "a.tif")
    assert found.dtype == np.float32
    assert any("the output is float32; --dtype input keeps uint16" in w for w in report.warnings)
    assert found.mean() == pytest.approx(dim_image().mean(), rel=0.01)
    restore_file(path, tmp_path / "b.tif", Options(dtype="float32"))
    np.testing.assert_array_equal(found, tifffile.imread(tmp_path / "b.tif"))
    assert restore_file(path, tmp_path / "a.tif", Options()).already_done
    caplog.clear()
    with caplog.at_level(logging.INFO):
        restore_file(path, tmp_path / "c.tif", Options(dtype="input"))
    assert tifffile.imread(tmp_path / "c.tif").dtype == np.uint16
    assert "uint16 will not hold what is restored" in caplog.text


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.png", Options()),
        ("a.tif", Options(model="micrograph-tiny")),
        ("a.tif", Options(rounding="dither")),
    ],
)
def test_the_type_is_kept_where_it_was_asked_for(
    path: Path, tmp_path: Path, name: str, options: Options
) -> None:
    """By a format that holds no floats, a way to round, or a model that somebody knows."""
    restore_file(path, tmp_path / name, options)
    assert pixels_of(tmp_path / name).dtype == np.uint16


def test_arrays_keep_theirs() -> None:
    assert unetmm.restore(dim_image()).dtype == np.uint16
    assert unetmm.restore(dim_image(), dtype="input").dtype == np.uint16


def test_more_counts_stay_what_they_are(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", dim_image(photons=30))
    restore_file(tmp_path / "in.tif", tmp_path / "a.tif", Options())
    assert tifffile.imread(tmp_path / "a.tif").dtype == np.uint16


def test_a_plan_and_what_goes_on_know_it_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, whole, out = tmp_path / "in.tif", tmp_path / "whole.tif", tmp_path / "out.ome.zarr"
    tifffile.imwrite(path, dim_image(ROWS))
    restore_file(path, whole, Options())
    settled = settle_file(path, Options(), out)
    assert settled.dtype == "float32"
    assert settle_file(path, Options()).dtype is None
    wider = look_ahead(path, out, settled).plan
    narrow = look_ahead(path, out, replace(settled, dtype="input")).plan
    assert wider.projected_peak_bytes > narrow.projected_peak_bytes
    stop_after(tmp_path, out, 1, monkeypatch, model=None)
    for share in (Share(0, 2), Share(1, 2)):
        restore_file(path, out, Options(budget_bytes=2 * 10**9), share=share)
    found = pixels_of(out)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, tifffile.imread(whole))
