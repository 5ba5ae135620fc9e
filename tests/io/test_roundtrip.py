"""Other people's software reads what is written, and sees what the input said."""

from __future__ import annotations

import struct
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import ome_types
import pytest
import rasterio
import tifffile
from numpy.typing import NDArray
from PIL import Image
from PIL.ExifTags import IFD
from rasterio.enums import ColorInterp
from rasterio.transform import Affine
from rasterio.windows import Window

from unetmm.io.exif import (
    CAMERA,
    GPS,
    ExifEntry,
    pack_directories,
    read_directories,
    read_from_tiff,
)
from unetmm.io.image import Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.open import open_sink, open_source
from unetmm.io.select import Selection
from unetmm.io.tiff.ome import make_ome_xml
from unetmm.provenance.verify import verify

# rasterio multiplies its transforms as affine would rather not have it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")

SEED = 11
ICC = b"profile " * 20


def random_pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    return (np.random.default_rng(SEED).random(shape) * 120).astype(dtype)


def copy(
    source: Path, target: Path, select: Selection | None = None, chunk_px: int = 512, **more: Any
) -> Path:
    """The same image in another file, as a net that changes nothing would write it."""
    opened = open_source(source, select)
    info = opened.info
    options = SinkOptions(target, True, chunk_px, Encoding(**more))
    sink = open_sink(options, info)
    height, width = sink.chunk
    for plane in info.planes:
        for y in range(0, info.height, height):
            for x in range(0, info.width, width):
                box = Box(y, x, min(y + height, info.height), min(x + width, info.width))
                sink.write(plane, box, opened.read(plane, box))
    sink.close()
    opened.close()
    return target


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A satellite scene of five bands, of which the first three are colours."""
    path = tmp_path_factory.mktemp("scene") / "scene.tif"
    profile = {
        **{"driver": "GTiff", "height": 40, "width": 2200, "count": 5, "dtype": "uint16"},
        **{"crs": "EPSG:32633", "transform": Affine(10, 0, 500_000, 0, -10, 5_200_000)},
        **{"nodata": 0, "photometric": "RGB"},
    }
    with rasterio.open(path, "w", **profile) as file:
        file.write(random_pixels((5, 40, 2200)))
        file.descriptions = ("red", "green", "blue", "nir", "größe")
        file.scales = (0.1, 0.2, 0.3, 0.4, 0.5)
        file.offsets = (1.0, 2.0, 3.0, 4.0, 5.0)
        file.units = ("a", "b", "c", "d", "e")
        for band in range(1, 6):
            file.update_tags(band, WAVELENGTH=str(100 * band))
        file.update_tags(1, STATISTICS_MEAN="59.5")
        file.update_tags(SENSOR="some")
    return path


@pytest.mark.parametrize("compression", ["none", "deflate", "zstd", "lzw"])
def test_gdal_sees_place_bands_and_overviews(scene: Path, tmp_path: Path, compression: str) -> None:
    output = copy(scene, tmp_path / "out.tif", compression=compression)
    with rasterio.open(output) as found, rasterio.open(scene) as expected:
        assert found.crs == expected.crs and found.transform == expected.transform
        assert found.nodata == 0 and found.descriptions == expected.descriptions
        assert found.colorinterp == expected.colorinterp
        assert found.colorinterp[:3] == (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
        assert found.scales == expected.scales
        assert found.tags()["SENSOR"] == "some"
        assert found.tags(1) == {"WAVELENGTH": "100"}, "old statistics are gone"
        assert not any("RESOLUTION" in name for name in found.tags()), "the input has none"
        assert found.overviews(1) == [2, 4, 8] and found.block_shapes[0] == (48, 512)
        assert np.array_equal(found.read(), expected.read())
        half = found.read(4, out_shape=(20, 1100))
        whole = expected.read(4).astype(np.int64)
    valid = np.count_nonzero(whole.reshape(20, 2, 1100, 2), axis=(1, 3))
    mean = whole.reshape(20, 2, 1100, 2).sum((1, 3)) / np.maximum(valid, 1)
    assert np.array_equal(half, np.floor(mean + 0.5)), "an overview is the mean of what is measured"


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_a_scene_comes_back_from_ome_zarr_as_it_was(
    scene: Path, tmp_path: Path, version: str
) -> None:
    between = copy(scene, tmp_path / "between.ome.zarr", ome_zarr=version)
    output = copy(between, tmp_path / "out.tif")
    with rasterio.open(output) as found, rasterio.open(scene) as expected:
        assert found.crs == expected.crs and found.transform == expected.transform
        assert found.nodata == 0 and found.descriptions == expected.descriptions
        assert found.colorinterp == expected.colorinterp and found.tags()["SENSOR"] == "some"
        assert np.array_equal(found.read(), expected.read())


SELECTIONS = {
    "some": (Selection(channels=("3", "1")), [4, 2]),
    "another order": (Selection(channels=("1", "0", "2", "3", "4")), [2, 1, 3, 4, 5]),
    "one": (Selection(channels=("4",)), [5]),
    "as colours": (Selection(rgb_bands=(4, 3, 2)), [4, 3, 2]),
    "the first as colours": (Selection(rgb_bands=(1, 2, 3)), [1, 2, 3]),
}


@pytest.mark.parametrize("between", ["", "between.ome.zarr"])
@pytest.mark.parametrize(("select", "bands"), SELECTIONS.values(), ids=SELECTIONS)
def test_gdal_sees_what_was_said_of_selected_bands(
    scene: Path, tmp_path: Path, select: Selection, bands: list[int], between: str
) -> None:
    output = tmp_path / "out.tif"
    if between:
        copy(copy(scene, tmp_path / between, select), output)
    else:
        copy(scene, output, select)
    with rasterio.open(output) as found, rasterio.open(scene) as expected:
        assert np.array_equal(found.read(), expected.read(bands))
        for name in ("descriptions", "scales", "offsets", "units"):
            wanted = getattr(expected, name)
            assert getattr(found, name) == tuple(wanted[band - 1] for band in bands), name
        for i, band in enumerate(bands, start=1):
            assert found.tags(i) == {"WAVELENGTH": str(100 * band)}
        if select.rgb_bands:
            colours = (ColorInterp.red, ColorInterp.green, ColorInterp.blue)
            assert found.colorinterp == colours
        elif len(bands) > 1:
            pairs = zip(
                found.colorinterp, (expected.colorinterp[b - 1] for b in bands), strict=True
            )
            assert all(a == b for a, b in pairs if b != ColorInterp.undefined)
        assert found.crs == expected.crs and found.tags()["SENSOR"] == "some"


def test_gdal_finds_the_layout_of_cloud_optimized_geotiff(scene: Path, tmp_path: Path) -> None:
    """All directories come before all pixels, and overviews before the full resolution."""
    output = copy(scene, tmp_path / "out.tif")
    with rasterio.open(output) as found:
        tile = Window(0, 0, 512, 40)
        assert found.read(1, window=tile).shape == (40, 512)
        offsets = [
            int(found.get_tag_item(f"BLOCK_OFFSET_{block}_0", "TIFF", bidx=1)) for block in (0, 1)
        ]
        overview = int(found.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=0))
        smallest = int(found.get_tag_item("BLOCK_OFFSET_0_0", "TIFF", bidx=1, ovr=2))
        ifds = [int(found.get_tag_item("IFD_OFFSET", "TIFF", bidx=1))] + [
            int(found.get_tag_item("IFD_OFFSET", "TIFF", bidx=1, ovr=n)) for n in range(3)
        ]
    assert ifds == sorted(ifds) and ifds[0] in (8, 16)
    assert ifds[-1] < smallest < overview < offsets[0] < offsets[1]


PLACE = Affine(10, 0, 500_000, 0, -10, 5_200_000)
MASKED = {
    "one band": {"count": 1, "height": 70, "width": 90},
    "colours, tiles, overviews": {"count": 3, "height": 300, "width": 2100, "photometric": "RGB"},
    "bands apart": {"count": 5, "height": 70, "width": 90, "interleave": "band"},
}


@pytest.fixture(params=MASKED.values(), ids=MASKED)
def masked(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A scene with GDAL's mask of valid pixels inside."""
    path, profile = tmp_path / "masked.tif", {"driver": "GTiff", "dtype": "uint8", **request.param}
    if profile["width"] > 2000:
        profile |= {"tiled": True, "compress": "deflate"}
    profile |= {"crs": "EPSG:32633", "transform": PLACE}
    shape = (profile["height"], profile["width"])
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "w", **profile) as file:
        file.write(random_pixels((profile["count"], *shape), "uint8"))
        file.write_mask(np.random.default_rng(SEED).random(shape) < 0.5)
    return path


@pytest.mark.parametrize("compression", ["none", "deflate"])
def test_gdal_sees_the_mask_of_valid_pixels(masked: Path, tmp_path: Path, compression: str) -> None:
    output = copy(masked, tmp_path / "out.tif", compression=compression)
    again = copy(output, tmp_path / "again.tif", compression=compression)
    for path in (output, again):
        with rasterio.open(path) as found, rasterio.open(masked) as expected:
            assert found.mask_flag_enums == expected.mask_flag_enums
            assert np.array_equal(found.dataset_mask(), expected.dataset_mask())
            assert np.array_equal(found.read(), expected.read())
            assert found.colorinterp == expected.colorinterp
    assert not verify(output).damaged


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.png", "out.ome.tif"])
def test_a_mask_that_is_lost_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    path, profile = tmp_path / "a.tif", {"driver": "GTiff", "dtype": "uint8", "count": 1}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
        rasterio.open(path, "w", **profile, height=20, width=30, transform=PLACE) as file,
    ):
        file.write(random_pixels((1, 20, 30), "uint8"))
        file.write_mask(np.eye(20, 30, dtype=bool))
    copy(path, tmp_path / name)
    told = [r.getMessage() for r in caplog.records if "mask of valid pixels" in r.getMessage()]
    assert len(told) == 1 and told[0].startswith(f"{tmp_path / name}: ")


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


def photo(path: Path, mode: str = "RGB") -> Path:
    """A photo as a camera leaves it: turned, with profile, EXIF and GPS."""
    exif = Image.Exif()
    exif[274], exif[271], exif[306] = 6, "Maker", "2024:05:06 07:08:09"
    exif.get_ifd(IFD.Exif).update({33434: 0.01, 34855: 200, 37500: b"maker note" * 3})
    exif.get_ifd(IFD.GPSInfo).update({1: "N", 2: (46.0, 30.0, 15.5)})
    pixels = random_pixels((30, 45, 3), "uint8")
    image = Image.fromarray(pixels).convert(mode)
    image.save(path, exif=exif, icc_profile=ICC, dpi=(300, 300), quality=95)
    return path


def test_a_photo_keeps_profile_and_exif_through_ome_zarr(tmp_path: Path) -> None:
    between = copy(photo(tmp_path / "a.jpg"), tmp_path / "between.ome.zarr")
    with Image.open(copy(between, tmp_path / "b.png")) as image:
        assert image.info["icc_profile"] == ICC
        assert image.getexif().get_ifd(IFD.Exif)[37500] == b"maker note" * 3


@pytest.mark.parametrize("name", ["b.tif", "b.png", "b.jpg"])
@pytest.mark.parametrize("original", ["a.jpg", "a.png"])
def test_pillow_sees_profile_and_exif(tmp_path: Path, original: str, name: str) -> None:
    output = copy(photo(tmp_path / original), tmp_path / name)
    again = copy(output, tmp_path / "c.tif") if name == "b.tif" else output
    for path in (output, again):
        with Image.open(path) as image:
            assert image.size == (30, 45), "upright"
            assert image.info["icc_profile"] == ICC
            exif = image.getexif()
            assert exif.get(274, 1) == 1, "turned once"
            assert exif[271] == "Maker" and exif[306] == "2024:05:06 07:08:09"
            camera, gps = exif.get_ifd(IFD.Exif), exif.get_ifd(IFD.GPSInfo)
            assert camera[33434] == pytest.approx(0.01) and camera[34855] == 200
            assert camera[37500] == b"maker note" * 3
            assert gps[1] == "N" and [float(n) for n in gps[2]] == [46.0, 30.0, 15.5]
            assert np.allclose([float(n) for n in image.info["dpi"]], 300, atol=0.1)
            if name != "b.jpg":
                assert np.array_equal(np.asarray(image), whole(tmp_path / original))


def whole(path: Path) -> NDArray[Any]:
    source = open_source(path)
    return source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width))


def part_of(data: bytes, at: int, size: int) -> bytes:
    return data[at : at + size]


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("resolution", [None, (300, 200)])
def test_resolution_is_that_of_the_input_or_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, big: bool, resolution: tuple[int, int] | None
) -> None:
    if big:
        monkeypatch.setattr("unetmm.io.tiff.layout.CLASSIC_LIMIT_BYTES", 0)
    pixels = random_pixels((40, 2200, 3), "uint8")
    Image.fromarray(pixels).save(tmp_path / "a.tif", **({"dpi": resolution} if resolution else {}))
    with tifffile.TiffFile(copy(tmp_path / "a.tif", tmp_path / "b.tif")) as tif:
        assert tif.is_bigtiff == big and len(tif.pages) == 4
        assert (282 in tif.pages.first.tags) == (resolution is not None)
        assert not resolution or tif.pages.first.get_resolution("INCH") == resolution
        np.testing.assert_array_equal(tif.asarray(), pixels)
    with Image.open(tmp_path / "b.tif") as image:
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_exif_survives_bigtiff_and_either_byte_order(tmp_path: Path) -> None:
    fraction = struct.pack("<II", 1, 100)
    tables = {CAMERA: [ExifEntry(33434, 5, 1, fraction), ExifEntry(34855, 3, 1, b"\xc8\0")]}
    tables[GPS] = [ExifEntry(1, 2, 2, b"N\0")]
    for big in (False, True):
        packed, places = pack_directories(tables, 64, big)
        read = partial(part_of, bytes(64) + packed)
        block = read_from_tiff(read, "<", big, places, {271: b"Maker"})
        assert read_directories(block) == tables | {0: [ExifEntry(271, 2, 6, b"Maker\0")]}
    motorola = (
        b"MM\0*" + struct.pack(">IH", 8, 1) + struct.pack(">HHII", CAMERA, 4, 1, 26) + bytes(4)
        + struct.pack(">H", 1) + struct.pack(">HHII", 33434, 5, 1, 44) + bytes(4)
        + struct.pack(">II", 1, 100)
    )  # fmt: skip
    assert read_directories(motorola)[CAMERA] == [ExifEntry(33434, 5, 1, fraction)]
    assert read_directories(motorola[:30]) == {0: []}, "damage loses what is damaged"


KINDS = [
    ("grey", (30, 45), "uint8", None),
    ("16 bit", (30, 45), "uint16", None),
    ("signed", (30, 45), "int16", None),
    ("float", (30, 45), "float32", None),
    ("colour", (30, 45, 3), "uint8", "rgb"),
    ("colour and alpha", (30, 45, 4), "uint8", "rgb"),
]


@pytest.mark.parametrize("compression", ["none", "deflate", "zstd", "lzw"])
@pytest.mark.parametrize(("note", "shape", "dtype", "colours"), KINDS, ids=[k[0] for k in KINDS])
def test_gdal_and_pillow_read_every_kind_and_compression(
    tmp_path: Path,
    note: str,
    shape: tuple[int, ...],
    dtype: str,
    colours: str | None,
    compression: str,
) -> None:
    pixels = random_pixels(shape, dtype)
    extra = {"extrasamples": ["unassalpha"]} if shape[2:] == (4,) else {}
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric=colours or "minisblack", iccprofile=ICC, **extra
    )
    output = copy(tmp_path / "a.tif", tmp_path / "b.tif", compression=compression, chunk_px=16)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(output) as file:
            found = file.read()
    expected = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    assert np.array_equal(found, expected)
    with Image.open(output) as image:
        assert image.info["icc_profile"] == ICC
        assert np.array_equal(np.asarray(image), pixels)
