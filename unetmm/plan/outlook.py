"""Everything known before a run: its plan, and the same body with and without UNet--."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from unetmm import process
from unetmm.calibrate.measure import calibration_bytes, choosing_bytes
from unetmm.engine.contract import DeviceTerms, Pixels
from unetmm.engine.layout import Layout
from unetmm.engine.layouts import make_layout
from unetmm.errors import BudgetError
from unetmm.io.image import ImageInfo
from unetmm.io.limits import reading_within
from unetmm.io.places import Place
from unetmm.models.choice import ModelChoice, candidate_names, is_auto, pick_model
from unetmm.models.groups import sample_groups
from unetmm.models.weights import Model
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.plan.memory import Storage, Terms, sink_storage, source_storage
from unetmm.plan.search import plan_run
from unetmm.plan.types import Plan, Request
from unetmm.process import available_cores
from unetmm.sizes import default_budget_bytes, format_size
from unetmm.version import __version__

COMPARED_BAND_STEPS = (1, 2, 4, 8)
"""Band heights that the widest strip is looked for with, in strides of the net."""
MAX_WIDTH_PX = 2**22
"""Largest width of a strip that is looked for."""


def plan_image(
    info: ImageInfo,
    source: Storage,
    sink: Storage,
    model: Model,
    options: Options,
    held_bytes: int = 0,
) -> Plan:
    """The plan for an image of which only the metadata is known.

    held_bytes: what the process holds already, which the budget has to cover as well.

    Raises
    ------
    BudgetError
        If it cannot fit the budget.
    ShapeError
        If the model does not fit the image.
    """
    cores = options.workers or available_cores()
    for fewer in range(cores.bit_length()):  # the fewer calibrate, the less is in memory at once
        try:
            return _plan_with(info, source, sink, model, options, held_bytes, cores >> fewer)
        except BudgetError as error:
            if error.of_device:
                raise
            refusal = error
    remedy = info.metadata.reading.remedy
    if not remedy:
        raise refusal
    raise BudgetError(
        f"{refusal}; {remedy}", budget_bytes=refusal.budget_bytes, needed_bytes=refusal.needed_bytes
    )


def _plan_with(
    info: ImageInfo,
    source: Storage,
    sink: Storage,
    model: Model,
    options: Options,
    held_bytes: int,
    calibration_cores: int,
) -> Plan:
    """The plan if so many cores calibrate."""
    groups = sample_groups(model.config, info)
    engine = options.engine
    request = Request(
        model=model.name,
        config=model.config,
        pixels=Pixels(
            info.height,
            info.width,
            info.samples,
            info.dtype.itemsize,
            len(groups),
            options.storing.type_of(info.dtype).itemsize,
            mask_bytes=int(info.has_mask),
            may_have_gaps=info.may_have_gaps,
            alpha=info.alpha,
            maps=0 if options.answer is None else options.answer.maps(info),
        ),  # fmt: skip
        planes=len(info.planes),
        source=source,
        sink=sink,
        budget_bytes=options.budget_bytes or default_budget_bytes(),
        calibration_bytes=_looking_bytes(info, model, options, calibration_cores),
        held_bytes=held_bytes,
        max_cores=options.workers,
        engine=engine,
        device_budget_bytes=options.device_budget_bytes or engine.default_device_budget_bytes,
        exceeds=options.brackets(model, info),
        searches=options.outliers_of(info) != "none",
        crop=options.frame(info),
    )
    return replace(plan_run(request), calibration_cores=calibration_cores)


def _looking_bytes(info: ImageInfo, model: Model, options: Options, cores: int) -> int:
    """Most bytes of looking at the image before it is restored: to measure it, and to choose."""
    config, engine = model.config, options.engine.calibrator
    needed = calibration_bytes(config, info, cores, engine.precision)
    if options.choice is None and not is_auto(options.model):
        return needed
    net_bytes = engine.net_bytes(make_layout(config, config.stride_px))
    candidates = len(candidate_names(None, info))
    return needed + choosing_bytes(config, info, net_bytes, candidates)


@dataclass(frozen=True)
class Variant:
    """One of the two networks that have the same body."""

    name: str
    skip_floats_per_px: float
    """Floats kept for the decoder per image pixel in a whole-image forward."""
    plan: Plan | None
    needed_bytes: int
    """The smallest budget that would do, if `plan` is None; its projected peak otherwise."""
    widest_strip_px: int
    """Columns of the widest strips that fit in the memory that the run has for its streams."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        plan = self.plan
        return {
            "skip_floats_per_px": self.skip_floats_per_px,
            "fits": plan is not None,
            "needed_bytes": self.needed_bytes,
            "widest_strip_px": self.widest_strip_px,
            "skip_bytes": plan.terms.skip if plan else None,
            "strip_width_px": plan.strip_width_px if plan else None,
            "strips": len(plan.strips) if plan else None,
            "workers": plan.workers if plan else None,
            "threads": plan.threads if plan else None,
            "recomputed_share": round(plan.recomputed_share, 4) if plan else None,
            "estimated_s": round(plan.estimated_s, 3) if plan else None,
        }


@dataclass(frozen=True)
class Outlook:
    """Everything known before a run."""

    input: Place
    output: Place
    info: ImageInfo
    model: Model
    plan: Plan
    variants: tuple[Variant, ...]
    """NAFNet and UNet-- of the model's body at the same budget; none of a net of layers."""
    choice: ModelChoice | None = None
    """Reason for the model, where it was chosen by looking at the image."""
    holds: str = ""
    """Words for what the output holds where that is no image, with type and size."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`; `plan` has the fields of a report's plan."""
        return {
            "version": __version__,
            "input": str(self.input),
            "output": str(self.output),
            "model": self.model.name,
            "model_choice": self.choice.as_dict() if self.choice else None,
            "megapixels": self.info.megapixels,
            **({"holds": self.holds} if self.holds else {}),
            "plan": self.plan.as_dict(),
            "estimated_s": round(self.plan.estimated_s, 3),
            "comparison": {v.name.lower(): v.as_dict() for v in self.variants} or None,
        }


def look_ahead(
    path: Place,
    output: Place,
    options: Options,
    makes_folder: bool = False,
    held_bytes: int | None = None,
) -> Outlook:
    """Plan a run from the input's metadata; writes nothing and reads no pixel.

    makes_folder : whether the run makes the output's folder, so that it need not be there yet.
    held_bytes : memory that the process of a run would hold; None: what this one holds.

    Raises
    ------
    UnetmmError
        Whatever the run itself would be refused for.
    """
    with reading_within(options.budget_bytes):
        opened = options.opened(path)
    with closing(opened) as source:
        info, model = source.info, pick_model(options.model, source.info)
        planned = plannable(output) if makes_folder and isinstance(output, Path) else output
        kept = options.output_info(info)
        sink = replace(options, overwrite=True).open_output(planned, source)
        storages = source_storage(source), sink_storage(sink, options.output_scale)
        held = process.held_bytes() if held_bytes is None else held_bytes
        plan = plan_image(info, *storages, model, options, held)
    # The budget is what the run would get, even if what is available changes meanwhile.
    options = replace(
        options,
        budget_bytes=plan.budget_bytes,
        device_budget_bytes=plan.device_budget_bytes or None,
    )
    run = _Run(info, storages, options, plan, held)
    variants, holds = _variants(model, run), _holds(options, kept)
    return Outlook(path, output, info, model, plan, variants, options.choice, holds)


def _holds(options: Options, kept: ImageInfo) -> str:
    """What an output holds, in words; nothing of an image."""
    if options.answer is None:
        return ""
    channels = kept.length("C")
    many = f"{channels} channels, " if channels > 1 else ""
    size = format_size(len(kept.planes) * kept.plane_bytes)
    return f"{options.answer.in_words}: {many}{kept.dtype}, {size} before compression"


def _variants(model: Model, run: _Run) -> tuple[Variant, ...]:
    """The same body with ordinary skips and as UNet--, if it has a body with skips."""
    if model.config.layers:
        return ()
    return (
        _variant("NAFNet", replace(model, config=model.config.with_plain_skips()), run),
        _variant("UNet--", replace(model, config=model.config.with_aggregate()), run),
    )


@dataclass(frozen=True)
class _Run:
    """The run that variants are compared in."""

    info: ImageInfo
    storages: tuple[Storage, Storage]
    options: Options
    plan: Plan
    held_bytes: int


def _variant(name: str, model: Model, run: _Run) -> Variant:
    floats, widest_px = float(model.config.skip_floats_per_px), _widest_strip_px(model.config, run)
    try:
        plan = plan_image(run.info, *run.storages, model, run.options, run.held_bytes)
    except BudgetError as error:
        return Variant(name, floats, None, error.needed_bytes, widest_px)
    return Variant(name, floats, plan, plan.projected_peak_bytes, widest_px)


def _widest_strip_px(config: NetConfig, run: _Run) -> int:
    """The widest strip of which as many as the run has live fit in what the rest leaves."""
    plan = run.plan
    terms = plan.device_terms or plan.terms
    streams = terms.stream_state + terms.skip + terms.image_rows + terms.arena
    budget_bytes = plan.budget_bytes if plan.device_terms is None else plan.device_budget_bytes
    room_bytes = budget_bytes - (terms.total - streams)
    room_bytes //= plan.workers * len(sample_groups(config, run.info))
    stride = config.stride_px
    layouts = (make_layout(config, n * stride) for n in COMPARED_BAND_STEPS)

    def needed_bytes(layout: Layout, width_px: int) -> int:
        return run.options.engine.stream_bytes(layout, width_px, plan.threads)

    return max(_fitting_px(layout, room_bytes, needed_bytes) for layout in layouts)


def _fitting_px(layout: Layout, room_bytes: int, needed_bytes: Callable[[Layout, int], int]) -> int:
    """Columns of the widest stream that takes at most `room_bytes`, by halving."""
    stride = layout.config.stride_px
    low, high = 0, MAX_WIDTH_PX // stride
    while low < high:
        middle = (low + high + 1) // 2
        if needed_bytes(layout, middle * stride) <= room_bytes:
            low = middle
        else:
            high = middle - 1
    return low * stride


def plannable(output: Place) -> Place:
    """The output, or one in a temporary folder where its own cannot be written."""
    if isinstance(output, Path) and os.access(output.parent, os.W_OK):
        return output
    return Path(tempfile.gettempdir()) / output.name


def term_rows(terms: Terms | DeviceTerms | None) -> list[tuple[str, int]]:
    """(name, bytes) of every term of a projected peak, in its order."""
    return list(asdict(terms).items()) if terms is not None else []
