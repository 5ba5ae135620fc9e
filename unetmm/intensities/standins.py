"""What a net sees where nothing was measured: near measured pixels something like them.

A hole with one value has an edge, which a net takes for content and carries into the pixels around
it. So the outer pixels of a hole become means of the measured ones near them, the nearest counting
most. That looks `REACH_PX` far and no further, so it does not depend on how an image is cut. Deeper
in a hole the scale's `fill` stands in.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

REACH_PX = 4
"""Distance in pixels from a measured pixel up to which others are stood in for by it."""
_POWER = -6
"""Power of the distance by which measured pixels count."""
_BLOCK = 2**14
"""Samples that are worked on at once, or else one row."""
_BLOCK_BYTES = 64
"""Bytes for each of them: places, sums, and what is taken for one neighbour."""


def stand_in(
    window: NDArray[Any], measured: NDArray[np.bool_]
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Pixels with stand-ins, and where they are measured or stood in for.

    Parameters
    ----------
    window, measured : (h + 2 REACH_PX, w + 2 REACH_PX, samples)
        Pixels with their surroundings, which are not measured where there are none.

    Returns
    -------
    Two arrays of shape (h, w, samples).
    """
    inner = slice(REACH_PX, -REACH_PX)
    seen = np.ascontiguousarray(window[inner, inner])
    known = measured[inner, inner].copy()
    rim = _reached(measured) & ~known
    rows = max(1, _BLOCK // max(1, seen[0].size))
    for y in range(0, len(seen), rows):
        places = np.nonzero(rim[y : y + rows])
        if places[0].size:
            values = _means(window[y : y + rows + 2 * REACH_PX], measured[y:], places)
            seen[y : y + rows][places] = _as_stored(values, seen.dtype)
    known |= rim
    return seen, known


def _reached(measured: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a measured pixel lies in the disc around a pixel; without the surroundings."""
    h, w = (n - 2 * REACH_PX for n in measured.shape[:2])
    found = np.zeros((h, w, measured.shape[2]), bool)
    for dy, dx, _ in _neighbours():
        y, x = REACH_PX + dy, REACH_PX + dx
        found |= measured[y : y + h, x : x + w]
    return found


def _means(
    window: NDArray[Any], measured: NDArray[np.bool_], places: tuple[NDArray[np.intp], ...]
) -> NDArray[np.float64]:
    """Weighted means of the measured neighbours of some places."""
    y, x, sample = places
    total, weights = np.zeros(y.size), np.zeros(y.size)
    for dy, dx, weight in _neighbours():
        where = y + (REACH_PX + dy), x + (REACH_PX + dx), sample
        counts = measured[where]
        np.add(total, weight * window[where], out=total, where=counts)
        weights += weight * counts
    means: NDArray[np.float64] = total / weights
    return means


def _neighbours() -> Iterator[tuple[int, int, float]]:
    """Rows, columns and weight of the neighbours within reach."""
    for dy in range(-REACH_PX, REACH_PX + 1):
        for dx in range(-REACH_PX, REACH_PX + 1):
            square = dy * dy + dx * dx
            if 0 < square <= (REACH_PX + 0.5) ** 2:
                yield dy, dx, float(square) ** (_POWER / 2)


def _as_stored(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    return (np.rint(values) if dtype.kind in "iu" else values).astype(dtype)


def standing_bytes(rows: int, columns: int, samples: int, itemsize: int) -> int:
    """Most bytes that putting a window together and `stand_in` take, results included."""
    window = (rows + 2 * REACH_PX) * (columns + 2 * REACH_PX) * samples
    inner = rows * columns * samples
    # Each part's mask and its copy in the window; then result, mask, reached and not measured.
    copies = window * (itemsize + 3) + inner * (itemsize + 3)
    return copies + _BLOCK_BYTES * max(_BLOCK, columns * samples)
