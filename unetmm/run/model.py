"""Settles which model a run uses, where that is to be chosen by looking at the image."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from unetmm.calibrate.auto import ChoiceTerms, choose_model
from unetmm.errors import ImageError
from unetmm.io.image import ImageInfo, Source
from unetmm.io.open import output_format
from unetmm.io.places import Place
from unetmm.models.choice import ModelChoice, candidate_names, is_auto
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.provenance.record import load_calibration
from unetmm.run.loaded import Loaded, compiling_bytes

if TYPE_CHECKING:
    from unetmm.engine.cpu.compiled import CompiledNet
    from unetmm.engine.cpu.net import CpuNet

PHOTO_FORMATS = ("jpeg", "png")
"""Formats of outputs that hold no floats."""
log = logging.getLogger(__name__)


def settle(
    options: Options,
    source: Source,
    loaded: Loaded,
    earlier: Mapping[str, Any] | None = None,
    cores: int = 0,
    name: str = "",
    output: Place | None = None,
) -> Options:
    """The options with a model, and why it was chosen; as they are where a model is given.

    Statistics that are given belong to a model, which is taken then. A run that goes on with
    what another has begun takes the model that was chosen there.

    Parameters
    ----------
    earlier : record of an output, finished or begun, of the same run.
    name : of the image, for the line that says what was chosen.
    output : file that is written, whose pixel type is then chosen too, where nobody named it.
    """
    if not is_auto(options.model):
        return options
    given = options.calibration
    if given is not None:
        known = load_calibration(given) if isinstance(given, Path) else given
        return replace(options, model=known.model, calibration=known)
    choice = ModelChoice.from_dict((earlier or {}).get("model_choice"))
    names = (candidate_names(options.model, source.info, alone) for alone in (False, True))
    if choice is not None and any(choice.model in some for some in names):
        options = _with(choice, options)
    else:
        options = _chosen(options, source, loaded, cores, name)
    return options if output is None else _with_type(options, source.info, output)


def settle_file(path: Place, options: Options, output: Place | None = None) -> Options:
    """As `settle`, for a file that no run has begun with."""
    with closing(options.opened(path)) as source:
        return settle(options, source, Loaded(), name=path.name, output=output)


def _with_type(options: Options, info: ImageInfo, output: Place) -> Options:
    """The options with floats for an output that would lose few counts in whole numbers."""
    counts = options.choice.few_counts if options.choice is not None else None
    is_asked = options.dtype is not None or options.rounding != "nearest"
    holds_floats = output_format(output, options.format) not in PHOTO_FORMATS
    if counts is None or is_asked or not holds_floats or info.samples > 1:
        return options
    try:
        wider = replace(options, dtype="float32")
        wider.output_info(info)
    except ImageError:  # a value for "no data" that float32 does not have
        return options
    log.warning(
        "a signal of about %.2g counts a pixel, for which %s is too coarse once it is restored: "
        "the output is float32; --dtype input keeps %s", counts, info.dtype, info.dtype,
    )  # fmt: skip
    return wider


def _chosen(options: Options, source: Source, loaded: Loaded, cores: int, name: str) -> Options:
    """The options with the model that fits the image."""
    engine = options.engine.calibrator
    compiling_bytes(engine)  # or looking at the image would compile in this process
    outliers = options.outliers_of(source.info) != "none"
    asked = None if options.model is None else str(options.model)
    terms = ChoiceTerms(
        asked, options.seen_range, options.transform, outliers, cores or options.workers
    )
    folded: list[Model] = []

    def fold(model: Model) -> CompiledNet:
        folded.append(model)
        return cast("CpuNet", loaded.fold(model, engine)).compiled

    model, choice = choose_model(source, fold, terms)
    for other in folded:
        if other is not model:
            loaded.forget(other, engine)
    noise = f" (noise: {choice.noise})" if choice.noise else ""
    image = f"{name}: " if name else ""
    taken = "" if choice.leaves_alone else f"model {choice.model}, since "
    log.info("%s%s%s%s", image, taken, choice.reason, noise)
    return _with(choice, options)


def _with(choice: ModelChoice, options: Options) -> Options:
    """The options with a choice."""
    strength = 0.0 if choice.leaves_alone else options.strength
    return replace(options, model=choice.model, choice=choice, strength=strength)
