"""A machine with two GPUs, and a folder with an image and a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from helpers import SMALL_UNETMM, lively_model

from unetmm.engine.torch import cuda
from unetmm.models.weights import save_model


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that says it has two GPUs, the second of which is old."""
    monkeypatch.setattr(cuda, "count", lambda: 2)
    monkeypatch.setattr(cuda, "model", lambda index: f"GPU {index}")
    monkeypatch.setattr(cuda, "multiplies_bf16", lambda index: index == 0)
    monkeypatch.setattr(cuda, "free_bytes", lambda index: 10**10)
    monkeypatch.setattr(cuda, "fusing", lambda index, precision: None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A noisy RGB image and a model."""
    path = tmp_path / "given"
    path.mkdir()
    rng = np.random.default_rng(5)
    smooth = 120 + 80 * np.sin(np.arange(200) / 9)[:, None, None] + np.zeros((200, 90, 3))
    noisy = np.clip(smooth + rng.normal(0, 12, smooth.shape), 0, 255).astype(np.uint8)
    tifffile.imwrite(path / "in.tif", noisy, photometric="rgb")
    model = lively_model(SMALL_UNETMM)
    save_model(path / "m.safetensors", SMALL_UNETMM, model.tensors, {"name": "m"})
    return path
