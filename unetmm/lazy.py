"""Restoration as a lazy Dask array: one task per write box, computed when Dask asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from unetmm.calibrate import Calibration, calibrate, load_calibration, sample_groups
from unetmm.geometry import Span
from unetmm.io.array import AXES, array_info
from unetmm.io.protocol import Box, ImageInfo, Plane
from unetmm.memory import in_memory_storage
from unetmm.pipeline import (
    ARRAY_CHUNK_PX,
    Options,
    pick_model,
    plan_image,
)
from unetmm.plan import Plan
from unetmm.weights import Model

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
    """
    import dask
    import dask.array as da

    info = array_info(image.shape, image.dtype, axes)
    model = pick_model(options.model, info)
    storage = in_memory_storage((ARRAY_CHUNK_PX, ARRAY_CHUNK_PX))
    plan = plan_image(info, storage, storage, model, options)
    order = [info.axes.index(a) for a in AXES if a in info.axes]
    full = image.transpose(order)[
        tuple(slice(None) if a in info.axes else np.newaxis for a in AXES)
    ]  # t, c, z, y, x, s
    calibration = dask.delayed(_calibration)(_Patches(full, info), model, options)
    planes = [_plane(full[p], p, info, model, plan, options, calibration) for p in info.planes]
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


def _calibration(patches: _Patches, model: Model, options: Options) -> Calibration:
    from unetmm.stream.compiled import CompiledNet
    from unetmm.stream.kernel_cache import ensure_compiled

    if isinstance(options.calibration, Calibration):
        return options.calibration
    if options.calibration is not None:
        return load_calibration(options.calibration)
    ensure_compiled()
    net = CompiledNet(model.config, model.tensors)
    groups = sample_groups(model.config, patches.info)
    return calibrate(patches, net, model.name, groups, options.fixed_range)


def _plane(
    pixels: da.Array, plane: Plane, info: ImageInfo, model: Model, plan: Plan, options: Options,
    calibration: Any,
) -> da.Array:  # fmt: skip
    """One plane (height, width, samples) as a grid of lazily restored boxes."""
    import dask
    import dask.array as da

    def cell(segment: Span, strip: Span) -> da.Array:
        rows = slice(segment.read_start, min(segment.read_stop, info.height))
        columns = slice(strip.read_start, min(strip.read_stop, info.width))
        read = pixels[rows, columns].rechunk(-1).to_delayed().ravel()[0]
        box = dask.delayed(_restore_box)(
            read, plane, info, segment, strip, model, plan, options, calibration
        )
        shape = (segment.write_px, strip.write_px, info.samples)
        return da.from_delayed(box, shape, info.dtype)

    return da.block([[[cell(seg, strip)] for strip in plan.strips] for seg in plan.segments])


def _restore_box(
    pixels: Any,
    plane: Plane,
    info: ImageInfo,
    segment: Span,
    strip: Span,
    model: Model,
    plan: Plan,
    options: Options,
    calibration: Calibration,
) -> Any:
    """The write box of one strip and segment, from the pixels of its read box."""
    from unetmm.run import Job, Task, run_task
    from unetmm.stream.compiled import CompiledNet
    from unetmm.stream.kernel_cache import ensure_compiled

    ensure_compiled()
    window = _Window(np.asarray(pixels), info, segment.read_start, strip.read_start)
    out = _BoxSink((segment.write_px, strip.write_px, info.samples), info)
    net = CompiledNet(model.config, model.tensors)
    job = Job(
        window, out, net, sample_groups(model.config, info), calibration, plan, options.strength
    )
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

    def begin(self) -> None:
        pass

    def write_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def write(self, plane: Plane, box: Box, pixels: Any) -> None:
        y, x = self.origin = self.origin or (box.y0, box.x0)  # the first box is the uppermost
        self.pixels[box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x] = pixels

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass
