"""Wider ranges for what lies beyond the base range, blended pixel by pixel.

A net knows values of 0 to 1. What lies far beyond is restored in a wider range that holds it:

    rung          0      1        2         3
    range width   1      8        64        512   ... times that of the base range
    holds up to   1.5    12       96        768

Which rung a pixel uses is a function of the stored values at most REACH_PX away, so it does not
depend on how an image is cut. Cells of a fixed grid that hold such pixels are computed by
themselves, in the rungs that they need: of each the box around the pixels that need it, with a
margin. Each rung's input is clipped where the next one takes over, so that the brighter does not
spoil the dimmer next to it.

A net is only asked where it can help. What is less than BROAD_PX wide stays as it is stored: the
noise of so small things cannot be told, and a net blurs them. So do pixels with less noise than a
net makes itself, those of a slope that passes through a rung in less than THIN_PX, and the few of a
cell that a box would mostly be empty for.

Values here are on the net's scale: `low` of the base range is 0, `high` is 1.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.geometry import round_up
from unetmm.intensities.range import ValueScale

Floats = NDArray[np.float32]

CELL_PX = 64
"""Height and width in pixels of a cell of the grid."""
MARGIN_PX = 4
"""Least number of pixels around those that need a rung that are computed with them. Fewer than the
receptive field: a box is the same for every cut, and a net takes away least noise where an average
of what it sees is mostly dark."""
BOX_FLOATS = 40
"""Most float32 numbers for each pixel of a window and each channel that are alive at once, beside
the net's."""
MOST_NETS = 4
"""Most boxes of a strip that are restored at once, each with memory of its own."""
BLOCK_ROWS = 16
"""Rows of a cell that are marked together as exceeding the base range."""
BROAD_PX = 9
"""Least height and width of what is restored in wider ranges."""
HEIGHT_REACH_PX = 5
"""Distance in pixels within which values decide on the rung of a pixel near something broad: 3 of
the blur, 1 of the local maximum, 1 of the mean."""
REACH_PX = BROAD_PX // 2 * 2 + HEIGHT_REACH_PX
"""Distance in pixels within which values decide on whether a pixel is near something broad."""
THIN_PX = 5
"""Least height and width of the pixels that a rung is computed for."""
LEAST_SHARE = 0.1
"""Least share of a box that has to need a rung for it to be computed."""
WINDOW_REACH_PX = REACH_PX + THIN_PX // 2 * 2
"""Distance in pixels within which values decide on whether a pixel needs a rung."""
RATIO = 8.0
"""Width of a rung's range relative to that of the rung below."""
RUNGS = 8
"""Number of rungs above the base range. What is beyond them is no measurement of this image."""
HOLDS = 1.5
"""Largest value, relative to its range, that a rung is used for by itself."""
CLIPPED = 2.0
"""Value, relative to its range, at which the next rung has taken over, and input is clipped."""
LARGEST = RATIO**RUNGS
"""Distance from the base range, in widths of it, beyond which a value counts as no measurement."""
PLAIN_SHARE = 0.75
"""Share of its own value that a pixel counts with at least, however dark its neighbours are."""
DOUBT = (2.0, 4.0)
"""Structure in what the net took away, in deviations of noise, at which a pixel begins to stay as
it is stored, and at which it does."""
SINGLE_DOUBT = (4.0, 6.0)
"""Change of a single pixel, in deviations of noise, at which it begins to stay as it is stored, and
at which it does."""
FLOOR = (0.003, 0.006)
"""Noise relative to a pixel's value below which a net has nothing to remove, and above which it
restores as usual; its own errors are about 0.25/255."""
NOISE_FACTOR = 1.6
"""Factor that makes the least of several local deviations one of the noise."""
MOST_NOISE = 2.0
"""Largest factor by which there may be more noise than the image was measured to have."""


def window_reach(stride_px: int) -> int:
    """Pixels around a cell that are looked at, for a net of some stride."""
    return max(WINDOW_REACH_PX, MARGIN_PX + stride_px // 2)


def window_px(stride_px: int) -> int:
    """Height and width in pixels of a cell with what is looked at around it."""
    return CELL_PX + 2 * window_reach(stride_px)


def box_nets(threads: int) -> int:
    """How many boxes are restored at once by so many threads."""
    return max(1, min(threads, MOST_NETS))


def box_px(stride_px: int) -> int:
    """Most height and width in pixels of what goes through the net for a cell."""
    return round_up(CELL_PX + 2 * MARGIN_PX, stride_px)


def may_exceed(dtype: np.dtype[Any], scale: ValueScale) -> bool:
    """Whether a type has values that the base range does not hold."""
    if dtype.kind == "f":
        return True
    limits = np.iinfo(dtype)
    most, least = max(scale.seen(float(limits.max))), min(scale.seen(float(limits.min)))
    return most > HOLDS or least < 1 - HOLDS


def exceeds(values: Floats) -> bool:
    """Whether values on the net's scale may exceed the base range."""
    return bool(values.size) and not (values.max() <= HOLDS and values.min() >= 1 - HOLDS)


def without_far(values: Floats, fill: float) -> bool:
    """Put a stand-in where values are no measurement, in place; gives whether some are.

    fill: what stands in for those, on the net's scale.
    """
    far = ~(np.abs(values) <= LARGEST)  # as written for NaN, which an overflow may leave
    is_far = bool(far.any())
    if is_far:
        values[far] = fill
    return is_far


def smoothstep(t: Floats) -> Floats:
    """0 up to 0, 1 from 1 on, smooth between."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)
