"""Reading and writing go on while a task computes, two slabs and two rows of chunks at most."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest
from helpers import lively_model

from unetmm.errors import ImageError
from unetmm.io.array import ArraySink, ArraySource, array_info
from unetmm.io.image import Box, Plane
from unetmm.nets.config import NetConfig
from unetmm.options import Options
from unetmm.plan.memory import sink_storage, source_storage
from unetmm.plan.outlook import plan_image
from unetmm.run.job import make_job
from unetmm.run.scheduler import run

WAIT_S = 60
"""Longest wait in seconds, far beyond what anything here takes."""
CONFIG = NetConfig(1, 1, 8, (1,), 1, (1,))


CHUNK_ROWS = 64


class Watched:
    """A counter that a thread can wait for."""

    def __init__(self) -> None:
        self.count, self._changed = 0, threading.Condition()

    def add(self, count: int) -> None:
        with self._changed:
            self.count += count
            self._changed.notify_all()

    def reaches(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self.count >= count, WAIT_S)


class Source(ArraySource):
    """Stored in chunks of CHUNK_ROWS rows that cost something to decode."""

    def __init__(self, image: np.ndarray) -> None:
        info = array_info(image.shape, image.dtype, None)
        super().__init__(image, replace(info, chunk=(CHUNK_ROWS, info.width)))
        self.slabs = Watched()

    def read_bytes(self, box_height: int, box_width: int) -> int:
        return 1

    def read(self, plane: Plane, box: Box) -> np.ndarray:
        self.slabs.add(1)
        return super().read(plane, box)


class Sink(ArraySink):
    """Does what it is told before each box is written."""

    def __init__(self, like: Source) -> None:
        super().__init__(np.zeros((like.info.height, like.info.width), np.uint8), like.info, 64)
        self.before = lambda box: None
        self.boxes: list[Box] = []

    def write(self, plane: Plane, box: Box, pixels: np.ndarray) -> None:
        self.before(box)
        self.boxes.append(box)
        super().write(plane, box, pixels)


@pytest.fixture
def source() -> Source:
    return Source(np.random.default_rng(3).integers(0, 255, (4 * CHUNK_ROWS, 40)).astype(np.uint8))


def job_of(source: Source, sink: Sink, progress) -> object:
    options = Options(lively_model(CONFIG), 10**9, fixed_range=(0.0, 255.0), workers=1)
    storages = source_storage(source), sink_storage(sink)
    plan = plan_image(source.info, *storages, options.model, options)
    assert plan.band_rows + plan.lag_rows < CHUNK_ROWS, "a slab must last for several bands"
    job = make_job(source, sink, options.model, plan, options)
    source.slabs.count = 0  # calibration has read too
    job.progress = progress
    return job


def test_the_next_slab_is_read_while_one_is_used(source: Source) -> None:
    seen: list[bool] = []

    def progress(pixels: int) -> None:
        if not seen:
            seen.append(source.slabs.reaches(2) and source.slabs.count == 2)

    run(job_of(source, Sink(source), progress))
    assert seen == [True]
    assert source.slabs.count == 4


def test_a_row_of_chunks_is_written_while_the_next_is_filled(source: Source) -> None:
    sink, done, waited = Sink(source), Watched(), []

    def before(box: Box) -> None:
        if box.y0 == 0:
            waited.append(done.reaches(CHUNK_ROWS * source.info.width + 1))

    sink.before = before
    run(job_of(source, sink, done.add))
    assert waited == [True]
    assert [box.y0 for box in sink.boxes] == [0, 64, 128, 192]


def test_a_failing_write_ends_the_run_and_no_write_follows(source: Source) -> None:
    sink = Sink(source)

    def before(box: Box) -> None:
        if box.y0 == CHUNK_ROWS:
            raise ImageError("disk full")

    sink.before = before
    with pytest.raises(ImageError, match="disk full"):
        run(job_of(source, sink, lambda pixels: None))
    assert [box.y0 for box in sink.boxes] == [0]
