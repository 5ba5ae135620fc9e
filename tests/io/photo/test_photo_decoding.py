"""PNG and JPEG: decoded once, right in every depth and orientation, refused when damaged."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from photo_files import ORIGIN, random_pixels, whole
from PIL import Image, ImageOps

from unetmm.errors import ImageError
from unetmm.io.image import Box, SinkOptions
from unetmm.io.open import open_sink, open_source

KINDS = [
    ("grey 8", (21, 34), "uint8", False),
    ("grey 16", (21, 34), "uint16", False),
    ("grey and alpha 8", (21, 34, 2), "uint8", True),
    ("grey and alpha 16", (21, 34, 2), "uint16", True),
    ("RGB 8", (21, 34, 3), "uint8", False),
    ("RGB 16, which Pillow would cut to 8", (21, 34, 3), "uint16", False),
    ("RGBA 8", (21, 34, 4), "uint8", True),
    ("RGBA 16", (21, 34, 4), "uint16", True),
]


@pytest.mark.parametrize(("note", "shape", "dtype", "alpha"), KINDS, ids=[k[0] for k in KINDS])
def test_png_survives_source_and_sink(
    tmp_path: Path, note: str, shape: tuple[int, ...], dtype: str, alpha: bool
) -> None:
    pixels, path = random_pixels(shape, dtype), tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    source = open_source(path)
    info = source.info
    assert (info.shape, info.dtype, info.alpha) == (shape, np.dtype(dtype), alpha)
    assert info.chunk == shape[:2]
    sink = open_sink(SinkOptions(tmp_path / "b.png", chunk_px=16), info)
    for y in (16, 0):
        for x in (32, 0, 16):
            box = Box(y, x, min(y + 16, 21), min(x + 16, 34))
            sink.write(ORIGIN, box, source.read(ORIGIN, box))
    assert not (tmp_path / "b.png").exists()
    sink.close()
    np.testing.assert_array_equal(imagecodecs.png_decode((tmp_path / "b.png").read_bytes()), pixels)


EXPANDED = [
    ("palette", "P", None, "RGB"),
    ("palette with a transparent entry", "P", 0, "RGBA"),
    ("1-bit grey", "1", None, "L"),
    ("grey with a transparent level", "L", 7, "LA"),
]


@pytest.mark.parametrize(
    ("note", "mode", "clear", "mode_read"), EXPANDED, ids=[e[0] for e in EXPANDED]
)
def test_png_shorthands_are_expanded(
    tmp_path: Path, note: str, mode: str, clear: int | None, mode_read: str
) -> None:
    image = Image.fromarray(random_pixels((21, 34, 3))).convert(mode)
    image.save(tmp_path / "a.png", **({} if clear is None else {"transparency": clear}))
    expected = np.asarray(Image.open(tmp_path / "a.png").convert(mode_read))
    source = open_source(tmp_path / "a.png")
    found = source.read(ORIGIN, Box(0, 0, 21, 34))
    np.testing.assert_array_equal(found, expected.reshape(21, 34, -1))
    assert found.shape[2] == source.info.samples
    assert source.info.alpha == (clear is not None)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    path = tmp_path / "a.jpg"
    Image.fromarray(random_pixels((24, 40, 3))).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    source = open_source(path)
    assert source.info.shape == expected.shape
    assert bool(source.info.metadata.reading.orientation) == (orientation > 1)
    np.testing.assert_array_equal(whole(path), expected)
    box = Box(3, 5, 20, 22)
    np.testing.assert_array_equal(source.read(ORIGIN, box), expected[3:20, 5:22])


@pytest.mark.parametrize(("mode", "progressive"), [("L", False), ("RGB", False), ("RGB", True)])
def test_jpeg_equals_pillow(tmp_path: Path, mode: str, progressive: bool) -> None:
    path = tmp_path / "a.jpg"
    image = Image.fromarray(random_pixels((24, 40, 3))).convert(mode)
    image.save(path, progressive=progressive, icc_profile=b"profile", dpi=(300, 300))
    with Image.open(path) as image:
        np.testing.assert_array_equal(whole(path), np.asarray(image).reshape(24, 40, -1))
    photo = open_source(path).info.metadata.photo
    assert photo.icc_profile == b"profile" and photo.resolution == (300.0, 300.0, "inch")


def test_opening_reads_only_the_header(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(random_pixels((21, 34, 3))))
    calls: list[int] = []
    decode = imagecodecs.png_decode
    monkeypatch.setattr(imagecodecs, "png_decode", lambda data: (calls.append(1), decode(data))[1])
    source = open_source(path)
    assert not calls
    assert source.resident_bytes >= path.stat().st_size + 21 * 34 * 3
    for _ in range(2):
        source.read(ORIGIN, Box(0, 0, 5, 5))
    assert len(calls) == 1


def test_an_animated_png_is_read_with_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = (Image.fromarray(random_pixels((20, 30)) // n) for n in (1, 2, 3))
    first.save(tmp_path / "a.png", save_all=True, append_images=others)
    np.testing.assert_array_equal(whole(tmp_path / "a.png")[..., 0], np.asarray(first))
    assert "a.png: is an animated PNG of 3 images; only the first is read" in caplog.text
    caplog.clear()
    first.save(tmp_path / "b.png")
    open_source(tmp_path / "b.png").close()
    assert not caplog.records


def test_further_pictures_of_a_jpeg_are_noted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first, *others = (Image.fromarray(random_pixels((20, 30, 3)) // n) for n in (1, 2, 3))
    first.save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=others)
    assert open_source(tmp_path / "a.jpg").info.metadata.reading.other_series == 2
    assert not caplog.records, "a phone's gain map is nothing to warn of"


def png_chunks(*chunks: tuple[bytes, bytes]) -> bytes:
    parts = [b"\x89PNG\r\n\x1a\n"]
    for name, data in chunks:
        parts += [struct.pack(">I", len(data)), name, data]
        parts.append(struct.pack(">I", zlib.crc32(name + data)))
    return b"".join(parts)


HEADERS = [
    (
        "no pixels",
        png_chunks((b"IHDR", struct.pack(">IIBBBBB", 4, 4, 8, 0, 0, 0, 0)), (b"IEND", b"")),
        "IDAT",
    ),
    ("no header", png_chunks((b"IDAT", b"abc"), (b"IEND", b"")), "IHDR"),
    (
        "impossible depth",
        png_chunks(
            (b"IHDR", struct.pack(">IIBBBBB", 4, 4, 3, 2, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")
        ),
        "3 bits",
    ),
    (
        "zero wide",
        png_chunks(
            (b"IHDR", struct.pack(">IIBBBBB", 0, 4, 8, 0, 0, 0, 0)), (b"IDAT", b""), (b"IEND", b"")
        ),
        "0 x 4 px",
    ),
]


@pytest.mark.parametrize(("note", "data", "text"), HEADERS, ids=[h[0] for h in HEADERS])
def test_bad_png_header_is_refused_on_opening(
    tmp_path: Path, note: str, data: bytes, text: str
) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ImageError, match=text):
        open_source(tmp_path / "a.png")


def test_png_with_a_flipped_bit_is_refused_on_reading(tmp_path: Path) -> None:
    data = bytearray(imagecodecs.png_encode(random_pixels((21, 34))))
    data[len(data) // 2] ^= 1
    (tmp_path / "a.png").write_bytes(data)
    source = open_source(tmp_path / "a.png")
    with pytest.raises(ImageError, match="is damaged"):
        source.read(ORIGIN, Box(0, 0, 5, 5))


def test_cmyk_jpeg_is_refused(tmp_path: Path) -> None:
    Image.fromarray(random_pixels((24, 40, 3))).convert("CMYK").save(tmp_path / "a.jpg")
    with pytest.raises(ImageError, match="CMYK JPEG.*convert it to RGB"):
        open_source(tmp_path / "a.jpg")


def test_resolution_is_turned_with_the_pixels(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[274] = 6
    image = Image.fromarray(random_pixels((40, 80, 3)))
    image.save(tmp_path / "a.jpg", dpi=(300, 150), exif=exif)
    assert open_source(tmp_path / "a.jpg").info.metadata.photo.resolution == (150, 300, "inch")
    exif = Image.Exif()
    exif[282], exif[283], exif[296] = 120.0, 60.0, 3
    image.save(tmp_path / "b.webp", exif=exif)
    assert open_source(tmp_path / "b.webp").info.metadata.photo.resolution == (
        120,
        60,
        "centimeter",
    )
