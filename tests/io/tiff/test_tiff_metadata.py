"""What a TIFF says of its image: palettes, OME, ImageJ, places on Earth, cameras."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image
from tiff_files import same_by_boxes, values, whole, write_ome

from unetmm.errors import ImageError
from unetmm.io.open import open_source


def test_bits_of_a_palette_are_not_those_of_its_colours(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    palette = np.linspace(0, 65535, 3 * 256).astype(np.uint16).reshape(3, 256)
    pixels = values((20, 30), top=16)
    packed = pixels[:, ::2] << 4 | pixels[:, 1::2]
    tifffile.imwrite(path, packed, photometric="palette", colormap=palette, metadata=None)
    with tifffile.TiffFile(path, mode="r+b") as tif:
        tif.pages[0].tags["ImageWidth"].overwrite(30)
        tif.pages[0].tags["BitsPerSample"].overwrite(4)
    info = open_source(path).info
    assert info.metadata.display.palette == "expanded" and not info.metadata.display.bits
    np.testing.assert_array_equal(whole(path), (palette >> 8).T[pixels])


@pytest.mark.parametrize("stored", ["uint16 range", "8-bit range"])
def test_palette_becomes_rgb_with_a_word(
    tmp_path: Path, stored: str, caplog: pytest.LogCaptureFixture
) -> None:
    path, indices = tmp_path / "a.tif", values((40, 50), top=256)
    colours = values((3, 256), "uint16", 256) * (257 if stored == "uint16 range" else 1)
    tifffile.imwrite(path, indices, photometric="palette", colormap=colours, rowsperstrip=8)
    with caplog.at_level(logging.INFO, "unetmm"):
        info = open_source(path).info
    assert "palette of 256 colours is expanded" in caplog.text
    assert (info.axes, info.shape, info.alpha) == ("YXS", (40, 50, 3), False)
    expected = (colours >> 8 if stored == "uint16 range" else colours).astype(np.uint8).T[indices]
    same_by_boxes(path, expected)
    if stored == "uint16 range":
        with Image.open(path) as image:
            np.testing.assert_array_equal(whole(path), np.asarray(image.convert("RGB")))


def test_nodata_of_a_palette_is_transparent(tmp_path: Path) -> None:
    path, indices = tmp_path / "a.tif", values((40, 50), top=4)
    options: dict[str, Any] = {"colormap": values((3, 256), "uint16", 65536)}
    nodata = [(42113, 2, 0, "2", True)]
    tifffile.imwrite(path, indices, photometric="palette", extratags=nodata, **options)
    info = open_source(path).info
    assert info.alpha and not info.nodata.stated
    np.testing.assert_array_equal(whole(path)[..., 3], np.where(indices == 2, 0, 255))


def test_stage_position_and_colours_of_ome(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    metadata: dict[str, Any] = {
        "axes": "CYX",
        "Channel": {"Name": ["DAPI", "Cy5"], "Color": [65535, -16776961]},
        "Plane": {"PositionX": [7.5, 7.5], "PositionXUnit": ["mm", "mm"]},
    }
    tifffile.imwrite(path, values((2, 20, 30)), metadata=metadata, photometric="minisblack")
    info = open_source(path).info
    assert info.channel_names == ("DAPI", "Cy5")
    assert info.metadata.microscopy.channel_colors == ("#0000ff", "#ff0000")
    assert info.metadata.microscopy.origin == {"X": (7.5, "millimeter")}
    assert "<OME" in info.metadata.microscopy.ome_xml


def test_imagej_colours_and_settings(tmp_path: Path) -> None:
    ramp = np.linspace(0, 255, 256).astype(np.uint8)
    luts = [np.stack([ramp, 0 * ramp, 0 * ramp]), np.stack([0 * ramp, ramp, 0 * ramp])]
    path = tmp_path / "a.tif"
    metadata = {"axes": "CYX", "LUTs": luts, "mode": "composite"}
    tifffile.imwrite(path, values((2, 20, 30)), imagej=True, metadata=metadata)
    seen = open_source(path).info.metadata.microscopy
    assert seen.channel_colors == ("#ff0000", "#00ff00")
    assert seen.imagej["mode"] == "composite"


GDAL = (
    "<GDALMetadata>"
    '<Item name="DESCRIPTION" sample="0" role="description">red</Item>'
    '<Item name="DESCRIPTION" sample="3" role="description">nir</Item>'
    '<Item name="COLORINTERP" sample="3" role="colorinterp">NIR</Item>'
    "</GDALMetadata>"
)


def test_place_on_earth_and_bands_of_a_geotiff(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    keys = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 32618)
    extratags = [
        (33550, 12, 3, (10.0, 20.0, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 500000.0, 4000000.0, 0.0), True),
        (34735, 3, len(keys), keys, True),
        (42112, 2, 0, GDAL, True),
        (42113, 2, 0, "-9999", True),
        (315, 2, 0, "Zoë".encode(), True),
    ]
    tifffile.imwrite(
        path,
        values((20, 30, 4), "float32"),
        photometric="rgb",
        extrasamples=["unspecified"],
        extratags=extratags,
    )
    info = open_source(path).info
    assert (info.axes, info.shape, info.nodata.single) == ("CYX", (4, 20, 30), -9999)
    assert info.metadata.geo.as_dict() == {
        "crs": "EPSG:32618",
        "transform": (500000.0, 10.0, 0.0, 4000000.0, 0.0, -20.0),
    }
    assert info.metadata.tiff.descriptions == info.channel_names == ("red", "", "", "nir")
    assert info.metadata.tiff.color_interpretation == ("Red", "Green", "Blue", "NIR")
    kept = {tag[0]: tag[3] for tag in info.metadata.tiff.tags}
    assert kept[34735] == keys and kept[42112] == GDAL and 315 in kept


def test_camera_directory_of_a_tiff(tmp_path: Path) -> None:
    written, exif = Image.Exif(), Image.Exif()
    written[34665] = {33434: 0.5, 42036: "a lens"}  # exposure time
    exif.load(written.tobytes())
    exif[274] = 6
    Image.fromarray(values((20, 30, 3))).save(tmp_path / "a.tif", exif=exif)
    info = open_source(tmp_path / "a.tif").info
    assert info.shape == (20, 30, 3), "a TIFF keeps its pixels as stored"
    kept = Image.Exif()
    kept.load(info.metadata.photo.exif)
    assert kept.get_ifd(34665) == {33434: 0.5, 42036: "a lens"} and 274 not in kept
    assert (274, 3, 1, 6) in info.metadata.tiff.tags


def test_rotated_images_and_control_points(tmp_path: Path) -> None:
    matrix = (1.0, 2.0, 0.0, 3.0, 4.0, 5.0, 0.0, 6.0, *[0.0] * 7, 1.0)
    points = tuple(float(i) for i in range(24))
    keys = (34735, 3, 4, (1, 1, 0, 0), True)
    for tag, expected in (
        ((34264, 12, 16, matrix, True), {"transform": (3.0, 1.0, 2.0, 6.0, 4.0, 5.0)}),
        ((33922, 12, 24, points, True), {"gcps": 4}),
    ):
        tifffile.imwrite(tmp_path / "a.tif", values((8, 9)), extratags=[tag, keys])
        assert open_source(tmp_path / "a.tif").info.metadata.geo.as_dict() == expected


def test_palette_with_further_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values((20, 30, 2)), photometric="minisblack", planarconfig="contig")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(3)
    with pytest.raises(ImageError, match="palette and further samples.*save"):
        open_source(path)


@pytest.mark.parametrize(
    ("named", "expected"), [(1, ("n0", "", "")), (2, ("n0", "n1", "")), (5, ("n0", "n1", "n2"))]
)
def test_names_of_channels_are_kept_where_their_number_is_wrong(
    tmp_path: Path, named: int, expected: tuple[str, ...]
) -> None:
    channels = "".join(f'<Channel ID="Channel:0:{i}" Name="n{i}"/>' for i in range(named))
    write_ome(tmp_path / "a.ome.tif", 3, {"T": 1, "C": 3, "Z": 1}, inside=channels)
    assert open_source(tmp_path / "a.ome.tif").info.channel_names == expected


def test_a_description_is_kept_beside_that_of_the_program(tmp_path: Path) -> None:
    """tifffile writes a second one, of the shape."""
    pixels = np.zeros((40, 50), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels, description="my scan")
    tifffile.imwrite(tmp_path / "b.tif", pixels)
    known = [open_source(tmp_path / n).info.metadata.tiff.description for n in ("a.tif", "b.tif")]
    assert known == ["my scan", ""]
