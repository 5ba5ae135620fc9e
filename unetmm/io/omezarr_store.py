"""Writes OME-Zarr 0.5: a pyramid, chunks of one plane, Zstandard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from unetmm.errors import ImageError
from unetmm.io.guard import translated
from unetmm.io.levels import Level, make_levels
from unetmm.io.omezarr import ZARR_BYTES
from unetmm.io.omezarr_meta import stored_axes, write_attributes
from unetmm.io.part import sync
from unetmm.io.protocol import DTYPES, Box, ImageInfo, Plane, SinkOptions
from unetmm.io.table import ChunkKey

GROUP = "image.zarr"
"""Name of the growing group in its folder."""
CHECKSUMS = "checksums"
"""Group within the output: CRC-32 of the values of every chunk, one array a level."""
_CHUNK_COPIES = 3
"""A chunk is held padded, as bytes and compressed, all at once at worst."""


class OmeZarrStore:
    """A Zarr group with one array a level, and the checksums of every chunk in arrays beside."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        self.path, self.info = options.path, info
        if info.dtype.name not in DTYPES:
            raise ImageError(f"{self.path}: cannot hold {info.dtype}; use {', '.join(DTYPES)}")
        self._axes = stored_axes(self.path, info)
        self.chunk = (min(options.chunk_px, info.height), min(options.chunk_px, info.width))
        self.levels = make_levels(info, self.chunk)
        self._folder = Path()
        self._arrays: list[Any] = []

    def create(self, folder: Path, record: Mapping[str, Any]) -> None:
        lengths = dict(zip("CYX", (self.info.samples, *self.chunk), strict=True))
        attributes = write_attributes(_image_name(self.path), self._axes, self.info, self.levels)
        attributes["unetmm"] |= {"record": dict(record)} if record else {}
        with translated(self.path, "create it"):
            group = zarr.open_group(
                str(folder / GROUP), mode="w", zarr_format=3, attributes=attributes
            )
            for number, level in enumerate(self.levels):
                group.create_array(
                    str(number),
                    shape=tuple(self._length(axis, level) for axis in self._axes),
                    chunks=tuple(lengths.get(axis, 1) for axis in self._axes),
                    dtype=self.info.dtype,
                    compressors=ZstdCodec(),
                    dimension_names=[axis.lower() for axis in self._axes],
                )

    def open(self, folder: Path) -> None:
        self._folder = folder
        with translated(self.path, "open what was begun"):
            group = zarr.open_group(str(folder / GROUP), mode="r+")
            self._arrays = [group[str(number)] for number in range(len(self.levels))]

    def _length(self, axis: str, level: Level) -> int:
        """Length of a stored axis: C is samples if the image has any."""
        if axis in "YX":
            return level.height if axis == "Y" else level.width
        return (
            self.info.samples if axis == "C" and self.info.samples > 1 else self.info.length(axis)
        )

    @property
    def resident_bytes(self) -> int:
        """What zarr itself occupies."""
        return ZARR_BYTES

    @property
    def chunk_bytes(self) -> int:
        """Zarr reads and writes chunk by chunk, which `read` makes sure of."""
        pixel_bytes = self.info.samples * self.info.dtype.itemsize
        return _CHUNK_COPIES * math.prod(self.chunk) * pixel_bytes

    def write(self, key: ChunkKey, pixels: NDArray[np.generic]) -> None:
        where = self._where(key.plane, self.levels[key.level].box(key.row, key.column))
        planar = np.moveaxis(pixels, -1, 0) if self.info.samples > 1 else pixels[..., 0]
        with translated(self.path, "write to it"):
            self._arrays[key.level][where] = planar

    def read(self, level: int, plane: Plane, box: Box) -> NDArray[np.generic]:
        """Chunk by chunk, for zarr would decode them all at once."""
        out = np.empty((box.height, box.width, self.info.samples), self.info.dtype)
        height, width = self.chunk
        with translated(self.path, "read back what was written"):
            for y in range(box.y0, box.y1, height):
                for x in range(box.x0, box.x1, width):
                    part = Box(y, x, min(y + height, box.y1), min(x + width, box.x1))
                    stored = np.asarray(self._arrays[level][self._where(plane, part)])
                    stored = np.moveaxis(stored, 0, -1) if stored.ndim == 3 else stored[..., None]
                    rows = slice(y - box.y0, part.y1 - box.y0)
                    out[rows, x - box.x0 : part.x1 - box.x0] = stored
        return out

    def _where(self, plane: Plane, box: Box) -> tuple[int | slice, ...]:
        where: dict[str, int | slice] = dict(zip("TCZ", plane, strict=True))
        where |= {"Y": slice(box.y0, box.y1), "X": slice(box.x0, box.x1)}
        if self.info.samples > 1:
            where["C"] = slice(None)
        return tuple(where[axis] for axis in self._axes)

    def finish(self, checksums: list[NDArray[np.uint32]]) -> Path:
        with translated(self.path, "finish it"):
            group = zarr.open_group(str(self._folder / GROUP), mode="r+")
            kept = group.create_group(CHECKSUMS, overwrite=True)
            for number, level in enumerate(checksums):
                kept.create_array(str(number), data=level, compressors=ZstdCodec())
            for path in sorted((self._folder / GROUP).rglob("*")):
                sync(path)
        return self._folder / GROUP

    def close(self) -> None:
        self._arrays = []


def read_checksums(path: Path) -> list[NDArray[np.uint32]] | None:
    """Checksums of the chunks of every level, (t, c, z, rows, columns); None if there are none."""
    with translated(path, "read its checksums"):
        group = zarr.open(str(path), mode="r")
        kept: Any = group.get(CHECKSUMS) if isinstance(group, zarr.Group) else None
        if kept is None:
            return None
        return [np.asarray(kept[name][...]) for name in sorted(kept.array_keys(), key=int)]


def _image_name(path: Path) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")
