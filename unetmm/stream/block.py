"""A NAFNet block on the rows of a ring, in place: the compiled stage where the time goes.

It runs in two phases, with the neighbouring threads' edge columns exchanged in between. `matrices`
and `frozen` hold its four 1x1s; LayerNorm and the gates write factors for them.
"""

from __future__ import annotations

from numba import njit

from unetmm.stream.kernels import (
    INLINE,
    add_up,
    clear,
    copy,
    copy_factors,
    depthwise_gate,
    gate,
    matmul,
    normalise,
)
from unetmm.stream.simd import words
from unetmm.stream.tables import (
    B1,
    B2,
    B3,
    B4,
    B5,
    BAND,
    BATCH,
    CHANNELS,
    EDGES_AT,
    GATED_AT,
    HEIGHT,
    HELD_AT,
    HIDDEN_AT,
    KEPT,
    LAG,
    MASK,
    NORM_AT,
    OBSERVED,
    PADDED,
    PANEL,
    PIXELS,
    RESUMED,
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
    stage, rings, memory, weights, matrices, starts, own, step, first, stop, to, pitch
):  # fmt: skip
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
    norm, hidden, depth = own[NORM_AT], own[HIDDEN_AT], words(matrices, c)
    starts[0] = norm
    for r0 in range(0, band, together):
        r1 = min(r0 + together, band)
        pixels = 0
        for r in range(r0, r1):
            row = written(rings, ring, step * band - stage[LAG] + r)
            if row >= 0:
                normalise(
                    matrices, memory, row + first * c, norm + pixels * depth, stage[CHANNELS], c,
                    weights, stage[MASK], span,
                )  # fmt: skip
                pixels += span
        at = to + (r0 + 2) * pitch if together == 1 else hidden
        matmul(
            memory, starts, 1, depth, depth, matrices, stage[W1], weights, stage[B1],
            memory, at, 2 * c, 2 * c, pixels, False,
        )  # fmt: skip
        for r in range(r0, r1):
            y = step * band - stage[LAG] + r
            here = to + (r + 2) * pitch
            if y < 0 or y >= rings[ring, HEIGHT]:
                # Only what touches the image, or is kept for the next step, will be read.
                if y == -1 or y == rings[ring, HEIGHT] or r >= band - 2:
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
def block_prepares(
    stage, rings, memory, weights, matrices, starts, own, step, begin, stop, cells
):  # fmt: skip
    """First phase of a block: a thread's first panel, and the columns its neighbours will need."""
    cell_px = rings[stage[SOURCE], PIXELS] // cells
    x0, end, panel = begin * cell_px, stop * cell_px, stage[PANEL]
    c2, rows = 2 * rings[stage[SOURCE], PADDED], stage[BAND] + 2
    pitch, taps = (panel + 2) * c2, own[TAPS_AT]
    left, right = own[EDGES_AT], own[EDGES_AT] + rows * c2
    last = min(end, x0 + panel + 1)
    prepare(
        stage, rings, memory, weights, matrices, starts, own, step, x0, last, taps + c2, pitch
    )  # fmt: skip
    copy_column(memory, taps + c2, pitch, left, c2, rows, c2)
    if last == end:
        copy_column(memory, taps + (end - x0) * c2, pitch, right, c2, rows, c2)
    else:
        prepare(
            stage, rings, memory, weights, matrices, starts, own, step, end - 1, end, right, c2
        )  # fmt: skip


@njit(**INLINE)
def block_finishes(
    stage, rings, memory, weights, matrices, frozen, starts, scratch, step, thread, begin, stop,
    cells, sums, seen, mode,
):  # fmt: skip
    """Second phase: the block in place, panel by panel so that its scratch stays in cache.

    New rows are prepared, the rows one above them are finished. Panels are skewed by one column:
    a panel prepares one column beyond its right edge for the convolution and finds its left
    neighbour's last two columns in `taps`.

        prepared by panel 1 |-----------|
        finished by panel 1 |----------|
        prepared by panel 2             |-----------|
        finished by panel 2            |-----------|

    The outermost columns are the neighbouring threads', or zeros at the image's edge.
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
            prepare(
                stage, rings, memory, weights, matrices, starts, own, step, first, last, fresh,
                pitch,
            )  # fmt: skip
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
        if mode == WHOLE:
            for r in range(2):
                to = stage[KEPT] + (r * width + first) * c2
                copy(memory, fresh + (rows - 2 + r) * pitch, to, (last - first) * c2)
        finish_rows(
            stage, rings, memory, weights, matrices, frozen, starts, own, step, x0, x1, pitch, sums,
            seen, mode,
        )  # fmt: skip


@njit(**INLINE)
def block_resumes(
    stage, rings, memory, weights, matrices, frozen, starts, own, step, begin, stop, cells, sums,
    seen,
):  # fmt: skip
    """The rest of a block that was observed."""
    cell_px = rings[stage[SOURCE], PIXELS] // cells
    end, panel = stop * cell_px, stage[PANEL]
    for x0 in range(begin * cell_px, end, panel):
        finish_rows(
            stage, rings, memory, weights, matrices, frozen, starts, own, step, x0,
            min(x0 + panel, end), 0, sums, seen, RESUMED,
        )  # fmt: skip


@njit(**INLINE)
def finish_rows(
    stage, rings, memory, weights, matrices, frozen, starts, own, step, x0, x1, pitch, sums, seen,
    mode,
):  # fmt: skip
    """A panel's rows from the depthwise convolution on, several at once as in `prepare`.

    OBSERVED: the map stays as it is; the gated map is left in `seen` and added up by columns in
    `sums`. RESUMED: the gated map is taken from there. In between it is float32 in any precision.
    """
    ring, band, span = stage[SOURCE], stage[BAND], x1 - x0
    c = rings[ring, PADDED]
    gated, held, depth = own[GATED_AT], own[HELD_AT], words(matrices, c)
    together = max(1, stage[BATCH] // span)
    above = step * band - stage[LAG] - 1
    for r0 in range(0, band, together):
        r1 = min(r0 + together, band)
        pixels, at = 0, held
        for r in range(r0, r1):
            row = written(rings, ring, above + r)
            if row >= 0:
                kept = ((above + r) * rings[ring, PIXELS] + x0) * c
                if mode == OBSERVED:
                    depthwise_gate(
                        weights, memory, own[TAPS_AT] + r * pitch, pitch, weights, stage[W2],
                        stage[B2], seen, kept, c, span,
                    )  # fmt: skip
                    add_up(seen, kept, sums, x0 * c, span * c)
                    continue
                if mode == RESUMED:
                    copy_factors(matrices, seen, kept, memory, gated + pixels * depth, c, span)
                else:
                    depthwise_gate(
                        matrices, memory, own[TAPS_AT] + r * pitch, pitch, weights, stage[W2],
                        stage[B2], memory, gated + pixels * depth, c, span,
                    )  # fmt: skip
                if together == 1:
                    at = row + x0 * c
                else:
                    copy(memory, row + x0 * c, held + pixels * c, span * c)
                pixels += span
        if mode != OBSERVED:
            finish_pixels(stage, memory, weights, matrices, frozen, starts, own, at, c, pixels)
            if together > 1:
                for r in range(r0, r1):
                    row = written(rings, ring, above + r)
                    if row >= 0:
                        copy(memory, at, row + x0 * c, span * c)
                        at += span * c


@njit(**INLINE)
def finish_pixels(stage, memory, weights, matrices, frozen, starts, own, at, c, pixels):
    """What follows a block's first gate, for pixels that lie side by side."""
    norm, hidden, gated = own[NORM_AT], own[HIDDEN_AT], own[GATED_AT]
    depth = words(matrices, c)
    starts[0] = gated
    matmul(
        memory, starts, 1, depth, depth, frozen, stage[W3], frozen, stage[B3],
        memory, at, c, c, pixels, True,
    )  # fmt: skip
    normalise(matrices, memory, at, norm, stage[CHANNELS], c, weights, stage[MASK], pixels)
    starts[0] = norm
    matmul(
        memory, starts, 1, depth, depth, matrices, stage[W4], weights, stage[B4],
        memory, hidden, 2 * c, 2 * c, pixels, False,
    )  # fmt: skip
    gate(matrices, memory, hidden, gated, c, pixels)
    starts[0] = gated
    matmul(
        memory, starts, 1, depth, depth, matrices, stage[W5], weights, stage[B5],
        memory, at, c, c, pixels, True,
    )  # fmt: skip
