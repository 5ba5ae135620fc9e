"""TIFF of every common kind: boxes equal whole reads, and metadata say what the file says."""

from __future__ import annotations

import logging
import os
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from unetmm.errors import ImageError
from unetmm.io.image import Box, SinkOptions
from unetmm.io.open import open_sink, open_source
from unetmm.provenance.facts import _input_state

ORIGIN = (0, 0, 0)
OME = "http://www.openmicroscopy.org/Schemas/OME/2016-06"


def values(shape: tuple[int, ...], dtype: str = "uint8", top: int = 200) -> NDArray[Any]:
    return (np.random.default_rng(5).random(shape) * top).astype(dtype)


def whole(path: Path) -> NDArray[Any]:
    source = open_source(path)
    pixels = source.read(ORIGIN, Box(0, 0, source.info.height, source.info.width))
    source.close()
    return pixels


def same_by_boxes(path: Path, expected: NDArray[Any]) -> None:
    """Compare boxes of a plane with (height, width, samples)."""
    source, rng = open_source(path), np.random.default_rng(6)
    for _ in range(8):
        y0, x0 = int(rng.integers(source.info.height)), int(rng.integers(source.info.width))
        y1, x1 = int(rng.integers(y0, source.info.height)), int(rng.integers(x0, source.info.width))
        found = source.read(ORIGIN, Box(y0, x0, y1 + 1, x1 + 1))
        assert found.dtype == expected.dtype and found.dtype.isnative
        np.testing.assert_array_equal(found, expected[y0 : y1 + 1, x0 : x1 + 1])
    source.close()


CODECS = ["lzw", "zlib", "zstd", "lzma", "packbits", "jpeg", "jpeg2000", "webp", "jpegxl", "lerc"]


@pytest.mark.parametrize("layout", ["tiles", "strips", "one strip"])
@pytest.mark.parametrize("codec", CODECS)
def test_every_compression(tmp_path: Path, codec: str, layout: str) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"tiles": {"tile": (32, 48)}, "strips": {"rowsperstrip": 16}}.get(
        layout, {"rowsperstrip": 101}
    )
    tifffile.imwrite(path, values((101, 77, 3)), photometric="rgb", compression=codec, **options)
    same_by_boxes(path, tifffile.imread(path))


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    ("predictor", "dtype"),
    [(2, "u2"), (2, "u4"), (2, "i1"), (2, "i2"), (3, "f2"), (3, "f4"), (3, "f8")],
)
def test_predictors_in_both_byte_orders(
    tmp_path: Path, predictor: int, dtype: str, byteorder: Any
) -> None:
    path, pixels = tmp_path / "a.tif", values((53, 37, 3), dtype)
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        predictor=predictor,
        compression="zlib",
        byteorder=byteorder,
        rowsperstrip=10,
    )
    same_by_boxes(path, pixels)


def test_full_resolution_level_of_a_pyramid(tmp_path: Path) -> None:
    pixels, path = values((2, 64, 96), "uint16"), tmp_path / "a.ome.tif"
    with tifffile.TiffWriter(path, ome=True) as writer:
        options: dict[str, Any] = {"photometric": "minisblack", "tile": (16, 32)}
        writer.write(pixels, subifds=1, metadata={"axes": "CYX"}, **options)
        writer.write(pixels[:, ::2, ::2], subfiletype=1, **options)
    source = open_source(path)
    assert source.info.shape == (2, 64, 96) and source.info.metadata.reading.pyramid_levels == 2
    found = source.read((0, 1, 0), Box(5, 6, 60, 90))[..., 0]
    np.testing.assert_array_equal(found, pixels[1, 5:60, 6:90])


def test_strips_with_a_place_but_no_length(tmp_path: Path) -> None:
    """As old writers left them; libtiff reads them where nothing is compressed."""
    pixels, path = values((40, 30), "uint16"), tmp_path / "a.tif"
    for compression, rows in ((None, 40), (None, 16), ("zlib", 16)):
        tifffile.imwrite(path, pixels, compression=compression, rowsperstrip=rows, metadata=None)
        with tifffile.TiffFile(path, mode="r+b") as tif:
            tag = tif.pages[0].tags["StripByteCounts"]
            tag.overwrite([0] * tag.count)
        if compression:
            with pytest.raises(ImageError, match="3 of its 3 strips or tiles have a place but no"):
                open_source(path)
        else:
            np.testing.assert_array_equal(whole(path)[..., 0], pixels)


def test_segments_are_read_to_their_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One call of the system gives 2 GiB at most."""
    path, pixels = tmp_path / "a.tif", values((40, 30))
    tifffile.imwrite(path, pixels, compression="lzw", rowsperstrip=16, metadata=None)
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda handle, count, at: real(handle, min(count, 99), at))
    np.testing.assert_array_equal(whole(path)[..., 0], pixels)


def test_a_thumbnail_in_front_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    small, large = values((20, 30, 3)), values((200, 300, 3))
    for subifds in (0, 1):
        with tifffile.TiffWriter(path) as writer:
            writer.write(small, photometric="rgb", subfiletype=1, subifds=subifds, metadata=None)
            writer.write(large, photometric="rgb", metadata=None)
        same_by_boxes(path, large)
    tifffile.imwrite(path, small, photometric="rgb", subfiletype=1, metadata=None)
    same_by_boxes(path, small)


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


def set_of_files(folder: Path) -> list[Path]:
    """An OME-TIFF of two depths in two files."""
    paths = [folder / f"m_Z{z}.ome.tif" for z in (0, 1)]
    parts = "".join(
        f'<TiffData FirstZ="{z}" IFD="0" PlaneCount="1"><UUID FileName="{p.name}">urn:uuid:{z}'
        f"</UUID></TiffData>"
        for z, p in enumerate(paths)
    )
    for z, path in enumerate(paths):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="{OME}" UUID="urn:uuid:{z}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="30" SizeY="20" '
            'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{parts}</Pixels></Image></OME>"
        )
        tifffile.imwrite(path, np.full((20, 30), z + 5, np.uint8), description=xml, metadata=None)
    return paths


def test_a_set_of_files_is_one_input(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = set_of_files(tmp_path)
    source = open_source(first)
    assert source.info.shape == (2, 20, 30)
    assert source.info.metadata.reading.other_files == (str(second.resolve()),)
    assert "is one of 2 files of an image, which is read whole" in caplog.text
    with pytest.raises(ImageError, match="is a part of the input"):
        open_sink(SinkOptions(second, overwrite=True), source.info)
    before = _input_state(first, source.info)
    tifffile.imwrite(second, np.zeros((20, 30), np.uint8))
    assert _input_state(first, source.info) != before


def test_first_of_several_series(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(values((20, 30, 3)), photometric="rgb")
        writer.write(values((9, 11)))
    assert open_source(path).info.metadata.reading.other_series == 1
    same_by_boxes(path, values((20, 30, 3)))


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
    assert info.alpha and info.nodata is None
    np.testing.assert_array_equal(whole(path)[..., 3], np.where(indices == 2, 0, 255))


def test_compressed_page_of_one_strip_is_decoded_once(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.tif", values((64, 50), "uint16")
    tifffile.imwrite(path, pixels, compression="lzw", rowsperstrip=64)
    source: Any = open_source(path)
    calls, decode = [], source._decode
    source._decode = lambda *args, **more: (calls.append(1), decode(*args, **more))[1]
    for y in range(0, 64, 16):
        np.testing.assert_array_equal(
            source.read(ORIGIN, Box(y, 3, y + 16, 40))[..., 0], pixels[y : y + 16, 3:40]
        )
    assert len(calls) == 1
    assert source.resident_bytes >= pixels.nbytes and source.read_bytes(16, 37) == 0


def test_deflate_strip_that_lacks_its_end_is_read_as_libtiff_does(tmp_path: Path) -> None:
    path, pixels = tmp_path / "a.tif", values((64, 50))
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=64)
    with tifffile.TiffFile(path, mode="r+") as tif:
        counts = tif.pages.first.tags["StripByteCounts"]
        counts.overwrite(counts.value[0] - 3)  # of the 4 bytes of the checksum
    np.testing.assert_array_equal(whole(path)[..., 0], pixels)


@pytest.mark.parametrize("layout", ["tiles", "strips", "one strip"])
def test_deflate_that_does_not_fit_its_checksum_is_refused(tmp_path: Path, layout: str) -> None:
    path = tmp_path / "a.tif"
    options: dict[str, Any] = {"tiles": {"tile": (32, 32)}, "strips": {"rowsperstrip": 16}}
    tifffile.imwrite(
        path, values((64, 64)), compression="zlib", **options.get(layout, {"rowsperstrip": 64})
    )
    with tifffile.TiffFile(path) as tif:
        last = len(tif.pages.first.dataoffsets) - 1
        end = tif.pages.first.dataoffsets[last] + tif.pages.first.databytecounts[last]
    for place in (end - 1, end - 200):  # in the sum, and in the pixels
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        damaged = tmp_path / "damaged.tif"
        damaged.write_bytes(data)
        kind = "tile" if layout == "tiles" else "strip"
        with pytest.raises(ImageError, match=f"damaged.tif: cannot decode {kind} {last}: "):
            whole(damaged)


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(
    ("axes", "shape"),
    [("CYX", (3, 40, 30)), ("ZYX", (4, 40, 30)), ("TCYX", (2, 3, 40, 30))],
)
def test_planes_that_tifffile_stores_as_colours_are_planes(
    tmp_path: Path, axes: str, shape: tuple[int, ...], dtype: str, compression: str | None
) -> None:
    path, pixels = tmp_path / "a.tif", values(shape, dtype)
    how: dict[str, Any] = {"photometric": "rgb", "planarconfig": "separate"}  # its own choice
    tifffile.imwrite(path, pixels, metadata={"axes": axes}, compression=compression, **how)
    with closing(open_source(path)) as source:
        assert (source.info.axes, source.info.shape) == (axes, shape)
        assert source.info.samples == 1 and not source.info.alpha
        for plane in source.info.planes:
            index = tuple(plane["TCZ".index(axis)] for axis in axes if axis in "TCZ")
            found = source.read(plane, Box(3, 2, 39, 30))[..., 0]
            np.testing.assert_array_equal(found, pixels[index][3:39, 2:30])


def test_interleaved_samples_that_the_file_names_are_colours_or_planes(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values((40, 30, 3)), metadata={"axes": "YXC"}, photometric="rgb")
    assert open_source(path).info.axes == "YXS"
    same_by_boxes(path, values((40, 30, 3)))
    tifffile.imwrite(
        path, values((40, 30, 5)), metadata={"axes": "YXC"}, photometric="minisblack",
        planarconfig="contig",
    )  # fmt: skip
    info = open_source(path).info
    assert (info.axes, info.shape) == ("CYX", (5, 40, 30))
    same_by_boxes(path, values((40, 30, 5))[..., :1])


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


def test_companion_file_is_used_or_missed_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, pixels = tmp_path / "a.ome.tif", values((6, 20, 30))
    tifffile.imwrite(
        path, pixels, metadata={"axes": "CYX", "PhysicalSizeX": 0.5}, photometric="minisblack"
    )
    xml = str(tifffile.tiffcomment(path))
    reference = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" '
        'UUID="urn:uuid:1"><BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:2"/></OME>'
    )
    tifffile.tiffcomment(path, reference)
    with caplog.at_level(logging.WARNING, "unetmm"):
        assert open_source(path).info.channel_names == ()
    assert "a.companion.ome is missing" in caplog.text
    (tmp_path / "a.companion.ome").write_text(xml, encoding="utf-8")
    info = open_source(path).info
    assert (info.axes, info.shape) == ("CYX", (6, 20, 30))
    assert info.pixel_size["X"] == (0.5, "micrometer")


def test_a_set_of_several_ome_files_is_one_image(tmp_path: Path) -> None:
    pixels = values((2, 20, 30), "uint16")
    namespace = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    uuids = {name: f"urn:uuid:00000000-0000-0000-0000-00000000000{name}" for name in "12"}
    planes = "".join(
        f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1">'
        f'<UUID FileName="{name}.ome.tif">{uuid}</UUID></TiffData>'
        for z, (name, uuid) in enumerate(uuids.items())
    )
    for z, (name, uuid) in enumerate(uuids.items()):
        xml = (
            f'<?xml version="1.0"?><OME xmlns="{namespace}" UUID="{uuid}"><Image ID="Image:0">'
            '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="30" SizeY="20" '
            'SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
            f"{planes}</Pixels></Image></OME>"
        )
        tifffile.imwrite(tmp_path / f"{name}.ome.tif", pixels[z], description=xml, metadata=None)
    source = open_source(tmp_path / "1.ome.tif")
    assert (source.info.axes, source.info.shape) == ("ZYX", (2, 20, 30))
    for z in range(2):
        found = source.read((0, 0, z), Box(2, 3, 15, 29))[..., 0]
        np.testing.assert_array_equal(found, pixels[z, 2:15, 3:29])
    (tmp_path / "2.ome.tif").unlink()
    with pytest.raises(ImageError, match="needs 2.ome.tif; put"):
        open_source(tmp_path / "1.ome.tif")


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
    assert (info.axes, info.shape, info.nodata) == ("CYX", (4, 20, 30), -9999)
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


SHAPES = [((1, 1), {}), ((1, 3000), {}), ((3000, 1), {"compression": "zlib", "rowsperstrip": 7})]


@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_thin_images(tmp_path: Path, shape: tuple[int, int], options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values(shape, "int16"), **options)
    same_by_boxes(tmp_path / "a.tif", values(shape, "int16")[..., None])


def test_palette_with_further_samples_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values((20, 30, 2)), photometric="minisblack", planarconfig="contig")
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages.first.tags["PhotometricInterpretation"].overwrite(3)
    with pytest.raises(ImageError, match="palette and further samples.*save"):
        open_source(path)


def write_ome(
    path: Path,
    pages: int,
    sizes: dict[str, int],
    inside: str = "",
    order: str = "XYZCT",
    more: str = "",
) -> NDArray[Any]:
    """An OME-TIFF that describes what its pages may not hold; gives their pixels."""
    pixels = values((pages, 20, 30), "uint16")
    stated = "".join(f' Size{axis}="{n}"' for axis, n in sizes.items())
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><OME xmlns="http://www.openmicroscopy.org/Schemas/'
        f'OME/2016-06"><Image ID="Image:0" Name="first"><Pixels ID="Pixels:0" DimensionOrder='
        f'"{order}" Type="uint16" SizeX="30" SizeY="20"{stated}>{inside}'
        f'<TiffData IFD="0" PlaneCount="{np.prod(list(sizes.values()))}"/></Pixels></Image>{more}'
        "</OME>"
    )
    with tifffile.TiffWriter(path) as file:
        for i, page in enumerate(pixels):
            description = None if i else xml
            file.write(page, description=description, metadata=None, contiguous=False)
    return pixels


INTERRUPTED = [
    ("whole times are kept", 4, {"T": 5, "C": 1, "Z": 2}, (2, 2), "the first 2 completely"),
    ("a part of a time is not", 5, {"T": 5, "C": 1, "Z": 2}, (2, 2), "5 time points"),
    ("depths of one time", 3, {"T": 1, "C": 1, "Z": 6}, (3,), "6 depths"),
    ("no complete time", 3, {"T": 2, "C": 1, "Z": 4}, (2, 4), "5 of its 8 planes are missing"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("pages", "sizes", "shape", "text"), [row[1:] for row in INTERRUPTED],
    ids=[row[0] for row in INTERRUPTED],
)  # fmt: skip
def test_what_there_is_of_an_interrupted_acquisition_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pages: int, sizes: dict[str, int],
    shape: tuple[int, ...], text: str,
) -> None:  # fmt: skip
    path = tmp_path / "a.ome.tif"
    pixels = write_ome(path, pages, sizes)
    with closing(open_source(path)) as source:
        info = source.info
        assert info.shape[:-2] == shape
        last = source.read(info.planes[-1], Box(0, 0, 20, 30))[..., 0]
    told = [r.getMessage() for r in caplog.records if r.name.startswith("unetmm")]
    assert len(told) == 1 and told[0].startswith(f"{path}: ") and text in told[0]
    if len(info.planes) <= pages:
        np.testing.assert_array_equal(last, pixels[len(info.planes) - 1])
        assert f'SizeT="{info.length("T")}"' in info.metadata.microscopy.ome_xml
        assert f'SizeZ="{info.length("Z")}"' in info.metadata.microscopy.ome_xml


def test_planes_missing_in_between_are_filled_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.ome.tif"
    write_ome(path, 3, {"T": 3, "C": 1, "Z": 1})
    stated = '<TiffData IFD="0" PlaneCount="3"/>'
    gap = '<TiffData FirstT="0" IFD="0"/><TiffData FirstT="2" IFD="2"/>'
    with tifffile.TiffFile(path, mode="r+") as tif:
        text = tif.pages.first.description
        tif.pages.first.tags["ImageDescription"].overwrite(text.replace(stated, gap))
    with closing(open_source(path)) as source:
        assert source.info.shape == (3, 20, 30)
        assert not source.read((1, 0, 0), Box(0, 0, 20, 30)).any()
    assert "1 of its 3 planes are missing" in caplog.text


def test_a_second_image_is_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.ome.tif"
    second = '<Image ID="Image:1"><Pixels ID="Pixels:1" DimensionOrder="XYZCT" Type="uint16" '
    second += 'SizeX="30" SizeY="20" SizeT="1" SizeC="1" SizeZ="2"><TiffData IFD="2"/></Pixels>'
    write_ome(path, 4, {"T": 1, "C": 1, "Z": 2}, more=second + "</Image>")
    assert open_source(path).info.shape == (2, 20, 30)
    assert f"{path}: holds 2 images; only the first is read" in caplog.text


@pytest.mark.parametrize(
    ("named", "expected"), [(1, ("n0", "", "")), (2, ("n0", "n1", "")), (5, ("n0", "n1", "n2"))]
)
def test_names_of_channels_are_kept_where_their_number_is_wrong(
    tmp_path: Path, named: int, expected: tuple[str, ...]
) -> None:
    channels = "".join(f'<Channel ID="Channel:0:{i}" Name="n{i}"/>' for i in range(named))
    write_ome(tmp_path / "a.ome.tif", 3, {"T": 1, "C": 3, "Z": 1}, inside=channels)
    assert open_source(tmp_path / "a.ome.tif").info.channel_names == expected


def test_an_order_of_planes_that_is_none_is_read_where_it_does_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.tif"
    pixels = write_ome(path, 4, {"T": 1, "C": 1, "Z": 4}, order="XYQZT")
    with closing(open_source(path)) as source:
        assert (source.info.axes, source.info.shape) == ("ZYX", (4, 20, 30))
        found = source.read((0, 0, 2), Box(0, 0, 20, 30))[..., 0]
        np.testing.assert_array_equal(found, pixels[2])
    write_ome(path, 4, {"T": 2, "C": 1, "Z": 2}, order="xyzct")
    assert open_source(path).info.shape == (2, 2, 20, 30)
    write_ome(path, 4, {"T": 2, "C": 1, "Z": 2}, order="XYQZT")
    with pytest.raises(ImageError, match='DimensionOrder "XYQZT", which is no order.*XYZCT'):
        open_source(path)
