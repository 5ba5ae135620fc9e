"""A look at what models would make of an image, on a few crops of it, in seconds.

open --> measure as a run does --> restore some crops for each model and strength

Each pixel is the one that a run over all of the image would give.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm import process
from unetmm.calibrate.crops import Crop, choose_crops, crops_of
from unetmm.errors import BudgetError, ImageError
from unetmm.intensities.validity import valid_mask
from unetmm.io.array import ArraySource
from unetmm.io.image import Box, ImageInfo, Source
from unetmm.io.limits import reading_within
from unetmm.io.measured import Mask, read_measured
from unetmm.io.places import Place
from unetmm.io.survey import survey
from unetmm.models.choice import ModelChoice, pick_model
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import source_storage
from unetmm.plan.outlook import plan_image
from unetmm.run.cropped import crop_storage, restore_crops
from unetmm.run.heard import hearing
from unetmm.run.job import Job, make_job
from unetmm.run.loaded import Loaded
from unetmm.run.model import settle

MOST_PX = 2**21
"""Most pixels of all crops of a preview together."""
SHOWN_BYTES = 24
"""Bytes of a sample of a crop while it becomes a picture."""
PICTURE_BYTES = 14
"""Bytes of a pixel of each picture until a page, or a sheet, of all of them is written."""


@dataclass(frozen=True)
class Wishes:
    """What is to be looked at."""

    boxes: Sequence[Box] = ()
    """Parts of the plane; none: they are chosen by looking at the image."""
    models: Sequence[str | Path | Model | None] = ()
    """Models that are compared; none: that of the options."""
    strengths: Sequence[float] = ()
    """Strengths that are compared, each with each model; none: that of the options."""


@dataclass(frozen=True)
class Take:
    """What one model at one strength makes of all crops."""

    model: str
    """Name of the model."""
    strength: float
    """Share of the net's change that is kept."""
    choice: ModelChoice | None
    """Reason for the model, where it was chosen by looking at the image."""
    pixels: tuple[NDArray[Any], ...]
    """Restored pixels (height, width, samples) of each crop."""
    seconds: float
    """Time that it took to restore them, in seconds."""


@dataclass(frozen=True)
class Preview:
    """Some crops of an image, and what models make of them."""

    info: ImageInfo
    """Facts about the whole image."""
    crops: tuple[Crop, ...]
    """Places of the crops, and why they were chosen."""
    before: tuple[NDArray[Any], ...]
    """Stored pixels (height, width, samples) of each crop."""
    measured: tuple[Mask | None, ...]
    """Flags (height, width) of pixels that hold a measurement, by crop; None where all do."""
    takes: tuple[Take, ...]
    """Results of each model and strength."""
    noise: str
    """Noise of the image in words, empty where it could not be told."""
    warnings: tuple[str, ...] = ()
    """Lines on what is doubtful in the image or in its restoration."""

    def __repr__(self) -> str:
        made = ", ".join(f"{take.model} at {take.strength:g}" for take in self.takes)
        crops = "1 crop" if len(self.crops) == 1 else f"{len(self.crops)} crops"
        return f"<Preview of {crops}: {made}>"


def preview_file(path: Place, wishes: Wishes, options: Options) -> Preview:
    """Look at what models would make of a file.

    Raises
    ------
    UnetmmError
        Whatever a run over all of the file would be refused for.
    ImageError
        If a crop lies outside of the image, or all of them are too large for a preview.
    """
    loaded, options = Loaded(), _with_first(wishes, options)

    def held(info: ImageInfo, options: Options) -> int:
        return loaded.held_bytes(pick_model(options.model, info), options.engine)

    with (
        process.limited_allocator(),
        reading_within(options.budget_bytes),
        closing(options.opened(path)) as source,
    ):
        return _preview(source, wishes, options, loaded, held)


def preview_array(
    image: NDArray[Any], wishes: Wishes, options: Options, axes: str | None = None
) -> Preview:
    """As `preview_file`, for an array in memory."""
    options = _with_first(wishes, options)
    info = options.array_info(image.shape, image.dtype, axes)
    return _preview(ArraySource(image, info), wishes, options, Loaded(), lambda *_: 0)


def _with_first(wishes: Wishes, options: Options) -> Options:
    """The options with the first model that is compared: it decides how an image is opened."""
    return replace(options, model=wishes.models[0]) if wishes.models else options


def _preview(
    source: Source,
    wishes: Wishes,
    options: Options,
    loaded: Loaded,
    held: Callable[[ImageInfo, Options], int],
) -> Preview:
    info, options = source.info, replace(options, crop=None)  # which is of outputs
    with hearing() as heard:
        crops = crops_of(info, wishes.boxes) if wishes.boxes else choose_crops(source)
        _check_size(crops)
        read = [read_measured(source, crop.plane, crop.box) for crop in crops]
        takes: list[Take] = []
        for wanted in _each_model(source, wishes, options, loaded):
            job = _make_job(source, crops, wishes, wanted, loaded, held(info, wanted))
            takes += _takes(job, crops, wishes.strengths or (options.strength,), wanted)
        noises = (take.choice.noise for take in takes if take.choice is not None)
        noise = next(filter(None, noises), "") or survey(source).noise
    measured = [_measured(info, crop, *pair) for crop, pair in zip(crops, read, strict=True)]
    return Preview(
        info, tuple(crops), tuple(pixels for pixels, _ in read), tuple(measured), tuple(takes),
        noise, tuple(heard),
    )  # fmt: skip


def _each_model(
    source: Source, wishes: Wishes, options: Options, loaded: Loaded
) -> Iterator[Options]:
    """The options with each model, settled upon, and each of these once."""
    seen: set[str] = set()
    for model in wishes.models or (options.model,):
        settled = settle(replace(options, model=model), source, loaded)
        picked = loaded.pick(settled.model, source.info)
        if picked.checksum in seen:
            continue
        seen.add(picked.checksum)
        yield settled
        loaded.forget(picked, options.engine)


def _make_job(
    source: Source,
    crops: Sequence[Crop],
    wishes: Wishes,
    options: Options,
    loaded: Loaded,
    held_bytes: int,
) -> Job:
    """A run over all of the image, its statistics measured, with memory left for the crops."""
    info = source.info
    model = loaded.pick(options.model, info)
    if options.answer is not None:
        raise ImageError(
            f"a preview shows restored images, and model {model.name} gives "
            f"{options.answer.in_words}; write a part instead: unetmm apply --crop"
        )
    # What was read, and what other models have made, is held already.
    storage = crop_storage(options.output_info(info), crops, 1 + max(1, len(wishes.strengths)))
    takes = max(1, len(wishes.models)) * max(1, len(wishes.strengths))
    pixel_bytes = SHOWN_BYTES * info.samples + PICTURE_BYTES * (1 + 2 * takes)
    shown_bytes = pixel_bytes * sum(crop.box.height * crop.box.width for crop in crops)
    storage = replace(storage, resident_bytes=storage.resident_bytes + shown_bytes)
    try:
        plan = plan_image(info, source_storage(source), storage, model, options, held_bytes)
    except BudgetError as error:
        raise BudgetError(
            f"{error}; fewer or smaller crops, models and strengths take less",
            budget_bytes=error.budget_bytes, needed_bytes=error.needed_bytes,
            of_device=error.of_device,
        ) from None  # fmt: skip
    return make_job(source, _NoSink(), model, plan, options, loaded)


def _takes(
    job: Job, crops: Sequence[Crop], strengths: Sequence[float], options: Options
) -> Iterator[Take]:
    """The crops at each strength."""
    for strength in dict.fromkeys(strengths):
        started = time.monotonic()
        pixels = restore_crops(job, crops, strength)
        seconds = time.monotonic() - started
        yield Take(job.plan.model, strength, options.choice, tuple(pixels), seconds)


def _check_size(crops: Sequence[Crop]) -> None:
    pixels = sum(crop.box.height * crop.box.width for crop in crops)
    if pixels > MOST_PX:
        raise ImageError(
            f"{len(crops)} crops of {pixels / 1e6:.1f} Mpx together were asked for; a preview "
            f"holds at most {MOST_PX / 1e6:.1f} Mpx: give fewer or smaller ones, or restore all"
        )


def _measured(info: ImageInfo, crop: Crop, pixels: NDArray[Any], given: Mask | None) -> Mask | None:
    """Where a crop is measured in each of its colours."""
    colours = info.samples - info.alpha
    nodata = info.nodata_of(crop.plane[1], range(colours))
    mask = valid_mask(pixels[..., :colours], nodata, given)
    return None if mask is None or mask.all() else np.asarray(mask.all(-1))


class _NoSink:
    """Placeholder where a run has its output, which no task of a preview writes to."""

    resident_bytes = 0
    chunk = (1, 1)

    def write_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def write(self, plane: Any, box: Box, pixels: NDArray[Any]) -> None:
        raise AssertionError("a preview writes to its crops only")
