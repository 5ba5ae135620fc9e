"""Whatever stops a run, the next one goes on with it, and the bytes are those of a run in peace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from helpers import content
from interrupted import OUTPUTS, go_on, options, stop_after

from unetmm.calibrate.calibration import Calibration
from unetmm.errors import ResumeError, ShapeError
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import part_path
from unetmm.io.output.output import Output
from unetmm.run.job import Cancelled
from unetmm.run.of_file import restore_file


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("chunks", [1, 2, 5])
def test_a_run_that_failed_midway_goes_on_to_the_same_bytes(
    folder: Path, tmp_path: Path, name: str, chunks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_after(folder, tmp_path / name, chunks, monkeypatch)
    # Another budget and another number of workers cut the rest differently.
    report = go_on(folder, tmp_path / name, budget_bytes=400 * 10**6, workers=2)
    assert content(tmp_path / name) == content(folder / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert report.resumed_rows > 0 or chunks == 1
    assert report.megapixels < 1300 * 700 / 1e6 or chunks == 1


def test_a_killed_process_leaves_what_the_next_one_goes_on_with(
    folder: Path, tmp_path: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from unetmm.io.output.output import Output\n"
        "from unetmm.run.of_file import restore_file\n"
        "from unetmm.options import Options\n"
        "put = Output._put\n"
        "def slow(self, key, pixels):\n"
        "    put(self, key, pixels)\n"
        # One write a line, or those of two threads may run into one another.
        "    sys.stdout.write('chunk\\n'); sys.stdout.flush(); time.sleep(60)\n"
        "Output._put = slow\n"
        "restore_file(Path(sys.argv[1]), Path(sys.argv[2]), Options(Path(sys.argv[3]), 10**9))"
    )
    output = tmp_path / "out.ome.zarr"
    command = [sys.executable, "-c", code, folder / "in.tif", output, folder / "m.safetensors"]
    with subprocess.Popen([str(c) for c in command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"chunk\n"
        with pytest.raises(ResumeError, match=r"another process is writing it \(process \d+ on"):
            go_on(folder, output)
        process.send_signal(signal.SIGKILL)
    (chunk,) = part_path(output).glob("*.zarr/0/c/0/0")  # one that was being written as well
    chunk.with_name("0.12ab.partial").write_bytes(b"begun")
    go_on(folder, output)
    assert content(output) == content(folder / output.name)


def test_a_stop_keeps_what_is_done(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop, put = threading.Event(), Output._put

    def stopping(self: Output, key: ChunkKey, pixels: Any) -> None:
        put(self, key, pixels)
        stop.set()

    output = tmp_path / "out.tif"
    with monkeypatch.context() as patch:
        patch.setattr(Output, "_put", stopping)
        with pytest.raises(Cancelled):
            restore_file(folder / "in.tif", output, options(folder, workers=1), stop=stop)
    go_on(folder, output)
    assert content(output) == content(folder / output.name)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"strength": 0.5}, "strength 1.0, now it is 0.5"),
        ({"fixed_range": (0.0, 5000.0)}, "range measured, now it is"),
        ({"calibration": Calibration("m", {})}, "calibration measured, now it is"),
    ],
)
def test_other_options_are_refused_by_name(
    folder: Path,
    tmp_path: Path,
    changes: dict[str, Any],
    named: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "out.tif"
    stop_after(folder, output, 2, monkeypatch)
    with pytest.raises(ResumeError, match=named):
        go_on(folder, output, **changes)
    assert part_path(output).is_dir(), "what was done is not lost by a wrong option"
    go_on(folder, output)
    assert content(output) == content(folder / output.name)


def test_a_calibration_is_the_same_as_a_file_and_as_an_object(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, saved = tmp_path / "out.tif", tmp_path / "c.json"
    calibration = go_on(folder, tmp_path / "first.tif").calibration
    saved.write_text(calibration.to_json() + "\n")
    stop_after(folder, output, 2, monkeypatch, calibration=saved)
    go_on(folder, output, calibration=calibration)
    with pytest.raises(ShapeError, match="cannot be read"):
        go_on(folder, tmp_path / "other.tif", calibration=tmp_path / "none.json")


def test_a_changed_input_is_refused_and_overwrite_begins_anew(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, output = tmp_path / "in.tif", tmp_path / "out.ome.zarr"
    image.write_bytes((folder / "in.tif").read_bytes())
    (tmp_path / "m.safetensors").write_bytes((folder / "m.safetensors").read_bytes())
    stop_after(tmp_path, output, 2, monkeypatch)
    changed_ns = image.stat().st_mtime_ns ^ 1  # within the same second
    os.utime(image, ns=(changed_ns, changed_ns))
    with pytest.raises(ResumeError, match=r"begun with input .* bytes of \d+ ns.*--overwrite"):
        restore_file(image, output, options(tmp_path))
    later_s = image.stat().st_mtime + 5
    os.utime(image, (later_s, later_s))
    readable = r"[\d,]+ bytes of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d"
    with pytest.raises(ResumeError, match=f"in.tif, {readable}, now it is in.tif, {readable};"):
        restore_file(image, output, options(tmp_path))
    report = restore_file(image, output, options(tmp_path, overwrite=True))
    assert report.resumed_rows == 0
    assert content(output).keys() == content(folder / output.name).keys()


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_a_chunk_lost_in_a_power_cut_is_made_again(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    stop_after(folder, output, 5, monkeypatch)
    if name == "out.tif":
        with (part_path(output) / "tiles").open("r+b") as file:
            slot_bytes = file.seek(0, 2) // 6
            file.seek(slot_bytes + 1000)
            file.write(bytes(1000))
    else:
        (part_path(output) / "image.zarr" / "0" / "c" / "0" / "0").write_bytes(b"torn")
    with (part_path(output) / "journal-0-of-1").open("ab") as file:
        file.write(b"0 0 0 0 2 1 12")  # a torn line
    go_on(folder, output)
    assert content(output) == content(folder / name)
