"""Batches for nets that enlarge or sharpen."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from unetmm.errors import WeightsError
from unetmm.models.weights import save_model
from unetmm.nets.config import NetConfig
from unetmm.nets.nafnet import build_net
from unetmm.quality.bicubic import reduce_bicubic
from unetmm.train.blur import blur_patches, draw_kernel
from unetmm.train.config import (
    BlurConfig,
    MixtureNoise,
    NoiseConfig,
    TrainConfig,
    load_train_config,
)
from unetmm.train.degrade import degrade
from unetmm.train.loop import Trainer

QUIET = NoiseConfig(sigma_max=1e-6, poisson_share=0.0)
PATCHES = np.random.default_rng(0).random((3, 1, 64, 64)).astype(np.float32)


def test_small_patches_for_nets_that_enlarge() -> None:
    small, target = degrade(PATCHES, QUIET, np.random.default_rng(0), 2)
    assert small.shape == (3, 1, 32, 32)
    np.testing.assert_array_equal(target, PATCHES)
    np.testing.assert_allclose(small, reduce_bicubic(PATCHES, 2), atol=1e-5)
    rounded = replace(QUIET, rounded_share=1.0)
    small, _ = degrade(PATCHES, rounded, np.random.default_rng(0), 4)
    np.testing.assert_allclose(small * 255, np.rint(small * 255), atol=1e-3)


def test_a_share_of_the_small_patches_is_averaged() -> None:
    many = np.random.default_rng(0).random((200, 1, 16, 16)).astype(np.float32)
    small, _ = degrade(many, replace(QUIET, averaged_share=0.5), np.random.default_rng(0), 2)
    averages = many.reshape(200, 1, 8, 2, 8, 2).mean((3, 5))
    near = [
        np.abs(small - other).max((1, 2, 3)) < 1e-5 for other in (averages, reduce_bicubic(many, 2))
    ]
    assert (near[0] ^ near[1]).all() and 0.35 < near[0].mean() < 0.65
    with pytest.raises(ValueError, match="averaged_share is 0 to 1"):
        NoiseConfig(averaged_share=2.0)


def test_blurred_patches_lose_the_margin_and_keep_the_sharp_target() -> None:
    noise = replace(QUIET, blur=BlurConfig(1.0, linear_share=0.0, margin_px=12))
    seen, target = degrade(PATCHES, noise, np.random.default_rng(1))
    assert seen.shape == target.shape == (3, 1, 40, 40)
    np.testing.assert_array_equal(target, PATCHES[..., 12:-12, 12:-12])
    assert (seen.std((1, 2, 3)) < target.std((1, 2, 3))).all()
    np.testing.assert_allclose(seen.mean(), target.mean(), atol=0.02)
    sharp = blur_patches(PATCHES, BlurConfig(share=0.0), np.random.default_rng(0))
    np.testing.assert_array_equal(sharp, PATCHES)


@pytest.mark.parametrize("shares", [(1.0, 0.0), (0.0, 1.0), (0.0, 0.0)])
def test_kernels_stay_in_place(shares: tuple[float, float]) -> None:
    config = BlurConfig(gaussian_share=shares[0], disk_share=shares[1], motion_px=(2.0, 12.0))
    rng = np.random.default_rng(5)
    for _ in range(20):
        kernel = draw_kernel(config, rng)
        reach = len(kernel) // 2
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
        assert reach == config.margin_px and kernel.sum() == pytest.approx(1)
        assert abs((kernel * y).sum()) < 0.15 and abs((kernel * x).sum()) < 0.15


def test_runs_without_a_blur_are_those_of_before() -> None:
    """Their checkpoints say nothing of it."""
    config = TrainConfig("a", ("b",), NetConfig(1, 1, 8, (1,), 0, (1,)), 5)
    assert "blur" not in config.facts()["noise"]
    blurred = replace(config, noise=NoiseConfig(blur=BlurConfig()))
    assert blurred.facts()["noise"]["blur"]["margin_px"] == 16
    assert "a disk of radius 0.6 to 5 px" in blurred.noise.describe()
    quiet = replace(QUIET, rounded_share=0.7)
    assert quiet.describe() == "None; rounded to 8 bits in 70%"


@pytest.mark.parametrize("name", ["upscale-x2", "upscale-x2-real", "upscale-x4", "deblur"])
def test_the_configs_of_the_zoo_can_be_read(name: str) -> None:
    config = load_train_config(Path(__file__).parents[2] / "training" / f"{name}.toml")
    assert config.card["task"] == name.partition("-")[0]
    scale = int(name.removeprefix("upscale-x")[0]) if name.startswith("upscale") else 1
    assert config.net.output_scale == scale


def test_noise_that_changes_the_picture_is_none_for_larger_ones() -> None:
    net = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=2)
    mixture = NoiseConfig(mixture=MixtureNoise({"white": 0.5, "micrograph": 0.5}))
    with pytest.raises(ValueError, match=r"noise: micrograph change the clean picture"):
        TrainConfig("x", ("a",), net, 2, noise=mixture)
    TrainConfig("x", ("a",), replace(net, output_scale=1), 2, noise=mixture)
    TrainConfig("x", ("a",), net, 2, noise=NoiseConfig(mixture=MixtureNoise({"film": 1.0})))


def test_a_net_that_enlarges_more_begins_with_the_body_of_another(tmp_path: Path) -> None:
    Image.fromarray((PATCHES[0, 0] * 255).astype(np.uint8)).save(tmp_path / "a.png")
    twice = NetConfig(1, 1, 8, (1,), 0, (1,), output_scale=2)
    tensors = {k: v.numpy() for k, v in build_net(twice).state_dict().items()}
    save_model(tmp_path / "x2.safetensors", twice, tensors, {"task": "upscale"})
    config = TrainConfig(
        "x4", (str(tmp_path),), replace(twice, output_scale=4), 2,
        init=str(tmp_path / "x2.safetensors"), precision="fp32",
    )  # fmt: skip
    trainer = Trainer(config, tmp_path / "run")
    found = {k: v.numpy() for k, v in trainer.net.state_dict().items()}
    np.testing.assert_array_equal(found["intro.weight"], tensors["intro.weight"])
    assert found["ending.weight"].shape == (16, 8, 3, 3)
    other = replace(config, net=replace(config.net, width=16))
    with pytest.raises(WeightsError, match="another net"):
        Trainer(other, tmp_path / "other")


def test_values_that_a_blur_leaves_below_zero_have_no_photons() -> None:
    below = np.full((2, 1, 16, 16), -1e-7, np.float32)
    noise = NoiseConfig(sigma_max=1.0, poisson_share=1.0)
    seen, _ = degrade(below, noise, np.random.default_rng(0))
    assert np.isfinite(seen).all() and abs(seen.mean()) < 0.01
