"""Whole restorations: the answer is the reference's, whatever the cut, dtype, axes or container."""

from __future__ import annotations

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
import tifffile
from helpers import SMALL_UNETMM, assert_close, lively_model, lively_net, reference

import unetmm
from unetmm.calibrate.calibration import Calibration
from unetmm.errors import BudgetError, ImageError, ShapeError
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.run.of_array import restore_array
from unetmm.run.of_file import restore_file

MONO = NetConfig(1, 1, 8, (1, 1), 1, (1, 1))
COLOUR_MODEL, MONO_MODEL = lively_model(SMALL_UNETMM), lively_model(MONO)
WIDE = 2 * 10**9
"""A budget that never binds here."""


def colour_image(height: int = 150, width: int = 1600, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def narrowest(image: np.ndarray) -> int:
    """The smallest budget that will do for an image."""
    with pytest.raises(BudgetError) as caught:
        unetmm.make_plan(image.shape, image.dtype, COLOUR_MODEL, 1)
    return caught.value.needed_bytes


def test_small_colour_image_equals_the_public_net() -> None:
    image = colour_image(90, 75)
    expected = reference(lively_net(SMALL_UNETMM), image.astype(np.float32) / 255, None) * 255
    found = unetmm.restore(image, model=COLOUR_MODEL)
    assert found.dtype == np.uint8
    assert_close(found, np.clip(np.rint(expected), 0, 255), 1)
    assert (found != np.clip(np.rint(expected), 0, 255)).mean() < 1e-3


def test_budget_changes_the_cut_but_not_a_bit_of_the_answer() -> None:
    image = colour_image(70, 9000)
    least = narrowest(image)
    narrow = unetmm.make_plan(image.shape, image.dtype, COLOUR_MODEL, least)
    wide = unetmm.make_plan(image.shape, image.dtype, COLOUR_MODEL, WIDE)
    assert narrow.strip_width_px < wide.strip_width_px
    results = [
        restore_array(image, Options(COLOUR_MODEL, budget, workers=workers))
        for budget, workers in ((least, 1), (WIDE, 1), (WIDE, 2), (WIDE, 5))
    ]
    for other in results[1:]:
        assert np.array_equal(results[0], other)


@pytest.mark.parametrize(
    "dtype",
    ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"],
)
def test_dtype_and_scale_are_kept(dtype: str) -> None:
    rng = np.random.default_rng(4)
    image = (rng.random((40, 52)) * 100 + 20).astype(dtype)
    found = unetmm.restore(image, model=MONO_MODEL)
    assert found.dtype == image.dtype and found.shape == image.shape
    assert np.isfinite(found.astype(np.float64)).all()


def test_strength_zero_is_the_identity_bit_for_bit() -> None:
    for image in (colour_image(50, 60), colour_image(50, 60)[..., 0].astype(np.uint16) * 257):
        model = COLOUR_MODEL if image.ndim == 3 else MONO_MODEL
        assert np.array_equal(unetmm.restore(image, model=model, strength=0.0), image)


def test_nan_and_alpha_pass_through_untouched() -> None:
    image = np.random.default_rng(5).random((70, 80), np.float32)
    image[20:23, 30:40] = np.nan
    found = unetmm.restore(image, model=MONO_MODEL)
    assert np.array_equal(np.isnan(found), np.isnan(image))
    rgba = np.dstack([colour_image(40, 50), colour_image(40, 50, 9)[..., :1]])
    assert np.array_equal(unetmm.restore(rgba, model=COLOUR_MODEL)[..., 3], rgba[..., 3])


@pytest.mark.parametrize("dtype", ["u2", "i4", "f4", "f8"])
def test_byte_order_is_no_part_of_the_answer(dtype: str) -> None:
    image = (np.random.default_rng(8).random((40, 50)) * 4000).astype(dtype)
    found = unetmm.restore(image.astype(f">{dtype}"), model=MONO_MODEL)
    assert np.array_equal(found, unetmm.restore(image, model=MONO_MODEL))
    with pytest.raises(ShapeError, match="cannot be restored"):
        unetmm.restore(image.astype(">i8"), model=MONO_MODEL)


def test_the_plan_counts_the_tasks_whatever_pool_dask_has(monkeypatch: pytest.MonkeyPatch) -> None:
    from unetmm.run import scheduler

    alive, most, lock = [0], [0], threading.Lock()
    real = scheduler.run_task

    def counted(job: scheduler.Job, task: scheduler.Task) -> None:
        with lock:
            alive[0] += 1
            most[0] = max(most[0], alive[0])
        real(job, task)
        with lock:
            alive[0] -= 1

    monkeypatch.setattr(scheduler, "run_task", counted)
    monkeypatch.setattr(scheduler, "TASKS_AT_ONCE", 5)
    stack = np.random.default_rng(6).integers(0, 60000, (12, 30, 40)).astype(np.uint16)
    with ThreadPoolExecutor(6) as pool, dask.config.set(pool=pool):
        found = restore_array(stack, Options(MONO_MODEL, workers=1))
    assert most == [1]
    assert np.array_equal(found, unetmm.restore(stack, model=MONO_MODEL))


@pytest.mark.parametrize("shape", [(2, 30, 40), (2, 3, 30, 40), (2, 2, 3, 30, 40)])
def test_every_plane_is_restored(shape: tuple[int, ...]) -> None:
    stack = np.random.default_rng(6).integers(0, 60000, shape).astype(np.uint16)
    found = unetmm.restore(stack, model=MONO_MODEL)
    assert found.shape == shape
    changed = (found != stack).reshape(-1, 30 * 40).mean(axis=1)
    assert (changed > 0.5).all()


@pytest.mark.parametrize("chunks", [(40, 50, 3), (150, 1600, 3), (7, 1600, 1)])
def test_lazy_dask_array_gives_the_same_bits(chunks: tuple[int, ...]) -> None:
    image = colour_image()
    lazy = unetmm.restore(
        da.from_array(image, chunks=chunks), model=COLOUR_MODEL, mem_budget=narrowest(image)
    )
    assert isinstance(lazy, da.Array) and lazy.shape == image.shape and lazy.dtype == image.dtype
    eager = unetmm.restore(image, model=COLOUR_MODEL)
    assert np.array_equal(lazy.compute(scheduler="threads", num_workers=2), eager)
    assert np.array_equal(
        lazy[100:120, 700:900].compute(scheduler="synchronous"), eager[100:120, 700:900]
    )


def test_lazy_stack_keeps_its_axes() -> None:
    stack = np.random.default_rng(7).integers(0, 4000, (2, 3, 40, 30)).astype(np.uint16)
    lazy = unetmm.restore(da.from_array(stack, chunks=(1, 1, 40, 30)), model=MONO_MODEL)
    assert np.array_equal(
        lazy.compute(scheduler="synchronous"), unetmm.restore(stack, model=MONO_MODEL)
    )


def test_file_to_file_equals_array_to_array(tmp_path: Path) -> None:
    image = colour_image(130, 700)
    tifffile.imwrite(tmp_path / "in.tif", image, photometric="rgb", rowsperstrip=7)
    expected = unetmm.restore(image, model=COLOUR_MODEL)
    for name in ("out.tif", "out.png", "out.ome.zarr"):
        report = restore_file(tmp_path / "in.tif", tmp_path / name, Options(COLOUR_MODEL))
        assert report.as_dict()["output"] == str(tmp_path / name)
        from unetmm.io.image import Box
        from unetmm.io.open import open_source

        source = open_source(tmp_path / name)
        found = source.read((0, 0, 0), Box(0, 0, 130, 700))
        source.close()
        assert np.array_equal(found, expected), name


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    image = colour_image(300, 300)
    tifffile.imwrite(
        tmp_path / "in.tif", image, photometric="rgb", rowsperstrip=16, compression="zlib"
    )
    content = bytearray((tmp_path / "in.tif").read_bytes())
    middle = len(content) // 2
    content[middle : middle + 4000] = bytes(4000)
    (tmp_path / "in.tif").write_bytes(content)
    for name in ("out.tif", "out.ome.zarr"):
        with pytest.raises(ImageError):
            restore_file(tmp_path / "in.tif", tmp_path / name, Options(COLOUR_MODEL))
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


def test_stop_leaves_nothing_behind(tmp_path: Path) -> None:
    import threading

    from unetmm.run.job import Cancelled

    tifffile.imwrite(tmp_path / "in.tif", colour_image(300, 300), photometric="rgb")
    stop = threading.Event()
    stop.set()
    with pytest.raises(Cancelled):
        restore_file(tmp_path / "in.tif", tmp_path / "out.tif", Options(COLOUR_MODEL), stop=stop)
    assert [p.name for p in tmp_path.iterdir()] == ["in.tif"]


def test_progress_counts_every_pixel_once(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "in.tif", colour_image(300, 1100), photometric="rgb")
    seen = []
    restore_file(tmp_path / "in.tif", tmp_path / "out.tif", Options(COLOUR_MODEL), seen.append)
    assert seen[-1].done_px == seen[-1].total_px == 300 * 1100
    done = [p.done_px for p in seen if p.phase == "compute"]
    assert done == sorted(done)


def test_impossible_requests_are_refused_with_numbers(tmp_path: Path) -> None:
    with pytest.raises(BudgetError, match="give at least"):
        unetmm.restore(colour_image(), model=COLOUR_MODEL, mem_budget="64MB")
    with pytest.raises(ShapeError, match="2 to 5 axes, found shape"):
        unetmm.restore(np.zeros(5, np.uint8), model=MONO_MODEL)
    with pytest.raises(ShapeError, match="complex64 cannot be restored"):
        unetmm.restore(np.zeros((5, 5), np.complex64), model=MONO_MODEL)
    with pytest.raises(ImageError, match="cannot restore a list; give a NumPy or Dask"):
        unetmm.restore([[1, 2]], model=MONO_MODEL)
    with pytest.raises(ImageError, match="there is no such file"):
        unetmm.restore(tmp_path / "image.npy")
    np.save(tmp_path / "image.npy", grey_floats())
    with pytest.raises(ImageError, match="give output=PATH"):
        unetmm.restore(tmp_path / "image.npy")


def grey_floats(offset: float = 0.0) -> np.ndarray:
    return 100 + offset + np.random.default_rng(11).normal(0, 10, (90, 120))


@pytest.mark.parametrize("value", [1e300, -np.finfo(np.float64).max, np.inf])
def test_values_beyond_float32_stay_and_spoil_nothing(value: float) -> None:
    image, holed = grey_floats(), grey_floats()
    image[20:23, 30], holed[20:23, 30] = value, np.nan
    found, expected = (unetmm.restore(i, model=MONO_MODEL) for i in (image, holed))
    assert (found[20:23, 30] == value).all()
    found[20:23, 30] = np.nan
    assert np.array_equal(found, expected, equal_nan=True) and np.isfinite(expected).sum() == 10797


@pytest.mark.parametrize("kind", ["f4", "f8"])
@pytest.mark.parametrize("value", [1e30, -1e37, 0.0, 0.37])
def test_a_constant_image_of_any_size_has_a_range(kind: str, value: float) -> None:
    image = np.full((40, 50), value, kind)
    np.testing.assert_array_equal(unetmm.restore(image, model=MONO_MODEL), image)


@pytest.mark.parametrize("shape", [(1, 1), (33, 29), (700, 40)])
@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i4", "f2"])
def test_a_constant_image_comes_back_as_it_is(kind: str, shape: tuple[int, int]) -> None:
    image = np.full(shape, 7, kind)
    np.testing.assert_array_equal(unetmm.restore(image, model=MONO_MODEL), image)
    colours = np.broadcast_to(np.array([7, 20, 99], kind), (*shape, 3)).copy()
    np.testing.assert_array_equal(unetmm.restore(colours, model=COLOUR_MODEL), colours)
    stored = unetmm.restore(image, model=MONO_MODEL, dtype="float32")
    np.testing.assert_array_equal(stored, image.astype(np.float32))


def test_an_even_image_beside_holes_comes_back_and_others_are_restored(tmp_path: Path) -> None:
    image = np.full((60, 70), 0.37, np.float32)
    image[20:30, 10:30] = np.nan
    np.testing.assert_array_equal(unetmm.restore(image, model=MONO_MODEL), image)
    image[5, 5] = 0.4
    noisy = np.random.default_rng(0).normal(0.37, 0.01, image.shape).astype(np.float32)
    for other in (image, noisy):
        assert (unetmm.restore(other, model=MONO_MODEL, outliers="none") != other).mean() > 0.5


def test_a_calibration_keeps_what_is_even(tmp_path: Path) -> None:
    image = np.full((40, 50), 0.37, np.float32)
    tifffile.imwrite(tmp_path / "in.tif", image)
    options = Options(MONO_MODEL, WIDE)
    restore_file(tmp_path / "in.tif", tmp_path / "a.tif", options)
    again = replace(options, calibration=tmp_path / "a.tif")
    restore_file(tmp_path / "in.tif", tmp_path / "b.tif", again)
    for name in "ab":
        np.testing.assert_array_equal(tifffile.imread(tmp_path / f"{name}.tif"), image)


def test_small_differences_at_a_large_offset_are_seen() -> None:
    """float32 holds no digits of them beside 1e9."""
    near, far = (unetmm.restore(grey_floats(o), model=MONO_MODEL) for o in (0.0, 1e9))
    assert np.abs((far - 1e9) - near).max() < 1e-2


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "f4"])
def test_no_restored_pixel_becomes_nodata(kind: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(12)
    image = np.rint(rng.normal(100, 3, (200, 210))).astype(kind)
    image[:30, :40] = 100  # nodata, in the middle of the others' values
    tags = [(42113, "s", 4, "100", True)]
    tifffile.imwrite(tmp_path / "in.tif", image, extratags=tags)
    restore_file(tmp_path / "in.tif", tmp_path / "out.tif", Options(MONO_MODEL))
    found = tifffile.imread(tmp_path / "out.tif")
    assert (found != image).any()
    assert np.array_equal(found == 100, image == 100)


def test_statistics_of_another_model_are_refused(tmp_path: Path) -> None:
    image = colour_image(60, 70)
    np.save(tmp_path / "in.npy", image)
    one = restore_file(tmp_path / "in.npy", tmp_path / "out.npy", Options(COLOUR_MODEL))
    statistics = tmp_path / "one.json"
    statistics.write_text(one.calibration.to_json(), encoding="utf-8")
    other = replace(COLOUR_MODEL, name="other")
    message = "was made with model lively, this run uses other"
    with pytest.raises(ShapeError, match=message):
        unetmm.restore(image, model=other, calibration=str(statistics))
    with pytest.raises(ShapeError, match=message):
        restore_file(
            tmp_path / "in.npy", tmp_path / "o.npy", Options(other, calibration=one.calibration)
        )
    assert not (tmp_path / "o.npy").exists()
    again = unetmm.restore(image, model=COLOUR_MODEL, calibration=str(statistics))
    assert np.array_equal(again, np.load(tmp_path / "out.npy"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "a JSON object is expected, this is a list"),
        ('{"model": "m", "entries": {"0.0": {"low": 3, "high": 3, "fill": 3, "attention": {}}}}',
         "the range of 0.0 is 3 to 3"),
        ('{"model": "m", "entries": {"0.0": {"low": NaN, "high": 3, "fill": 3, "attention": {}}}}',
         "the range of 0.0 is nan to 3"),
    ],
)  # fmt: skip
def test_a_calibration_that_cannot_be_one_is_refused(content: str, message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Calibration.from_json(content)


@pytest.mark.parametrize(
    ("image", "given", "error", "message"),
    [
        (np.zeros((20, 20)), {"strength": float("nan")}, ShapeError, "asked for strength nan"),
        (np.zeros((20, 20)), {"strength": "a"}, ShapeError, "asked for strength 'a'"),
        (np.zeros((20, 20)), {"strength": 1.5}, ShapeError, "asked for strength 1.5"),
        (np.zeros((20, 20)), {"output": "x.tif"}, ImageError, "for an array is returned"),
        (np.zeros((20, 20)), {"mem_budget": 0}, BudgetError, "a budget of 0 bytes holds nothing"),
        (np.ma.masked_equal(np.zeros((20, 20)), 1), {}, ImageError, "the mask of a masked array"),
        (np.array(3, np.uint8), {}, ShapeError, "2 to 5 axes"),
        ("in.tif", {"output": "out.tif", "axes": "YX"}, ImageError, "leave axes='YX' out"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    image: Any, given: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=re.escape(message)):
        unetmm.restore(image, model=MONO_MODEL, **given)


def test_a_dask_array_of_unknown_shape_is_refused_by_name() -> None:
    rows = da.from_array(np.zeros((60, 50)), chunks=20)
    with pytest.raises(ShapeError, match="compute_chunk_sizes"):
        unetmm.restore(rows[rows[:, 0] >= 0], model=MONO_MODEL)
    with pytest.raises(ShapeError, match="compute_chunk_sizes"):
        unetmm.make_plan((float("nan"), 60), "uint8")
    with pytest.raises(ShapeError, match="make_plan: shape"):
        unetmm.make_plan((50, 60), "foo")


def test_more_cores_never_ask_for_a_larger_budget() -> None:
    """Where there is no room for all of them, fewer calibrate."""
    image = np.random.default_rng(3).integers(0, 256, (300, 400, 3), np.uint8)
    least = []
    for workers in (1, 2, 3, 16):
        with pytest.raises(BudgetError) as caught:
            restore_array(image, Options("tiny-rgb", 1, workers=workers))
        least.append(caught.value.needed_bytes)
    assert len(set(least)) == 1
    alone, many = (
        restore_array(image, Options("tiny-rgb", least[0], workers=workers)) for workers in (1, 16)
    )
    assert np.array_equal(alone, many)


@pytest.mark.parametrize("strength", [1, True, np.float32(0.5), np.int64(1)])
def test_strength_of_any_type_of_number_meets_kernels_that_are_compiled(strength: Any) -> None:
    assert type(Options(MONO_MODEL, strength=strength).strength) is float
