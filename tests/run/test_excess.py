"""Bright content beyond the base range: the same bytes for every cut, and no harm beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers import SMALL_UNETMM, compiled, frozen_attention

from unetmm.calibrate.calibration import Calibration, ChannelStatistics
from unetmm.engine.cpu.net import CpuNet
from unetmm.engine.layouts import make_layout
from unetmm.geometry import split_axis
from unetmm.intensities.brackets import LARGEST, box_px
from unetmm.io.array import ArraySink, ArraySource, array_info
from unetmm.models.groups import sample_groups
from unetmm.plan.memory import Terms
from unetmm.plan.types import Plan
from unetmm.run.job import Job
from unetmm.run.scheduler import run

MONO = replace(SMALL_UNETMM, in_channels=1, out_channels=1)
CUTS = [
    {"band": 4},
    {"band": 32, "strips": 3},
    {"band": 8, "segments": 4, "workers": 2},
    {"band": 16, "strips": 2, "segments": 2, "threads": 3},
]


def image(dtype: str = "uint16") -> np.ndarray:
    """A noisy field of 100 to 200 with bright spots on seams, corners and edges."""
    rng = np.random.default_rng(5)
    pixels = rng.normal(150, 15, (301, 277))
    for y, x in ((0, 0), (300, 276), (75, 92), (150, 138), (128, 128), (127, 185), (226, 5)):
        pixels[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] += rng.uniform(300, 20000)
    for y, x in ((40, 60), (150, 196), (127, 97), (226, 30), (300, 140), (96, 0), (190, 276)):
        near = np.s_[max(0, y - 12) : y + 13, max(0, x - 9) : x + 10]
        pixels[near] += rng.uniform(300, 20000)
        pixels[near] *= rng.normal(1, 0.1, pixels[near].shape)
    return pixels.clip(0, 65535).astype(dtype)


def restored(
    pixels: np.ndarray,
    config=MONO,
    band: int = 16,
    strips: int = 1,
    segments: int = 1,
    workers: int = 1,
    threads: int = 1,
    kernels: bool = True,
    removes_noise: bool = True,
) -> tuple[np.ndarray, Job]:
    """`pixels` through the run of a hand-made plan."""
    info = array_info(pixels.shape, pixels.dtype, "YX" if pixels.ndim == 2 else "YXS")
    layout, stride = make_layout(config, band), config.stride_px
    cut = [
        tuple(split_axis(n, parts, stride, layout.halo_px, stride))
        for n, parts in ((info.width, strips), (info.height, segments))
    ]
    nothing = Terms(*[0] * 9)
    plan = Plan(
        "lively", band, workers, *cut, 1, layout.halo_px, layout.lag_rows, nothing, 0, 0.0, threads
    )
    statistics = ChannelStatistics(100.0, 200.0, 150.0, frozen_attention(config))
    groups = sample_groups(config, info)
    out = np.zeros_like(pixels)
    net = compiled(config)
    job = Job(
        ArraySource(pixels, info), ArraySink(out, info, stride), CpuNet(net), groups,
        Calibration("lively", {f"0.{g}": statistics for g in range(len(groups))}), plan,
        kernels=net if kernels else None, removes_noise=removes_noise,
    )  # fmt: skip
    run(job)
    return out, job


@pytest.mark.parametrize("cut", CUTS)
def test_bright_spots_are_the_same_for_every_cut(cut: dict[str, int]) -> None:
    pixels = image()
    expected, job = restored(pixels)
    assert sum(job.excess.rungs) > 300
    found, _ = restored(pixels, **cut)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("cut", CUTS)
def test_what_is_sharpened_is_the_same_for_every_cut(cut: dict[str, int]) -> None:
    pixels = image()
    expected, job = restored(pixels, removes_noise=False)
    denoised, _ = restored(pixels)
    assert sum(job.excess.rungs) > 300
    broad = np.s_[145:155, 190:200]
    assert np.abs(expected[broad].astype(float) - pixels[broad]).mean() > 10
    assert not np.array_equal(expected[broad], denoised[broad])
    found, _ = restored(pixels, **cut, removes_noise=False)
    np.testing.assert_array_equal(found, expected)


def test_colours_are_the_same_for_every_cut() -> None:
    pixels = np.stack([image(), image() // 2, image()[::-1]], -1).astype(np.float32)
    expected, _ = restored(pixels, SMALL_UNETMM)
    found, _ = restored(pixels, SMALL_UNETMM, band=8, strips=2, segments=3)
    np.testing.assert_array_equal(found, expected)


def test_without_excess_the_bytes_are_as_before() -> None:
    pixels = image().clip(60, 240)
    plain, _ = restored(pixels, kernels=False)
    found, job = restored(pixels)
    np.testing.assert_array_equal(found, plain)
    assert not any(job.excess.rungs)


def test_pixels_away_from_excess_do_not_change() -> None:
    """Nothing but the clipping reaches a net's receptive field, and that only where it clips."""
    pixels = np.full((200, 200), 150, np.uint16)
    pixels[100, 100] = 60000
    plain = pixels.copy()
    plain[100, 100] = 300  # where the base range is clipped
    a, b = restored(pixels)[0], restored(plain)[0]
    same = np.ones(pixels.shape, bool)
    same[90:111, 90:111] = False
    np.testing.assert_array_equal(a[same], b[same])


def test_values_beyond_all_rungs_stay_and_warn(caplog: pytest.LogCaptureFixture) -> None:
    pixels = image("float32").clip(60, 240)
    pixels[40:60, 200:230] = 9.97e36
    pixels[200:210, 20:30] = -1e30
    far = np.abs(pixels) > 100 * LARGEST
    found, _ = restored(pixels, strips=2)
    np.testing.assert_array_equal(found[far], pixels[far])
    assert np.abs(found[~far]).max() < 2000
    assert [r.message for r in caplog.records if "missing measurements" in r.message].__len__() == 1


def test_an_image_smaller_than_a_box() -> None:
    pixels = image()[:19, :23]
    assert max(pixels.shape) < box_px(MONO.stride_px)
    found, _ = restored(pixels)
    again, _ = restored(pixels, band=4, segments=2, strips=2)
    np.testing.assert_array_equal(found, again)


def test_small_spots_stay_as_stored_and_no_cell_is_restored_for_them() -> None:
    pixels = np.random.default_rng(3).normal(150, 15, (200, 220))
    spots = np.zeros(pixels.shape, bool)
    for y in range(5, 200, 12):
        spots[y : y + 5, 7:210:9] = spots[y : y + 5, 9:210:9] = True
    pixels[spots] += 5000
    pixels = pixels.astype(np.uint16)
    found, job = restored(pixels, strips=2)
    np.testing.assert_array_equal(found[spots], pixels[spots])
    assert not any(job.excess.rungs)
    assert job.excess.stored_px == spots.sum()
