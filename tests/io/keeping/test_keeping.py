"""What an input says is kept, or named when its output is begun."""

from __future__ import annotations

import io
import logging
import struct
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr
from phone_files import IPTC, phone_jpeg, png
from PIL import Image, ImageCms
from PIL.ExifTags import IFD

from unetmm.errors import ImageError
from unetmm.io.framed import framed_info
from unetmm.io.image import Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.keeping import KINDS, Target, not_kept
from unetmm.io.open import open_sink, open_source
from unetmm.io.photo.png_header import pack_chunk
from unetmm.io.select import Selection
from unetmm.io.xmp import fit_xmp, without_companions

ROOT = Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "benchmarks"))

from metadata_page import make_page  # noqa: E402 a script beside the packages

CICP = (b"cICP", bytes([9, 16, 0, 1]))
MDCV = (b"mDCV", struct.pack(">8H2I", *range(8), 10**7, 50))
CLLI = (b"cLLI", struct.pack(">2I", 10**7, 4 * 10**6))
LINEAR = (b"gAMA", struct.pack(">I", 100000))


def copy(source: Path, target: Path) -> ImageInfo:
    """The same pixels in another file; gives what is known of it."""
    opened = open_source(source)
    info = opened.info
    sink = open_sink(SinkOptions(target, True), info)
    box = Box(0, 0, info.height, info.width)
    for plane in info.planes:
        sink.write(plane, box, opened.read(plane, box))
    sink.close()
    opened.close()
    return open_source(target).info


def test_the_page_shows_the_table() -> None:
    assert (ROOT / "docs" / "reference" / "metadata.md").read_text("utf-8") == make_page(), (
        "write it anew by python benchmarks/metadata_page.py docs/reference/metadata.md"
    )


@pytest.mark.parametrize("name", ["b.jpg", "b.png", "b.tif", "b.ome.zarr"])
@pytest.mark.parametrize("original", ["a.jpg", "a.png", "a.tif"])
def test_what_is_said_to_be_kept_is_there(
    tmp_path: Path, original: str, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    if original == "a.jpg":
        source = phone_jpeg(tmp_path / original)
    elif original == "a.png":
        text = (b"tEXt", b"Title\0of it")
        source = png(tmp_path / original, LINEAR, MDCV, CLLI, text, (b"oFFs", bytes(9)))
    else:
        source, pixels = tmp_path / original, np.full((20, 30, 3), 9, np.uint8)
        tags = [(700, 1, 9, b"<x:xmp...", True), (33723, 7, len(IPTC), IPTC, True)]
        tifffile.imwrite(source, pixels, photometric="rgb", description="words", extratags=tags)
    before = open_source(source).info
    if before.dtype != np.uint8 and name == "b.jpg":
        pytest.skip("JPEG has 8 bits")
    after = copy(source, tmp_path / name)
    format = {"jpg": "jpeg", "tif": "tiff", "zarr": "ome-zarr"}.get(name.split(".")[-1], "png")
    lost = not_kept(before, format)
    said = [r.getMessage() for r in caplog.records if "not kept" in r.getMessage()]
    assert said == ([f"{tmp_path / name}: not kept: {', '.join(lost)}"] if lost else [])
    for kind in KINDS:
        found = kind.find(before)
        kept = format in kind.kept and not kind.unless(before, Target(format))
        if found and kept and "colour profile" not in kind.kept[format]:
            texts_of_comment = kind.name == "comment" and format == "png"
            assert texts_of_comment or kind.find(after), kind.name


def test_a_photo_that_is_turned(tmp_path: Path) -> None:
    source = phone_jpeg(tmp_path / "a.jpg")
    info = open_source(source).info
    assert (info.width, info.height) == (40, 30)
    assert info.metadata.reading.left_out == (
        *("gain map", "thumbnail of Photoshop", "APP4 QVCI", "1 further picture"),
    )
    for name in ("b.jpg", "b.png"):
        copy(source, tmp_path / name)
        with Image.open(tmp_path / name) as image:
            exif, camera = image.getexif(), image.getexif().get_ifd(IFD.Exif)
            assert exif[271] == "Acme" and exif[274] == 1
            assert (camera[40962], camera[40963]) == (40, 30)
            small = exif.get_ifd(IFD.IFD1)
            assert small[514] > 100
        raw = (tmp_path / name).read_bytes()
        start = raw.index(b"\xff\xd8", 10)
        assert Image.open(io.BytesIO(raw[start:])).size == (40, 30), "a new thumbnail"
        assert b'Orientation="1"' in raw and b'PixelXDimension="40"' in raw
        assert b"<tiff:ImageWidth>40<" in raw and b'xmp:Rating="4"' in raw
        assert b"GainMap" not in raw and b"hdrgm" not in raw and b"Thumbnails" not in raw
    found = open_source(tmp_path / "b.jpg").info.metadata
    assert found.iptc == open_source(tmp_path / "b.png").info.metadata.iptc == IPTC
    assert b"8BIM\x03\xed" in found.photo.image_resources
    assert not_kept(open_source(tmp_path / "b.jpg").info, "jpeg") == ()


def test_a_crop_has_its_own_sizes(tmp_path: Path) -> None:
    info = open_source(phone_jpeg(tmp_path / "a.jpg")).info
    places = b' GPano:CroppedAreaLeftPixels="3" GPano:CroppedAreaImageWidthPixels="40"'
    photo = replace(info.metadata.photo, xmp=info.metadata.photo.xmp + places)
    part = framed_info(
        replace(info, metadata=replace(info.metadata, photo=photo)), Box(2, 5, 12, 25)
    )
    xmp = part.metadata.xmp
    assert b'PixelXDimension="20"' in xmp and b'LeftPixels="8"' in xmp
    assert b'ImageWidthPixels="20"' in xmp


def test_xmp_of_a_tiff_fits_too(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    xmp = b'<x exif:PixelXDimension="30"><xmp:Thumbnails>old</xmp:Thumbnails></x>'
    tag = (700, 1, len(xmp), xmp, True)
    tifffile.imwrite(path, np.zeros((20, 30), np.uint8), extratags=[tag], metadata=None)
    after = copy(path, tmp_path / "b.tif")
    assert after.metadata.xmp == b'<x exif:PixelXDimension="30"></x>'
    part = framed_info(after, Box(0, 0, 9, 8)).metadata.xmp
    assert part == b'<x exif:PixelXDimension="8"></x>'


def test_colours_of_a_png(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    hdr = png(tmp_path / "hdr.png", CICP, MDCV, CLLI)
    assert copy(hdr, tmp_path / "b.png").metadata.photo.png_chunks == (CICP, MDCV, CLLI)
    assert not caplog.records
    assert copy(hdr, tmp_path / "b.ome.zarr").metadata.photo.png_chunks == (CICP, MDCV, CLLI)
    copy(hdr, tmp_path / "b.tif")
    space = "colour space (BT.2020 with HDR transfer PQ)"
    lost = f"{space}, mastering display (mDCV), light levels (cLLI)"
    assert caplog.messages == [f"{tmp_path / 'b.tif'}: not kept: {lost}"]
    profile = copy(png(tmp_path / "l.png", LINEAR), tmp_path / "l.tif").metadata.photo.icc_profile
    made = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    back = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (55, 55, 55)), made, ImageCms.createProfile("sRGB")
    )
    assert back is not None and abs(back.getpixel((0, 0))[0] - 128) <= 2, "linear data"
    usual = png(tmp_path / "u.png", (b"gAMA", struct.pack(">I", 45455)))
    assert copy(usual, tmp_path / "u.tif").metadata.photo.icc_profile == b""


@pytest.mark.parametrize("name", ["b.tif", "b.jpg"])
def test_colour_spaces_by_number_become_profiles(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    p3, space = tmp_path / "p3.png", pack_chunk(b"cICP", bytes([12, 13, 0, 1]))
    Image.fromarray(np.zeros((9, 11, 3), np.uint8)).save(p3)
    whole = p3.read_bytes()
    p3.write_bytes(whole[:33] + space + whole[33:])  # behind the head
    profile = copy(p3, tmp_path / name).metadata.photo.icc_profile
    assert not caplog.records
    made = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    back = ImageCms.profileToProfile(
        Image.new("RGB", (1, 1), (200, 150, 100)), made, ImageCms.createProfile("sRGB")
    )
    assert back is not None
    shown = np.array(back.getpixel((0, 0)))
    assert np.abs(shown - (208, 149, 93)).max() <= 2, "Display P3 as sRGB shows it"
    assert b"Display P3" in profile


def test_bits_and_time_of_a_png_are_named(tmp_path: Path) -> None:
    names = (b"sBIT", bytes([12] * 3)), (b"tIME", bytes(7)), (b"caBX", b"x"), (b"vpAg", bytes(9))
    info = open_source(png(tmp_path / "a.png", *names)).info
    lost = ("time of change (tIME)", "content credentials", "significant bits (sBIT)")
    assert not_kept(info, "png") == lost
    full = png(tmp_path / "full.png", (b"sBIT", bytes([16] * 3)))
    assert not_kept(open_source(full).info, "png") == ()


def test_tags_and_images_of_a_tiff_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tags = [
        (34118, 2, 0, "AP_PIXEL_SIZE\r\nPixel Size = 2 nm", True),
        (60000, 3, 1, 5, True),
        (34377, 7, 4, b"8BIM", True),
    ]
    with tifffile.TiffWriter(path) as writer:
        writer.write(np.zeros((40, 50), np.uint8), extratags=tags, metadata=None)
        writer.write(np.zeros((9, 11), np.uint8), metadata=None)
    info = open_source(path).info
    lost = ("Photoshop resources", "TIFF tags CZ_SEM 60000", "1 further image")
    assert not_kept(info, "tiff") == lost


@pytest.mark.parametrize("name", ["b.tif", "b.ome.zarr"])
def test_words_of_imagej_are_named(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    words = {"axes": "ZYX", "Info": "40x", "Labels": ["a", "b"], "Ranges": (0.0, 4.0)}
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((2, 20, 30), np.uint16), imagej=True, metadata=words)
    copy(path, tmp_path / name)
    assert "not kept: ImageJ info, slice labels, display ranges" in caplog.text


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_labels_are_copied_or_named(
    tmp_path: Path, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    image, other = tmp_path / "a.ome.zarr", tmp_path / "b.ome.zarr"
    pixels = np.zeros((20, 30), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    copy(tmp_path / "a.tif", image)
    labels = zarr.open_group(image / "labels", mode="w")
    labels.attrs["ome"] = {"labels": ["cells.zarr"]}
    copy(tmp_path / "a.tif", image / "labels" / "cells.zarr")
    cells = zarr.open_group(image / "labels" / "cells.zarr", mode="a").attrs
    cells["ome"] = cells["ome"] | {"image-label": {}}
    with pytest.raises(ImageError, match="is an image of labels, whose numbers are names"):
        open_source(image / "labels" / "cells.zarr")
    open_source(image / "labels" / "cells.zarr", Selection(labels=True)).close()
    source = open_source(image)
    sink = open_sink(SinkOptions(other, encoding=Encoding(ome_zarr=version)), source.info)
    sink.write((0, 0, 0), Box(0, 0, 20, 30), pixels[..., None])
    sink.close()
    assert ("not kept: label images" in caplog.text) == (version == "0.4")
    assert (other / "labels" / "cells.zarr").is_dir() == (version == "0.5")
    if version == "0.5":
        assert (
            open_source(other / "labels" / "cells.zarr", Selection(labels=True)).info.height == 20
        )
    part = open_source(image, Selection(planes={"T": (0, 1)}))
    assert not_kept(part.info, "ome-zarr") == ()
    assert not_kept(framed_info(source.info, Box(0, 0, 9, 9)), "ome-zarr") == ("label images",)


def test_colours_of_a_sensor_are_refused(tmp_path: Path) -> None:
    version = (50706, 1, 4, (1, 4, 0, 0), True)
    pixels = np.zeros((20, 30, 3), np.uint16)
    tifffile.imwrite(tmp_path / "a.dng", pixels, photometric=34892, extratags=[version])
    with pytest.raises(ImageError, match="linear DNG"):
        open_source(tmp_path / "a.dng")


def test_a_palette_that_was_expanded_is_no_colour_of_a_band(tmp_path: Path) -> None:
    path, items = tmp_path / "a.tif", '<GDALMetadata><Item name="COLORINTERP" sample="0" role='
    items += '"colorinterp">Palette</Item></GDALMetadata>'
    colours = np.random.default_rng(0).integers(0, 65536, (3, 256)).astype(np.uint16)
    tifffile.imwrite(
        path, np.zeros((20, 30), np.uint8), photometric="palette", colormap=colours,
        extratags=[(42112, 2, 0, items, True)],
    )  # fmt: skip
    copy(path, tmp_path / "b.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages.first.photometric == 2
        assert "Palette" not in str(tif.pages.first.tags.valueof(42112))


def test_attributes_of_others_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.zarr"
    group = zarr.open_group(path, mode="w")
    scale = [{"type": "scale", "scale": [1.0, 1.0]}]
    axes = [{"name": name, "type": "space", "unit": None} for name in "yx"]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    image = {"axes": axes, "datasets": datasets}
    group.attrs.update({"ome": {"version": "0.5", "multiscales": [image, image]}, "lab": "ours"})
    group.create_array("0", shape=(20, 30), dtype="u1")
    info = open_source(path).info
    assert info.pixel_size == {}, "a unit of null is none"
    assert not_kept(info, "ome-zarr") == ("attributes lab", "1 further image")


def test_bits_and_comments_of_pnm_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(b"P5\n# by hand\n3 2\n4095\n" + bytes(12))
    info = open_source(path).info
    assert not_kept(info, "png") == ("significant bits", "comments")
    assert not_kept(info, "tiff") == ("comments",)
    assert copy(path, tmp_path / "b.tif").metadata.display.bits == 12


def test_hostile_xmp_takes_no_time() -> None:
    for part in (b"<hdrgm:a>", b"<hdrgm:a ", b"<xmp:Thumbnails>", b" hdrgm:a=", b"<apdi:X>"):
        xmp = part * (2**19 // len(part))
        started = time.monotonic()
        assert without_companions(xmp) == xmp
        fit_xmp(xmp, 3, 4)
        assert time.monotonic() - started < 2
    names = b"".join(b"<hdrgm:a%d>" % i for i in range(10**5))
    assert without_companions(names) == names
    assert without_companions(b"<a/><hdrgm:b/><hdrgm:c>1</hdrgm:c><d/>") == b"<a/><d/>"


@pytest.mark.parametrize(
    ("shape", "photometric", "words"),
    [((40, 60), 32803, "raw camera mosaic"), ((40, 60, 3), 34892, "linear DNG")],
)
def test_a_raw_photo_is_no_thumbnail(
    tmp_path: Path, shape: tuple[int, ...], photometric: int, words: str
) -> None:
    path, version = tmp_path / "a.dng", (50706, 1, 4, (1, 4, 0, 0), True)
    with tifffile.TiffWriter(path) as writer:
        small = np.zeros((12, 16, 3), np.uint8)
        writer.write(
            small, photometric="rgb", subfiletype=1, subifds=1, metadata=None, extratags=[version]
        )
        writer.write(np.zeros(shape, np.uint16), photometric=photometric, metadata=None)
    with pytest.raises(ImageError, match=words):
        open_source(path)


@pytest.mark.parametrize(
    ("side_px", "name", "form", "kept"),
    [
        (300, "o.tif", "tiff", False),
        (600, "o.tif", "tiff", True),
        (600, "o.ome.zarr", "ome-zarr", True),
        (600, "o.png", "png", False),
    ],
)
def test_overviews_are_made_anew_or_it_is_said(
    side_px: int, name: str, form: str, kept: bool, tmp_path: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 999, (side_px, side_px), np.uint16)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, tile=(128, 128), subifds=1)
        file.write(pixels[::2, ::2], tile=(128, 128), subfiletype=1)
    copy(tmp_path / "a.tif", tmp_path / name)
    info = open_source(tmp_path / "a.tif").info
    assert ("overviews" in not_kept(info, form)) is not kept
    if name == "o.tif":
        with tifffile.TiffFile(tmp_path / name) as made:
            assert len(made.series[0].levels) == 1 + kept
    if name == "o.ome.zarr":
        assert (tmp_path / name / "1").is_dir()


def test_items_of_gdal_are_named(tmp_path: Path) -> None:
    items = "".join(f'<Item name="{name}">1</Item>' for name in ("ACQ", "STATISTICS_MEAN", "ACQ"))
    path = tmp_path / "a.tif"
    for text, lost in ((items, ("GDAL items (ACQ)",)), ('<Item name="STATISTICS_MEAN"/>', ())):
        tag = (42112, 2, 0, f"<GDALMetadata>{text}</GDALMetadata>", True)
        tifffile.imwrite(path, np.zeros((20, 30), np.uint8), extratags=[tag], metadata=None)
        info = open_source(path).info
        assert not_kept(info, "png") == lost
        assert not_kept(info, "tiff") == ()
