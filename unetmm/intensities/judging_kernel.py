"""Judges blocks by the sums of their cells, compiled: `judging` says what the limits mean."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE

DIFFERENCE = 1.128
"""Mean difference of two pixels of white noise, in units of its deviation."""
HIGHEST_BIT = 30
"""Highest bit of a positive float32; the order of such numbers is that of their bits."""


@cached_on_disk
@njit(**INLINE)
def judge_blocks(cells, lines, side, area, counts, scale, limits, bits, sums, verdicts):
    """Judge a row of blocks.

    Parameters
    ----------
    cells : float32, (COLUMN_SUMS, rows of cells, columns of cells, channels)
    lines : float32, (BLOCK_SUMS, pixels, channels)
    side : columns of cells of a block.
    area : rows and columns of cells of an area.
    counts : float64, (channels, 2)
        Stored units a photon, 0 where none are counted, and the stored value of no photons.
    scale : low end and extent of the range, strength, and 1 for integers or 0.
    limits : those of `judging`.
    bits : int32, room for a number a cell of a block.
    sums : float64, room for four numbers a line of cells of a block, of the longer side.
    verdicts : float64, (blocks, channels, VALUES)
        What becomes of them.
    """
    low, extent, strength, integers = scale
    fewest_px, mean_limit, cell_limit, area_limit, lost_share = limits[:5]
    mean_floor, constant, cell_floor, left_share, ratio, parts, few = limits[5:]
    floor = cell_floor * extent + 0.3 * integers
    for block in range(verdicts.shape[0]):
        for i in range(verdicts.shape[1]):
            own = cells[:, :, block * side : (block + 1) * side, i]
            total, change, once, pixels, pairs = own[0], own[1], own[2], own[3], own[4]
            rows, columns = total.shape
            verdict = verdicts[block, i]
            verdict[:] = 0
            count = mean = difference = events = steps = 0.0
            sums[:] = 0
            for y in range(rows):
                line = there = 0.0
                for x in range(columns):
                    line += total[y, x]
                    there += pixels[y, x]
                    sums[2, x] += total[y, x]
                    sums[3, x] += pixels[y, x]
                    difference += change[y, x]
                    events += once[y, x]
                    steps += pairs[y, x]
                sums[0, y], sums[1, y] = line, there
                mean += line
                count += there
            if count < fewest_px:
                continue
            mean, difference = mean / count + low, difference / count
            events /= max(steps, 1)
            # A lower median, of the cells' mean differences. Most cells are constant where there
            # are few photons, or next to none: then of the heights of events, each of which
            # differs from both of its neighbours.
            deviation = noise = 0.0
            for sparse in range(2):
                found = 0
                for y in range(rows):
                    for x in range(columns):
                        seen = np.float32(2) if sparse else pairs[y, x]
                        if seen > 0 and (once[y, x] > 0 or not sparse):
                            bits[found] = np.float32(once[y, x] / seen).view(np.int32)
                            found += 1
                middle = _middle(bits, found)
                if sparse:
                    noise = math.sqrt(middle * events / 2)
                else:
                    deviation = noise = middle / DIFFERENCE
                if deviation > 0:
                    break
            a_photon, above = counts[i, 0], mean - counts[i, 1]
            if 0 < above < few * a_photon:
                noise = max(noise, math.sqrt(a_photon * above))
            # Noise of the mean by the differences of lines of cells, whatever is correlated.
            structure = 0.0
            for across in range(0, 4, 2):
                found_steps, neighbours, lines_there = 0.0, 0, 0
                for line in range(sums.shape[1]):
                    if sums[across + 1, line] > 0:
                        lines_there += 1
                        sums[across, line] /= sums[across + 1, line]
                        if line > 0 and sums[across + 1, line - 1] > 0:
                            found_steps += abs(sums[across, line] - sums[across, line - 1])
                            neighbours += 1
                found_steps /= max(neighbours, 1) * DIFFERENCE * math.sqrt(lines_there)
                structure = structure if structure > found_steps else found_steps
            allowed = max(noise / math.sqrt(count), structure)
            allowed += mean_floor * (constant if events == 0 else 1) * extent
            if integers:
                allowed += min(0.5, 0.02 * abs(mean))
            # Cells, and areas of some cells. Noise of bright ones may be larger, in proportion at
            # most; but what stands out by far must not lose much of that.
            times = 0.0
            for step in (1, area):
                limit = cell_limit if step == 1 else area_limit
                known, most = 0.0, 0.0
                for y in range(0, rows, step):
                    for x in range(0, columns, step):
                        n = light = moved = 0.0
                        for dy in range(y, min(y + step, rows)):
                            for dx in range(x, min(x + step, columns)):
                                n += pixels[dy, dx]
                                light += total[dy, dx]
                                moved += change[dy, dx]
                        if n != known:
                            known = n
                            most = limit * max(noise / math.sqrt(max(n, 1)), floor) * max(n, 1)
                        found_times = abs(moved) / most
                        if found_times > 1 and deviation > 0:
                            light = light / n + low
                            if abs(moved) < lost_share * abs(light - mean) * n:
                                found_times /= max(abs(light / mean), 1.0)
                        if not found_times <= times:
                            times = found_times
            noisy = deviation > (0.5 if integers else 1e-3 * extent)
            size = twice = wide = 0.0
            a_block = lines.shape[1] // cells.shape[2] * side
            for x in range(block * a_block, (block + 1) * a_block):
                size += lines[0, x, i]
                twice += lines[1, x, i]
                wide += lines[2, x, i]
            white = noisy and twice / max(wide, 1) < ratio * events
            verdict[0], verdict[1], verdict[2] = 1, mean, difference
            verdict[3] = abs(difference) / (mean_limit * allowed)
            verdict[4] = times
            verdict[5] = noisy
            verdict[7] = np.rint(min(parts * noise / extent, 1e6) ** 2)
            verdict[6] = white and size / count < left_share * strength * deviation


@njit(**INLINE)
def _middle(bits, count):
    """The lower median of some positive floats, given by their bits; 0 if there are none."""
    found, rank = np.int32(0), (count - 1) // 2
    for bit in range(HIGHEST_BIT, -1, -1):
        tried = np.int32(found | (1 << bit))
        below = np.int32(0)
        for i in range(count):
            below += np.int32(bits[i] < tried)
        if below <= rank:
            found = tried
    return np.float64(np.int32(found).view(np.float32))
