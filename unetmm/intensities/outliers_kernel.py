"""The search for single pixels and lines that no optics can make, compiled.

Every pixel is compared with its neighbours in one pass over a row, which leaves a few candidates.
Only these are looked at closely.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.intensities.outliers import LIMITS, REACH_PX, SCRATCH
from unetmm.intensities.outliers_look import CANDIDATE, judge


def find(
    window: NDArray[np.float32],
    first: int,
    limits: NDArray[np.float32],
    kinds: NDArray[np.uint8],
    stand_ins: NDArray[np.float32],
    best: NDArray[np.float32],
    scratch: NDArray[np.float32],
) -> int:
    """Number of outliers in some rows of one sample, and what stands in for them.

    Parameters
    ----------
    window : (rows + more, width + 2 REACH_PX)
        Values in the units of the limits, NaN where nothing is measured or the image ends.
    first : row of the window that is the first to be judged.
    limits : (LIMITS,)
    kinds : (rows, width)
        Receives the kind of each outlier, 0 elsewhere.
    stand_ins : (rows, width)
        Receives values where there is an outlier; what is elsewhere means nothing.
    best : (width,)
        Room to work in, as is the next.
    scratch : (SCRATCH,)
    """
    return int(_find(window, first, limits, kinds, stand_ins, best, scratch))


@njit(**INLINE)
def _less(a, b):
    return a if a < b else b


@njit(**INLINE)
def _more(a, b):
    return a if a > b else b


@njit(**INLINE)
def _score(window, y, limits, scores, best):
    """Give each pixel of a row a number above 0 if it is a candidate; `best` keeps the largest.

    A candidate stands out from three of the next four pixels of its row and of its column, or with
    two of one of them from three of the other by the least height of a line, or one of them is not
    measured.
    """
    floor, line_floor = CANDIDATE * limits[0], CANDIDATE * limits[6]
    factor, line_factor = CANDIDATE * limits[4], CANDIDATE * limits[5]
    factor, line_factor = factor * factor, line_factor * line_factor
    read, gain, zero = limits[1], limits[2], limits[3]
    nothing, one = np.float32(0), np.float32(1)
    here, up, upper, down, lower = (
        window[y], window[y - 1], window[y - 2], window[y + 1], window[y + 2],
    )  # fmt: skip
    for i in range(len(scores)):
        x = i + REACH_PX
        value, left, right, far_left, far_right = (
            here[x], here[x - 1], here[x + 1], here[x - 2], here[x + 2],
        )  # fmt: skip
        p = _less(_more(far_left, left), _more(right, far_right))
        q = _more(_less(far_left, left), _less(right, far_right))
        row_high, row_low = _more(p, q), _less(p, q)
        p = _less(_more(upper[x], up[x]), _more(down[x], lower[x]))
        q = _more(_less(upper[x], up[x]), _less(down[x], lower[x]))
        column_high, column_low = _more(p, q), _less(p, q)
        height = _more(value - _more(row_high, column_high), _less(row_low, column_low) - value)
        line = _more(
            _more(_less(value, column_high) - row_high, _less(value, row_high) - column_high),
            _more(row_low - _more(value, column_low), column_low - _more(value, row_low)),
        )
        variance = read + gain * _more(value - zero, nothing)
        score = _more(
            _less(height - floor, height * height - factor * variance),
            _less(line - line_floor, line * line - line_factor * variance),
        )
        every = (left + right) + (far_left + far_right)
        every += (up[x] + down[x]) + (upper[x] + lower[x])
        score = score if every == every else one
        scores[i] = score
        best[i] = _more(score, best[i])


@cached_on_disk
@njit(**INLINE)
def _find(window, first, limits, kinds, stand_ins, best, scratch):
    count, (rows, width) = 0, kinds.shape
    kinds[:] = 0
    best[:] = 0
    for row in range(rows):
        _score(window, first + row, limits, stand_ins[row], best)
    for i in range(width):
        if best[i] > 0:
            for row in range(rows):
                y, x = first + row, i + REACH_PX
                if not (stand_ins[row, i] > 0 and window[y, x] == window[y, x]):
                    continue
                kind, stand_in = judge(window, y, x, limits, scratch)
                if stand_in == stand_in:
                    kinds[row, i], stand_ins[row, i] = kind, stand_in
                    count += 1
    return count


def compile_find() -> None:
    """Compile `find`, or read it from disk."""
    side = 2 * REACH_PX + 1
    window: Any = np.zeros((side, side), np.float32)
    find(
        window, REACH_PX, np.ones(LIMITS, np.float32), np.zeros((1, 1), np.uint8),
        np.zeros((1, 1), np.float32), np.zeros(1, np.float32), np.zeros(SCRATCH, np.float32),
    )  # fmt: skip
