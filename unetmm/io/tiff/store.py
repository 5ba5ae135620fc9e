"""Writes tiled TIFF with overviews, in any order, compressed or not; the bytes are the same.

Uncompressed tiles have their place in the file from the start. Compressed ones wait in places of
their own in a sparse file, until `finish` knows their lengths and copies them one after another.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.files import UPDATING, read_at, write_at, write_bytes_at
from unetmm.io.image import DTYPES, Box, ImageInfo, Plane, SinkOptions
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.destination import check_space
from unetmm.io.output.disk import sync
from unetmm.io.output.levels import Level, make_levels
from unetmm.io.output.lost_map import warn_of_lost_map
from unetmm.io.output.lost_mask import warn_of_lost_mask, warn_of_lost_range
from unetmm.io.tiff.codec import TileCodec
from unetmm.io.tiff.layout import (
    TiffLayout,
    checksum_tags,
    is_one_page,
    put_checksums,
    write_head,
)
from unetmm.io.tiff.maps import map_bytes
from unetmm.io.tiff.tags import RECORD_TAG, kept_description

FILE = "image.tif"
"""Name of the growing file in its folder."""
SPOOL = "tiles"
"""Name of the file of compressed tiles in its folder."""
ROOM, ROOM_BYTES = "room", 640
"""Field of a record that leaves so many bytes for what is only known at the end."""
RECORD = "record.json"
"""Name of the file that says how the output is made."""
PYRAMID_FROM_PX = 2048
"""Longest side of an image without smaller copies, unless it came with some; any viewer shows such
a one at once."""
TILE_STEP_PX = 16
"""Step of a tile's side that TIFF asks for, in pixels."""
_BLOCK_BYTES = 4096
"""Size of a block of the file system, at which places of compressed tiles start."""
_LENGTH = struct.Struct("<Q")
"""Length in bytes that stands before a compressed tile."""


class TiffStore:
    """A tiled TIFF, OME-TIFF where there is more to say than one plane's pixels."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        _check_writable(options.file, info)
        self.path = options.file
        self.info = info
        self.chunk = (
            _tile_side(options.chunk_px, info.height),
            _tile_side(options.chunk_px, info.width),
        )
        large = max(info.height, info.width) > PYRAMID_FROM_PX
        large |= info.metadata.reading.pyramid_levels > 1
        levels = make_levels(info, self.chunk)
        self.levels: tuple[Level, ...] = (
            levels if large and options.encoding.pyramid else levels[:1]
        )
        ome = _wants_ome(self.path, info)
        codec = TileCodec.of(self.path, options.encoding.compression, info.dtype, ome)
        self._layout = TiffLayout(info, self.levels, codec, _image_name(self.path), ome)
        self._codec, self._tile_bytes = codec, self._layout.tile_bytes
        # Compressed tiles and their copy take about as much as plain ones; `finish` looks again.
        check_space(options.file, self._layout.plain_bytes)
        self._folder = Path()
        self._handle = -1
        self._start = 0
        """Offset of the first tile's place in the open file."""

    @property
    def _slot_bytes(self) -> int:
        """From a tile's place to the next one's."""
        if self._codec.plain:
            return self._tile_bytes
        longest = _LENGTH.size + self._codec.most_bytes(self._tile_bytes)
        return -(-longest // _BLOCK_BYTES) * _BLOCK_BYTES

    @property
    def _file(self) -> Path:
        return self._folder / FILE

    def create(self, folder: Path, record: Mapping[str, Any]) -> None:
        self._folder = folder
        if not self._layout.mask:
            warn_of_lost_mask(self.path, self.info)
        if not map_bytes(self.info):
            why = f"for pages of {self.info.dtype} have no place for it"
            warn_of_lost_map(self.path, self.info, why)
        warn_of_lost_range(self.path, self.info)
        total_bytes = self._layout.total_tiles * self._slot_bytes
        with translated(self.path, "create it"):
            start, file = 0, folder / SPOOL
            if self._codec.plain:
                counts = np.full(self._layout.total_tiles, self._tile_bytes, np.uint64)
                nothing = [np.zeros(shape, np.uint32) for shape in self._table_shapes()]
                room = record and {**record, ROOM: " " * ROOM_BYTES}
                start, file = (
                    write_head(self._file, self._layout, counts, nothing, room),
                    self._file,
                )
            else:
                (folder / RECORD).write_text(json.dumps(dict(record)), encoding="utf-8")
                file.touch()
            os.truncate(file, start + total_bytes)

    def _table_shapes(self) -> list[tuple[int, ...]]:
        planes = tuple(self.info.length(axis) for axis in "TCZ")
        return [(*planes, *level.grid) for level in self.levels]

    def open(self, folder: Path) -> None:
        self._folder = folder
        file = self._file if self._codec.plain else folder / SPOOL
        with translated(self.path, "open what was begun"):
            self._start = file.stat().st_size - self._layout.total_tiles * self._slot_bytes
            self._handle = os.open(file, UPDATING)

    @property
    def resident_bytes(self) -> int:
        """Tables of tiles while the file is laid out and finished, and a tile that is copied."""
        return self._layout.resident_bytes + self._codec.most_bytes(self._tile_bytes)

    @property
    def chunk_bytes(self) -> int:
        """One tile, made contiguous and padded at the edge of the image, and encoded."""
        return self._tile_bytes + self._codec.scratch_bytes(self._tile_bytes)

    def _offset(self, place: int) -> int:
        return self._start + place * self._slot_bytes

    def write(self, key: ChunkKey, pixels: NDArray[np.generic]) -> None:
        stored = self.info.dtype.newbyteorder("<")
        tile = np.zeros(self._layout.tile_shape, stored)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        offset = self._offset(self._layout.place(key))
        with translated(self.path, "write to it"):
            data = self._codec.encode(tile)
            if not self._codec.plain:
                write_bytes_at(self._handle, _LENGTH.pack(len(data)), offset)
                offset += _LENGTH.size
            write_at(self._handle, np.frombuffer(data, np.uint8), offset)

    def read(self, level: int, plane: Plane, box: Box) -> NDArray[np.generic]:
        """Tile by tile, for only one is to be decoded at a time."""
        height, width = self.chunk
        out = np.empty((box.height, box.width, self.info.samples), self.info.dtype)
        for y in range(box.y0, box.y1, height):
            for x in range(box.x0, box.x1, width):
                tile = self._read_tile(ChunkKey(level, plane, y // height, x // width))
                target = out[y - box.y0 : y - box.y0 + height, x - box.x0 : x - box.x0 + width]
                target[...] = tile[: target.shape[0], : target.shape[1]]
        return out

    def _read_tile(self, key: ChunkKey) -> NDArray[Any]:
        stored = self.info.dtype.newbyteorder("<")
        with translated(self.path, "read back what was written"):
            data = self._read_stored(self._layout.place(key))
            return self._codec.decode(data, self._layout.tile_shape, stored)

    def _read_stored(self, place: int) -> bytes:
        """A tile as it is stored."""
        if self._codec.plain:
            return read_at(self._handle, self._tile_bytes, self._offset(place))
        offset, length = self._offset(place), self._length(place)
        if length > self._slot_bytes - _LENGTH.size:
            raise ImageError(f"{self.path}: a tile that was written is damaged")
        return read_at(self._handle, length, offset + _LENGTH.size)

    def _length(self, place: int) -> int:
        (length,) = _LENGTH.unpack(read_at(self._handle, _LENGTH.size, self._offset(place)))
        return int(length)

    def finish(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> Path:
        with translated(self.path, "finish it"):
            if self._codec.plain:
                put_checksums(self._file, checksums)
                self._complete_record(found)
            else:
                self._collect(checksums, found)
        sync(self._file)
        return self._file

    def _complete_record(self, found: Mapping[str, Any]) -> None:
        """Put what was found into the room that `create` has left for it in the record."""
        with tifffile.TiffFile(self._file, mode="r+") as tif:
            tag = tif.pages.first.tags.get(RECORD_TAG)
            if tag is None:
                return
            record = json.loads(tag.value)
            record.pop(ROOM, None)  # a run that was killed here has done it
            text = json.dumps(record | found)
            assert len(text) < tag.count, "there is room for it"
            tif.filehandle.seek(tag.valueoffset)
            tif.filehandle.write(text.ljust(tag.count - 1).encode("ascii") + b"\0")

    def _collect(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> None:
        """Put the compressed tiles into the file, in the order of their places.

        A run that is killed here does it again.
        """
        places = range(self._layout.total_tiles)
        counts = np.fromiter((self._length(place) for place in places), np.uint64, len(places))
        check_space(self.path, int(counts.sum()), self._file)
        record = json.loads((self._folder / RECORD).read_text(encoding="utf-8"))
        start = write_head(self._file, self._layout, counts, checksums, record and record | found)
        with self._file.open("r+b") as file:
            file.seek(start)
            for place in places:
                file.write(self._read_stored(place))

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_checksums(path: Path) -> list[NDArray[np.uint32]] | None:
    """Checksums of the tiles of every level of a TIFF of ours, flat; None if it has none."""
    with translated(path, "read its checksums"), tifffile.TiffFile(path) as tif:
        found = [np.atleast_1d(np.array(tag.value, np.uint32)) for tag in checksum_tags(tif)]
    return found or None


def read_record(path: Path) -> Any:
    """How a TIFF of ours was made; None if it does not say so."""
    with tifffile.TiffFile(path) as tif:
        text: str | None = tif.pages.first.tags.valueof(RECORD_TAG)
    return json.loads(text or "null")


def _tile_side(chunk_px: int, length_px: int) -> int:
    """Tile side: what was asked, no larger than the image, a multiple of 16."""
    side = max(1, min(chunk_px, length_px))
    return -(-side // TILE_STEP_PX) * TILE_STEP_PX


def _image_name(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".ome")


def _wants_ome(path: Path, info: ImageInfo) -> bool:
    return wants_ome(info, path.name.lower().endswith((".ome.tif", ".ome.tiff")))


def wants_ome(info: ImageInfo, named: bool = False) -> bool:
    """Whether a TIFF of an image gets OME-XML: by its name, or as there is something to say."""
    said = info.pixel_size or any(info.channel_names) or info.metadata.microscopy.origin
    return _can_be_ome(info) and (named or len(info.planes) > 1 or bool(said))


def _can_be_ome(info: ImageInfo) -> bool:
    # OME knows no half floats, so tifffile's JSON keeps the axes; a page of bands is a GeoTIFF.
    return info.dtype != np.float16 and not is_one_page(info)


def keeps_description(info: ImageInfo, named: bool = False) -> bool:
    """Whether the input's own text is the description of the output's first page.

    named : whether the name of the output asks for an OME-TIFF.
    """
    shaped = len(info.planes) > 1 or info.pixel_size
    has_room = is_one_page(info) or not (wants_ome(info, named) or shaped)
    return has_room and kept_description(info) is not None


def _check_writable(path: Path, info: ImageInfo) -> None:
    if info.dtype.name not in DTYPES:
        raise ImageError(f"{path}: TIFF output cannot hold {info.dtype}; use {', '.join(DTYPES)}")
    if info.samples > 4:
        raise ImageError(f"{path}: {info.samples} samples a pixel are no colours; store them as C")
