"""Runs that sharpen: what is invented by edges that swing too far, and what is said of it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import lively_model
from numpy.typing import NDArray

import unetmm
from unetmm.calibrate.calibration import Calibration
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.run.of_file import restore_file


def sharpener(task: str = "deblur", scale: int = 1) -> Model:
    """A net that adds what a pixel stands out from its neighbours, a few times."""
    config = NetConfig(1, 1, 8, (1, 1, 1), 1, (1, 1, 1), output_scale=scale)
    weights = {name: 0 * tensor for name, tensor in lively_model(config).tensors.items()}
    weights["intro.weight"][0, 0] = np.full((3, 3), -1 / 9, np.float32)
    weights["intro.weight"][0, 0, 1, 1] += 1
    ending = next(name for name in weights if name.endswith("ending.weight"))
    weights[ending][:, 0, 1, 1] = 3
    return Model("sharpener", config, {"task": task}, None, weights)


def spots(background: float = 0.0) -> NDArray[np.float64]:
    y, x = np.mgrid[:96, :130]
    return background + 50 * (np.sin(x / 4) * np.sin(y / 4) > 0.3)


@pytest.mark.parametrize(("task", "scale"), [("deblur", 1), ("upscale", 2)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_no_value_becomes_negative_where_none_was(task: str, scale: int, dtype: str) -> None:
    model = sharpener(task, scale)
    found = unetmm.restore(spots().astype(dtype), model)
    assert found.min() == 0 and found.max() > 60
    signed = unetmm.restore(spots(-20).astype(dtype), model)
    assert signed.min() < -25


def test_wider_types_of_unsigned_images_stay_positive_and_noise_around_0_stays() -> None:
    assert unetmm.restore(spots().astype(np.uint8), sharpener(), dtype="float32").min() == 0
    noisy = spots() + np.random.default_rng(0).normal(0, 1, (96, 130))
    assert unetmm.restore(noisy, sharpener()).min() < noisy.min() - 1
    rounded = spots() - 1e-9
    assert unetmm.restore(rounded, sharpener()).min() == rounded.min()


def test_holes_stay_where_values_may_not_be_negative() -> None:
    image = spots().astype(np.float32)
    image[:20, :20], image[60:, 60:] = -9999, np.nan
    found = unetmm.restore(image, sharpener(), nodata=-9999)
    np.testing.assert_array_equal(found[:20, :20], -9999)
    assert np.isnan(found[60:, 60:]).all()
    assert np.nanmin(found[20:]) == 0


def test_a_calibration_remembers_that_and_denoising_does_not_ask() -> None:
    from unetmm.io.array import ArraySource, array_info
    from unetmm.run.job import compile_and_calibrate

    image = spots().astype(np.float32)
    source = ArraySource(image, array_info(image.shape, image.dtype, None))
    for task in ("deblur", "denoise"):
        model = sharpener(task)
        _, found = compile_and_calibrate(source, model, Options(model))
        assert found.entry(0, 0).not_below == (0 if task == "deblur" else None)
        again = Calibration.from_json(found.to_json())
        assert again.entry(0, 0).not_below == found.entry(0, 0).not_below
        assert ("not_below" in found.to_json()) == (task == "deblur")


def test_edges_do_not_swing_below_the_noise_of_light() -> None:
    """A few values below 0, by noise, are no reason for light far below it."""
    image = spots().astype(np.float32)
    noise = np.random.default_rng(0).normal(0, 0.5, image.shape).astype(np.float32)
    light = unetmm.restore(image + noise, sharpener())
    assert (image + noise).min() < 0 and 2 * (image + noise).min() <= light.min()
    signed = unetmm.restore(image - image.mean(), sharpener())
    assert signed.min() < 2 * (image - image.mean()).min() - 1


def field(broad: bool) -> NDArray[np.uint16]:
    """A dim field, and a few spots or two broad things that are far brighter than that."""
    found = np.random.default_rng(0).normal(200, 4, (512, 512))
    y, x = np.mgrid[:512, :512]
    if broad:
        for row, column in ((100, 90), (300, 350)):
            found += 4000 * (np.hypot(y - row, x - column) < 14) * (1 + 0.3 * np.sin(x / 2))
    else:
        for row, column in np.random.default_rng(1).integers(9, 500, (30, 2)):
            found += 4000 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 5)
    return found.astype(np.uint16)


def test_bright_cells_on_dark_ground_are_sharpened_too(caplog: pytest.LogCaptureFixture) -> None:
    pixels = field(broad=True)
    found = unetmm.restore(pixels, sharpener()).astype(float)
    inside = np.s_[94:106, 82:98]
    assert found[inside].std() > 1.2 * pixels[inside].std()
    assert not any("stay as they are" in r.message for r in caplog.records)


def test_stars_beyond_the_range_stay_and_a_line_says_so(caplog: pytest.LogCaptureFixture) -> None:
    pixels = field(broad=False)
    found = unetmm.restore(pixels, sharpener())
    bright = pixels > 3000
    np.testing.assert_array_equal(found[bright], pixels[bright])
    said = [r.message for r in caplog.records if "stay as they are; --range" in r.message]
    assert len(said) == 1 and "far beyond the range that the net sees (1" in said[0]
    caplog.clear()
    unetmm.restore(pixels, sharpener("denoise"))
    assert not any("--range LOW,HIGH sharpens" in r.message for r in caplog.records)


def test_a_changed_mean_is_said_and_does_not_depend_on_the_cut(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    clean = 40 * spots(100)[:64, :128].repeat(4, 0).repeat(4, 1)
    pixels = (clean + rng.normal(0, 9, clean.shape)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels, rowsperstrip=64)
    model = sharpener()
    model.tensors["ending.bias"][:] = 0.02  # of the range
    reports = []
    for name, workers in (("a.ome.zarr", 1), ("b.tif", 2)):
        options = Options(model=model, workers=workers)
        reports.append(restore_file(tmp_path / "in.tif", tmp_path / name, options))
    made = tifffile.imread(tmp_path / "b.tif").astype(float)
    low = reports[0].calibration.span[0]
    expected = (made - pixels).mean() / (pixels - low).mean()
    assert expected > 0.02
    assert reports[0].guard["mean_change"] == pytest.approx(expected, abs=2e-4)
    assert reports[0].guard == reports[1].guard
    assert any("the mean of the image changed by +" in w for w in reports[0].warnings)
    denoised = restore_file(
        tmp_path / "in.tif", tmp_path / "c.tif", Options(model=sharpener("denoise"))
    )
    assert abs(denoised.guard["mean_change"]) < 0.01 and not denoised.guard["is_changed"]


@pytest.mark.parametrize("task", ["deblur", "upscale", "denoise"])
def test_much_noise_is_said_where_none_is_removed(
    task: str, caplog: pytest.LogCaptureFixture
) -> None:
    rng = np.random.default_rng(0)
    clean = spots(100).repeat(3, 0).repeat(3, 1)

    def lines(noise: float, **facts: bool) -> list[str]:
        caplog.clear()
        planes = [rng.normal(clean, noise), rng.normal(clean, noise / 2)]
        model = sharpener(task)
        model = replace(model, card={**model.card, **facts})
        unetmm.restore(np.stack(planes).astype(np.float32), model, axes="CYX")
        return [r.message for r in caplog.records if "its noise is about" in r.message]

    assert len(lines(6)) == (task != "denoise")
    assert not lines(1)
    assert not lines(6, takes_noise=True), "it was trained on noisy images"
