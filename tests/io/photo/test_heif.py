"""AVIF and HEIC are read upright, in all their bits, with what belongs to them."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pillow_heif
import pytest
from PIL import Image

from unetmm.errors import ImageError, MissingPackageError
from unetmm.io.image import Box
from unetmm.io.open import open_source

ROWS, COLUMNS = np.mgrid[:48, :64]
PICTURE = np.stack([ROWS * 4, COLUMNS * 3, 255 - ROWS * 2 - COLUMNS], -1).astype(np.uint8)


def exif(orientation: int) -> bytes:
    found = Image.Exif()
    found[0x0112], found[0x010F] = orientation, "Maker"
    return found.tobytes()


@pytest.mark.parametrize("orientation", [1, 3, 6])
@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_pictures_are_upright_and_keep_their_exif(
    tmp_path: Path, kind: str, orientation: int
) -> None:
    path = tmp_path / f"photo.{kind}"
    image = Image.fromarray(PICTURE)
    if kind == "avif":
        image.save(path, exif=exif(orientation), quality=95, subsampling="4:4:4")
    else:
        pillow_heif.from_pillow(image).save(
            path, exif=exif(orientation), quality=-1, chroma=444, matrix_coefficients=0
        )
    turned = {1: PICTURE, 3: PICTURE[::-1, ::-1], 6: np.rot90(PICTURE, -1)}[orientation]
    source = open_source(path)
    assert source.info.shape == turned.shape
    pixels = source.read((0, 0, 0), Box(0, 0, *turned.shape[:2])).astype(int)
    assert np.abs(pixels - turned).mean() < 4
    assert b"Maker" in source.info.metadata.photo.exif
    kept = Image.Exif()
    kept.load(source.info.metadata.photo.exif)
    assert kept.get(0x0112, 1) == 1
    source.close()


@pytest.mark.parametrize("kind", ["avif", "heic"])
def test_more_than_eight_bits_are_spread_over_sixteen(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"photo.{kind}"
    deep = PICTURE.astype(np.uint16) * 4 + 1
    if kind == "avif":
        path.write_bytes(imagecodecs.avif_encode(deep, bitspersample=10, level=100))
    else:
        pillow_heif.encode(
            "RGB;16", (64, 48), (deep << 6).tobytes(), path, quality=-1, chroma=444,
            matrix_coefficients=0,
        )  # fmt: skip
    source = open_source(path)
    assert source.info.dtype == np.uint16
    pixels = source.read((0, 0, 0), Box(0, 0, 48, 64)) / 65535
    assert np.abs(pixels - deep / 1023).max() < 0.01


def test_hdr_is_said_to_be_lost(tmp_path: Path) -> None:
    path = tmp_path / "photo.avif"
    deep = PICTURE.astype(np.uint16) * 4
    try:
        data = imagecodecs.avif_encode(deep, bitspersample=10, transfer=16)
    except TypeError:
        pytest.skip("this imagecodecs cannot write it")
    path.write_bytes(data)
    assert "HDR transfer (PQ)" in open_source(path).info.metadata.reading.left_out


def test_what_is_left_out_of_a_file_of_several_is_said(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    several = pillow_heif.from_pillow(Image.fromarray(PICTURE))
    several.add_from_pillow(Image.fromarray(PICTURE[::-1]))
    several.save(path)
    assert "1 further image" in open_source(path).info.metadata.reading.left_out


def test_damaged_ones_and_a_missing_package_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("avif", "heic"):
        path = tmp_path / f"photo.{kind}"
        if kind == "avif":
            Image.fromarray(PICTURE).save(path)
        else:
            pillow_heif.from_pillow(Image.fromarray(PICTURE)).save(path)
        data = path.read_bytes()
        for length in (40, 200, len(data) - 50):
            path.write_bytes(data[:length])
            with pytest.raises(ImageError):
                open_source(path).read((0, 0, 0), Box(0, 0, 48, 64))
    monkeypatch.setattr("unetmm.extras.find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match=r"unetmm\[heic\]"):
        open_source(path)
