"""`--calibration`: its file is read once, and refused in one line where it holds no statistics."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command_line import denoise, one_error, pixels_of, run_ok
from helpers import lively_model

from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.provenance import record
from unetmm.run import job
from unetmm_cli.__main__ import run as run_cli

NET = NetConfig(1, 1, 8, (1,), 1, (1,))
BROKEN = [
    ("missing", lambda path: None, "cannot be read"),
    ("text", lambda path: path.write_text("no JSON"), "not a calibration file"),
    ("empty", lambda path: path.write_text("{}"), "not a calibration file"),
    ("a list", lambda path: path.write_text('{"model": "m", "entries": [1]}'), "built otherwise"),
    ("no entries", lambda path: path.write_text('{"model": "m"}'), '"entries" is missing in it'),
    ("image", lambda path: tifffile.imwrite(path, np.zeros((9, 9))), "cannot be read"),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An image and a model."""
    pixels = np.random.default_rng(1).integers(0, 4000, (60, 70), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "in.tif", pixels)
    save_model(tmp_path / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    return tmp_path


def run(command: str, folder: Path, *more: Any) -> int:
    given = [command, folder / "in.tif", "--model", folder / "m.safetensors", *more]
    return run_cli([str(w) for w in (*given, "--mem-budget", "2GB", "-o", folder / "o.tif")])


def test_saved_calibration_gives_the_same_pixels(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = tmp_path / "c.json"
    run_ok(denoise(grey_tiff, tmp_path / "a.tif", mono, "--save-calibration", saved), capsys)
    run_ok(denoise(grey_tiff, tmp_path / "b.tif", mono, "--calibration", saved), capsys)
    np.testing.assert_array_equal(pixels_of(tmp_path / "a.tif"), pixels_of(tmp_path / "b.tif"))
    saved.write_text("{}", encoding="utf-8")
    one_error(denoise(grey_tiff, tmp_path / "d.tif", mono, "--calibration", saved), capsys)


@pytest.mark.parametrize(("note", "make", "text"), BROKEN, ids=[b[0] for b in BROKEN])
@pytest.mark.parametrize("command", ["denoise", "plan", "slurm"])
def test_a_broken_file_is_one_line_and_leaves_nothing(
    command: str,
    note: str,
    make: Any,
    text: str,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = folder / "given.json"
    make(given)
    before = sorted(folder.iterdir())
    assert run(command, folder, "--calibration", given) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1 and text in err
    assert sorted(folder.iterdir()) == before


def test_statistics_of_another_model_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = folder / "c.json"
    assert run("denoise", folder, "--save-calibration", saved, "--quiet") == 0
    saved.write_text(saved.read_text().replace('"m"', '"other"'))
    capsys.readouterr()
    assert run("denoise", folder, "--calibration", saved, "--overwrite") == 1
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and "was made with model other, this run uses m" in err


CHANGED = [
    ("no range", lambda entry, blocks: entry.pop("low"), 'c.json: not a .*"low" is missing'),
    ("word", lambda entry, blocks: entry.update(low="x"), "c.json: not a .*could not convert"),
    ("table", lambda entry, blocks: blocks.update({min(blocks): [[1.0]]}), "no list of finite"),
    ("NaN", lambda entry, blocks: blocks.update({min(blocks): [float("nan")]}), "no list of fin"),
    ("foreign", lambda entry, blocks: blocks.update(foreign=[1.0]), "foreign is no block of mod"),
]


@pytest.mark.parametrize(("note", "change", "text"), CHANGED, ids=[c[0] for c in CHANGED])
def test_what_is_wrong_in_a_file_is_one_line(
    note: str, change: Any, text: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved = folder / "c.json"
    assert run("denoise", folder, "--save-calibration", saved, "--quiet") == 0
    content = json.loads(saved.read_text())
    entry = content["entries"]["0.0"]
    change(entry, entry["attention"])
    saved.write_text(json.dumps(content))
    capsys.readouterr()
    assert run("denoise", folder, "--calibration", saved, "--overwrite", "--quiet") == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and re.search(text, err)


def test_every_run_reads_the_file_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved, read = folder / "c.json", []
    assert run("denoise", folder, "--save-calibration", saved) == 0

    def load(path: Path) -> Any:
        read.append(path)
        return loaded(path)

    loaded = record.load_calibration
    monkeypatch.setattr(record, "load_calibration", load)
    monkeypatch.setattr(job, "load_calibration", load)
    for command, more in (("denoise", ["--overwrite"]), ("denoise", []), ("plan", [])):
        assert run(command, folder, "--calibration", saved, *more) == 0
    assert read == [saved] * 3


def test_a_broken_file_fails_every_image_of_a_batch(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["denoise", folder / "in.tif", "--calibration", folder / "none.json"]
    assert run_cli([*map(str, command), "-o", f"{folder}/restored/"]) == 1
    out, err = capsys.readouterr()
    assert "cannot be read" in err and out.startswith("0 done, 0 skipped, 1 failed")


def test_statistics_of_more_channels_are_not_used_silently(
    mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(6).integers(100, 4000, (2, 40, 50), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "two.tif", pixels, metadata={"axes": "CYX"}, ome=True)
    saved = tmp_path / "two.json"
    words = denoise(tmp_path / "two.tif", tmp_path / "a.tif", mono)
    run_ok([*words, "--save-calibration", saved], capsys)
    _, err = run_ok([*words, "--calibration", saved, "--overwrite"], capsys)
    assert "the calibration is of" not in err
    one = denoise(tmp_path / "two.tif", tmp_path / "b.tif", mono, "--channels", "1")
    _, err = run_ok([*one, "--calibration", saved], capsys)
    assert "warning: the calibration is of 2 channels and the image has 1: the first of them" in err
