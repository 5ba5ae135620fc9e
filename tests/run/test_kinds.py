"""Images of other libraries: the same kind comes back, with the same values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import torch
import xarray as xr
from numpy.typing import NDArray
from PIL import Image

import unetmm
from unetmm import ImageError, MissingPackageError, Progress, ShapeError
from unetmm.io.kinds import as_given

GREY: NDArray[np.uint8] = np.random.default_rng(0).normal(90, 20, (60, 70)).astype(np.uint8)
COLOUR: NDArray[np.uint8] = np.random.default_rng(1).normal(90, 20, (48, 56, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def grey() -> Any:
    return unetmm.restore(GREY, "tiny-mono")


def test_xarray_keeps_what_it_says(grey: Any) -> None:
    places = {"lat": np.arange(60.0), "lon": np.arange(70.0)}
    image = xr.DataArray(GREY, places, ("lat", "lon"), "depth", {"units": "m"})
    found = unetmm.restore(image, "tiny-mono")
    assert isinstance(found, xr.DataArray) and found.attrs == image.attrs and found.name == "depth"
    assert np.array_equal(found.values, grey) and found.coords.equals(image.coords)
    lazy = unetmm.restore(image.chunk({"lat": 32, "lon": 40}), "tiny-mono")
    assert lazy.chunks == ((32, 28), (40, 30)) and np.array_equal(lazy.values, grey)


def test_xarray_says_which_axes_and_which_values_are_none() -> None:
    image = xr.DataArray(np.zeros((2, 8, 9)), dims=("band", "y", "x"), attrs={"_FillValue": -1})
    given = as_given(image)
    assert (given.axes, given.nodata) == ("CYX", -1.0)
    assert as_given(image.transpose("y", "x", "band")).axes == "YXC"
    with pytest.raises(ShapeError, match=r"dimensions a, y, x are not all known; name them t, c"):
        as_given(image.rename(band="a"))
    assert as_given(image.rename(band="a"), axes="ZYX").axes == "ZYX"


def test_the_value_of_no_measurement_stays() -> None:
    values = GREY.astype(np.float32)
    values[10:30, 20:50] = -9999
    image = xr.DataArray(values, dims=("y", "x"), attrs={"_FillValue": -9999.0})
    found = unetmm.restore(image, "tiny-mono").values
    assert np.array_equal(found == -9999, values == -9999)


def test_an_output_that_is_there_is_replaced_where_that_is_asked_for(tmp_path: Path) -> None:
    path, output = tmp_path / "a.npy", tmp_path / "a.tif"
    np.save(path, np.stack([GREY, GREY]))
    unetmm.restore(path, "tiny-mono", output=output)
    with pytest.raises(ImageError, match=r"exists and was made with strength 1\.0, now it is 0"):
        unetmm.restore(path, "tiny-mono", output=output, strength=0)
    unetmm.restore(path, "tiny-mono", output=output, strength=0, overwrite=True)
    assert np.array_equal(tifffile.imread(output), np.stack([GREY, GREY]))


def test_pil_images_keep_their_profile_and_mode(grey: Any) -> None:
    image = Image.fromarray(GREY)
    image.info["icc_profile"] = b"profile"
    found = unetmm.denoise(image, "tiny-mono")
    assert isinstance(found, Image.Image) and (found.mode, found.size) == ("L", (70, 60))
    assert found.info == image.info and np.array_equal(np.asarray(found), grey)
    with pytest.raises(ImageError, match=r"mode P has no samples.*image.convert\("):
        unetmm.restore(image.convert("P"))
    with pytest.raises(ImageError, match=r"mode 1 .*image.convert\(\"L\"\)"):
        unetmm.restore(image.convert("1"))
    with pytest.raises(ImageError, match="cannot hold float32 of 3 axes; give a NumPy array"):
        unetmm.restore(Image.fromarray(COLOUR), "tiny-rgb", dtype="float32", strength=0)


def test_tensors_have_their_colours_first(grey: Any) -> None:
    found = unetmm.restore(torch.from_numpy(GREY)[None], "tiny-mono")
    assert isinstance(found, torch.Tensor) and np.array_equal(found[0].numpy(), grey)
    colours = torch.from_numpy(COLOUR).movedim(-1, 0).requires_grad_(False)
    found = unetmm.restore(colours, "tiny-rgb")
    assert np.array_equal(found.movedim(0, -1).numpy(), unetmm.restore(COLOUR, "tiny-rgb"))
    half = unetmm.restore(torch.rand(16, 16, dtype=torch.bfloat16), "tiny-mono", strength=0.5)
    assert half.dtype is torch.bfloat16
    assert as_given(torch.zeros(2, 3, 8, 8)).axes == "TSYX"
    with pytest.raises(ShapeError, match=r"a tensor of shape \(5, 8, 8\) is no image of 1 or 3"):
        unetmm.restore(torch.zeros(5, 8, 8))


def test_a_list_is_a_list_of_images(grey: Any) -> None:
    found = unetmm.restore([GREY, Image.fromarray(GREY)], "tiny-mono")
    assert isinstance(found, list) and np.array_equal(found[0], grey)
    assert isinstance(found[1], Image.Image) and np.array_equal(np.asarray(found[1]), grey)
    assert isinstance(unetmm.restore((GREY,), "tiny-mono", strength=0), tuple)
    for other in ([[1, 2], [3, 4]], [], {"a": GREY}, np.ma.masked_array(GREY, GREY > 0)):
        with pytest.raises(ImageError, match=r"cannot restore a|mask of a masked array"):
            unetmm.restore(other)


def test_a_dask_array_keeps_its_chunks() -> None:
    image = da.from_array(GREY, chunks=(25, 33))
    assert unetmm.restore(image, "tiny-mono").chunks == image.chunks


def test_progress_is_told_to_a_function_and_by_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told: list[Progress] = []
    unetmm.restore(GREY, "tiny-mono", progress=told.append)
    assert [p.phase for p in told[:2]] == ["calibrate", "compute"]
    assert told[-1].done_px == told[-1].total_px == GREY.size
    unetmm.restore(GREY, "tiny-mono", progress=True)
    shown = capsys.readouterr().err
    assert "calibrate" in shown and "compute: 100%" in shown
    monkeypatch.setattr("unetmm.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="progress=True needs tqdm"):
        unetmm.restore(GREY, "tiny-mono", progress=True)


def test_models_are_listed_as_a_table() -> None:
    table = unetmm.list_models()
    assert "tiny-mono" in [facts.name for facts in table]
    assert len(repr(table).splitlines()) == len(table.rows()) == len(table)
    assert table._repr_html_().count("<tr>") == len(table) + 1


def test_what_cannot_be_meant_is_an_error_of_ours() -> None:
    for choices, text in (({"model": 3}, "asked for model 3"), ({"progress": 3}, "progress=3")):
        with pytest.raises(unetmm.UnetmmError, match=text):
            unetmm.restore(GREY, **choices)
    look = unetmm.preview(GREY, crops=[(0, 0, 9, 9)], models="tiny-mono", strengths=0.5)
    assert [(take.model, take.strength) for take in look.takes] == [("tiny-mono", 0.5)]
    assert "restore" in dir(unetmm) and "Any" not in dir(unetmm)
