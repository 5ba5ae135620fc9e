"""GDAL's mask of valid pixels, a page of its own in a GeoTIFF, copied as it is stored.

Pixels that it excludes pass through untouched (`mask_pages` reads it for that); who reads the
output leaves them out again.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import tifffile

from unetmm.io.metadata import Mask

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
    mask = next((p for p in found if is_mask_of(p, page)), None)
    return None if mask is None else _stored(tif, mask)


def mask_in(path: Path) -> Mask:
    """The mask that a file of its own holds, with the reason if it cannot be kept."""
    with tifffile.TiffFile(path) as tif:
        return _stored(tif, tif.pages[0].aspage())


def _stored(tif: tifffile.TiffFile, mask: tifffile.TiffPage) -> Mask:
    """A mask as it is stored, or why it cannot be kept."""
    places = list(zip(mask.dataoffsets, mask.databytecounts, strict=True))
    plain = mask.compression == _NONE
    copied = mask.compression in _COMPRESSIONS and mask.predictor == mask.fillorder == 1
    one_band = mask.samplesperpixel == 1
    copied = copied and one_band and mask.bitspersample in (1, 8)
    if not copied or sum(n for _, n in places) > _MOST_BYTES:
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


def is_mask_of(mask: tifffile.TiffPage, page: tifffile.TiffPage) -> bool:
    """Whether a page is the mask of another."""
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
    parts = (mask.data[end - n : end] for end, n in zip(ends, mask.counts, strict=True))
    compression = mask.compression
    if mask.bits == 8:  # which has no place in an image's own file
        width = mask.tile[1] if mask.tile else size[1]
        parts, compression = (_in_bits(part, mask.compression, width) for part in parts), _DEFLATE
    cut = {"tile": mask.tile} if mask.tile else {"rowsperstrip": mask.rows}
    writer.write(
        parts,
        shape=size,
        dtype=np.dtype(bool),
        photometric=_MASK,
        subfiletype=_MASK,
        compression=compression,
        metadata=None,
        **cut,
    )


def _in_bits(part: bytes, compression: int, width: int) -> bytes:
    """A strip or tile of bytes as one of bits."""
    if not part:
        return part
    values = np.frombuffer(tifffile.TIFF.DECOMPRESSORS[compression](part), np.uint8)
    return zlib.compress(np.packbits(values.reshape(-1, width) != 0, axis=1).tobytes())
