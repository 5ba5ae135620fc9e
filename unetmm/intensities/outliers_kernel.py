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
from unetmm.intensities.outliers import (
    COLUMN,
    LIMITS,
    LINE_PX,
    NEAR_PX,
    POINT,
    REACH_PX,
    ROW,
    SCRATCH,
)

LINE_SIDE_PX = 3
"""Pixels on either side of a line that are its surroundings."""
AROUND_PX = 2
"""Distance in pixels of the 24 neighbours of a single pixel."""
SHARE = np.float32(0.3)
"""Share of a pixel's height over its surroundings from which on a neighbour counts as high too.
The sharpest point source, of deviation 1 px, has 0.61 beside its peak and 0.37 diagonally."""
EDGE_AROUND = 16
"""Most neighbours of a pixel at an edge, beyond which a source may lie that has a steep wing."""
EDGE_SHARE, EDGE_FACTOR = np.float32(0.1), np.float32(2)
"""Share from which on a neighbour counts as high there, and how many times as far as elsewhere a
pixel has to stand out from the noise."""
MOST_HIGH = 2
"""Most of a pixel's 24 neighbours that may be high: clusters of three are outliers still."""
SPREADS, FAR_SPREADS = np.float32(10), np.float32(5)
"""Height of a single outlier in mean distances of its neighbours from their median: one within the
base range, which may be a detail, and one that is higher than that."""
SPREAD = np.float32(1 / 6)
"""Mean share of a pixel's height that its nearest neighbours have, but for the highest two, from
which on it is a source. That of deviation 1 px has 0.37."""
LINE_SHARE = np.float32(0.85)
"""Share of the pixels along a line that must stand out like this one."""
LEAST_LINE_PX = 13
"""Fewest pixels along a line that tell it, at the edges of an image and beside holes."""
LEAST_AROUND, LEAST_BESIDE = 8, 3
"""Fewest measured pixels around a single one, and beside a line."""
CANDIDATE = np.float32(1 - SHARE)
"""Share of the height that a candidate must have over its lowest neighbours."""
ONE_SIDED = np.float32(5)
"""Times the least height of a line that one at an image's edge must have, which has one side."""


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
        Values in base ranges, NaN where nothing is measured or the image ends.
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


@cached_on_disk
@njit(**INLINE)
def _variance(level, limits):
    above = level - limits[3]
    return limits[1] + limits[2] * (above if above > np.float32(0) else np.float32(0))


@cached_on_disk
@njit(**INLINE)
def _stands_out(value, base, limits, least, factor):
    """Whether a value lies so far from its surroundings that noise does not explain it."""
    height = abs(value - base)
    level = value if value > base else base
    return height > least and height * height > factor * factor * _variance(level, limits)


@cached_on_disk
@njit(**INLINE)
def _least_square(value, least, factor, limits):
    """Squared distance that most neighbours of an outlier have at least: all but the high ones."""
    least, factor = CANDIDATE * least, CANDIDATE * factor
    return max(least * least, factor * factor * _variance(value, limits))


@cached_on_disk
@njit(**INLINE)
def _sort(numbers, count):
    for i in range(1, count):
        value, j = numbers[i], i - 1
        while j >= 0 and numbers[j] > value:
            numbers[j + 1] = numbers[j]
            j -= 1
        numbers[j + 1] = value


@cached_on_disk
@njit(**INLINE)
def _middle(numbers, first, count):
    half = first + count // 2
    if count % 2:
        return numbers[half]
    return (numbers[half - 1] + numbers[half]) * np.float32(0.5)


@cached_on_disk
@njit(**INLINE)
def _high(numbers, count, value, base, share):
    """How many of some numbers have at least a share of a value's height over the base."""
    limit, high = share * (value - base), 0
    for i in range(count):
        above = numbers[i] - base
        high += above >= limit if value > base else above <= limit
    return high


@cached_on_disk
@njit(**INLINE)
def _without_high(numbers, count, high, above):
    """The median of sorted numbers but for those that are high, on one side or the other."""
    return _middle(numbers, 0 if above else high, count - high)


@cached_on_disk
@njit(**INLINE)
def _beside(window, y, x, across, limits, scratch):
    """What stands in for a pixel if it stands out from both sides of a line; NaN otherwise.

    across : 1 for a column, whose sides are left and right, 0 for a row.
    """
    value, count, higher, lower = window[y, x], 0, 0, 0
    square = _least_square(value, limits[6], limits[5], limits)
    for step in range(-LINE_SIDE_PX, LINE_SIDE_PX + 1):
        number = window[y, x + step] if across else window[y + step, x]
        if step != 0 and number == number:
            scratch[count] = number
            count += 1
            is_far = (value - number) * (value - number) > square
            higher += (number > value) & is_far
            lower += (number < value) & is_far
    if count < LEAST_BESIDE or max(higher, lower) < count - 1:
        return np.float32(np.nan)
    _sort(scratch, count)
    base = _middle(scratch, 0, count)
    least = limits[6] if count > LINE_SIDE_PX else ONE_SIDED * limits[6]
    if not _stands_out(value, base, limits, least, limits[5]):
        return np.float32(np.nan)
    high = _high(scratch, count, value, base, SHARE)
    if high > (1 if count > LINE_SIDE_PX + 1 else 0):
        return np.float32(np.nan)
    return _without_high(scratch, count, high, value > base)


@cached_on_disk
@njit(**INLINE)
def _on_line(window, y, x, across, limits, scratch):
    """What stands in for a pixel of a line; NaN if it is on none.

    Beyond the base range a run to one side is enough, so that a line has ends.
    """
    value = _beside(window, y, x, across, limits, scratch)
    if value != value:
        return value
    above, known, like, run, longest = window[y, x] > value, 0, 0, 0, 0
    for step in range(-LINE_PX, LINE_PX + 1):
        at_y, at_x = (y + step, x) if across else (y, x + step)
        there = window[at_y, at_x]
        if there == there:
            known += 1
            base = _beside(window, at_y, at_x, across, limits, scratch)
            if base == base and (there > base) == above:
                like, run = like + 1, run + 1
                longest = max(run, longest)
            else:
                run = 0
    is_line = known >= LEAST_LINE_PX and like >= LINE_SHARE * np.float32(known)
    is_far = abs(window[y, x] - value) > np.float32(1)
    return value if is_line or (is_far and longest > LINE_PX) else np.float32(np.nan)


@cached_on_disk
@njit(**INLINE)
def _alone(window, y, x, limits, scratch):
    """What stands in for a pixel that has no more than a few high neighbours; NaN otherwise."""
    value, count, higher, lower = window[y, x], 0, 0, 0
    square = _least_square(value, limits[0], limits[4], limits)
    for at_y in range(y - AROUND_PX, y + AROUND_PX + 1):
        for at_x in range(x - AROUND_PX, x + AROUND_PX + 1):
            number = window[at_y, at_x]
            if number == number and (at_y != y or at_x != x):
                scratch[count] = number
                count += 1
                is_far = (value - number) * (value - number) > square
                higher += (number > value) & is_far
                lower += (number < value) & is_far
    if count < LEAST_AROUND or 2 * max(higher, lower) < count:
        return np.float32(np.nan)
    _sort(scratch, count)
    base = _middle(scratch, 0, count)
    share, factor = SHARE, limits[4]
    if count <= EDGE_AROUND:
        share, factor = EDGE_SHARE, EDGE_FACTOR * limits[4]
    if not _stands_out(value, base, limits, limits[0], factor):
        return np.float32(np.nan)
    high = _high(scratch, count, value, base, share)
    if high >= count - LEAST_AROUND // 2:
        return np.float32(np.nan)
    above = value > base
    first, rest = 0 if above else high, count - high
    spread = np.float32(0)
    for i in range(first, first + rest):
        spread += abs(scratch[i] - base)
    height = abs(value - base)
    if height * np.float32(rest) < (SPREADS if height < 1 else FAR_SPREADS) * spread:
        return np.float32(np.nan)
    stand_in = _middle(scratch, first, rest)
    most = (2 * MOST_HIGH * count + 24) // 48
    if high > most:
        high -= _on_lines(window, y, x, base, limits, scratch)
    if high > most or (high == MOST_HIGH and _goes_on(window, y, x, base)):
        return np.float32(np.nan)
    return np.float32(np.nan) if _is_spread(window, y, x, base) else stand_in


@cached_on_disk
@njit(**INLINE)
def _is_spread(window, y, x, base):
    """Whether all but the highest of the eight nearest neighbours together share a pixel's height.

    Noise may hide from a count of them that they do.
    """
    height, total, count = window[y, x] - base, np.float32(0), 0
    first = second = np.float32(0)
    for i in range(-1, 2):
        for j in range(-1, 2):
            ratio = (window[y + i, x + j] - base) / height
            if ratio == ratio and (i != 0 or j != 0):
                total += ratio
                count += 1
                second = max(second, min(first, ratio))
                first = max(first, ratio)
    return total - first - second > SPREAD * np.float32(count - MOST_HIGH)


@cached_on_disk
@njit(**INLINE)
def _goes_on(window, y, x, base):
    """Whether a cluster is larger than what lies `AROUND_PX` around one of its pixels."""
    height = window[y, x] - base
    for i in range(-NEAR_PX, NEAR_PX):
        for ratio in (
            (window[y - NEAR_PX, x + i] - base) / height,
            (window[y + i, x + NEAR_PX] - base) / height,
            (window[y + NEAR_PX, x - i] - base) / height,
            (window[y - i, x - NEAR_PX] - base) / height,
        ):
            if ratio >= SHARE:
                return True
    return False


@cached_on_disk
@njit(**INLINE)
def _on_lines(window, y, x, base, limits, scratch):
    """How many of the high neighbours belong to lines."""
    found, height = 0, window[y, x] - base
    for at_y in range(y - AROUND_PX, y + AROUND_PX + 1):
        for at_x in range(x - AROUND_PX, x + AROUND_PX + 1):
            ratio = (window[at_y, at_x] - base) / height
            if not ratio >= SHARE or (at_y == y and at_x == x):
                continue
            line = _on_line(window, at_y, at_x, 1, limits, scratch)
            if line != line:
                line = _on_line(window, at_y, at_x, 0, limits, scratch)
            found += line == line
    return found


@cached_on_disk
@njit(**INLINE)
def _less(a, b):
    return a if a < b else b


@cached_on_disk
@njit(**INLINE)
def _more(a, b):
    return a if a > b else b


@cached_on_disk
@njit(**INLINE)
def _score(window, y, limits, scores, best):
    """Give each pixel of a row a number above 0 if it is a candidate; `best` keeps the largest.

    A candidate exceeds at least two of its four neighbours, or both sides of a line of two, or
    beside it something is not measured.
    """
    floor, factor = CANDIDATE * limits[0], CANDIDATE * min(limits[4], limits[5])
    read, gain, zero = factor * factor * limits[1], factor * factor * limits[2], limits[3]
    nothing, one = np.float32(0), np.float32(1)
    here, up, upper, down, lower = (
        window[y], window[y - 1], window[y - 2], window[y + 1], window[y + 2],
    )  # fmt: skip
    for i in range(len(scores)):
        x = i + REACH_PX
        value, left, right = here[x], here[x - 1], here[x + 1]
        lefter, righter = here[x - 2], here[x + 2]
        u, t, d, e = up[x], upper[x], down[x], lower[x]
        p = _more(_less(left, right), _less(u, d))
        q = _less(_more(left, right), _more(u, d))
        across = _less(_more(left, righter), _more(lefter, right))
        low = _less(_less(p, q), _less(across, _less(_more(u, e), _more(t, d))))
        across = _more(_less(left, righter), _less(lefter, right))
        high = _more(_more(p, q), _more(across, _more(_less(u, e), _less(t, d))))
        above, below = value - low, high - value
        bright = read + gain * _more(value - zero, nothing)
        dim = read + gain * _more(high - zero, nothing)
        score = _more(
            _less(above * above - bright, above - floor), _less(below * below - dim, below - floor)
        )
        every = (left + right) + (u + d) + (lefter + righter) + (t + e)
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
                kind, stand_in = _judge(window, y, x, limits, scratch)
                if stand_in == stand_in:
                    kinds[row, i], stand_ins[row, i] = kind, stand_in
                    count += 1
    return count


@cached_on_disk
@njit(**INLINE)
def _judge(window, y, x, limits, scratch):
    """Kind of outlier that a candidate is, and what stands in for it; NaN if it is none."""
    kind, stand_in = COLUMN, _on_line(window, y, x, 1, limits, scratch)
    if stand_in != stand_in:
        kind, stand_in = ROW, _on_line(window, y, x, 0, limits, scratch)
    if stand_in != stand_in:
        kind, stand_in = POINT, _alone(window, y, x, limits, scratch)
    return kind, stand_in


def compile_find() -> None:
    """Compile `find`, or read it from disk."""
    side = 2 * REACH_PX + 1
    window: Any = np.zeros((side, side), np.float32)
    find(
        window, REACH_PX, np.ones(LIMITS, np.float32), np.zeros((1, 1), np.uint8),
        np.zeros((1, 1), np.float32), np.zeros(1, np.float32), np.zeros(SCRATCH, np.float32),
    )  # fmt: skip
