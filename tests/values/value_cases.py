"""Images that once lost values, made by code, each with its truth.

All are seeded. A field holds soft round cells with some texture, as a microscope or a camera that
resolves about 1 px shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import unetmm

Values = NDArray[np.float64]


class Case(NamedTuple):
    """An image and its truth."""

    image: NDArray[Any]
    """Values as stored."""
    truth: Values
    """Values without noise, on the same scale."""


def rms(errors: Values) -> float:
    return float(np.sqrt(np.mean(np.square(errors))))


def psnr(found: NDArray[Any], truth: Values, where: NDArray[np.bool_]) -> float:
    """In dB, by the range of the truth, over some pixels."""
    return float(20 * np.log10(np.ptp(truth) / rms((found - truth)[where])))


def restored(image: NDArray[Any], **asked: Any) -> Values:
    """What a user of the library gets, as float64."""
    found = unetmm.restore(image, **asked)
    return np.asarray(found, np.float64)


def blurred(values: Values, sigma_px: float) -> Values:
    """A Gaussian blur of a periodic field."""
    spectrum = np.fft.rfft2(values)
    y, x = np.fft.fftfreq(values.shape[0])[:, None], np.fft.rfftfreq(values.shape[1])
    spectrum *= np.exp(-2 * (np.pi * sigma_px) ** 2 * (y**2 + x**2))
    return np.fft.irfft2(spectrum, values.shape)


def disc(shape: tuple[int, int], centre: tuple[float, float], radius_px: float) -> Values:
    """1 inside a disc, 0 outside, with a soft edge."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    distance = np.hypot(y - centre[0], x - centre[1])
    return 1 / (1 + np.exp(np.clip((distance - radius_px) / 1.2, -50, 50)))


@cache
def field(side_px: int, seed: int, cells: int = 40) -> Values:
    """Overlapping textured cells of various brightness, 0 to 1; not to be changed."""
    rng = np.random.default_rng(seed)
    shape = (side_px, side_px)
    values = np.zeros(shape)
    for _ in range(cells):
        centre, radius = rng.uniform(0, side_px, 2), rng.uniform(6, 18)
        values = np.maximum(values, rng.uniform(0.3, 1) * disc(shape, tuple(centre), radius))
    texture = blurred(rng.normal(size=shape), 2)
    return np.clip(values * (1 + 0.3 * texture / np.abs(texture).max()), 0, 1)


def spots(
    shape: tuple[int, int], centres: Sequence[Any], fluxes: Sequence[float], sigma_px: float
) -> Values:
    """Point sources of some peak values."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    values = np.zeros(shape)
    for (cy, cx), flux in zip(centres, fluxes, strict=True):
        values += flux * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / (2 * sigma_px**2))
    return values


def as_uint16(values: Values) -> NDArray[np.uint16]:
    return np.clip(np.rint(values), 0, 65535).astype(np.uint16)


def sparse(amplitude: float) -> Case:
    """Four bright cells on 0.4 % of a flat background of 105 with a read noise of 2."""
    rng = np.random.default_rng(5)
    shape = (768, 768)
    cells = np.zeros(shape)
    for centre in ((200, 210), (230, 240), (600, 610), (440, 130)):
        cells = np.maximum(cells, disc(shape, centre, 14))
    texture = blurred(rng.normal(size=shape), 1.2)
    truth = 105 + amplitude * cells * np.clip(1 + 0.25 * texture / texture.std(), 0, None)
    return Case(as_uint16(rng.poisson(truth - 100) + rng.normal(100, 2, shape)), truth)


STARS_PX = [(40 + 60 * (i // 8), 40 + 60 * (i % 8)) for i in range(64)]
STAR_PEAKS = [10 ** (2 + i * 2.7 / 63) for i in range(64)]


def crowded(share: float, amplitude: float = 3000) -> Case:
    """Photons of bright cells on such a share of the area, on a ground of 10."""
    rng = np.random.default_rng(7)
    shape = 480, 480
    cells = np.zeros(shape)
    while cells.mean() < share:
        cells = np.maximum(cells, disc(shape, tuple(rng.uniform(20, 460, 2)), 22))
    truth = 10 + amplitude * cells
    return Case(rng.poisson(truth).astype(np.uint16), truth)


def saturated(level: int = 4095) -> Case:
    """Cells some of which exceed what a sensor of 12 bits holds."""
    truth = 120 + 6000 * field(512, 9)
    rng = np.random.default_rng(2)
    noisy = rng.poisson(truth - 100) + rng.normal(100, 5, truth.shape)
    return Case(np.clip(np.round(noisy), 0, level).astype(np.uint16), np.minimum(truth, level))


def stars(sigma_px: float = 1.1) -> Case:
    """64 stars over nearly three decades on a sky of 1000."""
    rng = np.random.default_rng(7)
    shape = (512, 512)
    truth = 1000 + spots(shape, STARS_PX, STAR_PEAKS, sigma_px)
    return Case(as_uint16(rng.poisson(truth) + rng.normal(0, 12, shape)), truth)


def molecules() -> Case:
    """Single molecules after a camera's pedestal was taken off: most of the sky is 0."""
    rng = np.random.default_rng(8)
    shape = (384, 384)
    truth = spots(shape, rng.uniform(30, 350, (12, 2)), [400] * 12, 1.3)
    return Case(as_uint16(rng.poisson(truth + 20) - 20.0), truth)


def ships() -> Case:
    """Radar amplitude of 4.4 looks with ships of 2 x 3 px."""
    rng = np.random.default_rng(9)
    shape = (384, 384)
    waves = blurred(rng.normal(size=shape), 12)
    truth = np.clip(180 + 40 * waves / waves.std(), 60, 300)
    image = np.sqrt(truth**2 * rng.gamma(4.4, 1 / 4.4, shape))
    for _ in range(20):
        y, x = rng.integers(20, 360, 2)
        echo = 10 ** rng.uniform(3.3, 4.4)
        image[y : y + 2, x : x + 3] += echo
        truth[y : y + 2, x : x + 3] += echo
    return Case(as_uint16(image), truth)


def hot_pixels(value: int | None) -> Case:
    """A field of 100 to 300 photons, of which one pixel in 5000 has the same hot value."""
    truth = 100 + 200 * field(384, 3)
    image = np.random.default_rng(1).poisson(truth).astype(np.uint16)
    if value is not None:
        image[hot_places(truth.shape)] = value
    return Case(image, truth)


def hot_places(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return np.random.default_rng(2).random(shape) < 0.0002


def hot_columns() -> Case:
    """The same field with two hot columns."""
    case = hot_pixels(None)
    case.image[:, [100, 277]] = 20000
    return case


def bead() -> Case:
    """The same field with one bright bead, which optics have made."""
    truth = 100 + 200 * field(384, 3)
    truth += spots(truth.shape, [(192, 192)], [30000], 2)
    return Case(np.random.default_rng(1).poisson(truth).astype(np.uint16), truth)


def photons(mean: float, dtype: type) -> Case:
    """A field of 0.1 to 1.1 times `mean` photons a pixel."""
    truth = mean * (0.1 + field(384, 11))
    noisy = np.random.default_rng(int(mean * 100)).poisson(truth)
    return Case(noisy.astype(dtype), truth)


def dark_bytes(bright: float = 0) -> Case:
    """A field of 2 to 42 of 255 with noise of 2, and a cell that is brighter by `bright`."""
    truth = 2 + 40 * field(384, 11) + bright * disc((384, 384), (200, 210), 14)
    noisy = truth + np.random.default_rng(6).normal(0, 2, truth.shape)
    return Case(np.clip(np.rint(noisy), 0, 255).astype(np.uint8), truth)


def unequal_colours() -> Case:
    """16-bit RGB whose channels differ by factors."""
    rng = np.random.default_rng(4)
    truth = np.stack([100 + a * field(320, 20 + i) for i, a in enumerate((20000, 600, 60))], -1)
    return Case(as_uint16(rng.poisson(truth).astype(np.float64)), truth)


def sun() -> Case:
    """A linear float scene of 0 to 0.5 with a sun of 2000."""
    rng = np.random.default_rng(5)
    truth = 0.02 + 0.5 * np.stack([field(320, 40 + i, cells=80) for i in range(3)], -1)
    truth[40:60, 200:220] = 2000
    noise = rng.normal(0, 0.02, truth.shape) * np.sqrt(truth + 0.05)
    return Case((truth + noise).astype(np.float32), truth)


def underexposed() -> Case:
    """A dark linear 16-bit scene with a few highlights."""
    rng = np.random.default_rng(6)
    scene = 0.02 + 0.5 * np.stack([field(320, 40 + i, cells=80) for i in range(3)], -1)
    truth = np.clip(scene * 0.1 + (scene > 0.5), 0, 1)
    noisy = rng.poisson(truth * 8000) / 8000 + rng.normal(0, 0.0015, truth.shape)
    return Case(as_uint16(noisy * 65535), truth * 65535)


def each(cases: Sequence[Any], run: Callable[[Any], Any]) -> dict[Any, Any]:
    return {case: run(case) for case in cases}
