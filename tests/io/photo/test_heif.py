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
from unetmm.io.keeping import not_kept
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


@pytest.mark.parametrize("kind", ["avif", "heic"])
@pytest.mark.parametrize(
    ("primaries", "transfer", "words"),
    [(9, 16, "BT.2020 with HDR transfer PQ"), (9, 18, "HDR transfer HLG"), (12, 13, "Display P3")],
)
def test_colour_spaces_are_kept_or_named(
    tmp_path: Path, kind: str, primaries: int, transfer: int, words: str
) -> None:
    path = tmp_path / f"photo.{kind}"
    deep = PICTURE.astype(np.uint16) * 4
    if kind == "avif":
        try:
            data = imagecodecs.avif_encode(
                deep, bitspersample=10, primaries=primaries, transfer=transfer, matrix=9
            )
        except TypeError:
            pytest.skip("this imagecodecs cannot write it")
        path.write_bytes(data)
    else:
        pillow_heif.encode(
            "RGB;16", (64, 48), (deep << 6).tobytes(), path, quality=-1,
            color_primaries=primaries, transfer_characteristics=transfer,
        )  # fmt: skip
    info = open_source(path).info
    assert info.metadata.photo.png_chunks == ((b"cICP", bytes([primaries, transfer, 0, 1])),)
    assert not_kept(info, "png") == not_kept(info, "ome-zarr") == ()
    lost = not_kept(info, "tiff")
    assert (lost == ()) if transfer == 13 else words in lost[0]
    assert words in not_kept(info, "npy")[0]


def test_usual_colour_spaces_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "photo.avif"
    for pixels in (PICTURE, PICTURE[..., 0]):
        Image.fromarray(pixels).save(path)
        assert open_source(path).info.metadata.photo.png_chunks == ()


def test_what_is_left_out_of_a_file_of_several_is_said(tmp_path: Path) -> None:
    path = tmp_path / "photo.heic"
    several = pillow_heif.from_pillow(Image.fromarray(PICTURE))
    several.add_from_pillow(Image.fromarray(PICTURE[::-1]))
    several.save(path)
    assert "1 further image" in open_source(path).info.metadata.reading.left_out


def film(path: Path, frames: int, alpha: bool = False) -> bytes:
    """A film as AVIF, and what its file holds."""
    pictures = [np.roll(PICTURE, 9 * i, 0) for i in range(frames)]
    if alpha:
        pictures = [np.dstack([p, np.full(p.shape[:2], 200, np.uint8)]) for p in pictures]
    first, *others = map(Image.fromarray, pictures)
    first.save(path, save_all=True, append_images=others, quality=95, subsampling="4:4:4")
    return path.read_bytes()


@pytest.mark.parametrize("brand", [b"avis", b"avif"])
@pytest.mark.parametrize(("frames", "alpha"), [(2, False), (5, True), (30, False)])
def test_a_film_is_its_still_image(tmp_path: Path, brand: bytes, frames: int, alpha: bool) -> None:
    path = tmp_path / "film.avif"
    data = film(path, frames, alpha)
    path.write_bytes(data[:8] + brand + data[12:])
    source = open_source(path)
    pixels = source.read((0, 0, 0), Box(0, 0, 48, 64))
    assert pixels.shape == (48, 64, 4 if alpha else 3)
    assert np.abs(pixels[..., :3].astype(int) - PICTURE).mean() < 4
    (lost,) = source.info.metadata.reading.left_out
    assert lost in (f"{frames - 1} further frame{'s' * (frames > 2)}", "film beside the image")
    assert source.resident_bytes > 2 * len(data)


def test_a_film_alone_or_damaged_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "film.avif"
    data = film(path, 3)
    path.write_bytes(data.replace(b"meta", b"free", 1))
    with pytest.raises(ImageError, match="save a frame as PNG"):
        open_source(path)
    for length in (100, 300, 900, len(data) // 2):
        path.write_bytes(data[:length])
        with pytest.raises(ImageError):
            open_source(path).read((0, 0, 0), Box(0, 0, 48, 64))


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
