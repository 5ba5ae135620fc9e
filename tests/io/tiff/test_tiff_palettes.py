"""Palettes of TIFF: maps of measured values, grey ramps, photos, classes; and their outputs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import lively_model
from numpy.typing import NDArray
from tiff_files import values, whole

import unetmm
from unetmm.errors import ImageError
from unetmm.io.open import open_source
from unetmm.io.palette import is_plain_grey, unpack_map
from unetmm.io.select import Selection
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.run.of_file import restore_file

MONO = lively_model(NetConfig(1, 1, 8, (1, 1), 1, (1, 1)))
X = np.linspace(0, 1, 256)
HUE = np.stack([np.clip(abs((6 * X + t) % 6 - 3) - 1, 0, 1) for t in (0, 4, 2)])
CLASSES = np.zeros((3, 256))
CLASSES[:, [11, 21, 31, 41, 52, 71, 82, 95]] = np.random.default_rng(1).random((3, 8))
PHOTO = np.random.default_rng(2).random((3, 256))
WEB = np.stack(np.meshgrid(*[np.linspace(0, 1, 6)] * 3, indexing="ij")).reshape(3, 216)
IMAGEJ = {"description": "ImageJ=1.54f\nunit=micron\n"}
GEO = {"extratags": [(34735, 3, 8, (1, 1, 0, 1, 3072, 0, 1, 3857), True)]}
FEI = {"extratags": [(34682, 2, 0, "[User]\r\nDate=1/1/2026\r\n", True)]}
ZEISS = {"extratags": [(34118, 2, 0, "\r\nAP_PIXEL_SIZE\r\nImage Pixel Size = 1 nm\r\n", True)]}


def hilo() -> NDArray[Any]:
    ramp = np.stack([X] * 3)
    ramp[:, 0], ramp[:, -1] = (0, 0, 1), (1, 0, 0)
    return ramp


def table(colours: NDArray[Any], count: int = 256) -> NDArray[np.uint16]:
    """(3, count) of colours in 0..1, filled up with black."""
    full = np.zeros((3, count), np.uint16)
    full[:, : colours.shape[1]] = (colours * 65535).round()
    return full


def write(path: Path, colours: NDArray[Any], dtype: str = "uint8", **more: Any) -> NDArray[Any]:
    pixels = values((40, 50), dtype, 200 if dtype == "uint8" else 4000)
    count = 256**pixels.itemsize
    options: dict[str, Any] = {"metadata": None, "photometric": "palette"} | more
    tifffile.imwrite(path, pixels, colormap=table(colours, count), **options)
    return pixels


def ramp16() -> NDArray[Any]:
    x = np.linspace(0, 1, 65536)
    return np.stack([0 * x, x, 0 * x])


MEASURED = [
    ("grey ramp", np.stack([X] * 3), "uint8", {}),
    ("falling grey ramp", np.stack([1 - X] * 3), "uint8", {}),
    ("grey ramp with gamma", np.stack([X**0.45] * 3), "uint8", {}),
    ("grey ramp that ends early", np.stack([np.clip(2 * X, 0, 1)] * 3), "uint8", {}),
    ("green of no known software", np.stack([0 * X, X, 0 * X]), "uint8", {}),
    ("all hues", HUE, "uint8", {}),
    ("ends marked by colours", hilo(), "uint8", {}),
    ("green of 16 bits", ramp16(), "uint16", {}),
    ("random colours of 16 bits", np.random.default_rng(3).random((3, 65536)), "uint16", {}),
    ("any of ImageJ", PHOTO, "uint8", IMAGEJ),
    ("classes of ImageJ", CLASSES, "uint8", IMAGEJ),
    ("any of FEI", PHOTO, "uint8", FEI),
    ("any of Zeiss", PHOTO, "uint8", ZEISS),
]


@pytest.mark.parametrize(
    ("name", "colours", "dtype", "more"), MEASURED, ids=[m[0] for m in MEASURED]
)
def test_measured_values_are_read_with_a_word_and_their_map(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, colours: Any, dtype: str, more: Any
) -> None:
    pixels = write(tmp_path / "a.tif", colours, dtype, **more)
    with caplog.at_level(logging.INFO, "unetmm"):
        info = open_source(tmp_path / "a.tif").info
    (line,) = caplog.messages
    assert (info.axes, info.shape, info.dtype) == ("YX", (40, 50), np.dtype(dtype))
    assert info.metadata.display.palette == "values"
    (packed,) = info.metadata.display.colour_maps
    np.testing.assert_array_equal(unpack_map(packed).T, table(colours, 256**info.dtype.itemsize))
    np.testing.assert_array_equal(whole(tmp_path / "a.tif")[..., 0], pixels)
    assert "values" in line and "--palette colours" in line


COLOURS = [
    ("a photo's", PHOTO, "uint8", {}, False, logging.INFO),
    ("of the web", WEB, "uint8", {}, False, logging.INFO),
    ("of few classes", CLASSES, "uint8", {}, True, logging.WARNING),
    ("of 16-bit classes", CLASSES, "uint16", {}, True, logging.WARNING),
    ("of a map", PHOTO, "uint8", GEO, True, logging.WARNING),
]


@pytest.mark.parametrize(
    ("name", "colours", "dtype", "more", "classes", "level"), COLOURS, ids=[c[0] for c in COLOURS]
)
def test_colours_are_expanded_and_classes_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, colours: Any, dtype: str,
    more: Any, classes: bool, level: int,
) -> None:  # fmt: skip
    pixels = write(tmp_path / "a.tif", colours, dtype, **more)
    with caplog.at_level(logging.INFO, "unetmm"):
        info = open_source(tmp_path / "a.tif").info
    (record,) = caplog.records
    assert (info.axes, info.dtype, info.metadata.display.palette) == ("YXS", np.uint8, "expanded")
    assert info.metadata.display.classes == classes
    assert not info.metadata.display.colour_maps
    np.testing.assert_array_equal(whole(tmp_path / "a.tif"), (table(colours, 65536) >> 8).T[pixels])
    assert record.levelno == level
    assert ("classes" in record.getMessage()) == (level == logging.WARNING)


@pytest.mark.parametrize("colours", [PHOTO, CLASSES, np.stack([X] * 3)])
def test_a_choice_is_followed_without_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, colours: Any
) -> None:
    pixels = write(tmp_path / "a.tif", colours)
    shown = open_source(tmp_path / "a.tif", Selection(palette="colours")).info
    stored = open_source(tmp_path / "a.tif", Selection(palette="values")).info
    assert (shown.axes, stored.axes, stored.dtype) == ("YXS", "YX", pixels.dtype)
    assert not [r for r in caplog.records if r.levelno >= logging.WARNING]


def test_nodata_of_measured_values_stays_a_number(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", HUE, extratags=[(42113, 2, 0, "7", True)])
    info = open_source(tmp_path / "a.tif").info
    assert (info.nodata.single, info.alpha, info.axes) == (7, False, "YX")


def test_maps_of_channels_are_told_apart_and_kept(tmp_path: Path) -> None:
    pixels = values((2, 3, 40, 50), "uint16", 4000)
    maps = [ramp16(), ramp16()[::-1].copy()[[1, 0, 2]]]
    description = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
        'OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" '
        'Type="uint16" SizeX="50" SizeY="40" SizeZ="3" SizeC="2" SizeT="1">'
        '<Channel ID="Channel:0:0"/><Channel ID="Channel:0:1"/>'
        '<TiffData IFD="0" PlaneCount="6"/></Pixels></Image></OME>'
    )
    with tifffile.TiffWriter(tmp_path / "a.ome.tif") as file:
        for c in range(2):
            for z in range(3):
                file.write(
                    pixels[c, z], photometric="palette", colormap=table(maps[c], 65536),
                    description=None if c or z else description, metadata=None,
                )  # fmt: skip
    info = open_source(tmp_path / "a.ome.tif").info
    assert (info.axes, info.shape) == ("CZYX", pixels.shape)
    assert info.metadata.microscopy.channel_colors == ("#00ff00", "#ff0000")
    restore(tmp_path / "a.ome.tif", tmp_path / "b.ome.tif")
    with tifffile.TiffFile(tmp_path / "b.ome.tif") as tif:
        assert tif.series[0].axes == "CZYX" and tif.series[0].dtype == np.uint16
        for number, page in enumerate(tif.pages):
            found = page.aspage().tags.valueof(320)
            np.testing.assert_array_equal(found.reshape(3, -1), table(maps[number // 3], 65536))
    chosen = open_source(tmp_path / "b.ome.tif", Selection(channels=("1",))).info
    (packed,) = chosen.metadata.display.colour_maps
    np.testing.assert_array_equal(unpack_map(packed).T, table(maps[1], 65536))


def restore(source: Path, output: Path, **more: Any) -> None:
    restore_file(source, output, Options(MONO, 2 * 10**9, **more))


@pytest.mark.parametrize(("colours", "dtype"), [(HUE, "uint8"), (ramp16(), "uint16")])
def test_an_output_holds_restored_values_and_the_same_map(
    tmp_path: Path, colours: Any, dtype: str
) -> None:
    pixels = write(tmp_path / "a.tif", colours, dtype)
    restore(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        page = tif.pages.first
        assert page.photometric == 3 and page.dtype == pixels.dtype
        found = page.tags.valueof(320).reshape(3, -1)
        np.testing.assert_array_equal(found, table(colours, found.shape[1]))
        np.testing.assert_array_equal(page.asarray(), unetmm.restore(pixels, MONO))


def test_values_that_were_asked_for_are_read_back_as_values(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "a.tif", CLASSES)
    restore(tmp_path / "a.tif", tmp_path / "b.tif", select=Selection(palette="values"))
    assert open_source(tmp_path / "b.tif").info.metadata.display.palette == "values"
    warned = [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]
    assert not [text for text in warned if "palette" in text]


def test_a_map_goes_through_ome_zarr_and_back(tmp_path: Path) -> None:
    write(tmp_path / "a.tif", HUE)
    restore(tmp_path / "a.tif", tmp_path / "b.ome.zarr")
    restore(tmp_path / "b.ome.zarr", tmp_path / "c.tif")
    with tifffile.TiffFile(tmp_path / "c.tif") as tif:
        np.testing.assert_array_equal(tif.pages.first.colormap, table(HUE))


@pytest.mark.parametrize("name", ["b.png", "b.jpg", "b.npy"])
@pytest.mark.parametrize("kind", ["hues", "grey"])
def test_an_output_without_a_place_for_the_map_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str, kind: str
) -> None:
    write(tmp_path / "a.tif", HUE if kind == "hues" else np.stack([X] * 3))
    restore(tmp_path / "a.tif", tmp_path / name)
    told = [line for line in caplog.messages if "colour map is left out" in line]
    assert len(told) == (kind == "hues")


def test_pages_share_a_map(tmp_path: Path) -> None:
    pixels = values((9, 40, 50), "uint16", 4000)
    options: dict[str, Any] = {"photometric": "palette", "colormap": table(ramp16(), 65536)}
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "TYX"}, **options)
    restore(tmp_path / "a.tif", tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        places = {page.aspage().tags[320].valueoffset for page in tif.pages}
        assert len(tif.pages) == 9 and len(places) == 1
        np.testing.assert_array_equal(tif.pages[8].aspage().colormap, table(ramp16(), 65536))


def test_smaller_copies_have_the_map_too(tmp_path: Path) -> None:
    pixels = values((3, 2100, 20), "uint8", 200)
    options: dict[str, Any] = {"photometric": "palette", "colormap": table(HUE)}
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "TYX"}, **options)
    tifffile.imwrite(tmp_path / "c.tif", pixels[0], metadata=None, **options)
    for source, output in (("a.tif", "b.tif"), ("c.tif", "d.tif")):
        restore(tmp_path / source, tmp_path / output)
        with tifffile.TiffFile(tmp_path / output) as tif:
            levels = tif.series[0].levels
            assert len(levels) > 1
            for level in levels:
                page = level.pages[len(level.pages) - 1].aspage()
                assert page.photometric == 3
                np.testing.assert_array_equal(page.colormap, table(HUE))


def test_plain_grey_says_nothing_but_that_zero_is_black() -> None:
    ramp = np.stack([np.arange(256) * 257] * 3, axis=-1).astype(np.uint16)
    assert is_plain_grey(ramp) and not is_plain_grey(ramp[::-1])
    assert not is_plain_grey(ramp * np.array([1, 1, 0], np.uint16))


def test_a_palette_that_is_none_of_the_choices_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="'numbers' is none of auto, values, colours"):
        unetmm.restore("a.tif", output=tmp_path / "b.tif", palette="numbers")
