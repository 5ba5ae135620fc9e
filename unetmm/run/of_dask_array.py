"""Restoration as a lazy Dask array: one task per write box, computed when Dask asks for it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from unetmm.calibrate.calibration import Calibration
from unetmm.engine.contract import Net
from unetmm.geometry import Span
from unetmm.intensities import outliers
from unetmm.intensities.brackets import CELL_PX, MARGIN_PX
from unetmm.intensities.outliers import OutlierChoice
from unetmm.intensities.standins import REACH_PX
from unetmm.intensities.stored import Storing
from unetmm.io.answered import Answer
from unetmm.io.axes import AXES
from unetmm.io.enlarged import chunk_px
from unetmm.io.image import Box, ImageInfo, Plane, planes_of_maps
from unetmm.models.choice import pick_model
from unetmm.models.groups import sample_groups
from unetmm.models.tasks import ModelTask, task_of
from unetmm.options import Options
from unetmm.plan.memory import in_memory_storage
from unetmm.plan.outlook import plan_image
from unetmm.plan.types import Plan
from unetmm.run.job import Job, bracket_kernels, compile_and_calibrate
from unetmm.run.loaded import Loaded
from unetmm.run.model import settle
from unetmm.run.of_array import ARRAY_CHUNK_PX
from unetmm.run.streaming import run_task
from unetmm.run.task import Task

if TYPE_CHECKING:
    import dask.array as da

    from unetmm.engine.cpu.compiled import CompiledNet


def restore_lazily(image: da.Array, options: Options, axes: str | None = None) -> da.Array:
    """A Dask array of the image's shape and chunks, restored plane by plane and box by box; where
    the net gives maps, each is a channel.

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

    info = options.array_info(image.shape, image.dtype, axes)
    model = pick_model(options.model, info)
    kept = options.output_info(info)
    side = chunk_px(ARRAY_CHUNK_PX, options.output_scale) // options.output_scale
    storage = in_memory_storage((side, side))
    plan = plan_image(info, storage, storage, model, options)
    order = [info.axes.index(a) for a in AXES if a in info.axes]
    full = image.transpose(order)[
        tuple(slice(None) if a in info.axes else np.newaxis for a in AXES)
    ]  # t, c, z, y, x, s
    common = dask.delayed(_Preparation(_Patches(full, info), plan, options))()
    scale, dtype = options.output_scale, kept.dtype
    maps = options.maps(info) if options.writes_apart(info) else 0
    shape = kept.height, kept.width, maps or info.samples
    planes = [_plane(full[p], p, info, (shape, dtype), plan, common, scale) for p in info.planes]
    if maps:
        planes = _maps_apart(planes, info, kept, maps)
    lengths = (*map(kept.length, "TCZ"), kept.height, kept.width, kept.samples)
    stacked = da.stack(planes).reshape(lengths)
    found = stacked[tuple(slice(None) if a in kept.axes else 0 for a in AXES)]
    chunks = dict(zip(info.axes, image.chunks, strict=True))
    chunks |= {axis: tuple(n * scale for n in chunks[axis]) for axis in "YX"}
    chunks |= {"C": (kept.length("C"),)} if maps else {}
    places = [a for a in AXES if a in kept.axes]
    found = found.transpose([places.index(a) for a in kept.axes])
    return found.rechunk(tuple(chunks[axis] for axis in kept.axes))


def _maps_apart(
    planes: Sequence[da.Array], info: ImageInfo, kept: ImageInfo, maps: int
) -> list[da.Array]:
    """The planes of an output from those of its input, each of which has several maps."""
    parted = {
        place: plane[..., i : i + 1]
        for plane, of_input in zip(planes, info.planes, strict=True)
        for i, place in enumerate(planes_of_maps(of_input, maps))
    }
    return [parted[place] for place in kept.planes]


class _Patches:
    """Reads calibration patches of a Dask array; enough of a Source for `calibrate`.

    The choice of a model and calibration ask for the same places. What is behind them is computed
    once, for it may be costly.
    """

    resident_bytes = 0

    def __init__(self, full: da.Array, info: ImageInfo) -> None:
        self.full, self.info = full, info
        self._kept: dict[tuple[Any, ...], list[Any]] = {}

    def read_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def read(self, plane: Plane, box: Box) -> Any:
        return self._lazy(plane, box).compute(scheduler="synchronous")

    def read_many(self, channel: int, places: Sequence[tuple[int, int, Box]]) -> list[Any]:
        """Pixels of (t, z, box) together, so that what they share is computed once."""
        import dask

        asked = channel, *places
        if asked not in self._kept:
            lazy = [self._lazy((t, channel, z), box) for t, z, box in places]
            self._kept[asked] = list(dask.compute(*lazy, scheduler="synchronous"))
        return self._kept[asked]

    def _lazy(self, plane: Plane, box: Box) -> da.Array:
        return self.full[plane][box.y0 : box.y1, box.x0 : box.x1]

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
    storing: Storing
    """Way in which restored values are stored."""
    kernels: CompiledNet | None
    """Net in kernels that restore what exceeds the base range."""
    outliers: OutlierChoice
    """Choice of what becomes of pixels that no optics can make."""
    task: ModelTask
    """Task of the net."""
    answer: Answer | None
    """Nature of the output's values where they are no restored image's."""


class _Preparation:
    """Prepares what every box needs, once in a process, however often parts are asked for."""

    def __init__(self, patches: _Patches, plan: Plan, options: Options) -> None:
        self._asked = patches, plan, options
        self._made: _Common | None = None
        self._lock = threading.Lock()

    def __call__(self) -> _Common:
        with self._lock:
            if self._made is None:
                self._made = _prepare(*self._asked)
            return self._made

    def __getstate__(self) -> tuple[_Patches, Plan, Options]:
        return self._asked

    def __setstate__(self, state: tuple[_Patches, Plan, Options]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __dask_tokenize__(self) -> int:
        return id(self)


def _prepare(patches: _Patches, plan: Plan, options: Options) -> _Common:
    """Settle on a model, fold it, and calibrate unless that is given."""
    loaded = Loaded()
    options = settle(options, patches, loaded, cores=plan.calibration_cores)
    model = pick_model(options.model, patches.info)
    kernels = bracket_kernels(model, options, patches.info, loaded)
    cores = plan.calibration_cores
    net, calibration = compile_and_calibrate(patches, model, options, cores, loaded)
    return _Common(
        patches.info,
        plan,
        net,
        calibration,
        options.strength,
        options.storing,
        kernels,
        options.outliers_of(patches.info),
        task_of(model),
        options.answer,
    )


def _plane(
    pixels: da.Array,
    plane: Plane,
    info: ImageInfo,
    made: tuple[tuple[int, int, int], np.dtype[Any]],
    plan: Plan,
    common: Any,
    scale: int,
) -> da.Array:
    """One plane (height, width, samples) as a grid of lazily restored boxes.

    made: shape and type of what it becomes.
    """
    import dask
    import dask.array as da

    def cell(segment: Span, strip: Span) -> da.Array:
        rows, columns = _window(segment, info.height), _window(strip, info.width)
        read = pixels[rows, columns].rechunk(-1).to_delayed().ravel()[0]
        box = dask.delayed(_restore_box)(read, plane, segment, strip, common)
        (*_, samples), dtype = made
        shape = segment.write_px * scale, strip.write_px * scale, samples
        return da.from_delayed(box, shape, dtype)

    return da.block([[[cell(seg, strip)] for strip in plan.strips] for seg in plan.segments])


def _window(span: Span, length_px: int) -> slice:
    """Pixels of an axis that a box may ask for: its halo, or whole cells of brackets around it,
    what tells outliers in these, and what may stand in for pixels at the edge of all that.
    """
    first = min(span.read_start, span.write_start - CELL_PX - MARGIN_PX)
    last = max(span.read_stop, span.write_stop + CELL_PX + MARGIN_PX)
    reach = REACH_PX + outliers.REACH_PX
    return slice(max(0, first - reach), min(last + reach, length_px))


def _restore_box(pixels: Any, plane: Plane, segment: Span, strip: Span, common: _Common) -> Any:
    """The write box of one strip and segment, from the pixels of its read box."""
    info, net = common.info, common.net
    y0, x0 = _window(segment, info.height).start, _window(strip, info.width).start
    window = _Window(np.asarray(pixels), info, y0, x0)
    dtype = common.storing.type_of(info.dtype)
    scale = net.config.output_scale
    maps = 0 if common.answer is None else common.answer.maps(info)
    shape = segment.write_px * scale, strip.write_px * scale, maps or info.samples
    out = _BoxSink(shape, dtype, scale)
    groups = sample_groups(net.config, info)
    job = Job(
        window, out, net, groups, common.calibration, common.plan, common.strength, common.storing,
        kernels=common.kernels, outliers=common.outliers, keeps_details=common.task.keeps_details,
        removes_noise=common.task.removes_noise, answer=common.answer,
        bands_apart=bool(info.joined),
    )  # fmt: skip
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

    def __init__(self, shape: tuple[int, int, int], dtype: np.dtype[Any], scale: int) -> None:
        self.chunk = (chunk_px(ARRAY_CHUNK_PX, scale),) * 2
        self.pixels = np.empty(shape, dtype)
        self.origin: tuple[int, int] | None = None

    def write_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def write(self, plane: Plane, box: Box, pixels: Any) -> None:
        y, x = self.origin = self.origin or (box.y0, box.x0)  # the first box is the uppermost
        target = self.pixels[box.y0 - y : box.y1 - y, box.x0 - x : box.x1 - x]
        if target.shape == pixels.shape:
            target[...] = pixels
        else:  # one of several maps, each of which is a plane
            target[..., plane[1] % target.shape[-1]] = pixels[..., 0]
