"""What is done about wider ranges row by row, compiled: where they are asked for, and blending."""

from __future__ import annotations

import numpy as np
from numba import njit

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.intensities.brackets import BROAD_PX, CELL_PX, CLIPPED, HEIGHT_REACH_PX, HOLDS
from unetmm.intensities.brackets_kernel import distance_of, reached

_HALF = BROAD_PX // 2


@cached_on_disk
@njit(**INLINE)
def mark_broad(rows, runs, is_last, first_column, marks):
    """Mark blocks that may be near something broad.

    Parameters
    ----------
    rows : (n, columns, channels)
        The next rows.
    runs : (columns,)
        Number of rows in a column that exceed the base range, up to the last one, at most BROAD_PX.
    is_last : whether the image ends with them.
    first_column : of the rows.
    marks : (n + 2 (BROAD_PX + HEIGHT_REACH_PX), cells across)
        Receives marks of rows, from so many above the first one on.
    """
    count, columns = rows.shape[0], rows.shape[1]
    above = BROAD_PX + HEIGHT_REACH_PX
    reach = _HALF + HEIGHT_REACH_PX
    for y in range(count):
        least = _HALF + 1 if is_last and y == count - 1 else BROAD_PX
        across = BROAD_PX  # as if all beyond the edge did
        for x in range(columns + _HALF):
            if x < columns:
                exceeds = distance_of(rows[y, x]) > np.float32(HOLDS)
                runs[x] = min(BROAD_PX, runs[x] + 1) if exceeds else 0
                across = min(BROAD_PX, across + 1) if runs[x] >= least else 0
            else:
                across = min(BROAD_PX, across + 1) if across > 0 else 0
            if across < BROAD_PX:
                continue
            middle = first_column + x - _HALF
            left = max(0, middle - reach) // CELL_PX
            right = max(0, min(middle + reach, first_column + columns - 1)) // CELL_PX
            # The middle is _HALF rows above, or up to this one where the image ends.
            for v in range(above + y - _HALF - reach, above + y + reach + 1):
                for cell in range(left, right + 1):
                    marks[v, cell] = 1


@cached_on_disk
@njit(**INLINE)
def shares_alone(values, share, change):
    """Give the shares of the base range where nothing broad exceeds it: what does stays as it is.

    values : (rows, columns, channels); share : (rows, columns); change : like values, becomes 0.
    """
    rows, columns, channels = values.shape
    for y in range(rows):
        for x in range(columns):
            share[y, x] = np.float32(1) - reached(distance_of(values[y, x]), HOLDS)
            for k in range(channels):
                change[y, x, k] = 0


@cached_on_disk
@njit(**INLINE)
def blend(answer, values, share, change, first, last):
    """Mend some columns of the base range's answer in place; gives the number of pixels that stay
    as stored.
    """
    rows, channels = answer.shape[0], answer.shape[2]
    low, high = np.float32(1 - CLIPPED), np.float32(CLIPPED)
    stay = 0
    for y in range(rows):
        for x in range(first, last):
            own = share[y, x]
            changed = own > np.float32(0.5)
            for k in range(channels):
                changed = changed or change[y, x, k] != 0
                if own < np.float32(1) or change[y, x, k] != 0:
                    value = values[y, x, k]
                    clipped = min(max(value, low), high)
                    base = value + own * (answer[y, x, k] - clipped)
                    answer[y, x, k] = base + change[y, x, k]
            if not changed:
                stay += 1
    return stay


def compile_rows() -> None:
    """Compile all of it for whole rows and for parts of them, or read it from disk."""
    share, change = np.zeros((2, 2), np.float32), np.zeros((2, 2, 1), np.float32)
    marks = np.zeros((2 + 2 * (BROAD_PX + HEIGHT_REACH_PX), 1), np.uint8)
    shares_alone(change, share, change)
    for part in (np.s_[:, :], np.s_[:, :1]):
        mark_broad(change[part], np.zeros(2, np.uint8), False, 0, marks)
        blend(change[part], change, share, change, 0, 1)
