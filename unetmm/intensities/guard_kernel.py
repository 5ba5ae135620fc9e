"""Sums over columns of what a run did to rows, compiled: they cost little beside the net."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE

SUMS = 5
"""Number of sums of a column: the input, its change, the change's size, and the differences to the
next pixel and the one after that."""
COUNTS = 3
"""Number of counts of a column: pixels, and pairs of either kind of differences."""


def add_rows(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    sums: NDArray[np.float32],
    counts: NDArray[np.float32],
    masked: bool,
) -> None:
    """Add rows to the sums of their columns.

    Parameters
    ----------
    before, after : (rows, width, channels), C-contiguous
        Input and output; NaN in `before` where a pixel is not measured.
    sums : (SUMS, width, channels)
    counts : (COUNTS, width, channels)
        Only added to where `masked`; elsewhere every pixel counts, which the caller knows.
    """
    rows, width, channels = before.shape
    flat = sums.reshape(SUMS, -1)
    if masked:
        _add_masked(
            before.reshape(rows, -1), after.reshape(rows, -1), flat, counts.reshape(COUNTS, -1),
            width * channels, channels,
        )  # fmt: skip
    else:
        _add(before.reshape(rows, -1), after.reshape(rows, -1), *flat, width * channels, channels)


def add_columns(columns: NDArray[np.float32], cell_px: int, out: NDArray[np.float32]) -> None:
    """Give the sums of `cell_px` neighbouring columns, added from left to right.

    Parameters
    ----------
    columns : (numbers, width, channels), C-contiguous; width is a multiple of `cell_px`
    out : (numbers, width / cell_px, channels), of which each number is C-contiguous
    """
    for number, cells in zip(columns, out, strict=True):
        _add_columns(number.reshape(-1), cells.reshape(-1), columns.shape[2], cell_px)


@cached_on_disk
@njit(**INLINE)
def _add_columns(columns, cells, channels, cell_px):
    for first in range(0, len(cells), channels):
        for i in range(channels):
            at = first * cell_px + i
            total = columns[at]
            for step in range(1, cell_px):
                total += columns[at + step * channels]
            cells[first + i] = total


@cached_on_disk
@njit(**INLINE)
def _add(before, after, total, change, size, once, twice, count, channels):
    for r in range(before.shape[0]):
        old, new = before[r], after[r]
        for i in range(count):  # one sum a loop, so that each becomes vector instructions
            total[i] += old[i]
        for i in range(count):
            change[i] += new[i] - old[i]
        for i in range(count):
            size[i] += abs(new[i] - old[i])
        for i in range(count - channels):
            once[i] += abs(old[i + channels] - old[i])
        for i in range(count - 2 * channels):
            twice[i] += abs(old[i + 2 * channels] - old[i])


@cached_on_disk
@njit(**INLINE)
def _add_masked(before, after, sums, counts, count, channels):
    for r in range(before.shape[0]):
        for i in range(count):
            value = before[r, i]
            if value != value:
                continue
            sums[0, i] += value
            sums[1, i] += after[r, i] - value
            sums[2, i] += abs(after[r, i] - value)
            counts[0, i] += np.float32(1)
            for step in range(1, 3):
                j = i + step * channels
                if j < count and before[r, j] == before[r, j]:
                    sums[2 + step, i] += abs(before[r, j] - value)
                    counts[step, i] += np.float32(1)


def compile_guard() -> None:
    """Compile `add_rows` and `add_columns`, or read them from disk."""
    rows: Any = np.zeros((1, 1, 1), np.float32)
    sums, counts = np.zeros((SUMS, 1, 1), np.float32), np.zeros((COUNTS, 1, 1), np.float32)
    for masked in (False, True):
        add_rows(rows, rows, sums, counts, masked)
    add_columns(sums, 1, counts[:1].repeat(SUMS, 0))
