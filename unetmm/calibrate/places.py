"""Where an image is looked at to find where it has content: many small boxes, spread evenly.

    plane  | .  x    .    x  . |   a band: rows that many boxes share, so storage by rows is
           |x    .  x     .   x|   decoded once for all of them
           | .   x    .  x     |

The boxes are seeded by the size of the image. They depend neither on the cut nor on how pixels are
stored; that decides only which boxes are read at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, ImageInfo, Planes, Source
from unetmm.io.measured import Mask, mask_beside, read_measured

LOOK_PX = (32, 64)
"""Height and width of a box that is looked at, in pixels."""
BANDS = 16
"""Bands of an image, on as many planes where there are as many."""
MOST_BANDS = 32
"""Most bands of an image of many planes, one for each plane."""
COLUMNS = 8
"""Boxes of a band."""
READ_PX = 2**18
"""Most pixels that are read at once."""

Found = TypeVar("Found")
"""Type of what a place is found to be like."""
Place = tuple[int, int, Box]
"""Time, depth, and box of that plane."""


class Patch(NamedTuple):
    """A box as it is stored."""

    pixels: NDArray[Any]
    """Stored values, (height, width, samples)."""
    given: Mask | None
    """Mask that came with the pixels; None where all of them are measured."""

    def cut(self, box: Box) -> Patch:
        """A part of it; `box` is counted from its first pixel."""
        where = slice(box.y0, box.y1), slice(box.x0, box.x1)
        return Patch(self.pixels[where], None if self.given is None else self.given[where])

    def of(self, group: list[int]) -> Patch:
        """Some of its samples."""
        return Patch(self.pixels[..., group], self.given)


def look_places(info: ImageInfo) -> list[Place]:
    """(t, z, box) of every box to look at, in the order in which they are best read."""
    height, width = min(LOOK_PX[0], info.height), min(LOOK_PX[1], info.width)
    stacks = Planes(info.length("T"), 1, info.length("Z"))
    # Small planes are looked at in a quarter of their area at most, as far as that can be.
    rows_each, columns = (
        max(1, n // (2 * m)) for n, m in ((info.height, height), (info.width, width))
    )
    bands = min(max(BANDS, min(len(stacks), MOST_BANDS)), len(stacks) * rows_each)
    columns = min(COLUMNS, columns)
    rng = np.random.default_rng((info.width, info.height, len(stacks)))
    rows = rng.permutation(bands) if len(stacks) > 1 else np.arange(bands)
    places = []
    for i in range(bands):
        t, _, z = stacks[i * len(stacks) // bands]
        y = int((rows[i] + rng.random()) / bands * (info.height - height + 1))
        for column in range(columns):
            x = int((column + rng.random()) / columns * (info.width - width + 1))
            places.append((t, z, Box(y, x, y + height, x + width)))
    return sorted(places, key=lambda p: (p[0], p[1], p[2].y0, p[2].x0))


def read_patches(source: Source, channel: int, places: Sequence[Place]) -> list[Patch]:
    """All places, one by one where the source cannot read them together."""
    read_many = getattr(source, "read_many", None)
    if read_many is not None:
        return _with_masks(source, channel, places, read_many(channel, places))
    return [Patch(*read_measured(source, (t, channel, z), box)) for t, z, box in places]


def _with_masks(
    source: Source, channel: int, places: Sequence[Place], found: list[NDArray[Any]]
) -> list[Patch]:
    return [
        Patch(pixels, mask_beside(source, (t, channel, z), box, pixels))
        for (t, z, box), pixels in zip(places, found, strict=True)
    ]


def read_places(
    source: Source, channel: int, places: Sequence[Place]
) -> Iterator[list[tuple[Place, Patch]]]:
    """All places with their pixels, a list for each read; those of one chunk are read at once.

    Their order is that of reading, which depends on how the image is stored.
    """
    read_many = getattr(source, "read_many", None)
    if read_many is not None:
        found = _with_masks(source, channel, places, read_many(channel, places))
        yield list(zip(places, found, strict=True))
        return
    unit = _unit_of(source.info)
    for (t, z, *_), group in groupby(sorted(places, key=unit), unit):
        for part in _parts(list(group)):
            whole = _around([box for _, _, box in part])
            read = Patch(*read_measured(source, (t, channel, z), whole))
            yield [(place, read.cut(_within(place[2], whole))) for place in part]


def look_at(
    source: Source, channel: int, places: Sequence[Place], look: Callable[[Patch], Found]
) -> list[Found]:
    """What each place is found to be like, in the order of the places."""
    read = read_places(source, channel, places)
    found = {place: look(patch) for part in read for place, patch in part}
    return [found[place] for place in places]


def _within(box: Box, whole: Box) -> Box:
    """A box counted from the first pixel of another around it."""
    y, x = whole.y0, whole.x0
    return Box(box.y0 - y, box.x0 - x, box.y1 - y, box.x1 - x)


def _unit_of(info: ImageInfo) -> Callable[[Place], tuple[int, int, int, int]]:
    """What tells the chunk in which a place begins."""
    chunk = info.chunk

    def unit(place: Place) -> tuple[int, int, int, int]:
        t, z, box = place
        return t, z, box.y0 // chunk[0], box.x0 // chunk[1]

    return unit


def _parts(places: list[Place]) -> Iterator[list[Place]]:
    """Runs of places of one plane that lie in a box of at most `READ_PX` pixels."""
    part: list[Place] = []
    for place in places:
        whole = _around([box for _, _, box in (*part, place)])
        if part and whole.height * whole.width > READ_PX:
            yield part
            part = []
        part.append(place)
    yield part


def _around(boxes: Sequence[Box]) -> Box:
    """The smallest box that holds them all."""
    return Box(
        min(b.y0 for b in boxes),
        min(b.x0 for b in boxes),
        max(b.y1 for b in boxes),
        max(b.x1 for b in boxes),
    )
