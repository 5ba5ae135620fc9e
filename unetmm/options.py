"""What a run is asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from unetmm.calibrate.calibration import Calibration
from unetmm.engine.choice import DeviceChoice, pick_engine
from unetmm.engine.contract import Engine
from unetmm.engine.precision import PrecisionChoice
from unetmm.errors import ShapeError
from unetmm.intensities.counts import TransformChoice, check_transform
from unetmm.intensities.outliers import OUTLIERS, OutlierChoice
from unetmm.intensities.range import is_range, leaves_base_range
from unetmm.intensities.rounding import ROUNDINGS, RoundingChoice
from unetmm.intensities.stored import Storing
from unetmm.intensities.validity import Values
from unetmm.io.answered import Answer, answered_info
from unetmm.io.array import array_info
from unetmm.io.enlarged import chunk_px, enlarged, enlarged_info
from unetmm.io.framed import FramedSource, check_inside, framed_info
from unetmm.io.image import DTYPES, Box, Encoding, ImageInfo, SinkOptions, Source
from unetmm.io.joined import JoinedSource, joined_info, parted_info
from unetmm.io.open import open_sink, open_source
from unetmm.io.output.output import Output
from unetmm.io.places import Place
from unetmm.io.retyped import retype
from unetmm.io.select import Selection
from unetmm.models.answers import answer_of
from unetmm.models.choice import ModelChoice, is_auto
from unetmm.models.groups import takes_together
from unetmm.models.tasks import DENOISE, ModelTask, task_of
from unetmm.models.weights import Model, load_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """What a user may choose about a run."""

    model: str | Path | Model | None = None
    """Name of a model of the zoo, a weight file, or a loaded model; None or "auto": the one that
    fits the image, by looking at it."""
    budget_bytes: int | None = None
    """Peak resident memory in bytes; None: half of what is available."""
    calibration: Path | Calibration | None = None
    """Frozen statistics, or a file of them, to use instead of measuring the image."""
    fixed_range: tuple[float, float] | None = None
    """Stored values that the net sees as 0 and 1."""
    nodata: Values | None = None
    """Values of pixels without a measurement; () for none, None: as the image says."""
    strength: float = 1.0
    """Share of the net's change that is kept: 0 gives the input back, 1 the net's answer."""
    format: str | None = None
    """Format of the output; None: as its name says."""
    overwrite: bool = False
    """Whether an output that is there already is replaced."""
    workers: int = 0
    """Largest number of cores used; 0 for all."""
    select: Selection | None = None
    """Part of a file to restore; None: all of it."""
    encoding: Encoding = Encoding()
    """Way in which the output stores its pixels."""
    precision: PrecisionChoice = "auto"
    """Precision of the matrix products: fp32, or bf16 where the processor has it; auto is fp32. On
    a device that of everything but sums, and fp16 is possible too."""
    device: DeviceChoice = "auto"
    """Device that computes: cpu, torch (the CPU without the compiled kernels), cuda or cuda:N; auto
    is cpu."""
    device_budget_bytes: int | None = None
    """Peak of a GPU's memory in bytes; None: 80 % of what is free."""
    dtype: str | None = None
    """Pixel type of the output; "input": that of the input; None: the same, but float32 in a file
    where a model is chosen for an image of less than a count a pixel, which whole numbers lose."""
    rounding: RoundingChoice = "nearest"
    """Way in which values become integers: nearest, or dither, which keeps small means."""
    outliers: OutlierChoice = "keep"
    """Choice of what becomes of single pixels, columns and rows that no optics can make: they keep
    their value, are replaced by the net's answer, or none are looked for."""
    transform: TransformChoice = "auto"
    """Way in which counts of photons are brought to the net: auto by what is measured, none, or
    anscombe wherever noise grows with the signal."""
    crop: Box | None = None
    """Part of each plane that the output of a file is; None: all of it."""
    choice: ModelChoice | None = None
    """Reason for the model, where it was chosen by looking at the image."""
    scores: bool = False
    """Whether the scores of all classes are written, of a net that tells classes apart, instead of
    the number of the class with the highest."""

    def __post_init__(self) -> None:
        if not (isinstance(self.strength, Real) and 0 <= self.strength <= 1):
            raise ShapeError(
                f"asked for strength {self.strength!r}; 0 gives the input back, 1 the net's answer"
            )
        # Of another type, it would have kernels compiled within a run that does not plan for it.
        object.__setattr__(self, "strength", float(self.strength))
        if self.rounding not in ROUNDINGS:
            raise ShapeError(
                f"asked for rounding {self.rounding!r}; use one of {', '.join(ROUNDINGS)}"
            )
        if self.outliers not in OUTLIERS:
            raise ShapeError(
                f"asked for outliers {self.outliers!r}; use one of {', '.join(OUTLIERS)}"
            )
        if self.dtype is not None and self.dtype not in ("input", *DTYPES):
            raise ShapeError(
                f"asked for dtype {self.dtype!r}; use input or one of {', '.join(DTYPES)}"
            )
        check_transform(self.transform)
        if self.fixed_range is not None:
            low, high = self.fixed_range
            if not is_range(low, high):
                raise ShapeError(
                    f"asked for the range {low!r} to {high!r}; give two finite numbers, the lower "
                    "one first"
                )

    @cached_property
    def engine(self) -> Engine:
        """Engine that device and precision mean on this machine, as it was when first asked.

        Raises
        ------
        ShapeError
            If the machine lacks them.
        """
        return pick_engine(self.device, self.precision)

    @property
    def storing(self) -> Storing:
        """How restored values are stored."""
        named = None if self.dtype in (None, "input") else self.dtype
        if self.answer is not None:
            return Storing(self.answer.dtype_of(named), self.rounding)
        return Storing(None if named is None else np.dtype(named), self.rounding)

    @cached_property
    def answer(self) -> Answer | None:
        """What the output holds where the model gives no image; None where it does.

        Raises
        ------
        WeightsError
            If there is no such model.
        ShapeError
            If something is asked for that such a model, or one that gives an image, cannot do.
        """
        answer = None if self._named_model is None else answer_of(self._named_model, self.scores)
        name = "" if self._named_model is None else self._named_model.name
        if answer is None or answer.kind == "map":
            if self.scores:
                what = "an image" if answer is None else "maps"
                raise ShapeError(
                    f"asked for scores, which are of models that tell classes apart; "
                    f"{f'model {name}' if name else 'the model'} gives {what}"
                )
        if answer is not None:
            self._check_unmixed(name, answer)
        return answer

    def _check_unmixed(self, name: str, answer: Answer) -> None:
        """Refuse what would mix an answer with the image's values, or keep some of those."""
        asked = {
            "strength": self.strength != 1,
            "rounding": self.rounding != "nearest",
            "outliers": self.outliers == "replace",
            "transform": self.transform == "anscombe",
        }
        for option in (option for option, is_asked in asked.items() if is_asked):
            raise ShapeError(
                f"asked for {option} {getattr(self, option)}, which is for restored images; model "
                f"{name} gives {answer.in_words}: leave it out"
            )

    def outliers_of(self, info: ImageInfo) -> OutlierChoice:
        """What becomes of the outliers of an image.

        Unless they are to be replaced, none are looked for in 8-bit colour, where a camera has
        smeared them over their neighbours; nor where the output is no image.
        """
        return "none" if self.answer is not None else self.measured_outliers_of(info)

    def measured_outliers_of(self, info: ImageInfo) -> OutlierChoice:
        """The same where an image is measured: outliers are left out of its range."""
        colours = 0 if info.joined else info.samples - info.alpha
        is_photo = info.dtype == np.uint8 and colours >= 3
        return "none" if is_photo and self.outliers == "keep" else self.outliers

    def opened(self, path: Place) -> Source:
        """An image, or the part of it that was chosen, as the model takes it.

        Raises
        ------
        ImageError
            If there is no image at `path`, one that cannot be read, or one without such a part.
        """
        source = open_source(path, self.select, self.nodata)
        return JoinedSource(source) if self._takes_together(source.info) else source

    def array_info(
        self, shape: tuple[int, ...], dtype: np.dtype[Any], axes: str | None
    ) -> ImageInfo:
        """Facts of an array as the model takes it.

        Raises
        ------
        ShapeError
            If axes and shape do not fit, or it is no array of an image.
        """
        named = axes or self._axes_of_bands(shape)
        info = array_info(shape, dtype, named)
        info = replace(info, nodata=info.nodata.overridden(self.nodata))
        return joined_info(info) if self._takes_together(info) else info

    def _axes_of_bands(self, shape: tuple[int, ...]) -> str | None:
        """Axes of an array of which one has as many values as the model takes bands; None where
        nothing is to be guessed.
        """
        config = None if self._named_model is None else self._named_model.config
        if config is None or not config.takes_bands or len(shape) != 3:
            return None
        fitting = [
            a for a, n in zip(("CYX", "YXC"), shape[::2], strict=True) if n == config.in_channels
        ]
        if len(fitting) != 1:
            return None
        log.warning(
            "shape %s is taken for axes %s, as the net takes %d bands; give axes if it is not",
            shape, fitting[0], config.in_channels,
        )  # fmt: skip
        return fitting[0]

    def _takes_together(self, info: ImageInfo) -> bool:
        """Whether the model takes the channels of an image together."""
        model = self._named_model
        are_chosen = self.select is not None and bool(self.select.bands)
        return model is not None and takes_together(model.config, info, are_chosen)

    @property
    def seen_range(self) -> tuple[float, float] | None:
        """Stored values that the net sees as 0 and 1: those asked for, or those that it was made
        for; None where they are measured.
        """
        own = None if self._named_model is None else self._named_model.stored_range
        return self.fixed_range or own

    def range_for(self, model: Model, info: ImageInfo) -> tuple[float, float] | None:
        """The same for a model and an image."""
        return self.fixed_range or model.range_of(info.dtype)

    def brackets(self, model: Model, info: ImageInfo) -> bool:
        """Whether what exceeds the base range is restored in wider ranges.

        Not by nets that enlarge or give no image, nor by those of bands whose range is said: they
        were made for such values, and see them as they are.
        """
        config = model.config
        is_own = config.takes_bands and self.seen_range is not None
        if config.output_scale > 1 or config.gives != "image" or is_own:
            return False
        return leaves_base_range(info.dtype, self.range_for(model, info), config.in_channels)

    def output_info(self, info: ImageInfo) -> ImageInfo:
        """Facts of the output of an image.

        Raises
        ------
        ImageError
            If the pixel type cannot hold what the image says.
        """
        if self.answer is None:
            info = parted_info(info)
        frame = self.frame(info)
        written = info if frame is None else framed_info(info, frame)
        written = enlarged_info(written, self.output_scale)
        if self.answer is not None:
            return answered_info(written, self.answer, self.storing.type_of(info.dtype))
        return retype(written, self.storing.dtype)

    def output_axes(self, image: Any, axes: str | None) -> str:
        """Axes of the output of an array, where they are named and others than the array's."""
        if self.answer is None or axes is None:
            return ""
        return self.output_info(self.array_info(image.shape, image.dtype, axes)).axes

    @cached_property
    def _named_model(self) -> Model | None:
        """The model that was asked for; None where it is chosen by looking at the image."""
        if self.model is None or is_auto(self.model):
            return None
        return self.model if isinstance(self.model, Model) else load_model(self.model)

    @property
    def output_scale(self) -> int:
        """Pixels of the output per pixel of the input and axis, which the model decides.

        Raises
        ------
        WeightsError
            If there is no such model.
        """
        return 1 if self._named_model is None else self._named_model.config.output_scale

    @property
    def task(self) -> ModelTask:
        """What the model is for; one that is chosen by looking at the image denoises.

        Raises
        ------
        WeightsError
            If there is no such model.
        """
        return DENOISE if self._named_model is None else task_of(self._named_model)

    def frame(self, info: ImageInfo) -> Box | None:
        """The part of each plane that is written; None where that is all of it.

        Raises
        ------
        ImageError
            If it lies outside of the image.
        """
        whole = Box(0, 0, info.height, info.width)
        if self.crop is None or self.crop == whole:
            return None
        check_inside(info, self.crop)
        return self.crop

    def framed(self, source: Source) -> Source:
        """The part of an image that is written, as an image as large as the output."""
        if isinstance(source, JoinedSource):
            source = source.apart
        frame = self.frame(source.info)
        part = source if frame is None else FramedSource(source, frame)
        return enlarged(part, self.output_scale)

    def sink(self, path: Place, info: ImageInfo) -> SinkOptions:
        """The part of these that an output of an image needs."""
        side = chunk_px(SinkOptions.chunk_px, self.output_scale)
        return SinkOptions(path, self.overwrite, side, self.encoding, self.maps(info))

    def open_output(self, path: Place, source: Source) -> Output:
        """The output of an image, see `open_sink`; nothing is written yet."""
        info = source.info
        wanted = self.sink(path, info)
        return open_sink(wanted, self.output_info(info), self.format, self.framed(source))

    def maps(self, info: ImageInfo) -> int:
        """Channels of the output that come of each of an image's, and are written together."""
        if self.answer is not None:
            return self.answer.maps(info)
        return len(info.joined) or 1

    def writes_apart(self, info: ImageInfo) -> bool:
        """Whether what comes of a pixel is written as a plane each."""
        return self.answer is not None or bool(info.joined)
