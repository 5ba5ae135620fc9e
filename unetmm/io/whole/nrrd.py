"""NRRD of medicine: a header of text, then pixels as they are, or packed by gzip."""

from __future__ import annotations

import bz2
import gzip
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.extras import need
from unetmm.io.failures import translated
from unetmm.io.flat.header import FlatLayout
from unetmm.io.flat.source import FlatSource
from unetmm.io.image import DTYPES, ImageInfo, Source
from unetmm.io.listed import listed
from unetmm.io.metadata import Metadata, ReadingFacts
from unetmm.io.remedy import remedy
from unetmm.io.units import full_unit
from unetmm.io.whole.source import FrameSource, one_frame

_TYPES = {
    **dict.fromkeys(("signed char", "int8", "int8_t"), "i1"),
    **dict.fromkeys(("uchar", "unsigned char", "uint8", "uint8_t"), "u1"),
    **dict.fromkeys(("short", "short int", "signed short", "int16", "int16_t"), "i2"),
    **dict.fromkeys(("ushort", "unsigned short", "uint16", "uint16_t"), "u2"),
    **dict.fromkeys(("int", "signed int", "int32", "int32_t"), "i4"),
    **dict.fromkeys(("uint", "unsigned int", "uint32", "uint32_t"), "u4"),
    "float": "f4",
    "double": "f8",
}
_PACKERS: dict[str, Callable[..., Any]] = {
    "gzip": lambda file: gzip.GzipFile(fileobj=file),
    "gz": lambda file: gzip.GzipFile(fileobj=file),
    "bzip2": bz2.BZ2File,
    "bz2": bz2.BZ2File,
}
_SPACE = ("space", "domain")
_COLOURS = {"RGB-color": 3, "RGBA-color": 4}
_READ = (
    *("type", "dimension", "sizes", "endian", "encoding", "spacings", "units", "kinds", "space"),
    *("space directions", "space units", "space dimension"),
)


def open_nrrd(path: Path) -> Source:
    """The image of an NRRD; that of a detached header is refused.

    Raises
    ------
    ImageError
        If pynrrd is not installed, or the image cannot be restored.
    """
    need("nrrd", f"{path}: is an NRRD; to read it unetmm", 'pip install "unetmm[nrrd]"')
    with translated(path, "read it as NRRD"):
        import nrrd

        with path.open("rb") as file:
            header: Mapping[str, Any] = nrrd.read_header(file)
            offset = file.tell()
    layout = _layout(path, header, offset)
    encoding = str(header.get("encoding", "raw")).lower()
    if encoding == "raw":
        return FlatSource(path, "nrrd", layout=layout)
    if encoding not in _PACKERS:
        raise ImageError(f"{path}: is packed by {encoding}; save it raw or by gzip")
    return _packed(path, layout, _PACKERS[encoding])


def _packed(path: Path, layout: FlatLayout, unpacking: Callable[..., Any]) -> FrameSource:
    """Planes of a packed stream, which is unpacked as a whole for the first of them."""
    info, stored = layout.info, layout.stored
    if "S" in info.axes[:-1] or info.axes[-2:] not in ("YX", "XS"):
        raise ImageError(f"{path}: axes {info.axes} that are packed are not read; save it raw")
    count = math.prod(info.shape)
    unpacked: list[NDArray[Any]] = []

    def decode(number: int) -> NDArray[Any]:
        if not unpacked:
            with path.open("rb") as file:
                file.seek(layout.offset)
                with unpacking(file) as stream:
                    data = stream.read(count * stored.itemsize)
            whole = np.frombuffer(data, stored).astype(stored.newbyteorder("="), copy=False)
            unpacked.append(whole.reshape(-1, info.height, info.width, info.samples))
        plane: NDArray[Any] = unpacked[0][number]
        return plane

    planes = len(info.planes)
    return FrameSource(path, info, one_frame(info), decode, 2.0 * planes + 1)


def _layout(path: Path, header: Mapping[str, Any], offset: int) -> FlatLayout:
    if any(name.replace(" ", "") in ("datafile", "byteskip", "lineskip") for name in header):
        raise ImageError(
            f"{path}: its pixels lie in another file or behind something; save it as one .nrrd"
        )
    kind = str(header.get("type", ""))
    if kind not in _TYPES:
        raise ImageError(
            f"{path}: holds {kind or 'no'} pixels of NRRD; save them as one of {', '.join(DTYPES)}"
        )
    order = ">" if str(header.get("endian", "little")) == "big" else "<"
    stored = np.dtype(f"{order}{_TYPES[kind]}")
    sizes = [int(n) for n in header.get("sizes", ())]
    axes = _axes(path, sizes, [str(kind) for kind in header.get("kinds", ())])
    shape, letters = tuple(sizes[::-1]), axes[::-1]
    lost = [name for name in header if name not in _READ]
    lost += ["space directions"] if _is_turned(header.get("space directions")) else []
    info = ImageInfo(
        format="nrrd",
        axes=letters,
        shape=shape,
        dtype=stored.newbyteorder("="),
        chunk=(1, sizes[axes.index("X")]),
        alpha="S" in axes and sizes[axes.index("S")] in (2, 4),
        pixel_size=_pixel_sizes(header, axes),
        metadata=Metadata(
            reading=ReadingFacts(
                left_out=(f"fields of the NRRD ({listed(lost)})",) if lost else (),
                remedy=remedy("NRRD", math.prod(shape) * stored.itemsize)
                if header.get("encoding") != "raw"
                else "",
            )
        ),
    )
    return FlatLayout(info, stored, offset)


def _axes(path: Path, sizes: Sequence[int], kinds: Sequence[str]) -> str:
    """Letters of the axes, fastest first: colours or channels, then columns, rows, depths, times.

    Raises
    ------
    ImageError
        If they are none of an image.
    """
    found, left = "", iter("XYZT")
    for i in range(len(sizes)):
        kind = kinds[i] if i < len(kinds) else "domain"
        if _COLOURS.get(kind) == sizes[i] and i == 0:
            found += "S"
        elif kind == "time":
            found += "T"
        elif kind in _SPACE or kind in ("none", "???"):
            found += next(left, "?")
        else:
            found += "C"
    is_image = {"X", "Y"} <= set(found) and len(set(found)) == len(found) and "?" not in found
    if not is_image or min(sizes) < 1 or (found[0] == "C"):
        raise ImageError(
            f"{path}: axes of kinds {', '.join(kinds) or 'unknown'} and sizes "
            f"{', '.join(map(str, sizes))} are no image; save it as columns, rows and depths"
        )
    return found


def _is_turned(directions: Any) -> bool:
    """Whether axes run elsewhere than along those of the space, each of them forwards."""
    if directions is None:
        return False
    found = np.asarray(directions, float)
    found = found[np.isfinite(found).all(1)]
    return found.shape[0] != found.shape[1] or not np.array_equal(
        found, np.diag(abs(found.diagonal()))
    )


def _pixel_sizes(header: Mapping[str, Any], axes: str) -> dict[str, tuple[float, str]]:
    """Axis -> length and unit of a pixel, of spacings or of directions."""
    lengths = header.get("spacings")
    if lengths is None and (directions := header.get("space directions")) is not None:
        lengths = np.linalg.norm(np.asarray(directions, float), axis=1)
    units = header.get("units") or header.get("space units") or ()
    names = [full_unit(str(unit)) for unit in units]
    space = [axis for axis in axes if axis in "XYZ"]
    if lengths is None or len(lengths) != len(axes):
        return {}
    of_axis = dict(zip(axes if len(names) == len(axes) else space, names, strict=False))
    return {
        axis: (float(length), of_axis.get(axis) or "pixel")
        for axis, length in zip(axes, lengths, strict=True)
        if axis in space and np.isfinite(length) and length > 0 and of_axis.get(axis)
    }
