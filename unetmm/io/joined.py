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
