"""The guard finds what a restoration must not do, whatever the cut, and lets denoising pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from unetmm.intensities.findings import Findings
from unetmm.intensities.guard import BlockWatch, block_px, guard_bytes, to_watch
from unetmm.intensities.judging import Watched, smear_factor
from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.range import ValueScale, less_low
from unetmm.intensities.validity import NoData

SIDE = 256
FULL = Watched(
    (0, 1, 2), 0, SIDE, SIDE, 0, 1, (512, 128), (64, 64), ValueScale(0.0, 1000.0, 0.0), True, 1.0
)  # fmt: skip


def found(
    before: NDArray, after: NDArray, watched: Watched = FULL, band: int = 24, nodata: float = -1.0
) -> Findings:
    """What is found when rows come in bands."""
    watch = BlockWatch(replace(watched, width=before.shape[1], height=len(before)))
    for y in range(0, len(before), band):
        stored, made = (np.ascontiguousarray(a[y : y + band, :, None]) for a in (before, after))
        old, new = (np.empty(stored.shape, np.float32) for _ in range(2))
        masked = to_watch(stored, NoData.of(nodata), None, watched.scale.low, old)
        less_low(made, watched.scale.low, new)
        watch.add(old, new, masked, y)
    return watch.findings


def scene(noise: float, seed: int = 0) -> tuple[NDArray, NDArray]:
    """A field with an edge and a slope, noisy and clean."""
    y, x = np.mgrid[:SIDE, :SIDE]
    clean = 300 + 0.5 * y + 200 * (x > 100)
    noisy = clean + np.random.default_rng(seed).normal(0, noise, clean.shape)
    return np.rint(noisy).clip(0, 65535).astype(np.uint16), np.rint(clean).astype(np.uint16)


@pytest.mark.parametrize("noise", [3, 30, 100])
def test_perfect_denoising_passes(noise: float) -> None:
    noisy, clean = scene(noise)
    result = found(noisy, clean)
    assert result.blocks == result.noisy == 16
    assert (result.doubtful, result.left, result.worst) == (0, 0, None)


@pytest.mark.parametrize("photons", [0.008, 0.05, 0.3, 1, 3])
def test_few_photons_that_were_restored_rightly_pass(photons: float) -> None:
    """Differences of pixels tell little of their noise, which is known all the same."""
    y, x = np.mgrid[:SIDE, :SIDE]
    clean = photons * (0.2 + 0.8 * np.exp(-((x - 128) ** 2 + (y - 128) ** 2) / 5000))
    counts = np.random.default_rng(0).poisson(clean).astype(np.float32)
    known = replace(
        FULL, scale=ValueScale(0.0, 3.0, 0.0), integers=False, noise=(NoiseModel(1.0, 0.0, 0.0),)
    )
    result = found(counts, clean.astype(np.float32), known)
    assert (result.doubtful, result.mean.is_sure) == (0, False)
    faded = found(counts, (0.5 * clean).astype(np.float32), known)
    assert faded.mean.is_sure
    assert faded.mean.share == pytest.approx(-0.5, abs=0.1)


def test_removed_noise_that_was_smeared_passes() -> None:
    noise = np.random.default_rng(3).normal(0, 60, (SIDE, SIDE))
    for axis in (0, 1):
        noise = (np.roll(noise, 1, axis) + 2 * noise + np.roll(noise, -1, axis)) / 4
    clean = np.full((SIDE, SIDE), 400.0)
    images = [np.rint(image).astype(np.uint16) for image in (clean + noise, clean)]
    common = float(np.mean(noise[:, 1:] * noise[:, :-1]) / noise.var())
    assert found(*images).doubtful > 0
    assert found(*images, replace(FULL, smear=smear_factor([0.1, common]))).doubtful == 0
    assert smear_factor([]) == smear_factor([-0.2]) == 1 < smear_factor([0.99]) == smear_factor([1])


def star(y: int, x: int, flux: float = 20000.0, sigma: float = 1.1) -> NDArray:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    return flux * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2 / sigma**2)


@pytest.mark.parametrize(
    ("note", "change", "field"),
    [
        ("a region dimmed", lambda out: _set(out, np.s_[64:128, :64], 250), "means"),
        ("all of it zeroed", lambda out: 0 * out, "means"),
        ("a blob where nothing was", lambda out: out + star(90, 30, 300, 2), "details"),
        ("a ring below the background", lambda out: out - star(90, 30, 180, 2), "details"),
        ("not finite", lambda out: _set(out.astype(np.float32), np.s_[70, 30], np.nan), "means"),
    ],
)  # fmt: skip
def test_harm_is_found_where_it_is(note: str, change: object, field: str) -> None:
    noisy, clean = scene(20)
    result = found(noisy, change(clean))  # type: ignore[operator]
    assert getattr(result, field) >= 1, note
    worst = result.worst
    assert worst is not None and worst.plane == (0, 1, 2)
    if note != "all of it zeroed":
        assert (worst.row, worst.column) == (64, 0)
        assert result.doubtful == 1


def _set(out: NDArray, where: object, value: float) -> NDArray:
    out = out.copy()
    out[where] = value
    return out


def test_a_star_that_is_dimmed_or_spread_is_found() -> None:
    noisy, clean = scene(20)
    with_star = (noisy + star(90, 30)).astype(np.uint16)
    kept = (clean + star(90, 30)).astype(np.uint16)
    assert found(with_star, kept).doubtful == 0
    spread = clean + star(90, 30, 20000 * 1.1**2 / 9, 3)
    assert found(with_star, spread.astype(np.uint16)).doubtful == 1


def test_bright_cells_may_have_more_noise() -> None:
    rng = np.random.default_rng(1)
    clean = np.full((SIDE, SIDE), 100.0)
    clean[80:100, 20:50] = 30000
    noisy = rng.poisson(clean).astype(np.uint16)
    assert found(noisy, clean.astype(np.uint16)).doubtful == 0
    blurred = clean.copy()
    blurred[80:100, 20:50] = np.linspace(20000, 40000, 30)
    assert found(noisy, blurred.astype(np.uint16)).doubtful == 1


def test_what_stands_out_must_not_lose_much_whatever_its_noise() -> None:
    """Speckle grows with the light, but does not spread a ship over its surroundings."""
    rng = np.random.default_rng(5)
    sea = 180 * np.sqrt(rng.gamma(4.4, 1 / 4.4, (SIDE, SIDE)))
    ship = star(90, 30, 9000, 0.9)
    spread = 0.3 * ship + star(90, 30, 0.7 * 9000 * 0.81 / 4, 2)
    for light, doubtful in ((ship, 0), (spread, 1)):
        made = sea.mean() + light
        result = found((sea + ship).astype(np.uint16), made.astype(np.uint16))
        assert result.doubtful == doubtful


def test_a_dim_area_is_found_where_its_cells_are_not() -> None:
    noisy, clean = scene(20)
    dimmed = clean.copy()
    dimmed[64:80, 32:48] -= 20
    result = found(noisy, dimmed)
    assert (result.doubtful, result.details) == (1, 1)
    assert found(noisy, clean).doubtful == 0


def test_noise_that_is_left_where_most_of_it_is_is_found() -> None:
    rng = np.random.default_rng(6)
    noisy = rng.normal(300, 3, (SIDE, SIDE))
    noisy[:128, :128] = rng.normal(400, 60, (128, 128))
    clean = np.full((SIDE, SIDE), 300.0)
    clean[:128, :128] = noisy[:128, :128]
    result = found(noisy.astype(np.uint16), clean.astype(np.uint16))
    assert (result.left, result.noisy, result.is_left) == (4, 16, True)
    assert result.left_power > 0.9 * result.noisy_power


def test_few_photons_rounded_to_zero_are_found() -> None:
    photons = np.random.default_rng(2).poisson(0.4, (SIDE, SIDE)).astype(np.uint16)
    scale = replace(FULL, scale=ValueScale(0.0, 4.0, 0.0))
    assert found(photons, np.zeros_like(photons), scale).means == 16
    floats = replace(scale, integers=False)
    restored = np.full(photons.shape, photons.mean(), np.float32)
    assert found(photons, restored, floats).doubtful == 0
    rare = np.random.default_rng(2).poisson(0.01, (SIDE, SIDE)).astype(np.float32)
    restored = np.full(rare.shape, rare.mean(), np.float32)
    assert found(rare, restored, floats).doubtful == 0


def test_fill_that_ruins_its_neighbours_is_found() -> None:
    image = np.random.default_rng(3).normal(10, 1, (SIDE, SIDE)).astype(np.float32)
    image[:40, :40] = 9.97e36
    ruined = image - np.float32(1e34)
    fill = replace(FULL, scale=ValueScale(0.0, 9.97e36, 0.0), integers=False)
    assert found(image, ruined, fill).doubtful >= 15


def test_noise_that_is_left_is_found_and_texture_is_not() -> None:
    noisy, clean = scene(30)
    result = found(noisy, noisy)
    # Along the edge, differences over two pixels are larger than white noise has them.
    assert (result.left, result.doubtful, result.is_left) == (12, 0, True)
    assert found(noisy, noisy, replace(FULL, strength=0.0)).left == 0
    half = (noisy * 0.5 + clean * 0.5).astype(np.uint16)
    assert found(noisy, half, replace(FULL, strength=0.5)).left == 0
    texture = (500 + 40 * np.sin(np.mgrid[:SIDE, :SIDE].sum(0) * 0.6)).astype(np.uint16)
    assert found(texture, texture).left == 0


def test_what_is_not_measured_does_not_count() -> None:
    noisy, clean = scene(20)
    hole = np.s_[60:200, 30:150]
    noisy, ruined = _set(noisy, hole, 9), _set(clean, hole, 60000)
    result = found(noisy, ruined, nodata=9.0)
    assert (result.doubtful, result.worst) == (0, None)
    assert found(noisy, ruined, nodata=8.0).doubtful > 0
    floats = _set(noisy.astype(np.float32), hole, np.nan)
    assert found(floats, clean.astype(np.float32)).doubtful == 0


@pytest.mark.parametrize("shape", [(256, 256), (250, 203), (65, 63), (16, 16), (9, 300), (1, 1)])
@pytest.mark.parametrize("masked", [False, True])
def test_bands_and_strips_change_nothing(shape: tuple[int, int], masked: bool) -> None:
    rng = np.random.default_rng(4)
    before = rng.normal(500, 50, shape).astype(np.float32)
    after = (before + rng.normal(0, 30, shape) * (rng.random(shape) < 0.1)).astype(np.float32)
    after[: shape[0] // 3] += 20
    if masked:
        before[rng.random(shape) < 0.2] = np.nan
    whole = found(before, after, band=shape[0])
    for band in (1, 7, 24, 64):
        assert found(before, after, band=band) == whole
    parts = Findings()
    for x in range(0, shape[1], 128):
        columns = slice(x, x + 128)
        parts.add(found(before[:, columns], after[:, columns], replace(FULL, column=x)))
    assert parts == whole


def test_chunks_that_cut_the_grid_have_blocks_of_their_own() -> None:
    assert block_px(512, 10_000) == block_px(512, 30) == 64
    assert block_px(48, 1000) == 16 and block_px(48, 48) == 64 and block_px(100, 1000) == 0
    noisy, clean = scene(20)
    small = replace(FULL, chunk=(48, 48), sides=(16, 16))
    assert found(noisy, clean, small).blocks == 256


def test_memory_is_what_is_allocated() -> None:
    watched = replace(FULL, width=1013, channels=3)
    watch = BlockWatch(watched)
    kept = watch._cells.nbytes + watch._columns.nbytes + watch._present.nbytes
    assert kept + 17 * 1013 * 3 * 4 < guard_bytes(17, 1013, 3, 1)
    assert guard_bytes(17, 1013, 3, 2) - guard_bytes(17, 1013, 3, 1) >= kept


def test_few_doubts_are_not_spoken_of() -> None:
    assert not Findings(blocks=100, means=1, details=1).is_doubtful
    assert Findings(blocks=100, means=1, details=2).is_doubtful
    assert not Findings(blocks=100_000, details=20).is_doubtful
    assert not Findings(blocks=10, noisy=10, left=5).is_left
