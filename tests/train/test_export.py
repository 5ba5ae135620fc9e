"""Weight files made of a training run, with their cards."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from training_runs import begin

from unetmm.errors import ResumeError, WeightsError
from unetmm.models.weights import load_model
from unetmm.train.config import CameraNoise, MicrographNoise, NoiseConfig, TrainConfig
from unetmm.train.export import export, make_card
from unetmm.train.export import main as run_export
from unetmm.train.loop import Trainer


def test_weights_of_a_zoo_model_are_the_start(config: TrainConfig, tmp_path: Path) -> None:
    trainer = Trainer(config, tmp_path / "first")
    trainer.run(lambda progress: None)
    path = tmp_path / "start.safetensors"
    card = export(config, tmp_path / "first", path, {})
    assert card["steps"] == 6 and "quality" not in card
    started = Trainer(replace(config, init=str(path)), tmp_path / "second")
    assert all(torch.equal(trainer.ema[n], t) for n, t in started.ema.items())
    other = replace(config.net, middle_blocks=2)
    with pytest.raises(WeightsError, match="holds another net than the one of test"):
        Trainer(replace(config, net=other, init=str(path)), tmp_path / "third")
    with pytest.raises(ResumeError, match="holds a checkpoint of another net"):
        Trainer(replace(config, net=other), tmp_path / "first")
    assert load_model(path).card["noise"].startswith("Gaussian, sigma 0 to 55 of 255")


def test_an_exported_card_has_a_command_for_every_figure(
    config: TrainConfig, tmp_path: Path
) -> None:
    begin(config, tmp_path / "run")
    pairs = tmp_path / "my pairs"
    for half in ("noisy", "clean"):
        shutil.copytree(config.data[0], pairs / half)
    sets = {"white": Path(config.data[0]), "real": pairs}
    card = export(config, tmp_path / "run", tmp_path / "out.safetensors", sets, affine=True)
    assert card["quality_commands"] == {
        "white": f"unetmm evaluate test {config.data[0]}",
        "real": f"unetmm evaluate test '{pairs}' --affine",
    }
    assert card["quality"].keys() == card["quality_ssim"].keys() == sets.keys()
    assert "pairs: real noise" in card["quality_protocol"] and " -> " in card["quality"]["real"]


def test_a_run_is_exported_without_test_sets_too(
    config: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(config, tmp_path / "run")
    path = tmp_path / "out.safetensors"
    words = ["export", tmp_path / "run.toml", "--folder", tmp_path / "run", "-o", path]
    monkeypatch.setattr(sys, "argv", [str(word) for word in words])
    assert run_export() == 0
    assert "quality" not in load_model(path).card


def test_card_names_every_kind_of_noise(config: TrainConfig, tmp_path: Path) -> None:
    noise = NoiseConfig(camera=CameraNoise(0.5), micrograph=MicrographNoise(0.25), row_share=0.1)
    told = make_card(replace(config, noise=noise), tmp_path / "run", 1)["noise"]
    for part in ("Camera noise", "in 50%", "2 to 400 photons", "in 25%", "rows or columns"):
        assert part in told
    assert "; else Gaussian" in told
