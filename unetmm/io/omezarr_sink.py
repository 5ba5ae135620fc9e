"""Writes OME-Zarr 0.5: one level, chunks of one plane, Zstandard."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import ZstdCodec

from unetmm.errors import ImageError
from unetmm.io.guard import translated
from unetmm.io.omezarr import ZARR_BYTES
from unetmm.io.omezarr_meta import stored_axes, write_attributes
from unetmm.io.part import discard, part_path, publish
from unetmm.io.protocol import DTYPES, Box, ImageInfo, Plane, SinkOptions
from unetmm.io.stage import Stage
from unetmm.io.written import WrittenMap, check_box

_CHUNK_COPIES = 3
"""A chunk is held padded, as bytes and compressed, all at once at worst."""


class OmeZarrSink:
    """A Zarr group that grows in `.<name>.part` beside the output."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        self.path, self.info = options.path, info
        if info.dtype.name not in DTYPES:
            raise ImageError(f"{self.path}: cannot hold {info.dtype}; use {', '.join(DTYPES)}")
        self._axes = stored_axes(self.path, info)
        self.chunk = (min(options.chunk_px, info.height), min(options.chunk_px, info.width))
        self._written = WrittenMap(info, self.chunk)
        self._part = part_path(self.path)
        self._stage = Stage(self.path)
        self._array: Any = None

    def begin(self) -> None:
        self._stage.begin(self._create)

    def _create(self) -> None:
        discard(self._part)
        lengths = dict(zip("CYX", (self.info.samples, *self.chunk), strict=True))
        attributes = write_attributes(_image_name(self.path), self._axes, self.info)
        try:
            with translated(self.path, "create it"):
                group = zarr.open_group(
                    str(self._part), mode="w", zarr_format=3, attributes=attributes
                )
                self._array = group.create_array(
                    "0",
                    shape=tuple(self._length(axis) for axis in self._axes),
                    chunks=tuple(lengths.get(axis, 1) for axis in self._axes),
                    dtype=self.info.dtype,
                    compressors=ZstdCodec(),
                    dimension_names=[axis.lower() for axis in self._axes],
                )
        except BaseException:
            discard(self._part)
            raise

    def _length(self, axis: str) -> int:
        """Length of a stored axis: C is samples if the image has any."""
        return (
            self.info.samples if axis == "C" and self.info.samples > 1 else self.info.length(axis)
        )

    @property
    def resident_bytes(self) -> int:
        """A flag a chunk, and what zarr itself occupies."""
        return self._written.nbytes + ZARR_BYTES

    def write_bytes(self, box_height: int, box_width: int) -> int:
        """One chunk in the making, whatever the box, since chunks are written one by one."""
        pixel_bytes = self.info.samples * self.info.dtype.itemsize
        return _CHUNK_COPIES * math.prod(self.chunk) * pixel_bytes

    def write(self, plane: Plane, box: Box, pixels: NDArray[np.generic]) -> None:
        check_box(box, pixels, self.chunk, self.info)
        self.begin()
        height, width = self.chunk
        with translated(self.path, "write to it"):
            for y in range(box.y0, box.y1, height):
                for x in range(box.x0, box.x1, width):
                    part = Box(y, x, min(y + height, box.y1), min(x + width, box.x1))
                    rows = slice(y - box.y0, part.y1 - box.y0)
                    self._write_chunk(plane, part, pixels[rows, x - box.x0 : part.x1 - box.x0])
        self._written.mark(plane, box)

    def _write_chunk(self, plane: Plane, box: Box, pixels: NDArray[np.generic]) -> None:
        where: dict[str, int | slice] = dict(zip("TCZ", plane, strict=True))
        where |= {"Y": slice(box.y0, box.y1), "X": slice(box.x0, box.x1)}
        if self.info.samples > 1:
            where["C"] = slice(None)
        planar = np.moveaxis(pixels, -1, 0) if self.info.samples > 1 else pixels[..., 0]
        self._array[tuple(where[axis] for axis in self._axes)] = planar

    def close(self) -> None:
        if not self._stage.finish():
            return
        try:
            self._written.check(self.path)
            publish(self._part, self.path)
        except ImageError:
            self._remove()
            raise

    def abort(self) -> None:
        if self._stage.finish():
            self._remove()

    def _remove(self) -> None:
        if self._array is not None:
            discard(self._part)


def _image_name(path: Path) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")
