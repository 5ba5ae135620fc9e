"""Files of torch: what is found in them, and what is no checkpoint."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from unetmm.errors import WeightsError
from unetmm.models.checkpoints import read_checkpoint

WEIGHT = {"a.weight": torch.ones(2)}


class Command:
    """Code in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize(
    "content",
    [
        WEIGHT,
        {"params_ema": WEIGHT, "params": {"b.weight": torch.zeros(2)}},
        {"epoch": 3, "net_state": WEIGHT, "optimizer": {"state": torch.ones(9)}},
        {"state": {"generator": WEIGHT, "step": 7}},
        {**WEIGHT, "epoch": 3},
    ],
)
def test_tensors_are_found_wherever_they_are(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.pth")
    found = read_checkpoint(tmp_path / "c.pth")
    assert list(found) == ["a.weight"]
    np.testing.assert_array_equal(found["a.weight"], np.ones(2))


def test_code_is_not_run_and_not_recommended(tmp_path: Path) -> None:
    path, mark = tmp_path / "c.pth", tmp_path / "done"
    torch.save({"a": Command(mark)}, path)
    with pytest.raises(WeightsError, match=r"whose code is not run; save net\.state_dict"):
        read_checkpoint(path)
    path.write_bytes(pickle.dumps(Command(mark)))
    with pytest.raises(WeightsError, match="code is not run") as caught:
        read_checkpoint(path)
    assert not mark.exists() and "weights_only" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "a text, not a file of"),
        ("<html>404</html>", "a text, not a file of torch; download the weights themselves"),
        ("", "cannot be loaded as plain tensors"),
    ],
)
def test_texts(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.pth").write_text(text)
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "expected a dictionary of tensors, found none"),
        ([1, 2], "expected a dictionary of tensors, found none"),
        ({"a": torch.ones(2).to_sparse()}, "its tensors are not plain ones"),
        ({"a": torch.ones(1).expand(10**6, 10**4)}, "10000000000 weights, 1000000000 are the most"),
    ],
)
def test_what_is_no_dictionary_of_weights(content: object, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "c.pth")
    with pytest.raises(WeightsError, match=message):
        read_checkpoint(tmp_path / "c.pth")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_program_of_torch(tmp_path: Path) -> None:
    torch.jit.script(torch.nn.Conv2d(1, 1, 3)).save(str(tmp_path / "c.pt"))
    with pytest.raises(WeightsError, match=r"a TorchScript program; save net\.state_dict"):
        read_checkpoint(tmp_path / "c.pt")
