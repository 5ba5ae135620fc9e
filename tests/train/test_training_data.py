"""Images, patches and noise of a training, and which images are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import imageio.v3 as iio
import numpy as np
import pytest
from training_runs import TOML

from unetmm.errors import ImageError, ShapeError
from unetmm.train.config import NoiseConfig, TrainConfig, load_train_config
from unetmm.train.data import PatchSampler, load_images, make_sampler
from unetmm.train.degrade import add_noise
from unetmm.train.pack import load_pack, save_pack


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


BAD_LINES = ('precision = "fp16"\n', "data_shares = [0.5, 0.5]\n", "seed = -1\n")


def test_bad_configs_and_empty_folders_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    for text in (
        "not = [toml",
        "name = 'a'",
        TOML.format(folder=tmp_path, channels=3) + "typo = 1",
        *(line + TOML.format(folder=tmp_path, channels=3) for line in BAD_LINES),
        TOML.format(folder=tmp_path, channels=3).replace(f'["{tmp_path}"]', f'"{tmp_path}"'),
        TOML.format(folder=tmp_path, channels=3).replace("start = 0.0", "start = 0.1"),
        TOML.format(folder=tmp_path, channels=3) + "[validation]\nheld_out = 1\nevery = 0\n",
    ):
        path.write_text(text)
        with pytest.raises(ShapeError, match="cannot be used"):
            load_train_config(path)
    with pytest.raises(ImageError, match="no training image"):
        load_images([str(tmp_path)], 3)


def test_pack_trains_like_its_folders(config: TrainConfig, tmp_path: Path) -> None:
    path = tmp_path / "packs" / "pack.safetensors"
    save_pack(config, path)
    packed = replace(config, pack=str(path))
    for a, b in zip(make_sampler(config)[0].images, make_sampler(packed)[0].images, strict=True):
        assert np.array_equal(a, b)
    with pytest.raises(ImageError, match="holds other images than test asks for"):
        load_pack(replace(config, exclude=("1.png",)), path)
    path.write_bytes(b"nothing")
    with pytest.raises(ImageError, match="is no pack of training images"):
        load_pack(config, path)


@pytest.mark.parametrize("shape", [(30, 20, 21), (2, 30, 20, 3)])
def test_stacks_are_no_training_images(
    config: TrainConfig, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    iio.imwrite(tmp_path / "stack.tif", np.zeros(shape, np.uint8))
    with pytest.raises(ImageError, match="is a stack of shape"):
        make_sampler(replace(config, data=(str(tmp_path),)))


def test_folders_get_their_share_of_the_patches(config: TrainConfig, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    iio.imwrite(other / "dull.png", np.zeros((30, 30, 3), np.uint8))
    iio.imwrite(other / "left_out.png", np.zeros((30, 30, 3), np.uint8))
    folders = (*config.data, str(other))
    chosen = replace(config, data=folders, data_shares=(0.2, 0.8), exclude=("left_*",))
    sampler, _ = make_sampler(chosen)
    assert sampler.probability[-1] == pytest.approx(0.8) and len(sampler.images) == 4
    with pytest.raises(ValueError, match="2 folders of data, but 1 data_shares"):
        replace(config, data=folders, data_shares=(1.0,))
