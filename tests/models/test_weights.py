"""Weight files: strict, checked, and public checkpoints recognised."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import DATA, SMALL_NAFNET, SMALL_UNETMM, attention_blocks, lively_model, lively_net

from unetmm.errors import WeightsError
from unetmm.models.weights import load_model, save_model, tensors_sha256


def test_saved_model_comes_back_whole(tmp_path: Path) -> None:
    model = lively_model(SMALL_UNETMM)
    path = tmp_path / "mine.safetensors"
    save_model(path, model.config, model.tensors, {"task": "deblur"})
    found = load_model(path)
    assert (found.name, found.config, found.task) == ("mine", model.config, "deblur")
    assert tensors_sha256(found.tensors) == tensors_sha256(model.tensors)
    image = torch.rand(1, 3, 9, 12)
    with torch.no_grad():
        assert torch.equal(found.net(image), build(model)(image))
    assert list(tmp_path.iterdir()) == [path]


def build(model):  # type: ignore[no-untyped-def]
    net = lively_net(model.config)
    for block in attention_blocks(net).values():
        block.sca.frozen = None
    return net


@pytest.mark.parametrize("nesting", ["params", "params_ema", "state_dict", None])
def test_public_layouts_are_recognised(tmp_path: Path, nesting: str | None) -> None:
    state = lively_net(SMALL_NAFNET).state_dict()
    path = tmp_path / "public.pth"
    torch.save(state if nesting is None else {nesting: state}, path)
    assert load_model(path).config == replace(SMALL_NAFNET, padding="zeros")


def test_parameters_that_were_saved_as_such_are_read(tmp_path: Path) -> None:
    path = tmp_path / "public.pth"
    torch.save(dict(lively_net(SMALL_NAFNET).named_parameters()), path)
    assert load_model(path).config == replace(SMALL_NAFNET, padding="zeros")


def test_a_place_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    model = lively_model(SMALL_UNETMM)
    with pytest.raises(WeightsError, match="cannot be written"):
        save_model(tmp_path / "no" / "m.safetensors", model.config, model.tensors, {})
    (tmp_path / "m.safetensors").mkdir()
    with pytest.raises(WeightsError, match="cannot be written"):
        save_model(tmp_path / "m.safetensors", model.config, model.tensors, {})
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def damaged_flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-5] ^= 0xFF
    path.write_bytes(content)


def damaged_cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])


def damaged_config(path: Path) -> None:
    content = path.read_bytes()
    changed = content.replace(b'output_scale\\": 1', b'output_scale\\": 2')
    assert changed != content
    path.write_bytes(changed)


def damaged_text(path: Path) -> None:
    path.write_text("not weights at all")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damaged_flip, "do not match the checksum"),
        (damaged_cut, "damaged weight file"),
        (damaged_config, "config does not match the checksum"),
        (damaged_text, "not a safetensors file"),
    ],
)
def test_damaged_files_are_refused(tmp_path: Path, damage, message: str) -> None:  # type: ignore[no-untyped-def]
    model = lively_model(SMALL_UNETMM)
    path = tmp_path / "mine.safetensors"
    save_model(path, model.config, model.tensors, {})
    damage(path)
    with pytest.raises(WeightsError, match=message):
        _ = load_model(path).tensors


def test_tensors_of_another_net_are_refused(tmp_path: Path) -> None:
    tensors = dict(lively_model(SMALL_UNETMM).tensors)
    path = tmp_path / "mine.safetensors"
    with pytest.raises(WeightsError, match="unknown"):
        save_model(path, SMALL_NAFNET, tensors, {})
    tensors["intro.weight"] = np.zeros((8, 3, 5, 5), np.float32)
    with pytest.raises(WeightsError, match=r"intro.weight should be \(8, 3, 3, 3\)"):
        save_model(path, SMALL_UNETMM, tensors, {})
    assert not path.exists()


def test_no_pickled_code_is_ever_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):  # type: ignore[no-untyped-def]
            return (Path.touch, (tmp_path / "sprung",))

    path = tmp_path / "trap.pth"
    path.write_bytes(pickle.dumps({"params": Trap()}, protocol=2))
    with pytest.raises(WeightsError, match="cannot be loaded as plain tensors"):
        load_model(path)
    torch.save({"params": Trap()}, path)
    with pytest.raises(WeightsError, match="cannot be loaded as plain tensors"):
        load_model(path)
    assert not (tmp_path / "sprung").exists()


def test_unknown_names_list_the_zoo(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="the zoo has .*a path to a .safetensors"):
        load_model("no-such-model")


OTHERS: list[tuple[dict[Any, Any], str]] = [
    ({"conv.weight": torch.zeros(3)}, "not a NAFNet checkpoint"),
    ({7: torch.zeros(3)}, "expected a dictionary of tensors"),
    ({"intro.weight": torch.zeros(8), "ending.weight": torch.zeros(1)}, "is no convolution"),
]


@pytest.mark.parametrize(("content", "text"), OTHERS, ids=[o[1] for o in OTHERS])
def test_other_checkpoints_are_refused(tmp_path: Path, content: dict[Any, Any], text: str) -> None:
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match=text):
        load_model(path)
    assert (DATA / "nafnet_w8.pth").exists()
