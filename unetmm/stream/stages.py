"""The compiled stages of the row stream, and the loop that runs them for one thread of a team.

A stream is a table of stages (`program.py`) over one array, `memory`. A stage makes the next band
of one map; each thread makes its own columns. Cuts between threads are multiples of the net's
stride, so they are the same at every scale, and a 3x3 convolution needs one column of each
neighbour. A thread may begin a phase when both neighbours have finished the phase before; then
nothing it reads is still to come and nothing it overwrites is still to be read.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from unetmm.stream.kernel_cache import cached_on_disk
from unetmm.stream.kernels import (
    INLINE,
    clear,
    copy,
    depthwise_gate,
    gate,
    matmul,
    normalise,
)
from unetmm.stream.lanes import LANES
from unetmm.stream.simd import fma, give_way, hsum, load, load_shared, splat, store_shared

PRODUCT, BLOCK, GUIDE, ENDING = range(4)
"""Kinds of stages."""
KIND, LAG, SOURCE, TARGET, BAND = range(5)
"""Columns of every stage: its kind, its reading clock, rings by number, rows a step."""
STEP, TAPS, PAD, REPEAT, ACCUMULATE, W, W_SIZE, B, B_SIZE = range(5, 14)
"""Further columns of a product; one matrix for each of its `repeat` rows."""
CHANNELS, PANEL, BATCH, KEPT, MASK, W1, B1, W2, B2, W3, B3, W4, B4, W5, B5 = range(5, 20)
"""Further columns of a block; W3 and B3 lie in `frozen`, all others in `weights`."""
IMAGE, SHARED = 5, 6
"""Further columns of a guide (SOURCE is E') and of an ending, whose image may be -1."""
COLUMNS = 20

BASE, COUNT, ROW, HEIGHT, EDGE, PADDED, PIXELS, SCALE = range(8)
"""Columns of a ring: first float, rows, floats a row and its zero columns, size of the map."""

TAPS_AT, NORM_AT, HIDDEN_AT, GATED_AT, HELD_AT, EDGES_AT = range(6)
"""Columns of a thread's scratch."""

LINE = 8
"""Integers from one thread's progress to the next, so that they share no cache line."""
SPINS = 2000
"""Looks at a neighbour's progress before the core is given away."""


@njit(**INLINE)
def written(rings, ring, row):
    """Offset of a row's first pixel; -1 outside the image."""
    if row < 0 or row >= rings[ring, HEIGHT]:
        return -1
    return rings[ring, BASE] + row % rings[ring, COUNT] * rings[ring, ROW] + rings[ring, EDGE]


@njit(**INLINE)
def read(rings, ring, row):
    """The same for reading: a row of zeros outside the image."""
    slot = rings[ring, COUNT]
    if row >= 0 and row < rings[ring, HEIGHT]:
        slot = row % slot
    return rings[ring, BASE] + slot * rings[ring, ROW] + rings[ring, EDGE]


@njit(**INLINE)
def product(stage, rings, memory, weights, starts, step, begin, stop, cells):
    """A strided matrix product for the cells of columns from `begin` to `stop`."""
    source, target = stage[SOURCE], stage[TARGET]
    stride, taps, repeat = stage[STEP], stage[TAPS], stage[REPEAT]
    channels = rings[source, PADDED]
    # A 3x3 reads three pixels from one to the left, a strided product `step` pixels.
    depth = channels * taps if taps > 1 else channels
    out_step = rings[target, PADDED] * repeat
    cell_px = min(rings[source, PIXELS] // stride, rings[target, PIXELS]) // cells
    first, pixels = begin * cell_px, (stop - begin) * cell_px
    for j in range(step * stage[BAND] - stage[LAG], (step + 1) * stage[BAND] - stage[LAG]):
        if written(rings, target, repeat * j) < 0:
            continue
        for i in range(taps):
            row = read(rings, source, stride * j - stage[PAD] + i)
            starts[i] = row + (first * stride - stage[PAD]) * channels
        for dy in range(repeat):
            at = written(rings, target, repeat * j + dy) + first * out_step
            matmul(
                memory, starts, taps, stride * channels, depth,
                weights, stage[W] + dy * stage[W_SIZE], weights, stage[B] + dy * stage[B_SIZE],
                memory, at, out_step, out_step, pixels, stage[ACCUMULATE] != 0,
            )  # fmt: skip


@njit(**INLINE)
def prepare(stage, rings, memory, weights, starts, own, step, first, stop, to, pitch):
    """Columns first to stop of a block's depthwise input, its two kept rows above: to (to, pitch).

    LayerNorm and the first 1x1 of the new rows; zeros outside the image.
    """
    ring, band = stage[SOURCE], stage[BAND]
    c, width = rings[ring, PADDED], rings[ring, PIXELS]
    span = stop - first
    for r in range(2):
        copy(memory, stage[KEPT] + (r * width + first) * 2 * c, to + r * pitch, span * 2 * c)
    if span == 0:
        return
    # Few pixels a row: several rows at once, or the weights would come again for every row.
    together = max(1, stage[BATCH] // span)
    norm, hidden = own[NORM_AT], own[HIDDEN_AT]
    starts[0] = norm
    for r0 in range(0, band, together):
        r1 = min(r0 + together, band)
        pixels = 0
        for r in range(r0, r1):
            row = written(rings, ring, step * band - stage[LAG] + r)
            if row >= 0:
                normalise(
                    memory, row + first * c, norm + pixels * c, stage[CHANNELS], c, weights,
                    stage[MASK], span,
                )  # fmt: skip
                pixels += span
        at = to + (r0 + 2) * pitch if together == 1 else hidden
        matmul(
            memory, starts, 1, c, c, weights, stage[W1], weights, stage[B1],
            memory, at, 2 * c, 2 * c, pixels, False,
        )  # fmt: skip
        for r in range(r0, r1):
            here = to + (r + 2) * pitch
            if written(rings, ring, step * band - stage[LAG] + r) < 0:
                clear(memory, here, span * 2 * c)
            elif together > 1:
                copy(memory, at, here, span * 2 * c)
                at += span * 2 * c


@njit(**INLINE)
def copy_column(memory, at, pitch, to, to_pitch, rows, count):
    """`count` floats of every row."""
    for r in range(rows):
        copy(memory, at + r * pitch, to + r * to_pitch, count)


@njit(**INLINE)
def block_prepares(stage, rings, memory, weights, starts, own, step, begin, stop, cells):
    """First phase of a block: a thread's first panel, and the columns its neighbours will need."""
    cell_px = rings[stage[SOURCE], PIXELS] // cells
    x0, end, panel = begin * cell_px, stop * cell_px, stage[PANEL]
    c2, rows = 2 * rings[stage[SOURCE], PADDED], stage[BAND] + 2
    pitch, taps = (panel + 2) * c2, own[TAPS_AT]
    left, right = own[EDGES_AT], own[EDGES_AT] + rows * c2
    last = min(end, x0 + panel + 1)
    prepare(stage, rings, memory, weights, starts, own, step, x0, last, taps + c2, pitch)
    copy_column(memory, taps + c2, pitch, left, c2, rows, c2)
    if last == end:
        copy_column(memory, taps + (end - x0) * c2, pitch, right, c2, rows, c2)
    else:
        prepare(stage, rings, memory, weights, starts, own, step, end - 1, end, right, c2)


@njit(**INLINE)
def block_finishes(
    stage, rings, memory, weights, frozen, starts, scratch, step, thread, begin, stop, cells,
    sums, observe,
):  # fmt: skip
    """Second phase: the block in place, panel by panel so that its scratch stays in cache.

    New rows are prepared, the rows one above them are finished. Panels are skewed by one column:
    a panel prepares one column beyond its right edge for the convolution and finds its left
    neighbour's last two columns in `taps`.

        prepared by panel 1 |-----------|
        finished by panel 1 |----------|
        prepared by panel 2             |-----------|
        finished by panel 2            |-----------|

    The outermost columns are the neighbouring threads', or zeros at the image's edge. With
    `observe`, the map stays as it is and the gated map is added up by columns into `sums`.
    """
    own = scratch[thread]
    ring, panel = stage[SOURCE], stage[PANEL]
    c, width = rings[ring, PADDED], rings[ring, PIXELS]
    c2, rows = 2 * c, stage[BAND] + 2
    pitch, taps = (panel + 2) * c2, own[TAPS_AT]
    cell_px = width // cells
    start, end = begin * cell_px, stop * cell_px
    for x0 in range(start, end, panel):
        x1 = min(x0 + panel, end)
        first = x0 if x0 == start else x0 + 1
        last = x1 if x1 == end else x1 + 1
        fresh = taps + (first - x0 + 1) * c2
        if x0 > start:
            copy_column(memory, taps + panel * c2, pitch, taps, pitch, rows, 2 * c2)
            prepare(stage, rings, memory, weights, starts, own, step, first, last, fresh, pitch)
        elif x0 > 0:
            edge = scratch[thread - 1, EDGES_AT] + rows * c2
            copy_column(memory, edge, c2, taps, pitch, rows, c2)
        else:
            for r in range(rows):
                clear(memory, taps + r * pitch, c2)
        outer = taps + (x1 - x0 + 1) * c2
        if x1 == width:
            for r in range(rows):
                clear(memory, outer + r * pitch, c2)
        elif x1 == end:
            copy_column(memory, scratch[thread + 1, EDGES_AT], c2, outer, pitch, rows, c2)
        if not observe:
            for r in range(2):
                to = stage[KEPT] + (r * width + first) * c2
                copy(memory, fresh + (rows - 2 + r) * pitch, to, (last - first) * c2)
        finish_rows(
            stage, rings, memory, weights, frozen, starts, own, step, x0, x1, pitch, sums, observe
        )


@njit(**INLINE)
def finish_rows(
    stage, rings, memory, weights, frozen, starts, own, step, x0, x1, pitch, sums, observe
):  # fmt: skip
    """A panel's rows from the depthwise convolution on, several at once as in `prepare`."""
    ring, band, span = stage[SOURCE], stage[BAND], x1 - x0
    c = rings[ring, PADDED]
    gated, held = own[GATED_AT], own[HELD_AT]
    together = max(1, stage[BATCH] // span)
    above = step * band - stage[LAG] - 1
    for r0 in range(0, band, together):
        r1 = min(r0 + together, band)
        pixels, at = 0, held
        for r in range(r0, r1):
            row = written(rings, ring, above + r)
            if row >= 0:
                depthwise_gate(
                    memory, own[TAPS_AT] + r * pitch, pitch, weights, stage[W2], stage[B2],
                    gated + pixels * c, c, span,
                )  # fmt: skip
                if together == 1:
                    at = row + x0 * c
                else:
                    copy(memory, row + x0 * c, held + pixels * c, span * c)
                pixels += span
        if observe:
            for p in range(pixels):
                for k in range(c):
                    sums[(x0 + p % span) * c + k] += memory[gated + p * c + k]
        else:
            finish_pixels(stage, memory, weights, frozen, starts, own, at, c, pixels)
            if together > 1:
                for r in range(r0, r1):
                    row = written(rings, ring, above + r)
                    if row >= 0:
                        copy(memory, at, row + x0 * c, span * c)
                        at += span * c


@njit(**INLINE)
def finish_pixels(stage, memory, weights, frozen, starts, own, at, c, pixels):
    """What follows a block's first gate, for pixels that lie side by side."""
    norm, hidden, gated = own[NORM_AT], own[HIDDEN_AT], own[GATED_AT]
    starts[0] = gated
    matmul(
        memory,
        starts,
        1,
        c,
        c,
        frozen,
        stage[W3],
        frozen,
        stage[B3],
        memory,
        at,
        c,
        c,
        pixels,
        True,
    )
    normalise(memory, at, norm, stage[CHANNELS], c, weights, stage[MASK], pixels)
    starts[0] = norm
    matmul(
        memory, starts, 1, c, c, weights, stage[W4], weights, stage[B4],
        memory, hidden, 2 * c, 2 * c, pixels, False,
    )  # fmt: skip
    gate(memory, hidden, gated, c, pixels)
    starts[0] = gated
    matmul(
        memory, starts, 1, c, c, weights, stage[W5], weights, stage[B5],
        memory, at, c, c, pixels, True,
    )  # fmt: skip


@njit(**INLINE)
def guide(stage, rings, memory, step, begin, stop, cells):
    """E' at full resolution beside the image: (shared + samples) channels per pixel.

    E' keeps its channels in the order (dy, dx, channel), so a fine row's channels of `scale`
    neighbouring pixels lie side by side.
    """
    aggregate, target, image = stage[SOURCE], stage[TARGET], stage[IMAGE]
    shared, samples, scale = stage[SHARED], rings[image, PADDED], rings[aggregate, SCALE]
    cell_px = rings[target, PIXELS] // cells
    for row in range(
        (step * stage[BAND] - stage[LAG]) * scale, ((step + 1) * stage[BAND] - stage[LAG]) * scale
    ):
        to = written(rings, target, row)
        if to < 0:
            continue
        e_row = read(rings, aggregate, row // scale) + row % scale * (scale * shared)
        pixels = read(rings, image, row)
        for p in range(begin * cell_px, stop * cell_px):
            e = e_row + p // scale * rings[aggregate, PADDED] + p % scale * shared
            at = to + p * (shared + samples)
            for k in range(shared):
                memory[at + k] = memory[e + k]
            for k in range(samples):
                memory[at + shared + k] = memory[pixels + p * samples + k]


@njit(**INLINE)
def ending(stage, rings, memory, weights, starts, out, samples, step, begin, stop, cells):
    """3x3 convolution to a few channels by dot products; adds the image if there is one."""
    source, image = stage[SOURCE], stage[IMAGE]
    c, width = rings[source, PADDED], rings[source, PIXELS]
    cell_px = width // cells
    for j in range(stage[BAND]):
        row = step * stage[BAND] - stage[LAG] + j
        if written(rings, source, row) < 0:
            continue
        for i in range(3):
            starts[i] = read(rings, source, row - 1 + i) - c
        pixels = read(rings, image, row) if image >= 0 else -1
        for p in range(begin * cell_px, stop * cell_px):
            for o in range(samples):
                acc = splat(np.float32(0.0))
                at = stage[W] + o * 9 * c
                for i in range(3):
                    base = starts[i] + p * c
                    for k in range(0, 3 * c, LANES):
                        acc = fma(load(memory, base + k), load(weights, at + k), acc)
                    at += 3 * c
                value = hsum(acc) + weights[stage[B] + o]
                if pixels >= 0:
                    value += memory[pixels + p * samples + o]
                memory[out + (j * width + p) * samples + o] = value


@njit(**INLINE)
def finished(progress, thread, threads, phase):
    """Wait until a thread has done so many phases; False if the team gives up."""
    if thread < 0 or thread >= threads:
        return True
    spins = 0
    while load_shared(progress, thread * LINE) < phase:
        if load_shared(progress, threads * LINE) != 0:
            return False
        spins += 1
        if spins > SPINS:
            give_way()
    return True


@njit(**INLINE)
def next_phase(progress, thread, threads):
    """One more phase is done; wait for the neighbours. False if the team gives up."""
    phase = load_shared(progress, thread * LINE) + 1
    store_shared(progress, thread * LINE, phase)
    return finished(progress, thread - 1, threads, phase) and finished(
        progress, thread + 1, threads, phase
    )


@cached_on_disk
@njit(**INLINE)
def run_stages(
    program, rings, scratch, starts, memory, weights, frozen, out, samples, cells,
    first, last, step, thread, progress, sums, observe,
):  # fmt: skip
    """Carry stages first to last one band further, in this thread's share of the columns.

    observe: the number of a block that is only observed, or -1. Thread 0 returns when all threads
    are done. False if the team gave up.
    """
    threads = len(scratch)
    begin, stop = cells * thread // threads, cells * (thread + 1) // threads
    own, rows = scratch[thread], starts[thread]
    for s in range(first, last):
        stage = program[s]
        if stage[KIND] == PRODUCT:
            product(stage, rings, memory, weights, rows, step, begin, stop, cells)
        elif stage[KIND] == BLOCK:
            block_prepares(stage, rings, memory, weights, rows, own, step, begin, stop, cells)
            if not next_phase(progress, thread, threads):
                return False
            block_finishes(
                stage, rings, memory, weights, frozen, rows, scratch, step, thread, begin, stop,
                cells, sums, s == observe,
            )  # fmt: skip
        elif stage[KIND] == GUIDE:
            guide(stage, rings, memory, step, begin, stop, cells)
        else:
            ending(stage, rings, memory, weights, rows, out, samples, step, begin, stop, cells)
        if not next_phase(progress, thread, threads):
            return False
    if thread == 0:
        phase = load_shared(progress, 0)
        for other in range(1, threads):
            if not finished(progress, other, threads, phase):
                return False
    return True


def compile_all() -> None:
    """Compile everything, or load it from disk."""
    floats, sums = np.zeros(1, np.float32), np.zeros(1, np.float64)
    numbers, table = np.zeros(2 * LINE, np.int64), np.zeros((1, COLUMNS), np.int64)
    run_stages(
        table, table, table, table, floats, floats, floats, 0, 1, 1,
        0, 0, 0, 0, numbers, sums, -1,
    )  # fmt: skip
