"""Many images at once: outputs mirror the tree, a broken one stops nothing, nothing is redone."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from helpers import lively_model

from unetmm import process
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.engine import CpuEngine
from unetmm.engine.cpu.footprint import packed_bytes
from unetmm.engine.layouts import make_layout
from unetmm.geometry import round_up
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.plan.memory import RUNTIME_BYTES
from unetmm.plan.share import Share
from unetmm.run.loaded import Loaded
from unetmm.run.of_file import restore_file
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.batch.batch import share_of
from unetmm_cli.batch.placing import Item
from unetmm_cli.files import output_sha256

NET = NetConfig(1, 1, 8, (1,), 0, (1,))


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Three images in two folders, a broken one and a file that is none."""
    folder = tmp_path / "in"
    (folder / "sub").mkdir(parents=True)
    pixels = np.random.default_rng(0).integers(0, 4000, (40, 50)).astype(np.uint16)
    tifffile.imwrite(folder / "a.tif", pixels)
    iio.imwrite(folder / "sub" / "b.png", (pixels >> 4).astype(np.uint8))
    iio.imwrite(folder / "sub" / "c.jpg", (pixels >> 4).astype(np.uint8))
    (folder / "broken.tif").write_bytes((folder / "a.tif").read_bytes()[:400])
    (folder / "notes.txt").write_text("no image")
    save_model(tmp_path / "m.safetensors", NET, lively_model(NET).tensors, {"task": "denoise"})
    return folder


def batch(tree: Path, *arguments: Any) -> int:
    model = ["--model", str(tree.parent / "m.safetensors"), "--mem-budget", "4GB"]
    return run_cli(["denoise", *map(str, arguments), *model])


def names(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.suffix and p.is_file())


def test_a_folder_is_mirrored_and_a_broken_image_stops_nothing(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tree.parent / "out"
    assert batch(tree, tree, "-o", out, "--format", "tiff", "--suffix", "_dn") == 3
    assert names(out) == ["a_dn.tif", "sub/b_dn.tif", "sub/c_dn.tif"]
    stdout, stderr = capsys.readouterr()
    assert "3 done, 0 skipped, 1 failed" in stdout
    assert f"failed: {tree / 'broken.tif'}" in stdout and "failed: " in stderr
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    assert batch(tree, tree, "-o", out, "--format", "tiff", "--suffix", "_dn") == 3
    assert "0 done, 3 skipped, 1 failed" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before, "nothing is redone"
    # A task of a job array that comes again does not replace what it has made ...
    again = [tree, "-o", out, "--format", "tiff", "--suffix", "_dn", "--overwrite"]
    assert batch(tree, *again, "--share", "1/1") == 3
    assert "0 done, 3 skipped, 1 failed" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before
    assert batch(tree, *again) == 3
    assert "3 done, 0 skipped, 1 failed" in capsys.readouterr().out
    # ... and what was made from something else is not passed off as done.
    (tree / "a.tif").touch()
    assert batch(tree, *again[:-1]) == 3
    shown = capsys.readouterr()
    assert "0 done, 2 skipped, 2 failed" in shown.out
    assert "a_dn.tif: exists and was made with input a.tif" in shown.err
    assert batch(tree, *again, "--share", "1/1") == 3
    assert "1 done, 2 skipped, 1 failed" in capsys.readouterr().out


def test_every_format_goes_where_it_can_be_written(tree: Path) -> None:
    (tree / "broken.tif").unlink()
    out = tree.parent / "out"
    assert batch(tree, tree, "-o", out, "--quiet") == 0
    assert sorted(p.name for p in out.rglob("*") if p.name.startswith(("a.", "b.", "c."))) == [
        "a.tif", "b.png", "c.jpg",
    ]  # fmt: skip


def test_names_come_from_lists_stdin_and_patterns(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed = tree.parent / "list.txt"
    listed.write_text(f"{tree / 'a.tif'}\n\n{tree / 'sub' / 'b.png'}\n")
    assert batch(tree, f"@{listed}", "-o", tree.parent / "o1") == 0
    assert names(tree.parent / "o1") == ["a.tif", "b.png"]
    stdin = io.TextIOWrapper(io.BytesIO(os.fsencode(tree / "a.tif") + b"\0"))
    monkeypatch.setattr(sys, "stdin", stdin)
    assert batch(tree, "-", "-o", tree.parent / "o2") == 0
    assert names(tree.parent / "o2") == ["a.tif"]
    assert batch(tree, str(tree / "*" / "*.png"), "-o", tree.parent / "o3") == 0
    assert names(tree.parent / "o3") == ["b.png"]
    capsys.readouterr()
    assert batch(tree, str(tree / "*.bmp"), "-o", tree.parent / "o4") == 1
    assert "no file matches" in capsys.readouterr().err


def test_lists_of_windows_are_read_and_empty_ones_are_told(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    listed, out = tree.parent / "list.txt", tree.parent / "out"
    listed.write_bytes(f"\ufeff{tree / 'a.tif'}\r\n\r\n{tree / 'sub' / 'b.png'}\r\n".encode())
    assert batch(tree, f"@{listed}", "-o", out) == 0
    assert names(out) == ["a.tif", "b.png"]
    listed.write_bytes(b"\r\n\n")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    for words, name in (((f"@{listed}", "-o", out), listed), (("-", "-o", "-"), "standard input")):
        capsys.readouterr()
        assert batch(tree, *words) == 1
        assert capsys.readouterr().err.startswith(f"error: {name}: names no image; ")


def test_an_output_folder_within_the_input_is_left_out(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "broken.tif").unlink()
    out = tree / "restored"
    assert batch(tree, tree, "-o", out) == 0
    made = names(tree)
    assert "restored/sub/b.png" in made and "left out" not in capsys.readouterr().err
    for more in ([], ["--share", "1/1"]):
        assert batch(tree, tree, "-o", out, *more) == 0
        shown = capsys.readouterr()
        assert shown.err.startswith("left out 3 images that are outputs of this command\n")
        assert "0 done, 3 skipped, 0 failed" in shown.out
    assert batch(tree, tree, "-o", out, "--log", "json") == 0
    first, *_ = capsys.readouterr().err.splitlines()
    assert json.loads(first) == {"event": "left_out", "outputs": 3}
    assert names(tree) == made


def test_a_pattern_and_a_link_that_reach_the_outputs_are_no_inputs(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("broken.tif", "notes.txt"):
        (tree / name).unlink()
    (tree / "link").symlink_to(tree.parent / "beside")
    for inputs, out in (([tree], tree.parent / "beside"), (["*/*"], tree / "sub" / "out")):
        words = [tree.parent / i for i in inputs]
        assert batch(tree, *words, "-o", out) == 0
        made = names(out)
        capsys.readouterr()
        assert batch(tree, *words, "-o", out) == 0
        shown = capsys.readouterr()
        assert f"left out {len(made)} images" in shown.err and "0 done" in shown.out
        assert names(out) == made
        (tree / "link").unlink(missing_ok=True)
        shutil.rmtree(tree.parent / "beside")
        (tree.parent / "beside").mkdir()


def test_outputs_in_place_are_no_inputs(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "broken.tif").unlink()
    before = names(tree)
    assert batch(tree, tree, "-o", tree, "--suffix", "_dn") == 0
    made = sorted([*before, "a_dn.tif", "sub/b_dn.png", "sub/c_dn.jpg"])
    for inputs, left_out in (([tree], 3), ([str(tree / "*.tif")], 1)):
        assert names(tree) == made
        capsys.readouterr()
        assert batch(tree, *inputs, "-o", tree, "--suffix", "_dn") == 0
        out, err = capsys.readouterr()
        assert f"left out {left_out} image" in err and f"0 done, {left_out} skipped" in out
    assert names(tree) == made
    # An output of another format has the name that a second run finds; made outputs are no inputs.
    assert batch(tree, tree / "sub", "-o", tree / "sub", "--format", "npy") == 0
    assert batch(tree, tree / "sub", "-o", tree / "sub", "--format", "npy") == 0
    assert [n for n in names(tree) if n not in made] == ["sub/b.npy", "sub/c.npy"]


def test_an_input_that_would_be_its_own_output_is_refused(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {p: p.stat().st_mtime_ns for p in tree.rglob("*")}
    for more in ([], ["--overwrite"]):
        assert batch(tree, tree, "-o", tree, *more) == 1
        out, err = capsys.readouterr()
        assert out == "" and err == (
            f"error: {tree / 'a.tif'}: the output would be the input itself; give --suffix, or "
            "another folder\n"
        )
    assert {p: p.stat().st_mtime_ns for p in tree.rglob("*")} == before


def test_linked_folders_are_visited_once(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "broken.tif").unlink()
    (tree / "loop").symlink_to(".")
    (tree / "also").symlink_to("sub")
    (tree / "sub" / "up").symlink_to("..")
    for i, words in enumerate(([tree], [tree, tree, tree / "sub" / "b.png"])):
        assert batch(tree, *words, "-o", tree.parent / f"o{i}") == 0
        assert names(tree.parent / f"o{i}") == ["a.tif", "sub/b.png", "sub/c.jpg"]
        assert "3 done" in capsys.readouterr().out
    for i, pattern in enumerate(("loop/**/*.jpg", "**/s*/c.*", "**/sub/**/c.jpg")):
        assert batch(tree, str(tree / pattern), "-o", tree.parent / f"p{i}") == 0
        assert names(tree.parent / f"p{i}") == ["c.jpg"]
    (tree / "[x]").mkdir()
    (tree / "sub" / "c.jpg").rename(tree / "[x]" / "c.jpg")
    assert batch(tree, str(tree / "**"), "-o", tree.parent / "o2") == 0
    assert names(tree.parent / "o2") == ["[x]/c.jpg", "a.tif", "sub/b.png"]
    assert batch(tree, str(tree / "**" / "c.jpg"), "-o", tree.parent / "o3") == 0
    assert names(tree.parent / "o3") == ["c.jpg"]


def test_an_image_that_is_named_twice_is_taken_once(
    tree: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tree)
    again = ["a.tif", "./a.tif", tree / "a.tif", "../in/*.tif"]
    (tree / "broken.tif").unlink()
    assert batch(tree, *again, "-o", "../out/") == 0
    assert "1 done, 0 skipped, 0 failed" in capsys.readouterr().out
    assert batch(tree, "a.tif", "a.tif", "-o", "../alone.tif") == 0
    assert capsys.readouterr().out == "../alone.tif\n"


def test_a_slash_at_the_end_makes_a_folder(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tree.parent / "new" / "folder"
    assert batch(tree, tree / "a.tif", "-o", f"{out}/", "--suffix", "_dn") == 0
    assert names(out) == ["a_dn.tif"]
    assert batch(tree, tree / "a.tif", "-o", f"{out}/b.ome.zarr/") == 0
    assert (out / "b.ome.zarr" / "zarr.json").is_file(), "a Zarr is an image"
    capsys.readouterr()
    inside = out / "a_dn.tif"
    for output in (f"{inside}/", inside / "b.tif", f"{inside}/sub/"):
        assert batch(tree, tree / "a.tif", "-o", output) == 1
        told = capsys.readouterr().err
        assert told == f"error: {inside}: is a file, not a folder; choose another output\n"


def test_quiet_still_says_why_an_image_failed(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert batch(tree, tree, "-o", tree.parent / "out", "--quiet") == 3
    out, err = capsys.readouterr()
    assert out.startswith("3 done, 0 skipped, 1 failed\n")
    assert err.startswith(f"2/4 failed: {tree / 'broken.tif'}: ") and err.count("\n") == 1


def test_json_lines_say_what_became_of_each(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert batch(tree, tree, "-o", tree.parent / "out", "--log", "json") == 3
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    files = {Path(e["input"]).name: e for e in events if e["event"] == "file"}
    assert {n: e["outcome"] for n, e in files.items()} == {
        "a.tif": "done", "b.png": "done", "c.jpg": "done", "broken.tif": "failed",
    }  # fmt: skip
    assert "broken.tif" in files["broken.tif"]["error"]
    assert events[-1] == {
        "event": "batch", "done": 3, "skipped": 0, "failed": 1,
        "failed_inputs": [str(tree / "broken.tif")],
    }  # fmt: skip


def test_the_report_of_a_batch_is_a_list(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, report = tree.parent / "out", tree.parent / "r.json"
    for outcome in ("done", "skipped"):
        assert batch(tree, tree, "-o", out, "--quiet", "--report", report) == 3
        entries = {Path(e["input"]).name: e for e in json.loads(report.read_text())}
        assert {n: e["outcome"] for n, e in entries.items()} == {
            "a.tif": outcome, "b.png": outcome, "c.jpg": outcome, "broken.tif": "failed",
        }  # fmt: skip
        assert "broken.tif" in entries["broken.tif"]["error"]
        assert entries["a.tif"]["output"] == str(out / "a.tif")
        assert entries["a.tif"]["output_sha256"] == output_sha256(out / "a.tif")
        assert entries["a.tif"]["already_done"] == (outcome == "skipped")
    capsys.readouterr()
    assert batch(tree, tree, "-o", out, "--save-calibration", tree.parent / "c.json") == 2
    assert "--save-calibration takes one image" in capsys.readouterr().err
    assert batch(tree, tree, "-o", out, "--report", tree / "a.tif") == 1
    assert "--report would overwrite the image" in capsys.readouterr().err


def test_a_batch_folds_its_model_once_and_plans_what_it_holds(
    tree: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folded: list[NetConfig] = []
    original, resident = CpuEngine.fold, [RUNTIME_BYTES]

    def fold(engine: CpuEngine, config: NetConfig, tensors: Any) -> Any:
        folded.append(config)
        return original(engine, config, tensors)

    monkeypatch.setattr(CpuEngine, "fold", fold)
    monkeypatch.setattr(process, "resident_bytes", lambda: resident[0])
    held = Loaded()
    plans = []
    for i, more_bytes in enumerate((0, 10**6, 50 * 10**6)):
        resident[0] = RUNTIME_BYTES + more_bytes
        options = Options(tree.parent / "m.safetensors", 10**9, workers=1)
        report = restore_file(tree / "a.tif", tree.parent / f"{i}.tif", options, loaded=held)
        plans.append(report.plan)
    assert folded == [NET]
    # The net is there already and in the plan anyway; the rest comes on top, in steps.
    runtimes = [p.terms.runtime for p in plans if p is not None]
    layout = make_layout(NET, NET.stride_px)
    extra = 50 * 10**6 - packed_bytes(layout, LANES)
    assert [r - runtimes[0] for r in runtimes] == [0, 4 * 10**6, round_up(extra, 4 * 10**6)]
    contents = [(tree.parent / f"{i}.tif").read_bytes() for i in range(3)]
    assert contents[0] == contents[1] == contents[2]


def test_two_images_for_one_output_are_refused(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tree / "sub" / "a.tif"
    iio.imwrite(other, np.zeros((8, 8), np.uint8))
    assert batch(tree, tree / "a.tif", other, "-o", f"{tree.parent / 'out'}/") == 1
    assert "would be the output of" in capsys.readouterr().err
    assert not (tree.parent / "out").exists()


def test_shares_of_a_batch_cover_it_once(tmp_path: Path) -> None:
    items = []
    for i in range(11):
        path = tmp_path / f"{i}.tif"
        path.write_bytes(bytes(100 * (i + 1)))
        items.append(Item(path, tmp_path / "out" / path.name))
    shares = [share_of(items, Share(i, 3)) for i in range(3)]
    assert sorted(i.input for s in shares for i in s) == sorted(i.input for i in items)
    loads = [sum(i.input.stat().st_size for i in s) for s in shares]
    assert max(loads) - min(loads) <= 1100


def test_a_batch_says_how_far_it_is(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["denoise", str(tree), "-o", f"{tree.parent}/counted/", "--model", "tiny-mono"]
    assert run_cli(words) == 3
    err = capsys.readouterr().err
    assert "1/4 done: " in err and "; 1 failed so far" in err
    assert run_cli(words) == 3
    assert "(it was made of this very image already)" in capsys.readouterr().err


def test_one_model_for_all_images_of_a_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """White noise first, smeared noise second: each would get another."""
    clean = np.full((96, 96, 3), 120.0)
    clean[20:60, 30:70] = 180
    white = np.random.default_rng(0).normal(0, 20, clean.shape)
    smeared = white + np.roll(white, 1, 0) + np.roll(white, 1, 1) + np.roll(white, (1, 1), (0, 1))
    for name, noise in (("a.png", white), ("b.png", smeared / 2)):
        iio.imwrite(tmp_path / name, np.clip(clean + noise, 0, 255).astype(np.uint8))
    words = ["denoise", f"{tmp_path}/*.png", "-o", f"{tmp_path}/out/", "--overwrite", "--report"]
    assert run_cli([*words, f"{tmp_path}/each.json"]) == 0
    assert run_cli([*words, f"{tmp_path}/same.json", "--same-model"]) == 0
    each, same = (
        {entry["model"] for entry in json.loads((tmp_path / name).read_text())}
        for name in ("each.json", "same.json")
    )
    assert len(each) == 2 and len(same) == 1
    assert "for all images: it fits" in capsys.readouterr().err


def test_no_folder_is_made_for_an_image_that_is_not_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["denoise", str(tmp_path / "gone"), "-o", f"{tmp_path / 'out'}{os.sep}"]) == 1
    assert "there is no such file or folder" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_was_restored_before_is_not_restored_again(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tree / "broken.tif").unlink()
    assert batch(tree, tree / "a.tif") == 0
    shutil.copy(tree / "a.tif", tree / "a_b.tif")  # a name that only looks like it
    capsys.readouterr()
    out = tree.parent / "out"
    assert batch(tree, tree, "-o", out) == 0
    err = capsys.readouterr().err
    assert "left out 1 image that was made of another of these" in err
    assert "a_denoised.tif" not in names(out) and "a_b.tif" in names(out)
    assert batch(tree, tree / "a_denoised.tif", "-o", f"{tree.parent}/again/") == 0
