"""Turns a task's restored rows into stored values and writes them by whole rows of chunks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.points import keep_points
from unetmm.intensities.rounding import Losses, Spot
from unetmm.intensities.stored import (
    clipped,
    keep_even,
    keep_from_sinking,
    keep_saturated,
    opacity_as,
    to_stored,
)
from unetmm.io.enlarged import averaged, repeated, unshuffled
from unetmm.io.image import Box
from unetmm.io.output.output import Output
from unetmm.models.groups import slice_of
from unetmm.run.chunk_rows import ChunkRows
from unetmm.run.job import Job
from unetmm.run.kept_outliers import KeptOutliers
from unetmm.run.kept_rows import KeptRows
from unetmm.run.opacity import KeptOpacity
from unetmm.run.slab import Rows
from unetmm.run.task import Task
from unetmm.run.watching import SAMPLED_ROW, SAMPLED_ROWS, RowWatch, Stored, check_finite


class ChunkRowWriter(ChunkRows):
    """Turns the finished rows of a restored image back into stored values."""

    def __init__(self, job: Job, task: Task, background: ThreadPoolExecutor) -> None:
        info = job.source.info
        super().__init__(job, task, background, info.samples)
        width, samples, kept_rows = self.width, info.samples, self.under_way_rows
        self.kept = np.zeros((kept_rows, width, samples), info.dtype)
        self.kept_mask = np.ones((kept_rows, width), bool) if info.has_mask else None
        self.opacity = KeptOpacity(job, task) if info.alpha and self.scale > 1 else None
        self.outliers = KeptOutliers(job, (kept_rows, width, samples - info.alpha))
        self.points = KeptRows((kept_rows, width, len(job.groups)))
        """Shares of the stored value that pixels of point sources keep, by group of samples."""
        channels = job.net.config.out_channels
        rows = job.plan.band_rows
        self.scratch = np.zeros((rows * self.scale, width * self.scale, channels), np.float32)
        self.watch = RowWatch(job, task, self.scratch.reshape(-1)[: rows * width * channels])
        groups = range(len(job.groups))
        self.statistics = [job.calibration.entry(task.plane[1], g) for g in groups]
        self.nodata = [job.nodata(task.plane[1], g) for g in groups]

    def keep(self, rows: Rows) -> None:
        stored, given = rows.stored, rows.given
        index = np.arange(self.kept_rows, self.kept_rows + len(stored)) % len(self.kept)
        columns = slice(self.first_column, self.first_column + self.width)
        self.kept[index] = stored[:, columns]
        if self.opacity is not None:
            self.opacity.keep(stored[..., -1], self.kept_rows)
        if self.kept_mask is not None:
            self.kept_mask[index] = True if given is None else given[:, columns]
        if rows.outliers is not None:
            self.outliers.keep(rows.outliers[:, columns], self.kept_rows)
        if rows.points is not None:
            self.points.keep(rows.points[:, columns], self.kept_rows)
        self.kept_rows += len(stored)

    def fill(self, bands: list[NDArray[np.float32]], a: int, b: int, to: int, row: int) -> None:
        scale = self.scale
        target = self.buffer[to * scale : (to + b - a) * scale]
        index = np.arange(row, row + b - a) % len(self.kept)
        original = self.kept[index]
        given = None if self.kept_mask is None else self.kept_mask[index]
        info, losses = self.job.source.info, Losses()
        kinds = self.outliers.written(row, b - a, self.task.strip.write_start)
        points = self.points.take(row, b - a)
        if points is not None:
            self.job.point_count.add(points)
        shown = None if given is None else repeated(given, scale)
        if self.opacity is not None:
            target[..., -1], shown = self.opacity.enlarged(row, b - a, target.dtype, given)
        elif info.alpha:
            target[..., -1] = opacity_as(original[..., -1], target.dtype)
        for number, (group, band) in enumerate(zip(self.job.groups, bands, strict=True)):
            samples = slice_of(group)
            inside = slice(self.first_column, self.first_column + self.width)
            check_finite(self.job, self.task, band[a:b, inside], row)
            stored = Stored(original[..., samples], self.nodata[number], given)
            made = target[..., samples]
            # Columns beside those that are written stay where they are, unless pixels move.
            answer, first = band[a:b], self.first_column
            if scale > 1:
                answer, first = unshuffled(answer[:, inside], scale), 0
            before = stored.enlarged(scale)._replace(given=shown)
            lost = to_stored(
                answer, first, before.pixels, self.statistics[number], self.job.strength,
                before.nodata, before.given, self.scratch[: len(made)], made,
                self._spot(row, group),
            )  # fmt: skip
            losses.add(lost)
            keep_even(made, before.pixels, self.statistics[number].even)
            keep_saturated(made, before.pixels, self._saturated(number))
            if (floor := self.statistics[number].not_below) is not None:
                keep_from_sinking(made, *before, floor)
            if points is not None:
                shares = repeated(points[..., number], scale)
                keep_points(made, clipped(before.pixels, made.dtype), shares)
            if kinds is not None:
                self.outliers.put(repeated(kinds[..., samples], scale), before.pixels, made)
                stored = self.outliers.others(kinds[..., samples], stored)
            self.watch.add(number, stored, averaged(made, scale), row - self.top)
            self._watch_rounding(number, answer, first, stored, made, row)
        for excess in self.excess:
            values = repeated(original[..., excess.group], scale)
            excess.keep(target[..., excess.group], values)
        if losses != Losses():
            self.job.note_losses(losses)

    def _saturated(self, group: int) -> tuple[float, ...]:
        """Levels at which the sensor saturates; none where the net does more than remove noise, or
        gives the bands of an image together.
        """
        job = self.job
        kept = job.removes_noise and not job.source.info.joined
        return self.statistics[group].saturated if kept else ()

    def _watch_rounding(
        self,
        group: int,
        answer: NDArray[np.float32],
        first: int,
        stored: Stored,
        made: NDArray[Any],
        row: int,
    ) -> None:
        """Compare some rows, always the same ones, with what they were before they were rounded.

        first: column of the answer that is the first one written.
        """
        if not self.watch.rounds:
            return
        scale = self.scale
        for y in range(-(row - SAMPLED_ROW) % SAMPLED_ROWS, len(stored.pixels), SAMPLED_ROWS):
            one, row_stored = slice(y * scale, (y + 1) * scale), stored.at(y)
            if (dim := self.watch.dim_parts(group, row_stored)) is None:
                continue
            exact = np.empty(made[one].shape, np.float64)
            before = row_stored.enlarged(scale)
            to_stored(
                answer[one], first, before.pixels, self.statistics[group], self.job.strength,
                *before[1:], self.scratch[:scale], exact,
            )  # fmt: skip
            if not self.job.removes_noise and made.dtype.kind != "f":
                # Edges that are sharpened swing below black, which is no matter of rounding.
                limits = np.iinfo(made.dtype)
                np.clip(exact, limits.min, limits.max, out=exact)
                if (floor := self.statistics[group].not_below) is not None:
                    keep_from_sinking(exact, *before, floor)
            self.watch.dimness.note(dim, averaged(exact, scale), averaged(made[one], scale))

    def _spot(self, row: int, group: tuple[int, ...]) -> Spot | None:
        """Place of a row's first value of a group, if values are dithered."""
        if self.job.storing.rounding != "dither":
            return None
        samples, scale = self.job.source.info.samples, self.scale
        column = self.task.strip.write_start * scale
        return Spot(self.task.plane, row * scale, column, group[0], samples)

    def note(self, box: Box) -> None:
        found = self.watch.take()
        if isinstance(self.sink, Output):
            self.sink.note(self.task.plane, box, [f.as_note(self.task.plane) for f in found])

    def end(self) -> None:
        super().end()
        self.watch.hand_over()
