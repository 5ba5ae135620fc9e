"""The shipped weights: files that are what their cards say, and cards that say what they must."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from PIL import Image

from unetmm.models.weights import load_model, tensors_sha256, text_sha256, zoo_models
from unetmm.train.config import load_train_config
from unetmm_cli.__main__ import run as run_cli

NAMES = sorted(zoo_models())
CUT_SHORT_STEPS = {"small-rgb": 1432, "universal-tiny-mono": 500}
"""Steps that a time limit took off the end of a run; its card says so."""
REPOSITORY_LIMIT_BYTES = 150 * 2**20


@pytest.mark.parametrize("name", NAMES)
def test_tensors_and_config_are_those_of_the_card(name: str) -> None:
    model = load_model(name)
    assert tensors_sha256(model.tensors) == model.card["tensors_sha256"]
    assert text_sha256(model.config.to_json()) == model.card["config_sha256"]


@pytest.mark.parametrize("name", NAMES)
def test_cards_name_data_terms_limits_and_recipe(name: str) -> None:
    model = load_model(name)
    card = model.card
    for key in ("what", "licence", "limits", "noise", "seed", "training_hours", "quality_protocol"):
        assert card[key] or card[key] == 0, key
    assert card["data"] and len(card["training_data_terms"]) > 3
    program, dash_m, module, config, *_ = shlex.split(card["training_command"])
    assert (program, dash_m, module) == ("python", "-m", "unetmm.train")
    chosen = load_train_config(ROOT / config)
    assert chosen.net == model.config and chosen.seed == card["seed"]
    assert chosen.steps == card["planned_steps"] == card["steps"] + CUT_SHORT_STEPS.get(name, 0)
    assert list(chosen.data) == card["data"]
    assert card["data_licences"] == chosen.card["data_licences"]
    is_restricted = any(w in str(card["training_data_terms"]) for w in ("non-comm", "none stated"))
    assert is_restricted == (card["data_licences"] != "commercial use allowed")


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_has_the_command_that_gives_it(name: str) -> None:
    card = load_model(name).card
    commands = card["quality_commands"]
    assert commands.keys() == card["quality"].keys() == card["quality_ssim"].keys()
    for command in commands.values():
        program, evaluate, model, folder, *options = shlex.split(command)
        assert (program, evaluate, model) == ("unetmm", "evaluate", name)
        assert folder.startswith("../shared/data/") and options in ([], ["--affine"])


def test_weights_fit_the_repository() -> None:
    assert sum(path.stat().st_size for path in zoo_models().values()) <= REPOSITORY_LIMIT_BYTES


def flip_a_byte(content: bytes) -> bytes:
    return content[:-5] + bytes([content[-5] ^ 0xFF]) + content[-4:]


def cut_the_end(content: bytes) -> bytes:
    return content[:-100]


def change_the_config(content: bytes) -> bytes:
    return content.replace(b'output_scale\\": 1', b'output_scale\\": 2')


DAMAGES: list[tuple[Callable[[bytes], bytes], str]] = [
    (flip_a_byte, "the tensors do not match the checksum in their model card"),
    (cut_the_end, "damaged weight file"),
    (change_the_config, "the net's config does not match the checksum in its model card"),
]


@pytest.mark.parametrize(("damage", "message"), DAMAGES, ids=[d[1] for d in DAMAGES])
def test_a_run_refuses_a_damaged_file_in_one_line(
    damage: Callable[[bytes], bytes],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = zoo_models()["tiny-mono"].read_bytes()
    weights, image = tmp_path / "mine.safetensors", tmp_path / "in.png"
    weights.write_bytes(damage(whole))
    assert weights.read_bytes() != whole
    Image.fromarray(np.zeros((40, 50), np.uint8)).save(image)
    arguments = ["denoise", str(image), "-o", str(tmp_path / "out.png"), "--model", str(weights)]
    assert run_cli(arguments) == 1
    *plan, told = capsys.readouterr().err.splitlines()
    assert told.startswith("error: ") and message in told
    assert len(plan) <= 1 and not any(line.startswith("error") for line in plan)
    assert sorted(tmp_path.iterdir()) == [image, weights], "something was left half-written"
