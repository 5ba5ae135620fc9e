"""Each kind of noise of the mixture has the level, correlation and mean that it claims."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers import ROOT
from numpy.typing import NDArray
from training_runs import TOML

from unetmm.errors import ShapeError
from unetmm.train.batches import Batches
from unetmm.train.config import (
    MIXTURE_KINDS,
    MixtureNoise,
    NoiseConfig,
    TrainConfig,
    load_train_config,
)
from unetmm.train.data import make_sampler
from unetmm.train.degrade import degrade
from unetmm.train.noise import grain, lines, mixture, sensor, smeared, stored
from unetmm.train.noise.mixture import KINDS, one_sample
from unetmm.train.noise.sensor import Pair
from unetmm.train.noise.spectrum import smeared_field

SHAPE = (1, 64, 64)
GREY = np.full(SHAPE, 0.5, np.float32)
PICTURE = np.random.default_rng(9).random((3, 48, 48), np.float32) * 0.5 + 0.25
SAME_TARGET = sorted(MIXTURE_KINDS - {"micrograph", "dim", "resampled", "speckle", "photons"})
"""Kinds that leave the picture as it is; the others blur, enlarge or scale it."""


def pairs(kind: Callable[[np.random.Generator], Pair], count: int = 30) -> list[Pair]:
    return [kind(np.random.default_rng(seed)) for seed in range(count)]


def noise_of(pair: Pair) -> NDArray[np.float64]:
    noisy, target = pair
    return noisy.astype(np.float64) - target


def correlation(noise: NDArray[np.floating], axis: int, lag: int = 1) -> float:
    noise = np.moveaxis(noise - noise.mean(), axis, -1)
    return float((noise[..., lag:] * noise[..., :-lag]).mean() / (noise**2).mean())


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_each_kind_is_reproducible_and_finite(kind: str, channels: int) -> None:
    clean = PICTURE[:channels].copy()
    kept = clean.copy()
    for seed in range(6):
        a, b = (one_sample(clean, kind, np.random.default_rng(seed)) for _ in range(2))
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
        for image in a:
            assert image.dtype == np.float32 and image.shape == clean.shape
            assert np.isfinite(image).all()
    assert np.array_equal(clean, kept), "the picture itself was changed"


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("value", [0.0, 1.0, 0.02])
def test_empty_pictures_are_no_trouble(
    value: float, channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mixture, "SOFT_SHARE", 1.0)
    clean = np.full((channels, 24, 24), value, np.float32)
    clean[:, :2] = 1 - value  # an edge, beyond which a blur may fall below 0
    with np.errstate(all="raise", under="ignore"):
        for kind in sorted(KINDS):
            for seed in range(20):
                noisy, target = one_sample(clean, kind, np.random.default_rng(seed))
                assert np.isfinite(noisy).all() and np.isfinite(target).all(), (kind, seed)


def test_names_of_kinds_are_those_of_the_config() -> None:
    assert set(KINDS) == MIXTURE_KINDS


@pytest.mark.parametrize("kind", SAME_TARGET)
def test_target_is_the_clean_picture(kind: str) -> None:
    for seed in range(4):
        noisy, target = KINDS[kind](PICTURE, np.random.default_rng(seed))
        gain = target.mean() / PICTURE.mean()  # 1, unless bright noise had to fit into the range
        np.testing.assert_allclose(target, gain * PICTURE, atol=1e-6)
        assert 0.2 < gain <= 1 + 1e-6
        assert not np.array_equal(noisy, target) or kind in ("clean", "quantised")
        assert kind != "clean" or np.abs(noisy - target).max() < 0.51 / 255


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {"dim", "clean"}))
def test_noise_has_no_mean(kind: str) -> None:
    found = [noise_of(KINDS[kind](GREY, np.random.default_rng(seed))) for seed in range(40)]
    assert abs(np.mean([n.mean() for n in found])) < 0.02
    assert np.mean([n.std() for n in found]) > 0.002


def test_white_noise_is_white_and_of_all_levels() -> None:
    found = [noise_of(p) for p in pairs(lambda rng: sensor.white(GREY, rng), 200)]
    levels = np.array([n.std() for n in found]) * 255
    assert levels.min() < 3 and 52 < levels.max() < 57 and 24 < levels.mean() < 31
    assert abs(np.mean([correlation(n, 2) for n in found])) < 0.01


def test_photons_are_noisier_in_the_light_by_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sensor, "PHOTONS", (400.0, 400.0))
    monkeypatch.setattr(sensor, "READ_MAX", 0.0)
    for signal in (0.2, 0.8):
        noisy, target = sensor.photons(np.full(SHAPE, signal, np.float32), np.random.default_rng(1))
        assert target.mean() == pytest.approx(signal)
        assert noisy.std() == pytest.approx(np.sqrt(signal / 400), rel=0.05)


def test_few_photons_are_scaled_into_the_range() -> None:
    noisy = np.random.default_rng(0).poisson(np.full(SHAPE, 1.5)).astype(np.float32)
    fitted, target = sensor.in_range((noisy, np.full(SHAPE, 1.5, np.float32)))
    assert np.percentile(fitted, 99.5) == pytest.approx(1.0)
    assert fitted.mean() == pytest.approx(target.mean(), rel=0.05)


@pytest.mark.parametrize("sigma", [0.5, 1.0, 2.0])
def test_smeared_fields_keep_their_level(sigma: float) -> None:
    shape = (16, 64, 64)
    both = smeared_field(shape, (sigma, sigma), np.random.default_rng(0))
    across = smeared_field(shape, (0.0, sigma), np.random.default_rng(0))
    assert both.std() == pytest.approx(1, abs=0.05) and across.std() == pytest.approx(1, abs=0.05)
    if sigma >= 1:  # below, a Gaussian of this width is not resolved by pixels
        expected = np.exp(-1 / (4 * sigma**2))
        assert correlation(both, 1) == pytest.approx(expected, abs=0.03)
        assert correlation(across, 2) == pytest.approx(expected, abs=0.03)
    assert abs(correlation(across, 1)) < 0.02


def test_blurred_noise_reaches_in_all_directions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smeared, "BLUR_PX", (1.5, 1.5))
    found = [noise_of(p) for p in pairs(lambda rng: smeared.blurred(GREY, rng))]
    for axis in (1, 2):
        assert np.mean([correlation(n, axis) for n in found]) == pytest.approx(0.895, abs=0.03)


def test_slow_amplifiers_smear_rows_alone_and_keep_the_mean() -> None:
    white = np.random.default_rng(0).standard_normal((1, 64, 64)).astype(np.float32)
    found = [smeared.slow_amplifier(white, np.random.default_rng(s)) for s in range(20)]
    assert np.mean([correlation(n, 2) for n in found]) > 0.15
    assert abs(np.mean([correlation(n, 1) for n in found])) < 0.02
    np.testing.assert_allclose(smeared.slow_amplifier(GREY, np.random.default_rng(1)), GREY)


def test_a_mosaic_leaves_flat_areas_and_correlates_noise() -> None:
    colour = np.array([0.2, 0.5, 0.9], np.float32)[:, None, None] * np.ones((3, 64, 64), np.float32)
    found = [noise_of(p) for p in pairs(lambda rng: smeared.mosaic(colour, rng))]
    assert np.abs([n.mean((1, 2)) for n in found]).mean() < 0.005
    assert 0.55 < np.mean([correlation(n, 2) for n in found]) < 0.7


def test_resampling_treats_noise_and_target_alike() -> None:
    ramp = np.tile(np.linspace(0.2, 0.8, 64, dtype=np.float32), (1, 64, 1))
    white = np.random.default_rng(3).standard_normal(SHAPE).astype(np.float32)
    reach = []
    for seed in range(40):
        noisy, target = smeared.resampled((ramp, ramp), np.random.default_rng(seed))
        assert np.array_equal(noisy, target)
        assert 0.19 < target.min() and target.max() < 0.81, "black came in from beyond the edge"
        noise, rest = smeared.resampled((white, np.zeros_like(white)), np.random.default_rng(seed))
        assert not rest.any()
        reach.append(correlation(noise, 2))
    assert 0.3 < np.mean(reach) < 0.8


def test_rows_shift_whole_rows_or_columns() -> None:
    for pair in pairs(lambda rng: lines.rows((GREY, GREY), rng)):
        noise = noise_of(pair)
        assert min(noise.std(2).max(), noise.std(1).max()) < 1e-6
        assert 0.3 / 255 < noise.std() < 25 / 255


def test_stripes_scale_and_shift_whole_lines() -> None:
    for pair in pairs(lambda rng: lines.stripes((GREY, GREY), rng)):
        noise = noise_of(pair)
        assert min(noise.std(2).max(), noise.std(1).max()) < 1e-6
        assert noise.std() < 0.15


def test_speckle_follows_the_law_of_its_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grain, "LOOKS_MAX", 1)
    ratios = []
    for noisy, target in pairs(lambda rng: grain.speckle(GREY, rng), 60):
        ratios.append((noisy / target).std())
        assert noisy.mean() == pytest.approx(target.mean(), rel=0.08)
    # One look: 1 in intensity, 0.52 in amplitude; a log's depends on its range.
    assert np.sum(np.abs(np.array(ratios) - 1) < 0.1) > 8
    assert np.sum(np.abs(np.array(ratios) - 0.523) < 0.05) > 8


def test_film_grain_spares_black_and_white() -> None:
    steps = np.repeat(np.array([0.0, 0.5, 1.0], np.float32), 32)[None, None].repeat(96, 1)
    found = [noise_of(p) for p in pairs(lambda rng: grain.film(steps, rng))]
    black, middle, white = (np.mean([n[..., i * 32 : i * 32 + 32].std() for n in found])
                            for i in range(3))  # fmt: skip
    assert black < 0.3 * middle and white < 0.3 * middle


def test_electrons_leave_streaks_along_rows() -> None:
    found = [noise_of(p) for p in pairs(lambda rng: lines.electrons(GREY, rng))]
    assert np.mean([correlation(n, 2) for n in found]) > 0.1
    assert np.mean([correlation(n, 2) for n in found]) > np.mean([correlation(n, 1) for n in found])


def test_few_bits_and_files() -> None:
    ramp = np.linspace(0, 1, 4096, dtype=np.float32).reshape(SHAPE)
    for pair in pairs(lambda rng: stored.quantised((ramp, ramp), rng)):
        assert len(np.unique(pair[0])) in (32, 64, 128, 256)
    noisy = np.full_like(PICTURE, 0.5)
    noisy += 0.1 * np.random.default_rng(0).standard_normal(PICTURE.shape).astype("f4")
    for channels in (1, 3):
        for coded, target in pairs(
            lambda rng, c=channels: stored.compressed((noisy[:c], PICTURE[:c]), rng)  # type: ignore[misc]
        ):
            assert 0.01 < (coded - noisy[:channels]).std() < 0.15
            assert np.abs(coded * 255 - np.rint(coded * 255)).max() < 1e-3
            assert target.shape == coded.shape


def test_a_mixture_gives_each_kind_its_share() -> None:
    clean = np.full((400, 1, 16, 16), 0.5, np.float32)
    noise = NoiseConfig(mixture=MixtureNoise({"white": 0.25, "clean": 0.75}))
    noisy, target = degrade(clean, noise, np.random.default_rng(0))
    assert np.array_equal(target, clean)
    untouched = (np.abs(noisy - clean) < 0.51 / 255).all((1, 2, 3))
    assert untouched.mean() == pytest.approx(0.75, abs=0.06)
    again, _ = degrade(clean, replace(noise), np.random.default_rng(0))
    assert np.array_equal(noisy, again)


def test_batches_of_a_mixture_depend_on_the_step_alone(config: TrainConfig) -> None:
    shares = {name: 1 / len(MIXTURE_KINDS) for name in sorted(MIXTURE_KINDS, reverse=True)}
    chosen = replace(config, drawn_share=0.5, noise=NoiseConfig(mixture=MixtureNoise(shares)))
    batches = Batches(chosen, make_sampler(chosen)[0])
    in_order = [batches[step] for step in range(4)]
    for step in (3, 1):
        for a, b in zip(batches[step], in_order[step], strict=True):
            assert bool((a == b).all())


def test_wrong_mixtures_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    base = TOML.format(folder=tmp_path, channels=3)
    for lines_, message in (
        ("[noise.mixture]\nwhite = 0.5\n", "add up to 0.5 instead of 1"),
        ("[noise.mixture]\nsnow = 1.0\n", "unknown kinds"),
        ("[noise.mixture]\nwhite = 1.0\n[noise.camera]\nshare = 0.5\n", "its own camera"),
    ):
        path.write_text(base + lines_)
        with pytest.raises(ShapeError, match=message):
            load_train_config(path)


def test_universal_configs_hold_their_kinds() -> None:
    for name in ("universal-tiny-mono", "universal-tiny-rgb"):
        config = load_train_config(ROOT / "training" / f"{name}.toml")
        assert config.noise.mixture is not None
        assert 0.03 <= config.noise.mixture.shares["clean"] <= 0.05
        assert "resampled 0.1" in config.noise.describe()


def test_older_runs_do_not_know_mixtures(config: TrainConfig) -> None:
    assert "mixture" not in config.facts()["noise"]
    chosen = replace(config, noise=NoiseConfig(mixture=MixtureNoise({"white": 1.0})))
    assert chosen.facts()["noise"]["mixture"] == {"shares": {"white": 1.0}}
