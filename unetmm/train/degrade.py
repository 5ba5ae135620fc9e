"""What happens to clean patches while training: they are blurred, reduced, and get noise."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unetmm.quality.bicubic import reduce_bicubic
from unetmm.train.blur import blur_patches
from unetmm.train.config import NoiseConfig
from unetmm.train.noise.camera import add_camera_noise
from unetmm.train.noise.micrograph import make_micrograph
from unetmm.train.noise.mixture import add_mixture

Patches = NDArray[np.float32]


def degrade(
    clean: Patches, noise: NoiseConfig, rng: np.random.Generator, output_scale: int = 1
) -> tuple[Patches, Patches]:
    """(b, c, h, w) in [0, 1] -> degraded patches and what a net should make of them.

    The target is `clean`, but for micrographs, which are blurred and stretched first, and for some
    kinds of a mixture, whose clean picture is resampled as its noise is. Where patches are blurred,
    both lose the blur's margin at their edges.

    output_scale: factor by which the net enlarges, so degraded patches are smaller by it.
    """
    if noise.blur is None and output_scale == 1:
        return add_all_noise(clean, noise, rng)
    sharp, seen = clean, clean
    if noise.blur is not None:
        inner = slice(noise.blur.margin_px, -noise.blur.margin_px)
        sharp = np.ascontiguousarray(clean[..., inner, inner])
        seen = np.ascontiguousarray(blur_patches(clean, noise.blur, rng)[..., inner, inner])
    if output_scale > 1:
        seen = _reduced(seen, output_scale, noise.averaged_share, rng)
    noisy, _ = add_all_noise(seen, noise, rng)
    return noisy, sharp


def _reduced(
    clean: Patches, scale: int, averaged_share: float, rng: np.random.Generator
) -> Patches:
    """Smaller patches: pixels of some are averages, as a sensor's are, the others bicubic."""
    small = reduce_bicubic(clean, scale)
    if averaged_share:
        b, c, h, w = small.shape
        averages = clean.reshape(b, c, h, scale, w, scale).mean((3, 5))
        is_averaged = rng.random((b, 1, 1, 1)) < averaged_share
        small = np.where(is_averaged, averages, small)
    # Bicubic reduction overshoots at edges, which no file holds.
    return np.clip(small, 0, 1)


def add_all_noise(
    clean: Patches, noise: NoiseConfig, rng: np.random.Generator
) -> tuple[Patches, Patches]:
    """(b, c, h, w) in [0, 1] -> noisy patches of the same size and their targets."""
    if noise.mixture is not None:
        noisy, target = add_mixture(clean, noise.mixture, rng)
    elif noise.camera is None and noise.micrograph is None:
        noisy, target = add_noise(clean, noise, rng), clean
    else:
        noisy, target = _mixed(clean, noise, rng)
    if noise.row_share:
        noisy = add_rows(noisy, noise, rng)
    if noise.impulse_share:
        noisy = add_impulses(noisy, noise, rng)
    if noise.rounded_share:
        rounded = rng.random((len(noisy), 1, 1, 1)) < noise.rounded_share
        noisy = np.where(rounded, np.rint(np.clip(noisy, 0, 1) * 255) / np.float32(255), noisy)
    return noisy, target


def _mixed(clean: Patches, noise: NoiseConfig, rng: np.random.Generator) -> tuple[Patches, Patches]:
    noisy, target = add_noise(clean, noise, rng), clean.copy()
    camera, micrograph = noise.camera, noise.micrograph
    camera_share = camera.share if camera else 0.0
    micrograph_share = micrograph.share if micrograph else 0.0
    for i, kind in enumerate(rng.random(len(clean))):
        if camera and kind < camera_share:
            noisy[i] = add_camera_noise(clean[i], camera, rng)
        elif micrograph and kind < camera_share + micrograph_share:
            noisy[i], target[i] = make_micrograph(clean[i], micrograph, rng)
    return noisy, target


def add_noise(clean: Patches, noise: NoiseConfig, rng: np.random.Generator) -> Patches:
    """(b, c, h, w) in [0, 1] -> the same with noise, not clipped; each sample has its own level.

    Gaussian: one sigma. Poisson-Gaussian: variance = gain * signal + sigma**2, drawn as a true
    Poisson count, with the gain chosen so that white has up to sigma_max of shot noise.
    """
    shape = (len(clean), 1, 1, 1)
    sigma_max = noise.sigma_max / 255
    sigma = rng.uniform(0, sigma_max, shape)
    is_poisson = rng.random(shape) < noise.poisson_share
    gain = rng.uniform(0.02 * sigma_max, sigma_max, shape) ** 2
    read_sigma = np.where(is_poisson, 0.4 * sigma, sigma).astype(np.float32)
    signal = clean.copy()
    for i in np.flatnonzero(is_poisson):  # counts take longest to draw
        signal[i] = gain[i] * rng.poisson(np.maximum(clean[i], 0) / gain[i])
    return signal + read_sigma * rng.standard_normal(clean.shape, np.float32)


def add_rows(patches: Patches, noise: NoiseConfig, rng: np.random.Generator) -> Patches:
    """A share of the samples with an offset for each row, or for each column."""
    b, _, h, w = patches.shape
    sigma = rng.uniform(0, noise.row_sigma_max / 255, (b, 1, 1, 1))
    sigma *= rng.random((b, 1, 1, 1)) < noise.row_share
    rows = rng.standard_normal((b, 1, h, 1)).astype(np.float32)
    columns = rng.standard_normal((b, 1, 1, w)).astype(np.float32)
    offsets = np.where(rng.random((b, 1, 1, 1)) < 0.5, rows, columns)
    return patches + (sigma * offsets).astype(np.float32)


def add_impulses(patches: Patches, noise: NoiseConfig, rng: np.random.Generator) -> Patches:
    """A share of the samples where single pixels, all channels of them, are black or white."""
    b, _, h, w = patches.shape
    density = rng.uniform(0, noise.impulse_density_max, (b, 1, 1, 1))
    density *= rng.random((b, 1, 1, 1)) < noise.impulse_share
    place, value = rng.random((b, 1, h, w)), rng.random((b, 1, h, w))
    return np.where(place < density, (value < 0.5).astype(np.float32), patches)
