"""PNG and JPEG as outputs: shown as they should be, with what the input said."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from photo_files import ORIGIN, random_pixels, whole
from PIL import Image, ImageOps
from PIL.PngImagePlugin import PngInfo

from unetmm.errors import ImageError
from unetmm.io.image import Box, Encoding, ImageInfo, SinkOptions
from unetmm.io.metadata import DisplayFacts, Metadata, PhotoFacts, TiffFacts
from unetmm.io.open import open_sink, open_source


def test_png_keeps_profile_and_resolution(tmp_path: Path) -> None:
    photo = PhotoFacts(b"profile " * 9, resolution=(118.11, 118.11, "centimeter"))
    known = Metadata(photo)
    info = ImageInfo("any", "YXS", (5, 6, 3), np.dtype("u1"), (1, 1), metadata=known)
    sink = open_sink(SinkOptions(tmp_path / "a.png"), info)
    sink.write(ORIGIN, Box(0, 0, 5, 6), random_pixels((5, 6, 3)))
    sink.close()
    assert open_source(tmp_path / "a.png").info.metadata == known
    with Image.open(tmp_path / "a.png") as image:
        assert image.text["Software"] == "unetmm"  # type: ignore[attr-defined]
    with Image.open(tmp_path / "a.png") as image:
        assert image.info["icc_profile"] == photo.icc_profile


def copied(source: Path, target: Path) -> Path:
    """The same image in another file."""
    opened = open_source(source)
    info = opened.info
    sink = open_sink(SinkOptions(target), info)
    box = Box(0, 0, info.height, info.width)
    sink.write(ORIGIN, box, opened.read(ORIGIN, box))
    sink.close()
    opened.close()
    return target


def test_png_keeps_gamma_and_texts_of_a_png(tmp_path: Path) -> None:
    texts = PngInfo()
    texts.add(b"gAMA", struct.pack(">I", 45455))
    texts.add(b"cHRM", struct.pack(">8I", *range(30000, 38000, 1000)))
    texts.add_text("Title", "a scan")
    texts.add_text("Comment", "long " * 50, zip=True)
    texts.add_itxt("Author", "Größe", lang="de")
    texts.add_text("Software", "another")
    pixels = random_pixels((20, 30, 3))
    Image.fromarray(pixels).save(tmp_path / "a.png", pnginfo=texts)
    output = copied(copied(tmp_path / "a.png", tmp_path / "b.png"), tmp_path / "c.png")
    with Image.open(output) as found, Image.open(tmp_path / "a.png") as expected:
        assert found.info["gamma"] == 0.45455
        assert found.info["chromaticity"] == expected.info["chromaticity"]
        wanted = expected.text | {"Software": "unetmm"}  # type: ignore[attr-defined]
        assert found.text == wanted  # type: ignore[attr-defined]
    np.testing.assert_array_equal(whole(output), pixels)


def test_long_texts_of_a_png_are_left_out(tmp_path: Path) -> None:
    texts = PngInfo()
    for _ in range(2):
        texts.add_text("Comment", "x" * 700_000)
    Image.fromarray(random_pixels((20, 30))).save(tmp_path / "a.png", pnginfo=texts)
    assert len(open_source(tmp_path / "a.png").info.metadata.photo.png_chunks) == 1


def test_jpeg_keeps_the_comment_of_a_jpeg(tmp_path: Path) -> None:
    image = Image.fromarray(random_pixels((20, 30, 3)))
    image.save(tmp_path / "a.jpg", comment="seen at noon")
    with Image.open(copied(tmp_path / "a.jpg", tmp_path / "b.jpg")) as found:
        assert found.info["comment"] == b"seen at noon"


REFUSED = [
    ("float", "YX", (5, 6), "float32", {}, "uint8 or uint16.*write .tif"),
    ("stack", "ZYX", (3, 5, 6), "uint8", {}, "one plane.*write .tif"),
    ("one row too long for libpng", "YX", (1, 1_000_001), "uint8", {}, "at most 1000000 px"),
    ("two colours without alpha", "YXS", (5, 6, 2), "uint8", {}, "grey or RGB"),
]


@pytest.mark.parametrize(("note", "axes", "shape", "dtype", "more", "text"), REFUSED)
def test_png_says_which_format_would_hold_the_image(
    tmp_path: Path, note: str, axes: str, shape: tuple[int, ...], dtype: str, more: Any, text: str
) -> None:
    info = ImageInfo("any", axes, shape, np.dtype(dtype), (1, 1), **more)
    with pytest.raises(ImageError, match=text):
        open_sink(SinkOptions(tmp_path / "a.png"), info)


def store(path: Path, pixels: NDArray[Any], **more: Any) -> None:
    """Write an image chunk by chunk."""
    axes = "YXS" if pixels.ndim == 3 else "YX"
    info = ImageInfo("any", axes, pixels.shape, pixels.dtype, (1, 1), **more)
    sink = open_sink(SinkOptions(path, chunk_px=16), info)
    height, width = pixels.shape[:2]
    for y in range(0, height, 16):
        for x in range(0, width, 16):
            box = Box(y, x, min(y + 16, height), min(x + 16, width))
            part = pixels[box.y0 : box.y1, box.x0 : box.x1]
            sink.write(ORIGIN, box, part if part.ndim == 3 else part[..., None])
    assert not path.exists()
    sink.close()


@pytest.mark.parametrize("shape", [(40, 50), (40, 50, 3)])
def test_jpeg_is_written_close_to_the_pixels(tmp_path: Path, shape: tuple[int, ...]) -> None:
    y, x = np.mgrid[:40, :50]
    smooth = (60 + 2 * y + x).astype(np.uint8)
    pixels = smooth if len(shape) == 2 else np.stack([smooth, smooth[::-1], 255 - smooth], -1)
    exif = Image.Exif()
    exif[271] = "Maker"
    photo = PhotoFacts(
        icc_profile=b"profile " * 9,
        exif=exif.tobytes().removeprefix(b"Exif\0\0"),
        resolution=(118.11, 118.11, "centimeter"),
    )
    store(tmp_path / "a.jpg", pixels, metadata=Metadata(photo))
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.mode) == ("JPEG", "RGB" if len(shape) == 3 else "L")
        assert image.info["icc_profile"] == photo.icc_profile
        assert image.info["dpi"] == (300, 300) and image.getexif()[271] == "Maker"
        difference = np.abs(np.asarray(image).astype(int) - pixels)
    assert difference.max() <= 4


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_photos_of_a_tiff_are_upright(tmp_path: Path, name: str, orientation: int) -> None:
    """A TIFF keeps its pixels as stored and says how to turn them; a photo is turned."""
    y, x = np.mgrid[:20, :37]
    pixels = (5 * y + 3 * x).astype(np.uint8)
    exif = Image.Exif()
    exif[274] = orientation
    image = Image.fromarray(pixels)
    image.save(tmp_path / "turned.png", exif=exif)
    with Image.open(tmp_path / "turned.png") as image:
        expected = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    photo = PhotoFacts(resolution=(300.0, 200.0, "inch"))
    known = Metadata(photo, TiffFacts(tags=((274, 3, 1, orientation),)))
    store(tmp_path / name, pixels, metadata=known)
    with Image.open(tmp_path / name) as image:
        assert image.getexif().get(274, 1) == 1
        assert np.abs(np.asarray(image) - expected).max() <= (0 if name == "a.png" else 4)
        dpi = (200, 300) if orientation > 4 else (300, 200)
        assert np.allclose(image.info["dpi"], dpi, atol=0.1)


def test_white_stays_white_where_a_tiff_says_that_it_is_0(tmp_path: Path) -> None:
    for name, bits, white in (("a.png", 16, 65535), ("b.png", 12, 4095), ("a.jpg", 8, 255)):
        dtype = np.uint8 if bits == 8 else np.uint16
        known = Metadata(display=DisplayFacts(bits, "miniswhite"))
        store(tmp_path / name, np.zeros((20, 30), dtype), metadata=known)
        assert (whole(tmp_path / name) == white).all()


def test_what_is_for_zarr_is_refused_for_others(tmp_path: Path) -> None:
    info = ImageInfo("any", "YX", (5, 6), np.dtype("uint8"), (1, 1))
    for name in ("a.png", "a.tif", "a.npy"):
        for encoding in (Encoding(ome_zarr="0.4"), Encoding(shard_px=1024)):
            with pytest.raises(ImageError, match="are for .ome.zarr alone"):
                open_sink(SinkOptions(tmp_path / name, encoding=encoding), info)


def test_opacity_is_not_turned_with_white(tmp_path: Path) -> None:
    pixels = np.full((5, 6, 2), (94, 255), np.uint8)
    store(
        tmp_path / "a.png",
        pixels,
        alpha=True,
        metadata=Metadata(display=DisplayFacts(0, "miniswhite")),
    )
    assert (whole(tmp_path / "a.png") == (161, 255)).all()
    beyond = np.full((5, 6), 4100, np.uint16)  # restored values may lie beyond the bits
    store(tmp_path / "b.png", beyond, metadata=Metadata(display=DisplayFacts(12, "miniswhite")))
    assert (whole(tmp_path / "b.png") == 0).all()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_premultiplied_colours(tmp_path: Path, dtype: str) -> None:
    """TIFF keeps them so; PNG has no such, its colours are those that are seen."""
    top = np.iinfo(dtype).max
    pixels = np.zeros((1, 3, 4), dtype)
    pixels[0] = [[top // 2, top, 0, top], [top // 4, 0, top // 2, top // 2], [0, 0, 0, 0]]
    tifffile.imwrite(tmp_path / "a.tif", pixels, extrasamples=["assocalpha"])
    info = open_source(tmp_path / "a.tif").info
    assert info.alpha and info.metadata.display.premultiplied
    for name in ("b.tif", "b.ome.zarr", "b.png"):
        store(tmp_path / name, pixels, alpha=True, metadata=info.metadata)
    with tifffile.TiffFile(tmp_path / "b.tif") as tif:
        assert tif.pages[0].extrasamples == (1,)
    assert open_source(tmp_path / "b.ome.zarr").info.metadata.display.premultiplied
    shown = whole(tmp_path / "b.png")[0].astype(int)
    assert np.abs(shown[1, :3] - (top // 2, 0, top)).max() <= 1 and shown[1, 3] == top // 2
    assert np.array_equal(shown[0], pixels[0, 0]) and not shown[2].any()


NOT_JPEG = [
    ("YX", (5, 6), "uint16", {}, "JPEG holds uint8.*write .png, .tif or .ome.zarr"),
    ("ZYX", (3, 5, 6), "uint8", {}, "one plane"),
    ("YXS", (5, 6, 4), "uint8", {"alpha": True}, "with alpha; write .png"),
    ("YX", (5, 65501), "uint8", {}, "at most 65500 px.*65501 x 5"),
]


@pytest.mark.parametrize(("axes", "shape", "dtype", "more", "text"), NOT_JPEG)
def test_jpeg_says_which_format_would_hold_the_image(
    tmp_path: Path, axes: str, shape: tuple[int, ...], dtype: str, more: Any, text: str
) -> None:
    info = ImageInfo("any", axes, shape, np.dtype(dtype), (1, 1), **more)
    with pytest.raises(ImageError, match=text):
        open_sink(SinkOptions(tmp_path / "a.jpg"), info)
