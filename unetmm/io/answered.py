"""An output whose values are not those of its image: maps, scores of classes, or labels.

Each map is a channel: of an image in grey or colours there are as many channels as maps, of an
image of channels as many for each of these. So every format that holds channels holds them.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ShapeError
from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.axes import AXES
from unetmm.io.image import ImageInfo
from unetmm.io.keeping import KINDS, TOLD
from unetmm.io.metadata import DisplayFacts, Metadata, MicroscopyFacts, PhotoFacts, TiffFacts
from unetmm.io.palette import pack_map

Kind = Literal["map", "scores", "labels"]
_GEO_TAGS = (33550, 33922, 34264, 34735, 34736, 34737, 50844)
"""Tags of a place on Earth."""
_ORIENTATION_TAG = 274
"""Tag of how the stored rows lie, which those of an answer do too."""
_HUE_STEP = 0.618034
"""Distance of one class's hue from the next, by which even many of them differ (golden ratio)."""


@dataclass(frozen=True)
class Answer:
    """What an output holds, where that is no restored image."""

    kind: Kind
    """Meaning of a value: a map's, the score of a class, or the number of a class."""
    channels: int
    """Number of maps or classes that the net gives."""
    of_samples: int
    """Interleaved samples that the net takes at once."""
    names: tuple[str, ...] = ()
    """Names of the maps or classes; empty if they have none."""

    @property
    def each(self) -> int:
        """Maps of what the net takes at once; of labels it is one, whatever their number."""
        return 1 if self.kind == "labels" else self.channels

    def maps(self, info: ImageInfo) -> int:
        """Maps of one channel of an image."""
        return (info.samples - info.alpha) // self.of_samples * self.each

    @property
    def in_words(self) -> str:
        """What it is, for a reader."""
        if self.kind == "map":
            return "a map" if self.channels == 1 else f"{self.channels} maps"
        return f"{self.kind} of {self.channels} classes"

    @property
    def fact(self) -> str:
        """The same with the names, for the record of an output."""
        return f"{self.in_words} ({', '.join(self.names)})" if self.names else self.in_words

    def dtype_of(self, asked: str | None) -> np.dtype[np.generic]:
        """Pixel type of the output; None: floats, and for labels the smallest that holds them.

        Raises
        ------
        ShapeError
            If values have no meaning in the type that is asked for.
        """
        if self.kind == "labels":
            return self._label_type(asked)
        dtype = np.dtype(asked or np.float32)
        if dtype.kind == "i" or (dtype.kind == "u" and self.kind == "scores"):
            kinds = "floats" if self.kind == "scores" else "floats, or 0 to 1 as whole numbers"
            more = "" if self.kind == "scores" else ", uint8 or uint16"
            what = "maps" if self.kind == "map" else self.in_words
            raise ShapeError(
                f"asked for dtype {dtype.name}; {what} are stored as {kinds}: float32, "
                f"float16{more}"
            )
        return dtype

    def _label_type(self, asked: str | None) -> np.dtype[np.generic]:
        """The largest value is left for pixels without a measurement."""
        fitting = [t for t in ("uint8", "uint16", "uint32") if self.channels <= np.iinfo(t).max]
        if asked not in (None, *fitting):
            raise ShapeError(
                f"asked for dtype {asked}; {self.in_words} are stored as {' or '.join(fitting)}"
            )
        return np.dtype(asked or fitting[0])

    def unmeasured(self, dtype: np.dtype[np.generic]) -> float:
        """Value of a pixel without a measurement."""
        if dtype.kind == "f":
            return float("nan")
        return float(np.iinfo(dtype.name).max) if self.kind == "labels" else 0.0


def answered_info(info: ImageInfo, answer: Answer, dtype: np.dtype[np.generic]) -> ImageInfo:
    """Facts of an output that an answer is stored in, from those of an image of its size.

    What says how the image's values look or came about is left out; places, sizes and times stay.
    """
    maps, channels = answer.maps(info), info.length("C")
    count = maps * channels
    known, lengths = info.metadata, dict(zip(info.axes, info.shape, strict=True))
    lengths.pop("S", None)
    lengths |= {"C": count} if count > 1 or "C" in info.axes else {}
    axes = _axes(info, "C" in lengths)
    names = tuple(_names(info, answer))
    on_earth = bool(known.tiff.bands or any(tag[0] in _GEO_TAGS for tag in known.tiff.tags))
    bands = count if on_earth and count > 1 else 0
    kept_tags = (*_GEO_TAGS, _ORIENTATION_TAG)
    tags = tuple(tag for tag in known.tiff.tags if tag[0] in kept_tags)
    found = replace(
        info,
        axes=axes,
        shape=tuple(lengths[axis] for axis in axes),
        dtype=np.dtype(dtype),
        alpha=False,
        channel_names=() if bands else names,
        nodata=_nodata(info, answer, np.dtype(dtype)),
        metadata=Metadata(
            photo=PhotoFacts(resolution=known.photo.resolution),
            tiff=TiffFacts(tags=tags, bands=bands, descriptions=names if bands else ()),
            geo=known.geo,
            microscopy=MicroscopyFacts(origin=known.microscopy.origin),
            display=_display(answer),
            reading=known.reading,
        ),
    )
    lost = tuple(name for name in _said_by(info) if name not in (*_said_by(found), *TOLD))
    return replace(found, metadata=replace(found.metadata, reading=known.reading.without(*lost)))


def _axes(info: ImageInfo, has_channels: bool) -> str:
    """Axes of the output: of an array maps lie where colours lay, or come before the rows."""
    if info.format == "array" and has_channels and "S" in info.axes and "C" not in info.axes:
        return info.axes.replace("S", "C")
    kept = info.axes.replace("S", "")
    if not has_channels or "C" in kept:
        return kept
    first = min(kept.index(axis) for axis in kept if AXES.index(axis) > AXES.index("C"))
    return f"{kept[:first]}C{kept[first:]}"


def _names(info: ImageInfo, answer: Answer) -> Iterator[str]:
    """Name of each channel of the output; none where nothing is to be said."""
    word = "class" if answer.kind == "scores" else "map"
    groups = (info.samples - info.alpha) // answer.of_samples
    own = [""] if answer.kind == "labels" else list(answer.names)
    if not own:
        own = [f"{word} {i}" for i in range(answer.each)] if answer.each > 1 else [""]
    samples = [f"sample {g}" if groups > 1 else "" for g in range(groups)]
    channels = info.channel_names or ("",) * info.length("C")
    names = [
        " ".join(filter(None, (channel, sample, name)))
        for channel in channels
        for sample in samples
        for name in own
    ]
    return iter(names if any(names) else ())


def _nodata(info: ImageInfo, answer: Answer, dtype: np.dtype[np.generic]) -> NoData:
    """What tells pixels without a measurement; floats say it themselves."""
    if answer.kind == "labels":
        return NoData.of(answer.unmeasured(dtype)) if info.may_have_gaps else NOTHING
    has_gaps = info.nodata.stated or info.has_mask
    return NoData.of(float("nan")) if has_gaps and dtype.kind == "f" else NOTHING


def _display(answer: Answer) -> DisplayFacts:
    if answer.kind != "labels":
        return DisplayFacts(meaning=answer.kind)
    names = answer.names or tuple(f"class {i}" for i in range(answer.channels))
    packed = pack_map(class_colours(answer.channels))
    return DisplayFacts(
        meaning="labels", class_names=names, palette="values", colour_maps=(packed,)
    )


def class_colours(count: int) -> NDArray[np.uint16]:
    """Red, green and blue (count, 3) of as many classes, 65535 is full; the first is black."""
    hues = [(i * _HUE_STEP) % 1 for i in range(count)]
    bright = [1.0 - 0.25 * (i % 3) for i in range(count)]
    found = [colorsys.hsv_to_rgb(h, 0.75, v) for h, v in zip(hues, bright, strict=True)]
    colours: NDArray[np.uint16] = np.rint(np.array(found) * 65535).astype(np.uint16)
    colours[0] = 0
    return colours


def _said_by(info: ImageInfo) -> list[str]:
    """Names of all that an image says besides its pixels."""
    return [name for kind in KINDS for name in kind.find(info)]
