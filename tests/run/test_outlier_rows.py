"""Hot pixels and columns in a run: no blob, the same bytes for every cut, and counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
from helpers import SMALL_UNETMM, lively_model

import unetmm
from unetmm.errors import BudgetError, ShapeError
from unetmm.io.array import ArraySource, array_info
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.provenance.facts import UNSAID
from unetmm.run.job import compile_and_calibrate
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file

MONO = lively_model(NetConfig(1, 1, 8, (1, 1), 1, (1, 1)))
COLOUR = lively_model(SMALL_UNETMM)


def field(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    """Photon noise on a smooth scene of 100 to 180 counts."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    scene = 140 + 40 * np.sin(y / 20) * np.cos(x / 30)
    scene = scene.reshape(*scene.shape, *[1] * (len(shape) - 2))
    return np.random.default_rng(0).poisson(scene, shape).astype(dtype)


def sprinkled(pixels: np.ndarray, value: float, share: float = 0.003) -> np.ndarray:
    """The same with outliers everywhere, so that some lie at every seam, and a hot column."""
    hot = pixels.copy()
    hot[np.random.default_rng(1).random(pixels.shape) < share] = value
    hot[0, 0] = hot[-1, -1] = hot[0, 7] = hot[9, -1] = value
    hot[:, 61] = value
    return hot


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("outliers", ["keep", "replace"])
def test_no_cut_changes_a_bit(dtype: str, outliers: Any) -> None:
    """With bright cells in the image too, which are read by themselves."""
    image = sprinkled(field((150, 2600), dtype), 255 if dtype == "uint8" else 9000)
    if dtype != "uint8":
        image[60:90, 1000:1040] += 3000
    options = Options(MONO, 2 * 10**9, workers=1, outliers=outliers)
    whole = restore_array(image, options)
    with pytest.raises(BudgetError) as caught:
        restore_array(image, replace(options, budget_bytes=1))
    least = caught.value.needed_bytes + 10**6
    for workers in (1, 3):
        cut = restore_array(image, replace(options, budget_bytes=least, workers=workers))
        np.testing.assert_array_equal(cut, whole)
    lazy = unetmm.restore(da.from_array(image, chunks=(64, 512)), MONO, least, outliers=outliers)
    np.testing.assert_array_equal(lazy.compute(scheduler="synchronous"), whole)


def test_colours_and_holes_are_the_same_for_every_cut() -> None:
    image = sprinkled(field((140, 2000, 3), "float32"), 9000)
    image[40:60, 500:540] = np.nan
    image[100:, 1010] = np.nan
    options = Options(COLOUR, 2 * 10**9, workers=1)
    whole = restore_array(image, options)
    with pytest.raises(BudgetError) as caught:
        restore_array(image, replace(options, budget_bytes=1))
    budget = caught.value.needed_bytes + 10**6
    cut = restore_array(image, replace(options, budget_bytes=budget, workers=2))
    np.testing.assert_array_equal(cut, whole)


def test_torch_operations_see_the_same_stand_ins() -> None:
    clean = field((90, 120))
    hot = sprinkled(clean, 60000)
    ours, theirs = (unetmm.restore(hot, MONO, device=d) for d in ("cpu", "torch"))
    assert np.abs(ours.astype(int) - theirs).max() <= 1


@pytest.mark.parametrize("value", [1000, 65535])
def test_there_is_no_blob_around_a_hot_pixel(value: int) -> None:
    clean = field((200, 200))
    hot = clean.copy()
    places = np.zeros(clean.shape, bool)
    places[50, 60] = places[120, 120] = places[120, 121] = places[0, 100] = True
    hot[places] = value
    found, expected = (
        unetmm.restore(image, model="tiny-mono").astype(int) for image in (hot, clean)
    )
    assert (found[places] == value).all()
    assert np.abs(found - expected)[~places].max() < 12, "the noise of a pixel"
    blob = np.abs(unetmm.restore(hot, model="tiny-mono", outliers="none").astype(int) - expected)
    assert blob[~places].max() > 25


def statistics_of(image: np.ndarray, **more: Any) -> Any:
    info = array_info(image.shape, image.dtype, None)
    return compile_and_calibrate(ArraySource(image, info), MONO, Options(MONO, **more))[1]


def test_outliers_do_not_change_the_statistics() -> None:
    clean = field((256, 256))
    ours = statistics_of(clean).entries["0.0"]
    hot = sprinkled(clean, 3000)
    cleaned = statistics_of(hot).entries["0.0"]
    assert abs(cleaned.high - ours.high) < 3
    assert abs(cleaned.noise[0].deviation(150) - ours.noise[0].deviation(150)) < 1
    changes = [np.abs(cleaned.attention[n] - ours.attention[n]).max() for n in ours.attention]
    spoiled = statistics_of(hot, outliers="none").entries["0.0"]
    others = [np.abs(spoiled.attention[n] - ours.attention[n]).max() for n in ours.attention]
    assert max(changes) < max(others) / 4


def test_replace_gives_what_fits() -> None:
    clean = field((200, 200))
    hot = sprinkled(clean, 40000)
    found = unetmm.restore(hot, MONO, outliers="replace")
    kept = unetmm.restore(hot, MONO)
    places = hot != clean
    assert np.array_equal(kept[places], hot[places])
    assert np.array_equal(kept[~places], found[~places])
    assert np.abs(found[places] - 140.0).max() < 150


def test_one_hot_channel_leaves_the_others_alone() -> None:
    image = field((120, 130, 3), "uint8")
    image[40, 50, 1] = image[80, 20, 2] = 255
    found = unetmm.restore(image, COLOUR)
    assert found[40, 50, 1] == found[80, 20, 2] == 255
    assert (found[40, 50, [0, 2]] != image[40, 50, [0, 2]]).any()


def test_other_types_of_output_keep_outliers_too() -> None:
    image = field((90, 100), "float32")
    image[30, 40] = 7000.6
    assert unetmm.restore(image, MONO, dtype="uint16")[30, 40] == 7001
    assert unetmm.restore(image, MONO, dtype="uint8")[30, 40] == 255
    assert unetmm.restore(image, MONO)[30, 40] == np.float32(7000.6)


def test_without_outliers_the_bytes_are_those_without_a_search() -> None:
    for image in (
        field((150, 160)),
        field((90, 100, 3), "uint8"),
        field((90, 100)) / np.float32(3),
    ):
        model = COLOUR if image.ndim == 3 else MONO
        found = unetmm.restore(image, model)
        np.testing.assert_array_equal(found, unetmm.restore(image, model, outliers="none"))


def test_they_are_counted_said_and_a_fact(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    image = np.stack([field((520, 700))] * 2)
    image[:, 300, 200] = image[0, 511, 512] = 9000
    image[:, :, 650] = 9000
    np.save(tmp_path / "a.npy", image)
    expected = {"pixels": 3, "columns": 1, "rows": 0}
    for name, more in (("whole", {}), ("cut", {"workers": 1})):
        report = restore_file(
            tmp_path / "a.npy", tmp_path / f"{name}.ome.zarr", Options(MONO, **more)
        ).as_dict()
        assert report["outliers"] == {"choice": "keep", **expected}
    assert "3 isolated pixels and 1 column that no optics can make" in caplog.text
    assert "--outliers replace" in caplog.text
    none = Options(MONO, outliers="none")
    report = restore_file(tmp_path / "a.npy", tmp_path / "none.npy", none).as_dict()
    assert report["outliers"] == {"choice": "none", "pixels": 0, "columns": 0, "rows": 0}
    with pytest.raises(unetmm.UnetmmError, match="outliers keep, now it is none"):
        restore_file(tmp_path / "a.npy", tmp_path / "whole.ome.zarr", none)
    assert UNSAID["outliers"] == "keep"


def test_no_such_choice_is_refused() -> None:
    with pytest.raises(ShapeError, match="use one of keep, replace, none"):
        unetmm.restore(field((20, 20)), MONO, outliers="drop")  # type: ignore[arg-type]


def test_the_guard_does_not_mind_outliers(caplog: pytest.LogCaptureFixture) -> None:
    image = sprinkled(field((300, 300)), 60000, share=0.001)
    unetmm.restore(image, outliers="replace")
    unetmm.restore(image)
    assert "blocks of the output differ" not in caplog.text


def test_an_outlier_amid_bright_neighbours_is_replaced_all_the_same() -> None:
    """They look like a point source, which would keep its value."""
    image = np.random.default_rng(0).normal(200, 12, (256, 288))
    image[100, 100] = 20000
    for y, x in ((99, 100), (101, 100), (100, 99), (100, 101)):
        image[y, x] = 400
    found = unetmm.restore(np.rint(image).astype(np.uint16), outliers="replace")
    assert found[100, 100] < 500


def test_a_tiny_image_is_no_point_source() -> None:
    image = np.rint(np.random.default_rng(0).normal(200, 12, (8, 9))).astype(np.uint16)
    found = unetmm.restore(image)
    assert found.std() < 0.7 * image.std()
