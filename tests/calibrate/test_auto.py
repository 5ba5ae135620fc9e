"""The model is chosen by the image's noise, and by nothing else."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

import unetmm
from unetmm.calibrate.auto import ChoiceTerms, Contest, _decide, choose_model
from unetmm.calibrate.risk import Bench, Judged
from unetmm.engine.choice import pick_engine
from unetmm.engine.cpu.compiled import CompiledNet
from unetmm.engine.cpu.net import CpuNet
from unetmm.intensities.image_noise import ImageNoise, in_words, survey_noise
from unetmm.intensities.noise import NoiseModel
from unetmm.intensities.smear import NO_SMEAR, measure_smear
from unetmm.io.array import ArraySource, array_info
from unetmm.models.choice import ModelChoice
from unetmm.models.weights import Model, load_model
from unetmm.options import Options
from unetmm.run.of_array import restore_array

Image = NDArray[Any]


@cache
def fold_named(name: str) -> CompiledNet:
    model, engine = load_model(name), pick_engine("cpu", "fp32")
    return cast("CpuNet", engine.fold(model.config, model.tensors)).compiled


def fold(model: Model) -> CompiledNet:
    return fold_named(model.name)


@cache
def picture(channels: int, side_px: int = 200) -> NDArray[np.float64]:
    """A clean picture of discs of all sizes on a slope, (height, width, channels), 20 to 235."""
    rng = np.random.default_rng(3)
    rows, columns = np.mgrid[:side_px, :side_px]
    found = np.repeat((60 + 80 * rows / side_px)[..., None], channels, 2)
    for _ in range(60):
        y, x, radius = rng.uniform((0, 0, 3), (side_px, side_px, 30))
        inside = (rows - y) ** 2 + (columns - x) ** 2 < radius**2
        found[inside] = rng.uniform(40, 215) + rng.uniform(-20, 20, channels)
    return found


def noise(shape: tuple[int, ...], sigma: float, smear: tuple[int, int] = (1, 1)) -> Image:
    """White noise, or noise smeared by a moving mean of so many rows and columns."""
    drawn = np.random.default_rng(1).standard_normal(shape)
    for axis, length in enumerate(smear):
        drawn = np.mean([np.roll(drawn, i, axis) for i in range(length)], axis=0)
    return np.asarray(sigma * drawn / drawn.std())


def as_bytes(image: Image) -> Image:
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def chosen(image: Image, axes: str | None = None, cores: int = 0) -> ModelChoice:
    source = ArraySource(image, array_info(image.shape, image.dtype, axes))
    return choose_model(source, fold, ChoiceTerms(cores=cores))[1]


def loss_db(image: Image, clean: Image, choice: ModelChoice) -> float:
    """What the choice costs against the best of the candidates."""
    errors = {
        name: np.mean((restore_array(image, Options(model=name, dtype="float32")) - clean) ** 2)
        for name, _ in choice.errors
    }
    return float(10 * np.log10(errors[choice.model] / min(errors.values())))


@pytest.mark.parametrize("sigma", [10, 25, 50])
@pytest.mark.parametrize(("channels", "white"), [(1, "tiny-mono"), (3, "tiny-rgb")])
def test_white_noise_gets_the_net_for_white_noise(sigma: int, channels: int, white: str) -> None:
    clean = picture(channels)
    image = as_bytes(clean + noise(clean.shape, sigma)).squeeze()
    found = chosen(image)
    assert found.model == white
    assert "independent" in found.reason
    assert loss_db(image, clean.squeeze(), found) < 0.1


@pytest.mark.parametrize(
    ("channels", "white", "smear"),
    [(3, "tiny-rgb", (2, 2)), (1, "tiny-mono", (1, 2))],
)
def test_smeared_noise_gets_a_net_that_knows_it(
    channels: int, white: str, smear: tuple[int, int]
) -> None:
    clean = picture(channels)
    image = as_bytes(clean + noise(clean.shape, 20, smear)).squeeze()
    found = chosen(image)
    assert found.model != white
    assert loss_db(image, clean.squeeze(), found) < 0.1
    assert "smeared over 2 px" in found.noise


def texture(channels: int, side_px: int = 400) -> NDArray[np.float64]:
    """Texture that is nowhere flat, as of a forest: contrast 4, the same in all channels."""
    drawn = np.random.default_rng(4).standard_normal((side_px, side_px))
    frequency = np.hypot(np.fft.fftfreq(side_px)[:, None], np.fft.rfftfreq(side_px))
    frequency[0, 0] = 1
    found = np.fft.irfft2(np.fft.rfft2(drawn) / frequency, drawn.shape)
    return np.stack([60 + 30 * i + 4 * found / found.std() for i in range(channels)], -1)


@pytest.mark.parametrize(("channels", "white"), [(1, "tiny-mono"), (3, "tiny-rgb")])
def test_fine_texture_is_not_taken_for_smeared_noise(channels: int, white: str) -> None:
    clean = texture(channels)
    image = as_bytes(clean + noise(clean.shape, 0.7))
    clean, image = clean.squeeze(), image.squeeze()
    found = chosen(image)
    assert found.model == white
    assert "texture" in found.noise
    assert "texture" in found.reason or "no model finds much noise" in found.reason
    assert loss_db(image, clean, found) < 1.2  # 0 of colours; all nets take some of it for noise


@pytest.mark.parametrize("side_px", [2, 3, 5])
def test_a_regular_pattern_is_not_taken_for_smeared_noise(side_px: int) -> None:
    rows, columns = np.mgrid[:200, :200] // side_px
    image = as_bytes(60.0 + 100 * ((rows + columns) % 2) + noise(rows.shape, 1))
    found = chosen(image)
    assert "regular pattern" in found.reason
    assert "regular pattern" in found.noise


@pytest.mark.parametrize("smear", [(1, 4), (4, 1), (3, 3)])
def test_weak_smeared_noise_is_not_taken_for_texture(smear: tuple[int, int]) -> None:
    clean = picture(1)
    image = as_bytes(clean + noise(clean.shape, 1, (1, 1)) + noise(clean.shape, 3, smear))
    assert "texture" not in chosen(image.squeeze()).noise


def test_counts_of_photons_get_a_net_that_knows_them() -> None:
    clean = picture(1)[..., 0]
    counts = np.random.default_rng(0).poisson(clean / 255 * 15).astype(np.uint16) * 40
    found = chosen(counts)
    assert found.model == "micrograph-tiny"
    assert loss_db(counts, clean / 255 * 600, found) < 0.1
    assert "grows with the signal" in found.noise


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("peak", [0.2, 0.5, 3])
def test_few_photons_get_a_net_that_knows_them_whatever_their_type(peak: float, seed: int) -> None:
    """A few of them are many times as bright as the rest, which is chance and no content."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:200, :280]
    cells = np.full(rows.shape, 0.1)
    for y, x, radius in rng.uniform((0, 0, 3), (200, 280, 9), (40, 3)):
        cells += np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / 2 / radius**2)
    counts = rng.poisson(peak * cells / cells.max())
    for dtype in ("uint8", "uint16", "float32"):
        assert chosen(counts.astype(dtype)).model == "micrograph-tiny"


@pytest.mark.parametrize(("channels", "white"), [(1, "tiny-mono"), (3, "tiny-rgb")])
def test_a_clean_image_gets_the_net_that_changes_least(channels: int, white: str) -> None:
    image = as_bytes(picture(channels)).squeeze()
    assert chosen(image).model == white
    restored = unetmm.restore(image).astype(np.float64)
    assert 10 * np.log10(255**2 / max(np.mean((restored - image) ** 2), 1e-9)) > 50


def test_unequal_colours_are_restored_one_by_one() -> None:
    clean = picture(3) * [1.0, 20.0, 0.2]
    deviation = [3, 60, 0.5] * noise(clean.shape, 1)
    found = chosen(np.clip(clean * 10 + 10 * deviation, 0, 65535).astype(np.uint16))
    assert found.model in ("tiny-mono", "micrograph-tiny")
    assert "different ranges" in found.reason


def test_the_choice_is_the_same_for_any_number_of_cores() -> None:
    clean = picture(3)
    image = as_bytes(clean + noise(clean.shape, 12, (2, 1)))
    one, two = chosen(image, cores=1), chosen(image, cores=2)
    assert one == two


@pytest.mark.parametrize(
    ("image", "axes"),
    [
        (np.zeros((5, 7), np.uint8), "YX"),
        (np.full((300, 300), 7, np.uint16), "YX"),
        (np.full((64, 64, 3), np.nan, np.float32), "YXS"),
        (np.arange(3 * 9, dtype=np.int16).reshape(3, 9), "YX"),
        (np.zeros((1, 1), np.float64), "YX"),
    ],
)
def test_images_without_noise_to_tell_get_the_first(image: Image, axes: str) -> None:
    found = chosen(image, axes)
    assert found.model in ("tiny-mono", "tiny-rgb")
    assert "tell" in found.reason


def test_noise_is_told_beside_pixels_without_a_measurement() -> None:
    clean = picture(1)[..., 0]
    image = (clean + noise(clean.shape, 15)).astype(np.float32)
    holes = image.copy()
    holes[:, 150:] = np.nan
    assert chosen(image).model == chosen(holes).model == "tiny-mono"


def test_channels_and_planes_share_one_choice() -> None:
    clean = picture(1, 96)[..., 0]
    counts = [np.random.default_rng(i).poisson(clean / 255 * 20) * 30 for i in range(8)]
    stack = np.array(counts, np.uint16).reshape(2, 4, 96, 96)
    assert chosen(stack, "TCYX").model == "micrograph-tiny"


def test_a_choice_survives_its_record() -> None:
    errors = (("tiny-rgb", 0.1), ("universal-tiny-rgb", 0.2))
    found = ModelChoice("tiny-rgb", "why", "about 3", errors)
    assert ModelChoice.from_dict(found.as_dict()) == found
    assert ModelChoice.from_dict(None) is None
    assert ModelChoice.from_dict({"model": 3}) is None


def test_smear_is_measured_and_drawn_alike() -> None:
    flat = 100 + noise((256, 256, 1), 5, (1, 3))
    (smear,) = measure_smear([flat])
    assert smear is not None
    assert smear.neighbours == pytest.approx((0, 2 / 3), abs=0.15)
    assert smear.reach_px == (0, 2)
    (again,) = measure_smear([smear.draw((256, 256), np.random.default_rng(0))[..., None]])
    assert again is not None
    assert again.neighbours == pytest.approx(smear.neighbours, abs=0.15)
    drawn = smear.draw((256, 256), np.random.default_rng(0))
    assert drawn.std() == pytest.approx(1, rel=0.05)


def test_the_share_of_independent_noise_is_told() -> None:
    shape = (256, 256, 1)
    for white, smeared, share in ((5, 0, 1), (5, 5, 0.5), (0, 5, 0)):
        image = 100 + noise(shape, white) + np.flip(noise(shape, smeared, (3, 3)))
        (found,) = measure_smear([image])
        assert found is not None
        assert found.white_share == pytest.approx(share, abs=0.2)


def test_the_level_of_smeared_noise_is_told() -> None:
    flat = 100 + noise((256, 256, 1), 5, (2, 2))
    found = survey_noise([flat])
    assert found is not None
    assert found.level == pytest.approx(5, rel=0.15)
    assert in_words([found]).endswith("smeared over 2 px")


def test_a_colour_that_is_nowhere_does_not_hide_the_noise_of_others() -> None:
    clean = picture(3)
    image = clean + noise(clean.shape, 15, (2, 2))
    image[..., 2] = 0
    found = chosen(as_bytes(image))
    assert found.model != "tiny-rgb"
    assert "smeared" in found.noise


def decided(names: list[str], risks: list[float], in_flats: float, is_sure: bool) -> str:
    """What is taken for white noise that grows, by estimated errors and what is found in flats."""
    noise = ImageNoise((NoiseModel(1.0, 0.0, 1.0),), (NO_SMEAR,), (1.0,), (100.0,))
    share = 0.01 if is_sure else 0.001
    bench = SimpleNamespace(noise=noise, level_share=share, far_share=0.0)
    found = [[Judged(risk, 0.9 - 0.2 * i, in_flats)] for i, risk in enumerate(risks)]
    models = [cast("Model", SimpleNamespace(name=name)) for name in names]
    chosen, _ = _decide(Contest(models, [cast("Bench", bench)], found))
    assert chosen is not None
    return names[chosen]


def test_weak_but_sure_noise_of_a_wide_range_is_removed_by_the_best_net() -> None:
    names, risks = ["tiny-rgb", "universal-tiny-rgb"], [0.46, 0.86]
    assert decided(names, risks, 0.001, is_sure=True) == "tiny-rgb"
    assert decided(names, [0.56, 0.86], 0.001, is_sure=False) == "universal-tiny-rgb"


def test_noise_that_a_net_mostly_removes_is_removed_however_wide_the_range_is() -> None:
    names, risks = ["tiny-mono", "micrograph-tiny", "universal-tiny-mono"], [0.37, 0.25, 0.76]
    assert decided(names, risks, 0.001, is_sure=False) == "micrograph-tiny"


def test_growing_noise_is_left_to_the_net_for_white_noise_where_that_is_clearly_better() -> None:
    names = ["tiny-mono", "micrograph-tiny", "universal-tiny-mono"]
    assert decided(names, [0.185, 0.198, 0.21], 0.02, is_sure=True) == "tiny-mono"
    assert decided(names, [0.185, 0.19, 0.21], 0.02, is_sure=True) == "micrograph-tiny"


def _tinted(grey: Image, tint: tuple[float, ...]) -> Image:
    return as_bytes(grey[..., None] * np.array(tint))


@pytest.mark.parametrize(
    ("tint", "words"),
    [
        ((1, 1, 1), "the same or empty"),
        ((0, 1, 0), "the same or empty"),
        ((1, 0.9, 0.7), "same noise"),
    ],
)
def test_noise_that_all_colours_share_gets_a_net_for_one(
    tint: tuple[float, ...], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As of a grey image saved as RGB, green fluorescence or film grain: a net for colours takes
    what all of them show alike for content.
    """
    clean = picture(1)[..., 0]
    image = _tinted(clean + noise(clean.shape, 10), tint)
    found = chosen(image)
    assert found.model == "tiny-mono" and words in found.reason
    changed = _tinted(clean, tint).astype(np.float64) - unetmm.restore(image)
    assert changed.std() < 0.5 * (_tinted(clean, tint).astype(np.float64) - image).std()
    caplog.clear()
    unetmm.restore(image, "tiny-rgb")
    assert "the colours have the same noise" in caplog.text


def test_noise_that_all_colours_share_is_told_from_fine_texture_that_they_share() -> None:
    rng = np.random.default_rng(5)
    clean = picture(3) + 9 * noise((200, 200), 1, (2, 3))[..., None]
    assert "same noise" not in chosen(as_bytes(clean)).reason
    noisy = as_bytes(clean + rng.normal(0, 8, (200, 200, 1)))
    found = chosen(noisy)
    assert found.model == "tiny-mono" and "same noise" in found.reason
    own = as_bytes(clean + rng.normal(0, 8, (200, 200, 3)))
    assert "same noise" not in chosen(own).reason


def test_colours_that_show_different_things_get_a_net_for_one() -> None:
    """As channels of a microscope that were put together into one picture."""
    planes = [np.rot90(picture(3)[..., i], i) for i in range(3)]
    noisy = as_bytes(np.stack(planes, -1) + noise((200, 200, 3), 10))
    found = chosen(noisy)
    assert found.model == "tiny-mono" and "different things" in found.reason
    alike = as_bytes(np.stack(planes[:1] * 3, -1) + noise((200, 200, 3), 10))
    assert "different things" not in chosen(alike).reason


def test_colours_of_their_own_noise_get_a_net_for_colours() -> None:
    clean = picture(3)
    assert chosen(as_bytes(clean + noise(clean.shape, 10))).model == "tiny-rgb"
    texture = as_bytes(clean + 6 * noise(clean.shape[:2], 1, (2, 2))[..., None])
    assert "same noise" not in chosen(texture).reason


@pytest.mark.parametrize(("dtype", "scale"), [("uint16", 20), ("float32", 0.01), ("int32", 4000)])
def test_what_is_clean_is_left_as_it_is(dtype: str, scale: float) -> None:
    """Rounding is no noise, and a net changes more than that by itself."""
    rows, columns = np.mgrid[:240, :250]
    soft = 120 + 60 * np.sin(rows / 9) * np.cos(columns / 13) + 30 * np.sin((rows + columns) / 5)
    image = (soft * scale).round(4).astype(dtype)
    assert chosen(image).leaves_alone
    np.testing.assert_array_equal(unetmm.restore(image), image)
    noisy = (soft + noise(soft.shape, 4)) * scale
    assert not chosen(noisy.astype(dtype)).leaves_alone
