"""`unetmm info`: metadata in words, and a look at the values that stays short for any size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from helpers import content, lively_model

from unetmm.errors import ImageError
from unetmm.io import survey
from unetmm.io.array import ArraySource, array_info
from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.io.output.output import Output
from unetmm.io.photo import png_rows
from unetmm.io.survey import BINS
from unetmm.io.survey import survey as look
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.run.of_file import restore_file
from unetmm.version import __version__
from unetmm_cli.__main__ import run
from unetmm_cli.display.info import sparkline


def array_source(pixels: Any, axes: str | None = None) -> ArraySource:
    return ArraySource(pixels, array_info(pixels.shape, pixels.dtype, axes))


def test_values_are_counted() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(6, 8)
    (found,) = look(array_source(pixels)).histograms
    assert (found.name, found.low, found.high, found.mean) == ("grey", 0, 47, 23.5)
    assert found.counts == (2,) * BINS


def test_small_images_are_read_whole_and_others_say_that_they_are_sampled() -> None:
    pixels = np.random.default_rng(2).integers(0, 99, (2, 3, 500, 300), np.uint16)
    pixels[:, -1, -1, -1] = 100, 101
    whole = look(array_source(pixels, "CZYX"))
    assert not whole.sampled and whole.boxes == 3
    for found, channel in zip(whole.histograms, pixels, strict=True):
        assert (found.high, sum(found.counts)) == (channel.max(), channel.size)
        assert found.mean == pytest.approx(channel.mean())
    assert not look(array_source(np.zeros((1024, 1024), np.uint8))).sampled
    larger = look(array_source(np.zeros((1024, 1025), np.uint8)))
    assert larger.sampled and larger.boxes == survey.MOST_BOXES


def test_values_without_measurement_do_not_count() -> None:
    pixels = np.array([[np.nan, np.inf, 1.0, 3.0]], np.float32)
    (found,) = look(array_source(pixels)).histograms
    assert (found.low, found.high, found.mean) == (1, 3, 2)
    (found,) = look(array_source(np.full((4, 5), np.nan))).histograms
    assert found.counts == ()


def test_ends_of_a_type_do_not_overflow() -> None:
    top = np.finfo(np.float64).max
    (found,) = look(array_source(np.array([[-top, 0.0, top]]))).histograms
    assert found.counts[0] == found.counts[BINS // 2] == found.counts[-1] > 0


def test_every_channel_and_colour_has_a_name(tmp_path: Path) -> None:
    pixels = np.zeros((2, 9, 11), np.uint16)
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": ["DAPI", "Cy5"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", pixels, metadata=metadata, photometric="minisblack")
    names = [h.name for h in look(open_source(tmp_path / "a.ome.tif")).histograms]
    assert names == ["DAPI", "Cy5"]
    rgba = look(array_source(np.zeros((5, 6, 4), np.uint8)))
    assert [h.name for h in rgba.histograms] == ["red", "green", "blue", "alpha"]
    stack = look(array_source(np.zeros((3, 5, 6), np.uint8), "CYX"))
    assert [h.name for h in stack.histograms] == ["channel 0", "channel 1", "channel 2"]


def test_looking_twice_finds_the_same(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 255, (1900, 700), np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(64, 64), compression="zlib")
    first, second = (look(open_source(tmp_path / "a.tif")) for _ in range(2))
    assert first == second and first.boxes == survey.MOST_BOXES


def test_large_chunks_are_read_fewer_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((512, 512), np.uint8), tile=(128, 128), compression="zlib"
    )
    monkeypatch.setattr(survey, "SMALL_PX", 1)
    monkeypatch.setattr(survey, "MOST_DECODED_BYTES", 3 * 128 * 128)
    source = open_source(tmp_path / "a.tif")
    assert look(source).boxes == 3
    monkeypatch.setattr(survey, "MOST_DECODED_BYTES", 128)
    monkeypatch.setattr(source, "read", None)
    assert "would decode at least" in look(source).skipped


def test_huge_streams_are_not_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png_rows, "WHOLE_BYTES", 0)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(np.zeros((9, 11), np.uint8)))
    source = open_source(tmp_path / "a.png")
    monkeypatch.setattr(survey, "SMALL_PX", 1)
    assert look(source).boxes == survey.MOST_BOXES
    monkeypatch.setattr(survey, "MOST_DECODED_BYTES", 90)
    monkeypatch.setattr(source, "read", None)
    assert "would decode at least" in look(source).skipped


def test_damage_is_told_beside_the_metadata(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros((64, 64), np.uint8), compression="zlib")
    data = bytearray(path.read_bytes())
    with tifffile.TiffFile(path) as tif:
        at = tif.pages.first.dataoffsets[0]
    data[at : at + 4] = b"\xff" * 4
    path.write_bytes(data)
    with pytest.raises(ImageError):
        open_source(path).read((0, 0, 0), Box(0, 0, 9, 9))
    assert run(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "64, 64" in out and "not looked at" in out


def test_sparkline_shows_rare_values() -> None:
    assert sparkline((0, 1, 10000)) == " ▁█"
    assert sparkline((16, 4, 1)) == "█▄▂"
    assert sparkline(()) == sparkline((0, 0)) == ""


@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "latin-1"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "utf-8"},
    ],
    ids=["latin-1", "C", "utf-8"],
)
def test_a_terminal_without_blocks_gets_ascii(tmp_path: Path, environment: dict[str, str]) -> None:
    path = tmp_path / "\udcff.npy"  # a name that is no text in UTF-8
    np.save(path, np.arange(48, dtype=np.uint8).reshape(6, 8))
    command = [sys.executable, "-m", "unetmm_cli", "info", path]
    done = subprocess.run(command, capture_output=True, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    assert os.fsencode(path) in done.stdout.replace(b"\n", b"").replace(b" ", b"")
    blocks = "█" if environment == {"PYTHONIOENCODING": "utf-8"} else "#"
    assert f"|{BINS * blocks}|".encode() in done.stdout


def test_info_shows_metadata_and_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "a.ome.tif"
    metadata: dict[str, Any] = {
        "axes": "CYX",
        "PhysicalSizeX": 0.5,
        "Channel": {"Name": ["A", "B"]},
    }
    tifffile.imwrite(
        path,
        np.arange(2 * 9 * 11, dtype=np.uint16).reshape(2, 9, 11),
        metadata=metadata,
        photometric="minisblack",
        iccprofile=b"p" * 300,
    )
    assert run(["info", str(path)]) == 0
    out = capsys.readouterr().out
    for text in ("CYX", "uint16", "A, B", "0.5, micrometer", "300 bytes", "values B", "█"):
        assert text in out
    assert "<Pixels" not in out, "long texts are cut"
    assert run(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["notes"]["ome_xml"].count("<Pixels") == 1
    first = found["values"]["histograms"][0]
    assert first["name"] == "A" and len(first["counts"]) == BINS
    assert found["values"]["sampled"] is False and not found["values"]["skipped"]


def test_info_says_what_is_sampled_and_numbers_in_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.tif"
    place = [
        (33550, 12, 3, (0.30000000000000004, 0.5, 0.0), True),
        (33922, 12, 6, (0.0, 0.0, 0.0, 350000.0, 5600000.25, 0.0), True),
        (34735, 3, 4, (1, 1, 0, 0), True),
    ]
    tifffile.imwrite(path, np.full((70, 80), 16777217, np.uint32), extratags=place)
    assert run(["info", str(path)]) == 0
    out = capsys.readouterr().out
    assert "5600000.25" in out and "350000, 0.30000000000000004" in out
    assert "values grey  16777217 |" in out and ", sampled" not in out
    monkeypatch.setattr(survey, "SMALL_PX", 1)
    assert run(["info", str(path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith(", sampled")
    assert run(["info", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"]["sampled"] is True


def test_how_an_output_was_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = NetConfig(1, 1, 8, (1,), 0, (1,))
    model = tmp_path / "m, 2.safetensors"
    save_model(model, net, lively_model(net).tensors, {"task": "denoise"})
    image = tmp_path / "a, b.tif"
    tifffile.imwrite(image, np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8))
    for name in ("o.tif", "o.ome.zarr"):
        restore_file(image, tmp_path / name, Options(model, 10**9, strength=0.5))
        made = made_of(tmp_path / name, capsys)
        assert made["finished"] is True and made["calibration"] is True
        assert made["guard"]["blocks"] == 1
        assert (made["input"], made["strength"], made["unetmm"]) == ("a, b.tif", "0.5", __version__)
        assert str(made["model"]).startswith("m, 2 ")
        assert run(["info", str(tmp_path / name)]) == 0
        out = capsys.readouterr().out
        assert f"unetmm {__version__}" in out and "a, b.tif" in out and "kept within" in out
    assert made_of(image, capsys) is None

    monkeypatch.setattr(Output, "complete", lambda self: False)
    begun = tmp_path / "begun.ome.zarr"
    restore_file(image, begun, Options(model, 10**9))
    before = content(tmp_path)
    made = made_of(begun, capsys)
    assert made["finished"] is False and made["input"] == "a, b.tif"
    assert run(["info", str(begun)]) == 0
    assert "goes on with it" in capsys.readouterr().out
    assert content(tmp_path) == before
    assert run(["info", str(tmp_path / "nothing.tif")]) == 1


def made_of(path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `info --json` says of how an output was made."""
    assert run(["info", str(path), "--json"]) == 0
    return json.loads(capsys.readouterr().out)["made"]


@pytest.mark.parametrize("channels", [1, 4, 7, 20])
def test_the_noise_is_that_of_the_channels_that_a_run_judges(
    channels: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each channel is twice as noisy as the one before, so others show."""
    rng = np.random.default_rng(0)
    levels = 0.001 * 2.0 ** np.arange(channels)[:, None, None]
    pixels = (rng.normal(0, 1, (channels, 96, 96)) * levels).astype(np.float32)
    tifffile.imwrite(tmp_path / "a.tif", pixels, metadata={"axes": "CYX"}, ome=True)
    assert run(["info", str(tmp_path / "a.tif"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["values"]
    assert len(told["histograms"]) == min(channels, 16)
    assert run(["plan", str(tmp_path / "a.tif"), "--mem-budget", "2GB", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["model_choice"]["noise"] == told["noise"]


def test_what_a_net_made_is_not_judged_as_an_image(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:160, :160]
    classes = ((rows // 40 + columns // 40) % 3).astype(np.uint8)
    tifffile.imwrite(tmp_path / "c.tif", classes)
    found = look(open_source(tmp_path / "c.tif"))
    assert "labels or classes" in found.doubts[0] and not found.noise
    noisy = np.random.default_rng(0).integers(0, 200, (160, 160)).astype(np.uint8)
    noisy[:60] = 0
    tifffile.imwrite(tmp_path / "m.tif", noisy)
    assert look(open_source(tmp_path / "m.tif")).doubts
    found = look(open_source(tmp_path / "m.tif"), is_image=False)
    assert not found.doubts and not found.noise and found.histograms
