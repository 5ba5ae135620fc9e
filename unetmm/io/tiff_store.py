"""Writes tiled TIFF in any order: tifffile lays the file out empty, tiles are filled in place."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.guard import translated
from unetmm.io.levels import Level
from unetmm.io.part import check_space, sync, write_at
from unetmm.io.protocol import DTYPES, Box, ImageInfo, Plane, SinkOptions
from unetmm.io.table import ChunkKey
from unetmm.io.units import unit_symbol

FILE = "image.tif"
"""Name of the growing file in its folder."""
CHECKSUMS_TAG = 65111
"""Private tag: CRC-32 of every tile's values, planes in the order t, c, z."""
RECORD_TAG = 65112
"""Private tag: how the image was made, as JSON."""
TILE_STEP_PX = 16
"""TIFF asks for tile sides that are multiples of this."""
CLASSIC_LIMIT_BYTES = 2 * 2**30
"""Above this BigTIFF is written; classic TIFF ends at 4 GiB and some readers at 2 GiB."""
_TIFFFILE_BYTES = 2 * 2**20
"""What writing and reading back the tags of a small file leaves behind, measured."""
_PAGE_OVERHEAD_BYTES = 4096


class TiffStore:
    """An uncompressed tiled TIFF, OME-TIFF where there is more to say than one plane's pixels."""

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        _check_writable(options.path, info)
        self.path = options.path
        self.info = info
        self.chunk = (
            _tile_side(options.chunk_px, info.height),
            _tile_side(options.chunk_px, info.width),
        )
        self.levels = (Level(info.height, info.width, self.chunk),)
        self._columns = -(-info.width // self.chunk[1])
        self._tiles = -(-info.height // self.chunk[0]) * self._columns
        self._tile_bytes = math.prod(self.chunk) * info.samples * info.dtype.itemsize
        self._one_page = "bands" in info.notes and _outer(info) == "C"
        self._planes = len(info.planes)
        check_space(options.path, self._file_bytes)
        self._file = Path()
        self._record: Mapping[str, Any] = {}
        self._handle = -1
        self._offsets: list[int] = []

    def create(self, folder: Path, record: Mapping[str, Any]) -> None:
        self._file, self._record = folder / FILE, record
        with translated(self.path, "create it"):
            self._file.touch()
            self._lay_out()

    def open(self, folder: Path) -> None:
        self._file = folder / FILE
        with translated(self.path, "lay it out"):
            self._offsets = self._find_offsets()
            self._handle = os.open(self._file, os.O_RDWR)

    @property
    def _file_bytes(self) -> int:
        page_bytes = self._tiles * (self._tile_bytes + 16 + 4) + _PAGE_OVERHEAD_BYTES
        return self._planes * page_bytes

    @property
    def resident_bytes(self) -> int:
        """An offset a plane, and what tifffile lists of a page and its checksums."""
        tables_bytes = 40 * self._planes + 120 * self._tiles + 12 * self._tiles * self._planes
        return tables_bytes + self._tile_bytes + _TIFFFILE_BYTES

    @property
    def chunk_bytes(self) -> int:
        """One tile, made contiguous and padded at the edge of the image."""
        return self._tile_bytes

    def _lay_out(self) -> None:
        """Write every page's tags, leaving holes where the pixels will be."""
        with _HoleFile(self._file, self._tile_bytes) as file:
            big = self._file_bytes > CLASSIC_LIMIT_BYTES
            ome = _wants_ome(self.path, self.info) and not self._one_page
            with tifffile.TiffWriter(file, bigtiff=big, ome=ome, shaped=not ome) as writer:
                writer.write(
                    shape=self._page_axes()[1],
                    dtype=self.info.dtype,
                    tile=self.chunk,
                    compression=None,
                    software="unetmm",
                    metadata=self._metadata(ome),
                    **self._colour_tags(),
                    **self._kept_tags(),
                )
            file.truncate()

    def _page_axes(self) -> tuple[str, tuple[int, ...]]:
        """Axes and shape as written: the image's own order, but rows, columns, samples last."""
        info = self.info
        axes = _outer(info) + "YX" + ("S" if info.samples > 1 else "")
        return axes, tuple(info.length(axis) for axis in axes)

    def _colour_tags(self) -> dict[str, Any]:
        info = self.info
        if self._one_page:
            return {"photometric": "minisblack", "planarconfig": "separate"}
        grey = info.notes.get("photometric", "minisblack")
        tags: dict[str, Any] = {"photometric": "rgb" if info.samples > 2 else grey}
        if info.samples > 1:
            tags["planarconfig"] = "contig"
        if info.alpha:
            tags["extrasamples"] = ["unassalpha"]
        return tags

    def _kept_tags(self) -> dict[str, Any]:
        """Colour profile, print resolution, nodata and place on Earth, from the input's notes."""
        notes = self.info.notes
        extra = list(notes.get("tiff_tags", ()))
        count = self._planes * self._tiles
        extra.append((CHECKSUMS_TAG, 4, count, [0] * count))
        if self._record:
            extra.append((RECORD_TAG, 2, 0, json.dumps(self._record)))
        if self.info.nodata is not None:
            extra.append((42113, 2, 0, _nodata_text(self.info.nodata)))
        tags: dict[str, Any] = {"extratags": [(*tag, True) for tag in extra]}
        if "icc_profile" in notes:
            tags["iccprofile"] = notes["icc_profile"]
        if "resolution" in notes:
            *resolution, unit = notes["resolution"]
            tags |= {"resolution": tuple(resolution), "resolutionunit": unit}
        return tags

    def _metadata(self, ome: bool) -> dict[str, Any] | None:
        """What tifffile turns into OME-XML, or into JSON where OME cannot hold the dtype."""
        axes = self._page_axes()[0]
        if not ome and len(self.info.planes) == 1 and not self.info.pixel_size:
            return None
        found: dict[str, Any] = {"axes": axes}
        for axis, (size, unit) in self.info.pixel_size.items():
            if axis in "XYZT":
                name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
                found |= {name: size, f"{name}Unit": unit_symbol(unit or "pixel")}
        if self.info.channel_names and ome:
            found["Channel"] = {"Name": list(self.info.channel_names)}
        return None if self._one_page else found

    def _find_offsets(self) -> list[int]:
        """Where each plane's first tile lies; a plane's tiles follow one another."""
        with tifffile.TiffFile(self._file) as tif:
            firsts = [page.dataoffsets[0] for page in tif.pages]
        if self._one_page:
            firsts = [firsts[0] + i * self._tiles * self._tile_bytes for i in range(self._planes)]
        assert len(firsts) == self._planes, "a page for each plane"
        return firsts

    def _plane_number(self, plane: Plane) -> int:
        number = 0
        for axis in _outer(self.info):
            number = number * self.info.length(axis) + plane["TCZ".index(axis)]
        return number

    def write(self, key: ChunkKey, pixels: NDArray[np.generic]) -> None:
        tile = np.zeros((*self.chunk, self.info.samples), dtype=self.info.dtype)
        tile[: pixels.shape[0], : pixels.shape[1]] = pixels
        with translated(self.path, "write to it"):
            write_at(self._handle, tile, self._offset(key))

    def read(self, level: int, plane: Plane, box: Box) -> NDArray[np.generic]:
        """One tile; without a pyramid nobody asks for more."""
        key = ChunkKey(level, plane, box.y0 // self.chunk[0], box.x0 // self.chunk[1])
        with translated(self.path, "read back what was written"):
            data = os.pread(self._handle, self._tile_bytes, self._offset(key))
            tile = np.frombuffer(data, self.info.dtype).reshape(*self.chunk, self.info.samples)
        return tile[: box.height, : box.width]

    def _offset(self, key: ChunkKey) -> int:
        tile = key.row * self._columns + key.column
        return self._offsets[self._plane_number(key.plane)] + tile * self._tile_bytes

    def finish(self, checksums: list[NDArray[np.uint32]]) -> Path:
        with translated(self.path, "finish it"):
            os.fsync(self._handle)
            with tifffile.TiffFile(self._file, mode="r+") as tif:
                tif.pages.first.tags[CHECKSUMS_TAG].overwrite(checksums[0].ravel().tolist())
        sync(self._file)
        return self._file

    def close(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1


def read_checksums(path: Path) -> list[NDArray[np.uint32]] | None:
    """Checksums of the tiles of a TIFF of ours, flat; None if it has none."""
    with translated(path, "read its checksums"), tifffile.TiffFile(path) as tif:
        found = tif.pages.first.tags.valueof(CHECKSUMS_TAG)
    if found is None:
        return None
    return [np.atleast_1d(np.array(found, np.uint32))]


class _HoleFile:
    """A file that skips over what tifffile writes for an empty tile, so holes stay holes.

    tifffile writes a tile of zeros wherever it has no pixels; for a 100 GB image that would be
    100 GB written twice.
    """

    def __init__(self, path: Path, tile_bytes: int) -> None:
        self._file = path.open("r+b")
        self._empty = bytes(tile_bytes)
        self._end = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self._file.close()

    def write(self, data: bytes | memoryview) -> int:
        size = memoryview(data).nbytes
        if size == len(self._empty) and data == self._empty:
            self._file.seek(size, os.SEEK_CUR)
        else:
            self._file.write(data)
        self._end = max(self._end, self._file.tell())
        return size

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        if whence == os.SEEK_END:
            self.truncate()  # or a hole at the end would not count
        return self._file.seek(offset, whence)

    def truncate(self) -> None:
        """Give the file its full length, even if it ends in a hole."""
        self._file.flush()
        self._file.truncate(self._end)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _outer(info: ImageInfo) -> str:
    return "".join(axis for axis in info.axes if axis in "TCZ")


def _tile_side(chunk_px: int, length_px: int) -> int:
    """Tile side: what was asked, no larger than the image, a multiple of 16."""
    side = max(1, min(chunk_px, length_px))
    return -(-side // TILE_STEP_PX) * TILE_STEP_PX


def _wants_ome(path: Path, info: ImageInfo) -> bool:
    if info.dtype == np.float16:
        return False  # OME knows no half floats; tifffile's JSON keeps the axes
    named = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    return named or len(info.planes) > 1 or bool(info.pixel_size)


def _nodata_text(nodata: float) -> str:
    return str(int(nodata)) if math.isfinite(nodata) and nodata == int(nodata) else repr(nodata)


def _check_writable(path: Path, info: ImageInfo) -> None:
    if info.dtype.name not in DTYPES:
        raise ImageError(f"{path}: TIFF output cannot hold {info.dtype}; use {', '.join(DTYPES)}")
    if info.samples > 4:
        raise ImageError(f"{path}: {info.samples} samples a pixel are no colours; store them as C")
