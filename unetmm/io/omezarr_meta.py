"""OME-Zarr metadata, 0.1 to 0.5: read into axes, pixel sizes and names, and written as 0.5."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unetmm.errors import ImageError
from unetmm.io.levels import Level
from unetmm.io.protocol import ImageInfo
from unetmm.io.units import full_unit

VERSION = "0.5"
_TYPES = {"T": "time", "C": "channel", "Z": "space", "Y": "space", "X": "space"}
_GUESSED = {2: "YX", 3: "ZYX", 4: "CZYX", 5: "TCZYX"}


@dataclass(frozen=True)
class ZarrLayout:
    """What the attributes say of one array."""

    path: str
    """Array within the group, empty if the store is an array itself."""
    axes: str
    """Letters of TCZYXS, in the order of the array."""
    alpha: bool = False
    pixel_size: dict[str, tuple[float, str]] = field(default_factory=dict)
    channel_names: tuple[str, ...] = ()
    nodata: float | None = None


def read_layout(path: Path, attributes: dict[str, Any]) -> ZarrLayout:
    """Layout of the first, finest image of a group.

    Raises
    ------
    ImageError
        If the group is a plate, or holds no image.
    """
    ome = attributes.get("ome", attributes)
    if "plate" in ome:
        well = ome["plate"]["wells"][0]["path"]
        raise ImageError(f"{path}: is a plate of many images; give one, as {path}/{well}/0")
    if "well" in ome:
        raise ImageError(f"{path}: is a well of several images; give one, as {path}/0")
    if not ome.get("multiscales"):
        hint = f"; try {path}/0" if "bioformats2raw.layout" in ome else ""
        raise ImageError(f"{path}: is a Zarr group without OME 'multiscales'{hint}")
    image = ome["multiscales"][0]
    own = attributes.get("unetmm", {})
    axes, units = _axes(path, image)
    if own.get("samples"):
        axes = axes.replace("C", "S")
    labels = [str(c.get("label", "")) for c in ome.get("omero", {}).get("channels", [])]
    nodata = own.get("nodata")
    return ZarrLayout(
        path=str(image["datasets"][0]["path"]),
        axes=axes,
        alpha=bool(own.get("alpha")),
        pixel_size=_pixel_size(image, axes, units),
        channel_names=tuple(labels) if any(labels) else (),
        nodata=None if nodata is None else float(nodata),
    )


def guess_axes(path: Path, shape: tuple[int, ...]) -> str:
    """Axes of a bare array, which has no metadata to say."""
    if len(shape) == 3 and shape[-1] in (3, 4):
        return "YXS"
    if len(shape) not in _GUESSED:
        raise ImageError(f"{path}: has {len(shape)} dimensions; 2 to 5 can be understood")
    return _GUESSED[len(shape)]


def _axes(path: Path, image: dict[str, Any]) -> tuple[str, list[str]]:
    """(letters, unit of each axis); up to version 0.2 axes were not stated."""
    entries = [a if isinstance(a, dict) else {"name": a} for a in image.get("axes", list("tczyx"))]
    by_type = {"channel": "C", "time": "T"}
    letters = "".join(
        by_type.get(str(a.get("type")), str(a.get("name", "")).upper()) for a in entries
    )
    known = set(letters) <= set("TCZYX") and len(set(letters)) == len(entries)
    if not known or not {"Y", "X"} <= set(letters):
        names = [str(a.get("name")) for a in entries]
        raise ImageError(f"{path}: has axes {names}; unetmm knows t, c, z, y and x, once each")
    return letters, [full_unit(str(a.get("unit", ""))) for a in entries]


def _pixel_size(image: dict[str, Any], axes: str, units: list[str]) -> dict[str, tuple[float, str]]:
    """Product of the scales of the dataset and of the whole image."""
    sizes = [1.0] * len(axes)
    for holder in (image["datasets"][0], image):
        for transform in holder.get("coordinateTransformations", []):
            if transform.get("type") == "scale" and len(transform.get("scale", ())) == len(axes):
                sizes = [a * float(b) for a, b in zip(sizes, transform["scale"], strict=True)]
    return {
        axis: (size, unit)
        for axis, size, unit in zip(axes, sizes, units, strict=True)
        if axis in "TZYX" and size > 0 and math.isfinite(size) and (unit or size != 1.0)
    }


def stored_axes(path: Path, info: ImageInfo) -> str:
    """Axes in the order OME-Zarr wants, S as C."""
    axes = "".join(axis for axis in "TCZYX" if axis in info.axes)
    if info.samples == 1:
        return axes
    if info.length("C") > 1:
        raise ImageError(f"{path}: OME-Zarr cannot hold colours and channels at once; write .tif")
    return "".join(axis for axis in "TCZYX" if axis in axes + "C")


def write_attributes(
    name: str, axes: str, info: ImageInfo, levels: tuple[Level, ...]
) -> dict[str, Any]:
    """Attributes of the group, OME-Zarr 0.5."""
    entries: list[dict[str, Any]] = []
    scale: list[float] = []
    for axis in axes:
        size, unit = info.pixel_size.get(axis, (1.0, ""))
        entries.append(
            {"name": axis.lower(), "type": _TYPES[axis]} | ({"unit": unit} if unit else {})
        )
        scale.append(size)
    datasets = [_dataset(number, axes, scale) for number in range(len(levels))]
    image: dict[str, Any] = {"name": name, "axes": entries, "datasets": datasets}
    if len(levels) > 1:
        image |= {"type": "mean"}
    ome: dict[str, Any] = {"version": VERSION, "multiscales": [image]}
    if info.channel_names and info.samples == 1:
        ome["omero"] = {"channels": [_channel(label, info) for label in info.channel_names]}
    own: dict[str, Any] = {"samples": info.samples > 1, "alpha": info.alpha}
    if info.nodata is not None:
        own["nodata"] = str(info.nodata)  # text, for JSON has no NaN
    return {"ome": ome, "unetmm": own}


def _dataset(number: int, axes: str, scale: list[float]) -> dict[str, Any]:
    """A level: its pixels are twice as large as those of the one before, and start with them."""
    factor = 2**number
    sizes = [s * factor if axis in "YX" else s for axis, s in zip(axes, scale, strict=True)]
    # The centre of a level's first pixel lies half way between those it was made of.
    shifts = [
        s * (factor - 1) / 2 if axis in "YX" else 0.0 for axis, s in zip(axes, scale, strict=True)
    ]
    transforms: list[dict[str, Any]] = [{"type": "scale", "scale": sizes}]
    if number:
        transforms.append({"type": "translation", "translation": shifts})
    return {"path": str(number), "coordinateTransformations": transforms}


def _channel(label: str, info: ImageInfo) -> dict[str, Any]:
    """An omero channel; viewers insist on a colour and a display window."""
    top = 1.0 if info.dtype.kind == "f" else float(2 ** (8 * info.dtype.itemsize) - 1)
    window = {"min": 0.0, "max": top, "start": 0.0, "end": top}
    return {"label": label, "color": "FFFFFF", "active": True, "window": window}
