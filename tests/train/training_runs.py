"""A short training run that the tests of training share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from unetmm.train.batches import Batches
from unetmm.train.config import CameraNoise, NoiseConfig, TrainConfig, ValidationConfig
from unetmm.train.data import make_sampler
from unetmm.train.loop import Trainer

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


def begin(config: TrainConfig, folder: Path) -> None:
    """Leave a run after its first step."""
    trainer = Trainer(config, folder)
    trainer.train_step(*Batches(config, make_sampler(config)[0])[0])
    trainer.save()


def with_camera_and_validation(config: TrainConfig) -> TrainConfig:
    noise = NoiseConfig(camera=CameraNoise(0.7), row_share=0.5, impulse_share=0.5)
    validation = ValidationConfig(held_out=1, patches=3, patch_px=24, every=2)
    return replace(config, noise=noise, validation=validation)
