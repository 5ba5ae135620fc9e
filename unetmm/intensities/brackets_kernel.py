"""What decides on wider ranges, pixel by pixel, compiled; `brackets` has the rules.

Arrays are C-contiguous; those named `room` and `line` are used up. Beyond the edges of a map its
outermost values are repeated.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.intensities.brackets import (
    BROAD_PX,
    CLIPPED,
    DOUBT,
    FLOOR,
    HEIGHT_REACH_PX,
    HOLDS,
    NOISE_FACTOR,
    PLAIN_SHARE,
    RATIO,
    RUNGS,
    SINGLE_DOUBT,
    THIN_PX,
)

BLUR, MOST, MEAN, LEAST, CURVE = range(5)
"""Filters along an axis, of the seven neighbours of a pixel."""
SIDE_PX = 3
"""Reach of them."""
_W = np.exp(-(np.arange(SIDE_PX + 1) ** 2) / 2.0)
_W /= 2 * _W.sum() - _W[0]
WEIGHTS = tuple(float(weight) for weight in _W)
"""Weights of the blur, a Gaussian of deviation 1 px: of a pixel itself, its neighbours, and on."""
BLURRED_DEVIATION = WEIGHTS[0] ** 2 + 2 * sum(weight**2 for weight in WEIGHTS[1:])
"""Deviation that white noise of deviation 1 has after the blur, along both axes."""
_RISE = math.log(CLIPPED / HOLDS)
_HALF = BROAD_PX // 2


@njit(**INLINE, inline="always")
def _smoothstep(t):
    zero, one = np.float32(0), np.float32(1)
    t = min(max(t, zero), one)
    return t * t * (np.float32(3) - np.float32(2) * t)


@njit(**INLINE, inline="always")
def reached(value, holds):
    """Share of a wider range in a value, where the range below holds so much."""
    if value <= np.float32(holds):
        return np.float32(0)
    ratio = np.log(value / np.float32(holds))
    return _smoothstep(ratio / np.float32(_RISE))


@njit(**INLINE, inline="always")
def distance_of(pixel):
    """How far a pixel lies from the other end of the base range."""
    most = max(pixel[0], np.float32(1) - pixel[0])
    for k in range(1, len(pixel)):
        most = max(most, max(pixel[k], np.float32(1) - pixel[k]))
    return most


@njit(**INLINE, inline="always")
def _along(kind, a, b, c, d, e, f, g):
    if kind == BLUR:
        return (
            np.float32(WEIGHTS[0]) * d
            + np.float32(WEIGHTS[1]) * (c + e)
            + np.float32(WEIGHTS[2]) * (b + f)
            + np.float32(WEIGHTS[3]) * (a + g)
        )
    if kind == MOST:
        return max(c, max(d, e))
    if kind == MEAN:
        return (c + d + e) / np.float32(3)
    if kind == LEAST:
        return min(c, min(d, e))
    return c - np.float32(2) * d + e


@njit(**INLINE)
def _separable(map, room, line, kind):
    """A filter along both axes, in place; line: a row with SIDE_PX beyond both ends."""
    rows, columns = map.shape
    last = rows - 1
    for y in range(rows):
        a, b, c = map[max(0, y - 3)], map[max(0, y - 2)], map[max(0, y - 1)]
        d, out = map[y], room[y]
        e, f, g = map[min(last, y + 1)], map[min(last, y + 2)], map[min(last, y + 3)]
        for x in range(columns):
            out[x] = _along(kind, a[x], b[x], c[x], d[x], e[x], f[x], g[x])
    for y in range(rows):
        source, out = room[y], map[y]
        for x in range(columns):
            line[x + SIDE_PX] = source[x]
        for x in range(SIDE_PX):
            line[x], line[columns + SIDE_PX + x] = source[0], source[columns - 1]
        for x in range(columns):
            out[x] = _along(
                kind, line[x], line[x + 1], line[x + 2], line[x + 3], line[x + 4], line[x + 5],
                line[x + 6],
            )  # fmt: skip


@njit(**INLINE)
def _within(flags, room, sums, reach, every):
    """Whether all flags in a square around each pixel are set, or any of them, in place."""
    rows, columns = flags.shape
    for y in range(rows):
        source, out, total = flags[y], room[y], 0
        for x in range(min(reach, columns)):
            total += source[x]
        for x in range(columns):
            if x + reach < columns:
                total += source[x + reach]
            if x - reach - 1 >= 0:
                total -= source[x - reach - 1]
            count = min(x + reach, columns - 1) - max(x - reach, 0) + 1
            out[x] = total == count if every else total > 0
    for x in range(columns):
        sums[x] = 0
    for y in range(min(reach, rows)):
        for x in range(columns):
            sums[x] += room[y, x]
    for y in range(rows):
        if y + reach < rows:
            for x in range(columns):
                sums[x] += room[y + reach, x]
        if y - reach - 1 >= 0:
            for x in range(columns):
                sums[x] -= room[y - reach - 1, x]
        count = min(y + reach, rows - 1) - max(y - reach, 0) + 1
        for x in range(columns):
            flags[y, x] = sums[x] == count if every else sums[x] > 0


@cached_on_disk
@njit(**INLINE)
def places(values, height, place, flags, flag_room, room, line, sums):
    """Give which rungs pixels use; gives the largest of them, 0 if nothing broad exceeds.

    Parameters
    ----------
    values : (rows, columns, channels)
    height : (rows, columns)
        Receives how far a pixel's neighbourhood lies from the other end of the base range.
    place : (rows, columns)
        Receives the rung that a pixel uses; 2.25 means a quarter of 3 and the rest of 2.
    flags : (rows, columns)
        Receives which pixels are near something broad.
    """
    rows, columns = height.shape
    found = False
    for y in range(rows):
        for x in range(columns):
            distance = distance_of(values[y, x])
            place[y, x] = height[y, x] = distance
            flags[y, x] = distance > np.float32(HOLDS)
            found = found or flags[y, x] != 0
    if found:
        _within(flags, flag_room, sums, _HALF, True)
        _within(flags, flag_room, sums, _HALF + HEIGHT_REACH_PX, False)
        _separable(height, room, line, BLUR)
        for y in range(rows):
            for x in range(columns):
                height[y, x] = max(height[y, x], np.float32(PLAIN_SHARE) * place[y, x])
        _separable(height, room, line, MOST)
        _separable(height, room, line, MEAN)
    largest = np.float32(0)
    for y in range(rows):
        for x in range(columns):
            place[y, x] = _place(height[y, x]) if flags[y, x] != 0 else np.float32(0)
            largest = max(largest, place[y, x])
    return largest


@njit(**INLINE)
def _place(height):
    rung, holds = 0, HOLDS
    while rung < RUNGS and height >= np.float32(holds * (CLIPPED / HOLDS)):
        rung, holds = rung + 1, holds * RATIO
    if rung == RUNGS:
        return np.float32(RUNGS)
    return np.float32(rung) + reached(height, holds)


@cached_on_disk
@njit(**INLINE)
def local_noise(values, channel, limit, noise, room, line):
    """Give the deviation of the noise near each pixel: the least around, or edges would count.

    limit: the most that it can be, (rows, columns); or of no size.

    Source: J. Immerkaer, Fast noise variance estimation, 1996, for the filter.
    """
    rows, columns = noise.shape
    for y in range(rows):
        for x in range(columns):
            noise[y, x] = values[y, x, channel]
    _separable(noise, room, line, CURVE)
    for y in range(rows):
        for x in range(columns):
            noise[y, x] *= noise[y, x]
    _separable(noise, room, line, MEAN)
    for _ in range(3):
        _separable(noise, room, line, LEAST)
    for y in range(rows):
        for x in range(columns):
            noise[y, x] = np.sqrt(noise[y, x] / np.float32(36)) * np.float32(NOISE_FACTOR)
            if limit.size > 0:
                noise[y, x] = min(noise[y, x], limit[y, x])


@cached_on_disk
@njit(**INLINE)
def needed(rung, place, height, noise, first, last, need, room, sums, box):
    """Give which pixels a rung has to be computed for; gives their number.

    Parameters
    ----------
    noise : (channels, rows, columns)
    first, last : row and column of the first pixel that is asked for, and those behind the last.
    need : (rows, columns)
        Receives flags of these pixels.
    box : receives the first row and column of them, and those behind the last.
    """
    rows, columns = place.shape
    for y in range(rows):
        for x in range(columns):
            uses = abs(place[y, x] - np.float32(rung)) < np.float32(1)
            for k in range(len(noise)):
                uses = uses and noise[k, y, x] > np.float32(FLOOR[0]) * height[y, x]
            need[y, x] = uses
    _within(need, room, sums, THIN_PX // 2, True)
    _within(need, room, sums, THIN_PX // 2, False)
    box[0], box[1], box[2], box[3] = rows, columns, 0, 0
    count = 0
    for y in range(rows):
        for x in range(columns):
            if y < first[0] or y >= last[0] or x < first[1] or x >= last[1]:
                need[y, x] = 0
            if need[y, x] != 0:
                count += 1
                box[0], box[1] = min(box[0], y), min(box[1], x)
                box[2], box[3] = max(box[2], y + 1), max(box[3], x + 1)
    return count


@cached_on_disk
@njit(**INLINE)
def keep_noise(taken, rung, at_y, at_x, place, height, noise, need, change, kept, blurred, room,
               line):  # fmt: skip
    """Add what a rung takes away to the change of the pixels that need it, as far as it is noise.

    What is taken away should look like noise. Where it is a blur of something, as of a star, or
    where there is less noise than the net makes itself, the stored value stays.

    Parameters
    ----------
    taken : (rows, columns, channels)
        Stored value less the net's answer in a box.
    at_y, at_x : its first row and column in the maps below.
    place, height, need : (more rows, more columns)
    noise : (channels, more rows, more columns)
    change : (more rows, more columns, channels)
    kept : (rows, columns)
        Room, as the next two.
    """
    rows, columns, channels = taken.shape
    most_y, most_x = place.shape
    for y in range(rows):
        for x in range(columns):
            kept[y, x] = np.float32(1)
            within = 0 <= y + at_y < most_y and 0 <= x + at_x < most_x
            weight = np.float32(0)
            if within:
                apart = abs(place[y + at_y, x + at_x] - np.float32(rung))
                weight = max(np.float32(0), np.float32(1) - apart)
            for k in range(channels):
                taken[y, x, k] *= weight
    for k in range(channels):
        for y in range(rows):
            for x in range(columns):
                blurred[y, x] = taken[y, x, k]
        _separable(blurred, room, line, BLUR)
        for y in range(max(0, -at_y), min(rows, most_y - at_y)):
            for x in range(max(0, -at_x), min(columns, most_x - at_x)):
                v, u = y + at_y, x + at_x
                if need[v, u] != 0:
                    share = _noise_share(
                        taken[y, x, k], blurred[y, x], noise[k, v, u], height[v, u]
                    )
                    kept[y, x] = min(kept[y, x], share)
    for y in range(max(0, -at_y), min(rows, most_y - at_y)):
        for x in range(max(0, -at_x), min(columns, most_x - at_x)):
            if need[y + at_y, x + at_x] != 0:
                for k in range(channels):
                    change[y + at_y, x + at_x, k] -= kept[y, x] * taken[y, x, k]


@njit(**INLINE, inline="always")
def _noise_share(taken, blurred, noise, height):
    """Share of what was taken away that is noise."""
    noise = noise + np.float32(1e-12)
    one = np.float32(1)
    structure = abs(blurred) / (np.float32(BLURRED_DEVIATION) * noise)
    begins, ends = np.float32(DOUBT[0]), np.float32(DOUBT[1])
    share = one - _smoothstep((structure - begins) / (ends - begins))
    begins, ends = np.float32(SINGLE_DOUBT[0]), np.float32(SINGLE_DOUBT[1])
    share *= one - _smoothstep((abs(taken) / noise - begins) / (ends - begins))
    begins, ends = np.float32(FLOOR[0]), np.float32(FLOOR[1])
    return share * _smoothstep((noise / height - begins) / (ends - begins))


@cached_on_disk
@njit(**INLINE)
def shares_near(values, place, flags, share):
    """Give the shares of the base range in a cell."""
    rows, columns = share.shape
    for y in range(rows):
        for x in range(columns):
            if flags[y, x] != 0:
                share[y, x] = max(np.float32(0), np.float32(1) - place[y, x])
            else:
                share[y, x] = np.float32(1) - reached(distance_of(values[y, x]), HOLDS)
