"""Tiles whose own header claims far more than their place are refused before they are decoded."""

from __future__ import annotations

import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile

from unetmm.errors import ImageError
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.io.tiff.inner_headers import inner_size

ENCODERS: dict[str, tuple[int, Callable[[Any], bytes]]] = {
    "jpeg": (7, imagecodecs.jpeg_encode),
    "jpeg2000": (34712, imagecodecs.jpeg2k_encode),
    "jpeg2000 stream": (33003, lambda a: imagecodecs.jpeg2k_encode(a, codecformat="j2k")),
    "png": (34933, imagecodecs.png_encode),
    "webp": (50001, lambda a: imagecodecs.webp_encode(a, level=50)),
    "webp lossless": (50001, lambda a: imagecodecs.webp_encode(a, lossless=True)),
    "jpeg xl": (50002, imagecodecs.jpegxl_encode),
    "jpeg xl boxes": (50002, lambda a: imagecodecs.jpegxl_encode(a, usecontainer=True)),
    "jpeg xr": (22610, imagecodecs.jpegxr_encode),
    "lerc": (34887, lambda a: imagecodecs.lerc_encode(a[..., 0].astype(np.float32))),
}


def write_with_tile(path: Path, code: int, tile: bytes) -> None:
    """A TIFF of four tiles of 64 x 64 px, all of which hold this."""
    tifffile.imwrite(path, np.zeros((128, 128, 3), np.uint8), tile=(64, 64), photometric="rgb")
    with tifffile.TiffFile(path) as tif:
        tags = tif.pages.first.tags
        offsets, counts = tags[324], tags[325]
        compression = tags[259].valueoffset
    size = {3: "H", 4: "I", 16: "Q"}
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        file.write(tile)
        file.seek(compression)
        file.write(struct.pack("<H", code))
        for tag, value in ((offsets, end), (counts, len(tile))):
            file.seek(tag.valueoffset)
            file.write(struct.pack("<4" + size[int(tag.dtype)], *[value] * 4))


@pytest.mark.parametrize("name", ENCODERS)
def test_sizes_are_those_of_the_header(name: str) -> None:
    code, encode = ENCODERS[name]
    pixels = np.random.default_rng(0).integers(0, 255, (40, 70, 3), np.uint8)
    found = inner_size(code, encode(pixels))
    assert found is not None and (found.height, found.width) == (40, 70)
    inner_size(code, encode(pixels)[:4])  # is no error


@pytest.mark.parametrize("name", ["jpeg", "jpeg2000", "png", "webp", "jpeg xl"])
def test_a_tile_that_is_a_huge_image_is_not_decoded(tmp_path: Path, name: str) -> None:
    code, encode = ENCODERS[name]
    path = tmp_path / "bomb.tif"
    write_with_tile(path, code, encode(np.full((64, 64, 3), 128, np.uint8)))
    source = open_source(path)
    assert abs(int(source.read((0, 0, 0), Box(0, 0, 1, 1)).flat[0]) - 128) < 3
    source.close()
    huge = encode(np.full((1200, 1500, 3), 128, np.uint8))
    if len(huge) > 65535:
        pytest.skip("this imagecodecs makes more of it than the file's tag holds")
    write_with_tile(path, code, huge)
    source = open_source(path)
    tracemalloc.start()
    with pytest.raises(ImageError, match="tile 0: it holds an image of 1500 x 1200 px"):
        source.read((0, 0, 0), Box(0, 0, 1, 1))
    assert tracemalloc.get_traced_memory()[1] < 2 * 10**6
    tracemalloc.stop()
    source.close()


@pytest.mark.parametrize(
    ("beginning", "words"),
    [
        ("ff0ac14108a7", "JPEG XL whose colours only a packed profile describes"),
        ("ff0a38804e14488a0b010a010025", "JPEG XL of several frames, one with parts in an order"),
    ],
)
def test_a_tile_of_frames_that_are_not_found_is_not_decoded(
    tmp_path: Path, beginning: str, words: str
) -> None:
    """Their sizes are not known. These are the first bytes of two files that cjxl 0.7 made."""
    write_with_tile(tmp_path / "a.tif", 50002, bytes.fromhex(beginning) + bytes(100))
    source = open_source(tmp_path / "a.tif")
    with pytest.raises(ImageError) as caught:
        source.read((0, 0, 0), Box(0, 0, 1, 1))
    message = str(caught.value)
    assert f"tile 0: it holds a {words}" in message and "\n" not in message
    assert message.endswith("which is not read here; write the TIFF with another compression")
    source.close()
