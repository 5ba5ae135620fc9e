"""The columns of a stream's tables of integers, and rows of rings by their number.

`program.py` fills the tables in, `stages.py` and `block.py` read them.
"""

from __future__ import annotations

from numba import njit

from unetmm.compiling.flags import INLINE

PRODUCT, BLOCK, GUIDE, ENDING, POOL, POINTWISE = range(6)
"""Kinds of stages."""
KIND, LAG, SOURCE, TARGET, PARTS, BAND, MEETS = range(7)
"""Columns of every stage: kind, reading clock, rings by number, parts of a step, their rows, and
whether threads meet around it, for it reads columns of their neighbours."""
STEP, TAPS, PAD, REPEAT, ACCUMULATE, W, W_SIZE, B, B_SIZE, RECTIFY, BORDER = range(7, 18)
"""Further columns of a product; one matrix for each of its `repeat` rows."""
CHANNELS, PANEL, ROOM, BATCH, KEPT, MASK, W1, B1, W2, B2, W3, B3, W4, B4, W5, B5 = range(7, 23)
"""Further columns of a block; W3 and B3 lie in `frozen`, all others in `weights`."""
IMAGE, SHARED = 7, 8
"""Further columns of a guide (SOURCE is E') and of an ending, whose image may be -1."""
OTHER, MULTIPLIES, ACTIVATION, NUMBERS = range(7, 11)
"""Further columns of values by themselves: the second ring or -1, whether it is a factor, the
function, and where its numbers lie in `weights`: two factors, the constant, two numbers, slopes."""
COLUMNS = 23

ZEROS, EDGE_REPEATED, REFLECT = range(3)
"""Borders of a product, as `layers.BORDERS` names them."""
BASE, COUNT, ROW, HEIGHT, EDGE, PADDED, PIXELS, SCALE = range(8)
"""Columns of a ring: first float, rows, floats a row and its zero columns, size of the map."""

TAPS_AT, NORM_AT, HIDDEN_AT, GATED_AT, HELD_AT, SEAM_AT, LAST_SEAM_AT, EDGES_AT = range(8)
"""Columns of a thread's scratch; behind EDGES_AT one more, for every other block's edges."""


WHOLE, OBSERVED, RESUMED = range(3)
"""Ways to do a block: at once, or up to its gated map and from there on."""


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
def inside(row, height, border):
    """The row of a map that stands for one outside of it: its edge, or mirrored there."""
    if border == REFLECT:
        row = abs(row)
        row = min(row, 2 * (height - 1) - row)
    return min(max(row, 0), height - 1)
