"""Which parts of an image are worth a look: where it has structure, noise, little light.

They are found among the many small boxes that an image is looked at by anyway, so they depend on
nothing but its pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unetmm.calibrate.choice import stated_nodata
from unetmm.calibrate.content import measure_cells
from unetmm.calibrate.places import Patch, Place, look_at, look_places
from unetmm.intensities.validity import NoData, valid_mask
from unetmm.io.framed import check_inside
from unetmm.io.image import Box, ImageInfo, Plane, Source

CROP_PX = 256
"""Height and width of a crop that is chosen, in pixels, where the image is no smaller."""
MOST_CROPS = 4
"""Number of crops of an image of one channel."""
MOST_CHANNELS = 6
"""Largest number of channels that crops are taken of, spread over all of them."""
MEASURED_SHARE = 0.75
"""Smallest share of measured pixels of a place that is worth a look."""
SHARED_AREA = 0.25
"""Largest share of its area that a crop has in common with another."""
PART_PX = 8
"""Side in pixels of the parts of a box whose middle values tell structure from noise."""


@dataclass(frozen=True)
class Crop:
    """A part of a plane to look at."""

    plane: Plane
    """Plane (t, c, z) of the image."""
    box: Box
    """Pixels of that plane."""
    reason: str = ""
    """Reason why it was chosen, empty where somebody asked for it."""


@dataclass(frozen=True)
class _Look:
    """What a small box of an image is like."""

    place: Place
    """Time, depth, and box of that plane."""
    measured: float
    """Share of its pixels that hold a measurement."""
    noise: float
    """Noise in stored units, 0 where there is none or it is unknown."""
    structure: float
    """Size of the steps between its parts, as the mean of their roots."""
    brightness: float
    """Value in the middle of its values."""


_KINDS: tuple[tuple[str, Callable[[_Look], float]], ...] = (
    ("most structure", lambda look: -look.structure),
    ("darkest", lambda look: look.brightness),
    ("most noise", lambda look: -look.noise),
    ("brightest", lambda look: -look.brightness),
)
"""Reason of a crop -> what is least where it is to be."""


def choose_crops(source: Source) -> list[Crop]:
    """A few parts of an image that show most of what a model does to it; at least one.

    Of several channels each gives fewer.
    """
    channels = shown_channels(source.info)
    count = max(1, MOST_CROPS // len(channels))
    return [crop for channel in channels for crop in _choose(source, channel, count)]


def shown_channels(info: ImageInfo) -> list[int]:
    """Channels that crops are taken of."""
    channels = info.length("C")
    return sorted({i * channels // MOST_CHANNELS for i in range(MOST_CHANNELS)})


def crops_of(info: ImageInfo, boxes: Sequence[Box]) -> list[Crop]:
    """Parts that somebody asked for, each in all shown channels of the plane in the middle.

    Raises
    ------
    ImageError
        If one lies outside of the image.
    """
    for box in boxes:
        check_inside(info, box)
    t, z = info.length("T") // 2, info.length("Z") // 2
    return [Crop((t, c, z), box) for box in boxes for c in shown_channels(info)]


def _choose(source: Source, channel: int, count: int) -> list[Crop]:
    """The crops of one channel."""
    info = source.info
    looks = _looks(source, channel)
    found = [look for look in looks if look.measured >= MEASURED_SHARE] or looks
    found = [look for look in found if look.noise > 0] or found
    crops: list[Crop] = []
    for reason, least in _KINDS:
        for look in sorted(found, key=least):
            t, z, near = look.place
            box = _around(near, info)
            is_all = (box.height, box.width) == (info.height, info.width)
            crop = Crop((t, channel, z), box, "all of it" if is_all else reason)
            if len(crops) < count and not any(_overlap(crop, other) for other in crops):
                crops.append(crop)
                break
    return crops


def _looks(source: Source, channel: int) -> list[_Look]:
    """What the places of a channel are like, in their own order."""
    info = source.info
    places, colours = look_places(info), info.samples - info.alpha
    patches = look_at(source, channel, places, lambda patch: patch)
    nodata = stated_nodata(info, channel, patches)
    return [_look(*pair, colours, nodata) for pair in zip(places, patches, strict=True)]


def _look(place: Place, patch: Patch, colours: int, nodata: NoData) -> _Look:
    """What one place is like."""
    pixels = patch.pixels[..., :colours]
    mask = valid_mask(pixels, nodata, patch.given)
    values = pixels.astype(np.float64)
    measured = 1.0
    if mask is not None:
        values[~mask] = np.nan
        measured = float(mask.mean())
    if not measured:
        return _Look(place, 0.0, 0.0, 0.0, 0.0)
    noise = measure_cells(patch, colours, nodata).noise
    known = noise[np.isfinite(noise)]
    level = float(known.mean()) if known.size else 0.0
    grey: NDArray[np.float64] = values.mean(axis=-1)  # NaN where a colour is not measured
    found = grey[np.isfinite(grey)]
    return _Look(
        place,
        measured,
        level,
        _structure(grey, level),
        float(np.median(found)) if found.size else 0.0,
    )


def _structure(grey: NDArray[np.float64], noise: float) -> float:
    """How much neighbouring parts of a box differ in their middle values, which noise hardly does.

    Roots are added up, so that a box full of detail counts more than one with a single edge.
    """
    rows, columns = (n // PART_PX for n in grey.shape)
    parts = grey[: rows * PART_PX, : columns * PART_PX].reshape(rows, PART_PX, columns, PART_PX)
    middles = np.median(parts.swapaxes(1, 2).reshape(rows, columns, PART_PX**2), axis=2)
    steps = np.abs(np.concatenate([np.diff(middles, axis=axis).ravel() for axis in (0, 1)]))
    found = steps[np.isfinite(steps)]  # NaN where some of a part is not measured
    return float(np.sqrt(np.maximum(found - noise / 2, 0)).mean()) if found.size else 0.0


def _around(near: Box, info: ImageInfo) -> Box:
    """A crop with a place in its middle, as far as the plane reaches."""
    height, width = min(CROP_PX, info.height), min(CROP_PX, info.width)
    y = min(max(0, (near.y0 + near.y1 - height) // 2), info.height - height)
    x = min(max(0, (near.x0 + near.x1 - width) // 2), info.width - width)
    return Box(y, x, y + height, x + width)


def _overlap(one: Crop, other: Crop) -> bool:
    """Whether two crops have much in common."""
    if one.plane != other.plane:
        return False
    a, b = one.box, other.box
    height, width = min(a.y1, b.y1) - max(a.y0, b.y0), min(a.x1, b.x1) - max(a.x0, b.x0)
    return max(0, height) * max(0, width) > SHARED_AREA * a.height * a.width
