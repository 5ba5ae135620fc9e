"""Restores an array in memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.array import ArraySink, ArraySource
from unetmm.io.enlarged import chunk_px
from unetmm.models.choice import pick_model
from unetmm.options import Options
from unetmm.plan.memory import sink_storage, source_storage
from unetmm.plan.outlook import plan_image
from unetmm.run.job import make_job
from unetmm.run.loaded import Loaded, compiling_bytes
from unetmm.run.model import settle
from unetmm.run.remarks import say_remarks
from unetmm.run.report import Progress, Told
from unetmm.run.scheduler import run

ARRAY_CHUNK_PX = 512
"""Height and width in pixels of the units that an array in memory is cut by."""


def restore_array(
    image: NDArray[Any],
    options: Options,
    axes: str | None = None,
    loaded: Loaded | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
) -> NDArray[Any]:
    """A restored copy of an array; nets that are loaded already are not folded again."""
    info = options.array_info(image.shape, image.dtype, axes)
    kept = options.output_info(info)
    scale = options.output_scale
    out = np.empty_like(
        image, dtype=None if kept.dtype == info.dtype else kept.dtype, shape=kept.shape
    )
    source, sink = ArraySource(image, info), ArraySink(out, kept, chunk_px(ARRAY_CHUNK_PX, scale))
    loaded = loaded or Loaded()
    options.engine.prepare(lambda: progress(Progress("compile kernels", 0, info.pixels, 0, None)))
    held_bytes = compiling_bytes(options.engine)
    storages = source_storage(source), sink_storage(sink, scale)
    if held_bytes:  # refused now rather than once kernels are compiled in this process
        plan_image(info, *storages, pick_model(options.model, info), options, held_bytes)
    options = settle(options, source, loaded)
    model = pick_model(options.model, info)
    plan = plan_image(info, *storages, model, options, held_bytes)
    progress(Progress("calibrate", 0, info.pixels, 0, plan))
    job = make_job(source, sink, model, plan, options, loaded)
    total_px = kept.pixels // options.maps(info)
    told = Told(progress, total_px, plan)
    told.begin(total_px)
    job.progress = lambda pixels: told.add(pixels * scale**2)
    run(job)
    say_remarks(job, "the restored array")
    return out
