"""Writes OME-Zarr, 0.5 (Zarr v3) and 0.4 (Zarr v2): a pyramid in chunks of one plane."""

from __future__ import annotations

import itertools
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.io.failures import translated
from unetmm.io.image import DTYPES, Box, ImageInfo, Plane, SinkOptions
from unetmm.io.omezarr.attributes import write_attributes
from unetmm.io.omezarr.cf import cf_attributes
from unetmm.io.omezarr.codecs import check_encoding, compressor, keys
from unetmm.io.omezarr.decoding import capped
from unetmm.io.omezarr.meta import stored_axes
from unetmm.io.omezarr.shards import ShardedArray
from unetmm.io.omezarr.source import LABELS, ZARR_BYTES
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.disk import discard, sync
from unetmm.io.output.levels import Level, make_levels
from unetmm.io.output.lost_mask import warn_of_lost_mask
from unetmm.io.places import REMOTE_BYTES, Place, RemotePath, zarr_store
from unetmm.io.tiff.gdal import GDAL_METADATA_TAG, common_scale

GROUP = "image.zarr"
"""Name of the growing group in its folder."""
LOOSE = "chunks.zarr"
"""Name of the arrays with a file a chunk that shards are made of."""
CHECKSUMS = "checksums"
"""Name of the group within the output that has the CRC-32 of every chunk, one array a level."""
CALIBRATION = "calibration"
"""Name of the attribute of that group that has the statistics of the image."""
UNFINISHED = ".partial"
"""Ending of a file that zarr was writing when its process was killed."""
_CHUNK_COPIES = 3
"""Copies of a chunk in memory at once: padded, as bytes and compressed."""
_SENT_COPIES = 2
"""Copies of a chunk beyond those while it is sent or received: in parts and joined."""


class OmeZarrStore:
    """A Zarr group with one array a level, and the checksums of every chunk in arrays beside.

    Behind an URL, where nothing can be renamed, the chunks go to their final place at once; the
    group's own metadata stays in the folder until the end, so that nobody takes it for an image.
    """

    def __init__(self, options: SinkOptions, info: ImageInfo) -> None:
        self.path, self.info, self._encoding = options.path, info, options.encoding
        check_encoding(self.path, options)
        if info.dtype.name not in DTYPES:
            raise ImageError(f"{self.path}: cannot hold {info.dtype}; use {', '.join(DTYPES)}")
        self._axes = stored_axes(self.path, info)
        self.chunk = (min(options.chunk_px, info.height), min(options.chunk_px, info.width))
        levels = make_levels(info, self.chunk)
        self.levels = levels if options.encoding.pyramid else levels[:1]
        self._chunks_per_shard = (options.encoding.shard_px or 0) // options.chunk_px
        self._folder: Any = Path()
        self._arrays: list[Any] = []
        self._joined: list[Any] = []

    @property
    def _format(self) -> Any:
        """Version of Zarr."""
        return 2 if self._encoding.ome_zarr == "0.4" else 3

    def create(self, folder: Any, record: Mapping[str, Any]) -> None:
        warn_of_lost_mask(self.path, self.info)
        attributes = write_attributes(
            _image_name(self.path), self._axes, self.info, self.levels,
            self._encoding.ome_zarr, record,
        )  # fmt: skip
        own = attributes.get("unetmm", {}).get("record", {})
        # It is long, and viewers read all of the image's attributes.
        aside = {CALIBRATION: own.pop(CALIBRATION)} if CALIBRATION in own else {}
        with translated(self.path, "create it"):
            root = zarr_store(folder / GROUP)
            zarr.open_group(root, mode="w", zarr_format=self._format, attributes=attributes)
            kept = zarr_store(self._home(folder) / CHECKSUMS)
            zarr.open_group(kept, mode="w", zarr_format=self._format, attributes=aside)
            for number in range(len(self.levels)):
                self._create_array(self._home(folder) / str(number), number)

    def _create_array(self, where: Place, number: int, loose: bool = False) -> None:
        level = self.levels[number]
        lengths = dict(zip("CYX", (self.info.samples, *self.chunk), strict=True))
        chunks = tuple(lengths.get(axis, 1) for axis in self._axes)
        more: dict[str, Any] = {}
        if self._chunks_per_shard and not loose:
            counts = zip(chunks, self._per_shard(level), strict=True)
            more["shards"] = tuple(chunk * count for chunk, count in counts)
        if self._format == 3:
            more["dimension_names"] = [axis.lower() for axis in self._axes]
        zarr.create_array(
            zarr_store(where),
            shape=tuple(self._length(axis, level) for axis in self._axes),
            chunks=chunks,
            dtype=self.info.dtype.newbyteorder("<"),
            compressors=compressor(self._encoding, self.info.dtype),
            chunk_key_encoding=keys(self._format),
            zarr_format=self._format,
            attributes=self._cf_attributes() or None,
            **more,
        )

    def _cf_attributes(self) -> dict[str, Any]:
        """What CF says of each array: values without a measurement, and their scale."""
        tags = {tag[0]: tag[3] for tag in self.info.metadata.tiff.tags}
        scale = common_scale(tags.get(GDAL_METADATA_TAG), self.info.length("C"))
        return cf_attributes(self.info.nodata, self.info.dtype, self._format) | scale

    def open(self, folder: Any) -> None:
        self._folder = folder
        numbers = [str(number) for number in range(len(self.levels))]
        with translated(self.path, "open what was begun"):
            stored = [_open_array(self._home(folder) / n) for n in numbers]
            if self._chunks_per_shard:
                self._joined = stored
                stored = [self._open_loose(folder / LOOSE / n, int(n)) for n in numbers]
            self._arrays = stored

    def _open_loose(self, where: Path, number: int) -> Any:
        """The array with a file a chunk that shards are made of; not there once all are."""
        if not where.is_dir():
            self._create_array(where, number, loose=True)
        # A chunk of zeros gets a file too: a shard is joined of files.
        inner = _open_array(where)._async_array
        config = {"write_empty_chunks": True}  # as `with_config` of newer versions does
        return zarr.Array(type(inner)(inner.metadata, inner.store_path, config))

    def _home(self, folder: Place) -> Place:
        """Where the arrays are."""
        return self.path if isinstance(self.path, RemotePath) else folder / GROUP

    def _length(self, axis: str, level: Level) -> int:
        """Length of a stored axis: C is samples if the image has any."""
        if axis in "YX":
            return level.height if axis == "Y" else level.width
        return (
            self.info.samples if axis == "C" and self.info.samples > 1 else self.info.length(axis)
        )

    def _per_shard(self, level: Level) -> tuple[int, ...]:
        """Chunks of a shard along every stored axis; a small level is one shard."""
        counts = dict(zip("YX", level.grid, strict=True))
        return tuple(min(self._chunks_per_shard, counts.get(axis, 1)) for axis in self._axes)

    @property
    def resident_bytes(self) -> int:
        """What zarr itself occupies."""
        return ZARR_BYTES + (REMOTE_BYTES if isinstance(self.path, RemotePath) else 0)

    @property
    def chunk_bytes(self) -> int:
        """Zarr reads and writes chunk by chunk, which `read` makes sure of."""
        copies = _CHUNK_COPIES + (_SENT_COPIES if isinstance(self.path, RemotePath) else 0)
        pixel_bytes = self.info.samples * self.info.dtype.itemsize
        return copies * math.prod(self.chunk) * pixel_bytes

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
                    array = self._array_of(ChunkKey(level, plane, y // height, x // width))
                    stored = np.asarray(array[self._where(plane, part)])
                    stored = np.moveaxis(stored, 0, -1) if stored.ndim == 3 else stored[..., None]
                    rows = slice(y - box.y0, part.y1 - box.y0)
                    out[rows, x - box.x0 : part.x1 - box.x0] = stored
        return out

    def _array_of(self, key: ChunkKey) -> Any:
        """The array that holds a chunk; one that is in neither counts as zeros of a shard."""
        if self._chunks_per_shard:
            place = dict(zip("TCZYX", (*key.plane, key.row, key.column), strict=True))
            place |= {"C": 0} if self.info.samples > 1 else {}
            chunk = tuple(place[axis] for axis in self._axes)
            if not self._sharded(key.level).is_loose(chunk):
                return self._joined[key.level]
        return self._arrays[key.level]

    def _sharded(self, number: int) -> ShardedArray:
        lengths = dict(zip("YX", self.levels[number].grid, strict=True))
        lengths |= {"C": 1} if self.info.samples > 1 else {}
        return ShardedArray(
            self._folder / LOOSE / str(number),
            self._folder / GROUP / str(number),
            tuple(lengths.get(axis, self.info.length(axis)) for axis in self._axes),
            self._per_shard(self.levels[number]),
        )

    def _where(self, plane: Plane, box: Box) -> tuple[int | slice, ...]:
        where: dict[str, int | slice] = dict(zip("TCZ", plane, strict=True))
        where |= {"Y": slice(box.y0, box.y1), "X": slice(box.x0, box.x1)}
        if self.info.samples > 1:
            where["C"] = slice(None)
        return tuple(where[axis] for axis in self._axes)

    def finish(self, checksums: list[NDArray[np.uint32]], found: Mapping[str, Any]) -> Any:
        with translated(self.path, "finish it"):
            if self._chunks_per_shard:
                for number in range(len(self.levels)):
                    self._sharded(number).join()
                discard(self._folder / LOOSE)
            kept = self._home(self._folder) / CHECKSUMS
            for number, level in enumerate(checksums):
                array = zarr.create_array(
                    zarr_store(kept / str(number)),
                    shape=level.shape,
                    chunks=level.shape,
                    dtype="<u4",
                    compressors=compressor(self._encoding, level.dtype),
                    chunk_key_encoding=keys(self._format),
                    zarr_format=self._format,
                    overwrite=True,  # by a process that was killed here
                )
                array[...] = level
            group = self._folder / GROUP
            self._copy_labels(group)
            _add_to_record(group, self._format, found)
            if isinstance(group, Path):
                for folder, _, names in os.walk(group):  # as it goes: there may be millions
                    for name in names:
                        if name.endswith(UNFINISHED):
                            Path(folder, name).unlink(missing_ok=True)
                        else:
                            sync(Path(folder, name))
                    sync(Path(folder))
        return group

    def _copy_labels(self, group: Place) -> None:
        """The label images of the input, as they are, where the same version of Zarr reads them."""
        known = self.info.metadata
        labels = known.microscopy.labels
        same = known.reading.zarr_format == self._format and isinstance(group, Path)
        if labels and same and isinstance(group, Path):
            shutil.copytree(labels, group / LABELS, dirs_exist_ok=True)

    def close(self) -> None:
        self._arrays, self._joined = [], []


def _open_array(where: Place) -> Any:
    return zarr.open_array(zarr_store(where), mode="r+")


def read_checksums(path: Place) -> list[NDArray[np.uint32]] | None:
    """Checksums of the chunks of every level, (t, c, z, rows, columns); None if there are none."""
    with translated(path, "read its checksums"):
        group = zarr.open(zarr_store(path, read_only=True), mode="r")
        if not isinstance(group, zarr.Group):
            return None
        # By name, one after another: a web server lists nothing.
        found: Any = (group.get(f"{CHECKSUMS}/{number}") for number in itertools.count())
        kept = itertools.takewhile(lambda array: array is not None, found)
        return [np.asarray(capped(path, array)[...]) for array in kept] or None


def _add_to_record(group: Place, zarr_format: Any, found: Mapping[str, Any]) -> None:
    """Put what was found into the record of how the image was made, if there is one."""
    attributes = zarr.open_group(zarr_store(group), mode="r+", zarr_format=zarr_format).attrs
    own: Any = attributes.get("unetmm", {})
    if found and own.get("record"):
        attributes["unetmm"] = {**own, "record": {**own["record"], **found}}


def read_record(path: Place) -> Any:
    """How an OME-Zarr of ours was made; None if it does not say so."""
    group: Any = zarr.open_group(zarr_store(path, read_only=True), mode="r")
    record = group.attrs.get("unetmm", {}).get("record")
    kept = None if record is None or CALIBRATION in record else group.get(CHECKSUMS)
    return record if kept is None else {**record, **dict(kept.attrs)}


def _image_name(path: Place) -> str:
    return path.name.removesuffix(".zarr").removesuffix(".ome")
