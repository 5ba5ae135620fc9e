"""Images in and out: `open_source` reads boxes, `open_sink` takes them; one module a format.

Importing this package loads no codec: tifffile, zarr and imagecodecs come with the first file
that needs them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unetmm.errors import ImageError
from unetmm.io.image import Box, Encoding, ImageInfo, Plane, Sink, SinkOptions, Source
from unetmm.io.output.destination import check_destination
from unetmm.io.output.output import Output
from unetmm.io.output.store import ChunkStore
from unetmm.io.places import Place, to_place
from unetmm.io.sniff import sniff_format

if TYPE_CHECKING:
    from unetmm.io.select import Selection

__all__ = [
    "WRITABLE",
    "Box",
    "ImageInfo",
    "Output",
    "Plane",
    "Sink",
    "SinkOptions",
    "Source",
    "open_sink",
    "open_source",
    "output_format",
]

WRITABLE = ("tiff", "ome-zarr", "png", "jpeg", "npy")
"""Formats of sinks."""

_EXTENSIONS = {
    ".tif": "tiff",
    ".tiff": "tiff",
    ".tf8": "tiff",
    ".btf": "tiff",
    ".zarr": "ome-zarr",
    ".png": "png",
    ".jpg": "jpeg",
    ".jpeg": "jpeg",
    ".npy": "npy",
}
_ALIASES = {"zarr": "ome-zarr", "tif": "tiff", "jpg": "jpeg"}


def open_source(path: Place | str, selection: Selection | None = None) -> Source:
    """Open an image, or a part of it, for reading by box; reads its metadata and no pixel.

    Raises
    ------
    ImageError
        If there is no image at `path`, one that cannot be read, or one without such a part.
    """
    source = _open_whole(to_place(path))
    if selection is None:
        return source
    from unetmm.io.select import select

    try:
        return select(source, selection)
    except ImageError as error:
        source.close()
        raise ImageError(f"{path}: {error}") from None


def _open_whole(path: Place) -> Source:
    found = sniff_format(path)
    if found == "zarr":
        from unetmm.io.omezarr.source import OmeZarrSource

        return OmeZarrSource(path)
    assert isinstance(path, Path), "only Zarr is read from URLs"
    if found == "tiff":
        from unetmm.io.tiff.source import TiffSource

        return TiffSource(path)
    if found == "png":
        from unetmm.io.photo.png_rows import open_png

        return open_png(path)
    if found in ("npy", "pnm"):
        from unetmm.io.flat.source import FlatSource

        return FlatSource(path, found)
    if found in ("czi", "nd2", "lif"):
        from unetmm.io.vendor import VendorSource

        return VendorSource(path, found)
    from unetmm.io.photo.source import PhotoSource

    return PhotoSource(path, found)


def open_sink(options: SinkOptions, info: ImageInfo, format: str | None = None) -> Output:
    """Open an output for writing by box; nothing appears under its name before `close`.

    Parameters
    ----------
    info : the image to be written; its `format`, `chunk` and byte order do not matter.
    format : one of WRITABLE; taken from the extension if None.

    Raises
    ------
    ImageError
        If the output exists and may not be replaced, is a file of the image itself, its folder is
        missing or not writable, or the format cannot hold such an image.
    """
    chosen = output_format(options.path, format)
    if str(options.path.resolve()) in info.notes.get("other_files", ()):
        raise ImageError(f"{options.path}: is a part of the input; choose another output")
    check_destination(options.path, overwrite=options.overwrite, folder=chosen == "ome-zarr")
    return Output(options.path, info, _make_store(options, info, chosen))


def _make_store(options: SinkOptions, info: ImageInfo, format: str) -> ChunkStore:
    encoding = options.encoding
    if format != "ome-zarr" and (encoding.shard_px or encoding.ome_zarr != Encoding.ome_zarr):
        raise ImageError(f"{options.path}: shards and versions of OME-Zarr are for .ome.zarr alone")
    if format == "tiff":
        from unetmm.io.tiff.store import TiffStore

        return TiffStore(options, info)
    if format == "ome-zarr":
        from unetmm.io.omezarr.store import OmeZarrStore

        return OmeZarrStore(options, info)
    if format == "jpeg":
        from unetmm.io.photo.jpeg_store import JpegStore

        return JpegStore(options, info)
    if format == "npy":
        from unetmm.io.flat.npy_store import NpyStore

        return NpyStore(options, info)
    from unetmm.io.photo.png_store import PngStore

    return PngStore(options, info)


def output_format(path: Place | str, requested: str | None = None) -> str:
    """Format of an output: what was requested, else what the extension says.

    Raises
    ------
    ImageError
        If unetmm does not write such a format.
    """
    path = to_place(path)
    names = ", ".join(WRITABLE)
    if requested is not None:
        chosen = _ALIASES.get(requested.lower(), requested.lower())
        if chosen not in WRITABLE:
            raise ImageError(f"{path}: format {requested!r} is not written; use one of {names}")
        return chosen
    suffix = path.suffix.lower()
    if suffix not in _EXTENSIONS:
        raise ImageError(
            f"{path}: extension {suffix or '(none)'!r} names no format that is written; "
            f"use .tif, .ome.zarr, .png, .jpg or .npy, or give --format with one of {names}"
        )
    return _EXTENSIONS[suffix]
