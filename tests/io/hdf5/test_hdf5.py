"""HDF5 files are read by path, axes and all, and nothing outside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from helpers import plane_of
from numpy.typing import NDArray

import unetmm
from unetmm.errors import ImageError, MissingPackageError
from unetmm.io.open import count_images, open_source
from unetmm.io.select import Selection

STACK = np.random.default_rng(0).integers(0, 4000, (3, 70, 90)).astype(np.uint16)


def write(path: Path, name: str, values: NDArray[Any], **more: Any) -> Any:
    with h5py.File(path, "a") as file:
        array = file.create_dataset(name, data=values, **more.pop("stored", {}))
        array.attrs.update(more)
    return path


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("order", ["ZYX", "XYZ", "YXZ"])
def test_an_array_of_any_order_is_read(tmp_path: Path, packed: bool, order: str) -> None:
    values = STACK.transpose(["ZYX".index(axis) for axis in order])
    chunks = tuple({"Z": 2, "Y": 16, "X": 32}[axis] for axis in order)
    stored = {"chunks": chunks, "compression": "gzip"} if packed else {}
    tags = json.dumps({"axes": [{"key": axis.lower()} for axis in order]})
    path = write(tmp_path / "scan.h5", "a/b", values, stored=stored, axistags=tags)
    source = open_source(path)
    assert (source.info.axes, source.info.shape) == ("ZYX", STACK.shape)
    for z in range(3):
        assert np.array_equal(plane_of(source, (0, 0, z))[..., 0], STACK[z])
    source.close()


def test_an_array_is_named_by_its_path_or_number(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(tmp_path / "scan.h5", "raw/left", STACK[:, :50])
    write(path, "raw/right", STACK, element_size_um=[0.5, 0.25, 0.25])
    write(path, "table", np.arange(5))
    assert count_images(path) == 2
    assert open_source(path).info.shape == STACK.shape  # the largest
    assert "raw/left" in caplog.text
    by_path = open_source(path / "raw" / "left")
    assert by_path.info.shape == (3, 50, 90)
    assert open_source(path, Selection(series=0)).info.shape == (3, 50, 90)
    right = open_source(path / "raw/right").info
    assert right.pixel_size["X"] == (0.25, "micrometer")
    for wrong, words in ((path / "raw/none", "raw/left"), (path / "table", "raw/right")):
        with pytest.raises(ImageError, match=words):
            open_source(wrong)
    with pytest.raises(ImageError, match="array 7 was asked for"):
        open_source(path, Selection(series=7))


def test_axes_are_stated_where_nobody_names_them(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", "a", STACK)
    assert open_source(path).info.metadata.reading.guessed_axes == "ZYX"
    assert open_source(path, Selection(axes="CYX")).info.axes == "CYX"
    with pytest.raises(ImageError, match="do not fit"):
        open_source(path, Selection(axes="TCYX"))


def test_netcdf_names_its_axes_and_what_is_not_measured(tmp_path: Path) -> None:
    path = tmp_path / "sea.nc"
    with h5py.File(path, "w") as file:
        for name, length in (("band", 3), ("lat", 70), ("lon", 90)):
            file.create_dataset(name, data=np.arange(float(length))).make_scale(name)
        array = file.create_dataset("sst", data=STACK.astype(np.float32))
        for i, name in enumerate(("band", "lat", "lon")):
            array.dims[i].attach_scale(file[name])
        array.attrs["_FillValue"] = np.float32(-9999)
        array.attrs["scale_factor"] = 0.1
    info = open_source(path).info
    assert (info.axes, info.nodata.values) == ("CYX", (-9999.0,))
    assert "scale_factor" in info.metadata.reading.left_out[0]


def test_imaris_is_one_image_of_its_own_size(tmp_path: Path) -> None:
    path = tmp_path / "cells.ims"

    def text(words: str) -> NDArray[Any]:
        return np.array([letter.encode() for letter in words], "S1")

    with h5py.File(path, "w") as file:
        about = file.create_group("DataSetInfo/Image").attrs
        for i, (axis, length) in enumerate((("X", 90), ("Y", 70), ("Z", 3))):
            about[axis] = text(str(length))
            about[f"ExtMin{i}"], about[f"ExtMax{i}"] = text("1"), text(str(1 + length * 0.5))
        for c, name in enumerate(("DAPI", "GFP")):
            seen = file.create_group(f"DataSetInfo/Channel {c}").attrs
            seen["Name"], seen["Color"] = text(name), text(f"{c}.0 0.5 1")
            for t in range(2):
                padded = np.zeros((4, 96, 128), np.uint16)
                padded[:3, :70, :90] = STACK + 10 * c + t
                name = f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel {c}/Data"
                file.create_dataset(name, data=padded, chunks=(2, 32, 64), compression="gzip")
    source = open_source(path)
    info = source.info
    assert (info.axes, info.shape) == ("TCZYX", (2, 2, 3, 70, 90))
    assert info.channel_names == ("DAPI", "GFP")
    assert info.metadata.microscopy.channel_colors == ("#0080ff", "#ff80ff")
    unetmm.restore(path, "tiny-mono", output=tmp_path / "out.ome.zarr")
    kept = open_source(tmp_path / "out.ome.zarr").info.metadata.microscopy
    assert [one["color"] for one in kept.omero["channels"]] == ["0080FF", "FF80FF"]
    assert info.pixel_size["Y"] == (0.5, "micrometer")
    assert np.array_equal(plane_of(source, (1, 1, 2))[..., 0], STACK[2] + 11)


def test_nothing_outside_the_file_is_read(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.h5", "a", STACK)
    (tmp_path / "raw.bin").write_bytes(STACK.tobytes())
    path = write(tmp_path / "scan.h5", "own", STACK[:2])
    with h5py.File(path, "a") as file:
        file["link"] = h5py.ExternalLink(str(secret), "a")
        file["soft"] = h5py.SoftLink("/own")
        file["out"] = h5py.SoftLink("link")
        file["round"] = h5py.SoftLink("round")
        layout = h5py.VirtualLayout(STACK.shape, STACK.dtype)
        layout[:] = h5py.VirtualSource(str(secret), "a", STACK.shape)
        file.create_virtual_dataset("virtual", layout)
        outside = [(str(tmp_path / "raw.bin"), 0, STACK.nbytes)]
        file.create_dataset("outside", STACK.shape, STACK.dtype, external=outside)
    with pytest.raises(ImageError, match="link to another file, which is not read"):
        open_source(path / "link")
    assert open_source(path / "soft").info.shape == (2, 70, 90)
    for name, words in (("out", "another file"), ("round", "no array of that name")):
        with pytest.raises(ImageError, match=words):
            open_source(path / name)
    for name in ("virtual", "outside"):
        with pytest.raises(ImageError, match="lie in other files"):
            open_source(path / name)
    assert open_source(path / "own").info.shape == (2, 70, 90)


def test_imaris_reads_nothing_outside_its_file_and_keeps_one_cache(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.h5", "Data", STACK)
    path = tmp_path / "cells.ims"
    with h5py.File(path, "w") as file:
        about = file.create_group("DataSetInfo/Image").attrs
        about["Unit"], about["ExtMin0"], about["ExtMax0"] = "mm", "0", "9"
        for t in range(9):
            file.create_dataset(
                f"DataSet/ResolutionLevel 0/TimePoint {t}/Channel 0/Data", data=STACK
            )
    source = open_source(path)
    assert source.info.pixel_size["X"] == (0.1, "millimeter")
    assert source.resident_bytes < 40 * 2**20  # for any number of times
    assert np.array_equal(plane_of(source, (8, 0, 1))[..., 0], STACK[1])
    source.close()
    with pytest.raises(ImageError, match="says itself which axes"):
        open_source(path, Selection(axes="TZYX"))
    with h5py.File(path, "a") as file:
        group = file["DataSet/ResolutionLevel 0/TimePoint 1/Channel 0"]
        del group["Data"]
        group["Data"] = h5py.ExternalLink(str(secret), "Data")
    with pytest.raises(ImageError, match="one is missing"):
        open_source(path)


def test_what_is_no_image_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "scan.h5", "a", STACK)
    cut = tmp_path / "cut.h5"
    cut.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ImageError, match="cannot read it as HDF5"):
        open_source(cut)
    empty = write(tmp_path / "empty.h5", "words", np.arange(3))
    with pytest.raises(ImageError, match="no array of rows and columns: words has 1 axis"):
        open_source(empty)
    wide = write(tmp_path / "wide.h5", "a", STACK.astype(np.int64))
    with pytest.raises(ImageError, match="int64"):
        open_source(wide)
    monkeypatch.setattr("unetmm.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"unetmm\[hdf5\]"):
        open_source(path)


def test_an_array_in_a_file_is_restored_and_its_run_known_again(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", "raw/left", STACK[:1])
    write(path, "raw/right", STACK[1:2])
    out = tmp_path / "out.ome.zarr"
    unetmm.restore(str(path / "raw/left"), "tiny-mono", output=str(out))
    restored = plane_of(open_source(out), (0, 0, 0))[..., 0]
    assert np.array_equal(restored, unetmm.restore(STACK[0], "tiny-mono"))
    with pytest.raises(unetmm.UnetmmError):  # another array of the same file is another input
        unetmm.restore(str(path / "raw/right"), "tiny-mono", output=str(out))


NO_IMAGES = [
    ("truth", STACK > 9, "truth holds true and false; save it as uint8"),
    ("waves", STACK * 1j, "waves holds complex numbers"),
    ("six", STACK[None, None, None], "six has 6 axes, an image has 2 to 5"),
    ("line", STACK[0, 0], "line has 1 axis"),
    ("nothing", STACK[:0], "nothing is empty"),
    ("records", np.zeros((4, 5), [("a", "u2")]), "records is a table of records"),
    ("words", np.full((4, 5), b"x"), "words holds texts"),
]


@pytest.mark.parametrize(("name", "values", "words"), NO_IMAGES)
def test_what_is_no_image_is_said(
    tmp_path: Path, name: str, values: NDArray[Any], words: str
) -> None:
    path = write(tmp_path / "scan.h5", f"all/{name}", values)
    for place in (path, path / "all", path / "all" / name):
        with pytest.raises(ImageError, match=f"no array of rows and columns: all/{words}"):
            open_source(place)
    with h5py.File(tmp_path / "void.h5", "w") as file:
        file.create_group("a")
    for place in (tmp_path / "void.h5", tmp_path / "void.h5/a"):
        with pytest.raises(ImageError, match="holds no arrays"):
            open_source(place)


def test_coordinates_of_points_are_no_image_beside_one(tmp_path: Path) -> None:
    points = np.random.default_rng(0).random((40, 3))
    path = write(tmp_path / "scan.h5", "a_points", points)
    assert open_source(path).info.shape == (40, 3), "where there is nothing else"
    write(path, "image", STACK)
    write(path, "names", np.arange(5))
    assert count_images(path) == 1
    info = open_source(path, Selection(series=0)).info
    assert info.shape == STACK.shape
    assert info.metadata.reading.left_out == ("2 further arrays (a_points, names)",)
    assert open_source(path / "a_points").info.shape == (40, 3)


def test_places_of_pixels_are_no_image_beside_one(tmp_path: Path) -> None:
    path = tmp_path / "swath.nc"
    for name, unit in (("lat", "degrees_north"), ("lon", b"degrees_east"), ("radiance", "W")):
        write(path, name, STACK[0].astype(np.float32), units=unit)
    info = open_source(path).info
    assert "2 further arrays (lat, lon)" in info.metadata.reading.left_out
    assert open_source(path / "lat").info.shape == (70, 90)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_four_samples_that_nobody_names_are_said(
    tmp_path: Path, dtype: str, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.random.default_rng(0).integers(0, 200, (40, 50, 4)).astype(dtype)
    path = write(tmp_path / "scan.h5", "a", values)
    info = open_source(path).info
    (line,) = caplog.messages
    if dtype == "uint8":
        assert info.alpha and info.axes == "YXS" and "opacity, which is left as it is" in line
    else:
        assert not info.alpha and info.shape == (4, 40, 50) and "--axes YXS" in line
    caplog.clear()
    for axes, alpha in (("YXS", True), ("YXC", False)):
        assert open_source(path, Selection(axes=axes)).info.alpha == alpha
    assert not caplog.messages
    tags = json.dumps({"axes": [{"key": axis} for axis in "yxc"]})
    named = write(tmp_path / "named.h5", "a", values, axistags=tags)
    assert open_source(named).info.axes == "CYX" and not caplog.messages


def write_grid(path: Path, x: Any, y: Any, **more: Any) -> Path:
    with h5py.File(path, "w") as file:
        units = more.pop("units", ("degrees_north", "degrees_east"))
        file["time"], file["lat"], file["lon"] = np.arange(3.0), y, x
        for name, unit in zip(("lat", "lon"), units, strict=True):
            file[name].attrs["units"] = unit
        array = file.create_dataset("t2m", data=STACK)
        for i, name in enumerate(("time", "lat", "lon")):
            file[name].make_scale()
            array.dims[i].attach_scale(file[name])
        if "wkt" in more:
            file["crs"] = 0
            file["crs"].attrs["crs_wkt"] = more["wkt"]
            array.attrs["grid_mapping"] = "crs"
    return path


def test_evenly_spaced_coordinates_are_a_place_on_earth(tmp_path: Path) -> None:
    x, y = 5 + 0.25 * np.arange(90), 60 - 0.5 * np.arange(70)
    info = open_source(write_grid(tmp_path / "a.nc", x, y)).info
    assert info.metadata.geo.crs == "EPSG:4326"
    assert info.metadata.geo.transform == (4.875, 0.25, 0.0, 60.25, 0.0, -0.5)
    assert info.metadata.reading.left_out == ("coordinates (time)",)
    wkt = 'PROJCS["x",AUTHORITY["EPSG","32633"]]'
    metres = write_grid(tmp_path / "b.nc", x * 1e5, y * 1e5, units=("m", "m"), wkt=wkt)
    assert open_source(metres).info.metadata.geo.crs == "EPSG:32633"
    uneven = open_source(write_grid(tmp_path / "c.nc", x**2, y)).info
    unknown = open_source(write_grid(tmp_path / "d.nc", x, y, units=("m", "m"))).info
    for lost in (uneven, unknown):
        assert not lost.metadata.geo.transform
        assert lost.metadata.reading.left_out == ("coordinates (time, lat, lon)",)
    unetmm.restore(tmp_path / "a.nc", "tiny-mono", output=tmp_path / "a.geo.zarr")
    kept = open_source(tmp_path / "a.geo.zarr").info.metadata.geo
    assert (kept.crs, kept.transform) == (info.metadata.geo.crs, info.metadata.geo.transform)


def test_axes_that_nobody_names_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    path = write(tmp_path / "scan.h5", "a", STACK)
    open_source(path)
    assert "shape (3, 70, 90) is taken for Z, Y, X; --axes names others" in caplog.text
    caplog.clear()
    open_source(path, Selection(axes="TYX"))
    open_source(write(tmp_path / "flat.h5", "a", STACK[0]))
    assert not caplog.messages
