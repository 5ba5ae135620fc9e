"""One table of formats: every reader and store in it is there, and every list is made from it."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest

from unetmm.errors import ImageError
from unetmm.io.formats import (
    DOUBLE_SUFFIXES,
    FORMATS,
    IMAGE_SUFFIXES,
    OUTPUT_SUFFIX,
    READ_SUFFIXES,
    READABLE,
    RECORDLESS_SUFFIXES,
    WRITTEN,
    Format,
    find_format,
)
from unetmm.io.image import ImageInfo, SinkOptions
from unetmm.io.metadata import GeoFacts, Metadata
from unetmm.io.open import open_source, output_format
from unetmm.io.sniff import sniff_format
from unetmm.quality.testsets import list_images
from unetmm.train.images import load_images
from unetmm_cli.batch.inputs import find
from unetmm_cli.files import split_name

PIXELS = np.random.default_rng(5).integers(0, 256, (24, 32, 3), dtype=np.uint8)
BY_OTHER_SOFTWARE = ("a.png", "a.bmp", "a.tif", "a.ppm")
"""Names that imageio writes without loss; .webp and .jp2 are read in the tests of photos."""


@pytest.mark.parametrize("format", FORMATS, ids=lambda f: f.name)
def test_readers_and_stores_of_the_table_are_there(tmp_path: Path, format: Format) -> None:
    nowhere = tmp_path / f"a{format.suffixes[0]}"
    assert format.reader is not None
    with pytest.raises(ImageError):
        format.reader(nowhere)
    for read in (format.record, format.checksums):
        if read is not None:
            with pytest.raises((ImageError, OSError)):
                read(nowhere)
    if format.store is not None:
        info = ImageInfo("any", "YXS", PIXELS.shape, PIXELS.dtype, (1, 1))
        if format.name == "geozarr":
            info = replace(info, metadata=Metadata(geo=GeoFacts(transform=(0, 1, 0, 0, 0, -1))))
        if format.name == "mrc":
            info = ImageInfo("any", "YX", PIXELS.shape[:2], np.dtype(np.int16), (1, 1))
        assert format.store(SinkOptions(nowhere), info).levels


def test_names_aliases_and_marks_are_each_of_one_format() -> None:
    names = [name for f in FORMATS for name in (f.name, *f.aliases)]
    suffixes = [s for f in FORMATS for s in (*f.suffixes, *f.read_only_suffixes)]
    marks = [mark for f in FORMATS for mark in f.marks]
    for things in (names, suffixes, marks):
        assert len(set(things)) == len(things)
    assert not [(a, b) for a in marks for b in marks if a != b and a.startswith(b)]
    assert all(s.startswith(".") and s == s.lower() for s in suffixes)


def test_lists_made_from_the_table_are_those_of_the_documents() -> None:
    assert WRITTEN == ("tiff", "ome-zarr", "geozarr", "ozx", "png", "jpeg", "npy", "mrc")
    assert READABLE == (
        "TIFF, OME-Zarr, zipped OME-Zarr (.ozx), PNG, JPEG, JPEG 2000, WebP, AVIF, HEIC, "
        "JPEG XL, BMP, PNM, NumPy .npy, MRC, FITS, DICOM, NRRD, OpenEXR, HDF5, CZI, ND2 or LIF"
    )
    assert READ_SUFFIXES >= {".tif", ".zarr", ".svs", ".npy", ".czi", ".jp2", ".ppm"}
    assert ".gif" in IMAGE_SUFFIXES - READ_SUFFIXES
    assert OUTPUT_SUFFIX["ome-zarr"] == ".ome.zarr" and OUTPUT_SUFFIX["jpeg"] == ".jpg"
    assert set(RECORDLESS_SUFFIXES) == {".npy", ".mrc", ".mrcs"}
    assert set(DOUBLE_SUFFIXES) == {".ome.zarr", ".geo.zarr", ".ome.tif", ".ome.tiff"}
    assert split_name("scan.1.ome.tiff") == ("scan.1", ".ome.tiff")


def test_formats_are_found_by_alias_and_extension() -> None:
    assert find_format("zarr") is find_format("ome-zarr") is not None
    assert find_format("gif") is None
    assert output_format("a.JPEG") == output_format("a.zarr", "jpg") == "jpeg"
    for name in ("a.svs", "a.webp", "a.czi"):
        with pytest.raises(ImageError, match=r"use \.tif, .*, \.npy or \.mrc"):
            output_format(name)


@pytest.mark.parametrize("name", BY_OTHER_SOFTWARE)
def test_files_of_other_software_are_read_as_it_reads_them(tmp_path: Path, name: str) -> None:
    iio.imwrite(tmp_path / name, PIXELS)
    assert (tmp_path / name).suffix in (found := sniff_format(tmp_path / name)).suffixes
    source = open_source(tmp_path / name)
    assert source.info.format == found.name
    assert np.array_equal(load_images([str(tmp_path)], 3)[0], iio.imread(tmp_path / name))


def test_folders_of_any_use_hold_the_same_images(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PIXELS)
    iio.imwrite(tmp_path / "b.webp", PIXELS)
    (tmp_path / "c.txt").write_text("no image")
    names = ["a.npy", "b.webp"]
    assert [path.name for path, _ in find([str(tmp_path)])] == names  # type: ignore[union-attr]
    assert [path.name for path in list_images(tmp_path)] == names
    assert len(load_images([str(tmp_path)], 3)) == 2


def test_test_sets_list_what_looks_like_an_image_but_is_not_read(tmp_path: Path) -> None:
    iio.imwrite(tmp_path / "a.gif", PIXELS)
    assert [path.name for path in list_images(tmp_path)] == ["a.gif"]
    with pytest.raises(ImageError, match="the file is a GIF"):
        open_source(tmp_path / "a.gif")
    with pytest.raises(ImageError, match="no training image"):
        load_images([str(tmp_path)], 3)


def test_the_table_loads_no_codec() -> None:
    code = (
        "import sys, unetmm.io.formats\n"
        "assert not {'numpy', 'tifffile', 'zarr', 'imagecodecs', 'PIL'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
