"""Channels of an image that a net takes together: they are shown as the samples of a pixel.

Outputs keep them apart, as channels or bands with all that is said of each.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.io.image import Box, ImageInfo, Plane, Source
from unetmm.io.measured import mask_of
from unetmm.io.wrapped import WrappedSource

_GREY = ("Gray", "Undefined")
"""Colours of grey with opacity in GDAL's words."""


def joined_info(info: ImageInfo) -> ImageInfo:
    """Facts of an image whose channels are its samples; what is said of each channel stays."""
    assert info.samples == 1 and "C" in info.axes, "the caller has looked"
    named = info.channel_names or ("",) * info.length("C")
    lengths = dict(zip(info.axes, info.shape, strict=True))
    lengths.pop("S", None)  # of a single one
    axes = "".join(lengths).replace("C", "S")
    return replace(info, axes=axes, shape=tuple(lengths.values()), channel_names=(), joined=named)


def parted_info(info: ImageInfo) -> ImageInfo:
    """The reverse: facts of the image with its channels apart."""
    if not info.joined:
        return info
    named = info.joined if any(info.joined) else ()
    return replace(info, axes=info.axes.replace("S", "C"), channel_names=named, joined=())


class JoinedSource(WrappedSource):
    """A source that gives all channels of a pixel at once, as its samples."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.info = joined_info(source.info)

    @property
    def apart(self) -> Source:
        """The image with its channels apart."""
        return self._source

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """One channel, or its mask, beside all of them."""
        channel = box_height * box_width * max(1, self.info.dtype.itemsize)
        return channel + super().read_bytes(box_height, box_width)

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        return read_channels(self._source, plane, list(range(self.info.samples)), box)

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        """Where all channels hold a measurement."""
        t, _, z = plane
        found = np.ones((box.height, box.width), bool)
        for channel in range(self.info.samples):
            mask = mask_of(self._source, (t, channel, z), box)
            if mask is not None:
                found &= mask
        return found


def may_be_bands(info: ImageInfo) -> bool:
    """Whether samples may be bands although the last of them is called opacity, as GDAL calls the
    fourth of four bytes by default.
    """
    is_plain = info.format == "tiff" and not info.metadata.microscopy.ome_xml
    return is_plain and info.alpha and "C" not in info.axes and not info.metadata.display.palette


def band_numbers(count: int) -> str:
    """The first bands as --bands takes them: 1,2,3."""
    return ",".join(map(str, range(1, count + 1)))


def as_bands(info: ImageInfo) -> str:
    """All samples as --bands takes them, where they may be bands; else empty."""
    return band_numbers(info.samples) if may_be_bands(info) else ""


class PartedSource(WrappedSource):
    """A source whose colours and opacity are bands, each a channel by itself."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        info = source.info
        named = ("Red", "Green", "Blue") if info.samples > len(_GREY) else _GREY[:1]
        known = info.metadata
        lost = ["colour profile"] if known.photo.icc_profile else []
        self.info = replace(
            info,
            axes=info.axes.replace("S", "").replace("Y", "CY"),
            shape=_channels_first(info),
            alpha=False,
            nodata=replace(info.nodata, by_opacity=False),
            metadata=replace(
                known,
                photo=replace(known.photo, icc_profile=b""),
                tiff=replace(known.tiff, bands=info.samples, color_interpretation=named),
                display=replace(known.display, premultiplied=False),
                reading=known.reading.without(*lost),
            ),
        )

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """All samples, of which some are taken."""
        all_bytes = box_height * box_width * self._source.info.samples * self.info.dtype.itemsize
        return all_bytes + super().read_bytes(box_height, box_width)

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        return self.read_channels(plane, [plane[1]], box)

    def read_channels(self, plane: Plane, channels: list[int], box: Box) -> NDArray[Any]:
        """Some of them side by side."""
        t, _, z = plane
        found: NDArray[Any] = np.take(self._source.read((t, 0, z), box), channels, axis=-1)
        return found

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        found = mask_of(self._source, (plane[0], 0, plane[2]), box)
        return np.ones((box.height, box.width), bool) if found is None else found


def _channels_first(info: ImageInfo) -> tuple[int, ...]:
    """Lengths of the axes where samples come before the rows."""
    lengths = dict(zip(info.axes, info.shape, strict=True))
    samples = lengths.pop("S")
    found: list[int] = []
    for axis, length in lengths.items():
        found += [samples, length] if axis == "Y" else [length]
    return tuple(found)


def read_channels(source: Source, plane: Plane, channels: list[int], box: Box) -> NDArray[Any]:
    """Some channels of a box side by side, (height, width, channels), whatever that of the plane.

    Sources that store them so decode all of them once, and not each by itself.
    """
    own: Any = getattr(source, "read_channels", None)
    if own is None:
        return read_each(source, plane, channels, box)
    found: NDArray[Any] = own(plane, channels, box)
    return found


def read_each(source: Source, plane: Plane, channels: list[int], box: Box) -> NDArray[Any]:
    """The same by reading one after the other."""
    t, _, z = plane
    out = np.empty((box.height, box.width, len(channels)), source.info.dtype)
    for i, channel in enumerate(channels):
        out[..., i : i + 1] = source.read((t, channel, z), box)
    return out
