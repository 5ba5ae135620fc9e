"""How far an image is from its reference: PSNR and SSIM as the field measures them, affine fit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError

LUMA = np.array([0.298936, 0.587043, 0.114021], np.float32)
"""MATLAB's rgb2gray, which the field's grey test sets were made with."""

PEAK = 255.0
"""Full range of 8-bit images."""
WINDOW_PX = 11
"""Side of SSIM's Gaussian window."""
WINDOW_SIGMA_PX = 1.5
K1, K2 = 0.01, 0.03
"""SSIM's constants, as fractions of the peak."""


def psnr(reference: NDArray[Any], image: NDArray[Any], peak: float = PEAK) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels; inf where nothing differs.

    Raises
    ------
    ShapeError
        If the shapes differ.
    """
    _check_shapes(reference, image)
    error = np.mean(np.square(reference.astype(np.float64) - image))
    return float(10 * np.log10(peak**2 / error)) if error else float("inf")


def ssim(reference: NDArray[Any], image: NDArray[Any], peak: float = PEAK) -> float:
    """Mean structural similarity of two images (height, width) or (height, width, channels).

    The mean is over all places where the window lies inside the image, then over channels.

    Raises
    ------
    ShapeError
        If the shapes differ, or a side is shorter than the window.

    Source
    ------
    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment: From Error Visibility to Structural
    Similarity (2004), section III; without the authors' later reduction of large images.
    """
    _check_shapes(reference, image)
    if min(reference.shape[:2]) < WINDOW_PX:
        raise ShapeError(
            f"SSIM takes images of at least {WINDOW_PX} x {WINDOW_PX} px, found "
            f"{reference.shape[0]} x {reference.shape[1]}"
        )
    x = np.atleast_3d(reference.astype(np.float64))
    y = np.atleast_3d(image.astype(np.float64))
    channels = range(x.shape[2])
    # One channel at a time, laid out anew: its maps are contiguous and stay in cache.
    return float(np.mean([_ssim_plane(x[..., c].copy(), y[..., c].copy(), peak) for c in channels]))


def _ssim_plane(x: NDArray[np.float64], y: NDArray[np.float64], peak: float) -> float:
    c1, c2 = (K1 * peak) ** 2, (K2 * peak) ** 2
    mean_x, mean_y = _blur(x), _blur(y)
    means, squares = mean_x * mean_y, mean_x**2 + mean_y**2
    covariance = _blur(x * y) - means
    variances = _blur(x * x + y * y) - squares
    similarity = (2 * means + c1) * (2 * covariance + c2) / ((squares + c1) * (variances + c2))
    return float(similarity.mean())


def gaussian_window() -> NDArray[np.float64]:
    """One axis of SSIM's window, (WINDOW_PX,), sum 1."""
    offsets = np.arange(WINDOW_PX) - WINDOW_PX // 2
    weights = np.exp(-(offsets**2) / (2 * WINDOW_SIGMA_PX**2))
    return np.asarray(weights / weights.sum())


def _blur(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """(h, w) -> (h - 10, w - 10): the mean below the window at each place inside the plane."""
    return _blur_rows(_blur_rows(plane).T).T


def _blur_rows(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """(h, w) -> (h - 10, w): the mean below the window, along the first axis only."""
    rows = len(plane) - WINDOW_PX + 1
    window = gaussian_window()
    out: NDArray[np.float64] = window[0] * plane[:rows]
    term = np.empty_like(out)
    for i, weight in enumerate(window[1:], start=1):
        out += np.multiply(plane[i : i + rows], weight, out=term)
    return out


def fit_affine(clean: NDArray[Any], noisy: NDArray[Any]) -> tuple[float, float]:
    """(gain, offset) so that gain * clean + offset is nearest to `noisy` in least squares.

    Pixels where either image reaches the top of its integer type are left out: they are saturated.
    Zeros stay, as a dim micrograph is mostly zeros and means them.
    """
    inside = ~(_saturated(clean) | _saturated(noisy))
    x, y = clean[inside].astype(np.float64), noisy[inside].astype(np.float64)
    if not x.size:
        return 1.0, 0.0
    centred = x - x.mean()
    spread = float(centred @ centred)
    gain = float(centred @ (y - y.mean())) / spread if spread else 0.0
    return gain, float(y.mean() - gain * x.mean())


def _saturated(image: NDArray[Any]) -> NDArray[np.bool_]:
    top = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else np.inf
    return np.asarray(image == top)


def _check_shapes(reference: NDArray[Any], image: NDArray[Any]) -> None:
    if reference.shape != image.shape:
        raise ShapeError(
            f"only images of one shape can be compared, found {reference.shape} and {image.shape}"
        )
