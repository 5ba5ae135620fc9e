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
from unetmm.errors import BudgetError, ImageError
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
    rgba[..., 3] = 255
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


def evenly(alpha: NDArray[np.generic], scale: int) -> NDArray[np.float64]:
    """Bilinear between the centres of pixels, worked out for each row and column."""
    found = alpha.astype(np.float64)
    for axis in (0, 1):
        n = found.shape[axis]
        place = np.clip((np.arange(n * scale) + 0.5) / scale - 0.5, 0, n - 1)
        low = np.minimum(place.astype(int), max(0, n - 2))
        high = np.minimum(low + 1, n - 1)
        share = (place - low).reshape([-1, 1] if axis == 0 else [1, -1])
        found = found.take(low, axis) * (1 - share) + found.take(high, axis) * share
    return found


def cut_out(shape: tuple[int, int], dtype: str) -> NDArray[np.generic]:
    """Coloured waves, with a disc that fades out in some 20 px."""
    most = 1.0 if dtype.startswith("float") else float(np.iinfo(dtype).max)
    colours = noise_free((*shape, 3))
    y, x = np.mgrid[: shape[0], : shape[1]]
    distance = np.hypot(y - shape[0] / 2, x - shape[1] / 2)
    alpha = np.clip((min(shape) / 2 - 4 - distance) / 20, 0, 1)
    pixels = np.dstack([colours, alpha]) * most
    return pixels.astype(dtype) if most == 1 else np.rint(pixels).astype(dtype)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_soft_opacity_passes_evenly(scale: int, dtype: str) -> None:
    pixels = cut_out((50, 61), dtype)
    config = NetConfig(3, 3, 8, (1,), 0, (1,), output_scale=scale)
    found = unetmm.restore(pixels, local_model(config))[..., 3]
    expected = evenly(pixels[..., 3], scale)
    tolerance = 1e-6 if dtype == "float32" else 0.5
    np.testing.assert_allclose(found, expected, atol=tolerance, rtol=1e-6)


def test_soft_opacity_gets_the_steps_of_a_wider_type() -> None:
    pixels = cut_out((50, 61), "uint8")
    wider = unetmm.restore(pixels, local_model(NETS["x3_colour"]), dtype="uint16")[..., 3]
    np.testing.assert_allclose(wider / 257, evenly(pixels[..., 3], 3), atol=0.5 / 257 + 1e-9)


def test_a_hard_mask_stays_one_and_a_soft_corner_does_not_change_it() -> None:
    pixels = cut_out((40, 44), "uint8")
    pixels[..., 3] = np.where(pixels[..., 3] > 128, 255, 0)
    model = local_model(NETS["x3_colour"])
    hard = unetmm.restore(pixels, model)[..., 3]
    np.testing.assert_array_equal(hard, pixels[..., 3].repeat(3, 0).repeat(3, 1))
    pixels[2, 2, 3] = 100
    soft = unetmm.restore(pixels, model)[..., 3]
    np.testing.assert_array_equal(soft[15:], hard[15:])
    assert len(np.unique(soft[:12, :12])) > 4


def test_opacity_is_the_same_for_every_cut(tmp_path: Path) -> None:
    import dask.array as da

    model = local_model(NETS["x3_colour"])
    pixels = cut_out((210, 640), "uint16")
    whole = unetmm.restore(pixels, model, mem_budget="4GB")
    lazy = unetmm.restore(da.from_array(pixels, chunks=(64, 130, 4)), model)
    np.testing.assert_array_equal(lazy.compute(), whole)
    part = unetmm.preview(pixels, [(101, 3, 90, 70)], model)
    np.testing.assert_array_equal(part.takes[0].pixels[0], whole[9:219, 303:573])
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"])
    cropped = Options(model=model, crop=Box(33, 101, 183, 600))
    restore_file(tmp_path / "in.tif", tmp_path / "part.tif", cropped)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "part.tif"), whole[99:549, 303:1800])


def test_opacity_is_the_same_for_strips_and_segments(tmp_path: Path) -> None:
    model = local_model(NETS["x3_colour"])
    pixels = cut_out((700, 900), "uint8")
    tifffile.imwrite(
        tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["unassalpha"], rowsperstrip=64
    )
    restore_file(tmp_path / "in.tif", tmp_path / "whole.tif", Options(model=model))
    least = smallest_budget(tmp_path / "in.tif", tmp_path / "cut.tif", model)
    report = restore_file(
        tmp_path / "in.tif", tmp_path / "cut.tif", Options(model=model, budget_bytes=least)
    )
    assert report.plan is not None and len(report.plan.strips) > 1
    whole, cut = (tifffile.imread(tmp_path / f"{name}.tif") for name in ("whole", "cut"))
    np.testing.assert_array_equal(whole, cut)
    np.testing.assert_allclose(whole[..., 3], evenly(pixels[..., 3], 3), atol=0.5)


def smallest_budget(path: Path, output: Path, model: Model) -> int:
    """Bytes that a run needs at the very least."""
    with pytest.raises(BudgetError) as refused:
        restore_file(path, output, Options(model=model, budget_bytes=10**6))
    return refused.value.needed_bytes


def test_hidden_colours_do_not_show_where_edges_are_soft() -> None:
    pixels = cut_out((60, 60), "uint8")
    pixels[..., :3] = 200
    pixels[:30, :, :3] -= 40
    pixels[pixels[..., 3] == 0, :3] = 0
    found = unetmm.restore(pixels, local_model(NETS["x3_colour"]))
    clear_before = (pixels[..., 3] == 0).repeat(3, 0).repeat(3, 1)
    revealed = found[clear_before & (found[..., 3] > 0)]
    assert len(revealed) and revealed[:, :3].min() > 120
    assert not found[clear_before & (found[..., 3] == 0)][:, :3].any()


def test_clear_pixels_of_faded_colours_stay_clear(tmp_path: Path) -> None:
    pixels = cut_out((60, 60), "uint8")
    pixels[..., :3] = pixels[..., 3:] // 2
    tifffile.imwrite(tmp_path / "in.tif", pixels, photometric="rgb", extrasamples=["assocalpha"])
    restore_file(
        tmp_path / "in.tif", tmp_path / "o.tif", Options(model=local_model(NETS["x3_colour"]))
    )
    found = tifffile.imread(tmp_path / "o.tif")
    clear = (pixels[..., 3] == 0).repeat(3, 0).repeat(3, 1)
    assert not found[clear].any()
    assert len(np.unique(found[..., 3])) > 100


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
