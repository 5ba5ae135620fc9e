"""A quick look at an image's values: all of a small image, a few seeded boxes of a larger one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.intensities.doubts import find_doubts, find_narrow_planes, without_repeats
from unetmm.intensities.image_noise import (
    ImageNoise,
    channels_looked_at,
    in_words,
    survey_noise,
)
from unetmm.intensities.labels import LABELS, TWO_VALUES
from unetmm.intensities.validity import NOTHING, finite_mask
from unetmm.io.image import Box, ImageInfo, Source
from unetmm.io.measured import Mask, read_measured
from unetmm.sizes import format_size

BINS = 24
"""Steps of a histogram."""
BOX_PX = 64
"""Side of a box of a sampled image, in pixels."""
MOST_BOXES = 8
"""Most boxes that are read of a channel."""
SMALL_PX = 2**20
"""Largest channel that is read whole, in pixels."""
MOST_CHANNELS = 16
"""Most channels whose values are shown."""
MOST_DECODED_BYTES = 48 * 2**20
"""Most bytes that are decoded for a look, so that it takes a fraction of a second."""
Where = tuple[int, int, Box]
"""Time, depth, and box of that plane."""
Measured = tuple[NDArray[Any], Mask | None]
"""Pixels of a box, and the mask that came with them."""
_COLOURS = {1: ("",), 2: ("grey", "alpha"), 3: ("red", "green", "blue")}
_COLOURS[4] = (*_COLOURS[3], "alpha")


@dataclass(frozen=True)
class Histogram:
    """Values of one channel or colour."""

    name: str
    """Name of the channel or colour."""
    low: float
    """Smallest value seen."""
    high: float
    """Largest value seen."""
    mean: float
    """Mean of the values seen."""
    counts: tuple[int, ...]
    """Number of pixels in each of BINS equal steps; empty if none holds a measurement."""


@dataclass(frozen=True)
class Survey:
    """What a look at the pixels found."""

    histograms: tuple[Histogram, ...] = ()
    """Histogram of each colour of each channel."""
    boxes: int = 0
    """Number of boxes read of each channel: of side BOX_PX where sampled, or else whole planes."""
    sampled: bool = False
    """Whether there are more pixels than those that were read."""
    doubts: tuple[str, ...] = ()
    """Lines on what is doubtful in the pixels that were read."""
    noise: str = ""
    """Noise in words, of the channels that a run judges; empty where it cannot be told."""
    skipped: str = ""
    """Reason why nothing was read, empty if something was."""

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def survey(source: Source, is_image: bool = True) -> Survey:
    """Read every channel, or a few boxes of each, or say why that would take too long.

    is_image : whether values are what was seen; maps and labels that a net made are not judged.
    """
    info = source.info
    noisy = channels_looked_at(info.length("C"))
    shown = range(min(info.length("C"), MOST_CHANNELS))
    seen = sorted({*shown, *noisy})
    channels = len(seen)
    whole = _is_whole(info) or getattr(source, "sequential", False)
    cost_bytes = channels * (info.plane_bytes if whole else _decoded_bytes(info, BOX_PX))
    boxes = MOST_BOXES
    is_small = _is_small(info, channels)
    if not is_small and cost_bytes * (1 if whole else boxes) > MOST_DECODED_BYTES:
        boxes = 0 if whole else MOST_DECODED_BYTES // cost_bytes
    if boxes == 0:
        return Survey(
            skipped=f"a look at {channels} channel(s) would decode at least "
            f"{format_size(cost_bytes)}"
        )
    places = _all(info) if is_small else _places(info, boxes, whole)
    found: list[Histogram] = []
    doubts = dict.fromkeys(find_narrow_planes(info.height, info.width, len(info.planes)))
    noise: list[ImageNoise] = []
    try:
        for channel in seen:
            read = [read_measured(source, (t, channel, z), box) for t, z, box in places]
            if channel in shown:
                doubts |= dict.fromkeys(_doubts(info, channel, read) if is_image else ())
                found += _histograms(info, channel, read)
            if channel in noisy:
                noise += _noise(info, channel, read)
    except ImageError as error:
        return Survey(skipped=str(error))
    are_labels = any(words.startswith((LABELS, TWO_VALUES)) for words in doubts)
    told = in_words(noise) if noise and is_image and not are_labels else ""
    return Survey(tuple(found), len(places), not is_small, without_repeats(doubts), told)


def _is_small(info: ImageInfo, channels: int) -> bool:
    """Whether so many channels are soon read whole."""
    planes = info.length("T") * info.length("Z")
    cost_bytes = channels * planes * _decoded_bytes(info, max(info.height, info.width))
    return planes * info.height * info.width <= SMALL_PX and cost_bytes <= MOST_DECODED_BYTES


def _is_whole(info: ImageInfo) -> bool:
    """Whether a plane is decoded at once."""
    return info.chunk[0] >= info.height and info.chunk[1] >= info.width


def _decoded_bytes(info: ImageInfo, side_px: int) -> int:
    """Bytes that are decoded for one box of such a side."""
    rows, columns = min(side_px, info.height), min(side_px, info.width)
    if min(info.chunk) > 1:  # else rows or columns lie in the file as they are
        rows, columns = (-(-n // c) * c for n, c in zip((rows, columns), info.chunk, strict=True))
    return rows * columns * info.samples * info.dtype.itemsize


def _doubts(info: ImageInfo, channel: int, read: list[Measured]) -> Iterator[str]:
    """What is doubtful in the colours of a channel."""
    colours = range(info.samples - info.alpha)
    patches = [pixels[..., : len(colours)] for pixels, _ in read]
    nodata, masks = info.nodata_of(channel, colours), [mask for _, mask in read]
    return find_doubts(patches, nodata, masks, is_grey=len(colours) == 1)


def _noise(info: ImageInfo, channel: int, read: list[Measured]) -> Iterator[ImageNoise]:
    """What the noise of a channel is like."""
    colours = range(info.samples - info.alpha)
    patches = [pixels[..., : len(colours)] for pixels, _ in read]
    nodata = info.nodata_of(channel, colours)
    found = survey_noise(patches, nodata, [mask for _, mask in read])
    if found is not None:
        yield found


def _histograms(info: ImageInfo, channel: int, read: list[Measured]) -> Iterator[Histogram]:
    """Histograms of a channel, one for each of its colours."""
    pixels = np.concatenate([p.reshape(-1, info.samples) for p, _ in read])
    masks = [np.ones(p.shape[:2], bool) if m is None else m for p, m in read]
    given = np.concatenate([mask.ravel() for mask in masks])
    channel_name = info.channel_names[channel] if info.channel_names else ""
    if not channel_name and info.length("C") > 1:
        channel_name = f"channel {channel}"
    colours = _COLOURS.get(info.samples) or tuple(f"sample {i}" for i in range(info.samples))
    for sample, colour in enumerate(colours):
        name = " ".join(part for part in (channel_name, colour) if part) or "grey"
        is_alpha = info.alpha and sample == info.samples - 1
        nodata = NOTHING if is_alpha else info.nodata_of(channel, [sample])
        mask = finite_mask(pixels[:, [sample]], nodata, None if is_alpha else given)
        yield _histogram(name, pixels[:, sample] if mask is None else pixels[mask[:, 0], sample])


def _all(info: ImageInfo) -> list[Where]:
    """Every pixel of a channel."""
    box = Box(0, 0, info.height, info.width)
    return [(t, z, box) for t in range(info.length("T")) for z in range(info.length("Z"))]


def _places(info: ImageInfo, boxes: int, whole: bool) -> list[Where]:
    """Seeded boxes that start where chunks start, spread over times and depths."""
    rng = np.random.default_rng(0)
    found: list[Where] = []
    for _ in range(boxes):
        t, z = (0, 0) if whole else (int(rng.integers(info.length(a))) for a in "TZ")
        starts = []
        for length, chunk in ((info.height, info.chunk[0]), (info.width, info.chunk[1])):
            start = int(rng.integers(length))
            start = start if chunk >= length else start // chunk * chunk
            starts.append(max(0, min(start, length - BOX_PX)))
        y, x = starts
        box = Box(y, x, min(y + BOX_PX, info.height), min(x + BOX_PX, info.width))
        found.append((t, z, box))
    return found


def _histogram(name: str, values: NDArray[Any]) -> Histogram:
    """Histogram of values that are all measured."""
    numbers = values.astype(np.float64)
    if not numbers.size:
        return Histogram(name, float("nan"), float("nan"), float("nan"), ())
    low, high = float(numbers.min()), float(numbers.max())
    # Halves keep the scaling within float64 for values near its ends.
    scaled = (numbers / 2 - low / 2) / ((high / 2 - low / 2) or 1.0)
    counts = np.bincount(np.minimum((scaled * BINS).astype(int), BINS - 1), minlength=BINS)
    return Histogram(name, low, high, float(np.mean(numbers)), tuple(counts.tolist()))
