"""OpenEXR: scenes in linear light as floats, through the OpenEXR library.

The library's own reader of headers fails on some (OpenEXR 3.5 on those with a preview), so the few
fields that are needed are read here.

Source: https://openexr.com/en/latest/OpenEXRFileLayout.html
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.extras import need
from unetmm.io.failures import translated
from unetmm.io.image import ImageInfo
from unetmm.io.listed import listed
from unetmm.io.metadata import DisplayFacts, Metadata, ReadingFacts
from unetmm.io.whole.source import Frames, FrameSource

_TYPES = ("uint32", "float16", "float32")
"""Types of channels by their numbers in a file."""
_COLOURS = (("R", "G", "B"), ("Y",))
_BAND_PX = 256
"""Rows that are decoded at once."""
_COPIES = 5.0
"""Peak of decoding in bands, measured; DWAB packs as many rows together."""
_MOST_ATTRIBUTES, _MOST_BYTES, _MOST_WORD = 10_000, 2**26, 1024
_MOST_PX = 2**24
_DEEP, _SEVERAL = 0x800, 0x1000
"""Flags of the version."""
_STRUCTURE = {
    "channels", "compression", "dataWindow", "displayWindow", "lineOrder", "type", "tiles",
    "chunkCount", "name", "version",
}  # fmt: skip
"""Names of attributes that say how pixels are stored."""
_ONE = struct.pack("<f", 1)
_USUAL = {"pixelAspectRatio": _ONE, "screenWindowWidth": _ONE, "screenWindowCenter": bytes(8)}
"""Attribute that every file has -> what it says in most of them."""


def open_exr(path: Path) -> FrameSource:
    """The colours, or the luminance, of the first part of an OpenEXR.

    Raises
    ------
    ImageError
        If the OpenEXR library is not installed, or the pixels cannot be restored.
    """
    need("OpenEXR", f"{path}: is an OpenEXR; to read it unetmm", 'pip install "unetmm[exr]"')
    with translated(path, "read it as OpenEXR"):
        header = _read_header(path)
    names, dtype = _choose(path, header.types)
    several = len(names) > 1
    info = ImageInfo(
        format="exr",
        axes="YXS" if several else "YX",
        shape=(header.height, header.width, *([len(names)] if several else [])),
        dtype=dtype,
        chunk=(min(_BAND_PX, header.height), header.width),
        alpha="A" in names,
        metadata=Metadata(
            display=DisplayFacts(premultiplied="A" in names),  # as OpenEXR defines opacity
            reading=ReadingFacts(left_out=_left_out(header, names)),
        ),
    )
    bands = -(-header.height // _BAND_PX)
    frames = Frames(np.arange(bands).reshape(1, -1, 1), _BAND_PX, header.width)

    def decode(number: int) -> NDArray[Any]:
        import Imath
        import OpenEXR

        first = number * _BAND_PX
        last = min(first + _BAND_PX, header.height) - 1
        out = np.zeros((_BAND_PX, header.width, len(names)), dtype)
        kind = Imath.PixelType(_TYPES.index(dtype.name))
        file = OpenEXR.InputFile(str(path))
        try:
            for k, name in enumerate(names):
                data = file.channel(name, kind, header.top + first, header.top + last)
                out[: last - first + 1, :, k] = np.frombuffer(data, dtype).reshape(-1, header.width)
        finally:
            file.close()
        return out

    return FrameSource(path, info, frames, decode, _COPIES)


@dataclass(frozen=True)
class _Header:
    top: int
    """Number of the first row."""
    place: str
    """Place of the pixels in the picture, in words; empty where they are all of it."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""
    types: dict[str, str]
    """Name of each channel of full size -> name of its type."""
    small: tuple[str, ...]
    """Names of the channels that have fewer pixels than the image."""
    others: tuple[str, ...]
    """Names of attributes that say more than how pixels are stored."""
    several: bool
    """Whether the file holds further parts."""


def _read_header(path: Path) -> _Header:
    attributes: dict[str, bytes] = {}
    with path.open("rb") as file:
        flags = int.from_bytes(file.read(8)[4:], "little")
        while name := _word(file):
            _word(file)  # its type
            (length,) = struct.unpack("<i", file.read(4))
            if not 0 <= length <= _MOST_BYTES or len(attributes) > _MOST_ATTRIBUTES:
                raise ImageError(f"{path}: the header of the OpenEXR is damaged; write it again")
            attributes[name] = file.read(length)
    if flags & _DEEP:
        raise ImageError(f"{path}: holds deep pixels, which are no image; flatten it first")
    x0, y0, x1, y1 = struct.unpack("<4i", attributes["dataWindow"])
    if not (0 <= x1 - x0 < _MOST_PX and 0 <= y1 - y0 < _MOST_PX):
        raise ImageError(f"{path}: claims a window of {x0}, {y0} to {x1}, {y1}; it is damaged")
    types, small = _channels(attributes["channels"])
    others = tuple(
        name for name, value in attributes.items()
        if name not in _STRUCTURE and value != _USUAL.get(name)
    )  # fmt: skip
    several = bool(flags & _SEVERAL)
    place = _place(attributes["dataWindow"], attributes["displayWindow"])
    return _Header(y0, place, y1 - y0 + 1, x1 - x0 + 1, types, small, others, several)


def _place(data: bytes, display: bytes) -> str:
    """Where the pixels lie in the picture; empty where they are all of it."""
    if data == display:
        return ""
    x0, y0, x1, y1 = struct.unpack("<4i", display)
    left, top, _, _ = struct.unpack("<4i", data)
    return (
        f"place in the picture (from {left - x0}, {top - y0} on, in {x1 - x0 + 1} x {y1 - y0 + 1})"
    )


def _word(file: BinaryIO) -> str:
    """Text up to a zero byte; empty at the end of a header."""
    found = b""
    while (byte := file.read(1)) not in (b"", b"\0") and len(found) < _MOST_WORD:
        found += byte
    return found.decode("utf-8", "replace")


def _channels(data: bytes) -> tuple[dict[str, str], tuple[str, ...]]:
    """Types of the channels of full size, and names of the others."""
    types, small, at = {}, [], 0
    while at < len(data) and data[at]:
        end = data.index(b"\0", at)
        name = data[at:end].decode("utf-8", "replace")
        kind, _, across, down = struct.unpack_from("<4i", data, end + 1)
        if (across, down) == (1, 1) and 0 <= kind < len(_TYPES):
            types[name] = _TYPES[kind]
        else:
            small.append(name)
        at = end + 17
    return types, tuple(small)


def _left_out(header: _Header, names: list[str]) -> tuple[str, ...]:
    """Names of what the file holds besides."""
    lost = [name for name in (*header.types, *header.small) if name not in names]
    found = list(_named_channels(lost))
    found += ["further parts of the OpenEXR"] if header.several else []
    found += [header.place] if header.place else []
    found += [f"attributes of the OpenEXR ({listed(header.others)})"] if header.others else []
    return tuple(found)


def _named_channels(names: list[str]) -> Iterator[str]:
    """Channels, and layers with what each holds: every one of them, as a whole."""
    layers: dict[str, list[str]] = {}
    for name in names:
        layer, _, last = name.rpartition(".")
        layers.setdefault(layer, []).append(last)
    if plain := layers.pop("", []):
        yield f"channels {' '.join(plain)}"
    for layer, inner in layers.items():
        yield f"layer {layer} ({' '.join(inner)})"


def _choose(path: Path, types: dict[str, str]) -> tuple[list[str], np.dtype[Any]]:
    """Names of the channels that are restored, colours before opacity, and their type.

    Raises
    ------
    ImageError
        If there are none, or they differ in type.
    """
    for colours in _COLOURS:
        if set(colours) <= set(types):
            names = [*colours, *(["A"] if "A" in types else [])]
            break
    else:
        if len(types) != 1:
            there = listed(list(types), most=6) or "none of full size"
            raise ImageError(
                f"{path}: holds channels {there}, neither R, G and B nor Y; write those wanted to "
                "a file of their own"
            )
        names = list(types)
    kinds = {types[name] for name in names}
    if len(kinds) > 1:
        raise ImageError(
            f"{path}: its channels are of types {', '.join(sorted(kinds))}; write them as one type"
        )
    return names, np.dtype(kinds.pop())
