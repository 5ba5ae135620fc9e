"""The compiled stages of the row stream, and the loop that runs them for one thread of a team.

A stream is a table of stages (`program.py`) over one array, `memory`. A stage makes the next band
of one map; each thread makes its own columns. Cuts between threads are multiples of the net's
stride, so they are the same at every scale, and only a 3x3 convolution needs a column of each
neighbour. A block's threads exchange these columns ahead (`block.py`), so that neighbours may be
nearly a block apart. Around the other 3x3s they meet: before, or what is read might be still to
come, and after, or it might be overwritten too early.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from unetmm.compiling.cache import cached_on_disk
from unetmm.compiling.flags import INLINE
from unetmm.compiling.processor import LANES
from unetmm.engine.cpu.block import block_finishes, block_prepares, block_resumes
from unetmm.engine.cpu.kernels import matmul, rectify
from unetmm.engine.cpu.pointwise import pointwise
from unetmm.engine.cpu.reduce import add_products, lane_sums, no_sums
from unetmm.engine.cpu.simd import fma, hsum, load, splat, store
from unetmm.engine.cpu.sync import announce, begin_work, end_together, meet, phase_of
from unetmm.engine.cpu.tables import (
    ACCUMULATE,
    B_SIZE,
    BAND,
    BLOCK,
    BORDER,
    EDGES_AT,
    GUIDE,
    HEIGHT,
    IMAGE,
    KIND,
    LAG,
    MEETS,
    NORM_AT,
    OBSERVED,
    PAD,
    PADDED,
    PARTS,
    PIXELS,
    POINTWISE,
    POOL,
    PRODUCT,
    RECTIFY,
    REPEAT,
    SCALE,
    SHARED,
    SOURCE,
    STEP,
    TAPS,
    TARGET,
    W_SIZE,
    WHOLE,
    B,
    W,
    inside,
    read,
    written,
)


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
            at_row = stride * j - stage[PAD] + i
            if stage[BORDER]:
                at_row = inside(at_row, rings[source, HEIGHT], stage[BORDER])
            row = read(rings, source, at_row)
            if stage[BORDER]:
                fill_sides(stage, rings, memory, row, begin == 0, stop == cells)
            starts[i] = row + (first * stride - stage[PAD]) * channels
        for dy in range(repeat):
            at = written(rings, target, repeat * j + dy) + first * out_step
            matmul(
                memory, starts, taps, stride * channels, depth,
                weights, stage[W] + dy * stage[W_SIZE], weights, stage[B] + dy * stage[B_SIZE],
                memory, at, out_step, out_step, pixels, stage[ACCUMULATE] != 0,
            )  # fmt: skip
            if stage[RECTIFY]:
                rectify(memory, at, out_step * pixels)


@njit(**INLINE)
def fill_sides(stage, rings, memory, row, is_first, is_last):
    """Columns beside a row of the source, as its border wants them.

    Each side is filled by the thread that reads it.
    """
    source, border = stage[SOURCE], stage[BORDER]
    c, width = rings[source, PADDED], rings[source, PIXELS]
    left = stage[PAD] if is_first else 0
    right = stage[TAPS] - stage[PAD] - stage[STEP] if is_last else 0
    for p in range(1, left + 1):
        taken = row + inside(-p, width, border) * c
        for k in range(c):
            memory[row - p * c + k] = memory[taken + k]
    for p in range(width, width + right):
        taken = row + inside(p, width, border) * c
        for k in range(c):
            memory[row + p * c + k] = memory[taken + k]


@njit(**INLINE)
def pool(stage, rings, memory, step, begin, stop, cells):
    """The largest value of each 2x2 pixels, for the cells of columns from `begin` to `stop`."""
    source, target, c = stage[SOURCE], stage[TARGET], rings[stage[TARGET], PADDED]
    cell_px = rings[target, PIXELS] // cells
    for j in range(step * stage[BAND] - stage[LAG], (step + 1) * stage[BAND] - stage[LAG]):
        to = written(rings, target, j)
        if to < 0:
            continue
        above, below = read(rings, source, 2 * j), read(rings, source, 2 * j + 1)
        for p in range(begin * cell_px, stop * cell_px):
            at, under, out = above + 2 * p * c, below + 2 * p * c, to + p * c
            for k in range(c):
                upper = max(memory[at + k], memory[at + c + k])
                lower = max(memory[under + k], memory[under + c + k])
                memory[out + k] = max(upper, lower)


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
def ending(stage, rings, memory, weights, starts, own, out, samples, step, begin, stop, cells):
    """3x3 convolution to a few channels by dot products; adds the image if there is one.

    Where there are several outputs for each of the image's channels, each gets the same pixel.

    out: where the first row goes.
    """
    source, image = stage[SOURCE], stage[IMAGE]
    c, width = rings[source, PADDED], rings[source, PIXELS]
    inputs = rings[image, PADDED] if image >= 0 else samples
    outputs = samples // inputs
    cell_px = width // cells
    for j in range(stage[BAND]):
        row = step * stage[BAND] - stage[LAG] + j
        if written(rings, source, row) < 0:
            continue
        for i in range(3):
            starts[i] = read(rings, source, row - 1 + i) - c
        pixels = read(rings, image, row) if image >= 0 else -1
        for o in range(samples):
            at, bias = stage[W] + o * 9 * c, weights[stage[B] + o]
            p = begin * cell_px
            while p < stop * cell_px:
                together = min(LANES, stop * cell_px - p)
                values = own[NORM_AT]
                if together == LANES:
                    dot_products(memory, starts, p, c, weights, at, values)
                else:
                    for q in range(together):
                        memory[values + q] = dot_product(memory, starts, p + q, c, weights, at)
                for q in range(together):
                    value = memory[values + q] + bias
                    if pixels >= 0:
                        value += memory[pixels + (p + q) * inputs + o // outputs]
                    memory[out + (j * width + p + q) * samples + o] = value
                p += together


@njit(**INLINE)
def dot_products(memory, starts, p, c, weights, at, to):
    """What a 3x3 convolution gives for one output at LANES pixels from p on."""
    sums = no_sums()
    for i in range(3):
        base = starts[i] + p * c
        for k in range(0, 3 * c, LANES):
            sums = add_products(sums, memory, base + k, c, load(weights, at + i * 3 * c + k))
    store(memory, to, lane_sums(sums))


@njit(**INLINE)
def dot_product(memory, starts, p, c, weights, at):
    """The same for one pixel."""
    acc = splat(np.float32(0.0))
    for i in range(3):
        base = starts[i] + p * c
        for k in range(0, 3 * c, LANES):
            acc = fma(load(memory, base + k), load(weights, at + i * 3 * c + k), acc)
    return hsum(acc)


@njit(**INLINE)
def run_stage(
    stage, rings, scratch, starts, memory, weights, matrices, frozen, out, samples, cells, begin,
    stop, step, part, thread, progress, sums, seen, factors, observed, resumed,
):  # fmt: skip
    """A thread's share of one stage. False: the team gave up."""
    own = scratch[thread]
    if stage[KIND] == PRODUCT:
        product(stage, rings, memory, weights, starts, step, begin, stop, cells)
    elif resumed:
        block_resumes(
            stage, rings, memory, weights, matrices, frozen, starts, own, step, begin, stop, cells,
            sums, seen, factors,
        )  # fmt: skip
    elif stage[KIND] == BLOCK:
        edges = EDGES_AT + (phase_of(progress, thread) + 1) % 2
        block_prepares(
            stage, rings, memory, weights, matrices, starts, own, edges, step, begin, stop, cells
        )  # fmt: skip
        phase = announce(progress, thread)
        return block_finishes(
            stage, rings, memory, weights, matrices, frozen, starts, scratch, edges, step, thread,
            progress, phase, begin, stop, cells, sums, seen, factors,
            OBSERVED if observed else WHOLE,
        )  # fmt: skip
    elif stage[KIND] == POOL:
        pool(stage, rings, memory, step, begin, stop, cells)
    elif stage[KIND] == POINTWISE:
        pointwise(stage, rings, memory, weights, step, begin, stop, cells)
    elif stage[KIND] == GUIDE:
        guide(stage, rings, memory, step, begin, stop, cells)
    else:
        at = out + part * stage[BAND] * rings[stage[SOURCE], PIXELS] * samples
        ending(stage, rings, memory, weights, starts, own, at, samples, step, begin, stop, cells)
    return True


@cached_on_disk
@njit(**INLINE)
def run_stages(
    program, rings, scratch, starts, memory, weights, matrices, frozen, out, samples, cuts,
    first, last, step, thread, progress, sums, seen, factors, observed, resumed,
):  # fmt: skip
    """Carry stages first to last one band further, in this thread's share of the columns.

    matrices, frozen: of the blocks' 1x1s, float32 or pairs of bfloat16 (int32), and compiled for
    either; the first of them are `weights`, seen as such.
    cuts: cells of columns at which the threads' shares begin, and their number.
    observed, resumed: numbers of blocks that are only observed, or were before; or -1. sums, seen:
    what is observed. factors: of the channels of the block that is resumed. Thread 0 returns when
    all threads are done. False if the team gave up.
    """
    threads = len(scratch)
    begin, stop, cells = cuts[thread], cuts[thread + 1], cuts[threads]
    rows = starts[thread]
    begin_work(progress, thread)
    s = first
    while s < last:
        # Neighbouring stages with as many parts take turns, so that a part stays in cache.
        parts, end = program[s, PARTS], s + 1
        while end < last and program[end, PARTS] == parts:
            end += 1
        for part in range(parts):
            for i in range(s, end):
                meets = program[i, MEETS] != 0
                if meets and not meet(progress, thread, threads):
                    return False
                going_on = run_stage(
                    program[i], rings, scratch, rows, memory, weights, matrices, frozen, out,
                    samples, cells, begin, stop, step * parts + part, part, thread, progress,
                    sums, seen, factors, i == observed, i == resumed,
                )  # fmt: skip
                if not going_on or (meets and not meet(progress, thread, threads)):
                    return False
        s = end
    return end_together(progress, thread, threads)
