"""Nets that enlarge: the same pixels for every cut, whole runs, and values that pass through."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import assert_close, content, frozen_attention, lively_model, lively_net, reference
from helpers import stream_image as stream
from interrupted import go_on, options, stop_after
from numpy.typing import NDArray

import unetmm
from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.models.weights import Model
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.options import Options
from unetmm.run.of_file import restore_file

NETS = {
    "x2": NetConfig(1, 1, 8, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1)), output_scale=2),
    "x3_colour": NetConfig(3, 3, 8, (1,), 0, (1,), output_scale=3),
    "x4": NetConfig(1, 1, 8, (1, 1), 0, (1, 1), AggregateConfig(16, 4, (0, 1)), output_scale=4),
    "zeros": NetConfig(1, 1, 8, (1,), 1, (1,), output_scale=2, padding="zeros"),
}


def local_model(config: NetConfig) -> Model:
    """A net whose attention is the same for every image, and whose answer is near its input."""
    model = lively_model(config)
    weights = {}
    for name, tensor in model.tensors.items():
        is_attention = name.endswith("sca.1.weight")
        weights[name] = 0 * tensor if is_attention else 0.1 * tensor if "ending" in name else tensor
    return Model("local", config, {"task": "upscale"}, None, weights)


def noise_free(shape: tuple[int, ...], seed: int = 0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    waves = np.sin(x / 7) * np.cos(y / 5)
    picture = 0.5 + 0.3 * waves.reshape(*shape[:2], *[1] * (len(shape) - 2))
    return (picture + 0.05 * rng.random(shape)).astype(np.float32)


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
    image = noise_free((height, width, config.in_channels))
    expected = reference(lively_net(config), image, frozen_attention(config))
    assert expected.shape == (
        height * config.output_scale,
        width * config.output_scale,
        image.shape[2],
    )
    assert_close(stream(config, image, **cut), expected, 2e-5)


def test_each_pixel_lies_in_the_middle_of_those_that_come_of_it() -> None:
    config = NETS["x2"]
    model = local_model(config)
    nothing = {name: 0 * tensor for name, tensor in model.tensors.items()}
    image = noise_free((20, 30))
    found = unetmm.restore(image, Model("nothing", config, {}, None, nothing))
    np.testing.assert_allclose(found, image.repeat(2, 0).repeat(2, 1), atol=1e-6)


def test_budgets_engines_and_kinds_agree() -> None:
    import dask.array as da
    import torch

    model = local_model(NETS["x2"])
    image = (noise_free((150, 700)) * 60000).astype(np.uint16)
    found = unetmm.restore(image, model, mem_budget="4GB")
    assert found.shape == (300, 1400) and found.dtype == np.uint16
    lazy = unetmm.restore(da.from_array(image, chunks=(64, 130)), model)
    assert lazy.shape == (300, 1400) and lazy.chunks[1][0] == 260
    np.testing.assert_array_equal(lazy.compute(), found)
    by_torch = unetmm.restore(torch.from_numpy(image.astype(np.float32)), model, device="torch")
    assert np.abs(by_torch.numpy() - found).max() <= 1
    part = unetmm.preview(image, [(101, 33, 90, 70)], model)
    np.testing.assert_array_equal(part.takes[0].pixels[0][..., 0], found[66:206, 202:382])


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif", "out.png"])
def test_a_stopped_run_goes_on_to_the_same_bytes(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixels = (noise_free((700, 900)) * 60000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels, rowsperstrip=64)
    model = local_model(NETS["x2"])
    (tmp_path / "whole").mkdir()
    restore_file(tmp_path / "in.tif", tmp_path / "whole" / name, options(tmp_path, model=model))
    stop_after(tmp_path, tmp_path / name, 4, monkeypatch, model=model)
    report = go_on(tmp_path, tmp_path / name, model=model)
    assert report.resumed_rows > 0
    assert content(tmp_path / name) == content(tmp_path / "whole" / name)


def test_a_crop_is_a_part_of_the_whole(tmp_path: Path) -> None:
    pixels = (noise_free((600, 800)) * 60000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    options = Options(model=local_model(NETS["x2"]))
    restore_file(tmp_path / "in.tif", tmp_path / "whole.tif", options)
    cropped = Options(model=options.model, crop=Box(33, 101, 583, 700))
    restore_file(tmp_path / "in.tif", tmp_path / "part.tif", cropped)
    whole, part = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("whole", "part"))
    np.testing.assert_array_equal(part, whole[66:1166, 202:1400])


def test_holes_opacity_and_hot_pixels_pass_through() -> None:
    model = local_model(NETS["x2"])
    image = noise_free((80, 90))
    image[20:30, 40:60] = np.nan
    found = unetmm.restore(image, model)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(image).repeat(2, 0).repeat(2, 1))
    rgba = (noise_free((64, 70, 4)) * 255).astype(np.uint8)
    rgba[:10, :, 3] = 0
    coloured = unetmm.restore(rgba, model)
    np.testing.assert_array_equal(coloured[..., 3], rgba[..., 3].repeat(2, 0).repeat(2, 1))
    np.testing.assert_array_equal(coloured[:20], rgba[:10].repeat(2, 0).repeat(2, 1))
    hot = (noise_free((128, 128)) * 3000).astype(np.uint16)
    hot[50, 60] = 65535
    kept = unetmm.restore(hot, model)
    assert (kept[100:102, 120:122] == 65535).all()
    replaced = unetmm.restore(hot, model, outliers="replace")
    assert replaced.max() < 5000
    kept[100:102, 120:122] = replaced[100:102, 120:122]
    np.testing.assert_array_equal(kept, replaced)  # nothing around it is disturbed


def test_far_values_stay_as_they_are() -> None:
    image = noise_free((64, 64)) * 100
    image[10:13, 20:24] = 3e19
    found = unetmm.restore(image, local_model(NETS["x2"]))
    np.testing.assert_array_equal(found[20:26, 40:48], np.float32(3e19))
    assert np.abs(found[40:]).max() < 1000


def test_a_mask_that_cannot_be_enlarged_is_refused(tmp_path: Path) -> None:
    pixels = np.full((32, 32), 7, np.uint16)
    with tifffile.TiffWriter(tmp_path / "in.tif") as tif:
        tif.write(pixels, photometric="minisblack")
        tif.write(np.ones((32, 32), bool), photometric="mask", subfiletype=4)
    with pytest.raises(ImageError, match="mask of valid pixels, which cannot be enlarged"):
        restore_file(
            tmp_path / "in.tif", tmp_path / "o.tif", Options(model=local_model(NETS["x2"]))
        )


def test_a_constant_image_stays_so() -> None:
    flat = np.full((40, 30), 7.25, np.float32)
    found = unetmm.restore(flat, lively_model(NETS["x2"]))
    np.testing.assert_array_equal(found, np.full((80, 60), 7.25, np.float32))
