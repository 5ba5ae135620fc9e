"""MRC both ways, and FITS: their layouts by hand, so that no other software is needed."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.image import Box, SinkOptions
from unetmm.io.keeping import not_kept
from unetmm.io.open import open_sink, open_source


def mrc(
    path: Path, pixels: NDArray[Any], mode: int, order: str = "<", group: int = 1, **more: Any
) -> Path:
    """An MRC of (z, y, x) pixels of 2 x 2 x 4 angstroms."""
    nz, ny, nx = pixels.shape
    mz, extended = more.get("mz", nz), more.get("extended", b"")
    head = struct.pack(order + "4i", nx, ny, nz, mode) + bytes(12)
    head += struct.pack(order + "3i6f3i", nx, ny, mz, 2 * nx, 2 * ny, 4 * mz, 90, 90, 90, 1, 2, 3)
    head += struct.pack(order + "3f2i", 0, 1, 0, group, len(extended)) + more.get(
        "imod", b""
    ).rjust(64 if "imod" in more else 0, b"\0")
    head = head.ljust(208, b"\0") + b"MAP " + (b"\x44\x44\0\0" if order == "<" else b"\x11\x11\0\0")
    head = head.ljust(1024, b"\0")
    path.write_bytes(head + extended + pixels.astype(pixels.dtype.newbyteorder(order)).tobytes())
    return path


def values(shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
    return (np.random.default_rng(4).random(shape) * 100).astype(dtype)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("mode", "dtype"), [(0, "i1"), (1, "i2"), (2, "f4"), (6, "u2"), (12, "f2")]
)
def test_mrc_boxes(tmp_path: Path, mode: int, dtype: str, order: str) -> None:
    pixels = values((4, 12, 20), dtype)
    path = mrc(tmp_path / "a.mrc", pixels, mode, order, extended=b"FEI1" * 5)
    source = open_source(path)
    assert (source.info.axes, source.info.shape) == ("ZYX", (4, 12, 20))
    assert source.info.pixel_size == {
        a: (s, "angstrom") for a, s in zip("XYZ", (2, 2, 4), strict=True)
    }
    assert not_kept(source.info, "tiff") == ("extended header",)
    found = source.read((0, 0, 3), Box(2, 3, 12, 20))
    np.testing.assert_array_equal(found[..., 0], pixels[3, 2:, 3:])


@pytest.mark.parametrize(("group", "mz", "axes"), [(0, 1, "TYX"), (1, 4, "ZYX"), (401, 2, "TZYX")])
def test_mrc_there_and_back(tmp_path: Path, group: int, mz: int, axes: str) -> None:
    pixels = values((4, 12, 20), "i2")
    source = open_source(mrc(tmp_path / "a.mrc", pixels, 1, group=group, mz=mz))
    assert source.info.axes == axes
    sink = open_sink(SinkOptions(tmp_path / "b.mrc", chunk_px=8), source.info)
    for plane in source.info.planes:
        for y in (0, 8):
            for x in (0, 8, 16):
                box = Box(y, x, min(y + 8, 12), min(x + 8, 20))
                sink.write(plane, box, source.read(plane, box))
    sink.close()
    again = open_source(tmp_path / "b.mrc").info
    assert (again.axes, again.shape, again.dtype) == (axes, source.info.shape, np.int16)
    assert again.pixel_size == source.info.pixel_size
    assert (tmp_path / "b.mrc").read_bytes()[1024:] == pixels.tobytes()


def test_what_mrc_cannot_hold(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((12, 20), np.uint8))
    with pytest.raises(ImageError, match="MRC holds int8, .* the image is uint8; give --dtype"):
        open_sink(SinkOptions(tmp_path / "b.mrc"), open_source(tmp_path / "a.tif").info)
    path = mrc(tmp_path / "c.mrc", values((1, 12, 20), "c8"), 4)
    with pytest.raises(ImageError, match="is an MRC of mode 4"):
        open_source(path)
    whole = mrc(tmp_path / "d.mrc", values((2, 12, 20), "i2"), 1).read_bytes()
    (tmp_path / "d.mrc").write_bytes(whole[:-1])
    with pytest.raises(ImageError, match="is truncated"):
        open_source(tmp_path / "d.mrc")


def fits(path: Path, pixels: NDArray[Any], bits: int, *cards: str, empty: bool = False) -> Path:
    """A FITS, in an extension behind an empty unit if need be."""

    def unit(first: str, shape: tuple[int, ...], more: tuple[str, ...]) -> bytes:
        lines = [first, f"BITPIX  = {bits:20}", f"NAXIS   = {len(shape):20}"]
        lines += [f"NAXIS{i:<3}= {n:20}" for i, n in enumerate(shape[::-1], 1)]
        text = "".join(line.ljust(80) for line in (*lines, *more, "END"))
        return text.ljust(-(-len(text) // 2880) * 2880).encode()

    data = pixels.astype(pixels.dtype.newbyteorder(">")).tobytes()
    data += bytes(-len(data) % 2880)
    simple = "SIMPLE  =                    T"
    head = unit(simple, (), ()) if empty else b""
    first = "XTENSION= 'IMAGE   '" if empty else simple
    path.write_bytes(head + unit(first, pixels.shape, cards) + data)
    return path


@pytest.mark.parametrize(
    ("dtype", "bits", "zero", "found"),
    [
        ("u1", 8, 0, "uint8"), ("u1", 8, -128, "int8"), ("i2", 16, 0, "int16"),
        ("i2", 16, 32768, "uint16"), ("i4", 32, 2147483648, "uint32"), ("f4", -32, 0, "float32"),
        ("f8", -64, 0, "float64"),
    ],
)  # fmt: skip
def test_fits_boxes(tmp_path: Path, dtype: str, bits: int, zero: int, found: str) -> None:
    stored = values((4, 12, 20), dtype)
    cards = [f"BZERO   = {zero:20} / offset"] if zero else []
    source = open_source(fits(tmp_path / "a.fits", stored, bits, *cards, empty=bits == 16))
    assert (source.info.axes, source.info.dtype.name) == ("ZYX", found)
    expected = (stored[2, 3:, 4:].astype(np.float64) + zero).astype(found)
    np.testing.assert_array_equal(source.read((0, 0, 2), Box(3, 4, 12, 20))[..., 0], expected)
    assert not_kept(source.info, "tiff") == ()


def test_what_fits_says_besides(tmp_path: Path) -> None:
    cards = ("BSCALE  =                  0.5", "BLANK   =                   -1",
             "OBJECT  = 'M31     '")  # fmt: skip
    info = open_source(fits(tmp_path / "a.fits", values((3, 12, 20), "i2"), 16, *cards)).info
    assert info.axes == "CYX" and str(info.nodata) == "-1"
    assert not_kept(info, "tiff") == ("scale of values (BSCALE, BZERO)", "header (OBJECT)")
    many = [f"KEY{i}    = {i:20}" for i in range(7)]
    info = open_source(fits(tmp_path / "c.fits", values((12, 20), "i2"), 16, *many)).info
    assert not_kept(info, "tiff") == ("header (KEY0, KEY1, KEY2, KEY3 and 3 more)",)
    packed = fits(tmp_path / "b.fits", values((2,), "i2"), 16, "ZIMAGE  =                    T")
    with pytest.raises(ImageError, match="compressed in tiles; unpack it by funpack"):
        open_source(packed)
