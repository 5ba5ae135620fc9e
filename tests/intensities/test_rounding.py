"""Rounding by chance keeps means, is the same for any cut, and leaves whole numbers alone."""

from __future__ import annotations

import numpy as np
import pytest

from unetmm.intensities.range import ValueScale
from unetmm.intensities.rounding import (
    Dimness,
    Losses,
    Spot,
    clip_to,
    limits_of,
    may_clip,
    round_rows,
)
from unetmm.intensities.stored import opacity_as, to_stored
from unetmm.intensities.validity import NOTHING, NoData

SCALE = ValueScale(0.0, 100.0, 50.0)


def stored(
    original: np.ndarray,
    values: np.ndarray,
    dtype: str,
    nodata: float | None = None,
    spot: Spot | None = None,
) -> tuple[np.ndarray, Losses]:
    """What `to_stored` gives for an answer that means these values."""
    answer = np.ascontiguousarray(values, np.float32) / np.float32(100)
    out, scratch = np.empty(original.shape, dtype), np.empty(original.shape, np.float32)
    losses = to_stored(
        answer,
        0,
        original,
        SCALE,
        1.0,
        NOTHING if nodata is None else NoData.of(nodata),
        None,
        scratch,
        out,
        spot,
    )
    return out, losses


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("mean", [0.003, 0.4, 7.9, -2.3])
def test_dithered_means_stay(dtype: type, mean: float) -> None:
    values = np.full((400, 500, 1), mean, dtype)
    round_rows(values, Spot((0, 0, 0), 0, 0, 0, 1))
    assert set(np.unique(values)) == {np.floor(mean), np.floor(mean) + 1}
    fraction = mean - np.floor(mean)
    noise = np.sqrt(fraction * (1 - fraction) / values.size)
    assert abs(values.mean(dtype=np.float64) - mean) < 4 * noise


def test_dither_depends_on_the_place_alone() -> None:
    rng = np.random.default_rng(0)
    whole = rng.random((40, 50, 3), np.float32) * 5
    parts = whole.copy()
    round_rows(whole, Spot((1, 2, 3), 7, 11, 0, 3))
    for y, x in ((0, 0), (0, 20), (13, 0), (13, 20)):
        rows, columns = slice(y, y + 13 if y == 0 else None), slice(x, x + 20 if x == 0 else None)
        for c in range(3):
            part = np.ascontiguousarray(parts[rows, columns, c : c + 1])
            round_rows(part, Spot((1, 2, 3), 7 + y, 11 + x, c, 3))
            assert np.array_equal(part, whole[rows, columns, c : c + 1])


def test_planes_rows_columns_and_samples_are_dithered_differently() -> None:
    def made(spot: Spot) -> np.ndarray:
        values = np.full((64, 64, 1), 0.5, np.float32)
        round_rows(values, spot)
        return values

    first = made(Spot((0, 0, 0), 0, 0, 0, 1))
    others = [
        made(Spot((0, 0, 1), 0, 0, 0, 1)), made(Spot((1, 0, 0), 0, 0, 0, 1)),
        made(Spot((0, 0, 0), 64, 0, 0, 1)), made(Spot((0, 0, 0), 0, 64, 0, 1)),
    ]  # fmt: skip
    for other in others:
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.06
    shifted = [np.roll(first, step, axis) for step in (1, 2, 5) for axis in (0, 1)]
    for other in shifted:
        assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.06


def test_whole_numbers_stay() -> None:
    values = np.arange(-50, 70_000, dtype=np.float32).reshape(1, -1, 1)
    dithered = values.copy()
    round_rows(dithered, Spot((0, 0, 0), 3, 5, 0, 1))
    assert np.array_equal(dithered, values)


@pytest.mark.parametrize(
    ("source", "target", "clips"),
    [
        ("u1", "u2", False), ("u2", "u1", True), ("u2", "i2", True), ("u2", "f4", False),
        ("i1", "u1", True), ("f4", "u2", True), ("u2", "i4", False), ("f8", "f4", True),
        ("u2", "f2", True), ("u1", "f2", False), ("f8", "f8", False),
    ],
)  # fmt: skip
def test_which_types_may_clip(source: str, target: str, clips: bool) -> None:
    assert may_clip(np.dtype(source), np.dtype(target)) == clips


@pytest.mark.parametrize("source", ["u1", "u2", "i2", "i4", "f2", "f4", "f8"])
@pytest.mark.parametrize("target", ["u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_values_keep_their_scale_in_any_type(source: str, target: str) -> None:
    rng = np.random.default_rng(1)
    original = rng.integers(0, 120, (9, 21, 2)).astype(source)
    values = (rng.random(original.shape) * 160 - 20).astype(np.float32)
    found, losses = stored(original, values, target)
    assert found.dtype == np.dtype(target)
    if found.dtype.kind == "f":
        assert np.allclose(found, values, atol=0.1 if target == "f2" else 1e-4)
        return
    limits = np.iinfo(found.dtype)
    expected = np.clip(np.rint(values.astype(np.float64)), limits.min, limits.max)
    assert np.abs(found.astype(np.float64) - expected).max() <= 1  # the last bit of a half
    assert np.mean(found == expected) > 0.99
    lowest, highest = limits_of(original.dtype)
    below = np.count_nonzero(np.rint(values) < limits.min) * (lowest < limits.min)
    above = np.count_nonzero(np.rint(values) > limits.max) * (highest > limits.max)
    assert abs(losses.clipped - below - above) <= 2


def test_nan_becomes_zero_in_integers_and_is_counted() -> None:
    original = np.full((4, 5, 1), 30, np.float32)
    original[1, 2] = np.nan
    original[2, 3] = np.inf
    found, losses = stored(original, np.full(original.shape, 40.4), "u2")
    assert found[1, 2, 0] == found[2, 3, 0] == 0 and losses == Losses(0, 2)
    assert np.count_nonzero(found == 40) == found.size - 2
    found, losses = stored(original, np.full(original.shape, 40.4), "f8")
    assert np.isnan(found[1, 2, 0]) and np.isinf(found[2, 3, 0]) and losses == Losses()


@pytest.mark.parametrize("target", ["u1", "i2", "f4", "f8"])
def test_nodata_stays_and_nothing_else_becomes_it(target: str) -> None:
    original = np.array([0, 0, 5, 6, 7, 8], np.uint16).reshape(1, 6, 1)
    values = np.array([9, 9, 0, -3, 0, 12], np.float32).reshape(1, 6, 1)
    found, _ = stored(original, values, target, nodata=0.0)
    assert (found[0, :2] == 0).all() and (found[0, 2:] != 0).all()
    assert np.abs(found[0, 2:] - np.maximum(values[0, 2:], -5)).max() <= 4


def test_nan_becomes_nodata_where_there_is_one() -> None:
    original = np.array([-9, np.nan, 5, 6], np.float32).reshape(1, 4, 1)
    found, losses = stored(original, np.full(original.shape, 40.0), "i2", nodata=-9.0)
    assert found.ravel().tolist() == [-9, -9, 40, 40] and losses == Losses()


def test_half_floats_do_not_become_infinite() -> None:
    original = np.full((2, 3, 1), 65000, np.float32)
    values = np.full(original.shape, 70_000.0)
    found, losses = stored(original, values, "f2")
    assert (found == np.finfo(np.float16).max).all() and losses.clipped == 6


def test_clipping_counts() -> None:
    values = np.array([-1.0, 0.0, 255.0, 256.0, 9e9])
    signed, wide, byte = (np.dtype(t) for t in (np.int16, np.uint16, np.uint8))
    assert clip_to(values.copy(), signed, byte) == 3
    assert clip_to(values.copy(), wide, byte) == 2
    assert clip_to(values, byte, byte) == 0
    assert values.tolist() == [0, 0, 255, 255, 255]


def test_opacity_is_full_scale_in_both_types() -> None:
    alpha = np.array([0, 1, 128, 255], np.uint8)
    assert opacity_as(alpha, np.dtype(np.uint16)).tolist() == [0, 257, 32896, 65535]
    back = opacity_as(opacity_as(alpha, np.dtype(np.uint16)), np.dtype(np.uint8))
    assert np.array_equal(back, alpha)


def note(dimness: Dimness, exact: np.ndarray) -> None:
    """Compare a row with what rounding makes of it."""
    parts = dimness.look(np.ones(exact.shape, np.uint16), NOTHING, None, 64)
    assert parts is not None
    dimness.note(parts, exact, np.rint(exact))


@pytest.mark.parametrize(
    ("mean", "spread", "told"),
    [
        (0.007, 0.001, -1.0),  # becomes 0
        (0.3, 0.05, -1.0),
        (1.4, 0.02, -0.29),
        (9.45, 0.01, -0.05),
        (9.5, 3.0, None),  # noise that is still there dithers
        (30.0, 0.1, None),
        (300.4, 0.1, None),  # a share that nobody minds
    ],
)
def test_a_level_whose_mean_rounding_moves_is_told(
    mean: float, spread: float, told: float | None
) -> None:
    rng = np.random.default_rng(0)
    found, other = Dimness(), Dimness()
    for part in (found, other):
        for _ in range(8):
            exact = rng.normal(mean, spread, (1, 512, 1))
            note(part, exact)
    found.add(other)
    if told is None:
        assert found.worst is None
    else:
        assert found.loses and found.worst is not None
        assert found.worst.mean == pytest.approx(mean, rel=0.05)
        assert (found.worst.share, found.worst.change) == (1, pytest.approx(told, abs=0.02))


def test_a_small_dim_part_is_not_spoken_of() -> None:
    found = Dimness()
    exact = np.full((1, 6400, 1), 50.0)
    exact[:, :128] = 0.3
    note(found, exact)
    assert not found.loses


@pytest.mark.parametrize(("mean", "told"), [(101.4, True), (98.6, False), (99.9, False)])
def test_counts_are_counted_from_the_dark_and_never_below_it(mean: float, told: bool) -> None:
    """A level below what no light gives says that this was not seen, not that light is lost."""
    rng = np.random.default_rng(0)
    found, dark = Dimness(), np.array([100.0])
    for _ in range(16):
        parts = found.look(np.full((1, 512, 1), 101, np.uint16), NOTHING, None, 64, dark)
        assert parts is not None
        exact = rng.normal(mean, 0.02, (1, 512, 1))
        found.note(parts, exact, np.rint(exact) if told else np.floor(exact + 0.49))
    assert (found.worst is not None) is told
