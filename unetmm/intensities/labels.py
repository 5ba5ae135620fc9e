"""Tells images of labels, classes and masks, whose numbers are names, from what is seen.

They consist of areas of one number each, whose edges have no pixel of another number between them.
Smooth images that were rounded have such areas too, but the next one is a single step away.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

LABELS = "it looks like labels or classes: areas of one number each, with nothing between them"
TWO_VALUES = "it has two values only, as masks and texts of black and white have"
INSIDE_SHARE = 0.5
"""Smallest share of pixels that equal their four neighbours."""
EDGE_SHARES = (0.004, 0.1, 0.05)
"""Largest shares, among the pixels that do not, of those that equal none, and at most one, of their
neighbours, and of those between the values of two opposite ones."""
FEW_NUMBERS = 3
"""Number of different values up to which steps may be as small as can be."""
STEP_SHARE = 0.75
"""Largest share of the smallest step among all, where there are more of them."""
_OPPOSITE = (
    (np.s_[:-2, 1:-1], np.s_[2:, 1:-1]),
    (np.s_[1:-1, :-2], np.s_[1:-1, 2:]),
)
"""Neighbours of the inner pixels of a patch, above and below, left and right."""
LEAST_EDGE_PX = 64
"""Fewest pixels at edges by which that is told."""

Mask = NDArray[np.bool_]


def labels_in_words(patches: Sequence[NDArray[Any]], masks: Sequence[Mask | None]) -> str:
    """Why patches (height, width, samples) are taken for labels; empty if they are not.

    masks : the mask that came with each patch; what the image says of values does not matter.
    """
    if patches[0].shape[-1] != 1 or not _is_of_areas(patches, masks):
        return ""
    count = _count_numbers(patches, masks)
    if count <= 2:
        return TWO_VALUES
    few = count <= FEW_NUMBERS
    return LABELS if few or not _has_single_steps(patches, masks) else ""


def _is_of_areas(patches: Sequence[NDArray[Any]], masks: Sequence[Mask | None]) -> bool:
    """Whether they consist of areas of one number each, with nothing between them."""
    pixels = inside = alone = thin = between = 0
    for patch, given in zip(patches, masks, strict=True):
        values, known = patch[..., 0], _known(patch[..., 0], given)
        if min(values.shape) < 3 or not known.any() or not _is_whole(values, known):
            continue
        middle, seen = values[1:-1, 1:-1], known[1:-1, 1:-1].copy()
        equal, rises = np.zeros(middle.shape, np.uint8), np.zeros(middle.shape, bool)
        for first, second in _OPPOSITE:
            a, b = values[first], values[second]
            equal += middle == a
            equal += middle == b
            seen &= known[first] & known[second]
            rises |= ((a < middle) & (middle < b)) | ((a > middle) & (middle > b))
        between += int(np.count_nonzero(rises & seen))
        counts = np.bincount(equal[seen], minlength=5)
        pixels, inside = pixels + int(counts.sum()), inside + int(counts[4])
        alone, thin = alone + int(counts[0]), thin + int(counts[0] + counts[1])
    edge = pixels - inside
    if edge < LEAST_EDGE_PX or inside < INSIDE_SHARE * pixels:
        return False
    found = alone, thin, between
    return all(n <= most * edge for n, most in zip(found, EDGE_SHARES, strict=True))


def _known(values: NDArray[Any], given: Mask | None) -> Mask:
    """Which values are numbers that were measured."""
    known = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
    return known if given is None else known & given


def _is_whole(values: NDArray[Any], known: Mask) -> bool:
    """Whether all values are whole numbers."""
    return values.dtype.kind != "f" or bool((np.rint(values) == values)[known].all())


def _count_numbers(patches: Sequence[NDArray[Any]], masks: Sequence[Mask | None]) -> int:
    """Number of different values, or one that is larger than `FEW_NUMBERS`."""
    numbers: set[float] = set()
    for patch, given in zip(patches, masks, strict=True):
        values = patch[..., 0]
        numbers.update(np.unique(values[_known(values, given)])[: FEW_NUMBERS + 1].tolist())
    return len(numbers)


def _has_single_steps(patches: Sequence[NDArray[Any]], masks: Sequence[Mask | None]) -> bool:
    """Whether neighbours that differ mostly do by the smallest step there is."""
    least = min((float(s.min()) for s in _steps(patches, masks) if s.size), default=0.0)
    steps = smallest = 0
    for found in _steps(patches, masks):
        steps, smallest = steps + found.size, smallest + int(np.count_nonzero(found <= least))
    return smallest > STEP_SHARE * steps


def _steps(
    patches: Sequence[NDArray[Any]], masks: Sequence[Mask | None]
) -> Iterator[NDArray[np.float64]]:
    """Differences of neighbours that differ, by patch and direction."""
    for patch, given in zip(patches, masks, strict=True):
        values, known = patch[..., 0], _known(patch[..., 0], given)
        for here, there in ((np.s_[1:], np.s_[:-1]), (np.s_[:, 1:], np.s_[:, :-1])):
            differ = (values[here] != values[there]) & known[here] & known[there]
            found = values[here][differ].astype(np.float64) - values[there][differ]
            yield np.abs(found)
