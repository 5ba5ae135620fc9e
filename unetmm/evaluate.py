"""Quality of a model on a folder: added white Gaussian noise, or pairs of noisy and clean images.

Every image goes through the row stream as in a real run, calibration included; only the last step
differs, as the field measures restored values that are clipped but not rounded.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate import intensity_range
from unetmm.errors import ImageError, ShapeError
from unetmm.io import Box, ImageInfo, open_source
from unetmm.metrics import LUMA, PEAK, WINDOW_PX, fit_affine, psnr, ssim
from unetmm.pipeline import Options, closing, restore_array
from unetmm.weights import Model

Pixels = NDArray[Any]

SIGMAS = (15, 25, 50)
"""Noise levels in grey levels of 255 that the field reports."""
EXTENSIONS = frozenset(
    {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif", ".webp", ".jp2", ".pgm", ".ppm"}
)
"""What counts as an image of a folder. Those that cannot be read are refused, not passed over:
a mean over fewer images than the set has would be compared with others' means all the same."""
RGB_SAMPLES = 3


@dataclass(frozen=True)
class Score:
    """One image at one noise level, before and after restoration."""

    image: str
    """File name."""
    sigma: int | None
    """Noise added, in grey levels of 255; None where the noise is real."""
    height: int
    width: int
    psnr_before_db: float
    psnr_db: float
    ssim_before: float
    ssim: float
    seconds: float
    """Time to restore the image, calibration included."""
    peak: float = PEAK
    """What PSNR and SSIM take as the full range, in stored values."""
    gain: float = 1.0
    """The clean image was compared as gain * clean + offset."""
    offset: float = 0.0


@dataclass(frozen=True)
class Mean:
    """Plain means over the images of one noise level."""

    sigma: int | None
    images: int
    psnr_before_db: float
    psnr_db: float
    ssim_before: float
    ssim: float
    seconds: float


@dataclass(frozen=True)
class Evaluation:
    """Scores of one model on one folder."""

    model: str
    dataset: str
    """Name of the folder of images; for pairs the noisy folder's, with its parent's: cc15/noisy."""
    seed: int | None
    """Seed of the added noise; None for pairs."""
    scores: tuple[Score, ...]
    """By image, then by noise level."""

    @property
    def means(self) -> tuple[Mean, ...]:
        """One mean a noise level, in the order the levels were given."""
        levels = dict.fromkeys(s.sigma for s in self.scores)
        return tuple(_mean([s for s in self.scores if s.sigma == level]) for level in levels)

    def as_rows(self) -> list[dict[str, Any]]:
        """One flat row a score, for CSV."""
        origin = {"model": self.model, "dataset": self.dataset}
        return [origin | asdict(score) for score in self.scores]

    def as_dict(self) -> dict[str, Any]:
        """Everything, for JSON; the infinite PSNR of two equal images becomes None."""
        from unetmm import __version__

        return {
            "version": __version__,
            "model": self.model,
            "dataset": self.dataset,
            "seed": self.seed,
            "means": [_finite(asdict(m)) for m in self.means],
            "images": [_finite(asdict(s)) for s in self.scores],
        }


OnResult = Callable[[Score, int, int], None]
"""Told each score, how many are done and how many there will be."""


def _ignore(score: Score, done: int, total: int) -> None:
    pass


def evaluate(
    model: Model,
    folder: Path | str,
    sigmas: Sequence[int] = SIGMAS,
    seed: int = 0,
    options: Options | None = None,
    on_result: OnResult = _ignore,
) -> Evaluation:
    """Measure a denoiser on clean images with added white Gaussian noise.

    The noise is neither clipped nor rounded; it depends on seed, the image's place in the sorted
    folder and sigma, and on nothing else. Images are compared on the scale 0 to 255, over all
    pixels and channels, no border left out. A model for one channel gets colour images as grey
    ones, rounded as the field's grey sets are; 16-bit images are scaled down to 255.

    Parameters
    ----------
    folder : holds clean 8 or 16-bit images; folders inside it are not entered.
    sigmas : standard deviations in grey levels of 255.
    options : budget, workers and strength; its model, range and calibration do not count.

    Raises
    ------
    ImageError
        If there is no image, or one that cannot be read; all are looked at before the first run.
    ShapeError
        If an image has not the model's channels, or a sigma is negative.
    """
    if not sigmas or min(sigmas) < 0 or seed < 0:
        raise ShapeError(
            f"sigmas {tuple(sigmas)}, seed {seed}: give at least one sigma, none below 0"
        )
    _check_model(model)
    paths = list_images(Path(folder))
    for path in paths:
        _check_integers(_check_image(path, model), path)
    chosen = replace(options or Options(), model=model, fixed_range=(0.0, 1.0), calibration=None)
    _warm_up(model)
    collected = _Collected(len(paths) * len(sigmas), on_result)
    for index, path in enumerate(paths):
        pixels = read_image(path, model.config.in_channels)
        clean = pixels * (PEAK / np.iinfo(pixels.dtype).max)
        for sigma in sigmas:
            noisy = add_white_noise(clean, sigma, (seed, index, sigma))
            restored, seconds = _timed_restore((noisy / PEAK).astype(np.float32), chosen)
            output = np.clip(restored.astype(np.float64) * PEAK, 0, PEAK)
            collected.add(_score(path, sigma, clean, noisy, output, seconds))
    return Evaluation(model.name, Path(folder).resolve().name, seed, tuple(collected.scores))


def evaluate_pairs(
    model: Model,
    noisy_folder: Path | str,
    clean_folder: Path | str,
    affine: bool = False,
    options: Options | None = None,
    on_result: OnResult = _ignore,
) -> Evaluation:
    """Measure a denoiser on real noise: two folders with the same file names.

    The net's range is what a run would choose (0 to 255 for 8-bit images), unless `options` fixes
    one; the output is clipped to the limits of the noisy image's type and not rounded. The peak
    is 255 for 8-bit images, else the robust range of the clean image.

    Parameters
    ----------
    affine : compare with gain * clean + offset, the least-squares fit to the noisy image
        For micrographs that were scaled each by itself. Before and after restoration the target
        is the same. PSNR then is on the noisy image's scale.
    options : budget, workers, range and strength; its model and calibration do not count.

    Raises
    ------
    ImageError
        If there is no image, one without a partner, or one that cannot be read.
    ShapeError
        If the two images of a pair do not fit each other, or not the model.
    """
    _check_model(model)
    pairs = list_pairs(Path(noisy_folder), Path(clean_folder))
    for noisy_path, clean_path in pairs:
        infos = _check_image(noisy_path, model), _check_image(clean_path, model)
        _check_pair(*infos, noisy_path, affine)
    chosen = replace(options or Options(), model=model, calibration=None)
    _warm_up(model)
    collected = _Collected(len(pairs), on_result)
    for noisy_path, clean_path in pairs:
        noisy = read_image(noisy_path, model.config.in_channels)
        clean = read_image(clean_path, model.config.in_channels)
        collected.add(_score_pair(noisy_path, noisy, clean, affine, chosen))
    dataset = "/".join(Path(noisy_folder).resolve().parts[-2:])
    return Evaluation(model.name, dataset, None, tuple(collected.scores))


def _score_pair(path: Path, noisy: Pixels, clean: Pixels, affine: bool, options: Options) -> Score:
    gain, offset = fit_affine(clean, noisy) if affine else (1.0, 0.0)
    target = gain * clean.astype(np.float64) + offset
    low, high = intensity_range(target, noisy.dtype)
    if options.fixed_range is None and noisy.dtype == np.uint8:
        # The stream gets floats, so that it does not round; 8-bit photos keep their full range.
        options = replace(options, fixed_range=(0.0, PEAK))
    restored, seconds = _timed_restore(noisy.astype(np.float32), options)
    if noisy.dtype.kind in "ui":
        limits = np.iinfo(noisy.dtype)
        restored = np.clip(restored, limits.min, limits.max)
    score = _score(path, None, target, noisy, restored, seconds, high - low)
    return replace(score, gain=gain, offset=offset)


def list_images(folder: Path) -> list[Path]:
    """The images of a folder, sorted by name.

    Raises
    ------
    ImageError
        If there is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise ImageError(f"{folder}: is not a folder; give a folder of images")
    visible = (p for p in folder.iterdir() if not p.name.startswith("."))
    found = [p for p in visible if p.suffix.lower() in EXTENSIONS and not p.is_dir()]
    if not found:
        raise ImageError(f"{folder}: holds no image; give a folder of PNG, JPEG or TIFF files")
    return sorted(found, key=lambda p: p.name)


def list_pairs(noisy_folder: Path, clean_folder: Path) -> list[tuple[Path, Path]]:
    """(noisy, clean) files of equal names, sorted by name.

    Raises
    ------
    ImageError
        If a folder is missing or empty, or an image has no partner.
    """
    noisy = {p.name: p for p in list_images(noisy_folder)}
    clean = {p.name: p for p in list_images(clean_folder)}
    lonely = sorted(noisy.keys() ^ clean.keys())
    if lonely:
        names = ", ".join(lonely[:3]) + (", ..." if len(lonely) > 3 else "")
        raise ImageError(
            f"{noisy_folder} and {clean_folder}: {len(lonely)} images are in one folder only "
            f"({names}); give two folders with the same file names"
        )
    return [(noisy[name], clean[name]) for name in noisy]


def read_image(path: Path, channels: int) -> Pixels:
    """A whole image (height, width, channels) without alpha, dtype as stored; colour becomes grey
    where one channel is asked for.

    Raises
    ------
    ImageError
        If it cannot be read, or has values that are not finite.
    """
    with closing(open_source(path)) as source:
        info = source.info
        pixels: Pixels = source.read((0, 0, 0), Box(0, 0, info.height, info.width))
    pixels = pixels[..., : info.samples - info.alpha]
    if channels == 1 and pixels.shape[-1] == RGB_SAMPLES:
        pixels = to_grey(pixels)
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise ImageError(f"{path}: has NaN or infinite values, which cannot be compared")
    return pixels


def to_grey(pixels: Pixels) -> Pixels:
    """RGB (h, w, 3) -> grey (h, w, 1) of the same dtype, as MATLAB's rgb2gray; integers rounded."""
    grey = (pixels @ LUMA.astype(np.float64))[..., None]
    rounded: Pixels = (grey if pixels.dtype.kind == "f" else np.rint(grey)).astype(pixels.dtype)
    return rounded


def add_white_noise(clean: Pixels, sigma: int, seed: tuple[int, ...]) -> NDArray[np.float64]:
    """`clean` with Gaussian noise of standard deviation `sigma`, not clipped."""
    noisy: NDArray[np.float64] = clean + np.random.default_rng(seed).normal(0.0, sigma, clean.shape)
    return noisy


def _check_model(model: Model) -> None:
    config = model.config
    if config.in_channels != config.out_channels or config.output_scale != 1:
        raise ShapeError(
            f"model {model.name} makes {config.out_channels} channels of {config.in_channels} at "
            f"{config.output_scale} times the size; give one whose output is like its input"
        )


def _check_image(path: Path, model: Model) -> ImageInfo:
    """Metadata of an image that the model can be measured on; reads no pixel."""
    with closing(open_source(path)) as source:
        info = source.info
    channels, samples = model.config.in_channels, info.samples - info.alpha
    if len(info.planes) > 1:
        raise ShapeError(
            f"{path}: has {len(info.planes)} planes in axes {info.axes}; give images of one plane"
        )
    if channels != samples and not (channels == 1 and samples == RGB_SAMPLES):
        raise ShapeError(
            f"{path}: model {model.name} takes {channels} channels, the image has {samples}; "
            f"{'use a mono model' if samples == 1 else f'give images of {channels} channels'}"
        )
    if min(info.height, info.width) < WINDOW_PX:
        raise ShapeError(
            f"{path}: is {info.height} x {info.width} px, too small for SSIM; give images of at "
            f"least {WINDOW_PX} x {WINDOW_PX} px"
        )
    return info


def _check_integers(info: ImageInfo, path: Path) -> None:
    """Only integers have a full scale, which becomes 255."""
    if info.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: is {info.dtype}; noise is added to uint8 or uint16 images")


def _check_pair(noisy: ImageInfo, clean: ImageInfo, path: Path, affine: bool) -> None:
    sizes = [(i.height, i.width, i.samples - i.alpha) for i in (noisy, clean)]
    if sizes[0] != sizes[1]:
        raise ShapeError(f"{path}: is {sizes[0]}, its clean partner {sizes[1]}; give equal sizes")
    if noisy.dtype != clean.dtype and not affine:
        raise ShapeError(
            f"{path}: is {noisy.dtype}, its clean partner {clean.dtype}; fit gain and offset "
            f"(affine) to compare them"
        )


def _warm_up(model: Model) -> None:
    """Read the weights and load the kernels, or the first image would be charged for them."""
    from unetmm.stream.kernel_cache import ensure_compiled

    assert model.tensors
    ensure_compiled()


def _timed_restore(image: NDArray[np.float32], options: Options) -> tuple[Pixels, float]:
    """A restored (h, w, c) and the seconds it took."""
    started = time.perf_counter()
    restored = restore_array(np.ascontiguousarray(image), options, "YXS")
    return restored, time.perf_counter() - started


def _score(
    path: Path,
    sigma: int | None,
    clean: Pixels,
    noisy: Pixels,
    output: Pixels,
    seconds: float,
    peak: float = PEAK,
) -> Score:
    height, width, _ = clean.shape
    return Score(
        path.name,
        sigma,
        height,
        width,
        psnr(clean, noisy, peak),
        psnr(clean, output, peak),
        ssim(clean, noisy, peak),
        ssim(clean, output, peak),
        seconds,
        peak,
    )


class _Collected:
    """Scores so far, told to the caller one by one."""

    def __init__(self, total: int, on_result: OnResult) -> None:
        self.scores: list[Score] = []
        self.total, self.on_result = total, on_result

    def add(self, score: Score) -> None:
        self.scores.append(score)
        self.on_result(score, len(self.scores), self.total)


def _mean(scores: Sequence[Score]) -> Mean:
    def mean(values: Iterator[float]) -> float:
        return math.fsum(values) / len(scores)

    return Mean(
        scores[0].sigma,
        len(scores),
        mean(s.psnr_before_db for s in scores),
        mean(s.psnr_db for s in scores),
        mean(s.ssim_before for s in scores),
        mean(s.ssim for s in scores),
        mean(s.seconds for s in scores),
    )


def _finite(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()
    }
