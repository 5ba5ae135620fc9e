"""What a Python user calls: `restore`, `preview` that shows what it would make of an image, and
`make_plan` that says what it would take."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, Unpack, get_args, overload

import numpy as np

from unetmm.calibrate.calibration import Calibration
from unetmm.choices import ModelChoice, RestoreChoices, budget_of, dtype_name, options_of
from unetmm.engine.choice import DeviceChoice
from unetmm.engine.precision import PrecisionChoice
from unetmm.errors import ImageError, ShapeError
from unetmm.intensities.counts import TransformChoice
from unetmm.intensities.outliers import OutlierChoice
from unetmm.intensities.rounding import RoundingChoice
from unetmm.io.formats import SUFFIXES_WITH_AXES
from unetmm.io.image import Box
from unetmm.io.kinds import Given, as_given, is_dask_array, is_list_of_images
from unetmm.io.palette import PaletteChoice
from unetmm.io.places import Place, RemotePath, to_place
from unetmm.io.select import Selection
from unetmm.io.sniff import sniff_format
from unetmm.models.choice import pick_model
from unetmm.models.tasks import default_model, made_for
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image
from unetmm.plan.types import Plan
from unetmm.run.loaded import Loaded
from unetmm.run.of_array import ARRAY_CHUNK_PX, restore_array
from unetmm.run.of_dask_array import restore_lazily
from unetmm.run.of_file import restore_file
from unetmm.run.preview import Preview, Wishes, preview_array, preview_file
from unetmm.run.report import Progress, Report
from unetmm.run.telling import ProgressChoice, telling

Kind = TypeVar("Kind")


def make_plan(
    shape: tuple[int, ...],
    dtype: Any,
    model: str | Path | Model | None = None,
    mem_budget: str | int | None = None,
    axes: str | None = None,
    device: DeviceChoice = "auto",
    device_budget: str | int | None = None,
    output_dtype: str | None = None,
) -> Plan:
    """What `restore` would do with an array of this shape; needs no pixels, and torch only where
    a GPU is asked for. Axes are guessed, or refused, as there.

    Raises
    ------
    BudgetError
        If it cannot fit the budget.
    ShapeError
        If shape, dtype, axes and model do not fit together, or there is no such device.
    """
    storage = in_memory_storage((ARRAY_CHUNK_PX, ARRAY_CHUNK_PX))
    options = Options(  # fmt: skip
        model=model,
        budget_bytes=budget_of(mem_budget),
        device=device,
        device_budget_bytes=budget_of(device_budget),
        dtype=dtype_name(output_dtype),
    )
    try:
        info = options.array_info(shape, np.dtype(dtype), axes)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"make_plan: shape {shape} and dtype {dtype}: {error}") from None
    return plan_image(info, storage, storage, pick_model(model, info), options)


@overload
def restore(
    image: str | Place, model: ModelChoice = None, **choices: Unpack[RestoreChoices]
) -> Report: ...


@overload
def restore(image: Kind, model: ModelChoice = None, **choices: Unpack[RestoreChoices]) -> Kind: ...


def restore(
    image: Any,
    model: ModelChoice = None,
    mem_budget: str | int | None = None,
    calibration: str | Path | Calibration | None = None,
    output: str | Place | None = None,
    axes: str | None = None,
    strength: float = 1.0,
    precision: PrecisionChoice = "auto",
    device: DeviceChoice = "auto",
    device_budget: str | int | None = None,
    palette: PaletteChoice = "auto",
    dtype: Any = None,
    rounding: RoundingChoice = "nearest",
    nodata: float | Sequence[float] | str | None = None,
    outliers: OutlierChoice = "keep",
    transform: TransformChoice = "auto",
    progress: ProgressChoice = False,
    series: int | None = None,
    overwrite: bool = False,
    scores: bool = False,
    fixed_range: Sequence[float] | None = None,
) -> Any:
    """Restore an image: NumPy, Dask (lazily), xarray, PIL, torch, a list of them, a path or a URL.

    The same kind comes back, of maps or classes where the model gives these; a Report for a path.

    Parameters
    ----------
    model : name of the zoo, weight file or loaded model; by default the one that fits the image.
    mem_budget : peak memory of the process, arrays on top: bytes, "4GB", "50%" (by default).
    calibration : statistics of another image of the series, or a file that has them.
    output, overwrite : where to write a path's, even if another is there; arrays are given back.
    axes : of an array, .npy or bare Zarr, such as "YXC"; S are colours, by default 3 or 4 last.
    strength, scores : 0 gives the input back, 1 the net's answer; all scores of classes, if True.
    precision : "fp32" (auto), "bf16" (faster, AVX512_BF16 or a GPU), "fp16" (a GPU only).
    device, device_budget : "cpu" (auto), "cuda[:N]", "torch"; a GPU's peak, by default 80 %.
    dtype, rounding : of the output ("input": even of few counts); "nearest", "dither" keeps means.
    palette, series : "values" or "colours" of a palette; which image of several, from 0.
    fixed_range, nodata : black and white to the net; values of no measurement ("none": all are).
    outliers, transform : "keep", "replace" or "none" of hot pixels; "anscombe" or "none" of counts.
    progress : True for a bar (needs tqdm), or a function that takes `Progress`.

    Raises
    ------
    UnetmmError : one of its leaves, with what was asked, what was found and what would work.
    """
    return _restore(image, output, axes, palette, series, options_of(
        model, mem_budget, calibration, strength, precision, device, device_budget, dtype, rounding,
        nodata, outliers, transform, overwrite, scores, fixed_range), progress)  # fmt: skip


denoise = restore


@overload
def upscale(
    image: str | Place, scale: int = 2, model: ModelChoice = None, **choices: Unpack[RestoreChoices]
) -> Report: ...


@overload
def upscale(
    image: Kind, scale: int = 2, model: ModelChoice = None, **choices: Unpack[RestoreChoices]
) -> Kind: ...


def upscale(
    image: Any, scale: int = 2, model: ModelChoice = None, **choices: Unpack[RestoreChoices]
) -> Any:
    """Enlarge an image, of any kind and with all choices that `restore` takes.

    scale : 2 or 4 times as many rows and columns; a model that is given decides it.
    """
    return restore(image, made_for(model or default_model("upscale", scale), "upscale"), **choices)


@overload
def deblur(
    image: str | Place, model: ModelChoice = None, **choices: Unpack[RestoreChoices]
) -> Report: ...


@overload
def deblur(image: Kind, model: ModelChoice = None, **choices: Unpack[RestoreChoices]) -> Kind: ...


def deblur(image: Any, model: ModelChoice = None, **choices: Unpack[RestoreChoices]) -> Any:
    """Sharpen a soft image, of any kind and with all choices that `restore` takes."""
    return restore(image, made_for(model or default_model("deblur"), "deblur"), **choices)


def _restore(
    image: Any,
    output: str | Place | None,
    axes: str | None,
    palette: PaletteChoice,
    series: int | None,
    options: Options,
    progress: ProgressChoice,
) -> Any:
    """As `restore`, whatever the kind of the image."""
    with telling(progress) as tell:
        if isinstance(image, (str, Path, RemotePath)):
            chosen = Selection(palette=palette, axes=(axes or "").upper(), series=series)
            return _restore_file(image, output, axes, chosen, options, tell)
        if output is not None:
            raise ImageError(
                f"output={output}: the answer for an array is returned; save it yourself"
            )
        loaded = Loaded()
        if is_list_of_images(image):
            found = [_restore_array(each, axes, options, loaded, tell) for each in image]
            return found if isinstance(image, list) else tuple(found)
        return _restore_array(image, axes, options, loaded, tell)


def _restore_file(
    image: str | Place,
    output: str | Place | None,
    axes: str | None,
    chosen: Selection,
    options: Options,
    tell: Callable[[Progress], None],
) -> Report:
    place = to_place(image)
    if output is None:
        sniff_format(place)  # what is no image is said first
        raise ImageError(f"{image}: give output=PATH to restore a file")
    if axes is not None and place.suffix.lower() in SUFFIXES_WITH_AXES:
        raise ImageError(f"{image}: a file says itself which axes it has; leave axes={axes!r} out")
    if chosen.palette not in get_args(PaletteChoice):
        choices = ", ".join(get_args(PaletteChoice))
        raise ImageError(f"{image}: palette={chosen.palette!r} is none of {choices}")
    options = options if chosen == Selection() else replace(options, select=chosen)
    return restore_file(place, to_place(output), options, tell)


def _restore_array(
    image: Any,
    axes: str | None,
    options: Options,
    loaded: Loaded,
    tell: Callable[[Progress], None],
) -> Any:
    given = as_given(image, axes)
    options = _with_nodata(options, given)
    if is_dask_array(given.pixels):
        made = restore_lazily(given.pixels, options, given.axes)
    else:
        made = restore_array(given.pixels, options, given.axes, loaded, tell)
    return given.back(made, options.output_axes(given.pixels, given.axes))


def _with_nodata(options: Options, given: Given) -> Options:
    """The options with the value for "no data" that an image states, unless the caller does."""
    if options.nodata is not None or given.nodata is None:
        return options
    return replace(options, nodata=(given.nodata,))


def preview(
    image: Any,
    crops: Sequence[tuple[int, int, int, int]] = (),
    models: ModelChoice | Sequence[ModelChoice] = (),
    strengths: float | Sequence[float] = (),
    axes: str | None = None,
    options: Options | None = None,
) -> Preview:
    """What models make of a few crops of an image, of any kind that `restore` takes but a lazy one.

    Every pixel is the one that `restore` with the same model, strength and options would give.

    Parameters
    ----------
    crops : (left, top, width, height) in pixels; by default a few with structure, noise, and little
        light are chosen.
    models : names of the zoo, weight files or loaded models; by default that of the options, or the
        one that fits the image.
    strengths : each is shown with each model.
    axes : of an array, such as "YXC", as for `restore`.
    options : all else that a run may be asked for.

    Raises
    ------
    UnetmmError : one of its leaves, with what was asked, what was found and what would work.
    """
    options = options or Options()
    models = [models] if models is None or isinstance(models, (str, Path, Model)) else models
    strengths = [strengths] if isinstance(strengths, (int, float)) else strengths
    for strength in strengths:
        replace(options, strength=strength)  # refuses what is none
    wishes = Wishes([_crop_box(crop) for crop in crops], tuple(models), tuple(strengths))
    if not isinstance(image, (str, Path, RemotePath)):
        given = as_given(image, axes)
        if not isinstance(given.pixels, np.ndarray):
            raise ImageError("cannot preview a lazy array; give a part of it, computed, or a path")
        options = _with_nodata(options, given)
        return preview_array(given.pixels, wishes, options, given.axes)
    if axes is not None:
        options = replace(options, select=replace(options.select or Selection(), axes=axes.upper()))
    return preview_file(to_place(image), wishes, options)


def _crop_box(crop: Sequence[int]) -> Box:
    try:
        x, y, width, height = map(operator.index, crop)
    except (TypeError, ValueError):
        raise ShapeError(
            f"asked for the crop {crop!r}; give left, top, width, height in whole pixels"
        ) from None
    return Box(y, x, y + height, x + width)
