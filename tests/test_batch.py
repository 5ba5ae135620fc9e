"""Many images at once: outputs mirror the tree, a broken one stops nothing, nothing is redone."""

from __future__ import annotations

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

import imageio.v3 as iio
import numpy as np
import pytest
import tifffile
from helpers import lively_model

from unetmm.nets.config import NetConfig
from unetmm.resume import Share
from unetmm.weights import save_model
from unetmm_cli.__main__ import run as run_cli
from unetmm_cli.batch import Item, share_of

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
    model = ["--model", str(tree.parent / "m.safetensors"), "--mem-budget", "1GB"]
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


def test_every_format_goes_where_it_can_be_written(tree: Path) -> None:
    (tree / "broken.tif").unlink()
    out = tree.parent / "out"
    assert batch(tree, tree, "-o", out, "--quiet") == 0
    assert sorted(p.name for p in out.rglob("*") if p.name.startswith(("a.", "b.", "c."))) == [
        "a.tif", "b.png", "c.ome.zarr",
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


def test_two_images_for_one_output_are_refused(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    iio.imwrite(tree / "a.tiff", np.zeros((8, 8), np.uint8))
    assert batch(tree, tree, "-o", tree.parent / "out", "--format", "png") == 1
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
