"""What a run tells: lines, JSON lines, nothing, and its report."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import HEIGHT, WIDTH, denoise, run_ok

from unetmm.version import __version__
from unetmm_cli import files
from unetmm_cli.__main__ import run as run_command
from unetmm_cli.display.text import plain


def test_quiet_leaves_stderr_empty(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "o.tif"
    out, err = run_ok(denoise(grey_tiff, output, mono, "--quiet"), capsys)
    assert (out, err) == (f"{output}\n", "")


def test_json_log_is_one_object_a_line(
    grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, err = run_ok(denoise(grey_tiff, tmp_path / "o.tif", mono, "--log", "json"), capsys)
    events = [json.loads(line) for line in err.splitlines()]
    kinds = [e["event"] for e in events if e["event"] != "log"]
    assert kinds[0] == "start" and kinds[-1] == "done"
    assert events[-1]["measured_peak_bytes"] > 0


@pytest.mark.parametrize("name", ["o.tif", "o.ome.zarr"])
def test_report_has_plan_peak_times_and_the_outputs_checksum(
    name: str, grey_tiff: Path, mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, report = tmp_path / name, tmp_path / "r.json"
    run_ok(denoise(grey_tiff, output, mono, "--report", report), capsys)
    content = json.loads(report.read_text(encoding="utf-8"))
    assert content["version"] == __version__
    assert content["input"] == str(grey_tiff) and content["output"] == str(output)
    assert content["model"] == "mono" and content["megapixels"] == HEIGHT * WIDTH / 1e6
    assert content["plan"]["budget_bytes"] == 2 * 10**9
    assert sum(content["plan"]["terms"].values()) == content["plan"]["projected_peak_bytes"]
    assert content["measured_peak_bytes"] > 0 and content["resumed_rows"] == 0
    assert {"calibrate", "compute", "total"} <= content["seconds"].keys()
    assert content["output_sha256"] == files.output_sha256(output)


def test_checksum_of_a_folder_depends_on_names_and_contents(tmp_path: Path) -> None:
    folder = tmp_path / "a.zarr"
    (folder / "0" / "c").mkdir(parents=True)
    (folder / "zarr.json").write_bytes(b"{}")
    (folder / "0" / "c" / "1").write_bytes(b"pixels")
    expected = hashlib.sha256(b"0/c/1" + b"pixels" + b"zarr.json" + b"{}").hexdigest()
    assert files.output_sha256(folder) == expected
    (folder / "zarr.json").rename(folder / "zarr.jso")
    assert files.output_sha256(folder) != expected


def test_json_never_holds_nan() -> None:
    content = {"a": [float("nan"), np.float32(1.5)], "b": float("inf"), "c": Path("x")}
    assert plain(content) == {"a": ["nan", 1.5], "b": "inf", "c": "x"}


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    path, output = tmp_path / "a.tif", tmp_path / "o.tif"
    tifffile.imwrite(path, np.zeros((40, 40), np.uint8))
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "unetmm_cli", "denoise", path, "-o", output],
            stderr=full, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 0 and done.stdout.strip() == str(output) and output.exists()


def test_no_more_threads_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **more: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr("unetmm_cli.__main__.app", refuse)
    assert run_command(["models"]) == 1
    assert "no more threads can be started; raise the limit (ulimit -u)" in capsys.readouterr().err


def test_a_warning_is_said_of_each_image_with_its_name(
    mono: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.tif", "b.tif"):
        pixels = np.random.default_rng(0).integers(50, 200, (96, 96)).astype(np.uint8)
        pixels[:40] = 0
        tifffile.imwrite(tmp_path / "in" / name, pixels)
    _, err = run_ok(denoise(tmp_path / "in", f"{tmp_path}/out/", mono), capsys)
    for name in ("a.tif", "b.tif"):
        assert err.count(f"warning: {name}: 50 % of the pixels") == 1
