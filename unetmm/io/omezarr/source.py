"""Reads OME-Zarr and bare Zarr arrays, versions 2 and 3, by box and one chunk after another."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.storage import ZipStore

from unetmm.errors import ImageError
from unetmm.io.axes import refuse_axes
from unetmm.io.chunked import read_box
from unetmm.io.failures import translated
from unetmm.io.image import DTYPES, Box, ImageInfo, Plane
from unetmm.io.metadata import Metadata, ReadingFacts
from unetmm.io.ome_xml import fitted_names
from unetmm.io.omezarr.cf import only_array, read_cf
from unetmm.io.omezarr.decoding import capped, decoder_bytes
from unetmm.io.omezarr.dimensions import bare_axes
from unetmm.io.omezarr.geozarr import list_arrays, read_geozarr
from unetmm.io.omezarr.meta import ZarrLayout, read_layout
from unetmm.io.places import REMOTE_BYTES, Place, RemotePath, is_zarr, zarr_store

ZARR_BYTES = 8 * 2**20
"""Memory that zarr occupies from its first request on, measured."""
LABELS = "labels"
"""Name of the group of label images within an image."""
MOST_NAMED = 6
"""Number of arrays of a group that a message names."""
_CHUNK_COPIES = 3
"""Copies of a chunk in memory at once: compressed, decoded and cut to the box."""


class OmeZarrSource:
    """Boxes of the finest level of an OME-Zarr image.

    zarr reads the chunks of one request concurrently, which no budget would survive, so requests
    never span more than one chunk of a plane.
    """

    def __init__(self, path: Place, axes: str = "", labels: bool = False) -> None:
        self.path = path
        guessed = ""
        with translated(path, "read it as Zarr"):
            self._store = zarr_store(path, read_only=True)
            node = zarr.open(self._store, mode="r")
            group: Any = None
            if isinstance(node, zarr.Group) and not _is_ome(node):
                group, node = node, only_array(node) or node
                _refuse_group(path, node)
            if isinstance(node, zarr.Array):
                stated, guessed = bare_axes(path, node, axes)
                group = _group_around(path) if group is None else group
                found = read_geozarr(node, group, stated, Metadata())
                layout = ZarrLayout(
                    "", stated, channel_names=found.channel_names, metadata=found.metadata
                )
                self._array: Any = node
            else:
                refuse_axes(path, axes)
                layout = read_layout(path, dict(node.attrs), labels)
                self._array = node.get(layout.path)
            if not isinstance(self._array, zarr.Array):
                raise ImageError(f"{path}: names its image {layout.path!r}, which is not there")
            self._array = capped(path, self._array)
            self.info: ImageInfo = _describe(path, layout, self._array, guessed)
            self._note_labels()
        self._axes = self.info.axes

    def _note_labels(self) -> None:
        """Say where the label images of an image are."""
        beside = self.path / LABELS
        if self.info.format == "ome-zarr" and isinstance(beside, Path) and is_zarr(beside):
            known = self.info.metadata
            seen = replace(known.microscopy, labels=str(beside.resolve()))
            self.info = replace(self.info, metadata=replace(known, microscopy=seen))

    @property
    def resident_bytes(self) -> int:
        """zarr's event loop, its threads and their decoders."""
        return ZARR_BYTES + (REMOTE_BYTES if isinstance(self.path, RemotePath) else 0)

    def read_bytes(self, box_height: int, box_width: int) -> int:
        """The chunks that hold one stretch of a plane: several if its samples are apart."""
        chunks = dict(zip(self._axes, self._array.chunks, strict=True))
        apart = -(-self.info.samples // chunks.get("S", 1))
        chunk_bytes = math.prod(self._array.chunks) * self.info.dtype.itemsize
        return int(_CHUNK_COPIES * apart * chunk_bytes) + decoder_bytes(self._array)

    def read(self, plane: Plane, box: Box) -> NDArray[np.generic]:
        with translated(self.path, "decode a part of it"):
            return read_box(self._array, self._axes, self.info, plane, box, self.info.chunk)

    def close(self) -> None:
        if isinstance(self._store, ZipStore):
            self._store.close()


def _refuse_group(path: Place, node: Any) -> None:
    """Refuse a group of arrays none of which is the image, and name them.

    Raises
    ------
    ImageError
        If it is one.
    """
    if not isinstance(node, zarr.Group) or isinstance(path, RemotePath):
        return
    if found := list_arrays(node):
        more = ", ..." if len(found) > MOST_NAMED else ""
        names = ", ".join(f"{path}/{name}" for name in found[:MOST_NAMED])
        raise ImageError(f"{path}: is a group of several arrays; give one: {names}{more}")


def _group_around(path: Place) -> Any:
    """The group that an array lies in; None if it lies in none."""
    if isinstance(path, RemotePath) or not is_zarr(path.parent):
        return None
    node = zarr.open(zarr_store(path.parent, read_only=True), mode="r")
    return node if isinstance(node, zarr.Group) else None


def _is_ome(group: zarr.Group) -> bool:
    """Whether the attributes of a group are those of an OME-Zarr of any kind."""
    attributes = dict(group.attrs)
    known = ("multiscales", "plate", "well", "bioformats2raw.layout")
    return "ome" in attributes or any(name in attributes for name in known)


def _describe(path: Place, layout: ZarrLayout, array: Any, guessed: str) -> ImageInfo:
    shape, dtype = tuple(array.shape), np.dtype(array.dtype)
    if len(shape) != len(layout.axes):
        raise ImageError(f"{path}: states axes {layout.axes} for {len(shape)} dimensions")
    if 0 in shape:
        raise ImageError(f"{path}: the image is empty ({shape}); give one with pixels")
    if dtype.name not in DTYPES:
        raise ImageError(
            f"{path}: holds {dtype} pixels; convert them to one of {', '.join(DTYPES)}"
        )
    lengths = dict(zip(layout.axes, shape, strict=True))
    chunks = dict(zip(layout.axes, array.chunks, strict=True))
    if lengths.get("S", 1) > 4:
        raise ImageError(f"{path}: {lengths['S']} samples a pixel are no colours; store them as c")
    names, channels = layout.channel_names, lengths.get("C", 1)
    if len(names) != channels:
        names = fitted_names(names, channels) if lengths.get("S", 1) == 1 else ()
    return ImageInfo(
        format="ome-zarr" if layout.path else "zarr",
        axes=layout.axes,
        shape=shape,
        dtype=dtype.newbyteorder("="),
        chunk=(min(chunks["Y"], lengths["Y"]), min(chunks["X"], lengths["X"])),
        alpha=layout.alpha or (not layout.path and lengths.get("S") == 4),
        pixel_size=layout.pixel_size,
        channel_names=names,
        nodata=layout.nodata.beside(read_cf(path, array)),
        metadata=replace(
            layout.metadata,
            reading=ReadingFacts(
                zarr_format=array.metadata.zarr_format,
                guessed_axes=guessed,
                left_out=layout.metadata.reading.left_out,
            ),
        ),
    )
