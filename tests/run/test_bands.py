"""Nets that take the bands of an image together, in every kind of run."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers import content, lively_model, lively_net, plane_of, reference
from interrupted import go_on, options, stop_after
from numpy.typing import NDArray

import unetmm
from unetmm.errors import BudgetError, ShapeError
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.io.select import Selection
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.plan.share import Share
from unetmm.provenance.status import status
from unetmm.provenance.verify import verify
from unetmm.run.of_file import restore_file

FOUR = NetConfig(4, 4, 8, (1, 1), 1, (1, 1), body="unet")
TWICE = NetConfig(2, 2, 8, (1,), 1, (1,), body="unet", output_scale=2)
CROPS = NetConfig(6, 5, 8, (1, 1), 1, (1, 1), body="unet", gives="classes", final="softmax")
NAMES = ("B02", "B03", "B04", "B08")
WHITE = 10000.0
MADE_FOR = {"stored_range": [0, WHITE]}
"""Card of a net that was made for counts of reflectance."""


def bands_of(count: int, height: int = 64, width: int = 80, seed: int = 0) -> NDArray[np.uint16]:
    """Bands with edges, of very different ranges."""
    rng = np.random.default_rng((seed, count))
    y, x = np.mgrid[:height, :width]
    level = np.linspace(400, 7000, count)[:, None, None]
    shape = 1 + 0.3 * ((x + y) // 17 % 2)
    return (level * shape + rng.normal(0, 40, (count, height, width))).astype(np.uint16)


def model_of(config: NetConfig, **card: Any) -> Model:
    return Model("mine", config, MADE_FOR | card, None, lively_model(config).tensors)


def expected_of(config: NetConfig, image: NDArray[Any]) -> NDArray[Any]:
    """The reference net of (bands, rows, columns), in stored values where it gives an image."""
    seen = np.moveaxis(image, 0, -1) / np.float32(WHITE)
    found = np.moveaxis(reference(lively_net(config), seen.astype(np.float32), None), -1, 0)
    return found * WHITE if config.gives == "image" else found


def write_geo(path: Path, image: NDArray[Any], **how: Any) -> None:
    """A GeoTIFF of bands with names and a value for no data of 0."""
    named = "".join(
        f'<Item name="DESCRIPTION" sample="{i}" role="description">{name}</Item>'
        for i, name in enumerate((NAMES * 3)[: len(image)])
    )
    tags = [
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 6e5, 5.3e6, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 3072, 0, 1, 32632), True),
        (42112, "s", 0, f"<GDALMetadata>{named}</GDALMetadata>", True),
        (42113, "s", 0, "0", True),
    ]
    how = {"planarconfig": "contig", "tile": (64, 64), "compression": "zlib"} | how
    pixels = np.moveaxis(image, 0, -1) if how["planarconfig"] == "contig" else image
    tifffile.imwrite(path, pixels, photometric="minisblack", extratags=tags, metadata=None, **how)


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize("config", [FOUR, TWICE, CROPS])
def test_arrays_in_both_orders_give_the_net(config: NetConfig, device: Any) -> None:
    image = bands_of(config.in_channels).astype(np.float32)
    image[:, 20:24, 30:34] = 1.5 * WHITE  # beyond the range, and seen as it is
    asked: dict[str, Any] = {"device": device, "scores": config.gives == "classes"}
    if config.gives == "image":
        asked["outliers"] = "none"
    found = unetmm.restore(image, model_of(config), axes="CYX", **asked)
    expected = expected_of(config, image)
    np.testing.assert_allclose(found, expected, atol=2e-6 * max(WHITE, np.ptp(expected)))
    last = unetmm.restore(np.moveaxis(image, 0, -1), model_of(config), axes="YXC", **asked)
    np.testing.assert_array_equal(np.moveaxis(last, -1, 0), found)


def test_axes_of_bands_are_guessed_aloud_and_only_where_one_fits(
    caplog: pytest.LogCaptureFixture,
) -> None:
    image, model = bands_of(4), model_of(FOUR)
    expected = unetmm.restore(image, model, axes="CYX")
    caplog.clear()
    with caplog.at_level(logging.INFO):
        found = unetmm.restore(np.moveaxis(image, 0, -1), model)
    np.testing.assert_array_equal(np.moveaxis(found, -1, 0), expected)
    assert "shape (64, 80, 4) is taken for axes YXC, as the net takes 4 bands" in caplog.text
    assert "bands 1, 2, 3, 4 go through the net together, in this order" in caplog.text
    assert "sees the stored values 0 to 10000 as it was made for them" in caplog.text
    with pytest.raises(ShapeError, match="takes 4 bands together, the image has 3 colours"):
        unetmm.restore(image[:, :, :4], model)


def test_kinds_of_arrays_of_bands_agree() -> None:
    import dask.array as da
    import torch
    import xarray

    image, labelling = bands_of(6), model_of(CROPS)
    labels = unetmm.restore(image, labelling, axes="CYX")
    assert labels.shape == (64, 80) and labels.dtype == np.uint8
    lazy = unetmm.restore(da.from_array(image, chunks=(4, 33, 40)), labelling, axes="CYX")
    np.testing.assert_array_equal(lazy.compute(), labels)
    image, model = bands_of(4), model_of(FOUR)
    expected = unetmm.restore(image, model, axes="CYX")
    lazy = unetmm.restore(da.from_array(image, chunks=(2, 33, 40)), model, axes="CYX")
    assert lazy.shape == image.shape
    np.testing.assert_array_equal(lazy.compute(), expected)
    floats = image.astype(np.float32)
    tensor = unetmm.restore(torch.from_numpy(floats), model, axes="CYX")
    np.testing.assert_array_equal(tensor.numpy(), unetmm.restore(floats, model, axes="CYX"))
    named = xarray.DataArray(image, {"band": list("abcd")}, ("band", "y", "x"))
    made = unetmm.restore(named, model)
    assert made.dims == named.dims and list(made.band) == list("abcd")
    np.testing.assert_array_equal(made.data, expected)
    films = np.stack([image, image[:, ::-1]])
    found = unetmm.restore(films, model, axes="TCYX")
    assert found.shape == films.shape
    assert not np.array_equal(found[0], found[1])


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.ome.zarr", "out.npy"])
@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_files_hold_what_arrays_do(tmp_path: Path, name: str, planar: str) -> None:
    image = bands_of(4, 600, 700)
    write_geo(tmp_path / "a.tif", image, planarconfig=planar)
    report = restore_file(tmp_path / "a.tif", tmp_path / name, Options(model=model_of(FOUR)))
    expected = unetmm.restore(image, model_of(FOUR), axes="CYX", nodata=0)
    assert report.as_dict()["bands"] == list(NAMES)
    if name.endswith(".npy"):
        np.testing.assert_array_equal(np.load(tmp_path / name), expected)
        return
    assert not verify(tmp_path / name).damaged
    source = open_source(tmp_path / name)
    for i in range(4):
        np.testing.assert_array_equal(plane_of(source, (0, i, 0))[..., 0], expected[i])
    known = source.info.metadata.tiff.descriptions or source.info.channel_names
    assert tuple(known) == NAMES
    assert source.info.nodata.values == (0.0,)
    source.close()
    if name.endswith(".zarr"):
        assert zarr.open_group(tmp_path / name, mode="r")["1"].shape[-2:] == (300, 350)


def test_hdf5_channels_are_bands(tmp_path: Path) -> None:
    import h5py

    image = bands_of(4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        made = file.create_dataset("data", data=image, chunks=(1, 32, 32))
        for axis, label in zip(made.dims, "cyx", strict=True):
            axis.label = label
    restore_file(tmp_path / "a.h5", tmp_path / "b.tif", Options(model=model_of(FOUR)))
    expected = unetmm.restore(image, model_of(FOUR), axes="CYX")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), expected)


def test_bands_choose_and_order(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = bands_of(12)
    write_geo(tmp_path / "a.tif", image)
    for chosen in (("8", "1", "3", "2"), ("2", "3", "4", "12")):
        picked = image[[int(band) - 1 for band in chosen]]
        select = Selection(bands=chosen)
        asked = Options(model=model_of(FOUR), select=select, overwrite=True)
        caplog.clear()
        with caplog.at_level(logging.INFO):
            restore_file(tmp_path / "a.tif", tmp_path / "b.tif", asked)
        assert "in this order" not in caplog.text
        expected = unetmm.restore(picked, model_of(FOUR), axes="CYX", nodata=0)
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), expected)


def test_a_band_that_is_called_opacity_is_one_where_it_is_chosen(tmp_path: Path) -> None:
    image = (bands_of(4) // 40).clip(1, 255).astype(np.uint8)
    image[3, 10:20] = 0
    pixels = np.moveaxis(image, 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    model = Model("mine", FOUR, {}, None, lively_model(FOUR).tensors)
    with pytest.raises(ShapeError, match="colours and opacity .*bands, say so: --bands 1,2,3,4"):
        restore_file(tmp_path / "a.tif", tmp_path / "b.tif", Options(model=model))
    asked = Options(model=model, select=Selection(bands=("1", "2", "3", "4")))
    restore_file(tmp_path / "a.tif", tmp_path / "b.tif", asked)
    expected = unetmm.restore(image, model, axes="CYX")
    source = open_source(tmp_path / "b.tif")
    assert (source.info.axes, source.info.alpha) == ("CYX", False)
    for i in range(4):
        np.testing.assert_array_equal(plane_of(source, (0, i, 0))[..., 0], expected[i])
    source.close()


def test_three_bands_that_were_chosen_go_through_a_net_of_three(tmp_path: Path) -> None:
    config = NetConfig(3, 3, 8, (1,), 1, (1,), body="unet")
    image, model = bands_of(5), model_of(config)
    write_geo(tmp_path / "a.tif", image)
    asked = Options(model=model, select=Selection(bands=("5", "1", "2")))
    restore_file(tmp_path / "a.tif", tmp_path / "b.tif", asked)
    found = np.moveaxis(tifffile.imread(tmp_path / "b.tif"), 0, -1)
    expected = unetmm.restore(image[[4, 0, 1]].transpose(1, 2, 0).copy(), model, nodata=0)
    np.testing.assert_array_equal(found, expected)
    three = Options(model=model, select=Selection(planes={}), overwrite=True)
    write_geo(tmp_path / "c.tif", image[:3])
    with pytest.raises(ShapeError, match="--rgb-bands 1,2,3"):
        restore_file(tmp_path / "c.tif", tmp_path / "b.tif", three)


@pytest.mark.parametrize(
    ("shape", "axes", "says"),
    [
        ((12, 20, 20), "CYX", r"the image has 12 bands .*; choose 4 and their order: --bands 1,2,"),
        ((3, 20, 20), "CYX", r"has 3 bands .*; give an image of 4 bands, or a net that takes 3"),
        ((4, 20, 20), "ZYX", r"has 1 band .*; where its 4 planes along Z are bands, name that"),
        (
            (20, 20, 4),
            "YXS",
            r"3 colours and opacity .*; where these are bands, say so: --axes YXC",
        ),
        ((20, 20, 3), "YXS", r"has 3 colours \(axes YXS, .*; give an image of 4 bands"),
    ],
)
def test_another_number_of_bands_is_refused(shape: Any, axes: str, says: str) -> None:
    with pytest.raises(ShapeError, match=f"net takes 4 bands together, .*{says}") as caught:
        unetmm.restore(np.zeros(shape, np.uint16), model_of(FOUR), axes=axes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
@pytest.mark.parametrize("config", [FOUR, CROPS])
def test_a_stopped_run_of_bands_goes_on_to_the_same_bytes(
    tmp_path: Path, name: str, config: NetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_geo(tmp_path / "in.tif", bands_of(config.in_channels, 1300, 600))
    asked = {"model": model_of(config)}
    (tmp_path / "whole").mkdir()
    restore_file(tmp_path / "in.tif", tmp_path / "whole" / name, options(tmp_path, **asked))
    stop_after(tmp_path, tmp_path / name, 9 if config is FOUR else 3, monkeypatch, **asked)
    report = go_on(tmp_path, tmp_path / name, **asked)
    assert report.resumed_rows > 0
    assert content(tmp_path / name) == content(tmp_path / "whole" / name)


@pytest.mark.parametrize("config", [FOUR, CROPS])
def test_shares_budgets_and_crops_agree(tmp_path: Path, config: NetConfig) -> None:
    write_geo(tmp_path / "in.tif", bands_of(config.in_channels, 1100, 1300))
    asked = options(tmp_path, model=model_of(config))
    restore_file(tmp_path / "in.tif", tmp_path / "a.tif", asked)
    (tmp_path / "shared").mkdir()
    for i in range(3):
        restore_file(tmp_path / "in.tif", tmp_path / "shared" / "a.tif", asked, share=Share(i, 3))
    assert content(tmp_path / "a.tif") == content(tmp_path / "shared" / "a.tif")
    with pytest.raises(BudgetError) as refused:
        restore_file(tmp_path / "in.tif", tmp_path / "c.tif", replace(asked, budget_bytes=10**8))
    low = replace(asked, budget_bytes=refused.value.needed_bytes)
    report = restore_file(tmp_path / "in.tif", tmp_path / "c.tif", low)
    assert report.plan is not None and report.plan.projected_peak_bytes <= low.budget_bytes
    part = replace(asked, crop=Box(100, 200, 400, 900))
    restore_file(tmp_path / "in.tif", tmp_path / "d.tif", part)
    whole, low_whole, cut = (tifffile.imread(tmp_path / f"{name}.tif") for name in "acd")
    np.testing.assert_array_equal(whole, low_whole)
    np.testing.assert_array_equal(cut, whole[..., 100:400, 200:900])


def test_a_run_that_others_finish_knows_its_bands(tmp_path: Path) -> None:
    """`status` and `finalize` open the output by what the run wrote of itself."""
    write_geo(tmp_path / "in.tif", bands_of(4, 1100, 300))
    asked = options(tmp_path, model=model_of(FOUR))
    restore_file(tmp_path / "in.tif", tmp_path / "a.tif", asked, share=Share(0, 2))
    found = status(tmp_path / "a.tif")
    assert 0 < found.done_chunks < found.chunks == 12
    assert found.missing_shares == ("2/2",)


def test_no_data_of_one_band_stays_and_others_are_restored(tmp_path: Path) -> None:
    image = bands_of(4, 96, 96)
    image[1, 30:50, 20:60] = 0
    write_geo(tmp_path / "a.tif", image)
    restore_file(tmp_path / "a.tif", tmp_path / "b.tif", Options(model=model_of(FOUR)))
    found = tifffile.imread(tmp_path / "b.tif")
    np.testing.assert_array_equal(found == 0, image == 0)
    assert not np.array_equal(found[0, 30:50, 20:60], image[0, 30:50, 20:60])
    six = bands_of(6, 96, 96)
    six[5, 10:20, 10:20] = 0
    write_geo(tmp_path / "c.tif", six)
    restore_file(tmp_path / "c.tif", tmp_path / "d.tif", Options(model=model_of(CROPS)))
    labels = tifffile.imread(tmp_path / "d.tif")
    np.testing.assert_array_equal(labels == 255, six[5] == 0)


def test_what_is_doubtful_in_bands_is_said(caplog: pytest.LogCaptureFixture) -> None:
    image = bands_of(4)
    image[2] = 777
    unetmm.restore(image, model_of(FOUR), axes="CYX")
    assert "band 3 holds a single value in all that was looked at" in caplog.text
    assert "other units" not in caplog.text
    caplog.clear()
    reflectance = (bands_of(4) / WHITE).astype(np.float32)
    unetmm.restore(reflectance, model_of(FOUR), axes="CYX")
    assert "sees 0 to 10000 as 0 to 1, and the values looked at reach 0.9" in caplog.text
    caplog.clear()
    seen = unetmm.restore(reflectance, model_of(FOUR), axes="CYX", fixed_range=(0, 1))
    assert "other units" not in caplog.text
    counts = unetmm.restore(bands_of(4).astype(np.float32), model_of(FOUR), axes="CYX")
    np.testing.assert_allclose(seen, counts / WHITE, atol=2e-5)


def test_bands_of_no_stated_range_are_measured_on_one_and_that_is_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    model = Model("mine", FOUR, {}, None, lively_model(FOUR).tensors)
    unetmm.restore(
        bands_of(4) // np.array([9, 1, 1, 1], np.uint16)[:, None, None], model, axes="CYX"
    )
    assert "which is the range of this image" in caplog.text
    assert "the bands span very different ranges" in caplog.text
    assert "tiny-mono" not in caplog.text


def test_the_zoo_never_takes_bands_together() -> None:
    with_auto = unetmm.restore(bands_of(4, 40, 40), axes="CYX")
    mono = unetmm.restore(bands_of(4, 40, 40)[0], "tiny-mono")
    assert with_auto.shape == (4, 40, 40) and mono.shape == (40, 40)


def test_a_plan_needs_no_pixels() -> None:
    plan = unetmm.make_plan((4, 300, 400), "uint16", model_of(FOUR), axes="CYX")
    assert plan.planes == 1
    with pytest.raises(ShapeError, match="takes 4 bands together"):
        unetmm.make_plan((5, 300, 400), "uint16", model_of(FOUR), axes="CYX")


def test_a_preview_is_what_a_run_gives(tmp_path: Path) -> None:
    image = bands_of(4, 200, 210)
    write_geo(tmp_path / "a.tif", image)
    crop = (30, 40, 90, 70)
    for shown in (
        unetmm.preview(image, [crop], model_of(FOUR), axes="CYX"),
        unetmm.preview(tmp_path / "a.tif", [crop], model_of(FOUR)),
    ):
        (made,) = shown.takes[0].pixels
        whole = unetmm.restore(image, model_of(FOUR), axes="CYX")
        np.testing.assert_array_equal(np.moveaxis(made, -1, 0), whole[:, 40:110, 30:120])


def test_a_range_of_a_card_that_is_none_is_refused(tmp_path: Path) -> None:
    from unetmm.errors import WeightsError
    from unetmm.models.weights import load_model, save_model

    for wrong in ([1, 0], [0], "a", ["a", "b"], {}):
        card = json.loads(json.dumps({"stored_range": wrong}))
        save_model(tmp_path / "m.safetensors", FOUR, lively_model(FOUR).tensors, card)
        with pytest.raises(WeightsError, match="not a unetmm weight file"):
            load_model(tmp_path / "m.safetensors")
