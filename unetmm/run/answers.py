"""Turns the rows of maps, scores and labels into stored values: nothing of the input is added.

A net that gives no image sees the input's range as others do, but what comes out has no part of it:
neither the range nor transforms, outliers or brackets are undone, and no means are compared.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.engine.finals import finish_rows
from unetmm.intensities.rounding import Losses
from unetmm.io.answered import Answer
from unetmm.io.enlarged import repeated, unshuffled
from unetmm.run.chunk_rows import ChunkRows
from unetmm.run.job import Job
from unetmm.run.slab import Rows
from unetmm.run.task import Task
from unetmm.run.watching import check_finite


class AnswerWriter(ChunkRows):
    """Stores each map of the answer as a plane of its own."""

    def __init__(self, job: Job, task: Task, background: ThreadPoolExecutor) -> None:
        info, answer = job.source.info, job.answer
        assert answer is not None, "the net gives no image"
        super().__init__(job, task, background, answer.maps(info))
        self.answer: Answer = answer
        self.final = "" if answer.kind == "labels" else job.net.config.final
        """Function at the end of the net; the largest score is the largest without it."""
        shape = self.under_way_rows, self.width, len(job.groups)
        self.measured = np.ones(shape, bool) if info.may_have_gaps else None
        """Flags of pixels of the rows under way that are measured, by group of samples; row y lies
        at y modulo their number. None if all of them are."""

    def keep(self, rows: Rows) -> None:
        count = len(rows.stored)
        if self.measured is not None:
            index = np.arange(self.kept_rows, self.kept_rows + count) % len(self.measured)
            self.measured[index] = True
            if rows.measured is not None:
                inside = rows.measured[:, self.first_column : self.first_column + self.width]
                for number, group in enumerate(self.job.groups):
                    self.measured[index, :, number] = inside[..., list(group)].all(-1)
        self.kept_rows += count

    def fill(self, bands: list[NDArray[np.float32]], a: int, b: int, to: int, row: int) -> None:
        scale, each = self.scale, self.answer.each
        target = self.buffer[to * scale : (to + b - a) * scale]
        inside = slice(self.first_column, self.first_column + self.width)
        losses = Losses()
        for number, band in enumerate(bands):
            check_finite(self.job, self.task, band[a:b, inside], row)
            made = target[..., number * each : (number + 1) * each]
            # A band is read once, so it is finished where it lies.
            answer = unshuffled(band[a:b, inside], scale)
            finish_rows(answer, self.final)
            losses.add(_stored(answer, self.answer, made))
            if self.measured is not None:
                index = np.arange(row, row + b - a) % len(self.measured)
                losses.unmeasured += self._clear(made, ~self.measured[index, :, number])
        if losses != Losses():
            self.job.note_losses(losses)

    def _clear(self, made: NDArray[Any], gaps: NDArray[np.bool_]) -> int:
        """Mark pixels without a measurement; gives how many values could not be marked as such."""
        if not gaps.any():
            return 0
        value = self.answer.unmeasured(made.dtype)
        made[repeated(gaps, self.scale)] = value
        lost = made.dtype.kind != "f" and self.answer.kind == "map"
        return int(gaps.sum()) * self.scale**2 * made.shape[-1] if lost else 0


def _stored(answer: NDArray[np.float32], kind: Answer, made: NDArray[Any]) -> Losses:
    """Put rows of an answer into stored ones, row by row: what that takes beyond them is a row."""
    losses = Losses()
    for row, out in zip(answer, made, strict=True):
        if kind.kind == "labels":
            out[:, 0] = row.argmax(-1)
        elif made.dtype.kind == "f":
            with np.errstate(over="ignore"):
                out[...] = row
            if made.dtype == np.float16:  # which ends at 65504
                losses.clipped += int(np.count_nonzero(~np.isfinite(out)))
        else:
            most = np.iinfo(made.dtype).max
            values = np.rint(row * np.float64(most))
            np.clip(values, 0, most, out=values)
            losses.clipped += int(np.count_nonzero((row < 0) | (row > 1)))
            out[...] = values
    return losses
