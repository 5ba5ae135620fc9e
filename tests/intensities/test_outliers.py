"""Outliers: what no optics can make is found, and what optics make is not."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.intensities.noise import UNKNOWN, NoiseModel, measure_noise
from unetmm.intensities.outlier_search import Search, without_outliers
from unetmm.intensities.outliers import COLUMN, POINT, REACH_PX, ROW, limits_of
from unetmm.intensities.range import ValueScale, measure_scale

SCALE = ValueScale(70.0, 310.0, 150.0)
PHOTONS = NoiseModel(1.0, 0.0, 0.0)


def kinds_of(
    pixels: np.ndarray,
    scale: ValueScale = SCALE,
    noise: NoiseModel = PHOTONS,
    measured: np.ndarray | None = None,
) -> np.ndarray:
    """Kind of each outlier of an image (height, width)."""
    height, width = pixels.shape
    search = Search([scale], [limits_of(scale, noise, pixels.dtype)], height, width)
    windows = np.full((1, height + 2 * REACH_PX, width + 2 * REACH_PX), np.nan, np.float32)
    inner = windows[:, REACH_PX:-REACH_PX, REACH_PX:-REACH_PX]
    mask = None if measured is None else measured[..., None]
    search.fill(pixels[..., None], mask, inner)
    found = search.find(windows, REACH_PX, height)
    return np.zeros((height, width), np.uint8) if found is None else found[..., 0].copy()


def field(seed: int = 0, shape: tuple[int, int] = (90, 100), level: float = 150.0) -> np.ndarray:
    return np.random.default_rng(seed).poisson(level, shape).astype(np.uint16)


def assert_found(pixels: np.ndarray, where: np.ndarray, kind: int = POINT, **how) -> None:
    found = kinds_of(pixels, **how)
    missed, wrong = np.argwhere(where & (found != kind)), np.argwhere(~where & (found != 0))
    assert not len(missed), f"missed {missed[:5].tolist()}"
    assert not len(wrong), f"wrongly found {wrong[:5].tolist()}"


PLACES = [
    (0, 0),
    (0, 99),
    (89, 0),
    (89, 99),
    (0, 50),
    (89, 40),
    (45, 0),
    (30, 99),
    (1, 20),
    (45, 45),
]


@pytest.mark.parametrize("value", [1000, 3000, 65535])
@pytest.mark.parametrize("place", PLACES)
def test_a_hot_pixel_is_found_wherever_it_lies(value: int, place: tuple[int, int]) -> None:
    pixels = field()
    where = np.zeros(pixels.shape, bool)
    where[place] = True
    pixels[place] = value
    assert_found(pixels, where)


@pytest.mark.parametrize(
    "cluster",
    [
        [(0, 0), (0, 1)], [(0, 0), (1, 0)], [(0, 0), (1, 1)], [(0, 0), (0, 2)],
        [(0, 0), (0, 1), (1, 0)], [(0, 0), (0, 1), (0, 2)], [(0, 0), (1, 1), (2, 2)],
    ],
)  # fmt: skip
@pytest.mark.parametrize("values", [(5000, 5000, 5000), (60000, 4000, 9000), (900, 65535, 65535)])
def test_clusters_of_up_to_three_are_found(
    cluster: list[tuple[int, int]], values: tuple[int, ...]
) -> None:
    pixels = field(1)
    where = np.zeros(pixels.shape, bool)
    for (y, x), value in zip(cluster, values, strict=False):
        where[40 + y, 50 + x] = True
        pixels[40 + y, 50 + x] = value
    assert_found(pixels, where)


def test_dead_pixels_are_found() -> None:
    pixels = field(2)
    where = np.random.default_rng(3).random(pixels.shape) < 0.002
    where[[0, -1]] = where[:, [0, -1]] = False  # where a source may lie beyond the edge
    pixels[where] = 0
    assert_found(pixels, where)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "int32", "float16", "float32", "float64"])
def test_every_type_is_searched(dtype: str) -> None:
    pixels = field(4, level=100).astype(dtype)
    where = np.zeros(pixels.shape, bool)
    where[20, 30] = where[70, 71] = True
    pixels[where] = 255
    scale = ValueScale(50.0, 200.0, 100.0) if dtype != "uint8" else ValueScale(0.0, 255.0, 100.0)
    assert_found(pixels, where, scale=scale)


@pytest.mark.parametrize("value", [0, 1000, 20000])
@pytest.mark.parametrize("at", [0, 1, 33, 98, 99])
def test_columns_and_rows_are_found(value: int, at: int) -> None:
    if value == 0 and at in (0, 99):
        pytest.skip("a dark edge may be a border")
    pixels = field(5)
    where = np.zeros(pixels.shape, bool)
    where[:, at] = True
    pixels[where] = value
    assert_found(pixels, where, COLUMN)
    assert_found(np.ascontiguousarray(pixels.T), where.T, ROW)


def test_columns_two_wide_parts_of_columns_and_crossings_are_found() -> None:
    pixels = field(6)
    where = np.zeros(pixels.shape, bool)
    where[:, 20:22] = where[30:, 60] = where[50, :] = True
    pixels[where] = 9000
    found = kinds_of(pixels)
    assert (found[where] != 0).mean() > 0.99
    assert not found[~where].any()


def test_hot_pixels_beside_a_hot_column_are_found() -> None:
    pixels = field(7)
    pixels[:, 40] = 9000
    where = np.zeros(pixels.shape, bool)
    where[30, 41] = where[50, 42] = where[70, 38] = True
    pixels[where] = 9000
    assert (kinds_of(pixels)[where] == POINT).all()


def test_short_lines_are_none() -> None:
    pixels = field(8)
    pixels[40:50, 30] = pixels[60, 20:32] = 9000
    assert not kinds_of(pixels).any()


@pytest.mark.parametrize("sigma_px", [1.0, 1.3, 2.0])
@pytest.mark.parametrize("snr", [8, 10, 20, 300])
def test_point_sources_are_left_alone(sigma_px: float, snr: float) -> None:
    """At all phases to the pixels, and cut by the edges of the image."""
    rng = np.random.default_rng(9)
    y, x = np.mgrid[:240, :240]
    sky = np.full(y.shape, 1000.0)
    for cell in range(225):
        centre = np.array(divmod(cell, 15)) * 16 + 8 + rng.uniform(-0.5, 0.5, 2)
        top, left = (int(c) - 7 for c in centre)
        part = np.s_[top : top + 15, left : left + 15]
        square = (y[part] - centre[0]) ** 2 + (x[part] - centre[1]) ** 2
        sky[part] += 10 * snr * np.exp(-square / 2 / sigma_px**2)
    noisy = sky + rng.normal(0, 10, sky.shape)
    noise, scale = NoiseModel(0.0, 0.0, 10.0), ValueScale(970.0, 1030.0, 1000.0)
    for cut in (0, 8, 9):
        pixels = np.ascontiguousarray(noisy[cut:, cut:].round().clip(0).astype(np.uint16))
        assert not kinds_of(pixels, scale, noise).any()


@pytest.mark.parametrize("photons", [0.01, 0.05, 0.3, 1, 5, 100])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("measure", [True, False])
def test_few_photons_are_left_alone(photons: float, dtype: str, measure: bool) -> None:
    pixels = field(10, (256, 256), photons).astype(dtype)
    scale = measure_scale([pixels])
    noise = measure_noise([pixels[..., None]])[0] if measure else UNKNOWN
    assert not kinds_of(pixels, scale, noise).any()


def test_noise_steps_and_texture_are_left_alone() -> None:
    rng = np.random.default_rng(11)
    y, x = np.mgrid[:200, :200]
    drawn = 60 + 120 * ((y // 25 + x // 25) % 2) + 30 * np.sin(x / 3) * np.cos(y / 2)
    drawn[::8, 100:] += 40
    for sigma in (2, 15, 25, 50):
        pixels = (drawn + rng.normal(0, sigma, drawn.shape)).round().clip(0, 255).astype(np.uint8)
        noise = measure_noise([pixels[..., None]])[0]
        assert not kinds_of(pixels, ValueScale(0.0, 255.0, 100.0), noise).any()


def test_what_is_not_measured_is_no_neighbour() -> None:
    pixels = field(12)
    measured = np.ones(pixels.shape, bool)
    measured[40:60, 40:60] = False
    pixels[~measured] = 60000
    where = np.zeros(pixels.shape, bool)
    where[39, 50] = where[60, 45] = where[39, 39] = True
    pixels[where] = 60000
    assert_found(pixels, where, measured=measured)


def test_stand_ins_are_like_their_surroundings() -> None:
    pixels = field(13)[..., None].repeat(2, -1)
    hot = pixels.copy()
    hot[20, 30, 0] = hot[20, 31, 0] = 60000
    hot[:, 70, 1] = 60000
    found = without_outliers(hot, None, SCALE, [PHOTONS] * 2)
    same = hot == pixels
    assert np.array_equal(found[same], pixels[same])
    assert np.abs(found[~same] - 150.0).max() < 40
    assert without_outliers(pixels, None, SCALE, [PHOTONS] * 2) is pixels


def test_the_answer_depends_on_what_is_near_alone() -> None:
    pixels = field(14, (150, 160))
    pixels[:, 70] = pixels[64, :] = 9000
    pixels[np.random.default_rng(15).random(pixels.shape) < 0.004] = 30000
    whole = kinds_of(pixels)
    for y, x in ((0, 0), (13, 31), (40, 55)):
        part = np.ascontiguousarray(pixels[y : y + 90, x : x + 90])
        inner = np.s_[REACH_PX if y else 0 : -REACH_PX, REACH_PX if x else 0 : -REACH_PX]
        assert np.array_equal(kinds_of(part)[inner], whole[y : y + 90, x : x + 90][inner])
