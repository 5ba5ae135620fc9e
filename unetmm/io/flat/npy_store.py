"""Writes NumPy .npy, laid out whole when it is begun and filled in place."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.files import UPDATING, read_into, write_at
from unetmm.io.image import Box, ImageInfo, Plane, SinkOptions
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.destination import check_space
from unetmm.io.output.disk import sync
from unetmm.io.output.levels import Level
from unetmm.io.output.lost_map import warn_of_lost_map
from unetmm.io.output.lost_mask import warn_of_lost_mask, warn_of_lost_values

_HEADER_BYTES = 4096
"""Upper bound of the size of a header, in bytes."""


class NpyStore:
    """One array: T, C and Z in the image's order, rows, columns, and samples if there are any."""

    file_name: ClassVar[str] = "image.npy"
    """Name of the growing file in its folder."""
    title: ClassVar[str] = ".npy"
    """Name of the format in messages."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        asked = options.encoding.compression
        if asked not in (None, "none"):
            raise ImageError(
                f"{options.path}: compression {asked!r} is not written into {self.title}; it knows "
                "none, .tif and .ome.zarr do"
            )
        self.path, self.info = options.file, info
        self.chunk = (min(options.chunk_px, info.height), min(options.chunk_px, info.width))
        self.levels = (Level(info.height, info.width, self.chunk),)
        self._pixel_bytes = info.samples * info.dtype.itemsize
        check_space(options.file, _HEADER_BYTES + len(info.planes) * info.plane_bytes)
        self._file = Path()
        self._handle = -1
        self._start = 0

    resident_bytes = 0

    @property
    def chunk_bytes(self) -> int:
        """A chunk made contiguous."""
        return math.prod(self.chunk) * self._pixel_bytes

    def create(self, folder: Path, record: Mapping[str, Any]) -> None:
        """The header, and a hole where the pixels will be; there is no place for a record."""
        warn_of_lost_mask(self.path, self.info)
        warn_of_lost_values(self.path, self.info)
        warn_of_lost_map(self.path, self.info, f"which {self.title} has no place for")
        with translated(self.path, "create it"), (folder / self.file_name).open("wb") as file:
            self.write_header(file)
            file.truncate(file.tell() + len(self.info.planes) * self.info.plane_bytes)

    def write_header(self, file: BinaryIO) -> None:
        """What stands before the pixels."""
        axes = self.info.outer_axes + "YX" + ("S" if self.info.samples > 1 else "")
        header = {
            "descr": np.lib.format.dtype_to_descr(self.info.dtype),
            "fortran_order": False,
            "shape": tuple(self.info.length(axis) for axis in axes),
        }
        np.lib.format.write_array_header_1_0(file, header)

    def read_start(self, path: Path) -> int:
        """Offset of the first pixel."""
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            return file.tell()

    def open(self, folder: Path) -> None:
        self._file = folder / self.file_name
        with translated(self.path, "open what was begun"):
            self._start = self.read_start(self._file)
            self._handle = os.open(self._file, UPDATING)

    def _offset(self, plane: Plane, row: int, column: int) -> int:
        rows = self.info.plane_number(plane) * self.info.height + row
        pixels = rows * self.info.width + column
        return self._start + pixels * self._pixel_bytes

    def write(self, key: ChunkKey, pixels: NDArray[np.generic]) -> None:
        box = self.levels[0].box(key.row, key.column)
        rows = np.ascontiguousarray(pixels)
        with translated(self.path, "write to it"):
            if box.width == self.info.width:
                write_at(self._handle, rows, self._offset(key.plane, box.y0, 0))
                return
            for y, row in enumerate(rows, box.y0):
                write_at(self._handle, row, self._offset(key.plane, y, box.x0))

    def read(self, level: int, plane: Plane, box: Box) -> NDArray[np.generic]:
        out = np.empty((box.height, box.width, self.info.samples), self.info.dtype)
        with translated(self.path, "read back what was written"):
            for y, row in enumerate(out, box.y0):
                read_into(self._handle, row, self._offset(plane, y, box.x0), self.path)
        return out

    def finish(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> Path:
        with translated(self.path, "finish it"):
            sync(self._file)
        return self._file

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1
