"""What outputs share that are encoded whole, once every chunk is there: PNG and JPEG."""

from __future__ import annotations

import itertools
import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.exif import fit_sizes
from unetmm.io.failures import translated
from unetmm.io.files import UPDATING, read_at, write_at
from unetmm.io.image import Box, ImageInfo, Plane, SinkOptions
from unetmm.io.metadata import PhotoFacts, Resolution
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import sync
from unetmm.io.output.levels import Level
from unetmm.io.output.lost_map import warn_of_lost_map
from unetmm.io.output.lost_mask import warn_of_lost_mask, warn_of_lost_values
from unetmm.io.photo.source import turn_box, upright
from unetmm.io.xmp import fit_xmp

RECORD = "record.json"
"""Name of the file beside it that says how the output is made."""
PIXELS = "pixels"
"""Name of the file of chunks in its folder."""
ENCODER_BYTES = 4 * 2**20
"""Memory of an encoder's windows and row buffers, and of the chunk that goes into it."""
_ORIENTATION_TAG = 274


class PhotoStore:
    """Chunks in a plain file, each in a place of its own, until `finish` encodes them at once."""

    format: ClassVar[str]
    """Name of the format, as messages have it."""
    compressions: ClassVar[tuple[str, ...]]
    """Names of compressions that an `Encoding` may ask for."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        self.path = options.file
        asked = options.encoding.compression
        if asked not in (None, *self.compressions):
            raise ImageError(
                f"{self.path}: compression {asked!r} is not written into {self.format}; it knows "
                f"{', '.join(self.compressions)} only"
            )
        self.info = info
        self.chunk = (options.chunk_px, options.chunk_px)
        self.levels = (Level(info.height, info.width, self.chunk),)
        self._slot_bytes = math.prod(self.chunk) * info.samples * info.dtype.itemsize
        tags: dict[int, Any] = {code: value for code, _, _, value in info.metadata.tiff.tags}
        # A TIFF keeps its pixels as stored; photos' readers do not all obey an orientation.
        orientation = tags.get(_ORIENTATION_TAG, 1)
        self._orientation = int(orientation) if orientation in range(1, 9) else 1
        self._folder = Path()
        self._handle = -1

    @property
    def chunk_bytes(self) -> int:
        return self._slot_bytes

    def create(self, folder: Path, record: Mapping[str, Any]) -> None:
        warn_of_lost_mask(self.path, self.info)
        warn_of_lost_map(self.path, self.info, f"which {self.format} holds for colours alone")
        warn_of_lost_values(self.path, self.info)
        with translated(self.path, "create it"):
            (folder / PIXELS).write_bytes(b"")
            (folder / RECORD).write_text(json.dumps(dict(record)), encoding="utf-8")

    def open(self, folder: Path) -> None:
        self._folder = folder
        with translated(self.path, "open what was begun"):
            self._handle = os.open(folder / PIXELS, UPDATING)

    def _offset(self, row: int, column: int) -> int:
        return (row * self.levels[0].grid[1] + column) * self._slot_bytes

    def write(self, key: ChunkKey, pixels: NDArray[np.generic]) -> None:
        with translated(self.path, "write to it"):
            write_at(self._handle, np.ascontiguousarray(pixels), self._offset(key.row, key.column))

    def read(self, level: int, plane: Plane, box: Box) -> NDArray[np.generic]:
        """One chunk; without a pyramid nobody asks for more."""
        shape = (box.height, box.width, self.info.samples)
        size = math.prod(shape) * self.info.dtype.itemsize
        row, column = box.y0 // self.chunk[0], box.x0 // self.chunk[1]
        with translated(self.path, "read back what was written"):
            data = read_at(self._handle, size, self._offset(row, column))
            return np.frombuffer(data, self.info.dtype).reshape(shape)

    @property
    def shown_size(self) -> tuple[int, int]:
        """(height, width) once the pixels are upright."""
        size = (self.info.height, self.info.width)
        return size[::-1] if self._orientation > 4 else size

    def shown_chunks(self) -> Iterator[tuple[Box, NDArray[Any]]]:
        """Every chunk as it is shown, upright and 0 always black, and where it lies then."""
        return itertools.starmap(self._shown_chunk, np.ndindex(self.levels[0].grid))

    def _shown_chunk(self, row: int, column: int) -> tuple[Box, NDArray[Any]]:
        box = self.levels[0].box(row, column)
        pixels = self.read(0, (0, 0, 0), box)
        pixels = _as_shown(pixels, self.info)
        height, width = self.shown_size
        turned = turn_box(box, self._orientation, height, width)
        return turned, upright(pixels, self._orientation)

    @property
    def photo(self) -> PhotoFacts:
        """What the output says of the image: as the input, of pixels that are upright."""
        known = self.info.metadata
        height, width = self.shown_size
        return replace(
            known.photo,
            exif=fit_sizes(known.photo.exif, height, width),
            xmp=fit_xmp(known.xmp, height, width),
            iptc=known.iptc,
        )

    @property
    def resolution(self) -> Resolution | None:
        """Pixels per unit along x and y, once upright."""
        stated = self.info.metadata.photo.resolution
        if stated is None:
            return None
        x, y, unit = stated
        return (y, x, unit) if self._orientation > 4 else (x, y, unit)

    def finish(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> Path:
        part = self._folder / f"image.{self.format.lower()}"
        with translated(self.path, "write it"):
            record = json.loads((self._folder / RECORD).read_text(encoding="utf-8"))
            self.encode_into(part, record and {**record, **found})
            sync(part)
        return part

    def encode_into(self, part: Path, record: Mapping[str, Any]) -> None:
        """Write the whole file, with a record of how it was made unless that is empty."""
        raise NotImplementedError

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def _as_shown(pixels: NDArray[Any], info: ImageInfo) -> NDArray[Any]:
    """Pixels with 0 as black, and colours that are not multiplied by alpha."""
    count = info.samples - info.alpha
    display = info.metadata.display
    if display.photometric == "miniswhite":
        bits = display.bits or 8 * info.dtype.itemsize
        colours = np.maximum(2**bits - 1 - pixels[..., :count].astype(np.int32), 0)
    elif info.alpha and display.premultiplied:
        limit, alpha = np.iinfo(info.dtype).max, pixels[..., count:].astype(np.uint32)
        scaled = pixels[..., :count].astype(np.uint32) * limit + alpha // 2
        colours = np.minimum(scaled // np.maximum(alpha, 1), limit)
    else:
        return pixels
    return np.concatenate([colours.astype(info.dtype), pixels[..., count:]], axis=-1)


def check_sides(path: Path, info: ImageInfo, format: str, most_px: int, others: str) -> None:
    """Refuse an image that is larger than its encoder takes, which would say so at the very end.

    others : formats that would hold it.

    Raises
    ------
    ImageError
        If it is.
    """
    if max(info.height, info.width) > most_px:
        raise ImageError(
            f"{path}: {format} holds sides of at most {most_px} px, the image is "
            f"{info.width} x {info.height}; write {others}"
        )


def check_one_plane(path: Path, info: ImageInfo, format: str, dtypes: tuple[str, ...]) -> None:
    """Refuse what a photo cannot hold.

    Raises
    ------
    ImageError
        It names formats that would hold the image.
    """
    if len(info.planes) > 1:
        raise ImageError(
            f"{path}: {format} holds one plane, the image has {len(info.planes)} "
            f"({info.axes}); write .tif or .ome.zarr"
        )
    if info.dtype.name not in dtypes:
        if info.metadata.display.meaning == "map":
            raise ImageError(
                f"{path}: {format} holds {' or '.join(dtypes)}, the map is {info.dtype.name}; give "
                f"--dtype {' or '.join(dtypes)} for one from 0 to 1, or write .tif or .ome.zarr"
            )
        others = ".png, .tif" if format == "JPEG" and info.dtype == np.uint16 else ".tif"
        raise ImageError(
            f"{path}: {format} holds {' or '.join(dtypes)}, the image is {info.dtype.name}; "
            f"write {others} or .ome.zarr"
        )
