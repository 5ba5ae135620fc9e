"""Reads boxes of the arrays of an HDF5 file, chunk by chunk, through h5py."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.axes import refuse_axes
from unetmm.io.chunked import read_box
from unetmm.io.failures import translated
from unetmm.io.geo import with_place
from unetmm.io.hdf5.arrays import (
    CACHE_BYTES,
    check_own,
    choose_array,
    list_arrays,
    open_file,
    split_place,
)
from unetmm.io.hdf5.description import Description, describe_array
from unetmm.io.hdf5.imaris import describe_imaris, is_imaris
from unetmm.io.image import DTYPES, Box, ImageInfo, Plane
from unetmm.io.metadata import Metadata, MicroscopyFacts, ReadingFacts
from unetmm.sizes import format_size

_CHUNK_COPIES = 3
"""Copies of a chunk in memory at once: as stored, as unpacked, and in the cache."""
_LARGEST_CHUNK_BYTES = 2**31


class Hdf5Source:
    """An image of an HDF5 file, the largest array if none is named."""

    def __init__(self, path: Path, axes: str = "", series: int | None = None) -> None:
        self.path = path
        file, within = split_place(path)
        with translated(path, "read it as HDF5"):
            self._file = open_file(file)
            try:
                found = _describe(path, self._file, within, axes, series)
                self._described = found
                self._kept = found.names[0][0], self._file[found.names[0][0]]
                self.info = _info(path, found, self._kept[1])
            except BaseException:
                self.close()
                raise

    @property
    def resident_bytes(self) -> int:
        """The caches of chunks of an array, and of the one before it."""
        return 2 * CACHE_BYTES

    def read_bytes(self, box_height: int, box_width: int) -> int:
        array = self._kept[1]
        return _CHUNK_COPIES * _chunk_bytes(array) if array.chunks else 0

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        array = self._array(plane)
        chunk = self.info.chunk if array.chunks else (box.height, box.width)
        with translated(self.path, "decode a part of it"):
            return read_box(array, self._described.axes, self.info, plane, box, chunk)

    def _array(self, plane: Plane) -> Any:
        """The array that holds a plane; one is open at a time, as each has a cache of its own."""
        t, c, _ = plane
        names = self._described.names
        row = names[t if len(names) > 1 else 0]
        name = row[c if len(row) > 1 else 0]
        kept = self._kept
        if kept[0] != name:
            kept = self._kept = name, self._file[name]
        return kept[1]

    def close(self) -> None:
        self._file.close()


def count_arrays(path: Path) -> int:
    """Number of images of a file that `series` chooses among."""
    file, within = split_place(path)
    with translated(path, "read it as HDF5"), open_file(file) as opened:
        if within or is_imaris(opened):
            return 1
        return max(1, len(list_arrays(opened)))


def _describe(path: Path, file: Any, within: str, axes: str, series: int | None) -> Description:
    if is_imaris(file) and not within and series is None:
        refuse_axes(path, axes)
        found = describe_imaris(path, file)
    else:
        name, others = choose_array(path, file, within, series)
        found = describe_array(path, file, file[name], axes, others)
    for row in found.names:
        for name in row:
            check_own(path, file[name])
    return found


def _info(path: Path, found: Description, array: Any) -> ImageInfo:
    dtype = np.dtype(array.dtype).newbyteorder("=")
    if dtype.name not in DTYPES:
        raise ImageError(
            f"{path}: holds {dtype} pixels; convert them to one of {', '.join(DTYPES)}"
        )
    if _chunk_bytes(array) > _LARGEST_CHUNK_BYTES:
        raise ImageError(
            f"{path}: its chunks hold {format_size(_chunk_bytes(array))}; copy it with smaller "
            "ones: h5repack -l CHUNK=256x256 ..."
        )
    if found.lengths.get("S", 1) > 4:
        raise ImageError(
            f"{path}: {found.lengths['S']} samples a pixel are no colours; name them C"
        )
    times, channels = len(found.names), len(found.names[0])
    lengths = {"T": times} if times > 1 else {}
    lengths |= {"C": channels} if channels > 1 else {}
    lengths |= dict(found.lengths)
    letters = "".join(axis for axis in "TCZYXS" if axis in lengths)
    stored = dict(zip(found.axes, array.chunks or array.shape, strict=True))
    height = stored["Y"] if array.chunks else 1
    count = lengths.get("C", 1)
    return ImageInfo(
        format="hdf5",
        axes=letters,
        shape=tuple(lengths[axis] for axis in letters),
        dtype=dtype,
        chunk=(min(height, lengths["Y"]), min(stored["X"], lengths["X"])),
        alpha=lengths.get("S") in (2, 4),
        pixel_size=found.pixel_size,
        channel_names=found.channel_names if len(found.channel_names) == count else (),
        nodata=found.nodata,
        metadata=with_place(_known(found), found.place),
    )


def _known(found: Description) -> Metadata:
    """What is known beyond axes, sizes and names, the place on Earth apart."""
    return Metadata(
        microscopy=MicroscopyFacts(channel_colors=found.channel_colors),
        reading=ReadingFacts(guessed_axes=found.guessed, left_out=found.left_out),
    )


def _chunk_bytes(array: Any) -> int:
    """Bytes of an unpacked chunk; those of a row where there are none."""
    return int(math.prod(array.chunks or array.shape[-1:]) * array.dtype.itemsize)
