"""Restores some crops of an image, each pixel as a run over all of the image would.

A crop is a write box like any other: its tasks read as far around it as the net sees, use the
statistics of the whole image, and count rows and columns from the image's own first pixel. The cut
of the plan for the whole image bounds the memory: no task is wider than one of its strips.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.crops import Crop
from unetmm.geometry import make_span
from unetmm.io.image import Box, ImageInfo, Plane
from unetmm.plan.memory import Storage, in_memory_storage
from unetmm.plan.types import Plan
from unetmm.run.job import Job
from unetmm.run.scheduler import run
from unetmm.run.task import Task

CHUNK_PX = 63
"""Most rows and columns that are written at once; odd, so that no block of the guard, which
compares input and output of whole chunks, is taken for complete."""


def crop_storage(info: ImageInfo, crops: Sequence[Crop], copies: int) -> Storage:
    """What keeping so many copies of the crops costs.

    info : the restored image's.
    """
    pixel_bytes = info.samples * info.dtype.itemsize
    pixels = sum(crop.box.height * crop.box.width for crop in crops)
    storage = in_memory_storage(_chunk(info))
    return replace(storage, resident_bytes=copies * pixels * pixel_bytes)


def restore_crops(job: Job, crops: Sequence[Crop], strength: float) -> list[NDArray[Any]]:
    """The restored pixels (height, width, samples) of each crop.

    job : a run over all of the image, whose sink is not used.

    Raises
    ------
    UnetmmError
        If the image cannot be read, or the net's answer is no number.
    """
    info = job.source.info
    sink = _CropSink(info, crops, job.storing.type_of(info.dtype), job.output_scale)
    job = replace(job, sink=sink, strength=strength, bands_apart=False)
    stride_px = job.net.config.stride_px
    run(job, [task for crop in crops for task in _tasks(job.plan, crop, info, stride_px)])
    return sink.pixels


def _tasks(plan: Plan, crop: Crop, info: ImageInfo, stride_px: int) -> Iterator[Task]:
    """A task for the part of a crop in each strip of the plan."""
    box = crop.box
    segment = make_span(box.y0, box.y1, info.height, plan.halo_px, stride_px)
    for strip in plan.strips:
        x0, x1 = max(box.x0, strip.write_start), min(box.x1, strip.write_stop)
        if x0 < x1:
            columns = make_span(x0, x1, info.width, plan.halo_px, stride_px)
            yield Task(crop.plane, columns, segment)


def _chunk(info: ImageInfo) -> tuple[int, int]:
    """Rows and columns of the sink: fewer than the image has, if that is possible."""
    height, width = (CHUNK_PX if n > CHUNK_PX else 1 for n in (info.height, info.width))
    return height, width


class _CropSink:
    """Collects what is written of some crops, which may overlap."""

    resident_bytes = 0

    def __init__(
        self, info: ImageInfo, crops: Sequence[Crop], dtype: np.dtype[Any], scale: int
    ) -> None:
        height, width = _chunk(info)
        self.chunk = height * scale, width * scale
        self.planes = [crop.plane for crop in crops]
        self.boxes = [crop.box.enlarged(scale) for crop in crops]
        self.pixels = [np.zeros((b.height, b.width, info.samples), dtype) for b in self.boxes]

    def write_bytes(self, box_height: int, box_width: int) -> int:
        return 0

    def write(self, plane: Plane, box: Box, pixels: NDArray[Any]) -> None:
        for own_plane, own, target in zip(self.planes, self.boxes, self.pixels, strict=True):
            y0, y1 = max(box.y0, own.y0), min(box.y1, own.y1)
            x0, x1 = max(box.x0, own.x0), min(box.x1, own.x1)
            if own_plane == plane and y0 < y1 and x0 < x1:
                part = pixels[y0 - box.y0 : y1 - box.y0, x0 - box.x0 : x1 - box.x0]
                target[y0 - own.y0 : y1 - own.y0, x0 - own.x0 : x1 - own.x0] = part
