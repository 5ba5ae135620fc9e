"""TIFF: boxes equal whole reads, sinks keep pixels and metadata, memory bounds hold."""

from __future__ import annotations

import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.image import DTYPES, Box, Encoding, ImageInfo, Plane, Sink, SinkOptions
from unetmm.io.metadata import Metadata, TiffFacts
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import part_path
from unetmm.io.tiff.segments import SegmentGrid
from unetmm.io.tiff.store import TiffStore, read_checksums
from unetmm.provenance.verify import verify

SEED = 7


def random_pixels(shape: tuple[int, ...], dtype: str = "uint16") -> NDArray[Any]:
    return (np.random.default_rng(SEED).random(shape) * 120).astype(dtype)


def plane_of(pixels: NDArray[Any], axes: str, plane: Plane) -> NDArray[Any]:
    """(height, width, samples) of a plane of an array whose last axes are YX or YXS."""
    where = tuple(plane["TCZ".index(axis)] for axis in axes if axis in "TCZ")
    found = pixels[where]
    return found if found.ndim == 3 else found[..., None]


def boxes_of(info: ImageInfo, height: int, width: int) -> list[tuple[Plane, Box]]:
    return [
        (plane, Box(y, x, min(y + height, info.height), min(x + width, info.width)))
        for plane in info.planes
        for y in range(0, info.height, height)
        for x in range(0, info.width, width)
    ]


def fill(sink: Sink, info: ImageInfo, pixels: NDArray[Any]) -> None:
    """Write every box, in random order, from four threads."""
    boxes = boxes_of(info, 2 * sink.chunk[0], sink.chunk[1])
    np.random.default_rng(SEED).shuffle(boxes)  # type: ignore[arg-type]

    def write(item: tuple[Any, Box]) -> None:
        plane, box = tuple(int(i) for i in item[0]), item[1]
        part = plane_of(pixels, info.axes, plane)[box.y0 : box.y1, box.x0 : box.x1]
        sink.write(plane, box, part)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, boxes))


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


COMPRESSIONS = ("none", "deflate", "zstd", "lzw")


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_survives_source_and_sink(tmp_path: Path, dtype: str, compression: str) -> None:
    pixels = random_pixels((37, 53), dtype)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    info = open_source(tmp_path / "a.tif").info
    options = SinkOptions(tmp_path / "b.tif", chunk_px=16, encoding=Encoding(compression))
    sink = open_sink(options, info)
    fill(sink, info, pixels)
    sink.close()
    found = tifffile.imread(tmp_path / "b.tif")
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, pixels)


SINKS: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
    ("grey, ragged edges", "YX", (37, 53), {}),
    ("smaller than a tile", "YX", (5, 7), {}),
    ("exactly one tile", "YX", (16, 16), {}),
    ("RGB", "YXS", (37, 53, 3), {}),
    ("RGBA", "YXS", (37, 53, 4), {"alpha": True}),
    ("grey and alpha", "YXS", (37, 53, 2), {"alpha": True}),
    ("five axes", "TCZYX", (2, 3, 4, 20, 18), {}),
    ("unusual order", "ZCYX", (4, 2, 20, 18), {}),
    ("stack of RGB", "ZYXS", (3, 20, 18, 3), {}),
    ("stack of one-tile pages", "CYX", (3, 16, 16), {}),
]


@pytest.mark.parametrize(("note", "axes", "shape", "more"), SINKS, ids=[row[0] for row in SINKS])
def test_boxes_in_random_order_from_threads_make_the_image(
    tmp_path: Path, note: str, axes: str, shape: tuple[int, ...], more: dict[str, Any]
) -> None:
    pixels = random_pixels(shape)
    info = ImageInfo("any", axes, shape, pixels.dtype, (1, 1), **more)
    sink = open_sink(SinkOptions(tmp_path / "a.tif", chunk_px=16), info)
    fill(sink, info, pixels)
    sink.close()
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), pixels)
    found = open_source(tmp_path / "a.tif").info
    assert (found.axes, found.shape, found.alpha) == (axes, shape, info.alpha)
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert tif.pages[0].software == "unetmm"  # type: ignore[union-attr]
        assert tif.is_ome == (len(info.planes) > 1)


def test_tiff_to_omezarr_to_tiff_keeps_axes_sizes_and_names(tmp_path: Path) -> None:
    pixels = random_pixels((2, 3, 2, 37, 53))
    metadata = {
        "axes": "TCZYX",
        "PhysicalSizeX": 0.5,
        "PhysicalSizeXUnit": "µm",
        "PhysicalSizeY": 0.6,
        "PhysicalSizeYUnit": "µm",
        "PhysicalSizeZ": 300.0,
        "PhysicalSizeZUnit": "nm",
        "TimeIncrement": 2.0,
        "TimeIncrementUnit": "s",
        "Channel": {"Name": ["DAPI", "a<b", "µ-tubule"]},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata=metadata)
    first = open_source(tmp_path / "a.ome.tif").info
    previous = tmp_path / "a.ome.tif"
    for name in ("b.ome.zarr", "c.tif"):
        source = open_source(previous)
        sink = open_sink(SinkOptions(tmp_path / name, chunk_px=32), source.info)
        for plane, box in boxes_of(source.info, *sink.chunk):
            sink.write(plane, box, source.read(plane, box))
        sink.close()
        previous = tmp_path / name
    last = open_source(tmp_path / "c.tif").info
    assert last.axes == first.axes == "TCZYX"
    assert last.pixel_size == first.pixel_size
    assert last.pixel_size["Z"] == (300.0, "nanometer")
    assert last.channel_names == first.channel_names == ("DAPI", "a<b", "µ-tubule")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "c.tif"), pixels)


def test_profile_resolution_nodata_and_place_on_earth_are_kept(tmp_path: Path) -> None:
    pixels = random_pixels((37, 53))
    scale = (33550, 12, 3, (10.0, 10.0, 0.0), True)
    tifffile.imwrite(
        tmp_path / "a.tif",
        pixels,
        resolution=(300, 200),
        resolutionunit="INCH",
        iccprofile=b"profile " * 20,
        extratags=[scale, (42113, 2, 0, "-1", True)],
    )
    info = open_source(tmp_path / "a.tif").info
    assert info.nodata == -1
    sink = open_sink(SinkOptions(tmp_path / "b.tif", chunk_px=16), info)
    fill(sink, info, pixels)
    sink.close()
    kept = open_source(tmp_path / "b.tif").info
    assert kept.metadata.photo == info.metadata.photo
    assert kept.metadata.tiff.tags == info.metadata.tiff.tags != ()
    assert kept.nodata == info.nodata


def test_bands_go_back_into_one_page(tmp_path: Path) -> None:
    pixels = random_pixels((5, 37, 53))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="separate")
    info = open_source(tmp_path / "a.tif").info
    sink = open_sink(SinkOptions(tmp_path / "b.tif", chunk_px=16), info)
    fill(sink, info, pixels)
    sink.close()
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert len(tif.pages) == 1
        np.testing.assert_array_equal(tif.asarray(), pixels)


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


@pytest.mark.parametrize(("compression", "name"), [("none", "image.tif"), ("deflate", "tiles")])
def test_laying_out_a_huge_image_leaves_holes(tmp_path: Path, compression: str, name: str) -> None:
    info = ImageInfo("any", "YX", (40_000, 30_000), np.dtype(np.uint16), (1, 1))
    options = SinkOptions(tmp_path / "a.tif", encoding=Encoding(compression))
    sink = open_sink(options, info)
    assert not list(tmp_path.iterdir()), "planning leaves no trace"
    sink.begin()
    part = tmp_path / ".a.tif.part" / name
    assert part.stat().st_size > 2.4e9 and part.stat().st_blocks * 512 < 2e6
    if compression == "none":
        with tifffile.TiffFile(part) as tif:
            assert tif.is_bigtiff and len(tif.series[0].levels) == 8
    sink.abort()
    assert not list(tmp_path.iterdir())


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


def test_writing_after_close_is_refused(tmp_path: Path) -> None:
    info = ImageInfo("any", "YX", (16, 16), np.dtype(np.uint8), (1, 1))
    sink = open_sink(SinkOptions(tmp_path / "a.tif"), info)
    block = np.zeros((16, 16, 1), np.uint8)
    sink.write((0, 0, 0), Box(0, 0, 16, 16), block)
    sink.close()
    with pytest.raises(ImageError, match="closed"):
        sink.write((0, 0, 0), Box(0, 0, 16, 16), block)


LARGE: list[tuple[str, str, tuple[int, ...], dict[str, Any]]] = [
    ("grey", "YX", (2100, 50), {}),
    ("RGB", "YXS", (40, 2049, 3), {}),
    ("stack", "CZYX", (2, 2, 33, 2100), {}),
    ("half floats in a stack", "ZYX", (2, 33, 2100), {}),
    ("bands of one page", "CYX", (5, 33, 2100), {"metadata": Metadata(tiff=TiffFacts(bands=5))}),
]


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize(("note", "axes", "shape", "more"), LARGE, ids=[row[0] for row in LARGE])
def test_large_images_get_smaller_copies(
    tmp_path: Path,
    note: str,
    axes: str,
    shape: tuple[int, ...],
    more: dict[str, Any],
    compression: str,
) -> None:
    pixels = random_pixels(shape, "float16" if "half" in note else "uint16")
    info = ImageInfo("any", axes, shape, pixels.dtype, (1, 1), **more)
    options = SinkOptions(tmp_path / "a.tif", chunk_px=512, encoding=Encoding(compression))
    sink = open_sink(options, info)
    fill(sink, info, pixels)
    sink.close()
    with tifffile.TiffFile(tmp_path / "a.tif") as tif:
        assert len(tif.series) == 1 and len(tif.series[0].levels) == 4
        np.testing.assert_array_equal(tif.asarray(), pixels)
        half = tif.series[0].levels[1].asarray()
        offsets = [level.keyframe.dataoffsets[0] for level in tif.series[0].levels]
        assert offsets == sorted(offsets, reverse=True), "overviews come before the full image"
        assert max(page.offset for page in tif.pages) < offsets[-1], "directories come first"
    y, x = (axes.index(axis) for axis in "YX")
    even = [slice(0, n // 2 * 2) if i in (y, x) else slice(None) for i, n in enumerate(shape)]
    whole = pixels[tuple(even)].astype(np.float64)
    split = [n for i, m in enumerate(whole.shape) for n in ((m // 2, 2) if i in (y, x) else (m,))]
    mean = whole.reshape(split).mean(axis=(y + 1, x + 2))
    inner = half[tuple(slice(0, n) for n in mean.shape)]
    assert np.abs(inner - mean).max() <= (0.5 if pixels.dtype == np.uint16 else 0.1)
    source = open_source(tmp_path / "a.tif")
    assert (source.info.axes, source.info.shape) == (axes, shape)
    for plane in info.planes:
        found = source.read(plane, Box(0, 0, info.height, info.width))
        np.testing.assert_array_equal(found, plane_of(pixels, axes, plane))


def test_pyramid_may_be_left_out_and_small_images_have_none(tmp_path: Path) -> None:
    for height, pyramid, levels in ((2048, True, 1), (2049, True, 4), (2049, False, 1)):
        info = ImageInfo("any", "YX", (height, 16), np.dtype(np.uint8), (1, 1))
        options = SinkOptions(tmp_path / "a.tif", encoding=Encoding(pyramid=pyramid))
        assert len(TiffStore(options, info).levels) == levels


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_checksums_cover_every_level(tmp_path: Path, compression: str) -> None:
    pixels = random_pixels((2, 2100, 600))
    info = ImageInfo("any", "ZYX", pixels.shape, pixels.dtype, (1, 1))
    sink = open_sink(SinkOptions(tmp_path / "a.tif", encoding=Encoding(compression)), info)
    fill(sink, info, pixels)
    sink.close()
    found = read_checksums(tmp_path / "a.tif")
    assert found is not None and [sums.size for sums in found] == [20, 6, 4, 2]
    assert all(sums.all() for sums in found)
    assert verify(tmp_path / "a.tif").damaged == ()
    with tifffile.TiffFile(tmp_path / "a.tif", mode="r+b") as tif:
        page = tif.pages[1]
        tif.filehandle.seek(page.dataoffsets[2] + page.databytecounts[2] // 2)
        tif.filehandle.write(b"\xff\x01")
    assert verify(tmp_path / "a.tif").damaged == ("plane (0, 0, 1), rows 512:1024, columns 0:512",)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_bytes_depend_neither_on_order_nor_on_interruptions(
    tmp_path: Path, compression: str
) -> None:
    pixels = random_pixels((2, 2100, 600))
    info = ImageInfo("any", "ZYX", pixels.shape, pixels.dtype, (1, 1))
    record = {"model": "some"}
    options = SinkOptions(tmp_path / "a.tif", True, encoding=Encoding(compression))

    def boxes() -> list[tuple[Plane, Box]]:
        return boxes_of(info, 512, 512)

    def put(sink: Any, chosen: list[tuple[Plane, Box]]) -> None:
        for plane, box in chosen:
            part = plane_of(pixels, info.axes, plane)[box.y0 : box.y1, box.x0 : box.x1]
            sink.write(plane, box, part)

    peace = open_sink(options, info)
    peace.create(record)
    peace.join("0")
    put(peace, boxes())
    peace.close()
    expected = (tmp_path / "a.tif").read_bytes()

    first = open_sink(options, info)
    first.create(record)
    first.join("0")
    put(first, boxes()[7::-1])
    first.leave()
    folder = part_path(tmp_path / "a.tif")
    (folder / "image.tif").open("ab").close()
    if compression != "none":  # killed while the tiles were collected
        (folder / "image.tif").write_bytes(b"II*\0 torn")
    second = open_sink(options, info)
    second.join("0")
    assert second.distrust(range(100)) == 0
    put(second, boxes()[:7:-1])
    second.close()
    assert (tmp_path / "a.tif").read_bytes() == expected


def test_a_torn_tile_is_noticed(tmp_path: Path) -> None:
    pixels = random_pixels((40, 40))
    info = ImageInfo("any", "YX", pixels.shape, pixels.dtype, (1, 1))
    sink = open_sink(SinkOptions(tmp_path / "a.tif", chunk_px=16), info)
    fill(sink, info, pixels)
    sink.leave()
    spool = part_path(tmp_path / "a.tif") / "tiles"
    data = bytearray(spool.read_bytes())
    slot = len(data) // 9
    data[2 * slot : 2 * slot + 8] = b"\xff" * 8  # its length
    data[5 * slot + 20] ^= 255
    spool.write_bytes(data)
    again = open_sink(SinkOptions(tmp_path / "a.tif", chunk_px=16), info)
    again.join("0")
    assert again.distrust(range(3)) == 2
    again.abort()


def test_compressed_tiles_are_smaller_and_integers_have_a_predictor(tmp_path: Path) -> None:
    y, x = np.mgrid[:300, :300]
    smooth = 1000 + 9 * y + 7 * x + (x * y) % 5
    sizes: dict[tuple[str, str], int] = {}
    for dtype, predictor in (("uint16", 2), ("float32", 3)):
        pixels = smooth.astype(dtype)
        info = ImageInfo("any", "YX", pixels.shape, pixels.dtype, (1, 1))
        for compression in COMPRESSIONS:
            path = tmp_path / "a.tif"
            sink = open_sink(SinkOptions(path, True, encoding=Encoding(compression)), info)
            fill(sink, info, pixels)
            sink.close()
            with tifffile.TiffFile(path) as tif:
                page = tif.pages.first
                assert page.predictor == (1 if compression == "none" else predictor)
                np.testing.assert_array_equal(page.asarray(), pixels)
            sizes[dtype, compression] = path.stat().st_size
        assert sizes[dtype, "deflate"] < 0.5 * sizes[dtype, "none"]


def test_unknown_compression_is_refused_at_once(tmp_path: Path) -> None:
    info = ImageInfo("any", "YX", (16, 16), np.dtype(np.uint8), (1, 1))
    for name, format in (("jpeg", "TIFF"), ("blosc", "TIFF")):
        with pytest.raises(ImageError, match=f"compression '{name}'.*{format}.*none, deflate"):
            open_sink(SinkOptions(tmp_path / "a.tif", encoding=Encoding(name)), info)
    with pytest.raises(ImageError, match="PNG.*deflate only"):
        open_sink(SinkOptions(tmp_path / "a.png", encoding=Encoding("zstd")), info)


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_memory_of_writing_and_finishing_is_counted(tmp_path: Path, compression: str) -> None:
    rng = np.random.default_rng(SEED)
    noise = rng.integers(0, 2**31, (512, 512, 1)).astype(np.float32)  # does not compress
    info = ImageInfo("any", "CYX", (10, 2100, 600), noise.dtype, (1, 1))
    options = SinkOptions(tmp_path / "a.tif", encoding=Encoding(compression))
    store = TiffStore(options, info)
    store.create(tmp_path, {})
    store.open(tmp_path)
    key = ChunkKey(0, (0, 0, 0), 0, 0)
    store.write(key, noise)  # imports what it needs
    store.read(0, (0, 0, 0), Box(0, 0, 512, 512))
    tracemalloc.start()
    try:
        store.write(key, noise)
        assert tracemalloc.get_traced_memory()[1] <= store.chunk_bytes + 8192
        tracemalloc.reset_peak()
        found = store.read(0, (0, 0, 0), Box(0, 0, 512, 512))
        assert tracemalloc.get_traced_memory()[1] <= found.nbytes + store.chunk_bytes + 8192
        np.testing.assert_array_equal(found, noise)
        del found
        sums = [np.ones((1, 10, 1, *level.grid), np.uint32) for level in store.levels]
        tracemalloc.reset_peak()
        store.finish(sums)
        assert tracemalloc.get_traced_memory()[1] <= store.resident_bytes
    finally:
        tracemalloc.stop()
        store.close()
