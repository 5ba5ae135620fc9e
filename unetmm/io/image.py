"""What an image is to the rest of unetmm: planes of rows, read by box and written by box.

Every image is seen as planes (t, c, z), each plane as pixels (height, width, samples). Samples
are interleaved colours (grey 1, grey+alpha 2, RGB 3, RGBA 4); C is for separate channels as in
microscopy, or bands. A format is one file with one Source and, where we write it, one Sink.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from unetmm.intensities.validity import NOTHING, NoData
from unetmm.io.metadata import Metadata
from unetmm.io.places import Place

DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
"""Pixel types that are restored."""

Plane = tuple[int, int, int]
"""Index (t, c, z) of a plane."""


def planes_of_maps(plane: Plane, maps: int) -> list[Plane]:
    """The planes of an output that come of a plane of its input, where a net makes maps of it.

    maps : number of channels of the output that come of each of the input's.
    """
    t, c, z = plane
    return [(t, c * maps + i, z) for i in range(maps)]


class Planes(Sequence[Plane]):
    """Every plane of an image, t slowest, z fastest. None is kept: a film has many thousands."""

    def __init__(self, t: int, c: int, z: int) -> None:
        self._lengths = t, c, z

    def __len__(self) -> int:
        return math.prod(self._lengths)

    @overload
    def __getitem__(self, at: int) -> Plane: ...
    @overload
    def __getitem__(self, at: slice) -> list[Plane]: ...
    def __getitem__(self, at: int | slice) -> Plane | list[Plane]:
        found = range(len(self))[at]
        return self._plane(found) if isinstance(found, int) else [self._plane(i) for i in found]

    def __iter__(self) -> Iterator[Plane]:
        return map(self._plane, range(len(self)))

    def _plane(self, number: int) -> Plane:
        _, c, z = self._lengths
        return number // (c * z), number // z % c, number % z

    def number(self, plane: Plane) -> int:
        """Place of a plane among them."""
        _, c, z = self._lengths
        return (plane[0] * c + plane[1]) * z + plane[2]


@dataclass(frozen=True)
class Box:
    """A rectangle of a plane in pixels: rows y0 <= y < y1, columns x0 <= x < x1."""

    y0: int
    """First row."""
    x0: int
    """First column."""
    y1: int
    """Row behind the last one."""
    x1: int
    """Column behind the last one."""

    @property
    def height(self) -> int:
        return self.y1 - self.y0

    @property
    def width(self) -> int:
        return self.x1 - self.x0

    def enlarged(self, scale: int) -> Box:
        """The same part of an image with `scale` times as many rows and columns."""
        return Box(*(edge * scale for edge in (self.y0, self.x0, self.y1, self.x1)))


@dataclass(frozen=True)
class ImageInfo:
    """What is known of an image without reading a pixel."""

    format: str
    """Short name of the file format: tiff, ome-zarr, zarr, png, jpeg, npy, czi, ..."""
    axes: str
    """Axes as stored, one letter each: T, C, Z, Y, X, S (interleaved samples)."""
    shape: tuple[int, ...]
    """Lengths of `axes`."""
    dtype: np.dtype[Any]
    """Type of a sample, in the byte order of this machine."""
    chunk: tuple[int, int]
    """Rows and columns of the unit of storage; the whole plane where it cannot be read in parts."""
    alpha: bool = False
    """Whether the last sample is opacity, which is copied and never restored."""
    pixel_size: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Axis -> length and unit of a pixel, e.g. {"X": (0.65, "micrometer")}; see `units`."""
    channel_names: tuple[str, ...] = ()
    """Names of the C channels, or empty."""
    joined: tuple[str, ...] = ()
    """Names, empty of those without one, of channels that a net takes together: here they are the
    samples of a pixel. None at all where samples are colours."""
    nodata: NoData = NOTHING
    """Marks of pixels that hold no measurement; they pass through untouched."""
    metadata: Metadata = Metadata()
    """All else that the file says; outputs keep what their format has a place for."""

    def length(self, axis: str) -> int:
        """Length of an axis, 1 if the image does not have it."""
        i = self.axes.find(axis)
        return 1 if i < 0 else self.shape[i]

    @property
    def height(self) -> int:
        return self.length("Y")

    @property
    def width(self) -> int:
        return self.length("X")

    @property
    def samples(self) -> int:
        """Interleaved samples per pixel, alpha included."""
        return self.length("S")

    @property
    def has_mask(self) -> bool:
        """Whether a mask comes with the pixels: one of the file, or opacity 0."""
        return self.nodata.masked or (self.alpha and self.nodata.by_opacity)

    @property
    def may_have_gaps(self) -> bool:
        """Whether pixels can be without a measurement."""
        return self.dtype.kind == "f" or self.nodata.stated or self.has_mask

    def nodata_of(self, channel: int, samples: Sequence[int]) -> NoData:
        """What tells pixels without a measurement in some samples of a channel."""
        return self.nodata.picked(samples if self.samples > 1 else [channel])

    @property
    def outer_axes(self) -> str:
        """Those of T, C and Z that the image has, in its order."""
        return "".join(axis for axis in self.axes if axis in "TCZ")

    def plane_number(self, plane: Plane) -> int:
        """Place of a plane in the image's own order of `outer_axes`, the last of them fastest."""
        number = 0
        for axis in self.outer_axes:
            number = number * self.length(axis) + plane["TCZ".index(axis)]
        return number

    @property
    def planes(self) -> Planes:
        """Every plane, t slowest, z fastest."""
        return Planes(*map(self.length, "TCZ"))

    @property
    def plane_bytes(self) -> int:
        """Bytes of one plane as stored, uncompressed."""
        return self.height * self.width * self.samples * self.dtype.itemsize

    @property
    def pixels(self) -> int:
        """Number of pixels of all planes."""
        return len(self.planes) * self.height * self.width

    @property
    def megapixels(self) -> float:
        """Pixels of all planes, in millions."""
        return self.pixels / 1e6


class Source(Protocol):
    """Reads boxes of an image with bounded memory; safe to call from several threads."""

    @property
    def info(self) -> ImageInfo: ...

    @property
    def resident_bytes(self) -> int:
        """Memory that stays occupied while the source is open (whole decoded image for PNG)."""

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """Most memory one `read` of a box of that size takes beyond its result."""

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        """(box.height, box.width, samples), dtype as stored.

        Raises
        ------
        ImageError
            If the file cannot be read or decoded there.
        """

    def close(self) -> None: ...


class MaskedSource(Source, Protocol):
    """A source whose `info.nodata` says `masked`; what its mask takes is in `read_bytes`."""

    def read_mask(self, plane: Plane, box: Box) -> NDArray[np.bool_]:
        """(box.height, box.width), where pixels hold a measurement.

        Raises
        ------
        ImageError
            If the mask cannot be read or decoded there.
        """


class Sink(Protocol):
    """Takes boxes in any order.

    Boxes start at multiples of `chunk` and end there or at the image's edge, so no two writers
    ever share a chunk; `write` is safe to call from several threads.
    """

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns that boxes must be multiples of."""

    @property
    def resident_bytes(self) -> int:
        """Memory that stays occupied while the sink is open (whole image for PNG)."""

    def write_bytes(self, box_height: int, box_width: int) -> int:
        """Most memory one `write` of a box of that size takes beyond its argument."""

    def write(self, plane: Plane, box: Box, pixels: NDArray[np.generic]) -> None:
        """Store (box.height, box.width, samples), dtype of the image.

        Raises
        ------
        ImageError
            If the disk is full or the output cannot be written.
        """


@dataclass(frozen=True)
class Encoding:
    """How the pixels of an output are stored; the values are the same for all of them."""

    compression: str | None = None
    """Name of a compression that the format knows, or "none"; None for what suits the format."""
    pyramid: bool = True
    """Whether smaller copies are stored beside the full resolution, where the format has them."""
    ome_zarr: str = "0.5"
    """Version of OME-Zarr: 0.5 (Zarr v3) or 0.4 (Zarr v2, for older viewers)."""
    shard_px: int | None = None
    """Side in pixels of a shard of an OME-Zarr 0.5, a file of many chunks; None: a file a chunk."""
    quality: int | None = None
    """Quality of a JPEG, 1 to 100; None: 95."""

    def __str__(self) -> str:
        pyramid = "a pyramid" if self.pyramid else "no pyramid"
        shards = f", shards of {self.shard_px} px" if self.shard_px else ""
        quality = f", quality {self.quality}" if self.quality else ""
        usual = self.compression or "usual"
        return f"{usual} compression, {pyramid}, {self.ome_zarr}{shards}{quality}"


@dataclass(frozen=True)
class SinkOptions:
    """Where and how an output is to be written."""

    path: Place
    """Final name of the output."""
    overwrite: bool = False
    """Whether an existing output is replaced, which happens at `close` and not before."""
    chunk_px: int = 512
    """Side of an output chunk or tile in pixels."""
    encoding: Encoding = Encoding()
    """Way in which pixels are stored."""
    maps: int = 1
    """Channels of the output that come of each of its input's, and are written together."""

    @property
    def file(self) -> Path:
        """The path of a format that is written on disks only."""
        assert isinstance(self.path, Path), "checked by open_sink"
        return self.path
