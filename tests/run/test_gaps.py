"""Pixels without a measurement: they influence nothing and pass through, whatever the cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import rasterio
import tifffile
from helpers import SMALL_UNETMM, lively_model
from rasterio import Affine

import unetmm
from unetmm.errors import BudgetError, ImageError
from unetmm.io.image import Encoding
from unetmm.io.open import open_source
from unetmm.io.output.levels import halve
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.plan.outlook import look_ahead
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file

MONO = lively_model(NetConfig(1, 1, 8, (1, 1), 1, (1, 1)))
COLOUR = lively_model(SMALL_UNETMM)
RNG = np.random.default_rng(6)


def holes(height: int, width: int) -> np.ndarray:
    """Large holes, and single pixels everywhere, so that some lie at every seam."""
    valid = RNG.random((height, width)) < 0.9
    valid[height // 3 : height // 2, width // 5 : width // 2] = False
    valid[:, -40:] = False
    return valid


def save_masked(path: Path, pixels: np.ndarray, valid: np.ndarray, **more: Any) -> Path:
    profile = {"driver": "GTiff", "dtype": pixels.dtype.name, "count": 1, **more}
    profile |= {"height": pixels.shape[0], "width": pixels.shape[1]}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", transform=Affine(1, 0, 9, 0, -1, 9), **profile) as file,
    ):
        file.write(pixels, 1)
        file.write_mask(valid)
    return path


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
def test_what_a_mask_excludes_influences_nothing(dtype: str, tmp_path: Path) -> None:
    valid, clean = holes(200, 230), RNG.integers(20, 90, (200, 230)).astype(dtype)
    found = []
    for i, fill in enumerate((0, 255)):
        pixels = np.where(valid, clean, np.dtype(dtype).type(fill))
        path = save_masked(tmp_path / f"{i}.tif", pixels, valid)
        restore_file(path, tmp_path / f"{i}.out.tif", Options(MONO))
        found.append(tifffile.imread(tmp_path / f"{i}.out.tif"))
        assert np.array_equal(found[i][~valid], pixels[~valid])
    assert np.array_equal(found[0][valid], found[1][valid])
    assert (found[0][valid] != clean[valid]).mean() > 0.5


def test_what_opacity_hides_influences_nothing() -> None:
    valid = holes(90, 100)
    colours = RNG.integers(0, 255, (90, 100, 3), np.uint8)
    opacity = np.where(valid, 130, 0).astype(np.uint8)
    found = []
    for fill in (0, 255):
        image = np.dstack([np.where(valid[..., None], colours, np.uint8(fill)), opacity])
        found.append(unetmm.restore(image, model=COLOUR))
        assert np.array_equal(found[-1][~valid], image[~valid])
    assert np.array_equal(found[0][valid], found[1][valid])
    plain = np.dstack([colours, np.full_like(opacity, 255)])
    assert np.array_equal(
        unetmm.restore(plain, model=COLOUR)[..., :3], unetmm.restore(colours, model=COLOUR)
    ), "opaque images stay what they were"
    shown = unetmm.restore(image, model=COLOUR, nodata="none")
    assert (shown[~valid] != image[~valid]).any()


@pytest.mark.parametrize("kind", ["opacity", "value", "NaN"])
def test_no_cut_changes_a_bit(kind: str) -> None:
    height, width = 90, 6000
    valid = holes(height, width)
    image = RNG.integers(1, 255, (height, width, 3), np.uint8)
    more: dict[str, Any] = {}
    if kind == "opacity":
        image = np.dstack([image, np.where(valid, 255, 0).astype(np.uint8)])
    elif kind == "value":
        image[~valid] = 0
        more = {"nodata": (0.0,)}
    else:
        image = np.where(valid[..., None], image, np.nan).astype(np.float32)
    with pytest.raises(BudgetError) as caught:
        restore_array(image, Options(COLOUR, 1, **more))
    least = caught.value.needed_bytes
    whole = restore_array(image, Options(COLOUR, 2 * 10**9, workers=1, **more))
    for workers in (1, 3):
        cut = restore_array(image, Options(COLOUR, least + 10**6, workers=workers, **more))
        assert np.array_equal(cut, whole, equal_nan=True)
    given = more.get("nodata")
    lazy = unetmm.restore(
        da.from_array(image, chunks=(64, 512, -1)), COLOUR, least + 10**6, nodata=given
    )
    assert np.array_equal(lazy.compute(scheduler="synchronous"), whole, equal_nan=True)


def test_pyramids_leave_out_what_a_mask_excludes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetmm.io.output.halving.TILE_PX", 64)
    valid = holes(1100, 1300)
    valid[:, :520] = False
    pixels = np.where(valid, RNG.integers(20, 90, valid.shape), 255).astype("u1")
    path = save_masked(tmp_path / "a.tif", pixels, valid, tiled=True, compress="deflate")
    out = tmp_path / "out.ome.zarr"
    restore_file(path, out, Options(MONO, encoding=Encoding("none")))
    import zarr

    group = zarr.open_group(str(out), mode="r")
    level, mask = np.asarray(group["0"])[..., None], valid
    for number in (1, 2):
        level = halve(level, given=mask)
        padded = np.pad(mask, [(0, n % 2) for n in mask.shape])
        mask = padded.reshape(padded.shape[0] // 2, 2, padded.shape[1] // 2, 2).any(axis=(1, 3))
        assert np.array_equal(np.asarray(group[str(number)]), level[..., 0])
    assert np.asarray(group["2"])[mask].max() < 150, "no fill in any mean"


def test_undeclared_fills_are_said_and_left_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image = RNG.normal(300, 20, (180, 190)).astype(np.float32)
    whole = unetmm.restore(image, model=MONO)
    image[40:90, 50:80] = 9.969209968386869e36
    np.save(tmp_path / "a.npy", image)
    report = restore_file(tmp_path / "a.npy", tmp_path / "out.npy", Options(MONO))
    found = np.load(tmp_path / "out.npy")
    assert np.array_equal(found[40:90, 50:80], image[40:90, 50:80])
    assert np.abs(found - whole)[image < 1e6].mean() < 20
    assert "9.96921e+36, far beyond all others" in caplog.text
    assert "far beyond" in report.as_dict()["warnings"][0]


def test_an_output_knows_which_values_it_was_made_without(tmp_path: Path) -> None:
    image = RNG.integers(0, 9, (60, 70)).astype("u2")
    tifffile.imwrite(tmp_path / "a.tif", image)
    options = Options(MONO, nodata=(3.0,))
    restore_file(tmp_path / "a.tif", tmp_path / "out.tif", options)
    found = tifffile.imread(tmp_path / "out.tif")
    assert np.array_equal(found == 3, image == 3) and (found != image).any()
    assert open_source(tmp_path / "out.tif").info.nodata.single == 3
    assert restore_file(tmp_path / "a.tif", tmp_path / "out.tif", options).already_done
    for other in (None, (), (4.0,)):
        with pytest.raises(ImageError, match="made with no data 3"):
            restore_file(tmp_path / "a.tif", tmp_path / "out.tif", replace(options, nodata=other))


def test_a_mask_is_a_part_of_the_plan(tmp_path: Path) -> None:
    pixels = RNG.integers(20, 90, (700, 900)).astype("u2")
    path = save_masked(tmp_path / "a.tif", pixels, holes(700, 900))
    options = Options(MONO, 10**9, workers=1)
    with_mask = look_ahead(path, tmp_path / "o.tif", options).plan
    without = look_ahead(path, tmp_path / "o.tif", replace(options, nodata=())).plan
    assert with_mask.strips == without.strips and with_mask.band_rows == without.band_rows
    assert with_mask.terms.image_rows > without.terms.image_rows
