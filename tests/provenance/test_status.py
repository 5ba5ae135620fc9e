"""How far an output is: asked for without changing anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from interrupted import go_on, options

from unetmm.errors import ResumeError
from unetmm.io.output.local_workspace import Workspace
from unetmm.io.output.output import Output
from unetmm.plan.share import Share
from unetmm.provenance import status as asking
from unetmm.provenance.status import status
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run


def test_a_finished_output_says_what_it_is(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out.ome.zarr"
    go_on(folder, output)
    assert run(["status", str(output), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["state"] == "finished" and found["made"]["input"].endswith("in.tif")
    assert run(["status", str(tmp_path / "none.tif")]) == 1
    assert "no such output, and none under way" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_a_share_shows_how_much_is_done_and_by_whom(
    folder: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / name
    restore_file(folder / "in.tif", output, options(folder), share=Share(0, 3))
    before = {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))}
    found = status(output)
    assert (found.state, found.chunks) == ("under way", 6) and 0 < found.done_chunks < 6
    (writer,) = found.writers
    assert writer.process == os.getpid() and writer.at_work and writer.quiet_s < 60
    assert {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))} == before
    assert found.missing_shares == ("2/3", "3/3")
    assert run(["status", str(output)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "share 1/3 process" in shown and "to be done: --share 2/3, --share 3/3" in shown
    monkeypatch.setattr(asking, "is_alive", lambda process: False)
    assert status(output).state == "stopped"


def test_what_is_no_output_is_none(folder: Path, tmp_path: Path) -> None:
    for path in (folder / "in.tif", folder):
        with pytest.raises(ResumeError, match="is no output of unetmm"):
            status(path)


def test_a_run_that_looks_at_its_image_is_under_way(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ome.zarr"
    Workspace(output).set_up()
    assert status(output).state == "under way"
    restore_file(folder / "in.tif", output, options(folder), share=Share(0, 3))
    for journal in Workspace(output).folder.glob("journal-*"):
        journal.unlink()
    found = status(output)
    assert (found.state, found.done_chunks, found.writers) == ("under way", 0, ())


def test_what_only_has_to_be_finished_is_said(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "out.ome.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        restore_file(folder / "in.tif", output, options(folder))
    assert run(["status", str(output)]) == 0
    assert "6 of 6 chunks (100%)" in capsys.readouterr().out
    monkeypatch.setattr(asking, "is_alive", lambda process: False)
    assert run(["status", str(output)]) == 0
    assert f"unetmm finalize {output}" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(ResumeError):
        status(tmp_path / "other.tif")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="Linux tells so in /proc")
def test_a_killed_process_that_nobody_waited_for_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert asking.is_alive(process.pid)
        process.kill()
        for _ in range(200):  # it is left as a number until its parent asks
            if not asking.is_alive(process.pid):
                break
            time.sleep(0.02)
        os.kill(process.pid, 0)
        assert not asking.is_alive(process.pid)
