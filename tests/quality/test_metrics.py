"""PSNR and SSIM against definitions written out the slow way."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.quality.metrics import fit_affine, gaussian_window, psnr, ssim

RNG = np.random.default_rng(5)
CLEAN = RNG.integers(0, 256, (17, 23, 3)).astype(np.float64)
NOISY = CLEAN + RNG.normal(0, 25, CLEAN.shape)


def direct_ssim(x: NDArray[np.float64], y: NDArray[np.float64], peak: float) -> float:
    """The definition, window by window, with weighted central moments."""
    offsets = np.arange(11) - 5
    weights = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    found = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            for c in range(x.shape[2]):
                a, b = x[i : i + 11, j : j + 11, c], y[i : i + 11, j : j + 11, c]
                mean_a, mean_b = (weights * a).sum(), (weights * b).sum()
                variance_a = (weights * (a - mean_a) ** 2).sum()
                variance_b = (weights * (b - mean_b) ** 2).sum()
                covariance = (weights * (a - mean_a) * (b - mean_b)).sum()
                luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
                found.append(luminance * (2 * covariance + c2) / (variance_a + variance_b + c2))
    return float(np.mean(found))


@pytest.mark.parametrize("peak", [255.0, 1.0], ids=["8-bit peak", "constants of another peak"])
def test_ssim_is_the_mean_of_its_definition(peak: float) -> None:
    assert ssim(CLEAN, NOISY, peak) == pytest.approx(direct_ssim(CLEAN, NOISY, peak), abs=1e-12)


def test_ssim_of_a_plane_is_that_of_its_only_channel() -> None:
    assert ssim(CLEAN[..., 0], NOISY[..., 0]) == ssim(CLEAN[..., :1], NOISY[..., :1])


def test_ssim_of_equal_images_is_1() -> None:
    assert ssim(CLEAN, CLEAN) == pytest.approx(1, abs=1e-12)


def test_ssim_window_sums_to_1_and_is_symmetric() -> None:
    window = gaussian_window()
    assert window.sum() == pytest.approx(1)
    np.testing.assert_array_equal(window, window[::-1])


def test_ssim_refuses_an_image_below_its_window() -> None:
    with pytest.raises(ShapeError, match="at least 11 x 11 px, found 10 x 23"):
        ssim(CLEAN[:10], NOISY[:10])


def test_psnr_pools_the_error_over_channels() -> None:
    image = CLEAN.copy()
    image[..., 0] += 3
    assert psnr(CLEAN, image) == pytest.approx(10 * np.log10(255**2 / (9 / 3)))
    assert psnr(CLEAN, image, 1000) == pytest.approx(10 * np.log10(1000**2 / 3))


def test_psnr_of_unsigned_images_does_not_wrap_around() -> None:
    black, white = np.zeros((2, 2), np.uint8), np.full((2, 2), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == pytest.approx(0)
    assert psnr(white, white) == float("inf")


def test_metrics_refuse_other_shapes() -> None:
    for metric in (psnr, ssim):
        with pytest.raises(ShapeError, match=r"found \(17, 23, 3\) and \(17, 22, 3\)"):
            metric(CLEAN, NOISY[:, :-1])


def test_affine_fit_finds_gain_and_offset() -> None:
    assert fit_affine(CLEAN, 0.25 * CLEAN + 40) == pytest.approx((0.25, 40))


def test_affine_fit_leaves_saturated_pixels_out() -> None:
    clean = np.arange(100, dtype=np.uint8)
    noisy = np.minimum(4 * np.arange(100) + 60, 255).astype(np.uint8)
    assert fit_affine(clean, noisy) == pytest.approx((4, 60))
    clean[5] = 255
    assert fit_affine(clean, noisy) == pytest.approx((4, 60))


def test_affine_fit_keeps_the_zeros_of_a_dim_image() -> None:
    clean = np.tile(np.arange(1, 201, dtype=np.uint8), 500)
    noisy = np.random.default_rng(6).poisson(clean / 100).astype(np.uint8)
    assert fit_affine(clean, noisy) == pytest.approx((0.01, 0), abs=0.005)


FLAT = [
    ("flat clean image: only the mean is fitted", np.ones(3), np.array([1.0, 2, 6]), (0, 3)),
    ("nothing but saturated pixels", np.arange(3.0), np.full(3, 255, np.uint8), (1, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("note", "clean", "noisy", "expected"), FLAT, ids=[f[0] for f in FLAT])
def test_affine_fit_without_a_slope(
    note: str, clean: NDArray[np.float64], noisy: NDArray[np.float64], expected: tuple[float, float]
) -> None:
    assert fit_affine(clean, noisy) == pytest.approx(expected)
