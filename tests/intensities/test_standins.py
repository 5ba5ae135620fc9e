"""What stands in for pixels without a measurement, and which measured ones are doubtful."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.intensities.doubts import find_doubts, find_narrow_planes, without_repeats
from unetmm.intensities.range import measure_scale
from unetmm.intensities.standins import REACH_PX, stand_in, standing_bytes
from unetmm.intensities.validity import NoData, keep_measured, valid_mask, without_fills

RNG = np.random.default_rng(8)


@pytest.mark.parametrize("dtype", ["u1", "i2", "f2", "f4", "f8"])
def test_the_rim_of_a_hole_is_like_the_pixels_around_it(dtype: str) -> None:
    ramp = np.add.outer(np.arange(40), np.arange(50))[..., None].astype(dtype)
    measured = np.ones(ramp.shape, bool)
    measured[12:28, 15:35] = False
    window = np.where(measured, ramp, ramp.dtype.type(99)).astype(dtype)
    seen, known = stand_in(window, measured)
    inner = slice(REACH_PX, -REACH_PX)
    assert seen.dtype == ramp.dtype and seen.shape == known.shape == (32, 42, 1)
    kept = measured[inner, inner]
    assert np.array_equal(seen[kept], window[inner, inner][kept])
    near = known & ~kept
    assert np.abs(seen[near] - ramp[inner, inner][near].astype(float)).max() <= 6
    assert not known[14:18, 16:26].any(), "deep in the hole nothing is near"


def test_stand_ins_do_not_depend_on_the_cut() -> None:
    pixels = RNG.random((60, 700, 2)).astype(np.float32)
    measured = RNG.random(pixels.shape) < 0.3
    pixels[~measured] = np.nan
    whole = stand_in(pixels, measured)
    part = stand_in(pixels[10:40, 20:600], measured[10:40, 20:600])
    for one, other in zip(whole, part, strict=True):
        assert np.array_equal(one[10:32, 20:592], other, equal_nan=True)


def test_standing_in_takes_no_more_than_is_planned() -> None:
    import tracemalloc

    pixels = RNG.random((40, 500, 3)).astype(np.float32)
    measured = RNG.random(pixels.shape) < 0.5
    tracemalloc.start()
    try:
        result = stand_in(pixels, measured)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    rows, columns, samples = result[0].shape
    window_bytes = pixels.nbytes + 2 * measured.nbytes
    planned = standing_bytes(rows, columns, samples, 4) - window_bytes
    assert planned / 8 < peak_bytes <= planned + 20_000


FILLS = {"one": [9.96921e36], "two": [1e20, -1e30], "the largest last": [1e15]}


@pytest.mark.parametrize("fills", FILLS.values(), ids=FILLS)
def test_values_far_beyond_all_others_are_fills(fills: list[float]) -> None:
    values = RNG.normal(300, 40, (2000, 1)).astype(np.float32)
    filled = values.copy()
    for i, fill in enumerate(fills):
        filled[i * 100 : i * 100 + 100] = fill
    kept, found = without_fills(filled.ravel())
    assert sorted(found) == pytest.approx(sorted(fills), rel=1e-6)
    assert np.array_equal(kept, filled[np.abs(filled) < 1e6])
    scale = measure_scale([filled[None]])
    assert scale.high < 600
    nodata = NoData().within(scale.low, scale.high)
    mask = valid_mask(filled, nodata)
    assert mask is not None and np.array_equal(mask, np.abs(filled) < 1e6)
    doubts = list(find_doubts([filled[None]], NoData(), [None]))
    assert len(doubts) == 1 and "far beyond all others" in doubts[0]
    everything = valid_mask(filled, NoData().overridden(()).within(scale.low, scale.high))
    assert everything is not None and everything.all()


@pytest.mark.parametrize(
    ("values", "note"),
    [
        (np.append(RNG.normal(0, 1e-3, 999), 1e9), "a single one is a measurement"),
        (np.append(RNG.normal(0, 1, 999), [2000.0] * 50), "the sun is not far enough"),
        (RNG.normal(1e20, 1e19, 1000), "large values of all pixels"),
        (np.append(np.zeros(500), [5.0] * 500), "two values"),
        (10 ** RNG.uniform(-20, 20, 1000), "all sizes"),
        (np.array([]), "nothing"),
    ],
)
def test_what_is_no_fill(values: np.ndarray, note: str) -> None:
    assert without_fills(values.astype(np.float32))[1] == (), note


def told(pixels: np.ndarray, nodata: NoData | None = None) -> list[str]:
    return list(find_doubts([pixels[..., None]], nodata or NoData(), [None]))


@pytest.mark.parametrize("dtype", ["u1", "u2", "i2", "i4", "u4", "f4"])
def test_areas_of_one_extreme_value_are_doubtful(dtype: str) -> None:
    pixels = RNG.integers(1, 100, (128, 128)).astype(dtype)
    assert told(pixels) == []
    pixels[:40] = 0
    (doubt,) = told(pixels)
    assert "exactly 0" in doubt and "give --nodata 0" in doubt
    assert told(pixels, NoData.of(0)) == []
    if dtype != "f4":
        pixels[:40] = np.iinfo(dtype).max
        assert f"--nodata {np.iinfo(dtype).max}" in told(pixels)[0]


@pytest.mark.parametrize("photons", [0.004, 0.01, 0.03])
def test_squares_without_one_of_few_photons_are_no_gap(photons: float) -> None:
    counts = np.random.default_rng(0).poisson(photons, (512, 512, 1)).astype(np.uint8)
    assert not list(find_doubts([counts], NoData(), [None], even={0.0: 0.3}))
    counts[:, :200] = 0
    counts[:, 200:] += 3
    assert "exactly 0" in list(find_doubts([counts], NoData(), [None]))[0]


@pytest.mark.parametrize("share", [0.01, 0.05, 1.0])
def test_areas_that_were_seen_elsewhere_are_doubtful_too(share: float) -> None:
    pixels = RNG.integers(1, 100, (128, 128, 1)).astype(np.uint16)
    doubts = list(find_doubts([pixels], NoData(), [None], even={0.0: share, 7.0: 0.5}))
    assert len(doubts) == (share == 0.05)


def test_few_photons_and_blank_images_are_not_doubtful() -> None:
    assert told(RNG.poisson(0.05, (128, 128)).astype("u2")) == []
    assert told(np.zeros((128, 128), "u2")) == []


def test_restored_values_stay_in_the_valid_range() -> None:
    stored = np.array([[[5], [5], [-3]]], np.int16)
    restored = np.array([[[-2], [120], [-3]]], np.int16)
    keep_measured(restored, stored, NoData(low=0, high=100.5))
    assert restored.ravel().tolist() == [0, 100, -3]


@pytest.mark.parametrize(
    ("height_px", "width_px", "planes", "axis"),
    [
        (256, 5, 256, "X"),  # (256, 256, 5) as Z, Y, X
        (5, 256, 256, "Y"),
        (256, 30, 100, "X"),
        (256, 5, 1, ""),  # a strip
        (64, 64, 500, ""),  # a film of small planes
        (20, 20, 100, ""),
    ],
)
def test_planes_too_narrow_to_be_images(
    height_px: int, width_px: int, planes: int, axis: str
) -> None:
    said = list(find_narrow_planes(height_px, width_px, planes))
    assert len(said) == bool(axis)
    assert not axis or f"if {axis} is an axis of channels" in said[0]


def test_a_doubt_of_several_channels_is_said_once_by_its_largest_share() -> None:
    lines = ["other", "2.5 % of a is b", "9 % of a is b", "11 % of c", "4 % of a is b", "other"]
    assert without_repeats(lines) == ("other", "9 % of a is b", "11 % of c")
