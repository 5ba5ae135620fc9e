"""Axes that nobody states: guessed, doubted or refused; and axes that names state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from helpers import lively_model
from numpy.typing import NDArray

import unetmm
from unetmm.errors import ImageError, ShapeError
from unetmm.io.axes import guess_axes
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.io.select import Selection
from unetmm.io.select_words import parse_axes
from unetmm.nets.config import NetConfig

MONO = lively_model(NetConfig(1, 1, 8, (1, 1), 1, (1, 1)))

STACKS = [
    ((30, 40), "YX"),
    ((30, 40, 3), "YXS"),
    ((64, 512, 512), "ZYX"),
    ((900, 512, 512), "ZYX"),
    ((2000, 256, 320), "ZYX"),
    ((64, 64, 64), "ZYX"),
    ((3, 256, 256), "ZYX"),
    ((5, 1, 1), "ZYX"),
    ((100, 2048, 60), "ZYX"),
    ((2, 30, 512, 512), "CZYX"),
    ((3, 3, 64, 64), "CZYX"),
    ((2, 3, 4, 20, 30), "TCZYX"),
]


@pytest.mark.parametrize(("shape", "axes"), STACKS)
def test_stacks_are_guessed_without_a_word(shape: tuple[int, ...], axes: str) -> None:
    guess = guess_axes(shape)
    assert (guess.axes, guess.doubt) == (axes, "")


REFUSED = [
    ((256, 256, 5), "YXC", "ZYX"),
    ((256, 200, 1), "YXC", "ZYX"),
    ((256, 200, 2), "YXC", "ZYX"),
    ((500, 400, 120), "YXC", "ZYX"),
    ((610, 340, 103), "YXC", "ZYX"),
    ((8, 100, 120, 3), "ZYXS", "CZYX"),
    ((8, 100, 120, 6), "ZYXC", "CZYX"),
    ((2, 8, 100, 120, 5), "TZYXC", "TCZYX"),
]


@pytest.mark.parametrize(("shape", "last", "stack"), REFUSED)
def test_channels_last_are_refused_with_both_remedies(
    shape: tuple[int, ...], last: str, stack: str
) -> None:
    for ask in (
        lambda: unetmm.make_plan(shape, np.uint8),
        lambda: unetmm.restore(np.zeros(shape, np.uint8)),
        lambda: unetmm.restore(da.zeros(shape, dtype=np.uint8)),
    ):
        with pytest.raises(ShapeError) as caught:
            ask()
        text = str(caught.value)
        assert f"shape {shape}" in text and "\n" not in text
        assert f'give axes="{last}"' in text and f'axes="{stack}"' in text
    assert unetmm.make_plan(shape, np.uint8, axes=stack) is not None


@pytest.mark.parametrize(
    ("shape", "hint"),
    [((145, 145, 200), "YXC"), ((500, 400, 180), "YXC"), ((20, 3, 64, 64), "ZCYX")],
)
def test_doubtful_shapes_are_guessed_with_a_word(
    shape: tuple[int, ...], hint: str, caplog: pytest.LogCaptureFixture
) -> None:
    unetmm.make_plan(shape, np.uint8, mem_budget="2GB")
    (line,) = caplog.messages
    assert f"shape {shape} is taken for" in line and f'axes="{hint}"' in line


@pytest.mark.parametrize(
    ("axes", "order"), [("YXC", (1, 2, 0)), ("XCY", (2, 0, 1)), ("yxz", (1, 2, 0))]
)
def test_any_order_of_axes_gives_the_same_planes(axes: str, order: tuple[int, ...]) -> None:
    planes = np.random.default_rng(0).integers(0, 256, (5, 60, 70), np.uint8)
    expected = unetmm.restore(planes, model=MONO, axes="ZYX" if "z" in axes else "CYX")
    mixed = planes.transpose(order)
    found = unetmm.restore(mixed, model=MONO, axes=axes)
    assert found.shape == mixed.shape
    np.testing.assert_array_equal(found, expected.transpose(order))
    lazy = unetmm.restore(da.from_array(mixed, chunks=32), model=MONO, axes=axes)
    assert lazy.shape == mixed.shape
    np.testing.assert_array_equal(lazy.compute(), found)


def test_stated_axes_make_the_plan_of_those_planes() -> None:
    last = unetmm.make_plan((300, 200, 5), np.uint8, MONO, "2GB", axes="YXC")
    first = unetmm.make_plan((5, 300, 200), np.uint8, MONO, "2GB", axes="CYX")
    assert last.as_dict() == first.as_dict()


def planes_of(path: Path, selection: Selection | None = None) -> dict[Any, NDArray[Any]]:
    source = open_source(path, selection)
    box = Box(3, 4, source.info.height - 2, source.info.width - 1)
    found = {plane: source.read(plane, box)[..., 0] for plane in source.info.planes}
    source.close()
    return found


@pytest.mark.parametrize("dtype", ["u1", ">u2", "f4"])
def test_npy_takes_axes_and_is_refused_without(tmp_path: Path, dtype: str) -> None:
    pixels = (np.random.default_rng(1).random((40, 50, 6)) * 200).astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    with pytest.raises(ImageError, match=r"a\.npy: shape .* give --axes YXC or, for a stack"):
        open_source(tmp_path / "a.npy")
    source = open_source(tmp_path / "a.npy", Selection(axes="YXC"))
    assert (source.info.axes, source.info.shape) == ("YXC", (40, 50, 6))
    assert source.read_bytes(10, 20) == 20 * pixels[0, 0].nbytes
    source.close()
    for (_, c, _), found in planes_of(tmp_path / "a.npy", Selection(axes="YXC")).items():
        np.testing.assert_array_equal(found, pixels[3:38, 4:49, c])


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_four_samples_of_a_file_are_said(
    tmp_path: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "a.npy", np.zeros((40, 50, 4), dtype))
    zarr.save_array(tmp_path / "a.zarr", np.zeros((40, 50, 4), dtype))
    assert open_source(tmp_path / "a.npy").info.alpha
    assert open_source(tmp_path / "a.zarr").info.alpha == (dtype == "uint8")
    assert len(caplog.messages) == 2 and all("--axes YX" in line for line in caplog.messages)


def test_npy_planes_follow_the_stated_order(tmp_path: Path) -> None:
    pixels = (np.random.default_rng(1).random((3, 2, 20, 30)) * 200).astype("u1")
    np.save(tmp_path / "a.npy", pixels)
    for (_, c, z), found in planes_of(tmp_path / "a.npy", Selection(axes="ZCYX")).items():
        np.testing.assert_array_equal(found, pixels[z, c, 3:18, 4:29])
    np.save(tmp_path / "b.npy", pixels.transpose(0, 2, 3, 1).copy())
    for (_, c, z), found in planes_of(tmp_path / "b.npy", Selection(axes="ZYXC")).items():
        np.testing.assert_array_equal(found, pixels[z, c, 3:18, 4:29])
    with pytest.raises(ImageError, match="rows and columns have to be followed"):
        open_source(tmp_path / "a.npy", Selection(axes="YXZC"))
    with pytest.raises(ImageError, match="do not fit shape"):
        open_source(tmp_path / "a.npy", Selection(axes="YXC"))


def test_guessed_axes_are_stated(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((4, 20, 30), np.uint8))
    assert open_source(tmp_path / "a.npy").info.metadata.reading.guessed_axes == "ZYX"
    stated = open_source(tmp_path / "a.npy", Selection(axes="TYX"))
    assert not stated.info.metadata.reading.guessed_axes
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 20, 30), np.uint8), metadata=None)
    assert open_source(tmp_path / "a.tif").info.metadata.reading.guessed_axes == "Z"
    named = {"axes": "TYX"}
    tifffile.imwrite(tmp_path / "b.tif", np.zeros((6, 20, 30), np.uint8), metadata=named)
    assert not open_source(tmp_path / "b.tif").info.metadata.reading.guessed_axes


def test_pages_that_look_like_rows_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((60, 50, 6), np.uint8), photometric="minisblack")
    open_source(tmp_path / "a.tif")
    (line,) = caplog.messages
    assert "60 pages of 50 x 6 px" in line


NAMED = [
    (("y", "x", "band"), (40, 50, 6), "YXC"),
    (("time", "band", "y", "x"), (3, 2, 40, 50), "TCYX"),
    (("time", "level", "lat", "lon"), (3, 2, 40, 50), "TZYX"),
    (("wavelength", "row", "col"), (6, 40, 50), "CYX"),
    (("z", "y", "x", "c"), (3, 40, 50, 2), "ZYXC"),
    (("y", "x", "rgb"), (40, 50, 3), "YXS"),
    (("polarisation", "y", "x"), (2, 40, 50), "ZYX"),
]


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize(("names", "shape", "axes"), NAMED)
def test_bare_zarr_is_read_by_its_dimension_names(
    tmp_path: Path, version: Any, names: tuple[str, ...], shape: tuple[int, ...], axes: str
) -> None:
    pixels = (np.random.default_rng(2).random(shape) * 200).astype("u1")
    own = {"dimension_names": names} if version == 3 else {}
    array = zarr.create_array(
        tmp_path / "a.zarr", shape=shape, dtype="u1", chunks=shape, zarr_format=version, **own
    )
    if version == 2:
        array.attrs["_ARRAY_DIMENSIONS"] = list(names)
    array[...] = pixels
    source = open_source(tmp_path / "a.zarr")
    assert (source.info.axes, source.info.shape) == (axes, shape)
    assert not source.info.metadata.reading.guessed_axes
    order = [axes.index(a) for a in "TCZYXS" if a in axes]
    view = pixels.transpose(order)[tuple(slice(None) if a in axes else None for a in "TCZYXS")]
    for plane in source.info.planes:
        np.testing.assert_array_equal(
            source.read(plane, Box(1, 2, 30, 45)), view[plane][1:30, 2:45]
        )


def test_bare_zarr_without_names_is_refused_and_takes_axes(tmp_path: Path) -> None:
    pixels = (np.random.default_rng(2).random((40, 50, 6)) * 200).astype("u1")
    for name, given in (("a", None), ("b", ("dim_0", "dim_1", "dim_2"))):
        path = tmp_path / f"{name}.zarr"
        zarr.create_array(
            path, shape=pixels.shape, dtype="u1", chunks=(20, 20, 6), dimension_names=given
        )[...] = pixels
        with pytest.raises(ImageError, match="give --axes YXC or, for a stack, --axes ZYX"):
            open_source(path)
        for (_, c, _), found in planes_of(path, Selection(axes="YXC")).items():
            np.testing.assert_array_equal(found, pixels[3:38, 4:49, c])
        with pytest.raises(ImageError, match="do not fit shape"):
            open_source(path, Selection(axes="YX"))


def test_axes_of_a_file_that_states_its_own_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((6, 20, 30), np.uint8))
    with pytest.raises(ImageError, match="says itself which axes it has; leave axes ZYX out"):
        open_source(tmp_path / "a.tif", Selection(axes="ZYX"))


@pytest.mark.parametrize("text", ["", "YXY", "CZ", "YXQ"])
def test_axes_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ShapeError, match="names no axes; write letters of TCZYXS"):
        parse_axes(text)
    assert parse_axes(" yxc ") == "YXC"


def test_a_file_is_restored_by_the_axes_that_python_states(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 70, 5), np.uint8)
    np.save(tmp_path / "a.npy", pixels)
    unetmm.restore(tmp_path / "a.npy", MONO, output=tmp_path / "b.npy", axes="YXC")
    expected = unetmm.restore(pixels, MONO, axes="YXC")
    np.testing.assert_array_equal(np.load(tmp_path / "b.npy"), expected.transpose(2, 0, 1))
