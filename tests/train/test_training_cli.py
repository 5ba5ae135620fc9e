"""`unetmm train` and `unetmm evaluate` from the outside: files, exit codes, text."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from helpers import lively_model
from PIL import Image

from unetmm.models.weights import load_model, save_model
from unetmm.nets.config import NetConfig
from unetmm_cli.__main__ import run as run_cli

TOML = """
name = "mini"
data = ["{folder}"]
steps = 4
stages = [{{ start = 0.0, patch_px = 16, batch = 1 }}]
[net]
in_channels = 1
out_channels = 1
width = 8
encoder_blocks = [1]
middle_blocks = 0
decoder_blocks = [1]
[validation]
held_out = 1
patches = 1
patch_px = 16
every = 2
"""


def write_images(folder: Path, count: int = 2) -> Path:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i in range(count):
        Image.fromarray(rng.integers(0, 256, (24, 26), np.uint8)).save(folder / f"{i}.png")
    return folder


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "mini.toml"
    path.write_text(TOML.format(folder=write_images(tmp_path / "images")))
    return path


@pytest.fixture
def mono(tmp_path: Path) -> Path:
    model = lively_model(NetConfig(1, 1, 8, (1,), 0, (1,)))
    path = tmp_path / "mono.safetensors"
    save_model(path, model.config, model.tensors, {"task": "denoise"})
    return path


def test_train_leaves_weights_card_and_curve(
    tmp_path: Path, config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs" / "mini"
    command = ["train", str(config), "--folder", str(folder)]
    assert run_cli([*command, "--limit-s", "0"]) == 0
    told = capsys.readouterr()
    assert told.out.startswith("1 of 4 steps; go on with unetmm train")
    assert "step 1 of 4: loss" in told.err and "left" in told.err
    assert not (folder / "mini.safetensors").exists()
    assert run_cli(command) == 0
    told = capsys.readouterr()
    assert "mini.safetensors: 4 steps" in told.out and "validation" in told.err
    assert load_model(folder / "mini.safetensors").card["steps"] == 4
    with Image.open(folder / "curve.png") as curve:
        assert curve.size == (900, 480)
    assert (tmp_path / "runs" / "mini.csv").read_text().count("\n") == 5


BAD_RUNS = [
    ("steps = 4", "steps = 'many'", "cannot be used"),
    ("held_out = 1", "held_out = 0", "give a folder of clean images, or a number to hold out"),
    ("images", "nowhere", "no training image with 1 channels below"),
    ("[validation]", 'typo = 1\n[validation]', "typo"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), BAD_RUNS, ids=[b[2] for b in BAD_RUNS])
def test_train_refuses_what_it_cannot_use(
    config: Path, old: str, new: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config.write_text(config.read_text().replace(old, new))
    assert run_cli(["train", str(config), "--folder", str(config.parent / "run")]) == 1
    told = capsys.readouterr().err
    assert told.startswith("error: ") and message in told and told.count("\n") == 1


def test_evaluate_compares_models_and_writes_files(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "set")
    other = tmp_path / "other.safetensors"
    other.write_bytes(mono.read_bytes())
    csv, worst = tmp_path / "scores.csv", tmp_path / "worst"
    command = ["evaluate", str(mono), str(images), "--against", str(other), "--sigma", "25"]
    assert run_cli([*command, "--csv", str(csv), "--worst", str(worst)]) == 0
    told = capsys.readouterr()
    assert "mono, other on set, white Gaussian noise, seed 0" in told.out
    assert [line.split(",")[0] for line in csv.read_text().splitlines()] == [
        "model", "mono", "mono", "other", "other"
    ]  # fmt: skip
    assert len(list(worst.glob("*_sigma25_*.png"))) == 2
    assert run_cli([*command, "--json"]) == 0
    assert [e["model"] for e in json.loads(capsys.readouterr().out)] == ["mono", "other"]


def test_evaluate_measures_pairs(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("noisy", "clean"):
        write_images(tmp_path / "pairs" / name)
    command = ["evaluate", str(mono), str(tmp_path / "pairs")]
    assert run_cli([*command, "--affine", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["dataset"] == "pairs/noisy" and found["images"][0]["gain"] == 1.0
    assert run_cli(command) == 0
    assert "mono on pairs/noisy, real noise" in capsys.readouterr().out
    assert run_cli([*command, "--sigma", "25"]) == 1
    assert "to which no noise is added" in capsys.readouterr().err


def test_evaluate_refuses_affine_without_pairs_and_missing_folders(
    tmp_path: Path, mono: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = write_images(tmp_path / "set")
    command = ["evaluate", str(mono), str(images)]
    assert run_cli([*command, "--affine"]) == 1
    assert "--affine is for pairs" in capsys.readouterr().err
    assert run_cli([*command, "--csv", str(tmp_path / "no" / "scores.csv")]) == 1
    assert "its folder must exist" in capsys.readouterr().err
