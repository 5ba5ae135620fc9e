"""Counts go to a net on a square-root scale, where their noise is even, and come back unbiased."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from unetmm.errors import ShapeError
from unetmm.intensities.counts import (
    BlockMeans,
    Counting,
    block_means,
    check_transform,
    counted_scale,
    judge_counts,
    with_means_kept,
)
from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.range import SampleScale, ValueScale, normalise
from unetmm.intensities.stored import to_stored
from unetmm.intensities.validity import NOTHING

DETECTORS = [
    SampleScale(0.0, 50.0, 5.0, 1.0, 0.0),
    SampleScale(90.0, 5000.0, 200.0, 3.0, 36.0 - 300.0),
    SampleScale(-0.002, 0.9, 0.1, 0.004, 1e-5),
]


def scale_of(*samples: SampleScale) -> ValueScale:
    low, high = min(s.low for s in samples), max(s.high for s in samples)
    return ValueScale(low, high, samples[0].fill, samples=samples)


def seen(pixels: np.ndarray, scale: ValueScale, mask: np.ndarray | None = None) -> np.ndarray:
    out = np.empty(pixels.shape, np.float32)
    normalise(pixels, mask, scale, out)
    return out


def stored(
    answer: np.ndarray, original: np.ndarray, scale: ValueScale, dtype: str, strength: float = 1.0
) -> np.ndarray:
    out, room = np.empty(original.shape, dtype), np.empty(original.shape, np.float32)
    given = np.ascontiguousarray(answer, np.float32)
    to_stored(given, 0, original, scale, strength, NOTHING, None, room, out)
    return out


@pytest.mark.parametrize("detector", DETECTORS)
def test_ends_of_the_range_are_0_and_1(detector: SampleScale) -> None:
    ends = np.array([detector.low, detector.high]).reshape(1, 2, 1)
    for dtype in (np.float32, np.float64):
        found = seen(ends.astype(dtype), scale_of(detector))
        assert found.ravel() == pytest.approx([0, 1], abs=1e-4)
    assert detector.straight(float(detector.bent(np.float64(3e3)))) == pytest.approx(3e3)


@pytest.mark.parametrize("photons", [0.0, 0.1, 0.5, 1.0, 3.0, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize("detector", DETECTORS)
def test_what_is_even_comes_back_with_its_mean(detector: SampleScale, photons: float) -> None:
    """A perfect net gives the mean of the bent counts; that must become the mean of the counts."""
    rng = np.random.default_rng(int(photons * 10))
    read = max(0.0, detector.floor) ** 0.5 / detector.gain
    offset = -(detector.floor - (read * detector.gain) ** 2) / detector.gain
    light = rng.poisson(photons, (1000, 1000, 1)) + rng.normal(0, read, (1000, 1000, 1))
    counts = (offset + detector.gain * light).astype(np.float64)
    scale = scale_of(detector)
    answer = np.full((1, 1, 1), seen(counts, scale).mean(dtype=np.float64))
    (found,) = stored(answer, counts[:1, :1], scale, "float64").ravel()
    error = 4 * counts.std() / 1000 + 1e-6 + 0.04 * detector.gain * min(1, photons + read)
    assert found == pytest.approx(counts.mean(), abs=error)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "float32", "float64"])
def test_values_keep_their_type_and_strength_mixes(dtype: str) -> None:
    original = np.arange(0, 240, 10, dtype=dtype).reshape(4, 6, 1)
    scale = scale_of(SampleScale(0.0, 255.0, 9.0, 2.0, 5.0))
    answer = seen(original[::-1], scale)
    full = stored(answer, original, scale, dtype)
    assert full.dtype == dtype
    assert np.abs(full - original[::-1].astype(float)).max() < 1.5, "a quarter of a photon and less"
    np.testing.assert_array_equal(stored(answer, original, scale, dtype, 0.0), original)
    half = stored(answer, original, scale, "float64", 0.5)
    expected = (original.astype(float) + stored(answer, original, scale, "float64")) / 2
    assert half == pytest.approx(expected, abs=1e-3)


def test_samples_have_scales_of_their_own_and_unmeasured_pixels_the_fill() -> None:
    samples = DETECTORS[1], SampleScale(10.0, 20.0, 12.0), DETECTORS[0]
    pixels = np.random.default_rng(1).uniform(0, 40, (5, 7, 3)).astype(np.float32)
    mask = pixels[..., :1].repeat(3, -1) > 8
    found = seen(pixels, scale_of(*samples), mask)
    for i, sample in enumerate(samples):
        alone = sample.seen(pixels[..., i])
        alone[~mask[..., i]] = sample.seen(np.float64(sample.fill))
        assert found[..., i] == pytest.approx(alone, abs=2e-5)
    nan = np.where(mask, pixels, np.nan).astype(np.float32)
    back = stored(found, nan, scale_of(*samples), "float32")
    np.testing.assert_array_equal(np.isnan(back), ~mask)


def growing(gain: float = 1.0, **values: float) -> NoiseModel:
    return replace(NoiseModel(gain, 0.0, 0.1), **values)


COUNTS = np.random.default_rng(0).poisson(np.linspace(1, 60, 5000)).astype(np.uint16)


def test_a_hole_elsewhere_in_the_rows_changes_no_rounding() -> None:
    """Rows with a pixel that is not measured go another way; 9.499999999 is 9.5 to float32."""
    width = 0.1 * (1 - 1e-10)
    scale = ValueScale(0, width, 0, samples=(SampleScale(0, width, 0),))
    stored = np.full((2, 3, 1), 8, np.uint8)
    given = np.ones((2, 3), bool)
    made = []
    for hole in (False, True):
        given[1, 1] = not hole
        out, room = np.zeros_like(stored), np.zeros(stored.shape, np.float32)
        answer = np.full(stored.shape, 95, np.float32)
        to_stored(answer, 0, stored, scale, 1.0, NOTHING, given, room, out)
        made.append(out[0])
    np.testing.assert_array_equal(*made)


@pytest.mark.parametrize(
    ("noise", "values", "knows", "expected"),
    [
        (growing(), COUNTS, False, Counting(bend=True, keep_means=False)),
        (growing(), COUNTS // 2, False, Counting(bend=True, keep_means=True)),
        (growing(), COUNTS // 2, True, Counting(bend=False, keep_means=True)),
        (growing(), COUNTS, True, Counting()),
        (growing(correlation=0.4), COUNTS, False, Counting()),  # texture
        (growing(gain=0.0, read=4.0), COUNTS, False, Counting()),
        (growing(read=0.0), COUNTS, False, Counting()),  # speckle
        (growing(read=30.0), COUNTS, False, Counting()),  # reading hides the growth
        (growing(gain=1e-4), COUNTS, False, Counting()),  # hardly any noise
        (growing(), (COUNTS > 62).astype(np.uint16), False, Counting(keep_means=True)),
        (growing(), COUNTS * np.uint16(100), False, Counting()),  # many photons
        (growing(), COUNTS[:0], False, Counting()),
    ],
)
def test_what_counts_are(
    noise: NoiseModel, values: np.ndarray, knows: bool, expected: Counting
) -> None:
    assert judge_counts([noise], [values], "auto", knows) == expected
    assert not judge_counts([noise], [values], "none", knows)


def test_one_sample_without_growth_leaves_colours_as_they_are() -> None:
    noise, values = [growing(), growing(gain=0.0)], [COUNTS, COUNTS]
    assert not judge_counts(noise, values, "auto", knows_counts=False)
    assert judge_counts([growing()] * 2, values, "auto", knows_counts=False).bend


def test_anscombe_bends_whatever_grows() -> None:
    asked = judge_counts([growing(correlation=0.4)], [COUNTS], "anscombe", knows_counts=True)
    assert asked.bend
    assert not judge_counts([growing(gain=0.0)], [COUNTS], "anscombe", knows_counts=False)
    with pytest.raises(ShapeError, match="asked for transform 'log'; use one of auto, none"):
        check_transform("log")


def test_noise_of_few_counts_is_a_small_part_of_the_range() -> None:
    plain = ValueScale(0.0, 3.0, 0.5)
    scale = counted_scale(plain, [growing()], Counting(bend=True))
    assert scale.samples[0].width == pytest.approx(10)
    enough = counted_scale(plain, [growing(gain=0.001)], Counting(bend=True))
    assert (enough.low, enough.high) == pytest.approx((0.0, 3.0), abs=1e-6)


def test_answers_get_the_means_of_the_input() -> None:
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.2, 6, (40, 1)).repeat(32, 0).repeat(32, 1).reshape(-1, 32, 1)
    parts = [
        block_means(rng.poisson(light).astype(np.float32), (0.96 * light - 0.05), None)
        for light in truth.reshape(40, 32, 32, 1)
    ]
    scale = scale_of(SampleScale(0.0, 10.0, 1.0))
    (sample,) = with_means_kept(scale, [growing(read=0.0)], parts).samples
    lit = np.array([0.5, 3.0, 6.0])

    def moved(made: np.ndarray) -> np.ndarray:
        original = np.zeros((1, len(made), 1), np.float32)
        return stored(made[None, :, None] / 10, original, scale_of(sample), "float64").ravel()

    assert moved(0.96 * lit - 0.05) == pytest.approx(lit, rel=0.03)
    assert moved(np.array([900.0]))[0] == pytest.approx(900.3, abs=0.15), "nothing is known there"


def test_blocks_with_unmeasured_pixels_are_not_compared() -> None:
    pixels, mask = np.ones((64, 96, 2)), np.ones((64, 96, 2), bool)
    mask[40, 50, 1] = False
    found = block_means(pixels, pixels.astype(np.float32), mask)
    assert found.before.shape == (5, 2)
    nothing = BlockMeans(np.zeros((0, 1)), np.zeros((0, 1)))
    scale = scale_of(SampleScale(0.0, 10.0, 1.0))
    assert with_means_kept(scale, [growing()], [nothing]).samples == scale.samples
