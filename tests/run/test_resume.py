"""Whatever stops a run, the next one goes on with it, and the bytes are those of a run in peace."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from helpers import content, lively_model

from unetmm.api import plan_image
from unetmm.calibrate.calibration import Calibration
from unetmm.engine.cpu.stream import RowStream
from unetmm.errors import ImageError, ResumeError, ShapeError
from unetmm.io.image import Encoding
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import part_path
from unetmm.io.output.levels import halve
from unetmm.io.output.local_workspace import Workspace
from unetmm.io.output.output import Output
from unetmm.io.output.records import format_record, parse_records
from unetmm.io.select import Selection
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.options import Options, Progress, Report
from unetmm.plan.search import Plan
from unetmm.provenance.facts import Share
from unetmm.provenance.record import remove_leftovers
from unetmm.provenance.verify import finalize, verify
from unetmm.run import of_file as file_run
from unetmm.run.of_file import restore_file
from unetmm.run.scheduler import Cancelled

OUTPUTS = ("out.ome.zarr", "out.tif", "out.png")
NET = NetConfig(1, 1, 8, (1, 1), 0, (1, 1))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image of 3 x 2 chunks, a model, and what a run in peace makes of them."""
    folder = tmp_path_factory.mktemp("resume")
    pixels = np.random.default_rng(1).normal(3000, 400, (1300, 700)).astype(np.uint16)
    tifffile.imwrite(folder / "in.tif", pixels, rowsperstrip=64)
    save_model(folder / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    for name in OUTPUTS:
        restore_file(folder / "in.tif", folder / name, options(folder))
    return folder


def options(folder: Path, **changes: Any) -> Options:
    return Options(**{"model": folder / "m.safetensors", "budget_bytes": 2 * 10**9, **changes})


def stop_after(
    folder: Path, output: Path, chunks: int, monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> None:
    """A run that fails at its chunk number `chunks` + 1."""
    put, seen, lock = Output._put, [0], threading.Lock()

    def failing(self: Output, key: ChunkKey, pixels: Any) -> None:
        with lock:
            seen[0] += key.level == 0
            if seen[0] > chunks:
                raise ImageError("the cable was pulled")
        put(self, key, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(Output, "_put", failing)
        with pytest.raises(ImageError, match="cable"):
            restore_file(folder / "in.tif", output, options(folder, workers=1, **changes))
    assert not output.exists() and part_path(output).is_dir()


def go_on(folder: Path, output: Path, **changes: Any) -> Report:
    return restore_file(folder / "in.tif", output, options(folder, **changes))


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
    assert part_path(output).is_dir()
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


@pytest.mark.parametrize("name", OUTPUTS)
def test_out_of_memory_halves_the_bands_and_goes_on(
    folder: Path,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    bands, push, pushed = [], RowStream.push, [0]

    class Greedy(RowStream):
        def __init__(self, net: Any, frozen: Any, width: int, height: int, rows: int, n: int):
            bands.append(rows)
            super().__init__(net, frozen, width, height, rows, n)

        def push(self, rows: Any) -> Any:
            pushed[0] += len(rows)
            if pushed[0] > 600 and len(bands) == 1:  # after a row of chunks is written
                raise np._core._exceptions._ArrayMemoryError((2**40,), np.dtype(np.uint8))
            return push(self, rows)

    monkeypatch.setattr("unetmm.run.scheduler.RowStream", Greedy)
    seen: list[Progress] = []
    with caplog.at_level(logging.WARNING, "unetmm"):
        report = restore_file(
            folder / "in.tif", tmp_path / name, options(folder, workers=1), seen.append
        )
    assert bands[1] == bands[0] // 2 == report.plan.band_rows  # type: ignore[union-attr]
    assert len(bands) == 2, "one stream each: what was written is not made again"
    assert f"going on with bands of {bands[1]} rows" in caplog.text
    assert content(tmp_path / name) == content(folder / name)
    done = [p.done_px for p in seen if p.phase == "compute"]
    assert done[-1] == 1300 * 700 and min(done[1:]) >= 0


def test_no_memory_at_all_is_one_clear_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: Any, rows: Any) -> Any:
        raise MemoryError

    output, stop = tmp_path / "out.tif", threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(RowStream, "push", fail)
        with pytest.raises(ImageError, match="no memory left"):
            restore_file(folder / "in.tif", output, options(folder), stop=stop)
    assert not stop.is_set() and not output.exists()
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


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_shares_in_any_order_make_the_same_output(
    folder: Path, tmp_path: Path, name: str, order: tuple[int, ...]
) -> None:
    output = tmp_path / name
    for i, index in enumerate(order):
        share = Share(index, 3)
        report = restore_file(folder / "in.tif", output, options(folder), share=share)
        assert report.complete == (i == 2) == output.exists()
    assert content(output) == content(folder / name)


def test_finalize_finishes_what_the_last_share_left(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out.ome.zarr"
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        go_on(folder, output)
    assert not output.exists() and finalize(output)
    assert content(output) == content(folder / output.name)
    with pytest.raises(ResumeError, match="nothing to finish"):
        finalize(output)


@pytest.mark.parametrize(
    "changes",
    [
        {"select": Selection(("1",), {"T": (0, 1)})},
        {"select": Selection(rgb_bands=(2, 1, 2))},
        {"encoding": Encoding(pyramid=False)},
    ],
)
def test_finalize_keeps_to_the_part_and_the_encoding_of_the_run(
    folder: Path, tmp_path: Path, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    image, first, output = (tmp_path / name for name in ("s.tif", "a.ome.zarr", "b.ome.zarr"))
    pixels = np.random.default_rng(2).integers(0, 999, (2, 2, 70, 60)).astype(np.uint16)
    tifffile.imwrite(image, pixels, metadata={"axes": "TCYX"}, ome=True)
    restore_file(image, first, options(folder, **changes))
    with monkeypatch.context() as patch:
        patch.setattr(Output, "complete", lambda self: False)
        restore_file(image, output, options(folder, **changes))
    assert finalize(output)
    first.rename(tmp_path / "c.ome.zarr")
    found, expected = content(output), content(tmp_path / "c.ome.zarr")
    assert found.keys() == expected.keys()
    assert {k for k in found if found[k] != expected[k]} <= {"zarr.json"}, "which has its name"


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_a_finished_output_is_not_made_again(folder: Path, tmp_path: Path, name: str) -> None:
    output = tmp_path / name
    assert not go_on(folder, output).already_done
    before = {p: p.stat().st_mtime_ns for p in (output, *output.rglob("*"))}
    # Neither the budget nor the workers matter, nor whether it was a share that came again.
    for share in (Share(), Share(1, 3)):
        report = restore_file(
            folder / "in.tif", output, options(folder, budget_bytes=1, workers=1), share=share
        )
        assert report.already_done and report.complete and report.as_dict()["plan"] is None
        assert report.calibration.entries.keys() == {"0.0"}
    with pytest.raises(ImageError, match=r"exists and was made with strength 1\.0, now it is 0\.5"):
        go_on(folder, output, strength=0.5)
    other = tmp_path / "in.tif"
    other.write_bytes((folder / "in.tif").read_bytes())
    with pytest.raises(ImageError, match=r"exists and was made with input in\.tif, .*--overwrite"):
        restore_file(other, output, options(folder))
    assert {p: p.stat().st_mtime_ns for p in (output, *output.rglob("*"))} == before
    assert not go_on(folder, output, overwrite=True).already_done
    assert content(output) == content(folder / name)


@pytest.mark.parametrize("share", [Share(), Share(1, 3)])
@pytest.mark.parametrize("name", OUTPUTS[:2])
def test_an_output_that_another_process_finishes_meanwhile_is_left(
    folder: Path, tmp_path: Path, name: str, share: Share, monkeypatch: pytest.MonkeyPatch
) -> None:
    def finished_meanwhile(*given: Any) -> Plan:
        (shutil.copytree if (folder / name).is_dir() else shutil.copy2)(folder / name, output)
        return plan_image(*given)

    output = tmp_path / name
    monkeypatch.setattr(file_run, "plan_image", finished_meanwhile)
    report = restore_file(folder / "in.tif", output, options(folder), share=share)
    assert report.already_done
    assert content(output) == content(folder / name)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_foreign_outputs_and_png_only_exist(folder: Path, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "out.tif", np.zeros((8, 8), np.uint8))
    zarr.create_group(tmp_path / "out.ome.zarr")
    (tmp_path / "text.tif").write_text("precious")
    (tmp_path / "link.tif").symlink_to(tmp_path / "nothing.tif")
    go_on(folder, tmp_path / "out.png")
    for name in ("out.tif", "out.ome.zarr", "out.png", "text.tif", "link.tif"):
        with pytest.raises(ImageError, match=r"exists; give --overwrite"):
            go_on(folder, tmp_path / name)
    assert (tmp_path / "text.tif").read_text() == "precious"


@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("by", ["run", "finalize"])
def test_what_a_run_killed_while_tidying_left_is_removed(
    folder: Path, tmp_path: Path, name: str, by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "remove", lambda self: None)
        go_on(folder, output)
    assert part_path(output).is_dir() and output.exists()
    if by == "finalize":
        assert finalize(output)
    elif name == "out.png":
        with pytest.raises(ImageError, match="exists"):
            go_on(folder, output)
    else:
        assert go_on(folder, output).already_done
    assert [p.name for p in tmp_path.iterdir()] == [name]
    assert content(output) == content(folder / name)


@pytest.mark.parametrize("name", ["out.ome.zarr", "out.tif"])
def test_verify_changes_nothing(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    with monkeypatch.context() as patch:
        patch.setattr(Workspace, "remove", lambda self: None)
        go_on(folder, output)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))}
    assert part_path(output) in before
    assert not verify(output).damaged
    assert {p: p.stat().st_mtime_ns for p in (tmp_path, *tmp_path.rglob("*"))} == before


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_that_is_being_replaced_is_no_leftover(
    folder: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / name
    go_on(folder, output, strength=0.5)
    before, put = content(output), Output._put

    def failing(self: Output, key: ChunkKey, pixels: Any) -> None:
        put(self, key, pixels)
        raise ImageError("the cable was pulled")

    with monkeypatch.context() as patch, pytest.raises(ImageError, match="cable"):
        patch.setattr(Output, "_put", failing)
        go_on(folder, output, overwrite=True)
    assert not remove_leftovers(output) and part_path(output).is_dir()
    assert content(output) == before
    go_on(folder, output, overwrite=True)
    assert content(output) == content(folder / name)


def test_verify_finds_one_changed_pixel(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.ome.zarr"
    go_on(folder, output)
    assert verify(output).damaged == () and verify(output).chunks == 6
    array = zarr.open_group(str(output), mode="r+")["0"]
    array[600, 600] += 1
    assert verify(output).damaged == ("plane (0, 0, 0), rows 512:1024, columns 512:700",)
    assert verify(folder / "out.tif").damaged == ()
    with pytest.raises(ImageError, match="no checksums"):
        verify(folder / "out.png")


def test_pyramid_levels_are_means_of_the_finer_ones(folder: Path) -> None:
    group = zarr.open_group(str(folder / "out.ome.zarr"), mode="r")
    fine = [group[str(n)][...].astype(np.int64) for n in range(3)]
    assert [f.shape for f in fine] == [(1300, 700), (650, 350), (325, 175)]
    for above, below in zip(fine[1:], fine, strict=False):
        h, w = below.shape[0] // 2 * 2, below.shape[1] // 2 * 2
        mean = below[:h, :w].reshape(h // 2, 2, w // 2, 2).sum((1, 3))
        assert np.array_equal(above[: h // 2, : w // 2], (mean + 2) // 4)


def test_halving_leaves_out_what_is_not_measured() -> None:
    pixels = np.array([[1, np.nan, 5], [3, np.nan, 7]], np.float32)[..., None]
    assert halve(pixels, None)[..., 0].tolist() == [[2.0, 6.0]]
    counts = np.array([[9, 9, 10], [9, 9, 13]], np.int16)[..., None]
    assert halve(counts, 9.0)[..., 0].tolist() == [[9, 12]]
    assert halve(np.array([[-3, -4], [-3, -3]], np.int8)[..., None], None).ravel().tolist() == [-3]
    top = np.full((2, 2, 1), 2**32 - 1, np.uint32)
    assert halve(top, None).ravel().tolist() == [2**32 - 1]


def test_records_survive_garbage() -> None:
    key = ChunkKey(1, (0, 2, 3), 4, 5)
    line = format_record(key, 0xDEADBEEF)
    text = f"by host 12\n{line}\n1 2 three\n\n{line[:-3]}"
    assert list(parse_records(text.splitlines(keepends=True))) == [(key, 0xDEADBEEF)]


def test_records_end_where_another_process_finished_the_output(tmp_path: Path) -> None:
    workspace, key = Workspace(tmp_path / "out.tif"), ChunkKey(0, (0, 0, 0), 0, 0)
    assert not list(workspace.records())
    workspace.set_up()
    for writer in ("1-of-2", "2-of-2"):
        journal = workspace.open_journal(writer)
        journal.record(key, 1)
        journal.close()
    assert len(list(workspace.records())) == 2
    records = workspace.records()
    assert next(records) == (key, 1)
    workspace.remove()
    assert not list(records)
