"""Synthetic noise has the levels, the correlation and the scale that its config asks for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from helpers import ROOT
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.train.config import CameraNoise, MicrographNoise, NoiseConfig, load_train_config
from unetmm.train.degrade import add_noise, degrade
from unetmm.train.noise.camera import (
    add_camera_noise,
    bayer_mask,
    demosaic,
    to_linear,
    to_srgb,
)
from unetmm.train.noise.micrograph import make_micrograph
from unetmm.train.noise.spectrum import blur_image, blur_noise

CAMERA = CameraNoise(1.0, shot=(1e-3, 1e-3), jpeg_share=0.0)
MICROGRAPH = MicrographNoise(1.0)
GREY = np.full((3, 64, 64), 0.5, np.float32)


def correlation(noise: NDArray[np.floating]) -> float:
    """Of horizontal neighbours."""
    noise = noise - noise.mean()
    return float((noise[..., 1:] * noise[..., :-1]).mean() / (noise**2).mean())


def many(draw: Callable[[np.random.Generator], NDArray[np.floating]]) -> list[NDArray[np.floating]]:
    return [draw(np.random.default_rng(seed)) for seed in range(20)]


def test_plain_noise_is_what_it_always_was() -> None:
    clean = np.random.default_rng(0).random((4, 3, 16, 16), np.float32)
    noisy, target = degrade(clean, NoiseConfig(), np.random.default_rng(1))
    assert target is clean
    assert np.array_equal(noisy, add_noise(clean, NoiseConfig(), np.random.default_rng(1)))
    # The level of the first sample is the generator's first draw.
    sigma = np.random.default_rng(1).uniform(0, 55)
    assert (noisy - clean)[0].std() * 255 == pytest.approx(sigma, rel=0.1)


def test_camera_noise_is_correlated_and_in_steps_of_8_bit() -> None:
    noise = many(lambda rng: add_camera_noise(GREY, CAMERA, rng) - GREY)
    luma = [np.einsum("i,ihw->hw", [0.299, 0.587, 0.114], n) for n in noise]
    chroma = [n[0] - n[1] for n in noise]
    assert 0.2 < np.mean([correlation(n) for n in luma]) < 0.8
    assert np.mean([correlation(n) for n in chroma]) > 0.6
    assert 1 < np.mean([n.std() for n in luma]) * 255 < 8
    counts = (noise[0] + GREY) * 255
    assert np.abs(counts - np.rint(counts)).max() < 1e-3


def test_more_light_means_more_noise_in_linear_light() -> None:
    wide = CameraNoise(1.0, shot=(1e-2, 1e-2), jpeg_share=0.0)
    linear = [
        np.mean([to_linear(add_camera_noise(np.full_like(GREY, v), wide, rng), False).std()
                 for rng in map(np.random.default_rng, range(8))])
        for v in (0.3, 0.6)
    ]  # fmt: skip
    assert linear[1] > 1.3 * linear[0]


def test_jpeg_changes_a_picture_without_noise() -> None:
    picture = np.random.default_rng(3).random((3, 32, 32), np.float32)
    quiet = replace(CAMERA, shot=(1e-12, 1e-12))
    coded = replace(quiet, jpeg_share=1.0, jpeg_quality=(60, 60))
    rng = np.random.default_rng
    assert np.abs(add_camera_noise(picture, quiet, rng(1)) - picture).max() < 0.01
    assert np.abs(add_camera_noise(picture, coded, rng(1)) - picture).max() > 0.1


def test_camera_noise_is_for_colour() -> None:
    with pytest.raises(ShapeError, match="takes colour patches, found 1 channels"):
        add_camera_noise(GREY[:1], CAMERA, np.random.default_rng(0))


@pytest.mark.parametrize("has_curve", [False, True])
def test_tone_curves_undo_each_other(has_curve: bool) -> None:
    ramp = np.linspace(0, 1, 257, dtype=np.float32)[None]
    assert np.abs(to_srgb(to_linear(ramp, has_curve), has_curve) - ramp).max() < 1e-3


def test_demosaicing_keeps_flat_colours() -> None:
    colours = np.array([0.2, 0.5, 0.9], np.float32)[:, None, None] * np.ones((3, 16, 16))
    for seed in range(4):
        mask = bayer_mask(16, 16, np.random.default_rng(seed))
        assert mask.sum(0).min() == mask.sum(0).max() == 1
        full = demosaic((colours * mask).astype(np.float32))
        np.testing.assert_allclose(full, colours, atol=1e-6)


def test_micrograph_is_noisy_about_its_target() -> None:
    bright = replace(MICROGRAPH, clip_share=0.0, photons=(50, 50), read_electrons=(0.1, 0.1))
    picture = np.random.default_rng(2).random((1, 64, 64), np.float32)
    for rng in map(np.random.default_rng, range(10)):
        noisy, target = make_micrograph(picture, bright, rng)
        noise = noisy - target
        assert abs(noise.mean()) < 0.02 and 0.01 < noise.std() < 0.4
        assert noisy.min() < 0.1 and 0.5 < noisy.max() < 1.3


def test_fewer_photons_mean_more_noise() -> None:
    picture = np.random.default_rng(2).random((1, 64, 64), np.float32)

    def noise(photons: float) -> float:
        chosen = replace(MICROGRAPH, photons=(photons, photons), clip_share=0.0, blur_share=0.0)
        pairs = [make_micrograph(picture, chosen, np.random.default_rng(s)) for s in range(10)]
        return float(np.mean([(n - t).std() / np.ptp(t) for n, t in pairs]))

    # Shot noise falls with the root of the photons; read noise adds to it where they are few.
    assert noise(4) > 6 * noise(200)


def test_stored_micrographs_are_cut_off_and_in_steps() -> None:
    chosen = replace(MICROGRAPH, clip_share=1.0, photons=(2, 2))
    noisy, target = make_micrograph(GREY[:1], chosen, np.random.default_rng(1))
    assert noisy.min() >= 0 and noisy.max() <= 1
    assert np.abs(noisy * 255 - np.rint(noisy * 255)).max() < 1e-3
    assert target.dtype == noisy.dtype == np.float32


def test_scanning_smears_noise_along_rows_only() -> None:
    still = replace(MICROGRAPH, clip_share=0.0, photons=(20, 20), read_electrons=(0.1, 0.1))
    flat = GREY[:1]
    for share, expected in ((0.0, 0.0), (1.0, 0.39)):
        chosen = replace(still, scan_share=share)
        noise = many(lambda rng, c=chosen: make_micrograph(flat, c, rng)[0])  # type: ignore[misc]
        assert np.mean([correlation(n) for n in noise]) == pytest.approx(expected, abs=0.05)
        assert abs(np.mean([correlation(n.swapaxes(1, 2)) for n in noise])) < 0.05


def test_shares_decide_which_noise_a_sample_gets() -> None:
    clean = np.full((200, 3, 8, 8), 0.5, np.float32)
    noise = NoiseConfig(1e-3, 0.0, camera=CameraNoise(0.3), micrograph=MicrographNoise(0.2))
    noisy, target = degrade(clean, noise, np.random.default_rng(0))
    moved = (target != clean).any((1, 2, 3))
    untouched = (np.abs(noisy - clean) < 1e-4).all((1, 2, 3))
    assert 0.12 < moved.mean() < 0.28
    assert 0.4 < untouched.mean() < 0.6
    with pytest.raises(ValueError, match="add up to 1.1"):
        NoiseConfig(camera=CameraNoise(0.6), micrograph=MicrographNoise(0.5))


def test_rows_and_impulses_come_on_top() -> None:
    clean = np.full((300, 1, 12, 12), 0.5, np.float32)
    rows, _ = degrade(clean, NoiseConfig(1e-3, 0.0, row_share=1.0), np.random.default_rng(0))
    flat = (rows.std(3) < 1e-4).all((1, 2)) | (rows.std(2) < 1e-4).all((1, 2))
    assert flat.all() and rows.std() > 0.005
    chosen = NoiseConfig(1e-3, 0.0, impulse_share=1.0, impulse_density_max=0.2)
    spots, _ = degrade(clean, chosen, np.random.default_rng(0))
    assert (spots == 0).mean() == pytest.approx(0.05, abs=0.01)
    assert (spots == 1).mean() == pytest.approx(0.05, abs=0.01)


def test_blur_keeps_the_mean_and_edges() -> None:
    noise = np.random.default_rng(0).normal(size=(2, 40, 30)).astype(np.float32)
    assert blur_noise(noise, 0.0) is noise
    blurred = blur_noise(noise, 1.5)
    np.testing.assert_allclose(blurred.mean((1, 2)), noise.mean((1, 2)), atol=1e-6)
    assert blurred.std() < 0.3 * noise.std()
    step = np.zeros((1, 32, 32), np.float32)
    step[..., 16:] = 1
    edge = blur_image(step, 1.0)
    assert edge[0, 0, 0] == pytest.approx(0, abs=1e-3)  # nothing wraps round
    assert edge[0, :, 16].min() == pytest.approx(edge[0, :, 16].max(), abs=1e-5)


def test_shipped_configs_can_be_read() -> None:
    paths = sorted((ROOT / "training").glob("*.toml"))
    names = {load_train_config(path).name for path in paths}
    assert {"tiny-rgb", "tiny-mono", "universal-tiny-rgb", "micrograph-tiny"} <= names
