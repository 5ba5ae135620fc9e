"""Commands run in this process, and what tests of them have in common."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from unetmm.io.image import Box
from unetmm.io.open import open_source
from unetmm.models.weights import save_model
from unetmm.nets.config import AggregateConfig, NetConfig
from unetmm.nets.shapes import tensor_shapes
from unetmm_cli.__main__ import run as run_cli

MONO = NetConfig(1, 1, 16, (1,), 1, (1,), AggregateConfig(8, 2, (1,)))
COLOUR = NetConfig(3, 3, 16, (1,), 1, (1,), AggregateConfig(8, 2, (1,)))
BUDGET = "2GB"
HEIGHT, WIDTH = 70, 93


def one_error(arguments: list[Any], capsys: pytest.CaptureFixture[str], code: int = 1) -> str:
    """The single line on stderr of a command that fails with `code`."""
    assert run_cli([str(a) for a in arguments]) == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1, (out, err)
    return err


def denoise(source: Path, output: Path, model: Path, *more: Any) -> list[Any]:
    return ["denoise", source, "-o", output, "--model", model, "--mem-budget", BUDGET, *more]


def run_ok(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """stdout and stderr of a command that succeeds."""
    code = run_cli([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert code == 0, err
    return out, err


def save_random(path: Path, config: NetConfig, **card: Any) -> Path:
    """An untrained model: small seeded weights."""
    rng = np.random.default_rng(5)
    tensors = {
        name: rng.normal(0, 0.05, shape).astype(np.float32)
        for name, shape in tensor_shapes(config).items()
    }
    save_model(path, config, tensors, {"task": "denoise", **card})
    return path


def pixels_of(path: Path) -> np.ndarray:
    source = open_source(path)
    try:
        return source.read((0, 0, 0), Box(0, 0, source.info.height, source.info.width))
    finally:
        source.close()
