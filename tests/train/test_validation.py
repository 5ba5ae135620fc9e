"""Images held out of a training, and what is measured on them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
import torch
from training_runs import with_camera_and_validation

from unetmm.errors import ImageError
from unetmm.train.config import TrainConfig, ValidationConfig
from unetmm.train.data import make_sampler
from unetmm.train.history import log_path, read_rows
from unetmm.train.loop import Trainer, TrainingProgress
from unetmm.train.validate import Validation, make_validation


def test_validation_and_camera_noise_resume_to_the_bit(config: TrainConfig, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    chosen = with_camera_and_validation(config)
    told: list[TrainingProgress] = []
    whole = Trainer(chosen, tmp_path / "whole")
    assert whole.run(told.append, every=3)
    assert [p.step for p in told] == [2, 3, 4, 6]
    stop = threading.Event()
    cut = Trainer(chosen, tmp_path / "cut")
    assert not cut.run(lambda progress: stop.set(), every=2, stop=stop)
    resumed = Trainer(chosen, tmp_path / "cut")
    assert resumed.step == 2
    assert resumed.run(lambda progress: None)
    assert all(torch.equal(t, resumed.ema[n]) for n, t in whole.ema.items())
    rows = {r.step: r.validation_db for r in read_rows(log_path(tmp_path / "cut"))}
    assert rows == {r.step: r.validation_db for r in read_rows(log_path(tmp_path / "whole"))
                    if r.step != 3}  # fmt: skip
    assert told[-1].loss == pytest.approx(-told[-1].psnr_db * np.log(10) / 10)


def test_held_out_images_are_never_trained_on(config: TrainConfig) -> None:
    sampler, held_out = make_sampler(with_camera_and_validation(config))
    assert len(sampler.images) == 2 and len(held_out) == 1
    assert all(held_out[0].shape != image.shape for image in sampler.images)


def test_validation_measures_the_psnr_of_the_net() -> None:
    clean = np.full((2, 1, 8, 8), 0.5, np.float32)
    validation = Validation(clean + np.float32(0.1), clean)
    assert validation.psnr_db(torch.nn.Identity()) == pytest.approx(20.0, abs=1e-4)


def test_validation_pairs_are_brought_to_one_scale(config: TrainConfig, tmp_path: Path) -> None:
    clean = np.random.default_rng(1).integers(0, 200, (40, 40, 3), np.uint8)
    for name, pixels in (("clean", clean), ("noisy", np.rint(0.5 * clean + 30).astype(np.uint8))):
        (tmp_path / name).mkdir()
        iio.imwrite(tmp_path / name / "a.png", pixels)
    chosen = ValidationConfig(str(tmp_path / "clean"), str(tmp_path / "noisy"), True, 0, 2, 32)
    validation = make_validation(replace(config, validation=chosen), [])
    assert validation is not None and validation.noisy.shape == (2, 3, 32, 32)
    assert np.abs(validation.noisy - validation.clean).max() < 0.003


def test_an_only_image_is_not_held_out(config: TrainConfig) -> None:
    chosen = replace(config, exclude=("1.png", "2.png"), validation=ValidationConfig(held_out=1))
    with pytest.raises(ImageError, match="the only image of a folder cannot be held out"):
        make_sampler(chosen)
