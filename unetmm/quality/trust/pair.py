"""The two images, and a reference beside them, read side by side within a budget."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import BudgetError, ImageError, UnetmmError
from unetmm.intensities.validity import NoData, Values, parse_nodata, valid_mask
from unetmm.io.enlarged import EnlargedSource
from unetmm.io.framed import FramedSource
from unetmm.io.image import Box, ImageInfo, Plane, Source
from unetmm.io.measured import Mask, read_measured
from unetmm.io.open import open_source
from unetmm.io.places import Place
from unetmm.io.select import Selection
from unetmm.models.tasks import TASKS, task_of
from unetmm.models.weights import load_model, zoo_models
from unetmm.process import resident_bytes
from unetmm.provenance.record import read_record
from unetmm.quality.trust.blocks import BLOCK_PX
from unetmm.quality.trust.sums import Shape
from unetmm.sizes import default_budget_bytes, format_size

UNIT_PX = (4 * BLOCK_PX, 64 * BLOCK_PX)
"""Rows and columns of what one thread looks at at once."""
UNIT_BYTES = 140
"""Bytes of a pixel while it is looked at."""
MOST_ROWS = 1024
"""Most rows that are read at once."""
SPARE_BYTES = 60 * 10**6
"""Memory for sums, pictures of a small part, and libraries that are loaded late."""


class Layer(NamedTuple):
    """One sample of one channel, in each of the images: (channel, sample)."""

    before: tuple[int, int]
    after: tuple[int, int]
    reference: tuple[int, int]
    name: str
    """Name of it; empty where there is only one."""


class LayerPixels(NamedTuple):
    """One layer of a box of one image."""

    values: NDArray[Any]
    """Stored values, (height, width)."""
    measured: Mask | None
    """Flags of those that hold a measurement; None where all do."""


@dataclass(frozen=True)
class Pair:
    """Input and output of a restoration, of one size."""

    before: Source
    """Input."""
    after: Source
    """Output."""
    reference: Source | None
    """Image that shows the truth, or something near it."""
    layers: tuple[Layer, ...]
    """Layers of both."""
    marks: dict[tuple[int, int, int], NoData] = field(default_factory=dict)
    """Marks of pixels without a measurement, by number of the image, channel and sample, where
    looking at the image said more than its file."""

    @classmethod
    def of(cls, before: Source, after: Source, reference: Source | None = None) -> Pair:
        """Put two images together.

        Raises
        ------
        ImageError
            If they have not the same size, or not the same number of channels and colours.
        """
        first = _layers(before.info)
        for source, name in ((after, "the output"), (reference, "the reference")):
            if source is None:
                continue
            sizes = [_size(s.info) for s in (before, source)]
            if sizes[0] != sizes[1] or len(first) != len(_layers(source.info)):
                raise ImageError(
                    f"the input has {_size_text(before.info)}, {name} {_size_text(source.info)}; "
                    f"{_remedy(*sizes)}"
                )
        last = _layers(after.info)
        truth = last if reference is None else _layers(reference.info)
        names = _names(before.info)
        pairs = zip(first, last, truth, names, strict=True)
        return cls(before, after, reference, tuple(Layer(*one) for one in pairs))

    @property
    def sources(self) -> list[Source]:
        """All images."""
        found = [self.before, self.after, self.reference]
        return [source for source in found if source is not None]

    @property
    def shape(self) -> Shape:
        """Number of blocks of a plane."""
        info = self.before.info
        return Shape(max(1, info.height // BLOCK_PX), max(1, info.width // BLOCK_PX))

    @property
    def planes(self) -> int:
        """Number of times and depths."""
        return self.before.info.length("T") * self.before.info.length("Z")

    def nodata(self, image: int, channel: int, sample: int) -> NoData:
        """What tells pixels without a measurement."""
        stated = self.sources[image].info.nodata_of(channel, [sample])
        return self.marks.get((image, channel, sample), stated)

    def read(self, number: int, box: Box) -> Callable[[Layer], list[LayerPixels]]:
        """A box of a plane of all images; what is given tells a layer of each of them.

        number : of time and depth, t slowest.
        """
        t, z = divmod(number, self.before.info.length("Z"))
        kept: dict[tuple[int, int], tuple[NDArray[Any], Mask | None]] = {}

        def layer_of(layer: Layer) -> list[LayerPixels]:
            places = (layer.before, layer.after, layer.reference)
            found = []
            for i, (source, (channel, sample)) in enumerate(
                zip(self.sources, places, strict=False)
            ):
                if (i, channel) not in kept:
                    for key in [k for k in kept if k[0] == i]:
                        del kept[key]
                    kept[i, channel] = read_measured(source, (t, channel, z), box)
                nodata = self.nodata(i, channel, sample)
                found.append(_layer_pixels(sample, nodata, *kept[i, channel]))
            return found

        return layer_of

    def plane(self, number: int, layer: Layer) -> Plane:
        """Plane of the output."""
        t, z = divmod(number, self.before.info.length("Z"))
        return t, layer.after[0], z


def _layer_pixels(
    sample: int, nodata: NoData, pixels: NDArray[Any], given: Mask | None
) -> LayerPixels:
    """One sample of what was read."""
    values = pixels[..., sample]
    mask = valid_mask(values[..., None], nodata, given)
    return LayerPixels(values, None if mask is None or mask.all() else mask[..., 0])


def to_floats(
    values: NDArray[Any], measured: NDArray[np.bool_] | None, origin: float
) -> NDArray[np.float32]:
    """Values less an origin as floats, 0 where nothing is measured."""
    with np.errstate(over="ignore", invalid="ignore"):
        found = (values - np.float64(origin) if origin else values).astype(np.float32)
    if measured is not None:
        found[~measured] = 0
    return found


def _layers(info: ImageInfo) -> list[tuple[int, int]]:
    colours = info.samples - info.alpha
    return [(c, s) for c in range(info.length("C")) for s in range(colours)]


def _size(info: ImageInfo) -> tuple[int, ...]:
    return tuple(map(info.length, "TZYX"))


def _remedy(before: tuple[int, ...], after: tuple[int, ...]) -> str:
    """What to give instead of images of two sizes (times, depths, rows, columns)."""
    if before[:2] == after[:2] and 1 < after[2] / before[2] == after[3] / before[3]:
        return "an output that was enlarged is not judged; unetmm compare shows both"
    return "give two images of the same place, size and channels"


def _size_text(info: ImageInfo) -> str:
    t, z, height, width = _size(info)
    words = [f"{width} x {height} px"]
    words += [f"{t} times"] if t > 1 else []
    words += [f"{z} depths"] if z > 1 else []
    layers = len(_layers(info))
    return ", ".join([*words, f"{layers} channel{'s' * (layers > 1)}"])


def _names(info: ImageInfo) -> list[str]:
    colours = info.samples - info.alpha
    parts = {3: ("red", "green", "blue")}.get(colours)
    found = []
    for c, s in _layers(info):
        words = []
        if info.length("C") > 1:
            words.append(info.channel_names[c] if info.channel_names else f"channel {c}")
        if colours > 1:
            words.append(parts[s] if parts else f"sample {s}")
        found.append(" ".join(words))
    return found


def open_pair(
    stack: ExitStack,
    before: Place,
    after: Place,
    reference: Place | None,
    enlarges: bool = False,
    nodata: Values | None = None,
) -> Pair:
    """Open two images, the input as far as the output is a part of it.

    Parameters
    ----------
    enlarges : whether the input's pixels are repeated where the output was enlarged.
    nodata : values for "no data" of input and output, () for none; None: of the input those that
        the output was made with.

    Raises
    ------
    ImageError
        If one cannot be read, or they do not fit.
    """
    record = read_record(after)
    facts: Mapping[str, str] = record["facts"] if record is not None else {}
    if held := facts.get("output"):
        raise ImageError(
            f"{after}: holds {held}, no restored image, so there is nothing to compare with "
            f"{before}; look at both in a viewer"
        )
    selection = Selection.of_part(facts.get("part of the image", "all"))
    first = open_source(before, selection, _told(facts) if nodata is None else nodata)
    stack.callback(first.close)
    second = open_source(after, nodata=nodata)
    stack.callback(second.close)
    crop = _crop(facts.get("crop", "none"))
    if crop is not None and _size(first.info) != _size(second.info):
        first = FramedSource(first, crop)
    if enlarges and (scale := _times(first.info, second.info)) > 1:
        first = EnlargedSource(first, scale)
    third = None
    if reference is not None:
        third = open_source(reference)
        stack.callback(third.close)
    return Pair.of(first, second, third)


def _told(facts: Mapping[str, str]) -> Values | None:
    """Values for "no data" that a user gave when an output was made."""
    try:
        return parse_nodata(facts["no data"])
    except (KeyError, UnetmmError):
        return None


def _times(before: ImageInfo, after: ImageInfo) -> int:
    """How many times as high and wide an image is as another; 1 where that is no whole number."""
    times = after.height // before.height
    same = (before.height * times, before.width * times) == (after.height, after.width)
    return times if same else 1


def why_not_judged(pair: Pair, record: Mapping[str, Any] | None) -> str:
    """Reason why trust says nothing of an output; empty where it does.

    record : how the output was made, where it says so.
    """
    if isinstance(pair.before, EnlargedSource):
        return "Not judged: the output was enlarged. Each pixel before is shown as often."
    name = str((record or {}).get("facts", {}).get("model", "")).partition(" ")[0]
    known = zoo_models().get(name)
    if known is not None and task_of(load_model(known)).removes_noise:
        return ""
    if known is not None or name in TASKS:
        return f"Not judged: model {name} changes more than noise, and is meant to."
    return ""


def _crop(text: str) -> Box | None:
    """The part of each plane that an output says it is."""
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        return None
    return Box(y, x, y + height, x + width)


class Part(NamedTuple):
    """What is read at once: rows of a plane, or of a part of its columns."""

    number: int
    """Number of time and depth."""
    box: Box
    """LayerPixels of the plane."""


def unit_spans(length: int, step: int) -> list[tuple[int, int]]:
    """First pixel and the one behind the last of each unit along an axis; they cover all of it.

    Blocks are counted from the middle, so that as much is left over on both sides.
    """
    inset = length % BLOCK_PX // 2
    starts = [0, *range(inset + step, length - inset - BLOCK_PX + 1, step)]
    return list(zip(starts, [*starts[1:], length], strict=True))


def parts_of(pair: Pair, budget_bytes: int | None, threads: int, share: float) -> list[Part]:
    """What is read one after the other, so that all of it fits the budget.

    share : of the rows, evenly spread, that are looked at.

    Raises
    ------
    BudgetError
        If nothing does.
    """
    info = pair.before.info
    rows, columns = unit_spans(info.height, UNIT_PX[0]), unit_spans(info.width, UNIT_PX[1])
    height, width = _fitting(pair, budget_bytes, threads, len(rows), len(columns))
    found = []
    for number in range(pair.planes):
        for i in _some(len(rows), height, share):
            y0, y1 = rows[i][0], rows[min(i + height, len(rows)) - 1][1]
            for j in range(0, len(columns), width):
                x0, x1 = columns[j][0], columns[min(j + width, len(columns)) - 1][1]
                found.append(Part(number, Box(y0, x0, y1, x1)))
    return found


def _some(rows: int, step: int, share: float) -> Iterator[int]:
    """First units of the rows that are looked at."""
    starts = range(0, rows, step)
    count = max(1, round(share * len(starts)))
    return (starts[(2 * i + 1) * len(starts) // (2 * count)] for i in range(count))


def _fitting(
    pair: Pair, budget_bytes: int | None, threads: int, rows: int, columns: int
) -> tuple[int, int]:
    """Units down and across that are read at once."""
    budget = default_budget_bytes() if budget_bytes is None else budget_bytes
    working = threads * UNIT_BYTES * UNIT_PX[0] * UNIT_PX[1] + SPARE_BYTES
    held = resident_bytes() + working + sum(s.resident_bytes for s in pair.sources)
    most, width = min(MOST_ROWS // UNIT_PX[0], rows), columns
    while True:
        for height in range(most, 0, -1):
            needed = held + _read_bytes(pair, height * UNIT_PX[0], width * UNIT_PX[1])
            if needed <= budget:
                return height, width
        if width == 1:
            raise BudgetError(
                f"Budget {format_size(budget)} is too small to look at these images: "
                f"{format_size(needed)} is the least", budget_bytes=budget, needed_bytes=needed,
            )  # fmt: skip
        width = -(-width // 2)


def _read_bytes(pair: Pair, height: int, width: int) -> int:
    """Memory of what is read at once, and of what is read meanwhile."""
    info = pair.before.info
    height, width = min(height + BLOCK_PX, info.height), min(width + BLOCK_PX, info.width)
    kept = 0
    for source in pair.sources:
        pixel_bytes = source.info.samples * source.info.dtype.itemsize + 2
        kept += height * width * pixel_bytes
    return 3 * kept + max(source.read_bytes(height, width) for source in pair.sources)
