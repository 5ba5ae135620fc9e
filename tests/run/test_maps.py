"""Nets that give maps or classes: their values come from the net alone, the same for every cut."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers import (
    CONFIGS,
    MAPS,
    assert_close,
    content,
    frozen_attention,
    lively_model,
    lively_net,
    reference,
    stream_image,
)
from interrupted import go_on, options, stop_after
from numpy.typing import NDArray

import unetmm
from unetmm.errors import BudgetError, ImageError, ShapeError
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.models.weights import Model
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.options import Options
from unetmm.plan.share import Share
from unetmm.provenance.verify import verify
from unetmm.run.of_file import restore_file

TOLERANCE = 2e-6
NETS = {**MAPS, "alpha": CONFIGS["alpha"], "classes": CONFIGS["classes"]}
NAMES = ("sky", "tree", "road", "car", "man")
SMALL = NetConfig(1, 3, 8, (1,), 1, (1,), body="unet", gives="classes", final="softmax")
PROBABILITY = NetConfig(
    1, 1, 8, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1)), body="unet",
    gives="map", final="sigmoid",
)  # fmt: skip
MATTING = NetConfig(
    3, 1, 8, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1)), body="unet",
    gives="map", final="sigmoid",
)  # fmt: skip
"""A matting net of test size, with seeded random weights."""


def model_of(config: NetConfig, **card: Any) -> Model:
    return Model("mine", config, card, None, lively_model(config).tensors)


def picture(*shape: int, seed: int = 0) -> NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def expected_of(config: NetConfig, image: NDArray[Any], white: float = 255.0) -> NDArray[Any]:
    return reference(lively_net(config), (image / white).astype(np.float32), None)


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    ("height", "width", "cut"),
    [
        (37, 53, {"band_rows": 4}),
        (64, 96, {"band_rows": 8, "strips": 3, "segments": 2, "workers": 2}),
        (41, 70, {"band_rows": 4, "strips": 2, "threads": 2}),
        (3, 5, {"band_rows": 4}),
    ],
)
def test_every_cut_gives_the_reference_net(name: str, height: int, width: int, cut: dict) -> None:
    config = NETS[name]
    image = np.random.default_rng(1).random((height, width, config.in_channels), np.float32)
    expected = reference(lively_net(config), image, frozen_attention(config))
    scale = config.output_scale
    assert expected.shape == (height * scale, width * scale, config.out_channels)
    found = stream_image(config, image, **cut)
    assert_close(found, expected, TOLERANCE * max(1.0, float(np.ptp(expected))))


@pytest.mark.parametrize("device", ["cpu", "torch"])
@pytest.mark.parametrize("config", [CONFIGS["classes"], MAPS["listed_classes"], MATTING])
def test_both_engines_give_the_net(config: NetConfig, device: Any) -> None:
    image = picture(45, 71, 3)
    expected = expected_of(config, image)
    found = unetmm.restore(image, model_of(config), device=device, scores=config.out_channels > 1)
    assert found.dtype == np.float32
    assert_close(found.reshape(expected.shape), expected, TOLERANCE * np.ptp(expected).clip(1))
    if config.gives == "classes":
        labels = unetmm.restore(image, model_of(config), device=device)
        assert labels.shape == (45, 71) and labels.dtype == np.uint8
        np.testing.assert_array_equal(labels, expected.argmax(-1))


def test_a_map_of_one_channel_has_nothing_of_the_image() -> None:
    image = (np.random.default_rng(0).random((50, 60)) * 60000).astype(np.uint16)
    image[20:30, 20:30] = 0
    found = unetmm.restore(image, model_of(PROBABILITY), dtype="float64")
    assert found.dtype == np.float64 and 0 <= found.min() and found.max() <= 1
    low, high = image.min(), image.max()
    expected = reference(
        lively_net(PROBABILITY), ((image - low) / (high - low)).astype(np.float32)[..., None], None
    )
    assert np.abs(found - expected[..., 0]).max() < 0.05  # the range is measured, not the extremes


@pytest.mark.parametrize("kind", ["uint8", "uint16", "uint32"])
def test_whole_numbers_hold_0_to_1(kind: str) -> None:
    image, most = picture(40, 50, 3), np.iinfo(kind).max
    exact = unetmm.restore(image, model_of(MATTING))
    found = unetmm.restore(image, model_of(MATTING), dtype=kind)
    assert found.dtype == kind
    np.testing.assert_array_equal(found, np.rint(exact * np.float64(most)).astype(kind))
    half = unetmm.restore(image, model_of(MATTING), dtype="float16")
    np.testing.assert_array_equal(half, exact.astype(np.float16))


def test_heights_beyond_the_type_are_counted(tmp_path: Path) -> None:
    config = replace(MATTING, final="")
    tifffile.imwrite(tmp_path / "a.tif", picture(80, 90, 3), photometric="rgb")
    asked = Options(model=model_of(config), dtype="uint8")
    report = restore_file(tmp_path / "a.tif", tmp_path / "b.tif", asked)
    exact = unetmm.restore(picture(80, 90, 3), model_of(config))
    assert report.stored["clipped"] == np.count_nonzero((exact < 0) | (exact > 1))
    assert any("lie outside of 0 to 1" in line for line in report.warnings)
    assert report.guard == {} and report.as_dict()["holds"] == "a map"


def test_half_floats_say_what_is_too_large(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", picture(40, 50, 3), photometric="rgb")
    config = replace(MATTING, final="")
    tensors = {
        name: tensor * (1e6 if name.startswith("ending") else 1)
        for name, tensor in lively_model(config).tensors.items()
    }
    asked = Options(model=Model("mine", config, {}, None, tensors), dtype="float16")
    report = restore_file(tmp_path / "a.tif", tmp_path / "b.tif", asked)
    made = tifffile.imread(tmp_path / "b.tif")
    assert report.stored["clipped"] == np.count_nonzero(np.isinf(made)) > 0
    assert any("too large for float16" in line for line in report.warnings)


def test_rows_lie_as_those_of_the_image(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pixels = picture(40, 50)
    turned = [(274, 3, 1, 6, True)]
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite", extratags=turned)
    restore_file(tmp_path / "a.tif", tmp_path / "b.tif", Options(model=model_of(SMALL)))
    assert "0 is white in this image" in caplog.text
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages.first.tags.valueof(274) == 6
    restore_file(tmp_path / "a.tif", tmp_path / "b.png", Options(model=model_of(SMALL)))
    from PIL import Image

    with Image.open(tmp_path / "b.png") as upright:
        expected = np.rot90(tifffile.imread(tmp_path / "b.tif"), -1)
        np.testing.assert_array_equal(np.asarray(upright), expected)


def test_kinds_of_arrays_agree() -> None:
    import dask.array as da
    import torch
    import xarray
    from PIL import Image

    model, image = model_of(CONFIGS["classes"]), picture(70, 90, 3)
    labels = unetmm.restore(image, model)
    scores = unetmm.restore(image, model, scores=True)
    assert scores.shape == (70, 90, 5)
    lazy = unetmm.restore(da.from_array(image, chunks=(33, 40, 3)), model, scores=True)
    assert lazy.shape == scores.shape and lazy.dtype == np.float32
    np.testing.assert_array_equal(lazy.compute(), scores)
    lazy = unetmm.restore(da.from_array(image, chunks=(33, 40, 3)), model)
    np.testing.assert_array_equal(lazy.compute(), labels)
    tensor = unetmm.restore(torch.from_numpy(image.transpose(2, 0, 1).copy()), model, scores=True)
    np.testing.assert_array_equal(tensor.numpy(), scores.transpose(2, 0, 1))
    np.testing.assert_array_equal(np.asarray(unetmm.restore(Image.fromarray(image), model)), labels)
    named = xarray.DataArray(image, {"y": np.arange(70) * 2.0}, ("y", "x", "rgb"), "photo")
    made = unetmm.restore(named, model, scores=True)
    assert made.dims == ("y", "x", "channel") and float(made.y[3]) == 6.0
    np.testing.assert_array_equal(made.data, scores)
    np.testing.assert_array_equal(unetmm.restore(named, model).data, labels)


def test_each_channel_has_maps_of_its_own() -> None:
    image = picture(2, 3, 40, 50)
    found = unetmm.restore(image, model_of(SMALL), axes="TCYX", scores=True)
    assert found.shape == (2, 9, 40, 50)
    one = unetmm.restore(image[1, 2], model_of(SMALL), axes="YX", scores=True)
    assert one.shape == (3, 40, 50)
    np.testing.assert_array_equal(found[1, 6:], one)
    grey = unetmm.restore(image[0, 0], model_of(SMALL))
    np.testing.assert_array_equal(grey, unetmm.restore(image, model_of(SMALL), axes="TCYX")[0, 0])
    colours = unetmm.restore(picture(40, 50, 3), model_of(SMALL), scores=True)
    assert colours.shape == (40, 50, 9)


@pytest.mark.parametrize("name", ["out.tif", "out.ome.tif", "out.ome.zarr", "out.npy"])
@pytest.mark.parametrize("scores", [False, True])
def test_files_hold_what_arrays_do(tmp_path: Path, name: str, scores: bool) -> None:
    image, model = picture(600, 700, 3), model_of(CONFIGS["classes"], output_names=NAMES)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="rgb")
    asked = Options(model=model, scores=scores)
    restore_file(tmp_path / "a.tif", tmp_path / name, asked)
    expected = unetmm.restore(image, model, scores=scores)
    expected = np.moveaxis(expected, -1, 0) if scores else expected
    if name.endswith(".npy"):
        np.testing.assert_array_equal(np.load(tmp_path / name), expected)
        return
    assert not verify(tmp_path / name).damaged
    if name.endswith(".zarr"):
        found = zarr.open_group(tmp_path / name, mode="r")
        np.testing.assert_array_equal(found["0"][...], expected)
        ome = found.attrs["ome"]
        if scores:
            assert [c["label"] for c in ome["omero"]["channels"]] == list(NAMES)
        else:
            label = ome["image-label"]
            assert [p["class"] for p in label["properties"]] == list(NAMES)
            assert label["colors"][0] == {"label-value": 0, "rgba": [0, 0, 0, 255]}
            np.testing.assert_array_equal(found["1"][...], expected[::2, ::2])
            assert ome["multiscales"][0]["type"] == "nearest"
    else:
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), expected)
        with tifffile.TiffFile(tmp_path / name) as tif:
            page = tif.pages.first
            assert page.photometric.name == ("MINISBLACK" if scores else "PALETTE")
            assert scores == all(n in (tif.ome_metadata or "") for n in NAMES)


def test_names_of_a_strange_card_do_no_harm(tmp_path: Path) -> None:
    strange = ["a\0b", "<x>&", "n" * 5000, "\u202e", 7]
    tifffile.imwrite(tmp_path / "a.tif", picture(40, 50, 3), photometric="rgb")
    model = model_of(CONFIGS["classes"], output_names=strange)
    for name in ("b.ome.tif", "b.ome.zarr"):
        restore_file(tmp_path / "a.tif", tmp_path / name, Options(model=model, scores=True))
        source = open_source(tmp_path / name)
        assert source.info.channel_names[:2] == ("ab", "<x>&")
        assert len(source.info.channel_names[2]) == 100
        source.close()
    for wrong in (NAMES[:3], "names", {"a": 1}, None):
        labels = unetmm.restore(
            picture(40, 50, 3), model_of(CONFIGS["classes"], output_names=wrong)
        )
        assert labels.shape == (40, 50)


def test_a_png_holds_labels_and_one_map(tmp_path: Path) -> None:
    from PIL import Image, ImageCms

    image = picture(90, 70, 3)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(image).save(tmp_path / "a.png", icc_profile=profile)
    found = restore_file(
        tmp_path / "a.png", tmp_path / "b.png", Options(model=model_of(CONFIGS["classes"]))
    )
    with Image.open(tmp_path / "b.png") as opened:
        labels = np.asarray(opened)
        assert "icc_profile" not in opened.info
    np.testing.assert_array_equal(labels, unetmm.restore(image, model_of(CONFIGS["classes"])))
    assert "colour profile" in found.not_kept
    restore_file(
        tmp_path / "a.png", tmp_path / "c.png", Options(model=model_of(MATTING), dtype="uint16")
    )
    with Image.open(tmp_path / "c.png") as opened:
        assert np.asarray(opened).dtype == np.uint16
    for name, what, asked in (
        ("d.png", "--dtype uint8 or uint16", {"model": model_of(MATTING)}),
        ("d.png", "one plane", {"model": model_of(CONFIGS["classes"]), "scores": True}),
        ("d.jpg", "JPEG would change", {"model": model_of(CONFIGS["classes"])}),
    ):
        with pytest.raises(ImageError, match=what):
            restore_file(tmp_path / "a.png", tmp_path / name, Options(**asked))


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif", "out.png"])
@pytest.mark.parametrize("scores", [False, True])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    tmp_path: Path, name: str, scores: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if scores and name == "out.png":
        return
    tifffile.imwrite(tmp_path / "in.tif", picture(1300, 700), rowsperstrip=64)
    asked = {"model": model_of(SMALL), "scores": scores}
    (tmp_path / "whole").mkdir()
    restore_file(tmp_path / "in.tif", tmp_path / "whole" / name, options(tmp_path, **asked))
    stop_after(tmp_path, tmp_path / name, 4 + 5 * scores, monkeypatch, **asked)
    report = go_on(tmp_path, tmp_path / name, **asked)
    assert report.resumed_rows > 0
    assert content(tmp_path / name) == content(tmp_path / "whole" / name)
    if name == "out.png":
        return
    with pytest.raises(
        ImageError, match=r"made with output (labels|scores) of 3 classes, now it is"
    ):
        changed = options(tmp_path, model=model_of(SMALL), scores=not scores)
        restore_file(tmp_path / "in.tif", tmp_path / name, changed)


def test_shares_budgets_and_crops_agree(tmp_path: Path) -> None:
    pixels = picture(1100, 1300)
    tifffile.imwrite(tmp_path / "in.tif", pixels, rowsperstrip=64)
    asked = options(tmp_path, model=model_of(SMALL), scores=True)
    restore_file(tmp_path / "in.tif", tmp_path / "a.tif", asked)
    (tmp_path / "shared").mkdir()
    for i in range(3):
        restore_file(tmp_path / "in.tif", tmp_path / "shared" / "a.tif", asked, share=Share(i, 3))
    assert content(tmp_path / "a.tif") == content(tmp_path / "shared" / "a.tif")
    try:
        restore_file(tmp_path / "in.tif", tmp_path / "c.tif", replace(asked, budget_bytes=10**8))
    except BudgetError as error:
        low = replace(asked, budget_bytes=error.needed_bytes)
        report = restore_file(tmp_path / "in.tif", tmp_path / "c.tif", low)
        assert report.plan is not None and len(report.plan.strips) > 1
    np.testing.assert_array_equal(
        *(tifffile.imread(tmp_path / f"{name}.tif") for name in ("a", "c"))
    )
    part = replace(asked, crop=Box(100, 200, 400, 900))
    restore_file(tmp_path / "in.tif", tmp_path / "d.tif", part)
    whole, cut = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("a", "d"))
    np.testing.assert_array_equal(cut, whole[:, 100:400, 200:900])


def test_pixels_without_a_measurement_have_no_answer(tmp_path: Path) -> None:
    image = np.random.default_rng(0).random((150, 160)).astype(np.float32)
    image[40:60, 50:90] = np.nan
    gaps = np.isnan(image)
    found = unetmm.restore(image, model_of(PROBABILITY))
    np.testing.assert_array_equal(np.isnan(found), gaps)
    labels = unetmm.restore(image, model_of(SMALL))
    assert (labels[gaps] == 255).all() and labels[~gaps].max() < 3
    whole = (np.nan_to_num(image) * 1000 + 1).astype(np.uint16)
    whole[gaps] = 0
    tifffile.imwrite(tmp_path / "a.tif", whole)
    asked = Options(model=model_of(SMALL), nodata=(0.0,))
    restore_file(tmp_path / "a.tif", tmp_path / "b.tif", asked)
    source = open_source(tmp_path / "b.tif")
    assert source.info.nodata.single == 255
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif") == 255, gaps)
    as_bytes = replace(asked, model=model_of(PROBABILITY), dtype="uint8")
    report = restore_file(tmp_path / "a.tif", tmp_path / "c.tif", as_bytes)
    assert report.stored["unmeasured"] == gaps.sum()
    assert any("hold no measurement and became 0" in line for line in report.warnings)
    assert (tifffile.imread(tmp_path / "c.tif")[gaps] == 0).all()


def test_opacity_is_no_part_of_an_answer(tmp_path: Path) -> None:
    image = picture(80, 90, 4)
    image[..., 3] = 255
    image[10:20, 30:50, 3] = 0
    found = unetmm.restore(image, model_of(MATTING))
    assert found.shape == (80, 90)
    np.testing.assert_array_equal(np.isnan(found), image[..., 3] == 0)
    from PIL import Image

    Image.fromarray(image).save(tmp_path / "a.png")
    restore_file(tmp_path / "a.png", tmp_path / "b.tif", Options(model=model_of(MATTING)))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), found)


def test_bright_spots_do_not_spoil_what_is_around_them() -> None:
    image = np.random.default_rng(0).random((120, 130)).astype(np.float32)
    calm = unetmm.restore(image, model_of(PROBABILITY))
    image[60, 60] = 1e6
    image[20, 100] = 3e38
    found = unetmm.restore(image, model_of(PROBABILITY))
    near = np.zeros(image.shape, bool)
    near[40:80, 40:80] = near[:40, 80:] = True
    assert np.isfinite(found).sum() >= found.size - 2
    assert np.abs(found - calm)[~near].max() < 0.05


def test_what_is_for_images_is_refused_in_a_line() -> None:
    image, model = picture(40, 50, 3), model_of(CONFIGS["classes"])
    for asked in (
        {"strength": 0.5}, {"rounding": "dither"}, {"outliers": "replace"},
        {"transform": "anscombe"},
    ):  # fmt: skip
        with pytest.raises(ShapeError, match="is for restored images; model mine gives labels"):
            unetmm.restore(image, model, **asked)
    with pytest.raises(ShapeError, match="stored as uint8 or uint16 or uint32"):
        unetmm.restore(image, model, dtype="float32")
    with pytest.raises(ShapeError, match="scores of 5 classes are stored as floats"):
        unetmm.restore(image, model, dtype="uint8", scores=True)
    with pytest.raises(ShapeError, match="int16; maps are stored as floats, or 0 to 1"):
        unetmm.restore(image, model_of(MATTING), dtype="int16")
    with pytest.raises(ShapeError, match="model mine gives maps"):
        unetmm.restore(image, model_of(MATTING), scores=True)
    with pytest.raises(ShapeError, match="gives an image"):
        unetmm.restore(image, "tiny-rgb", scores=True)
    with pytest.raises(ImageError, match="preview shows restored images"):
        unetmm.preview(image, [(0, 0, 20, 20)], model)
    with pytest.raises(ShapeError, match="3 interleaved samples"):
        unetmm.restore(picture(40, 50), model)
