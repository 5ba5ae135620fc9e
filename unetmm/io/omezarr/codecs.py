"""How the chunks of an OME-Zarr are named and compressed, and what cannot be asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from unetmm.errors import ImageError
from unetmm.io.image import Encoding, SinkOptions
from unetmm.io.places import Place, RemotePath

VERSIONS = ("0.5", "0.4")
COMPRESSIONS = ("zstd", "blosc", "none")
USUAL = {"0.5": "zstd", "0.4": "blosc"}
"""Version -> compression that every reader of it knows."""
_BLOSC_LEVEL = 5


def check_encoding(path: Place, options: SinkOptions) -> None:
    """Refuse what cannot be written, before anything is.

    Raises
    ------
    ImageError
        It says what would work.
    """
    asked = options.encoding
    if asked.ome_zarr not in VERSIONS:
        raise ImageError(f"{path}: OME-Zarr {asked.ome_zarr} is not written; use 0.5 or 0.4")
    if asked.compression not in (None, *COMPRESSIONS):
        raise ImageError(
            f"{path}: OME-Zarr is not written with {asked.compression} compression; "
            f"use one of {', '.join(COMPRESSIONS)}"
        )
    if asked.shard_px is None:
        return
    if asked.ome_zarr == "0.4":
        raise ImageError(f"{path}: OME-Zarr 0.4 knows no shards; write 0.5, or leave them out")
    if isinstance(path, RemotePath):
        raise ImageError(f"{path}: shards are made of local files; leave them out behind an URL")
    if asked.shard_px < 1 or asked.shard_px % options.chunk_px:
        raise ImageError(
            f"{path}: shards of {asked.shard_px} px do not consist of whole chunks of "
            f"{options.chunk_px} px; use a multiple, as {4 * options.chunk_px}"
        )


def compressor(encoding: Encoding, dtype: np.dtype[Any]) -> Any:
    """The codec of chunks, in the form that its Zarr version has; None for none."""
    name = encoding.compression or USUAL[encoding.ome_zarr]
    if name == "none":
        return None
    # Bits of bytes, or bytes of longer values, are put together; both make noise smaller.
    shuffle: Any = "bitshuffle" if dtype.itemsize == 1 else "shuffle"
    if encoding.ome_zarr == "0.5":
        from zarr.codecs import BloscCodec, ZstdCodec

        if name == "zstd":
            return ZstdCodec()
        return BloscCodec(
            cname="zstd", clevel=_BLOSC_LEVEL, shuffle=shuffle, typesize=dtype.itemsize
        )
    import numcodecs  # type: ignore[import-untyped]

    if name == "zstd":
        return numcodecs.Zstd()
    number = {"shuffle": numcodecs.Blosc.SHUFFLE, "bitshuffle": numcodecs.Blosc.BITSHUFFLE}
    return numcodecs.Blosc("zstd", clevel=_BLOSC_LEVEL, shuffle=number[shuffle])


def keys(zarr_format: int) -> Any:
    """Names of chunk files: a folder an axis, which OME-Zarr wants of both."""
    return {"name": "v2" if zarr_format == 2 else "default", "separator": "/"}
