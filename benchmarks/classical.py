"""BM3D, CBM3D and non-local means as denoisers, and the noise level each is told.

Needs two packages that are not among the project's own, and neither is shipped with it. The package
bm3d is for non-commercial use only (its LICENSE).

    pip install --target SITE bm3d scikit-image
    PYTHONPATH=SITE python benchmarks/denoisers.py ...
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.train.noise_measure import Noise, measure_noise

Image = NDArray[np.float64]
"""Picture, (height, width, channels) on the scale 0 to 255."""

PATCH_PX, PATCH_STEP_PX = 8, 3
"""Side and distance of the patches that noise is estimated from."""
BLOCK_PX = 32
"""Side of the blocks whose mean and variance tell how noise depends on the signal."""
NLM_STRENGTH = 0.8
"""h as a multiple of sigma, as in scikit-image's example."""


def require() -> None:
    """End with one line where a package is missing."""
    try:
        import bm3d  # noqa: F401
        import skimage.restoration  # noqa: F401
    except ImportError as error:
        sys.exit(
            f"error: {error}; BM3D (non-commercial use only) and non-local means need "
            f"`pip install --target SITE bm3d scikit-image` and PYTHONPATH=SITE"
        )


def estimate_sigma(noisy: Image) -> float:
    """Standard deviation of white noise in an image, from nothing but the image.

    Source
    ------
    Chen, Zhu, Heng: An Efficient Statistical Method for Image Noise Level Estimation (2015),
    algorithm 1; it is what CBM3D is told in the papers that report it on CC15. Patches are taken
    in steps of PATCH_STEP_PX.
    """
    windows = np.lib.stride_tricks.sliding_window_view(noisy, (PATCH_PX, PATCH_PX), (0, 1))
    sampled = windows[::PATCH_STEP_PX, ::PATCH_STEP_PX]
    patches = sampled.reshape(-1, noisy.shape[2] * PATCH_PX**2)
    eigenvalues = np.linalg.eigvalsh(np.cov(patches, rowvar=False))[::-1]
    for i in range(len(eigenvalues)):
        rest = eigenvalues[i:]
        mean = rest.mean()
        if (rest > mean).sum() >= (rest < mean).sum():  # the mean has come down to the median
            return float(np.sqrt(max(mean, 0.0)))
    return 0.0


def bm3d(noisy: Image, sigma: float) -> Image:
    """BM3D of one channel, CBM3D of three; the package's usual profile."""
    import bm3d as package

    sigma = max(sigma, 1e-3)
    if noisy.shape[2] == 3:
        return np.asarray(package.bm3d_rgb(noisy / 255, sigma / 255) * 255, np.float64)
    restored = package.bm3d(noisy[..., 0] / 255, sigma / 255)
    return np.asarray(restored, np.float64).reshape(noisy.shape) * 255


def non_local_means(noisy: Image, sigma: float) -> Image:
    """scikit-image's fast mode with its own sizes of patch (7 px) and search (11 px)."""
    from skimage.restoration import denoise_nl_means

    scaled = noisy / 255
    restored = denoise_nl_means(
        scaled, h=NLM_STRENGTH * sigma / 255, sigma=sigma / 255, fast_mode=True, channel_axis=-1
    )
    return np.asarray(restored, np.float64).reshape(noisy.shape) * 255


def stabilised(noisy: Image, denoise: Callable[[Image, float], Image]) -> Image:
    """A method for white noise after the generalised Anscombe transform.

    variance = slope * value + offset is fitted to blocks of the image; where it does not grow with
    the value, the method is used plainly.
    """
    noise = _noise_of(noisy)
    if noise is None or noise.slope <= 0:
        return denoise(noisy, estimate_sigma(noisy))
    forward, inverse = anscombe(noise.slope, noise.offset)
    stable = forward(noisy)
    low, high = float(stable.min()), float(stable.max())
    scale = 255 / max(high - low, 1e-9)
    stretched = (stable - low) * scale
    return inverse(denoise(stretched, estimate_sigma(stretched)) / scale + low)


def _noise_of(noisy: Image) -> Noise | None:
    rows, columns = (n // BLOCK_PX for n in noisy.shape[:2])
    cut = noisy[: rows * BLOCK_PX, : columns * BLOCK_PX, 0]
    blocks = cut.reshape(rows, BLOCK_PX, columns, BLOCK_PX).transpose(0, 2, 1, 3)
    try:
        return measure_noise(blocks.reshape(-1, 1, BLOCK_PX, BLOCK_PX).astype(np.float32))
    except ImageError:
        return None


def anscombe(slope: float, offset: float) -> tuple[Callable[[Image], Image], ...]:
    """The transform to variance 1 and its inverse, for variance = slope * value + offset.

    Source
    ------
    Makitalo, Foi: Optimal Inversion of the Generalized Anscombe Transformation for
    Poisson-Gaussian Noise (2013), equation 2; inverse: the closed form of their equation 10.
    """
    shift = offset / slope**2

    def forward(values: Image) -> Image:
        return np.asarray(2 * np.sqrt(np.maximum(values / slope + 3 / 8 + shift, 0)))

    def inverse(stable: Image) -> Image:
        # The closed form grows without bound below the transform's smallest value of a mean 0.
        d = np.maximum(stable, 2 * np.sqrt(3 / 8))
        root = np.sqrt(3 / 2)
        counts = d**2 / 4 + root / (4 * d) - 11 / (8 * d**2) + 5 * root / (8 * d**3) - 1 / 8
        return np.asarray((counts - shift) * slope)

    return forward, inverse
