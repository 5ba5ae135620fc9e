"""GDAL and Pillow read every kind of output, and see profile, EXIF and resolution."""

from __future__ import annotations

import struct
import warnings
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import rasterio
import tifffile
from PIL import Image
from PIL.ExifTags import IFD
from roundtrip_copies import copy, random_pixels, whole

from unetmm.io.exif import (
    CAMERA,
    GPS,
    ExifEntry,
    pack_directories,
    read_directories,
    read_from_tiff,
)

# rasterio multiplies its transforms as affine would rather not have it.
pytestmark = pytest.mark.filterwarnings("ignore::PendingDeprecationWarning")
ICC = b"profile " * 20


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
        try:
            assert np.array_equal(np.asarray(image), pixels)
        except OSError:
            if compression != "zstd":
                raise
            pytest.skip("this Pillow has no Zstandard")
