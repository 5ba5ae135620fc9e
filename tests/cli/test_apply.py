"""`unetmm apply`: models that give maps or classes, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from command_line import one_error, run_ok, save_random
from PIL import Image

from unetmm.nets.config import NetConfig

CLASSES = NetConfig(3, 3, 8, (1,), 1, (1,), body="unet", gives="classes", final="softmax")
ALPHA = NetConfig(3, 1, 8, (1,), 1, (1,), body="unet", gives="map", final="sigmoid")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two models, a photo and a scan in the current folder."""
    monkeypatch.chdir(tmp_path)
    save_random(Path("cells.safetensors"), CLASSES, output_names=["none", "cell", "edge"], task="x")
    save_random(Path("alpha.safetensors"), ALPHA)
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), np.uint8)
    Image.fromarray(pixels).save("photo.jpg")
    tifffile.imwrite("scan.tif", pixels, photometric="rgb")
    return tmp_path


def test_labels_scores_and_maps(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, err = run_ok(["apply", "scan.tif", "l.tif", "--model", "cells.safetensors"], capsys)
    assert "it holds labels of 3 classes, so it is not compared with the image" in err
    assert tifffile.imread("l.tif").shape == (90, 120)
    words = ["apply", "scan.tif", "s.tif", "--model", "cells.safetensors", "--scores"]
    run_ok([*words, "--report", "r.json"], capsys)
    assert tifffile.imread("s.tif").shape == (3, 90, 120)
    assert json.loads(Path("r.json").read_text())["holds"] == "scores of 3 classes"
    shown, _ = run_ok(["info", "s.tif"], capsys)
    assert "scores of 3 classes" in shown and "none, cell, edge" in shown
    run_ok(["verify", "l.tif"], capsys)
    words = ["plan", "scan.tif", "--model", "cells.safetensors", "--scores", "--verbose"]
    shown, _ = run_ok(words, capsys)
    assert "scores of 3 classes: 3 channels, float32, 129.6 kB before" in " ".join(shown.split())
    shown, _ = run_ok(["models", "cells.safetensors"], capsys)
    assert "classes" in shown


def test_names_of_outputs_hold_what_is_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for model, more, name in (
        ("cells", [], "photo_classes.png"),
        ("cells", ["--scores"], "photo_classes.tif"),
        ("alpha", [], "photo_map.tif"),
    ):
        out, _ = run_ok(["apply", "photo.jpg", "--model", f"{model}.safetensors", *more], capsys)
        assert out == f"{name}\n" and Path(name).is_file()
    run_ok(["apply", "photo.jpg", "scan.tif", "-o", "out/", "--model", "cells.safetensors"], capsys)
    assert sorted(p.name for p in Path("out").iterdir()) == ["photo.png", "scan.tif"]


def test_other_commands_name_the_one_to_use(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("denoise", "deblur", "upscale"):
        error = one_error(
            [command, "scan.tif", "-o", "o.tif", "--model", "cells.safetensors"], capsys
        )
        assert "gives classes, no restored image; run it with unetmm apply" in error
    error = one_error(["denoise", "scan.tif", "o.tif", "--model", "alpha.safetensors"], capsys)
    assert "gives maps, no restored image; run it with unetmm apply" in error
    assert "--model FILE" in one_error(["apply", "scan.tif", "o.tif"], capsys)
    error = one_error(["apply", "scan.tif", "o.tif", "--model", "tiny-rgb"], capsys)
    assert "gives an image; run it with unetmm denoise" in error
    error = one_error(["preview", "scan.tif", "--model", "cells.safetensors"], capsys)
    assert "a preview shows restored images" in error
    run_ok(["apply", "scan.tif", "l.tif", "--model", "cells.safetensors"], capsys)
    for command in ("trust", "compare"):
        error = one_error([command, "scan.tif", "l.tif"], capsys)
        assert "holds labels of 3 classes (none, cell, edge), no restored image" in error
    words = ["restore", "scan.tif", "o.tif", "--model", "alpha.safetensors"]
    assert "no page can compare" in one_error([*words, "--report-html", "p.html"], capsys)
    assert "asked for strength 0.5" in one_error([*words, "--strength", "0.5"], capsys)
    error = one_error(["evaluate", "alpha.safetensors", "."], capsys)
    assert "gives maps; give one that restores" in error


def test_a_job_array_runs_apply(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["slurm", "scan.tif", "-o", "o.tif", "--model", "cells.safetensors", "--scores"]
    script, _ = run_ok([*words, "--mem-budget", "1GB"], capsys)
    assert " apply scan.tif -o o.tif " in script and "--scores" in script
