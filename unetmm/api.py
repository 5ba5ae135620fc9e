"""Image in, restored image out: puts source, model, plan, calibration and sink together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.calibration import (
    Calibration,
    calibrate,
    calibration_bytes,
    load_calibration,
    sample_groups,
)
from unetmm.engine.target import DeviceChoice, PrecisionChoice
from unetmm.errors import BudgetError, ImageError, ShapeError
from unetmm.io.array import ArraySink, ArraySource, array_info
from unetmm.io.image import ImageInfo, Sink, Source
from unetmm.io.places import Place, RemotePath, to_place
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import Pixels, Storage, in_memory_storage, sink_storage, source_storage
from unetmm.plan.search import Plan, Request, available_cores, plan_run
from unetmm.run.loaded import Loaded, pick_model
from unetmm.sizes import default_budget_bytes, parse_size

if TYPE_CHECKING:
    from unetmm.run.scheduler import Job, Net

ARRAY_CHUNK_PX = 512
"""Cuts of an array in memory start at multiples of this."""


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
    target = options.target
    request = Request(
        model=model.name,
        config=model.config,
        pixels=Pixels(info.height, info.width, info.samples, info.dtype.itemsize, len(groups)),
        planes=len(info.planes),
        source=source,
        sink=sink,
        budget_bytes=options.budget_bytes or default_budget_bytes(),
        calibration_bytes=calibration_bytes(
            model.config, info, calibration_cores, target.host_precision
        ),
        held_bytes=held_bytes,
        max_cores=options.workers,
        target=target,
        device_budget_bytes=options.device_budget_bytes or target.default_budget_bytes,
    )
    return replace(plan_run(request), calibration_cores=calibration_cores)


def make_plan(
    shape: tuple[int, ...],
    dtype: Any,
    model: str | Path | Model | None = None,
    mem_budget: str | int | None = None,
    axes: str | None = None,
    device: DeviceChoice = "auto",
    device_budget: str | int | None = None,
) -> Plan:
    """What `restore` would do with an array of this shape; needs no pixels, and torch only where
    a GPU is asked for.

    Raises
    ------
    BudgetError
        If it cannot fit the budget.
    ShapeError
        If shape, dtype, axes and model do not fit together, or there is no such device.
    """
    try:
        info = array_info(shape, np.dtype(dtype), axes)
    except (TypeError, ValueError) as error:
        raise ShapeError(f"make_plan: shape {shape} and dtype {dtype}: {error}") from None
    storage = in_memory_storage((ARRAY_CHUNK_PX, ARRAY_CHUNK_PX))
    options = Options(
        budget_bytes=_budget(mem_budget), device=device, device_budget_bytes=_budget(device_budget)
    )
    return plan_image(info, storage, storage, pick_model(model, info), options)


def _budget(mem_budget: str | int | None) -> int | None:
    """A budget in bytes; None stays None."""
    if isinstance(mem_budget, int) and mem_budget <= 0:
        raise BudgetError(
            f"a budget of {mem_budget} bytes holds nothing; give bytes, '4GB' or '50%'",
            budget_bytes=mem_budget, needed_bytes=0,
        )  # fmt: skip
    return parse_size(mem_budget) if isinstance(mem_budget, str) else mem_budget


def restore(
    image: Any,
    model: str | Path | Model | None = None,
    mem_budget: str | int | None = None,
    calibration: str | Path | Calibration | None = None,
    output: str | Place | None = None,
    axes: str | None = None,
    strength: float = 1.0,
    precision: PrecisionChoice = "auto",
    device: DeviceChoice = "auto",
    device_budget: str | int | None = None,
) -> Any:
    """Restore an image.

    Parameters
    ----------
    image : NumPy array, Dask array, path or URL
        Arrays have axes YX, YXS (last axis 3 or 4), ZYX, CZYX or TCZYX, or those given.
    model : name of the zoo, weight file, or a loaded model
        None picks tiny-rgb for colour and tiny-mono otherwise.
    mem_budget : peak resident memory of the process: bytes, "4GB", "50%"
        Half of what is available by default. For arrays, what the process holds before, the
        arrays included, comes on top.
    calibration : statistics of another image of the series, or a file that has them.
    output : where to write, where `image` is a path; arrays are given back.
    strength : 0 gives the input back, 1 the net's answer.
    precision : "fp32" (auto) or "bf16": faster, on processors with AVX512_BF16
        and on GPUs; "fp16" on a device only.
    device : "cpu", "cuda", "cuda:N", or "torch": the CPU without the compiled kernels
        "auto" is "cpu".
    device_budget : peak of a GPU's memory, besides its CUDA context
        80 % of what is free by default.

    Returns
    -------
    NumPy in: NumPy of the same shape and dtype. Dask in: a lazy Dask array. Path in: a Report.

    Raises
    ------
    UnetmmError
        One of its leaves, with what was asked, what was found and what would work.
    """
    known = Path(calibration) if isinstance(calibration, str) else calibration
    options = Options(
        model, _budget(mem_budget), known, strength=strength, precision=precision,
        device=device, device_budget_bytes=_budget(device_budget),
    )  # fmt: skip
    if isinstance(image, (str, Path, RemotePath)):
        if output is None:
            raise ImageError(f"{image}: give output=PATH to restore a file")
        if axes is not None:
            raise ImageError(
                f"{image}: a file says itself which axes it has; leave axes={axes!r} out"
            )
        from unetmm.run.of_file import restore_file

        return restore_file(to_place(image), to_place(output), options)
    if output is not None:
        raise ImageError(f"output={output}: the answer for an array is returned; save it yourself")
    if isinstance(image, np.ma.MaskedArray):
        raise ImageError(
            "the mask of a masked array would be lost; give image.filled(numpy.nan) as floats, "
            "whose NaN stay as they are"
        )
    if isinstance(image, np.ndarray):
        return restore_array(image, options, axes)
    from unetmm.run.of_dask_array import is_dask_array, restore_lazily

    if is_dask_array(image):
        return restore_lazily(image, options, axes)
    raise ImageError(
        f"cannot restore a {type(image).__name__}; give a NumPy array, a Dask array or a path"
    )


def restore_array(
    image: NDArray[Any], options: Options, axes: str | None = None, loaded: Loaded | None = None
) -> NDArray[Any]:
    """A restored copy of an array; nets that are loaded already are not folded again."""
    info = array_info(image.shape, image.dtype, axes)
    out = np.empty_like(image)
    source, sink = ArraySource(image, info), ArraySink(out, info, ARRAY_CHUNK_PX)
    model = pick_model(options.model, info)
    plan = plan_image(info, source_storage(source), sink_storage(sink), model, options)
    from unetmm.run.scheduler import run

    run(make_job(source, sink, model, plan, options, loaded))
    return out


def make_job(
    source: Source,
    sink: Sink,
    model: Model,
    plan: Plan,
    options: Options,
    loaded: Loaded | None = None,
) -> Job:
    """Put together what `run` needs."""
    from unetmm.run.scheduler import Job

    net, calibration = compile_and_calibrate(source, model, options, plan.calibration_cores, loaded)
    groups = sample_groups(model.config, source.info)
    return Job(source, sink, net, groups, calibration, plan, options.strength)


def compile_and_calibrate(
    source: Source, model: Model, options: Options, cores: int = 0, loaded: Loaded | None = None
) -> tuple[Net, Calibration]:
    """Fold the net unless it is loaded, and measure the image unless its statistics are given.

    cores: that measure at once; 0 for all.

    The compiled kernels measure it, whatever the device, so every device has the same statistics.
    """
    loaded, target = loaded or Loaded(), options.target
    known = known_calibration(options, model)
    if known is None:
        kernels = loaded.fold(model, target.host_precision)
        groups = sample_groups(model.config, source.info)
        known = calibrate(source, kernels, model.name, groups, options.fixed_range, cores)
    if target.kind == "kernels":
        return loaded.fold(model, target.host_precision), known
    return loaded.place(model, target), known


def known_calibration(options: Options, model: Model) -> Calibration | None:
    """The statistics to use instead of measuring the image, if there are any.

    Raises
    ------
    ShapeError
        If they are in a file that cannot be read, or of another model.
    """
    given = options.calibration
    found = load_calibration(given) if isinstance(given, Path) else given
    if found is not None and found.model != model.name:
        raise ShapeError(
            f"the calibration was made with model {found.model}, this run uses {model.name}; "
            f"give the calibration's model, or calibrate with this one"
        )
    return found
