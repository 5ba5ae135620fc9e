"""Huge deflate streams: rows from marks, in any order, exact, bounded, refused when damaged."""

from __future__ import annotations

import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io import inflate
from unetmm.io.image import Box, Source
from unetmm.io.open import open_source
from unetmm.io.photo import png_rows
from unetmm.io.photo.png_rows import PngRowsSource
from unetmm.io.photo.source import PhotoSource
from unetmm.io.tiff import strips as tiff_strips

ORIGIN = (0, 0, 0)
HEIGHT, WIDTH = 301, 77


@pytest.fixture(autouse=True)
def everything_is_huge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small images take the way of huge ones, with a mark every few rows."""
    monkeypatch.setattr(png_rows, "WHOLE_BYTES", 0)
    monkeypatch.setattr(tiff_strips, "WHOLE_BYTES", 0)
    monkeypatch.setattr(inflate, "MARK_EVERY_BYTES", 5000)
    monkeypatch.setattr(inflate, "STEP_BYTES", 700)


def values(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    steps = np.random.default_rng(2).integers(0, 9, shape)
    return np.cumsum(steps, axis=1).astype(dtype)


def random_boxes(count: int) -> list[Box]:
    rng, boxes = np.random.default_rng(3), []
    for _ in range(count):
        y0, x0 = int(rng.integers(HEIGHT)), int(rng.integers(WIDTH))
        y1, x1 = int(rng.integers(y0, HEIGHT)) + 1, int(rng.integers(x0, WIDTH)) + 1
        boxes.append(Box(y0, x0, y1, x1))
    return boxes


def check(source: Source, expected: NDArray[Any]) -> None:
    """Compare random boxes, read by four threads, with (height, width, samples)."""

    def differs(box: Box) -> bool:
        found = source.read(ORIGIN, box)
        wanted = expected[box.y0 : box.y1, box.x0 : box.x1]
        return found.dtype != wanted.dtype or not np.array_equal(found, wanted)

    with ThreadPoolExecutor(4) as pool:
        assert not any(pool.map(differs, random_boxes(40)))


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("samples", [1, 2, 3, 4])
def test_png_by_rows_in_any_order(tmp_path: Path, dtype: str, samples: int) -> None:
    pixels, path = values((HEIGHT, WIDTH, samples), dtype), tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels[..., 0] if samples == 1 else pixels))
    source = open_source(path)
    assert isinstance(source, PngRowsSource)
    check(source, pixels)
    source.close()


def test_png_in_many_small_parts(tmp_path: Path) -> None:
    pixels, path = values((HEIGHT, WIDTH), "uint8"), tmp_path / "a.png"
    data = bytes(imagecodecs.png_encode(pixels))
    at = data.index(b"IDAT") - 4
    length = int.from_bytes(data[at : at + 4], "big")
    packed, parts = data[at + 8 : at + 8 + length], b""
    for start in range(0, length, 100):
        part = b"IDAT" + packed[start : start + 100]
        parts += (len(part) - 4).to_bytes(4, "big") + part + zlib.crc32(part).to_bytes(4, "big")
    path.write_bytes(data[:at] + parts + data[at + 12 + length :])
    check(open_source(path), pixels[..., None])


@pytest.mark.parametrize("place", [0.3, 0.6, 0.999])
def test_png_with_a_flipped_bit_is_refused(tmp_path: Path, place: float) -> None:
    path = tmp_path / "a.png"
    data = bytearray(imagecodecs.png_encode(values((HEIGHT, WIDTH), "uint8")))
    first = data.index(b"IDAT") + 4
    data[first + int(place * (len(data) - 16 - first))] ^= 1
    path.write_bytes(data)
    source = open_source(path)
    with pytest.raises(ImageError, match="a.png.*(decode|checksum|end)"):
        for y in range(0, HEIGHT, 7):
            source.read(ORIGIN, Box(y, 0, min(HEIGHT, y + 7), WIDTH))


def test_png_whose_rows_are_no_pixels_is_decoded_whole(tmp_path: Path) -> None:
    from PIL import Image

    Image.fromarray(values((9, 11, 3), "uint8")).convert("P").save(tmp_path / "a.png")
    assert isinstance(open_source(tmp_path / "a.png"), PhotoSource)


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize(
    ("dtype", "predictor"), [("u1", 1), ("u1", 2), ("u2", 2), ("i4", 1), ("f4", 1), ("f4", 3)]
)
def test_tiff_of_one_huge_deflate_strip(
    tmp_path: Path, dtype: str, predictor: int, byteorder: Any
) -> None:
    pixels, path = values((HEIGHT, WIDTH, 3), dtype), tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        pixels,
        photometric="rgb",
        compression="zlib",
        predictor=predictor,
        byteorder=byteorder,
        rowsperstrip=HEIGHT,
    )
    source: Any = open_source(path)
    assert source.sequential
    check(source, pixels)


def test_layers_and_bands_of_huge_strips(tmp_path: Path) -> None:
    pixels = values((4, HEIGHT, WIDTH), "uint16")
    for name, stored, planar in (
        ("separate.tif", pixels, "separate"),
        ("contig.tif", np.ascontiguousarray(np.moveaxis(pixels, 0, -1)), "contig"),
    ):
        tifffile.imwrite(
            tmp_path / name,
            stored,
            photometric="minisblack",
            planarconfig=planar,
            compression="zlib",
            rowsperstrip=HEIGHT,
        )
        source: Any = open_source(tmp_path / name)
        assert source.sequential
        for plane in source.info.planes:
            for box in random_boxes(5):
                wanted = pixels[plane[1], box.y0 : box.y1, box.x0 : box.x1]
                np.testing.assert_array_equal(source.read(plane, box)[..., 0], wanted)


def test_cut_stream_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    pixels = values((HEIGHT, WIDTH), "uint8")
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=HEIGHT)
    with tifffile.TiffFile(path, mode="r+") as tif:
        counts = tif.pages.first.tags["StripByteCounts"]
        counts.overwrite(counts.value[0] // 2)
    source = open_source(path)
    source.read(ORIGIN, Box(0, 0, 10, 10))
    with pytest.raises(ImageError, match="its pixels end in row.* of 301"):
        source.read(ORIGIN, Box(290, 0, 300, 10))


def test_reading_on_unpacks_each_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, pixels = tmp_path / "a.tif", values((HEIGHT, WIDTH), "uint8")
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=HEIGHT)
    rows: list[int] = []
    step = inflate.InflatedRows._step
    monkeypatch.setattr(
        inflate.InflatedRows,
        "_step",
        lambda self, state, count: (rows.append(count), step(self, state, count))[1],
    )
    source = open_source(path)
    for y in range(0, HEIGHT, 13):
        source.read(ORIGIN, Box(y, 5, min(HEIGHT, y + 13), 50))
    assert sum(rows) == HEIGHT


def test_memory_is_stated_and_small(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(values((HEIGHT, WIDTH, 3), "uint16")))
    source: Any = open_source(path)
    layout = source._rows.layout
    marks = -(-HEIGHT // layout.mark_rows)
    assert layout.mark_rows == 11
    assert source.resident_bytes >= marks * (inflate.INFLATER_BYTES + WIDTH * 6)
    source.read(ORIGIN, Box(HEIGHT - 1, 0, HEIGHT, 1))
    assert len(source._rows._marks) == marks
    for box in random_boxes(50):
        source.read(ORIGIN, box)
    assert len(source._rows._marks) == marks
    assert len(source._rows._passing) <= inflate.PASSING_MARKS


@pytest.mark.parametrize("kind", ["tif", "png"])
def test_a_huge_stream_that_does_not_fit_its_checksum_is_refused(tmp_path: Path, kind: str) -> None:
    pixels, path = values((HEIGHT, WIDTH), "uint8"), tmp_path / f"a.{kind}"
    if kind == "tif":
        tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=HEIGHT)
        with tifffile.TiffFile(path) as tif:
            end = tif.pages.first.dataoffsets[0] + tif.pages.first.databytecounts[0]
        data = bytearray(path.read_bytes())
        data[end - 1] ^= 1
    else:
        data = bytearray(imagecodecs.png_encode(pixels))
        at = data.index(b"IDAT")
        end = at + 4 + int.from_bytes(data[at - 4 : at], "big")
        data[end - 1] ^= 1
        data[end : end + 4] = zlib.crc32(data[at:end]).to_bytes(4, "big")
    path.write_bytes(data)
    source = open_source(path)
    with pytest.raises(ImageError, match=f"a.{kind}: its pixels.*incorrect data check"):
        source.read(ORIGIN, Box(HEIGHT - 1, 0, HEIGHT, WIDTH))
    source.close()
