"""Restoration as a lazy Dask array: one task per write box, computed when Dask asks for it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from unetmm.calibrate.calibration import Calibration
from unetmm.engine.contract import Net
from unetmm.geometry import Span
from unetmm.intensities.standins import REACH_PX
from unetmm.io.array import AXES, array_info
from unetmm.io.image import Box, ImageInfo, Plane
from unetmm.models.choice import pick_model
from unetmm.models.groups import sample_groups
from unetmm.models.weights import Model
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image
from unetmm.plan.types import Plan
from unetmm.run.job import Job, compile_and_calibrate
from unetmm.run.of_array import ARRAY_CHUNK_PX
from unetmm.run.streaming import run_task
from unetmm.run.task import Task

if TYPE_CHECKING:
    import dask.array as da


def is_dask_array(image: Any) -> bool:
    """Whether this is a Dask array, without importing Dask."""
    return type(image).__module__.startswith("dask.array")


def restore_lazily(image: da.Array, options: Options, axes: str | None = None) -> da.Array:
    """A Dask array of the image's shape and dtype, restored plane by plane and box by box.

    Calibration is one task of the graph; the boxes follow the plan, so with the threaded
    scheduler and `plan.workers` threads the run keeps the budget, apart from Dask's own copies of
    the input. Results are the same for any chunking.

    Raises
    ------
    ShapeError
        If Dask does not know the shape, or it does not fit axes and model.
    BudgetError
        If no plan fits the budget.
    """
    import dask  # which only those have who give a Dask array
    import dask.array as da

    info = array_info(image.shape, image.dtype, axes)
    info = replace(info, nodata=info.nodata.overridden(options.nodata))
    model = pick_model(options.model, info)
    storage = in_memory_storage((ARRAY_CHUNK_PX, ARRAY_CHUNK_PX))
    plan = plan_image(info, storage, storage, model, options)
    order = [info.axes.index(a) for a in AXES if a in info.axes]
    full = image.transpose(order)[
        tuple(slice(None) if a in info.axes else np.newaxis for a in AXES)
    ]  # t, c, z, y, x, s
    common = dask.delayed(_prepare)(_Patches(full, info), model, plan, options)
    planes = [_plane(full[p], p, info, plan, common) for p in info.planes]
    t, c, z = (info.length(a) for a in "TCZ")
    stacked = da.stack(planes).reshape((t, c, z, info.height, info.width, info.samples))
    kept = stacked[tuple(slice(None) if a in info.axes else 0 for a in AXES)]
    return kept.transpose([order.index(i) for i in range(image.ndim)])


class _Patches:
    """Reads calibration patches of a Dask array; enough of a Source for `calibrate`."""

    resident_bytes = 0

    def __init__(self, full: da.Array, info: ImageInfo) -> None:
        self.full, self.info = full, info

    def read_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def read(self, plane: Plane, box: Box) -> Any:
        return self.full[plane][box.y0 : box.y1, box.x0 : box.x1].compute(scheduler="synchronous")

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _Common:
    """What every box needs; the result of one task, shared by all others."""

    info: ImageInfo
    """Facts about the whole image."""
    plan: Plan
    """Cut of the image into boxes."""
    net: Net
    """Net that the rows go through."""
    calibration: Calibration
    """Statistics of the whole image."""
    strength: float
    """Share of the net's change that is kept."""


def _prepare(patches: _Patches, model: Model, plan: Plan, options: Options) -> _Common:
    """Fold the net, and calibrate unless that is given."""
    net, calibration = compile_and_calibrate(patches, model, options, plan.calibration_cores)
    return _Common(patches.info, plan, net, calibration, options.strength)


def _plane(pixels: da.Array, plane: Plane, info: ImageInfo, plan: Plan, common: Any) -> da.Array:
    """One plane (height, width, samples) as a grid of lazily restored boxes."""
    import dask
    import dask.array as da

    def cell(segment: Span, strip: Span) -> da.Array:
        rows = _with_surroundings(segment, info.height, info)
        columns = _with_surroundings(strip, info.width, info)
        read = pixels[rows, columns].rechunk(-1).to_delayed().ravel()[0]
        box = dask.delayed(_restore_box)(read, plane, segment, strip, common)
        return da.from_delayed(box, (segment.write_px, strip.write_px, info.samples), info.dtype)

    return da.block([[[cell(seg, strip)] for strip in plan.strips] for seg in plan.segments])


def _with_surroundings(span: Span, length_px: int, info: ImageInfo) -> slice:
    """What is read of an axis, with pixels that may stand in for those at its edge."""
    reach = REACH_PX if info.may_have_gaps else 0
    start, stop = max(0, span.read_start - reach), min(span.read_stop, length_px)
    return slice(start, min(stop + reach, length_px))


def _restore_box(pixels: Any, plane: Plane, segment: Span, strip: Span, common: _Common) -> Any:
    """The write box of one strip and segment, from the pixels of its read box."""
    info, net = common.info, common.net
    y0 = _with_surroundings(segment, info.height, info).start
    x0 = _with_surroundings(strip, info.width, info).start
    window = _Window(np.asarray(pixels), info, y0, x0)
    out = _BoxSink((segment.write_px, strip.write_px, info.samples), info)
    groups = sample_groups(net.config, info)
    job = Job(window, out, net, groups, common.calibration, common.plan, common.strength)
    with net.exclusive():
        run_task(job, Task(plane, strip, segment))
    return out.pixels


class _Window:
    """A read box that answers in the coordinates of the whole image."""

    resident_bytes = 0

    def __init__(self, pixels: Any, info: ImageInfo, y0: int, x0: int) -> None:
        self.pixels, self.info, self.y0, self.x0 = pixels, info, y0, x0

    def read_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def read(self, plane: Plane, box: Box) -> Any:
        return self.pixels[box.y0 - self.y0 : box.y1 - self.y0, box.x0 - self.x0 : box.x1 - self.x0]

    def close(self) -> None:
        pass


class _BoxSink:
    """Collects one write box."""

    resident_bytes = 0
    chunk = (ARRAY_CHUNK_PX, ARRAY_CHUNK_PX)

    def __init__(self, shape: tuple[int, int, int], info: ImageInfo) -> None:
        self.pixels = np.empty(shape, info.dtype)
        self.origin: tuple[int, int] | None = None

    def write_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def write(self, plane: Plane, box: Box, pixels: Any) -> None:
        y, x = self.origin = self.origin or (box.y0, box.x0)  # the first box is the uppermost
        self.pixels[box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x] = pixels
