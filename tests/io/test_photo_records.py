"""A PNG or JPEG says how it was made, to us; other readers see the image alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from unetmm.errors import ImageError
from unetmm.io.image import Encoding
from unetmm.options import Options
from unetmm.provenance.record import read_record
from unetmm.run.of_file import restore_file

NAMES = ["out.png", "out.jpg"]


@pytest.fixture
def noisy(tmp_path: Path) -> Path:
    path = tmp_path / "noisy.png"
    pixels = np.random.default_rng(0).integers(90, 150, (40, 50, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_an_output_is_known_again(noisy: Path, name: str) -> None:
    output = noisy.with_name(name)
    options = Options(model="tiny-rgb")
    restore_file(noisy, output, options)
    before = output.read_bytes()
    record = read_record(output)
    assert record is not None
    assert record["facts"]["model"].startswith("tiny-rgb")
    assert "guard" in record
    assert restore_file(noisy, output, options).already_done
    with pytest.raises(ImageError, match="made with strength 1.0, now it is 0.5"):
        restore_file(noisy, output, Options(model="tiny-rgb", strength=0.5))
    assert output.read_bytes() == before


@pytest.mark.parametrize("name", NAMES)
def test_others_read_the_image(noisy: Path, name: str) -> None:
    output = noisy.with_name(name)
    restore_file(noisy, output, Options(model="tiny-rgb"))
    with Image.open(output) as image:
        image.load()
        assert image.size == (50, 40)
        assert not {"comment", "unetmm"} & image.info.keys() or name.endswith(".png")


@pytest.mark.parametrize("name", NAMES)
def test_an_output_of_an_output_has_its_own_record_alone(noisy: Path, name: str) -> None:
    first, second = noisy.with_name(f"first-{name}"), noisy.with_name(f"second-{name}")
    restore_file(noisy, first, Options(model="tiny-rgb"))
    restore_file(first, second, Options(model="universal-tiny-rgb"))
    record = read_record(second)
    assert record is not None
    assert record["facts"]["model"].startswith("universal-tiny-rgb")
    assert second.stat().st_size < 1.5 * first.stat().st_size


@pytest.mark.parametrize("name", NAMES)
def test_a_record_that_is_long_or_damaged(noisy: Path, name: str) -> None:
    from unetmm.io.photo import record as records

    rng = np.random.default_rng(0)
    long: dict[str, Any] = {"facts": {}, "noise": rng.integers(0, 10**9, 40000).tolist()}
    output = noisy.with_name(name)
    restore_file(noisy, output, Options(model="tiny-rgb"))
    data = output.read_bytes()
    own = read_record(output)
    pack = records.png_chunk if name.endswith(".png") else records.jpeg_segments
    assert own is not None and data.count(pack(own)) == 1
    output.write_bytes(data.replace(pack(own), pack(long)))
    assert read_record(output) == long
    packed = pack(long)
    middle = len(packed) // 2
    output.write_bytes(data.replace(pack(own), packed[:middle] + b"?" + packed[middle + 1 :]))
    assert read_record(output) is None


@pytest.mark.parametrize("name", NAMES)
def test_images_of_others_have_no_record(name: str, tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert read_record(tmp_path / name) is None


def test_the_quality_of_a_jpeg_is_that_asked_for(noisy: Path) -> None:
    sizes = []
    for quality in (30, 95, None):
        output = noisy.with_name(f"q{quality}.jpg")
        encoding = Encoding(quality=quality)
        restore_file(noisy, output, Options(model="tiny-rgb", strength=0.0, encoding=encoding))
        with Image.open(output) as image:
            sizes.append(sum(image.quantization[0]))
    assert sizes[0] > 5 * sizes[1] == 5 * sizes[2]
    for name, quality, words in (("a.png", 80, "is for JPEG alone"), ("a.jpg", 0, "give 1 to 100")):
        with pytest.raises(ImageError, match=words):
            restore_file(noisy, noisy.with_name(name), Options(encoding=Encoding(quality=quality)))
