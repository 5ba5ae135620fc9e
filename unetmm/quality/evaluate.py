"""Quality of a model on a folder: added white Gaussian noise, or pairs of noisy and clean images.

Every image goes through the row stream as in a real run, calibration included; only the last step
differs, as the field measures restored values that are clipped but not rounded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.intensities.range import intensity_range
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.quality.degraded import LEAST_PX, degraded, kinds_of
from unetmm.quality.metrics import PEAK, fit_affine, psnr, ssim
from unetmm.quality.scores import Evaluation, Score
from unetmm.quality.testsets import (
    Pixels,
    add_white_noise,
    check_image,
    check_integers,
    check_pair,
    list_images,
    list_pairs,
    read_image,
)
from unetmm.run.of_array import restore_array

SIGMAS = (15, 25, 50)
"""Noise levels in grey levels of 255 that the field reports."""


@dataclass(frozen=True)
class Case:
    """A score with the pictures it was taken from, on the scale of the noisy image."""

    score: Score
    clean: Pixels
    """Clean picture, (height, width, channels); the other two have this shape as well."""
    noisy: Pixels
    restored: Pixels
    low: float = 0.0
    """Value of black; white is `score.peak` above."""


OnResult = Callable[[Case, int, int], None]
"""Callback with a finished case, the number of finished cases, and their final number."""

Restore = Callable[[Pixels], Pixels]
"""A denoiser of any kind: takes and gives (height, width, channels) of stored values, unclipped."""


def _ignore(case: Case, done: int, total: int) -> None:
    pass


def evaluate(
    model: Model,
    folder: Path | str,
    sigmas: Sequence[int] = SIGMAS,
    seed: int = 0,
    options: Options | None = None,
    on_result: OnResult = _ignore,
    restore: Restore | None = None,
) -> Evaluation:
    """Measure a denoiser on clean images with white noise; other models as `degraded` says.

    The noise is neither clipped nor rounded; it depends on seed, the image's place in the sorted
    folder and sigma, and on nothing else. Images are compared on the scale 0 to 255, over all
    pixels and channels, no border left out. A model for one channel gets colour images as grey
    ones, rounded as the field's grey sets are; 16-bit images are scaled down to 255.

    Parameters
    ----------
    folder : holds clean 8 or 16-bit images; folders inside it are not entered.
    sigmas : standard deviations in grey levels of 255.
    options : budget, workers and strength; its model, range and calibration do not count.
    restore : another way to run the model than `model_on_255`.

    Raises
    ------
    ImageError
        If there is no image, or one that cannot be read; all are looked at before the first run.
    ShapeError
        If an image has not the model's channels, or a sigma is negative.
    """
    if model.task in ("upscale", "deblur"):
        return _evaluate_task(model, Path(folder), seed, options, on_result)
    if not sigmas or min(sigmas) < 0 or seed < 0:
        raise ShapeError(
            f"sigmas {tuple(sigmas)}, seed {seed}: give at least one sigma, none below 0"
        )
    _check_model(model)
    paths = list_images(Path(folder))
    for path in paths:
        check_integers(check_image(path, model), path)
    if restore is None:
        restore = model_on_255(model, options)
        _warm_up(model)
    collected = _Collected(len(paths) * len(sigmas), on_result)
    for index, path in enumerate(paths):
        pixels = read_image(path, model.config.in_channels)
        for sigma in sigmas:
            collected.add(score_white(path, pixels, sigma, (seed, index, sigma), restore))
    return Evaluation(model.name, Path(folder).resolve().name, seed, tuple(collected.scores))


def _evaluate_task(
    model: Model, folder: Path, seed: int, options: Options | None, on_result: OnResult
) -> Evaluation:
    """Measure a model that does something else than to denoise, by `quality.degraded`."""
    paths = list_images(folder)
    infos = [check_image(path, model, LEAST_PX) for path in paths]
    for info, path in zip(infos, paths, strict=True):
        check_integers(info, path)
    # Small and blurred images have no pixels that optics could not have made.
    restore = model_on_255(model, replace(options or Options(), outliers="none"))
    _warm_up(model)
    kinds = kinds_of(model)
    collected = _Collected(len(paths) * len(kinds), on_result)
    for index, (path, info) in enumerate(zip(paths, infos, strict=True)):
        pixels = read_image(path, info.samples - info.alpha)
        clean = pixels * (PEAK / np.iinfo(pixels.dtype).max)
        for number, kind in enumerate(kinds):
            pair = degraded(clean, model, kind, (seed, index, number))
            restored, seconds = _timed(restore, pair.given)
            clean_part, plain_part = pair.compared(pair.clean), pair.compared(pair.plain)
            name = path.with_name(f"{path.name}, {kind}") if kind else path
            pictures = clean_part, plain_part, pair.compared(restored)
            collected.add(_case(name, None, pictures, seconds))
    return Evaluation(model.name, folder.resolve().name, None, tuple(collected.scores))


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
        infos = check_image(noisy_path, model), check_image(clean_path, model)
        check_pair(*infos, noisy_path, affine)
    _warm_up(model)
    collected = _Collected(len(pairs), on_result)
    for noisy_path, clean_path in pairs:
        noisy = read_image(noisy_path, model.config.in_channels)
        clean = read_image(clean_path, model.config.in_channels)
        restore = model_on_stored(model, noisy.dtype, options)
        collected.add(score_pair(noisy_path, noisy, clean, affine, restore))
    dataset = "/".join(Path(noisy_folder).resolve().parts[-2:])
    return Evaluation(model.name, dataset, None, tuple(collected.scores))


def model_on_255(model: Model, options: Options | None = None) -> Restore:
    """A model as a function of images on the scale 0 to 255, which becomes the net's 0 to 1."""
    chosen = replace(options or Options(), model=model, fixed_range=(0.0, 1.0), calibration=None)
    return lambda noisy: _stream((noisy / PEAK).astype(np.float32), chosen) * PEAK


def model_on_stored(model: Model, dtype: np.dtype[Any], options: Options | None = None) -> Restore:
    """A model as a function of images stored as `dtype`, with the range a run would choose."""
    chosen = replace(options or Options(), model=model, calibration=None)
    if chosen.fixed_range is None and dtype == np.uint8:
        # The stream gets floats, so that it does not round; 8-bit photos keep their full range.
        chosen = replace(chosen, fixed_range=(0.0, PEAK))
    return lambda noisy: _stream(noisy.astype(np.float32), chosen)


def score_white(
    path: Path, pixels: Pixels, sigma: int, seed: tuple[int, ...], restore: Restore
) -> Case:
    """Measure any denoiser on one clean uint8 or uint16 image, by the protocol of `evaluate`.

    Parameters
    ----------
    restore : gets and gives the scale 0 to 255.
    """
    clean = pixels * (PEAK / np.iinfo(pixels.dtype).max)
    noisy = add_white_noise(clean, sigma, seed)
    restored, seconds = _timed(restore, noisy)
    return _case(path, sigma, (clean, noisy, np.clip(restored, 0, PEAK)), seconds)


def score_pair(path: Path, noisy: Pixels, clean: Pixels, affine: bool, restore: Restore) -> Case:
    """Measure any denoiser on one pair, by the protocol of `evaluate_pairs`."""
    gain, offset = fit_affine(clean, noisy) if affine else (1.0, 0.0)
    target = gain * clean.astype(np.float64) + offset
    low, high = intensity_range(target, noisy.dtype)
    restored, seconds = _timed(restore, noisy)
    if noisy.dtype.kind in "ui":
        limits = np.iinfo(noisy.dtype)
        restored = np.clip(restored, limits.min, limits.max)
    pictures = target, noisy, restored
    return _case(path, None, pictures, seconds, low, high - low, (gain, offset))


def _check_model(model: Model) -> None:
    config = model.config
    if config.gives != "image":
        what = "maps" if config.gives == "map" else config.gives
        raise ShapeError(f"model {model.name} gives {what}; give one that restores an image")
    if config.takes_bands:
        raise ShapeError(
            f"model {model.name} takes {config.in_channels} bands together; test sets are of grey "
            "and colours, so give one that takes these"
        )
    if config.in_channels != config.out_channels or config.output_scale != 1:
        raise ShapeError(
            f"model {model.name} makes {config.out_channels} channels of {config.in_channels} at "
            f"{config.output_scale} times the size; give one whose output is like its input"
        )


def _warm_up(model: Model) -> None:
    """Read the weights and load the kernels, or the first image would be charged for them."""
    from unetmm.engine.cpu.prepare import ensure_compiled

    assert model.tensors
    ensure_compiled()


def _stream(image: NDArray[np.float32], options: Options) -> NDArray[np.float64]:
    """Restored image (h, w, c) in double precision, in which everything is compared."""
    restored = restore_array(np.ascontiguousarray(image), options, "YXS")
    return np.asarray(restored, np.float64)


def _timed(restore: Restore, noisy: Pixels) -> tuple[Pixels, float]:
    """Restored image (h, w, c), and the seconds it took."""
    started = time.perf_counter()
    restored = restore(noisy)
    return restored, time.perf_counter() - started


def _case(
    path: Path,
    sigma: int | None,
    pictures: tuple[Pixels, Pixels, Pixels],
    seconds: float,
    low: float = 0.0,
    peak: float = PEAK,
    affine: tuple[float, float] = (1.0, 0.0),
) -> Case:
    """Measure `pictures`: clean, noisy, restored."""
    clean, noisy, output = pictures
    height, width, _ = clean.shape
    score = Score(
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
        *affine,
    )
    return Case(score, clean, noisy, output, low)


class _Collected:
    """Scores so far. Each case is told to the caller; then its pictures are let go."""

    def __init__(self, total: int, on_result: OnResult) -> None:
        self.scores: list[Score] = []
        self.total, self.on_result = total, on_result

    def add(self, case: Case) -> None:
        self.scores.append(case.score)
        self.on_result(case, len(self.scores), self.total)
