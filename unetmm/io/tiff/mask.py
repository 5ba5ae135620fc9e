"""GDAL's mask of valid pixels, a page of its own in a GeoTIFF, copied as it is stored.

Pixels that it excludes are restored as any others; who reads the output leaves them out again.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

import numpy as np

from unetmm.io.metadata import Mask

if TYPE_CHECKING:
    import tifffile

_MASK = 4
"""Value of NewSubfileType and of photometric of a mask at full resolution."""
_NONE, _DEFLATE = 1, 8
_COMPRESSIONS = (_NONE, 5, _DEFLATE, 32946, 32773, 50000)
"""Compressions that are copied: LZW, deflate, PackBits, Zstandard; none becomes deflate."""
_MOST_BYTES = 4 * 2**20
"""Longest mask that is kept, in stored bytes, for it stays in memory."""


def read_mask(tif: tifffile.TiffFile, page: tifffile.TiffPage) -> Mask | None:
    """The mask of a page, with the reason if it cannot be kept; None if there is none."""
    found = (series.keyframe for series in tif.series[1:])
    mask = next((p for p in found if _is_mask(p, page)), None)
    if mask is None:
        return None
    places = list(zip(mask.dataoffsets, mask.databytecounts, strict=True))
    plain = mask.compression == _NONE
    copied = mask.compression in _COMPRESSIONS and mask.predictor == mask.fillorder == 1
    if not copied or mask.bitspersample not in (1, 8) or sum(n for _, n in places) > _MOST_BYTES:
        return Mask(lost="it is too large, or stored in a way that is not copied")
    data = [_read(tif, *place) for place in places]
    if plain:
        data = [zlib.compress(part) if part else b"" for part in data]
    return Mask(
        compression=_DEFLATE if plain else int(mask.compression),
        bits=int(mask.bitspersample),
        tile=(mask.tilelength, mask.tilewidth) if mask.is_tiled else None,
        rows=0 if mask.is_tiled else int(min(mask.rowsperstrip, mask.imagelength)),
        counts=tuple(len(part) for part in data),
        data=b"".join(data),
    )


def _is_mask(mask: tifffile.TiffPage, page: tifffile.TiffPage) -> bool:
    size = (page.imagelength, page.imagewidth)
    return int(mask.subfiletype) == _MASK and (mask.imagelength, mask.imagewidth) == size


def _read(tif: tifffile.TiffFile, offset: int, count: int) -> bytes:
    tif.filehandle.seek(int(offset))
    return bytes(tif.filehandle.read(int(count)))


def mask_bytes(mask: Mask | None) -> int:
    """Bytes that a mask takes in memory and in a file."""
    return 0 if mask is None else len(mask.data) + 24 * len(mask.counts)


def write_mask(writer: tifffile.TiffWriter, mask: Mask, size: tuple[int, int]) -> None:
    """Append the page of a mask of an image of that size."""
    ends = np.cumsum(mask.counts)
    parts = [mask.data[end - n : end] for end, n in zip(ends, mask.counts, strict=True)]
    cut = {"tile": mask.tile} if mask.tile else {"rowsperstrip": mask.rows}
    writer.write(
        iter(parts),
        shape=size,
        dtype=np.dtype(bool if mask.bits == 1 else np.uint8),
        photometric=_MASK,
        subfiletype=_MASK,
        compression=mask.compression,
        metadata=None,
        **cut,
    )
