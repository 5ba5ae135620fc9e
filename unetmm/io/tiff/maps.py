"""Colour maps in an output: its pages are palette images, as those of the input were.

tifffile would store a map once a page, so the pages are written as grey ones with a tag that stands
in, and are made palette images afterwards. Pages of one channel share a map.
"""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
import tifffile
from numpy.typing import NDArray

from unetmm.io.image import ImageInfo
from unetmm.io.metadata import Tag
from unetmm.io.palette import unpack_map

PALETTE = 3
"""Value of PhotometricInterpretation for colours that stand in a table."""
COLOUR_MAP_TAG = 320
_STAND_IN_TAG, _PHOTOMETRIC_TAG = 321, 262
_SHORT = 3


def map_bytes(info: ImageInfo) -> int:
    """Bytes of the colour maps of all channels; 0 if an output has none."""
    return _map_bytes(info) * len(info.metadata.display.colour_maps)


def _map_bytes(info: ImageInfo) -> int:
    count = len(info.metadata.display.colour_maps)
    fits = info.dtype in (np.uint8, np.uint16) and info.samples == 1
    if not fits or info.metadata.tiff.bands or count not in (1, info.length("C")):
        return 0
    return 3 * 2 << 8 * int(info.dtype.itemsize)


def stand_ins(info: ImageInfo) -> list[Tag]:
    """The tag that becomes the map of a page; none if an output has no maps."""
    return [(_STAND_IN_TAG, _SHORT, 2, (0, 0))] if map_bytes(info) else []


def append_maps(file: Path, info: ImageInfo) -> list[int]:
    """Put the map of each channel, or the only one, at the end of a file; gives where they lie."""
    found = []
    if map_bytes(info):
        with file.open("r+b") as stream:
            for packed in info.metadata.display.colour_maps:
                found.append(stream.seek(file.stat().st_size + file.stat().st_size % 2))
                stream.write(_as_stored(packed, info).tobytes())
                stream.flush()
    return found


def _as_stored(packed: bytes, info: ImageInfo) -> NDArray[np.uint16]:
    """Reds, greens and blues of all values of the type."""
    count = 2 ** (8 * info.dtype.itemsize)
    colours = np.zeros((3, count), "<u2")
    stored = unpack_map(packed)[:count]
    colours[:, : len(stored)] = stored.T
    return colours


def put_map(
    stream: BinaryIO, page: tifffile.TiffPage, info: ImageInfo, index: int, places: list[int]
) -> None:
    """Make a page the palette image of its channel.

    Parameters
    ----------
    index : of the page among those of its level.
    places : of the maps in the file.
    """
    if not places:
        return
    at = places[_channel_of(info, index) if len(places) > 1 else 0]
    big = page.parent.tiff.is_bigtiff
    stream.seek(page.tags[_STAND_IN_TAG].offset)
    count = _map_bytes(info) // 2
    stream.write(struct.pack("<HHQQ" if big else "<HHII", COLOUR_MAP_TAG, _SHORT, count, at))
    stream.seek(page.tags[_PHOTOMETRIC_TAG].valueoffset)
    stream.write(struct.pack("<H", PALETTE))


def _channel_of(info: ImageInfo, index: int) -> int:
    """Channel that a page shows."""
    after = info.outer_axes.partition("C")[2]
    return index // math.prod(map(info.length, after)) % info.length("C")
