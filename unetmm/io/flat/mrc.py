"""MRC and CCP4 maps of electron microscopy: a header of 1024 bytes, then pixels as they are.

Source: Cheng et al. 2015, "MRC2014: Extensions to the MRC format header for electron
cryo-microscopy and tomography", doi 10.1016/j.jsb.2015.04.002.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from unetmm.errors import ImageError
from unetmm.io.flat.header import FlatLayout
from unetmm.io.image import ImageInfo
from unetmm.io.metadata import Metadata, ReadingFacts
from unetmm.io.units import in_unit

HEADER_BYTES = 1024
_MODES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
"""Mode -> type of a pixel."""
_IMOD_STAMP, _IMOD_SIGNED = 1146047817, 1
"""Number by which IMOD marks its files, and the flag that says that its bytes are signed."""
_VOLUME, _VOLUMES = 1, 401
"""Space groups of one volume and of several; those of a stack of images are 0."""
_UNDETERMINED = (0.0, -1.0, -2.0)
"""Least, largest and mean value where they are not known."""
_LABEL_BYTES, _MOST_LABELS = 80, 10
_MOST_PIXELS = 2**31 - 1


def find_mrc(path: Path) -> FlatLayout:
    """Layout of a file.

    Raises
    ------
    ImageError
        If its header is damaged, or its pixels cannot be restored.
    """
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
    if len(head) < HEADER_BYTES:
        raise ImageError(f"{path}: the MRC ends within its header; copy it again")
    order = ">" if head[212:214] == b"\x11\x11" else "<"
    nx, ny, nz, mode = struct.unpack_from(order + "4i", head)
    if not 0 <= mode < 1000:
        order = "<" if order == ">" else ">"
        nx, ny, nz, mode = struct.unpack_from(order + "4i", head)
    (extended,) = struct.unpack_from(order + "i", head, 92)
    if min(nx, ny, nz) < 1 or extended < 0:
        raise ImageError(f"{path}: the MRC claims {nx} x {ny} x {nz} px; it is damaged")
    if mode not in _MODES:
        raise ImageError(
            f"{path}: is an MRC of mode {mode}; modes {', '.join(map(str, _MODES))} are restored"
        )
    stamp, flags = struct.unpack_from(order + "2i", head, 152)
    unsigned = mode == 0 and stamp == _IMOD_STAMP and not flags & _IMOD_SIGNED
    stored = np.dtype("u1" if unsigned else order + _MODES[mode])
    axes, shape = _axes(head, order, nz)
    info = ImageInfo(
        format="mrc",
        axes=axes + "YX",
        shape=(*shape, ny, nx),
        dtype=stored.newbyteorder("="),
        chunk=(1, nx),
        pixel_size=_sizes(head, order, axes),
        metadata=Metadata(reading=ReadingFacts(left_out=_lost(head, order, extended))),
    )
    return FlatLayout(info, stored, HEADER_BYTES + extended)


def _axes(head: bytes, order: str, nz: int) -> tuple[str, tuple[int, ...]]:
    """Axes across planes: images of a stack are times, sections of a volume depths."""
    (group,) = struct.unpack_from(order + "i", head, 88)
    (mz,) = struct.unpack_from(order + "i", head, 36)
    if nz == 1:
        return "", ()
    if group >= _VOLUMES and 0 < mz < nz and nz % mz == 0:
        return "TZ", (nz // mz, mz)
    return ("T" if group == 0 else "Z"), (nz,)


def _sizes(head: bytes, order: str, axes: str) -> dict[str, tuple[float, str]]:
    """Sizes of a pixel, by the size of the cell and the number of its samples."""
    samples = struct.unpack_from(order + "3i", head, 28)
    cell = struct.unpack_from(order + "3f", head, 40)
    found = {}
    for axis, count, length in zip("XYZ", samples, cell, strict=True):
        size = length / count if count > 0 and math.isfinite(length) else 0.0
        if size > 0 and (axis != "Z" or "Z" in axes):
            found[axis] = (float(f"{size:.7g}"), "angstrom")
    return found


def _lost(head: bytes, order: str, extended: int) -> tuple[str, ...]:
    """Names of what no output keeps."""
    (count,) = struct.unpack_from(order + "i", head, 220)
    labels = head[224 : 224 + _LABEL_BYTES * max(0, min(count, _MOST_LABELS))]
    origin = struct.unpack_from(order + "3f", head, 196)
    found = ["extended header"] if extended else []
    found += ["labels"] if labels.strip(b"\0 ") else []
    found += ["origin of the map"] if any(origin) else []
    return tuple(found)


def check_mrc(path: Path, info: ImageInfo) -> None:
    """Refuse what MRC cannot hold.

    Raises
    ------
    ImageError
        It says what would work.
    """
    if info.dtype.name not in (np.dtype(name).name for name in _MODES.values()):
        raise ImageError(
            f"{path}: MRC holds int8, int16, uint16, float16 or float32, the image is "
            f"{info.dtype.name}; give --dtype, such as uint16 or float32, or write .tif"
        )
    if info.samples > 1 or info.length("C") > 1:
        raise ImageError(
            f"{path}: MRC holds grey images, the image has axes {info.axes}; choose a channel "
            "(--channels), or write .tif or .ome.zarr"
        )
    if max(len(info.planes), info.height, info.width) > _MOST_PIXELS:
        raise ImageError(f"{path}: is larger than MRC can say; write .ome.zarr")


def make_header(info: ImageInfo) -> bytes:
    """The header of an output, whose planes lie in the image's own order."""
    nz, depths = len(info.planes), info.length("Z")
    several = info.length("T") > 1
    group = (_VOLUMES if several else _VOLUME) if depths > 1 else 0
    counts = (info.width, info.height, depths if depths > 1 else 1)
    modes = {np.dtype(name): mode for mode, name in _MODES.items()}
    cell = [_length(info, axis, n) for axis, n in zip("XYZ", counts, strict=True)]
    head = struct.pack("<4i3i3i", info.width, info.height, nz, modes[info.dtype], 0, 0, 0, *counts)
    head += struct.pack("<6f3i", *cell, 90.0, 90.0, 90.0, 1, 2, 3)
    head += struct.pack("<3f2i", *_UNDETERMINED, group, 0)
    head = head.ljust(104, b"\0") + bytes(4) + struct.pack("<i", 20140)
    head = head.ljust(208, b"\0") + b"MAP " + b"\x44\x44\0\0" + struct.pack("<fi", -1.0, 1)
    return (head + b"unetmm".ljust(_LABEL_BYTES)).ljust(HEADER_BYTES, b"\0")


def _length(info: ImageInfo, axis: str, count: int) -> float:
    """Length of an axis of the cell in angstroms; 0 if it is not known."""
    size = in_unit(*info.pixel_size.get(axis, (0.0, "")), "angstrom")
    return count * size if size else 0.0


def ordered(info: ImageInfo) -> ImageInfo:
    """The same image with times before depths, which is the only order that MRC has."""
    lengths: dict[str, Any] = dict(zip(info.axes, info.shape, strict=True))
    axes = "".join(axis for axis in "TCZYX" if axis in lengths)
    return replace(info, axes=axes, shape=tuple(lengths[axis] for axis in axes))
