"""Sizes of pixels, names and axes as ImageJ, microscopes and scanners state them in a TIFF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tiff_files import write_ome

from unetmm.io.image import Box, ImageInfo
from unetmm.io.keeping import not_kept
from unetmm.io.ome_xml import number
from unetmm.io.open import open_source
from unetmm.io.units import full_unit

STACK = np.arange(3 * 16 * 20, dtype=np.uint16).reshape(3, 16, 20)


def opened(path: Path) -> ImageInfo:
    source = open_source(path)
    source.close()
    return source.info


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"finterval": 5.0, "tunit": "min"}, {"T": (5.0, "minute")}),
        ({"finterval": 33.0, "tunit": "msec"}, {"T": (33.0, "millisecond")}),
        ({"finterval": 2.0}, {"T": (2.0, "second")}),
        ({"spacing": 300.0, "zunit": "nm"}, {"Z": (300.0, "nanometer")}),
        ({"spacing": -0.3}, {"Z": (0.3, "micrometer")}),
        ({"yunit": "nm"}, {"Y": (0.5, "nanometer")}),
        ({"spacing": 2.0, "unit": "pixel", "zunit": "um"}, {"Z": (2.0, "micrometer")}),
    ],
)
def test_each_axis_of_imagej_has_its_unit(
    tmp_path: Path, settings: dict[str, Any], expected: dict[str, Any]
) -> None:
    path = tmp_path / "a.tif"
    metadata = {"axes": "TYX" if "finterval" in settings else "ZYX", "unit": "um", **settings}
    tifffile.imwrite(path, STACK, imagej=True, resolution=(4, 2), metadata=metadata)
    info = opened(path)
    lengths = {} if metadata["unit"] == "pixel" else {"X": (0.25, "micrometer")}
    lengths |= {} if metadata["unit"] == "pixel" else {"Y": (0.5, "micrometer")}
    assert info.pixel_size == lengths | expected
    assert ("direction of Z" in not_kept(info, "tiff")) == (settings.get("spacing", 1) < 0)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_signed_values_of_imagej_are_signed(tmp_path: Path, order: str, compression: Any) -> None:
    path, values = tmp_path / "a.tif", STACK.astype(np.int32) - 300
    stored = (values + 32768).astype(np.uint16)
    settings = {"axes": "ZYX", "cf": 0, "c0": -32768.0, "c1": 1.0, "vunit": "Gray Value"}
    tifffile.imwrite(
        path, stored, imagej=True, metadata=settings, byteorder=order, compression=compression
    )
    source = open_source(path)
    assert source.info.dtype == np.int16 and not_kept(source.info, "tiff") == ()
    found = source.read((0, 0, 1), Box(2, 3, 16, 20))
    assert found.dtype == np.int16
    np.testing.assert_array_equal(found[..., 0], values[1, 2:, 3:])
    source.close()


def test_other_calibrations_of_values_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    settings = {"axes": "ZYX", "cf": 0, "c0": 1.5, "c1": 0.25, "vunit": "keV"}
    tifffile.imwrite(path, STACK, imagej=True, metadata=settings)
    info = opened(path)
    assert info.dtype == np.uint16
    assert not_kept(info, "tiff") == ("calibration of values", "unit of values")


def test_lifetimes_stay_along_time(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    xml = (
        '<StructuredAnnotations><XMLAnnotation ID="Annotation:0" '
        'Namespace="openmicroscopy.org/omero/dimension/modulo"><Value><Modulo><ModuloAlongT '
        'Type="lifetime" Unit="ps" Start="0" End="3" Step="1"/></Modulo></Value></XMLAnnotation>'
        "</StructuredAnnotations>"
    )
    sizes = {"T": 8, "C": 1, "Z": 1}
    reference = '<AnnotationRef ID="Annotation:0"/>'
    write_ome(path, 8, sizes, more=xml)
    text = tifffile.tiffcomment(path).replace("</Pixels>", f"</Pixels>{reference}")
    tifffile.tiffcomment(path, text)
    with tifffile.TiffFile(path) as tif:
        assert tif.series[0].axes == "THYX"
    info = opened(path)
    assert (info.axes, info.shape) == ("TYX", (8, 20, 30))
    assert "annotations" in not_kept(info, "ome-zarr") and not_kept(info, "tiff") == ()


META = (
    '<MetaData><PlaneInfo><prop id="spatial-calibration-state" value="on"/>'
    '<prop id="spatial-calibration-x" value="0.325"/><prop id="spatial-calibration-y" '
    'value="0.33"/><prop id="spatial-calibration-units" value="um"/><prop id="stage-position-x" '
    'value="12.5"/><prop id="_IllumSetting_" value="FITC"/></PlaneInfo></MetaData>'
)
FEI = "[User]\r\nUser=x\r\n[Scan]\r\nPixelWidth=2.5e-009\r\nPixelHeight=3e-007\r\n"
ZEISS = "0\r\n0\r\nAP_PIXEL_SIZE\r\nPixel Size = 2.5 nm\r\n"
NM, UM = "nanometer", "micrometer"
GATAN = [(65003, 2, 0, "nm", True), (65004, 2, 0, "µm".encode(), True)]
GATAN += [(65009, 12, 1, 0.5, True), (65010, 12, 1, 2.0, True)]


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"description": META}, {"X": (0.325, UM), "Y": (0.33, UM)}),
        ({"extratags": [(34682, 2, None, FEI, True)]}, {"X": (2.5, NM), "Y": (0.3, UM)}),
        ({"extratags": [(34118, 2, None, ZEISS, True)]}, {"X": (2.5, NM), "Y": (2.5, NM)}),
        ({"extratags": GATAN}, {"X": (0.5, NM), "Y": (2.0, UM)}),
        ({"resolution": (20000, 40000), "resolutionunit": 3}, {"X": (0.5, UM), "Y": (0.25, UM)}),
        ({"resolution": (300, 300), "resolutionunit": 2}, {}),
        ({"resolution": (4800, 4800), "resolutionunit": 2}, {}),
        ({"description": '<x ScanRes="0.25"/>'}, {"X": (0.25, UM), "Y": (0.25, UM)}),
    ],
)
def test_makers_state_sizes(tmp_path: Path, more: dict[str, Any], expected: Any) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, STACK[0].astype(np.uint8), metadata=None, **more)
    info = opened(path)
    assert info.pixel_size == expected
    if more.get("description") == META:
        assert info.channel_names == ("FITC",)
        assert info.metadata.microscopy.origin == {"X": (12.5, UM)}


def test_a_slide_of_akoya(tmp_path: Path) -> None:
    path = tmp_path / "a.qptiff"
    text = (
        '<?xml version="1.0" encoding="utf-16"?><PerkinElmer-QPI-ImageDescription><Name>{0}</Name>'
        "<Biomarker>{1}</Biomarker><Color>255,0,{2}</Color></PerkinElmer-QPI-ImageDescription>"
    )
    with tifffile.TiffWriter(path) as writer:
        for i, name in enumerate(("DAPI", "Opal 520")):
            writer.write(
                STACK[i], description=text.format(name, "CD8" if i else name, i), metadata=None,
                resolution=(20000, 20000), resolutionunit=3, software="PerkinElmer-QPI",
            )  # fmt: skip
    info = opened(path)
    assert (info.axes, info.channel_names) == ("CYX", ("DAPI", "CD8 (Opal 520)"))
    assert info.pixel_size == {"X": (0.5, UM), "Y": (0.5, UM)}
    assert info.metadata.microscopy.channel_colors == ("#ff0000", "#ff0001")


@pytest.mark.parametrize("pages", [12, 11])
def test_axes_of_scanimage(tmp_path: Path, pages: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.tif"
    settings = (
        "SI.VERSION_MAJOR = 2020\nSI.hChannels.channelSave = [1;2]\nSI.hStackManager.numSlices = 3"
        "\nSI.hStackManager.stackZStepSize = 1.5\nSI.hStackManager.enable = true\n"
        "SI.hRoiManager.imagingFovUm = [-10 -8;10 -8;10 8;-10 8]\nSI.hRoiManager.scanVolumeRate = 4"
    )
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for i in range(pages):
            page = np.full((16, 20), i, np.int16)
            writer.write(page, software=settings, metadata=None, contiguous=False)
    source = open_source(path)
    if pages == 11:
        assert "are no whole number" in caplog.text and source.info.shape[0] == 11
    else:
        assert (source.info.axes, source.info.shape) == ("TZCYX", (2, 3, 2, 16, 20))
        assert source.info.pixel_size == {
            "X": (1.0, UM), "Y": (1.0, UM), "Z": (1.5, UM), "T": (0.25, "second"),
        }  # fmt: skip
        assert source.read((1, 0, 2), Box(0, 0, 1, 1)) == 10
    source.close()


def test_metadata_of_micromanager_pages(tmp_path: Path) -> None:
    path, tag = tmp_path / "a.tif", '{"PixelSizeUm": 0.65, "ZPositionUm": 3.5}'
    tifffile.imwrite(path, STACK[0], metadata=None, extratags=[(51123, 2, None, tag, True)])
    info = opened(path)
    assert info.pixel_size == {"X": (0.65, UM), "Y": (0.65, UM)}
    assert info.metadata.microscopy.origin == {"Z": (3.5, UM)}


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        *(("\ufffdm", UM), ("Âµm", UM), ("\\u00B5m", UM), ("&#181;m", UM), ("Microns", UM)),
        *(
            ("nanometers", NM),
            ("µm\0", UM),
            ("mins", "minute"),
            ("sec", "second"),
            ("Å", "angstrom"),
        ),
        *(("Å", "angstrom"), ("micrometre", UM), ("furlong", "furlong"), ("", "")),
    ],
)
def test_units_however_they_are_written(text: str, unit: str) -> None:
    assert full_unit(text) == unit


def test_numbers_with_a_comma() -> None:
    assert [number(t) for t in ("0,325", "1.5", "NaN", "1,2,3", None)] == [0.325, 1.5, 0, 0, 0]
