"""Values that a run must not harm: each kind of image that once lost some, with what is right."""

from __future__ import annotations

import numpy as np
import pytest
import value_cases as cases
from value_cases import rms


def errors(case: cases.Case, found: np.ndarray, where: np.ndarray) -> tuple[float, float]:
    """Errors before and after, over some pixels."""
    return rms((case.image - case.truth)[where]), rms((found - case.truth)[where])


@pytest.mark.parametrize(
    ("amplitude", "in_cells", "in_background"),
    [(300, 1.0, 0.15), (3000, 0.92, 0.35), (30000, 1.1, 0.35)],
)
def test_rare_bright_cells(amplitude: float, in_cells: float, in_background: float) -> None:
    """in_cells: largest error in units of the noise; in_background: in counts."""
    case = cases.sparse(amplitude)
    found = cases.restored(case.image)
    cells = case.truth > 105 + 0.2 * (case.truth.max() - 105)
    before, after = errors(case, found, cells)
    assert after <= in_cells * before
    assert errors(case, found, case.truth < 106)[1] <= in_background
    edges = ~cells & (case.truth >= 106)
    before, after = errors(case, found, edges)
    assert after <= 1.1 * before


@pytest.mark.parametrize("model", ["auto", "tiny-mono"])
@pytest.mark.parametrize("share", [0.03, 0.1, 0.4])
def test_a_dark_ground_beside_many_bright_cells(share: float, model: str) -> None:
    """The range is that of the ground, so how strong the noise is may not be told from the cells;
    and however many cells there are, a range for both would leave the ground its noise.
    """
    case = cases.crowded(share)
    found = cases.restored(case.image, model=model)
    before, after = errors(case, found, case.truth < 10.5)
    assert after <= 0.3 * before
    before, after = errors(case, found, case.truth > 2950)
    assert after <= 0.8 * before


def test_saturated_pixels_stay_and_none_exceeds_them() -> None:
    case = cases.saturated()
    full = case.image == 4095
    assert 0.005 < full.mean() < 0.2
    found = cases.restored(case.image)
    assert (found[full] == 4095).all() and found.max() == 4095
    before, after = errors(case, found, ~full)
    assert after < 0.7 * before


@pytest.mark.parametrize("sigma_px", [1.1, 1.3])
def test_stars_keep_their_peaks_and_their_sums(sigma_px: float) -> None:
    case = cases.stars(sigma_px)
    found = cases.restored(case.image) - 1000
    truth = case.truth - 1000
    ratios = []
    for y, x in cases.STARS_PX:
        square = np.s_[y - 4 : y + 5, x - 4 : x + 5]
        ratios.append((found[y, x] / truth[y, x], found[square].sum() / truth[square].sum()))
    peak, flux = np.array(ratios).T
    peaks = np.array(cases.STAR_PEAKS)
    snr = peaks / np.sqrt(1144 + peaks)
    for least, most in ((20, 60), (60, 1000)):
        few = (snr >= least) & (snr < most)
        assert peak[few].mean() == pytest.approx(1, abs=0.03)
        assert flux[few].mean() == pytest.approx(1, abs=0.03)
    faint = (snr >= 8) & (snr < 20)
    assert peak[faint].mean() > 0.9 and flux[faint].mean() == pytest.approx(1, abs=0.1)


def test_molecules_keep_their_photons() -> None:
    case = cases.molecules()
    found = cases.restored(case.image)
    core = case.truth > 380
    assert (found[core] / case.truth[core]).mean() == pytest.approx(1, abs=0.03)


def test_ships_keep_their_echo_and_the_sea_is_restored() -> None:
    case = cases.ships()
    found = cases.restored(case.image)
    ship = case.truth > 1000
    assert (found[ship] / case.truth[ship]).mean() == pytest.approx(1, abs=0.03)
    before, after = errors(case, found, ~ship)
    assert after < before / 3


@pytest.mark.parametrize("value", [1000, 3000, 65535])
def test_hot_pixels_harm_no_others(value: int) -> None:
    without, case = cases.hot_pixels(None), cases.hot_pixels(value)
    hot = cases.hot_places(case.truth.shape)
    expected = cases.psnr(cases.restored(without.image), case.truth, ~hot)
    found = cases.restored(case.image)
    assert cases.psnr(found, case.truth, ~hot) > expected - 0.1
    assert np.array_equal(found[hot], case.image[hot])


def test_hot_columns_harm_no_others() -> None:
    without, case = cases.hot_pixels(None), cases.hot_columns()
    hot = case.image != without.image
    expected = cases.psnr(cases.restored(without.image), case.truth, ~hot)
    assert cases.psnr(cases.restored(case.image), case.truth, ~hot) > expected - 0.1


def test_a_bead_is_no_hot_pixel() -> None:
    case = cases.bead()
    found = cases.restored(case.image)
    around = np.s_[172:213, 172:213]
    light = case.truth[around].sum() - 100 * 41**2
    assert (found - case.truth)[around].sum() == pytest.approx(0, abs=0.03 * light)


@pytest.mark.parametrize("mean", [0.5, 3, 100])
@pytest.mark.parametrize("kind", ["float32", "dithered"])
def test_means_of_photons_stay(mean: float, kind: str) -> None:
    case = cases.photons(mean, np.float32 if kind == "float32" else np.uint16)
    asked = {} if kind == "float32" else {"rounding": "dither"}
    found = cases.restored(case.image, **asked)
    assert found.mean() == pytest.approx(case.image.mean(), rel=0.01)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize("mean", [1, 3])
def test_chance_leaves_no_dots_where_photons_are_few(mean: float, dtype: str) -> None:
    """A count that is several times as large as all others is noise, and no bright point."""
    case = cases.photons(mean, np.dtype(dtype).type)
    assert case.image.max() > 3 * case.truth.max()
    found = cases.restored(case.image, dtype="float32")
    assert found.max() < 1.7 * case.truth.max()
    before, after = errors(case, found, np.ones(case.truth.shape, bool))
    assert after < 0.25 * before


@pytest.mark.parametrize("model", ["tiny-mono", "micrograph-tiny", "universal-tiny-mono"])
def test_dark_bytes_are_restored_as_well_as_wider_types(model: str) -> None:
    case = cases.dark_bytes()
    everywhere = np.ones(case.truth.shape, bool)
    asked = {"model": model, "dtype": "float32"}
    _, dark = errors(case, cases.restored(case.image, **asked), everywhere)
    wide = cases.restored(case.image.astype(np.uint16), **asked)
    _, plain = errors(case, cases.restored(case.image, **asked, fixed_range=(0, 255)), everywhere)
    assert dark < 1.03 * errors(case, wide, everywhere)[1]
    assert dark < 0.8 * plain


def test_bright_cells_of_dark_bytes_keep_all_8_bits() -> None:
    case = cases.dark_bytes(bright=200)
    whole = cases.restored(case.image, model="tiny-mono", fixed_range=(0, 255))
    np.testing.assert_array_equal(cases.restored(case.image, model="tiny-mono"), whole)


def test_the_layout_of_an_array_changes_nothing() -> None:
    case = cases.photons(1, np.float32)
    found = cases.restored(case.image)
    np.testing.assert_array_equal(cases.restored(np.asfortranarray(case.image)), found)


def test_the_means_of_colours_of_few_photons_stay() -> None:
    truth = cases.photons(1, np.float32).truth[..., None] * [1, 0.7, 1.5]
    image = np.random.default_rng(8).poisson(truth).astype(np.float32)
    found = cases.restored(image, model="universal-tiny-rgb")
    np.testing.assert_allclose(found.mean((0, 1)), image.mean((0, 1)), rtol=0.01)


def test_colours_of_unequal_range_are_restored_one_by_one(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A colour net sees the dim ones on a small part of its range, one for each sees them well."""
    case = cases.unequal_colours()
    together = cases.restored(case.image, model="tiny-rgb")
    assert "--model tiny-mono" in caplog.text and "very different ranges" in caplog.text
    alone = cases.restored(case.image)  # which is what the choice of a model sees
    for sample in range(3):
        before, after = errors(case, together, np.s_[..., sample])
        assert after < before
        assert errors(case, alone, np.s_[..., sample])[1] < after
    assert errors(case, alone, np.s_[..., 2])[1] < before / 5


def test_a_sun_spoils_nothing() -> None:
    case = cases.sun()
    found = cases.restored(case.image)
    bright = case.truth[..., 0] > 100
    before, after = errors(case, found, bright)
    assert after <= before
    before, after = errors(case, found, ~bright)
    assert after < 0.7 * before


def test_highlights_are_no_worse_than_they_were() -> None:
    case = cases.underexposed()
    found = cases.restored(case.image)
    before, after = errors(case, found, np.ones(case.truth.shape, bool))
    assert after < before
