"""A preview's crops are those of a run over all of the image, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import lively_model
from numpy.typing import NDArray

import unetmm
from unetmm.calibrate.crops import CROP_PX, Crop, choose_crops, crops_of
from unetmm.errors import ImageError, ShapeError
from unetmm.io.array import ArraySource, array_info
from unetmm.io.image import Box
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.options import Options
from unetmm.run.cropped import restore_crops
from unetmm.run.job import make_job
from unetmm.run.loaded import Loaded
from unetmm.run.of_array import restore_array
from unetmm.run.preview import MOST_PX, Preview, Wishes, preview_array, preview_file

MONO = lively_model(NetConfig(1, 1, 8, (1, 1), 1, (1, 1), AggregateConfig(16, 4, (0, 1))))
COLOUR = lively_model(NetConfig(3, 3, 8, (1, 2), 1, (1, 1), AggregateConfig(16, 4, (0, 1))))
HEIGHT, WIDTH = 197, 301
BOXES = (
    Box(0, 0, 40, 51), Box(150, 250, HEIGHT, WIDTH), Box(70, 81, 141, 158), Box(0, 300, 197, 301),
    Box(91, 17, 92, 18), Box(100, 100, 171, 110),
)  # fmt: skip
"""Crops in corners, at an edge, inside, of one pixel, and one that overlaps another."""


def noisy(shape: tuple[int, ...], seed: int = 1) -> NDArray[np.float64]:
    """A scene with edges, of 200 to 1500, with noise that grows with it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    scene = 300 + 200 * np.sin(x / 11) * np.cos(y / 7) + 700 * ((x // 37 + y // 29) % 2)
    scene = scene.reshape(scene.shape + (1,) * (len(shape) - 2))
    return np.clip(rng.normal(scene * np.ones(shape), np.sqrt(scene)), 0, None)


def grey8() -> NDArray[Any]:
    return (noisy((HEIGHT, WIDTH)) / 8).clip(0, 255).astype(np.uint8)


def colour8() -> NDArray[Any]:
    return (noisy((HEIGHT, WIDTH, 3)) / 8).clip(0, 255).astype(np.uint8)


def colour8_with_opacity() -> NDArray[Any]:
    pixels = (noisy((HEIGHT, WIDTH, 4)) / 8).clip(1, 255).astype(np.uint8)
    pixels[60:90, 70:100, 3] = 0
    return pixels


def cells16() -> NDArray[Any]:
    """Cells a hundred times brighter than the rest, hot pixels and a hot column."""
    pixels = noisy((HEIGHT, WIDTH))
    pixels[85:120, 90:130] *= 40
    pixels[10:25, 40:60] *= 30
    rng = np.random.default_rng(3)
    pixels[rng.integers(0, HEIGHT, 30), rng.integers(0, WIDTH, 30)] = 60000
    pixels[:, 105] += 3000
    return pixels.clip(0, 65535).astype(np.uint16)


def holes() -> NDArray[Any]:
    """Floats with gaps, some of them at the edges of crops."""
    pixels = noisy((HEIGHT, WIDTH)).astype(np.float32)
    pixels[60:75, 75:95] = np.nan
    pixels[:9, 30:] = np.nan
    pixels[120:, 240:260] = np.nan
    pixels[100, 100] = 9.97e36
    return pixels


CASES: dict[str, tuple[Callable[[], NDArray[Any]], str, Any, dict[str, Any]]] = {
    "grey of 8 bits": (grey8, "YX", MONO, {}),
    "colours of 8 bits": (colour8, "YXS", COLOUR, {}),
    "colours one by one": (colour8, "YXS", MONO, {}),
    "colours with opacity": (colour8_with_opacity, "YXS", COLOUR, {}),
    "bright cells and hot pixels": (cells16, "YX", MONO, {}),
    "hot pixels replaced": (cells16, "YX", MONO, {"outliers": "replace"}),
    "floats with gaps": (holes, "YX", MONO, {}),
    "other type, dithered": (cells16, "YX", MONO, {"dtype": "uint8", "rounding": "dither"}),
    "counts": (cells16, "YX", MONO, {"transform": "anscombe"}),
    "a weak run": (grey8, "YX", MONO, {"strength": 0.3}),
}
"""Image, axes, model and options of each case."""


def assert_same(preview: Preview, whole: NDArray[Any], axes: str) -> None:
    """Each crop is what the whole has there."""
    order = [axes.index(a) for a in "TCZYXS" if a in axes]
    missing = [i for i, a in enumerate("TCZYXS") if a not in axes]
    full = np.expand_dims(whole.transpose(order), missing)
    for take in preview.takes:
        for crop, pixels in zip(preview.crops, take.pixels, strict=True):
            box = crop.box
            expected = full[crop.plane][box.y0 : box.y1, box.x0 : box.x1]
            np.testing.assert_array_equal(pixels, expected, err_msg=str(crop), strict=True)


@pytest.mark.parametrize("case", CASES)
def test_crops_are_those_of_a_run(case: str) -> None:
    make, axes, model, more = CASES[case]
    image, options = make(), Options(model, **more)
    preview = preview_array(image, Wishes(BOXES), options, axes)
    assert_same(preview, restore_array(image, options, axes), axes)
    assert [crop.box for crop in preview.crops] == list(BOXES)
    assert preview.before[2].shape == (71, 77, preview.info.samples)


def test_crops_across_the_strips_of_a_tight_plan_are_those_of_a_run() -> None:
    image = np.tile(cells16(), (1, 5))
    options = Options(MONO, workers=1)
    source = ArraySource(image, array_info(image.shape, image.dtype, "YX"))
    wide = make_plan_of(source, options)
    tight = replace(wide, strips=_cut(wide, image.shape[1]), workers=2)
    job = make_job(source, None, MONO, tight, options)
    boxes = (Box(90, 480, 160, 1090), Box(0, 0, HEIGHT, image.shape[1]))
    found = restore_crops(job, crops_of(source.info, boxes), 1.0)
    whole = restore_array(image, options, "YX")
    for box, pixels in zip(boxes, found, strict=True):
        expected = whole[box.y0 : box.y1, box.x0 : box.x1]
        np.testing.assert_array_equal(pixels[..., 0], expected)


def make_plan_of(source: ArraySource, options: Options) -> Any:
    from unetmm.plan.memory import in_memory_storage, source_storage
    from unetmm.plan.outlook import plan_image

    storages = source_storage(source), in_memory_storage((512, 512))
    return plan_image(source.info, *storages, options.model, options)


def _cut(plan: Any, width: int) -> Any:
    from unetmm.geometry import split_axis

    return tuple(split_axis(width, 3, 512, plan.halo_px, MONO.config.stride_px))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (1, 70), (9, 5), (64, 63)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_tiny_images_too(shape: tuple[int, int], dtype: type) -> None:
    image = noisy(shape).clip(0, 255).astype(dtype)
    options = Options(MONO)
    whole = restore_array(image, options, "YX")
    inside = Box(shape[0] // 2, shape[1] // 2, *shape)
    for wishes in (Wishes(), Wishes([inside])):
        assert_same(preview_array(image, wishes, options, "YX"), whole, "YX")


def test_films_and_channels_too() -> None:
    image = noisy((90, 110, 3, 4)).astype(np.uint16).transpose(2, 3, 0, 1)
    options = Options(MONO)
    whole = restore_array(image, options, "TCYX")
    preview = preview_array(image, Wishes([Box(5, 6, 60, 70)]), options, "TCYX")
    assert [crop.plane for crop in preview.crops] == [(1, c, 0) for c in range(4)]
    assert_same(preview, whole, "TCYX")
    assert_same(preview_array(image, Wishes(), options, "TCYX"), whole, "TCYX")


def test_models_and_strengths_are_compared_and_each_is_exact(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "cells.tif", cells16())
    names, strengths = ("auto", "tiny-mono", "micrograph-tiny"), (1.0, 0.5)
    wishes = Wishes(BOXES[:3], names, strengths)
    preview = preview_file(tmp_path / "cells.tif", wishes, Options())
    made = [(take.model, take.strength) for take in preview.takes]
    asked = {preview.takes[0].model, *names[1:]}  # of which auto may be one
    assert sorted(made) == sorted((m, s) for m in asked for s in strengths)
    assert preview.takes[0].choice is not None and preview.noise
    for take in preview.takes:
        alone = replace(preview, takes=(take,))
        whole = restore_array(cells16(), Options(take.model, strength=take.strength), "YX")
        assert_same(alone, whole, "YX")


def test_crops_show_structure_noise_and_darkness() -> None:
    image = np.full((1500, 2000), 800.0)
    rng = np.random.default_rng(0)
    image[:700, :900] = 50
    image[800:, 1200:] += 300 * (np.indices((700, 800)).sum(0) // 25 % 2)
    image += rng.normal(0, 5, image.shape)
    image[:700, 1200:] += rng.normal(0, 80, (700, 800))
    info = array_info(image.shape, np.dtype(np.uint16), "YX")
    source = ArraySource(image.astype(np.uint16), info)
    found = {crop.reason: crop.box for crop in choose_crops(source)}
    assert found["darkest"].y0 < 700 and found["darkest"].x0 < 900
    assert found["most noise"].y0 < 700 and found["most noise"].x1 > 1200
    assert found["most structure"].y1 > 800 and found["most structure"].x1 > 1200
    assert all((box.height, box.width) == (CROP_PX, CROP_PX) for box in found.values())
    assert choose_crops(source) == choose_crops(source)


def test_empty_and_unmeasured_parts_are_not_shown() -> None:
    image = np.full((2000, 2000), np.nan, np.float32)
    image[1000:] = 0
    image[300:900, 400:1500] = noisy((600, 1100))
    image[::400, ::300] = 9.97e36
    source = ArraySource(image, array_info(image.shape, image.dtype, "YX"))
    crops = choose_crops(source)
    assert len(crops) >= 2
    for crop in crops:
        box = crop.box
        part = image[box.y0 : box.y1, box.x0 : box.x1]
        assert np.isfinite(part).mean() > 0.4 and np.nanmedian(part) > 100, crop


def test_a_blank_image_has_a_crop() -> None:
    for image in (np.zeros((600, 700), np.uint8), np.full((600, 700), np.nan, np.float32)):
        source = ArraySource(image, array_info(image.shape, image.dtype, "YX"))
        assert choose_crops(source)


def test_a_crop_outside_and_one_too_large_are_refused() -> None:
    info = array_info((80, 90), np.dtype(np.uint8), "YX")
    for box in (Box(0, 0, 81, 5), Box(-1, 0, 5, 5), Box(3, 90, 4, 91), Box(4, 4, 4, 9)):
        with pytest.raises(ImageError, match="90 px wide and 80 px high"):
            crops_of(info, [box])
    assert crops_of(info, [Box(0, 0, 80, 90)]) == [Crop((0, 0, 0), Box(0, 0, 80, 90))]
    large = np.broadcast_to(np.uint8(3), (2048, MOST_PX // 2048 + 1))
    with pytest.raises(ImageError, match="at most 2.1 Mpx"):
        preview_array(large, Wishes([Box(0, 0, *large.shape)]), Options(MONO), "YX")


def test_python_users_give_left_top_width_height() -> None:
    image = grey8()
    options = Options(MONO)
    preview = unetmm.preview(image, crops=[(17, 91, 30, 20)], strengths=(0.5, 1), options=options)
    assert [crop.box for crop in preview.crops] == [Box(91, 17, 111, 47)]
    assert repr(preview) == "<Preview of 1 crop: lively at 0.5, lively at 1>"
    with pytest.raises(ShapeError, match="left, top, width, height"):
        unetmm.preview(image, crops=[(1, 2, 3)], options=options)
    with pytest.raises(ImageError, match="give a NumPy or Dask array"):
        unetmm.preview([[1, 2]])


def test_nets_are_let_go_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    gone: list[str] = []
    monkeypatch.setattr(Loaded, "forget", lambda self, model, engine: gone.append(model.name))
    preview_array(grey8(), Wishes(BOXES[:1], [MONO]), Options(), "YX")
    assert gone == ["lively"]
