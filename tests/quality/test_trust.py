"""`unetmm.trust` tells what was done to an image whose truth is known."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

import unetmm
from unetmm.errors import BudgetError, ImageError
from unetmm.io.array import ArraySource, array_info
from unetmm.quality.trust.decorrelation import decorrelation_px
from unetmm.quality.trust.pair import Pair, parts_of, unit_spans
from unetmm.quality.trust.report import as_dict, rows_of, verdict_line
from unetmm.quality.trust.resolution import ring_correlation_px
from unetmm.quality.trust.trust import Trust, trust_pair

Image = NDArray[np.float64]
SIDE = 256
NOISE = 8.0


def smooth(values: Image, width: float) -> Image:
    """Convolved with a Gaussian, as if the image went on around its edges."""
    f = np.add.outer(np.fft.fftfreq(len(values)) ** 2, np.fft.rfftfreq(values.shape[1]) ** 2)
    transfer = np.exp(-2 * (np.pi * width) ** 2 * f)
    return np.fft.irfft2(np.fft.rfft2(values) * transfer, values.shape)


def moved(values: Image, down: float) -> Image:
    f = np.fft.fftfreq(len(values))[:, None]
    return np.fft.ifft(np.fft.fft(values, axis=0) * np.exp(-2j * np.pi * f * down), axis=0).real


def make_scene(seed: int = 1) -> Image:
    """Discs of 20 to 220 with soft edges and structure of all sizes, in front of something even."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    found = np.zeros((SIDE, SIDE))
    for _ in range(12):
        cy, cx, r = *rng.uniform(40, SIDE - 40, 2), rng.uniform(8, 25)
        away = np.hypot(y - cy, x - cx) - r
        found += rng.uniform(60, 150) * smooth(np.where(away < 0, 1.0, 0.0), 0.7)
    texture = smooth(rng.normal(size=found.shape), 1.2)
    return 20 + np.minimum(found, 200) * (1 + 0.2 * texture / texture.std())


SCENE = make_scene()
NOISY = SCENE + NOISE * np.random.default_rng(0).normal(size=SCENE.shape)
GOOD = SCENE + 0.1 * (NOISY - SCENE)


def look(after: Image, before: Image = NOISY) -> Trust:
    return unetmm.trust(before.astype(np.float32), after.astype(np.float32))


def stripes(share: float) -> Image:
    """Structure of another image, in a part of this one."""
    y, x = np.mgrid[:SIDE, :SIDE]
    return np.where((y < share * SIDE), 1.5 * NOISE * np.sin((y + x) / 1.5), 0)


FAULTS: dict[str, tuple[Callable[[], Image], str]] = {
    "half the strength": (lambda: (NOISY + SCENE) / 2, "noise_left"),
    "1.5 times too much": (lambda: NOISY + 1.5 * (SCENE - NOISY), "removed_too_much"),
    "smoothed": (lambda: smooth(GOOD, 1.5), "detail_removed"),
    "shifted by 1 px": (lambda: moved(GOOD, 1), "shifted"),
    "shifted by 0.3 px": (lambda: moved(GOOD, 0.3), "shifted"),
    "sharpened": (lambda: GOOD + 0.8 * (GOOD - smooth(GOOD, 1.2)), "sharpened"),
    "made up": (lambda: GOOD + stripes(1.0), "invented"),
    "made up in a quarter": (lambda: GOOD + stripes(0.25), "invented"),
    "clipped": (lambda: np.minimum(GOOD, np.percentile(GOOD, 97)), "clipped"),
    "bent": (lambda: 255 * (np.clip(GOOD, 0, None) / 255) ** 0.9, "values_changed"),
    "brighter": (lambda: GOOD * 1.05, "values_changed"),
    "lifted": (lambda: GOOD + 6, "values_changed"),
    "turned": (lambda: GOOD[::-1, ::-1].copy(), "other_image"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_told(fault: str) -> None:
    make, code = FAULTS[fault]
    found = look(make())
    assert found.verdict in ("doubtful", "wrong")
    assert code in {one.code for one in found.findings}, found


def test_a_good_result_is_good_and_its_error_is_estimated() -> None:
    found = look(GOOD)
    assert (found.verdict, found.findings) == ("good", ())
    figures = found.layers[0].figures
    assert figures.noise_removed == pytest.approx(0.81, abs=0.1)
    assert figures.noise_left == pytest.approx(0.1, abs=0.05)
    assert figures.shift.distance_px < 0.02 and figures.warp_px == 0
    assert figures.gain == pytest.approx(1, abs=0.01) and figures.bias_share < 0.005
    assert verdict_line(found).startswith("GOOD: Nothing speaks against")


@pytest.mark.parametrize("photons", [0.008, 0.2, 3])
def test_an_output_of_zeros_holds_nothing(photons: float) -> None:
    """Means of so few counts differ by less than whole numbers do."""
    counts = np.random.default_rng(0).poisson(photons * SCENE / SCENE.mean()).astype(np.uint8)
    found = unetmm.trust(counts, np.zeros_like(counts))
    assert (found.verdict, found.findings[0].code) == ("wrong", "emptied")


@pytest.mark.parametrize("noise", [1.5, 2.5, 5])
def test_steps_of_whole_numbers_are_not_made_up(noise: float) -> None:
    """The truth, rounded, of a dark scene of a dozen values."""
    truth = 12 + 4 * SCENE / SCENE.std()
    noisy = np.rint(truth + np.random.default_rng(2).normal(0, noise, truth.shape))
    found = unetmm.trust(noisy.clip(0).astype(np.uint8), np.rint(truth).clip(0).astype(np.uint8))
    assert "invented" not in {one.code for one in found.findings}


def test_values_of_no_data_are_those_that_a_user_gives(tmp_path: Path) -> None:
    """Or gave, when the output was made."""
    before, after = (np.rint(image + 100).astype(np.uint16) for image in (NOISY, GOOD))
    before[60:200, 60:200] = after[60:200, 60:200] = 0
    found = unetmm.trust(before, after, nodata=0)
    assert found.verdict == "good"
    assert found.layers[0].figures.blocks < unetmm.trust(before, after).layers[0].figures.blocks
    with pytest.raises(unetmm.UnetmmError, match="asked for nodata"):
        unetmm.trust(before, after, nodata=object())  # type: ignore[arg-type]
    tifffile.imwrite(tmp_path / "a.tif", before)
    unetmm.restore(tmp_path / "a.tif", "tiny-mono", output=tmp_path / "b.tif", nodata=0)
    made = unetmm.trust(tmp_path / "a.tif", tmp_path / "b.tif")
    assert "gaps_changed" not in {one.code for one in made.findings}


def test_a_shift_is_measured_to_a_part_of_a_pixel() -> None:
    shift = look(moved(GOOD, 0.3)).layers[0].figures.shift
    assert shift.down_px == pytest.approx(0.3, abs=0.05) and abs(shift.right_px) < 0.02


def test_images_without_noise_and_without_change_are_good() -> None:
    clean = np.rint(SCENE * 100).astype(np.uint16)
    same = unetmm.trust(clean, clean)
    assert same.verdict == "good" and same.findings[0].code == "nothing_changed"
    assert "Hardly anything was changed" in verdict_line(same)
    assert unetmm.trust(clean, clean + (clean % 2)).verdict == "good"
    soft = np.rint(smooth(SCENE, 1.5) * 100).astype(np.uint16)
    assert "detail_removed" in {one.code for one in unetmm.trust(clean, soft).findings}


def test_an_empty_colour_does_not_speak_for_the_others() -> None:
    colours = [np.stack([v * 0, v, v * 0], -1).astype(np.float32) for v in (NOISY, GOOD)]
    assert "Hardly" not in verdict_line(unetmm.trust(*colours))


def test_what_is_not_measured_influences_nothing() -> None:
    before, after = NOISY.astype(np.float32), GOOD.astype(np.float32)
    before[100:140, 60:200] = after[100:140, 60:200] = np.nan
    before[200:210], after[200:210] = 1e36, 1e36
    found = unetmm.trust(before, after)
    assert found.verdict == "good" and not found.findings
    after[20:25, 20:25] = np.nan
    assert "gaps_changed" in {one.code for one in unetmm.trust(before, after).findings}


@pytest.mark.parametrize(
    ("dtype", "factor", "origin"),
    [("int32", 10, 10**9), ("float64", 1e-3, 1e6), ("float64", 1e-25, 0), ("int16", 10, -9000)],
)
def test_values_of_any_size_are_judged_alike(dtype: str, factor: float, origin: float) -> None:
    before, after = (np.rint(v * 10) / 10 * factor + origin for v in (NOISY, GOOD))
    found = unetmm.trust(before.astype(dtype), after.astype(dtype))
    assert found.verdict == "good" and not found.findings
    bad = (smooth(after - origin, 1.5) + origin).astype(dtype)
    codes = {one.code for one in unetmm.trust(before.astype(dtype), bad).findings}
    assert codes == {"detail_removed"}


def test_figures_do_not_depend_on_the_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("unetmm.quality.trust.places.WINDOW_PX", 128)
    wide = np.tile(NOISY, (2, 9)).astype(np.float32)[:, 5:], np.tile(GOOD, (2, 9))[:, 5:]
    sources = [ArraySource(v, array_info(v.shape, v.dtype, "YX")) for v in wide]
    pair = Pair.of(*sources)
    whole = trust_pair(pair)
    assert len(parts_of(pair, None, 1, 1.0)) == 1
    monkeypatch.setattr("unetmm.quality.trust.pair._fitting", lambda *_: (1, 1))
    assert len(parts_of(pair, None, 1, 1.0)) > 4
    small = trust_pair(pair)
    assert small.layers[0].figures == whole.layers[0].figures
    some = trust_pair(pair, most_px=pair.before.info.pixels // 2)
    assert some.verdict == "good" and 0.2 < some.share < 0.8


@pytest.mark.parametrize("length", [1, 31, 32, 63, 128, 159, 160, 161, 2048, 5000])
def test_units_cover_an_axis_once(length: int) -> None:
    spans = unit_spans(length, 128)
    assert spans[0][0] == 0 and spans[-1][1] == length
    assert all(a[1] == b[0] for a, b in zip(spans, spans[1:], strict=False))


def test_colours_and_channels_are_told_apart() -> None:
    before = np.stack([NOISY] * 3, -1).astype(np.float32)
    after = np.stack([GOOD, GOOD, smooth(GOOD, 1.5)], -1).astype(np.float32)
    found = unetmm.trust(before, after, axes="YXS")
    assert [layer.name for layer in found.layers] == ["red", "green", "blue"]
    assert {one.layer for one in found.findings} == {"blue"} and "blue: " in verdict_line(found)
    channels = np.ascontiguousarray(after.transpose(2, 0, 1))
    sources = (
        ArraySource(before, array_info(before.shape, before.dtype, "YXS")),
        ArraySource(channels, array_info(channels.shape, channels.dtype, "CYX")),
    )
    assert trust_pair(Pair.of(*sources)).findings == found.findings


def test_a_reference_tells_the_error_itself() -> None:
    found = unetmm.trust(*(v.astype(np.float32) for v in (NOISY, GOOD, SCENE)))
    truth = found.layers[0].truth
    assert truth is not None and truth.gain_db == pytest.approx(20, abs=0.1)
    assert truth.error_before == pytest.approx(NOISE, rel=0.02)
    facts = as_dict(found)
    assert facts["layers"][0]["reference"]["gain_db"] == truth.gain_db
    assert "error against the reference" in {row.name for row in rows_of(found.layers[0])}


def test_images_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="256 x 256 px, 1 channel, the output 250 x 256"):
        unetmm.trust(NOISY, GOOD[:, :250])
    with pytest.raises(ImageError, match="give NumPy arrays, or paths"):
        unetmm.trust(NOISY, str(tmp_path / "a.tif"))
    with pytest.raises(BudgetError, match="too small to look at these images"):
        unetmm.trust(NOISY, GOOD, mem_budget="1MB")
    assert unetmm.trust(NOISY[:40, :50], GOOD[:40, :50]).verdict == "unknown"
    assert unetmm.trust(NOISY[:7, :5], GOOD[:7, :5]).verdict == "unknown"


def test_films_are_looked_at_plane_by_plane(tmp_path: Path) -> None:
    film = np.stack([NOISY[:128, :128]] * 5).astype(np.float32)
    after = np.stack([GOOD[:128, :128]] * 5).astype(np.float32)
    after[3] += stripes(1.0)[:128, :128].astype(np.float32)
    for name, values in (("in", film), ("out", after)):
        tifffile.imwrite(tmp_path / f"{name}.tif", values, metadata={"axes": "TYX"}, ome=True)
    found = unetmm.trust(tmp_path / "in.tif", str(tmp_path / "out.tif"), mem_budget="4GB")
    assert "invented" in {one.code for one in found.findings}
    assert {spot.plane for spot in found.layers[0].figures.spots} == {(3, 0, 0)}


@pytest.mark.parametrize(
    ("cut", "noise", "nanopyx_px"),
    [(0.1, 1, 10.155440), (0.2, 4, 5.921451), (0.3, 2, 3.691149), (0.4, 0.5, 2.681259)],
)
def test_resolution_is_that_of_nanopyx(cut: float, noise: float, nanopyx_px: float) -> None:
    """Yardstick: DecorrAnalysis of NanoPyx 2.1.5."""
    rng = np.random.default_rng(7)
    f = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE))
    image = np.fft.irfft2(np.fft.rfft2(rng.normal(size=(SIDE, SIDE))) * (f < cut), (SIDE, SIDE))
    image /= image.std()
    noisy = (100 + 20 * image + noise * rng.normal(size=image.shape)).astype(np.float32)
    assert decorrelation_px(noisy) == pytest.approx(nanopyx_px, rel=0.01)
    others = 20 * image + noise * rng.normal(size=image.shape)
    assert ring_correlation_px(noisy, others) == pytest.approx(1 / cut, rel=0.2)
    assert decorrelation_px(np.full((80, 80), 3.0)) is None


def test_a_photo_may_have_more_noise_where_there_is_structure() -> None:
    rng = np.random.default_rng(4)
    rough = smooth(np.abs(SCENE - smooth(SCENE, 2.0)), 3.0)
    share = 1 + 0.6 * rough / rough.max()
    noise = np.stack([smooth(rng.normal(size=SCENE.shape), 0.7) for _ in range(3)], -1)
    noise *= 10 / noise.std() * share[..., None]
    before = np.clip(np.rint(SCENE[..., None] + noise), 0, 255).astype(np.uint8)

    def verdict(after: Image, kind: type[np.generic] = np.uint8) -> str:
        pixels = before.astype(kind), np.clip(np.rint(after), 0, 255).astype(kind)
        return unetmm.trust(*pixels, axes="YXS").verdict

    good = SCENE[..., None] + 0.1 * noise
    assert verdict(good) == "good"
    assert verdict(good, np.uint16) in ("doubtful", "wrong")  # a measurement is judged by more
    blurred = np.stack([smooth(good[..., i], 2.0) for i in range(3)], -1)
    assert verdict(blurred) == "wrong"
    sharpened = good + 0.8 * (good - np.stack([smooth(good[..., i], 1.0) for i in range(3)], -1))
    assert verdict(sharpened) == "wrong"
    moved_away = np.stack([moved(good[..., i], 1.0) for i in range(3)], -1)
    assert verdict(moved_away) == "wrong"


def test_photons_of_bright_spots_are_no_detail() -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    far2 = (rows % 64 - 16) ** 2 + (columns % 32 - 16) ** 2  # in the middle of every second block
    clean = 20 + 200 * np.exp(-far2 / 18)
    noisy = np.random.default_rng(0).poisson(clean).astype(np.float64)
    found = look(clean + 0.03 * (noisy - clean), noisy)
    assert max(band.removed for band in found.layers[0].figures.bands) < 1.2
    assert found.verdict == "good"
    for width in (1.5, 2.5):
        assert "detail_removed" in {f.code for f in look(smooth(noisy, width), noisy).findings}


@pytest.mark.parametrize("photons", [0.05, 0.3, 3])
def test_few_photons_are_neither_shifted_nor_clipped(photons: float) -> None:
    """An even background is a pile of one value, and chance has a phase, as a shift has."""
    truth = photons * SCENE / SCENE.mean()
    truth = np.maximum(truth, np.quantile(truth, 0.5))
    counts = np.random.default_rng(7).poisson(truth).astype(np.uint16)
    assert unetmm.trust(counts, truth.astype(np.float32)).verdict == "good"
    rounded = unetmm.trust(counts, np.rint(truth).astype(np.uint16))
    codes = {one.code for one in rounded.findings}
    assert not codes & {"shifted", "clipped"}
    assert rounded.verdict == "wrong"  # all 0, or means that rounding moved


def test_what_was_cut_off_is_told_from_an_even_background() -> None:
    dark = np.percentile(GOOD, 5)
    codes = {one.code for one in look(np.maximum(GOOD, dark)).findings}
    assert "clipped" in codes
