"""A close look at a pixel that may be an outlier, compiled: is it on a line, or alone?"""

from __future__ import annotations

import numpy as np
from numba import njit

from unetmm.compiling.flags import INLINE
from unetmm.intensities.outliers import COLUMN, LINE_PX, NEAR_PX, POINT, ROW

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
MOST_NEAR = 8
"""Most of them that may be anywhere near its value: what lines of outliers make up as well."""
MOST_HIGH = 2
"""Most of a pixel's 24 neighbours that may be high: clusters of three are outliers still."""
SPREADS, FAR_SPREADS = np.float32(10), np.float32(5)
"""Height of a single outlier in mean distances of its neighbours from their median: one within the
base range, which may be a detail, and one that is higher than that."""
SPREAD = np.float32(1 / 6)
"""Mean share of a pixel's height that its nearest neighbours have, but for the highest two, from
which on it is a source. That of deviation 1 px has 0.37."""
DETAIL_SPREAD = np.float32(1 / 20)
"""Mean share of that kind within the base range, where a source may be a detail."""
CALM_SHARE = np.float32(0.7)
"""Share of that from which on a pixel is worth a closer look."""
LINE_SHARE, WHOLE_SHARE = np.float32(0.85), np.float32(0.95)
"""Share of the pixels along a line that must stand out like this one, and the same for a line of
the base range that noise does not interrupt."""
INTERRUPTED = np.float32(15)
"""Height of a line in deviations of the noise up to which noise may interrupt it."""
MOST_UNLIKE = int((1 - LINE_SHARE) * np.float32(2 * LINE_PX + 1))
"""Most of the pixels along a line that need not stand out."""
STRIDE = 5
"""Step by which its pixels are looked at, so that all come up."""
LEAST_LINE_PX = 13
"""Fewest pixels along a line that tell it, at the edges of an image and beside holes."""
LEAST_AROUND, LEAST_BESIDE = 8, 3
"""Fewest measured pixels around a single one, and beside a line."""
CANDIDATE = np.float32(1 - SHARE)
"""Share of the height that a candidate must have over its lowest neighbours."""
ONE_SIDED = np.float32(5)
"""Times the least height of a line that one at an image's edge must have, which has one side."""


@njit(**INLINE)
def judge(window, y, x, limits, scratch):
    """Kind of outlier that a candidate is, and what stands in for it; NaN if it is none."""
    kind, stand_in = COLUMN, _on_line(window, y, x, 1, limits, scratch)
    if stand_in != stand_in:
        kind, stand_in = ROW, _on_line(window, y, x, 0, limits, scratch)
    if stand_in != stand_in:
        kind, stand_in = POINT, _alone(window, y, x, limits, scratch)
    return kind, stand_in


@njit(**INLINE)
def _variance(level, limits):
    above = level - limits[3]
    return limits[1] + limits[2] * (above if above > np.float32(0) else np.float32(0))


@njit(**INLINE)
def _stands_out(value, base, limits, least, factor):
    """Whether a value lies so far from its surroundings that noise does not explain it."""
    height = abs(value - base)
    level = value if value > base else base
    return height > least and height * height > factor * factor * _variance(level, limits)


@njit(**INLINE)
def _least_square(value, least, factor, limits):
    """Squared distance that most neighbours of an outlier have at least: all but the high ones."""
    least, factor = CANDIDATE * least, CANDIDATE * factor
    return max(least * least, factor * factor * _variance(value, limits))


@njit(**INLINE)
def _sort(numbers, count):
    for i in range(1, count):
        value, j = numbers[i], i - 1
        while j >= 0 and numbers[j] > value:
            numbers[j + 1] = numbers[j]
            j -= 1
        numbers[j + 1] = value


@njit(**INLINE)
def _middle(numbers, first, count):
    half = first + count // 2
    if count % 2:
        return numbers[half]
    return (numbers[half - 1] + numbers[half]) * np.float32(0.5)


@njit(**INLINE)
def _high(numbers, count, value, base, share):
    """How many of some numbers have at least a share of a value's height over the base."""
    limit, high = share * (value - base), 0
    for i in range(count):
        above = numbers[i] - base
        high += above >= limit if value > base else above <= limit
    return high


@njit(**INLINE)
def _without_high(numbers, count, high, above):
    """The median of sorted numbers but for those that are high, on one side or the other."""
    return _middle(numbers, 0 if above else high, count - high)


@njit(**INLINE)
def _beside(window, y, x, across, limits, scratch):
    """What stands in for a pixel if it stands out from both sides of a line; NaN otherwise.

    across : 1 for a column, whose sides are left and right, 0 for a row.
    """
    value, count, not_above, not_below = window[y, x], 0, 0, 0
    square = _least_square(value, limits[6], limits[5], limits)
    for step in range(-LINE_SIDE_PX, LINE_SIDE_PX + 1):
        number = window[y, x + step] if across else window[y + step, x]
        if step != 0 and number == number:
            scratch[count] = number
            count += 1
            is_near = (value - number) * (value - number) <= square
            not_above += is_near | (number > value)
            not_below += is_near | (number < value)
            if not_above > 1 and not_below > 1:
                return np.float32(np.nan)
    if count < LEAST_BESIDE:
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


@njit(**INLINE)
def _on_line(window, y, x, across, limits, scratch):
    """What stands in for a pixel of a line; NaN if it is on none.

    Beyond the base range a run to one side is enough, so that a line has ends.
    """
    value = _beside(window, y, x, across, limits, scratch)
    if value != value:
        return value
    above = window[y, x] > value
    is_far = abs(window[y, x] - value) > limits[7]
    known, like, longest = 1, 1, 1
    for way in (-1, 1):
        run = 0
        for number in range(LINE_PX):
            # What is no line soon ends some pixels away; a run is counted one by one.
            step = 1 + (number if is_far else number * STRIDE % LINE_PX)
            at_y, at_x = (y + way * step, x) if across else (y, x + way * step)
            there = window[at_y, at_x]
            if there != there:
                continue
            known += 1
            base = _beside(window, at_y, at_x, across, limits, scratch)
            if base == base and (there > base) == above:
                like += 1
                run += run == number
            elif not is_far and known - like > MOST_UNLIKE:
                return np.float32(np.nan)
        longest += run
    height, level = abs(window[y, x] - value), max(window[y, x], value)
    is_noisy = height * height < INTERRUPTED * INTERRUPTED * _variance(level, limits)
    share = LINE_SHARE if is_far or is_noisy else WHOLE_SHARE
    is_line = known >= LEAST_LINE_PX and like >= share * np.float32(known)
    return value if is_line or (is_far and longest > LINE_PX) else np.float32(np.nan)


@njit(**INLINE)
def _is_calm(window, y, x, limits, scratch):
    """Whether a pixel may be alone, after a quick look: it stands out from most of its neighbours
    to the same side, by more than they differ.
    """
    value, count, above = window[y, x], 0, 0
    square, total = _least_square(value, limits[0], limits[4], limits), np.float32(0)
    near = 0
    for at_y in range(y - AROUND_PX, y + AROUND_PX + 1):
        for at_x in range(x - AROUND_PX, x + AROUND_PX + 1):
            number = window[at_y, at_x]
            if (value - number) * (value - number) > square:
                scratch[count] = number
                above += value > number
                total += number
                count += 1
            else:
                near += number == number
        if near > MOST_NEAR + 1 or min(above, count - above) > MOST_NEAR:
            return False
    if count < LEAST_AROUND // 2:
        return False
    mean, spread, is_above = total / np.float32(count), np.float32(0), 2 * above > count
    for i in range(count):
        if (value > scratch[i]) == is_above:
            spread += abs(scratch[i] - mean)
    height = abs(value - mean)
    return height >= limits[7] or height * np.float32(count) > CALM_SHARE * SPREADS * spread


@njit(**INLINE)
def _alone(window, y, x, limits, scratch):
    """What stands in for a pixel that has no more than a few high neighbours; NaN otherwise."""
    value, count = window[y, x], 0
    if not _is_calm(window, y, x, limits, scratch):
        return np.float32(np.nan)
    for at_y in range(y - AROUND_PX, y + AROUND_PX + 1):
        for at_x in range(x - AROUND_PX, x + AROUND_PX + 1):
            number = window[at_y, at_x]
            if number == number and (at_y != y or at_x != x):
                scratch[count] = number
                count += 1
    if count < LEAST_AROUND:
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
    if height * np.float32(rest) < (SPREADS if height < limits[7] else FAR_SPREADS) * spread:
        return np.float32(np.nan)
    stand_in = _middle(scratch, first, rest)
    most = (2 * MOST_HIGH * count + 24) // 48
    if high > most:
        high -= _on_lines(window, y, x, base, limits, scratch)
    if high > most or (high == MOST_HIGH and _goes_on(window, y, x, base)):
        return np.float32(np.nan)
    return np.float32(np.nan) if _is_spread(window, y, x, base, limits) else stand_in


@njit(**INLINE)
def _is_spread(window, y, x, base, limits):
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
    others = np.float32(max(count - MOST_HIGH, 1))
    if abs(height) > limits[7]:
        return total - first - second > SPREAD * others
    noise = np.sqrt(_variance(max(window[y, x], base), limits) * others) / abs(height)
    return total - first - second > DETAIL_SPREAD * others + noise


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
