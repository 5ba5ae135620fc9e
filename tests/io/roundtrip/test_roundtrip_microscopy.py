"""Tools of OME read what is written, and see what the input said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import ome_types
import pytest
import tifffile
from roundtrip_copies import copy, random_pixels

from unetmm.io.image import ImageInfo
from unetmm.io.select import Selection
from unetmm.io.tiff.ome import make_ome_xml

# rasterio multiplies its transforms as affine would rather not have it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")


METADATA = {
    **{"axes": "TCZYX", "Name": "sample 7", "Description": "of the tail"},
    **{"AcquisitionDate": "2024-05-06T07:08:09"},
    **{"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.25},
    **{"PhysicalSizeYUnit": "µm", "PhysicalSizeZ": 300.0, "PhysicalSizeZUnit": "nm"},
    **{"TimeIncrement": 2.5, "TimeIncrementUnit": "min", "SignificantBits": 12},
    "Channel": {"Name": ["DAPI", "µ<b"], "Color": [65535, -16776961], "PinholeSize": [1.5, 2.5]},
    "Plane": {"PositionX": [7.0] * 12, "PositionXUnit": ["µm"] * 12, "DeltaT": [0.5] * 12},
}


def parsed(path: Path) -> Any:
    """The OME-XML of a file, which must be valid."""
    with tifffile.TiffFile(path) as tif:
        assert tif.ome_metadata is not None
        return ome_types.from_xml(tif.ome_metadata)


@pytest.fixture(scope="module")
def micrograph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("micrograph") / "a.ome.tif"
    tifffile.imwrite(path, random_pixels((2, 2, 3, 20, 2200)), metadata=METADATA)
    return path


@pytest.mark.parametrize("name", ["b.ome.tif", "b.tif"])
def test_ome_tools_see_what_the_input_said(micrograph: Path, tmp_path: Path, name: str) -> None:
    output = copy(micrograph, tmp_path / name)
    image, expected = parsed(output).images[0], parsed(micrograph).images[0]
    assert image.name == "sample 7" and image.description == "of the tail"
    assert image.acquisition_date == expected.acquisition_date
    pixels = image.pixels
    assert (pixels.size_t, pixels.size_c, pixels.size_z) == (2, 2, 3)
    assert pixels.dimension_order.value == "XYZCT" and pixels.significant_bits == 12
    assert (pixels.physical_size_x, pixels.physical_size_x_unit.value) == (0.5, "µm")
    assert (pixels.physical_size_z, pixels.physical_size_z_unit.value) == (300.0, "nm")
    assert (pixels.time_increment, pixels.time_increment_unit.value) == (2.5, "min")
    assert pixels.channels == expected.pixels.channels
    assert [channel.name for channel in pixels.channels] == ["DAPI", "µ<b"]
    assert pixels.channels[1].pinhole_size == 2.5
    assert len(pixels.planes) == 12 and pixels.planes[5].delta_t == 0.5
    assert pixels.planes[0].position_x == 7.0
    assert [(data.ifd, data.plane_count) for data in pixels.tiff_data_blocks] == [(0, 12)]


def test_tifffile_sees_series_and_levels(micrograph: Path, tmp_path: Path) -> None:
    output = copy(micrograph, tmp_path / "b.ome.tif")
    with tifffile.TiffFile(output) as tif:
        (series,) = tif.series
        assert series.kind == "ome" and series.axes == "TCZYX"
        assert [level.shape[3:] for level in series.levels] == [
            (20, 2200), (10, 1100), (5, 550), (3, 275)
        ]  # fmt: skip
        assert len(tif.pages) == 12, "levels are directories below their page"
        assert np.array_equal(series.asarray(), tifffile.imread(micrograph))
        assert series.levels[1].keyframe.is_reduced
        assert tif.pages.first.get_resolution("CENTIMETER") == (20000.0, 40000.0)


def test_what_is_known_otherwise_becomes_ome_xml(micrograph: Path, tmp_path: Path) -> None:
    """Sizes, names and colours come from old OME-XML or ImageJ."""
    old = tmp_path / "old.ome.tif"  # of a version that is not kept as it is
    old.write_bytes(micrograph.read_bytes().replace(b"OME/2016-06", b"OME/2015-01"))
    image = parsed(copy(old, tmp_path / "b.ome.tif", Selection(channels=("1",)))).images[0]
    assert image.name == "b" and image.pixels.size_c == 1
    assert image.pixels.channels[0].name == "µ<b"
    assert image.pixels.channels[0].color.as_hex() == "#f00"
    plane = image.pixels.planes[0]
    assert (plane.position_x, plane.position_x_unit.value) == (7.0, "µm")
    ramp = np.arange(256, dtype=np.uint8)
    tables = [np.stack([ramp, 0 * ramp, 0 * ramp]), np.stack([0 * ramp, ramp, 0 * ramp])]
    tifffile.imwrite(
        tmp_path / "j.tif",
        random_pixels((2, 30, 40)),
        imagej=True,
        resolution=(4, 2),
        metadata={"axes": "CYX", "unit": "um", "LUTs": tables, "mode": "composite"},
    )
    pixels = parsed(copy(tmp_path / "j.tif", tmp_path / "k.tif")).images[0].pixels
    assert (pixels.physical_size_x, pixels.physical_size_y) == (0.25, 0.5)
    assert [channel.color.as_hex() for channel in pixels.channels] == ["#f00", "#0f0"]


def test_names_that_xml_cannot_hold_cost_nothing_else(tmp_path: Path) -> None:
    info = ImageInfo(
        "any", "CZYX", (2, 3, 20, 30), np.dtype("u1"), (20, 30),
        pixel_size={"X": (0.25, "micrometer")}, channel_names=("DAPI\0\x1f", "b\udce9"),
    )  # fmt: skip
    image = ome_types.from_xml(make_ome_xml(info, "a\x07\ud800.tif", "CZ").decode()).images[0]
    assert image.name == "a\ufffd\ufffd.tif" and image.pixels.physical_size_x == 0.25
    names = [channel.name for channel in image.pixels.channels]
    assert names == ["DAPI\ufffd\ufffd", "b\ufffd"]


def test_ome_tools_see_what_the_input_said_of_a_selection(micrograph: Path, tmp_path: Path) -> None:
    chosen = Selection(channels=("1", "0"), planes={"T": (1, 2), "Z": (1, 3)})
    image = parsed(copy(micrograph, tmp_path / "b.ome.tif", chosen)).images[0]
    expected, pixels = parsed(micrograph).images[0], image.pixels
    assert image.name == "sample 7" and image.acquisition_date == expected.acquisition_date
    assert (pixels.size_t, pixels.size_c, pixels.size_z) == (1, 2, 2)
    assert pixels.channels == expected.pixels.channels[::-1]
    assert [channel.pinhole_size for channel in pixels.channels] == [2.5, 1.5]
    places = sorted((plane.the_t, plane.the_c, plane.the_z) for plane in pixels.planes)
    assert places == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1)]
    assert [(data.ifd, data.plane_count) for data in pixels.tiff_data_blocks] == [(0, 4)]
    tifffile.imwrite(tmp_path / "c.ome.tif", random_pixels((4, 20, 30)), metadata={
        "axes": "CYX", "Name": "scan", "Channel": {"Name": ["a", "b", "c", "d"]},
    })  # fmt: skip
    colours = Selection(rgb_bands=(3, 2, 1))
    image = parsed(copy(tmp_path / "c.ome.tif", tmp_path / "d.ome.tif", colours)).images[0]
    assert image.name == "scan" and image.pixels.size_c == 3
    assert [c.samples_per_pixel for c in image.pixels.channels] == [3]
    assert image.pixels.channels[0].name is None


def test_ome_xml_of_colours_counts_samples(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", random_pixels((3, 30, 40, 3), "uint8"), photometric="rgb")
    pixels = parsed(copy(tmp_path / "a.tif", tmp_path / "b.ome.tif")).images[0].pixels
    assert (pixels.size_c, pixels.size_z) == (3, 3) and pixels.interleaved
    assert [channel.samples_per_pixel for channel in pixels.channels] == [3]
