"""`unetmm import` and `export`: nets of other projects restore images, ours leave as ONNX."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from command_line import one_error, run_ok
from helpers import CONFIGS, lively_model

from unetmm.models.weights import load_model, save_model


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A DnCNN of another project, an image, and a text, in the current folder."""
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    tensors = {}
    for i, (n, c) in enumerate(((8, 1), (8, 8), (1, 8))):
        tensors[f"model.{2 * i}.weight"] = 0.1 * torch.randn(n, c, 3, 3)
        tensors[f"model.{2 * i}.bias"] = 0.01 * torch.randn(n)
    torch.save(tensors, "dncnn.pth")
    pixels = np.random.default_rng(0).integers(100, 4000, (70, 93), np.uint16)
    tifffile.imwrite("a.tif", pixels)
    Path("notes.txt").write_text("nothing")
    return tmp_path


def test_a_foreign_net_restores_an_image(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = run_ok(["import", "dncnn.pth", "-o", "ours.safetensors"], capsys)
    assert out.splitlines()[0].startswith("ours.safetensors: DnCNN to denoise, single channels")
    assert "use it: unetmm denoise IMAGE --model ours.safetensors" in out
    assert "not checked: the file was not run by other software" in out
    words = ["denoise", "a.tif", "b.tif", "--model", "ours.safetensors", "--mem-budget", "400MB"]
    run_ok([*words, "--report", "r.json"], capsys)
    report = json.loads(Path("r.json").read_text())
    assert report["plan"]["projected_peak_bytes"] <= 400 * 10**6
    assert tifffile.imread("b.tif").shape == (70, 93)
    assert not np.array_equal(tifffile.imread("b.tif"), tifffile.imread("a.tif"))
    plan, _ = run_ok(["plan", "a.tif", "--model", "ours.safetensors", "--verbose"], capsys)
    assert "UNet--" not in plan
    facts = json.loads(
        run_ok(["plan", "a.tif", "--model", "ours.safetensors", "--json"], capsys)[0]
    )
    assert facts["comparison"] is None
    assert "DnCNN of another project" in run_ok(["models", "ours.safetensors"], capsys)[0]


def test_facts_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["import", "dncnn.pth", "-o", "ours.safetensors", "--task", "deblur", "--json"]
    facts = json.loads(run_ok(words, capsys)[0])
    assert (facts["layout"], facts["task"], facts["difference"]) == ("DnCNN", "deblur", None)
    assert load_model("ours.safetensors").task == "deblur"


def test_mistakes_are_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def error(*words: str) -> str:
        return one_error(["import", *words], capsys)

    assert "no such file" in error("none.pth", "-o", "x.safetensors")
    assert "ends with .safetensors is needed" in error("dncnn.pth", "-o", "x.pth")
    assert ".onnx are read" in error("notes.txt", "-o", "x.safetensors")
    assert "its folder must exist" in error("dncnn.pth", "-o", "no/x.safetensors")
    assert "task is one of" in error("dncnn.pth", "-o", "x.safetensors", "--task", "matting")
    assert "it enlarges 1 times, not 2" in error("dncnn.pth", "-o", "x.safetensors", "--scale", "2")
    run_ok(["import", "dncnn.pth", "-o", "x.safetensors"], capsys)
    assert "is there already" in error("dncnn.pth", "-o", "x.safetensors")
    run_ok(["import", "dncnn.pth", "-o", "x.safetensors", "--overwrite"], capsys)
    assert "would overwrite" in error("x.safetensors", "-o", "x.safetensors", "--overwrite")
    assert "a model of unetmm already" in error("x.safetensors", "-o", "y.safetensors")
    assert "no such file" in error(".", "-o", "y.safetensors")
    assert not list(folder.glob("*.part"))


def test_a_model_leaves_as_onnx_and_comes_back(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = lively_model(CONFIGS["unchanged"])
    save_model(folder / "net.safetensors", model.config, model.tensors, {"task": "denoise"})
    out, _ = run_ok(["export", "net.safetensors", "-o", "net.onnx"], capsys)
    assert "checked: the graph in onnxruntime gives the same within" in out
    out, _ = run_ok(["import", "net.onnx", "-o", "again.safetensors"], capsys)
    assert "checked: the file in onnxruntime gives the same within" in out
    assert len(load_model("again.safetensors").config.layers) == len(model.config.layers)
    words = ["export", "net.safetensors", "-o", "net.onnx"]
    assert "is there already" in one_error(words, capsys)
    facts = json.loads(run_ok([*words, "--overwrite", "--json"], capsys)[0])
    assert facts["bytes"] == Path("net.onnx").stat().st_size
    assert "ends with .onnx" in one_error([*words[:-1], "net.txt"], capsys)
