"""Guards a task: the net's answer is finite, and what is written keeps what was read."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import WeightsError
from unetmm.intensities.findings import Findings
from unetmm.intensities.guard import BlockWatch, block_px, to_watch
from unetmm.intensities.judging import Watched, smear_factor
from unetmm.intensities.range import less_low
from unetmm.intensities.rounding import Dimness, DimParts
from unetmm.intensities.validity import NoData
from unetmm.io.enlarged import repeated
from unetmm.io.measured import Mask
from unetmm.run.job import Job
from unetmm.run.task import Task

SAMPLED_ROWS, SAMPLED_ROW = 32, 16
"""Step of the rows whose rounding is looked at, and the first of them."""


class Stored(NamedTuple):
    """Rows of a group of samples as they are stored."""

    pixels: NDArray[Any]
    """Stored values, (rows, width, samples)."""
    nodata: NoData
    """Statement on values without a measurement."""
    given: Mask | None
    """Mask that came with the pixels; None where all of them are measured."""

    def enlarged(self, scale: int) -> Stored:
        """The same for each pixel of the output that comes of them."""
        given = None if self.given is None else repeated(self.given, scale)
        return self._replace(pixels=repeated(self.pixels, scale), given=given)

    def at(self, y: int) -> Stored:
        """One of the rows."""
        one = slice(y, y + 1)
        given = None if self.given is None else self.given[one]
        return Stored(self.pixels[one], self.nodata, given)


def check_finite(job: Job, task: Task, answer: NDArray[np.float32], row: int) -> None:
    """Refuse a net's answer that is not finite; `row` is its first one.

    Raises
    ------
    WeightsError
        It names the model and the place.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(answer.sum()):
            return
    bad = np.argwhere(~np.isfinite(answer))
    if len(bad):
        y, x = int(bad[0][0]) + row, int(bad[0][1]) + task.strip.write_start
        plan = job.plan
        remedy = (
            "its weights or the image's range are far out; try another model or --range"
            if plan.precision == "fp32"
            else f"{plan.precision} is too coarse for it; give --precision fp32"
        )
        raise WeightsError(
            f"model {plan.model}: its answer in plane {task.plane} at row {y}, column {x} "
            f"is not a finite number; {remedy}"
        )


class RowWatch:
    """What a task's writer tells about the rows that it writes."""

    def __init__(self, job: Job, task: Task, scratch: NDArray[np.float32]) -> None:
        self.job, self.task = job, task
        shape = job.plan.band_rows, task.strip.write_px, -1
        self.scratch = scratch.reshape(shape)
        self.before = np.zeros_like(self.scratch)
        self.dimness = Dimness()
        info, written = job.source.info, job.written
        kinds = info.dtype.kind, job.storing.type_of(info.dtype).kind
        self.rounds = kinds[1] != "f" and job.storing.rounding == "nearest"
        """Whether rounding may bias means."""
        noise = [job.calibration.entry(task.plane[1], i).noise for i in range(len(job.groups))]
        self.dark = [np.array([m.dark for m in models] or [0.0]) for models in noise]
        """Stored values of each group that no light gives, one a sample."""
        height, width = written.height, written.width
        sides = block_px(job.chunk[0], height), block_px(job.chunk[1], width)
        chunk = min(job.chunk[0], height), min(job.chunk[1], width)
        self.blocks = [
            BlockWatch(
                Watched(
                    task.plane, task.strip.write_start - written.x0, task.strip.write_px, height,
                    group[0], len(group), chunk, sides,
                    job.calibration.entry(task.plane[1], number), kinds != ("f", "f"),
                    job.strength, job.output_scale, job.keeps_details, job.removes_noise,
                    smear_factor(m.correlation for m in noise[number]), noise[number],
                )
            )
            for number, group in enumerate(job.groups)
            if all(sides)
        ]  # fmt: skip

    def add(self, group: int, stored: Stored, made: NDArray[Any], row: int) -> None:
        """Compare rows of a group as they were with what they became: of an enlarged image with the
        means of what became of each pixel.
        """
        if not self.blocks:
            return
        low, rows = self.blocks[group].watched.scale.low, len(made)
        before, after = self.before[:rows], self.scratch[:rows]
        masked = to_watch(*stored, low, before)
        less_low(made, low, after)
        self.blocks[group].add(before, after, masked, row)

    def dim_parts(self, group: int, stored: Stored) -> DimParts | None:
        """Parts of a row of a group of samples that rounding may bias; None if there are none."""
        side = self.blocks[0].watched.sides[1] if self.blocks else stored.pixels.shape[1]
        return self.dimness.look(*stored, side, self.dark[group])

    def take(self) -> list[Findings]:
        """Give the run what was found in each chunk of a complete row of them; nothing if unknown.

        Of colours or bands that were restored by themselves, it is one sum.
        """
        groups = [watch.take() for watch in self.blocks]
        for found in groups[1:]:
            for first, other in zip(groups[0], found, strict=True):
                first.add(other)
        chunks = groups[0] if groups else []
        for found_in_chunk in chunks:
            self.job.guard.add(found_in_chunk.in_plane(self.task.plane))
        return chunks

    def hand_over(self) -> None:
        """Give the run what was found."""
        self.job.note_dimness(self.dimness)
