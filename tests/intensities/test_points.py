"""Point sources are told from edges, lines, texture and noise, wherever an image is cut."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.intensities.noise import NoiseModel, measure_noise
from unetmm.intensities.points import (
    REACH_PX,
    WHOLE,
    PointRule,
    keep_points,
    point_share,
    rule_of,
)
from unetmm.intensities.range import ValueScale

SCALE = ValueScale(0.0, 1.0, 0.5)
NOISE = 0.02
SIDE = 128


def spot(height: float, sigma_px: float, centre: tuple[float, float] = (64, 64)) -> np.ndarray:
    y, x = np.mgrid[:SIDE, :SIDE]
    square = (y - centre[0]) ** 2 + (x - centre[1]) ** 2
    return height * np.exp(-square / (2 * sigma_px**2))


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.3, NOISE, (SIDE, SIDE))


def rule(values: np.ndarray) -> PointRule:
    found = measure_noise([values[..., None].astype(np.float32)])
    return rule_of([values.astype(np.float32)], found[0], SCALE)


def share(values: np.ndarray, rules: list[PointRule] | None = None) -> np.ndarray:
    planes = values if values.ndim == 3 else values[None]
    rules = rules or [rule(plane) for plane in planes]
    around = [(0, 0), (REACH_PX, REACH_PX), (REACH_PX, REACH_PX)]
    found = point_share(np.pad(planes, around, mode="reflect").astype(np.float32), rules)
    return np.zeros(planes.shape[1:], np.uint8) if found is None else found


@pytest.mark.parametrize("sigma_px", [0.8, 1.0, 1.5, 2.0])
@pytest.mark.parametrize("phase", [(0.0, 0.0), (0.5, 0.5), (0.3, 0.0)])
def test_a_source_keeps_its_values(sigma_px: float, phase: tuple[float, float]) -> None:
    centre = 64 + phase[0], 64 + phase[1]
    found = share(noise() + spot(20 * NOISE, sigma_px, centre))
    assert found[64, 64] >= 0.8 * WHOLE
    assert np.count_nonzero(found) < 100, "and nothing else does"


def test_the_brighter_a_source_the_more_it_keeps() -> None:
    kept = [share(noise() + spot(height * NOISE, 1.3))[64, 64] for height in (3, 8, 30, 300)]
    assert kept == sorted(kept) and kept[0] == 0 and kept[-1] == WHOLE


def test_texture_of_a_bright_cell_is_as_noisy_as_it_is() -> None:
    values = noise()
    values[32:96, 32:96] += 5 + np.random.default_rng(1).normal(0, 20 * NOISE, (64, 64))
    assert not share(values, [rule(noise())])[40:88, 40:88].any()


def test_what_is_as_faint_as_noise_keeps_none() -> None:
    assert not share(noise() + spot(2 * NOISE, 1.3)).any()


@pytest.mark.parametrize("kind", ["flat", "edge", "corner", "line", "slanted line", "waves"])
def test_what_is_no_source_keeps_none(kind: str) -> None:
    y, x = np.mgrid[:SIDE, :SIDE]
    shape = {
        "flat": 0 * x,
        "edge": x > 64,
        "corner": (x > 64) & (y > 64),
        "line": abs(x - 64) < 2,
        "slanted line": abs(x - y) < 2,
        "waves": 0.5 + 0.5 * np.sin(x / 3) * np.sin(y / 40),
    }[kind]
    found = share(noise() + 0.5 * shape)
    assert not found[8:-8, 8:-8].any(), "at the sides a line meets its mirror image"


def test_single_photons_are_noise() -> None:
    photons = np.random.default_rng(0).poisson(0.05, (SIDE, SIDE)).astype(float)
    counted = rule_of([photons.astype(np.float32)], NoiseModel(1.0, 0.0, 0.0), SCALE)
    assert not share(photons, [counted]).any()


def test_smeared_noise_raises_the_height() -> None:
    spectrum = np.fft.rfft2(np.random.default_rng(0).normal(size=(SIDE, SIDE)))
    y, x = np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)
    smeared = np.fft.irfft2(spectrum * np.exp(-2 * (np.pi * 1.5) ** 2 * (y**2 + x**2)))
    assert not share(0.3 + NOISE * smeared / smeared.std()).any()


def test_texture_raises_the_height() -> None:
    dots = sum(spot(0.5, 1.0, (y, x)) for y in range(4, SIDE, 8) for x in range(4, SIDE, 8))
    assert (share(noise() + dots) > 0).mean() < 0.3, "of the 100 % that lie near a dot"


def test_one_colour_is_enough_for_all() -> None:
    planes = np.stack([noise(0) + spot(30 * NOISE, 1.2), noise(1), noise(2)])
    assert share(planes)[64, 64] > WHOLE / 2


def test_gaps_are_no_sources() -> None:
    values = noise()
    values[30:60, 30:60] = np.nan
    assert not share(values, [rule(noise())]).any()


def test_no_cut_changes_a_share() -> None:
    values = (noise() + spot(20 * NOISE, 1.3)).astype(np.float32)
    rules = [rule(values)]
    whole = point_share(values[None], rules)
    assert whole is not None
    for top, left in ((0, 0), (3, 41), (40, 17)):
        part = values[None, top : top + 60, left : left + 60]
        found = point_share(part, rules)
        inner = whole[top : top + 60 - 2 * REACH_PX, left : left + 60 - 2 * REACH_PX]
        assert np.array_equal(np.zeros_like(inner) if found is None else found, inner)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_shares_mix_what_is_stored_with_the_answer(dtype: type) -> None:
    stored, restored = np.full((1, 3, 2), 100, dtype), np.full((1, 3, 2), 50, dtype)
    keep_points(restored, stored, np.array([[0, 51, WHOLE]], np.uint8))
    assert restored[0, :, 1].tolist() == [50, 60, 100]
