"""What exceeds the base range in a strip: noticed as rows come in, mended as they come out.

    rows in --watch--> clipped rows --stream--> answer --mend--> answer with the cells blended in
                \\-- marks cells                    ^-- read again, by themselves

Rows come out later than what lies REACH_PX below them came in, so by then all is known of which
cells they touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.brackets import (
    BLOCK_ROWS,
    BROAD_PX,
    CELL_PX,
    CLIPPED,
    HEIGHT_REACH_PX,
    LARGEST,
    REACH_PX,
    box_nets,
    box_px,
    exceeds,
    may_exceed,
    window_reach,
    without_far,
)
from unetmm.intensities.noise import NoiseModel
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
    from unetmm.engine.cpu.boxes import BoxNet
    from unetmm.intensities.bracket_cells import Mended


class ExcessCells:
    """What of one strip and group of samples exceeds the base range."""

    def __init__(self, job: Job, task: Task, group: int, statistics: ChannelStatistics) -> None:
        self.job, self.task, self.statistics = job, task, statistics
        info, plan = job.source.info, job.plan
        self.group, self.height, self.width = slice_of(job.groups[group]), info.height, info.width
        config = job.net.config
        self.any_far = False
        """Whether some values are no measurement."""
        self.fill = statistics.seen_fill
        self.enlarges = config.output_scale > 1 and may_exceed(info.dtype, statistics)
        """Whether values may exceed the base range of a net that enlarges, which takes them as they
        are: what it adds to a pixel is small, whatever the pixel."""
        self.clips = config.gives != "image" and may_exceed(info.dtype, statistics)
        """Whether they may exceed that of a net that gives no image, which sees them clipped: what
        is beyond has no place in its answer."""
        self.active = (
            job.kernels is not None
            and min(plan.halo_px, plan.lag_rows) >= REACH_PX
            and config.in_channels == config.answer_channels
            and may_exceed(info.dtype, statistics)
        )
        """Whether what exceeds the base range is restored in wider ranges."""
        if not self.active:
            return
        self.noise = _bright_noise(statistics) if job.removes_noise else None
        self.marked: set[tuple[int, int]] = set()
        """Blocks of rows and columns of cells that may be near something broad."""
        self.cells: dict[int, Mended] = {}
        """Cells of the row of cells that is coming out, by their column."""
        self.cell_row = -1
        self.next_row = task.segment.read_start
        width = min(task.strip.read_stop, info.width) - task.strip.read_start
        channels, under_way = config.in_channels, plan.lag_rows + plan.band_rows + plan.delay_rows
        under_way += CELL_PX + window_reach(config.stride_px)
        self.values = np.zeros((under_way, width, channels), np.float32)
        """Rows that are under way, and those above that a cell may ask for, on the net's scale; row
        y lies at y modulo their number."""
        self.known = task.segment.read_start
        """Row of the image that comes next."""
        self.exceeds = np.zeros(under_way, bool)
        """Flags of rows that may exceed the base range."""
        self.runs = np.full(width, BROAD_PX, np.uint8)
        self.room = (
            np.empty((BLOCK_ROWS, width), np.float32),
            np.empty((BLOCK_ROWS, width, channels), np.float32),
        )
        self.nets: SimpleQueue[BoxNet] = SimpleQueue()
        """Nets that nobody uses now."""

    @property
    def watches(self) -> bool:
        """Whether it has to see the rows that come in."""
        return self.active or self.enlarges or self.clips

    def watch(self, rows: NDArray[np.float32], first_row: int) -> None:
        """Take rows on the net's scale, remember what exceeds the base range, and clip it."""
        if not self.active:
            if (self.enlarges or self.clips) and without_far(rows, self.fill):
                self.any_far = True
                self.job.excess.warn()
            if self.clips:
                np.clip(rows, 1 - CLIPPED, CLIPPED, out=rows)
            return
        index = np.arange(first_row, first_row + len(rows)) % len(self.values)
        found = exceeds(rows)
        if found:
            if without_far(rows, self.fill):
                self.any_far = True
                self.job.excess.warn()
            self._mark(rows, first_row)
        else:
            self.runs[:] = 0
        self.known = first_row + len(rows)
        self.exceeds[index] = found
        self.values[index] = rows
        if found:
            np.clip(rows, 1 - CLIPPED, CLIPPED, out=rows)

    def _mark(self, rows: NDArray[np.float32], first_row: int) -> None:
        """Mark blocks that may be near something broad."""
        from unetmm.intensities.brackets_rows import mark_broad

        above = BROAD_PX + HEIGHT_REACH_PX
        first_column = self.task.strip.read_start
        across = (first_column + rows.shape[1] - 1) // CELL_PX + 1
        marks = np.zeros((len(rows) + 2 * above, across), np.uint8)
        is_last = first_row + len(rows) == self.height
        mark_broad(rows, self.runs, is_last, first_column, marks)
        y, columns = np.nonzero(marks)
        blocks = (y + first_row - above) // BLOCK_ROWS
        self.marked.update(zip(blocks.tolist(), columns.tolist(), strict=True))

    def mend(self, band: NDArray[np.float32]) -> None:
        """Blend in what exceeds the base range in the next rows of the answer, in place."""
        if not self.active:
            return
        first, self.next_row = self.next_row, self.next_row + len(band)
        segment, strip = self.task.segment, self.task.strip
        own = range(strip.write_start // CELL_PX, -(-strip.write_stop // CELL_PX))
        y, stop = max(first, segment.write_start), min(self.next_row, segment.write_stop)
        while y < stop:
            end = min(stop, (y // BLOCK_ROWS + 1) * BLOCK_ROWS)
            columns = [c for c in own if (y // BLOCK_ROWS, c) in self.marked]
            if columns or self.exceeds[np.arange(y, end) % len(self.exceeds)].any():
                self._mend(band[y - first : end - first], y, columns)
            y = end
        self.marked = {(b, c) for b, c in self.marked if b >= self.next_row // BLOCK_ROWS}

    def _mend(self, rows: NDArray[np.float32], y: int, columns: list[int]) -> None:
        """Blend it into some rows of a block, with the cells of some columns."""
        from unetmm.intensities.brackets_rows import blend, shares_alone

        strip = self.task.strip
        share, change = (part[: len(rows)] for part in self.room)
        values = self.values[np.arange(y, y + len(rows)) % len(self.values)]
        shares_alone(values, share, change)
        self._restore(y, columns)
        for column in columns:
            cell, left = self.cells[column], column * CELL_PX
            x0 = max(left, strip.write_start)
            x1 = min(left + CELL_PX, strip.write_stop)
            top = y - self.cell_row * CELL_PX
            part = np.s_[top : top + len(rows), x0 - left : x1 - left]
            at = np.s_[:, x0 - strip.read_start : x1 - strip.read_start]
            share[at], change[at] = cell.share[part], cell.change[part]
        written = (s - strip.read_start for s in (strip.write_start, strip.write_stop))
        stay = blend(rows, values, share, change, *written)
        self.job.excess.add_stored(stay)

    def _restore(self, y: int, columns: list[int]) -> None:
        """Restore cells that were not yet, several at once if there are threads for it."""
        if self.cell_row != y // CELL_PX:
            self.cell_row, self.cells = y // CELL_PX, {}
        new = [column for column in columns if column not in self.cells]
        threads = min(box_nets(self.job.plan.threads), len(new))
        if threads > 1:
            with ThreadPoolExecutor(threads, "unetmm-cells") as pool:
                found = list(pool.map(self._cell, new))
        else:
            found = [self._cell(column) for column in new]
        for column, mended in zip(new, found, strict=True):
            self.cells[column] = mended
            self._count(mended, y, column * CELL_PX)

    def _cell(self, column: int) -> Mended:
        """Restore a cell by its surroundings."""
        from unetmm.intensities.bracket_cells import mend

        y, x, stride_px = self.cell_row * CELL_PX, column * CELL_PX, self.job.net.config.stride_px
        around = window_reach(stride_px)
        box = Box(
            max(0, y - around), max(0, x - around),
            min(self.height, y + CELL_PX + around), min(self.width, x + CELL_PX + around),
        )  # fmt: skip
        inner = np.s_[
            y - box.y0 : min(y + CELL_PX, self.height) - box.y0,
            x - box.x0 : min(x + CELL_PX, self.width) - box.x0,
        ]
        values = self._kept(box) if self._keeps(box) else self._read(box)
        with self._net() as net:
            return mend(values, inner, net, self.noise, stride_px)

    def _keeps(self, box: Box) -> bool:
        """Whether a box lies in the rows that are kept."""
        first = max(self.task.segment.read_start, self.known - len(self.values))
        left = self.task.strip.read_start
        within = left <= box.x0 and box.x1 <= left + self.values.shape[1]
        return within and first <= box.y0 and box.y1 <= self.known

    def _kept(self, box: Box) -> NDArray[np.float32]:
        """Values of a box that lies there."""
        left = self.task.strip.read_start
        columns = self.values[:, box.x0 - left : box.x1 - left]
        return np.ascontiguousarray(columns[np.arange(box.y0, box.y1) % len(self.values)])

    def _read(self, box: Box) -> NDArray[np.float32]:
        """The same values, read again."""
        job, plane, reach = self.job, self.task.plane, reach_px(self.job)
        read = Box(
            max(0, box.y0 - reach), max(0, box.x0 - reach),
            min(self.height, box.y1 + reach), min(self.width, box.x1 + reach),
        )  # fmt: skip
        with job.clock("read"):
            rows = Slab(job, plane, read).rows(read.y0, read.y1)
        rows = box_with_stand_ins(job, plane[1], rows, read, box)
        seen = rows.seen[..., self.group]
        known = None if rows.known is None else rows.known[..., self.group]
        values = np.empty(seen.shape, np.float32)
        normalise(seen, known, self.statistics, values)
        without_far(values, self.fill)
        return values

    @contextmanager
    def _net(self) -> Iterator[BoxNet]:
        """A net for boxes that nobody else uses."""
        from unetmm.engine.cpu.boxes import BoxNet

        try:
            net = self.nets.get_nowait()
        except Empty:
            assert self.job.kernels is not None
            net = BoxNet(self.job.kernels, box_px(self.job.net.config.stride_px))
        try:
            yield net
        finally:
            self.nets.put(net)

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


def _bright_noise(statistics: ChannelStatistics) -> list[NoiseModel]:
    """Noise of each sample on the net's scale; none where that of bright values is not known."""
    if any(sample.gain for sample in statistics.samples):
        return [NoiseModel(0.0, 0.0, 1 / sample.width) for sample in statistics.samples]
    if not all(model.gain for model in statistics.noise):
        return []
    return [model.relative_to(statistics.low, statistics.high) for model in statistics.noise]
