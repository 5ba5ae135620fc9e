"""What cannot be read or written is refused in one clear line, and outputs appear whole."""

from __future__ import annotations

import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from helpers import ROOT
from PIL import Image

from unetmm.errors import ImageError
from unetmm.io.image import Box, ImageInfo, Sink, SinkOptions
from unetmm.io.open import open_sink, open_source, output_format

ORIGIN = (0, 0, 0)
PIXELS = np.random.default_rng(11).integers(0, 255, (40, 50), dtype=np.uint8)
INFO = ImageInfo("any", "YX", PIXELS.shape, PIXELS.dtype, (1, 1))
OUTPUTS = ["a.tif", "a.ome.zarr", "a.png"]


def refused(path: Path) -> str:
    """The message with which opening or reading a damaged image fails."""
    with pytest.raises(ImageError) as caught:
        source = open_source(path)
        source.read(ORIGIN, Box(0, 0, source.info.height, source.info.width))
    text = str(caught.value)
    assert "\n" not in text and text.startswith(str(path))
    return text


def fill(sink: Sink) -> None:
    sink.write(ORIGIN, Box(0, 0, *PIXELS.shape), PIXELS[..., None])


NOT_IMAGES = [
    ("empty", b"", "the file is empty"),
    ("text", b"hello, I am no image", "holds text"),
    ("unknown", b"\x01\x02\x03\x04\x05", "no known image"),
    ("GIF", b"GIF89a", "is a GIF; convert it: magick"),
    ("CR2", b"II*\0\x10\0\0\0CR\x02\0", "is a raw photo .Canon CR2.; develop it"),
    ("HEIC", b"\0\0\0\x18ftypheic", "cannot read it as HEIC"),
    ("JPEG XL", b"\xff\x0a", "cannot read it as JXL: its header is truncated"),
    ("MP4", b"\0\0\0\x18ftypisom", "is a video"),
    ("DICOM", bytes(128) + b"DICM", "holds no image"),
    ("NIfTI", bytes(344) + b"n+1\0", "is a NIfTI; save its array"),
    ("NRRD", b"NRRD0004\n", "NRRD"),
    ("EXR", b"\x76\x2f\x31\x01", "cannot read it as OpenEXR"),
    ("gzip", b"\x1f\x8b\x08", "is a gzip file; unpack it: gunzip"),
    ("only a TIFF signature", b"II*\0", "cannot read it as TIFF|holds no image"),
    ("only a PNG signature", b"\x89PNG\r\n\x1a\n", "truncated"),
    ("only a JPEG signature", b"\xff\xd8\xff", "ends before its pixels|ends within"),
]


@pytest.mark.parametrize(("note", "data", "text"), NOT_IMAGES, ids=[n[0] for n in NOT_IMAGES])
def test_files_that_are_no_image_are_named_for_what_they_are(
    tmp_path: Path, note: str, data: bytes, text: str
) -> None:
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(ImageError, match=text):
        open_source(tmp_path / "a.tif")
    refused(tmp_path / "a.tif")


def test_missing_input_and_plain_folder_are_refused(tmp_path: Path) -> None:
    assert "no such file" in refused(tmp_path / "a.tif")
    assert "no Zarr" in refused(tmp_path)


def test_content_decides_where_the_extension_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(imagecodecs.png_encode(PIXELS))
    tifffile.imwrite(tmp_path / "a.png", PIXELS)
    assert open_source(tmp_path / "a.tif").info.format == "png"
    assert open_source(str(tmp_path / "a.png")).info.format == "tiff"


def encoded(kind: str, path: Path) -> bytes:
    if kind == "png":
        return bytes(imagecodecs.png_encode(PIXELS))
    if kind == "jpeg":
        Image.fromarray(PIXELS).save(path, "JPEG")
    else:
        compression = None if kind == "plain tiff" else "zlib"
        tifffile.imwrite(path, PIXELS, compression=compression, rowsperstrip=8)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["png", "jpeg", "plain tiff", "deflate tiff"])
def test_files_cut_anywhere_are_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    data = encoded(kind, path)
    for end in [*range(0, 64, 7), *range(64, len(data) - 1, 131), len(data) - 1]:
        path.write_bytes(data[:end])
        refused(path)


@pytest.mark.parametrize("kind", ["png", "jpeg", "plain tiff", "deflate tiff"])
def test_damaged_bytes_never_raise_anything_but_imageerror(tmp_path: Path, kind: str) -> None:
    path, rng = tmp_path / "a", np.random.default_rng(2)
    data = encoded(kind, path)
    for _ in range(120):
        damaged = bytearray(data)
        for at in rng.integers(4, min(len(data), 400), 3):
            damaged[at] = rng.integers(256)
        path.write_bytes(damaged)
        try:
            source = open_source(path)
            if source.info.megapixels < 1:
                source.read(ORIGIN, Box(0, 0, source.info.height, source.info.width))
            source.close()
        except ImageError:
            pass


TIFFS: list[tuple[str, Any, dict[str, Any], str]] = [
    ("complex", PIXELS.astype(np.complex64), {}, "complex64.*convert"),
    ("64-bit integers", PIXELS.astype(np.int64), {}, "int64.*convert"),
    (
        "colours of 1 bit",
        np.zeros((8, 9, 3), bool),
        {"photometric": "rgb"},
        "colours of 1 bit.*save grey or RGB",
    ),
    (
        "CIELab",
        np.zeros((8, 9, 3), np.uint8),
        {"photometric": "cielab"},
        "CIELab.*save grey or RGB",
    ),
    ("CMYK", np.zeros((8, 9, 4), np.uint8), {"photometric": "separated"}, "CMYK.*save"),
    ("no pixels", np.zeros((0, 0), np.uint8), {}, "empty|no image|cannot read"),
    (
        "3-D tiles",
        np.zeros((16, 16, 16), np.uint8),
        {"tile": (16, 16, 16), "volumetric": True},
        "3-D",
    ),
]


@pytest.mark.parametrize(("note", "pixels", "options", "text"), TIFFS, ids=[t[0] for t in TIFFS])
def test_tiffs_that_cannot_be_restored_are_refused_on_opening(
    tmp_path: Path, note: str, pixels: Any, options: dict[str, Any], text: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # tifffile warns of writing what we want to refuse
        tifffile.imwrite(tmp_path / "a.tif", pixels, **options)
    with pytest.raises(ImageError, match=text):
        open_source(tmp_path / "a.tif")


def test_ometiff_whose_other_files_are_missing_is_refused(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as writer:
        writer.write(np.zeros((2, 8, 9), np.uint8), metadata={"axes": "ZYX"})
    text = str(tifffile.tiffcomment(tmp_path / "a.ome.tif"))
    uuid = '<UUID FileName="b.ome.tif">urn:uuid:11111111-2222-3333-4444-555555555555</UUID>'
    other = f'<TiffData IFD="0" FirstZ="1" PlaneCount="1">{uuid}</TiffData>'
    both = '<TiffData IFD="0" PlaneCount="2"/>'
    assert both in text
    text = text.replace(both, f'<TiffData IFD="0" PlaneCount="1"/>{other}')
    tifffile.tiffcomment(tmp_path / "a.ome.tif", text.encode())
    assert "needs b.ome.tif" in refused(tmp_path / "a.ome.tif")


@pytest.mark.parametrize("name", OUTPUTS)
def test_nothing_appears_before_close_nor_after_abort(tmp_path: Path, name: str) -> None:
    sink = open_sink(SinkOptions(tmp_path / name, chunk_px=64), INFO)
    fill(sink)
    assert not (tmp_path / name).exists()
    sink.abort()
    sink.abort()
    sink.close()
    assert not list(tmp_path.iterdir())
    sink = open_sink(SinkOptions(tmp_path / name, chunk_px=64), INFO)
    fill(sink)
    sink.close()
    sink.close()
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", OUTPUTS)
def test_existing_output_is_kept_until_the_new_one_is_whole(tmp_path: Path, name: str) -> None:
    def first_pixel() -> int:
        return int(open_source(tmp_path / name).read(ORIGIN, Box(0, 0, 1, 1))[0, 0, 0])

    for value in (1, 2):
        sink = open_sink(SinkOptions(tmp_path / name, overwrite=True, chunk_px=64), INFO)
        sink.write(ORIGIN, Box(0, 0, *PIXELS.shape), np.full((*PIXELS.shape, 1), value, np.uint8))
        if value == 2:
            assert first_pixel() == 1
        sink.close()
        assert first_pixel() == value
    with pytest.raises(ImageError, match="exists; give --overwrite"):
        open_sink(SinkOptions(tmp_path / name), INFO)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", OUTPUTS)
def test_output_with_holes_is_not_published(tmp_path: Path, name: str) -> None:
    sink = open_sink(SinkOptions(tmp_path / name, chunk_px=16), INFO)
    sink.write(ORIGIN, Box(0, 0, 16, 50), PIXELS[:16, :, None])
    with pytest.raises(ImageError, match="8 of 12 chunks were never written"):
        sink.close()
    assert [p.name for p in tmp_path.iterdir()] == [f".{name}.part"], "kept for another run"


@pytest.mark.parametrize("name", OUTPUTS)
def test_missing_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ImageError, match="does not exist; create it first"):
        open_sink(SinkOptions(tmp_path / "none" / name), INFO)


def test_folders_and_files_do_not_replace_each_other(tmp_path: Path) -> None:
    (tmp_path / "a.tif").mkdir()
    (tmp_path / "b.zarr").write_text("a file")
    (tmp_path / "c.zarr").mkdir()
    (tmp_path / "c.zarr" / "thesis.txt").write_text("dear")
    for name, text in (("a.tif", "is a folder"), ("b.zarr", "is a file"), ("c.zarr", "no Zarr")):
        with pytest.raises(ImageError, match=text):
            open_sink(SinkOptions(tmp_path / name, overwrite=True), INFO)
    assert (tmp_path / "c.zarr" / "thesis.txt").exists()


def test_image_larger_than_the_disk_is_refused(tmp_path: Path) -> None:
    info = ImageInfo("any", "ZYX", (9000, 10**6, 10**6), np.dtype("u2"), (1, 1))
    with pytest.raises(ImageError, match="MiB are free"):
        open_sink(SinkOptions(tmp_path / "a.tif", chunk_px=2**15), info)
    assert not list(tmp_path.iterdir())


FORMATS = [
    ("a.tif", None, "tiff"),
    ("a.OME.TIFF", None, "tiff"),
    ("a.ome.zarr", None, "ome-zarr"),
    ("a.png", None, "png"),
    ("a.dat", "zarr", "ome-zarr"),
    ("a.png", "TIFF", "tiff"),
]


@pytest.mark.parametrize(("name", "requested", "expected"), FORMATS)
def test_output_format_comes_from_request_then_extension(
    name: str, requested: str | None, expected: str
) -> None:
    assert output_format(name, requested) == expected


@pytest.mark.parametrize(
    ("name", "requested", "text"),
    [("a.gif", None, "names no format"), ("a", None, "use .tif"), ("a.tif", "webp", "use one of")],
)
def test_unwritten_formats_are_refused(name: str, requested: str | None, text: str) -> None:
    with pytest.raises(ImageError, match=text):
        output_format(name, requested)


def test_importing_io_loads_no_codec() -> None:
    code = "import sys, unetmm.io; print({'zarr', 'tifffile', 'PIL', 'torch'} & set(sys.modules))"
    root = ROOT
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == "set()", found.stderr
