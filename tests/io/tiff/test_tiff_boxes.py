"""Boxes of a TIFF equal whole reads, in bounded memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tiff_arrays import boxes_of, plane_of, random_pixels

from unetmm.io.image import Box, Plane
from unetmm.io.open import open_source
from unetmm.io.tiff.segments import SegmentGrid

BITS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 8},
    "tiles": {"tile": (16, 32)},
    "deflate": {"compression": "zlib"},
    "packbits": {"compression": "packbits", "rowsperstrip": 5},
    "white is zero": {"photometric": "miniswhite"},
}


@pytest.mark.parametrize("layout", BITS)
def test_pixels_of_one_bit_are_black_and_white_as_in_a_png(tmp_path: Path, layout: str) -> None:
    pixels = np.random.default_rng(0).random((37, 53)) > 0.5
    tifffile.imwrite(tmp_path / "a.tif", pixels, **({"photometric": 1} | BITS[layout]))
    Image.fromarray(pixels).save(tmp_path / "a.png")
    source, png = (open_source(tmp_path / name) for name in ("a.tif", "a.png"))
    assert (source.info.dtype, source.info.shape) == (png.info.dtype, png.info.shape)
    display = source.info.metadata.display
    assert display.photometric == ("miniswhite" if layout == "white is zero" else "")
    assert (display.palette, display.bits) == ("", 0)
    for box in (Box(0, 0, 37, 53), Box(3, 7, 30, 41)):
        plane = (0, 0, 0)
        np.testing.assert_array_equal(source.read(plane, box), png.read(plane, box))
    source.close()


LAYOUTS: list[tuple[str, tuple[int, ...], str, dict[str, Any]]] = [
    ("one strip", (37, 53), "YX", {}),
    ("strips, last one short", (37, 53), "YX", {"rowsperstrip": 8}),
    ("tiles beyond the edge", (37, 53), "YX", {"tile": (16, 32)}),
    ("deflate strips", (37, 53), "YX", {"rowsperstrip": 8, "compression": "zlib"}),
    (
        "LZW tiles, predictor",
        (37, 53),
        "YX",
        {"tile": (16, 16), "compression": "lzw", "predictor": 2},
    ),
    ("zstd", (37, 53), "YX", {"rowsperstrip": 5, "compression": "zstd"}),
    ("big endian plain", (37, 53), "YX", {"byteorder": ">", "rowsperstrip": 8}),
    (
        "big endian deflate",
        (37, 53),
        "YX",
        {"byteorder": ">", "compression": "zlib", "predictor": 2},
    ),
    ("BigTIFF", (37, 53), "YX", {"bigtiff": True, "tile": (16, 16)}),
    ("RGB", (37, 53, 3), "YXS", {"photometric": "rgb", "rowsperstrip": 8}),
    ("RGBA", (37, 53, 4), "YXS", {"photometric": "rgb", "extrasamples": ["unassalpha"]}),
    ("RGB tiles", (37, 53, 3), "YXS", {"photometric": "rgb", "tile": (16, 16)}),
    ("pages", (5, 37, 53), "ZYX", {"photometric": "minisblack"}),
    ("pages of RGB", (4, 37, 53, 3), "ZYXS", {"photometric": "rgb", "compression": "zlib"}),
    ("ImageJ", (2, 3, 37, 53), "ZCYX", {"imagej": True, "metadata": {"axes": "ZCYX"}}),
    (
        "OME",
        (2, 3, 4, 9, 11),
        "TCZYX",
        {"ome": True, "metadata": {"axes": "TCZYX"}, "tile": (16, 16)},
    ),
    ("one tag list for all pages", (4, 37, 53), "ZYX", {"truncate": True}),
]


@pytest.mark.parametrize(
    ("note", "shape", "axes", "options"), LAYOUTS, ids=[row[0] for row in LAYOUTS]
)
def test_box_reads_equal_whole_reads(
    tmp_path: Path, note: str, shape: tuple[int, ...], axes: str, options: dict[str, Any]
) -> None:
    pixels, path = random_pixels(shape), tmp_path / "a.tif"
    options = {"photometric": "minisblack", **options}
    tifffile.imwrite(path, pixels, **options)
    source = open_source(path)
    assert (source.info.axes, source.info.shape) == (axes, shape)
    for plane in source.info.planes:
        whole = plane_of(pixels, axes, plane)
        for _, box in boxes_of(source.info, 13, 19):
            found = source.read(plane, box)
            assert found.dtype == pixels.dtype and found.dtype.isnative
            np.testing.assert_array_equal(found, whole[box.y0 : box.y1, box.x0 : box.x1])
    source.close()


@pytest.mark.parametrize("compression", [None, "lzw"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_planar_separate_colours_come_back_interleaved(
    tmp_path: Path, compression: str | None, tile: tuple[int, int] | None
) -> None:
    pixels, path = random_pixels((3, 37, 53)), tmp_path / "a.tif"
    tifffile.imwrite(
        path, pixels, photometric="rgb", planarconfig="separate", compression=compression, tile=tile
    )
    source = open_source(path)
    assert source.info.axes == "YXS"
    found = source.read((0, 0, 0), Box(5, 6, 37, 50))
    np.testing.assert_array_equal(found, np.moveaxis(pixels, 0, -1)[5:37, 6:50])


@pytest.mark.parametrize("planarconfig", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_bands_that_are_no_colours_become_channels(
    tmp_path: Path, planarconfig: str, compression: str | None
) -> None:
    pixels, path = random_pixels((5, 37, 53)), tmp_path / "a.tif"
    stored = np.moveaxis(pixels, 0, -1) if planarconfig == "contig" else pixels
    tifffile.imwrite(
        path, stored, photometric="minisblack", planarconfig=planarconfig, compression=compression
    )
    source = open_source(path)
    assert source.info.axes == "CYX" and source.info.samples == 1
    for plane in source.info.planes:
        found = source.read(plane, Box(3, 4, 30, 50))
        np.testing.assert_array_equal(found[..., 0], pixels[plane[1], 3:30, 4:50])


def test_imagej_calibration_becomes_pixel_size(tmp_path: Path) -> None:
    metadata = {"axes": "ZYX", "spacing": 0.7, "unit": "micron", "finterval": 3.0}
    tifffile.imwrite(
        tmp_path / "a.tif",
        random_pixels((4, 9, 11)),
        imagej=True,
        resolution=(4, 2),
        metadata=metadata,
    )
    sizes = open_source(tmp_path / "a.tif").info.pixel_size
    assert sizes["X"] == (0.25, "micrometer") and sizes["Y"] == (0.5, "micrometer")
    assert sizes["Z"] == (0.7, "micrometer") and sizes["T"] == (3.0, "second")


def test_sparse_tiles_read_as_nodata(tmp_path: Path) -> None:
    tiles = iter([np.full((16, 16), 5, np.uint8), None, None, np.full((16, 16), 6, np.uint8)])
    tifffile.imwrite(
        tmp_path / "a.tif",
        tiles,  # type: ignore[arg-type]
        shape=(32, 32),
        dtype=np.uint8,
        tile=(16, 16),
        extratags=[(42113, 2, 0, "9", True)],
    )
    found = open_source(tmp_path / "a.tif").read((0, 0, 0), Box(0, 0, 32, 32))[..., 0]
    np.testing.assert_array_equal(found[::16, ::16], [[5, 9], [9, 6]])


def test_threads_reading_one_source_get_their_own_boxes(tmp_path: Path) -> None:
    pixels = random_pixels((200, 300))
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(16, 16), compression="zlib")
    source = open_source(tmp_path / "a.tif")

    def differs(item: tuple[Plane, Box]) -> bool:
        box = item[1]
        found = source.read(*item)[..., 0]
        return not np.array_equal(found, pixels[box.y0 : box.y1, box.x0 : box.x1])

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(differs, boxes_of(source.info, 23, 41)))


def test_plain_strips_cost_no_memory_beyond_the_result(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", random_pixels((37, 53)))
    source = open_source(tmp_path / "a.tif")
    assert source.info.chunk == (1, 53) and source.read_bytes(8, 8) == 0


def test_compressed_read_is_bounded_by_one_segment(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", random_pixels((64, 96)), tile=(16, 32), compression="zlib")
    source = open_source(tmp_path / "a.tif")
    segment_bytes = 16 * 32 * 2
    assert segment_bytes <= source.read_bytes(64, 96) <= 3 * segment_bytes


@settings(max_examples=60, deadline=None)
@given(data=st.data(), tiled=st.booleans(), separate=st.booleans())
def test_overlaps_cover_a_box_exactly_once(
    data: st.DataObject, tiled: bool, separate: bool
) -> None:
    height, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    sh = data.draw(st.integers(1, 17))
    sw = data.draw(st.integers(1, 17)) if tiled else width
    y0, x0 = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    box = Box(y0, x0, data.draw(st.integers(y0 + 1, height)), data.draw(st.integers(x0 + 1, width)))
    grid = SegmentGrid(
        height, width, 3, separate, sh, sw, tiled, np.dtype("u1"), True, False, False, False
    )
    hits = np.zeros((box.height, box.width), dtype=int)
    for overlap in grid.overlaps(2 if separate else 0, box):
        hits[overlap.rows_out, overlap.columns_out] += 1
        assert 0 <= overlap.segment < grid.segments == len(grid.plain_bytes())
    assert (hits == 1).all()
