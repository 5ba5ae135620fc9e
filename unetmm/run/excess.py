"""What exceeds the base range in a strip: noticed as rows come in, mended as they come out.

    rows in --watch--> clipped rows --stream--> answer --mend--> answer with the cells blended in
                \\-- marks cells                    ^-- read again, by themselves

Rows come out later than what lies REACH_PX below them came in, so by then all is known of which
cells they touch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm.geometry import mirrored
from unetmm.intensities.brackets import (
    BLOCK_ROWS,
    BOX_PX,
    CELL_PX,
    LARGEST,
    MARGIN_PX,
    REACH_PX,
    Mended,
    exceeding,
    may_exceed,
    mend,
    stand_in,
)
from unetmm.intensities.range import normalise
from unetmm.intensities.stored import clipped
from unetmm.io.image import Box
from unetmm.models.groups import slice_of
from unetmm.run.job import Job
from unetmm.run.outliers import box_with_stand_ins, reach_px
from unetmm.run.slab import Slab
from unetmm.run.task import Task

if TYPE_CHECKING:
    from unetmm.calibrate.calibration import ChannelStatistics
    from unetmm.engine.cpu.compiled import CompiledNet


class ExcessCells:
    """The cells of one strip and group of samples that exceed the base range."""

    def __init__(self, job: Job, task: Task, group: int, statistics: ChannelStatistics) -> None:
        self.job, self.task, self.statistics = job, task, statistics
        info = job.source.info
        self.group, self.height, self.width = slice_of(job.groups[group]), info.height, info.width
        reaches = min(job.plan.halo_px, job.plan.lag_rows) >= REACH_PX
        config = job.net.config
        self.active = (
            job.kernels is not None
            and reaches
            and config.in_channels == config.out_channels
            and may_exceed(info.dtype, statistics)
        )
        self.fill = statistics.seen_fill
        self.marked: set[tuple[int, int]] = set()
        """Blocks of rows and columns of cells with something to mend."""
        self.cells: dict[int, Mended] = {}
        """Cells of the row of cells that is coming out, by their column."""
        self.cell_row = -1
        self.any_far = False
        """Whether some values are no measurement."""
        self.next_row = task.segment.read_start
        self.forward: _BoxNet | None = None

    def watch(self, rows: NDArray[np.float32], first_row: int) -> None:
        """Take rows on the net's scale, mark what exceeds the base range, and clip it."""
        if not self.active:
            return
        found = exceeding(rows)
        if found is None:
            return
        y, x = np.nonzero(found)
        y, x = y + first_row, x + self.task.strip.read_start
        for reach_y in (-REACH_PX, REACH_PX):
            blocks = (y + reach_y) // BLOCK_ROWS
            for reach_x in (-REACH_PX, REACH_PX):
                packed = np.unique(blocks * 2**32 + np.maximum(x + reach_x, 0) // CELL_PX)
                self.marked.update((int(v) >> 32, int(v) & (2**32 - 1)) for v in packed)
        if stand_in(rows, self.fill):
            self.any_far = True
            self.job.excess.warn()

    def mend(self, band: NDArray[np.float32]) -> None:
        """Blend cells into the next rows of the answer, in place."""
        first, self.next_row = self.next_row, self.next_row + len(band)
        if not self.marked:
            return
        segment = self.task.segment
        y, stop = max(first, segment.write_start), min(self.next_row, segment.write_stop)
        while y < stop:
            end = min(stop, (y // BLOCK_ROWS + 1) * BLOCK_ROWS)
            for column in [c for b, c in self.marked if b == y // BLOCK_ROWS]:
                self._mend(band[y - first : end - first], y, column)
            y = end
        self.marked = {(b, c) for b, c in self.marked if b >= self.next_row // BLOCK_ROWS}

    def _mend(self, rows: NDArray[np.float32], y: int, column: int) -> None:
        strip = self.task.strip
        x0 = max(column * CELL_PX, strip.write_start)
        x1 = min((column + 1) * CELL_PX, strip.write_stop)
        if x0 >= x1:
            return
        if self.cell_row != y // CELL_PX:
            self.cell_row, self.cells = y // CELL_PX, {}
        if column not in self.cells:
            self.cells[column] = self._cell(column)
        cell = self.cells[column]
        top, left = y - self.cell_row * CELL_PX, x0 - column * CELL_PX
        part = np.s_[top : top + len(rows), left : left + x1 - x0]
        share, target = cell.share[part], rows[:, x0 - strip.read_start : x1 - strip.read_start]
        mended = share * target + cell.add[part]
        np.copyto(target, mended, where=share < 1)

    def _cell(self, column: int) -> Mended:
        """Read a cell with its margin and restore it."""
        job, y, x = self.job, self.cell_row * CELL_PX, column * CELL_PX
        top, left = max(0, y - MARGIN_PX), max(0, x - MARGIN_PX)
        box = Box(
            top, left, min(self.height, y + CELL_PX + MARGIN_PX),
            min(self.width, x + CELL_PX + MARGIN_PX),
        )  # fmt: skip
        reach, plane = reach_px(job), self.task.plane
        read = Box(
            max(0, box.y0 - reach), max(0, box.x0 - reach),
            min(self.height, box.y1 + reach), min(self.width, box.x1 + reach),
        )  # fmt: skip
        with job.clock("read"):
            rows = Slab(job, plane, read).rows(read.y0, read.y1)
        rows = box_with_stand_ins(job, plane[1], rows, read, box)
        seen = rows.seen[..., self.group]
        known = None if rows.known is None else rows.known[..., self.group]
        values = np.empty((BOX_PX, BOX_PX, seen.shape[2]), np.float32)
        within = values[: box.height, : box.width]
        normalise(seen, known, self.statistics, within)
        within[~(np.abs(within) <= LARGEST)] = self.fill
        within_rows = values[: box.height]
        within_rows[:, box.width :] = within_rows[:, mirrored(box.width, BOX_PX - box.width)]
        values[box.height :] = values[mirrored(box.height, BOX_PX - box.height)]
        if self.forward is None:
            assert job.kernels is not None
            self.forward = _BoxNet(job.kernels, job.plan.threads)
        inner = np.s_[
            y - top : min(y + CELL_PX, self.height) - top,
            x - left : min(x + CELL_PX, self.width) - left,
        ]
        mended = mend(values, inner, self.forward)
        self._count(mended, y, x)
        return mended

    def _count(self, mended: Mended, y: int, x: int) -> None:
        """Count a cell where its first pixel is written, so that it counts once."""
        strip, segment = self.task.strip, self.task.segment
        own = x >= strip.write_start and max(y, segment.write_start) < segment.write_stop
        if own or x < strip.write_start == 0:
            self.job.excess.add(mended.rungs)

    def keep(self, restored: NDArray[Any], stored: NDArray[Any]) -> None:
        """Give pixels back their stored value where that is no measurement of this image."""
        if not self.any_far:
            return
        np.copyto(restored, clipped(stored, restored.dtype), where=self._is_far(stored))

    def _is_far(self, stored: NDArray[Any]) -> NDArray[np.bool_]:
        """Which stored values are beyond what a measurement of this image can be."""
        scale = self.statistics
        with np.errstate(over="ignore", invalid="ignore"):
            if scale.samples:
                parts = [s.seen(stored[..., i]) for i, s in enumerate(scale.samples)]
                return ~(np.abs(np.stack(parts, -1)) <= LARGEST)
            width = scale.high - scale.low
            return ~(np.abs(stored.astype(np.float64) - scale.low) <= LARGEST * width)


class _BoxNet:
    """A net that restores boxes of one size, each with the attention of its own averages."""

    def __init__(self, kernels: CompiledNet, threads: int) -> None:
        from unetmm.engine.cpu.stream import ObservingStream

        self.stream = ObservingStream(kernels, kernels.unattended(), BOX_PX, BOX_PX, threads)

    def __call__(self, box: NDArray[np.float32]) -> NDArray[np.float32]:
        return self.stream.restore(box)
