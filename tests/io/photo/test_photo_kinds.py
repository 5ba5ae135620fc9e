"""WebP, BMP, JPEG 2000 and EXIF of photos: upright once, exact, refused in one line."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps

from unetmm.errors import BudgetError, ImageError
from unetmm.io.exif import orientation_of, reset_orientation, strip_prefix
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.options import Options
from unetmm.run.of_file import restore_file

PIXELS = np.random.default_rng(3).integers(0, 255, (24, 40, 3), np.uint8)


def whole(path: Path) -> NDArray[Any]:
    source = open_source(path)
    return source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width))


def rgba() -> Image.Image:
    image = Image.fromarray(PIXELS)
    image.putalpha(Image.fromarray(PIXELS[..., 0]))
    return image


@pytest.mark.parametrize("format", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_upright_and_say_so(tmp_path: Path, format: str, orientation: int) -> None:
    path, exif = tmp_path / f"a.{format}", Image.Exif()
    exif[274], exif[271] = orientation, "Maker"
    more = {"lossless": True} if format == "webp" else {}
    Image.fromarray(PIXELS).save(path, exif=exif, **more)
    with Image.open(path) as image:
        expected = np.asarray(ImageOps.exif_transpose(image))
    source = open_source(path)
    assert source.info.shape == expected.shape
    np.testing.assert_array_equal(whole(path), expected)
    box = Box(3, 5, 20, 22)
    np.testing.assert_array_equal(source.read((0, 0, 0), box), expected[3:20, 5:22])
    kept = Image.Exif()
    kept.load(source.info.metadata.photo.exif)
    assert (kept[274], kept[271]) == (1, "Maker")


@pytest.mark.parametrize("damaged", [b"", b"Exif\0\0", b"II*\0", b"II*\0\xff\xff\xff\xff", b"junk"])
def test_damaged_exif_is_ignored(damaged: bytes) -> None:
    payload = strip_prefix(damaged)
    assert orientation_of(payload) == 1 and reset_orientation(payload) == payload


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_webp_equals_pillow(tmp_path: Path, mode: str, lossless: bool) -> None:
    path = tmp_path / "a.webp"
    rgba().convert(mode).save(path, lossless=lossless, icc_profile=b"profile", exact=True)
    info = open_source(path).info
    assert info.alpha == (mode == "RGBA") and info.metadata.photo.icc_profile == b"profile"
    with Image.open(path) as image:
        np.testing.assert_array_equal(whole(path), np.asarray(image.convert(mode)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA"])
def test_bmp_equals_pillow(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.bmp"
    rgba().convert(mode).save(path)
    found = whole(path)
    with Image.open(path) as image:
        shown = {1: "L", 3: "RGB", 4: "RGBA"}[found.shape[2]]
        np.testing.assert_array_equal(found.squeeze(), np.asarray(image.convert(shown)))


@pytest.mark.parametrize("codec", ["j2k", "jp2"])
@pytest.mark.parametrize(
    ("samples", "dtype"), [(1, "u1"), (1, "u2"), (3, "u1"), (3, "u2"), (4, "u1")]
)
def test_jpeg2000_is_exact(tmp_path: Path, samples: int, dtype: str, codec: str) -> None:
    pixels = np.random.default_rng(1).integers(0, 250, (50, 40, samples)).astype(dtype)
    pixels = pixels[..., 0] if samples == 1 else pixels
    path = tmp_path / "a.jp2"
    path.write_bytes(imagecodecs.jpeg2k_encode(pixels, level=0, codecformat=codec, reversible=True))
    info = open_source(path).info
    assert (info.shape, info.dtype, info.alpha) == (pixels.shape, pixels.dtype, samples == 4)
    np.testing.assert_array_equal(whole(path).reshape(pixels.shape), pixels)


def test_limits_of_other_readers_do_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.fromarray(PIXELS).save(tmp_path / "a.bmp")
    np.testing.assert_array_equal(whole(tmp_path / "a.bmp"), PIXELS)
    assert Image.MAX_IMAGE_PIXELS == 100


@pytest.mark.parametrize(("colour", "pixel_bytes"), [(0, 1), (2, 3), (6, 4)])
def test_interlaced_png_without_a_word(
    tmp_path: Path, colour: int, pixel_bytes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    """One pixel in the first pass of seven, so that no library is needed to interlace it."""
    head = struct.pack(">IIBBBBB", 1, 1, 8, colour, 0, 0, 1)
    pixel = bytes(range(10, 10 + pixel_bytes))
    parts = (b"IHDR", head), (b"IDAT", zlib.compress(b"\0" + pixel)), (b"IEND", b"")
    chunks = (
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert whole(tmp_path / "a.png").tobytes() == pixel
    assert capfd.readouterr().err == ""


def animation() -> bytes:
    out = io.BytesIO()
    frames = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)]
    frames[0].save(out, "WEBP", save_all=True, append_images=frames[1:])
    return out.getvalue()


REFUSED = [
    ("animation", animation(), "animated WebP; save one frame"),
    ("another RIFF", b"RIFF\x04\0\0\0WAVE", "no WebP"),
    ("WebP cut", animation()[:100], "truncated|no image|animated"),
    ("JP2 without image", b"\0\0\0\x0cjP  \r\n\x87\n", "holds no image"),
    ("JP2 cut", b"\xff\x4f\xff\x51\0\0", "ends within its header"),
    ("BMP cut", b"BM123", "cannot read it as BMP"),
]


@pytest.mark.parametrize(("note", "data", "text"), REFUSED, ids=[r[0] for r in REFUSED])
def test_what_is_no_photo_is_refused(tmp_path: Path, note: str, data: bytes, text: str) -> None:
    path = tmp_path / "a"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=text) as caught:
        open_source(path)
    assert str(caught.value).startswith(f"{path}: ") and "\n" not in str(caught.value)


@pytest.mark.parametrize("format", ["webp", "bmp", "jp2"])
def test_damaged_bytes_never_raise_anything_but_imageerror(tmp_path: Path, format: str) -> None:
    path, rng = tmp_path / f"a.{format}", np.random.default_rng(2)
    Image.fromarray(PIXELS).save(path)
    data = path.read_bytes()
    for _ in range(80):
        damaged = bytearray(data)
        for at in rng.integers(4, min(len(data), 300), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            source = open_source(path)
            if source.info.megapixels < 1:
                source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width))
        except ImageError:
            pass


def test_refused_budget_says_what_would_let_it_be_read_in_parts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unetmm.io.remedy.WHOLE_BYTES", 1000)
    Image.fromarray(PIXELS).save(tmp_path / "a.jpg")
    with pytest.raises(BudgetError, match="JPEG is decoded as a whole .2.9 kB.*tiled TIFF"):
        restore_file(tmp_path / "a.jpg", tmp_path / "b.tif", Options(budget_bytes=10**6))
