"""OpenEXR: scenes in linear light as floats, through the OpenEXR library."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unetmm.errors import ImageError
from unetmm.extras import need
from unetmm.io.failures import translated
from unetmm.io.image import ImageInfo
from unetmm.io.metadata import Metadata, ReadingFacts
from unetmm.io.whole.source import Frames, FrameSource

_TYPES = {"HALF": "float16", "FLOAT": "float32", "UINT": "uint32"}
_COLOURS = (("R", "G", "B"), ("Y",))
_BAND_PX = 256
"""Rows that are decoded at once."""
_COPIES = 5.0
"""Peak of decoding in bands, measured; DWAB packs as many rows together."""


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
    lost = [name for name in header.types if name not in names]
    left_out = [f"channels {', '.join(lost[:6])}"] if lost else []
    left_out += [f"{header.parts - 1} further parts"] if header.parts > 1 else []
    left_out += ["attributes of OpenEXR"] if header.attributes else []
    info = ImageInfo(
        format="exr",
        axes="YXS" if several else "YX",
        shape=(header.height, header.width, *([len(names)] if several else [])),
        dtype=dtype,
        chunk=(min(_BAND_PX, header.height), header.width),
        alpha="A" in names,
        metadata=Metadata(reading=ReadingFacts(left_out=tuple(left_out))),
    )
    bands = -(-header.height // _BAND_PX)
    frames = Frames(np.arange(bands).reshape(1, -1, 1), _BAND_PX, header.width)

    def decode(number: int) -> NDArray[Any]:
        first = number * _BAND_PX
        last = min(first + _BAND_PX, header.height) - 1
        out = np.zeros((_BAND_PX, header.width, len(names)), dtype)
        with _opened(path) as file:
            types = {name: channel.type for name, channel in file.header()["channels"].items()}
            for k, name in enumerate(names):
                data = file.channel(name, types[name], header.top + first, header.top + last)
                out[: last - first + 1, :, k] = np.frombuffer(data, dtype).reshape(-1, header.width)
        return out

    return FrameSource(path, info, frames, decode, _COPIES)


@dataclass(frozen=True)
class _Header:
    top: int
    """Number of the first row."""
    height: int
    """Number of rows."""
    width: int
    """Number of columns."""
    types: dict[str, str]
    """Name of each channel of full size -> name of its type."""
    parts: int
    """Number of images in the file."""
    attributes: bool
    """Whether there is more than what says how pixels are stored."""


_STRUCTURE = {
    "channels", "compression", "dataWindow", "displayWindow", "lineOrder", "pixelAspectRatio",
    "screenWindowCenter", "screenWindowWidth", "type", "tiles", "chunkCount", "name", "version",
}  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import OpenEXR

    file = OpenEXR.InputFile(str(path))
    try:
        yield file
    finally:
        file.close()


def _read_header(path: Path) -> _Header:
    import OpenEXR

    with OpenEXR.File(str(path), header_only=True) as whole:
        parts = len(whole.parts)
    with _opened(path) as file:
        found = file.header()
    if "deep" in str(found.get("type", "")):
        raise ImageError(f"{path}: holds deep pixels, which are no image; flatten it first")
    window = found["dataWindow"]
    types = {
        name: str(channel.type)
        for name, channel in found["channels"].items()
        if channel.xSampling == channel.ySampling == 1
    }
    return _Header(
        window.min.y, window.max.y - window.min.y + 1, window.max.x - window.min.x + 1,
        types, parts, bool(set(found) - _STRUCTURE),
    )  # fmt: skip


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
            listed = ", ".join(list(types)[:6]) or "none of full size"
            raise ImageError(
                f"{path}: holds channels {listed}, neither R, G and B nor Y; write those wanted to "
                "a file of their own"
            )
        names = list(types)
    kinds = {types[name] for name in names}
    if len(kinds) > 1 or not kinds <= set(_TYPES):
        raise ImageError(
            f"{path}: its channels are of types {', '.join(sorted(kinds))}; write them as one type"
        )
    return names, np.dtype(_TYPES[kinds.pop()])
