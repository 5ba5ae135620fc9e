"""Evaluation: the field's protocol to the letter, clear refusals, results that can be written."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from helpers import CONFIGS, SMALL_UNETMM, lively_model
from numpy.typing import NDArray

from unetmm.errors import ImageError, ShapeError
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig
from unetmm.nets.shapes import tensor_shapes
from unetmm.options import Options
from unetmm.quality.evaluate import Case, evaluate, evaluate_pairs, score_pair, score_white
from unetmm.quality.gallery import GAP_PX, Gallery, side_by_side
from unetmm.quality.metrics import psnr, ssim
from unetmm.quality.scores import Score, to_csv
from unetmm.quality.testsets import add_white_noise, list_images, pair_folders, read_image
from unetmm.run.of_array import restore_array

MONO = NetConfig(1, 1, 8, (1,), 0, (1,))
RGB = lively_model(SMALL_UNETMM)
IDENTITY = Model(
    "identity", MONO, {}, None, {n: np.zeros(s, np.float32) for n, s in tensor_shapes(MONO).items()}
)
"""Model with nothing but the global residual, so the output is the input."""


def photo(seed: int, shape: tuple[int, ...] = (37, 41, 3), dtype: str = "uint8") -> NDArray[Any]:
    top = np.iinfo(dtype).max
    return np.random.default_rng(seed).integers(0, top, shape, dtype=dtype, endpoint=True)


def write_folder(folder: Path, images: dict[str, NDArray[Any]]) -> Path:
    folder.mkdir()
    for name, pixels in images.items():
        (folder / name).write_bytes(imagecodecs.png_encode(pixels))
    return folder


def test_scores_are_those_of_the_protocol_done_by_hand(tmp_path: Path) -> None:
    images = {"b.png": photo(1), "a.png": photo(2)}
    folder = write_folder(tmp_path / "set", images)
    found = evaluate(RGB, folder, (15, 50), seed=9)
    assert [(s.image, s.sigma) for s in found.scores] == [
        ("a.png", 15), ("a.png", 50), ("b.png", 15), ("b.png", 50)
    ]  # fmt: skip
    clean = images["b.png"].astype(np.float64)
    noisy = clean + np.random.default_rng((9, 1, 50)).normal(0, 50, clean.shape)
    options = Options(model=RGB, fixed_range=(0.0, 1.0))
    restored = restore_array((noisy / 255).astype(np.float32), options, "YXS")
    output = np.clip(restored.astype(np.float64) * 255, 0, 255)
    score = found.scores[3]
    assert score.psnr_before_db == pytest.approx(psnr(clean, noisy))
    assert score.psnr_db == pytest.approx(psnr(clean, output))
    assert score.ssim_before == pytest.approx(ssim(clean, noisy))
    assert score.ssim == pytest.approx(ssim(clean, output))
    assert (score.height, score.width, score.peak, score.gain) == (37, 41, 255.0, 1.0)


def test_noise_depends_on_no_other_sigma_or_image(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": photo(1), "b.png": photo(2)})
    both = evaluate(RGB, folder, (15, 25)).scores
    alone = evaluate(RGB, folder, (25,)).scores
    assert [s.psnr_db for s in both if s.sigma == 25] == [s.psnr_db for s in alone]
    assert evaluate(RGB, folder, (25,), seed=1).scores[0].psnr_db != alone[0].psnr_db


def test_noise_is_clipped_after_the_net_only(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": np.zeros((64, 64), np.uint8)})
    (score,) = evaluate(IDENTITY, folder, (25,)).scores
    noise = np.random.default_rng((0, 0, 25)).normal(0, 25, (64, 64))
    black = np.zeros_like(noise)
    assert score.psnr_before_db == pytest.approx(psnr(black, noise))
    assert score.psnr_db == pytest.approx(psnr(black, np.maximum(noise, 0)), abs=1e-4)


def test_colour_becomes_rounded_grey_for_a_mono_model(tmp_path: Path) -> None:
    colour = photo(3)
    folder = write_folder(tmp_path / "set", {"a.png": colour})
    grey = read_image(folder / "a.png", 1)
    weighted = colour @ np.array([0.298936, 0.587043, 0.114021])
    np.testing.assert_array_equal(grey[..., 0], np.rint(weighted).astype(np.uint8))
    assert grey.dtype == np.uint8
    (score,) = evaluate(IDENTITY, folder, (0,)).scores
    assert score.psnr_db > 100  # against the rounded grey, so only float32 rounds


def test_alpha_is_left_out(tmp_path: Path) -> None:
    rgba = photo(4, (20, 21, 4))
    folder = write_folder(tmp_path / "set", {"a.png": rgba})
    np.testing.assert_array_equal(read_image(folder / "a.png", 3), rgba[..., :3])
    assert len(evaluate(RGB, folder, (15,)).scores) == 1


def test_16_bit_images_are_measured_on_the_scale_of_255(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": photo(5, (64, 64), "uint16")})
    (score,) = evaluate(IDENTITY, folder, (25,)).scores
    assert score.psnr_before_db == pytest.approx(20.17, abs=0.1)


def test_means_and_rows_hold_every_score(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {f"{i}.png": photo(i, (16, 17)) for i in range(3)})
    told: list[tuple[Case, int, int]] = []
    found = evaluate(IDENTITY, folder, (50, 15), on_result=lambda *news: told.append(news))
    assert [n[0].score for n in told] == list(found.scores)
    assert [n[1:] for n in told] == [(i, 6) for i in range(1, 7)]
    assert [(m.sigma, m.images) for m in found.means] == [(50, 3), (15, 3)]
    mean = np.mean([s.psnr_db for s in found.scores if s.sigma == 15])
    assert found.means[1].psnr_db == pytest.approx(mean)
    rows = found.as_rows()
    assert [(r["model"], r["dataset"], r["sigma"]) for r in rows[:2]] == [
        ("identity", "set", 50), ("identity", "set", 15)
    ]  # fmt: skip
    read_back = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert read_back["images"][5]["psnr_db"] == found.scores[5].psnr_db
    assert read_back["means"][0]["sigma"] == 50 and read_back["seed"] == 0


def write_pairs(
    tmp_path: Path, noisy: dict[str, NDArray[Any]], clean: dict[str, NDArray[Any]]
) -> tuple[Path, Path]:
    return write_folder(tmp_path / "noisy", noisy), write_folder(tmp_path / "clean", clean)


def test_pairs_are_scored_before_and_after(tmp_path: Path) -> None:
    noisy, clean = photo(1), photo(2)
    folders = write_pairs(tmp_path, {"a.png": noisy}, {"a.png": clean})
    found = evaluate_pairs(RGB, *folders)
    options = Options(model=RGB, fixed_range=(0.0, 255.0))
    restored = np.clip(restore_array(noisy.astype(np.float32), options, "YXS"), 0, 255)
    (score,) = found.scores
    assert score.psnr_before_db == pytest.approx(psnr(clean, noisy))
    assert score.psnr_db == pytest.approx(psnr(clean, restored))
    assert score.ssim == pytest.approx(ssim(clean, restored))
    assert (score.sigma, found.seed, found.dataset) == (None, None, f"{tmp_path.name}/noisy")


def test_pairs_agree_with_a_run_up_to_its_rounding(tmp_path: Path) -> None:
    noisy = photo(1, (300, 40), "uint16")
    folders = write_pairs(tmp_path, {"a.png": noisy}, {"a.png": noisy})
    model = lively_model(MONO)
    (score,) = evaluate_pairs(model, *folders).scores
    restored = restore_array(noisy[..., None], Options(model=model), "YXS")
    assert score.psnr_db == pytest.approx(psnr(noisy[..., None], restored, score.peak), abs=1e-3)
    assert score.peak == pytest.approx(65535, rel=0.01)


def test_affine_fit_brings_pairs_to_one_scale(tmp_path: Path) -> None:
    clean = photo(1, (40, 50))
    noise = np.random.default_rng(2).normal(0, 2, clean.shape)
    noisy = np.rint(0.5 * clean + 60 + noise).astype(np.uint8)
    folders = write_pairs(tmp_path, {"a.png": noisy}, {"a.png": clean})
    (plain,) = evaluate_pairs(IDENTITY, *folders).scores
    (fitted,) = evaluate_pairs(IDENTITY, *folders, affine=True).scores
    assert (fitted.gain, fitted.offset) == pytest.approx((0.5, 60), abs=0.3)
    assert fitted.psnr_db == pytest.approx(10 * np.log10(255**2 / (4 + 1 / 12)), abs=0.2)
    assert plain.psnr_db < 20


def test_any_denoiser_is_measured_by_the_same_protocol() -> None:
    clean = np.tile(np.arange(0, 240, 5, dtype=np.uint8), (16, 1))[..., None]
    noisy = np.clip(clean.astype(int) + 9, 0, 255).astype(np.uint8)
    case = score_pair(Path("a.png"), noisy, clean, False, lambda z: z - 400.0)
    assert case.restored.max() == 0, "values outside the pixel type are clipped"
    assert case.score.psnr_before_db == pytest.approx(20 * np.log10(255 / 9))
    fitted = score_pair(Path("a.png"), noisy, clean, True, lambda z: z + 3.0)
    assert (fitted.score.gain, fitted.score.offset) == pytest.approx((1, 9))
    assert fitted.score.psnr_db == pytest.approx(20 * np.log10(255 / 3))
    white = score_white(Path("a.png"), clean, 25, (0, 3, 25), lambda z: z)
    assert np.array_equal(white.noisy, add_white_noise(clean, 25, (0, 3, 25)))
    assert white.score.sigma == 25 and white.restored.min() == 0 > white.noisy.min()


def test_equal_pairs_have_no_psnr_in_json(tmp_path: Path) -> None:
    image = photo(1, (20, 20))
    found = evaluate_pairs(IDENTITY, *write_pairs(tmp_path, {"a.png": image}, {"a.png": image}))
    assert found.scores[0].psnr_before_db == float("inf")
    assert (
        json.loads(json.dumps(found.as_dict(), allow_nan=False))["means"][0]["psnr_before_db"]
        is None
    )


def test_images_are_listed_by_name_without_other_files(tmp_path: Path) -> None:
    folder = write_folder(
        tmp_path / "set", {n: photo(1, (12, 12)) for n in ("b.png", "B.PNG", "a.png")}
    )
    (folder / "README.md").write_text("no image")
    (folder / ".a.png").write_text("no image")
    (folder / "c.png").mkdir()
    assert [p.name for p in list_images(folder)] == ["B.PNG", "a.png", "b.png"]


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="set: is not a folder"):
        evaluate(RGB, tmp_path / "set")
    with pytest.raises(ImageError, match="set: holds no image"):
        evaluate(RGB, write_folder(tmp_path / "set", {}))


def _bmp(path: Path) -> None:
    path.write_bytes(b"BM" + bytes(60))


def _text(path: Path) -> None:
    path.write_text("this is no image")


def _float(path: Path) -> None:
    tifffile.imwrite(path, np.ones((20, 20, 3), np.float32), photometric="rgb")


def _stack(path: Path) -> None:
    tifffile.imwrite(path, np.ones((2, 20, 20), np.uint8), photometric="minisblack")


def _grey(path: Path) -> None:
    tifffile.imwrite(path, np.ones((20, 20), np.uint8), photometric="minisblack")


def _tiny(path: Path) -> None:
    tifffile.imwrite(path, np.ones((20, 10, 3), np.uint8), photometric="rgb")


REFUSED = [
    ("z.bmp", _bmp, ImageError, "z.bmp: "),
    ("z.png", _text, ImageError, "z.png: the file holds text"),
    ("z.tif", _float, ImageError, "z.tif: is float32; noise is added to uint8 or uint16 images"),
    ("z.tif", _stack, ShapeError, "z.tif: has 2 planes"),
    ("z.tif", _grey, ShapeError, "z.tif: model lively takes 3 channels, the image has 1; use"),
    ("z.tif", _tiny, ShapeError, "z.tif: is 20 x 10 px, too small for SSIM"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "write", "error", "message"), REFUSED, ids=[r[3] for r in REFUSED]
)
def test_bad_images_are_refused_before_the_first_run(
    tmp_path: Path, name: str, write: Any, error: type[Exception], message: str
) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": photo(1)})
    write(folder / name)
    with pytest.raises(error, match=message) as caught:
        evaluate(RGB, folder, on_result=lambda *news: pytest.fail("ran an image"))
    assert "\n" not in str(caught.value)


def test_mono_model_refuses_two_channels_by_their_number(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    pixels = np.ones((20, 20, 5), np.uint8)
    tifffile.imwrite(folder / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    with pytest.raises((ShapeError, ImageError), match="a.tif"):
        evaluate(IDENTITY, folder)


def test_nan_is_refused(tmp_path: Path) -> None:
    for name in ("noisy", "clean"):
        (tmp_path / name).mkdir()
        pixels = np.full((20, 20), np.nan, np.float32)
        tifffile.imwrite(tmp_path / name / "a.tif", pixels, photometric="minisblack")
    with pytest.raises(ImageError, match="a.tif: has NaN or infinite values"):
        evaluate_pairs(IDENTITY, tmp_path / "noisy", tmp_path / "clean")


def test_models_that_change_the_channels_are_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a.png": photo(1, (20, 20))})
    with pytest.raises(ShapeError, match="makes 2 channels of 1"):
        evaluate(lively_model(CONFIGS["other_channels"]), folder)


@pytest.mark.parametrize(("sigmas", "seed"), [((), 0), ((15, -1), 0), ((15,), -1)])
def test_bad_sigmas_are_refused(tmp_path: Path, sigmas: tuple[int, ...], seed: int) -> None:
    with pytest.raises(ShapeError, match="give at least one sigma"):
        evaluate(RGB, tmp_path, sigmas, seed)


GREY, COLOUR = photo(1, (37, 41)), photo(1)
BAD_PAIRS = [
    ("other names", COLOUR, "b.png", COLOUR, ImageError, r"in one folder only \(a.png, b.png\)"),
    ("sizes", COLOUR, "a.png", COLOUR[:-1], ShapeError, r"\(37, 41, 3\), .* \(36, 41, 3\)"),
    ("types", COLOUR, "a.png", photo(1, dtype="uint16"), ShapeError, "uint8, .* uint16; fit gain"),
    ("channels", GREY, "a.png", GREY, ShapeError, "takes 3 channels"),
]


@pytest.mark.parametrize(
    ("note", "noisy", "name", "clean", "error", "message"), BAD_PAIRS, ids=[b[0] for b in BAD_PAIRS]
)
def test_bad_pairs_are_refused(
    tmp_path: Path,
    note: str,
    noisy: NDArray[Any],
    name: str,
    clean: NDArray[Any],
    error: type[Exception],
    message: str,
) -> None:
    folders = write_pairs(tmp_path, {"a.png": noisy}, {name: clean})
    with pytest.raises(error, match=message):
        evaluate_pairs(RGB, *folders)


def case(name: str, before_db: float, after_db: float, sigma: int | None = 25) -> Case:
    picture = photo(1, (12, 14, 1)).astype(np.float64)
    score = Score(name, sigma, 12, 14, before_db, after_db, 0.5, 0.6, 0.1)
    return Case(score, picture, picture / 2, picture)


def test_gallery_keeps_the_cases_with_the_least_gain(tmp_path: Path) -> None:
    gallery = Gallery(2)
    for name, before, after in (("a", 20, 30), ("b", 40, 39), ("c", 20, 21), ("d", 10, 25)):
        gallery.add(case(f"{name}.png", before, after))
    assert [c.score.image for c in gallery.cases] == ["b.png", "c.png"]
    written = gallery.save(tmp_path / "new" / "worst")
    assert [p.name for p in written] == ["01_b_sigma25_-1.00dB.png", "02_c_sigma25_+1.00dB.png"]
    shown = imagecodecs.png_decode(written[0].read_bytes())
    assert shown.shape == (12, 3 * 14 + 2 * GAP_PX)
    np.testing.assert_array_equal(shown[:, :14], photo(1, (12, 14)))
    np.testing.assert_array_equal(shown[:, -14:], photo(1, (12, 14)))
    assert (shown[:, 14 : 14 + GAP_PX] == 255).all()


def test_gallery_shows_the_range_of_its_case() -> None:
    low_high = np.linspace(100.0, 300.0, 12 * 14 * 3).reshape(12, 14, 3)
    score = Score("a", None, 12, 14, 1.0, 2.0, 0.5, 0.6, 0.1, peak=200.0)
    shown = side_by_side(Case(score, low_high, low_high, low_high, 100.0))
    assert (shown[0, 0] == [0, 1, 1]).all() and (shown[-1, -1] == [254, 254, 255]).all()


def test_gallery_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    gallery = Gallery()
    gallery.add(case("a.png", 1, 2, None))
    with pytest.raises(ImageError, match="worst: cannot be made"):
        gallery.save(tmp_path / "file" / "worst")


def test_csv_has_a_line_for_every_model_and_score(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "set", {"a, b.png": photo(1, (16, 17))})
    found = [evaluate(IDENTITY, folder, (15, 25)), evaluate(IDENTITY, folder, (15, 25), seed=1)]
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [(r["model"], r["image"], r["sigma"]) for r in rows] == 2 * [
        ("identity", "a, b.png", "15"), ("identity", "a, b.png", "25")
    ]  # fmt: skip
    assert float(rows[3]["psnr_db"]) == found[1].scores[1].psnr_db


def test_pairs_are_recognised_by_their_folders(tmp_path: Path) -> None:
    assert pair_folders(tmp_path) is None
    (tmp_path / "noisy").mkdir()
    assert pair_folders(tmp_path) is None
    (tmp_path / "clean").mkdir()
    assert pair_folders(tmp_path) == (tmp_path / "noisy", tmp_path / "clean")
