"""Parts of an image as an image: some channels, some planes, or three bands as colours.

What a user says of a file that does not say it itself stands here too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.image import Box, ImageInfo, MaskedSource, Plane, Source
from unetmm.io.joined import PartedSource, may_be_bands, read_channels
from unetmm.io.metadata import Metadata, MicroscopyFacts, Position, Tag, TiffFacts
from unetmm.io.ome_xml import mentions, pick_planes
from unetmm.io.palette import PaletteChoice
from unetmm.io.select_words import END
from unetmm.io.tiff.gdal import GDAL_METADATA_TAG, pick_bands
from unetmm.io.wrapped import WrappedSource


@dataclass(frozen=True)
class Selection:
    """Part of an image that is wanted, and what it is taken for; the default is all of it."""

    channels: tuple[str, ...] = ()
    """Numbers from 0, or names, of the channels that are wanted; all if there are none."""
    planes: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Axis T or Z -> first plane and the one behind the last; negative ones count from the end."""
    rgb_bands: tuple[int | str, ...] | None = None
    """Numbers from 1, or names, of the three channels that become red, green and blue."""
    palette: PaletteChoice = "auto"
    """Meaning of stored values that a palette gives colours to."""
    axes: str = ""
    """Letters of the axes of an array that does not name them; empty if they are guessed."""
    bands: tuple[str, ...] = ()
    """Numbers from 1, or names, of the channels that are wanted, counted as bands are."""
    series: int | None = None
    """Number, from 0, of an image of a file that holds several; None: the largest."""
    labels: bool = False
    """Whether an image of labels is taken for an image."""

    @property
    def part(self) -> str:
        """The part alone, in words; "all" if it is all of the image."""
        chosen = (self.channels, self.planes, self.rgb_bands)
        if self.takes_all and self.series is None:
            return "all"
        names = ("channels", "planes", "rgb_bands")
        words = [f"{name}={value!r}" for name, value in zip(names, chosen, strict=True)]
        words += [f"bands={self.bands!r}"] if self.bands else []
        words += [] if self.series is None else [f"series={self.series}"]
        return f"Selection({', '.join(words)})"

    @classmethod
    def of_part(cls, text: str) -> Selection | None:
        """The selection whose part a text is; None for all of an image."""
        try:
            call = ast.parse(text, mode="eval").body
            assert isinstance(call, ast.Call) and text.startswith(cls.__name__), "all"
            return cls(**{str(k.arg): ast.literal_eval(k.value) for k in call.keywords})
        except (AssertionError, SyntaxError, ValueError, TypeError):
            return None

    @property
    def in_words(self) -> str:
        """The part for a reader."""
        words = [f"channels {', '.join(self.channels)}"] if self.channels else []
        words += [f"{axis} {first}:{last}" for axis, (first, last) in self.planes.items()]
        words += [f"RGB bands {', '.join(map(str, self.rgb_bands))}"] if self.rgb_bands else []
        words += [f"bands {', '.join(self.bands)}"] if self.bands else []
        words += [] if self.series is None else [f"image {self.series} of the file"]
        return ", ".join(words) or "all"

    @property
    def takes_all(self) -> bool:
        """Whether all of the image is wanted, whichever of a file it is."""
        return not (self.channels or self.planes or self.rgb_bands or self.bands)


def select(source: Source, selection: Selection) -> Source:
    """The chosen part of a source; the source itself where all of it is chosen.

    Raises
    ------
    ImageError
        If the image has no such channels, planes or bands.
    """
    asked = (selection.channels, selection.bands, selection.rgb_bands)
    if sum(map(bool, asked)) > 1:
        raise ImageError("channels, bands and RGB bands: choose by one of them")
    if selection.takes_all:
        return source
    if selection.bands and may_be_bands(source.info):
        source = PartedSource(source)
    info, chosen = source.info, {}
    _check_has_channels(info, selection)
    for axis in "TZ":
        chosen[axis] = _range(info, axis, selection.planes.get(axis))
    if selection.rgb_bands:
        if info.samples > 1:
            raise ImageError(
                f"bands {', '.join(map(str, selection.rgb_bands))} were chosen as RGB; the image "
                f"has colours already (axes {info.axes}), so leave that out"
            )
        return _RgbSource(source, chosen | {"C": [_band(info, b) for b in selection.rgb_bands]})
    if selection.bands:
        chosen["C"] = [_band(info, band) for band in selection.bands]
        if len(set(chosen["C"])) < len(chosen["C"]):
            raise ImageError(
                f"bands {', '.join(selection.bands)} were chosen; two of them are the same"
            )
        return _PartSource(source, chosen)
    chosen["C"] = _channels(info, selection.channels)
    return _PartSource(source, chosen)


def _check_has_channels(info: ImageInfo, selection: Selection) -> None:
    """Refuse to pick channels of colours: number 0, or band 1, would mean all of them."""
    asked = selection.channels or selection.bands
    if asked and "C" not in info.axes and info.samples - info.alpha > 1:
        kind = "channel" if selection.channels else "band"
        raise ImageError(
            f'{kind} "{asked[0]}" was chosen; the image has no channels but colours (axes '
            f"{info.axes}), which are restored together; choose none"
        )


def _range(info: ImageInfo, axis: str, asked: tuple[int, int] | None) -> list[int]:
    length = info.length(axis)
    if asked is None:
        return list(range(length))
    found = list(range(length))[slice(*asked)]
    if not found or asked[1] != END and asked[1] > length:
        raise ImageError(
            f"planes {axis}={asked[0]}:{'' if asked[1] == END else asked[1]} were chosen; the "
            f"image has {axis}=0:{length}"
        )
    return found


def _channels(info: ImageInfo, asked: Sequence[str]) -> list[int]:
    count = info.length("C")
    if not asked:
        return list(range(count))
    found = []
    for name in asked:
        if name in info.channel_names:
            found.append(info.channel_names.index(name))
        elif name.isdecimal() and int(name) < count:
            found.append(int(name))
        else:
            names = ", ".join(f"{i} {n}".strip() for i, n in enumerate(info.channel_names))
            raise ImageError(
                f'channel "{name}" was chosen; the image has '
                f"{names or f'channels 0 to {count - 1}'} (axes {info.axes})"
            )
    if len(set(found)) < len(found):
        raise ImageError(f"channels {', '.join(asked)} were chosen; two of them are the same")
    return found


def _band(info: ImageInfo, asked: int | str) -> int:
    """Number, from 0, of the channel that somebody calls a band, by its number from 1 or name."""
    count, named = info.length("C"), info.channel_names
    colours = info.metadata.tiff.color_interpretation
    for names in (named, colours):
        known = [name.casefold() for name in names[:count]]
        if known.count(str(asked).casefold()) == 1:
            return known.index(str(asked).casefold())
    if str(asked).isdecimal() and 1 <= int(asked) <= count:
        return int(asked) - 1
    names = named or colours
    found = ", ".join(f"{i} {n}".strip() for i, n in enumerate(names[:count], 1))
    raise ImageError(
        f'band "{asked}" was chosen; the image has bands '
        f"{found or f'1 to {count}'} (axes {info.axes})"
    )


def _reduced(info: ImageInfo, chosen: dict[str, list[int]], colours: bool = False) -> ImageInfo:
    """The metadata of a part.

    Parameters
    ----------
    colours : whether the chosen channels become red, green and blue.
    """
    if all(len(indices) == info.length(axis) for axis, indices in chosen.items()):
        if chosen["C"] == sorted(chosen["C"]) and not colours:
            return info
    lengths = zip(info.axes, info.shape, strict=True)
    return replace(
        info,
        shape=tuple(len(chosen[axis]) if axis in chosen else n for axis, n in lengths),
        channel_names=tuple(info.channel_names[i] for i in chosen["C"] if info.channel_names),
        nodata=info.nodata if info.samples > 1 else info.nodata.picked(chosen["C"]),
        metadata=_reduced_metadata(info, chosen, colours),
    )


def _reduced_metadata(info: ImageInfo, chosen: dict[str, list[int]], colours: bool) -> Metadata:
    """What the file says of the chosen planes; ImageJ's settings describe all of them only."""
    tiff, seen, shown = info.metadata.tiff, info.metadata.microscopy, info.metadata.display
    return replace(
        info.metadata,
        tiff=replace(
            tiff,
            tags=_cut_tags(tiff, chosen["C"], colours),
            bands=len(chosen["C"]) if tiff.bands else 0,
            descriptions=_of_channels(tiff.descriptions, info, chosen["C"]),
            color_interpretation=_of_channels(tiff.color_interpretation, info, chosen["C"]),
        ),
        display=replace(shown, colour_maps=_picked_maps(shown.colour_maps, info, chosen["C"])),
        reading=info.metadata.reading.without(*_lost_of_part(seen)),
        microscopy=MicroscopyFacts(
            ome_xml=pick_planes(seen.ome_xml, chosen, info.samples, colours),
            omero=_picked_omero(seen.omero, chosen) if seen.omero.get("channels") else {},
            channel_colors=_of_channels(seen.channel_colors, info, chosen["C"]),
            origin=_moved_origin(info, chosen["Z"][0]),
        ),
    )


def _lost_of_part(seen: MicroscopyFacts) -> Iterator[str]:
    """Names of what is said of all of the image, and nothing says of a part."""
    if mentions(seen.ome_xml, "ROI"):
        yield "regions of interest"
    if seen.labels:
        yield "label images"
    if any(seen.imagej.get(name) is not None for name in ("Info", "Labels", "Overlays", "ROI")):
        yield "settings of ImageJ"


def _of_channels(texts: tuple[str, ...], info: ImageInfo, channels: list[int]) -> tuple[str, ...]:
    """Those of one text a channel that belong to the chosen ones; the last may be missing."""
    if not 0 < len(texts) <= info.length("C"):
        return texts
    return tuple(texts[i] if i < len(texts) else "" for i in channels)


def _picked_maps(maps: tuple[bytes, ...], info: ImageInfo, chosen: list[int]) -> tuple[bytes, ...]:
    """Colour maps of the chosen channels."""
    return tuple(maps[i] for i in chosen) if len(maps) == info.length("C") > 1 else maps


def _cut_tags(tiff: TiffFacts, channels: list[int], colours: bool) -> tuple[Tag, ...]:
    """Tags with GDAL's items of the chosen bands."""
    if not tiff.bands:
        return tiff.tags
    return tuple(
        (code, dtype, 0, pick_bands(value, channels, colours))
        if code == GDAL_METADATA_TAG
        else (code, dtype, count, value)
        for code, dtype, count, value in tiff.tags
    )


def _moved_origin(info: ImageInfo, first_depth: int) -> Mapping[str, Position]:
    """Stage position of the first of the chosen depths."""
    origin = info.metadata.microscopy.origin
    if "Z" not in origin or "Z" not in info.pixel_size:
        return origin
    (place, unit), (step, step_unit) = origin["Z"], info.pixel_size["Z"]
    if unit != step_unit:
        return origin
    return {**origin, "Z": (place + first_depth * step, unit)}


def _picked_omero(omero: Mapping[str, Any], chosen: dict[str, list[int]]) -> dict[str, Any]:
    """How to display the chosen channels, and which of the chosen planes first."""
    shown = omero["channels"]
    picked = dict(omero) | {"channels": [shown[i] if i < len(shown) else {} for i in chosen["C"]]}
    if isinstance(omero.get("rdefs"), dict):
        picked["rdefs"] = dict(omero["rdefs"])
        for axis in "TZ":
            first = picked["rdefs"].pop(f"default{axis}", None)
            if first in chosen[axis]:
                picked["rdefs"][f"default{axis}"] = chosen[axis].index(first)
    return picked


class _PartSource(WrappedSource):
    """Some planes of a source."""

    def __init__(self, source: Source, chosen: dict[str, list[int]], colours: bool = False) -> None:
        super().__init__(source)
        self._chosen = chosen
        self.info = _reduced(source.info, chosen, colours)

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        return self._source.read(self._whole_plane(plane), box)

    def read_channels(self, plane: Plane, channels: list[int], box: Box) -> NDArray[Any]:
        """Some of them side by side."""
        whole = [self._chosen["C"][channel] for channel in channels]
        return read_channels(self._source, self._whole_plane(plane), whole, box)

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        return cast("MaskedSource", self._source).read_mask(self._whole_plane(plane), box)

    def _whole_plane(self, plane: Plane) -> Plane:
        """A plane of the part as one of the whole."""
        t, c, z = plane
        chosen = self._chosen
        return chosen["T"][t], chosen["C"][c], chosen["Z"][z]


class _RgbSource(_PartSource):
    """Three channels of a source as the colours of a pixel."""

    def __init__(self, source: Source, chosen: dict[str, list[int]]) -> None:
        super().__init__(source, chosen, colours=True)
        info = self.info
        # What is said of channels means nothing once these are the colours of a pixel.
        known = info.metadata
        known = replace(
            known,
            tiff=replace(known.tiff, bands=0, color_interpretation=()),
            microscopy=replace(known.microscopy, channel_colors=(), omero={}),
            display=replace(known.display, colour_maps=()),
        )
        planes = [(a, n) for a, n in zip(info.axes, info.shape, strict=True) if a in "TZ"]
        self.info = replace(
            info,
            axes="".join(a for a, _ in planes) + "YXS",
            shape=(*(n for _, n in planes), info.height, info.width, 3),
            channel_names=(),
            metadata=known,
        )

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """One band beside the three."""
        band = box_height * box_width * self.info.dtype.itemsize
        return band + super().read_bytes(box_height, box_width)

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        return self.read_channels(plane, [0, 1, 2], box)

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        """Where all three bands are valid."""
        t, _, z = plane
        mask = super().read_mask((t, 0, z), box)
        for i in (1, 2):
            mask &= super().read_mask((t, i, z), box)
        return mask
