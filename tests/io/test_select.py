"""Parts of an image: channels by number or name, times and depths, three bands as colours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from unetmm.errors import ImageError, ShapeError
from unetmm.io.image import Box, Source
from unetmm.io.open import open_source
from unetmm.io.select import Selection
from unetmm.io.select_words import (
    parse_bands,
    parse_channels,
    parse_planes,
    parse_rgb_bands,
)
from unetmm.options import Options
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run

PIXELS = np.random.default_rng(8).integers(0, 999, (3, 4, 5, 20, 30)).astype(np.uint16)
BOX = Box(1, 2, 9, 19)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    metadata: dict[str, Any] = {
        "axes": "TCZYX",
        "Channel": {"Name": ["a", "b", "c", "d"], "Color": [255, 65535, 16777215, -1]},
        "PhysicalSizeZ": 2.0,
        "Plane": {"PositionZ": [10.0] * 60, "PositionZUnit": ["µm"] * 60},
    }
    tifffile.imwrite(tmp_path / "a.ome.tif", PIXELS, metadata=metadata)
    return tmp_path / "a.ome.tif"


def part(path: Path, **chosen: Any) -> Source:
    return open_source(path, Selection(**chosen))


def test_channels_and_planes(path: Path) -> None:
    source = part(path, channels=("c", "0"), planes=parse_planes("T=1:,z=-2"))
    info = source.info
    assert (info.axes, info.shape) == ("TCZYX", (2, 2, 1, 20, 30))
    assert info.channel_names == ("c", "a")
    seen = info.metadata.microscopy
    assert seen.channel_colors == ("#00ffff", "#000000")
    assert seen.origin["Z"] == (16.0, "micrometer")
    assert 'SizeT="2"' in seen.ome_xml and info.pixel_size["Z"] == (
        2.0,
        "micrometer",
    )
    for t, c in ((0, 0), (0, 1), (1, 0)):
        found = source.read((t, c, 0), BOX)[..., 0]
        np.testing.assert_array_equal(found, PIXELS[1 + t, (2, 0)[c], 3, 1:9, 2:19])


def test_all_of_an_image_keeps_its_metadata(path: Path) -> None:
    assert part(path, channels=("a", "b", "c", "d")).info == open_source(path).info
    assert part(path, planes={"T": (0, 3)}).info == open_source(path).info


def test_bands_as_colours(path: Path) -> None:
    source = part(path, rgb_bands=(4, 3, 2), planes={"Z": (1, 3)})
    info = source.info
    assert (info.axes, info.shape, info.samples) == ("TZYXS", (3, 2, 20, 30, 3), 3)
    assert info.channel_names == () and not info.metadata.microscopy.channel_colors
    wanted = np.moveaxis(PIXELS[2, [3, 2, 1], 2, 1:9, 2:19], 0, -1)
    np.testing.assert_array_equal(source.read((2, 0, 1), BOX), wanted)
    assert source.read_bytes(8, 17) >= 8 * 17 * 2


def test_bands_are_counted_from_one_or_named(path: Path) -> None:
    for bands in (("4", "2"), ("D", "b")):
        source = part(path, bands=bands)
        assert source.info.channel_names == ("d", "b")
        np.testing.assert_array_equal(
            source.read((0, 1, 0), BOX)[..., 0], PIXELS[0, 1, 0, 1:9, 2:19]
        )
    assert part(path, rgb_bands=("d", 3, "B")).info == part(path, rgb_bands=(4, 3, 2)).info


MISSING = [
    ({"channels": ("x",)}, r'channel "x" was chosen; the image has 0 a, 1 b, 2 c, 3 d'),
    ({"channels": ("4",)}, r'channel "4"'),
    ({"channels": ("0", "a")}, "two of them are the same"),
    ({"planes": {"Z": (3, 9)}}, r"Z=3:9 were chosen; the image has Z=0:5"),
    ({"planes": {"T": (3, 4)}}, r"T=3:4 were chosen; the image has T=0:3"),
    ({"rgb_bands": (1, 2, 5)}, r'band "5" was chosen; the image has bands 1 a, 2 b'),
    ({"bands": ("0",)}, r'band "0" was chosen'),
    ({"bands": ("1", "a")}, "two of them are the same"),
    ({"bands": ("1",), "channels": ("0",)}, "choose by one of them"),
    ({"rgb_bands": (1, 2, 3), "channels": ("0",)}, "choose by one of them"),
]


@pytest.mark.parametrize(("chosen", "text"), MISSING)
def test_what_is_not_there_is_named(path: Path, chosen: dict[str, Any], text: str) -> None:
    with pytest.raises(ImageError, match=text) as caught:
        part(path, **chosen)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("chosen", [{"channels": ("0",)}, {"bands": ("1",)}])
def test_colours_are_no_channels(chosen: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "rgb.tif", np.zeros((9, 8, 3), np.uint8), photometric="rgb")
    with pytest.raises(ImageError, match="the image has no channels but colours .axes YXS."):
        part(tmp_path / "rgb.tif", **chosen)
    tifffile.imwrite(tmp_path / "grey.tif", np.zeros((9, 8), np.uint8))
    assert part(tmp_path / "grey.tif", **chosen).info.shape == (9, 8)


def test_digits_that_are_no_numbers(path: Path) -> None:
    with pytest.raises(ImageError, match='channel "²" was chosen'):
        open_source(path, Selection(channels=("²",)))


def test_parsers() -> None:
    assert parse_channels("0, DAPI") == ("0", "DAPI")
    assert parse_planes("T=0:5,Z=3") == {"T": (0, 5), "Z": (3, 4)}
    assert parse_rgb_bands("4, 3,B02") == (4, 3, "B02")
    assert parse_bands("4,B03") == ("4", "B03")
    for parse, texts in (
        (parse_channels, ["", "0,", "0,0"]),
        (parse_planes, ["", "T", "T=", "C=1", "T=1,T=2", "T=a", "Z=2:2"]),
        (parse_rgb_bands, ["", "1,2", "0,1,2", "a,,c", "1,2,3,4"]),
        (parse_bands, ["", "0", "1,1", "1,"]),
    ):
        for text in texts:
            with pytest.raises(ShapeError, match="write"):
                parse(text)  # type: ignore[operator]


def test_a_part_is_restored_as_if_it_were_an_image(path: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "b.tif", PIXELS[1, 2, 3])
    chosen = Selection(channels=("c",), planes={"T": (1, 2), "Z": (3, 4)})
    restore_file(path, tmp_path / "a_out.tif", Options(select=chosen, budget_bytes=10**9))
    restore_file(tmp_path / "b.tif", tmp_path / "b_out.tif", Options(budget_bytes=10**9))
    a, b = (tifffile.imread(tmp_path / f"{name}_out.tif").squeeze() for name in "ab")
    np.testing.assert_array_equal(a, b)


def test_options_of_the_command_line(
    path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(path.parent)  # whose name may be longer than a line
    plan = ["plan", path.name, "--mem-budget", "1GB", "-o", "o.tif"]
    assert run([*plan, "--rgb-bands", "3,2,1", "--planes", "T=0"]) == 0
    assert "5 planes x 3 samples" in capsys.readouterr().out
    assert run([*plan, "--channels", "x"]) == 1
    assert "error: " in (text := capsys.readouterr().err) and text.count("\n") == 1
    assert run([*plan, "--planes", "Q=1"]) == 2
    assert '"Q=1" names no planes' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        (Selection(channels=("0", "DAPI"), planes={"Z": (1, 3)}), "channels 0, DAPI, Z 1:3"),
        (Selection(bands=("4", "B03"), series=2), "bands 4, B03, image 2 of the file"),
        (Selection(rgb_bands=(3, "B02", 1)), "RGB bands 3, B02, 1"),
    ],
)
def test_a_part_that_is_written_down_is_found_again_and_told(chosen: Selection, words: str) -> None:
    found = Selection.of_part(chosen.part)
    assert found == chosen and found.in_words == words
    assert Selection.of_part("all") is None and Selection.of_part("sum(a=1)") is None
