"""Lays a TIFF out: all directories first, then pixels, coarsest level first.

+------+-------------------------------+---------+-----+---------+---------+
| head | directories, tags, EXIF, XML  | level n | ... | level 1 | level 0 |
+------+-------------------------------+---------+-----+---------+---------+

tifffile writes the directories as for tiles of no bytes, so they follow one another; where the
tiles really lie is put into them afterwards. GDAL calls this order cloud-optimized.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat, takewhile
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.io.colour_profile import profile_of
from unetmm.io.exif import CAMERA, GPS, pack_directories, read_directories
from unetmm.io.files import write_bytes_at
from unetmm.io.image import ImageInfo
from unetmm.io.metadata import Mask, Tag
from unetmm.io.output.chunks import ChunkKey
from unetmm.io.output.levels import Level
from unetmm.io.tiff.codec import DEFLATE, NONE, TileCodec
from unetmm.io.tiff.maps import append_maps, map_bytes, put_map, stand_ins
from unetmm.io.tiff.mask import mask_bytes, write_mask
from unetmm.io.tiff.ome import make_ome_xml, ome_bytes
from unetmm.io.tiff.tags import (
    CHECKSUMS_TAG,
    colour_tags,
    kept_description,
    kept_tags,
    resolution_tags,
)
from unetmm.io.units import unit_symbol

CLASSIC_LIMIT_BYTES = 2 * 2**30
"""Largest classic TIFF; beyond it BigTIFF is written, for some readers end at 2 GiB."""
_COMPRESSION_TAG, _OFFSETS_TAG, _COUNTS_TAG = 259, 324, 325
_RESOLUTION_TAGS = (282, 283, 296)
_STAND_INS = {CAMERA: 34664, GPS: 34852}
"""Tag that points at a directory, which tifffile does not write -> tag that stands in for it."""
_LONG, _LONG8 = 4, 16
_ALIGNMENT = 16
_TIFFFILE_BYTES = 2 * 2**20
"""Memory that writing and reading back the tags of a small file leaves behind, measured."""
_PAGE_BYTES, _TILE_BYTES = 40, 120
"""Memory of a page while its tags are written, and of a tile of the page that is under way."""
_HEAD_PAGE_BYTES = 4096
"""Size of the directory of a page in the file, about."""

Table = list[NDArray[Any]]
"""Numbers of every tile: an array a level, finest first, shape (planes, tiles of a plane)."""


@dataclass(frozen=True)
class TiffLayout:
    """Which page and place every tile has."""

    info: ImageInfo
    """Image that is written."""
    levels: tuple[Level, ...]
    """Resolutions, finest first."""
    codec: TileCodec
    """Way in which a tile is stored."""
    name: str
    """Name of the image in OME-XML."""
    ome: bool
    """Whether the file has OME-XML."""

    @property
    def one_page(self) -> bool:
        """Whether the planes are bands of a single page, as in GeoTIFF."""
        return is_one_page(self.info)

    @property
    def planes(self) -> int:
        return len(self.info.planes)

    @property
    def pages(self) -> int:
        """Pages of a level."""
        return 1 if self.one_page else self.planes

    @property
    def mask(self) -> Mask | None:
        """The mask of valid pixels; None if there is none that can be kept."""
        mask = self.info.metadata.tiff.mask
        can_keep = mask is not None and not mask.lost and self.pages == 1 and not self.ome
        return mask if can_keep else None

    @property
    def nested(self) -> bool:
        """Whether coarser levels are directories under each page, rather than pages after it."""
        return len(self.levels) > 1 and (self.ome or self.pages > 1)

    @property
    def tile_shape(self) -> tuple[int, int, int]:
        """(rows, columns, samples)."""
        return (*self.levels[0].chunk, self.info.samples)

    @property
    def tile_bytes(self) -> int:
        return math.prod(self.tile_shape) * self.info.dtype.itemsize

    def tiles(self, level: int) -> int:
        """Tiles of a plane."""
        return math.prod(self.levels[level].grid)

    @property
    def total_tiles(self) -> int:
        return self.planes * sum(self.tiles(level) for level in range(len(self.levels)))

    @property
    def plain_bytes(self) -> int:
        """Bytes of the file with uncompressed tiles."""
        heads = self.pages * len(self.levels) * _HEAD_PAGE_BYTES + 20 * self.total_tiles
        heads += map_bytes(self.info)
        return self.total_tiles * self.tile_bytes + heads + mask_bytes(self.mask)

    @property
    def resident_bytes(self) -> int:
        """Tables of places, what tifffile lists of a page, and OME-XML."""
        per_page = _TILE_BYTES * self.total_tiles // max(1, self.pages)
        tables = 48 * self.total_tiles + _PAGE_BYTES * self.pages * len(self.levels)
        masks = 3 * mask_bytes(self.mask)  # as read, cut into parts, and written
        maps = 2 * map_bytes(self.info)  # unpacked and as stored
        return tables + per_page + ome_bytes(self.info) + masks + maps + _TIFFFILE_BYTES

    def place(self, key: ChunkKey) -> int:
        """Number of a tile in the order of the file."""
        first = self.planes * sum(self.tiles(n) for n in range(key.level + 1, len(self.levels)))
        tile = key.row * self.levels[key.level].grid[1] + key.column
        return first + self.info.plane_number(key.plane) * self.tiles(key.level) + tile

    def by_level(self, flat: NDArray[Any]) -> Table:
        """A table of numbers that are in the order of the file."""
        table, end = [], len(flat)
        for level in range(len(self.levels)):
            size = self.planes * self.tiles(level)
            table.append(flat[end - size : end].reshape(self.planes, -1))
            end -= size
        return table


def is_one_page(info: ImageInfo) -> bool:
    return bool(info.metadata.tiff.bands) and info.outer_axes == "C"


def write_head(
    file: Path,
    layout: TiffLayout,
    counts: NDArray[np.uint64],
    checksums: list[NDArray[np.uint32]],
    record: Mapping[str, Any],
) -> int:
    """Write everything but the pixels into a file; returns where those begin.

    Parameters
    ----------
    counts : bytes of every tile, in the order of the file.
    checksums : (t, c, z, rows, columns) of every level.
    """
    big = layout.plain_bytes - layout.total_tiles * layout.tile_bytes + int(counts.sum())
    is_big = big > CLASSIC_LIMIT_BYTES
    with tifffile.TiffWriter(
        file, bigtiff=is_big, byteorder="<", ome=False, shaped=not layout.ome
    ) as writer:
        for number in range(len(layout.levels)):
            nothing = repeat(b"", layout.planes * layout.tiles(number))
            writer.write(nothing, **_options(layout, number, checksums[number], record))
        if layout.mask:
            write_mask(writer, layout.mask, (layout.info.height, layout.info.width))
    if layout.pages == 1 and not layout.ome and not resolution_tags(layout.info):
        _drop_resolution(file, is_big)
    _append_exif(file, layout.info, is_big)
    maps = append_maps(file, layout.info)
    start = -(-file.stat().st_size // _ALIGNMENT) * _ALIGNMENT
    offsets = start + np.cumsum(counts, dtype=np.uint64) - counts
    _put_places(file, layout, layout.by_level(offsets), layout.by_level(counts), maps)
    return start


def _options(
    layout: TiffLayout, number: int, checksums: NDArray[np.uint32], record: Mapping[str, Any]
) -> dict[str, Any]:
    """What tifffile is told of a level's pages."""
    info, level, codec = layout.info, layout.levels[number], layout.codec
    outer = tuple(info.length(axis) for axis in info.outer_axes)
    samples = (info.samples,) if info.samples > 1 else ()
    sums = np.asarray(checksums, "<u4").tobytes()
    tags: list[Tag] = [(CHECKSUMS_TAG, _LONG, checksums.size, sums)]
    options: dict[str, Any] = {
        "shape": (*outer, level.height, level.width, *samples),
        "dtype": info.dtype.newbyteorder("<"),
        "tile": level.chunk,
        "compression": codec.compression if codec.compression != NONE else DEFLATE,
        "predictor": codec.predictor if codec.predictor > 1 else False,
        "metadata": None,
        **colour_tags(info, layout.one_page),
    }
    if number:
        options["subfiletype"] = 1
    else:
        tags += kept_tags(info, record)
        pointers = read_directories(info.metadata.photo.exif)
        tags += [(code, _LONG, 1, 0) for to, code in _STAND_INS.items() if to in pointers]
        options |= _first_page(layout) | resolution_tags(info)
    once = [(*tag, True) for tag in tags]
    return options | {"extratags": once + [(*tag, False) for tag in stand_ins(info)]}


def _first_page(layout: TiffLayout) -> dict[str, Any]:
    """What only the finest level's pages, or the first of them, say."""
    info = layout.info
    options: dict[str, Any] = {"software": "unetmm"}
    if layout.nested:
        options["subifds"] = len(layout.levels) - 1
    if profile := profile_of(info.metadata.photo):
        options["iccprofile"] = profile
    if layout.ome:
        options["description"] = make_ome_xml(info, layout.name, info.outer_axes)
    elif layout.pages > 1 or (info.pixel_size and not layout.one_page):
        options["metadata"] = _shaped_metadata(info)
    elif text := kept_description(info):
        options["description"] = text
    return options


def _shaped_metadata(info: ImageInfo) -> dict[str, Any]:
    """What tifffile turns into JSON, where OME cannot hold the dtype."""
    found: dict[str, Any] = {"axes": info.outer_axes + "YX" + "S" * (info.samples > 1)}
    for axis, (size, unit) in info.pixel_size.items():
        if axis in "XYZT":
            name = "TimeIncrement" if axis == "T" else f"PhysicalSize{axis}"
            found |= {name: size, f"{name}Unit": unit_symbol(unit or "pixel")}
    return found


def _drop_resolution(file: Path, big: bool) -> None:
    """Take the resolution of 1 out of every directory that tifffile makes up and GDAL shows."""
    head, entry_bytes, link, place = ("<Q", 20, "<Q", 8) if big else ("<H", 12, "<I", 4)
    link_bytes = struct.calcsize(link)
    with file.open("r+b") as stream:
        stream.seek(place)
        (at,) = struct.unpack(link, stream.read(link_bytes))
        while at:
            stream.seek(at)
            (count,) = struct.unpack(head, stream.read(struct.calcsize(head)))
            table, following = stream.read(entry_bytes * count), stream.read(link_bytes)
            entries = (table[i : i + entry_bytes] for i in range(0, len(table), entry_bytes))
            kept = [e for e in entries if struct.unpack_from("<H", e)[0] not in _RESOLUTION_TAGS]
            shorter = struct.pack(head, len(kept)) + b"".join(kept) + following
            stream.seek(at)
            stream.write(shorter + bytes(entry_bytes * (count - len(kept))))
            (at,) = struct.unpack(link, following)


def _append_exif(file: Path, info: ImageInfo, big: bool) -> None:
    """Put the camera's and the GPS directory at the end and let the first page point at them."""
    tables = read_directories(info.metadata.photo.exif)
    base = file.stat().st_size + file.stat().st_size % 2
    packed, places = pack_directories(tables, base, big)
    if not places:
        return
    with tifffile.TiffFile(file) as tif:
        entries = {to: tif.pages.first.tags[_STAND_INS[to]].offset for to in places}
        inline = 12 if big else 8
    with file.open("r+b") as stream:
        for to, at in places.items():
            stream.seek(entries[to])
            stream.write(struct.pack("<H", to))
            stream.seek(entries[to] + inline)
            stream.write(struct.pack("<I", at))
        stream.seek(base)
        stream.write(packed)


def _put_places(
    file: Path, layout: TiffLayout, offsets: Table, counts: Table, maps: list[int]
) -> None:
    """Say in every directory where its tiles lie, and the colour map of its channel."""
    with tifffile.TiffFile(file) as tif, file.open("r+b") as stream:
        for number, index, page in _directories(tif, layout):
            put_map(stream, page, layout.info, index, maps)
            planes = slice(None) if layout.one_page else slice(index, index + 1)
            _put(stream.fileno(), page.tags[_OFFSETS_TAG], offsets[number][planes])
            _put(stream.fileno(), page.tags[_COUNTS_TAG], counts[number][planes])
            if layout.codec.plain:
                _put(stream.fileno(), page.tags[_COMPRESSION_TAG], np.array([NONE]))


def _directories(tif: tifffile.TiffFile, layout: TiffLayout) -> Iterator[tuple[int, int, Any]]:
    """(level, number within it, page) of every directory."""
    count = layout.pages if layout.nested or layout.pages > 1 else len(layout.levels)
    for index, page in enumerate(islice(tif.pages, count)):  # a mask follows
        if not layout.nested and layout.pages == 1:
            yield index, 0, page
            continue
        yield 0, index, page
        for number, below in enumerate(page.pages or (), start=1):
            yield number, index, below


def _put(handle: int, tag: tifffile.TiffTag, values: NDArray[Any]) -> None:
    """Overwrite the numbers of a tag."""
    size = {3: 2, _LONG: 4, _LONG8: 8}[int(tag.dtype)]
    assert tag.count == values.size, f"{tag.count} values in tag {tag.code}, not {values.size}"
    write_bytes_at(handle, values.ravel().astype(f"<u{size}").tobytes(), tag.valueoffset)


def put_checksums(file: Path, checksums: list[NDArray[np.uint32]]) -> None:
    """Overwrite the checksums of every level."""
    with tifffile.TiffFile(file) as tif, file.open("r+b") as stream:
        for tag, sums in zip(checksum_tags(tif), checksums, strict=True):
            _put(stream.fileno(), tag, sums)


def checksum_tags(tif: Any) -> list[tifffile.TiffTag]:
    """The tags of the first page of every level, finest first; empty if it has none."""
    first = tif.pages.first
    following = (tif.pages[i] for i in range(1, len(tif.pages)))
    coarser = first.pages or takewhile(lambda page: page.is_reduced, following)
    tags = (page.tags.get(CHECKSUMS_TAG) for page in (first, *coarser))
    return [tag for tag in tags if tag is not None]
