"""Does a restoration keep what an image shows? Rows in and out are compared while they stream by.

Blocks of 64 x 64 px lie in a fixed grid, so what is found does not depend on the cut. Noise is
estimated from each block itself, by the differences of neighbouring pixels. A block is doubtful if

- its mean differs by more than the noise of a mean allows,
- a cell of 4 x 4 px in it does: a star dimmed, a blob around a hot pixel,
- it has white noise, which is still there.

On ordinary photos and micrographs, means differ by at most 1.5 times what noise explains, cells by
at most 7 times.
"""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.findings import BLOCK_PX, COUNTS, PARTS, Findings, Worst
from unetmm.intensities.judging import VALUES, Verdict, Watched, judge
from unetmm.intensities.range import less_low
from unetmm.intensities.validity import NoData, valid_mask

CELL_PX = 4
"""Side of a cell in pixels."""
COLUMN_SUMS, BLOCK_SUMS = 5, 3
"""Numbers kept for each column of a row of cells, and of a row of blocks: see `guard_kernel`."""
VERDICT_BYTES = 2 * VALUES * 8
"""Memory of judging a block, with what is made of it."""


def block_px(chunk_px: int, length_px: int) -> int:
    """Side of blocks that no write box cuts; 0 where chunks are too small or odd for any."""
    if chunk_px >= length_px:
        return BLOCK_PX
    side = math.gcd(chunk_px, BLOCK_PX)
    return side if side >= 4 * CELL_PX else 0


def guard_bytes(band_rows: int, width_px: int, channels: int, groups: int) -> int:
    """Memory that watching a strip takes: a band, sums of columns and cells, and judging."""
    values = width_px * channels * 4
    whole = values + BLOCK_PX * channels * 4
    cells = COLUMN_SUMS * BLOCK_PX // CELL_PX + 4
    watch = (COLUMN_SUMS + BLOCK_SUMS) * whole + cells * whole // CELL_PX
    verdicts = VERDICT_BYTES * (width_px // BLOCK_PX + 1) * channels
    return band_rows * values + groups * (watch + verdicts)


@dataclass
class Guard:
    """What a run has found so far; safe to use from several threads."""

    findings: Findings = field(default_factory=Findings)
    """Findings in all blocks."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, findings: Findings) -> None:
        """Take in what a task has found."""
        with self._lock:
            self.findings.add(findings)


class BlockWatch:
    """Adds up a strip's rows from top to bottom, and judges each row of blocks once it is whole."""

    def __init__(self, watched: Watched) -> None:
        self.watched, side = watched, watched.sides[1]
        self._chunk_blocks = np.arange(0, watched.width, max(side, watched.chunk[1])) // side
        """First block of each chunk."""
        self._found = [Findings() for _ in self._chunk_blocks]
        width = -(-watched.width // side) * side
        cells, channels = width // CELL_PX, watched.channels
        self._columns = np.zeros((COLUMN_SUMS, width, channels), np.float32)
        self._lines = np.zeros((BLOCK_SUMS, width, channels), np.float32)
        shape = (COLUMN_SUMS, watched.sides[0] // CELL_PX, cells, channels)
        self._cells = np.zeros(shape, np.float32)
        self._whole_rows = self._whole_rows_of_block = 0
        """Rows of which every pixel counts, since the last row of cells and of blocks."""
        present = np.zeros((3, width), np.float32)
        present[:, : watched.width] = 1
        for step in (1, 2):
            present[step, watched.width - step :] = 0
            self._cut_pairs(present[step], step)
        each = present[:2].reshape(2, cells, CELL_PX).sum(2)
        self._present = np.repeat(each[..., None], channels, axis=2)
        self._wide_pairs = present[2, :, None]

    @property
    def findings(self) -> Findings:
        """Findings that were not taken yet."""
        found = Findings()
        for chunk in self._found:
            found.add(chunk)
        return found

    def take(self) -> list[Findings]:
        """Give what was found in each chunk of a row of them, and forget it."""
        found, self._found = self._found, [Findings() for _ in self._found]
        return found

    def _cut_pairs(self, columns: NDArray[np.float32], step: int) -> None:
        """Leave out differences between two blocks: at a strip's edge they are not known."""
        side = self.watched.sides[1]
        for last in range(side - step, side):
            columns[last::side] = 0

    def add(
        self, before: NDArray[np.float32], after: NDArray[np.float32], masked: bool, row: int
    ) -> None:
        """Take the next rows of input and output (rows, width, channels), less `scale.low`.

        masked : whether NaN in `before` are pixels that are not measured.
        row : number of the first one.
        """
        # Numba is loaded when the first rows are done: a plan needs this package without it.
        from unetmm.intensities.guard_kernel import add_rows

        done, watched = 0, self.watched
        while done < len(before):
            y = row + done
            base = y // watched.chunk[0] * watched.chunk[0]
            in_block = (y - base) % watched.sides[0]
            cell = in_block // CELL_PX
            last = min(base + watched.chunk[0], watched.height)
            cell_end = min(last, y - in_block + (cell + 1) * CELL_PX)
            rows = min(len(before) - done, cell_end - y)
            part = slice(done, done + rows)
            add_rows(before[part], after[part], self._columns, self._lines, masked)
            self._whole_rows += 0 if masked else rows
            done += rows
            if y + rows == cell_end:
                self._fold(cell)
                if cell_end == last or (cell_end - base) % watched.sides[0] == 0:
                    self._judge(y - in_block)

    def _fold(self, row: int) -> None:
        """Columns become cells, of the row of cells that is complete."""
        from unetmm.intensities.guard_kernel import add_columns  # as in `add`

        for pairs in self._columns[2], self._columns[4]:
            self._cut_pairs(pairs, 1)
        found = self._cells[:, row]
        add_columns(self._columns, CELL_PX, found)
        self._columns[...] = 0
        if self._whole_rows:
            found[3:] += self._present * np.float32(self._whole_rows)
            self._whole_rows_of_block += self._whole_rows
            self._whole_rows = 0

    def _judge(self, row: int) -> None:
        """Judge the row of blocks that begins with an image's row, and begin the next."""
        for sums in self._lines[1:]:
            self._cut_pairs(sums, 2)
        self._lines[2] += self._wide_pairs * np.float32(self._whole_rows_of_block)
        self._whole_rows_of_block = 0
        side = self.watched.sides[1]
        self._note(judge(self._cells, self._lines, side // CELL_PX, self.watched), row)
        self._cells[...] = 0
        self._lines[...] = 0

    def _note(self, verdict: Verdict, row: int) -> None:
        means, details = verdict.mean_times > 1, self._cell_times(verdict) > 1
        left = verdict.left & self.watched.removes_noise
        noise = verdict.power * left, verdict.power
        flags = verdict.judged, means, details & ~means, left, verdict.noisy, *noise
        counts = np.add.reduceat(np.stack(flags).sum(2), self._chunk_blocks, axis=1)
        largest = np.maximum.reduceat(np.abs(verdict.difference).max(1), self._chunk_blocks)
        times = np.maximum(verdict.mean_times, self._cell_times(verdict))
        self._note_level(verdict)
        parts = zip(self._found, counts.T.tolist(), largest.tolist(), strict=True)
        for chunk, (found, numbers, most) in enumerate(parts):
            own = Findings(largest_difference=most)
            for name, number in zip(COUNTS, numbers, strict=True):
                setattr(own, name, int(number))
            if own.doubtful:
                own.worst = self._worst(verdict, times, row, chunk)
            found.add(own)

    def _note_level(self, verdict: Verdict) -> None:
        """Add up means and their changes in whole numbers, whose order does not matter."""
        scale = self.watched.scale
        for name, values in (("level", verdict.mean - scale.low), ("change", verdict.difference)):
            parts = np.rint(values * (PARTS / (scale.high - scale.low)))
            parts = np.where(verdict.judged & np.isfinite(parts), parts, 0).sum(1)
            sums = np.add.reduceat(parts, self._chunk_blocks).tolist()
            for found, number in zip(self._found, sums, strict=True):
                setattr(found, name, getattr(found, name) + int(number))

    def _cell_times(self, verdict: Verdict) -> NDArray[np.float64]:
        """Changes of cells, in units of what is allowed; none where they may change."""
        return verdict.cell_times * self.watched.cells

    def _worst(self, verdict: Verdict, times: NDArray[np.float64], row: int, chunk: int) -> Worst:
        """The block of a chunk in a row of blocks that differs most."""
        watched, first = self.watched, self._chunk_blocks[chunk]
        own = times[first : first + -(-watched.chunk[1] // watched.sides[1])]
        block, sample = map(int, np.unravel_index(int(own.argmax()), own.shape))
        at = first + block, sample
        mean = float(verdict.mean[at])
        column = watched.column + int(at[0]) * watched.sides[1]
        return Worst(
            float(times[at]), watched.plane, row * watched.output_scale,
            column * watched.output_scale, watched.sample + sample,
            mean, mean + float(verdict.difference[at]),
        )  # fmt: skip


def to_watch(
    pixels: NDArray[Any],
    nodata: NoData,
    given: NDArray[np.bool_] | None,
    low: float,
    out: NDArray[np.float32],
) -> bool:
    """Stored values less `low` as they are watched, NaN where none is measured; whether any is."""
    less_low(pixels, low, out)
    mask = valid_mask(pixels, nodata, given)
    if mask is None or mask.all():
        return False
    out[~mask] = np.nan
    return True
