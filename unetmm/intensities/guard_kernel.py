"""Sums over columns of what a run did to rows, compiled: they cost little beside the net.

One sum a loop, over arrays that begin where the loop does, so that each becomes vector
instructions.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.intensities.judging import Watched, judge
from unetmm.intensities.range import ValueScale

COLUMN_SUMS = 5
"""Number of sums that are kept by cell: the input, its change, the differences to the next pixel,
and the counts of pixels and of such pairs."""
BLOCK_SUMS = 3
"""Number of sums that are kept by block: the change's size, the differences to the pixel after the
next, and the count of such pairs."""


def add_rows(
    before: NDArray[np.float32],
    after: NDArray[np.float32],
    columns: NDArray[np.float32],
    lines: NDArray[np.float32],
    masked: bool,
) -> None:
    """Add rows to the sums of their columns.

    Parameters
    ----------
    before, after : (rows, width, channels), C-contiguous
        Input and output; NaN in `before` where a pixel is not measured.
    columns : (COLUMN_SUMS, at least width, channels)
    lines : (BLOCK_SUMS, at least width, channels)
        Counts are only added to where `masked`; elsewhere every pixel counts, which the caller
        knows.
    """
    rows, _, channels = before.shape
    flat = before.reshape(rows, -1), after.reshape(rows, -1)
    total, change, once, pixels, pairs = columns.reshape(COLUMN_SUMS, -1)
    size, twice, wide_pairs = lines.reshape(BLOCK_SUMS, -1)
    sums = total, change, once, size, twice
    if masked:
        _add_masked(*flat, *sums, pixels, pairs, wide_pairs, channels)
    else:
        _add(*flat, *sums, channels)


def add_columns(columns: NDArray[np.float32], cell_px: int, out: NDArray[np.float32]) -> None:
    """Give the sums of `cell_px` neighbouring columns, added from left to right.

    Parameters
    ----------
    columns : (numbers, width, channels), C-contiguous; width is a multiple of `cell_px`
    out : (numbers, width / cell_px, channels), of which each number is C-contiguous
    """
    numbers, _, channels = columns.shape
    _add_columns(columns.reshape(numbers, -1, cell_px, channels), out)


@cached_on_disk
@njit(**INLINE)
def _add_columns(columns, out):
    for number in range(columns.shape[0]):
        found, cells = columns[number], out[number]
        for i in range(found.shape[2]):
            for cell in range(found.shape[0]):
                total = found[cell, 0, i]
                for step in range(1, found.shape[1]):
                    total += found[cell, step, i]
                cells[cell, i] = total


@cached_on_disk
@njit(**INLINE)
def _add(before, after, total, change, once, size, twice, channels):
    for r in range(before.shape[0]):
        old, new = before[r], after[r]
        beside, beyond = old[channels:], old[2 * channels :]
        for i in range(len(old)):
            total[i] += old[i]
        for i in range(len(old)):
            change[i] += new[i] - old[i]
        for i in range(len(old)):
            size[i] += abs(new[i] - old[i])
        for i in range(len(beside)):
            once[i] += abs(beside[i] - old[i])
        for i in range(len(beyond)):
            twice[i] += abs(beyond[i] - old[i])


@cached_on_disk
@njit(**INLINE)
def _add_masked(
    before, after, total, change, once, size, twice, pixels, pairs, wide_pairs, channels
):
    none, one = np.float32(0), np.float32(1)
    for r in range(before.shape[0]):
        old, new = before[r], after[r]
        beside, beyond = old[channels:], old[2 * channels :]
        for i in range(len(old)):
            total[i] += old[i] if old[i] == old[i] else none
        for i in range(len(old)):
            pixels[i] += one if old[i] == old[i] else none
        for i in range(len(old)):
            change[i] += new[i] - old[i] if old[i] == old[i] else none
        for i in range(len(old)):
            size[i] += abs(new[i] - old[i]) if old[i] == old[i] else none
        for i in range(len(beside)):
            step = abs(beside[i] - old[i])
            once[i] += step if step == step else none
        for i in range(len(beside)):
            step = abs(beside[i] - old[i])
            pairs[i] += one if step == step else none
        for i in range(len(beyond)):
            step = abs(beyond[i] - old[i])
            twice[i] += step if step == step else none
        for i in range(len(beyond)):
            step = abs(beyond[i] - old[i])
            wide_pairs[i] += one if step == step else none


def compile_guard() -> None:
    """Compile what adds up and what judges, or read it from disk."""
    rows = np.zeros((1, 4, 1), np.float32)
    columns, lines = (np.zeros((n, 4, 1), np.float32) for n in (COLUMN_SUMS, BLOCK_SUMS))
    for masked in (False, True):
        add_rows(rows, rows, columns, lines, masked)
    cells = np.zeros((COLUMN_SUMS, 2, 1, 1), np.float32)
    add_columns(columns, 4, cells[:, 0])
    watched = Watched(
        (0, 0, 0), 0, 4, 4, 0, 1, (4, 4), (8, 4), ValueScale(0.0, 1.0, 0.0), False, 1.0
    )  # fmt: skip
    judge(cells, lines, 1, watched)
