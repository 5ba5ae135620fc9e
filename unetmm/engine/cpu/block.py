"""A NAFNet block on the rows of a ring, in place: the compiled stage where the time goes.

A thread first prepares the edge columns that its neighbours will need, and takes theirs as late as
it can, so that it seldom waits for them. `matrices` and `frozen` hold the block's four 1x1s;
LayerNorm and the gates write factors for them.
"""

from __future__ import annotations

from numba import njit

from unetmm.compiling.flags import INLINE
from unetmm.engine.cpu.kernels import (
    add_up,
    clear,
    copy,
    depthwise_gate,
    matmul,
    matmul_gated,
    normalise,
    scaled_factors,
)
from unetmm.engine.cpu.simd import words
from unetmm.engine.cpu.sync import wait_for
from unetmm.engine.cpu.tables import (
    B1,
    B2,
    B3,
    B4,
    B5,
    BAND,
    BATCH,
    CHANNELS,
    GATED_AT,
    HELD_AT,
    HIDDEN_AT,
    KEPT,
    LAG,
    LAST_SEAM_AT,
    MASK,
    NORM_AT,
    OBSERVED,
    PADDED,
    PANEL,
    PIXELS,
    RESUMED,
    ROOM,
    SEAM_AT,
    SOURCE,
    TAPS_AT,
    W1,
    W2,
    W3,
    W4,
    W5,
    WHOLE,
    written,
)


@njit(**INLINE)
def prepare(
    stage, rings, memory, weights, matrices, starts, own, y, rows, together, first, stop, to, pitch,
    slot, slots,
):  # fmt: skip
    """Columns first to stop of a block's depthwise input: LayerNorm and the first 1x1, 0 outside.

    Row y + i goes to slot (slot + i) % slots; slots begin at `to`, `pitch` floats apart. `together`
    rows go through the matrix at once, or the weights would come again for every short row.
    """
    ring, span = stage[SOURCE], stop - first
    if span <= 0:
        return
    c = rings[ring, PADDED]
    norm, hidden, depth = own[NORM_AT], own[HIDDEN_AT], words(matrices, c)
    starts[0] = norm
    for r0 in range(0, rows, together):
        r1 = min(r0 + together, rows)
        pixels = 0
        for r in range(r0, r1):
            row = written(rings, ring, y + r)
            if row >= 0:
                normalise(
                    matrices, memory, row + first * c, norm + pixels * depth, stage[CHANNELS], c,
                    weights, stage[MASK], span,
                )  # fmt: skip
                pixels += span
        at = to + (slot + r0) % slots * pitch if r1 - r0 == 1 else hidden
        matmul(
            memory, starts, 1, depth, depth, matrices, stage[W1], weights, stage[B1],
            memory, at, 2 * c, 2 * c, pixels, False,
        )  # fmt: skip
        for r in range(r0, r1):
            here = to + (slot + r) % slots * pitch
            if written(rings, ring, y + r) < 0:
                clear(memory, here, span * 2 * c)
            elif r1 - r0 > 1:
                copy(memory, at, here, span * 2 * c)
                at += span * 2 * c


@njit(**INLINE)
def take_kept(stage, memory, width, c2, first, stop, to, pitch):
    """Columns first to stop of the depthwise input's two kept rows."""
    for r in range(2):
        copy(memory, stage[KEPT] + (r * width + first) * c2, to + r * pitch, (stop - first) * c2)


@njit(**INLINE)
def prepare_edge(stage, rings, memory, weights, matrices, starts, own, step, x, to):
    """Column x of all rows that a step's depthwise convolution reads, one behind the other."""
    ring, band = stage[SOURCE], stage[BAND]
    c2 = 2 * rings[ring, PADDED]
    take_kept(stage, memory, rings[ring, PIXELS], c2, x, x + 1, to, c2)
    prepare(
        stage, rings, memory, weights, matrices, starts, own, step * band - stage[LAG], band,
        stage[BATCH], x, x + 1, to, c2, 2, band + 2,
    )  # fmt: skip


@njit(**INLINE)
def block_prepares(
    stage, rings, memory, weights, matrices, starts, own, edges, step, begin, stop, cells
):  # fmt: skip
    """What the neighbouring threads will need of a block: this thread's edge columns.

    edges: where in the scratch they go. A neighbour may still be reading those of the block before.
    Where a thread's whole share fits into its scratch all of it is prepared at once, or the
    weights would come for the edges alone.
    """
    ring, rows = stage[SOURCE], stage[BAND] + 2
    c2, width = 2 * rings[ring, PADDED], rings[ring, PIXELS]
    x0, end = begin * (width // cells), stop * (width // cells)
    left = own[edges]
    right = left + rows * c2
    if share_fits(stage, end - x0, c2):
        pitch, fresh = (end - x0 + 2) * c2, own[TAPS_AT] + c2
        take_kept(stage, memory, width, c2, x0, end, fresh, pitch)
        prepare(
            stage, rings, memory, weights, matrices, starts, own, step * stage[BAND] - stage[LAG],
            stage[BAND], rows_together(stage, end - x0), x0, end, fresh, pitch, 2, rows,
        )  # fmt: skip
        for r in range(rows):
            copy(memory, fresh + r * pitch, left + r * c2, c2)
            copy(memory, fresh + (r + 1) * pitch - 3 * c2, right + r * c2, c2)
        return
    if begin > 0:
        prepare_edge(stage, rings, memory, weights, matrices, starts, own, step, x0, left)
    if stop < cells:
        prepare_edge(stage, rings, memory, weights, matrices, starts, own, step, end - 1, right)


@njit(**INLINE)
def block_finishes(
    stage, rings, memory, weights, matrices, frozen, starts, scratch, edges, step, thread, progress,
    phase, begin, stop, cells, sums, seen, factors, mode,
):  # fmt: skip
    """The block in place, panel by panel and row by row, so that all stays in cache.

    A panel's depthwise input is a ring of a few rows: a row is prepared, the row above is finished.
    Panels are skewed by one column: a panel prepares one column beyond its right edge for the
    convolution, and leaves its last two columns, the seam, to its right neighbour.

        prepared by panel 1 |-----------|
        finished by panel 1 |----------|
        prepared by panel 2             |-----------|
        finished by panel 2            |-----------|

    The outermost columns are the neighbouring threads', or zeros at the image's edge. The panels
    that need them come last: the one at the right edge, and after it the one at the left edge, for
    which its neighbour has prepared a column more and left a seam.

    phase: what the neighbours have announced once their `edges` are ready.
    False: the team gave up.
    """
    own, threads = scratch[thread], len(scratch)
    ring, band = stage[SOURCE], stage[BAND]
    width, c2 = rings[ring, PIXELS], 2 * rings[ring, PADDED]
    cell_px = width // cells
    start, end = begin * cell_px, stop * cell_px
    y = step * band - stage[LAG]
    prepared = share_fits(stage, end - start, c2)
    panel = end - start if prepared else panel_columns(stage, end - start, threads)
    panels = (end - start + panel - 1) // panel
    turned = start > 0 and panels > 1
    for i in range(panels):
        x0 = start + (i + turned) % panels * panel
        x1 = min(x0 + panel, end)
        # Of a turned order, the panel that begins and the one that ends it.
        begins, ends = turned and i == 0, turned and x0 == start
        if x1 == end and not wait_for(progress, thread, thread + 1, threads, phase):
            return False
        if x0 == start and not wait_for(progress, thread, thread - 1, threads, phase):
            return False
        # Without the columns that lie in a seam or were prepared as edges.
        first, last = x0, x1
        if begins:
            first = x0 - 1
        elif x0 > 0:
            first = x0 + 1
        if ends or x1 == end < width:
            last = x1 - 1
        elif x1 < end:
            last = x1 + 1
        together = rows_together(stage, x1 - x0)
        slots, pitch = band + 2 if prepared else together + 2, (x1 - x0 + 2) * c2
        taps = own[TAPS_AT]
        fresh = taps + (first - x0 + 1) * c2
        if not prepared:
            take_kept(stage, memory, width, c2, first, last, fresh, pitch)
        for r in range(2):
            add_sides(
                stage, memory, scratch, edges, thread, r, x0, x1, start, end, width, c2,
                taps + r * pitch, begins, ends,
            )  # fmt: skip
        for r0 in range(0, band, together):
            r1 = min(r0 + together, band)
            if not prepared:
                prepare(
                    stage, rings, memory, weights, matrices, starts, own, y + r0, r1 - r0, together,
                    first, last, fresh, pitch, (r0 + 2) % slots, slots,
                )  # fmt: skip
            for r in range(r0 + 2, r1 + 2):
                add_sides(
                    stage, memory, scratch, edges, thread, r, x0, x1, start, end, width, c2,
                    taps + r % slots * pitch, begins, ends,
                )  # fmt: skip
            finish_rows(
                stage, rings, memory, weights, matrices, frozen, starts, own, y - 1, r0, r1,
                x0, x1, pitch, slots, sums, seen, factors, mode,
            )  # fmt: skip
        if mode == WHOLE:
            # The panels to come still take the old rows of the columns they prepare.
            first = x0 if x0 == start or begins else x0 + 1
            last = x1 if x1 == end or ends else x1 + 1
            for r in range(2):
                at = taps + (band + r) % slots * pitch + (first - x0 + 1) * c2
                to = stage[KEPT] + (r * width + first) * c2
                copy(memory, at, to, (last - first) * c2)
    return True


@njit(**INLINE)
def panel_columns(stage, span, threads):
    """Columns of a panel. Threads that share a stream have two at least, or none could come last;
    but not at the price of passes over the weights for fewer pixels."""
    half = (span + 15) // 16 * 8
    halved = threads > 1 and half >= stage[BATCH]
    return min(stage[PANEL], half) if halved else stage[PANEL]


@njit(**INLINE)
def rows_together(stage, span):
    """Rows of `span` columns that go through a block's matrices at once."""
    return min(stage[BAND], max(1, stage[BATCH] // span))


@njit(**INLINE)
def share_fits(stage, span, c2):
    """Whether all rows of a thread's columns have room in its scratch."""
    return span <= stage[PANEL] and (stage[BAND] + 2) * (span + 2) * c2 <= stage[ROOM]


@njit(**INLINE)
def add_sides(
    stage, memory, scratch, edges, thread, r, x0, x1, start, end, width, c2, here, begins, ends
):  # fmt: skip
    """The columns of a panel's row that were not prepared with it; leaves the seams' own.

    here: where the column left of x0 belongs. r: the row's number, two kept ones included.
    begins, ends: whether the panel is the first or the last of a turned order.
    """
    rows = stage[BAND] + 2
    own = scratch[thread]
    left, right = own[edges] + r * c2, own[edges] + (rows + r) * c2
    seam, last_seam = own[SEAM_AT] + r * 2 * c2, own[LAST_SEAM_AT] + r * 2 * c2
    if x0 == 0:
        clear(memory, here, c2)
    elif x0 == start:
        copy(memory, scratch[thread - 1, edges] + (rows + r) * c2, here, c2)
        copy(memory, left, here + c2, c2)
    elif not begins:
        copy(memory, seam, here, 2 * c2)
    inner = here + (x1 - x0) * c2
    if ends:
        copy(memory, last_seam, inner, 2 * c2)
    elif x1 < end:
        copy(memory, inner, seam, 2 * c2)
    elif x1 < width:
        copy(memory, right, inner, c2)
        copy(memory, scratch[thread + 1, edges] + r * c2, inner + c2, c2)
    else:
        clear(memory, inner + c2, c2)
    if begins:  # after the right side, which may be the same column
        copy(memory, here, last_seam, 2 * c2)


@njit(**INLINE)
def block_resumes(
    stage, rings, memory, weights, matrices, frozen, starts, own, step, begin, stop, cells, sums,
    seen, factors,
):  # fmt: skip
    """The rest of a block that was observed, with the channel factors that followed."""
    ring, panel, band = stage[SOURCE], stage[PANEL], stage[BAND]
    width = rings[ring, PIXELS]
    start, end = begin * (width // cells), stop * (width // cells)
    for x0 in range(start, end, panel):
        x1 = min(x0 + panel, end)
        together = rows_together(stage, x1 - x0)
        for r0 in range(0, band, together):
            finish_rows(
                stage, rings, memory, weights, matrices, frozen, starts, own,
                step * band - stage[LAG] - 1, r0, min(r0 + together, band), x0, x1, 0, 1, sums,
                seen, factors, RESUMED,
            )  # fmt: skip


@njit(**INLINE)
def finish_rows(
    stage, rings, memory, weights, matrices, frozen, starts, own, y, r0, r1, x0, x1, pitch, slots,
    sums, seen, factors, mode,
):  # fmt: skip
    """Rows y + r0 to y + r1 of a panel from the depthwise convolution on, all at once.

    The convolution of row y + r reads the slots of r, r + 1 and r + 2.
    OBSERVED: the map stays as it is; the gated map is left in `seen` and added up by columns in
    `sums`. RESUMED: the gated map is taken from there, times `factors` of its channels. In between
    it is float32 in any precision.
    """
    ring, span = stage[SOURCE], x1 - x0
    c = rings[ring, PADDED]
    taps, gated, held, depth = own[TAPS_AT], own[GATED_AT], own[HELD_AT], words(matrices, c)
    pixels, at = 0, held
    for r in range(r0, r1):
        row = written(rings, ring, y + r)
        if row < 0:
            continue
        top = taps + r % slots * pitch
        middle = taps + (r + 1) % slots * pitch
        bottom = taps + (r + 2) % slots * pitch
        kept = ((y + r) * rings[ring, PIXELS] + x0) * c
        if mode == OBSERVED:
            depthwise_gate(
                weights, memory, top, middle, bottom, weights, stage[W2], stage[B2], seen, kept, c,
                span,
            )  # fmt: skip
            add_up(seen, kept, sums, x0 * c, span * c)
            continue
        to = gated + pixels * depth
        if mode == RESUMED:
            scaled_factors(matrices, seen, kept, factors, memory, to, c, span)
        else:
            depthwise_gate(
                matrices, memory, top, middle, bottom, weights, stage[W2], stage[B2], memory, to, c,
                span,
            )  # fmt: skip
        if r1 - r0 == 1:
            at = row + x0 * c
        else:
            copy(memory, row + x0 * c, held + pixels * c, span * c)
        pixels += span
    if pixels == 0:
        return
    finish_pixels(stage, memory, weights, matrices, frozen, starts, own, at, c, pixels)
    if r1 - r0 > 1:
        for r in range(r0, r1):
            row = written(rings, ring, y + r)
            if row >= 0:
                copy(memory, at, row + x0 * c, span * c)
                at += span * c


@njit(**INLINE)
def finish_pixels(stage, memory, weights, matrices, frozen, starts, own, at, c, pixels):
    """What follows a block's first gate, for pixels that lie side by side."""
    norm, gated, depth = own[NORM_AT], own[GATED_AT], words(matrices, c)
    starts[0] = gated
    matmul(
        memory, starts, 1, depth, depth, frozen, stage[W3], frozen, stage[B3],
        memory, at, c, c, pixels, True,
    )  # fmt: skip
    normalise(matrices, memory, at, norm, stage[CHANNELS], c, weights, stage[MASK], pixels)
    matmul_gated(memory, norm, matrices, stage[W4], weights, stage[B4], memory, gated, c, pixels)
    starts[0] = gated
    matmul(
        memory, starts, 1, depth, depth, matrices, stage[W5], weights, stage[B5],
        memory, at, c, c, pixels, True,
    )  # fmt: skip
