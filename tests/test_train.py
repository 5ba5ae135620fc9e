"""Training is a function of config and step: killed and resumed, it gives the same weights."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch

from unetmm.errors import ImageError, ShapeError
from unetmm.train.checkpoint import SHARD_BYTES, load_checkpoint, save_checkpoint
from unetmm.train.config import NoiseConfig, TrainConfig, load_train_config
from unetmm.train.data import PatchSampler, load_images
from unetmm.train.degrade import add_noise
from unetmm.train.loop import Trainer, learning_rate

TOML = """
name = "test"
data = ["{folder}"]
steps = 6
checkpoint_every = 3
stages = [{{ start = 0.0, patch_px = 16, batch = 2 }}, {{ start = 0.5, patch_px = 24, batch = 1 }}]
[net]
in_channels = {channels}
out_channels = {channels}
width = 8
encoder_blocks = [1, 1]
middle_blocks = 1
decoder_blocks = [1, 1]
[net.aggregate]
channels = 16
scale = 4
enhance_blocks = [0, 1]
"""


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


def test_a_resumed_run_equals_an_undisturbed_one(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    whole = Trainer(config, tmp_path / "whole")
    assert whole.run(lambda progress: None, every=2)
    sampler = PatchSampler(load_images(config.data, 3), config.half_size_share)
    first = Trainer(config, tmp_path / "cut")
    for _ in range(3):
        first.train_step(sampler)
    first.save()
    first.train_step(sampler)  # lost, as by a kill
    resumed = Trainer(config, tmp_path / "cut")
    assert resumed.step == 3
    assert resumed.run(lambda progress: None, every=2)
    for name, tensor in whole.ema.items():
        assert torch.equal(tensor, resumed.ema[name]), name


def test_checkpoint_files_stay_below_16_mib(tmp_path: Path) -> None:
    states = {"net": {f"t{i}": torch.full((1 << 20,), float(i)) for i in range(9)}}
    save_checkpoint(tmp_path, 5, states)
    save_checkpoint(tmp_path, 7, states)
    files = list(tmp_path.glob("*.safetensors"))
    assert len(files) == 3 and all(f.stat().st_size <= SHARD_BYTES + 4096 for f in files)
    step, found = load_checkpoint(tmp_path) or (0, {})
    assert step == 7
    assert all(torch.equal(found["net"][k], v) for k, v in states["net"].items())


def test_noise_has_the_level_it_was_given() -> None:
    clean = np.full((400, 1, 16, 16), 0.5, np.float32)
    rng = np.random.default_rng(1)
    gaussian = add_noise(clean, NoiseConfig(50, 0.0), rng) - clean
    levels = gaussian.std((1, 2, 3)) * 255
    assert 20 < levels.mean() < 30 and levels.max() < 60 and levels.min() < 2
    poisson = add_noise(clean, NoiseConfig(50, 1.0), rng)
    assert abs(poisson.mean() - 0.5) < 0.005


def test_patches_are_reproducible_and_in_range(config: TrainConfig) -> None:
    sampler = PatchSampler(load_images(config.data, 3), 0.5)
    a, b = (sampler.batch(np.random.default_rng(4), 5, 16) for _ in range(2))
    assert np.array_equal(a, b) and a.shape == (5, 3, 16, 16)
    assert a.min() >= 0 and a.max() <= 1


def test_grey_training_images_use_the_fields_luma(config: TrainConfig) -> None:
    colour, grey = load_images(config.data, 3)[0], load_images(config.data, 1)[0]
    expected = colour @ np.array([0.298936, 0.587043, 0.114021])
    assert np.abs(grey[..., 0] - expected).max() <= 0.5001


def test_learning_rate_warms_up_and_falls(config: TrainConfig) -> None:
    long = TrainConfig(config.name, config.data, config.net, steps=1000)
    rates = [learning_rate(long, s) for s in range(1000)]
    assert rates[0] < rates[199] and rates[300:] == sorted(rates[300:], reverse=True)
    assert rates[999] < 2e-5


def test_bad_configs_and_empty_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    for text in (
        "not = [toml",
        "name = 'a'",
        TOML.format(folder=tmp_path, channels=3) + "typo = 1",
    ):
        path.write_text(text)
        with pytest.raises(ShapeError, match="cannot be used"):
            load_train_config(path)
    with pytest.raises(ImageError, match="no training image"):
        load_images([str(tmp_path)], 3)
