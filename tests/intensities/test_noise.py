"""Noise is told from what an image shows, on any kind of image, as it grows with the signal."""

import numpy as np
import pytest

from unetmm.intensities.image_noise import ImageNoise, survey_noise
from unetmm.intensities.noise import UNKNOWN, NoiseModel, measure_noise
from unetmm.intensities.validity import NoData

SIDE = 128


def scene(seed=0, low=0.1):
    """Smooth shapes with edges, 0.1 to 1.1."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    field = np.zeros((SIDE, SIDE))
    for _ in range(8):
        r = np.hypot(y - rng.uniform(0, SIDE), x - rng.uniform(0, SIDE))
        field = np.maximum(field, rng.uniform(0.3, 1) * (r < rng.uniform(10, 40)))
    return (low + field)[..., None]


def patches_of(make, count=8):
    return [make(scene(i), np.random.default_rng(100 + i)) for i in range(count)]


def single(patches, **options):
    (found,) = measure_noise(patches, **options)
    return found


@pytest.mark.parametrize("photons", [0.1, 0.5, 1, 3, 10, 100])
def test_a_count_is_worth_a_photon(photons):
    noise = single(patches_of(lambda s, rng: rng.poisson(photons * s).astype(np.uint16)))
    assert noise.gain == pytest.approx(1, abs=0.06)
    assert noise.intercept == pytest.approx(0, abs=0.05 * photons)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16, np.int16, np.int32])
def test_gain_read_noise_and_offset_are_those_of_the_detector(dtype):
    def make(s, rng):
        light = 4 * rng.poisson(100 * s) + rng.normal(0, 12, s.shape)
        return (light + (1000 if dtype == np.uint16 else -200)).round().astype(dtype)

    noise, offset = single(patches_of(make)), 1000 if dtype == np.uint16 else -200
    levels = np.array([offset + 40, offset + 400])
    assert noise.gain == pytest.approx(4, rel=0.1)
    assert noise.variance(levels) == pytest.approx(144 + 4 * (levels - offset), rel=0.1)
    assert noise.deviation(offset - 1e6) == pytest.approx(noise.read)


@pytest.mark.parametrize("sigma", [2.0, 25.0])
def test_noise_that_does_not_grow_has_no_gain(sigma):
    noise = single(patches_of(lambda s, rng: 200 * s + rng.normal(0, sigma, s.shape)))
    assert noise.gain == 0
    assert noise.read == pytest.approx(sigma, rel=0.05)


def test_edges_and_hot_pixels_are_no_noise():
    def make(s, rng):
        values = (1000 * s + rng.normal(0, 5, s.shape)).round()
        values[rng.random(s.shape) < 0.0005] = 60000
        values[:, 40] = 30000
        return values.astype(np.uint16)

    noise = single(patches_of(make))
    assert (noise.gain, noise.read) == (0, pytest.approx(5, rel=0.1))


def test_texture_of_bright_parts_is_no_growth():
    def make(s, rng):
        texture = s * np.sin(np.arange(SIDE) * 0.9)[None, :, None]
        return 200 * s + 40 * texture * (s > 0.5) + rng.normal(0, 4, s.shape)

    noise = single(patches_of(make))
    assert (noise.gain, noise.read) == (0, pytest.approx(4, rel=0.1))


def test_saturated_parts_do_not_count():
    def make(s, rng):
        return np.clip(300 * s + rng.normal(0, 20, s.shape), 0, 255).round().astype(np.uint8)

    noise = single(patches_of(make))
    assert noise.gain == 0
    assert noise.read == pytest.approx(20, rel=0.1)


def test_unmeasured_pixels_do_not_count():
    def clean(s, rng):
        return rng.poisson(50 * s).astype(np.float32)

    def holed(s, rng):
        values, r = clean(s, rng), np.random.default_rng(5)
        values[r.random(s.shape) < 0.002] = np.nan
        values[:40] = -9999
        return values

    given = [np.random.default_rng(6).random((SIDE, SIDE)) > 0.002] * 8
    found = single(patches_of(holed), nodata=NoData.of(-9999), masks=given)
    assert found.gain == pytest.approx(1, abs=0.05)
    nothing = [np.full((SIDE, SIDE, 1), np.nan, np.float32)]
    assert single(nothing) == UNKNOWN


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_constant_and_tiny_patches_tell_nothing(dtype):
    assert single([np.zeros((SIDE, SIDE, 1), dtype)] * 3) == UNKNOWN
    assert single([np.ones((5, 300, 1), dtype)]) == UNKNOWN


def test_every_sample_has_its_own_noise():
    def make(s, rng):
        return np.concatenate([rng.poisson(100 * s), 7 * rng.poisson(20 * s)], 2).astype(np.uint16)

    one, other = measure_noise(patches_of(make))
    assert one.gain == pytest.approx(1, abs=0.1)
    assert other.gain == pytest.approx(7, abs=0.7)


def test_smeared_noise_is_known_to_be_so():
    def make(s, rng):
        white = rng.normal(0, 20, (SIDE + 1, SIDE + 1, 1))
        smeared = (white[1:, 1:] + white[:-1, 1:] + white[1:, :-1] + white[:-1, :-1]) / 2
        return 200 * s + smeared

    assert single(patches_of(make)).correlation > 0.3
    assert single(patches_of(lambda s, rng: 200 * s + rng.normal(0, 20, s.shape))).correlation == 0


def test_extreme_numbers_are_borne():
    huge = [np.random.default_rng(0).normal(0, 1e37, (SIDE, SIDE, 1)).astype(np.float32)]
    assert single(huge).read == pytest.approx(1e37, rel=0.1)
    tiny = [np.random.default_rng(0).normal(0, 1e-30, (SIDE, SIDE, 1)).astype(np.float32)]
    assert single(tiny).read == pytest.approx(1e-30, rel=0.1)


def test_deviation_grows_as_its_square_root():
    noise = NoiseModel(2.0, 100.0, 3.0)
    assert noise.deviation(np.array([0.0, 100.0, 108.0])) == pytest.approx([3, 3, 5])
    assert noise.intercept == 9 - 200


def test_hot_pixels_in_half_of_the_blocks_are_no_noise() -> None:
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:256, :256]
    clean = 120 + 25 * np.sin(x / 21) * np.cos(y / 17)
    image = clean + rng.normal(0, 3, clean.shape)
    hot = rng.random(clean.shape) < 0.01
    image[hot] = rng.uniform(1000, 65535, hot.sum())
    (found,) = measure_noise([np.rint(image).astype(np.uint16)[..., None]])
    assert found.deviation(np.array(120.0)) == pytest.approx(3, rel=0.1)


def test_a_checkerboard_of_single_pixels_is_borne() -> None:
    y, x = np.mgrid[:64, :96]
    (found,) = measure_noise([((x + y) % 2 * 1000).astype(np.uint16)[..., None]])
    assert found.correlation == 0


def soft_cells(count: int, sigma: float, side: int = 256) -> np.ndarray:
    """So many soft cells anywhere, 0.05 to about 1."""
    rng = np.random.default_rng(count)
    cells = np.zeros((side, side))
    np.add.at(cells, tuple(rng.integers(0, side, (2, count))), rng.uniform(0.2, 1, count))
    f = np.fft.fftfreq(side) ** 2
    transfer = np.exp(-2 * (np.pi * sigma) ** 2 * np.add.outer(f, f))
    found = np.fft.ifft2(np.fft.fft2(cells) * transfer).real.clip(0)
    return 0.05 + found / found.max()


def smeared(shape: tuple[int, int], sigma_px: float) -> np.ndarray:
    """Noise of deviation 1, smeared by a Gaussian."""
    f = [np.fft.fftfreq(n) ** 2 for n in shape]
    transfer = np.exp(-2 * (np.pi * sigma_px) ** 2 * np.add.outer(*f))
    drawn = np.random.default_rng(7).normal(size=shape)
    found = np.fft.ifft2(np.fft.fft2(drawn) * transfer).real
    return found / found.std()


def surveyed(image: np.ndarray) -> ImageNoise:
    found = survey_noise([image[..., None]])
    assert found is not None
    return found


@pytest.mark.parametrize("sigma", [2.0, 3.0, 5.0])
@pytest.mark.parametrize("level", [3.0, 20.0])
def test_white_noise_is_told_where_soft_cells_are_everywhere(sigma: float, level: float) -> None:
    clean = 1000 * soft_cells(2500, sigma)
    noise = surveyed(clean + level * np.random.default_rng(1).normal(size=clean.shape))
    assert noise.level == pytest.approx(level, rel=0.1)
    assert noise.neighbours < 0.1
    assert noise.reach_px == (0, 0)


@pytest.mark.parametrize("photons", [100, 3000])
def test_photons_are_told_where_soft_cells_are_everywhere(photons: int) -> None:
    clean = photons * soft_cells(2500, 2.5)
    noise = surveyed(np.random.default_rng(1).poisson(clean).astype(np.uint16))
    assert noise.models[0].gain == pytest.approx(1, rel=0.15)
    assert noise.models[0].correlation == 0
    assert noise.is_white


def test_photons_of_a_few_soft_cells_are_told() -> None:
    clean = 3000 * soft_cells(60, 3.0)
    (noise,) = measure_noise([np.random.default_rng(1).poisson(clean).astype(np.uint16)[..., None]])
    assert noise.gain == pytest.approx(1, rel=0.15)


@pytest.mark.parametrize("count", [40, 2500])
@pytest.mark.parametrize("sigma_px", [0.7, 1.2])
def test_smeared_noise_is_not_taken_for_soft_cells(sigma_px: float, count: int) -> None:
    clean = 1000 * soft_cells(count, 4.0)
    noise = surveyed(clean + 40 * smeared(clean.shape, sigma_px))
    assert min(noise.reach_px) > 0
    assert noise.neighbours > 0.4


def test_rounding_below_smeared_noise_does_not_make_it_white() -> None:
    noise = surveyed(np.rint(100 + 3 * smeared((256, 256), 2.0)).astype(np.uint8))
    assert min(noise.reach_px) > 0


def test_infinite_values_have_no_warning_about_their_noise() -> None:
    values = np.array([np.inf, 1.0])
    assert NoiseModel(1.0, 0.0, 1.0).deviation(values)[1] == pytest.approx(2**0.5)
    assert NoiseModel(0.0, 0.0, 1.0).variance(values)[1] == 1


@pytest.mark.parametrize(("gain", "offset", "dark"), [(1.0, 0.0, 0.0), (2.2, 100.0, 100.0)])
def test_light_everywhere_is_no_offset_of_a_camera(gain: float, offset: float, dark: float) -> None:
    """Photons that are counted from 0 have their noise in the darkest place too."""
    light = NoiseModel(gain, offset + 2 * gain, np.sqrt(2) * gain)
    assert light.dark == pytest.approx(dark, abs=3 * gain if dark else 0)
