"""Strips and tiles of a TIFF however they are stored: boxes equal whole reads."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tiff_files import ORIGIN, same_by_boxes, values, whole

from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.io.open import open_source

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


SHAPES = [((1, 1), {}), ((1, 3000), {}), ((3000, 1), {"compression": "zlib", "rowsperstrip": 7})]


@pytest.mark.parametrize(("shape", "options"), SHAPES)
def test_thin_images(tmp_path: Path, shape: tuple[int, int], options: dict[str, Any]) -> None:
    tifffile.imwrite(tmp_path / "a.tif", values(shape, "int16"), **options)
    same_by_boxes(tmp_path / "a.tif", values(shape, "int16")[..., None])
