"""Images that come into a folder: complete ones are restored once, torn ones wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from helpers import lively_model

from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.batch import watching
from unetmm_cli.batch.many import Many

NET = NetConfig(1, 1, 8, (1,), 0, (1,))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in/ with one image, a model, and looks that follow one another fast."""
    (tmp_path / "in").mkdir()
    save(tmp_path / "in" / "a.tif", 1)
    save_model(tmp_path / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    monkeypatch.setattr(watching, "LOOK_S", 0.02)
    return tmp_path


def save(path: Path, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 4000, (40, 50)).astype(np.uint16)
    tifffile.imwrite(path, pixels)


def words(folder: Path, *more: Any) -> list[str]:
    found = ["denoise", folder / "in", "-o", folder / "out", "--model", folder / "m.safetensors"]
    return [*map(str, found), "--mem-budget", "4GB", *map(str, more)]


def test_images_that_come_are_restored_once_they_are_whole(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    look, looks = watching._Folder.look, [0]
    save(folder / "whole.tif", 2)
    data = (folder / "whole.tif").read_bytes()
    torn, empty = folder / "in" / "b.tif", folder / "in" / "never.tif"

    def writer(self: Any, stop: threading.Event) -> bool:
        looks[0] += 1
        if looks[0] == 3:
            empty.touch()
        if looks[0] in (4, 5, 6):  # a file that grows
            torn.write_bytes(data[: len(data) * (looks[0] - 3) // 3])
        waiting: bool = look(self, stop)
        if looks[0] == 6:
            assert not (folder / "out" / "b.tif").exists()
        return waiting

    monkeypatch.setattr(watching._Folder, "look", writer)
    report, page = folder / "r.json", ("--report-html", folder / "pages")
    assert run_cli(words(folder, "--watch-for", 0.3, "--report", report, *page)) == 3
    out, err = capsys.readouterr()
    assert sorted(p.name for p in (folder / "out").iterdir()) == ["a.tif", "b.tif"]
    assert sorted(p.name for p in (folder / "pages").iterdir()) == ["a.tif.html", "b.tif.html"]
    assert out.startswith("2 done, 0 skipped, 1 failed") and err.startswith("watching ")
    entries = {Path(e["input"]).name: e for e in json.loads(report.read_text())}
    assert "the file is empty" in entries["never.tif"]["error"]
    # What a batch makes of the same files is the same, byte for byte.
    empty.unlink()
    before = {p.name: p.read_bytes() for p in (folder / "out").iterdir()}
    assert run_cli([*words(folder), "--overwrite"]) == 0
    assert {p.name: p.read_bytes() for p in (folder / "out").iterdir()} == before


def test_a_signal_between_two_images_is_an_orderly_end(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    do = Many.do

    def stopping(self: Many, item: Any, stop: threading.Event) -> None:
        do(self, item, stop)
        os.kill(os.getpid(), signal.SIGUSR1)

    monkeypatch.setattr(Many, "do", stopping)
    assert run_cli(words(folder, "--watch")) == 0
    assert capsys.readouterr().out.startswith("1 done, 0 skipped, 0 failed")


def test_a_signal_midway_keeps_what_is_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from unetmm.io.output.output import Output

    put, sent = Output._put, []

    def stopping(self: Output, key: Any, pixels: Any) -> None:
        put(self, key, pixels)
        if not sent:
            sent.append(os.kill(os.getpid(), signal.SIGTERM))
            time.sleep(0.5)  # the handler runs in another thread

    pixels = np.random.default_rng(1).integers(0, 4000, (1200, 40)).astype(np.uint16)
    tifffile.imwrite(folder / "in" / "a.tif", pixels)
    with monkeypatch.context() as patch:
        patch.setattr(Output, "_put", stopping)
        assert run_cli(words(folder, "--watch", "--quiet", "--cores", 1)) == 130
    assert "goes on with it" in capsys.readouterr().err
    assert run_cli(words(folder, "--watch-for", 0.1)) == 0
    assert capsys.readouterr().out.startswith("1 done")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["--share", "1/2"], "leave out --share"),
        (["--save-calibration", "c.json"], "takes one image"),
        (["in/a.tif"], "takes folders"),
        (["-"], "leave out -"),
        (["-o", "in/out"], "lies within"),
    ],
)
def test_what_cannot_be_watched_is_refused(
    folder: Path,
    more: list[str],
    text: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(folder)
    assert run_cli(["denoise", "in", "-o", "out", "--watch", *more]) == 2
    out, err = capsys.readouterr()
    assert text in err and out == "" and not (folder / "out").exists()


def test_sigterm_ends_a_waiting_process(folder: Path) -> None:
    command = [sys.executable, "-m", "unetmm_cli", *words(folder, "--watch", "--log", "json")]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if json.loads(line)["event"] == "file":
                break
        time.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        process.stderr.read()
        assert process.wait(20) == 0
    assert (folder / "out" / "a.tif").exists()
