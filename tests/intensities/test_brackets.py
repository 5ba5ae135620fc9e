"""Wider ranges: which pixels use them, and that what they do harms nothing."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from unetmm.intensities.bracket_cells import compile_brackets, mend
from unetmm.intensities.brackets import (
    BOX_FLOATS,
    BROAD_PX,
    CELL_PX,
    HEIGHT_REACH_PX,
    LARGEST,
    RUNGS,
    exceeds,
    may_exceed,
    window_px,
    window_reach,
    without_far,
)
from unetmm.intensities.range import ValueScale, intensity_range

STRIDE_PX = 16
WINDOW_PX = window_px(STRIDE_PX)
INNER = (slice(window_reach(STRIDE_PX), window_reach(STRIDE_PX) + CELL_PX),) * 2
BLOCK = np.s_[12:52, 16:56]
"""A bright block within a cell."""


def scene(height: float, noise: float = 0.1, channels: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """A clean block of some height in a window, and the same with noise that grows with it."""
    rng = np.random.default_rng(3)
    clean = np.full((WINDOW_PX, WINDOW_PX, channels), 0.5, np.float32)
    clean[INNER][BLOCK] = height
    deviation = noise * np.abs(clean)
    return clean, (clean + deviation * rng.normal(size=clean.shape)).astype(np.float32)


def average(seen: np.ndarray) -> np.ndarray:
    """A stand-in for a net: the mean of 3x3 pixels, if what it sees is near its range."""
    assert seen.min() >= -1.0001 and seen.max() <= 2.0001, "beyond what a net knows"
    rows = sum(np.roll(seen, k, 0) for k in (-1, 0, 1)) / 3
    mean: np.ndarray = sum(np.roll(rows, k, 1) for k in (-1, 0, 1)) / 3
    return mean.astype(np.float32)


def answer_of(window: np.ndarray) -> np.ndarray:
    """A cell restored by the base range and the rungs above it."""
    mended = mend(window, INNER, average, stride_px=STRIDE_PX)
    cell = window[INNER]
    base = average(np.clip(window, -1, 2))[INNER] - np.clip(cell, -1, 2)
    answer: np.ndarray = cell + mended.share[..., None] * base + mended.change
    return answer


@pytest.mark.parametrize("height", [4.0, 100.0, 5000.0, -4.0, -900.0])
def test_what_exceeds_the_range_is_restored_in_one_that_holds_it(height: float) -> None:
    clean, box = scene(height)
    within = np.s_[20:45, 24:49]  # of the block, away from its edges
    error = (answer_of(box) - clean[INNER])[within]
    noise = (box - clean)[INNER][within]
    assert np.sqrt((error**2).mean()) < 0.6 * np.sqrt((noise**2).mean())
    assert abs(error.mean()) < 0.02 * abs(height)


@pytest.mark.parametrize("height", [30.0, 4000.0])
def test_dim_pixels_beside_bright_ones_stay_as_good(height: float) -> None:
    clean, box = scene(height)
    error, noise = np.abs(answer_of(box) - clean[INNER]), np.abs(box - clean)[INNER]
    ring = np.zeros((CELL_PX, CELL_PX), bool)
    ring[4:60, 8:64] = True
    ring[BLOCK] = False
    assert np.sqrt((error[ring] ** 2).mean()) < 2 * np.sqrt((noise[ring] ** 2).mean())


def test_what_has_no_noise_is_kept() -> None:
    clean, box = scene(3000.0, noise=1e-5)
    bright = clean[INNER] > 1
    assert np.abs(answer_of(box) - box[INNER])[bright].max() < 0.01


def test_pixels_far_from_any_excess_are_left_alone() -> None:
    _, box = scene(50.0)
    beyond = np.ones((CELL_PX, CELL_PX), bool)
    reach = HEIGHT_REACH_PX
    beyond[12 - reach : 52 + reach, 16 - reach : 56 + reach] = False
    assert (mend(box, INNER, average, stride_px=STRIDE_PX).share[beyond] == 1).all()


def test_clipping_starts_where_the_base_range_no_longer_counts() -> None:
    _, box = scene(20.0, noise=0.6)
    clipped = (box > 2).any(2)[INNER] | (box < -1).any(2)[INNER]
    assert (
        clipped.any() and (mend(box, INNER, average, stride_px=STRIDE_PX).share[clipped] < 1).all()
    )


def test_values_that_are_no_measurement_get_a_stand_in() -> None:
    rows = np.array([[[0.5], [1e30], [np.inf], [np.nan], [30.0], [-40.0]]], np.float32)
    assert without_far(rows, 0.25)
    assert rows.ravel().tolist() == [0.5, 0.25, 0.25, 0.25, 30.0, -40.0]


def test_nothing_exceeds_within_the_range() -> None:
    assert not exceeds(np.full((2, 3, 1), 1.4, np.float32))
    assert exceeds(np.full((2, 3, 1), -0.6, np.float32))


def never(seen: np.ndarray) -> np.ndarray:
    raise AssertionError("no net is asked")


@pytest.mark.parametrize("side", [1, BROAD_PX - 1])
def test_what_is_small_stays_as_it_is_and_costs_no_net(side: int) -> None:
    window = np.random.default_rng(1).normal(0.5, 0.1, (WINDOW_PX, WINDOW_PX, 1))
    window = window.astype(np.float32)
    small = np.s_[40 : 40 + side, 50 : 50 + 3 * side]
    window[small] += 40
    mended = mend(window, INNER, never, stride_px=STRIDE_PX)
    share = np.ones((WINDOW_PX, WINDOW_PX), np.float32)
    share[small] = 0
    assert np.array_equal(mended.share, share[INNER])
    assert not mended.change.any() and not any(mended.rungs)


def test_what_has_no_noise_costs_no_net() -> None:
    clean, _ = scene(3000.0)
    mended = mend(clean, INNER, never, stride_px=STRIDE_PX)
    assert not mended.change.any()


def test_only_the_box_around_what_needs_it_is_computed() -> None:
    _, window = scene(4.0)
    window[INNER][:, 30:] = 0.5
    sides = []

    def seen(box: np.ndarray) -> np.ndarray:
        sides.append(box.shape[:2])
        return average(box)

    mend(window, INNER, seen, stride_px=STRIDE_PX)
    assert sides == [(64, 32)]


def test_parts_far_from_each_other_are_computed_by_themselves() -> None:
    """Each as if it were alone: what one needs does not change the other."""
    rng = np.random.default_rng(5)
    first, second, both = np.full((3, WINDOW_PX, WINDOW_PX, 1), 0.5, np.float32)
    for alone, y, x in ((first, 2, 2), (second, 46, 44)):
        block = rng.normal(4.0, 0.4, (16, 16, 1))
        alone[INNER][y : y + 16, x : x + 16] = both[INNER][y : y + 16, x : x + 16] = block
    sides = []

    def seen(box: np.ndarray) -> np.ndarray:
        sides.append(box.shape[:2])
        return average(box)

    found = mend(both, INNER, seen, stride_px=STRIDE_PX)
    assert sides and max(max(side) for side in sides) <= 32
    changes = [mend(alone, INNER, average, stride_px=STRIDE_PX).change for alone in (first, second)]
    assert all(change.any() for change in changes)
    np.testing.assert_array_equal(found.change, changes[0] + changes[1])


@pytest.mark.parametrize(
    ("dtype", "low", "high", "expected"),
    [
        ("uint8", 0, 255, False),
        ("uint8", 0, 100, True),  # as --range asks for
        ("uint16", 0, 60000, False),
        ("uint16", 90, 300, True),
        ("int16", -100, 30000, True),  # far below
        ("float32", 0, 1, True),
    ],
)
def test_types_that_can_leave_the_range(
    dtype: str, low: float, high: float, expected: bool
) -> None:
    assert may_exceed(np.dtype(dtype), ValueScale(low, high, low)) == expected


def test_rungs_are_few_whatever_the_values() -> None:
    _, box = scene(0.9 * LARGEST)
    assert len(mend(box, INNER, average, stride_px=STRIDE_PX).rungs) == RUNGS


@pytest.mark.parametrize("channels", [1, 3])
def test_a_box_takes_no_more_memory_than_counted(channels: int) -> None:
    _, box = scene(4000.0, channels=channels)
    tracemalloc.start()
    mend(box, INNER, np.copy, stride_px=STRIDE_PX)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= BOX_FLOATS * 4 * WINDOW_PX**2 * channels


def test_rare_far_values_do_not_stretch_the_base_range() -> None:
    values = np.random.default_rng(1).normal(100, 3, 20000).astype(np.float32)
    plain = intensity_range(values, values.dtype)
    values[:60] = 30000
    low, high = intensity_range(values, values.dtype)
    assert high - low < 1.2 * (plain[1] - plain[0])
    values[:60] = 150
    assert intensity_range(values, values.dtype)[1] == 150
    values[:60] = 9.97e36
    assert intensity_range(values, values.dtype)[1] < 120


def test_what_is_compiled_ahead_is_all_that_a_run_calls() -> None:
    """A trial that finds nothing to restore would leave kernels to a run and its budget."""
    assert compile_brackets() > 0
