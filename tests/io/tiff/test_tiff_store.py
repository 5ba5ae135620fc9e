"""A TIFF while it is written: tiles, levels, checksums, interruptions, memory."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from tiff_arrays import COMPRESSIONS, SEED, boxes_of, fill, plane_of, random_pixels

from unetmm.errors import ImageError
from unetmm.io.image import Box, Encoding, ImageInfo, Plane, SinkOptions
from unetmm.io.metadata import Metadata, TiffFacts
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import part_path
from unetmm.io.tiff.store import TiffStore, read_checksums
from unetmm.provenance.verify import verify


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
        store.finish(sums, {})
        assert tracemalloc.get_traced_memory()[1] <= store.resident_bytes
    finally:
        tracemalloc.stop()
        store.close()
