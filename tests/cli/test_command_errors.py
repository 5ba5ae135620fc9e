"""An error is one line that says what would work; it leaves nothing behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from command_line import MONO, denoise, one_error, run_ok, save_random

from unetmm.errors import UnetmmError
from unetmm_cli import display
from unetmm_cli.__main__ import run as run_cli

BAD_INPUTS = [
    ("missing", lambda p: None, "no such file"),
    ("directory", lambda p: p.mkdir(), "is a folder"),
    ("text", lambda p: p.write_text("hello, I am no image"), "holds text"),
    ("zero size", lambda p: p.write_bytes(b""), "empty"),
]


@pytest.mark.parametrize(("note", "make", "text"), BAD_INPUTS, ids=[b[0] for b in BAD_INPUTS])
@pytest.mark.parametrize("command", ["denoise", "plan", "info"])
def test_bad_input_is_one_line_and_leaves_nothing(
    command: str,
    note: str,
    make: Any,
    text: str,
    mono: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, output = tmp_path / "in.tif", tmp_path / "out.tif"
    make(path)
    before = sorted(tmp_path.iterdir())
    arguments = {"denoise": denoise(path, output, mono), "info": ["info", path]}
    line = one_error(arguments.get(command, ["plan", path, "--model", mono]), capsys)
    assert text in line and str(path) in line
    assert sorted(tmp_path.iterdir()) == before


def test_truncated_tiff_is_one_line_and_leaves_nothing(
    mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.tif"
    pixels = np.random.default_rng(3).integers(0, 9, (256, 256), dtype=np.uint16)
    tifffile.imwrite(path, pixels, compression="zlib", rowsperstrip=64)
    path.write_bytes(path.read_bytes()[:-200])
    arguments = denoise(path, tmp_path / "out.tif", mono, "--quiet")
    assert str(path) in one_error(arguments, capsys)
    assert list(tmp_path.iterdir()) == [path]


def test_output_below_a_file_is_one_line(
    grey_tiff: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "grey.tif" in one_error(denoise(grey_tiff, grey_tiff / "out.tif", mono), capsys)


def test_unknown_model_names_what_would_work(
    grey_tiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = one_error(denoise(grey_tiff, tmp_path / "o.tif", Path("no-such-net")), capsys)
    assert "no-such-net" in line and ".safetensors" in line


def test_denoise_refuses_a_model_for_another_task_and_restore_takes_it(
    grey_tiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = save_random(tmp_path / "deblur.safetensors", MONO, task="deblur")
    arguments = denoise(grey_tiff, tmp_path / "o.tif", model)
    assert "is for deblur; run it with unetmm deblur" in one_error(arguments, capsys)
    run_ok(["restore", *arguments[1:]], capsys)


@pytest.mark.parametrize("command", ["denoise", "restore", "plan"])
def test_impossible_budget_names_the_smallest_that_would_do(
    command: str,
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "o.tif"
    arguments = [command, grey_tiff, "-o", output, "--model", mono, "--mem-budget"]
    line = one_error([*arguments, "20MB"], capsys)
    smallest = line.rstrip(")\n").rsplit(" ", 1)[1]
    assert "budget 20 MB is too small" in line and smallest.endswith("MB")
    assert not output.exists()
    run_ok(["plan", *arguments[1:], smallest], capsys)


def test_adapt_without_time_is_one_line(
    grey_tiff: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["adapt", grey_tiff, "-o", tmp_path / "a.safetensors", "--minutes", "0"]
    expected = "error: asked for 0 minutes of training; give more than 0\n"
    assert one_error(words, capsys) == expected


def test_errors_are_json_where_the_log_is(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = [
        (denoise(grey_tiff, grey_tiff, mono, "--log", "json"), 1, "is the input"),
        (denoise(tmp_path / "no.tif", tmp_path / "o.tif", mono, "--log=json"), 1, "no such file"),
        (denoise(grey_tiff, tmp_path / "o.tif", mono, "--log=json", "--tile"), 2, "--tile"),
        (denoise(grey_tiff, tmp_path / "o.tif", mono, "--log=json", "--mem-budget=1MB"), 1, "MB)"),
    ]
    for words, code, text in cases:
        assert run_cli([str(w) for w in words]) == code
        found = json.loads(capsys.readouterr().err)
        assert found.keys() == {"event", "message"} and found["event"] == "error"
        assert text in found["message"] and not found["message"].startswith("error")


def test_full_disk_is_one_line(
    grey_tiff: Path,
    mono: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*arguments: Any, **more: Any) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "o.tif"))

    monkeypatch.setattr("unetmm_cli.batch.one.restore_file", fail)
    line = one_error(denoise(grey_tiff, tmp_path / "o.tif", mono), capsys)
    assert line == f"error: {tmp_path / 'o.tif'}: No space left on device\n"


def test_surprises_keep_their_traceback(
    grey_tiff: Path, mono: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **more: Any) -> None:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("unetmm_cli.batch.one.restore_file", fail)
    with pytest.raises(ZeroDivisionError):
        run_cli([str(a) for a in denoise(grey_tiff, tmp_path / "o.tif", mono)])


def test_errors_carry_no_line_breaks(capsys: pytest.CaptureFixture[str]) -> None:
    display.error(UnetmmError("two\nlines  and\tmore"))
    assert capsys.readouterr().err == "error: two lines and more\n"
