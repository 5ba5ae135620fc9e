"""A short training run of a small net on three images."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from training_runs import TOML

from unetmm.train.config import TrainConfig, load_train_config


@pytest.fixture
def config(tmp_path: Path) -> TrainConfig:
    images = tmp_path / "images"
    images.mkdir()
    rng = np.random.default_rng(0)
    for i in range(3):
        iio.imwrite(images / f"{i}.png", rng.integers(0, 256, (40, 50 + i, 3), np.uint8))
    path = tmp_path / "run.toml"
    path.write_text(TOML.format(folder=images, channels=3))
    return load_train_config(path)
