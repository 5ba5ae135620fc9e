"""Whole restorations: the answer is the reference's, whatever the cut, dtype, axes or container."""

from __future__ import annotations

from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
from helpers import SMALL_UNETMM, assert_close, lively_model, lively_net, reference

import unetmm
from unetmm.errors import BudgetError, ImageError, ShapeError
from unetmm.file_run import restore_file
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.pipeline import restore_array

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
        from unetmm.io import Box, open_source

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

    from unetmm.run import Cancelled

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


def test_impossible_requests_are_refused_with_numbers() -> None:
    with pytest.raises(BudgetError, match="give at least"):
        unetmm.restore(colour_image(), model=COLOUR_MODEL, mem_budget="64MB")
    with pytest.raises(ShapeError, match="2 to 5 axes, found shape"):
        unetmm.restore(np.zeros(5, np.uint8), model=MONO_MODEL)
    with pytest.raises(ShapeError, match="complex64 cannot be restored"):
        unetmm.restore(np.zeros((5, 5), np.complex64), model=MONO_MODEL)
    with pytest.raises(ImageError, match="cannot restore a list"):
        unetmm.restore([[1, 2]], model=MONO_MODEL)
    with pytest.raises(ImageError, match="give output=PATH"):
        unetmm.restore("image.tif")
