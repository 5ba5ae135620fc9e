"""Tells drawings, texts and screenshots, which have no noise, from what a sensor has seen.

Where noise is, hardly two neighbours are equal. Drawings have even places of several values, and
equal neighbours between their edges. Few photons make even places and equal neighbours too, but
each of them stands alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

WINDOW_PX = 8
"""Side of the windows that are even or not."""
OFFSET_PX = 4
"""Row and column of the first one, so that each lies across four blocks of a JPEG."""
DRAWN = ((0.15, 0.4), (0.05, 0.5))
"""Smallest share of even windows, and of equal neighbours in the others, of a drawing."""
DRAWN_ON_LIMITS = ((0.2, 0.55),)
"""Shares where all even windows have the lowest or the highest value, at which a sensor clips."""
ALONE_SHARE = 0.06
"""Largest share of single pixels among those that differ from their neighbour."""
LEAST_WINDOWS = 64
"""Fewest windows by which that is told."""


@dataclass
class _Counts:
    """What windows and pixels of patches are like."""

    windows: int = 0
    even: int = 0
    clipped: int = 0
    """Number of even windows of the lowest or highest value."""
    pairs: int = 0
    """Number of neighbours in windows that are not even."""
    equal: int = 0
    differing: int = 0
    """Number of pixels that differ from the one before."""
    alone: int = 0
    """Number of those whose four neighbours are equal."""

    def add(self, pixels: NDArray[Any]) -> None:
        """Count a patch (height, width, samples)."""
        rows, columns = ((n - OFFSET_PX) // WINDOW_PX for n in pixels.shape[:2])
        if rows < 1 or columns < 1:
            return
        end = OFFSET_PX + rows * WINDOW_PX, OFFSET_PX + columns * WINDOW_PX
        inner = pixels[OFFSET_PX : end[0], OFFSET_PX : end[1]]
        cut = inner.reshape(rows, WINDOW_PX, columns, WINDOW_PX, -1).swapaxes(1, 2)
        low, high = cut.min((2, 3)), cut.max((2, 3))
        even = (low == high).all(-1)
        limits = np.iinfo(pixels.dtype)
        at_limit = even & ((low == limits.min).all(-1) | (low == limits.max).all(-1))
        equal = (cut[:, :, :, 1:] == cut[:, :, :, :-1]).all(-1)[~even]
        self.windows += even.size
        self.even += int(even.sum())
        self.clipped += int(at_limit.sum())
        self.pairs += equal.size
        self.equal += int(equal.sum())
        middle, left, right = inner[1:-1, 1:-1], inner[1:-1, :-2], inner[1:-1, 2:]
        above, below = inner[:-2, 1:-1], inner[2:, 1:-1]
        around = ((left == right) & (above == below) & (left == above)).all(-1)
        differs = (middle != left).any(-1)
        self.differing += int(differs.sum())
        self.alone += int((around & differs).sum())


def is_drawn(patches: Sequence[NDArray[Any]]) -> bool:
    """Whether patches (height, width, samples) of 8 bits are of a drawing, a text or a screenshot.

    Other types hold measurements, whose even places mean something else.
    """
    if patches[0].dtype != np.uint8:
        return False
    found = _Counts()
    for pixels in patches:
        found.add(pixels)
    if found.windows < LEAST_WINDOWS or found.alone > ALONE_SHARE * max(found.differing, 1):
        return False
    if not found.pairs:
        return False
    even, equal = found.even / found.windows, found.equal / found.pairs
    shares = DRAWN_ON_LIMITS if found.even == found.clipped else DRAWN
    return any(even >= least_even and equal >= least for least_even, least in shares)
